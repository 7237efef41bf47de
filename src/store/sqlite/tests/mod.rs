//! What only SQLite does: locks, full disks, migrations, files that were tampered with. The port's own promises are in
//! the conformance suite, which runs first.

mod faults;
mod history;
mod model;
mod opening;
mod wall;

use std::{path::PathBuf, str::FromStr};

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::{
    assignment::{Agency, AgencyStatus, MemberRole},
    handover::{Handover, HandoverKind, HandoverStatus},
    revision::Revision,
    site::{Contributor, Engagement, Plan, Seats, Side, Site, Tier},
    store::{Changes, IdempotencyKey, Loaded, NewEvent, Store as _, Verdict, Wanted, conformance::suite, sqlite},
    time::Timestamp,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_every_promise_of_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let failures = suite(async |observer| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        sqlite::open(&folder.path().join(format!("{n}.db")), Some(observer)).unwrap()
    })
    .await;
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A folder of its own, removed at the end, and the database in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn db(&self) -> PathBuf {
        self.0.path().join("mandate.db")
    }
    fn open(&self) -> SqlStore {
        sqlite::open(&self.db(), None).unwrap()
    }
    /// The closed file, as somebody with a SQLite shell has it: no check, no trigger, no foreign key in the way.
    fn shell(&self) -> Connection {
        let connection = Connection::open(self.db()).unwrap();
        connection.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
        let triggers: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for name in triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        connection
    }
}

fn id<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn site(name: &str) -> Site {
    let seats = Seats::SelfManaged { owner: id("maria") };
    let mut site = Site::registered(id(name), seats, Plan::of(Tier::Premium), true, Vec::new());
    let grantor = id("user:maria");
    let row = Contributor { role: "WebsiteManager".into(), grantor, side: Side::Client, revision: Revision(0) };
    site.contributors.insert(id("tom"), row);
    site
}

fn event(site: &str) -> NewEvent {
    let actor = Some(id("user:maria"));
    NewEvent {
        site: Some(id(site)),
        kind: "ContributorAdded".into(),
        actor,
        via: None,
        data: json!({"user": "tom"}),
        evidence: None,
    }
}

async fn commit(store: &SqlStore, wanted: Wanted, changes: Changes) -> Result<Revision, StoreError> {
    let decide = Box::new(move |loaded: &Loaded| Verdict::Commit(Box::new(changes), loaded.head.revision.next()));
    store.change(wanted, decide).await
}

/// Registers a site, with an event and a reply.
async fn register(store: &SqlStore, name: &str) -> Result<Revision, StoreError> {
    let key = IdempotencyKey { caller: "cms".into(), path: "/v1/sites".into(), key: name.into() };
    let changes = Changes {
        sites: vec![site(name)],
        events: vec![event(name)],
        reply: Some(("print".into(), json!({"site": name}))),
        ..Changes::default()
    };
    commit(store, Wanted { key: Some(key), ..Wanted::default() }, changes).await
}

/// Agencies, a handover, several sites and events: something in every table that matters.
async fn fill(store: &SqlStore) {
    let agency = Agency {
        id: id("studio-north"),
        name: "Studio North".into(),
        domain: "north.example".into(),
        verified: true,
        status: AgencyStatus::Active,
        status_since: Timestamp::default(),
        returns_at: None,
        card: true,
        members: [(id("ada"), MemberRole::Admin)].into(),
        revision: Revision(0),
    };
    let mut managed = site("managed");
    managed.seats = Seats::PartnerManaged(Box::new(Engagement {
        client: id("maria"),
        partner: id("studio-north"),
        since: Timestamp::from_seconds(1),
        settling_until: Timestamp::from_seconds(2),
        handover: None,
        plan_before: None,
        freeze_used: false,
        return_pending: None,
    }));
    let offer = Handover {
        id: id("h-1"),
        site: id("bakery"),
        kind: HandoverKind::PartnerHandover,
        initiator: id("user:maria"),
        initiated_by: id("user:maria"),
        to: id("agency:studio-north"),
        status: HandoverStatus::Open,
        consents_needed: Vec::new(),
        consents_given: Vec::new(),
        offered_at: Timestamp::from_seconds(5),
        expires_at: Timestamp::from_seconds(9),
        ended_at: None,
        revision_at_offer: Revision(1),
        preview_digest: "sha256:00".into(),
        requested_by: None,
        reminders: Vec::new(),
        terms: None,
    };
    let changes = Changes { agencies: vec![agency], sites: vec![managed, site("bakery")], ..Changes::default() };
    commit(store, Wanted::default(), Changes { handovers: vec![], ..changes }).await.unwrap();
    let events = vec![event("bakery")];
    commit(store, Wanted::default(), Changes { handovers: vec![offer], events, ..Changes::default() }).await.unwrap();
    for name in ["florist", "garage", "museum"] {
        register(store, name).await.unwrap();
    }
}

/// Everything a reader sees, as text.
async fn everything(store: &SqlStore) -> String {
    let mut sites = Vec::new();
    for name in store.sites(None, 1000).await.unwrap().items {
        sites.push((store.site(&name).await.unwrap(), store.handovers(&name, None, 100).await.unwrap()));
    }
    let (head, directory) = (store.head().await.unwrap(), store.directory().await.unwrap());
    let (audit, feed) = (store.audit(None, 0, 1000).await.unwrap(), store.changes(Revision(0), 1000).await.unwrap());
    format!("{head:?}\n{sites:?}\n{:?}\n{audit:?}\n{feed:?}", directory.value.agencies().collect::<Vec<_>>())
}

//! The cases, each a promise of the port, and the named people and sites they are about.

mod commits;
mod content;
mod handovers;
mod history;
mod sagas;

use std::{collections::BTreeSet, fmt::Debug, str::FromStr, sync::mpsc, time::Duration};

use serde_json::json;

use super::Bench;
use crate::{
    assignment::{Agency, AgencyStatus, MemberRole, StaffRole},
    handover::{Consent, Handover, HandoverKind, HandoverStatus},
    ids::{Account, SiteId},
    policy::{Source, Sources},
    revision::Revision,
    site::{
        AgencyGrant, Confirmation, Contributor, Domain, Engagement, Freeze, Plan, ReturnPending, ReturnReason, Seats,
        Side, Site, SupportSession, Template, Tier, next_deadline,
    },
    store::{
        Changes, GENESIS, IdempotencyKey, Loaded, NewEvent, POLICY_KEY, PolicyBundle, SitesOf, Store, StoreError,
        Verdict, Wanted, verify_audit,
    },
    time::Timestamp,
};

pub(super) use self::{commits::*, content::*, handovers::*, history::*, sagas::*};

// ---- the examples

pub(super) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_000_000 + seconds)
}

pub(super) fn site(name: &str) -> Site {
    let seats = Seats::SelfManaged { owner: id("maria") };
    Site::registered(id(name), seats, Plan::of(Tier::Premium), true, Vec::new())
}

pub(super) fn agency(name: &str, members: &[(&str, MemberRole)]) -> Agency {
    Agency {
        id: id(name),
        name: "Studio".into(),
        domain: "studio.example".into(),
        verified: true,
        status: AgencyStatus::Active,
        status_since: Timestamp::default(),
        returns_at: None,
        card: true,
        members: members.iter().map(|(user, role)| (id(user), *role)).collect(),
        revision: Revision(0),
    }
}

pub(super) fn offer(name: &str, site: &str, offered: i64) -> Handover {
    Handover {
        id: id(name),
        site: id(site),
        kind: HandoverKind::PartnerHandover,
        initiator: id("user:maria"),
        initiated_by: id("user:maria"),
        to: id("agency:studio-north"),
        status: HandoverStatus::Open,
        consents_needed: vec![id("agency:studio-north")],
        consents_given: Vec::new(),
        offered_at: at(offered),
        expires_at: at(offered + 1000),
        ended_at: None,
        revision_at_offer: Revision(1),
        preview_digest: "sha256:00".into(),
        requested_by: None,
        reminders: Vec::new(),
        terms: None,
    }
}

pub(super) fn ended(mut handover: Handover, status: HandoverStatus) -> Handover {
    handover.status = status;
    handover.ended_at = Some(handover.offered_at.plus(Duration::from_secs(1)));
    handover
}

pub(super) fn contributor(role: &str) -> Contributor {
    Contributor { role: role.into(), grantor: id("user:maria"), side: Side::Client, revision: Revision(0) }
}

pub(super) fn event(site: Option<&str>, kind: &str) -> NewEvent {
    NewEvent {
        site: site.map(id),
        kind: kind.into(),
        actor: Some(id("user:maria")),
        via: Some("user:maria".into()),
        data: json!({"role": "WebsiteManager", "n": 1.5, "ü": null}),
        evidence: Some(json!({"auth_time": 7})),
    }
}

pub(super) fn key(caller: &str, path: &str, key: &str) -> IdempotencyKey {
    IdempotencyKey { caller: caller.into(), path: path.into(), key: key.into() }
}

// ---- the two ways to use the port

pub(super) async fn commit<S: Store>(store: &S, wanted: Wanted, changes: Changes) -> Result<Revision, StoreError> {
    let decide = Box::new(move |loaded: &Loaded| Verdict::Commit(Box::new(changes), loaded.head.revision.next()));
    store.change(wanted, decide).await
}

pub(super) async fn put<S: Store>(store: &S, changes: Changes) -> Revision {
    commit(store, Wanted::default(), changes).await.unwrap()
}

pub(super) async fn put_site<S: Store>(store: &S, site: Site) -> Revision {
    put(store, Changes { sites: vec![site], ..Changes::default() }).await
}

pub(super) async fn peek<S: Store>(store: &S, wanted: Wanted) -> Loaded {
    store.change(wanted, Box::new(|loaded: &Loaded| Verdict::Leave(loaded.clone()))).await.unwrap()
}

pub(super) async fn get<S: Store>(store: &S, name: &str) -> Site {
    store.site(&id(name)).await.unwrap().value.unwrap()
}

pub(super) fn want(sites: &[&str]) -> Wanted {
    Wanted { sites: sites.iter().map(|name| id(name)).collect(), ..Wanted::default() }
}

/// All that the port shows, as text: equal before and after means that nothing was written.
pub(super) async fn everything<S: Store>(store: &S) -> String {
    let mut sites = Vec::new();
    for name in store.sites(None, 1000).await.unwrap().items {
        sites.push((store.site(&name).await.unwrap(), store.handovers(&name, None, 1000).await.unwrap()));
    }
    let directory = store.directory().await.unwrap();
    let mut agencies: Vec<_> = directory.value.agencies().collect();
    agencies.sort_by(|a, b| a.id.cmp(&b.id));
    let mut staff: Vec<_> = directory.value.staff().collect();
    staff.sort();
    format!(
        "{:?}\n{sites:?}\n{agencies:?}\n{staff:?}\n{:?}\n{:?}",
        store.head().await.unwrap(),
        store.audit(None, 0, 1000).await.unwrap(),
        store.changes(Revision(0), 1000).await.unwrap(),
    )
}

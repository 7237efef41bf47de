//! A command, from the call to the answer that promises it is effective, against a bare durable commit.
//!
//! The command runs through `App::command` on the store with 100,000 sites: queue, transaction, authorization, the
//! machine, rows, audit chain, change feed, kept reply, COMMIT, publication to the view. The yardstick writes one small
//! row in a database of its own with the same pragmas (write-ahead log, `synchronous=FULL`) on the same disk. One of
//! each, in turns. People are granted a role and lose it again; offers are made, previewed first, and taken back.

use std::{sync::Arc, time::Instant};

use mandate::{
    app::{App, CommandRequest},
    clock::{Clock as _, SystemClock},
    handover::{Command, Timers},
    ids::{Account, HandoverId, Principal, SiteId, UserId},
    site::{Plan, Seats, Side, Site, SiteDocument, Tier},
};
use rusqlite::Connection;
use smol_str::SmolStr;

use crate::{
    Effort,
    data::{self, Ids, PERSON_ROLES},
    table::{Row, median, quantile},
};

/// Pairs in one round.
const PAIRS: usize = 150;
/// People on the site whose preview is timed.
const PEOPLE: usize = 50;

pub fn measure(effort: Effort) -> Vec<Row> {
    let folder = data::scratch("transition");
    let policies = data::policies();
    let path = data::store(&folder, &policies);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let app = runtime.block_on(App::open(&path, policies, Timers::default(), Arc::new(SystemClock))).unwrap();
    let bare = bare(&folder);
    let (mut commands, mut bares, mut offers, mut previews) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        for n in 0..PAIRS {
            bares.push(micros(|| {
                bare.execute_batch("BEGIN IMMEDIATE").unwrap();
                bare.execute("INSERT INTO bare (text) VALUES ('one small row')", []).unwrap();
                bare.execute_batch("COMMIT").unwrap();
            }));
            let site = (round * PAIRS + n / 2) * 5 % data::SITES;
            let owner = owner_of(site);
            let user = Ids::Short.user(data::SITES - 1 - n / 2);
            let command = if n % 2 == 0 {
                Command::GrantRole { user, role: SmolStr::new_static("Viewer") }
            } else {
                Command::RevokeRole { user }
            };
            let request = request(Ids::Short.site(site), owner, command, None);
            commands.push(micros(|| {
                runtime.block_on(app.command(request)).unwrap();
            }));
        }
    }
    crowd(&runtime, &app);
    for _ in 0..effort.rounds * 5 {
        let [preview, offer] = offer_and_cancel(&runtime, &app);
        previews.push(preview);
        offers.push(offer);
    }
    let (base, command, offer) = (median(&mut bares), median(&mut commands), median(&mut offers));
    let ratio = command / base;
    vec![
        Row::told("bare durable SQLite commit", format!("{base:.0} µs (p99 {:.0})", quantile(&mut bares, 0.99))),
        Row::aimed(
            "a transition (a role given or taken), by the bare commit",
            format!("{ratio:.2} × ({command:.0} µs, p99 {:.0})", quantile(&mut commands, 0.99)),
            "≤ 1.5 ×",
            ratio <= 1.5,
        ),
        Row::told(
            format!("an offer on a site with {PEOPLE} people, by the bare commit"),
            format!("{:.2} × ({offer:.0} µs)", offer / base),
        ),
        Row::told(
            format!("a preview with {PEOPLE} people, by the bare commit"),
            format!("{:.2} × ({:.1} ms)", median(&mut previews) / base, median(&mut previews) / 1_000.0),
        ),
    ]
}

fn micros(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_nanos() as f64 / 1_000.0
}

/// A database with one table, kept as durably as ours.
fn bare(folder: &std::path::Path) -> Connection {
    let path = folder.join("bare.db");
    for ending in ["db", "db-wal", "db-shm"] {
        let _ = std::fs::remove_file(path.with_extension(ending));
    }
    let bare = Connection::open(path).unwrap();
    bare.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    bare.pragma_update(None, "synchronous", "FULL").unwrap();
    bare.execute_batch("CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT").unwrap();
    bare
}

fn owner_of(site: usize) -> UserId {
    match data::site(site, Ids::Short).seats {
        Seats::SelfManaged { owner } => owner,
        other => panic!("site {site} is not self-managed: {other:?}"),
    }
}

fn request(site: SiteId, actor: UserId, command: Command, preview_digest: Option<SmolStr>) -> CommandRequest {
    CommandRequest {
        path: format!("/v1/sites/{site}/transitions"),
        site,
        caller: "bench".to_owned(),
        key: Some(mandate::clock::new_uuid()),
        fingerprint: "0".repeat(64),
        actor: Principal::User(actor),
        auth_time: Some(SystemClock.now().as_seconds() - 5),
        command,
        if_match: None,
        preview_digest,
    }
}

const CROWDED: &str = "crowded";

/// Registers the site with many people.
fn crowd(runtime: &tokio::runtime::Runtime, app: &App) {
    use mandate::app::import::{Line, Record, import_batch};
    let owner = Ids::Short.user(0);
    let seats = Seats::SelfManaged { owner: owner.clone() };
    let mut site = Site::registered(CROWDED.parse().unwrap(), seats, Plan::of(Tier::Premium), true, Vec::new());
    site.contributors = (1..=PEOPLE)
        .map(|n| {
            let role = PERSON_ROLES[n % PERSON_ROLES.len()];
            (Ids::Short.user(n), data::contributor(role, Account::from(owner.clone()), Side::Client))
        })
        .collect();
    let line = Line { number: 1, record: Record::Site(Box::new(SiteDocument::from(&site))) };
    let policies = app.view().policies();
    runtime.block_on(import_batch(app.store(), &policies, vec![line], SystemClock.now())).unwrap();
}

/// How long a preview of an offer takes, and the offer itself; it is taken back after.
fn offer_and_cancel(runtime: &tokio::runtime::Runtime, app: &App) -> [f64; 2] {
    let site: SiteId = CROWDED.parse().unwrap();
    let owner = Ids::Short.user(0);
    let offer = Command::OfferPartnerRole { to: Ids::Short.agency(7) };
    let started = Instant::now();
    let preview = runtime.block_on(app.preview(request(site.clone(), owner.clone(), offer.clone(), None))).unwrap();
    let preview_took = started.elapsed().as_nanos() as f64 / 1_000.0;
    let preview = serde_json::to_value(preview).unwrap();
    let digest = preview["digest"].as_str().map(SmolStr::new);
    let started = Instant::now();
    let reply = runtime.block_on(app.command(request(site.clone(), owner.clone(), offer, digest))).unwrap();
    let offer_took = started.elapsed().as_nanos() as f64 / 1_000.0;
    let handover: HandoverId = reply.body["handover"]["id"].as_str().unwrap().parse().unwrap();
    runtime.block_on(app.command(request(site, owner, Command::CancelHandover { handover }, None))).unwrap();
    [preview_took, offer_took]
}

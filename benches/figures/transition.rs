//! A command, from the call to the answer that promises it is effective, against a bare durable commit.
//!
//! The command runs through `App::command` on the store with 100,000 sites: queue, transaction, authorization, the
//! machine, rows, audit chain, change feed, kept reply, COMMIT, publication to the view. The yardstick writes one small
//! row in a database of its own with the same pragmas (write-ahead log, `synchronous=FULL`) on the same disk. One of
//! each, in turns. People are granted a role and lose it again; offers are made, previewed first, and taken back.

use std::{sync::Arc, time::Instant};

use mandate::{
    app::{App, CommandRequest, Rules},
    clock::{Clock as _, SystemClock},
    handover::Command,
    ids::{HandoverId, Principal, SiteId, UserId},
    site::Seats,
};
use rusqlite::Connection;
use smol_str::SmolStr;

use crate::{
    Effort,
    data::{self, Ids},
    preview::{self, PEOPLE},
    stores,
    table::{Row, median, quantile},
};

/// Pairs in one round.
const PAIRS: usize = 150;

pub fn measure(effort: Effort) -> Vec<Row> {
    let folder = data::scratch("transition");
    let policies = data::policies();
    let path = stores::copy(&folder, data::SITES, &policies);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let app = runtime.block_on(App::open(&path, policies, Rules::default(), Arc::new(SystemClock))).unwrap();
    let bare = bare(&folder);
    let (mut commands, mut bares, mut offers) = (Vec::new(), Vec::new(), Vec::new());
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
    preview::crowd(&runtime, &app);
    for _ in 0..effort.rounds * 5 {
        offers.push(offer_and_cancel(&runtime, &app));
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
    ]
}

pub fn micros(work: impl FnOnce()) -> f64 {
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

pub fn owner_of(site: usize) -> UserId {
    match data::site(site, Ids::Short).seats {
        Seats::SelfManaged { owner } => owner,
        other => panic!("site {site} is not self-managed: {other:?}"),
    }
}

pub fn request(site: SiteId, actor: UserId, command: Command, preview_digest: Option<SmolStr>) -> CommandRequest {
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
        lang: "en".into(),
    }
}

/// How long an offer takes that was previewed; it is taken back after.
fn offer_and_cancel(runtime: &tokio::runtime::Runtime, app: &App) -> f64 {
    let preview = serde_json::to_value(runtime.block_on(app.preview(preview::offer())).unwrap()).unwrap();
    let offer = CommandRequest { preview_digest: preview["digest"].as_str().map(SmolStr::new), ..preview::offer() };
    let mut reply = None;
    let took = micros(|| reply = Some(runtime.block_on(app.command(offer)).unwrap()));
    let handover: HandoverId = reply.unwrap().body["handover"]["id"].as_str().unwrap().parse().unwrap();
    let site = preview::SELF_MANAGED.parse().unwrap();
    runtime.block_on(app.command(request(site, preview::seat(), Command::CancelHandover { handover }, None))).unwrap();
    took
}

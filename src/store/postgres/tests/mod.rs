//! What only PostgreSQL does: servers that are too old, standbys, lost connections, tables that refuse. The port's own
//! promises are in the conformance suite, which runs first.

#[path = "../../../../tests/servers/postgres.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod server_of_a_test;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use self::server_of_a_test::Postgres;
use super::*;
use crate::store::conformance::suite;

/// Opens a store on a thread that may block.
async fn open_blocking(url: String, observer: Option<Observer>) -> Result<SqlStore, StoreError> {
    tokio::task::spawn_blocking(move || open(&url, observer)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_every_promise_of_the_port() {
    let server = Arc::new(Postgres::start());
    let count = AtomicUsize::new(0);
    let failures = suite(async |observer| {
        let url = server.url(&format!("case{}", count.fetch_add(1, Ordering::Relaxed)));
        open_blocking(url, Some(observer)).await.unwrap()
    })
    .await;
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The second wall: what the tables refuse even when the program does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_refuse_what_must_never_be() {
    let server = Postgres::start();
    drop(open_blocking(server.url("wall"), None).await.unwrap());
    let run = |sql: &str| server.ask(&format!("SET search_path = wall; {sql}"));
    let good = [
        "INSERT INTO agency (id, revision, name, domain, verified, status) VALUES ('north', 1, 'North', 'n', 1, 'active')",
        "INSERT INTO site (id, revision, mode, owner, content_owner, plan_holder, plan, published, domains)
             VALUES ('bakery', 1, 'self_managed', 'user:maria', 'user:maria', 'user:maria', '{}', 1, '[]')",
        "INSERT INTO audit (seq, revision, at, kind, data, hash) VALUES (1, 1, 0, 'Tick', '{}', repeat('0', 64))",
        "INSERT INTO handover (id, site, kind, initiator, initiated_by, recipient, status, consents_needed,
             consents_given, offered_at, expires_at, revision_at_offer, preview_digest) VALUES ('h-1', 'bakery',
             'partner_handover', 'user:maria', 'user:maria', 'agency:north', 'open', '[]', '[]', 1, 2, 1, '')",
    ];
    for sql in good {
        assert!(run(sql).is_some(), "refused: {sql}");
    }
    let refused = [
        "UPDATE site SET content_owner = NULL",
        "UPDATE site SET plan_holder = 'agency:north'",
        "UPDATE site SET owner = NULL",
        "UPDATE site SET client = 'user:eve'",
        "UPDATE site SET mode = 'shared'",
        "UPDATE site SET since = 5",
        "UPDATE site SET frozen_until = 5",
        "UPDATE handover SET ended_at = 5",
        "INSERT INTO handover SELECT 'h-2', site, kind, initiator, initiated_by, recipient, status, consents_needed,
             consents_given, offered_at, expires_at, ended_at, revision_at_offer, preview_digest FROM handover",
        "DELETE FROM site",
        "UPDATE audit SET kind = 'Other'",
        "DELETE FROM audit",
        "TRUNCATE audit CASCADE",
        "INSERT INTO contributor VALUES ('ghost', 'tom', 'CoOwner', 'user:maria', 'client', 1)",
        "INSERT INTO head VALUES (2, repeat('0', 32), 0, repeat('0', 64), 0)",
        "INSERT INTO billing_saga (id, site, attempt, kind, plan, state, since, tries, payer, due_at)
             VALUES ('s', 'bakery', 2, 'k', '{}', 'reserving', 0, 0, 'user:maria', 1)",
        "UPDATE lease SET ttl_max_ms = 1",
    ];
    for sql in refused {
        assert!(run(sql).is_none(), "accepted: {sql}");
    }
    assert!(run("UPDATE handover SET status = 'declined', ended_at = 5").is_some());
    assert!(run("UPDATE handover SET status = 'accepted'").is_none(), "what has ended stays as it ended");
}

/// Every connection of the store is ended by the server, in the middle of its life: reads and changes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_made_again() {
    use crate::store::{Store as _, Verdict, Wanted};
    let server = Postgres::start();
    let store = open_blocking(server.url("lost"), None).await.unwrap();
    for _ in 0..3 {
        assert!(store.head().await.is_ok());
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'mandate'";
        assert!(server.ask(end).is_some());
        let left = store.change(Wanted::default(), Box::new(|loaded| Verdict::Leave(loaded.head.revision))).await;
        assert_eq!(left.unwrap(), crate::revision::Revision(0));
        store.head().await.unwrap();
    }
}

/// What is foreseen is asked while the change begins, given out once, and nothing any more once something is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_foreseen_is_what_was_there_before_the_first_write() {
    use crate::store::sql::db::{Connection, Db, Ending};
    let server = Arc::new(Postgres::start());
    let url = server.url("foreseen");
    drop(open_blocking(url.clone(), None).await.unwrap());
    let run = move || {
        let count = "SELECT count(*) FROM n";
        assert!(server.ask("CREATE TABLE foreseen.n (x BIGINT)").is_some());
        let elsewhere = || assert!(server.ask("INSERT INTO foreseen.n VALUES (7)").is_some());
        let place = Arc::new(Server::named(&url).unwrap());
        let session = place.connect().unwrap();
        let mut connection: Box<dyn Connection> = Reached(place).writer(session);
        let mut seen = Vec::new();
        let mut changes = |foreseen: usize, work: &dyn Fn(&dyn Db)| {
            let asked = |_: &'static str| vec![(count.into(), Vec::new()); foreseen];
            let mut look = |db: &dyn Db| {
                work(db);
                seen.push(db.integer(count, &[])?.unwrap());
                seen.push(db.integer(count, &[])?.unwrap());
                Ok(Ending::Leave)
            };
            connection.write(&asked, &mut look).unwrap();
        };
        changes(1, &|_| elsewhere());
        changes(2, &|db| assert_eq!(db.execute("INSERT INTO n VALUES (?1)", &[1_i64.into()]).unwrap(), 1));
        changes(2, &|db| db.later("INSERT INTO n VALUES (?1)", &[1_i64.into()], "").unwrap());
        // What was left over is no other transaction's.
        changes(3, &|_| elsewhere());
        changes(0, &|_| ());
        assert_eq!(seen, [0, 1, 2, 2, 2, 2, 1, 1, 2, 2]);
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

//! Rows that were changed behind our back: in the audit log, and everywhere else.

use super::*;
use crate::store::{AuditFault, verify_audit};

/// What verification says after these statements.
async fn after(sql: &str) -> Result<u64, (u64, String)> {
    let folder = Folder::new();
    let store = folder.open();
    for n in 0..5 {
        register(&store, &format!("site-{n}")).await.unwrap();
    }
    drop(store);
    folder.shell().execute_batch(sql).unwrap();
    let reader = sqlite::open_read_only(&folder.db()).unwrap();
    match verify_audit(&reader).await {
        Ok(verified) => Ok(verified.events),
        Err(AuditFault::Broken { seq, what }) => Err((seq, what)),
        Err(AuditFault::Store(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_tampered_history_is_found_and_says_where() {
    assert_eq!(after("").await, Ok(5));
    let found = [
        ("UPDATE audit SET data = '{\"user\":\"eve\"}' WHERE seq = 3", 3, "changed or moved"),
        ("UPDATE audit SET actor = 'user:eve' WHERE seq = 1", 1, "changed or moved"),
        ("UPDATE audit SET at = at + 1 WHERE seq = 5", 5, "changed or moved"),
        ("UPDATE audit SET hash = replace(hash, '1', '2') WHERE seq = 4", 4, "changed or moved"),
        ("DELETE FROM audit WHERE seq = 2", 2, "missing, the next one is event 3"),
        ("DELETE FROM audit WHERE seq = 1", 1, "missing, the next one is event 2"),
        ("DELETE FROM audit WHERE seq = 5", 5, "the head's hash"),
        ("DELETE FROM audit", 1, "the head's hash"),
        (
            "UPDATE audit SET seq = -2 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3;
          UPDATE audit SET seq = 3 WHERE seq = -2",
            2,
            "changed or moved",
        ),
        ("UPDATE audit SET data = 'not JSON' WHERE seq = 4", 4, "table `audit`, key `4`: column `data`"),
        ("UPDATE audit SET site = '!' WHERE seq = 2", 2, "table `audit`, key `2`: column `site`"),
        (
            "INSERT INTO audit SELECT 6, revision, at, site, kind, actor, via, data, hash, evidence FROM audit WHERE seq = 5",
            6,
            "changed or moved",
        ),
        ("UPDATE head SET chain = replace(chain, '1', '2')", 6, "the head's hash"),
    ];
    for (sql, seq, what) in found {
        let (place, said) = after(sql).await.expect_err(sql);
        assert_eq!(place, seq, "{sql}: {said}");
        assert!(said.contains(what), "{sql}: {said}");
    }
    // A gap that was closed again.
    let closed = "DELETE FROM audit WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3;
                  UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5";
    assert_eq!(after(closed).await.unwrap_err().0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_verified_while_it_grows() {
    let folder = Folder::new();
    let store = std::sync::Arc::new(folder.open());
    let writing = std::sync::Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for n in 0..100 {
            register(&writing, &format!("site-{n}")).await.unwrap();
        }
    });
    while !writer.is_finished() {
        verify_audit(&*store).await.unwrap();
    }
    writer.await.unwrap();
    assert_eq!(verify_audit(&*store).await.unwrap().events, 100);
}

#[tokio::test]
async fn a_row_that_contradicts_itself_is_named() {
    let damage = [
        ("UPDATE site SET plan = 'nonsense' WHERE id = 'bakery'", "site", "column `plan`"),
        ("UPDATE site SET content_owner = 'user:eve' WHERE id = 'bakery'", "site", "`content_owner`"),
        ("UPDATE site SET plan_holder = NULL WHERE id = 'bakery'", "site", "`plan_holder`"),
        ("UPDATE site SET mode = 'partner_managed' WHERE id = 'bakery'", "site", "do not fit the mode"),
        ("UPDATE site SET mode = 'shared' WHERE id = 'bakery'", "site", "column `mode`"),
        ("UPDATE site SET client = 'user:eve' WHERE id = 'bakery'", "site", "do not fit the mode"),
        ("UPDATE site SET owner = 'agency:x' WHERE id = 'bakery'", "site", "do not fit the mode"),
        ("UPDATE site SET frozen_until = 5 WHERE id = 'bakery'", "site", "half of a freeze"),
        ("UPDATE site SET revision = -1 WHERE id = 'bakery'", "site", "column `revision`: is negative"),
        ("UPDATE site SET published = 7 WHERE id = 'bakery'", "site", "column `published`"),
        ("UPDATE contributor SET grantor = 'nobody' WHERE site = 'bakery'", "contributor", "column `grantor`"),
        ("UPDATE contributor SET user = 'a b' WHERE site = 'bakery'", "contributor", "column `user`"),
        ("UPDATE contributor SET side = 'both' WHERE site = 'bakery'", "contributor", "column `side`"),
        ("INSERT INTO agency_grant VALUES ('bakery', 'ben', 'owner', NULL)", "agency_grant", "column `template`"),
        ("INSERT INTO blocked VALUES ('bakery', '')", "blocked", "column `user`"),
        ("INSERT INTO support_session VALUES ('bakery', 0, 'sam', 'sam', 0)", "support_session", "`granted_by`"),
    ];
    for (sql, table, what) in damage {
        let folder = Folder::new();
        let store = folder.open();
        fill(&store).await;
        drop(store);
        folder.shell().execute_batch(sql).unwrap();
        let store = folder.open();
        let read = store.site(&id("bakery")).await.map(|_| ());
        let wanted = Wanted { sites: vec![id("bakery")], ..Wanted::default() };
        let changed = commit(&store, wanted, Changes::default()).await.map(|_| ());
        for found in [read, changed] {
            let Err(StoreError::Corrupt(message)) = found else { panic!("{sql}: {found:?}") };
            assert!(message.contains(&format!("table `{table}`, key `bakery`")), "{sql}: {message}");
            assert!(message.contains(what), "{sql}: {message}");
        }
        // One bad site is no reason to stop.
        assert!(store.site(&id("florist")).await.unwrap().value.is_some());
        register(&store, "zoo").await.unwrap();
    }
}

#[tokio::test]
async fn damage_elsewhere_is_named_too() {
    let damage = [
        ("UPDATE handover SET status = 'weird' WHERE id = 'h-1'", "table `handover`, key `h-1`: column `status`"),
        ("UPDATE handover SET consents_needed = '[1]' WHERE id = 'h-1'", "column `consents_needed`"),
        ("UPDATE agency SET status = 'asleep'", "table `agency`, key `studio-north`: column `status`"),
        ("UPDATE agency_member SET role = 'owner'", "table `agency_member`, key `studio-north`: column `role`"),
        ("UPDATE agency_member SET agency = 'gone'", "table `agency_member`, key `gone`: there is no such agency"),
        ("UPDATE head SET revision = -1", "table `head`, key `1`: column `revision`"),
    ];
    for (sql, what) in damage {
        let folder = Folder::new();
        let store = folder.open();
        fill(&store).await;
        drop(store);
        let reader = sqlite::open_read_only(&folder.db()).unwrap();
        folder.shell().execute_batch(sql).unwrap();
        let found = [
            reader.head().await.map(|_| ()),
            reader.handover(&id("h-1")).await.map(|_| ()),
            reader.directory().await.map(|_| ()),
        ];
        let message = found.into_iter().find_map(Result::err).map(|error| error.to_string());
        let message = message.unwrap_or_else(|| panic!("{sql}: nothing was noticed"));
        assert!(message.contains("cannot be used") && message.contains(what), "{sql}: {message}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_not_taken_for_an_empty_one() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    drop(store);
    let mut bytes = std::fs::read(folder.db()).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte = 0xA5;
    }
    std::fs::write(folder.db(), bytes).unwrap();
    let found = sqlite::open(&folder.db(), None).map(|_| ());
    assert!(matches!(&found, Err(StoreError::Corrupt(_))), "{found:?}");
}

#[tokio::test]
async fn old_replies_are_removed_a_few_at_a_time() {
    let folder = Folder::new();
    let store = folder.open();
    for n in 0..40 {
        register(&store, &format!("site-{n}")).await.unwrap();
    }
    let count = || async {
        let writer = &store;
        let sql = "SELECT count(*) FROM transition";
        writer.with(move |db: &mut Connection| db.query_row(sql, [], |row| row.get::<_, i64>(0))).await.unwrap()
    };
    assert_eq!(count().await, 40);
    let day = |n: i64| Changes { at: Timestamp::from_seconds(n * 86_400), ..Changes::default() };
    for (n, left) in [(7, 40), (8, 24), (9, 8), (10, 0)] {
        commit(&store, Wanted::default(), day(n)).await.unwrap();
        assert_eq!(count().await, left, "day {n}");
    }
}

#[tokio::test]
async fn every_site_has_the_revision_that_the_feed_last_told_of_it() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    drop(store);
    let db = Connection::open(folder.db()).unwrap();
    let rows = |sql: &str| -> Vec<(String, i64)> {
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let told = rows("SELECT key, max(revision) FROM change GROUP BY key ORDER BY key");
    let sites = rows("SELECT 'site:' || id, revision FROM site ORDER BY 1");
    assert_eq!(told.into_iter().filter(|(key, _)| key.starts_with("site:")).collect::<Vec<_>>(), sites);
}

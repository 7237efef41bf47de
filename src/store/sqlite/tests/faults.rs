//! Disks that are full, callers that go away, observers that fail, processes that are killed.

use std::{
    fs,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use super::*;
use crate::store::verify_audit;

#[tokio::test]
async fn a_full_disk_loses_nothing_and_passes() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    let writer = &store;
    let limit = |pages: i64| {
        writer.with(move |db: &mut Connection| {
            db.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
        })
    };
    limit(1).await.unwrap(); // no smaller than the file is now
    let (mut acknowledged, mut failures) = (0, 0);
    for n in 0..200 {
        let before = everything(&store).await;
        match register(&store, &format!("site-{n}")).await {
            Ok(_) => acknowledged += 1,
            Err(StoreError::Unavailable(message)) => {
                failures += 1;
                assert!(message.contains("the disk is full"), "{message}");
                assert_eq!(everything(&store).await, before, "a failed change left something behind");
            }
            Err(other) => panic!("{other}"),
        }
        if failures == 3 {
            break;
        }
    }
    assert_eq!(failures, 3, "the disk never was full");
    limit(1_000_000).await.unwrap();
    let revision = register(&store, "after").await.unwrap();
    assert_eq!(revision, Revision(5 + acknowledged + 1), "no revision was lost or used twice");
    let before = everything(&store).await;
    drop(store);
    let store = folder.open();
    assert_eq!(everything(&store).await, before);
    assert_eq!(verify_audit(&store).await.unwrap().head, store.head().await.unwrap().chain);
}

#[tokio::test]
async fn a_file_locked_by_another_is_unavailable_not_damaged() {
    let folder = Folder::new();
    let store = folder.open();
    register(&store, "bakery").await.unwrap();
    let other = Connection::open(folder.db()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = register(&store, "florist").await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(m)) if m.contains("another process")), "{refused:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(register(&store, "florist").await.unwrap(), Revision(2));
}

#[tokio::test]
async fn a_transaction_left_open_by_a_failed_rollback_is_ended_first() {
    let folder = Folder::new();
    let store = folder.open();
    store.with(|db: &mut Connection| db.execute_batch("BEGIN; DELETE FROM staff")).await.unwrap();
    assert_eq!(register(&store, "bakery").await.unwrap(), Revision(1));
}

#[tokio::test]
async fn reads_do_not_wait_for_a_change() {
    let folder = Folder::new();
    let store = Arc::new(folder.open());
    register(&store, "bakery").await.unwrap();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let slow = Arc::clone(&store);
    let change = tokio::spawn(async move {
        let decide = Box::new(move |_: &Loaded| {
            let _ = begun.send(());
            let _ = may_go_on.recv_timeout(Duration::from_secs(20));
            Verdict::Commit(Box::new(Changes { sites: vec![site("florist")], ..Changes::default() }), ())
        });
        slow.change(Wanted::default(), decide).await
    });
    has_begun.await.unwrap();
    let started = Instant::now();
    let reads: Vec<_> = (0..16)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.site(&id("bakery")).await.unwrap().revision })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.unwrap(), Revision(1), "a read saw a change that was not committed");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "reads waited for the writer");
    go_on.send(()).unwrap();
    change.await.unwrap().unwrap();
    assert_eq!(store.head().await.unwrap().revision, Revision(2));
}

#[tokio::test]
async fn queued_changes_are_finished_before_the_store_is_gone() {
    let folder = Folder::new();
    let store = Arc::new(folder.open());
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let first = Arc::clone(&store);
    let blocked = tokio::spawn(async move {
        let decide = Box::new(move |_: &Loaded| {
            let _ = begun.send(());
            let _ = may_go_on.recv_timeout(Duration::from_secs(20));
            Verdict::Leave(())
        });
        first.change(Wanted::default(), decide).await
    });
    has_begun.await.unwrap();
    let callers: Vec<_> = (0..10)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { register(&store, &format!("site-{n}")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await; // each has its place in the queue
    for caller in &callers {
        caller.abort();
    }
    blocked.abort();
    for caller in callers {
        let _ = caller.await;
    }
    let _ = blocked.await;
    go_on.send(()).unwrap();
    drop(Arc::into_inner(store).expect("nobody else has the store"));
    let store = folder.open();
    assert_eq!(store.head().await.unwrap().revision, Revision(10));
    assert_eq!(store.sites(None, 100).await.unwrap().items.len(), 10);
}

#[tokio::test]
async fn a_queue_that_stays_full_refuses() {
    let folder = Folder::new();
    let store = Arc::new(folder.open());
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let first = Arc::clone(&store);
    let blocked = tokio::spawn(async move {
        let decide = Box::new(move |_: &Loaded| {
            let _ = begun.send(());
            let _ = may_go_on.recv_timeout(Duration::from_secs(20));
            Verdict::Leave(())
        });
        first.change(Wanted::default(), decide).await
    });
    has_begun.await.unwrap();
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.change(Wanted::default(), Box::new(|_| Verdict::Leave(()))).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    go_on.send(()).unwrap();
    let mut refused = 0;
    for change in waiting {
        match change.await.unwrap() {
            Ok(()) => {}
            Err(StoreError::Unavailable(message)) => {
                assert!(message.contains("256 changes are waiting"), "{message}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused, 300 - 256);
    blocked.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_observer_that_fails_is_not_passed_over() {
    let folder = Folder::new();
    let observer: Observer = Arc::new(|committed| assert!(committed.revision < Revision(2), "on purpose"));
    let store = sqlite::open(&folder.db(), Some(observer)).unwrap();
    register(&store, "bakery").await.unwrap();
    let unknown = register(&store, "florist").await;
    assert!(matches!(&unknown, Err(StoreError::Unknown(m)) if m.contains("revision 2")), "{unknown:?}");
    let refused = register(&store, "garage").await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(m)) if m.contains("restart")), "{refused:?}");
    drop(store);
    assert_eq!(folder.open().head().await.unwrap().revision, Revision(2));
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_it_answered() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    for n in 0..10 {
        let revision = register(&store, &format!("site-{n}")).await.unwrap();
        // The files as a killed process leaves them: nothing is closed, nothing checkpointed.
        let left = Folder::new();
        fs::copy(folder.db(), left.db()).unwrap();
        fs::copy(folder.0.path().join("mandate.db-wal"), left.0.path().join("mandate.db-wal")).unwrap();
        let reader = sqlite::open_read_only(&left.db()).unwrap();
        assert_eq!(reader.head().await.unwrap().revision, revision, "without a writer to bring the log in");
        let found = left.open();
        assert_eq!(found.head().await.unwrap().revision, revision);
        assert_eq!(everything(&found).await, everything(&store).await);
    }
}

#[tokio::test]
async fn a_torn_log_gives_a_whole_earlier_revision() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    let mut states = vec![everything(&store).await];
    // From here on only the log grows.
    store.with(|db: &mut Connection| db.execute_batch("PRAGMA wal_autocheckpoint = 0")).await.unwrap();
    for n in 0..6 {
        register(&store, &format!("site-{n}")).await.unwrap();
        states.push(everything(&store).await);
    }
    let log = fs::read(folder.0.path().join("mandate.db-wal")).unwrap();
    let mut newest = 0;
    for end in (log.len() / 2..=log.len()).step_by(log.len() / 64).chain([log.len()]) {
        let torn = Folder::new();
        fs::copy(folder.db(), torn.db()).unwrap();
        fs::write(torn.0.path().join("mandate.db-wal"), &log[..end]).unwrap();
        let found = torn.open();
        verify_audit(&found).await.unwrap();
        let state = everything(&found).await;
        if let Some(which) = states.iter().position(|other| *other == state) {
            assert!(which >= newest, "a longer log gave an older state");
            newest = which;
        } else {
            // Before the first state noted here, but whole: a revision of `fill`.
            assert!(newest == 0 && found.head().await.unwrap().revision < Revision(5), "half a change at {end} bytes");
        }
    }
    assert_eq!(newest, 6, "the whole log gives the last revision");
}

//! What only SQLite does: locks, full disks, migrations, files that were tampered with.

use super::*;
use crate::store::conformance::suite;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let failures = suite(async |observer| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        SqliteStore::open(&folder.path().join(format!("{n}.db")), Some(observer)).unwrap()
    })
    .await;
    assert!(failures.is_empty(), "{failures:#?}");
}

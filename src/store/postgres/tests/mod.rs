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

//! The promise under the failures of a database that has a standby: scenarios 19 to 23 of the list of faults.
//!
//! Real servers, real replicas, and proxies in between; `make faults` runs them after those of `tests/faults`, and
//! `history` judges what callers were told.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by panicking"
)]

mod failover;
mod history;
#[path = "../integration/http.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod http;
#[path = "../servers/postgres.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod postgres;
#[path = "../servers/postgres_pair.rs"]
mod postgres_pair;
#[path = "../integration/program.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod program;
mod proxy;
#[path = "../integration/receiver.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod receiver;
mod report;
mod rig;
#[path = "../integration/server.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod server;
mod world;
#[path = "../integration/worlds.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod worlds;

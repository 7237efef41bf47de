//! The promise under fire: after a change was called effective, no replica answers from before it, whatever fails.
//!
//! Real replicas of the program on a real PostgreSQL and a real Redis, each behind a proxy of its own; they are stopped,
//! killed, cut off, slowed down and lied to (`scenarios`), and everything that callers sent and were told is recorded and
//! judged (`history`). Whether the judge can be trusted is asked too: `mutants` plants ten known mistakes in the program,
//! and each must be caught.
//!
//! `make faults` runs all of it for long and writes `docs/faults.md`; `make test` (and
//! `make faults-short` alone) runs everything once, two at a time (`.ci/faults`). All build the program with the feature
//! `faults` (`src/fault.rs`). `TEST_SEED` repeats what was drawn.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by panicking"
)]

mod cluster;
mod history;
#[path = "../integration/http.rs"]
#[expect(dead_code, reason = "the harness of all black-box tests")]
mod http;
mod load;
mod mutants;
mod pgbouncer;
#[path = "../servers/policy_folders.rs"]
mod policy_folders;
#[path = "../servers/postgres.rs"]
#[expect(dead_code, reason = "one server for many kinds of test")]
mod postgres;
#[path = "../integration/program.rs"]
#[expect(dead_code, reason = "the harness of all black-box tests")]
mod program;
mod proxy;
mod redis_server;
mod report;
mod scenarios;
#[path = "../integration/seeded.rs"]
#[expect(dead_code, reason = "the harness of all black-box tests")]
mod seeded;
#[path = "../integration/server.rs"]
#[expect(dead_code, reason = "the harness of all black-box tests")]
mod server;

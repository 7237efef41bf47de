//! The program as its callers meet it: the real binary on its command line and over real HTTP, killed, starved and fed
//! with nonsense.
//!
//! One test binary; each module is one topic and starts its own servers on free ports and fresh folders, so that tests
//! run side by side. Nothing here looks inside the program: what is compared is what a caller could read. Tests wait for
//! conditions, never for a while; every random run prints its seed when it fails, and `TEST_SEED` repeats it.
//!
//! A check that could pass by accident has a control beside it that must fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by panicking"
)]

mod abuse;
mod authzen;
mod bad_input;
mod batch;
mod billing;
mod callers;
mod canary;
#[path = "../servers/certificates.rs"]
mod certificates;
mod cli;
mod client;
mod codes;
mod disk;
mod domains;
mod events;
mod examples;
mod exchange;
mod feed;
mod http;
mod kill;
mod matrix;
mod metrics;
mod policies;
#[path = "../servers/policy_folders.rs"]
mod policy_folders;
mod principals;
mod process_roles;
mod program;
mod receiver;
mod replicas;
mod search;
mod secured;
mod seeded;
mod server;
mod staff;
mod stage;
mod suspension;
mod telling;
mod timers;
mod tokens;
mod two_seats;
mod walk;
mod worlds;

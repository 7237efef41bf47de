//! AuthZEN as somebody else's client and the certification suite speak it: over TLS, by the endpoints that the metadata
//! names, with an HTTP client that is not ours.
//!
//! The numbered cases of the certification scenario and the OpenID suite stand as tables in `cases/`, and are asked of the
//! built program for every way in which callers say who they are (`none`, `basic`, `api_key`, `mtls`). The fixture is a
//! policy domain like any other, `examples/authzen-cert`; the two domains beside it are asked what their READMEs say.
//! `docs/conformance.md` says what this is worth and how to run the OpenID suite itself.
//!
//! A suite that cannot fail proves nothing: `control` plants faults in a copy of the fixture, and exactly the cases that
//! they break must fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by panicking"
)]

#[path = "../servers/caller_certificates.rs"]
mod caller_certificates;
mod cases;
#[path = "../servers/certificates.rs"]
mod certificates;
mod client;
mod control;
mod credentials;
mod discovery;
#[path = "../integration/http.rs"]
#[expect(dead_code, reason = "the harness of all black-box tests; the suite has a client of its own")]
mod http;
mod judge;
mod noise;
mod paging;
mod pdp;
#[path = "../integration/program.rs"]
#[expect(dead_code, reason = "the harness of all black-box tests")]
mod program;
mod readmes;
#[path = "../integration/server.rs"]
#[expect(dead_code, reason = "the harness of all black-box tests")]
mod server;
mod table;
mod trust;
#[path = "../integration/worlds.rs"]
mod worlds;
mod written;

//! TLS, with an authority of its own that the system believes, and one that it does not.
//!
//! Which authorities the system believes is read from the environment, which a test cannot change for itself: each case
//! runs this test again, as a process with another environment.

use std::process::Command;

use mandate::cache::shared::Lookup;

use crate::{
    certificates,
    servers::{Redis, Replica, free_port, settings, site, until},
};

const CASE: &str = "MANDATE_TLS_CASE";

#[tokio::test(flavor = "multi_thread")]
async fn tls_believes_the_systems_authorities_and_no_others() {
    match std::env::var(CASE) {
        Ok(case) => check(&case).await,
        Err(_) => start_cases().await,
    }
}

async fn start_cases() {
    let [folder, other, empty] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    certificates::make(folder.path());
    certificates::make(other.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let words = ["--tls-port", &port, "--tls-auth-clients", "no", "--tls-cert-file", &file("server.pem")];
    let more = ["--tls-key-file", &file("server.key"), "--tls-ca-cert-file", &file("ca.pem")];
    let _redis = Redis::start(&[&words[..], &more].concat()).await;
    let run = |case: &str, authority: &std::path::Path| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::tls_believes_the_systems_authorities_and_no_others", "--nocapture"])
            .env(CASE, case)
            .env("SSL_CERT_FILE", authority)
            .env("SSL_CERT_DIR", empty.path())
            .output()
            .unwrap()
    };
    let good = format!("found rediss://localhost:{port}");
    let authority = folder.path().join("ca.pem");
    for (case, authority) in [
        (&good, &authority),
        // Another authority, and another name than the certificate's.
        (&format!("refused rediss://localhost:{port}"), &other.path().join("ca.pem")),
        (&format!("refused rediss://127.0.0.1:{port}"), &authority),
    ] {
        let ended = run(case, authority);
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{case}: {ended:?}");
    }
    assert!(!run(&good, &other.path().join("ca.pem")).status.success(), "the control: a case can fail");
}

async fn check(case: &str) {
    let (expected, url) = case.split_once(' ').unwrap();
    // What the library itself says, so that a refusal is known to be one of the certificate.
    let dialed = redis::Client::open(url).unwrap().get_connection();
    if expected == "found" {
        dialed.unwrap();
        Replica::at(url).await.share(1, &site("bakery", 1)).await;
        return;
    }
    let error = dialed.map(drop).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    let replica = Replica::of(&settings(url));
    until("it was tried", || async {
        assert_eq!(replica.look("bakery").await, Lookup::Unavailable);
        (replica.cache.counts().unavailable.get() > 100).then_some(())
    })
    .await;
}

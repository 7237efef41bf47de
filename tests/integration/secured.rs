//! A server with TLS and keys, and what a caller needs to reach it.

use std::{net::TcpListener, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    certificates,
    server::{Installation, Server},
    worlds,
};

/// The keys of two callers.
pub const KEYS: &str = "shop=correct-horse-battery,back.office=staple/with+odd:signs";
/// The shop's key.
pub const KEY: &str = "correct-horse-battery";
/// The back office's name and key.
pub const OFFICE: (&str, &str) = ("back.office", "staple/with+odd:signs");

/// The story, and two more sites of Maria's.
pub fn marias() -> Vec<Value> {
    let mut records = worlds::story();
    let bakery = records.iter().find(|record| record["site"]["id"] == "bakery").unwrap().clone();
    for name in ["brewery", "butchery"] {
        let mut site = bakery.clone();
        site["site"]["id"] = json!(name);
        site["site"]["domains"] = json!([]);
        records.push(site);
    }
    records
}

/// A running server behind TLS.
pub struct Secured {
    pub installation: Installation,
    pub server: Server,
    port: u16,
    certificates: TempDir,
}

impl Secured {
    /// One with Maria's sites, these settings, and a certificate for `localhost` of an authority of its own.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let certificates = tempfile::tempdir().unwrap();
        certificates::make(certificates.path());
        // The caller's, and the server's, which is good for the name alone and not for the address.
        certificates::sign(certificates.path(), "client", "URI:spiffe://tests/shop");
        certificates::sign(certificates.path(), "named", "DNS:localhost");
        let mut installation = Installation::with(&marias());
        // Known before the start, because the server's public name has it in it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        installation.set("MANDATE_LISTEN", format!("127.0.0.1:{port}"));
        installation.set("MANDATE_PUBLIC_URL", format!("https://localhost:{port}"));
        let file = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
        installation.set("MANDATE_TLS_CERT", file("named.pem")).set("MANDATE_TLS_KEY", file("named.key"));
        for (name, value) in settings {
            installation.set(name, value.replace("CA_FILE", &file("ca.pem")));
        }
        let server = installation.start();
        Self { installation, server, port, certificates }
    }
    /// Its address, by the name that is in its certificate.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
    /// A file beside its certificate: `ca.pem`, `client.pem`, `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.certificates.path().join(name)
    }
}

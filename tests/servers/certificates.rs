//! Certificates of a test's own.

use std::{path::Path, process::Command};

/// A certificate of an authority that has just been made: `ca.pem`, `server.pem` and `server.key` in `folder`.
pub fn make(folder: &Path) {
    let openssl = |words: &[&str]| {
        let made = Command::new("openssl")
            .args(words)
            .current_dir(folder)
            .output()
            .expect("`openssl` is needed for this test: `make tools` installs it");
        assert!(made.status.success(), "{made:?}");
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let ca = ["req", "-x509", "-subj", "/CN=an own authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&ca[..], &key].concat());
    let server = ["req", "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost"];
    let names = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(&[&server[..], &names, &["-keyout", "server.key", "-out", "server.pem"], &key].concat());
}

//! Certificates of a test's own.

use std::{path::Path, process::Command};

/// What a new key is; how many days it is good for follows.
pub const KEY: [&str; 6] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days"];

/// A certificate of an authority that has just been made: `ca.pem`, `server.pem` and `server.key` in `folder`. It is for
/// `localhost` and not for the address, which is how a test says another name than the certificate's.
pub fn make(folder: &Path) {
    let ca = ["req", "-x509", "-subj", "/CN=an own authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(folder, &[&ca[..], &KEY, &["2"]].concat());
    sign(folder, "server", "DNS:localhost");
}

/// One more certificate of that authority: `<name>.pem` and `<name>.key`, for `names` such as `URI:spiffe://x/y`.
pub fn sign(folder: &Path, name: &str, names: &str) {
    let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
    let request = ["req", "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost"];
    let names = format!("subjectAltName={names}");
    let names = ["-addext", &names, "-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(folder, &[&request[..], &names, &["-keyout", &key, "-out", &cert], &KEY, &["2"]].concat());
}

/// Runs `openssl` in `folder`; what it wrote to its standard output.
pub fn openssl(folder: &Path, words: &[&str]) -> Vec<u8> {
    let made = Command::new("openssl")
        .args(words)
        .current_dir(folder)
        .output()
        .expect("`openssl` is needed for this test: `make tools` installs it");
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

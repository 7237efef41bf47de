//! Certificates by which callers say who they are.

use std::path::Path;

use crate::certificates::{KEY, openssl};

/// In `folder`: `caller.pem` and `caller.key`, of the authority `callers-ca.pem`, and `stranger.pem` and `stranger.key`, of
/// an authority of the same name that nobody trusts.
pub fn make(folder: &Path) {
    for (authority, caller) in [("callers-ca", "caller"), ("strangers-ca", "stranger")] {
        let file = |name: &str, end: &str| format!("{name}.{end}");
        let (ca, ca_key) = (file(authority, "pem"), file(authority, "key"));
        let words = ["req", "-x509", "-subj", "/CN=callers", "-keyout", &ca_key, "-out", &ca];
        openssl(folder, &[&words[..], &KEY, &["2"]].concat());
        let (pem, key) = (file(caller, "pem"), file(caller, "key"));
        let words =
            ["req", "-x509", "-CA", &ca, "-CAkey", &ca_key, "-subj", "/CN=a caller", "-keyout", &key, "-out", &pem];
        let kind = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=clientAuth"];
        openssl(folder, &[&words[..], &kind, &KEY, &["2"]].concat());
    }
}

//! What do callers prove who they are with? The keys that the platform's services hold, and the files that TLS is spoken
//! with.
//!
//! A key proves its holder to whoever sees it, so it has no `Debug`, no error repeats it, and it is no option of the
//! command line. Settings that do not go together are refused at start: a key that nothing asks for looks like protection
//! and is none.

use std::{collections::BTreeSet, fmt, path::Path, path::PathBuf};

use serde::Deserialize;
use smol_str::SmolStr;

use super::{Auth, Config, Listen};

/// Least bytes of a key.
const LEAST_KEY: usize = 16;
/// Most bytes of a key.
const MOST_KEY: usize = 512;
/// Most bytes of a caller's name.
const MOST_NAME: usize = 64;
/// Who holds a key without a name.
const NAMELESS: &str = "caller";
/// Sentences about a key that cannot be used end with this.
const MAKE_ONE: &str = "write `NAME=KEY` pairs separated by commas, or one bare key, each key 16 to 512 characters such as \
                        `openssl rand -hex 32` makes";

/// A caller and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Who holds it: the scope of the caller's idempotency keys.
    pub name: SmolStr,
    key: String,
    named: bool,
}

impl ApiKey {
    /// The key.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.key
    }
}

/// The callers that are known by keys. Several keys of one name are one caller's: to change one, list both for a while.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ApiKeys(Vec<ApiKey>);

impl ApiKeys {
    /// All of them, at least one.
    #[must_use]
    pub fn each(&self) -> &[ApiKey] {
        &self.0
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({} hidden)", self.0.len())
    }
}

impl TryFrom<String> for ApiKeys {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let written: Vec<&str> = text.split([',', '\n']).map(str::trim).filter(|one| !one.is_empty()).collect();
        // What was given is not repeated: it is nearly a key.
        let wrong = |n: usize| format!("entry {} is no key of a caller: {MAKE_ONE}", n + 1);
        let keys = written.iter().enumerate().map(|(n, one)| api_key(one).ok_or_else(|| wrong(n)));
        let keys: Vec<ApiKey> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(format!("there is no key of a caller: {MAKE_ONE}"));
        }
        if keys.len() > 1 && keys.iter().any(|key| !key.named) {
            return Err(
                "a key without a name stands for every caller and must be the only one: write `NAME=KEY` for each"
                    .to_owned(),
            );
        }
        if keys.iter().map(ApiKey::reveal).collect::<BTreeSet<_>>().len() < keys.len() {
            return Err("two callers have the same key, and could not be told apart: give each its own".to_owned());
        }
        Ok(Self(keys))
    }
}

fn api_key(text: &str) -> Option<ApiKey> {
    // Base64 ends with `=`: what is no name before it belongs to the key.
    let fits = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(plain)
    };
    let (name, key) = match text.split_once('=') {
        Some((_, key)) if key.trim_matches('=').is_empty() => (None, text),
        Some((name, key)) if fits(name) => (Some(name), key),
        // A name that does not fit is no part of a key.
        Some(_) => return None,
        None => (None, text),
    };
    let plain = (LEAST_KEY..=MOST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| ApiKey { name: name.unwrap_or(NAMELESS).into(), key: key.to_owned(), named: name.is_some() })
}

/// The files that TLS is spoken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and an authority, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authorities that sign callers' certificates, PEM.
    pub client_ca: Option<PathBuf>,
}

impl Config {
    /// What TLS is spoken with; none: it is not spoken.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFiles> {
        let (cert, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(TlsFiles { cert, key, client_ca: self.tls_client_ca.clone() })
    }

    /// Reads the keys' file, and refuses what does not go together.
    pub(super) fn settle_callers(&mut self) -> Result<(), String> {
        match (&self.api_key, self.api_key_file.take()) {
            (Some(_), Some(_)) => {
                return Err("`api_key` and `api_key_file` are both set: keep one of them".to_owned());
            }
            (None, Some(path)) => self.api_key = Some(keys_of(&path)?),
            (Some(_) | None, None) => {}
        }
        let wants_keys = matches!(self.auth, Auth::Basic | Auth::ApiKey);
        match &self.api_key {
            None if wants_keys => {
                return Err(format!(
                    "`auth` = `{}` and nobody has a key: set `api_key_file` or `api_key`; {MAKE_ONE}",
                    self.auth
                ));
            }
            Some(keys) if self.auth == Auth::Basic && keys.each().iter().any(|key| !key.named) => {
                return Err(
                    "`auth` = `basic` asks callers for a name, and the key has none: write `NAME=KEY`".to_owned()
                );
            }
            Some(_) if !wants_keys => {
                return Err(format!(
                    "`api_key` or `api_key_file` is set and `auth` = `{}` asks nobody for it: set `auth` to `api_key` or \
                     `basic`, or remove the key",
                    self.auth
                ));
            }
            Some(_) | None => {}
        }
        self.settle_tls()
    }

    fn settle_tls(&self) -> Result<(), String> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => return Err("`tls_cert` is set without `tls_key`: set both".to_owned()),
            (None, Some(_)) => return Err("`tls_key` is set without `tls_cert`: set both".to_owned()),
            (None, None) if self.auth == Auth::Mtls => {
                return Err("`auth` = `mtls` knows callers by their certificates: set `tls_cert`, `tls_key` and \
                            `tls_client_ca`"
                    .to_owned());
            }
            (None, None) if self.tls_client_ca.is_some() => {
                return Err("`tls_client_ca` is set and TLS is not spoken: set `tls_cert` and `tls_key`".to_owned());
            }
            (Some(_), Some(_)) if matches!(self.listen, Listen::Unix(_)) => {
                return Err(format!(
                    "`listen` = `{}` is a socket of this machine, on which TLS is not spoken",
                    self.listen
                ));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        match (&self.tls_client_ca, self.auth) {
            (None, Auth::Mtls) => {
                Err("`auth` = `mtls` needs `tls_client_ca`: who signs callers' certificates".to_owned())
            }
            (Some(_), Auth::None | Auth::Basic | Auth::ApiKey) => Err(format!(
                "`tls_client_ca` is set and `auth` = `{}` asks nobody for a certificate: set `auth` to `mtls`, or remove it",
                self.auth
            )),
            (Some(_), Auth::Mtls) | (None, _) => Ok(()),
        }
    }
}

fn keys_of(path: &Path) -> Result<ApiKeys, String> {
    let wrong = |what: &dyn fmt::Display| format!("`api_key_file` = `{}`: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    ApiKeys::try_from(text).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    #[test]
    fn keys_have_names_or_stand_alone() {
        let read = |text: &str| ApiKeys::try_from(text.to_owned());
        let names = |text: &str| {
            let keys = read(text).unwrap();
            keys.each().iter().map(|key| (key.name.to_string(), key.reveal().to_owned())).collect::<Vec<_>>()
        };
        let pair = |name: &str, key: &str| (name.to_owned(), key.to_owned());
        assert_eq!(names(KEY), [pair("caller", KEY)]);
        assert_eq!(names(&format!("{KEY}==")), [pair("caller", &format!("{KEY}=="))], "base64");
        assert_eq!(names(&format!("editor={KEY}=\n")), [pair("editor", &format!("{KEY}="))]);
        let two = format!("a={KEY}1, b={KEY}2\na={KEY}3\n");
        assert_eq!(
            names(&two),
            [pair("a", &format!("{KEY}1")), pair("b", &format!("{KEY}2")), pair("a", &format!("{KEY}3"))]
        );
        for wrong in [
            "",
            ",",
            "short",
            &format!("a={KEY},{KEY}9"),
            &format!("a={KEY},b={KEY}"),
            &format!("a b={KEY} x"),
            &format!("my/shop={KEY}"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(!error.contains(KEY), "{error}");
        }
        assert_eq!(format!("{:?}", read(&two).unwrap()), "ApiKeys(3 hidden)");
    }
}

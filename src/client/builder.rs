//! Whom do we ask, and how do we prove who we are?

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    Client, Inner,
    error::Error,
    metadata::{Endpoints, Metadata},
    transport::{Credentials, Route, Transport},
};

/// How long one request may take unless something else is said: a caller that waits longer has a user who has left.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client in the making; see [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder that is not built asks nobody"]
pub struct Builder {
    base: String,
    credentials: Credentials,
    in_clear: bool,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    timeout: Duration,
}

impl Builder {
    pub(super) fn new(base: String) -> Self {
        let credentials = Credentials::default();
        Self { base, credentials, in_clear: false, ca: None, certificate: None, timeout: TIMEOUT }
    }
    /// Sends `Authorization: Bearer KEY`, for a server with `auth = api_key`.
    pub fn bearer(mut self, key: impl Into<String>) -> Self {
        self.credentials = Credentials::Bearer(key.into());
        self
    }
    /// Sends `Authorization: Basic …`, for a server with `auth = basic`.
    pub fn basic(mut self, name: impl Into<String>, key: impl Into<String>) -> Self {
        self.credentials = Credentials::Basic { name: name.into(), key: key.into() };
        self
    }
    /// Shows a client certificate (PEM files), for a server with `auth = mtls`.
    pub fn client_certificate(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.certificate = Some((certificate.as_ref().to_owned(), key.as_ref().to_owned()));
        self
    }
    /// Trusts the authorities of this PEM file, and no others. Without it: the system's.
    pub fn ca_file(mut self, file: impl AsRef<Path>) -> Self {
        self.ca = Some(file.as_ref().to_owned());
        self
    }
    /// How long one request may take, from looking up the name to the answer's last byte: 5 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
    /// Lets a key travel over `http://` to another machine, where something else encrypts the way.
    pub const fn allow_key_in_clear(mut self) -> Self {
        self.in_clear = true;
        self
    }

    /// The client. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Setup`]: the address is none, a file cannot be used, or a key would be readable on its way.
    pub fn build(self) -> Result<Client, Error> {
        let transport = self.open()?;
        let endpoints = Endpoints::usual(&transport);
        Ok(Client::of(Inner { identifier: self.base, transport, endpoints }))
    }

    /// The client, with its endpoints from the decision point's metadata. The base URL is the decision point's identifier
    /// to the letter: `public_url` of the server.
    ///
    /// # Errors
    /// As [`build`](Self::build), and whatever keeps the metadata from being read or believed.
    pub fn discover(self) -> Result<Client, Error> {
        let transport = self.open()?;
        let endpoints = Metadata::fetch(&transport, &self.base)?.into_endpoints();
        Ok(Client::of(Inner { identifier: self.base, transport, endpoints }))
    }

    fn open(&self) -> Result<Transport, Error> {
        let certificate = self.certificate.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let credentials = self.credentials.clone();
        let route = Route { credentials, ca: self.ca.as_deref(), certificate, timeout: self.timeout, at: None };
        let transport = Transport::open(&self.base, &route)?;
        if transport.shows_key() && !self.in_clear {
            let why = format!("a key sent to `{}` could be read on its way: use an address with `https://`", self.base);
            return Err(Error::Setup(why));
        }
        Ok(transport)
    }
}

impl Client {
    fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), fresh: super::Fresh::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_travel_in_the_clear_unless_somebody_says_so() {
        for (base, fine) in [
            ("https://pdp.example.com", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost:8080", true),
            ("http://pdp.example.com", false),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(Client::builder(base).bearer("a key").build().is_ok(), fine, "{base}");
            assert_eq!(Client::builder(base).basic("app", "a key").build().is_ok(), fine, "{base}");
            assert!(Client::builder(base).build().is_ok(), "{base}");
            assert!(Client::builder(base).bearer("a key").allow_key_in_clear().build().is_ok(), "{base}");
        }
    }

    #[test]
    fn a_builder_shows_no_key() {
        let builder = Client::builder("https://h").basic("app", "correct-horse");
        assert!(!format!("{builder:?} {:?}", builder.clone().build().unwrap()).contains("horse"));
    }
}

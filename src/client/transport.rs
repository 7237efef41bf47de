//! How does one request get to the server and its answer back? One place for the client and the command line.
//!
//! Blocking, on kept connections. No redirect is followed: an answer from elsewhere is not the answer of whom we asked,
//! and a key is not for whoever the server points at. There is no proxy and no cookie. TLS is rustls on ring, as
//! everywhere in this program, and trusts either one file of authorities or the system's.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio_rustls::rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use ureq::{
    Agent, Body,
    config::Config,
    http::{
        HeaderValue, Method, Request, Response, Uri,
        header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap},
    },
    tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem},
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use super::error::Error;

/// Longest answer that is read, in bytes. The longest page of results is a fraction of it.
const MAX_ANSWER: u64 = 8 * 1024 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: &str = concat!("mandate/", env!("CARGO_PKG_VERSION"));

/// How a server is reached, and how it knows us.
#[derive(Clone)]
pub(crate) struct Route<'a> {
    pub credentials: Credentials,
    /// A file of authorities; none: the system's.
    pub ca: Option<&'a Path>,
    /// A client certificate's file, and its key's.
    pub certificate: Option<(&'a Path, &'a Path)>,
    pub timeout: Duration,
    /// Where to connect to, whatever the base URL's name resolves to.
    pub at: Option<SocketAddr>,
}

/// What a caller proves itself by.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    #[default]
    None,
    Bearer(String),
    Basic {
        name: String,
        key: String,
    },
}

/// Never shows a key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bearer(_) => "Bearer, hidden",
            Self::Basic { .. } => "Basic, hidden",
        })
    }
}

impl Credentials {
    /// As the header says them. Name and key of `Basic` are encoded first, as OAuth 2.0 (RFC 6749 §2.3.1) asks, so
    /// that either may have a colon in it.
    fn header(&self) -> Result<Option<HeaderValue>, Error> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Bearer(key) => format!("Bearer {key}"),
            Self::Basic { name, key } => {
                format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(name), encoded(key))))
            }
        };
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| Error::Setup("the key has characters in it that no header can carry".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What came back, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    /// The body of a `200`.
    pub fn json(&self) -> Result<Value, Error> {
        if self.status != 200 {
            return Err(Error::of_status(self.status, &self.body, self.header("x-request-id").map(str::to_owned)));
        }
        let kind = self.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("application/json") {
            return Err(Error::NotAnAnswer(format!("its content type is `{kind}`, not `application/json`")));
        }
        serde_json::from_slice(&self.body).map_err(|error| Error::NotAnAnswer(format!("it is not JSON: {error}")))
    }
}

/// An open way to one server.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    base: String,
    agent: Agent,
    authorization: Option<HeaderValue>,
}

impl Transport {
    /// A way to the server at `base`, such as `https://pdp.example.com`. Nothing is sent yet.
    pub fn open(base: &str, route: &Route<'_>) -> Result<Self, Error> {
        let uri = address(base)?;
        let mut config = Agent::config_builder()
            .timeout_global(Some(route.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(AGENT)
            // A proxy of the environment is for the internet, not for the service beside us.
            .proxy(None);
        if uri.scheme_str() == Some("https") {
            config = config.tls_config(tls(route)?);
        } else if route.ca.is_some() || route.certificate.is_some() {
            return Err(Error::Setup(format!("`{base}` has no TLS: a certificate needs an address with `https://`")));
        }
        let config: Config = config.build();
        let agent = match route.at {
            None => Agent::new_with_config(config),
            Some(address) => Agent::with_parts(config, DefaultConnector::default(), Always(address)),
        };
        let authorization = route.credentials.header()?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), agent, authorization })
    }

    /// Whether others than this machine could read the key on its way.
    pub fn shows_key(&self) -> bool {
        self.authorization.is_some()
            && self.base.starts_with("http://")
            && address(&self.base).is_ok_and(|uri| !is_near(&uri))
    }
    /// The URL of a path below it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
    /// The same way without credentials.
    pub fn anonymous(&self) -> Self {
        Self { authorization: None, ..self.clone() }
    }

    /// Sends a request, and waits for its answer.
    pub fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, Error> {
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT, JSON);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let unsendable = |error: ureq::http::Error| Error::Setup(format!("the request cannot be sent: {error}"));
        let answered = match body {
            Some(body) => {
                let request = request.header(CONTENT_TYPE, JSON).body(body.to_string()).map_err(unsendable)?;
                self.agent.run(request)
            }
            None => self.agent.run(request.body(()).map_err(unsendable)?),
        };
        answered.and_then(whole).map_err(|error| Error::Unreachable { server: self.base.clone(), why: why(&error) })
    }
}

fn whole(mut response: Response<Body>) -> Result<Reply, ureq::Error> {
    let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
    Ok(Reply { status: response.status().as_u16(), headers: std::mem::take(response.headers_mut()), body })
}

/// What the connection said, with the causes that the library's own sentence leaves out.
fn why(error: &ureq::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    // What these say to whoever knows TLS, in words for everybody else.
    let hints = [
        ("UnknownIssuer", "; name the file of the authority that signed the server's certificate"),
        ("InvalidContentType", "; does the server speak plain HTTP? Then write `http://`"),
        ("invalid HTTP version", "; does the server speak TLS? Then write `https://`"),
    ];
    for (sign, hint) in hints {
        if text.contains(sign) {
            text.push_str(hint);
        }
    }
    text
}

/// Reads a base URL: http or https, a host, perhaps a path.
pub(super) fn address(base: &str) -> Result<Uri, Error> {
    let wrong = || {
        Error::Setup(format!(
            "`{base}` is not the address of a server: write it as `https://pdp.example.com` or `http://127.0.0.1:8080`"
        ))
    };
    let uri: Uri = base.parse().map_err(|_| wrong())?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.authority().is_some_and(|named| !named.host().is_empty() && !named.as_str().contains('@'));
    if scheme && host && !base.contains(['?', '#']) { Ok(uri) } else { Err(wrong()) }
}

/// Whether nobody but this machine hears what is sent there.
fn is_near(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whoever is asked for, connects there. The name still has to be in the certificate.
#[derive(Debug)]
struct Always(SocketAddr);

impl Resolver for Always {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}

fn tls(route: &Route<'_>) -> Result<TlsConfig, Error> {
    let roots = match route.ca {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect(),
    };
    let identity = route.certificate.map(|(certificate, key)| identity(certificate, key)).transpose()?;
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(identity)
        .build())
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| Error::Setup(format!("cannot read `{}`: {error}", file.display())))
}

/// The certificates of a PEM file, each of which can be one.
fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let wrong = |why: &str| Error::Setup(format!("`{}` {why}", file.display()));
    let mut found = Vec::new();
    for item in parse_pem(&read(file)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| wrong("is not well-formed PEM"))? {
            RootCertStore::empty()
                .add(CertificateDer::from(certificate.der()))
                .map_err(|error| wrong(&format!("has a certificate in it that cannot be used: {error}")))?;
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(wrong("has no certificate in it: PEM is expected")) } else { Ok(found) }
}

fn identity(certificate: &Path, key: &Path) -> Result<ClientCert, Error> {
    let chain = certificates(certificate)?;
    let text = read(key)?;
    let no_key = || Error::Setup(format!("`{}` has no private key in it: PEM is expected", key.display()));
    let own = PrivateKey::from_pem(&text).map_err(|_| no_key())?;
    // What does not belong together would be found out in the middle of the first call, by a panic.
    let der = PrivateKeyDer::from_pem_slice(&text).map_err(|_| no_key())?;
    let shown = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    CertifiedKey::from_der(shown, der, &ring::default_provider()).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        Error::Setup(format!("`{certificate}` and `{key}` cannot be used together: {error}"))
    })?;
    Ok(ClientCert::new_with_certs(&chain, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(base: &str, credentials: Credentials) -> Result<Transport, Error> {
        let timeout = Duration::from_secs(1);
        Transport::open(base, &Route { credentials, ca: None, certificate: None, timeout, at: None })
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_no_more_than_a_path() {
        for good in ["http://127.0.0.1:8080", "https://pdp.example.com/", "https://[::1]:8443/tenants/one"] {
            assert!(open(good, Credentials::None).is_ok(), "{good}");
        }
        for bad in
            ["", "pdp", "pdp:8080", "/x", "ftp://pdp", "http://", "http://me@pdp", "https://pdp?x", "https://pdp/#x"]
        {
            let why = open(bad, Credentials::None).unwrap_err().to_string();
            assert!(why.contains("not the address of a server"), "{bad}: {why}");
        }
    }

    #[test]
    fn credentials_as_they_are_sent() {
        let sent = |credentials: Credentials| {
            let transport = open("http://localhost", credentials.clone()).unwrap();
            assert!(!format!("{transport:?} {credentials:?}").contains("s3cret"), "a key is never shown");
            transport.authorization.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(sent(Credentials::None), None);
        assert_eq!(sent(Credentials::Bearer("s3cret".into())).unwrap(), "Bearer s3cret");
        let basic = Credentials::Basic { name: "the app:1".into(), key: "s3cret/+ä".into() };
        let sent = sent(basic).unwrap();
        let decoded = STANDARD.decode(sent.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), "the%20app%3A1:s3cret%2F%2B%C3%A4");
        assert!(open("http://localhost", Credentials::Bearer("a\nb".into())).is_err());
    }

    #[test]
    fn certificates_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let opened = |base: &str, text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let timeout = Duration::from_secs(1);
            let route = Route { credentials: Credentials::None, ca: Some(&file), certificate: None, timeout, at: None };
            Transport::open(base, &route).unwrap_err().to_string()
        };
        assert!(opened("https://pdp", None).contains("cannot read"));
        assert!(opened("https://pdp", Some("nothing")).contains("no certificate in it"));
        let planted = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(opened("https://pdp", Some(planted)).contains("cannot be used"));
        assert!(opened("http://pdp", Some(planted)).contains("has no TLS"));
    }
}

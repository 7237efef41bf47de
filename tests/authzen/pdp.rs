//! The program as a decision point that others can reach: TLS, a public name, policy domains, and callers that say who
//! they are in each of the ways there are.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    caller_certificates, certificates,
    client::{Call, Caller},
    server::{Installation, Server},
};

/// The domain of the certification scenario.
pub const CERT: &str = "authzen-cert";
/// Every domain among the examples.
pub const DOMAINS: [&str; 3] = [CERT, "documents", "gateway"];
/// Who asks.
pub const NAME: &str = "suite";
/// With what: everything that a bearer token may be made of.
pub const KEY: &str = "k.e-y/with+odd~signs_1==";
/// Somebody else who may ask, with a key that a form has to escape.
pub const OTHER: (&str, &str) = ("other", "another:key%20of?some&body");
/// Between a host and the path of an identifier.
pub const WELL_KNOWN: &str = "/.well-known/authzen-configuration";

/// How callers say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Open,
    Basic,
    ApiKey,
    Mtls,
}

impl Variant {
    /// What the setting `auth` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "none",
            Self::Basic => "basic",
            Self::ApiKey => "api_key",
            Self::Mtls => "mtls",
        }
    }
}

/// Where a domain's folder is.
pub fn folder(domain: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(domain)
}

/// A running decision point.
pub struct Pdp {
    pub installation: Installation,
    _server: Server,
    /// What documents call it.
    pub url: String,
    pub variant: Variant,
}

impl Pdp {
    pub fn start(variant: Variant) -> Self {
        Self::start_with(variant, Installation::new(), &[])
    }
    /// One with further settings, which replace those that it would have.
    pub fn start_with(variant: Variant, installation: Installation, settings: &[(&str, &str)]) -> Self {
        Self::begin(variant, installation, settings, true)
    }
    /// One that has not been told its name.
    pub fn unnamed(variant: Variant) -> Self {
        Self::begin(variant, Installation::new(), &[], false)
    }
    fn begin(variant: Variant, mut installation: Installation, settings: &[(&str, &str)], named: bool) -> Self {
        let at = installation.folder().to_owned();
        certificates::make(&at);
        caller_certificates::make(&at);
        let path = |name: &str| at.join(name).to_str().unwrap().to_owned();
        let domains = DOMAINS.map(|name| format!("{name}={}", folder(name).display())).join(",");
        installation
            .set("MANDATE_AUTH", variant.name())
            .set("MANDATE_TLS_CERT", path("server.pem"))
            .set("MANDATE_TLS_KEY", path("server.key"))
            .set("MANDATE_DOMAINS", domains);
        match variant {
            Variant::Open => {}
            Variant::Basic | Variant::ApiKey => {
                installation.set("MANDATE_API_KEY", format!("{NAME}={KEY},{}={}", OTHER.0, OTHER.1));
            }
            Variant::Mtls => {
                installation.set("MANDATE_TLS_CLIENT_CA", path("callers-ca.pem"));
            }
        }
        for (name, value) in settings {
            installation.set(name, *value);
        }
        let (url, server) = serve(&mut installation, named);
        Self { installation, _server: server, url, variant }
    }

    /// The identifier of a domain.
    pub fn identifier(&self, domain: &str) -> String {
        format!("{}/{domain}", self.url)
    }
    /// Somebody who may ask.
    pub fn caller(&self) -> Caller {
        match self.variant {
            Variant::Open => self.anonymous(),
            Variant::Basic => self.anonymous().authorized(Some(basic(NAME, KEY))),
            Variant::ApiKey => self.anonymous().authorized(Some(format!("Bearer {KEY}"))),
            Variant::Mtls => self.with_certificate("caller"),
        }
    }
    /// Somebody who says nothing of who they are.
    pub fn anonymous(&self) -> Caller {
        Caller::new(&self.file("ca.pem"), None)
    }
    /// Somebody with this certificate.
    pub fn with_certificate(&self, name: &str) -> Caller {
        let (certificate, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        Caller::new(&self.file("ca.pem"), Some((&certificate, &key)))
    }
    fn file(&self, name: &str) -> PathBuf {
        self.installation.folder().join(name)
    }
}

/// Starts the server under a name with a port that is known before; another process may take that port first, and then
/// another one is tried.
fn serve(installation: &mut Installation, named: bool) -> (String, Server) {
    let mut last = None;
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("https://localhost:{port}");
        installation.set("MANDATE_LISTEN", format!("127.0.0.1:{port}"));
        if named {
            installation.set("MANDATE_PUBLIC_URL", url.as_str());
        }
        match installation.try_start() {
            Ok(server) => return (url, server),
            Err(failed) if failed.log.contains("in use") => last = Some(failed),
            Err(failed) => panic!("the server did not start ({}):\n{}", failed.status, failed.log),
        }
    }
    panic!("no free port: {last:?}")
}

/// `Authorization` as OAuth clients write it: both halves as in a form, then base64.
pub fn basic(name: &str, key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", escaped(name), escaped(key))))
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// What the metadata of one decision point says: the only way to its endpoints.
pub struct Discovered {
    endpoints: BTreeMap<&'static str, String>,
}

/// Where the metadata of an identifier is.
pub fn metadata_url(identifier: &str) -> String {
    let (scheme, rest) = identifier.split_once("://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{host}{WELL_KNOWN}{path}")
}

impl Discovered {
    /// Reads the metadata of `identifier` without saying who asks.
    #[track_caller]
    pub fn of(pdp: &Pdp, identifier: &str) -> Self {
        let answer = pdp.anonymous().call(&Call::new("GET", &metadata_url(identifier)));
        assert_eq!(answer.status, 200, "the metadata of {identifier}: {answer}");
        let document: Value = answer.json();
        assert_eq!(document["policy_decision_point"], identifier);
        let endpoints = [
            ("evaluation", "access_evaluation_endpoint"),
            ("evaluations", "access_evaluations_endpoint"),
            ("subject", "search_subject_endpoint"),
            ("resource", "search_resource_endpoint"),
            ("action", "search_action_endpoint"),
        ];
        let endpoints = endpoints.map(|(name, member)| {
            let url = document[member].as_str().unwrap_or_else(|| panic!("no `{member}` in {document}"));
            (name, url.to_owned())
        });
        Self { endpoints: endpoints.into() }
    }
    pub fn url(&self, endpoint: &str) -> &str {
        &self.endpoints[endpoint]
    }
    pub fn urls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.endpoints.iter().map(|(name, url)| (*name, url.as_str()))
    }
}

//! Who may call, and over what: TLS, keys and certificates.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use crate::{
    certificates,
    http::{Answer, Call, Client, Connection, now_s, transition},
    server::{Installation, Server, until},
    worlds,
};

const KEY: &str = "a-key-of-sixteen-and-more";
const QUESTION: &str = r#"{"subject":{"type":"user","id":"maria"},"action":{"name":"PublishSite"},"resource":{"type":"site","id":"bakery"}}"#;

/// One caller over TLS, for one call.
struct Tls {
    config: Arc<ClientConfig>,
    address: SocketAddr,
}

impl Tls {
    /// One who believes the authority of a folder, with a certificate of the folder `own` or none.
    fn new(server: &Server, folder: &Path, own: Option<(&Path, &str)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((folder, name)) => {
                let cert = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        Self { config: Arc::new(config), address: server.address() }
    }
    fn open(&self) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(StreamOwned::new(connection, stream))
    }
    fn try_call(&self, call: &Call) -> io::Result<Answer> {
        let mut connection = Connection::over(self.open()?);
        connection.send(&call.bytes())?;
        connection.read()
    }
    fn call(&self, call: &Call) -> Answer {
        self.try_call(call).unwrap()
    }
    /// The first certificate that the server shows.
    fn shown(&self) -> io::Result<Vec<u8>> {
        let mut stream = self.open()?;
        stream.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut one = [0];
        stream.read_exact(&mut one)?;
        Ok(stream.conn.peer_certificates().unwrap()[0].to_vec())
    }
}

fn installation(auth: &str, folder: &Path) -> Installation {
    let mut installation = Installation::with(&worlds::story());
    installation.set("MANDATE_AUTH", auth);
    installation.set("MANDATE_TLS_CERT", folder.join("server.pem").to_str().unwrap());
    installation.set("MANDATE_TLS_KEY", folder.join("server.key").to_str().unwrap());
    installation.set("MANDATE_PUBLIC_URL", "https://localhost:8443");
    match auth {
        "mtls" => installation.set("MANDATE_TLS_CLIENT_CA", folder.join("ca.pem").to_str().unwrap()),
        "basic" | "api_key" => installation.set("MANDATE_API_KEY", format!("editor={KEY},shop=another-{KEY}")),
        _ => &mut installation,
    };
    installation
}

fn question() -> Call {
    Call::new("POST", "/access/v1/evaluation").header("content-type", "application/json").raw(QUESTION)
}

/// Each kind of credentials: the right ones are let in, everything else is a 401 that says what to send, on every path but
/// those of discovery, and of a TLS listener nothing is to be had without TLS.
#[test]
fn only_known_callers_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    certificates::make(folder.path());
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (auth, right, wrong, challenge) in [
        ("api_key", format!("Bearer {KEY}"), format!("Bearer {KEY}x"), "Bearer"),
        ("basic", basic(&format!("shop:another-{KEY}")), basic(&format!("shop:{KEY}")), "Basic"),
    ] {
        let server = installation(auth, folder.path()).start();
        let caller = Tls::new(&server, folder.path(), None);
        let answer = caller.call(&question().header("authorization", &right));
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"decision":true}"#), "{auth}");
        for call in [
            question(),
            question().header("authorization", &wrong),
            question().header("authorization", "undefined"),
            Call::new("GET", "/v1/sites/bakery"),
            Call::new("GET", "/openapi.json"),
            Call::new("GET", "/nowhere"),
            Call::new("DELETE", "/access/v1/evaluation"),
        ] {
            let answer = caller.call(&call.header("x-request-id", "mine"));
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{auth}: {answer}");
            assert!(answer.header("www-authenticate").unwrap().starts_with(challenge), "{answer}");
            assert_eq!(answer.header("x-request-id"), Some("mine"));
        }
        let answer = caller.call(&Call::new("GET", "/.well-known/authzen-configuration"));
        assert_eq!(answer.status, 200, "discovery is for everybody");
        let plain = Client::new(server.address()).try_call(&question().header("authorization", &right));
        assert!(plain.is_err(), "without TLS: {plain:?}");
        assert_eq!(server.admin().get("/readyz").status, 200, "health is asked without credentials");
        assert!(!server.log().contains(KEY), "no key is logged");
    }
}

#[test]
fn a_certificate_of_the_authority_is_let_in() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates::make(folder.path());
    certificates::make(other.path());
    certificates::sign(folder.path(), "shop", "URI:spiffe://example/shop");
    certificates::sign(other.path(), "thief", "URI:spiffe://example/shop");
    let server = installation("mtls", folder.path()).start();
    let caller = |own| Tls::new(&server, folder.path(), own);
    assert_eq!(caller(Some((folder.path(), "shop"))).call(&question()).text(), r#"{"decision":true}"#);
    let none = caller(None).call(&question());
    assert_eq!((none.status, none.code().as_str()), (401, "unauthenticated"), "{none}");
    assert_eq!(caller(None).call(&Call::new("GET", "/.well-known/authzen-configuration")).status, 200);
    let thief = caller(Some((other.path(), "thief"))).try_call(&question());
    assert!(thief.is_err(), "another authority's certificate: {thief:?}");
}

/// A session that is taken up again shows no certificate, and one that has expired since would count on.
#[test]
fn certificates_are_shown_anew_on_each_connection() {
    let folder = tempfile::tempdir().unwrap();
    certificates::make(folder.path());
    certificates::sign(folder.path(), "shop", "URI:spiffe://example/shop");
    for (auth, own, expected) in
        [("mtls", Some((folder.path(), "shop")), HandshakeKind::Full), ("none", None, HandshakeKind::Resumed)]
    {
        let server = installation(auth, folder.path()).start();
        let caller = Tls::new(&server, folder.path(), own);
        let mut kind = None;
        for _ in 0..3 {
            let mut stream = caller.open().unwrap();
            stream.write_all(&question().header("connection", "close").bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.ends_with(br#"{"decision":true}"#), "{auth}");
            kind = stream.conn.handshake_kind();
        }
        assert_eq!(kind, Some(expected), "{auth}");
    }
}

/// A caller that is not known is answered before its body has come, and never has to send it.
#[test]
fn the_body_of_a_stranger_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    certificates::make(folder.path());
    let server = installation("api_key", folder.path()).start();
    let caller = Tls::new(&server, folder.path(), None);
    let mut connection = Connection::over(caller.open().unwrap());
    let head = "POST /access/v1/evaluation HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{";
    connection.send(head.as_bytes()).unwrap();
    assert_eq!(connection.read().unwrap().status, 401);
}

/// Callers do not share idempotency keys: the same one is another command when another caller sends it.
#[test]
fn each_caller_has_its_own_idempotency_keys() {
    let folder = tempfile::tempdir().unwrap();
    certificates::make(folder.path());
    let server = installation("api_key", folder.path()).start();
    let caller = Tls::new(&server, folder.path(), None);
    let body = |role: &str| json!({"actor": "user:maria", "auth_time": now_s(), "command": "grant_role", "user": "user:tina", "role": role});
    let send = |key: &str, role: &str| {
        let call = transition("bakery", "once", &body(role)).header("authorization", &format!("Bearer {key}"));
        let answer = caller.call(&call);
        (answer.status, answer.code())
    };
    let other = format!("another-{KEY}");
    assert_eq!(send(KEY, "Viewer").0, 200);
    assert_eq!(send(KEY, "WebsiteDesigner"), (422, "key_reused".to_owned()), "the same caller's key is used");
    assert_eq!(
        send(&other, "WebsiteDesigner"),
        (409, "has_role".to_owned()),
        "another caller's is not: the command is looked at"
    );
}

/// A certificate is renewed by writing its files; half of a pair changes nothing, and open connections go on.
#[test]
fn certificates_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    certificates::make(folder.path());
    let server = installation("none", folder.path()).start();
    let caller = Tls::new(&server, folder.path(), None);
    let first = caller.shown().unwrap();
    assert_eq!(first, CertificateDer::from_pem_file(folder.path().join("server.pem")).unwrap().to_vec());
    let mut kept = Connection::over(caller.open().unwrap());
    kept.send(&question().bytes()).unwrap();
    assert_eq!(kept.read().unwrap().status, 200);
    certificates::sign(folder.path(), "next", "DNS:localhost");
    let put = |name: &str, to: &str| std::fs::copy(folder.path().join(name), folder.path().join(to)).unwrap();
    put("next.pem", "server.pem");
    until("half a pair is noticed", || server.log().contains("cannot be used").then_some(()));
    assert_eq!(caller.shown().unwrap(), first, "half a pair is not used");
    // What was in the way may not be what was looked at.
    std::fs::remove_file(folder.path().join("server.key")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("later.key"), folder.path().join("server.key")).unwrap();
    until("a file that is not there yet is noticed", || server.log().contains("cannot read").then_some(()));
    put("next.key", "later.key");
    let next = CertificateDer::from_pem_file(folder.path().join("next.pem")).unwrap().to_vec();
    until("the new certificate is shown", || (caller.shown().unwrap() == next).then_some(()));
    kept.send(&question().bytes()).unwrap();
    assert_eq!(kept.read().unwrap().status, 200, "an open connection goes on");
}

/// Whoever connects and does not greet is let go, and holds nobody else up.
#[test]
fn a_silent_caller_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    certificates::make(folder.path());
    let mut installation = installation("none", folder.path());
    installation.set("MANDATE_LIMITS__HEADER_TIMEOUT", "1s");
    let mut server = installation.start();
    let silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert_eq!(Tls::new(&server, folder.path(), None).call(&question()).status, 200);
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let mut rest = Vec::new();
        // The end of the stream, or a reset.
        assert!(stream.read_to_end(&mut rest).is_ok_and(|read| read == 0) || rest.is_empty());
    }
    let begin = Instant::now();
    let _greeting = TcpStream::connect(server.address()).unwrap();
    assert_eq!(server.stop(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(30));
}

/// Settings, and what the refusal says.
type Refused<'a> = (Vec<(&'a str, String)>, &'a [&'a str]);

/// What does not go together is refused at start, by name and with what to do.
#[test]
fn settings_of_callers_that_do_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    certificates::make(folder.path());
    certificates::sign(folder.path(), "other", "DNS:other");
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pair = [("TLS_CERT", at("server.pem")), ("TLS_KEY", at("server.key"))];
    let set = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        more.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let cases: Vec<Refused<'_>> = vec![
        (set(&[("AUTH", "jwt")]), &["`auth`", "`jwt`", "`api_key`"]),
        (set(&[("AUTH", "api_key")]), &["`auth` = `api_key`", "`api_key_file`"]),
        (set(&[("AUTH", "basic"), ("API_KEY", KEY)]), &["`basic`", "`NAME=KEY`"]),
        (set(&[("API_KEY", KEY)]), &["`auth` = `none`", "remove the key"]),
        (set(&[("AUTH", "api_key"), ("API_KEY", "short")]), &["16"]),
        (set(&[("AUTH", "api_key"), ("API_KEY", KEY), ("API_KEY_FILE", "/x")]), &["both set"]),
        (set(&[("AUTH", "api_key"), ("API_KEY_FILE", "/nowhere/key")]), &["`/nowhere/key`"]),
        (set(&[("AUTH", "mtls")]), &["`tls_cert`", "`tls_client_ca`"]),
        ([&pair[..], &set(&[("AUTH", "mtls")])].concat(), &["`tls_client_ca`"]),
        ([&pair[..], &set(&[("TLS_CLIENT_CA", &at("ca.pem"))])].concat(), &["`tls_client_ca`", "`mtls`"]),
        (pair[..1].to_vec(), &["`tls_key`"]),
        (pair[1..].to_vec(), &["`tls_cert`"]),
        (vec![pair[0].clone(), ("TLS_KEY", at("other.key"))], &["cannot be used together"]),
        (vec![("TLS_CERT", at("server.key")), pair[1].clone()], &["no certificate in PEM"]),
        (vec![pair[0].clone(), ("TLS_KEY", at("server.pem"))], &["no private key in PEM"]),
        (vec![pair[0].clone(), ("TLS_KEY", at("nothing.key"))], &["cannot read"]),
        (set(&[("METADATA_KEY", &at("server.key"))]), &["`public_url`"]),
        (set(&[("METADATA_KEY", &at("server.pem")), ("PUBLIC_URL", "https://x")]), &["cannot sign", "openssl"]),
    ];
    for (settings, said) in cases {
        let mut installation = Installation::new();
        for (name, value) in &settings {
            installation.set(&format!("MANDATE_{name}"), value.as_str());
        }
        let refused = installation.try_start().map(drop).expect_err(&format!("{settings:?}"));
        for word in said {
            assert!(refused.log.contains(word), "{settings:?} without {word}: {}", refused.log);
        }
        assert!(!refused.log.contains(KEY), "{}", refused.log);
    }
}

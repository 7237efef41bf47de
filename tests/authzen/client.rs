//! HTTPS as a third party speaks it: hyper over rustls, with one authority that is trusted, and nothing of ours.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Uri,
    body::{Frame, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

type Body = BoxBody<Bytes, std::io::Error>;

/// A request, as it goes over the wire.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Sent,
}

/// What is sent as a body.
#[derive(Debug, Clone, Default)]
pub enum Sent {
    #[default]
    Nothing,
    Bytes(Vec<u8>),
    /// Without a length, in two chunks.
    Chunks(Vec<u8>),
    /// So many bytes are announced, and none of them ever comes.
    Promised(u64),
}

impl Call {
    pub fn new(method: &'static str, url: &str) -> Self {
        Self { method, url: url.to_owned(), ..Self::default() }
    }
    pub fn post(url: &str, body: &Value) -> Self {
        Self::new("POST", url).header("content-type", "application/json").body(body.to_string())
    }
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Sent::Bytes(body.into());
        self
    }
    /// The same body without its length.
    pub fn in_chunks(mut self) -> Self {
        if let Sent::Bytes(bytes) = self.body {
            self.body = Sent::Chunks(bytes);
        }
        self
    }
    pub fn promising(mut self, bytes: u64) -> Self {
        self.body = Sent::Promised(bytes);
        self
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.text())
    }
}

/// A caller with one kept connection.
pub struct Caller {
    runtime: Runtime,
    tls: TlsConnector,
    authorization: Option<String>,
    open: Option<(String, SendRequest<Body>)>,
}

impl Caller {
    /// One that trusts the authority in `ca`, and shows the certificate `identity` (certificate, key) when there is one.
    pub fn new(ca: &Path, identity: Option<(&Path, &Path)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => config
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_file(certificate).unwrap()],
                    PrivateKeyDer::from_pem_file(key).unwrap(),
                )
                .unwrap(),
        };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, tls: TlsConnector::from(Arc::new(config)), authorization: None, open: None }
    }
    /// Sends this `Authorization` with every request that has none of its own.
    pub fn authorized(mut self, authorization: Option<String>) -> Self {
        self.authorization = authorization;
        self
    }

    #[track_caller]
    pub fn call(&mut self, call: &Call) -> Answer {
        self.try_call(call).unwrap_or_else(|error| panic!("{} {}: {error}", call.method, call.url))
    }
    /// The answer, or why there is none.
    pub fn try_call(&mut self, call: &Call) -> Result<Answer, String> {
        let uri: Uri = call.url.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("https") {
            return Err(format!("`{}` is no https URL", call.url));
        }
        let authority = uri.authority().ok_or("no host")?.to_string();
        let request = self.request(call, &uri, &authority);
        let kept = self.open.take().filter(|(to, sender)| *to == authority && !sender.is_closed());
        let tls = self.tls.clone();
        let exchange = async move {
            let mut sender = match kept {
                Some((_, sender)) => sender,
                None => connect(&tls, &uri).await?,
            };
            sender.ready().await.map_err(|error| format!("the connection was closed: {error}"))?;
            let answer = sender.send_request(request).await.map_err(|error| format!("no answer: {error:?}"))?;
            Ok::<_, String>((sender, read(answer).await?))
        };
        let (sender, answer) = self
            .runtime
            .block_on(async { timeout(PATIENCE, exchange).await })
            .map_err(|_| format!("no answer in {PATIENCE:?}"))??;
        self.open = (!matches!(call.body, Sent::Promised(_))).then_some((authority, sender));
        Ok(answer)
    }
    fn request(&self, call: &Call, uri: &Uri, authority: &str) -> Request<Body> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(call.method).uri(path).header("host", authority);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = &self.authorization
            && !call.headers.iter().any(|(name, _)| *name == "authorization")
        {
            request = request.header("authorization", authorization);
        }
        let whole = |bytes: Vec<u8>| Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed();
        let body = match &call.body {
            Sent::Nothing => whole(Vec::new()),
            Sent::Bytes(bytes) => whole(bytes.clone()),
            Sent::Chunks(bytes) => {
                let (one, two) = bytes.split_at(bytes.len() / 2);
                let chunks = [one, two].map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))));
                StreamBody::new(futures_util::stream::iter(chunks)).boxed()
            }
            Sent::Promised(length) => {
                request = request.header("content-length", *length);
                let never = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
                StreamBody::new(never).boxed()
            }
        };
        request.body(body).unwrap()
    }
}

async fn connect(tls: &TlsConnector, uri: &Uri) -> Result<SendRequest<Body>, String> {
    let host = uri.host().ok_or("no host")?;
    let port = uri.port_u16().unwrap_or(443);
    // The name is this machine's; which of its two addresses a resolver says first is not what is tested.
    let address = if host == "localhost" { "127.0.0.1" } else { host };
    let stream = TcpStream::connect((address, port)).await.map_err(|error| format!("no connection: {error}"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = tls.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(answer: hyper::Response<Incoming>) -> Result<Answer, String> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| format!("half an answer: {error}"))?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_vec() })
}

//! One attempt: look the name up, check every address, connect to one that was checked, send, read the status.
//!
//! The connection is made to the very address that was judged, so a name that answers differently the next time gains
//! nothing; there is no proxy, no redirect, no cookie and no kept connection. Of the answer only the status and
//! `Retry-After` are read: what a subscriber writes reaches neither a log nor a caller. A whole HTTP client lost: each
//! of these would be a setting to find and to turn off, and the check of the address its extension point.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::envelope::{Envelope, MEDIA_TYPE};
use crate::{
    config::{SigningSecret, WebhookUrl, address},
    store::delivery::Failed,
};

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// As it is kept and shown.
    pub failed: Failed,
    /// Whether another attempt could succeed.
    pub again: bool,
    /// `Retry-After`, as it was written.
    pub retry_after: Option<String>,
}

impl Trouble {
    const fn on_the_way(kind: &'static str) -> Self {
        Self { failed: Failed { kind, status: None }, again: true, retry_after: None }
    }
}

/// Where deliveries go.
pub struct Post {
    url: WebhookUrl,
    secret: SigningSecret,
    allow_private: bool,
    timeout: Duration,
    tls: Option<TlsConnector>,
}

/// What a socket is to HTTP.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Post {
    pub fn new(url: WebhookUrl, secret: SigningSecret, allow_private: bool, timeout: Duration) -> Result<Self, String> {
        let tls = if url.tls() { Some(tls()?) } else { None };
        Ok(Self { url, secret, allow_private, timeout, tls })
    }

    /// Sends one event; `Ok` when the subscriber says that it has it.
    pub async fn send(&self, event: &Envelope, timestamp: i64) -> Result<(), Trouble> {
        match timeout(self.timeout, self.attempt(event, timestamp)).await {
            Ok(ended) => ended,
            Err(_) => Err(Trouble::on_the_way("timeout")),
        }
    }

    async fn attempt(&self, event: &Envelope, timestamp: i64) -> Result<(), Trouble> {
        let addresses = self.addresses().await?;
        let wire = self.connect(&addresses).await?;
        let broken = |_: hyper::Error| Trouble::on_the_way("connection_broken");
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(broken)?;
        // Ends with this attempt, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = self.request(event, timestamp).map_err(|_| Trouble::on_the_way("invalid_request"))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        judge(answer.status(), retry_after.and_then(|value| value.to_str().ok()))
    }

    /// The addresses behind the name; if one of them is refused, none is used.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Trouble> {
        let found = tokio::net::lookup_host((self.url.host(), self.url.port())).await;
        let addresses: Vec<SocketAddr> = found.map_err(|_| Trouble::on_the_way("name_unknown"))?.collect();
        if addresses.is_empty() {
            return Err(Trouble::on_the_way("name_unknown"));
        }
        let refused = |found: &SocketAddr| address::refused(found.ip()).is_some();
        if !self.allow_private && addresses.iter().any(refused) {
            return Err(Trouble::on_the_way("address_refused"));
        }
        Ok(addresses)
    }

    async fn connect(&self, addresses: &[SocketAddr]) -> Result<Box<dyn Wire>, Trouble> {
        // One address that does not answer must not use up the time of the others.
        let share = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut slow = false;
        for address in addresses {
            let stream = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(_)) => continue,
                Err(_) => {
                    slow = true;
                    continue;
                }
            };
            // Fails only where the connection is gone already.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
            let refused = || Trouble::on_the_way("tls");
            let name = ServerName::try_from(self.url.host().to_owned()).map_err(|_| refused())?;
            return Ok(Box::new(tls.connect(name, stream).await.map_err(|_| refused())?));
        }
        Err(Trouble::on_the_way(if slow { "timeout" } else { "unreachable" }))
    }

    fn request(&self, event: &Envelope, timestamp: i64) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let uri = self.url.uri();
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut signature = HeaderValue::from_str(&event.sign(self.secret.key(), timestamp))?;
        signature.set_sensitive(true);
        Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header(header::USER_AGENT, concat!("mandate/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(event.body.clone())))
    }
}

/// What a status means.
fn judge(status: StatusCode, retry_after: Option<&str>) -> Result<(), Trouble> {
    if status.is_success() {
        return Ok(());
    }
    let again = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let failed = Failed { kind: "status", status: Some(status.as_u16()) };
    Err(Trouble { failed, again, retry_after: retry_after.map(str::to_owned).filter(|_| again) })
}

/// TLS that believes the certificates that the machine believes.
fn tls() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "there is no certificate on this machine to check a webhook's with: install `ca-certificates`, or \
                    name a file of certificates in SSL_CERT_FILE"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_success_or_tried_again_or_neither() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judge(StatusCode::from_u16(status).unwrap(), None), Ok(()), "{status}");
        }
        for (again, statuses) in [
            (true, &[408, 425, 429, 500, 502, 503, 504, 599][..]),
            (false, &[300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 413, 422]),
        ] {
            for &status in statuses {
                let trouble = judge(StatusCode::from_u16(status).unwrap(), Some("7")).unwrap_err();
                assert_eq!(trouble.again, again, "{status}");
                assert_eq!(trouble.retry_after.is_some(), again, "{status}");
            }
        }
    }
}

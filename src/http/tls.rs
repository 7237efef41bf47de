//! How is TLS spoken? The control listener's certificate, and the callers' own.
//!
//! The files are looked at once a second and read again when they change, so that a certificate is renewed by writing it:
//! no signal, no restart, and a connection that is open goes on. Files that cannot be used, as when half of a pair is
//! written, are told in the log and change nothing; at start they are an error.
//!
//! A caller's certificate is asked for and not insisted on: one that nobody known signed ends the handshake, one that is
//! missing gets a `401` that says so. TLS 1.2 and 1.3, and HTTP/1.1 only.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;
use smol_str::SmolStr;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{NoServerSessionStorage, WebPkiClientVerifier},
    },
    server::TlsStream,
};
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::callers::Caller;
use crate::{
    clock::{Clock as _, SystemClock},
    config::TlsFiles,
    digest,
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of a caller's name.
const MOST_NAME: usize = 255;

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("`{}` has no {wanted} in PEM: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong.
        why: String,
    },
    /// They are well formed and cannot be used together.
    #[error("`{}` and `{}` cannot be used together: {why}", cert.display(), key.display())]
    Unusable {
        /// The certificate.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// TLS as the files say.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    /// What they looked like when they were first read.
    opened: Look,
    now: RwLock<Arc<ServerConfig>>,
}

/// What tells whether a file is the one that was read.
type Look = Vec<Option<(u64, u64, i64, i64, u64)>>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One is missing, or holds something else, or they do not belong together.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let opened = look(&files);
        let now = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { files, opened, now })
    }

    /// Keeps looking whether the files have changed. Ends never.
    pub async fn watch(&self) {
        let mut seen = self.opened.clone();
        // What is being written is looked at once more before it is believed to be whole.
        let (mut pending, mut told) = (None, String::new());
        loop {
            tokio::time::sleep(LOOK).await;
            let look = look(&self.files);
            if look == seen {
                pending = None;
                continue;
            }
            if pending.as_ref() != Some(&look) {
                pending = Some(look);
                continue;
            }
            match read(&self.files) {
                Ok(config) => {
                    *self.now.write() = Arc::new(config);
                    tracing::info!(cert = %self.files.cert.display(), "certificates read again");
                    (seen, pending, told) = (look, None, String::new());
                }
                // Tried again each second, because what is in the way may not be what is looked at; told once.
                Err(error) => {
                    let error = error.to_string();
                    if error != told {
                        tracing::error!(
                            error,
                            "certificates have changed and cannot be used, going on with the old ones"
                        );
                        told = error;
                    }
                }
            }
        }
    }

    /// Greets a caller, within `limit`.
    pub(super) async fn accept(&self, stream: TcpStream, limit: Duration) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.now.read());
        timeout(limit, TlsAcceptor::from(config).accept(stream)).await?
    }
}

fn look(files: &TlsFiles) -> Look {
    let TlsFiles { cert, key, client_ca } = files;
    let look = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    };
    [Some(cert), Some(key), client_ca.as_ref()].into_iter().flatten().map(look).collect()
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.cert)?;
    let own = chain.first().and_then(|own| Certificate::from_der(own).ok());
    if own.is_some_and(|own| is_over(until(&own))) {
        let cert = files.cert.display();
        tracing::warn!(%cert, "this certificate has expired, and callers refuse it until another one is written there");
    }
    let text = bytes(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| malformed(&files.key, "private key", &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |why: &dyn std::fmt::Display| TlsError::Unusable {
        cert: files.cert.clone(),
        key: files.key.clone(),
        why: why.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| malformed(path, "authority", &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| malformed(path, "authority", &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if files.client_ca.is_some() {
        // A session that is taken up again shows no certificate: one that has expired since would count on.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = bytes(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if found.is_empty() => Err(malformed(path, "certificate", &"there is none")),
        Ok(found) => Ok(found),
        Err(error) => Err(malformed(path, "certificate", &error)),
    }
}

fn malformed(path: &Path, wanted: &'static str, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::Malformed { path: path.to_owned(), wanted, why: why.to_string() }
}

/// A caller's certificate.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    caller: Caller,
    /// Until when it counts, in seconds since 1970: a connection may outlive it.
    until: u64,
}

impl Shown {
    /// What a connection's certificate says, which a known authority has signed.
    ///
    /// A caller is called by the first URI in it (a SPIFFE id, for example), else the first DNS name, else a hash of it.
    pub(super) fn on(stream: &TlsStream<TcpStream>) -> Option<Self> {
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        let read = Certificate::from_der(certificate).ok()?;
        let name = named(&read).unwrap_or_else(|| SmolStr::from(digest::sha256(certificate)));
        Some(Self { caller: Caller(name), until: until(&read) })
    }

    /// Whose it is, while it counts.
    pub(super) fn caller(&self) -> Option<&Caller> {
        (!is_over(self.until)).then_some(&self.caller)
    }
}

/// Until when a certificate counts, in seconds since 1970.
fn until(certificate: &Certificate) -> u64 {
    certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs()
}

/// Whether that has passed; a clock from before 1970 does not know.
fn is_over(until: u64) -> bool {
    u64::try_from(SystemClock.now().as_seconds()).map_or(true, |now| now > until)
}

fn named(certificate: &Certificate) -> Option<SmolStr> {
    fn uri(name: &GeneralName) -> Option<&str> {
        if let GeneralName::UniformResourceIdentifier(uri) = name { Some(uri.as_str()) } else { None }
    }
    fn dns(name: &GeneralName) -> Option<&str> {
        if let GeneralName::DnsName(name) = name { Some(name.as_str()) } else { None }
    }
    let (_, names) = certificate.tbs_certificate.get::<SubjectAltName>().ok()??;
    let plain = |name: &&str| (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let name = |wanted: fn(&GeneralName) -> Option<&str>| names.0.iter().find_map(wanted).filter(plain);
    name(uri).or_else(|| name(dns)).map(SmolStr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_counts_until_it_expires() {
        let now = u64::try_from(SystemClock.now().as_seconds()).unwrap();
        let shown = |until| Shown { caller: Caller("shop".into()), until };
        assert_eq!(shown(now + 60).caller(), Some(&Caller("shop".into())));
        assert_eq!(shown(now - 1).caller(), None);
    }
}

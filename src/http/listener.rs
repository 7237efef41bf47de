//! Where do connections come from? A TCP port or a socket in the file system, opened at start and closed at stop.
//!
//! A unix socket appears under its name with its permissions (0660) already set: it is bound beside it and renamed,
//! so that there is no moment in which anybody may connect. A file left behind by a crash is replaced, but only when
//! nothing answers on it and it is a socket; the file is removed at the end only while it is still ours.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::server::TlsStream;

use super::tls::{Shown, Tls};
use crate::config::Listen;

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {reason}")]
pub struct BindError {
    address: Listen,
    reason: io::Error,
}

/// An open address.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Listen,
    tls: Option<Arc<Tls>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The last member goes last: the file is removed after the socket is closed.
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when it is dropped")] SocketFile),
}

impl Listener {
    /// Opens `listen`.
    ///
    /// # Errors
    /// The port or the socket is in use, or the system does not let us.
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        let opened = match listen {
            Listen::Tcp(address) => Self::tcp(*address).await,
            Listen::Unix(path) => Self::unix(path).await,
        };
        opened.map_err(|reason| BindError { address: listen.clone(), reason })
    }

    async fn tcp(address: std::net::SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = Listen::Tcp(listener.local_addr()?);
        Ok(Self { socket: Socket::Tcp(listener), address, tls: None })
    }

    async fn unix(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
            }
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody answers on this socket")),
            },
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let listener = UnixListener::bind(&beside)?;
        let mut file = SocketFile::new(beside)?;
        fs::set_permissions(&file.path, fs::Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(&file.path, path)?;
        path.clone_into(&mut file.path);
        Ok(Self { socket: Socket::Unix(listener, file), address: Listen::Unix(path.to_owned()), tls: None })
    }

    /// The same, on which TLS is spoken; a socket of this machine needs none.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// What TLS is spoken with.
    pub(super) const fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// The address in use: with the port that the system chose, if it was asked to.
    #[must_use]
    pub const fn address(&self) -> &Listen {
        &self.address
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is one small write: waiting for more to send would only delay it.
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream))
            }
            Socket::Unix(listener, _) => Ok(Connection::Unix(listener.accept().await?.0)),
        }
    }
}

impl Connection {
    /// Begins TLS where it is spoken, within `limit`.
    pub(super) async fn greeted(self, tls: Option<&Tls>, limit: Duration) -> io::Result<Self> {
        match (self, tls) {
            (Self::Tcp(stream), Some(tls)) => Ok(Self::Tls(Box::new(tls.accept(stream, limit).await?))),
            (connection, _) => Ok(connection),
        }
    }

    /// The certificate of whoever is at the other end, where there is one.
    pub(super) fn shown(&self) -> Option<Shown> {
        match self {
            Self::Tls(stream) => Shown::on(stream),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// A caller that has gone without a word, as when its machine lost power, acknowledges nothing: after `silence` with
    /// something on its way the connection counts as broken. Without this a small write now and then looks like success
    /// for a quarter of an hour.
    pub(super) fn give_up_after(&self, silence: Duration) -> io::Result<()> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return Ok(()),
        };
        let millis = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
        Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?)
    }
}

/// The file of a unix socket.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Which file it is, whatever its name.
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let found = fs::symlink_metadata(&path)?;
        Ok(Self { path, identity: (found.dev(), found.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket file stays behind");
        }
    }
}

/// One connection of any kind.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! any {
    ($connection:expr, $stream:ident => $call:expr) => {
        match $connection.get_mut() {
            Connection::Tcp($stream) => $call,
            Connection::Unix($stream) => $call,
            Connection::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        any!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        any!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        any!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        any!(self, stream => Pin::new(stream).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        any!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

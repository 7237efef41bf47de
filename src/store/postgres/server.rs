//! Where is the server, and how is it reached?
//!
//! Whoever waits for a statement serves its connection meanwhile ([`Session::within`]), with a deadline: on the way to the
//! server and back no other thread has to wake up, and a change takes many such ways one after the other. Nothing else that this
//! process computes can hold them up. A thread that served the sockets of all connections lost: it took three threads' turns
//! where one is enough.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
};
use tokio_postgres::{AsyncMessage, Client, Config, config::SslMode, error::Severity};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{
    connection::{Mode, PostgresConnection},
    error::unreachable_server,
    hint::Hint,
};
use crate::store::{
    StoreError,
    sql::db::{Connection, Place},
};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// What every session is told. A transaction whose owner stopped in the middle is ended by the server; `off`, `local`
/// and `remote_write` would answer before what was answered is durable, whatever the server's settings are changed to
/// while the session lasts. Every statement here touches a few rows, and compiling one takes longer than running it a
/// thousand times, which the planner does where it knows nothing of the tables yet.
const SESSION: &str = "
    SET jit = off; SET statement_timeout = '10s'; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '5s';
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') <> 'remote_apply'";

/// A server that connections are made to.
pub(super) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    /// `host:port/database`, without role and password.
    name: String,
}

/// What serves a socket while somebody waits; ended without waiting for it, because whoever drops the store may be running
/// futures.
struct Io(Option<Runtime>);

impl Io {
    fn runtime(&self) -> Result<&Runtime, StoreError> {
        let stopped = || StoreError::Unavailable("the store is shutting down".into());
        self.0.as_ref().ok_or_else(stopped)
    }

    /// Waits for something on this thread, which must not be one that runs futures; none when the deadline passed.
    fn within<T>(&self, deadline: Duration, work: impl Future<Output = T>) -> Result<Option<T>, StoreError> {
        Ok(self.runtime()?.block_on(async { tokio::time::timeout(deadline, work).await.ok() }))
    }

    /// The same, with the deadline among the errors.
    fn block<T>(&self, deadline: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.within(deadline, work)?
            .unwrap_or_else(|| Err(StoreError::Unavailable(format!("it did not answer within {deadline:?}"))))
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    /// The server that a URL names; nothing is sent yet.
    pub fn named(url: &str) -> Result<Self, StoreError> {
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            StoreError::Unavailable(format!(
                "the database's URL cannot be read: {why}; write `postgres://ROLE:PASSWORD@HOST:PORT/DATABASE`"
            ))
        })?;
        config.connect_timeout(CONNECT).keepalives_idle(Duration::from_secs(30));
        if config.get_application_name().is_none() {
            config.application_name("mandate");
        }
        Ok(Self { name: name_of(&config), tls: tls(&config), config })
    }

    /// The error with the server's name, for whoever has just chosen it.
    pub fn called(&self, error: StoreError) -> StoreError {
        let named = |what| format!("PostgreSQL at `{}`: {what}", self.name);
        match error {
            StoreError::Unavailable(what) => StoreError::Unavailable(named(what)),
            StoreError::Unknown(what) => StoreError::Unknown(named(what)),
            StoreError::Corrupt(what) => StoreError::Corrupt(named(what)),
        }
    }

    /// A new connection, set up.
    pub fn connect(&self) -> Result<Session, StoreError> {
        self.connect_with(None)
    }

    /// The same; `hint` is woken by each notification that the connection gets while somebody waits on it.
    pub fn connect_hinted(&self, hint: &Arc<Hint>) -> Result<Session, StoreError> {
        self.connect_with(Some(Arc::clone(hint)))
    }

    fn connect_with(&self, hint: Option<Arc<Hint>>) -> Result<Session, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let io =
            Io(Some(runtime.map_err(|error| StoreError::Unavailable(format!("no connection can be made: {error}")))?));
        let (client, warnings, served) = io.block(CONNECT * 2, self.connecting(hint))?;
        Ok(Session { client, warnings, served, io })
    }

    async fn connecting(&self, hint: Option<Arc<Hint>>) -> Result<(Client, Warnings, AbortHandle), StoreError> {
        let (client, mut connection) =
            self.config.connect(self.tls.clone()).await.map_err(|error| unreachable_server(&error))?;
        let warnings = Warnings::default();
        let heard = Arc::clone(&warnings);
        let served = tokio::spawn(async move {
            // Each message is handed over before the answer that follows it is.
            while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) if notice.parsed_severity() == Some(Severity::Warning) => {
                        heard.lock().push(notice.message().to_owned());
                    }
                    Ok(AsyncMessage::Notification(news)) => hint.iter().for_each(|hint| hint.notified(news.payload())),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a connection to the database has ended");
                        break;
                    }
                }
            }
        });
        let served = served.abort_handle();
        let set_up = client.batch_execute(SESSION).await;
        set_up.inspect_err(|_| served.abort()).map_err(|error| unreachable_server(&error))?;
        warnings.lock().clear();
        Ok((client, warnings, served))
    }
}

/// What a server warns of, in order.
type Warnings = Arc<Mutex<Vec<String>>>;

/// A connection to the server; closed when dropped, in the middle of a statement if need be.
pub(super) struct Session {
    client: Client,
    /// What the server warned of since this was last looked at.
    warnings: Warnings,
    served: AbortHandle,
    io: Io,
}

impl Session {
    /// Statements go here.
    pub const fn client(&self) -> &Client {
        &self.client
    }
    /// Waits for what is asked on this connection, on this thread, which must not be one that runs futures.
    pub fn block<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.io.block(deadline, work)
    }
    /// The same, for transactions.
    pub fn block_mut<T>(
        &mut self,
        deadline: Duration,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.io.block(deadline, work(&mut self.client))
    }
    /// Waits in the same way; none when the deadline passed.
    pub fn within<T>(&self, deadline: Duration, work: impl Future<Output = T>) -> Result<Option<T>, StoreError> {
        self.io.within(deadline, work)
    }
    /// What the server has warned of, and forgets it.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// A server that new connections can be had from.
pub(super) struct Reached(pub Arc<Server>);

impl Reached {
    /// The connection that writes.
    pub fn writer(&self, session: Session) -> Box<dyn Connection> {
        Box::new(PostgresConnection::new(Arc::clone(&self.0), session, Mode::Writes))
    }
}

impl Place for Reached {
    fn reader(&self) -> Result<Box<dyn Connection>, StoreError> {
        let session = self.0.connect()?;
        Ok(Box::new(PostgresConnection::new(Arc::clone(&self.0), session, Mode::Reads)))
    }
}

fn name_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{host}:{port}/{}", config.get_dbname().or_else(|| config.get_user()).unwrap_or("?"))
}

/// How certificates are checked: as the system does, always. Without TLS nothing is loaded.
fn tls(config: &Config) -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    if config.get_ssl_mode() != SslMode::Disable {
        let found = rustls_native_certs::load_native_certs();
        let (_, refused) = roots.add_parsable_certificates(found.certs);
        if refused > 0 {
            tracing::debug!(refused, "certificates of the system that cannot be used");
        }
    }
    MakeRustlsConnect::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

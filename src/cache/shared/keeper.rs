//! Who connects? One task, in the background, so that no check ever waits for a connection.
//!
//! It connects, asks once whether anybody answers, and shows the connection; then it listens to the breaker and asks from
//! time to time. When the breaker opens the connection is thrown away, whatever it is worth, and the next probe is a new
//! one: that is right for a server that came back, for a half-open connection, and for a failover, where Sentinel names
//! another server. Repairing a connection in place lost: the client library cannot tell a stopped server from a busy one.
//!
//! Invariant: what a lookup reports counts only against the connection it used.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    SharedCounts,
    breaker::{Breaker, Probe},
    link::{Connection, Dialer, Pushed, Went},
};

/// Between two questions whether anybody is there, when nothing else was asked.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Where things stand: what lookups and the keeper share.
pub struct Desk {
    began: Instant,
    standing: Mutex<Standing>,
    /// The breaker opened, or the connection is gone.
    opened: Notify,
    /// What happened so far.
    pub counts: SharedCounts,
}

struct Standing {
    breaker: Breaker,
    connection: Option<Connection>,
    /// Which connection it is, counted.
    number: u64,
}

/// A connection to use once, and its number for the report.
pub struct Pass {
    pub connection: Connection,
    pub number: u64,
}

impl Desk {
    pub fn new() -> Self {
        let standing = Standing { breaker: Breaker::new(), connection: None, number: 0 };
        Self {
            began: Instant::now(),
            standing: Mutex::new(standing),
            opened: Notify::new(),
            counts: SharedCounts::default(),
        }
    }
    /// The connection, while lookups pass.
    pub fn pass(&self) -> Option<Pass> {
        let standing = self.standing.lock();
        let connection = standing.connection.as_ref().filter(|_| standing.breaker.passes())?;
        Some(Pass { connection: connection.clone(), number: standing.number })
    }
    /// How a lookup went that used the connection of this number.
    pub fn report(&self, number: u64, went: Went) {
        let mut standing = self.standing.lock();
        if standing.number != number {
            return;
        }
        let now = self.began.elapsed();
        let opened = match went {
            Went::Well => {
                standing.breaker.succeeded();
                false
            }
            Went::Badly => standing.breaker.failed(now),
            Went::Gone => standing.breaker.lost(now),
        };
        if opened {
            standing.connection = None;
            self.counts.breaker_open.add();
            self.opened.notify_one();
        }
    }
    fn probe(&self) -> Probe {
        self.standing.lock().breaker.probe(self.began.elapsed())
    }
    fn probed(&self, connection: Option<Connection>) {
        let mut standing = self.standing.lock();
        standing.breaker.probed(self.began.elapsed(), connection.is_some());
        standing.number += 1;
        standing.connection = connection;
    }
    fn number(&self) -> u64 {
        self.standing.lock().number
    }
}

/// Gets the text of each hint.
pub type Hint = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The task.
pub struct Keeper {
    pub desk: Arc<Desk>,
    pub dialer: Dialer,
    /// The channel of hints.
    pub channel: String,
    pub hint: Hint,
    /// Whether it is known that Redis is away: said once.
    pub said: bool,
}

impl Keeper {
    pub async fn run(mut self) {
        loop {
            match self.desk.probe() {
                Probe::At(instant) => sleep(instant.saturating_sub(self.desk.began.elapsed())).await,
                Probe::Now => {
                    let connection = self.connect().await;
                    self.desk.probed(connection);
                }
                Probe::Needless => self.watch().await,
            }
        }
    }

    async fn connect(&mut self) -> Option<Connection> {
        match self.try_to_connect().await {
            Ok(connection) => {
                if std::mem::take(&mut self.said) {
                    tracing::info!("the shared cache answers again");
                }
                Some(connection)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    // The error's own text may repeat what a server said, and is left out.
                    let (kind, code) = (error.category(), error.code());
                    tracing::warn!(kind, code, "the shared cache is away: sites are read from the store, trying on");
                }
                None
            }
        }
    }

    async fn try_to_connect(&mut self) -> Result<Connection, RedisError> {
        let mut connection = self.dialer.dial(&self.pushed()).await?;
        connection.ping().await?;
        // Without hints a change is seen at the next poll.
        if let Err(error) = connection.subscribe(&self.channel).await {
            let (kind, code) = (error.category(), error.code());
            tracing::warn!(
                kind,
                code,
                "the shared cache gives no hints of changes; allow SUBSCRIBE on `{}`",
                self.channel
            );
        }
        Ok(connection)
    }

    /// Waits until the breaker opens, or it is time to ask whether anybody is there.
    async fn watch(&self) {
        if timeout(HEARTBEAT, self.desk.opened.notified()).await.is_ok() {
            return;
        }
        if let Some(Pass { mut connection, number }) = self.desk.pass() {
            self.desk.report(number, connection.is_alive().await);
        }
    }

    /// What is done with what arrives unasked on the next connection: hints are handed on, and its end is reported.
    fn pushed(&self) -> Pushed {
        let (desk, hint) = (Arc::downgrade(&self.desk), Arc::clone(&self.hint));
        let number = self.desk.number() + 1;
        Arc::new(move |info: PushInfo| match info.kind {
            PushKind::Message => {
                if let Some(Value::BulkString(text)) = info.data.get(1) {
                    hint(text);
                }
            }
            PushKind::Disconnection => {
                if let Some(desk) = desk.upgrade() {
                    desk.report(number, Went::Gone);
                }
            }
            _ => {}
        })
    }
}

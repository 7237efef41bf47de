//! When may the writer say that its change is effective? It reads the registry until nobody answers from before.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Cluster;
use crate::{
    app::{Failure, Kind, chains::Chains},
    clock::{BootClock as _, SystemBootClock},
    fault::{self, Mutant, Point},
    lease::{self, Ack, Acks, Boot, Epoch, LONGEST_LEASE, Margin, Verdict, Watch},
    revision::Revision,
    store::{At, Durability, Registry, StoreError, sql::SqlStore},
};

/// How long a writer waits before it reads the registry again: at first, and at most. Healthy replicas need a few
/// milliseconds, and whoever is late by then is late by far more: each pause is half as long again as the one before.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(100));
/// How long it waits at most for its own process to tell the registry, before it reads that for the first time.
const OWN: Duration = Duration::from_millis(10);
/// Pauses up to here are slept by a thread: the runtime's timer counts whole milliseconds, and up to two for less than one.
const SHORT: Duration = Duration::from_millis(4);
/// How often the standby is asked whether it has the commit, and the pause in between.
const STANDBY: (u32, Duration) = (20, Duration::from_millis(5));
/// How often rows of dead replicas are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Whether a committed change is effective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effective {
    /// A check that is received from now on is answered at this revision or later, or refused.
    Yes {
        /// How long it took.
        waited: Duration,
        /// By what it is known; none where one process alone answers.
        acks: Option<Acks>,
        /// Where the change is safe.
        durability: Durability,
    },
    /// Not yet, and the caller did not want to wait longer.
    NotYet {
        /// When it will be at the latest.
        no_later_than: Duration,
        /// Whose word is missing.
        pending: Vec<String>,
    },
}

impl Effective {
    /// By what it is known, as it is told to callers.
    #[must_use]
    pub fn acks(&self) -> Option<&'static str> {
        match self {
            Self::Yes { acks, .. } => acks.map(Acks::wire_name),
            Self::NotYet { .. } => None,
        }
    }
}

/// What a writer reads while it waits. It need not be a replica itself.
pub(in crate::app) struct Waiting {
    store: Arc<SqlStore>,
    watch: Mutex<Watch>,
    /// What the history was at the commits of this process.
    chains: Arc<Chains>,
    require_replicated: bool,
    /// What this process has told the registry, where it is a replica itself.
    told: Option<watch::Receiver<Revision>>,
}

impl Waiting {
    /// Nothing is known of the registry yet.
    pub fn new(
        store: Arc<SqlStore>,
        chains: Arc<Chains>,
        require_replicated: bool,
        told: Option<watch::Receiver<Revision>>,
    ) -> Self {
        Self { store, watch: Mutex::default(), chains, require_replicated, told }
    }

    /// Waits until a committed revision is effective, at most for `patience`.
    ///
    /// # Errors
    /// `503` when a failover has lost the commit, or when it is on one server only and that is not enough.
    pub async fn effective(&self, revision: Revision, patience: Option<Duration>) -> Result<Effective, Failure> {
        let committed = SystemBootClock.boottime();
        let mut pause = ASK_AGAIN.0;
        // Before this replica's own word is there the others' hardly are, and whoever asks takes time from them.
        if let Some(mut told) = self.told.clone() {
            let own = told.wait_for(|told| *told >= revision);
            let _ = tokio::time::timeout(OWN.min(patience.unwrap_or(OWN)), own).await;
        }
        loop {
            fault::point(Point::WhileWaiting);
            let read = self.read(revision, committed).await?;
            let mut verdict = read.judge();
            // Who has not said a word by now will not in so short a time, and leases end without another reading.
            if let Verdict::Pending { no_later_than, .. } = &verdict
                && *no_later_than <= SHORT
            {
                rest(*no_later_than).await;
                verdict = read.judge();
            }
            let waited = SystemBootClock.boottime().since(committed).unwrap_or_default();
            match verdict {
                Verdict::Effective(acks) => {
                    let durability = self.durability(read.mark).await?;
                    return Ok(Effective::Yes { waited, acks: Some(acks), durability });
                }
                Verdict::Pending { replicas, no_later_than } => {
                    if patience.is_some_and(|patience| waited + pause > patience) {
                        let pending = replicas.iter().map(|replica| replica.as_str().to_owned()).collect();
                        return Ok(Effective::NotYet { no_later_than, pending });
                    }
                    // The last reading comes before the leases are over, so that nobody waits for it then.
                    rest(pause.min(no_later_than.saturating_sub(SHORT / 2))).await;
                    pause = (pause * 3 / 2).min(ASK_AGAIN.1);
                }
            }
        }
    }

    /// Reads the registry.
    async fn read(&self, revision: Revision, committed: Boot) -> Result<Reading, Failure> {
        let asked = SystemBootClock.boottime();
        let read = self.store.registry(revision).await;
        let mut margin = Margin::STANDARD;
        if fault::mutant(Mutant::NoDrift) {
            margin.drift_percent = 0;
        }
        let ack = |ttl_max, epoch| Ack { epoch, revision, committed, ttl_max, margin };
        match read {
            Ok(At { epoch, revision: head, value: Registry { rows, ttl_max, chain, mark } }) => {
                let ours = self.chains.of(&epoch.id, revision);
                if head < revision || ours.is_some_and(|ours| ours != chain) {
                    tracing::error!(%revision, %head, "the database has lost a commit that this process made");
                    return Err(lost());
                }
                let registry = self.watch.lock().observe(asked, rows);
                Ok(Reading { ack: ack(ttl_max, epoch), registry: Some(registry), mark })
            }
            // Whoever cannot be asked may hold the longest lease there is.
            Err(error) => {
                tracing::warn!(%error, "the registry of replicas cannot be read");
                let nowhere = Epoch { id: "".into(), timeline: "".into() };
                Ok(Reading { ack: ack(LONGEST_LEASE, nowhere), registry: None, mark: None })
            }
        }
    }

    /// Whether a second server has everything up to this mark.
    async fn durability(&self, mark: Option<String>) -> Result<Durability, Failure> {
        let found = match mark {
            Some(mark) => self.on_standby(mark).await,
            None => Ok(Durability::Local),
        };
        let durability = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be told whether a standby has the commit");
            Durability::Local
        });
        if self.require_replicated && durability == Durability::Local {
            return Err(Failure::new(
                Kind::Unavailable,
                "not_replicated",
                "The change is committed on one server and no synchronous standby is known to have it, which \
                 `require_replicated` asks for. Send the same request with the same key again when the standby is back.",
            )
            .with("outcome", "unknown"));
        }
        Ok(durability)
    }

    async fn on_standby(&self, mark: String) -> Result<Durability, StoreError> {
        for _ in 0..STANDBY.0 {
            if self.store.is_replicated(mark.clone()).await? {
                return Ok(Durability::Replicated);
            }
            tokio::time::sleep(STANDBY.1).await;
        }
        Ok(Durability::Local)
    }

    /// Deletes the rows of replicas that are dead for certain, so that the registry does not grow with every crash.
    async fn forget_dead(&self) {
        let asked = SystemBootClock.boottime();
        let Ok(read) = self.store.registry(Revision(0)).await else { return };
        let Registry { rows, ttl_max, .. } = read.value;
        let registry = self.watch.lock().observe(asked, rows);
        for row in registry.rows.iter().filter(|row| row.is_dead(ttl_max)) {
            let forgotten = self.store.forget(row.replica.clone(), row.renewed).await;
            tracing::info!(replica = row.replica.as_str(), ?forgotten, "a replica that is gone leaves the registry");
        }
    }
}

/// What the registry said, of one commit.
struct Reading {
    ack: Ack,
    registry: Option<lease::Registry>,
    /// Where the server's log ended then, the commit included, if a standby is to have it.
    mark: Option<String>,
}

impl Reading {
    /// What may be said now.
    fn judge(&self) -> Verdict {
        if fault::mutant(Mutant::AckAtCommit) {
            return Verdict::Effective(Acks::All);
        }
        let mut now = SystemBootClock.boottime();
        if fault::mutant(Mutant::ShortWait) && self.registry.is_some() {
            now = now.plus(Margin::STANDARD.bound(self.ack.ttl_max) / 4);
        }
        self.ack.judge(now, self.registry.as_ref())
    }
}

/// Waits so long, and no millisecond longer.
async fn rest(pause: Duration) {
    let slept = pause <= SHORT && tokio::task::spawn_blocking(move || std::thread::sleep(pause)).await.is_ok();
    if !slept {
        tokio::time::sleep(pause).await;
    }
}

impl Cluster {
    /// Keeps the registry clean, while there is this replica.
    pub async fn sweep(cluster: Weak<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let Some(this) = cluster.upgrade() else { return };
            this.waiting.forget_dead().await;
        }
    }
}

fn lost() -> Failure {
    Failure::new(
        Kind::Unavailable,
        "unknown",
        "The database no longer has this change: a failover has lost it. Send the same request with the same key again.",
    )
    .with("outcome", "unknown")
}

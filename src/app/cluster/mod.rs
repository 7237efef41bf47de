//! One of many replicas: it follows the others' commits, answers only under its lease, and says that a change is
//! effective only when nobody answers from before it any more. [`crate::lease`] has the rules; here they meet the
//! database and the clock.
//!
//! A thread of its own polls, so that nothing else this process does holds up its lease. What a poll found is published
//! to the view before the next poll tells the registry of it.

mod ack;
mod clocks;
mod follow;
mod reads;

pub use ack::Effective;
pub(super) use ack::Waiting;
pub(super) use reads::{Heard, name_of};

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::watch, task::AbortHandle};

use self::{clocks::Clocks, follow::Following};
use super::{App, Failure, Kind, Meter, Waker, chains::Chains};
use crate::{
    cache::{Flights, View, shared::SharedCache},
    clock::{BootClock as _, DatabaseClock, SystemBootClock},
    config::{Reads, Role},
    ids::SiteId,
    lease::{Boot, Follower, ReplicaId},
    revision::Revision,
    site::Site,
    store::{
        At, Durability, Registry, Store as _, StoreError,
        postgres::{Hint, Replica},
        sql::SqlStore,
    },
};

/// How many sites are read from the database at once.
const LOADS: usize = 8;

/// What a replica shares with the thread that follows.
pub(super) struct Cluster {
    store: Arc<SqlStore>,
    /// Wakes the thread: a commit was heard of, or somebody needs a lease.
    hint: Arc<Hint>,
    /// Raised before the hint by whoever needs a lease, and no commit's news alone.
    wanted: Arc<AtomicBool>,
    /// Counts what was published.
    pub(super) moved: watch::Receiver<u64>,
    waiting: Waiting,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Copies that other replicas have read.
    shared: Option<Arc<SharedCache>>,
    loads: Flights<SiteId, Read>,
    meter: Arc<Meter>,
    reads: Reads,
    /// Whether this process is the one that tells the world outside what happened.
    turn: watch::Receiver<bool>,
    /// Whether the database has lost commits that were applied here.
    quarantined: Arc<AtomicBool>,
    /// Whether the policies in force cannot be used here.
    unusable: Arc<AtomicBool>,
    /// Deletes the rows of dead replicas.
    sweeping: Mutex<Option<AbortHandle>>,
}

/// What a replica is made of.
pub(super) struct Setup {
    /// Where the database is.
    pub url: String,
    /// Where others can ask this replica.
    pub address: String,
    pub store: Arc<SqlStore>,
    pub view: Arc<View>,
    pub clock: Arc<DatabaseClock>,
    pub shared: Option<Arc<SharedCache>>,
    pub heard: Heard,
    pub chains: Arc<Chains>,
    pub meter: Arc<Meter>,
    pub reads: Reads,
    pub require_replicated: bool,
    pub role: Role,
    /// Whether this process would tell the world outside what happened, and what wakes whoever does.
    pub tells: bool,
    pub wake: Waker,
}

/// What was read of a site, for all who asked at the same time.
type Read = Result<Arc<At<Option<Site>>>, Failure>;

impl Cluster {
    /// Starts to follow. Must be called on a thread of a runtime.
    pub fn start(setup: Setup) -> Result<Arc<Self>, StoreError> {
        let Setup { url, address, store, view, clock, shared, heard, chains, meter, .. } = setup;
        let Setup { reads, require_replicated, role, tells, wake, .. } = setup;
        let hint = heard.hint;
        let id = ReplicaId::new(crate::clock::new_uuid());
        let mut replica = Replica::named(&url, id, address, Arc::clone(&hint))?;
        replica.want_turn(tells && role.writes());
        let (turn, its_turn) = watch::channel(false);
        let (moved, seen) = watch::channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let wanted = Arc::new(AtomicBool::new(false));
        let (quarantined, unusable) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (told, heard_of) = watch::channel(Revision(0));
        let waiting = Waiting::new(Arc::clone(&store), Arc::clone(&chains), require_replicated, Some(heard_of));
        let mut following = Following {
            replica,
            follower: Follower::registered(Boot::default()),
            view,
            clock,
            store: Arc::clone(&store),
            moved,
            told,
            hint: Arc::clone(&hint),
            stop: Arc::clone(&stop),
            wanted: Arc::clone(&wanted),
            due: Instant::now(),
            runtime: Handle::current(),
            chains,
            meter: Arc::clone(&meter),
            quarantined: Arc::clone(&quarantined),
            unusable: Arc::clone(&unusable),
            refused: None,
            troubled: false,
            clocks: Clocks::default(),
            turn,
            wake,
        };
        let thread = std::thread::Builder::new()
            .name("replica".into())
            .spawn(move || following.run())
            .map_err(|error| StoreError::Unavailable(format!("the replica's thread did not start: {error}")))?;
        let (thread, sweeping) = (Mutex::new(Some(thread)), Mutex::default());
        let loads = Flights::new(LOADS);
        let moved = seen;
        let cluster = Arc::new(Self {
            store,
            hint,
            wanted,
            moved,
            waiting,
            stop,
            thread,
            shared,
            loads,
            meter,
            reads,
            turn: its_turn,
            quarantined,
            unusable,
            sweeping,
        });
        if role.writes() {
            let sweep = tokio::spawn(Self::sweep(Arc::downgrade(&cluster)));
            *cluster.sweeping.lock() = Some(sweep.abort_handle());
        }
        Ok(cluster)
    }

    /// Copies that other replicas share, where they do.
    pub fn shared(&self) -> Option<&SharedCache> {
        self.shared.as_deref()
    }

    /// Everybody who is registered; none when that cannot be read.
    pub async fn registered(&self) -> Option<Registry> {
        self.store.registry(Revision(0)).await.ok().map(|read| read.value)
    }

    /// Waits until a committed revision is effective, at most for `patience`.
    ///
    /// # Errors
    /// As [`Waiting::effective`].
    pub async fn effective(&self, revision: Revision, patience: Option<Duration>) -> Result<Effective, Failure> {
        self.hint.of(revision);
        self.waiting.effective(revision, patience).await
    }

    /// Why there is no lease.
    pub fn stale(&self) -> Failure {
        let unusable = self.unusable.load(Ordering::Acquire);
        let (code, detail) = if unusable { UNUSABLE } else { STALE };
        Failure::new(Kind::Unavailable, code, detail)
    }

    /// Leaves the registry, after the last answer.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.hint.wake();
        if let Some(sweeping) = self.sweeping.lock().take() {
            sweeping.abort();
        }
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.hint.wake();
    }
}

fn regressed() -> Failure {
    Failure::new(
        Kind::Unavailable,
        "revision_regression",
        "The database has lost commits that this replica has answered from: a failover or a restore without them. It \
         answers nothing until somebody has looked at the database and restarted it; treat it as no access.",
    )
}

const STALE: (&str, &str) = (
    "stale_lease",
    "This replica has not heard from the database for too long to answer. Nothing was decided; treat it as no access.",
);

const UNUSABLE: (&str, &str) = (
    "policies_unusable",
    "This replica cannot use the policies that are in force, and answers nothing by older ones; its log says why. Nothing \
     was decided; treat it as no access.",
);

impl App {
    /// Waits until what was committed up to `revision` is effective: no check that is received afterwards is answered from
    /// before it. Where one process alone answers, it is at once.
    ///
    /// # Errors
    /// `503` when a failover has lost it, or when it is less durable than was asked for.
    pub async fn effective(&self, revision: Revision, patience: Option<Duration>) -> Result<Effective, Failure> {
        match &self.cluster {
            None => Ok(Effective::Yes { waited: Duration::ZERO, acks: None, durability: Durability::Local }),
            Some(cluster) => cluster.effective(revision, patience).await,
        }
    }

    /// Whether it is this process that tells the world outside (billing, subscribers of events) what happened, where one of
    /// many does; none where there is one process.
    #[must_use]
    pub fn turn(&self) -> Option<watch::Receiver<bool>> {
        self.cluster.as_ref().map(|cluster| cluster.turn.clone())
    }

    /// Whether this process may answer checks now.
    ///
    /// # Errors
    /// `503` when it may not.
    pub async fn ready(&self) -> Result<Revision, Failure> {
        if self.cluster.is_none() {
            return Ok(self.store.head().await?.revision);
        }
        self.leased().await?;
        Ok(self.view.head().0)
    }

    /// Asks the system of record, and shows nothing older than what it said. Where one process alone answers, the view is
    /// the system of record's state at any time.
    ///
    /// # Errors
    /// `503 stale_lease` when it does not answer.
    pub async fn newly_asked(&self) -> Result<(), Failure> {
        match &self.cluster {
            None => Ok(()),
            Some(cluster) => cluster.refreshed(&self.view, SystemBootClock.boottime()).await,
        }
    }

    /// Before a check is answered: asks the database where it stands, if that is how this replica reads.
    ///
    /// # Errors
    /// `503` when the database does not answer.
    pub(super) async fn verified(&self) -> Result<(), Failure> {
        match &self.cluster {
            Some(cluster) if cluster.reads == Reads::Verify => cluster.verified(&self.view).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Before anything but a check is answered from the view, whose agencies and staff may be behind: what the view shows
    /// from here on is no older than whatever was effective when this was called.
    pub(super) async fn leased(&self) -> Result<(), Failure> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        if cluster.reads == Reads::Verify {
            return cluster.verified(&self.view).await;
        }
        let now = SystemBootClock.boottime();
        if self.view.lease().is_some_and(|lease| lease.holds(now)) {
            return Ok(());
        }
        cluster.refreshed(&self.view, now).await
    }
}

//! One of many replicas: it follows the others' commits, answers only under its lease, and says that a change is
//! effective only when nobody answers from before it any more. [`crate::lease`] has the rules; here they meet the
//! database and the clock.
//!
//! A thread of its own polls, so that nothing else this process does holds up its lease. What a poll found is published
//! to the view before the next poll tells the registry of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

mod follow;

use self::follow::Following;
use super::{App, Failure, Kind};
use crate::{
    cache::{
        Fill, Flights, View,
        shared::{Lookup, SharedCache},
    },
    clock::{BootClock as _, DatabaseClock, SystemBootClock},
    fault::{self, Mutant, Point},
    ids::SiteId,
    lease::{Ack, Acks, Boot, Epoch, Follower, Margin, ReplicaId, Verdict, Watch},
    revision::Revision,
    site::Site,
    store::{At, Store as _, StoreError, postgres::Replica, sql::SqlStore},
};

/// How long a check waits for a poll that would let it answer.
const REFRESH: Duration = Duration::from_millis(800);
/// How long a writer waits before it reads the registry again: at first, and at most.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// How many sites are read from the database at once.
const LOADS: usize = 8;
/// For how long what is heard from the shared cache's channel is not listened to again, in milliseconds.
const HEARD_AGAIN: u64 = 20;
/// The longest lease that the database allows.
const LONGEST_LEASE: Duration = Duration::from_mins(1);

/// What a replica shares with the thread that follows.
pub(super) struct Cluster {
    store: Arc<SqlStore>,
    /// Wakes the thread: a commit was heard of, or somebody needs a lease.
    hint: Arc<Notify>,
    /// Counts what was published.
    moved: watch::Receiver<u64>,
    watch: Mutex<Watch>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Copies that other replicas have read.
    shared: Option<Arc<SharedCache>>,
    loads: Flights<SiteId, Read>,
}

/// What was read of a site, for all who asked at the same time.
type Read = Result<Arc<At<Option<Site>>>, Failure>;

/// What is heard of new revisions from somebody who need not tell the truth: it can only make a poll come sooner, and
/// not often.
#[derive(Clone)]
pub(super) struct Heard {
    view: Arc<View>,
    hint: Arc<Notify>,
    last: Arc<AtomicU64>,
}

impl Heard {
    pub fn new(view: Arc<View>) -> Self {
        Self { view, hint: Arc::new(Notify::new()), last: Arc::default() }
    }
    /// Somebody says that there is this revision.
    pub fn of(&self, revision: Revision) {
        let now = u64::try_from(SystemBootClock.boottime().since_start().as_millis()).unwrap_or(u64::MAX);
        let often = now.saturating_sub(self.last.load(Ordering::Acquire)) < HEARD_AGAIN;
        if !often && revision > self.view.head().0 {
            self.last.store(now, Ordering::Release);
            self.hint.notify_one();
        }
    }
}

/// What a history is called in the shared cache.
pub(super) fn name_of(epoch: &Epoch) -> String {
    format!("{}.{}", epoch.id, epoch.timeline)
}

/// Whether a committed change is effective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effective {
    /// A check that is received from now on is answered at this revision or later, or refused.
    Yes {
        /// How long it took.
        waited: Duration,
        /// By what it is known; none where one process alone answers.
        acks: Option<Acks>,
    },
    /// Not yet, and the caller did not want to wait longer.
    NotYet {
        /// When it will be at the latest.
        no_later_than: Duration,
        /// Whose word is missing.
        pending: Vec<String>,
    },
}

impl Cluster {
    /// Starts to follow. Must be called on a thread of a runtime.
    pub fn start(
        url: &str,
        address: String,
        store: Arc<SqlStore>,
        view: Arc<View>,
        clock: Arc<DatabaseClock>,
        shared: Option<Arc<SharedCache>>,
        heard: Heard,
    ) -> Result<Self, StoreError> {
        let hint = heard.hint;
        let id = ReplicaId::new(crate::clock::new_uuid());
        let replica = Replica::named(url, id, address, Arc::clone(&hint))?;
        let (moved, seen) = watch::channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let mut following = Following {
            replica,
            follower: Follower::registered(Boot::default()),
            view,
            clock,
            store: Arc::clone(&store),
            hint: Arc::clone(&hint),
            moved,
            stop: Arc::clone(&stop),
            runtime: Handle::current(),
            troubled: false,
        };
        let thread = std::thread::Builder::new()
            .name("replica".into())
            .spawn(move || following.run())
            .map_err(|error| StoreError::Unavailable(format!("the replica's thread did not start: {error}")))?;
        let (watch, thread) = (Mutex::default(), Mutex::new(Some(thread)));
        Ok(Self { store, hint, moved: seen, watch, stop, thread, shared, loads: Flights::new(LOADS) })
    }

    /// Asks for a poll soon: this process has committed something.
    pub fn hint(&self) {
        self.hint.notify_one();
    }

    /// Brings a site into the view: from the copy that another replica shared, when it is as new as the view, or else from
    /// the database, once for all who ask at the same time.
    ///
    /// # Errors
    /// `503` when the database cannot be read.
    pub async fn fill(&self, view: &View, site: &SiteId, now: Boot) -> Result<Fill, Failure> {
        if let (Some(shared), Some(lease)) = (&self.shared, view.lease())
            && let Lookup::Hit(found) = shared.get(&name_of(lease.epoch()), site).await
        {
            let tag = if fault::mutant(Mutant::Untagged) { lease.revision() } else { found.tag };
            let read = At { revision: tag, epoch: lease.epoch().clone(), value: Some(*found.site) };
            match view.fill(site, &read, now) {
                Fill::Done => return Ok(Fill::Done),
                Fill::Ahead => return Ok(Fill::Ahead),
                Fill::Again => {
                    shared.counts().stale.add();
                }
            }
        }
        let (store, wanted) = (Arc::clone(&self.store), site.clone());
        let load = move || async move { store.site(&wanted).await.map(Arc::new).map_err(Failure::from) };
        let read = self.loads.join(site.clone(), load).await.map_err(|lost| {
            tracing::error!(%lost, %site, "a site could not be read");
            Failure::from(StoreError::Unavailable(lost.to_string()))
        })??;
        if fault::mutant(Mutant::TagAtFill)
            && let Some(lease) = view.lease()
        {
            let read = At { revision: lease.revision(), epoch: lease.epoch().clone(), value: read.value.clone() };
            return Ok(view.fill(site, &read, now));
        }
        let verdict = view.fill(site, &read, now);
        if let (Some(shared), Some(found)) = (&self.shared, &read.value) {
            shared.put(&name_of(&read.epoch), read.revision, Arc::new(found.clone()));
        }
        Ok(verdict)
    }

    /// Waits for a view whose lease was asked for after `since`.
    ///
    /// # Errors
    /// `503 stale_lease` when there is none in time.
    pub async fn refreshed(&self, view: &View, since: Boot) -> Result<(), Failure> {
        let mut moved = self.moved.clone();
        let fresh = async {
            while view.lease().is_none_or(|lease| lease.t0() < since) {
                self.hint.notify_one();
                if moved.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(REFRESH, fresh).await.map_err(|_| stale())
    }

    /// Waits until a committed revision is effective, at most for `patience`.
    pub async fn effective(&self, revision: Revision, patience: Option<Duration>) -> Effective {
        let committed = SystemBootClock.boottime();
        let mut pause = ASK_AGAIN.0;
        self.hint();
        if fault::mutant(Mutant::AckAtCommit) {
            return Effective::Yes { waited: Duration::ZERO, acks: Some(Acks::All) };
        }
        loop {
            fault::point(Point::WhileWaiting);
            let verdict = self.judge(revision, committed).await;
            let now = SystemBootClock.boottime();
            let waited = now.since(committed).unwrap_or_default();
            match verdict {
                Verdict::Effective(acks) => return Effective::Yes { waited, acks: Some(acks) },
                Verdict::Pending { replicas, no_later_than } => {
                    if patience.is_some_and(|patience| waited + pause > patience) {
                        let pending = replicas.iter().map(|replica| replica.as_str().to_owned()).collect();
                        return Effective::NotYet { no_later_than, pending };
                    }
                    tokio::time::sleep(pause.min(no_later_than)).await;
                    pause = (pause * 2).min(ASK_AGAIN.1);
                }
            }
        }
    }

    async fn judge(&self, revision: Revision, committed: Boot) -> Verdict {
        let asked = SystemBootClock.boottime();
        let read = self.store.registry().await;
        let mut now = SystemBootClock.boottime();
        if fault::mutant(Mutant::ShortWait)
            && let Ok(At { value: (_, ttl_max), .. }) = &read
        {
            now = now.plus(Margin::STANDARD.bound(*ttl_max) / 4);
        }
        let mut margin = Margin::STANDARD;
        if fault::mutant(Mutant::NoDrift) {
            margin.drift_percent = 0;
        }
        let ack = |ttl_max, epoch| Ack { epoch, revision, committed, ttl_max, margin };
        match read {
            Ok(At { epoch, value: (rows, ttl_max), .. }) => {
                let registry = self.watch.lock().observe(asked, rows);
                ack(ttl_max, epoch).judge(now, Some(&registry))
            }
            // Whoever cannot be asked may hold the longest lease there is.
            Err(error) => {
                tracing::warn!(%error, "the registry of replicas cannot be read");
                ack(LONGEST_LEASE, Epoch { id: "".into(), timeline: "".into() }).judge(now, None)
            }
        }
    }

    /// Leaves the registry, after the last answer.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.hint.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.hint.notify_one();
    }
}

pub(super) fn stale() -> Failure {
    Failure::new(
        Kind::Unavailable,
        "stale_lease",
        "This replica has not heard from the database for too long to answer. Nothing was decided; treat it as no access.",
    )
}

impl App {
    /// Waits until what was committed up to `revision` is effective: no check that is received afterwards is answered from
    /// before it. Where one process alone answers, it is at once.
    pub async fn effective(&self, revision: Revision, patience: Option<Duration>) -> Effective {
        match &self.cluster {
            None => Effective::Yes { waited: Duration::ZERO, acks: None },
            Some(cluster) => cluster.effective(revision, patience).await,
        }
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

    /// Before anything but a check is answered from the view, whose agencies and staff may be behind: what the view shows
    /// from here on is no older than whatever was effective when this was called.
    pub(super) async fn leased(&self) -> Result<(), Failure> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let now = SystemBootClock.boottime();
        if self.view.lease().is_some_and(|lease| lease.holds(now)) {
            return Ok(());
        }
        cluster.refreshed(&self.view, now).await
    }
}

//! The service as one value: the store, the view that decisions read, the rules, the clock.
//!
//! Everything the edge offers is a method here, with typed input and a typed answer or [`Failure`]; HTTP and the
//! command line only translate. What is pure (decisions, transitions, texts) is called from here with `now` and data;
//! what must hold together (state, audit, reply, revision) goes into one change of the store.

mod acting;
mod chains;
mod check;
mod cluster;
mod command;
mod diff;
mod events;
mod failure;
mod feed;
mod found;
pub mod import;
mod meter;
pub mod policies;
mod preview;
mod read;
mod registry;
mod replicas;
mod rules;
mod saga;
mod search;
#[cfg(test)]
mod tests;
mod texts;
mod timers;

pub use check::{Checked, Detail, Question, Until};
pub use cluster::Effective;
pub use command::{CommandRequest, Reply, ReplyBody};
pub use diff::{Change as PermissionChange, PermissionDiff};
pub use failure::{Failure, Kind};
pub use feed::{News, Position, Told};
pub use meter::Meter;
pub use preview::Preview;
pub use read::{AccessEntry, Viewer};
pub use registry::{AccountState, AccountUpdate, AccountView, AgencyUpdate, PlanUpdate, Registered, SiteUpdate};
pub use replicas::ReplicaView;
pub use rules::Rules;
pub use search::{Found, Span};
pub use texts::Notice;

use std::{path::Path, sync::Arc, time::Duration};

use smol_str::SmolStr;
use tokio::sync::{Notify, OnceCell, watch};

use crate::{
    assignment::SitePolicies,
    cache::{View, shared::SharedCache},
    clock::{Clock, DatabaseClock},
    config::{Billing, Limits, PostgresUrl, Reads, Role, SharedCacheSettings},
    events::Wake,
    handover::Timers,
    store::{Committed, Observer, Store, StoreError, postgres, sql::SqlStore, sqlite},
    time::Timestamp,
};

/// The service.
pub struct App {
    store: Arc<SqlStore>,
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    /// Wakes the timers' worker when a commit may have brought a nearer deadline.
    deadlines: Arc<Notify>,
    /// Who is asked before somebody comes to pay.
    billing: Option<Arc<saga::Desk>>,
    /// Wakes whoever delivers events.
    wake: watch::Sender<Wake>,
    /// The other replicas, where there may be some.
    cluster: Option<Arc<cluster::Cluster>>,
    chains: Arc<chains::Chains>,
    /// Whether the process is about to end, for whoever follows the change feed.
    ending: watch::Sender<bool>,
    meter: Arc<Meter>,
    /// What authenticates the places where pages of a search go on, once it was needed.
    page_secret: OnceCell<SmolStr>,
}

/// Wakes whoever tells the world outside what happened.
#[derive(Clone)]
pub(crate) struct Waker {
    owed: Arc<Notify>,
    wake: watch::Sender<Wake>,
}

impl Waker {
    /// There is a commit.
    fn committed(&self) {
        self.owed.notify_one();
        self.wake.send_modify(|wake| wake.commits += 1);
    }
    /// A poll has looked at what others did. Letters that another process put back are in no log, so they are looked for.
    fn polled(&self, news: bool) {
        if news {
            self.owed.notify_one();
        }
        self.wake.send_modify(|wake| {
            wake.commits += u64::from(news);
            wake.letters += 1;
        });
    }
}

/// How a process is one of many.
#[derive(Debug, Default)]
pub struct Replication {
    /// What it does.
    pub role: Role,
    /// On what it rests when it answers from memory.
    pub reads: Reads,
    /// Whether a change that is on one server only is refused its `200`.
    pub require_replicated: bool,
    /// Where replicas share copies.
    pub shared: Option<SharedCacheSettings>,
    /// Who is asked before somebody comes to pay, the same for every process that takes commands.
    pub billing: Billing,
    /// Whether somebody is told of events.
    pub events: bool,
}

/// A last commit further ahead of the clock than this is worth a warning.
const CLOCK_AHEAD: Duration = Duration::from_mins(1);

/// How often the first lease is waited for.
const FIRST_LEASE_TRIES: u32 = 10;

/// What there is before the store is open.
struct Parts {
    view: Arc<View>,
    deadlines: Arc<Notify>,
    waker: Waker,
    billing: Option<Arc<saga::Desk>>,
    chains: Arc<chains::Chains>,
    meter: Arc<Meter>,
}

impl Parts {
    fn new(policies: Arc<SitePolicies>, billing: &Billing) -> Self {
        let owed = Arc::new(Notify::new());
        Self {
            view: Arc::new(View::new(policies, Limits::default().cache)),
            deadlines: Arc::new(Notify::new()),
            billing: saga::Desk::of(billing, Arc::clone(&owed)).map(Arc::new),
            waker: Waker { owed, wake: watch::Sender::new(Wake::default()) },
            chains: Arc::default(),
            meter: Arc::default(),
        }
    }
    /// What the store calls after each commit: `show` brings it to the view, then everybody who waits is woken.
    fn observer(&self, show: impl Fn(&Committed) + Send + Sync + 'static) -> Observer {
        let (deadlines, waker, chains) = (Arc::clone(&self.deadlines), self.waker.clone(), Arc::clone(&self.chains));
        Arc::new(move |committed| {
            chains.note(&committed.epoch.id, committed.revision, &committed.chain);
            show(committed);
            deadlines.notify_one();
            waker.committed();
        })
    }
    fn assemble(
        self,
        store: Arc<SqlStore>,
        rules: Rules,
        clock: Arc<dyn Clock>,
        cluster: Option<Arc<cluster::Cluster>>,
    ) -> Arc<App> {
        let Self { view, deadlines, waker, billing, chains, meter } = self;
        let (wake, ending, page_secret) = (waker.wake, watch::Sender::new(false), OnceCell::new());
        Arc::new(App {
            store,
            view,
            clock,
            rules,
            deadlines,
            billing,
            wake,
            cluster,
            chains,
            ending,
            meter,
            page_secret,
        })
    }
}

impl App {
    /// Opens the store, loads agencies and staff, and is ready to answer.
    ///
    /// # Errors
    /// What the store says: another process writes to it, it is newer, it cannot be read or written.
    pub async fn open(
        path: &Path,
        policies: Arc<SitePolicies>,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_with_billing(path, policies, rules, clock, &Billing::default()).await
    }

    /// The same, with a billing service that is asked before somebody comes to pay, when these settings name one.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_with_billing(
        path: &Path,
        policies: Arc<SitePolicies>,
        rules: Rules,
        clock: Arc<dyn Clock>,
        billing: &Billing,
    ) -> Result<Arc<Self>, StoreError> {
        let parts = Parts::new(policies, billing);
        let view = Arc::clone(&parts.view);
        let observer = parts.observer(move |committed| view.publish(committed));
        let store = Arc::new(sqlite::open(path, Some(observer))?);
        let head = store.head().await?;
        let directory = store.directory().await?;
        parts.view.begin(&head, directory.value);
        let ahead = head.at.since(clock.now());
        if ahead > CLOCK_AHEAD {
            tracing::warn!(
                ?ahead,
                "the last commit lies in the future: this clock is behind, or the one before it was ahead; until it \
                 has caught up, sign-ins look old and steps that need a fresh one are refused"
            );
        }
        let app = parts.assemble(store, rules, clock, None);
        app.warn_of_untold().await?;
        app.take_over_sagas().await?;
        Ok(app)
    }

    /// Opens a database that other replicas may write to as well, and is ready to answer: it follows their commits, and
    /// answers under its lease only. `address` is where others can ask this one; `how` says the rest.
    ///
    /// Deadlines are compared with the database's clock.
    ///
    /// # Errors
    /// What the store says, and that this replica got no lease.
    pub async fn open_replica(
        url: &PostgresUrl,
        address: String,
        policies: Arc<SitePolicies>,
        rules: Rules,
        how: Replication,
    ) -> Result<Arc<Self>, StoreError> {
        let Replication { role, reads, require_replicated, shared, billing, events } = how;
        let parts = Parts::new(policies, &billing);
        let heard = cluster::Heard::new(Arc::clone(&parts.view));
        let start = |settings| {
            let heard = heard.clone();
            SharedCache::start(settings, move |revision| heard.of(revision))
        };
        let shared = shared.as_ref().map(start).transpose().map_err(StoreError::Unavailable)?.map(Arc::new);
        let sharing = shared.clone();
        let observer = parts.observer(move |committed| {
            let Some(shared) = &sharing else { return };
            for site in &committed.sites {
                let epoch = cluster::name_of(&committed.epoch);
                shared.put(&epoch, committed.revision, Arc::new(site.clone()));
            }
            shared.hint(committed.revision);
        });
        let secret = url.secret().to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            if role.writes() { postgres::open(&secret, Some(observer)) } else { postgres::open_read_only(&secret) }
        });
        let store = opening.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
        let (store, clock) = (Arc::new(store), Arc::new(DatabaseClock::default()));
        begin_with(&store, &parts.view.policies(), role).await?;
        let setup = cluster::Setup {
            url: url.secret().to_owned(),
            address,
            store: Arc::clone(&store),
            view: Arc::clone(&parts.view),
            clock: Arc::clone(&clock),
            shared,
            heard,
            chains: Arc::clone(&parts.chains),
            meter: Arc::clone(&parts.meter),
            reads,
            require_replicated,
            role,
            tells: events || parts.billing.is_some(),
            wake: parts.waker.clone(),
        };
        let cluster = cluster::Cluster::start(setup)?;
        let app = parts.assemble(store, rules, clock, Some(cluster));
        for _ in 0..FIRST_LEASE_TRIES {
            if app.ready().await.is_ok() {
                if role.writes() {
                    app.warn_of_untold().await?;
                }
                return Ok(app);
            }
        }
        Err(StoreError::Unavailable("this replica got no lease; the log says why".into()))
    }
    /// The system of record.
    #[must_use]
    pub fn store(&self) -> &SqlStore {
        &self.store
    }
    /// The same, what wakes whoever delivers its events, and the clock by which they are due.
    #[must_use]
    pub fn outbox(&self) -> (Arc<SqlStore>, watch::Receiver<Wake>, Arc<dyn Clock>) {
        (Arc::clone(&self.store), self.wake.subscribe(), Arc::clone(&self.clock))
    }
    /// What decisions see.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }
    /// How long things take.
    #[must_use]
    pub fn timers(&self) -> &Timers {
        &self.rules.timers
    }
    /// Now: the later of the wall clock and the last commit, so that a clock that jumps back revives nothing.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now().max(self.view.head().1)
    }
    /// Leaves the registry of replicas; nothing is answered afterwards. Blocks for a moment.
    pub fn leave(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.stop();
        }
    }
    fn step_up_s(&self) -> i64 {
        i64::try_from(self.rules.timers.step_up.as_secs()).unwrap_or(i64::MAX)
    }
}

/// Sees to it that there are policies in force: a process that writes begins with its own where there are none.
async fn begin_with(store: &SqlStore, own: &SitePolicies, role: Role) -> Result<(), StoreError> {
    let in_force = if role.writes() {
        Some(policies::activate(store, own, policies::Replacing::Nothing).await?.now)
    } else {
        store.head().await?.policy
    };
    let Some(in_force) = in_force else {
        return Err(StoreError::Unavailable(
            "no policies are in force, and `role = pdp` may not activate any: start a process that writes first, or run \
             `mandate policy activate`"
                .into(),
        ));
    };
    let own = own.bundle().sha256();
    if role.writes() && *own != in_force {
        tracing::warn!(
            %own,
            %in_force,
            "other policies are in force than this process was started with: it answers by those in force. To put its own \
             in force, run `mandate policy activate`"
        );
    }
    Ok(())
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("rules", &self.rules).finish_non_exhaustive()
    }
}

//! The service as one value: the store, the view that decisions read, the rules, the clock.
//!
//! Everything the edge offers is a method here, with typed input and a typed answer or [`Failure`]; HTTP and the
//! command line only translate. What is pure (decisions, transitions, texts) is called from here with `now` and data;
//! what must hold together (state, audit, reply, revision) goes into one change of the store.

mod check;
mod command;
mod diff;
mod events;
mod failure;
pub mod import;
mod preview;
mod read;
mod registry;
mod rules;
mod saga;
#[cfg(test)]
mod tests;
mod timers;

pub use check::{Checked, Detail};
pub use command::{CommandRequest, Reply, ReplyBody};
pub use diff::{Change as PermissionChange, PermissionDiff};
pub use failure::{Failure, Kind};
pub use preview::{Notice, Preview};
pub use read::{AccessEntry, Viewer};
pub use registry::{AccountState, AccountUpdate, AccountView, AgencyUpdate, PlanUpdate, Registered, SiteUpdate};
pub use rules::Rules;

use std::{path::Path, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    assignment::SitePolicies,
    cache::View,
    clock::Clock,
    config::Billing,
    events::Wake,
    handover::Timers,
    store::{Observer, Store, StoreError, sql::SqlStore, sqlite},
    time::Timestamp,
};

/// The service.
pub struct App {
    store: Arc<SqlStore>,
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    /// Wakes the timers' worker when a commit may have brought a nearer deadline.
    deadlines: Arc<tokio::sync::Notify>,
    /// Who is asked before somebody comes to pay.
    billing: Option<Arc<saga::Desk>>,
    /// Wakes whoever delivers events.
    wake: watch::Sender<Wake>,
}

/// A last commit further ahead of the clock than this is worth a warning.
const CLOCK_AHEAD: Duration = Duration::from_mins(1);

/// Rows of sites that the view holds at most.
pub const MAX_CACHED_SITES: usize = 2_000_000;

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
        let view = Arc::new(View::new(policies, MAX_CACHED_SITES));
        let deadlines = Arc::new(tokio::sync::Notify::new());
        let owed = Arc::new(tokio::sync::Notify::new());
        let billing = saga::Desk::of(billing, Arc::clone(&owed)).map(Arc::new);
        let wake = watch::Sender::new(Wake::default());
        let observer: Observer = {
            let (view, deadlines, wake) = (Arc::clone(&view), Arc::clone(&deadlines), wake.clone());
            Arc::new(move |committed| {
                view.publish(committed);
                deadlines.notify_one();
                owed.notify_one();
                wake.send_modify(|wake| wake.commits += 1);
            })
        };
        let store = Arc::new(sqlite::open(path, Some(observer))?);
        let head = store.head().await?;
        let directory = store.directory().await?;
        view.begin(directory.revision, head.at, directory.value);
        let ahead = head.at.since(clock.now());
        if ahead > CLOCK_AHEAD {
            tracing::warn!(
                ?ahead,
                "the last commit lies in the future: this clock is behind, or the one before it was ahead; until it \
                 has caught up, sign-ins look old and steps that need a fresh one are refused"
            );
        }
        let app = Arc::new(Self { store, view, clock, rules, deadlines, billing, wake });
        app.take_over_sagas().await?;
        Ok(app)
    }
    /// The system of record.
    #[must_use]
    pub fn store(&self) -> &SqlStore {
        &self.store
    }
    /// The same, and what wakes whoever delivers its events.
    #[must_use]
    pub fn outbox(&self) -> (Arc<SqlStore>, watch::Receiver<Wake>) {
        (Arc::clone(&self.store), self.wake.subscribe())
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
    fn step_up_s(&self) -> i64 {
        i64::try_from(self.rules.timers.step_up.as_secs()).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("rules", &self.rules).finish_non_exhaustive()
    }
}

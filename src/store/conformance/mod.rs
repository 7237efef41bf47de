//! What must every system of record do? One suite of cases, run against each implementation of [`Store`].
//!
//! Each case gets an empty store and what its observer was told. A case is a promise of the port in words; it may use
//! nothing but the port. What only one implementation does (locks, full disks, migrations) is tested beside it.
//!
//! The suite is itself tested: `faults` wraps a good store with one fault after another, and every fault must be caught
//! by the case that was written for it. Tests beside each implementation lost: they drift apart, and the second
//! database would be trusted for what only the first one was asked.

mod cases;
mod faults;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{Committed, Observer, Store};

/// How long one case may take: a store that hangs has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// An empty store, and what its observer was told so far.
pub struct Bench<S> {
    /// The store.
    pub store: Arc<S>,
    /// Commits, in the order the observer was called.
    pub seen: Arc<Mutex<Vec<Committed>>>,
}

/// A promise that was not kept.
#[derive(Debug)]
pub struct Failure {
    /// The case's name.
    pub case: &'static str,
    /// What it found.
    pub why: String,
}

impl<S: Store> Bench<S> {
    async fn new(make: &impl AsyncFn(Observer) -> S) -> Self {
        let seen: Arc<Mutex<Vec<Committed>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let store = make(Arc::new(move |committed: &Committed| notes.lock().push(committed.clone()))).await;
        Self { store: Arc::new(store), seen }
    }
}

/// Runs one case to its end.
async fn outcome(case: &'static str, run: impl Future<Output = ()> + Send + 'static) -> Option<Failure> {
    let task = tokio::spawn(tokio::time::timeout(PATIENCE, run));
    let why = match task.await {
        Ok(Ok(())) => return None,
        Ok(Err(_)) => format!("did not end within {PATIENCE:?}"),
        Err(panicked) => match panicked.try_into_panic() {
            Ok(payload) => payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_default(),
            Err(error) => error.to_string(),
        },
    };
    Some(Failure { case, why })
}

macro_rules! suite {
    ($($case:ident),+ $(,)?) => {
        /// Runs every case against a store of its own, made by `make` with the observer it must call; what failed.
        pub async fn suite<S: Store>(make: impl AsyncFn(Observer) -> S) -> Vec<Failure> {
            let mut failures = Vec::new();
            $(failures.extend(outcome(stringify!($case), cases::$case(Bench::new(&make).await)).await);)+
            failures
        }
    };
}

suite! {
    an_empty_store_is_at_revision_zero,
    every_commit_is_the_next_revision,
    leaving_writes_nothing,
    a_decision_sees_exactly_the_committed_state,
    concurrent_changes_follow_each_other,
    a_read_is_one_snapshot,
    a_refused_change_leaves_no_part_behind,
    a_decision_that_panics_writes_nothing,
    everything_on_a_site_comes_back,
    one_person_in_a_thousand_costs_one_row,
    a_purged_site_keeps_its_id,
    a_site_has_one_live_handover,
    handovers_are_kept_oldest_first,
    offers_of_an_account_are_counted,
    a_handover_alone_touches_its_site,
    open_handovers_of_an_agency_bring_their_sites,
    a_reply_is_found_under_its_key_only,
    audit_events_form_one_chain,
    the_feed_never_splits_a_revision,
    the_feed_names_every_key,
    a_begun_change_outlives_its_caller,
    the_observer_is_told_before_the_caller,
    deadlines_come_due,
    policies_stay_in_force_until_others_are,
    time_never_goes_back,
    the_directory_is_everybody,
    a_change_is_given_the_agencies_it_needs,
    site_ids_are_paged_in_order,
    somebodys_sites_are_found_by_every_way,
    a_saga_is_journalled_without_a_revision,
    a_saga_is_confirmed_by_its_commit,
    sagas_come_due_in_the_order_of_a_sites_commits,
}

//! What does the service count about itself? Decisions, transitions, and how it follows its database.
//!
//! A check that is answered from memory pays for one counter of its thread's stripe and, each sixteenth time, two
//! readings of the clock. Whatever can be read when the page is asked for is not counted here (`page`).
//!
//! A deny is not an error: it is a decision. An error is when there is none.

mod page;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use smol_str::SmolStr;

use super::{Checked, Effective, Failure, Kind};
use crate::{
    lease::{Acks, Rejected},
    metrics::{Codes, Count, FAST, SLOW, Striped, Times, stripe_turn},
    store::StoreError,
};

/// Of how many checks that a thread answers one is timed, where it was answered from memory.
const TIMED: u32 = 16;

/// From where a check got what it was answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// This process's memory.
    Memory,
    /// A copy that another replica shared.
    Shared,
    /// The system of record.
    Store,
    /// Nothing had to be looked up: there can be no such site.
    Nothing,
}

impl Source {
    const ALL: [Self; 4] = [Self::Memory, Self::Shared, Self::Store, Self::Nothing];

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "l1",
            Self::Shared => "redis",
            Self::Store => "store",
            Self::Nothing => "none",
        }
    }
}

/// The answers that are so frequent that each has its place: decision and reason.
const FREQUENT: [(&str, &str); 4] =
    [("allow", "none"), ("deny", "not_asked"), ("deny", "unknown_site"), ("deny", "no_role")];

/// How a transition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Effective,
    Committed,
    Conflict,
    Refused,
    NotApplied,
    Unknown,
}

impl Outcome {
    const ALL: [(Self, &str); 6] = [
        (Self::Effective, "effective"),
        (Self::Committed, "committed"),
        (Self::Conflict, "conflict"),
        (Self::Refused, "refused"),
        (Self::NotApplied, "not_applied"),
        (Self::Unknown, "unknown"),
    ];

    fn of(told: Result<&Effective, &Failure>) -> Self {
        match told {
            Ok(Effective::Yes { .. }) => Self::Effective,
            Ok(Effective::NotYet { .. }) => Self::Committed,
            Err(failure) => match failure.kind {
                Kind::Conflict | Kind::Precondition => Self::Conflict,
                Kind::Unavailable if failure.more.get("outcome").is_some_and(|outcome| outcome == "unknown") => {
                    Self::Unknown
                }
                Kind::Unavailable => Self::NotApplied,
                _ => Self::Refused,
            },
        }
    }
}

/// All counters.
#[derive(Debug)]
pub struct Meter {
    /// By source, then by place in [`FREQUENT`].
    frequent: Striped<16>,
    /// Denials for other reasons, by source.
    reasons: [Codes; 4],
    durations: [Times; 4],
    errors: Codes,
    /// Decisions about other things than sites, by policy domain and result.
    elsewhere: Mutex<BTreeMap<(SmolStr, &'static str), u64>>,
    /// Checks that found nothing in memory.
    misses: Count,
    /// What was read from the store and found, was not there, or was overtaken by a change.
    store_hits: Count,
    store_misses: Count,
    store_stale: Count,
    transitions: [Count; 6],
    by_acks: Times,
    by_expiry: Times,
    polls: Times,
    poll_failures: Codes,
    regressions: Count,
    clock_anomalies: Count,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            frequent: Striped::default(),
            reasons: Default::default(),
            durations: std::array::from_fn(|_| Times::within(FAST)),
            errors: Codes::default(),
            elsewhere: Mutex::default(),
            misses: Count::default(),
            store_hits: Count::default(),
            store_misses: Count::default(),
            store_stale: Count::default(),
            transitions: Default::default(),
            by_acks: Times::within(SLOW),
            by_expiry: Times::within(SLOW),
            polls: Times::within(SLOW),
            poll_failures: Codes::default(),
            regressions: Count::default(),
            clock_anomalies: Count::default(),
        }
    }
}

/// One check under way.
pub(super) struct Stopwatch {
    begun: Option<Instant>,
    source: Source,
}

impl Stopwatch {
    pub fn start(source: Source) -> Self {
        Self { begun: stripe_turn(TIMED).then(Instant::now), source }
    }
    /// The site has to be read: that takes so long that timing it costs nothing.
    pub fn missed(&mut self, meter: &Meter) {
        self.begun.get_or_insert_with(Instant::now);
        if self.source == Source::Memory {
            meter.misses.add();
        }
        self.source = Source::Store;
    }
    /// It came from there.
    pub const fn came_from(&mut self, source: Source) {
        self.source = source;
    }
}

impl Meter {
    /// A policy domain was asked: what it told, or that it could not.
    pub fn decided_elsewhere(&self, domain: &SmolStr, allowed: Option<bool>) {
        let decision = match allowed {
            Some(true) => "allow",
            Some(false) => "deny",
            None => return self.errors.add("policy_failed"),
        };
        *self.elsewhere.lock().entry((domain.clone(), decision)).or_default() += 1;
    }

    /// A check is over.
    pub(super) fn checked(&self, watch: &Stopwatch, answer: &Result<Checked, Failure>) {
        match answer {
            Ok(checked) => self.decided(watch.source, checked),
            Err(failure) => return self.errors.add(&failure.code),
        }
        if let (Some(begun), Some(times)) = (watch.begun, self.durations.get(watch.source as usize)) {
            times.add(begun.elapsed());
        }
    }

    /// Several checks are over, of one request: each is counted, and none is timed, because they took their time together.
    pub(super) fn checked_each(&self, watch: &Stopwatch, answers: &Result<Vec<Checked>, Failure>) {
        match answers {
            Ok(answers) => answers.iter().for_each(|checked| self.decided(watch.source, checked)),
            Err(failure) => self.errors.add(&failure.code),
        }
    }

    fn decided(&self, source: Source, checked: &Checked) {
        let place = match checked.outcome.reason.as_deref() {
            _ if checked.outcome.allowed => Some(0),
            None => Some(1),
            Some(reason) => FREQUENT.iter().position(|(_, known)| *known == reason),
        };
        let source = source as usize;
        match (place, &checked.outcome.reason) {
            (Some(place), _) => self.frequent.add(source * FREQUENT.len() + place),
            (None, Some(reason)) => self.reasons.get(source).into_iter().for_each(|codes| codes.add(reason)),
            (None, None) => {}
        }
    }

    /// Something was read from the store, and was not overtaken, or was.
    pub(super) fn read_from_store(&self, found: bool, fresh: bool) {
        let count = match (fresh, found) {
            (false, _) => &self.store_stale,
            (true, true) => &self.store_hits,
            (true, false) => &self.store_misses,
        };
        count.add();
    }

    /// A transition was answered.
    pub fn transition(&self, told: Result<&Effective, &Failure>) {
        let outcome = Outcome::of(told);
        self.transitions.get(outcome as usize).map(Count::add);
        if let Ok(Effective::Yes { waited, acks: Some(acks), .. }) = told {
            match acks {
                Acks::All => self.by_acks.add(*waited),
                Acks::LeaseExpiry => self.by_expiry.add(*waited),
            }
        }
    }

    /// A poll was answered, after this long.
    pub(super) fn polled(&self, took: Duration) {
        self.polls.add(took);
    }

    /// A round of the thread that follows the database failed before there was an answer to judge.
    pub(super) fn poll_failed(&self, error: &StoreError) {
        self.poll_failures.add(match error {
            StoreError::Unavailable(_) | StoreError::Unknown(_) => "unavailable",
            StoreError::Corrupt(_) => "corrupt",
        });
    }

    /// A poll's answer was not believed.
    pub(super) fn poll_rejected(&self, why: &Rejected) {
        self.poll_failures.add(match why {
            Rejected::ReadOnly => "read_only",
            Rejected::LeakedTransaction => "leaked_transaction",
            Rejected::Silent => "silent",
            Rejected::Regressed { .. } => "regressed",
            Rejected::ChainMismatch { .. } => "chain_mismatch",
        });
    }

    /// A poll's answer was not taken, because it names policies that cannot be used here.
    pub(super) fn policies_unusable(&self) {
        self.poll_failures.add("policies_unusable");
    }

    /// This replica stops answering, because the history went back.
    pub(super) fn regressed(&self) {
        self.regressions.add();
    }

    /// Two clocks of this machine have moved apart.
    pub(super) fn clock_anomaly(&self) {
        self.clock_anomalies.add();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Durability;

    #[test]
    fn every_end_of_a_transition_has_its_name() {
        let failed = |kind, outcome: &str| Failure::new(kind, "x", "x").with("outcome", outcome);
        let yes = Effective::Yes { waited: Duration::ZERO, acks: Some(Acks::All), durability: Durability::Local };
        let later = Effective::NotYet { no_later_than: Duration::ZERO, pending: Vec::new() };
        let meter = Meter::default();
        meter.transition(Ok(&yes));
        meter.transition(Ok(&later));
        for (kind, outcome) in [
            (Kind::Conflict, ""),
            (Kind::Precondition, ""),
            (Kind::Forbidden, ""),
            (Kind::Unavailable, "not_applied"),
            (Kind::Unavailable, "unknown"),
        ] {
            meter.transition(Err(&failed(kind, outcome)));
        }
        assert_eq!(meter.transitions.each_ref().map(Count::get), [1, 1, 2, 1, 1, 1]);
        for (place, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
        for (place, source) in Source::ALL.iter().enumerate() {
            assert_eq!(*source as usize, place);
        }
    }
}

//! What does one answer of the system of record make of a view? The only way to a new one.
//!
//! One statement answers a poll, so all of a [`PollAnswer`] is of one snapshot. At most one poll is in flight: one that
//! was given up is never read. Otherwise an older snapshot, overtaken on the way, would look like a history that went
//! back.
//!
//! A history that did go back, or that holds other content at a revision that this replica has applied, has lost commits
//! which somebody may have been told were made. That is not repaired by reading again: it waits for an operator. A
//! *changed epoch* is an operator's word already (a restored backup mints one); everything is dropped and read again.
//! A *changed timeline* is a failover: when nothing was lost, everything is read again too, because values filled from
//! the old primary in its last moments may hold what the new one never saw.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Boot, Chain, Epoch, Key, RECENT_LIMIT, View};
use crate::revision::Revision;

/// What one poll reads, in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollAnswer {
    /// The history that answered.
    pub epoch: Epoch,
    /// The revision of the snapshot.
    pub revision: Revision,
    /// The chain at that revision.
    pub chain: Chain,
    /// The chain at the revision that the replica had applied, by the change log; `None` when the log has no such entry.
    pub chain_at_applied: Option<Chain>,
    /// How long a lease is.
    pub ttl: Duration,
    /// Whether the server is a standby.
    pub read_only: bool,
    /// Whether the statement was its own transaction: a snapshot from the beginning of a longer one may be old.
    pub fresh_transaction: bool,
    /// Where `changes` begin: what the replica had applied, and for a first poll some revision not long ago.
    pub since: Revision,
    /// Every change after that revision up to this one. Every revision has at least one.
    pub changes: Vec<(Revision, Key)>,
    /// Whether `changes` is all of them: the log reaches back that far, and no limit cut it short.
    pub complete: bool,
}

/// What to do about an answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// It was asked for no later than what is known. Nothing.
    Ignored,
    /// Drop these keys from what is remembered, then publish the view.
    Advance {
        /// Each once.
        drop: Vec<Key>,
        /// What is known now.
        view: Arc<View>,
    },
    /// Drop everything that is remembered, then publish the view.
    Resync {
        /// What is known now.
        view: Arc<View>,
    },
}

/// Why an answer was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A standby may be behind.
    #[error("the server that answered is read-only: a standby is not the system of record")]
    ReadOnly,
    /// The snapshot may be old.
    #[error("the poll ran inside an older transaction, whose snapshot may be old")]
    LeakedTransaction,
    /// Writers may not have waited for this replica.
    #[error("this replica was silent for so long that writers may not count it any more: register again, then poll")]
    Silent,
    /// Commits were lost.
    #[error("revision {had} was applied here and the system of record is at {got}: commits were lost")]
    Regressed {
        /// What was applied.
        had: Revision,
        /// What was answered.
        got: Revision,
    },
    /// Commits were lost and others took their revisions.
    #[error("the system of record holds other content at revision {at} than was applied here: commits were lost")]
    ChainMismatch {
        /// What was applied.
        at: Revision,
    },
}

impl Rejected {
    /// Whether nothing may be answered until an operator has looked. The others pass with a better poll.
    #[must_use]
    pub const fn quarantines(&self) -> bool {
        match self {
            Self::Regressed { .. } | Self::ChainMismatch { .. } => true,
            Self::ReadOnly | Self::LeakedTransaction | Self::Silent => false,
        }
    }
}

/// What `answer` makes of `view`; `sent` was read before the poll was sent. Without a view it is the first poll, sent
/// after the replica's registration had returned.
///
/// # Errors
/// The answer is not to be believed. The view stays what it was, and its lease runs on, unless the reason
/// [quarantines](Rejected::quarantines). [`Follower`](super::Follower) keeps to that.
pub fn advance(view: Option<&View>, sent: Boot, answer: PollAnswer) -> Result<Step, Rejected> {
    advance_within(view, sent, answer, RECENT_LIMIT)
}

/// What a look makes of `view`: the same answer, read by a statement that renews nothing, sent after `sent` was read. The
/// watermark moves on, and the lease stays the one that the last poll brought; it was asked for before the look was, so
/// whatever revision the look has not seen, the lease was asked for before its commit, too. None where only a poll can tell
/// what to do: the lease is over, the answer is no newer, is not to be believed, or has to do with another history.
#[must_use]
pub fn learn(view: &View, sent: Boot, answer: PollAnswer) -> Option<Step> {
    if !view.holds(sent) {
        return None;
    }
    match advance(Some(view), sent, answer) {
        Ok(Step::Advance { drop, view: newer }) => {
            Some(Step::Advance { drop, view: Arc::new(newer.under_lease_of(view)) })
        }
        Ok(Step::Ignored | Step::Resync { .. }) | Err(_) => None,
    }
}

/// [`advance`] with its limit on remembered keys as an argument.
pub(super) fn advance_within(
    view: Option<&View>,
    sent: Boot,
    answer: PollAnswer,
    limit: usize,
) -> Result<Step, Rejected> {
    if view.is_some_and(|view| sent <= view.t0()) {
        return Ok(Step::Ignored);
    }
    answer.is_of_the_primary()?;
    let same_history = view.filter(|view| view.epoch().id == answer.epoch.id);
    if let Some(view) = same_history {
        answer.continues(view)?;
    }
    Ok(match (view, same_history.filter(|view| answer.follows(view))) {
        (_, Some(view)) => Step::follow(view, sent, answer, limit),
        (None, None) => Step::Resync { view: Arc::new(View::first(sent, answer, limit)) },
        (Some(_), None) => Step::Resync { view: Arc::new(View::fresh(sent, answer)) },
    })
}

impl PollAnswer {
    fn is_of_the_primary(&self) -> Result<(), Rejected> {
        if self.read_only {
            Err(Rejected::ReadOnly)
        } else if self.fresh_transaction {
            Ok(())
        } else {
            Err(Rejected::LeakedTransaction)
        }
    }
    /// Whether nothing that `view` has applied is missing.
    fn continues(&self, view: &View) -> Result<(), Rejected> {
        let at = view.revision();
        if self.revision < at {
            return Err(Rejected::Regressed { had: at, got: self.revision });
        }
        let head = (self.revision == at).then_some(&self.chain);
        let there: Vec<&Chain> = head.into_iter().chain(&self.chain_at_applied).collect();
        // Before the first commit there is no entry, and a log that was cut short may have lost it.
        let may_be_unknown = at == Revision(0) || !self.complete;
        let known = may_be_unknown || !there.is_empty();
        if known && there.iter().all(|chain| *chain == view.chain()) {
            Ok(())
        } else {
            Err(Rejected::ChainMismatch { at })
        }
    }
    /// Whether what `view` remembers stays true: the same server, and no gap in the log.
    fn follows(&self, view: &View) -> bool {
        self.epoch == *view.epoch() && self.tells_all_after(view.revision())
    }
    /// Whether every change after a revision is told of.
    pub(super) fn tells_all_after(&self, known: Revision) -> bool {
        let news = self.changes_after(known).map(|(revision, _)| *revision);
        let distinct = news.collect::<BTreeSet<_>>().len();
        let expected = self.revision.0.saturating_sub(known.0);
        self.complete && known <= self.revision && u64::try_from(distinct) == Ok(expected)
    }
    /// The changes that somebody who knows all up to a revision does not know.
    pub(super) fn changes_after(&self, known: Revision) -> impl Iterator<Item = &(Revision, Key)> {
        self.changes.iter().filter(move |(revision, _)| known < *revision && *revision <= self.revision)
    }
}

impl Step {
    fn follow(view: &View, sent: Boot, answer: PollAnswer, limit: usize) -> Self {
        let drop: BTreeSet<Key> = answer.changes_after(view.revision()).map(|(_, key)| key.clone()).collect();
        let view = Arc::new(view.followed(sent, answer, limit));
        Self::Advance { drop: drop.into_iter().collect(), view }
    }
    /// The view to publish, if there is one.
    #[must_use]
    pub const fn view(&self) -> Option<&Arc<View>> {
        match self {
            Self::Ignored => None,
            Self::Advance { view, .. } | Self::Resync { view } => Some(view),
        }
    }
}

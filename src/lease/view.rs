//! What does a replica know, and for how long? One immutable view.
//!
//! Invariants: `recent` names every key that changed in `(floor, w]`, with the last revision at which it did; so of a
//! value with a tag at or above the floor it is known whether it still is what the system of record holds at `w`. All
//! values that are usable under one view together are the contents at `w`, of one revision and no mixture.
//!
//! `recent` has a limit. When it is reached the floor rises: older values are read again, and none is believed wrongly.
//! A lifetime for its entries lost: it would need a clock. A persistent map lost: views with changes are made at the
//! rate of handovers, and copying sixteen thousand small keys takes less than a millisecond.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Boot, Chain, Epoch, Key, PollAnswer, Tag};
use crate::revision::Revision;

/// The most keys that a view remembers the last change of.
pub const RECENT_LIMIT: usize = 16_384;

/// What a replica learned from one poll.
#[derive(Debug, Clone)]
pub struct View {
    epoch: Epoch,
    w: Revision,
    chain: Chain,
    t0: Boot,
    ttl: Duration,
    floor: Revision,
    recent: Arc<HashMap<Key, Revision>>,
}

/// Whether a remembered value may be used under a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    /// It is what the system of record holds at the view's revision.
    Ok,
    /// Its key has changed since: read again.
    Stale,
    /// It is older than what the view remembers of changes: read again.
    BelowFloor,
    /// It comes from another history: read again.
    OtherEpoch,
    /// It is newer than the view: poll, and pin the view that comes of it.
    Ahead,
}

impl View {
    /// A view that knows `answer` and nothing of what was before.
    pub(super) fn fresh(sent: Boot, answer: PollAnswer) -> Self {
        Self {
            epoch: answer.epoch,
            w: answer.revision,
            chain: answer.chain,
            t0: sent,
            ttl: answer.ttl,
            floor: answer.revision,
            recent: Arc::default(),
        }
    }
    /// The view of a replica that has known nothing: what others have remembered since the revision from which on `answer`
    /// tells all changes can be judged by these, remembering at most `limit` keys.
    pub(super) fn first(sent: Boot, answer: PollAnswer, limit: usize) -> Self {
        if !answer.tells_all_after(answer.since) {
            return Self::fresh(sent, answer);
        }
        let (recent, floor) = bounded(with(HashMap::new(), &answer, answer.since), answer.since, limit);
        Self { floor, recent: Arc::new(recent), ..Self::fresh(sent, answer) }
    }
    /// This view with the changes of `answer`, remembering at most `limit` keys.
    pub(super) fn followed(&self, sent: Boot, answer: PollAnswer, limit: usize) -> Self {
        let (recent, floor) = if answer.changes.is_empty() {
            (Arc::clone(&self.recent), self.floor)
        } else {
            let (recent, floor) = bounded(with(HashMap::clone(&self.recent), &answer, self.w), self.floor, limit);
            (Arc::new(recent), floor)
        };
        Self { floor, recent, ..Self::fresh(sent, answer) }
    }
    /// The same knowledge under the lease of `older`, which was asked for before.
    pub(super) fn under_lease_of(&self, older: &Self) -> Self {
        Self { t0: older.t0, ttl: older.ttl, ..self.clone() }
    }

    /// The history.
    #[must_use]
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }
    /// The watermark: every change up to here is known.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.w
    }
    /// The hash over everything up to the watermark.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }
    /// Read before the poll was sent; the lease is counted from here.
    #[must_use]
    pub const fn t0(&self) -> Boot {
        self.t0
    }
    /// How long the lease is.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }
    /// Values from before this revision are not judged.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }
    /// Where a value is from that is read at the watermark.
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag { epoch: self.epoch.clone(), revision: self.w }
    }
    /// Whether the lease holds at `now`. A reading from before `t0` was taken too early, or by a clock that has gone
    /// back: it does not hold.
    #[must_use]
    pub fn holds(&self, now: Boot) -> bool {
        now.since(self.t0).is_some_and(|age| age < self.ttl)
    }
    /// What is left of the lease: zero when it does not hold.
    #[must_use]
    pub fn remaining(&self, now: Boot) -> Duration {
        now.since(self.t0).map_or(Duration::ZERO, |age| self.ttl.saturating_sub(age))
    }
    /// Whether a value of `key` with this tag is what the system of record holds at the watermark. Checks ask their
    /// [`Pinned`](super::Pinned) view.
    pub(super) fn usable(&self, key: &Key, tag: &Tag) -> Use {
        if tag.epoch != self.epoch {
            Use::OtherEpoch
        } else if tag.revision < self.floor {
            Use::BelowFloor
        } else if tag.revision > self.w {
            Use::Ahead
        } else if self.recent.get(key).is_some_and(|changed| *changed > tag.revision) {
            Use::Stale
        } else {
            Use::Ok
        }
    }
    #[cfg(test)]
    pub(super) fn last_change(&self, key: &Key) -> Option<Revision> {
        self.recent.get(key).copied()
    }
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.recent.len()
    }
}

/// What is remembered, and the changes after `known` that an answer tells.
fn with(mut recent: HashMap<Key, Revision>, answer: &PollAnswer, known: Revision) -> HashMap<Key, Revision> {
    for (revision, key) in answer.changes_after(known) {
        let last = recent.entry(key.clone()).or_insert(*revision);
        *last = (*last).max(*revision);
    }
    recent
}

/// Keeps the newest half of a map that has outgrown `limit`, and raises the floor over what it lets go.
fn bounded(mut recent: HashMap<Key, Revision>, floor: Revision, limit: usize) -> (HashMap<Key, Revision>, Revision) {
    if recent.len() <= limit {
        return (recent, floor);
    }
    let mut changed: Vec<Revision> = recent.values().copied().collect();
    changed.sort_unstable_by(|one, other| other.cmp(one));
    let raised = changed.get(limit / 2).copied().unwrap_or(floor);
    recent.retain(|_, last| *last > raised);
    (recent, raised.max(floor))
}

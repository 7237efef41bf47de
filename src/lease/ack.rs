//! May the writer say that its change is effective? Nobody answers from before it any more.
//!
//! Two proofs, either is enough. *Every registered replica has applied it*: a replica's row says so only after it has
//! published such a view, and one that registers later starts from a snapshot that holds the change. So an empty registry
//! is proof as well, if no replica polls before its registration has returned ([`super::Follower`]). *Every lease has run
//! out*: a view without the change was asked for before COMMIT returned, so its lease ends within
//! [`Margin::bound`] of that moment.
//!
//! A row is ignored only when it has not been renewed for so long that its last lease is over many times; how long is
//! measured by the writer's own clock ([`super::Watch`]). There is no path that calls a change effective on hope.

use std::time::Duration;

use super::{Boot, Epoch, ReplicaId};
use crate::{revision::Revision, time::Timestamp};

/// How much faster than a replica's clock the writer's may run, in percent (ρ).
pub const DRIFT_PERCENT: u32 = 10;
/// What is added to every wait for readings that are rounded or late (ε).
pub const EPSILON: Duration = Duration::from_millis(100);
/// The longest lease that the system of record allows, and so the longest that anybody's answers may lag behind.
pub const LONGEST_LEASE: Duration = Duration::from_mins(1);
/// After how many leases without renewal a row is ignored, at the earliest.
const SILENT_LEASES: u32 = 3;
/// What is added to that.
const SILENT_BEYOND: Duration = Duration::from_mins(1);

/// By how much the writer waits longer than a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Margin {
    /// In percent of the lease.
    pub drift_percent: u32,
    /// And beyond that.
    pub slack: Duration,
}

impl Margin {
    /// ρ and ε.
    pub const STANDARD: Self = Self { drift_percent: DRIFT_PERCENT, slack: EPSILON };

    /// How long after COMMIT returned every lease of length `ttl` asked for before has run out: `ttl·(1+ρ)+ε`.
    #[must_use]
    pub fn bound(self, ttl: Duration) -> Duration {
        let nanos = ttl.as_nanos().saturating_mul(u128::from(self.drift_percent)).div_ceil(100);
        let drift = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        ttl.saturating_add(drift).saturating_add(self.slack)
    }
}

/// One registered replica, as the registry shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub replica: ReplicaId,
    /// In which history.
    pub epoch: Epoch,
    /// Up to which revision it has published a view.
    pub applied: Revision,
    /// The longest that its answers may lag behind.
    pub max_stale: Duration,
    /// For how long it is known not to have renewed its row.
    pub silent: Duration,
    /// When it was renewed, by the database's clock: a mark, not a time.
    pub renewed: Timestamp,
}

impl Row {
    /// Whether nobody has to wait for this replica any more: its last lease, of at most `ttl_max`, is over many times. The
    /// row may be deleted; whoever still runs enters it again before the next poll.
    #[must_use]
    pub fn is_dead(&self, ttl_max: Duration) -> bool {
        let longest = ttl_max.max(self.max_stale);
        self.silent > longest.saturating_mul(SILENT_LEASES).saturating_add(SILENT_BEYOND)
    }
}

/// One reading of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Read before the registry was.
    pub asked: Boot,
    /// Everybody in it.
    pub rows: Vec<Row>,
}

/// By what a change is known to be effective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acks {
    /// Every registered replica has applied it.
    All,
    /// Every lease without it has run out.
    LeaseExpiry,
}

impl Acks {
    /// As it is told to callers.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::LeaseExpiry => "lease_expiry",
        }
    }
}

/// What the writer may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A check that is received from now on is answered at this revision or later, or refused.
    Effective(Acks),
    /// Not yet.
    Pending {
        /// Whose word is missing, where the registry was read.
        replicas: Vec<ReplicaId>,
        /// When it will be effective at the latest, from now.
        no_later_than: Duration,
    },
}

/// A committed change that waits to be effective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The history it was committed to.
    pub epoch: Epoch,
    /// Its revision.
    pub revision: Revision,
    /// Read after COMMIT returned; for a repeated request, read now.
    pub committed: Boot,
    /// The longest lease that was ever given out, read in the same transaction or later.
    pub ttl_max: Duration,
    /// By how much to wait longer.
    pub margin: Margin,
}

impl Ack {
    /// What may be said at `now`. `registry` is `None` only where no replica registers; a reading from before the commit
    /// proves nothing about who has applied it, and is taken for its `max_stale` alone.
    #[must_use]
    pub fn judge(&self, now: Boot, registry: Option<&Registry>) -> Verdict {
        let rows = registry.map_or(&[][..], |registry| &registry.rows);
        let read_since = registry.is_some_and(|registry| registry.asked >= self.committed);
        let missing: Vec<ReplicaId> =
            rows.iter().filter(|row| !self.is_answered_by(row)).map(|row| row.replica.clone()).collect();
        if read_since && missing.is_empty() {
            return Verdict::Effective(Acks::All);
        }
        let bound = self.bound(rows);
        let waited = now.since(self.committed).unwrap_or_default();
        if waited >= bound {
            Verdict::Effective(Acks::LeaseExpiry)
        } else {
            Verdict::Pending { replicas: missing, no_later_than: bound.saturating_sub(waited) }
        }
    }
    /// Whether this replica will not answer from before the change. One whose answers may lag longer than any lease is
    /// waited for in any case: it vouches for somebody behind it.
    fn is_answered_by(&self, row: &Row) -> bool {
        let applied = row.epoch == self.epoch && row.applied >= self.revision && row.max_stale <= self.ttl_max;
        applied || row.is_dead(self.ttl_max)
    }
    fn bound(&self, rows: &[Row]) -> Duration {
        let longest = rows.iter().map(|row| row.max_stale).max().unwrap_or_default();
        self.margin.bound(self.ttl_max.max(longest))
    }
}

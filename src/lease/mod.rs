//! May this replica still answer from what it remembers, and may a writer say that everybody sees its change?
//!
//! The watermark lease, as values and plain functions. Every commit bumps one revision. A replica asks the system of
//! record for the change log ([`advance`]) and holds what it learned as one immutable [`View`]: up to which revision
//! (the watermark), and until when. It answers from remembered values only under a view whose lease holds
//! ([`Pinned`]), and only from values whose [`Tag`] no change has overtaken ([`Use`]). A writer calls its change
//! effective when every registered replica has applied it, or when every lease that was asked for before its COMMIT
//! has run out ([`Ack`]). What may be built on this is said in `docs/consistency.md`.
//!
//! Between two polls a replica may look ([`learn`]): it applies what was committed since, under the lease that it has, and
//! tells the registry so.
//!
//! Invariants: a lease is counted from before the poll was sent, never from its answer. No look renews it. A watermark goes back only by
//! an operator's word ([`Follower::acknowledge`]). No instant of one machine is ever compared with another machine's.
//! Values and lease come from the same view, because only a [`Pinned`] one gives either. `tests/model` searches every
//! interleaving at small scope, and finds each of ten known mistakes.
//!
//! What lost: invalidation messages with acknowledgements (a stopped process hears nothing and answers on); a lifetime
//! on cache entries alone (nobody ever knows that a change has arrived); a timer that ends the lease (it is late
//! exactly when the process was stopped).

mod ack;
mod boot;
mod follower;
mod history;
mod pinned;
mod poll;
mod view;
mod watch;

#[cfg(test)]
mod tests;

pub use ack::{Ack, Acks, DRIFT_PERCENT, EPSILON, LONGEST_LEASE, Margin, Registry, Row, Verdict};
pub use boot::Boot;
pub use follower::{Follower, MAX_SILENCE};
pub use history::{Chain, Epoch, Key, ReplicaId, Tag};
pub use pinned::Pinned;
pub use poll::{PollAnswer, Rejected, Step, advance, learn};
pub use view::{RECENT_LIMIT, Use, View};
pub use watch::{Registered, Watch};

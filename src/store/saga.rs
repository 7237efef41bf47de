//! What was agreed with billing about one change of payer, and how far it has come? The journal of sagas.
//!
//! ```text
//! reserving ──► confirming ──► confirmed
//!     └───────► releasing ───► released ──► reserving, one attempt later
//! ```
//!
//! `confirming` is entered only by the transaction that moves the payer, so that a saga is confirming if and only if
//! its change is committed. Everything else is bookkeeping that no decision reads: it is written by
//! [`Verdict::Journal`](super::Verdict::Journal) and takes no revision. A message queue lost: the row that says what
//! must be told to billing has to be part of the commit that it tells about.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    ids::{Account, SiteId},
    revision::Revision,
    site::Plan,
    time::Timestamp,
};

/// How far a saga has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SagaState {
    /// Billing is being asked, or was; nothing is committed.
    Reserving,
    /// The change is committed, billing has not acknowledged it.
    Confirming,
    /// Billing has acknowledged the change. The end.
    Confirmed,
    /// The change was not committed, billing has not acknowledged the release.
    Releasing,
    /// Billing holds nothing. The end, unless somebody tries again.
    Released,
}

impl SagaState {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Reserving, Self::Confirming, Self::Confirmed, Self::Releasing, Self::Released];
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Reserving => "reserving",
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Releasing => "releasing",
            Self::Released => "released",
        }
    }
}

/// One change of payer, as it is agreed with billing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saga {
    /// The handover's id, or `return:SITE:REVISION` where nobody was asked, or `COMMAND:SITE:…` where somebody was
    /// without a handover.
    pub id: SmolStr,
    /// From 1; one more each time that a released saga is tried again.
    pub attempt: u64,
    /// The site that somebody comes to pay for.
    pub site: SiteId,
    /// What moves the payer: a kind of handover, a command, `return` or `purge`.
    pub kind: SmolStr,
    /// Who will pay; nobody for a site that is gone.
    pub payer: Option<Account>,
    /// Who paid before.
    pub from: Option<Account>,
    /// What is paid for.
    pub plan: Plan,
    /// How far it has come.
    pub state: SagaState,
    /// The commit that moved the payer; there from `confirming` on.
    pub revision: Option<Revision>,
    /// From when on the new payer is liable; there from `confirming` on.
    pub effective_at: Option<Timestamp>,
    /// When it came into this state.
    pub since: Timestamp,
    /// When to act next: ask billing again, or give a reservation up. None at an end.
    pub due_at: Option<Timestamp>,
    /// Calls that failed in this state.
    pub tries: u64,
    /// What kind of failure the last one was, for example `timeout`.
    pub failure: Option<String>,
}

impl Saga {
    /// Whether this is that attempt, still in that state.
    #[must_use]
    pub fn is(&self, state: SagaState, attempt: u64) -> bool {
        self.state == state && self.attempt == attempt
    }
    fn enter(self, state: SagaState, now: Timestamp, due_at: Option<Timestamp>) -> Self {
        Self { state, since: now, due_at, tries: 0, ..self }
    }
    /// The reservation is given up: billing has to be told. The last failure stays readable.
    #[must_use]
    pub fn give_up(self, now: Timestamp) -> Self {
        self.enter(SagaState::Releasing, now, Some(now))
    }
    /// The change is committed at `revision`: billing has to be told.
    #[must_use]
    pub fn committed(self, revision: Revision, effective_at: Timestamp, now: Timestamp) -> Self {
        let committed = self.enter(SagaState::Confirming, now, Some(now));
        Self { revision: Some(revision), effective_at: Some(effective_at), failure: None, ..committed }
    }
    /// Billing has acknowledged what it was told.
    #[must_use]
    pub fn acknowledged(self, now: Timestamp) -> Self {
        match self.state {
            SagaState::Confirming => Self { failure: None, ..self.enter(SagaState::Confirmed, now, None) },
            SagaState::Releasing => self.enter(SagaState::Released, now, None),
            SagaState::Reserving | SagaState::Confirmed | SagaState::Released => self,
        }
    }
    /// A call failed: again at `due_at`.
    #[must_use]
    pub fn failed(self, failure: String, due_at: Timestamp) -> Self {
        Self { tries: self.tries.saturating_add(1), failure: Some(failure), due_at: Some(due_at), ..self }
    }
}

//! How does a site change hands? A pure state machine: `(state, command, now) → effects | refusal`.
//!
//! The machine reads a [`Situation`] and returns the site as it will be, the handover it opened or ended, and the
//! events to tell ([`Applied`]); one transaction commits them together with the revision, the audit event and the
//! change log (`store`). It performs no input or output, reads no clock and draws no random number. Whether the actor
//! may is not asked here: the policies answered that before (`app`), so no role name decides anything in this module.
//!
//! Invariants: I5 (title never moves in a partner handover, return or lapse), I13 (one open offer), I14 (a pending
//! reclaim ends only by completion or the client's withdrawal), and, through [`crate::site::Seats`], I1 to I4.
//! A workflow engine lost: the table of transitions is small, and it is the specification.

#![deny(clippy::wildcard_enum_match_arm)]

mod accept;
mod agency;
mod command;
mod consent;
mod ending;
mod freeze;
mod giving_back;
mod machine;
mod offer;
mod people;
mod plan;
mod record;
mod refusal;
mod request;
mod step;
mod timers;
mod trash;

#[cfg(test)]
pub(crate) mod tests;

pub use command::{Authority, Case, Command, CommandName, Reported};
pub use machine::{Acting, Applied, Event, Situation, apply, due, invalidate};
pub use people::KEEP_CEILING;
pub use record::{Consent, Handover, HandoverKind, HandoverStatus, Terms};
pub use refusal::{Blocker, Refusal};
pub use request::normal_code;
pub use step::describe_state;
pub use timers::{Quotas, Timers};

//! How far is each subscriber in the log of events? The values of delivery, as they are kept.
//!
//! The audit log is the queue; a sink keeps a cursor into it, and beside the cursor one row for each lane (the events of
//! one site) that is behind it. So what is kept grows with the sites in trouble, not with the events that wait for them.
//!
//! Invariant: every event up to a sink's cursor is delivered, or a dead letter, or in a lane with a row whose `seq` is
//! not after it. A row for each event and subscriber lost: a subscriber that is down for a day would write as many rows
//! as there were events, and every delivery would be a write of its own.

use serde::Serialize;

use crate::{ids::SiteId, time::Timestamp};

/// What kind of subscriber it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// An HTTP endpoint.
    Webhook,
    /// A stream in Redis.
    Redis,
}

/// The events whose order is kept: those of one site, or (none) those of no site.
pub type LaneKey = Option<SiteId>;

/// A lane that is behind the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRow {
    /// Whose events.
    pub key: LaneKey,
    /// All of its events before this one are settled.
    pub seq: u64,
    /// Failed attempts of the event at `seq`.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due: Timestamp,
}

/// A dead letter that was put back into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedLetter {
    /// The event.
    pub seq: u64,
    /// Failed attempts since it was put back.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due: Timestamp,
}

/// Where a sink stands, read at start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// See the invariant of this module.
    pub cursor: u64,
    /// The lanes behind it.
    pub lanes: Vec<LaneRow>,
}

/// Why an attempt failed: a word that is stable, and the status where there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// For example `timeout` or `status`.
    pub kind: &'static str,
    /// The subscriber's HTTP status.
    pub status: Option<u16>,
}

/// What became of an event that failed for good, or of a letter that was tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterNote {
    /// Given up, now or again.
    Dead {
        /// The event.
        seq: u64,
        /// Attempts that were made.
        attempts: u32,
        /// How the last one failed.
        failed: Failed,
        /// When.
        at: Timestamp,
    },
    /// Tried again and failed; it stays in the queue.
    Waiting {
        /// The letter.
        letter: QueuedLetter,
        /// How the last attempt failed.
        failed: Failed,
    },
    /// Tried again and delivered.
    Delivered(u64),
}

/// What happened since the last note: written in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Note {
    /// The sink's name.
    pub sink: String,
    /// Where the cursor is now.
    pub cursor: u64,
    /// Lanes as they are now.
    pub lanes: Vec<LaneRow>,
    /// Lanes that are no longer behind.
    pub level: Vec<LaneKey>,
    /// Dead letters, in the order in which it happened.
    pub letters: Vec<LetterNote>,
    /// The last success, where there was one.
    pub succeeded_at: Option<Timestamp>,
    /// The last failure, where there was one.
    pub failed: Option<(Timestamp, &'static str)>,
}

/// A sink, for whoever watches it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SinkReport {
    /// Its name in the settings.
    pub name: String,
    /// What kind it is.
    pub kind: SinkKind,
    /// Whether the settings still name it.
    pub active: bool,
    /// Every event up to this one is delivered, waits for another attempt, or is a dead letter.
    pub cursor: u64,
    /// Events that are not known to be delivered and will be tried.
    pub pending: u64,
    /// Events that were given up.
    pub dead: u64,
    /// When an event was last delivered.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success: Option<Timestamp>,
    /// When an attempt last failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_failure: Option<Timestamp>,
    /// How it failed, for example `timeout`.
    pub last_failure_kind: Option<String>,
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LetterState {
    /// It was given up.
    Dead,
    /// It was put back and waits for its attempt.
    Queued,
    /// It was put back and delivered.
    Delivered,
}

/// A dead letter, for whoever watches.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// What `POST …/retry` takes.
    pub id: u64,
    /// The sink's name.
    pub sink: String,
    /// The event's `id` as it was sent.
    pub event: String,
    /// The event's place in the audit log.
    pub seq: u64,
    /// The event's type, for example `SeatsChanged`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its site; none where it is about an agency or staff.
    #[schema(value_type = Option<String>)]
    pub site: Option<SiteId>,
    /// What became of it.
    pub state: LetterState,
    /// Attempts since it was last put into the queue.
    pub attempts: u64,
    /// How the last attempt failed, for example `timeout` or `status`.
    pub failure: String,
    /// The subscriber's HTTP status at the last attempt, where there was one.
    pub status: Option<u64>,
    /// When it was given up.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// An event's identifier outside: stable, and different in every installation.
#[must_use]
pub fn event_id(epoch: &str, seq: u64) -> String {
    format!("{epoch}-{seq}")
}

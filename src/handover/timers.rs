//! How long things take. Every duration is configuration; the defaults are those of the domain, §5.2.

use std::time::Duration;

use serde::Deserialize;

/// The durations of the handover machine, written in configuration like `14d` or `2s`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timers {
    /// How long an offer waits for an answer.
    #[serde(with = "humane")]
    pub offer_ttl: Duration,
    /// How long either side undoes a handover at once.
    #[serde(with = "humane")]
    pub settle: Duration,
    /// From a reclaim to the site's return, if the partner does not answer.
    #[serde(with = "humane")]
    pub reclaim_notice: Duration,
    /// From a resignation to the site's return.
    #[serde(with = "humane")]
    pub resign_notice: Duration,
    /// How long a returned site's plan stays live for the client to add a card.
    #[serde(with = "humane")]
    pub plan_bridge: Duration,
    /// How long a sign-in counts as fresh.
    #[serde(with = "humane")]
    pub step_up: Duration,
    /// How long an agency's request waits for the owner.
    #[serde(with = "humane")]
    pub request_ttl: Duration,
    /// How long a site's one-time code works.
    #[serde(with = "humane")]
    pub site_code_ttl: Duration,
    /// After an offer, when those who have not answered are reminded first.
    #[serde(with = "humane")]
    pub first_reminder: Duration,
    /// After an offer, when they are reminded again.
    #[serde(with = "humane")]
    pub second_reminder: Duration,
    /// The longest freeze, and the longest dispute.
    #[serde(with = "humane")]
    pub freeze_max: Duration,
    /// From a missed payment to the free plan.
    #[serde(with = "humane")]
    pub past_due_grace: Duration,
    /// From the free plan to the site's return, when the partner does not pay.
    #[serde(with = "humane")]
    pub lapse_notice: Duration,
    /// From an agency's suspension or dissolution to the return of its sites.
    #[serde(with = "humane")]
    pub suspension_notice: Duration,
    /// How long a site stays in the trash.
    #[serde(with = "humane")]
    pub trash_keep: Duration,
    /// The longest support session, and the one that a consent without minutes gives.
    #[serde(with = "humane")]
    pub support_session: Duration,
    /// How long a client's confirmation lives unless said otherwise.
    #[serde(with = "humane")]
    pub confirmation: Duration,
    /// The longest life of a confirmation.
    #[serde(with = "humane")]
    pub confirmation_max: Duration,
}

const DAY: Duration = Duration::from_hours(24);

impl Default for Timers {
    fn default() -> Self {
        Self {
            offer_ttl: DAY * 14,
            settle: DAY * 7,
            reclaim_notice: DAY * 5,
            resign_notice: DAY * 14,
            plan_bridge: DAY * 14,
            step_up: Duration::from_mins(10),
            request_ttl: DAY * 14,
            site_code_ttl: DAY * 7,
            first_reminder: DAY * 3,
            second_reminder: DAY * 10,
            freeze_max: DAY * 14,
            past_due_grace: DAY * 14,
            lapse_notice: DAY * 14,
            suspension_notice: DAY * 14,
            trash_keep: DAY * 30,
            support_session: Duration::from_hours(1),
            confirmation: DAY,
            confirmation_max: DAY * 7,
        }
    }
}

/// How many offers and requests an account may make, and get, within a time. They reach people by the platform's mail, so
/// nobody may flood anybody with them. Counted from the stored handovers: no restart forgets them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Within how long: a day.
    #[serde(with = "humane")]
    pub window: Duration,
    /// Most offers and requests that one account makes: 100.
    pub per_sender: u64,
    /// Most offers and requests that one account gets, so that no single sender exhausts it: 200.
    pub per_recipient: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { window: Duration::from_hours(24), per_sender: 100, per_recipient: 200 }
    }
}

/// `14d`, `2h 30m`, `500ms`.
mod humane {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is not a duration such as `14d` or `2s`: {error}")))
    }
}

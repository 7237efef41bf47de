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
        }
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

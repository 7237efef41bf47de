//! When? Instants and durations as data; reading a clock is [`crate::clock`]'s business.
//!
//! An instant is a whole number of microseconds since 1970-01-01T00:00:00Z, written as RFC 3339 on the wire and as
//! an integer in the databases. Pure modules take `now` as an argument, so that a test can stand anywhere in time.
//! Floating seconds and calendar types lost: deadlines are compared, never formatted, on the hot path.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 9999-12-30T22:00:00Z, the last whole second that has a text.
const LAST: i64 = 253_402_207_200_000_000;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `micros` microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }
    /// The instant `seconds` after 1970-01-01T00:00:00Z, saturating.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }
    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// The later instant, saturating at the last one that can be written: what is stored as text must read back the same.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let later = self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX));
        Self(later.min(LAST.max(self.0)))
    }
    /// The earlier instant, saturating at the beginning of time.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
    /// How long from `earlier` until `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.fmt(f),
            // Outside the years -9999 to 9999 there is no RFC 3339 text; saturated deadlines end up here.
            Err(_) if self.0 > 0 => f.write_str("9999-12-30T22:00:00Z"),
            Err(_) => f.write_str("-009999-01-02T01:59:59Z"),
        }
    }
}

/// A text that is not an instant as RFC 3339 writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instant as RFC 3339 writes it, such as `2026-12-01T09:00:00Z`")]
pub struct NotAnInstant(String);

impl FromStr for Timestamp {
    type Err = NotAnInstant;
    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        let wrong = || NotAnInstant(text.chars().take(48).collect());
        // The library also reads other standards' forms, without seconds or with a zone's name.
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        let formed = separators.iter().all(|(at, byte)| text.as_bytes().get(*at) == Some(byte)) && !text.contains('[');
        let instant = formed.then(|| text.parse::<jiff::Timestamp>().ok()).flatten().ok_or_else(wrong)?;
        Ok(Self(instant.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_rfc_3339_on_the_wire() {
        let t: Timestamp = "2026-12-01T09:00:00Z".parse().unwrap();
        assert_eq!(t.to_string(), "2026-12-01T09:00:00Z");
        assert_eq!(serde_json::to_string(&t).unwrap(), "\"2026-12-01T09:00:00Z\"");
        assert_eq!(t.plus(Duration::from_mins(1)).since(t), Duration::from_mins(1));
        for bad in ["2025-06-27T18:03-07:00", "2025-06-27", "2025-06-27T18:03:00", "now", "2025-06-27T18:03:00Z[UTC]"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
        assert_eq!(t.since(t.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-30T22:00:00Z");
        let never = t.plus(Duration::MAX);
        assert_eq!(never.to_string().parse::<Timestamp>().unwrap(), never, "a saturated deadline reads back the same");
        assert_eq!((never, never.plus(Duration::from_secs(1))), (Timestamp::from_micros(LAST), never));
    }
}

//! When is an event tried again? After twice as long each time, somewhat less by chance, and never sooner than asked.
//!
//! The chance is the digest of the event and the attempt: different for every event and installation, which is all that
//! it is for (many sites must not come back at the same instant), and the same in every test.

use std::time::Duration;

use crate::{digest, time::Timestamp};

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Before the second attempt.
    pub min: Duration,
    /// Between two attempts, `Retry-After` included.
    pub max: Duration,
}

impl Backoff {
    /// How long to wait after the failed attempt number `attempts` (from 1) of an event: between half of the doubled
    /// time and all of it, or as long as the subscriber asked for where that is longer; never above `max`.
    #[must_use]
    pub fn after(&self, event: &str, attempts: u32, asked: Option<Duration>) -> Duration {
        let doubled = 2_u32
            .checked_pow(attempts.saturating_sub(1))
            .map_or(self.max, |times| self.min.checked_mul(times).map_or(self.max, |time| time.min(self.max)));
        let half = doubled / 2;
        let jittered = half + half.mul_f64(share(event, attempts));
        asked.unwrap_or_default().max(jittered).min(self.max)
    }
}

/// A number from 0 to 1 that nobody chose.
fn share(event: &str, attempts: u32) -> f64 {
    let digest = digest::sha256(format!("{event}/{attempts}").as_bytes());
    let drawn = digest.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(u32::MAX);
    f64::from(drawn) / f64::from(u32::MAX)
}

/// What `Retry-After` asks for: seconds, or an instant as HTTP writes it. Anything else is as if it were not there.
#[must_use]
pub fn asked(header: &str, now: Timestamp) -> Option<Duration> {
    let text = header.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are a very long time.
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let instant = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_micros(instant.as_microsecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_mins(10) };

    /// What must hold of every delay, for whichever function computes it.
    fn offence(after: impl Fn(&str, u32, Option<Duration>) -> Duration) -> Option<String> {
        for attempts in (1..40).chain([u32::MAX]) {
            let full = 2_f64.powi(i32::try_from(attempts - 1).unwrap_or(i32::MAX)).min(600.0);
            let events: Vec<String> = (0..50).map(|n| format!("e-{n}")).collect();
            let delays: Vec<Duration> = events.iter().map(|event| after(event, attempts, None)).collect();
            for delay in &delays {
                let seconds = delay.as_secs_f64();
                if seconds < full / 2.0 - 1e-6 || seconds > full + 1e-6 {
                    return Some(format!("attempt {attempts}: {seconds} of {full}"));
                }
            }
            let spread = delays.iter().max()?.saturating_sub(*delays.iter().min()?).as_secs_f64();
            if spread < full / 4.0 {
                return Some(format!("attempt {attempts}: all at once ({spread} of {full})"));
            }
            let asked = after("e-1", attempts, Some(Duration::from_secs(400)));
            if asked < Duration::from_secs(400) || after("e-1", attempts, Some(Duration::MAX)) > BOUNDS.max {
                return Some(format!("attempt {attempts}: the subscriber's wish: {asked:?}"));
            }
        }
        None
    }

    #[test]
    fn a_delay_is_within_its_bounds_and_by_chance() {
        assert_eq!(offence(|event, attempts, asked| BOUNDS.after(event, attempts, asked)), None);
    }

    #[test]
    fn planted_faults_are_caught() {
        let doubled = |attempts: u32| BOUNDS.min.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(BOUNDS.max);
        let plain = |_: &str, attempts: u32, asked: Option<Duration>| doubled(attempts).max(asked.unwrap_or_default());
        assert!(offence(plain).unwrap().contains("all at once"), "no jitter");
        let unbounded = |event: &str, attempts, asked: Option<Duration>| {
            BOUNDS.after(event, attempts, None).max(asked.unwrap_or_default())
        };
        assert!(offence(unbounded).unwrap().contains("wish"), "a subscriber could stop its own events for ever");
        assert!(offence(|event, attempts, _| BOUNDS.after(event, attempts, None)).unwrap().contains("wish"));
        assert!(offence(|event, attempts, asked| BOUNDS.after(event, attempts.min(5), asked)).is_some());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-12-01T09:00:00Z".parse().unwrap();
        assert_eq!(asked("120", now), Some(Duration::from_mins(2)));
        assert_eq!(asked("Tue, 01 Dec 2026 09:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(asked("Tue, 01 Dec 2026 08:00:30 GMT", now), Some(Duration::ZERO), "past");
        assert_eq!(asked("99999999999999999999999", now), Some(Duration::MAX));
        for nonsense in ["", "soon", "-1", "1.5", "+3"] {
            assert_eq!(asked(nonsense, now), None, "{nonsense}");
        }
    }
}

//! May a lookup ask Redis now? Not while it failed several times in a row; then one probe at a time finds out.
//!
//! A pure state machine: `now` is an argument, a duration since any fixed instant. Closed, lookups pass; open, they do
//! not even try; half open, the keeper's probe is out and lookups still do not pass. Nobody's check is the probe, so that
//! no check waits for a Redis that is known to be away.
//!
//! Invariants: between two probes lies the pause, which doubles up to [`LONGEST_PAUSE`]; a breaker that was closed by a
//! probe and opens soon again goes on with the pause where it was, because a Redis that answers only probes is no use.
//! A rate of failures instead of a row lost: with a row, a slow single command cannot open it, and the number to explain
//! is one.

use std::time::Duration;

/// Failures in a row that open it.
pub const FAILURES: u32 = 5;
/// Before the first probe.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between two probes at most.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Successes after which an old pause is forgotten.
const PROVEN: u32 = 32;

/// The state, and how long the next pause is.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32, successes: u32 },
    Open { until: Duration },
    HalfOpen,
}

/// What whoever probes has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Probe, and tell how it went.
    Now,
    /// Not before this instant.
    At(Duration),
    /// Nothing: lookups pass.
    Needless,
}

impl Breaker {
    /// Open, and to be probed at once: nobody has connected yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Open { until: Duration::ZERO }, pause: FIRST_PAUSE }
    }
    /// Whether lookups pass.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }
    /// A lookup was answered.
    pub fn succeeded(&mut self) {
        // One that was sent before it opened proves nothing now.
        if let State::Closed { failures, successes } = &mut self.state {
            *failures = 0;
            *successes = successes.saturating_add(1);
            if *successes >= PROVEN {
                self.pause = FIRST_PAUSE;
            }
        }
    }
    /// A lookup failed or took too long. True when that opened it.
    pub fn failed(&mut self, now: Duration) -> bool {
        let State::Closed { failures, .. } = &mut self.state else { return false };
        *failures += 1;
        if *failures < FAILURES {
            return false;
        }
        self.open(now);
        true
    }
    /// The connection is gone, so that nothing can succeed. True when that opened it; the first probe need not wait,
    /// unless it went the same way a moment ago.
    pub fn lost(&mut self, now: Duration) -> bool {
        let State::Closed { successes, .. } = self.state else { return false };
        if successes > 0 && self.pause == FIRST_PAUSE {
            self.state = State::Open { until: now };
        } else {
            self.open(now);
        }
        true
    }
    /// Asks to probe.
    pub fn probe(&mut self, now: Duration) -> Probe {
        match self.state {
            State::Closed { .. } => Probe::Needless,
            State::Open { until } if now < until => Probe::At(until),
            // Whoever was out with a probe did not come back.
            State::Open { .. } | State::HalfOpen => {
                self.state = State::HalfOpen;
                Probe::Now
            }
        }
    }
    /// How the probe went.
    pub fn probed(&mut self, now: Duration, well: bool) {
        if self.state != State::HalfOpen {
            return;
        }
        if well {
            self.state = State::Closed { failures: 0, successes: 0 };
        } else {
            self.open(now);
        }
    }

    fn open(&mut self, now: Duration) {
        self.state = State::Open { until: now.saturating_add(self.pause) };
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
    fn closed() -> Breaker {
        let mut breaker = Breaker::new();
        assert!(!breaker.passes());
        assert_eq!(breaker.probe(ms(0)), Probe::Now);
        breaker.probed(ms(1), true);
        assert!(breaker.passes());
        breaker
    }

    /// A row that opens it.
    fn fail(breaker: &mut Breaker, now: Duration) {
        assert_eq!((0..FAILURES).filter(|_| breaker.failed(now)).count(), 1);
    }

    #[test]
    fn a_row_of_failures_opens_it_and_a_success_ends_the_row() {
        let mut breaker = closed();
        for _ in 0..20 {
            for _ in 1..FAILURES {
                assert!(!breaker.failed(ms(5)));
            }
            breaker.succeeded();
        }
        assert!(breaker.passes(), "never {FAILURES} in a row");
        let opened: Vec<bool> = (0..7).map(|_| breaker.failed(ms(5))).collect();
        assert_eq!(opened, [false, false, false, false, true, false, false], "it opens once");
        breaker.succeeded();
        assert!(!breaker.passes(), "a late answer does not close it");
    }

    #[test]
    fn probes_come_one_at_a_time_and_ever_less_often() {
        let mut breaker = closed();
        let mut now = ms(1000);
        fail(&mut breaker, now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let Probe::At(until) = breaker.probe(now) else { panic!("no pause at {now:?}") };
            pauses.push(until.saturating_sub(now).as_millis());
            assert_eq!(breaker.probe(until.saturating_sub(ms(1))), Probe::At(until));
            now = until;
            assert_eq!(breaker.probe(now), Probe::Now);
            assert!(!breaker.passes(), "half open");
            breaker.probed(now, false);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        now += LONGEST_PAUSE;
        assert_eq!(breaker.probe(now), Probe::Now);
        breaker.probed(now, true);
        assert!(breaker.passes());
        assert_eq!(breaker.probe(now), Probe::Needless);
    }

    /// The pause after the breaker opens again, when lookups succeeded `successes` times in between.
    fn next_pause(successes: u32) -> Duration {
        let mut breaker = closed();
        fail(&mut breaker, ms(0));
        assert_eq!(breaker.probe(ms(100)), Probe::Now);
        breaker.probed(ms(100), true);
        (0..successes).for_each(|_| breaker.succeeded());
        fail(&mut breaker, ms(100));
        let Probe::At(until) = breaker.probe(ms(100)) else { panic!("no pause") };
        until.saturating_sub(ms(100))
    }

    #[test]
    fn what_answers_only_probes_is_asked_less_and_less() {
        assert_eq!(next_pause(0), ms(200));
        assert_eq!(next_pause(PROVEN), FIRST_PAUSE, "the control");
    }

    #[test]
    fn a_lost_connection_is_made_again_at_once_but_not_over_and_over() {
        let mut breaker = closed();
        breaker.succeeded();
        assert!(breaker.lost(ms(7)) && !breaker.passes());
        assert!(!breaker.lost(ms(7)), "told twice");
        assert_eq!(breaker.probe(ms(7)), Probe::Now);
        breaker.probed(ms(7), true);
        assert!(breaker.lost(ms(7)));
        assert_eq!(breaker.probe(ms(7)), Probe::At(ms(107)), "nothing worked in between");
    }
}

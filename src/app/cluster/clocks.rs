//! Have this machine's two clocks moved apart?

use std::time::Duration;

use crate::{lease::Boot, time::Timestamp};

/// How far the wall clock and the one that leases are counted by may move apart, besides a tenth of what was counted.
const APART: Duration = Duration::from_millis(200);
/// Readings are compared with one that is so old at least before a newer one takes its place: where polls come closer
/// together than clocks may be apart, what lies between two neighbours is never enough.
const ANCHORED: Duration = Duration::from_secs(1);

/// Both clocks, as they were read together.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    anchor: Option<(Boot, Timestamp)>,
}

/// How much time each of two clocks says has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Apart {
    pub counted: Duration,
    pub shown: Duration,
}

impl Clocks {
    /// Takes a reading of both; by how much they have moved apart, if it is too much.
    pub fn read(&mut self, boot: Boot, wall: Timestamp) -> Option<Apart> {
        let (boot_before, wall_before) = *self.anchor.get_or_insert((boot, wall));
        let counted = boot.since(boot_before).unwrap_or_default();
        let shown = Duration::from_micros(wall.as_micros().abs_diff(wall_before.as_micros()));
        // With its sign: a wall clock that was set back by twice what was counted shows as much, the other way.
        let back = wall.as_micros() < wall_before.as_micros();
        let distance = if back { counted.saturating_add(shown) } else { counted.abs_diff(shown) };
        let apart = distance > APART + counted / 10;
        if apart || counted.max(shown) >= ANCHORED {
            self.anchor = Some((boot, wall));
        }
        apart.then_some(Apart { counted, shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn clocks() -> Clocks {
        let mut clocks = Clocks::default();
        assert_eq!(read(&mut clocks, 0, 0), None, "nothing to compare with");
        clocks
    }

    /// Reads both, in milliseconds since the first reading.
    fn read(clocks: &mut Clocks, boot: u64, wall: i64) -> Option<Apart> {
        let wall = Timestamp::from_micros((HOUR * 24 + wall) * 1_000);
        clocks.read(Boot::new(Duration::from_millis(5_000 + boot)), wall)
    }

    /// The first of so many readings, `step` apart on the wall, at which they are too far apart; the other clock shows
    /// `boot` of the wall's time.
    fn noticed(step: i64, many: i64, boot: impl Fn(i64) -> u64) -> Option<i64> {
        let mut clocks = clocks();
        (1..=many).map(|n| n * step).find(|wall| read(&mut clocks, boot(*wall), *wall).is_some())
    }

    #[test]
    fn clocks_that_go_together_are_not_noticed() {
        for step in [1, 30, 300, 4_000] {
            assert_eq!(noticed(step, 10_000, i64::unsigned_abs), None, "a reading every {step} ms");
        }
    }

    #[test]
    fn a_clock_that_stands_still_is_noticed_however_often_it_is_read() {
        for step in [1, 30, 199, 300] {
            // It goes for some time first: the stop is at any place between two anchors.
            for begun in [0, 300, 900, 999, 1_000, 1_700] {
                let found = noticed(step, 10_000, |wall| wall.min(begun).unsigned_abs()).unwrap();
                // What is lost with an anchor, once, and a tenth of what was counted, and one reading more.
                assert!(found <= begun + 2 * 200 + 100 + step, "stopped at {begun}, read every {step} ms: at {found}");
            }
        }
    }

    #[test]
    fn the_drift_that_leases_allow_for_is_not_noticed() {
        for step in [10, 300, 1_000] {
            assert_eq!(noticed(step, 10_000, |wall| wall.unsigned_abs() * 9 / 10), None, "slow, every {step} ms");
            assert_eq!(noticed(step, 10_000, |wall| wall.unsigned_abs() * 11 / 10), None, "fast, every {step} ms");
        }
        assert!(noticed(10, 200, |wall| wall.unsigned_abs() / 2).is_some(), "the control: half as fast");
    }

    #[test]
    fn a_wall_clock_that_jumps_is_noticed_once() {
        for jump in [HOUR, -HOUR, 400, -400] {
            let mut clocks = clocks();
            assert_eq!(read(&mut clocks, 100, 100), None);
            let shown = Duration::from_millis((jump + 150).unsigned_abs());
            let apart = Apart { counted: Duration::from_millis(150), shown };
            assert_eq!(read(&mut clocks, 150, 150 + jump), Some(apart), "{jump}");
            assert_eq!(read(&mut clocks, 200, 200 + jump), None, "it goes on from there");
        }
    }
}

//! When, for a lease? A reading of the clock of this machine that also counts while the machine sleeps.
//!
//! On Linux that is `CLOCK_BOOTTIME`. `std::time::Instant` lost: it stands still during suspend, so that a lease would
//! outlive a night. The wall clock lost: somebody sets it back. A reading means nothing on another machine, and is never
//! sent to one.

use std::time::Duration;

/// Time since this machine started, suspend included. [`crate::clock::BootClock`] reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Boot(Duration);

impl Boot {
    /// The reading `since_start` after the machine started.
    #[must_use]
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }
    /// How long the machine had been up.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }
    /// The later reading, saturating.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
    /// How long from `earlier` until this reading. `None` when `earlier` is the later one: then the two are not what the
    /// caller thinks, and nothing may be concluded from them.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0)
    }
}

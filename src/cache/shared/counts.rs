//! How does the shared cache do? Counts since the start, for metrics to read.

use std::sync::atomic::{AtomicU64, Ordering};

/// One event, counted.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more; answers how many there are now.
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct SharedCounts {
    /// Lookups that found an authentic copy, whatever its tag is worth.
    pub hits: Count,
    /// Lookups that found nothing.
    pub misses: Count,
    /// Hits whose tag was too old. Counted by whoever judges tags.
    pub stale: Count,
    /// Values that were not written by one of us, or changed since.
    pub mac_failures: Count,
    /// Values that cannot be used for another reason: moved, cut off, of another key or format.
    pub unusable: Count,
    /// Lookups that were not answered, or not even tried.
    pub unavailable: Count,
    /// How often the breaker opened.
    pub breaker_open: Count,
    /// Copies that were not shared: too many at once, too long, or Redis did not take them.
    pub dropped_puts: Count,
}

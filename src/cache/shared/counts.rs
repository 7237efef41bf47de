//! How does the shared cache do? Counts since the start, for metrics to read.

use crate::metrics::Count;

/// All of them.
#[derive(Debug, Default)]
pub struct SharedCounts {
    /// Lookups that found an authentic copy, whatever its tag is worth.
    pub hits: Count,
    /// Lookups that found nothing.
    pub misses: Count,
    /// Hits whose site has changed since. Counted by whoever judges tags.
    pub stale: Count,
    /// Hits from before everything that changes are remembered of. Counted by whoever judges tags.
    pub below_floor: Count,
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

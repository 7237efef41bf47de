//! Who is asked before somebody comes to pay? The billing service beside us, as three calls (docs/billing.md).
//!
//! Each call is a JSON POST that is idempotent on `id` and `attempt`; what it tells is a row of the saga journal, so
//! that it can be told again by another process. Here is only how one call is made and what its answer means; when
//! calls are made, and what must be written around them, is `app::saga`.
//!
//! Invariants: the key is sent to the configured address and nowhere else (no redirect is followed, no proxy is used),
//! and is never logged; a call ends within its timeout; nothing but `200` is a yes. A trait with a fake lost: what is
//! claimed is about processes that die, and tests run the reference service of `examples/billing.rs`.

mod call;

pub use call::{Call, Calls, No};

use std::time::Duration;

/// Before the first failed call is made again; doubled each time, up to [`crate::config::Billing::retry_max`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How long to wait after `tries` failures in a row.
#[must_use]
pub fn pause(tries: u64, longest: Duration) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let longest = Duration::from_mins(1);
        let millis: Vec<u128> = [0, 1, 2, 3, 9, 10, u64::MAX].map(|n| pause(n, longest).as_millis()).into();
        assert_eq!(millis, [200, 200, 400, 800, 51_200, 60_000, 60_000]);
        assert_eq!(pause(1, Duration::from_millis(50)), Duration::from_millis(50));
    }
}

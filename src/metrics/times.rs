//! How long did it take? A histogram whose buckets are chosen beforehand, so that it holds no samples.

use std::time::Duration;

use super::Count;

/// Upper bounds for what takes microseconds: 1 µs to 1 s.
pub const FAST: &[Duration] = &bounds(1);
/// Upper bounds for what takes milliseconds: 1 ms to 1,000 s.
pub const SLOW: &[Duration] = &bounds(1_000);

/// 1, 2 and 5 times each power of ten, six decades from `least` microseconds on.
const fn bounds(least: u64) -> [Duration; 19] {
    let mut bounds = [Duration::ZERO; 19];
    let (mut at, mut rest, mut decade) = (0, bounds.as_mut_slice(), least);
    while let Some((bound, more)) = rest.split_first_mut() {
        let step = match at % 3 {
            0 => 1,
            1 => 2,
            _ => 5,
        };
        *bound = Duration::from_micros(decade * step);
        if step == 5 {
            decade *= 10;
        }
        (at, rest) = (at + 1, more);
    }
    bounds
}

/// Times, by bucket.
#[derive(Debug)]
pub struct Times {
    bounds: &'static [Duration],
    /// One for each bound, and one for what is beyond all of them.
    counts: Box<[Count]>,
    nanos: Count,
}

impl Times {
    /// None yet.
    #[must_use]
    pub fn within(bounds: &'static [Duration]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| Count::default()).collect(), nanos: Count::default() }
    }
    /// One more.
    pub fn add(&self, time: Duration) {
        let bucket = self.bounds.partition_point(|bound| *bound < time);
        if let Some(count) = self.counts.get(bucket) {
            count.add();
        }
        self.nanos.more(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
    /// Each bound in seconds with how many took no longer than that and longer than the one before, and the sum in
    /// seconds. The last bound is infinite.
    #[must_use]
    pub fn read(&self) -> (Vec<(f64, u64)>, f64) {
        let bounds = self.bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets = bounds.zip(self.counts.iter().map(Count::get)).collect();
        (buckets, Duration::from_nanos(self.nanos.get()).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_as_told() {
        let seconds: Vec<f64> = FAST.iter().map(Duration::as_secs_f64).collect();
        assert_eq!((seconds[0], seconds[1], seconds[2], seconds[3]), (1e-6, 2e-6, 5e-6, 1e-5));
        assert_eq!((FAST.last(), SLOW.last()), (Some(&Duration::from_secs(1)), Some(&Duration::from_secs(1_000))));
        assert!(FAST.is_sorted() && SLOW.is_sorted());
    }

    #[test]
    fn a_time_falls_into_the_bucket_that_it_does_not_exceed() {
        let times = Times::within(FAST);
        for micros in [0, 1, 2, 3, 2_000_000] {
            times.add(Duration::from_micros(micros));
        }
        let (buckets, sum) = times.read();
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[0], counts[1], counts[2], counts.last()), (2, 1, 1, Some(&1)));
        assert!((sum - 2.000_006).abs() < 1e-9, "{sum}");
        assert_eq!(buckets.last().unwrap().0, f64::INFINITY);
    }
}

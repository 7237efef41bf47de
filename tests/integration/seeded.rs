//! Chance that can be repeated: `SplitMix64` from a seed that every failure prints.
//!
//! The variables that steer runs begin with `TEST_`, not with `MANDATE_`, which the program would take for settings.

/// Repeatable chance.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The run of this seed, or of `TEST_SEED` where that is set.
    pub fn new(seed: u64) -> Self {
        Self(variable("TEST_SEED").unwrap_or(seed))
    }
    pub fn seed(&self) -> u64 {
        self.0
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
    /// True `percent` times out of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let n = usize::try_from(self.below(from.len() as u64)).unwrap();
        &from[n]
    }
}

/// How often the default is repeated: `TEST_SCALE`, 1 when absent.
pub fn scale() -> u64 {
    variable("TEST_SCALE").unwrap_or(1)
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{name}` is a number, not `{text}`")))
}

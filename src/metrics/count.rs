//! How often did it happen? One atomic for what is rare, one for each group of threads for what every check does.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use smol_str::SmolStr;

/// One event, counted.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more; answers how many there are now.
    pub fn add(&self) -> u64 {
        self.more(1)
    }
    /// That many more; answers how many there are now.
    pub fn more(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed).wrapping_add(by)
    }
    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Groups of threads that count apart; threads beyond that share.
const STRIPES: usize = 16;

/// The next thread's number.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's number, and how often it took a turn.
    static MINE: (usize, Cell<u32>) = (THREADS.fetch_add(1, Ordering::Relaxed), Cell::new(0));
}

/// Whether it is this thread's turn to do what only each `every`th time is done.
#[must_use]
pub fn stripe_turn(every: u32) -> bool {
    MINE.with(|(_, turns)| {
        let turn = turns.get();
        turns.set(turn.wrapping_add(1));
        turn.is_multiple_of(every)
    })
}

/// `N` events, each counted without two processors fighting over one line of memory.
#[derive(Debug)]
pub struct Striped<const N: usize>(Box<[Line<N>]>);

#[derive(Debug)]
#[repr(align(128))]
struct Line<const N: usize>([Count; N]);

impl<const N: usize> Default for Striped<N> {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Line(std::array::from_fn(|_| Count::default()))).collect())
    }
}

impl<const N: usize> Striped<N> {
    /// One more of the event of this number.
    pub fn add(&self, event: usize) {
        let stripe = MINE.with(|(number, _)| number % STRIPES);
        if let Some(count) = self.0.get(stripe).and_then(|line| line.0.get(event)) {
            count.add();
        }
    }
    /// How many there were of this one.
    #[must_use]
    pub fn get(&self, event: usize) -> u64 {
        self.0.iter().filter_map(|line| line.0.get(event)).map(Count::get).sum()
    }
}

/// How many codes are told apart.
const MOST: usize = 64;

/// What happened that has a code of its own, which nobody lists beforehand: the reasons of policies, kinds of errors.
/// Behind a lock, so for what is rare or slow anyway.
#[derive(Debug, Default)]
pub struct Codes(Mutex<BTreeMap<SmolStr, u64>>);

impl Codes {
    /// One more of this code. Beyond the bound they are all `other`.
    pub fn add(&self, code: &str) {
        let mut codes = self.0.lock();
        let code = if codes.len() < MOST || codes.contains_key(code) { code } else { "other" };
        match codes.get_mut(code) {
            Some(count) => *count += 1,
            None => drop(codes.insert(code.into(), 1)),
        }
    }
    /// How many there were of this code.
    #[must_use]
    pub fn get(&self, code: &str) -> u64 {
        self.0.lock().get(code).copied().unwrap_or(0)
    }
    /// All that there were.
    #[must_use]
    pub fn all(&self) -> Vec<(SmolStr, u64)> {
        self.0.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_count_together() {
        let striped = Striped::<2>::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| (0..100).for_each(|_| striped.add(1)));
            }
        });
        assert_eq!((striped.get(0), striped.get(1), striped.get(2)), (0, 4_000, 0));
    }

    #[test]
    fn every_nth_turn_is_taken() {
        let taken = std::thread::spawn(|| (0..64).filter(|_| stripe_turn(16)).count()).join().unwrap();
        assert_eq!(taken, 4);
    }

    #[test]
    fn codes_are_bounded() {
        let codes = Codes::default();
        for n in 0..1_000 {
            codes.add(&n.to_string());
        }
        codes.add("0");
        let all = codes.all();
        let of = |code: &str| all.iter().find(|(known, _)| known == code).map(|(_, count)| *count);
        assert_eq!((all.len(), of("0"), of("other")), (MOST + 1, Some(2), Some(1_000 - MOST as u64)));
    }

    /// `cargo test --release --lib -- --ignored --nocapture what_counting_costs`
    #[test]
    #[ignore = "a measurement"]
    fn what_counting_costs() {
        const TIMES: u32 = 10_000_000;
        let striped = Striped::<12>::default();
        let begun = std::time::Instant::now();
        let turns = (0..TIMES).filter(|_| std::hint::black_box(stripe_turn(16))).count();
        let turn = begun.elapsed() / TIMES;
        let begun = std::time::Instant::now();
        (0..TIMES).for_each(|n| striped.add(std::hint::black_box(n as usize % 12)));
        println!("a turn {turn:?} ({turns} taken), a count {:?}", begun.elapsed() / TIMES);
    }
}

//! What time is it, and what shall this be called? The only module that asks the world for either.
//!
//! Everything below the edge takes `now` and ids as arguments; `clippy.toml` bans the wall clock and random ids
//! everywhere else, so that a decision or a transition can be replayed from what was recorded.
//!
//! [`Clock`] has three real implementations: [`SystemClock`]; [`SettableClock`] for tests; and [`ShiftedClock`] for the
//! story of `mandate demo`, which begins in the past and lets weeks pass until now. [`NeverBefore`] sits on either in embedded mode: `now` is the later of the
//! wall clock and the last commit, so that a clock set back by an hour neither revives an expired right nor lets the
//! log run backwards. [`BootClock`] is for leases alone: it counts suspend and nobody sets it. Reading `std::time` where it is needed lost: a deadline test would have to sleep.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use crate::{fault, ids::HandoverId, lease::Boot, time::Timestamp};

/// Where `now` comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The wall clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the module that the ban sends everybody to")]
        let now = jiff::Timestamp::now();
        Timestamp::from_micros(now.as_microsecond())
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct SettableClock(AtomicI64);

impl SettableClock {
    /// A clock that stands at `at`.
    #[must_use]
    pub const fn at(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.as_micros()))
    }
    /// Moves the clock, forwards or back.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::Release);
    }
    /// Lets `duration` pass.
    pub fn advance(&self, duration: std::time::Duration) {
        self.set(self.now().plus(duration));
    }
}

impl Clock for SettableClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Acquire))
    }
}

/// The wall clock, moved by a distance that can be changed: it runs on, and time can be made to pass.
#[derive(Debug, Default)]
pub struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    /// The wall clock, set back by `duration`.
    #[must_use]
    pub fn set_back(duration: std::time::Duration) -> Self {
        Self(AtomicI64::new(i64::try_from(duration.as_micros()).map_or(0, i64::wrapping_neg)))
    }
    /// Lets `duration` pass at once.
    pub fn advance(&self, duration: std::time::Duration) {
        self.0.fetch_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX), Ordering::AcqRel);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().as_micros().saturating_add(self.0.load(Ordering::Acquire)))
    }
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        C::now(self)
    }
}

/// A clock that is never behind the last commit, however far back the clock below it is set.
///
/// Invariant: after `commit(at)` has returned, every `now()` is at or after `at`.
#[derive(Debug)]
pub struct NeverBefore<C> {
    clock: C,
    floor: AtomicI64,
}

impl<C: Clock> NeverBefore<C> {
    /// `clock`, but not before `head`, the time of the last commit found at start.
    pub const fn new(clock: C, head: Timestamp) -> Self {
        Self { clock, floor: AtomicI64::new(head.as_micros()) }
    }
    /// Raises the floor to the time of a commit; an earlier one changes nothing.
    pub fn commit(&self, at: Timestamp) {
        self.floor.fetch_max(at.as_micros(), Ordering::AcqRel);
    }
}

impl<C: Clock> Clock for NeverBefore<C> {
    fn now(&self) -> Timestamp {
        self.clock.now().max(Timestamp::from_micros(self.floor.load(Ordering::Acquire)))
    }
}

/// Where a lease's readings come from.
pub trait BootClock: Send + Sync + 'static {
    /// Time since this machine started, suspend included.
    fn boottime(&self) -> Boot;
}

/// The machine's own: `CLOCK_BOOTTIME`, and where there is none, the monotonic clock, which counts suspend there.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemBootClock;

impl SystemBootClock {
    #[cfg(target_os = "linux")]
    const ID: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const ID: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
}

impl BootClock for SystemBootClock {
    fn boottime(&self) -> Boot {
        let read = rustix::time::clock_gettime(Self::ID);
        let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
        Boot::new(fault::bent(std::time::Duration::new(seconds, u32::try_from(read.tv_nsec).unwrap_or(0))))
    }
}

/// A boot clock that stands still until it is told otherwise; in microseconds.
#[derive(Debug, Default)]
pub struct SettableBootClock(AtomicU64);

impl SettableBootClock {
    /// Lets `duration` pass.
    pub fn advance(&self, duration: std::time::Duration) {
        self.0.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }
}

impl BootClock for SettableBootClock {
    fn boottime(&self) -> Boot {
        Boot::new(std::time::Duration::from_micros(self.0.load(Ordering::Acquire)))
    }
}

impl<C: BootClock> BootClock for Arc<C> {
    fn boottime(&self) -> Boot {
        C::boottime(self)
    }
}

/// The database's clock, as a replica last read it, carried on by the boot clock: all replicas of one database agree on
/// deadlines, whatever their own wall clocks say.
///
/// Invariants: it never goes back; and it is never behind the database's by more than the two boot clocks drift apart
/// between two readings, because a reading counts from before it was asked for. Before the first reading it is the
/// machine's.
#[derive(Debug, Default)]
pub struct DatabaseClock {
    /// The database's time less the boot clock's, in microseconds; none before the first reading.
    ahead: parking_lot::Mutex<Option<i64>>,
    /// The latest that was told.
    floor: AtomicI64,
}

impl DatabaseClock {
    /// The database's clock showed `shown`; `asked` was read before it was asked.
    pub fn read(&self, asked: Boot, shown: Timestamp) {
        *self.ahead.lock() = Some(shown.as_micros().saturating_sub(micros(asked)));
    }
}

fn micros(at: Boot) -> i64 {
    i64::try_from(at.since_start().as_micros()).unwrap_or(i64::MAX)
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let now = match *self.ahead.lock() {
            Some(ahead) => micros(SystemBootClock.boottime()).saturating_add(ahead),
            None => SystemClock.now().as_micros(),
        };
        Timestamp::from_micros(self.floor.fetch_max(now, Ordering::AcqRel).max(now))
    }
}

/// A fresh UUIDv7, hyphenated and in lower case: sortable by the time it was made.
#[must_use]
pub fn new_uuid() -> String {
    #[expect(clippy::disallowed_methods, reason = "this is the module that the ban sends everybody to")]
    let uuid = uuid::Uuid::now_v7();
    uuid.hyphenated().to_string()
}

/// A fresh one-time code for a site: 60 random bits as twelve digits and letters that cannot be mistaken for each other
/// (Crockford's base 32), in groups of four.
#[must_use]
pub fn new_site_code() -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    #[expect(clippy::disallowed_methods, reason = "this is the module that the ban sends everybody to")]
    let random = uuid::Uuid::new_v4().as_u128();
    let mut code = String::with_capacity(14);
    for place in 0..12_u32 {
        if place > 0 && place % 4 == 0 {
            code.push('-');
        }
        // The last 60 bits of a random UUID are all random.
        let digit = usize::try_from((random >> (5 * place)) & 31).unwrap_or(0);
        code.push(DIGITS.get(digit).copied().unwrap_or(b'0').into());
    }
    code
}

/// A fresh identifier for a handover.
///
/// # Panics
/// Never: the text of a UUID is an identifier.
#[must_use]
pub fn new_handover_id() -> HandoverId {
    #[expect(clippy::expect_used, reason = "36 of 0-9a-f and `-`, not `-` first, is always an identifier")]
    new_uuid().parse().expect("a UUID is an identifier")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn now_never_goes_back_behind_the_last_commit() {
        let wall = Arc::new(SettableClock::at(Timestamp::from_seconds(1_000)));
        let clock = NeverBefore::new(Arc::clone(&wall), Timestamp::from_seconds(900));
        assert_eq!(clock.now(), Timestamp::from_seconds(1_000));
        clock.commit(Timestamp::from_seconds(1_000));
        wall.set(Timestamp::from_seconds(10));
        assert_eq!(clock.now(), Timestamp::from_seconds(1_000), "set back");
        assert_eq!(wall.now(), Timestamp::from_seconds(10), "the control: without the floor it does go back");
        clock.commit(Timestamp::from_seconds(5));
        assert_eq!(clock.now(), Timestamp::from_seconds(1_000), "a late word of an earlier commit");
        wall.set(Timestamp::from_seconds(1_000));
        wall.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_seconds(1_001));
    }

    #[test]
    fn a_shifted_clock_runs_on_and_catches_up() {
        let day = Duration::from_hours(24);
        let clock = ShiftedClock::set_back(day * 13);
        assert!(clock.now() < SystemClock.now());
        clock.advance(day * 8);
        clock.advance(day * 5);
        assert!(clock.now().since(SystemClock.now()) < Duration::from_mins(1));
        assert!(SystemClock.now().since(clock.now()) < Duration::from_mins(1));
    }

    #[test]
    fn the_boot_clock_runs_with_uptime_and_never_back() {
        let first = SystemBootClock.boottime();
        let second = Arc::new(SystemBootClock).boottime();
        assert!(second >= first);
        assert!(first > Boot::default(), "the machine has been up for a while");
        if let Ok(uptime) = std::fs::read_to_string("/proc/uptime") {
            let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
            assert!((seconds - first.since_start().as_secs_f64()).abs() < 30.0, "{uptime} and {first:?}");
        }
    }

    #[test]
    fn a_settable_boot_clock_moves_when_told() {
        let clock = SettableBootClock::default();
        let before = clock.boottime();
        assert_eq!(clock.boottime(), before);
        clock.advance(Duration::from_millis(3));
        assert_eq!(clock.boottime().since(before), Some(Duration::from_millis(3)));
    }

    #[test]
    fn the_databases_clock_is_carried_on_and_never_goes_back() {
        let clock = DatabaseClock::default();
        let asked = SystemBootClock.boottime();
        let shown = SystemClock.now().plus(Duration::from_hours(1));
        clock.read(asked, shown);
        let first = clock.now();
        assert!(first >= shown, "it counts from before it was asked");
        assert!(first.since(shown) < Duration::from_mins(1));
        clock.read(asked, Timestamp::from_seconds(1));
        assert!(clock.now() >= first, "a database whose clock was set back");
    }

    #[test]
    fn the_system_clock_is_in_this_century() {
        assert!(SystemClock.now() > "2024-01-01T00:00:00Z".parse().unwrap());
        assert!(SystemClock.now() < "2100-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn ids_are_version_7_distinct_and_in_order() {
        let ids: Vec<String> = (0..100).map(|_| new_uuid()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'7'));
        assert_eq!(new_handover_id().as_str().len(), 36);
    }
}

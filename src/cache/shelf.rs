//! What stays when there is no room for all? What was asked for since the hand last came by (a clock, "second chance").
//!
//! Entries lie in a row, found by their key. To make room the hand goes along it: an entry that was asked for since loses
//! its mark and stays, another one goes. So sites that are asked for all the time survive a crowd that is asked for once,
//! and a lookup pays for one byte that is mostly read. The first lookup does not count: it is that of whoever filled.
//!
//! Invariant: what is dropped by key is gone at once, and nothing that is kept apart (a queue, a ghost) still has it. A
//! list in order of use lost: every lookup would write to it, under a lock. Caching libraries lost: they lock on their own,
//! and rows must change together with the revision, under one lock; and they keep what they evicted in mind, for more
//! memory than a name.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use indexmap::IndexSet;

use crate::assignment::SiteRow;

/// What an entry's place costs: the hash, the pointer and the mark, the index, and room for more of them.
const PLACE: usize = 48;
/// Two counters before whatever is shared.
const COUNTERS: usize = 16;
/// How many entries the hand passes at most to make room: a change waits for it.
const LOOKS: usize = 64;

/// Marks: only its filler has looked it up; nobody asked for it since the hand came by; somebody did.
const IDLE: u8 = 1;
const ASKED: u8 = 2;

/// Something with a key and a weight.
pub(super) trait Weighty: fmt::Debug {
    /// What it is found by.
    fn key(&self) -> &[u8];
    /// What it takes, in bytes.
    fn weight(&self) -> usize;
}

impl Weighty for Arc<SiteRow> {
    fn key(&self) -> &[u8] {
        SiteRow::key(self)
    }
    fn weight(&self) -> usize {
        PLACE + COUNTERS + self.size()
    }
}

/// The name of a site that there is not.
impl Weighty for Box<[u8]> {
    fn key(&self) -> &[u8] {
        self
    }
    fn weight(&self) -> usize {
        PLACE + self.len()
    }
}

/// Entries, bounded in bytes.
#[derive(Debug)]
pub(super) struct Shelf<T: Weighty> {
    entries: IndexSet<Kept<T>>,
    hand: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<T> {
    value: T,
    mark: AtomicU8,
}

impl<T: Weighty> Borrow<[u8]> for Kept<T> {
    fn borrow(&self) -> &[u8] {
        self.value.key()
    }
}
impl<T: Weighty> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.key().hash(state);
    }
}
impl<T: Weighty> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value.key() == other.value.key()
    }
}
impl<T: Weighty> Eq for Kept<T> {}

impl<T: Weighty> Default for Shelf<T> {
    fn default() -> Self {
        Self { entries: IndexSet::new(), hand: 0, bytes: 0 }
    }
}

impl<T: Weighty> Shelf<T> {
    /// What is there under this key, and marks it.
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        let kept = self.entries.get(key)?;
        // Read first: what is asked for all the time is written to no more.
        let mark = kept.mark.load(Ordering::Relaxed);
        if mark < ASKED {
            kept.mark.store(mark + 1, Ordering::Relaxed);
        }
        Some(&kept.value)
    }
    /// Drops what is there under this key.
    pub fn drop(&mut self, key: &[u8]) {
        if let Some(gone) = self.entries.swap_take(key) {
            self.bytes = self.bytes.saturating_sub(gone.value.weight());
        }
    }
    /// Puts a value there, in the place of the one with its key; others go until all fit into `most` bytes. One that does
    /// not fit by itself is there alone: whoever filled it has to find it.
    pub fn put(&mut self, value: T, most: usize) {
        self.drop(value.key());
        let weight = value.weight();
        while self.bytes + weight > most && !self.entries.is_empty() {
            self.make_room();
        }
        self.bytes += weight;
        self.entries.insert(Kept { value, mark: AtomicU8::new(0) });
    }
    /// Drops everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        (self.hand, self.bytes) = (0, 0);
    }
    /// How many there are, and what they take.
    pub fn weight(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
    /// One entry goes.
    fn make_room(&mut self) {
        for look in 1.. {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let Some(kept) = self.entries.get_index(self.hand) else { return };
            let was_asked = kept.mark.load(Ordering::Relaxed) == ASKED;
            if !was_asked || look == LOOKS {
                break;
            }
            kept.mark.store(IDLE, Ordering::Relaxed);
            self.hand += 1;
        }
        // The newest takes the place, which lies behind the hand then: it has a whole round.
        if let Some(gone) = self.entries.swap_remove_index(self.hand) {
            self.bytes = self.bytes.saturating_sub(gone.value.weight());
        }
        self.hand += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = Shelf<Box<[u8]>>;

    fn name(n: usize) -> Box<[u8]> {
        format!("{n:08}").into_bytes().into()
    }
    const EACH: usize = PLACE + 8;

    /// As a check does: looks, and on a miss fills and looks again. Whether it was a hit.
    fn ask(names: &mut Names, n: usize, most: usize) -> bool {
        if names.get(&name(n)).is_some() {
            return true;
        }
        names.put(name(n), most);
        assert!(names.get(&name(n)).is_some(), "whoever filled finds it");
        false
    }

    #[test]
    fn it_is_bounded_in_bytes_and_drops_by_key_at_once() {
        let mut names = Names::default();
        for n in 0..1_000 {
            ask(&mut names, n, 100 * EACH + 7);
            assert!(names.weight().1 <= 100 * EACH + 7);
        }
        assert_eq!(names.weight(), (100, 100 * EACH));
        ask(&mut names, 7, 100 * EACH);
        names.drop(&name(7));
        assert!(names.get(&name(7)).is_none());
        assert_eq!(names.weight(), (99, 99 * EACH));
        names.put(name(8), usize::MAX);
        names.put(name(8), usize::MAX);
        assert_eq!(names.weight(), (100, 100 * EACH), "the same one once");
        names.put(vec![b'x'; 1_000].into(), 10);
        assert_eq!(names.weight().0, 1, "too large, and alone");
        names.clear();
        assert_eq!(names.weight(), (0, 0));
    }

    /// Hot names are asked for between those that are asked for once; their hits of all.
    fn hot_hits(mark: bool) -> usize {
        let (mut names, most) = (Names::default(), 100 * EACH);
        let mut hits = 0;
        for n in 0..10_000 {
            let hot = n % 50;
            hits += usize::from(ask(&mut names, hot, most));
            if !mark {
                for kept in &names.entries {
                    kept.mark.store(0, Ordering::Relaxed);
                }
            }
            ask(&mut names, 1_000 + n, most);
        }
        hits
    }

    #[test]
    fn what_is_asked_for_all_the_time_survives_a_crowd() {
        let (with, without) = (hot_hits(true), hot_hits(false));
        assert!(with > 9_800, "{with} of 10,000");
        assert!(without < with, "the control, first in and first out: {without}");
    }

    #[test]
    fn no_look_for_room_is_long() {
        let mut names = Names::default();
        for n in 0..1_000 {
            names.put(name(n), usize::MAX);
            for _ in 0..2 {
                names.get(&name(n));
            }
        }
        names.make_room();
        assert_eq!((names.hand, names.weight().0), (LOOKS, 999));
    }
}

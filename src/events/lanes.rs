//! Which event is delivered next, and what is known to be delivered? Only that: nothing here sends or stores.
//!
//! A lane is the events of one site (or of none), delivered one after the other; a letter that was put back is a lane
//! of its own. A lane exists while it has something to deliver: it knows from where and up to which event of the log,
//! not the events. In a [`Note`] a lane that is doing well holds the cursor back; one that failed, or that the others
//! would have to wait for, gets a row and lets the cursor pass.
//!
//! Invariants: at most one attempt of a lane at a time; every event that was read is delivered, dead, or in a lane whose
//! `seq` is not after it; so is every event up to a note's cursor in the note's rows. A list of waiting events for each
//! lane lost: it grows for as long as a subscriber is down.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    ids::SiteId,
    store::delivery::{Failed, LaneKey, LaneRow, LetterNote, Note, QueuedLetter, Standing},
    time::Timestamp,
};

/// How much is in memory and in flight.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Lanes with something to deliver; with more, nothing is read on.
    pub lanes: usize,
    /// Attempts at once. Lanes whose last attempt failed take half of them at most.
    pub in_flight: usize,
    /// How far is read ahead of the cursor, and so how much a crash can repeat.
    pub ahead: u64,
    /// The longest that a lane waits for another attempt.
    pub wait: Duration,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A lane of the log.
    Lane(LaneKey),
    /// A dead letter that was put back.
    Letter(u64),
}

/// Something to do: deliver the first event of the lane from `from` to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub key: Key,
    /// Where to look from.
    pub from: u64,
    /// Up to where there may be one.
    pub to: u64,
    /// Attempts that have failed.
    pub attempts: u32,
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The event was taken.
    Delivered(u64),
    /// There is no event of the lane there.
    Nothing,
    /// The attempt failed and is made again.
    Again {
        /// The event.
        seq: u64,
        /// When.
        due: Timestamp,
        /// How it failed.
        failed: Failed,
    },
    /// The attempt failed and was the last.
    Dead {
        /// The event.
        seq: u64,
        /// How it failed.
        failed: Failed,
    },
    /// There was no attempt, for a reason that is not the subscriber's.
    NotTried {
        /// When to try.
        due: Timestamp,
    },
}

#[derive(Debug)]
struct Lane {
    /// All of its events before this one are settled.
    seq: u64,
    /// None of its events that were read is after this one.
    last: u64,
    attempts: u32,
    due: Timestamp,
    busy: bool,
    /// It has a row in the next note, and lets the cursor pass.
    kept: bool,
}

impl Lane {
    /// Whether it has something to deliver that is not in flight.
    const fn waits(&self) -> bool {
        !self.busy && self.seq <= self.last
    }
}

/// The lanes of one sink.
#[derive(Debug)]
pub struct Lanes {
    bounds: Bounds,
    /// The last event that was read.
    read: u64,
    /// The cursor that is known to be stored.
    saved: u64,
    open: BTreeMap<Key, Lane>,
    /// Lanes whose row may not be what is stored.
    changed: BTreeSet<LaneKey>,
    /// What goes into the next note besides lanes.
    next: Note,
}

impl Lanes {
    /// Goes on where a sink stands.
    pub fn resume(sink: &str, standing: Standing, bounds: Bounds) -> Self {
        let lanes = standing.lanes.into_iter().map(|row| {
            // A row may be ahead of the cursor. What is between them is read again, and only then is it known what there
            // is at `seq`: there may be no event yet, and the one that comes may be this lane's.
            let last = standing.cursor;
            let lane = Lane { seq: row.seq, last, attempts: row.attempts, due: row.due, busy: false, kept: true };
            (Key::Lane(row.key), lane)
        });
        Self {
            bounds,
            read: standing.cursor,
            saved: standing.cursor,
            open: lanes.collect(),
            changed: BTreeSet::new(),
            next: Note { sink: sink.to_owned(), ..Note::default() },
        }
    }

    /// Where to read on, if there is room.
    pub fn wants(&self) -> Option<u64> {
        let room = self.open.len() < self.bounds.lanes && self.read.saturating_sub(self.saved) < self.bounds.ahead * 2;
        room.then_some(self.read)
    }

    /// Takes the next event that was read, from where [`Self::wants`] said.
    pub fn read(&mut self, seq: u64, site: Option<&SiteId>, now: Timestamp) {
        let fresh = Lane { seq, last: seq, attempts: 0, due: now, busy: false, kept: false };
        let lane = self.open.entry(Key::Lane(site.cloned())).or_insert(fresh);
        lane.last = lane.last.max(seq);
        self.read = seq;
        if self.read.saturating_sub(self.cursor()) > self.bounds.ahead {
            self.let_pass();
        }
    }

    /// The lanes that hold the cursor back most get a row.
    fn let_pass(&mut self) {
        let limit = self.read.saturating_sub(self.bounds.ahead / 2);
        for (key, lane) in &mut self.open {
            if let (Key::Lane(key), false, true) = (key, lane.kept, lane.seq <= limit) {
                lane.kept = true;
                self.changed.insert(key.clone());
            }
        }
    }

    /// Takes letters that were put back.
    pub fn queue(&mut self, letters: Vec<QueuedLetter>) {
        for QueuedLetter { seq, attempts, due } in letters {
            let lane = Lane { seq, last: seq, attempts, due, busy: false, kept: true };
            self.open.entry(Key::Letter(seq)).or_insert(lane);
        }
    }

    /// The next turn, if somebody is due and there is a place in flight.
    pub fn next(&mut self, now: Timestamp) -> Option<Turn> {
        let busy = self.open.values().filter(|lane| lane.busy).count();
        let in_trouble = self.open.values().filter(|lane| lane.busy && lane.attempts > 0).count();
        if busy >= self.bounds.in_flight {
            return None;
        }
        let no_more_trouble = in_trouble >= (self.bounds.in_flight / 2).max(1);
        let wait = self.bounds.wait;
        let (key, lane) = self
            .open
            .iter_mut()
            .filter(|(_, lane)| lane.waits() && is_due(lane, now, wait) && !(no_more_trouble && lane.attempts > 0))
            .min_by_key(|(_, lane)| (lane.attempts > 0, lane.due, lane.seq))?;
        lane.busy = true;
        Some(Turn { key: key.clone(), from: lane.seq, to: lane.last, attempts: lane.attempts })
    }

    /// How long nobody becomes due; none when nobody waits for a time.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        let waiting = self.open.values().filter(|lane| lane.waits());
        waiting
            .map(|lane| lane.due.since(now))
            .filter(|wait| !wait.is_zero())
            .min()
            .map(|wait| wait.min(self.bounds.wait))
    }

    /// Takes what came of a turn.
    pub fn settle(&mut self, turn: &Turn, outcome: Outcome, now: Timestamp) {
        let Some(lane) = self.open.get_mut(&turn.key) else { return };
        lane.busy = false;
        match outcome {
            Outcome::Delivered(seq) => {
                self.next.succeeded_at = Some(now);
                if let Key::Letter(seq) = turn.key {
                    self.next.letters.push(LetterNote::Delivered(seq));
                }
                self.pass(&turn.key, seq, now);
            }
            Outcome::Nothing => self.pass(&turn.key, turn.to, now),
            Outcome::Again { seq, due, failed } => {
                lane.attempts = lane.attempts.saturating_add(1);
                (lane.due, lane.seq, lane.kept) = (due, seq, true);
                if let Key::Letter(seq) = turn.key {
                    let letter = QueuedLetter { seq, attempts: lane.attempts, due };
                    self.next.letters.push(LetterNote::Waiting { letter, failed });
                }
                self.next.failed = Some((now, failed.kind));
                self.mark(&turn.key);
            }
            Outcome::Dead { seq, failed } => {
                let attempts = lane.attempts.saturating_add(1);
                self.next.letters.push(LetterNote::Dead { seq, attempts, failed, at: now });
                self.next.failed = Some((now, failed.kind));
                self.pass(&turn.key, seq, now);
            }
            Outcome::NotTried { due } => lane.due = due,
        }
    }

    /// A lane is settled up to here.
    fn pass(&mut self, key: &Key, seq: u64, now: Timestamp) {
        let Some(lane) = self.open.get_mut(key) else { return };
        (lane.seq, lane.attempts, lane.due) = (seq.saturating_add(1), 0, now);
        let (done, kept) = (is_done(key, lane, self.read), lane.kept);
        if done {
            self.open.remove(key);
        }
        if kept {
            self.mark(key);
        }
    }

    /// Lanes that had only to wait until what is behind them was read again.
    fn sweep(&mut self) {
        let read = self.read;
        let changed = &mut self.changed;
        self.open.retain(|key, lane| {
            let done = is_done(key, lane, read);
            if let (Key::Lane(key), true) = (key, done) {
                changed.insert(key.clone());
            }
            !done
        });
    }

    fn mark(&mut self, key: &Key) {
        if let Key::Lane(key) = key {
            self.changed.insert(key.clone());
        }
    }

    fn cursor(&self) -> u64 {
        let held = self.open.values().filter(|lane| !lane.kept).map(|lane| lane.seq.saturating_sub(1)).min();
        held.unwrap_or(self.read).min(self.read)
    }

    /// Whether a note would tell something new.
    pub fn is_news(&self) -> bool {
        let next = &self.next;
        !self.changed.is_empty()
            || self.cursor() != self.saved
            || !next.letters.is_empty()
            || next.succeeded_at.is_some()
            || next.failed.is_some()
    }

    /// What to store now. It is [`Self::saved`] or [`Self::not_saved`] before the next one is made.
    pub fn note(&mut self) -> Note {
        self.sweep();
        let empty = Note { sink: self.next.sink.clone(), ..Note::default() };
        let mut note = std::mem::replace(&mut self.next, empty);
        note.cursor = self.cursor();
        for key in std::mem::take(&mut self.changed) {
            match self.open.get(&Key::Lane(key.clone())) {
                Some(lane) if lane.kept => {
                    note.lanes.push(LaneRow { key, seq: lane.seq, attempts: lane.attempts, due: lane.due });
                }
                _ => note.level.push(key),
            }
        }
        note
    }

    /// The note was stored.
    pub fn saved(&mut self, note: &Note) {
        self.saved = note.cursor;
    }

    /// The note could not be stored: what it told goes into the next one.
    pub fn not_saved(&mut self, note: Note) {
        self.changed.extend(note.level);
        self.changed.extend(note.lanes.into_iter().map(|row| row.key));
        let mut letters = note.letters;
        letters.append(&mut self.next.letters);
        self.next.letters = letters;
        self.next.succeeded_at = self.next.succeeded_at.or(note.succeeded_at);
        self.next.failed = self.next.failed.or(note.failed);
    }
}

/// Whether a lane can be forgotten: everything of it is settled, and nothing of that will be read again. (A row can be
/// ahead of the cursor that a restart reads on from.)
fn is_done(key: &Key, lane: &Lane, read: u64) -> bool {
    !lane.busy && lane.seq > lane.last && (matches!(key, Key::Letter(_)) || lane.seq <= read.saturating_add(1))
}

/// An instant further ahead than anybody waits means that the clock was set back.
fn is_due(lane: &Lane, now: Timestamp, wait: Duration) -> bool {
    let left = lane.due.since(now);
    left.is_zero() || left > wait
}

#[cfg(test)]
mod tests;

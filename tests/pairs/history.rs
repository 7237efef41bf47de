//! Was the promise kept? What callers sent and read, with the time by one clock, judged by the letters of the design.
//!
//! - S1: a check that was sent after a change was called effective is answered at that change's revision or later.
//! - S2: its decision is the one that holds at exactly the revision that it names.
//! - S3: one caller of one replica never sees the revision go back.
//!
//! Whatever was refused is no answer, and breaks nothing.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

/// A change that was called effective.
#[derive(Debug, Clone)]
struct Ack {
    revision: u64,
    at: Instant,
}

/// A check that was answered.
#[derive(Debug, Clone)]
struct Told {
    replica: usize,
    sent: Instant,
    revision: u64,
    decision: bool,
}

/// Everything that happened in one run.
#[derive(Debug, Default)]
pub struct History {
    acks: Vec<Ack>,
    told: Vec<Told>,
    refused: usize,
    /// What is decided from each revision on.
    truth: BTreeMap<u64, bool>,
    slowest: Duration,
}

/// A run that something else has ended is judged, too.
impl Drop for History {
    fn drop(&mut self) {
        let found = if std::thread::panicking() { self.violations() } else { Vec::new() };
        if !found.is_empty() {
            crate::report::mark(&found);
        }
    }
}

impl History {
    /// From this revision on this is the decision.
    pub fn decided_from(&mut self, revision: u64, decision: bool) {
        self.truth.insert(revision, decision);
    }
    /// A change was called effective, which took so long from when it was asked for.
    pub fn effective(&mut self, revision: u64, asked: Instant) {
        let at = Instant::now();
        self.slowest = self.slowest.max(at - asked);
        self.acks.push(Ack { revision, at });
    }
    /// A check was answered.
    pub fn told(&mut self, replica: usize, sent: Instant, revision: u64, decision: bool) {
        self.told.push(Told { replica, sent, revision, decision });
    }
    /// A check was refused.
    pub const fn refused(&mut self) {
        self.refused += 1;
    }
    pub const fn refusals(&self) -> usize {
        self.refused
    }
    pub const fn changes(&self) -> usize {
        self.acks.len()
    }
    pub const fn checks(&self) -> usize {
        self.told.len() + self.refused
    }
    pub const fn slowest(&self) -> Duration {
        self.slowest
    }

    /// What broke the promise, a sentence each.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen: BTreeMap<usize, u64> = BTreeMap::new();
        for told in &self.told {
            let Told { replica, sent, revision, decision } = told;
            let floor = self.acks.iter().filter(|ack| ack.at < *sent).map(|ack| ack.revision).max().unwrap_or(0);
            if *revision < floor {
                found.push(format!("S1: replica {replica} answered at {revision}, {floor} was effective before"));
            }
            let truth = self.truth.range(..=*revision).next_back().map(|(_, truth)| *truth);
            if truth.is_some_and(|truth| truth != *decision) {
                found.push(format!("S2: replica {replica} answered {decision} at {revision}, where it is not so"));
            }
            let last = seen.entry(*replica).or_insert(*revision);
            if revision < last {
                found.push(format!("S3: replica {replica} answered at {revision} after {last}"));
            }
            *last = (*last).max(*revision);
        }
        found
    }

    /// Fails when anything broke the promise.
    #[track_caller]
    pub fn holds(&self) {
        let found = self.violations();
        if !found.is_empty() {
            crate::report::mark(&found);
        }
        assert!(found.is_empty(), "{}\n{}", found.join("\n"), self.story());
    }

    fn story(&self) -> String {
        let mut story = String::new();
        for ack in &self.acks {
            let _ = writeln!(story, "{:?}: {} is effective", ack.at, ack.revision);
        }
        for told in &self.told {
            let _ = writeln!(story, "{told:?}");
        }
        story
    }
}

#[test]
fn a_history_that_broke_the_promise_is_noticed() {
    let soon = || {
        std::thread::sleep(Duration::from_millis(1));
        Instant::now()
    };
    let before = soon();
    let mut history = History::default();
    history.decided_from(1, true);
    history.decided_from(2, false);
    history.told(0, before, 1, true);
    history.effective(2, before);
    history.told(1, before, 1, true);
    history.told(0, soon(), 2, false);
    assert_eq!(history.violations(), Vec::<String>::new());
    history.told(1, soon(), 1, true);
    history.told(2, soon(), 2, true);
    history.told(0, before, 1, true);
    let found = history.violations();
    for letter in ["S1: replica 1", "S2: replica 2", "S3: replica 0"] {
        assert!(found.iter().any(|said| said.starts_with(letter)), "{letter}: {found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
}

//! Was the promise kept? What callers sent and were told, judged against what the database holds.
//!
//! Revisions are integers and one process measures all times, so there is nothing to search for (consistency §8):
//!
//! - S1: a check that was sent after a change was acknowledged as effective is answered at its revision or later.
//! - S2: a decision is the one at exactly the revision that it names, by the log in the database.
//! - S3: a check that names a revision as its floor is answered at that revision or later.
//! - S4: whatever was answered `200` or `202` is in the database at the end.
//! - S5: an idempotency key has at most one revision, and one answer.
//!
//! The judge is judged below, by doctored histories.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A question about somebody's access; see [`Oracle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// May Lea edit the n-th site of Maria's?
    Lea(usize),
    /// May Bo edit the site that the agency manages?
    Bo,
}

/// A question and its answer.
#[derive(Debug, Clone)]
pub struct Check {
    pub replica: usize,
    pub subject: Subject,
    pub sent: Instant,
    pub got: Instant,
    /// The revision that it asked for at least.
    pub floor: Option<u64>,
    pub said: Said,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Answer {
        revision: u64,
        allowed: bool,
    },
    /// A fault, by its code; empty where the connection ended.
    Refused(String),
}

/// One attempt to make a change.
#[derive(Debug, Clone)]
pub struct Flip {
    pub key: String,
    pub sent: Instant,
    pub got: Instant,
    /// Zero where the connection ended.
    pub status: u16,
    pub code: String,
    pub revision: u64,
    pub effective: bool,
    pub acks: String,
    pub waited: Duration,
}

/// What the database holds at the end.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    /// Revision by revision: of whom, and what is so from then on.
    pub changes: Vec<(u64, Change)>,
    /// Revisions by idempotency key.
    pub keys: Vec<(String, u64)>,
    /// The last revision.
    pub head: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Lea(usize, bool),
    BoBlocked(bool),
    AgencyActive(bool),
    /// Whether policies are in force by which Lea's role does not let her edit.
    Strict(bool),
}

/// Everything of one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub checks: Vec<Check>,
    pub flips: Vec<Flip>,
    pub healed: Option<Healed>,
}

/// What came after everything had been healed.
#[derive(Debug, Clone)]
pub struct Healed {
    /// Callers called on from here, until there.
    pub calm: (Instant, Instant),
    /// Changes that had been answered `202` before, and how long after the healing they were called effective; or what
    /// was said last within the time that was given.
    pub pending: Vec<(String, Result<Duration, String>)>,
}

/// What is so at a revision.
struct Oracle<'a>(&'a [(u64, Change)]);

impl Oracle<'_> {
    /// The last of the changes up to a revision that `of` picks.
    fn last(&self, revision: u64, of: impl Fn(Change) -> Option<bool>) -> Option<bool> {
        let end = self.0.partition_point(|(at, _)| *at <= revision);
        self.0[..end].iter().rev().find_map(|(_, change)| of(*change))
    }
    fn allows(&self, subject: Subject, revision: u64) -> bool {
        match subject {
            // One decision rests on the site and on the policies.
            Subject::Lea(site) => {
                let given = self.last(revision, |change| match change {
                    Change::Lea(which, may) if which == site => Some(may),
                    _ => None,
                });
                let strict = self.last(revision, |change| match change {
                    Change::Strict(strict) => Some(strict),
                    _ => None,
                });
                given.unwrap_or(false) && !strict.unwrap_or(false)
            }
            // One decision rests on the site and on the agency: a mixture of two revisions shows.
            Subject::Bo => {
                let blocked = self.last(revision, |change| match change {
                    Change::BoBlocked(blocked) => Some(blocked),
                    _ => None,
                });
                let active = self.last(revision, |change| match change {
                    Change::AgencyActive(active) => Some(active),
                    _ => None,
                });
                active.unwrap_or(true) && !blocked.unwrap_or(false)
            }
        }
    }
}

/// A promise that was broken, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
}

impl History {
    /// How many checks were answered.
    pub fn answered(&self) -> usize {
        self.checks.iter().filter(|check| matches!(check.said, Said::Answer { .. })).count()
    }

    /// How many changes were called effective.
    pub fn effective(&self) -> usize {
        self.flips.iter().filter(|flip| flip.effective).count()
    }

    /// The longest that a change took from its request to the word that it is effective.
    pub fn slowest(&self) -> Duration {
        self.flips.iter().filter(|flip| flip.effective).map(|flip| flip.got - flip.sent).max().unwrap_or_default()
    }

    /// Every broken promise.
    pub fn judge(&self, durable: &Durable) -> Vec<Violation> {
        let mut found = Vec::new();
        self.judge_checks(durable, &mut found);
        self.judge_flips(durable, &mut found);
        found
    }

    fn judge_checks(&self, durable: &Durable, found: &mut Vec<Violation>) {
        let oracle = Oracle(&durable.changes);
        let mut acks: Vec<(Instant, u64)> =
            self.flips.iter().filter(|flip| flip.effective).map(|flip| (flip.got, flip.revision)).collect();
        acks.sort_unstable();
        // From here on: the largest revision that was acknowledged so far.
        let mut largest = 0;
        for ack in &mut acks {
            largest = largest.max(ack.1);
            ack.1 = largest;
        }
        for check in &self.checks {
            let Said::Answer { revision, allowed } = check.said else { continue };
            let before = acks.partition_point(|(got, _)| *got < check.sent);
            let least = before.checked_sub(1).map_or(0, |last| acks[last].1);
            if revision < least {
                let what = format!(
                    "replica {} answered {:?} at revision {revision}, and {least} was effective before it was asked",
                    check.replica, check.subject
                );
                found.push(Violation { rule: "S1", what });
            }
            if check.floor.is_some_and(|floor| revision < floor) {
                let what = format!("replica {} answered at {revision}, asked for {:?}", check.replica, check.floor);
                found.push(Violation { rule: "S3", what });
            }
            if allowed != oracle.allows(check.subject, revision) {
                let what = format!(
                    "replica {} said {allowed} of {:?} at revision {revision}; the log says otherwise",
                    check.replica, check.subject
                );
                found.push(Violation { rule: "S2", what });
            }
        }
    }

    fn judge_flips(&self, durable: &Durable, found: &mut Vec<Violation>) {
        let mut told: BTreeMap<&str, u64> = BTreeMap::new();
        let mut kept: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, revision) in &durable.keys {
            if kept.insert(key, *revision).is_some_and(|other| other != *revision) {
                found.push(Violation { rule: "S5", what: format!("`{key}` is in the database at two revisions") });
            }
        }
        let changed = |revision: u64| durable.changes.iter().any(|(at, _)| *at == revision);
        for flip in self.flips.iter().filter(|flip| matches!(flip.status, 200..=299)) {
            if flip.revision > durable.head || !changed(flip.revision) {
                let what = format!("`{}` was answered {} at revision {}", flip.key, flip.status, flip.revision);
                found.push(Violation { rule: "S4", what: format!("{what}, and the database has no such change") });
            }
            if told.insert(&flip.key, flip.revision).is_some_and(|other| other != flip.revision) {
                found.push(Violation { rule: "S5", what: format!("`{}` was answered two revisions", flip.key) });
            }
            if kept.get(flip.key.as_str()).is_some_and(|kept| *kept != flip.revision) {
                found.push(Violation { rule: "S5", what: format!("`{}` is kept at another revision", flip.key) });
            }
        }
        // Each site's changes alternate, because nobody is given a role that he has; a change that was made twice would be
        // made under two revisions.
        let mut last: BTreeMap<usize, bool> = BTreeMap::new();
        for (revision, change) in &durable.changes {
            if let Change::Lea(site, may) = change
                && last.insert(*site, *may) == Some(*may)
            {
                found.push(Violation { rule: "S5", what: format!("revision {revision} does again what was so") });
            }
        }
    }

    /// L1: whether everything was as usual again after the healing. `quick` is what 99 of 100 answers have to come within.
    pub fn judge_healing(&self, replicas: usize, quick: Duration) -> Vec<Violation> {
        let Some(healed) = &self.healed else { return Vec::new() };
        let mut found = Vec::new();
        for (key, effective) in &healed.pending {
            if let Err(last) = effective {
                found.push(Violation { rule: "L1", what: format!("`{key}` was answered 202, and at last {last}") });
            }
        }
        let (from, to) = healed.calm;
        let p99 = self.quantile(0.99, from, to);
        if p99 > quick {
            found.push(Violation { rule: "L1", what: format!("p99 is {p99:?} after everything was healed") });
        }
        for replica in 0..replicas {
            let answers = |check: &&Check| {
                check.replica == replica
                    && (from..to).contains(&check.sent)
                    && matches!(check.said, Said::Answer { .. })
            };
            if !self.checks.iter().any(|check| answers(&check)) {
                found.push(Violation { rule: "L1", what: format!("replica {replica} answers nothing any more") });
            }
        }
        found
    }

    /// How long the answers of a replica failed to come at most, between two moments.
    pub fn longest_silence(&self, replica: usize, from: Instant, to: Instant) -> Duration {
        let mut answered: Vec<Instant> = self
            .checks
            .iter()
            .filter(|check| check.replica == replica && matches!(check.said, Said::Answer { .. }))
            .map(|check| check.got)
            .filter(|got| (from..to).contains(got))
            .collect();
        answered.sort_unstable();
        let points: Vec<Instant> = [from].into_iter().chain(answered).chain([to]).collect();
        points.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// How long answers took between two moments: the share `of` of them at most so long.
    pub fn quantile(&self, of: f64, from: Instant, to: Instant) -> Duration {
        let mut took: Vec<Duration> = self
            .checks
            .iter()
            .filter(|check| (from..to).contains(&check.sent) && matches!(check.said, Said::Answer { .. }))
            .map(|check| check.got - check.sent)
            .collect();
        took.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = (took.len() as f64 * of) as usize;
        took.get(rank.min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change at revision 5 that takes Lea's role, effective at 100 ms; checks at 50 ms and at 150 ms.
    fn whole() -> (History, Durable, Instant) {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let check = |ms, revision, allowed| Check {
            replica: 1,
            subject: Subject::Lea(0),
            sent: at(ms),
            got: at(ms + 1),
            floor: Some(4),
            said: Said::Answer { revision, allowed },
        };
        let flip = Flip {
            key: "k".into(),
            sent: at(60),
            got: at(100),
            status: 200,
            code: String::new(),
            revision: 5,
            effective: true,
            acks: "all".into(),
            waited: Duration::ZERO,
        };
        let history = History {
            checks: vec![check(50, 4, true), check(99, 4, true), check(150, 5, false)],
            flips: vec![flip],
            healed: None,
        };
        let changes = vec![(4, Change::Lea(0, true)), (5, Change::Lea(0, false))];
        (history, Durable { changes, keys: vec![("k".into(), 5)], head: 5 }, begin)
    }

    fn rules(history: &History, durable: &Durable) -> Vec<&'static str> {
        history.judge(durable).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_kept_promise_is_no_violation() {
        let (history, durable, begin) = whole();
        assert_eq!(history.judge(&durable), []);
        assert_eq!((history.answered(), history.effective()), (3, 1));
        let end = begin + Duration::from_millis(200);
        assert_eq!(history.longest_silence(1, begin, end), Duration::from_millis(51));
        assert_eq!(history.slowest(), Duration::from_millis(40));
    }

    #[test]
    fn each_rule_finds_what_breaks_it() {
        let (sound, durable, begin) = whole();
        let mut stale = sound.clone();
        stale.checks[2].said = Said::Answer { revision: 4, allowed: true };
        assert_eq!(rules(&stale, &durable), ["S1"]);
        // Sent before the word was out, it may be answered from before, and from after.
        stale.checks[2].sent = begin + Duration::from_millis(99);
        assert_eq!(rules(&stale, &durable), [""; 0]);

        let mut mixed = sound.clone();
        mixed.checks[2].said = Said::Answer { revision: 5, allowed: true };
        assert_eq!(rules(&mixed, &durable), ["S2"]);

        let mut older = sound.clone();
        older.checks[2].floor = Some(6);
        assert_eq!(rules(&older, &durable), ["S3"]);

        let lost = Durable { changes: durable.changes[..1].to_vec(), keys: Vec::new(), head: 4 };
        assert!(rules(&sound, &lost).contains(&"S4"));

        let mut twice = sound.clone();
        let again = Flip { revision: 4, ..twice.flips[0].clone() };
        twice.flips.push(again);
        assert!(rules(&twice, &durable).contains(&"S5"));
        let mut doubled = durable.clone();
        doubled.changes.push((6, Change::Lea(0, false)));
        assert!(rules(&sound, &doubled).contains(&"S5"));
    }

    #[test]
    fn what_does_not_come_back_after_the_healing_is_noticed() {
        let (mut history, _, begin) = whole();
        let at = |ms| begin + Duration::from_millis(ms);
        let lines = |history: &History, replicas: usize, quick: u64| {
            history.judge_healing(replicas, Duration::from_millis(quick)).len()
        };
        history.checks.iter_mut().for_each(|check| check.replica = 0);
        let pending = vec![("k".into(), Ok(Duration::from_millis(1)))];
        history.healed = Some(Healed { calm: (at(0), at(200)), pending });
        assert_eq!(lines(&history, 1, 1), 0);
        assert_eq!(lines(&history, 1, 0), 1, "slow");
        assert_eq!(lines(&history, 2, 1), 1, "nobody hears from one of two");
        history.healed.as_mut().unwrap().pending[0].1 = Err("202".into());
        assert_eq!(lines(&history, 1, 1), 1, "never effective");
    }

    #[test]
    fn one_decision_of_two_revisions_is_noticed() {
        // Bo is blocked at 5 and the agency suspended at 6, active again at 7 with Bo still blocked; at no revision may he.
        let changes = vec![
            (5, Change::BoBlocked(true)),
            (6, Change::AgencyActive(false)),
            (7, Change::BoBlocked(false)),
            (8, Change::AgencyActive(true)),
        ];
        let oracle = Oracle(&changes);
        let may: Vec<bool> = (4..=8).map(|revision| oracle.allows(Subject::Bo, revision)).collect();
        assert_eq!(may, [true, false, false, false, true]);
    }
}

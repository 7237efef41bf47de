//! The lanes against a log, a subscriber with moods and crashes at any moment, drawn at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { lanes: 4, in_flight: 3, ahead: 8, wait: Duration::from_mins(10) };
const FAILED: Failed = Failed { kind: "status", status: Some(500) };

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Read,
    Begin,
    /// An attempt in flight ends: taken, failed, or failed for good.
    End(usize, u8),
    Note,
    /// A note that is not stored.
    LostNote,
    Crash,
    /// Time passes.
    Later,
    /// A dead letter is put back.
    Retry(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Read),
        6 => Just(Step::Begin),
        6 => (0_usize..8, 0_u8..10).prop_map(|(which, mood)| Step::End(which, mood)),
        3 => Just(Step::Note),
        1 => Just(Step::LostNote),
        1 => Just(Step::Crash),
        2 => Just(Step::Later),
        1 => (0_usize..4).prop_map(Step::Retry),
    ]
}

/// A store as far as notes go, and a subscriber.
struct World {
    /// Whose each event is, from 1.
    log: Vec<Option<SiteId>>,
    standing: Standing,
    dead: BTreeSet<u64>,
    queued: BTreeSet<u64>,
    lanes: Lanes,
    flying: Vec<(Turn, Option<u64>)>,
    now: Timestamp,
    /// What the subscriber took since the last crash, by lane, and in all.
    since: BTreeMap<LaneKey, u64>,
    taken: BTreeSet<u64>,
    /// Planted: what is done to a note before it is stored.
    spoil: Spoil,
}

type Spoil = fn(&mut Note);

impl World {
    fn new(log: Vec<Option<SiteId>>, spoil: Spoil) -> Self {
        let standing = Standing::default();
        let lanes = Lanes::resume("a", standing.clone(), BOUNDS);
        let (dead, queued, taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let now = Timestamp::from_seconds(1);
        Self { log, standing, dead, queued, lanes, flying: Vec::new(), now, since: BTreeMap::new(), taken, spoil }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Read => self.read(),
            Step::Begin => self.begin()?,
            Step::End(which, mood) if !self.flying.is_empty() => {
                let (turn, seq) = self.flying.remove(which % self.flying.len());
                self.end(&turn, seq, *mood)?;
            }
            Step::End(..) => {}
            Step::Note => self.note(true),
            Step::LostNote => self.note(false),
            Step::Crash => {
                self.lanes = Lanes::resume("a", self.standing.clone(), BOUNDS);
                self.flying.clear();
                self.since.clear();
                self.queue();
            }
            Step::Later => self.now = self.now.plus(Duration::from_secs(5)),
            Step::Retry(which) => {
                if let Some(seq) = self.dead.iter().nth(*which).copied() {
                    self.dead.remove(&seq);
                    self.queued.insert(seq);
                    self.note(true);
                    self.queue();
                }
            }
        }
        Ok(())
    }

    fn queue(&mut self) {
        let letter = |seq: &u64| QueuedLetter { seq: *seq, attempts: 0, due: self.now };
        self.lanes.queue(self.queued.iter().map(letter).collect());
    }

    fn read(&mut self) {
        let Some(after) = self.lanes.wants() else { return };
        let from = usize::try_from(after).unwrap();
        for (n, site) in self.log.iter().enumerate().skip(from).take(3) {
            self.lanes.read(n as u64 + 1, site.as_ref(), self.now);
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let Some(turn) = self.lanes.next(self.now) else { return Ok(()) };
        if self.flying.iter().any(|(other, _)| other.key == turn.key) {
            return Err(format!("two attempts of a lane at once: {turn:?}"));
        }
        if self.flying.len() >= BOUNDS.in_flight {
            return Err("too many in flight".into());
        }
        let seq = match &turn.key {
            Key::Letter(seq) => Some(*seq),
            Key::Lane(site) => (turn.from..=turn.to).find(|seq| self.site(*seq) == *site),
        };
        self.flying.push((turn, seq));
        Ok(())
    }

    fn site(&self, seq: u64) -> LaneKey {
        self.log[usize::try_from(seq).unwrap() - 1].clone()
    }

    fn end(&mut self, turn: &Turn, seq: Option<u64>, mood: u8) -> Result<(), String> {
        let Some(seq) = seq else {
            self.lanes.settle(turn, Outcome::Nothing, self.now);
            return Ok(());
        };
        let outcome = match mood {
            0..=5 => {
                self.taken.insert(seq);
                if let Key::Lane(key) = &turn.key {
                    let before = self.since.insert(key.clone(), seq).unwrap_or(0);
                    if before >= seq {
                        return Err(format!("{seq} after {before} in one lane"));
                    }
                }
                Outcome::Delivered(seq)
            }
            6..=8 => Outcome::Again { seq, due: self.now.plus(Duration::from_secs(3)), failed: FAILED },
            _ => Outcome::Dead { seq, failed: FAILED },
        };
        self.lanes.settle(turn, outcome, self.now);
        Ok(())
    }

    fn note(&mut self, arrives: bool) {
        let mut note = self.lanes.note();
        if !arrives {
            self.lanes.not_saved(note);
            return;
        }
        (self.spoil)(&mut note);
        assert!(note.cursor >= self.standing.cursor, "the cursor went back");
        self.standing.cursor = note.cursor;
        self.standing.lanes.retain(|row| !note.level.contains(&row.key));
        for row in &note.lanes {
            self.standing.lanes.retain(|other| other.key != row.key);
            self.standing.lanes.push(row.clone());
        }
        for letter in &note.letters {
            match letter {
                LetterNote::Dead { seq, .. } => {
                    self.queued.remove(seq);
                    self.dead.insert(*seq);
                }
                LetterNote::Waiting { .. } => {}
                LetterNote::Delivered(seq) => {
                    self.queued.remove(seq);
                    self.dead.remove(seq);
                }
            }
        }
        self.lanes.saved(&note);
    }

    /// Until nothing is left; the subscriber is in a good mood.
    fn finish(&mut self) -> Result<(), String> {
        for _ in 0..10_000 {
            for step in [Step::Read, Step::Begin, Step::Begin, Step::End(0, 0), Step::Later, Step::Note] {
                self.step(&step)?;
            }
            if self.flying.is_empty() && self.lanes.open.is_empty() && self.lanes.read == self.log.len() as u64 {
                break;
            }
        }
        self.note(true);
        if self.standing != (Standing { cursor: self.log.len() as u64, lanes: Vec::new() }) {
            return Err(format!("not finished: {:?}", self.standing));
        }
        let missing: Vec<u64> =
            (1..=self.log.len() as u64).filter(|seq| !self.taken.contains(seq) && !self.dead.contains(seq)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("lost: {missing:?}")) }
    }
}

fn play(sites: &[u8], steps: &[Step], spoil: Spoil) -> Result<(), String> {
    let site = |n: &u8| (*n > 0).then(|| format!("s{n}").parse().unwrap());
    let mut world = World::new(sites.iter().map(site).collect(), spoil);
    steps.iter().try_for_each(|step| world.step(step))?;
    world.finish()
}

fn cases() -> impl Strategy<Value = (Vec<u8>, Vec<Step>)> {
    (prop::collection::vec(0_u8..6, 1..60), prop::collection::vec(step(), 0..200))
}

proptest! {
    #[test]
    fn nothing_is_lost_and_every_lane_keeps_its_order((sites, steps) in cases()) {
        prop_assert_eq!(play(&sites, &steps, |_| {}), Ok(()));
    }
}

/// Each of these would lose events after a crash; the cases above find every one.
#[test]
fn planted_faults_are_caught() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let faults: [(&str, Spoil); 3] = [
        ("a cursor that does not wait for slow lanes", |note| note.cursor += u64::from(note.cursor < 1)),
        ("lanes in trouble are not kept", |note| note.lanes.clear()),
        ("a lane is kept one event too far", |note| note.lanes.iter_mut().for_each(|row| row.seq += 1)),
    ];
    for (fault, spoil) in faults {
        let mut runner = TestRunner::deterministic();
        let caught = (0..2_000).any(|_| {
            let (sites, steps) = cases().new_tree(&mut runner).unwrap().current();
            std::panic::catch_unwind(|| play(&sites, &steps, spoil)).map_or(true, |played| played.is_err())
        });
        assert!(caught, "not caught: {fault}");
    }
}

#[test]
fn one_slow_lane_neither_fills_the_memory_nor_stops_the_others() {
    let bounds = Bounds { lanes: 4, in_flight: 2, ahead: 8, wait: Duration::from_mins(10) };
    let mut lanes = Lanes::resume("a", Standing::default(), bounds);
    let now = Timestamp::from_seconds(1);
    let slow: SiteId = "slow".parse().unwrap();
    let quick: SiteId = "quick".parse().unwrap();
    lanes.read(1, Some(&slow), now);
    let stuck = lanes.next(now).unwrap();
    for seq in 2..=1_000 {
        assert_eq!(lanes.wants(), Some(seq - 1));
        lanes.read(seq, Some(if seq % 2 == 0 { &quick } else { &slow }), now);
        if seq % 2 == 0 {
            let turn = lanes.next(now).unwrap();
            lanes.settle(&turn, Outcome::Delivered(seq), now);
        }
        let note = lanes.note();
        assert!(seq - note.cursor <= 2 * bounds.ahead, "a crash would repeat too much");
        lanes.saved(&note);
        assert!(lanes.open.len() <= 2);
    }
    lanes.settle(&stuck, Outcome::Delivered(1), now);
    let note = lanes.note();
    assert_eq!((note.cursor, note.lanes.len(), note.lanes[0].seq), (1_000, 1, 2));
}

/// A row that is ahead of the log once was looked up as an empty place and passed; the event that came there was lost.
#[test]
fn a_row_ahead_of_the_log_does_not_pass_over_what_comes_next() {
    let now = Timestamp::from_seconds(1);
    let slow: SiteId = "slow".parse().unwrap();
    let row = LaneRow { key: Some(slow.clone()), seq: 3, attempts: 0, due: now };
    let mut lanes = Lanes::resume("a", Standing { cursor: 1, lanes: vec![row] }, BOUNDS);
    assert_eq!(lanes.next(now), None, "nothing is known to be at 3");
    lanes.read(2, Some(&slow), now);
    assert_eq!(lanes.next(now), None, "2 was delivered before the row said 3");
    lanes.read(3, Some(&slow), now);
    assert_eq!(lanes.next(now).map(|turn| (turn.from, turn.to)), Some((3, 3)));
}

#[test]
fn lanes_in_trouble_leave_room_for_the_others() {
    let mut lanes = Lanes::resume("a", Standing::default(), Bounds { lanes: 99, in_flight: 4, ahead: 99, ..BOUNDS });
    let mut now = Timestamp::from_seconds(1);
    for seq in 1..=8 {
        lanes.read(seq, Some(&format!("s{seq}").parse().unwrap()), now);
    }
    for _ in 0..8 {
        let turn = lanes.next(now).unwrap();
        let due = now.plus(Duration::from_secs(1));
        lanes.settle(&turn, Outcome::Again { seq: turn.from, due, failed: FAILED }, now);
    }
    assert_eq!((lanes.next(now), lanes.wait(now)), (None, Some(Duration::from_secs(1))));
    now = now.plus(Duration::from_secs(2));
    assert!(lanes.next(now).is_some() && lanes.next(now).is_some());
    assert_eq!(lanes.next(now), None, "half of the places");
    lanes.read(9, None, now);
    assert_eq!(lanes.next(now).unwrap().key, Key::Lane(None));
}

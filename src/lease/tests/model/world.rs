//! The world of the model at one moment, small enough to be remembered a million times.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
    time::Duration,
};

use super::{Joining, Memory, Scope};
use crate::{
    lease::{Acks, Boot, Key, PollAnswer, Tag, Use, View, advance},
    revision::Revision,
};

/// The two keys of every check.
const NAMES: [&str; 2] = ["site:bakery", "agency:studio-north"];
pub(super) static KEYS: LazyLock<[Key; 2]> = LazyLock::new(|| NAMES.map(Key::new));
/// The tags that values can have. There is one history.
static TAGS: LazyLock<[Tag; 3]> = LazyLock::new(|| [0, 1, 2].map(super::super::tag));
/// Which of them revision 1, 2 changes.
const CHANGES: [&[usize]; 2] = [&[0, 1], &[0]];

/// The content of a key is the revision at which it was last changed.
pub(super) fn content(key: usize, revision: u8) -> u8 {
    (1..=revision).rev().find(|at| CHANGES[usize::from(*at) - 1].contains(&key)).unwrap_or(0)
}
pub(super) fn contents(revision: u8) -> [u8; 2] {
    [0, 1].map(|key| content(key, revision))
}
pub(super) fn seconds(time: u8) -> Boot {
    Boot::new(Duration::from_secs(time.into()))
}
pub(super) fn small(revision: Revision) -> u8 {
    u8::try_from(revision.0).unwrap()
}

/// What the system of record answers at `revision` to a replica that has applied `applied`.
pub(super) fn told(scope: &Scope, applied: u8, revision: u8) -> PollAnswer {
    let changed = |at: u8| CHANGES[usize::from(at) - 1].iter().map(move |key| (u64::from(at), NAMES[*key]));
    let changes: Vec<(u64, &str)> = (applied + 1..=revision).flat_map(changed).collect();
    PollAnswer {
        ttl: Duration::from_secs(scope.ttl.into()),
        ..super::super::answer(applied.into(), revision.into(), &changes)
    }
}

/// A view that can be compared and remembered: `facts` says everything that the view can be asked.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) view: Arc<View>,
    facts: [u8; 5],
}

impl Seen {
    pub(super) fn of(view: &Arc<View>) -> Self {
        let last = |key: usize| view.last_change(&KEYS[key]).map_or(u8::MAX, small);
        let sent = u8::try_from(view.t0().since_start().as_secs()).unwrap();
        let facts = [small(view.revision()), sent, small(view.floor()), last(0), last(1)];
        Self { view: Arc::clone(view), facts }
    }
    /// The view of a replica that follows from the beginning.
    fn first(scope: &Scope) -> Self {
        Self::of(advance(None, seconds(0), told(scope, 0, 0)).unwrap().view().unwrap())
    }
    pub(super) fn usable(&self, entry: Entry) -> bool {
        self.view.usable(&KEYS[entry.key], &TAGS[usize::from(entry.tag)]) == Use::Ok
    }
    pub(super) const fn w(&self) -> u8 {
        self.facts[0]
    }
}
impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.facts == other.facts
    }
}
impl Eq for Seen {}
impl Hash for Seen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.facts.hash(state);
    }
}

/// A remembered value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) key: usize,
    pub(super) tag: u8,
    pub(super) value: u8,
}

impl Entry {
    /// What a snapshot at `revision` shows of a key.
    pub(super) fn read(key: usize, revision: u8) -> Self {
        Self { key, tag: revision, value: content(key, revision) }
    }
    fn bit(self) -> u32 {
        1 << (self.key * 9 + usize::from(self.tag) * 3 + usize::from(self.value))
    }
}

/// Everything that was ever written to the shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Written(u32);

impl Written {
    pub(super) fn add(&mut self, entry: Entry) {
        self.0 |= entry.bit();
    }
    pub(super) fn of(self, key: usize) -> impl Iterator<Item = Entry> {
        let all = (0..3).flat_map(move |tag| (0..3).map(move |value| Entry { key, tag, value }));
        all.filter(move |entry| self.0 & entry.bit() != 0)
    }
}

/// A poll on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Poll {
    /// By the replica's clock.
    pub(super) sent: u8,
    pub(super) applied: u8,
    pub(super) answered: Option<u8>,
    /// It is a poll, and no look.
    pub(super) renews: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    /// How many seconds its clock has lost.
    pub(super) lag: u8,
    pub(super) view: Option<Seen>,
    /// The flag of [`super::Mistake::LeaseAsFlag`].
    pub(super) leased: bool,
    /// Its row of the registry: what it has applied.
    pub(super) row: Option<u8>,
    pub(super) poll: Option<Poll>,
    /// A value that was read and is not stored yet.
    pub(super) fill: Option<Entry>,
    /// Its own memory, by key.
    pub(super) own: [Option<Entry>; 2],
}

/// A check on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Check {
    pub(super) replica: usize,
    /// What was acknowledged when it was received.
    pub(super) owed: u8,
    pub(super) view: Option<Seen>,
    pub(super) values: Vec<u8>,
}

/// A commit that is not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    pub(super) revision: u8,
    pub(super) committed: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// Real time, which is the writer's too.
    pub(super) now: u8,
    pub(super) head: u8,
    pub(super) waiting: Option<Waiting>,
    pub(super) acknowledged: u8,
    /// How the last acknowledgement came about.
    pub(super) acks: Option<Acks>,
    pub(super) replicas: Vec<Replica>,
    pub(super) written: Written,
    pub(super) check: Option<Check>,
    pub(super) g1_broken: bool,
    pub(super) g2_broken: bool,
}

impl World {
    pub(super) fn begin(scope: &Scope) -> Self {
        let replica = |index: usize| {
            let joins = scope.registry == Some(Joining::One) && index + 1 == scope.replicas;
            Replica {
                lag: 0,
                view: (!joins).then(|| Seen::first(scope)),
                leased: !joins,
                row: (!joins && scope.registry.is_some()).then_some(0),
                poll: None,
                fill: None,
                own: [None; 2],
            }
        };
        Self {
            now: 0,
            head: 0,
            waiting: None,
            acknowledged: 0,
            acks: None,
            replicas: (0..scope.replicas).map(replica).collect(),
            written: Written::default(),
            check: None,
            g1_broken: false,
            g2_broken: false,
        }
    }
    /// Sends a replica's poll or look.
    pub(super) fn send(&mut self, index: usize, renews: bool) {
        let applied = self.replicas[index].view.as_ref().map_or(0, Seen::w);
        self.replicas[index].poll = Some(Poll { sent: self.clock(index), applied, answered: None, renews });
    }
    /// What a replica's clock shows.
    pub(super) fn clock(&self, replica: usize) -> u8 {
        self.now - self.replicas[replica].lag
    }
    /// What a replica may find remembered of a key.
    pub(super) fn remembered(&self, scope: &Scope, replica: usize, key: usize) -> Vec<Entry> {
        match scope.memory {
            Memory::Anything => (0..=self.head).map(|revision| Entry::read(key, revision)).collect(),
            Memory::Shared => self.written.of(key).collect(),
            Memory::Own => self.replicas[replica].own[key].into_iter().collect(),
        }
    }
}

//! What can happen next, and what comes of it: the real functions, called with small integers, and the mistakes.

use std::time::Duration;

use stateright::{Model, Property};

use super::{
    Memory, Mistake, Order, Scope,
    world::{Check, Entry, KEYS, Poll, Replica, Seen, Waiting, World, content, contents, seconds, told},
};
use crate::{
    lease::{Ack, Acks, Margin, Pinned, Registry, ReplicaId, Row, Step, Verdict, advance, learn},
    revision::Revision,
    time::Timestamp,
};

/// One step of one party; replicas and keys by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// A second passes; the clocks of these replicas (by bit) miss it.
    Tick {
        missed: u8,
    },
    Commit,
    Acknowledge,
    Register(usize),
    SendPoll(usize),
    SendLook(usize),
    /// What is published is told to the registry, without a poll.
    Tell(usize),
    /// The system of record, or what is taken for it, answers at this revision.
    Answer(usize, u8),
    /// The answer arrives, the keys are dropped, the view is published.
    Receive(usize),
    GiveUp(usize),
    /// The timer of [`Mistake::LeaseAsFlag`] fires, at last.
    Timer(usize),
    ReadForMemory(usize, usize),
    Store(usize),
    Request(usize),
    Pin,
    /// The check takes this value of its next key.
    Take(u8),
    Reply,
}

impl Model for Scope {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::begin(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.g1_broken || world.g2_broken {
            return;
        }
        if world.now < self.horizon {
            actions.extend(self.ticks(world));
        }
        match &world.waiting {
            Some(waiting) if self.may_acknowledge(world, waiting) => actions.push(Action::Acknowledge),
            None if world.head < self.revisions => actions.push(Action::Commit),
            _ => {}
        }
        for replica in 0..self.replicas {
            self.following(world, replica, actions);
            self.remembering(world, replica, actions);
        }
        self.checking(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Tick { missed } => {
                next.now += 1;
                for (index, replica) in next.replicas.iter_mut().enumerate() {
                    replica.lag += (missed >> index) & 1;
                }
            }
            Action::Commit => self.commit(&mut next),
            Action::Acknowledge => self.acknowledge(&mut next),
            Action::Register(index) => next.replicas[index].row = Some(0),
            Action::SendPoll(index) => next.send(index, true),
            Action::SendLook(index) => next.send(index, false),
            Action::Tell(index) => {
                let replica = &mut next.replicas[index];
                replica.row = replica.row.max(replica.view.as_ref().map(Seen::w));
            }
            Action::Answer(index, revision) => self.answer(&mut next, index, revision),
            Action::Receive(index) => self.receive(&mut next, index),
            Action::GiveUp(index) => next.replicas[index].poll = None,
            Action::Timer(index) => next.replicas[index].leased = false,
            Action::ReadForMemory(index, key) => next.replicas[index].fill = Some(Entry::read(key, next.head)),
            Action::Store(index) => self.store(&mut next, index),
            Action::Request(replica) => {
                let owed = next.acknowledged;
                next.check = Some(Check { replica, owed, view: None, values: Vec::new() });
            }
            Action::Pin => self.pin(&mut next),
            Action::Take(value) => next.check.as_mut()?.values.push(value),
            Action::Reply => self.reply(&mut next),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("G1", |_, world: &World| !world.g1_broken),
            Property::always("G2", |_, world: &World| !world.g2_broken),
        ];
        if self.mistake.is_none() {
            properties.extend(self.reachable());
        }
        properties
    }
}

/// What can happen next.
impl Scope {
    fn ticks(&self, world: &World) -> impl Iterator<Item = Action> {
        let may_miss = (0..self.replicas).filter(|index| world.replicas[*index].lag < self.drift);
        let mask: u8 = may_miss.map(|index| 1_u8 << index).sum();
        (0..=mask).filter(move |missed| missed & !mask == 0).map(|missed| Action::Tick { missed })
    }

    fn following(&self, world: &World, index: usize, actions: &mut Vec<Action>) {
        let replica = &world.replicas[index];
        let unregistered = self.registry.is_some() && replica.row.is_none();
        if unregistered {
            actions.push(Action::Register(index));
        }
        match &replica.poll {
            None => {
                let news = replica.view.as_ref().is_none_or(|view| seconds(world.clock(index)) > view.view.t0());
                if news && (!unregistered || self.has(Mistake::PollBeforeRegistration)) {
                    actions.push(Action::SendPoll(index));
                }
                if self.looks {
                    Self::looking(world, index, actions);
                }
            }
            Some(poll) if poll.answered.is_none() => {
                let first = if self.has(Mistake::LaggingStandby) { poll.applied } else { world.head };
                actions.extend((first..=world.head).map(|revision| Action::Answer(index, revision)));
            }
            // Who answers has registered, if too late.
            Some(_) if unregistered => {}
            Some(_) => actions.extend([Action::Receive(index), Action::GiveUp(index)]),
        }
        let over = replica.view.as_ref().is_some_and(|view| !view.view.holds(seconds(world.clock(index))));
        if self.has(Mistake::LeaseAsFlag) && over && replica.leased {
            actions.push(Action::Timer(index));
        }
    }

    fn looking(world: &World, index: usize, actions: &mut Vec<Action>) {
        let replica = &world.replicas[index];
        let (Some(view), Some(row)) = (&replica.view, replica.row) else { return };
        if view.view.holds(seconds(world.clock(index))) {
            actions.push(Action::SendLook(index));
        }
        if row < view.w() {
            actions.push(Action::Tell(index));
        }
    }

    fn remembering(&self, world: &World, index: usize, actions: &mut Vec<Action>) {
        if self.memory == Memory::Anything {
            return;
        }
        match world.replicas[index].fill {
            None => actions.extend([0, 1].map(|key| Action::ReadForMemory(index, key))),
            Some(_) if world.replicas[index].view.is_some() => actions.push(Action::Store(index)),
            Some(_) => {}
        }
    }

    fn checking(&self, world: &World, actions: &mut Vec<Action>) {
        let Some(check) = &world.check else {
            return actions.extend((0..self.replicas).map(Action::Request));
        };
        match (&check.view, check.values.len()) {
            (None, _) => actions.push(Action::Pin),
            (Some(_), 2) => actions.push(Action::Reply),
            (Some(view), key) => actions.extend(self.values(world, check, view, key).into_iter().map(Action::Take)),
        }
    }

    /// What the check may take for the value of `key`: whatever is remembered, and what the system of record holds now.
    fn values(&self, world: &World, check: &Check, view: &Seen, key: usize) -> Vec<u8> {
        let remembered = world.remembered(self, check.replica, key).into_iter().map(|entry| {
            // The mistake takes every entry for one from this very view.
            let tag = if self.has(Mistake::Untagged) { view.w() } else { entry.tag };
            Entry { tag, ..entry }
        });
        let usable = remembered.chain([Entry::read(key, world.head)]);
        let mut found: Vec<u8> = usable.filter(|entry| view.usable(*entry)).map(|entry| entry.value).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What comes of it.
impl Scope {
    fn commit(&self, next: &mut World) {
        next.head += 1;
        next.waiting = Some(Waiting { revision: next.head, committed: next.now });
        if self.has(Mistake::AckAfterCommit) {
            self.acknowledge(next);
        }
    }

    fn acknowledge(&self, next: &mut World) {
        if let Some(waiting) = next.waiting.take() {
            next.acknowledged = waiting.revision;
            if let Verdict::Effective(acks) = self.verdict(next, &waiting) {
                next.acks = Some(acks);
            }
        }
    }

    fn may_acknowledge(&self, world: &World, waiting: &Waiting) -> bool {
        matches!(self.verdict(world, waiting), Verdict::Effective(_))
    }

    fn verdict(&self, world: &World, waiting: &Waiting) -> Verdict {
        let ttl = Duration::from_secs(self.ttl.into());
        let short = self.has(Mistake::WaitTooShort);
        let no_margin = self.drift == 0 || self.has(Mistake::WaitWithoutDrift);
        let ack = Ack {
            epoch: super::super::epoch(),
            revision: Revision(waiting.revision.into()),
            committed: seconds(waiting.committed),
            ttl_max: if short { ttl.saturating_sub(Duration::from_secs(1)) } else { ttl },
            // 3 s and a tenth and 100 ms are over when the fourth second is.
            margin: if no_margin { Margin { drift_percent: 0, slack: Duration::ZERO } } else { Margin::STANDARD },
        };
        let row = |replica: &Replica| {
            replica.row.map(|applied| Row {
                replica: ReplicaId::new("r"),
                epoch: super::super::epoch(),
                applied: Revision(applied.into()),
                max_stale: ttl,
                silent: Duration::ZERO,
                renewed: Timestamp::default(),
            })
        };
        let registry = self
            .registry
            .map(|_| Registry { asked: seconds(world.now), rows: world.replicas.iter().filter_map(row).collect() });
        ack.judge(seconds(world.now), registry.as_ref())
    }

    fn answer(&self, next: &mut World, index: usize, revision: u8) {
        let replica = &mut next.replicas[index];
        let Some(poll) = &mut replica.poll else { return };
        poll.answered = Some(revision);
        let on_receipt = if poll.renews { Mistake::AckOnReceipt } else { Mistake::TellOnReceipt };
        let told = if self.has(on_receipt) { revision } else { poll.applied };
        if poll.renews || self.has(on_receipt) {
            replica.row = replica.row.map(|row| row.max(told));
        }
    }

    fn receive(&self, next: &mut World, index: usize) {
        let clock = next.clock(index);
        let replica = &mut next.replicas[index];
        let Some(Poll { sent, applied, answered: Some(revision), renews }) = replica.poll.take() else { return };
        let sent = if self.has(Mistake::LeaseFromResponse) { clock } else { sent };
        let view = replica.view.as_ref().map(|seen| &*seen.view);
        let (sent, answer) = (seconds(sent), told(self, applied, revision));
        let step = match view {
            Some(view) if !renews => learn(view, sent, answer),
            view => advance(view, sent, answer).ok(),
        };
        let dropped: Vec<usize> = match step.as_ref() {
            Some(Step::Advance { drop, .. }) => (0..2).filter(|key| drop.contains(&KEYS[*key])).collect(),
            Some(Step::Resync { .. }) => vec![0, 1],
            Some(Step::Ignored) | None => Vec::new(),
        };
        for key in dropped {
            replica.own[key] = None;
        }
        if let Some(step) = step
            && let Some(view) = step.view()
        {
            replica.view = Some(Seen::of(view));
            replica.leased = true;
        }
    }

    fn store(&self, next: &mut World, index: usize) {
        let replica = &mut next.replicas[index];
        let Some(mut entry) = replica.fill.take() else { return };
        if self.has(Mistake::WatermarkTag) {
            entry.tag = replica.view.as_ref().map_or(entry.tag, Seen::w);
        }
        match self.memory {
            Memory::Anything => {}
            Memory::Shared => next.written.add(entry),
            Memory::Own => replica.own[entry.key] = Some(entry),
        }
    }

    fn pin(&self, next: &mut World) {
        let Some(check) = &mut next.check else { return };
        let replica = &next.replicas[check.replica];
        let now = seconds(next.now - replica.lag);
        let pinned = replica.view.clone().filter(|view| match self.order {
            Order::ValuesFirst => true,
            // The mistake asks the flag, and the lease when it was new.
            Order::LeaseFirst if self.has(Mistake::LeaseAsFlag) => {
                replica.leased && Pinned::pin(&view.view, view.view.t0()).is_some()
            }
            Order::LeaseFirst => Pinned::pin(&view.view, now).is_some(),
        });
        match pinned {
            Some(view) => check.view = Some(view),
            None => next.check = None,
        }
    }

    fn reply(&self, next: &mut World) {
        let Some(Check { replica, owed, view: Some(view), values }) = next.check.take() else { return };
        let now = seconds(next.clock(replica));
        let lease = if self.has(Mistake::SeparateLoads) {
            next.replicas[replica].view.clone().unwrap_or_else(|| view.clone())
        } else {
            view.clone()
        };
        let answered = match self.order {
            // Without the second look, which the promise does not rest on.
            Order::LeaseFirst => true,
            Order::ValuesFirst => Pinned::pin(&lease.view, now).and_then(|pinned| pinned.reply(now, ())).is_some(),
        };
        if answered {
            next.g1_broken = (0..2).any(|key| values[key] < content(key, owed));
            next.g2_broken = values != contents(view.w());
        }
    }
}

/// What must be possible, or the search has seen nothing.
impl Scope {
    fn reachable(&self) -> Vec<Property<Self>> {
        let mut found = vec![
            Property::sometimes("a later check is answered", |_, world: &World| {
                world.check.as_ref().is_some_and(|check| check.owed > 0 && check.values.len() == 2)
            }),
            Property::sometimes("a later check is refused", |_, world: &World| {
                let Some(check) = &world.check else { return false };
                let now = seconds(world.clock(check.replica));
                let last = check.view.as_ref().or(world.replicas[check.replica].view.as_ref());
                check.owed > 0 && last.is_some_and(|seen| seen.w() < check.owed && !seen.view.holds(now))
            }),
            Property::sometimes("a check is overtaken by a commit", |_, world: &World| {
                let Some(Check { view: Some(view), values, .. }) = &world.check else { return false };
                values.len() == 1 && view.w() < world.head
            }),
            Property::sometimes("a remembered value is too old", |scope: &Self, world: &World| {
                world.replicas.iter().enumerate().any(|(index, replica)| {
                    let old = |entry: &Entry| replica.view.as_ref().is_some_and(|view| !view.usable(*entry));
                    world.remembered(scope, index, 0).iter().any(old)
                })
            }),
            Property::sometimes("leases run out", |_, world: &World| world.acks == Some(Acks::LeaseExpiry)),
        ];
        if self.looks {
            found.push(Property::sometimes("a view is newer than its lease", |_, world: &World| {
                let Some(waiting) = &world.waiting else { return false };
                let newer = |seen: &Seen| seen.w() >= waiting.revision && seen.view.t0() < seconds(waiting.committed);
                world.replicas.iter().filter_map(|replica| replica.view.as_ref()).any(newer)
            }));
        }
        if self.registry.is_some() {
            found.push(Property::sometimes("all have applied it", |_, world: &World| world.acks == Some(Acks::All)));
        }
        found
    }
}

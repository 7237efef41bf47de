//! The list of faults, each with what must be seen. Numbers are those of the design's list.

mod clocks;
mod database;
mod policies;
mod redis;
mod replicas;
mod writers;

use std::{panic::resume_unwind, time::Duration};

use crate::{
    cluster::{Plan, World},
    history::History,
    load::Load,
    report::{self, Told},
    seeded::Seeded,
};

/// One run of a scenario.
pub struct Run {
    number: u32,
    title: &'static str,
    pub seed: u64,
}

/// How often a play is played in which a mistake is to be noticed.
const TRIES: usize = 5;

/// What 99 of 100 answers have to come within once everything is healed. The short form runs beside anything.
fn quick() -> Duration {
    Duration::from_millis(if report::long() { 100 } else { 1_500 })
}

/// How long callers call in quiet, and how often something is done to them.
pub fn effort() -> (Duration, usize) {
    if report::long() { (Duration::from_secs(10), 5) } else { (Duration::from_millis(1_200), 1) }
}

impl Run {
    pub fn of(number: u32, title: &'static str) -> Self {
        let seed = Seeded::new(0xFA_0000 + u64::from(number)).seed();
        println!("scenario {number}, {title}: TEST_SEED={seed} repeats what was drawn");
        Self { number, title, seed }
    }

    /// Runs it: `adversity` does what is to be done while callers call, and says what is worth telling.
    pub fn with(self, plan: Plan, adversity: impl FnOnce(&World, &Load<'_>) -> Vec<String>) {
        let world = World::new(plan);
        self.on(&world, adversity);
        world.direct.verify_audit();
    }

    /// The same in a world that there is; what was seen.
    pub fn on(&self, world: &World, adversity: impl FnOnce(&World, &Load<'_>) -> Vec<String>) -> History {
        let (notes, history) = Load::new(world, self.seed).while_(|load| adversity(world, load));
        let notes = notes.unwrap_or_else(|why| {
            // What was seen until then is judged all the same: a broken promise is not forgiven because something else failed, too.
            println!("scenario {}, seed {}: the adversity itself failed", self.number, self.seed);
            report::mark(&history.judge(&world.durable()));
            resume_unwind(why)
        });
        self.judge(world, &history, notes);
        history
    }

    /// Would it be noticed here? Plays with a mistake in the program, planted in these replicas, in a world in which the same
    /// play without it broke nothing.
    pub fn notices(
        &self,
        world: &World,
        mistake: &str,
        planted: &[usize],
        hurt: Option<usize>,
        adversity: impl Fn(&World, &Load<'_>),
    ) {
        let Self { number, seed, .. } = self;
        for n in planted {
            world.replicas[*n].plant(&format!("mutant {mistake}"));
        }
        let of = hurt.map(|replica| format!("replica {replica} "));
        let found = (0..TRIES).find_map(|_| {
            let (played, history) = Load::new(world, *seed).while_(|load| adversity(world, load));
            played.unwrap_or_else(|why| resume_unwind(why));
            let found = history.judge(&world.durable());
            found.into_iter().find(|one| of.as_ref().is_none_or(|of| one.what.starts_with(of)))
        });
        for replica in &world.replicas {
            replica.plant("");
        }
        let Some(found) = found else { panic!("scenario {number}, seed {seed}: `{mistake}` was not noticed") };
        println!("scenario {number}: `{mistake}` was noticed by {}: {}", found.rule, found.what);
    }

    /// Judges what was seen, and keeps it for the report.
    pub fn judge(&self, world: &World, history: &History, notes: Vec<String>) {
        if let Some(healed) = &history.healed {
            let slowest = healed.pending.iter().filter_map(|(_, took)| took.as_ref().ok()).max();
            let p99 = history.quantile(0.99, healed.calm.0, healed.calm.1);
            println!("after the healing: p99 {p99:?}; {} changes were pending, {slowest:?}", healed.pending.len());
        }
        if let Some(flip) = history.flips.iter().filter(|flip| flip.effective).max_by_key(|flip| flip.got - flip.sent) {
            println!("the slowest change took {:?}: {flip:?}", flip.got - flip.sent);
        }
        let mut violations = history.judge(&world.durable());
        violations.extend(history.judge_healing(world.replicas.len(), quick()));
        report::mark(&violations);
        report::scenario(&Told { number: self.number, title: self.title, notes }, history, &violations);
        let Self { number, title, seed } = self;
        assert!(history.answered() > 20, "scenario {number}, seed {seed}: next to nothing was asked");
        let first: Vec<_> = violations.iter().take(5).collect();
        assert!(
            violations.is_empty(),
            "scenario {number} ({title}), seed {seed}: {} violations: {first:#?}",
            violations.len()
        );
    }
}

//! Random walks through every command, and what must be true after every step.
//!
//! Several people who are several things at once, four agencies, seven sites of every mode; commands that fit the state
//! and commands that do not, wrong actors, stale previews, repeated and reused keys, agencies that are suspended and
//! reinstated, reports of the platform, malformed commands, crashes, and time. A model that shares no code with `src/`
//! (`walk/rules.rs`, from the domain's tables) says before each command whether it must be applied, and of checks how
//! they must be answered, wherever it knows; after it, the audit, the feed, the documents and the list of who has access
//! must agree with the reply and with each other, and the invariants of the domain's §6 that a caller can see must hold.
//!
//! Two walks go through the built program, where weeks cannot pass; one goes through the same service in this process,
//! whose clock the walk moves, with a worker that is late as often as not. `TEST_SEED` repeats a walk; `MANDATE_WALK`
//! says how many commands there are in all (`make walk`).

mod cast;
mod controls;
mod course;
mod deeds;
mod invariants;
mod model;
mod rules;
pub mod world;

use self::{course::Course, world::World};

/// Commands of each walk in the default run; there are three walks.
const STEPS: u64 = 1_200;

fn steps() -> u64 {
    match std::env::var("MANDATE_WALK") {
        Ok(all) => all.parse::<u64>().unwrap_or_else(|_| panic!("`MANDATE_WALK` is a number, not `{all}`")) / 3,
        Err(_) => STEPS,
    }
}

fn walk(world: World, seed: u64) {
    let mut course = Course::new(world, seed);
    let steps = steps();
    for _ in 0..steps {
        course.go();
    }
    println!("{:#?}", course.seen);
    let applied = course.applied();
    let all: u64 = applied.values().sum();
    assert!(all > steps / 10, "a walk that goes nowhere: {:#?}", course.seen);
    // Rare ones need a longer walk: a walk of the default length comes by most of them.
    let never: Vec<&&str> = applied.iter().filter(|(_, times)| **times == 0).map(|(command, _)| command).collect();
    assert!(never.len() <= if steps >= 20_000 { 0 } else { 12 }, "never applied: {never:?}");
    course.world.verify_audit();
}

#[test]
fn invariants_hold_along_a_walk_while_sites_settle() {
    walk(World::program(&[("MANDATE_TIMERS__SETTLE", "7d")]), 0x5EED_0001);
}

#[test]
fn invariants_hold_along_a_walk_of_settled_sites() {
    walk(World::program(&[("MANDATE_TIMERS__SETTLE", "0s")]), 0x5EED_0002);
}

#[test]
fn invariants_hold_along_a_walk_through_months() {
    walk(World::here("2027-10-01T09:00:00.123456Z"), 12);
}

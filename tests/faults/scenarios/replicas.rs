//! Faults of replicas: stopped, killed, cut off from the database, starved; and replicas that come and go.

use std::{
    cell::RefCell,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Run, effort};
use crate::{
    cluster::{Plan, World, bound, comes_true, within},
    history::{History, Said},
    load::Load,
    proxy::Way,
    report,
    seeded::Seeded,
    server::until,
};

/// The longest that a replica which nothing was done to may be silent on a machine that is busy.
const SILENCE: Duration = Duration::from_secs(4);

/// Replicas but the last one kept answering between two moments.
fn others_answered(history: &History, from: Instant, to: Instant) {
    for replica in 0..2 {
        let silence = history.longest_silence(replica, from, to);
        assert!(
            silence < SILENCE + report::busy(),
            "replica {replica} answered nothing for {silence:?} while another one was in trouble"
        );
    }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s01_nothing_fails() {
    Run::of(1, "nothing fails").with(Plan::default(), |_, load| {
        let (quiet, rounds) = effort();
        load.until_made(10 * rounds);
        thread::sleep(quiet * 2);
        Vec::new()
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s02_a_replica_is_stopped_and_goes_on() {
    let run = Run::of(2, "a replica is stopped for three leases and goes on");
    let chance = RefCell::new(Seeded::new(run.seed));
    let world = World::new(Plan::default());
    let stop = |world: &World, load: &Load<'_>, lasts: Duration| {
        load.write_through(&[0, 1]);
        load.until_made(4);
        thread::sleep(Duration::from_millis(chance.borrow_mut().below(300)));
        load.until_warm();
        world.replicas[2].signal("-STOP");
        let stopped = Instant::now();
        let told = [load.own(0, true), load.own(1, false)];
        while stopped.elapsed() < lasts {
            thread::sleep(Duration::from_millis(10));
        }
        world.replicas[2].signal("-CONT");
        world.replicas[2].until_it_answers();
        told
    };
    run.on(&world, |world, load| {
        let mut worst = Duration::ZERO;
        for _ in 0..effort().1 {
            let [first, second] = stop(world, load, world.ttl() * 3);
            assert_eq!((first.status, first.effective), (200, true), "{first:?}");
            // It may have applied the change before it was stopped, never the next one.
            assert_eq!((second.status, second.acks.as_str()), (200, "lease_expiry"), "{second:?}");
            let took = second.got - second.sent;
            assert!(took <= within(world.ttl()), "{took:?}");
            worst = worst.max(took);
        }
        vec![format!("the longest wait for it: {} of {}", millis(worst), millis(bound(world.ttl())))]
    });
    // It goes on while its lease holds: nobody has waited for that.
    run.notices(&world, "ack_at_commit", &[0, 1], Some(2), |world, load| {
        stop(world, load, world.ttl() / 3);
    });
    world.direct.verify_audit();
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s03_a_replica_is_stopped_between_decision_and_answer() {
    Run::of(3, "a replica is stopped between decision and answer").with(Plan::default(), |world, load| {
        for _ in 0..effort().1 {
            load.write_through(&[0, 1]);
            world.replicas[2].faults("point evaluated stop");
            let stopped = comes_true(Duration::from_secs(20), || world.replicas[2].is_stopped());
            assert!(stopped, "nobody asked it");
            world.replicas[2].faults("");
            load.until_made(3);
            world.replicas[2].signal("-CONT");
            world.replicas[2].until_it_answers();
        }
        vec!["what was asked before the change was effective may be answered late".into()]
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s04_a_replica_is_killed_and_started_again() {
    Run::of(4, "a replica is killed and started again").with(Plan::default(), |world, load| {
        load.write_through(&[0, 1]);
        for _ in 0..effort().1 * 2 {
            load.until_made(3);
            world.replicas[2].kill();
            load.until_made(2);
            world.replicas[2].start();
            world.replicas[2].until_it_answers();
        }
        Vec::new()
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s05_a_replica_is_cut_off_from_the_database() {
    let run = Run::of(5, "a replica is cut off from the database");
    let world = World::new(Plan::default());
    let mut moments = Vec::new();
    let history = run.on(&world, |world, load| {
        load.write_through(&[0, 1]);
        for _ in 0..effort().1 {
            load.until_made(3);
            load.until_warm();
            let cut = Instant::now();
            world.replicas[2].database.blackhole();
            thread::sleep(world.ttl() * 2);
            assert_eq!(world.replicas[2].ready(), Some(503));
            load.until_made(1);
            moments.push((cut, Instant::now()));
            world.replicas[2].database.heal();
            world.replicas[2].until_it_answers();
        }
        vec!["the others answered on".into()]
    });
    for (cut, healed) in moments {
        others_answered(&history, cut, healed);
        let dark = cut + bound(world.ttl());
        let late = history.checks.iter().filter(|check| check.replica == 2 && (dark..healed).contains(&check.sent));
        // One that waited for the cut to end is answered after it.
        for check in late.filter(|check| check.got < healed) {
            assert_eq!(
                check.said,
                Said::Refused("stale_lease".into()),
                "it answered {:?} after the cut",
                check.sent - cut
            );
        }
    }
    // Until its lease is over it answers from what it remembers: nobody has waited for that.
    run.notices(&world, "ack_at_commit", &[0, 1], Some(2), |world, load| {
        load.write_through(&[0, 1]);
        load.until_made(3);
        load.until_warm();
        world.replicas[2].database.blackhole();
        thread::sleep(world.ttl());
    });
    world.direct.verify_audit();
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s06_a_replica_is_heard_and_hears_nothing() {
    Run::of(6, "a replica's polls arrive and their answers are lost").with(Plan::default(), |world, load| {
        load.write_through(&[0, 1]);
        let mut expired = 0;
        for _ in 0..effort().1 {
            load.until_made(3);
            world.replicas[2].database.set(Way::Pass, Way::Hold);
            for may in [true, false] {
                let told = load.own(0, may);
                assert_eq!((told.status, told.effective), (200, true), "{told:?}");
                expired += usize::from(told.acks == "lease_expiry");
            }
            world.replicas[2].database.heal();
            world.replicas[2].until_it_answers();
        }
        assert!(expired > 0, "a row that was renewed and says nothing of the change was taken for an acknowledgement");
        vec![format!("{expired} changes waited for its lease")]
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s07_answers_to_polls_are_late() {
    let ttl = Duration::from_millis(400);
    Run::of(7, "answers to polls come after 0.9 and 1.1 leases").with(
        Plan { ttl, ..Plan::default() },
        |world, load| {
            load.write_through(&[0, 1]);
            for percent in [90, 110] {
                world.replicas[2].database.set(Way::Pass, Way::Late(ttl * percent / 100));
                thread::sleep(effort().0 * 2);
                load.until_made(3);
            }
            vec!["the lease is counted from before the poll: hardly anything is left of it".into()]
        },
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s08_the_database_answers_a_byte_at_a_time() {
    let run = Run::of(8, "the database answers a replica one byte a second");
    let world = World::new(Plan::default());
    let drip = |world: &World, load: &Load<'_>, lasts: Duration| {
        load.write_through(&[0, 1]);
        load.until_made(2);
        load.until_warm();
        world.replicas[2].database.set(Way::Pass, Way::Drip(Duration::from_secs(1)));
        thread::sleep(lasts);
    };
    run.on(&world, |world, load| {
        drip(world, load, world.ttl() + effort().0);
        assert_eq!(world.replicas[2].ready(), Some(503), "a poll that is never answered is given up");
        load.until_made(2);
        Vec::new()
    });
    run.notices(&world, "ack_at_commit", &[0, 1], Some(2), |world, load| drip(world, load, world.ttl()));
    world.direct.verify_audit();
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s29_replicas_come_and_go() {
    Run::of(29, "replicas join, leave and crash in a loop").with(Plan::default(), |world, load| {
        load.write_through(&[0]);
        load.rest(2);
        for n in 0..effort().1 * 4 {
            let replica = &world.replicas[1 + n % 2];
            if n % 4 < 2 {
                replica.kill();
            } else {
                assert_eq!(replica.stop(), Some(0));
            }
            replica.start();
            replica.until_it_answers();
        }
        load.until_made(3);
        Vec::new()
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s30_the_lease_term_changes() {
    let ttl = Duration::from_millis(600);
    Run::of(30, "the lease term is changed while changes are made").with(
        Plan { ttl, ..Plan::default() },
        |world, load| {
            load.write_through(&[0, 1]);
            for _ in 0..effort().1 {
                for (term, longest) in [(2_500, 2_500), (600, 2_500)] {
                    world.sql(&format!("UPDATE mandate.lease SET ttl_ms = {term}, ttl_max_ms = {longest}"));
                    // Somebody holds a lease of either length and is cut off: the longer one is waited for.
                    thread::sleep(Duration::from_millis(700));
                    world.replicas[2].database.blackhole();
                    load.until_made(2);
                    world.replicas[2].database.heal();
                    world.replicas[2].until_it_answers();
                }
            }
            Vec::new()
        },
    );
}

/// Programs that do nothing, with all their might.
struct Busy(Vec<Child>);

impl Busy {
    fn start(many: usize) -> Self {
        let one = |_| Command::new("sh").args(["-c", "while :; do :; done"]).stdout(Stdio::null()).spawn().unwrap();
        Self((0..many).map(one).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = (child.kill(), child.wait());
        }
    }
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s31_the_processor_is_busy() {
    Run::of(31, "sixteen busy loops take the processor").with(Plan::default(), |_, load| {
        load.until_made(2);
        let busy = Busy::start(16);
        thread::sleep(effort().0 * 2);
        drop(busy);
        load.until_made(2);
        Vec::new()
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s32_more_changes_than_are_followed() {
    Run::of(32, "a replica is away for more changes than are followed one by one").with(
        Plan::default(),
        |world, load| {
            load.write_through(&[0]);
            load.until_made(2);
            world.replicas[2].signal("-STOP");
            // More than the 20,000 rows of the log that a poll takes.
            let many = if report::long() { 100_000 } else { 21_000 };
            let lines: Vec<serde_json::Value> = (0..many)
            .map(|n| {
                serde_json::json!({"site": {"id": format!("further-{n}"), "mode": "self_managed", "owner": "user:maria",
                    "plan": {"tier": "free", "status": "ok", "transferable": true}}})
            })
            .collect();
            world.direct.import(&lines);
            world.replicas[2].signal("-CONT");
            world.replicas[2].until_it_answers();
            let mut may = false;
            until("it is counted again", || {
                may = !may;
                let told = load.own(0, may);
                assert!(told.effective, "{told:?}");
                (told.acks == "all").then_some(())
            });
            vec![format!("{many} sites were imported meanwhile")]
        },
    );
}

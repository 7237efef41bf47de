//! Faults of the shared cache: slow, dead, old, empty, poisoned, half open.

use std::{
    cell::RefCell,
    thread,
    time::{Duration, Instant},
};

use super::{Run, effort};
use crate::{
    cluster::{Plan, World},
    history::Said,
    load::Load,
    proxy::Way,
    redis_server::Redis,
    report,
    seeded::Seeded,
    server::until,
};

/// No check was refused but for a lease that a busy machine did not renew in time.
fn nothing_failed(history: &crate::history::History) {
    for check in &history.checks {
        assert!(
            matches!(&check.said, Said::Answer { .. }) || check.said == Said::Refused("stale_lease".into()),
            "{check:?}"
        );
    }
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s09_redis_stands_still() {
    let run = Run::of(9, "Redis is stopped");
    let world = World::new(Plan::default());
    let mut moments = (Instant::now(), Instant::now());
    let history = run.on(&world, |world, load| {
        load.until_made(3);
        world.redis.as_ref().unwrap().lock().signal("-STOP");
        moments.0 = Instant::now();
        thread::sleep(if report::long() { Duration::from_secs(10) } else { Duration::from_secs(2) });
        load.until_made(3);
        moments.1 = Instant::now();
        world.redis.as_ref().unwrap().lock().signal("-CONT");
        Vec::new()
    });
    nothing_failed(&history);
    let p99 = history.quantile(0.99, moments.0, moments.1);
    // Quiet machines only: the short form runs beside anything.
    let most = if report::long() { Duration::from_millis(50) } else { Duration::from_secs(1) };
    assert!(p99 < most, "p99 {p99:?} while Redis was stopped");
}

/// How often Redis is brought back until somebody has found something old in it.
const MOST_ROUNDS: usize = 10;
/// What the third replica reads of the database comes to its memory late, when the site may have changed since.
const LATE: &str = "point site_read sleep 20";

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s10_redis_comes_back_with_old_data() {
    let run = Run::of(10, "Redis is killed and comes back with what it held before");
    let world = World::new(Plan::default());
    let restore = |world: &World, load: &Load<'_>| {
        let redis = world.redis.as_ref().unwrap();
        world.replicas[2].faults(LATE);
        load.until_made(5);
        load.until_warm();
        let _: String = redis.lock().ask(&["SAVE"]);
        load.until_made(6);
        redis.lock().down();
        load.until_made(2);
        redis.lock().up();
        let stale = world.shared_lookups("stale_tag");
        load.until_warm();
        load.until_made(6);
        world.shared_lookups("stale_tag") - stale
    };
    run.on(&world, |world, load| {
        let (mut old, mut rounds) = (0.0, 0);
        // On a busy machine Redis answers too late, and is left alone for a while.
        while rounds < effort().1 * 2 || (old == 0.0 && rounds < MOST_ROUNDS) {
            (old, rounds) = (old + restore(world, load), rounds + 1);
        }
        assert!(old > 0.0, "no copy was older than what its replica knew");
        vec![format!("{old} copies were found to be old")]
    });
    // Not `tag_at_fill`: what it reads it never shares, so that an old Redis has no part in it; a play rarely has the change
    // between reading and remembering that shows it. Scenario 13 makes replicas read often enough.
    run.notices(&world, "untagged", &[0, 1, 2], None, |world, load| {
        restore(world, load);
    });
    world.direct.verify_audit();
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s11_redis_fails_over_to_an_old_replica() {
    let run = Run::of(11, "Redis fails over to a replica that was cut off");
    let world = World::new(Plan::default());
    let primary = world.redis.as_ref().unwrap().lock().address();
    let link = crate::proxy::Proxy::to(primary);
    let second = Redis::start();
    let fail_over = |world: &World, load: &Load<'_>, rounds: usize| {
        let lead_to = |address| {
            for replica in &world.replicas {
                replica.redis.as_ref().unwrap().repoint(address);
            }
        };
        world.replicas[2].faults(LATE);
        link.heal();
        let _: String = second.ask(&["REPLICAOF", "127.0.0.1", &link.port().to_string()]);
        until("it follows", || {
            let info: String = second.ask(&["INFO", "replication"]);
            info.contains("master_link_status:up").then_some(())
        });
        load.until_made(6);
        load.until_warm();
        link.blackhole();
        load.until_made(8);
        let _: String = second.ask(&["REPLICAOF", "NO", "ONE"]);
        lead_to(second.address());
        load.until_warm();
        load.until_made(8 * rounds);
        // And back, to one that has missed what came after.
        lead_to(primary);
        load.until_warm();
        load.until_made(4);
        link.cut();
    };
    run.on(&world, |world, load| {
        fail_over(world, load, effort().1);
        Vec::new()
    });
    // Not `tag_at_fill`, as in scenario 10.
    run.notices(&world, "untagged", &[0, 1, 2], None, |world, load| fail_over(world, load, 1));
    world.direct.verify_audit();
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s12_redis_forgets() {
    let run = Run::of(12, "Redis is flushed again and again, and evicts");
    let world = World::new(Plan::default());
    let history = run.on(&world, |world, load| {
        let redis = world.redis.as_ref().unwrap();
        for _ in 0..effort().1 * 10 {
            let _: String = redis.lock().ask(&["FLUSHALL"]);
            thread::sleep(Duration::from_millis(50));
        }
        let _: String = redis.lock().ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        let _: String = redis.lock().ask(&["CONFIG", "SET", "maxmemory", "1mb"]);
        load.until_made(10);
        Vec::new()
    });
    nothing_failed(&history);
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s13_redis_is_poisoned() {
    let run =
        Run::of(13, "whoever can write to Redis writes noise, old copies, other sites' copies and halves of copies");
    let chance = RefCell::new(Seeded::new(run.seed));
    let world = World::new(Plan::default());
    let poison = |world: &World, load: &Load<'_>, goes_on: &dyn Fn(Duration) -> bool| {
        let redis = world.redis.as_ref().unwrap();
        world.replicas[2].faults(LATE);
        load.until_warm();
        let (mut old, mut poisoned) = (Vec::new(), 0);
        let begun = Instant::now();
        while goes_on(begun.elapsed()) {
            let mut chance = chance.borrow_mut();
            let redis = redis.lock();
            let mut copies = redis.copies();
            match chance.below(5) {
                0 => copies.iter_mut().for_each(|(_, value)| value.iter_mut().for_each(|byte| *byte = 0xA5)),
                1 => copies.clone_from(&old),
                2 => {
                    let values: Vec<Vec<u8>> = copies.iter().map(|(_, value)| value.clone()).collect();
                    let shift = 1 + usize::try_from(chance.below(3)).unwrap();
                    for (n, (_, value)) in copies.iter_mut().enumerate() {
                        value.clone_from(&values[(n + shift) % values.len()]);
                    }
                }
                3 => copies.iter_mut().for_each(|(_, value)| value.truncate(value.len() / 2)),
                _ => {
                    old.clone_from(&copies);
                    copies.clear();
                }
            }
            poisoned += copies.len();
            redis.write(&copies);
            thread::sleep(Duration::from_millis(chance.below(30)));
        }
        load.until_made(2);
        poisoned
    };
    run.on(&world, |world, load| {
        let before = world.shared_lookups("mac_fail");
        let found = || world.shared_lookups("mac_fail") - before;
        // On a busy machine Redis answers too late, and is left alone for a while.
        let goes_on = |lasted| lasted < effort().0 * 2 || (found() == 0.0 && lasted < Duration::from_secs(30));
        let poisoned = poison(world, load, &goes_on);
        assert!(poisoned > 20, "next to nothing was poisoned");
        let found = found();
        assert!(found > 0.0, "nobody has noticed that a copy was not written by one of us");
        vec![format!("{poisoned} copies were written, {found} times one was noticed")]
    });
    // For each mistake the poison that shows it at once. Old copies come back faster than new ones are written:
    run.notices(&world, "untagged", &[0, 1, 2], None, |world, load| {
        let redis = world.redis.as_ref().unwrap().lock();
        for _ in 0..10 {
            load.until_warm();
            let (old, wanted) = (redis.copies(), load.made() + 2);
            until("changes are made", || {
                redis.write(&old);
                (load.made() >= wanted).then_some(())
            });
        }
    });
    // Nothing but noise, so that everything is read from the database, and late: it is old before it is remembered.
    run.notices(&world, "tag_at_fill", &[0, 1, 2], None, |world, load| {
        let redis = world.redis.as_ref().unwrap().lock();
        world.replicas[2].faults("point site_read sleep 100");
        load.rest(1);
        let wanted = load.made() + 20;
        until("changes are made", || {
            let noise: Vec<_> = redis.copies().into_iter().map(|(name, _)| (name, vec![0xA5; 64])).collect();
            redis.write(&noise);
            (load.made() >= wanted).then_some(())
        });
    });
    world.direct.verify_audit();
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s14_connections_to_redis_are_half_open() {
    let run = Run::of(14, "connections to Redis are half open");
    let world = World::new(Plan::default());
    let history = run.on(&world, |world, load| {
        for _ in 0..effort().1 {
            load.until_made(3);
            for replica in &world.replicas {
                replica.redis.as_ref().unwrap().set(Way::Hold, Way::Hold);
            }
            load.until_made(6);
            for replica in &world.replicas {
                replica.redis.as_ref().unwrap().heal();
            }
        }
        Vec::new()
    });
    nothing_failed(&history);
}

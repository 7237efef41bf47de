//! Faults of the one database, and of what lies in front of it: killed, stopped at once and started again; connections that
//! are shared with others, and a transaction that somebody left open on one.

use std::{thread, time::Duration};

use super::{Run, effort};
use crate::{
    cluster::{Plan, comes_true},
    pgbouncer::PgBouncer,
};

/// A statement as it is sent alone: its kind, its length, its text and a zero.
fn statement(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 5).unwrap().to_be_bytes();
    [b"Q".as_slice(), &length, sql.as_bytes(), b"\0"].concat()
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s23_polls_go_through_a_pool_and_in_a_transaction_left_open() {
    Run::of(23, "a replica is led to PgBouncer, and polls in a transaction that was left open").with(
        Plan::default(),
        |world, load| {
            let mut notes = Vec::new();
            load.write_through(&[0, 1]);
            let hurt = &world.replicas[2];
            let database = world.database.lock().address();
            // A pool of transactions answers statements of one session on several connections: what a replica prepares may
            // not be there when it is asked for, or be another's. Refused or right, never old.
            if let Some(strict) = PgBouncer::in_front_of(database, "extra_float_digits") {
                let log = world.another_at(strict.address()).map(drop).expect_err("it takes no schema of the URL's");
                assert!(log.contains("unsupported startup parameter"), "{log}");
                let pool = PgBouncer::in_front_of(database, "extra_float_digits,options").unwrap();
                match world.another_at(pool.address()) {
                    Ok(mut started) => {
                        started.stop();
                        notes.push("a process starts on PgBouncer's pool of transactions".into());
                    }
                    Err(log) => {
                        let why = log.lines().last().unwrap_or_default();
                        notes.push(format!("on PgBouncer's pool of transactions no process starts: {why}"));
                    }
                }
                load.until_warm();
                hurt.database.repoint(pool.address());
                load.until_made(4 * effort().1);
                thread::sleep(effort().0 * 2);
                load.until_made(2);
                hurt.database.repoint(database);
                hurt.until_it_answers();
            } else {
                println!("skipped: PgBouncer is not installed (`.ci/tools` does it)");
                notes.push("without PgBouncer, which is not installed".into());
            }
            // The replica's own session begins a transaction and never ends it: polls are answered from its beginning on.
            for begin in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"].repeat(effort().1) {
                load.until_warm();
                let listens = "LISTEN mandate";
                let left_open = statement(&format!("{begin};{listens}"));
                hurt.database.instead(Some((statement(listens), left_open)));
                hurt.database.cut();
                let dark = comes_true(world.ttl() + Duration::from_secs(10), || hurt.ready() == Some(503));
                assert!(dark, "it takes a poll in an old transaction for one of now");
                load.until_made(2);
                hurt.database.instead(None);
                hurt.database.cut();
                hurt.until_it_answers();
            }
            notes.push("polls in a transaction left open are refused".into());
            notes
        },
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s18_the_database_dies_and_recovers() {
    Run::of(18, "the database is killed, or stopped at once, and recovers").with(
        Plan { durable: true, ..Plan::default() },
        |world, load| {
            for n in 0..effort().1 * 2 {
                load.until_made(5);
                {
                    let mut database = world.database.lock();
                    if n % 2 == 0 { database.kill() } else { database.stop() }
                }
                let dark = comes_true(world.ttl() + Duration::from_secs(10), || {
                    world.replicas.iter().all(|replica| replica.ready() == Some(503))
                });
                assert!(dark, "a replica is ready without its database");
                let told = load.own(0, true);
                assert_eq!((told.status, told.code.as_str()), (503, "not_applied"), "{told:?}");
                world.database.lock().start_again();
                world.replicas.iter().for_each(crate::cluster::Replica::until_it_answers);
            }
            load.until_made(3);
            vec!["what was acknowledged was there".into()]
        },
    );
}

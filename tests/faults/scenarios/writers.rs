//! Faults of whoever makes changes: killed at each point of a commit, cut off in the middle of it, gone before the answer;
//! and many at once.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Run, effort};
use crate::{
    cluster::{OWN, Plan, change, comes_true},
    history::Change,
    load::send,
    seeded::Seeded,
    server::until,
};

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s15_the_writer_dies_around_its_commit() {
    Run::of(15, "the writer is killed before COMMIT, after it, while it waits and before its answer").with(
        Plan::default(),
        |world, load| {
            load.write_through(&[1, 2]);
            let mut may = false;
            for point in ["before_commit", "after_commit", "while_waiting", "before_reply"].repeat(effort().1) {
                may = !may;
                let key = format!("dies-{point}-{}", load.made());
                world.replicas[0].faults(&format!("point {point} die"));
                let told = load.own_again(0, may, &key);
                assert_eq!(told.status, 0, "it died {point}: {told:?}");
                assert!(comes_true(Duration::from_secs(20), || !world.replicas[0].is_alive()), "{point}");
                world.replicas[0].kill();
                // Whoever asked sends it again, to another replica; and again, to the one that is back.
                let again =
                    until("it is done", || Some(load.own_again(1, may, &key)).filter(|told| told.status != 503));
                assert_eq!((again.status, again.effective), (200, true), "{point}: {again:?}");
                world.replicas[0].faults("");
                world.replicas[0].start();
                let third =
                    until("it answers", || Some(load.own_again(0, may, &key)).filter(|told| told.status != 503));
                assert_eq!((third.status, third.revision), (200, again.revision), "{point}: {third:?}");
            }
            vec!["one key, one revision".into()]
        },
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s16_the_connection_is_lost_during_commit() {
    Run::of(16, "the database's connection is lost during COMMIT").with(Plan::default(), |world, load| {
        load.write_through(&[1, 2]);
        let (mut tries, mut unknown, mut may) = (0, 0, false);
        until("a commit was cut", || {
            (tries, may) = (tries + 1, !may);
            let key = format!("cut-{tries}");
            let before = world.replicas[0].log().matches("BeforeCommit").count();
            world.replicas[0].faults("point before_commit sleep 500");
            let told = thread::scope(|scope| {
                let sending = scope.spawn(|| load.own_again(0, may, &key));
                until("it is about to commit", || {
                    (world.replicas[0].log().matches("BeforeCommit").count() > before).then_some(())
                });
                world.replicas[0].database.cut();
                sending.join().unwrap()
            });
            world.replicas[0].faults("");
            assert!(matches!(told.status, 200 | 503), "{told:?}");
            unknown += usize::from(told.code == "unknown");
            // Whatever it was told, the key tells what is so.
            let again = until("the key tells", || Some(load.own_again(1, may, &key)).filter(|told| told.status != 503));
            assert_eq!((again.status, again.effective), (200, true), "{again:?}");
            (unknown >= effort().1).then_some(())
        });
        vec![format!("{unknown} answers were `unknown`, and the key told")]
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s17_callers_go_away() {
    let run = Run::of(17, "callers go away at random bytes of their command");
    let mut chance = Seeded::new(run.seed);
    run.with(Plan::default(), |world, load| {
        let many = if crate::report::long() { 1_000 } else { 200 };
        for n in 0..many {
            let bytes = change(Change::Lea(OWN, n % 2 == 0), &format!("gone-{n}")).bytes();
            let cut = usize::try_from(chance.below(bytes.len() as u64 + 1)).unwrap();
            let mut stream = TcpStream::connect(world.replicas[n % 3].address()).unwrap();
            stream.write_all(&bytes[..cut]).unwrap();
            drop(stream);
        }
        load.write_through(&[]);
        // What was left open in the last two seconds has been so for more than two then, and is not ended yet.
        thread::sleep(Duration::from_millis(2_500));
        assert_eq!(world.open_transactions(), 0, "a transaction was left open");
        load.write_through(&[0, 1, 2]);
        load.until_made(2);
        vec![format!("{many} callers, and no transaction was left open")]
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s25_many_change_the_same() {
    Run::of(25, "fifty change the same at once, on sites in either order").with(Plan::default(), |world, load| {
        load.write_through(&[0, 1, 2]);
        let mut slowest = Duration::ZERO;
        for round in 0..effort().1 * 2 {
            let (done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let begun = Instant::now();
            thread::scope(|scope| {
                for n in 0..50 {
                    let (done, refused) = (&done, &refused);
                    scope.spawn(move || {
                        let key = format!("at-once-{round}-{n}");
                        let mut client = world.replicas[n % 3].client();
                        let told = until("it is decided", || {
                            Some(send(&mut client, Change::Lea(OWN, round % 2 == 0), &key))
                                .filter(|told| told.status != 503)
                        });
                        match told.status {
                            200 => done.fetch_add(1, Ordering::AcqRel),
                            // Nobody is given what he has, and nobody has what was taken.
                            404 | 409 => refused.fetch_add(1, Ordering::AcqRel),
                            _ => panic!("{told:?}"),
                        };
                    });
                }
            });
            slowest = slowest.max(begun.elapsed());
            assert_eq!((done.into_inner(), refused.into_inner()), (1, 49));
        }
        vec![format!("one of fifty each time; all fifty within {} ms", slowest.as_millis())]
    });
}

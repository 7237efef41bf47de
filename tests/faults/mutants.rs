//! Would it be noticed? Ten known mistakes of such protocols, planted in the real program one by one (`src/fault.rs`).
//!
//! Each has a play of its own: the adversity in which that mistake breaks the promise, driven on purpose through points,
//! proxies and clocks, so that it is caught at once and not by luck. The same play on the program as it is must break
//! nothing: that is the control, and it runs first, in the same world.
//!
//! The mistakes are those that the model check finds in the protocol (`src/lease/tests/model`).

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::{OWN, Plan, World, question},
    history::{History, Said, Subject, Violation},
    http::Connection,
    load::{Load, ask},
    postgres::Postgres,
    proxy::{Proxy, Way},
    report,
    server::until,
};

/// The replica that is hurt; the other one writes.
const HURT: usize = 1;
/// How often a play that needs luck is played.
const TRIES: usize = 12;

/// A world of two replicas, in which nobody calls but the play.
struct Stage {
    world: World,
    /// What is planted, in the file of faults of both.
    planted: String,
}

impl Stage {
    fn new(plan: Plan) -> Self {
        Self { world: World::new(Plan { replicas: 2, ..plan }), planted: String::new() }
    }

    /// Plants faults on both replicas, besides the mistake.
    fn faults(&self, writer: &str, hurt: &str) {
        self.world.replicas[0].faults(&format!("{}\n{writer}", self.planted));
        self.world.replicas[HURT].faults(&format!("{}\n{hurt}", self.planted));
    }

    fn play(&self, play: &dyn Fn(&Self, &Load<'_>)) -> Vec<Violation> {
        let load = Load::new(&self.world, 0);
        play(self, &load);
        self.world.heal();
        let history: History = load.seen();
        history.judge(&self.world.durable())
    }
}

/// Asks the hurt replica about the own site, over and over, for so long.
fn ask_for(load: &Load<'_>, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        load.ask_own(HURT);
    }
}

/// Waits until both replicas know everything, with a lease that has just begun.
fn settled(load: &Load<'_>, may: bool) {
    until("both are settled", || {
        let told = load.own(0, may);
        // Nobody changes it in between: sent again it is refused, and no change is made.
        (told.acks == "all" || told.status == 409).then_some(())
    });
    until("the hurt one remembers it", || matches!(load.ask_own(HURT), Said::Answer { .. }).then_some(()));
}

/// Plays without the mistake and with it.
fn caught(name: &str, mut stage: Stage, play: &dyn Fn(&Stage, &Load<'_>)) {
    let control = stage.play(play);
    report::mark(&control);
    assert_eq!(control, [], "the control: without `{name}` the promise was broken");
    stage.planted = format!("mutant {name}");
    let mut found = Vec::new();
    let mut tries = 0;
    while found.is_empty() && tries < TRIES {
        tries += 1;
        found = stage.play(play);
    }
    report::mutant(name, control.len(), &found, tries);
    assert!(!found.is_empty(), "`{name}` was not noticed in {tries} plays");
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m01_ack_at_commit() {
    caught("ack_at_commit", Stage::new(Plan::default()), &|stage, load| {
        settled(load, true);
        stage.faults("", "point before_publish sleep 300");
        load.own(0, false);
        ask_for(load, Duration::from_millis(300));
    });
}

/// Cuts the hurt replica off right after a poll, makes a change, and asks the hurt one until its lease is over.
fn cut_off(stage: &Stage, load: &Load<'_>) {
    settled(load, true);
    stage.world.replicas[HURT].database.set(Way::OneThenHold, Way::Pass);
    let passed = stage.world.replicas[HURT].database.passed();
    until("a poll is on its way", || (stage.world.replicas[HURT].database.passed() > passed).then_some(()));
    // The answer to that poll comes; the next poll does not.
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask_for(load, stage.world.ttl() * 14 / 10));
        let told = load.own(0, false);
        assert_eq!(told.status, 200, "{told:?}");
        asking.join().unwrap();
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m02_short_wait() {
    caught("short_wait", Stage::new(Plan { ttl: Duration::from_secs(2), ..Plan::default() }), &|stage, load| {
        stage.faults("", "");
        cut_off(stage, load);
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m03_no_drift() {
    caught("no_drift", Stage::new(Plan { ttl: Duration::from_secs(4), ..Plan::default() }), &|stage, load| {
        // Its lease of four seconds takes 4.3.
        stage.faults("", "clock rate 0.92");
        cut_off(stage, load);
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m04_lease_from_answer() {
    caught(
        "lease_from_answer",
        Stage::new(Plan { ttl: Duration::from_millis(600), ..Plan::default() }),
        &|stage, load| {
            stage.faults("", "");
            settled(load, true);
            let proxy = &stage.world.replicas[HURT].database;
            // One more poll reaches the database, and its answer is late, just within the deadline of a poll.
            proxy.set(Way::OneThenHold, Way::Late(Duration::from_millis(340)));
            let passed = proxy.passed();
            until("a poll is on its way", || (proxy.passed() > passed).then_some(()));
            thread::scope(|scope| {
                let asking = scope.spawn(|| ask_for(load, Duration::from_millis(1_100)));
                load.own(0, false);
                asking.join().unwrap();
            });
        },
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m05_timer_lease() {
    let plan = Plan { ttl: Duration::from_millis(300), ..Plan::default() };
    caught("timer_lease", Stage::new(plan), &|stage, load| {
        stage.faults("", "");
        settled(load, true);
        let hurt = &stage.world.replicas[HURT];
        let address: SocketAddr = hurt.address();
        let mut callers: Vec<Connection> = (0..40).map(|_| Connection::open(address).unwrap()).collect();
        hurt.signal("-STOP");
        let told = load.own(0, false);
        assert_eq!((told.status, told.effective), (200, true), "{told:?}");
        // Asked after the change was effective, while the process stands; it wakes up together with its timer.
        let sent = Instant::now();
        for caller in &mut callers {
            caller.send(&question(Subject::Lea(OWN), None).bytes()).unwrap();
        }
        hurt.signal("-CONT");
        for caller in &mut callers {
            load.note(HURT, Subject::Lea(OWN), sent, caller.read());
        }
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m06_untagged() {
    caught("untagged", Stage::new(Plan::default()), &|stage, load| {
        stage.faults("", "");
        let redis = stage.world.redis.as_ref().unwrap().lock();
        settled(load, true);
        let old = until("it is shared", || Some(redis.copies()).filter(|copies| !copies.is_empty()));
        let told = load.own(0, false);
        assert!(told.effective, "{told:?}");
        // Whoever wrote last wins: the writer's own copy is on its way still.
        until("the new copy is there", || (redis.copies() != old).then_some(()));
        redis.write(&old);
        load.ask_own(HURT);
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m07_tag_at_fill() {
    caught("tag_at_fill", Stage::new(Plan { redis: false, ..Plan::default() }), &|stage, load| {
        settled(load, true);
        let told = load.own(0, false);
        assert!(told.effective, "{told:?}");
        stage.faults("", "point site_read sleep 400");
        thread::scope(|scope| {
            // It has read the site when the next change comes, and puts it into its memory afterwards.
            let early = scope.spawn(|| load.ask_own(HURT));
            thread::sleep(Duration::from_millis(150));
            load.own(0, true);
            early.join().unwrap();
        });
        stage.faults("", "");
        load.ask_own(HURT);
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m08_two_views() {
    caught("two_views", Stage::new(Plan::default()), &|stage, load| {
        stage.faults("", "");
        settled(load, true);
        let hurt = &stage.world.replicas[HURT];
        hurt.database.blackhole();
        let told = load.own(0, false);
        assert!(told.effective, "{told:?}");
        stage.faults("", "point pinned sleep 1500");
        thread::scope(|scope| {
            // It has taken the old values, and finds the new lease.
            let asking = scope.spawn(|| load.ask_own(HURT));
            thread::sleep(Duration::from_millis(100));
            hurt.database.cut();
            hurt.database.heal();
            asking.join().unwrap();
        });
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m09_standby_poll() {
    let stage = Stage::new(Plan { redis: false, ..Plan::default() });
    let link = Proxy::to(stage.world.database.lock().address());
    let standby = Postgres::standby_of(link.port(), "standby");
    caught("standby_poll", stage, &|stage, load| {
        stage.faults("", "");
        link.heal();
        settled(load, true);
        let at = stage.world.sql("SELECT revision FROM mandate.head");
        until("the standby has it", || (standby.ask("SELECT revision FROM mandate.head")? == at).then_some(()));
        link.blackhole();
        let hurt = &stage.world.replicas[HURT];
        hurt.database.repoint(standby.address());
        thread::scope(|scope| {
            let asking = scope.spawn(|| ask_for(load, stage.world.ttl() * 2));
            let told = load.own(0, false);
            assert!(told.effective, "{told:?}");
            asking.join().unwrap();
        });
        hurt.database.repoint(stage.world.database.lock().address());
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn m10_ack_on_receipt() {
    caught("ack_on_receipt", Stage::new(Plan::default()), &|stage, load| {
        stage.faults("", "");
        settled(load, true);
        stage.faults("", "point before_publish sleep 300");
        thread::scope(|scope| {
            let asking = scope.spawn(|| ask_for(load, Duration::from_millis(700)));
            load.own(0, false);
            asking.join().unwrap();
        });
    });
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn a_play_without_adversity_breaks_nothing() {
    let stage = Stage::new(Plan::default());
    let violations = stage.play(&|stage, load| {
        settled(load, true);
        load.own(0, false);
        let (check, _) = ask(&mut stage.world.replicas[HURT].client(), HURT, Subject::Lea(OWN), None);
        assert!(matches!(check.said, Said::Answer { allowed: false, .. }), "{check:?}");
    });
    assert_eq!(violations, []);
}

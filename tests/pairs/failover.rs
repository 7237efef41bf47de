//! Two database servers, and whatever can happen between them: a standby that hangs, a primary that lives on after its
//! standby was promoted, one that takes commits with it, a wait that somebody cancels, and an address that leads to the
//! standby.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    http::{Answer, Call},
    postgres_pair::Waits,
    report,
    rig::Rig,
    server::until,
};

const LEASE: Duration = Duration::from_millis(1_500);
/// What a busy machine may add to a time that is bounded.
const BUSY: Duration = Duration::from_secs(4);

/// How long after a commit nobody answers from before it any more: `T·(1+ρ)+ε`.
fn bound() -> Duration {
    LEASE * 11 / 10 + Duration::from_millis(100)
}

/// The backends that wait for the standby with this statement.
fn waiting(statement: &str) -> String {
    format!("pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '{statement}%'")
}

#[track_caller]
fn unknown(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer}");
    assert_eq!(answer.json()["outcome"], "unknown", "{answer}");
}

/// How many revisions there are.
fn head(rig: &Rig) -> u64 {
    rig.primary().ask("SELECT revision FROM mandate.head").parse().unwrap()
}

/// Sends a command on a thread of its own.
fn sending(rig: &Rig, replica: usize, call: &Call) -> thread::JoinHandle<Answer> {
    let (mut client, call) = (rig.run.replicas[replica].server.client(), call.clone());
    thread::spawn(move || client.call(&call))
}

/// Repeats a command until it is answered with success.
fn resolved(rig: &mut Rig, replica: usize, call: &Call) {
    let asked = Instant::now();
    let answer = until("the same key resolves it", || {
        let answer = rig.run.replicas[replica].call(call);
        (answer.status == 200).then_some(answer)
    });
    rig.run.effective(&answer, asked);
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn a_standby_that_hangs_makes_the_outcome_unknown_and_the_key_resolves_it() {
    let mut rig = Rig::followed(Waits::ForTheStandby, 2, LEASE, &[]);
    rig.settle(0, 1);
    let told = rig.run.flip(0);
    assert_eq!(told["durability"], "replicated", "{told}");
    let before = head(&rig);
    rig.pair().standby.freeze();
    let call = rig.run.next();
    let begun = Instant::now();
    unknown(&rig.run.replicas[0].call(&call));
    assert!(begun.elapsed() < Duration::from_secs(5) + BUSY, "it took {:?}", begun.elapsed());
    // No poll is confirmed either: nobody answers from a lease that the standby does not know of.
    for replica in [0, 1] {
        assert_eq!(rig.run.ask(replica), Err("stale_lease".into()));
    }
    rig.pair().standby.go_on();
    resolved(&mut rig, 0, &call);
    let has = rig.run.has;
    for replica in [0, 1] {
        assert_eq!(rig.run.answers(replica), has);
    }
    assert_eq!(head(&rig), before + 1, "one key, one revision");
    rig.run.history.holds();
    report::scenario(
        19,
        "the synchronous standby is stopped",
        "SIGSTOP to all its processes while a change waits for it; then it goes on",
        &rig.run.history,
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn a_wait_for_the_standby_that_is_cancelled_is_no_success() {
    let mut rig = Rig::followed(Waits::ForTheStandby, 2, LEASE, &[]);
    rig.settle(0, 1);
    let before = head(&rig);
    rig.pair().standby.freeze();
    let call = rig.run.next();
    let sent = sending(&rig, 0, &call);
    let cancel = format!("SELECT pg_cancel_backend(pid) FROM (SELECT {}) waits", waiting("COMMIT"));
    until("the commit waits and is cancelled", || (rig.primary().ask(&cancel) == "t").then_some(()));
    unknown(&sent.join().unwrap());
    // It shows on this server alone; a poll that is cancelled in the same way is no proof of anything either.
    assert_eq!(head(&rig), before + 1);
    let polls = format!("SELECT count(pg_cancel_backend(pid)) FROM (SELECT {}) waits", waiting("%WITH own AS"));
    let begun = Instant::now();
    let mut cancelled = 0;
    while begun.elapsed() < bound() {
        cancelled += rig.primary().ask(&polls).parse::<u32>().unwrap();
    }
    assert!(cancelled > 0, "no poll waited");
    for replica in [0, 1] {
        assert_eq!(rig.run.ask(replica), Err("stale_lease".into()));
    }
    rig.pair().standby.go_on();
    resolved(&mut rig, 0, &call);
    let has = rig.run.has;
    for replica in [0, 1] {
        assert_eq!(rig.run.answers(replica), has);
    }
    assert_eq!(head(&rig), before + 1, "one key, one revision");
    rig.run.history.holds();
    report::scenario(
        22,
        "the wait for the standby is cancelled",
        "`pg_cancel_backend` to the commit, and to every poll",
        &rig.run.history,
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn a_primary_that_lives_on_after_its_standby_was_promoted_answers_nothing_old() {
    let mut rig = Rig::followed(Waits::ForTheStandby, 3, LEASE, &[]);
    rig.settle(0, 2);
    rig.pair().caught_up();
    // The third replica is still led to the old primary.
    rig.pair().standby.promote();
    let new = rig.pair().standby.address();
    for replica in &rig.run.replicas[..2] {
        replica.proxy.lead_to(new);
    }
    let promoted = Instant::now();
    let call = rig.run.next();
    // A command there cannot be confirmed.
    let astray = sending(&rig, 2, &call);
    rig.run.answers(0);
    let told = rig.run.flip(0);
    assert_eq!(told["acks"], "lease_expiry", "the third is waited for: {told}");
    let waited = Duration::from_millis(told["waited_ms"].as_u64().unwrap());
    assert!(waited >= bound() && waited < bound() + BUSY, "{told}");
    assert_eq!(rig.run.ask(2), Err("stale_lease".into()), "{:?} after the promotion", promoted.elapsed());
    let has = rig.run.has;
    for replica in [0, 1] {
        assert_eq!(rig.run.answers(replica), has);
    }
    unknown(&astray.join().unwrap());
    // The control: there is something old that it could have answered from.
    let old = rig.primary().ask("SELECT revision FROM mandate.head").parse::<u64>().unwrap();
    let now = rig.pair().standby.ask("SELECT revision FROM mandate.head").parse::<u64>().unwrap();
    assert!(old < now, "{old} {now}");
    rig.run.replicas[2].proxy.lead_to(new);
    assert_eq!(rig.run.answers(2), has);
    rig.run.history.holds();
    report::scenario(
        20,
        "failover with the old primary alive",
        "the standby is promoted, two replicas follow it, one stays",
        &rig.run.history,
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn a_failover_that_loses_commits_is_noticed_and_nothing_is_answered_until_somebody_looks() {
    let mut rig = Rig::followed(Waits::ForNobody, 3, LEASE, &[]);
    rig.settle(0, 1);
    rig.pair().caught_up();
    let kept = head(&rig);
    rig.link().cut();
    let told = rig.run.flip(0);
    assert_eq!(told["durability"], "local", "{told}");
    rig.run.flip(0);
    for replica in [0, 1, 2] {
        rig.run.answers(replica);
    }
    let lost = head(&rig);
    assert_eq!(lost, kept + 2);
    let answer = rig.run.replicas[0].call(&crate::world::question());
    let token = answer.header("revision-token").expect("a token").to_owned();
    rig.pair().primary.end();
    rig.pair().standby.promote();
    let new = rig.pair().standby.address();
    // One finds fewer revisions than it has applied.
    rig.run.replicas[1].proxy.lead_to(new);
    until("it is in quarantine", || (rig.run.ask(1) == Err("revision_regression".into())).then_some(()));
    until("it says so", || rig.run.replicas[1].server.log().contains("revision_regression").then_some(()));
    // A replica that was not there before takes commands, and the lost numbers are used for something else.
    let mut joined = crate::world::Replica::start(new, &[]);
    until("it answers", || joined.asked().ok());
    let mut n = 0;
    while joined.asked().ok().is_none_or(|(revision, _)| revision < lost) {
        let agency =
            json!({"name": format!("Studio {n}"), "domain": "new.example", "verified": true, "status": "active"});
        joined.call(&Call::new("PUT", &format!("/v1/agencies/new-{n}")).json(&agency)).ok();
        n += 1;
    }
    // Another finds as many, with other content.
    rig.run.replicas[2].proxy.lead_to(new);
    until("it is in quarantine", || (rig.run.ask(2) == Err("revision_regression".into())).then_some(()));
    let ready = rig.run.replicas[2].server.admin().get("/readyz");
    assert_eq!(ready.status, 503, "{ready}");
    // And so does a caller who was told of a lost one.
    let fresh = joined.call(&crate::world::question().header("at-least-as-fresh", &token));
    assert_eq!((fresh.status, fresh.code().as_str()), (409, "lost_commits"), "{fresh}");
    rig.run.history.holds();
    // Quarantine has no end of its own; somebody who has looked starts the replica again.
    assert_eq!(rig.run.ask(1), Err("revision_regression".into()));
    rig.run.replicas[1].start_again();
    until("it answers again", || rig.run.replicas[1].asked().ok());
    report::scenario(
        21,
        "failover that loses revisions",
        "the link is cut, two changes are made, the primary ends, the standby is promoted",
        &rig.run.history,
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn an_address_that_leads_to_the_standby_is_refused() {
    let mut rig = Rig::followed(Waits::ForNobody, 2, LEASE, &[]);
    rig.settle(0, 1);
    rig.pair().caught_up();
    let standby = rig.pair().standby.address();
    rig.run.replicas[1].proxy.lead_to(standby);
    assert_eq!(rig.run.refuses(1), "stale_lease");
    let call = rig.run.next();
    let refused = rig.run.replicas[1].call(&call);
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_applied"), "{refused}");
    // A process that starts there is told where to go instead.
    let early = crate::world::Replica::try_start(standby).expect_err("a standby");
    assert!(early.contains("is a standby") && early.contains("name the primary"), "{early}");
    rig.run.carried_out(0, &call);
    rig.calm();
    let has = rig.run.has;
    assert_eq!(rig.run.answers(1), has);
    rig.run.history.holds();
    report::scenario(
        23,
        "a poll that is led to a standby",
        "a replica's address leads to the standby",
        &rig.run.history,
    );
}

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn an_asynchronous_standby_is_not_enough_where_a_second_server_is_asked_for() {
    let strict = [("MANDATE_REQUIRE_REPLICATED", "true")];
    let mut rig = Rig::followed(Waits::ForNobody, 1, LEASE, &strict);
    let call = rig.run.next();
    let refused = rig.run.replicas[0].call(&call);
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_replicated"), "{refused}");
    // The control: with one that is waited for the same key is answered.
    rig.primary().ask("ALTER SYSTEM SET synchronous_standby_names = 'second'");
    rig.primary().ask("SELECT pg_reload_conf()");
    resolved(&mut rig, 0, &call);
    let told = rig.run.flip(0);
    assert_eq!(told["durability"], "replicated", "{told}");
    report::scenario(33, "`require_replicated`", "an asynchronous standby, then a synchronous one", &rig.run.history);
}

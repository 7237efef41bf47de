//! Quarantine is sticky, silence is noticed, and a wall clock's jump kills nobody.

use super::*;
use crate::{
    lease::{Follower, MAX_SILENCE, Registered, ReplicaId, Watch},
    time::Timestamp,
};

#[test]
fn quarantine_lasts_until_an_operator_acknowledges() {
    let mut follower = Follower::registered(at(0));
    resynced(follower.answered(at(1_000), answer(0, 7, &[])));
    assert!(follower.view().is_some());
    let lost = follower.answered(at(1_500), answer(7, 6, &[])).unwrap_err();
    assert!(follower.view().is_none(), "nothing is answered");
    assert_eq!(follower.quarantine(), Some(&lost));
    assert_eq!(follower.answered(at(2_000), answer(7, 8, &[(8, "site:a")])).unwrap_err(), lost, "nor by a good poll");
    follower.acknowledge();
    assert_eq!(resynced(follower.answered(at(2_500), answer(0, 6, &[]))).revision(), Revision(6));
}

#[test]
fn a_refused_answer_leaves_the_view_and_its_lease_alone() {
    let mut follower = Follower::registered(at(0));
    resynced(follower.answered(at(1_000), answer(0, 7, &[])));
    let standby = PollAnswer { read_only: true, ..answer(7, 8, &[(8, "site:a")]) };
    assert_eq!(follower.answered(at(1_500), standby).unwrap_err(), Rejected::ReadOnly);
    assert!(matches!(follower.answered(at(900), answer(7, 9, &[])), Ok(Step::Ignored)));
    let view = follower.view().unwrap();
    assert_eq!((view.revision(), view.t0()), (Revision(7), at(1_000)));
}

#[test]
fn a_look_moves_the_view_and_renews_nothing() {
    let mut follower = Follower::registered(at(0));
    resynced(follower.answered(at(1_000), answer(0, 7, &[])));
    let news = || answer(7, 8, &[(8, "site:a")]);
    let longer = PollAnswer { ttl: LEASE * 2, ..news() };
    let Some(Step::Advance { drop, view }) = follower.looked(at(1_500), longer) else { panic!("it was not believed") };
    assert_eq!(drop, [Key::new("site:a")]);
    assert_eq!((view.revision(), view.t0(), view.ttl()), (Revision(8), at(1_000), LEASE), "the lease is the old one");
    assert!(Arc::ptr_eq(follower.view().unwrap(), &view));
    assert!(follower.must_register(at(1_000).plus(LEASE).plus(MAX_SILENCE)), "nor has the registry heard of it");
    advanced(follower.answered(at(1_600), answer(8, 8, &[])));
    assert_eq!(follower.view().unwrap().t0(), at(1_600), "the control: a poll renews it");
}

#[test]
fn what_a_look_cannot_judge_is_left_to_a_poll() {
    let mut follower = Follower::registered(at(0));
    assert!(follower.looked(at(500), answer(0, 7, &[])).is_none(), "there is no lease to move on under");
    resynced(follower.answered(at(1_000), answer(0, 7, &[])));
    let news = || answer(7, 8, &[(8, "site:a")]);
    let over = at(1_000).plus(LEASE);
    let refused = [
        (over, news()),
        (at(1_000), news()),
        (at(1_500), PollAnswer { read_only: true, ..news() }),
        (at(1_500), PollAnswer { fresh_transaction: false, ..news() }),
        (at(1_500), PollAnswer { complete: false, ..news() }),
        (at(1_500), PollAnswer { epoch: Epoch { timeline: "00000002".into(), ..epoch() }, ..news() }),
        (at(1_500), answer(7, 6, &[])),
        (at(1_500), PollAnswer { chain_at_applied: Some(Chain::new("other")), ..news() }),
    ];
    for (sent, told) in refused {
        assert!(follower.looked(sent, told.clone()).is_none(), "{told:?}");
        let view = follower.view().unwrap();
        assert_eq!((view.revision(), view.t0()), (Revision(7), at(1_000)));
        assert_eq!(follower.quarantine(), None, "{told:?}");
    }
    assert!(follower.looked(at(1_500), news()).is_some(), "the control");
}

#[test]
fn a_silent_replica_registers_again_before_it_believes_a_poll() {
    let limit = at(1_000).plus(LEASE).plus(MAX_SILENCE);
    let mut follower = Follower::registered(at(0));
    resynced(follower.answered(at(1_000), answer(0, 7, &[])));
    let just_before = at(u64::try_from(limit.since_start().as_millis()).unwrap() - 1);
    assert!(!follower.must_register(just_before), "the control");
    assert!(follower.must_register(limit));
    assert_eq!(follower.answered(limit, answer(7, 7, &[])).unwrap_err(), Rejected::Silent);
    follower.registered_again(limit);
    advanced(follower.answered(limit.plus(Duration::from_millis(1)), answer(7, 7, &[])));
    assert!(Follower::registered(at(5_000)).must_register(at(4_000)), "a clock that went back proves nothing");
}

fn row(renewed: i64) -> Registered {
    Registered {
        replica: ReplicaId::new("r-1"),
        epoch: epoch(),
        applied: Revision(7),
        max_stale: LEASE,
        renewed: Timestamp::from_seconds(renewed),
    }
}

#[test]
fn silence_is_what_the_writer_has_watched_itself() {
    let mut watch = Watch::default();
    let mut silent = |now: u64, renewed: i64| watch.observe(at(now), vec![row(renewed)]).rows[0].silent;
    assert_eq!(silent(1_000, 100), Duration::ZERO, "seen for the first time, however old its mark is");
    assert_eq!(silent(61_000, 100), Duration::from_mins(1));
    assert_eq!(silent(62_000, 3_700), Duration::ZERO, "a renewal, and the database's clock jumped by an hour");
    assert_eq!(silent(63_000, 101), Duration::ZERO, "and back");
    assert_eq!(silent(64_000, 101), Duration::from_secs(1));
}

#[test]
fn a_row_that_went_away_and_came_back_is_watched_anew() {
    let mut watch = Watch::default();
    watch.observe(at(1_000), vec![row(100)]);
    assert!(watch.observe(at(2_000), Vec::new()).rows.is_empty());
    assert_eq!(watch.observe(at(90_000), vec![row(100)]).rows[0].silent, Duration::ZERO);
}

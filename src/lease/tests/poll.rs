//! Which answers are believed, which are refused, and which stop everything.

use super::*;
use crate::lease::Use;

#[test]
fn a_first_answer_is_a_resync_and_a_second_a_step() {
    // Nothing is told of what was before.
    let first = resynced(advance(None, at(1_000), answer(0, 7, &[])));
    assert_eq!((first.revision(), first.floor(), first.chain()), (Revision(7), Revision(7), &chain(7)));
    let (drop, second) = advanced(advance(Some(&first), at(1_500), answer(7, 8, &[(8, "site:a")])));
    assert_eq!(drop, ["site:a"]);
    assert_eq!((second.revision(), second.floor(), second.t0()), (Revision(8), Revision(7), at(1_500)));
    let (drop, third) = advanced(advance(Some(&second), at(2_000), answer(8, 8, &[])));
    assert!(drop.is_empty());
    assert_eq!((third.revision(), third.t0()), (Revision(8), at(2_000)), "no news renews the lease");
}

#[test]
fn a_first_answer_that_tells_what_was_before_judges_what_others_have_remembered() {
    let told = |changes: &[(u64, &str)]| PollAnswer { since: Revision(5), ..answer(0, 7, changes) };
    let view = resynced(advance(None, at(1_000), told(&[(6, "site:a"), (7, "site:b")])));
    assert_eq!((view.revision(), view.floor()), (Revision(7), Revision(5)));
    let judged = |name, revision| view.usable(&key(name), &tag(revision));
    assert_eq!([5, 6, 7].map(|revision| judged("site:a", revision)), [Use::Stale, Use::Ok, Use::Ok]);
    assert_eq!([5, 6, 7].map(|revision| judged("site:b", revision)), [Use::Stale, Use::Stale, Use::Ok]);
    assert_eq!([4, 5, 8].map(|revision| judged("site:c", revision)), [Use::BelowFloor, Use::Ok, Use::Ahead]);
    // With a gap, or cut short, it tells nothing of what was before.
    let cut = PollAnswer { complete: false, ..told(&[(6, "site:a"), (7, "site:b")]) };
    for answer in [told(&[(7, "site:b")]), told(&[(6, "site:a")]), cut] {
        assert_eq!(resynced(advance(None, at(1_000), answer)).floor(), Revision(7));
    }
    // Another history's changes are not this one's: a replica that had a view of another one begins at what it reads.
    let restored = PollAnswer { epoch: restored(), ..told(&[(6, "site:a"), (7, "site:b")]) };
    assert_eq!(resynced(advance(Some(&view_at(7)), at(1_500), restored)).floor(), Revision(7));
}

#[test]
fn an_answer_asked_for_no_later_changes_nothing() {
    for sent in [at(1_000), at(500)] {
        // Not even one that would be refused, or stop everything, had it been asked for later.
        for answer in
            [answer(7, 8, &[(8, "site:a")]), answer(7, 3, &[]), PollAnswer { epoch: restored(), ..answer(0, 9, &[]) }]
        {
            assert!(matches!(advance(Some(&view_at(7)), sent, answer), Ok(Step::Ignored)));
        }
    }
}

#[test]
fn a_standby_and_an_old_snapshot_are_refused_without_quarantine() {
    let standby = PollAnswer { read_only: true, ..answer(7, 8, &[(8, "site:a")]) };
    let leaked = PollAnswer { fresh_transaction: false, ..answer(7, 8, &[(8, "site:a")]) };
    for (answer, reason) in [(standby, Rejected::ReadOnly), (leaked, Rejected::LeakedTransaction)] {
        for view in [None, Some(&*view_at(7))] {
            assert_eq!(advance(view, at(1_500), answer.clone()).unwrap_err(), reason);
        }
        assert!(!reason.quarantines());
    }
}

#[test]
fn a_history_that_went_back_quarantines() {
    for epoch in [epoch(), promoted()] {
        let back = PollAnswer { epoch, ..answer(7, 6, &[]) };
        let reason = advance(Some(&view_at(7)), at(1_500), back).unwrap_err();
        assert_eq!(reason, Rejected::Regressed { had: Revision(7), got: Revision(6) });
        assert!(reason.quarantines());
    }
}

#[test]
fn other_content_at_an_applied_revision_quarantines() {
    let other = || Some(Chain::new("other"));
    let wrong = [
        PollAnswer { chain: Chain::new("other"), ..answer(7, 7, &[]) },
        PollAnswer { chain_at_applied: other(), ..answer(7, 7, &[]) },
        PollAnswer { chain_at_applied: other(), ..answer(7, 9, &[(8, "site:a"), (9, "site:a")]) },
        PollAnswer { chain_at_applied: other(), complete: false, ..answer(7, 9, &[]) },
        PollAnswer { chain_at_applied: other(), epoch: promoted(), ..answer(7, 9, &[]) },
        // A log that claims to be whole and does not know what was applied.
        PollAnswer { chain_at_applied: None, ..answer(7, 8, &[(8, "site:a")]) },
    ];
    for answer in wrong {
        let reason = advance(Some(&view_at(7)), at(1_500), answer.clone()).unwrap_err();
        assert_eq!(reason, Rejected::ChainMismatch { at: Revision(7) }, "{answer:?}");
        assert!(reason.quarantines());
    }
}

#[test]
fn a_failover_that_lost_nothing_reads_everything_again() {
    for revision in [7, 8] {
        let news: &[(u64, &str)] = if revision == 8 { &[(8, "site:a")] } else { &[] };
        let failover = PollAnswer { epoch: promoted(), ..answer(7, revision, news) };
        let view = resynced(advance(Some(&view_at(7)), at(1_500), failover));
        assert_eq!(
            (view.epoch(), view.revision(), view.floor()),
            (&promoted(), Revision(revision), Revision(revision))
        );
    }
}

#[test]
fn a_restored_backup_reads_everything_again_wherever_it_stands() {
    for revision in [3, 7, 20] {
        let restored = PollAnswer { epoch: restored(), chain_at_applied: None, ..answer(0, revision, &[]) };
        let view = resynced(advance(Some(&view_at(7)), at(1_500), restored));
        assert_eq!(view.revision(), Revision(revision));
    }
}

#[test]
fn a_log_that_does_not_reach_back_or_has_a_gap_reads_everything_again() {
    let cut = PollAnswer { complete: false, chain_at_applied: None, ..answer(7, 9, &[(9, "site:a")]) };
    let gap = answer(7, 9, &[(9, "site:a")]);
    let stretched = answer(7, 9, &[(7, "site:a"), (9, "site:a"), (10, "site:b")]);
    for answer in [cut, gap, stretched] {
        let view = resynced(advance(Some(&view_at(7)), at(1_500), answer));
        assert_eq!((view.revision(), view.floor()), (Revision(9), Revision(9)));
    }
    let whole = answer(7, 9, &[(8, "site:b"), (9, "site:a")]);
    advanced(advance(Some(&view_at(7)), at(1_500), whole));
}

#[test]
fn the_first_commit_of_an_empty_store_is_an_ordinary_step() {
    let empty = view_at(0);
    let (drop, view) = advanced(advance(Some(&empty), at(1_500), answer(0, 1, &[(1, "policy")])));
    assert_eq!((drop.as_slice(), view.revision()), (&["policy".to_owned()][..], Revision(1)));
}

//! Rules that hold for every history: a view judges as somebody who replays the whole log would.

use proptest::prelude::*;

use super::*;
use crate::lease::{Use, poll::advance_within};

const KEYS: [&str; 5] = ["site:a", "site:b", "agency:n", "principal:p", "policy"];
const NO_LIMIT: usize = usize::MAX;

/// The log: what changed at revision 1, 2, 3 and so on; each changes something.
fn logs() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0..KEYS.len(), 1..4), 1..24)
}

/// What a poll brings to a replica at `applied` when the log is `upto` long.
fn told(log: &[Vec<usize>], applied: usize, upto: usize) -> PollAnswer {
    let changes: Vec<(u64, &str)> =
        (applied..upto).flat_map(|index| log[index].iter().map(move |key| (index as u64 + 1, KEYS[*key]))).collect();
    answer(applied as u64, upto as u64, &changes)
}

/// A replica that polls at these lengths of the log, in order; for the first poll it is told what changed after `since`.
fn follow(log: &[Vec<usize>], polls: &[usize], since: usize, limit: usize) -> Vec<Arc<View>> {
    let mut views: Vec<Arc<View>> = Vec::new();
    for (time, upto) in (1_000..).zip(polls) {
        let last = views.last().cloned();
        let begins = || since.min(*upto);
        let applied = last.as_ref().map_or_else(begins, |view| usize::try_from(view.revision().0).unwrap());
        let step = advance_within(last.as_deref(), at(time), told(log, applied, *upto), limit).unwrap();
        views.push(Arc::clone(step.view().unwrap()));
    }
    views
}

/// By replay: the content of a key at a revision is the last change of it up to there.
fn content(log: &[Vec<usize>], key: usize, revision: usize) -> Option<usize> {
    (0..revision).rev().find(|index| log[*index].contains(&key))
}

fn histories() -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<usize>)> {
    logs().prop_flat_map(|log| {
        let polls = prop::collection::vec(0..=log.len(), 1..8).prop_map(|mut polls| {
            polls.sort_unstable();
            polls
        });
        (Just(log), polls)
    })
}

proptest! {
    /// Usable means: what was read then is what a replay of the whole log finds at the watermark. And nothing that is
    /// known to be so is refused.
    #[test]
    fn usable_is_what_a_replay_finds((log, polls) in histories(), since in 0_usize..24) {
        for view in follow(&log, &polls, since, NO_LIMIT) {
            prop_assert_eq!(view.floor().0, since.min(polls[0]) as u64);
            let w = usize::try_from(view.revision().0).unwrap();
            for (index, name) in KEYS.iter().enumerate() {
                for then in 0..=log.len() {
                    let expected = if then < usize::try_from(view.floor().0).unwrap() {
                        Use::BelowFloor
                    } else if then > w {
                        Use::Ahead
                    } else if content(&log, index, then) == content(&log, index, w) {
                        Use::Ok
                    } else {
                        Use::Stale
                    };
                    prop_assert_eq!(view.usable(&key(name), &tag(then as u64)), expected);
                }
            }
        }
    }

    /// A limit costs misses and nothing else.
    #[test]
    fn a_raised_floor_only_adds_misses((log, polls) in histories(), since in 0_usize..24, limit in 0_usize..4) {
        for (bounded, whole) in follow(&log, &polls, since, limit).iter().zip(follow(&log, &polls, since, NO_LIMIT)) {
            prop_assert!(bounded.remembered() <= limit);
            prop_assert!(bounded.floor() >= whole.floor() && bounded.floor() <= bounded.revision());
            for name in KEYS {
                prop_assert!(bounded.last_change(&key(name)).is_none_or(|last| last > bounded.floor()));
                for then in 0..=log.len() as u64 {
                    let seen = bounded.usable(&key(name), &tag(then));
                    let unbounded = whole.usable(&key(name), &tag(then));
                    prop_assert!(seen == unbounded || seen == Use::BelowFloor, "{:?} for {:?}", seen, unbounded);
                }
            }
        }
    }

    /// Whatever answers come, in whatever order: within one history neither watermark nor lease ever goes back.
    #[test]
    fn a_watermark_never_goes_back(
        log in logs(),
        answers in prop::collection::vec((0_u64..40, 0_usize..24, 0_u8..8, any::<bool>()), 1..24),
    ) {
        let mut view = view_at(1);
        for (sent, upto, fault, complete) in answers {
            let applied = usize::try_from(view.revision().0).unwrap();
            let upto = upto.min(log.len());
            let mut answer = told(&log, applied.min(upto), upto);
            answer.complete = complete;
            match fault {
                0 => answer.read_only = true,
                1 => answer.fresh_transaction = false,
                2 => answer.chain_at_applied = None,
                3 => answer.epoch = promoted(),
                4 => answer.chain = Chain::new("other"),
                _ => {}
            }
            let before = Arc::clone(&view);
            if let Ok(step) = advance(Some(&before), at(1_000 + sent), answer)
                && let Some(after) = step.view()
            {
                prop_assert!(after.revision() >= before.revision());
                prop_assert!(after.t0() > before.t0());
                prop_assert!(after.floor() <= after.revision());
                view = Arc::clone(after);
            }
        }
    }
}

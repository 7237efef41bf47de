//! When a lease holds, which value is usable, and what a raised floor forgets.

use super::*;
use crate::lease::{Pinned, Use, poll::advance_within};

#[test]
fn a_lease_holds_from_before_the_poll_was_sent_and_not_at_its_end() {
    let view = view_at(7);
    assert_eq!(view.t0(), at(1_000));
    assert!(view.holds(at(1_000)));
    assert!(view.holds(at(2_999)));
    assert!(!view.holds(at(3_000)), "at its end it is over");
    assert!(!view.holds(at(999)), "a reading from before the poll proves nothing");
    assert_eq!(view.remaining(at(2_500)), Duration::from_millis(500));
    assert_eq!(view.remaining(at(9_000)), Duration::ZERO);
    assert_eq!(view.remaining(at(1)), Duration::ZERO);
}

#[test]
fn a_value_is_usable_until_its_key_changes_and_no_longer() {
    let (_, view) = advanced(advance(Some(&view_at(7)), at(1_500), answer(7, 9, &[(8, "site:a"), (9, "agency:n")])));
    let uses = |name: &str, revision: u64| view.usable(&key(name), &tag(revision));
    assert_eq!(uses("site:a", 7), Use::Stale);
    assert_eq!(uses("site:a", 8), Use::Ok);
    assert_eq!(uses("site:a", 9), Use::Ok);
    assert_eq!(uses("agency:n", 8), Use::Stale);
    assert_eq!(uses("site:b", 7), Use::Ok, "another key's change is none of its own");
    assert_eq!(uses("site:b", 6), Use::BelowFloor);
    assert_eq!(uses("site:b", 10), Use::Ahead);
    for epoch in [promoted(), restored()] {
        assert_eq!(view.usable(&key("site:b"), &Tag { epoch, revision: Revision(9) }), Use::OtherEpoch);
    }
}

#[test]
fn the_last_of_several_changes_counts_in_whatever_order_they_come() {
    let changes = [(9, "site:a"), (8, "site:a"), (8, "site:b"), (9, "site:a")];
    let (drop, view) = advanced(advance(Some(&view_at(7)), at(1_500), answer(7, 9, &changes)));
    assert_eq!(drop, ["site:a", "site:b"], "each once");
    assert_eq!(view.usable(&key("site:a"), &tag(8)), Use::Stale);
    assert_eq!(view.usable(&key("site:b"), &tag(8)), Use::Ok);
}

#[test]
fn more_keys_than_the_limit_raise_the_floor() {
    let names: Vec<String> = (1..=5).map(|n| format!("site:{n}")).collect();
    let changes: Vec<(u64, &str)> = (8..).zip(names.iter().map(String::as_str)).collect();
    let (_, at_limit) = advanced(advance_within(Some(&view_at(7)), at(1_500), answer(7, 12, &changes), 5));
    assert_eq!((at_limit.remembered(), at_limit.floor()), (5, Revision(7)), "the control: five fit");
    let (drop, view) = advanced(advance_within(Some(&view_at(7)), at(1_500), answer(7, 12, &changes), 4));
    assert_eq!(drop.len(), 5, "what is dropped does not depend on the limit");
    assert_eq!((view.remembered(), view.floor()), (2, Revision(10)));
    assert_eq!(view.usable(&key("site:1"), &tag(9)), Use::BelowFloor, "unchanged since 8, but nobody knows any more");
    assert_eq!(view.usable(&key("site:1"), &tag(10)), Use::Ok);
    assert_eq!(view.usable(&key("site:5"), &tag(11)), Use::Stale);
}

#[test]
fn one_huge_revision_makes_a_floor_at_the_watermark() {
    let changes = [(8, "site:a"), (8, "site:b"), (8, "site:c")];
    let (_, view) = advanced(advance_within(Some(&view_at(7)), at(1_500), answer(7, 8, &changes), 2));
    assert_eq!((view.remembered(), view.floor(), view.revision()), (0, Revision(8), Revision(8)));
    assert_eq!(view.usable(&key("site:x"), &tag(7)), Use::BelowFloor);
    assert_eq!(view.usable(&key("site:a"), &tag(8)), Use::Ok);
}

#[test]
fn a_pinned_view_gives_value_and_lease_together() {
    let old = view_at(7);
    let (_, new) = advanced(advance(Some(&old), at(2_900), answer(7, 8, &[(8, "site:a")])));
    assert!(Pinned::pin(&old, at(3_000)).is_none());
    let pinned = Pinned::pin(&old, at(2_950)).unwrap();
    assert_eq!(pinned.usable(&key("site:a"), &tag(7)), Use::Ok);
    assert_eq!(pinned.tag(), tag(7));
    assert_eq!(pinned.clone().reply(at(2_999), "allow"), Some(("allow", tag(7))));
    assert_eq!(pinned.reply(at(3_100), "allow"), None, "paused for too long before the reply");
    let newer = Pinned::pin(&new, at(3_100)).unwrap();
    assert_eq!(newer.usable(&key("site:a"), &tag(7)), Use::Stale);
}

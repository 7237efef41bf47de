//! When a writer may say "effective", and what it says until then.

use super::*;
use crate::{
    lease::{Ack, Acks, Margin, Registry, ReplicaId, Row, Verdict},
    time::Timestamp,
};

fn ack() -> Ack {
    Ack { epoch: epoch(), revision: Revision(8), committed: at(10_000), ttl_max: LEASE, margin: Margin::STANDARD }
}
fn row(replica: &str, applied: u64) -> Row {
    Row {
        replica: ReplicaId::new(replica),
        epoch: epoch(),
        applied: Revision(applied),
        max_stale: LEASE,
        silent: Duration::ZERO,
        renewed: Timestamp::default(),
    }
}
fn registry(rows: &[Row]) -> Registry {
    Registry { asked: at(10_000), rows: rows.to_vec() }
}
fn pending(replicas: &[&str], millis: u64) -> Verdict {
    let replicas = replicas.iter().map(|name| ReplicaId::new(*name)).collect();
    Verdict::Pending { replicas, no_later_than: Duration::from_millis(millis) }
}
const ALL: Verdict = Verdict::Effective(Acks::All);
const EXPIRY: Verdict = Verdict::Effective(Acks::LeaseExpiry);

#[test]
fn without_a_registry_the_lease_is_waited_out_with_its_margin() {
    // 2 s, a tenth of it, and 100 ms.
    assert_eq!(ack().judge(at(10_000), None), pending(&[], 2_300));
    assert_eq!(ack().judge(at(12_299), None), pending(&[], 1));
    assert_eq!(ack().judge(at(12_300), None), EXPIRY);
    assert_eq!(
        ack().judge(at(9_000), None),
        pending(&[], 2_300),
        "a reading from before the commit waits for all of it"
    );
}

#[test]
fn everybody_who_is_registered_is_enough_and_nobody_less() {
    assert_eq!(ack().judge(at(10_020), Some(&registry(&[row("a", 8), row("b", 9)]))), ALL);
    assert_eq!(ack().judge(at(10_020), Some(&registry(&[row("a", 8), row("b", 7)]))), pending(&["b"], 2_280));
    assert_eq!(ack().judge(at(12_300), Some(&registry(&[row("a", 8), row("b", 7)]))), EXPIRY);
    assert_eq!(ack().judge(at(10_020), Some(&registry(&[]))), ALL, "whoever registers now starts with the change");
}

#[test]
fn a_registry_read_before_the_commit_proves_nothing() {
    for rows in [&[row("a", 8)][..], &[]] {
        let early = Registry { asked: at(9_999), rows: rows.to_vec() };
        assert_eq!(ack().judge(at(10_020), Some(&early)), pending(&[], 2_280));
        assert_eq!(ack().judge(at(10_020), Some(&registry(rows))), ALL, "the control");
    }
}

#[test]
fn the_same_number_in_another_history_is_another_revision() {
    for epoch in [promoted(), restored()] {
        let other = Row { epoch, ..row("a", 99) };
        assert_eq!(ack().judge(at(10_020), Some(&registry(&[other]))), pending(&["a"], 2_280));
    }
}

#[test]
fn a_row_is_ignored_only_after_three_leases_and_a_minute() {
    let silent =
        |seconds: u64, millis: u64| Row { silent: Duration::from_millis(seconds * 1_000 + millis), ..row("a", 7) };
    assert_eq!(ack().judge(at(10_020), Some(&registry(&[silent(66, 0)]))), pending(&["a"], 2_280));
    assert_eq!(ack().judge(at(10_020), Some(&registry(&[silent(66, 1)]))), ALL);
    assert_eq!(ack().judge(at(10_020), Some(&registry(&[silent(66, 1), row("b", 7)]))), pending(&["b"], 2_280));
}

#[test]
fn whoever_may_lag_longer_than_any_lease_is_waited_for() {
    let lagging = Row { max_stale: Duration::from_secs(10), ..row("a", 8) };
    let registry = registry(&[lagging]);
    assert_eq!(ack().judge(at(10_000), Some(&registry)), pending(&["a"], 11_100));
    assert_eq!(ack().judge(at(21_099), Some(&registry)), pending(&["a"], 1));
    assert_eq!(ack().judge(at(21_100), Some(&registry)), EXPIRY);
}

#[test]
fn a_margin_is_never_rounded_down_and_never_overflows() {
    let drift = Margin { drift_percent: 10, slack: Duration::ZERO };
    assert_eq!(drift.bound(Duration::from_nanos(1)), Duration::from_nanos(2));
    assert_eq!(Margin::STANDARD.bound(Duration::from_secs(5)), Duration::from_millis(5_600));
    assert_eq!(Margin::STANDARD.bound(Duration::MAX), Duration::MAX);
}

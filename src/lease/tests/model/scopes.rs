//! Which worlds are searched, and what is found in them. Each search prints how many states there are.
//!
//! Leases of three seconds where the world is small enough, of two where it is not. The largest take minutes without
//! optimisation: `cargo test --release --lib lease::tests::model -- --ignored --nocapture`.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::{Joining, Memory, Mistake, Order, Scope};

const COMMIT_WAIT: Scope = Scope {
    name: "commit-wait",
    ttl: 3,
    drift: 0,
    replicas: 1,
    revisions: 1,
    horizon: 7,
    registry: None,
    looks: false,
    order: Order::LeaseFirst,
    memory: Memory::Anything,
    mistake: None,
};
const DRIFT: Scope = Scope { name: "commit-wait, drift", drift: 1, ..COMMIT_WAIT };
const TWICE: Scope = Scope { name: "commit-wait, two changes", revisions: 2, horizon: 8, ..COMMIT_WAIT };
const TWO: Scope = Scope { name: "commit-wait, two replicas", replicas: 2, ttl: 2, horizon: 4, ..COMMIT_WAIT };
const VALUES_FIRST: Scope =
    Scope { name: "commit-wait, values before lease", order: Order::ValuesFirst, ..COMMIT_WAIT };
const SHARED: Scope =
    Scope { name: "commit-wait, shared memory", memory: Memory::Shared, ttl: 2, horizon: 4, ..COMMIT_WAIT };
const OWN: Scope = Scope { name: "commit-wait, own memory", memory: Memory::Own, ..SHARED };

const REGISTRY: Scope = Scope { name: "registry", registry: Some(Joining::Nobody), ..COMMIT_WAIT };
const REGISTRY_VALUES_FIRST: Scope =
    Scope { name: "registry, values before lease", order: Order::ValuesFirst, ..REGISTRY };
const REGISTRY_TWO: Scope = Scope { name: "registry, two replicas", replicas: 2, ttl: 2, horizon: 3, ..REGISTRY };
const LOOKING: Scope = Scope { name: "registry, looks", looks: true, ..REGISTRY };
const LOOKING_DRIFT: Scope = Scope { name: "registry, looks, drift", drift: 1, ttl: 2, horizon: 5, ..LOOKING };
const LOOKING_TWICE: Scope =
    Scope { name: "registry, looks, two changes", revisions: 2, ttl: 2, horizon: 5, ..LOOKING };
const LOOKING_OWN: Scope =
    Scope { name: "registry, looks, own memory", memory: Memory::Own, ttl: 2, horizon: 4, ..LOOKING };
const LOOKING_TWO: Scope = Scope { name: "registry, looks, two replicas", looks: true, ..REGISTRY_TWO };
const JOINING: Scope = Scope { name: "registry, one joins", registry: Some(Joining::One), ..REGISTRY_TWO };

/// Searches all of a world without mistakes: the promise holds, and everything that should be possible is.
fn safe(scope: Scope) {
    let began = Instant::now();
    let checker = scope.checker().spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{}: SAFE, {states} states, {:.1?}", scope.name, began.elapsed());
    checker.assert_properties();
    assert!(states >= 10_000, "{}: the exploration has shrunk to {states}", scope.name);
}

/// Searches until the planted mistake has broken G1.
fn broken(mistake: Mistake, scope: Scope) {
    let began = Instant::now();
    let scope = Scope { mistake: Some(mistake), ..scope };
    let checker = scope.checker().finish_when(HasDiscoveries::AllOf(["G1"].into())).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker.discovery("G1").map(stateright::Path::into_actions);
    println!("{mistake:?} ({}): VIOLATION, {states} states, {:.1?}: {path:?}", scope.name, began.elapsed());
    assert!(path.is_some(), "{mistake:?} was not found in {states} states");
}

macro_rules! searches {
    ($($(#[$ignored:meta])? $name:ident: $search:ident($($argument:expr),+);)+) => {
        $(#[test] $(#[$ignored])? fn $name() { $search($($argument),+); })+
    };
}

searches! {
    safe_commit_wait: safe(COMMIT_WAIT);
    safe_drift: safe(DRIFT);
    safe_two_changes: safe(TWICE);
    safe_two_replicas: safe(TWO);
    safe_values_before_lease: safe(VALUES_FIRST);
    safe_shared_memory: safe(SHARED);
    safe_own_memory: safe(OWN);
    safe_registry: safe(REGISTRY);
    safe_registry_values_before_lease: safe(REGISTRY_VALUES_FIRST);
    safe_registry_two_replicas: safe(REGISTRY_TWO);
    safe_registry_one_joins: safe(JOINING);
    safe_looks: safe(LOOKING);
    safe_looks_drift: safe(LOOKING_DRIFT);
    safe_looks_two_changes: safe(LOOKING_TWICE);
    safe_looks_own_memory: safe(LOOKING_OWN);
    safe_looks_two_replicas: safe(LOOKING_TWO);

    #[ignore = "minutes without optimisation"]
    large_two_replicas: safe(Scope { ttl: 3, horizon: 6, ..TWO });
    #[ignore = "minutes without optimisation"]
    large_two_replicas_drift: safe(Scope { drift: 1, horizon: 5, ..TWO });
    #[ignore = "minutes without optimisation"]
    large_shared_memory: safe(Scope { ttl: 3, drift: 1, horizon: 6, ..SHARED });
    #[ignore = "minutes without optimisation"]
    large_registry_two_replicas: safe(Scope { ttl: 3, horizon: 5, ..REGISTRY_TWO });
    #[ignore = "minutes without optimisation"]
    large_registry_one_joins: safe(Scope { ttl: 3, horizon: 5, ..JOINING });

    mistake_ack_after_commit: broken(Mistake::AckAfterCommit, COMMIT_WAIT);
    mistake_wait_too_short: broken(Mistake::WaitTooShort, COMMIT_WAIT);
    mistake_wait_without_drift: broken(Mistake::WaitWithoutDrift, DRIFT);
    mistake_lease_from_response: broken(Mistake::LeaseFromResponse, COMMIT_WAIT);
    mistake_lease_as_flag: broken(Mistake::LeaseAsFlag, COMMIT_WAIT);
    mistake_untagged: broken(Mistake::Untagged, OWN);
    mistake_untagged_shared: broken(Mistake::Untagged, SHARED);
    mistake_watermark_tag: broken(Mistake::WatermarkTag, OWN);
    mistake_watermark_tag_shared: broken(Mistake::WatermarkTag, SHARED);
    mistake_separate_loads: broken(Mistake::SeparateLoads, VALUES_FIRST);
    mistake_lagging_standby: broken(Mistake::LaggingStandby, COMMIT_WAIT);
    mistake_ack_on_receipt: broken(Mistake::AckOnReceipt, REGISTRY);
    mistake_tell_on_receipt: broken(Mistake::TellOnReceipt, LOOKING);
    mistake_poll_before_registration: broken(Mistake::PollBeforeRegistration, JOINING);
}

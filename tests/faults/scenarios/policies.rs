//! Policies that change while roles do.

use std::time::{Duration, Instant};

use super::{Run, effort};
use crate::{
    cluster::{DECIDES, Plan, World, comes_true},
    history::Said,
    policy_folders::{policies_in, strict_in},
};

/// The replica whose rights in the database are too few.
const POOR: usize = 2;

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s26_policies_are_activated_while_roles_change() {
    let run = Run::of(26, "policies are activated while roles change, and one replica cannot read them");
    // A program that is not optimised takes a second to build policies, or two.
    let ttl = Duration::from_secs(if crate::report::long() { 3 } else { 6 });
    let world = World::new(Plan { ttl, decides: Some(POOR), ..Plan::default() });
    let folder = world.direct.folder();
    let (usual, strict) = (policies_in(folder, "usual"), strict_in(folder));
    run.on(&world, |world, load| {
        load.write_through(&[0, 1]);
        let mut slowest = Duration::ZERO;
        for n in 0..effort().1 * 2 {
            load.until_warm();
            let told = load.activate(if n % 2 == 0 { &strict } else { &usual });
            slowest = slowest.max(told.waited);
        }
        // The files are missing for one of them.
        load.until_warm();
        world.sql(&format!("REVOKE SELECT ON mandate.policy_bundle FROM {DECIDES}"));
        // What it has built it knows; these are others.
        let third = strict_in(&folder.join("third"));
        let text = std::fs::read_to_string(third.join("policies/roles/viewer.cedar")).unwrap();
        std::fs::write(third.join("policies/roles/viewer.cedar"), format!("{text}// another bundle\n")).unwrap();
        let told = load.activate(&third);
        assert_eq!(told.acks, "lease_expiry", "{told:?}");
        assert!(matches!(load.ask_own(POOR), Said::Refused(_)), "it answers nothing by the old ones");
        let begun = Instant::now();
        load.until_made(3);
        for other in [0, 1] {
            assert!(comes_true(ttl, || matches!(load.ask_own(other), Said::Answer { .. })), "replica {other}");
        }
        world.sql(&format!("GRANT SELECT ON mandate.policy_bundle TO {DECIDES}"));
        assert!(comes_true(ttl * 2, || matches!(load.ask_own(POOR), Said::Answer { .. })), "it comes back");
        vec![format!(
            "effective at every replica within {} ms; the one without the files refused, and was back {} ms after it could",
            slowest.as_millis(),
            begun.elapsed().as_millis()
        )]
    });
    // Planted: a replica that goes on by the policies from before.
    run.notices(&world, "old_policies", &[1], Some(1), |_, load| {
        load.write_through(&[0]);
        load.until_warm();
        load.activate(&usual);
        load.until_made(2);
        load.until_warm();
    });
}

//! How far somebody may do each action is what all policies say of each, asked one by one.

use std::time::Duration;

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestError, TestRng, TestRunner},
};
use smol_str::SmolStr;

use super::sites::{NOW, World, world};
use crate::{
    assignment::{Circumstances, Facts, Kind, Reach, SHIPPED, SiteRow, Standing},
    decision::evaluate_plainly,
    ids::Principal,
    policy::ActionIx,
    site::Confirmation,
};

/// By definition: the whole policy set, for one action, under the facts and then under the best that the person can do.
fn defined(standing: &Standing<'_>, principal: &Principal, action: ActionIx, facts: Facts) -> Reach {
    let kind = match principal {
        Principal::User(_) => Kind::User,
        Principal::Staff(_) => Kind::Staff,
        Principal::Service(_) => return Reach::None,
    };
    let allows = |facts: &Facts| {
        let slice = SHIPPED.slice(kind, action, standing.roles(), facts);
        evaluate_plainly(SHIPPED.bundle(), &slice).unwrap().allowed
    };
    let best = Circumstances {
        fresh_sign_in: true,
        confirmed: true,
        own_account: true,
        case_given: true,
        ..facts.circumstances
    };
    match (allows(&facts), allows(&Facts { circumstances: best, ..facts })) {
        (true, _) => Reach::Plain,
        (false, true) => Reach::Conditional,
        (false, false) => Reach::None,
    }
}

/// Whether the reach is the defined one, if the facts about each action are those about the action that it is taken for.
fn is_defined(world: &World, taken_for: impl Fn(ActionIx) -> ActionIx) -> Result<(), TestCaseError> {
    let row = SiteRow::of(&world.site, &SHIPPED);
    let directory = world.directory();
    let standing = Standing::of(&SHIPPED, &row, &directory, &world.principal, &world.asked, NOW, 600);
    let reach = standing.reach().unwrap();
    let each = SHIPPED.bundle().actions().map(|(action, _)| standing.answer(action).unwrap().allowed);
    prop_assert_eq!(standing.allowed().unwrap(), each.collect::<Vec<_>>(), "asked together and one by one");
    prop_assert_eq!(reach.len(), SHIPPED.bundle().actions().count());
    for ((action, known), reach) in SHIPPED.bundle().actions().zip(reach) {
        let defined = defined(&standing, &world.principal, action, standing.facts(taken_for(action)));
        prop_assert_eq!(reach, defined, "{}", &known.name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_reach_is_what_every_policy_says(world in world()) {
        is_defined(&world, |action| action)?;
    }
}

/// The control: an act that the client confirmed is no other act, and the comparison notices when that is forgotten.
#[test]
fn a_confirmation_of_another_act_is_noticed() {
    let confirmed = world().prop_map(|mut world| {
        let [action, operation] = ["TrashSite", "op"].map(SmolStr::new_static);
        world.asked.operation = Some(operation.clone());
        world.site.confirmations =
            vec![Confirmation { action, operation, expires_at: NOW.plus(Duration::from_secs(9)) }];
        world
    });
    let other = SHIPPED.bundle().action("TrashSite").unwrap();
    let config = ProptestConfig { cases: 1_000, max_shrink_iters: 0, failure_persistence: None, ..Default::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let found = runner.run(&confirmed, |world| is_defined(&world, |_| other));
    assert!(matches!(found, Err(TestError::Fail(..))), "{found:?}");
}

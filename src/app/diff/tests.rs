//! The diff of a crowd is what asking each person alone says.

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestError, TestRng, TestRunner},
};

use super::*;
use crate::{
    assignment::{
        SHIPPED,
        tests::sites::{NOW, World, world},
    },
    ids::SiteId,
    site::SiteDocument,
};

/// One person's reach by themself.
fn alone(site: &Site, directory: &Directory, user: &UserId) -> (Vec<RoleIx>, Vec<Reach>) {
    let (row, principal, asked) = (SiteRow::of(site, &SHIPPED), Principal::User(user.clone()), Asked::default());
    let standing = Standing::of(&SHIPPED, &row, directory, &principal, &asked, NOW, 0);
    (standing.roles().to_vec(), standing.reach().unwrap())
}

/// The diff, person by person and action by action, from what `reach` says of each on a site.
fn plainly<'a>(
    [before, after]: [&'a Site; 2],
    directory: &Directory,
    reach: &mut impl FnMut(&'a Site, &UserId) -> Vec<Reach>,
) -> PermissionDiff {
    let everybody = people_of(before, directory).into_iter().chain(people_of(after, directory));
    let mut changes = Vec::new();
    for user in everybody.collect::<BTreeSet<_>>() {
        let (was, is) = (reach(before, &user), reach(after, &user));
        let mut change =
            Change { principal: Principal::User(user), gains: vec![], loses: vec![], now_conditional: vec![] };
        for (n, (_, action)) in SHIPPED.bundle().actions().enumerate() {
            match (was[n], is[n]) {
                (Reach::None, Reach::Conditional | Reach::Plain) => change.gains.push(action.name.clone()),
                (Reach::Conditional | Reach::Plain, Reach::None) => change.loses.push(action.name.clone()),
                (Reach::Plain, Reach::Conditional) => change.now_conditional.push(action.name.clone()),
                _ => {}
            }
        }
        if change.gains.len() + change.loses.len() + change.now_conditional.len() > 0 {
            changes.push(change);
        }
    }
    changes
}

fn diff(world: &World, after: &Site) -> PermissionDiff {
    permission_diff(&SHIPPED, &world.directory(), &world.site, after, NOW).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_diff_says_of_each_what_asking_them_alone_says(world in world(), after in world()) {
        let directory = world.directory();
        let mut asked = |site, user: &UserId| alone(site, &directory, user).1;
        let expected = plainly([&world.site, &after.site], &directory, &mut asked);
        prop_assert_eq!(diff(&world, &after.site), expected);
    }
}

/// The control: who holds the same roles in another way is another group, and the comparison notices when not.
#[test]
fn a_group_by_roles_alone_is_noticed() {
    let config =
        ProptestConfig { cases: 3_000, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let found = runner.run(&(world(), world()), |(world, after)| {
        let directory = world.directory();
        let mut known: HashMap<(SiteId, Vec<RoleIx>), Vec<Reach>> = HashMap::new();
        let mut asked = |site: &Site, user: &UserId| {
            let (roles, reach) = alone(site, &directory, user);
            known.entry((site.id.clone(), roles)).or_insert(reach).clone()
        };
        let after = Site { id: "after".parse().unwrap(), ..after.site };
        prop_assert_eq!(plainly([&world.site, &after], &directory, &mut asked), diff(&world, &after));
        Ok(())
    });
    assert!(matches!(found, Err(TestError::Fail(..))), "{found:?}");
}

/// Somebody whose role the policies do not know is no stranger who holds nothing.
#[test]
fn what_is_missing_for_one_is_not_told_by_another() {
    let text = r#"{"id":"s","mode":"self_managed","owner":"user:p0","plan":{"tier":"free"},"contributors":{
        "p1":{"role":"Viewer","grantor":"user:p3","side":"client"},
        "p2":{"role":"NoSuchRole","grantor":"user:p3","side":"client"}}}"#;
    let site = Site::try_from(serde_json::from_str::<SiteDocument>(text).unwrap()).unwrap();
    let directory = Directory::default();
    let mut state = State::of(&SHIPPED, &directory, &site, NOW);
    let mut ask = |who: &str| state.held(&Principal::User(who.parse().unwrap())).map(|(_, reach)| reach);
    assert!(ask("p1").unwrap().contains(&Reach::Plain), "the control: a role that is known");
    assert!(ask("p4").unwrap().iter().all(|reach| *reach == Reach::None), "the control: a stranger");
    assert!(matches!(ask("p2"), Err(Fault::Missing(_))), "asked after a stranger who holds as little");
}

//! What holds of the policies for all roles and facts.

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    assignment::{Circumstances, Facts, Flags, Kind, SHIPPED, SitePolicies},
    decision::{Evaluation, evaluate, evaluate_plainly},
    policy::{ActionIx, RoleIx},
    site::Mode,
};

fn role() -> impl Strategy<Value = RoleIx> {
    select(SHIPPED.bundle().roles().map(|(role, _)| role).collect::<Vec<_>>())
}
fn action() -> impl Strategy<Value = ActionIx> {
    select(SHIPPED.bundle().actions().map(|(action, _)| action).collect::<Vec<_>>())
}
fn facts() -> impl Strategy<Value = Facts> {
    let modes = vec![Mode::SelfManaged, Mode::PartnerBuilt, Mode::PartnerManaged, Mode::PartnerManaged, Mode::Purged];
    // Two draws of flags, both required: a plain state is then as likely as a crowded one.
    (select(modes), any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(mode, a, b, circumstances)| Facts {
        mode,
        flags: Flags::from_bits(a & b),
        circumstances: Circumstances::from_bits(circumstances % Circumstances::COUNT),
    })
}
fn allowed(policies: &SitePolicies, roles: &[RoleIx], action: ActionIx, facts: &Facts) -> bool {
    evaluate(policies.bundle(), &policies.slice(Kind::User, action, roles, facts)).unwrap().allowed
}
fn named(role: &str) -> RoleIx {
    SHIPPED.bundle().role(role).unwrap()
}
fn action_name(action: ActionIx) -> &'static str {
    SHIPPED.bundle().action_name(action)
}

/// What the partner's side may never do (domain §4).
const NEVER_THE_PARTNERS: [&str; 9] = [
    "TransferDomain",
    "PurgeSite",
    "PurgeContent",
    "ManagePayouts",
    "TransferOwnership",
    "OfferPartnerRole",
    "ReclaimSite",
    "CancelPlan",
    "RescuePlan",
];

/// What a state makes possible (the end of domain §6).
const MADE_POSSIBLE: [&str; 9] = [
    "RescuePlan",
    "ReleaseSite",
    "WithdrawReclaim",
    "UnfreezeSite",
    "RestoreTrashedSite",
    "PurgeSite",
    "AcceptHandover",
    "DeclineHandover",
    "CancelHandover",
];

/// Flags in [`Flags::NAMES`]' order, one of them raised.
fn raised(flags: Flags, flag: usize) -> Flags {
    let bits = flags.values().iter().enumerate().fold(0u16, |bits, (n, set)| bits | u16::from(*set) << n);
    Flags::from_bits(bits | 1 << flag)
}

/// The index of one bundle against the whole set of another, for one action and every role, alone and with a second.
fn index_is(indexed: &SitePolicies, plain: &SitePolicies, action: ActionIx, facts: &Facts, second: RoleIx) -> bool {
    indexed.bundle().roles().all(|(role, _)| {
        [vec![role], vec![role.min(second), role.max(second)]].iter_mut().all(|roles| {
            roles.dedup();
            let slice = indexed.slice(Kind::User, action, roles, facts);
            let (a, b) =
                (evaluate(indexed.bundle(), &slice).unwrap(), evaluate_plainly(plain.bundle(), &slice).unwrap());
            let ids = |evaluation: &Evaluation<'_>| {
                evaluation.determining.iter().map(|policy| policy.id.clone()).collect::<Vec<_>>()
            };
            a.allowed == b.allowed && ids(&a) == ids(&b)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_index_answers_like_the_whole_set(facts in facts(), second in role()) {
        for (action, _) in SHIPPED.bundle().actions() {
            prop_assert!(index_is(&SHIPPED, &SHIPPED, action, &facts, second), "{}", action_name(action));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_further_role_takes_nothing_away(
        roles in vec(role(), 0..3), more in role(), action in action(), facts in facts(),
    ) {
        let with: Vec<RoleIx> = roles.iter().copied().chain([more]).collect();
        prop_assert!(!allowed(&SHIPPED, &roles, action, &facts) || allowed(&SHIPPED, &with, action, &facts));
    }

    #[test]
    fn a_state_only_takes_away_but_for_what_it_is_for(
        roles in vec(role(), 1..3), action in action(), facts in facts(), flag in 0..Flags::NAMES.len(),
    ) {
        let further = Facts { flags: raised(facts.flags, flag), ..facts };
        let gained = !allowed(&SHIPPED, &roles, action, &facts) && allowed(&SHIPPED, &roles, action, &further);
        prop_assert!(!gained || MADE_POSSIBLE.contains(&action_name(action)), "{}", action_name(action));
    }

    /// I18: whatever a member may through the agency, the agency's own seat may.
    #[test]
    fn a_member_never_exceeds_the_agencys_seat(
        role in select(vec!["AgencyBuilder", "AgencyCommerce", "AgencyManager", "AgencyBilling"]),
        action in action(),
        facts in facts(),
    ) {
        let seat = if facts.mode == Mode::PartnerManaged { "Partner" } else { "Owner" };
        prop_assume!(action_name(action) != "LeaveSite");
        prop_assert!(
            !allowed(&SHIPPED, &[named(role)], action, &facts) || allowed(&SHIPPED, &[named(seat)], action, &facts)
        );
    }

    /// And an agency that is not active has nothing but its invoices and its disputes.
    #[test]
    fn nothing_comes_through_a_suspended_agency(
        role in select(vec!["Partner", "AgencyBuilder", "AgencyCommerce", "AgencyManager", "AgencyBilling"]),
        action in action(),
        facts in facts(),
    ) {
        let facts = Facts { flags: Flags { agency_suspended: true, ..facts.flags }, ..facts };
        let kept = ["ViewInvoices", "OpenDispute"].contains(&action_name(action));
        prop_assert!(kept || !allowed(&SHIPPED, &[named(role)], action, &facts));
    }

    #[test]
    fn the_partners_side_never_holds_the_title(
        seat in select(vec!["Partner", "AgencyBuilder", "AgencyCommerce", "AgencyManager", "AgencyBilling"]),
        invited in select(SHIPPED.strengths().person_roles().to_vec()),
        action in select(NEVER_THE_PARTNERS.to_vec()),
        facts in facts(),
    ) {
        let circumstances = Circumstances { partner_side: true, ..facts.circumstances };
        let roles = [named(seat), named(&invited)];
        let action = SHIPPED.bundle().action(action).unwrap();
        let facts = Facts { circumstances, ..facts };
        prop_assert!(!allowed(&SHIPPED, &roles, action, &facts));
    }

    /// I6: whatever else is true of a partner-managed site, its client with a fresh sign-in asks for it back.
    #[test]
    fn a_client_always_takes_the_site_back(facts in facts()) {
        let circumstances = Circumstances { fresh_sign_in: true, ..facts.circumstances };
        let facts = Facts { mode: Mode::PartnerManaged, circumstances, ..facts };
        prop_assert!(allowed(&SHIPPED, &[named("Client")], SHIPPED.bundle().action("ReclaimSite").unwrap(), &facts));
    }

    /// I6: and nobody else ever does.
    #[test]
    fn nobody_else_takes_a_site_back(roles in vec(role(), 0..4), facts in facts()) {
        let roles: Vec<RoleIx> = roles.into_iter().filter(|role| *role != named("Client")).collect();
        prop_assert!(!allowed(&SHIPPED, &roles, SHIPPED.bundle().action("ReclaimSite").unwrap(), &facts));
    }

    #[test]
    fn nobody_without_a_role_may_anything(action in action(), facts in facts()) {
        prop_assert!(!allowed(&SHIPPED, &[], action, &facts));
    }
}

/// The shipped policies with one edit.
fn edited(path: &str, from: &str, to: &str) -> std::sync::Arc<SitePolicies> {
    let (schema, mut policies) = super::super::policies::tests::shipped_files();
    let file = policies.iter_mut().find(|file| file.path == path).unwrap();
    assert!(file.text.contains(from));
    file.text = file.text.replacen(from, to, 1);
    match SitePolicies::load(&schema, &policies) {
        Ok(policies) => policies,
        Err(problems) => panic!("{problems}"),
    }
}

/// Each property finds the fault that it is there for.
#[test]
fn a_planted_title_act_is_found() {
    let faulty = edited(
        "policies/seats/partner.cedar",
        "    Sites::Action::\"ManageMedia\",\n",
        "    Sites::Action::\"ManageMedia\",\n    Sites::Action::\"PurgeContent\",\n",
    );
    let action = faulty.bundle().action("PurgeContent").unwrap();
    let found = TestRunner::deterministic().run(&facts(), |facts| {
        prop_assert!(!allowed(&faulty, &[named("Partner")], action, &facts));
        Ok(())
    });
    assert!(found.is_err());
}

/// Enough cases for a fault that few of them show.
fn many() -> TestRunner {
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn a_planted_way_around_a_state_is_found() {
    let faulty = edited("policies/guardrails/frozen.cedar", "when { resource.frozen }", "when { !resource.frozen }");
    let found = many().run(&(role(), action(), facts(), 0..Flags::NAMES.len()), |parts| {
        let (role, action, facts, flag) = parts;
        let further = Facts { flags: raised(facts.flags, flag), ..facts };
        let gained = !allowed(&faulty, &[role], action, &facts) && allowed(&faulty, &[role], action, &further);
        prop_assert!(!gained || MADE_POSSIBLE.contains(&action_name(action)));
        Ok(())
    });
    assert!(found.is_err());
}

#[test]
fn a_planted_excess_of_a_member_is_found() {
    let faulty = edited("policies/seats/agency-member.cedar", "  resource.agency_suspended ||\n", "");
    let found = TestRunner::deterministic().run(&(action(), facts()), |(action, facts)| {
        prop_assume!(action_name(action) != "LeaveSite" && facts.mode == Mode::PartnerManaged);
        let member = allowed(&faulty, &[named("AgencyBuilder")], action, &facts);
        prop_assert!(!member || allowed(&faulty, &[named("Partner")], action, &facts));
        Ok(())
    });
    assert!(found.is_err());
}

#[test]
fn an_index_of_other_policies_is_found() {
    let faulty = edited("policies/roles/viewer.cedar", "    Sites::Action::\"ViewContent\",\n", "");
    let found = TestRunner::deterministic().run(&(facts(), role()), |(facts, second)| {
        for (action, _) in SHIPPED.bundle().actions() {
            prop_assert!(index_is(&faulty, &SHIPPED, action, &facts, second));
        }
        Ok(())
    });
    assert!(found.is_err());
}

/// What is not in the vocabulary cannot be asked about, and a mode that nobody gave a right in gives none.
#[test]
fn the_unknown_is_denied() {
    for name in ["", "Publish", "publishsite", "PublishSite ", "Write", "Account"] {
        assert_eq!(SHIPPED.bundle().action(name), None, "{name}");
    }
    for name in ["", "Admin", "owner", "Owner "] {
        assert_eq!(SHIPPED.bundle().role(name), None, "{name}");
    }
}

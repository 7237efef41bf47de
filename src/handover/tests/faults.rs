//! Negative controls: for each invariant a machine with one planted fault, which the check must catch. A check that
//! never fails is no check.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::prop_assert;
use serde_json::{Value, json};

use super::{
    invariants::{Violation, check_facts, tally},
    matrix::PERSON_ROLES,
    sequences::{history, play, runner},
    world::{Machine, World, account, agency, directory, managed, row, self_managed, user},
};
use crate::{
    handover::{Acting, Applied, Command, HandoverStatus, Refusal, Situation, apply},
    ids::{Account, Principal},
    site::{AgencyGrant, Seats, Side, SiteView, Template},
    time::Timestamp,
};

type Outcome = Result<Applied, Refusal>;

/// What random histories find in this machine, until they find `sought`.
fn found(machine: Machine<'_>, authorized: bool, sought: &str) -> BTreeMap<&'static str, usize> {
    let found: RefCell<Vec<Violation>> = RefCell::default();
    let outcome = runner().run(&history(80), |(site, history)| {
        let course = play(site, &history, machine, authorized);
        let enough = course.found.iter().any(|(invariant, _)| *invariant == sought);
        found.borrow_mut().extend(course.found);
        prop_assert!(!enough, "found");
        Ok(())
    });
    drop(outcome);
    tally(&found.into_inner())
}

fn assert_caught(invariant: &str, machine: Machine<'_>) {
    let found = found(machine, true, invariant);
    assert!(found.contains_key(invariant), "the planted fault was not caught as {invariant}: {found:?}");
}

/// A machine that spoils what the real one applied.
fn spoiled(
    spoil: impl Fn(&Situation<'_>, &Command, &mut Applied),
) -> impl Fn(&Situation<'_>, &Command, Timestamp) -> Outcome {
    move |situation, command, now| {
        let mut applied = apply(situation, command, now)?;
        spoil(situation, command, &mut applied);
        Ok(applied)
    }
}

fn accepted(applied: &Applied) -> bool {
    applied.handovers.iter().any(|handover| handover.status == HandoverStatus::Accepted)
}

fn returned(applied: &Applied) -> bool {
    applied.events.iter().any(|event| event.kind == "SiteReturned")
}

#[test]
fn control_the_machine_itself_is_not_caught() {
    assert_eq!(found(&apply, true, ""), BTreeMap::new());
}

#[test]
fn negative_control_i01_a_return_to_an_account_nobody_knows() {
    assert_caught(
        "I1",
        &spoiled(|_, _, applied| {
            if returned(applied) {
                applied.site.seats = Seats::PartnerBuilt { owner: agency("ghost") };
            }
        }),
    );
}

#[test]
fn negative_control_i02_a_plan_that_nobody_pays() {
    assert_caught(
        "I2",
        &spoiled(|_, _, applied| {
            if let Seats::PartnerManaged(engagement) = &mut applied.site.seats {
                engagement.partner = agency("ghost");
            }
        }),
    );
}

/// [`Seats`] cannot express what I3 and I4 forbid, so the fault is planted in the document.
fn facts_with(edit: impl FnOnce(&mut Value)) -> Vec<Violation> {
    let world = World::new(managed());
    let mut facts = serde_json::to_value(SiteView::from(&world.site)).unwrap();
    assert_eq!(check_facts(&world, &facts), []);
    edit(&mut facts);
    check_facts(&world, &facts)
}

#[test]
fn negative_control_i03_a_partner_without_a_client() {
    let found = facts_with(|facts| facts["seats"]["client"] = Value::Null);
    assert!(tally(&found).contains_key("I3"), "{found:?}");
    let found = facts_with(|facts| facts["seats"]["owner"] = json!("user:maria"));
    assert!(tally(&found).contains_key("I3"), "{found:?}");
}

#[test]
fn negative_control_i04_a_client_who_pays() {
    let found = facts_with(|facts| facts["plan_holder"] = json!("user:maria"));
    assert_eq!(tally(&found).into_keys().collect::<Vec<_>>(), ["I4"]);
}

#[test]
fn negative_control_i05_the_accepting_person_takes_the_title() {
    assert_caught(
        "I5",
        &spoiled(|situation, _, applied| {
            if let (Seats::PartnerManaged(engagement), Some(Principal::User(person))) =
                (&mut applied.site.seats, situation.acting.map(|acting| &acting.principal))
            {
                engagement.client = person.clone();
            }
        }),
    );
}

#[test]
fn negative_control_i06_no_reclaim_from_the_trash() {
    assert_caught("I6", &|situation: &Situation<'_>, command: &Command, now| {
        if matches!(command, Command::ReclaimSite { .. }) && situation.site.trashed_at.is_some() {
            return Err(Refusal::Blocked(Vec::new()));
        }
        apply(situation, command, now)
    });
}

#[test]
fn negative_control_i06_anybody_reclaims_without_authorization() {
    assert!(found(&apply, false, "I6").contains_key("I6"));
}

#[test]
fn negative_control_i08_the_partner_gets_the_domains() {
    assert_caught(
        "I8",
        &spoiled(|_, _, applied| {
            if accepted(applied) {
                applied.site.domains.iter_mut().for_each(|domain| domain.holder = account("agency:studio-north"));
            }
        }),
    );
}

#[test]
fn negative_control_i09_seats_move_and_nobody_is_told() {
    assert_caught("I9", &spoiled(|_, _, applied| applied.events.retain(|event| event.kind != "SeatsChanged")));
}

#[test]
fn negative_control_i09_an_offer_vanishes_from_its_site() {
    assert_caught(
        "I9",
        &spoiled(|_, command, applied| {
            if matches!(command, Command::CancelHandover { .. }) {
                applied.handovers.clear();
            }
        }),
    );
}

#[test]
fn negative_control_i10_a_second_no_is_carried_out_again() {
    assert_caught("I10", &|situation: &Situation<'_>, command: &Command, now| match apply(situation, command, now) {
        Err(Refusal::Terminal(HandoverStatus::Declined)) => Ok(Applied::nothing(situation.site)),
        outcome => outcome,
    });
}

#[test]
fn negative_control_i12_a_suspended_agency_is_offered_the_seat() {
    let all_active = directory();
    assert_caught("I12", &|situation: &Situation<'_>, command: &Command, now| {
        apply(&Situation { directory: &all_active, ..*situation }, command, now)
    });
}

#[test]
fn negative_control_i13_a_second_offer_beside_the_first() {
    assert_caught("I13", &|situation: &Situation<'_>, command: &Command, now| {
        let mut site = situation.site.clone();
        if matches!(command, Command::OfferPartnerRole { .. }) {
            site.open_handover = None;
        }
        apply(&Situation { site: &site, ..*situation }, command, now)
    });
}

#[test]
fn negative_control_i14_a_resignation_overrides_a_reclaim() {
    assert_caught("I14", &|situation: &Situation<'_>, command: &Command, now| {
        let mut site = situation.site.clone();
        if let (Command::ResignAsPartner, Seats::PartnerManaged(engagement)) = (command, &mut site.seats) {
            engagement.return_pending = None;
        }
        apply(&Situation { site: &site, ..*situation }, command, now)
    });
}

#[test]
fn negative_control_i14_anybody_withdraws_without_authorization() {
    assert!(found(&apply, false, "I14").contains_key("I14"));
}

/// A machine that grants what `gives` says, whatever the rule.
fn granting(gives: impl Fn(&str) -> bool) -> impl Fn(&Situation<'_>, &Command, Timestamp) -> Outcome {
    move |situation, command, now| match (command, apply(situation, command, now)) {
        (Command::GrantRole { user, role }, Err(refused)) if gives(role) => {
            let mut applied = Applied::nothing(situation.site);
            if matches!(applied.site.seats, Seats::Purged) || applied.site.contributors.contains_key(user) {
                return Err(refused);
            }
            applied.site.contributors.insert(user.clone(), row(role, "user:maria", Side::Client));
            Ok(applied)
        }
        (_, outcome) => outcome,
    }
}

#[test]
fn negative_control_i17_a_role_above_the_grantors() {
    assert_caught("I17", &granting(|role| PERSON_ROLES.contains(&role)));
}

#[test]
fn negative_control_i17_a_delegation_above_the_old_role() {
    assert_caught(
        "I17",
        &spoiled(|_, _, applied| {
            if applied.events.iter().any(|event| event.kind == "HandoverAccepted") {
                for (user, _) in std::mem::take(&mut applied.site.contributors) {
                    let widest = AgencyGrant { template: Template::Manager, expires_at: None };
                    applied.site.grants.insert(user, widest);
                }
            }
        }),
    );
}

#[test]
fn negative_control_i21_anybody_accepts() {
    assert_caught("I21", &|situation: &Situation<'_>, command: &Command, now| match (
        command,
        apply(situation, command, now),
    ) {
        (Command::AcceptHandover { .. }, Err(Refusal::NotAParty)) => {
            let person = match situation.site.open_handover.as_ref().map(|open| &open.to) {
                Some(Account::User(client)) => client.clone(),
                Some(Account::Agency(id)) if id.as_str() == "atelier" => user("olga"),
                Some(Account::Agency(_)) | None => user("nora"),
            };
            let acting = Acting { principal: Principal::User(person), ..situation.acting.unwrap().clone() };
            apply(&Situation { acting: Some(&acting), ..*situation }, command, now)
        }
        (_, outcome) => outcome,
    });
}

#[test]
fn negative_control_i21_an_offer_that_ran_out_is_accepted() {
    assert_caught("I21", &|situation: &Situation<'_>, command: &Command, now| {
        let mut site = situation.site.clone();
        if let (Command::AcceptHandover { .. }, Some(open)) = (command, &mut site.open_handover) {
            open.expires_at = Timestamp::from_micros(i64::MAX);
        }
        apply(&Situation { site: &site, ..*situation }, command, now)
    });
}

#[test]
fn negative_control_i22_an_invitation_gives_a_seat() {
    assert_caught("I22", &granting(|role| role == "Client"));
}

#[test]
fn negative_control_i22_an_offer_seats_the_partner_at_once() {
    assert_caught(
        "I22",
        &spoiled(|_, command, applied| {
            if matches!(command, Command::OfferPartnerRole { .. }) {
                applied.site.seats = managed().seats;
            }
        }),
    );
}

#[test]
fn negative_control_i24_the_partners_people_stay() {
    assert_caught(
        "I24",
        &spoiled(|situation, _, applied| {
            if returned(applied) {
                applied.site.contributors = situation.site.contributors.clone();
            }
        }),
    );
}

#[test]
fn negative_control_i28_a_role_that_nobody_has_heard_of() {
    assert_caught("I28", &granting(|role| role == "Emperor"));
}

#[test]
fn negative_control_i28_a_purged_site_takes_commands() {
    let revived = self_managed();
    let machine = |situation: &Situation<'_>, command: &Command, now: Timestamp| {
        apply(&Situation { site: &revived, ..*situation }, command, now)
    };
    let mut world = World::new(self_managed());
    world.site.seats = Seats::Purged;
    let command = Command::RevokeRole { user: user("eva") };
    let maria = Acting {
        principal: Principal::User(user("maria")),
        through: Some(account("user:maria")),
        side: Side::Client,
        roles: vec!["Owner".into()],
    };
    let outcome = world.try_with(&machine, Some(&maria), &command);
    let found = super::invariants::check_step(&world, &command, Some(&maria), &outcome, &world, &machine);
    assert!(tally(&found).contains_key("I28"), "{found:?}");
}

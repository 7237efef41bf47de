//! One question for every reason code, and questions in which several reasons hold: the first in the published order
//! is named.

use std::collections::BTreeSet;

use super::*;
use crate::{
    assignment::{Asked, REASONS, SHIPPED, STATE_REASONS, SiteRow, Standing},
    ids::Account,
};

/// `who action site`, and what the caller brings: `S` a fresh sign-in, `T` their own account, `2` the confirmed act,
/// `X` a case.
fn ask<T>(question: &str, with: &str, answer: impl Fn(&Standing<'_>, crate::policy::ActionIx) -> T) -> T {
    let [who, action, site] = *question.split(' ').collect::<Vec<_>>() else { panic!("{question}") };
    let world = WORLDS.iter().find(|world| world.name == "cast").unwrap();
    let principal = world.principal(who).unwrap_or_else(|| panic!("{who}"));
    let fixture = world.site(site).unwrap_or_else(|| panic!("{site}"));
    let asked = Asked {
        auth_time: with.contains('S').then_some(world.now.as_seconds()),
        account: with.contains('T').then(|| format!("user:{who}").parse::<Account>().unwrap()),
        operation: with.contains('2').then(|| "confirmed-act".into()),
        case: with.contains('X').then(|| "TS-7".into()),
    };
    let row = SiteRow::of(&fixture.site, &SHIPPED);
    let directory = world.directory_of(fixture);
    let standing = Standing::of(&SHIPPED, &row, directory, &principal, &asked, world.now, 600);
    answer(&standing, SHIPPED.bundle().action(action).unwrap_or_else(|| panic!("{action}")))
}

fn reason(question: &str, with: &str) -> String {
    let outcome = ask(question, with, |standing, action| standing.decide(action).unwrap());
    assert_eq!(outcome.allowed, outcome.reason.is_none(), "{question}");
    outcome.reason.map_or_else(|| "allowed".to_owned(), |reason| reason.to_string())
}

fn check(table: &[(&str, &str, &str)], answer: impl Fn(&str, &str) -> String) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(question, with, expected)| (question, expected, answer(question, with)))
        .filter(|(_, expected, got)| *expected != got)
        .map(|(question, expected, got)| format!("{question}: expected {expected}, got {got}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const EACH: &[(&str, &str, &str)] = &[
    ("stranger ViewSite managed", "S", "no_role"),
    ("viewer EditContent managed", "S", "role_lacks_action"),
    ("north-admin EditContent managed-suspended", "S", "agency_suspended"),
    ("north-blocked EditContent managed", "S", "blocked_by_client"),
    ("north-expired EditContent managed", "S", "grant_expired"),
    ("support-ended ViewSite managed", "S", "no_session"),
    ("clara EditContent self-frozen", "S", "frozen"),
    ("clara EditContent self-trashed", "S", "trashed"),
    ("north-admin ManageApps managed-resigned", "S", "return_pending"),
    ("north-admin EditContent managed-locked", "S", "locked"),
    ("north-admin ExportContacts managed-settling", "S", "settling_in"),
    ("clara OfferPartnerRole self-offered", "S", "handover_open"),
    ("clara OfferPartnerRole self-past-due", "S", "past_due"),
    ("clara AssignClientRole self", "S", "wrong_mode"),
    ("billing-manager UpgradePlan managed", "S", "not_payer"),
    ("clara PurchaseApp self", "S", "not_your_own"),
    ("co-owner AcceptHandover self-offered", "S", "not_a_party"),
    ("north-admin TrashSite managed", "S", "confirm_required"),
    ("trust-and-safety FreezeSite managed", "", "case_required"),
    ("clara ExportSite self", "", "stepup_required"),
];

#[test]
fn every_reason_has_its_question() {
    check(EACH, reason);
    let asked: BTreeSet<&str> = EACH.iter().map(|(_, _, reason)| *reason).collect();
    let all: BTreeSet<&str> = REASONS.iter().copied().filter(|reason| !reason.starts_with("unknown_")).collect();
    assert_eq!(asked, all);
    assert!(STATE_REASONS.iter().all(|reason| REASONS.contains(reason)));
}

#[test]
fn of_several_reasons_the_first_in_order_is_named() {
    check(
        &[
            // Nobody and a role that is too small come before every state.
            ("stranger AcceptHandover self-offered", "", "no_role"),
            ("stranger EditContent self-frozen", "", "no_role"),
            ("viewer EditContent self-frozen", "", "role_lacks_action"),
            ("clara TransferOwnership managed", "", "role_lacks_action"),
            ("support-ended EditContent managed", "", "role_lacks_action"),
            ("north-admin ViewSite managed-returned", "S", "no_role"),
            // An agency's suspension comes before what else stops its people.
            ("north-expired EditContent managed-suspended", "", "agency_suspended"),
            ("north-blocked EditContent managed-suspended", "", "agency_suspended"),
            ("north-admin TrashSite managed-suspended", "", "agency_suspended"),
            ("north-admin ReleaseSite managed-suspended", "", "agency_suspended"),
            ("invited-co-owner UpgradePlan managed-suspended", "", "agency_suspended"),
            // A person's own standing comes before the site's state.
            ("north-blocked EditContent managed-frozen", "", "blocked_by_client"),
            ("north-expired EditContent managed-frozen", "", "grant_expired"),
            ("support-ended ViewContent managed-trashed", "", "no_session"),
            // The states among themselves, and before what the caller could bring.
            ("clara ExportSite self-frozen", "", "frozen"),
            ("invited-billing-manager UpgradePlan managed-frozen-reclaimed", "", "frozen"),
            ("co-owner AcceptHandover managed-frozen", "", "frozen"),
            ("co-owner AcceptHandover managed-trashed", "", "trashed"),
            ("trust-and-safety FreezeSite managed-frozen", "", "frozen"),
            ("north-admin ExportSite managed-locked", "", "return_pending"),
            ("north-admin TrashSite managed-reclaimed", "", "return_pending"),
            ("north-admin ResignAsPartner managed-locked", "", "locked"),
            ("north-admin EditDnsCritical managed-settling", "", "settling_in"),
            ("clara OfferPartnerRole self-offered", "", "handover_open"),
            ("clara TransferDomain managed-offered", "", "handover_open"),
            ("billing-manager PurchaseApp managed-past-due", "", "past_due"),
            ("clara PurchaseApp self-past-due", "", "past_due"),
            ("north-admin PurchaseDomain managed-lapsed", "", "return_pending"),
            // What a state would have to be comes before what the caller could bring.
            ("clara RescuePlan managed", "", "wrong_mode"),
            ("clara RescuePlan managed-frozen", "S", "frozen"),
            ("clara RescuePlan managed-past-due", "", "stepup_required"),
            ("clara WithdrawReclaim managed-resigned", "", "wrong_mode"),
            ("clara WithdrawReclaim managed-frozen-reclaimed", "", "frozen"),
            ("clara RestoreTrashedSite managed", "", "wrong_mode"),
            ("clara PurgeSite self", "", "wrong_mode"),
            ("north-admin ReleaseSite managed", "", "wrong_mode"),
            ("trust-and-safety UnfreezeSite managed", "", "wrong_mode"),
            ("south-admin RequestPartnerRole managed", "", "wrong_mode"),
            ("south-admin RequestPartnerRole self-offered", "", "handover_open"),
            ("north-admin OfferPartnerRole built-offered", "", "handover_open"),
            ("co-owner AcceptHandover self-offered", "", "not_a_party"),
            ("north-admin AcceptHandover self-offered", "", "stepup_required"),
            // Of several routes, the one that fails last is told about.
            ("both TrashSite managed-by-own-agency", "", "stepup_required"),
            ("both ExportSite managed-by-own-agency", "", "allowed"),
            ("both UpgradePlan managed-by-own-agency-suspended", "S", "agency_suspended"),
            ("both ExportSite managed-by-own-agency-suspended", "", "stepup_required"),
            ("designer-at-north EditContent managed-suspended", "", "allowed"),
        ],
        reason,
    );
}

/// What a command asks first: 403 for what the actor lacks, whatever the state; nothing when only the state is wrong.
#[test]
fn what_the_actor_lacks_is_told_whatever_the_state() {
    let but_for_state = |question: &str, with: &str| {
        let answer = ask(question, with, |standing, action| standing.may_but_for_state(action).unwrap());
        answer.map_or_else(|reason| reason.to_string(), |()| "only the state".to_owned())
    };
    check(
        &[
            ("clara OfferPartnerRole self-offered", "S", "only the state"),
            ("clara OfferPartnerRole self-offered", "", "stepup_required"),
            ("clara EditContent self-frozen", "", "only the state"),
            ("clara RescuePlan managed", "S", "only the state"),
            ("clara RescuePlan managed", "", "stepup_required"),
            ("clara RescuePlan managed-frozen", "", "stepup_required"),
            ("clara WithdrawReclaim managed", "S", "only the state"),
            ("clara PurgeSite self", "", "stepup_required"),
            ("north-admin OfferPartnerRole built", "S", "only the state"),
            ("north-admin OfferPartnerRole built", "", "stepup_required"),
            ("north-admin ReleaseSite managed", "S", "only the state"),
            ("north-admin ManageApps managed-locked", "", "only the state"),
            ("north-admin RefundOrder managed-reclaimed", "", "confirm_required"),
            ("north-admin ManageApps managed-suspended", "", "agency_suspended"),
            ("invited-co-owner ManageApps managed-suspended", "", "agency_suspended"),
            ("viewer EditContent self-frozen", "", "role_lacks_action"),
            ("stranger EditContent self-frozen", "", "no_role"),
            ("co-owner AcceptHandover self", "S", "not_a_party"),
            ("co-owner AcceptHandover self-frozen", "S", "not_a_party"),
            ("clara CancelHandover self", "S", "not_a_party"),
            ("north-admin AcceptHandover self-offered", "", "stepup_required"),
            ("billing-manager UpgradePlan managed-frozen", "", "not_payer"),
            ("trust-and-safety FreezeSite managed-frozen", "", "case_required"),
            ("trust-and-safety UnfreezeSite managed", "X", "only the state"),
        ],
        but_for_state,
    );
}

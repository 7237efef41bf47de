//! Negative controls of the explorer: machines with one planted fault each, which the exploration must find under the
//! invariant that the fault breaks. An exploration that finds nothing anywhere is no proof.

use super::{
    explorer::{SCOPES, explore},
    invariants::tally,
    world::{Machine, account, agency, row},
};
use crate::{
    handover::{Applied, Command, Event, HandoverStatus, Refusal, Situation, apply},
    site::{Plan, ReturnReason, Seats, Side, Tier},
    time::Timestamp,
};

type Outcome = Result<Applied, Refusal>;

/// The fault is found under this invariant in some scope.
fn assert_found(invariant: &str, machine: Machine<'_>) {
    for scope in &SCOPES {
        let found = tally(&explore(scope, machine, 50).found);
        if found.contains_key(invariant) {
            return;
        }
    }
    panic!("the planted fault was not found as {invariant}");
}

/// A machine that spoils what the real one applied.
fn spoiled(
    spoil: impl Fn(&Situation<'_>, &Command, Timestamp, &mut Applied),
) -> impl Fn(&Situation<'_>, &Command, Timestamp) -> Outcome {
    move |situation, command, now| {
        let mut applied = apply(situation, command, now)?;
        spoil(situation, command, now, &mut applied);
        Ok(applied)
    }
}

fn told(applied: &Applied, kind: &str) -> bool {
    applied.events.iter().any(|event| event.kind == kind)
}

fn event(kind: &'static str) -> Event {
    Event { kind, data: serde_json::json!({}) }
}

#[test]
fn planted_i05_a_replacement_takes_the_title() {
    assert_found(
        "I5",
        &spoiled(|_, _, _, applied| {
            if let (true, Seats::PartnerManaged(engagement)) = (told(applied, "PartnerLeft"), &mut applied.site.seats) {
                engagement.client = "tom".parse().unwrap();
            }
        }),
    );
}

#[test]
fn planted_i06_a_dispute_stands_in_the_clients_way() {
    assert_found("I6", &|situation: &Situation<'_>, command: &Command, now| {
        if matches!(command, Command::ReclaimSite { .. }) && situation.site.dispute.is_some() {
            return Err(Refusal::Blocked(Vec::new()));
        }
        apply(situation, command, now)
    });
}

#[test]
fn planted_i07_a_reclaim_under_a_freeze_waits_twice() {
    assert_found(
        "I7",
        &spoiled(|situation, command, _, applied| {
            let reclaim = matches!(command, Command::ReclaimSite { .. });
            if let (true, true, Seats::PartnerManaged(engagement)) =
                (reclaim, situation.site.frozen.is_some(), &mut applied.site.seats)
                && let Some(pending) = &mut engagement.return_pending
            {
                pending.effective_at = pending.effective_at.plus(situation.timers.freeze_max);
            }
        }),
    );
}

#[test]
fn planted_i08_a_transfer_moves_an_unlisted_domain() {
    assert_found(
        "I8",
        &spoiled(|_, _, _, applied| {
            if told(applied, "TitleTransferred") {
                applied.site.domains.iter_mut().for_each(|domain| domain.holder = account("user:tom"));
            }
        }),
    );
}

#[test]
fn planted_i09_a_replacement_is_told_to_nobody() {
    assert_found("I9", &spoiled(|_, _, _, applied| applied.events.retain(|event| event.kind != "SeatsChanged")));
}

#[test]
fn planted_i10_a_decline_is_carried_out_twice() {
    assert_found("I10", &|situation: &Situation<'_>, command: &Command, now| match apply(situation, command, now) {
        Err(Refusal::Terminal(HandoverStatus::Declined)) => {
            let mut applied = Applied::nothing(situation.site);
            applied.events.push(event("HandoverDeclined"));
            Ok(applied)
        }
        outcome => outcome,
    });
}

#[test]
fn planted_i11_a_return_leaves_the_client_with_the_bill() {
    assert_found(
        "I11",
        &spoiled(|_, command, _, applied| {
            if told(applied, "SiteReturned") && !matches!(command, Command::RescuePlan) {
                applied.site.plan = Plan::of(Tier::Premium);
            }
        }),
    );
}

#[test]
fn planted_i13_an_offer_beside_a_reclaim() {
    assert_found("I13", &|situation: &Situation<'_>, command: &Command, now| {
        let mut site = situation.site.clone();
        if let (Command::ReplacePartner { .. }, Seats::PartnerManaged(engagement)) = (command, &mut site.seats) {
            let pending = engagement.return_pending.take();
            let mut applied = apply(&Situation { site: &site, ..*situation }, command, now)?;
            if let Seats::PartnerManaged(engagement) = &mut applied.site.seats {
                engagement.return_pending = pending;
            }
            return Ok(applied);
        }
        apply(situation, command, now)
    });
}

#[test]
fn planted_i14_a_resignation_ends_a_reclaim() {
    assert_found("I14", &|situation: &Situation<'_>, command: &Command, now| {
        let mut site = situation.site.clone();
        if let (Command::ResignAsPartner, Seats::PartnerManaged(engagement)) = (command, &mut site.seats) {
            engagement.return_pending = None;
        }
        apply(&Situation { site: &site, ..*situation }, command, now)
    });
}

#[test]
fn planted_i15_the_partner_names_another_without_the_client() {
    assert_found("I15", &|situation: &Situation<'_>, command: &Command, now| {
        let mut site = situation.site.clone();
        if let (Command::AcceptHandover { .. }, Some(open)) = (command, &mut site.open_handover) {
            open.consents_needed.retain(|account| *account == open.to);
        }
        apply(&Situation { site: &site, ..*situation }, command, now)
    });
}

#[test]
fn planted_i16_a_second_freeze_in_one_engagement() {
    assert_found("I16", &|situation: &Situation<'_>, command: &Command, now| {
        let mut site = situation.site.clone();
        if let (Command::FreezeSite(_), Seats::PartnerManaged(engagement)) = (command, &mut site.seats) {
            engagement.freeze_used = false;
        }
        apply(&Situation { site: &site, ..*situation }, command, now)
    });
}

#[test]
fn planted_i16_a_freeze_that_does_not_stop_the_clock() {
    assert_found(
        "I16",
        &spoiled(|situation, command, _, applied| {
            if let (Command::FreezeSite(_), Some(before), Seats::PartnerManaged(engagement)) =
                (command, situation.site.return_pending(), &mut applied.site.seats)
            {
                engagement.return_pending = Some(before.clone());
            }
        }),
    );
}

#[test]
fn planted_i16_an_early_end_of_a_freeze_that_keeps_its_length() {
    assert_found(
        "I16",
        &spoiled(|situation, command, _, applied| {
            if let (Command::UnfreezeSite(_), Some(before), Seats::PartnerManaged(engagement)) =
                (command, situation.site.return_pending(), &mut applied.site.seats)
            {
                engagement.return_pending = Some(before.clone());
            }
        }),
    );
}

#[test]
fn planted_i21_one_yes_is_enough_for_two() {
    assert_found(
        "I21",
        &spoiled(|_, command, _, applied| {
            if matches!(command, Command::AcceptHandover { .. }) {
                for handover in &mut applied.handovers {
                    handover.status = HandoverStatus::Accepted;
                    handover.ended_at = Some(handover.offered_at);
                }
                if let Some(open) = applied.handovers.first().filter(|open| !open.consents_needed.is_empty()).cloned() {
                    applied.site.open_handover = None;
                    applied.events.push(event("HandoverAccepted"));
                    drop(open);
                }
            }
        }),
    );
}

#[test]
fn planted_i22_a_request_seats_the_agency() {
    assert_found(
        "I22",
        &spoiled(|situation, command, now, applied| {
            if matches!(command, Command::RequestPartnerRole { .. })
                && let Seats::SelfManaged { owner } = &situation.site.seats
            {
                applied.site.seats = Seats::PartnerManaged(Box::new(crate::site::Engagement {
                    client: owner.clone(),
                    partner: agency("atelier"),
                    since: now,
                    settling_until: now,
                    handover: None,
                    plan_before: None,
                    freeze_used: false,
                    return_pending: None,
                }));
            }
        }),
    );
}

#[test]
fn planted_i24_the_old_partners_people_stay_after_a_replacement() {
    assert_found(
        "I24",
        &spoiled(|_, _, _, applied| {
            if told(applied, "PartnerLeft") {
                let left = row("Viewer", "agency:studio-north", Side::Partner);
                applied.site.contributors.insert("paul".parse().unwrap(), left);
            }
        }),
    );
}

#[test]
fn planted_i26_a_returned_site_is_deleted_at_once() {
    assert_found(
        "I26",
        &spoiled(|situation, _, _, applied| {
            if told(applied, "SiteReturned") {
                applied.site.purge_at = situation.site.purge_at;
            }
        }),
    );
}

#[test]
fn planted_i26_a_partners_site_is_deleted() {
    assert_found(
        "I26",
        &spoiled(|_, command, _, applied| {
            if matches!(command, Command::TrashSite { .. }) && applied.site.seats.engagement().is_some() {
                applied.site.seats = Seats::Purged;
                applied.events.push(event("SitePurged"));
            }
        }),
    );
}

#[test]
fn planted_i27_a_step_that_nobody_hears_of() {
    assert_found(
        "I27",
        &spoiled(|_, command, _, applied| {
            if *command == Command::WithdrawReclaim {
                applied.events.clear();
            }
        }),
    );
}

#[test]
fn planted_i28_time_does_what_somebody_must() {
    assert_found("I28", &|situation: &Situation<'_>, command: &Command, now| {
        // The worker, told that a return is due, resigns in the partner's name.
        if matches!(command, Command::ReturnEffective) {
            let pending = situation.site.return_pending().map(|pending| pending.reason);
            if pending == Some(ReturnReason::Resign) {
                let mut applied = Applied::nothing(situation.site);
                applied.site.contributors.insert("eve".parse().unwrap(), row("Emperor", "user:maria", Side::Client));
                return Ok(applied);
            }
        }
        apply(situation, command, now)
    });
}

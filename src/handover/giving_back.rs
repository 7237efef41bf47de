//! The way back to the client (T11 to T17, T21). No state of the partner, and nothing the partner does, stands in it.
//!
//! A return has one effect, [`give_back`]; the commands differ in who starts it and how long it waits. Only a freeze
//! stops its clock, and a freeze is bounded: that is I7.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{
    Applied, Refusal, accept, agency,
    ending::{self, Ending},
    people,
    step::{Step, freeze, is_due, reason_name},
};
use crate::{
    ids::UserId,
    site::{Engagement, Plan, PlanStatus, ReturnPending, ReturnReason, Seats, Side, Tier},
    time::Timestamp,
};

/// T11, T12, T13: the client takes the site back.
pub(super) fn reclaim(
    step: &Step<'_>,
    engagement: &Engagement,
    lock: bool,
    keep: &BTreeSet<UserId>,
) -> Result<Applied, Refusal> {
    for user in keep {
        let row = step.site().contributors.get(user).ok_or(Refusal::UnknownContributor)?;
        if row.side != Side::Partner || !people::may_stay(step.situation.strengths, &row.role) {
            return Err(Refusal::MayNotGrant { role: row.role.to_string() });
        }
    }
    let pending = engagement.return_pending.as_ref();
    let reclaimed = pending.filter(|pending| pending.reason == ReturnReason::Reclaim);
    if at_once(step, engagement) {
        // A reclaim recorded under a freeze already said whom to keep.
        let keep = keep.iter().chain(reclaimed.into_iter().flat_map(|pending| &pending.keep)).cloned().collect();
        let mut applied = step.begin();
        give_back(step, &mut applied, engagement, ReturnReason::Reclaim, &keep);
        return Ok(applied);
    }
    if let Some(reclaimed) = reclaimed {
        let locks = lock && !reclaimed.locked;
        let kept: BTreeSet<UserId> = reclaimed.keep.union(keep).cloned().collect();
        if !locks && kept == reclaimed.keep {
            return Err(Refusal::AlreadySo { what: "the site is on its way back to you" });
        }
        let mut applied = step.begin();
        if kept != reclaimed.keep {
            applied.tell("ReclaimChanged", json!({"keep": kept}));
        }
        let locked = reclaimed.locked || locks;
        pend(&mut applied, engagement, Some(ReturnPending { locked, keep: kept, ..reclaimed.clone() }));
        if locks {
            applied.tell("PartnerLocked", json!({"partner": engagement.partner}));
        }
        return Ok(applied);
    }
    let mut applied = step.begin();
    ending::close(&mut applied, step.now, Ending::Superseded);
    let notice = clock_starts(step).plus(step.situation.timers.reclaim_notice);
    let effective_at = pending.map_or(notice, |pending| pending.effective_at.min(notice));
    applied.tell(
        "ReclaimRequested",
        json!({
            "effective_at": effective_at,
            "locked": lock,
            "keep": keep,
            "instead_of": pending.map(|pending| reason_name(pending.reason)),
        }),
    );
    if lock {
        applied.tell("PartnerLocked", json!({"partner": engagement.partner}));
    }
    pend(
        &mut applied,
        engagement,
        Some(ReturnPending {
            reason: ReturnReason::Reclaim,
            requested_at: step.now,
            effective_at,
            locked: lock,
            keep: keep.clone(),
        }),
    );
    Ok(applied)
}

/// T14: the client changes their mind. What the reclaim overrode does not come back: a resignation must be given
/// again; a suspended agency or a lapsed plan starts its own clock anew.
pub(super) fn withdraw(step: &Step<'_>, engagement: &Engagement) -> Result<Applied, Refusal> {
    let Some(pending) = engagement.return_pending.as_ref().filter(|p| p.reason == ReturnReason::Reclaim) else {
        return Err(step.illegal("no reclaim is pending"));
    };
    step.not_frozen()?;
    if is_due(step.site(), pending, step.now) {
        return Err(step.illegal("the notice is over: the site has come back"));
    }
    let mut applied = step.begin();
    applied.tell("ReclaimWithdrawn", json!({"partner": engagement.partner}));
    let timers = step.situation.timers;
    let agency = step.situation.directory.agency(&engagement.partner);
    let cause = match agency.and_then(|agency| agency::reason(agency.status)) {
        Some(reason) => Some((reason, timers.suspension_notice)),
        None if step.site().plan.status == PlanStatus::Lapsed => Some((ReturnReason::PlanLapsed, timers.lapse_notice)),
        None => None,
    };
    match cause {
        Some((reason, notice)) => schedule(&mut applied, engagement, reason, step.now, step.now.plus(notice)),
        None => pend(&mut applied, engagement, None),
    }
    Ok(applied)
}

/// T15: the partner gives the site back without waiting.
pub(super) fn release(step: &Step<'_>, engagement: &Engagement) -> Result<Applied, Refusal> {
    let Some(pending) = &engagement.return_pending else {
        return Err(step.illegal("no return is pending; use resign_as_partner"));
    };
    step.not_frozen()?;
    let mut applied = step.begin();
    applied.tell("SiteReleased", json!({"partner": engagement.partner, "reason": reason_name(pending.reason)}));
    give_back(step, &mut applied, engagement, pending.reason, &pending.keep);
    Ok(applied)
}

/// T16: the notice is over.
pub(super) fn take_effect(step: &Step<'_>, engagement: &Engagement) -> Result<Applied, Refusal> {
    let Some(pending) = &engagement.return_pending else {
        return Err(step.illegal("no return is pending"));
    };
    step.not_frozen()?;
    if !is_due(step.site(), pending, step.now) {
        return Err(step.illegal("the notice is not over yet"));
    }
    let mut applied = step.begin();
    give_back(step, &mut applied, engagement, pending.reason, &pending.keep);
    Ok(applied)
}

/// T17: the partner leaves. While settling that undoes the handover at once.
pub(super) fn resign(step: &Step<'_>, engagement: &Engagement) -> Result<Applied, Refusal> {
    match engagement.return_pending.as_ref().map(|pending| pending.reason) {
        None => {}
        Some(ReturnReason::Resign) => return Err(Refusal::AlreadySo { what: "the partner has resigned" }),
        Some(
            ReturnReason::Reclaim
            | ReturnReason::AgencySuspended
            | ReturnReason::AgencyDissolved
            | ReturnReason::PlanLapsed,
        ) => return Err(step.illegal("the site is on its way back already; use release_site to give it back now")),
    }
    step.not_frozen()?;
    let mut applied = step.begin();
    ending::close(&mut applied, step.now, Ending::Superseded);
    if step.now < engagement.settling_until {
        applied.tell("PartnerResigned", json!({"partner": engagement.partner, "effective_at": step.now}));
        give_back(step, &mut applied, engagement, ReturnReason::Resign, &BTreeSet::new());
        return Ok(applied);
    }
    let effective_at = step.now.plus(step.situation.timers.resign_notice);
    applied.tell("PartnerResigned", json!({"partner": engagement.partner, "effective_at": effective_at}));
    pend(
        &mut applied,
        engagement,
        Some(ReturnPending {
            reason: ReturnReason::Resign,
            requested_at: step.now,
            effective_at,
            locked: false,
            keep: BTreeSet::new(),
        }),
    );
    Ok(applied)
}

/// T21: the partner stopped paying, and the client takes the plan over with their own card. The site is back at once, on
/// the paid plan.
pub(super) fn rescue(step: &Step<'_>, engagement: &Engagement) -> Result<Applied, Refusal> {
    match step.site().plan.status {
        PlanStatus::Ok => return Err(step.illegal("the plan is paid")),
        PlanStatus::PastDue | PlanStatus::Lapsed => {}
    }
    step.not_frozen()?;
    let mut applied = step.begin();
    applied.tell("PlanRescued", json!({"client": engagement.client, "partner": engagement.partner}));
    give_back(step, &mut applied, engagement, ReturnReason::PlanLapsed, &kept(engagement));
    // It is this plan that is taken over, not one of before, and paid from now on: no bridge is needed. What ran out was a
    // paid plan: a free one is never past due.
    applied.site.plan = Plan {
        tier: Tier::Premium,
        status: PlanStatus::Ok,
        lapses_at: None,
        returns_at: None,
        bridge_until: None,
        ..step.site().plan.clone()
    };
    Ok(applied)
}

fn kept(engagement: &Engagement) -> BTreeSet<UserId> {
    engagement.return_pending.as_ref().map(|pending| pending.keep.clone()).unwrap_or_default()
}

/// Sets a return going that nobody asked for, and tells both sides.
pub(super) fn schedule(
    applied: &mut Applied,
    engagement: &Engagement,
    reason: ReturnReason,
    since: Timestamp,
    effective_at: Timestamp,
) {
    applied.tell("ReturnScheduled", json!({"reason": reason_name(reason), "effective_at": effective_at}));
    let pending = ReturnPending { reason, requested_at: since, effective_at, locked: false, keep: BTreeSet::new() };
    pend(applied, engagement, Some(pending));
}

/// T22: the notice of an agency's suspension is over; as of that deadline, however late the worker.
pub(super) fn for_agency(step: &Step<'_>, engagement: &Engagement, reason: ReturnReason, at: Timestamp) -> Applied {
    let mut applied = step.begin();
    let due = ReturnPending { reason, requested_at: at, effective_at: at, locked: false, keep: BTreeSet::new() };
    let engagement = Engagement { return_pending: Some(due), ..engagement.clone() };
    give_back(step, &mut applied, &engagement, reason, &BTreeSet::new());
    applied
}

/// Whether a reclaim needs no notice: nobody has settled yet, or there is no partner to give notice to.
fn at_once(step: &Step<'_>, engagement: &Engagement) -> bool {
    let settling = step.now < engagement.settling_until;
    let partner = step.situation.directory.agency(&engagement.partner);
    // In custody nobody knows who holds the client's password: the notice runs.
    !step.frozen() && step.site().custody.is_none() && (settling || !partner.is_some_and(|agency| agency.is_active()))
}

/// When a notice given now begins to run: a freeze stops its clock.
fn clock_starts(step: &Step<'_>) -> Timestamp {
    freeze(step.site(), step.now).map_or(step.now, |freeze| freeze.until.max(step.now))
}

pub(super) fn pend(applied: &mut Applied, engagement: &Engagement, pending: Option<ReturnPending>) {
    let engagement = Engagement { return_pending: pending, ..engagement.clone() };
    applied.site.seats = Seats::PartnerManaged(Box::new(engagement));
}

/// The site is its client's again, as of the deadline when the commit comes late. The content and the domains were the
/// client's all along. No right through the partner survives (I24).
fn give_back(
    step: &Step<'_>,
    applied: &mut Applied,
    engagement: &Engagement,
    reason: ReturnReason,
    keep: &BTreeSet<UserId>,
) {
    let at = effect_time(step, engagement);
    ending::close(applied, step.now, Ending::Superseded);
    let moved = people::part(&mut applied.site, engagement, keep, step.situation.strengths, step.situation.revision);
    let site = &mut applied.site;
    site.seats = Seats::SelfManaged { owner: engagement.client.clone() };
    site.dispute = None;
    // The client decides anew about a site in the trash: it does not vanish with the partner (I26).
    site.purge_at = site.trashed_at.map(|_| step.now.plus(step.situation.timers.trash_keep));
    match &engagement.plan_before {
        Some(plan) if at < engagement.settling_until => site.plan = plan.clone(),
        Some(_) | None => bridge(&mut site.plan, at, step.situation.timers.plan_bridge),
    }
    applied.tell("SiteReturned", json!({"reason": reason_name(reason), "at": at, "plan": applied.site.plan}));
    accept::tell_seats(applied, &step.site().seats, &moved);
}

/// The plan goes on for a while, so that the client can add a card; what the partner owed is not theirs.
fn bridge(plan: &mut Plan, at: Timestamp, longest: Duration) {
    plan.status = PlanStatus::Ok;
    (plan.lapses_at, plan.returns_at) = (None, None);
    let paid_through = plan.next_charge_at.filter(|charge| *charge > at);
    let until = at.plus(longest);
    plan.bridge_until = (plan.tier == Tier::Premium).then(|| paid_through.map_or(until, |paid| paid.min(until)));
}

/// A return takes effect at its deadline or earlier, never later: a late worker adds nothing to the partner's time.
fn effect_time(step: &Step<'_>, engagement: &Engagement) -> Timestamp {
    let Some(pending) = &engagement.return_pending else { return step.now };
    // The clock stood still during a freeze that ended after the deadline.
    let thawed = step.site().frozen.as_ref().map_or(pending.effective_at, |freeze| freeze.until);
    pending.effective_at.max(thawed).min(step.now)
}

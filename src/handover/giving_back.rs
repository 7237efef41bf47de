//! The way back to the client (T11 to T17). No state of the partner, and nothing the partner does, stands in it.
//!
//! A return has one effect, [`give_back`]; the commands differ in who starts it and how long it waits. Only a freeze
//! stops its clock, and a freeze is bounded: that is I7.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    Applied, Refusal, accept,
    ending::{self, Ending},
    people,
    step::{Step, freeze, is_due, reason_name},
};
use crate::{
    ids::UserId,
    site::{Engagement, ReturnPending, ReturnReason, Seats, Side},
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
/// again, and what was derived from a suspended agency or a lapsed plan the caller derives anew.
pub(super) fn withdraw(step: &Step<'_>, engagement: &Engagement) -> Result<Applied, Refusal> {
    let Some(pending) = engagement.return_pending.as_ref().filter(|p| p.reason == ReturnReason::Reclaim) else {
        return Err(step.illegal("no reclaim is pending"));
    };
    step.not_frozen()?;
    if is_due(step.site(), pending, step.now) {
        return Err(step.illegal("the notice is over: the site has come back"));
    }
    let mut applied = step.begin();
    pend(&mut applied, engagement, None);
    applied.tell("ReclaimWithdrawn", json!({"partner": engagement.partner}));
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

/// Whether a reclaim needs no notice: nobody has settled yet, or there is no partner to give notice to.
fn at_once(step: &Step<'_>, engagement: &Engagement) -> bool {
    let settling = step.now < engagement.settling_until;
    let partner = step.situation.directory.agency(&engagement.partner);
    !step.frozen() && (settling || !partner.is_some_and(|agency| agency.is_active()))
}

/// When a notice given now begins to run: a freeze stops its clock.
fn clock_starts(step: &Step<'_>) -> Timestamp {
    freeze(step.site(), step.now).map_or(step.now, |freeze| freeze.until.max(step.now))
}

fn pend(applied: &mut Applied, engagement: &Engagement, pending: Option<ReturnPending>) {
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
    match &engagement.plan_before {
        Some(plan) if at < engagement.settling_until => site.plan = plan.clone(),
        Some(_) | None => site.plan.bridge_until = Some(at.plus(step.situation.timers.plan_bridge)),
    }
    applied.tell("SiteReturned", json!({"reason": reason_name(reason), "at": at, "plan": applied.site.plan}));
    accept::tell_seats(applied, &step.site().seats, &moved);
}

/// A return takes effect at its deadline or earlier, never later: a late worker adds nothing to the partner's time.
fn effect_time(step: &Step<'_>, engagement: &Engagement) -> Timestamp {
    let Some(pending) = &engagement.return_pending else { return step.now };
    // The clock stood still during a freeze that ended after the deadline.
    let thawed = step.site().frozen.as_ref().map_or(pending.effective_at, |freeze| freeze.until);
    pending.effective_at.max(thawed).min(step.now)
}

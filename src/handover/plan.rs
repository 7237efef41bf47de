//! The host plan: billing says whether it is paid, and time draws the consequences (T18 to T20).
//!
//! Both deadlines are set when the payment is missed, or when the payer becomes a partner, so that a late worker neither lengthens the grace nor the notice,
//! and a decision can tell from the stored row alone when a partner's rights end.

use serde_json::json;

use super::{
    Applied, Refusal, Reported, giving_back,
    step::{Step, freeze},
};
use crate::{
    site::{PlanStatus, ReturnReason, Seats, Site, Tier},
    time::Timestamp,
};

/// T18, T19: billing reports.
pub(super) fn report(step: &Step<'_>, status: Reported) -> Result<Applied, Refusal> {
    match status {
        Reported::PastDue => past_due(step),
        Reported::Ok => paid(step),
    }
}

fn past_due(step: &Step<'_>) -> Result<Applied, Refusal> {
    let site = step.site();
    match site.plan.status {
        PlanStatus::PastDue => return Err(Refusal::AlreadySo { what: "the plan is past due" }),
        PlanStatus::Lapsed => return Err(Refusal::AlreadySo { what: "the plan has lapsed" }),
        PlanStatus::Ok => {}
    }
    if site.plan.tier == Tier::Free {
        return Err(step.illegal("a free plan is never past due"));
    }
    let timers = step.situation.timers;
    // A freeze stops this clock as it stops every other (T24).
    let start = freeze(site, step.now).map_or(step.now, |freeze| freeze.until);
    let lapses_at = start.plus(timers.past_due_grace);
    let returns_at = site.seats.engagement().map(|_| lapses_at.plus(timers.lapse_notice));
    let mut applied = step.begin();
    let plan = &mut applied.site.plan;
    plan.status = PlanStatus::PastDue;
    (plan.lapses_at, plan.returns_at) = (Some(lapses_at), returns_at);
    tell_past_due(&mut applied);
    Ok(applied)
}

fn tell_past_due(applied: &mut Applied) {
    let (seats, plan) = (&applied.site.seats, &applied.site.plan);
    let data = json!({"holder": seats.plan_holder(), "client": seats.content_owner(), "lapses_at": plan.lapses_at,
        "returns_at": plan.returns_at});
    applied.tell("PlanPastDue", data);
}

/// T8: an agency that owes for a site it built goes on owing as its partner. From now on the debt ends in a return, and
/// there is a client to tell; for a plan that has lapsed already the notice begins now.
pub(super) fn owed_on(step: &Step<'_>, applied: &mut Applied) {
    let notice = step.situation.timers.lapse_notice;
    let Seats::PartnerManaged(engagement) = applied.site.seats.clone() else { return };
    let plan = &mut applied.site.plan;
    match plan.status {
        PlanStatus::Ok => {}
        PlanStatus::PastDue => {
            plan.returns_at = plan.lapses_at.map(|at| at.plus(notice));
            tell_past_due(applied);
        }
        PlanStatus::Lapsed => {
            let effective_at = step.now.plus(notice);
            giving_back::schedule(applied, &engagement, ReturnReason::PlanLapsed, step.now, effective_at);
        }
    }
}

/// The debt is paid, or the client added a card after a return. A return that the lapse brought has no reason any more.
fn paid(step: &Step<'_>) -> Result<Applied, Refusal> {
    let site = step.site();
    let lapsed = site.plan.status == PlanStatus::Lapsed;
    if site.plan.status == PlanStatus::Ok && site.plan.bridge_until.is_none() {
        return Err(Refusal::AlreadySo { what: "the plan is paid" });
    }
    let mut applied = step.begin();
    let plan = &mut applied.site.plan;
    plan.status = PlanStatus::Ok;
    (plan.lapses_at, plan.returns_at, plan.bridge_until) = (None, None, None);
    if lapsed {
        plan.tier = Tier::Premium;
    }
    applied.tell("PlanCured", json!({"holder": site.seats.plan_holder()}));
    if let Seats::PartnerManaged(engagement) = &site.seats {
        let by_lapse = engagement.return_pending.as_ref().is_some_and(|back| back.reason == ReturnReason::PlanLapsed);
        if by_lapse {
            applied.tell("ReturnCancelled", json!({"reason": "plan_lapsed"}));
            giving_back::pend(&mut applied, engagement, None);
        }
    }
    Ok(applied)
}

/// Whether time has something to say about the plan: the grace is over, or the bridge after a return.
pub(super) fn runs_out(site: &Site, now: Timestamp) -> bool {
    let over = |deadline: Option<Timestamp>| deadline.is_some_and(|at| at <= now);
    match site.plan.status {
        PlanStatus::PastDue => over(site.plan.lapses_at),
        PlanStatus::Ok => over(site.plan.bridge_until) && site.seats.owner().is_some(),
        PlanStatus::Lapsed => false,
    }
}

/// T20: the site goes on as a free one; a partner's site begins its way back to the client. Nothing is deleted.
pub(super) fn lapse(step: &Step<'_>) -> Result<Applied, Refusal> {
    let site = step.site();
    if !runs_out(site, step.now) {
        return Err(step.illegal("the plan has not run out"));
    }
    step.not_frozen()?;
    let mut applied = step.begin();
    let plan = &mut applied.site.plan;
    plan.tier = Tier::Free;
    if plan.status == PlanStatus::Ok {
        plan.bridge_until = None;
        applied.tell("PlanBridgeEnded", json!({"holder": site.seats.plan_holder()}));
        return Ok(applied);
    }
    plan.status = PlanStatus::Lapsed;
    let lapsed_at = plan.lapses_at.take().unwrap_or(step.now);
    let returns_at = plan.returns_at.take();
    applied.tell("PlanLapsed", json!({"holder": site.seats.plan_holder(), "at": lapsed_at, "returns_at": returns_at}));
    if let Seats::PartnerManaged(engagement) = &site.seats {
        let effective_at = returns_at.unwrap_or_else(|| lapsed_at.plus(step.situation.timers.lapse_notice));
        if engagement.return_pending.is_none() {
            giving_back::schedule(&mut applied, engagement, ReturnReason::PlanLapsed, lapsed_at, effective_at);
        }
    }
    Ok(applied)
}

//! Disputes, freezes and custody (T24, T25, T29): trust and safety stops everybody, for a while.
//!
//! A freeze moves no seat, title, payer or domain. It stops the clocks of a return and of an unpaid plan: their deadlines
//! move by the freeze's length when it begins, and back by what is left of it when it is lifted early, so that a stored
//! deadline is always the true one and nobody has to remember a remainder. It is bounded, ends by itself, and there is
//! one in each engagement (I16).

use std::time::Duration;

use serde_json::json;
use smol_str::SmolStr;

use super::{
    Applied, Case, Refusal,
    ending::{self, Ending},
    step::Step,
};
use crate::{
    assignment::StaffRole,
    ids::{Account, Principal},
    site::{Dispute, Freeze, Seats, Side, Site},
    time::Timestamp,
};

/// T24: a seat disputes. That tells trust and safety, and keeps new offers away for a while; it freezes nothing.
pub(super) fn dispute(step: &Step<'_>, reason: &SmolStr) -> Result<Applied, Refusal> {
    if step.site().dispute.as_ref().is_some_and(|open| step.now < open.until) {
        return Err(Refusal::AlreadySo { what: "a dispute is open on this site" });
    }
    let opened_by = seat(step)?;
    let until = step.now.plus(step.situation.timers.freeze_max);
    let mut applied = step.begin();
    applied.tell("DisputeOpened", json!({"by": opened_by, "reason": reason, "until": until}));
    applied.site.dispute = Some(Dispute { opened_by, reason: reason.clone(), at: step.now, until });
    Ok(applied)
}

/// Whoever opened a dispute closes it.
pub(super) fn close_dispute(step: &Step<'_>) -> Result<Applied, Refusal> {
    let Some(open) = step.site().dispute.as_ref().filter(|open| step.now < open.until) else {
        return Err(step.illegal("no dispute is open"));
    };
    if seat(step)? != open.opened_by {
        return Err(Refusal::OtherSide);
    }
    let mut applied = step.begin();
    applied.tell("DisputeClosed", json!({"by": open.opened_by}));
    applied.site.dispute = None;
    Ok(applied)
}

fn seat(step: &Step<'_>) -> Result<Account, Refusal> {
    let acting = step.situation.acting.ok_or(Refusal::NotAParty)?;
    let engagement = step.site().seats.engagement().ok_or(Refusal::NotAParty)?;
    Ok(match acting.side {
        Side::Client => engagement.client.clone().into(),
        Side::Partner => engagement.partner.clone().into(),
    })
}

/// T24: nobody changes the site until the freeze ends. An open offer rested on a working site, and is void.
pub(super) fn begin(step: &Step<'_>, case: &Case) -> Result<Applied, Refusal> {
    agreed(step, case, step.situation.four_eyes)?;
    if step.frozen() {
        return Err(Refusal::AlreadySo { what: "the site is frozen" });
    }
    let mut applied = step.begin();
    if let Seats::PartnerManaged(engagement) = &mut applied.site.seats {
        if engagement.freeze_used {
            return Err(Refusal::FreezeUsed);
        }
        engagement.freeze_used = true;
    }
    ending::close(&mut applied, step.now, Ending::Invalidated);
    let length = step.situation.timers.freeze_max;
    applied.site.frozen = Some(Freeze { since: step.now, until: step.now.plus(length), case: case.case.clone() });
    move_clocks(&mut applied.site, |at| at.plus(length));
    let until = applied.site.frozen.as_ref().map(|freeze| freeze.until);
    applied.tell("SiteFrozen", json!({"until": until, "case": case.case, "approver": case.approver}));
    Ok(applied)
}

/// T25: trust and safety lets everybody go on before the limit; two of them end custody without a successor.
pub(super) fn lift(step: &Step<'_>, case: &Case) -> Result<Applied, Refusal> {
    let custody = step.site().custody.as_ref();
    agreed(step, case, step.situation.four_eyes || custody.is_some())?;
    if !step.frozen() && custody.is_none() {
        return Err(step.illegal("the site is not frozen"));
    }
    let mut applied = step.begin();
    if custody.is_some() {
        under(step, case)?;
        ending::close(&mut applied, step.now, Ending::Invalidated);
        applied.site.custody = None;
        applied.tell("CustodyClosed", json!({"case": case.case, "approver": case.approver}));
    }
    thaw(&mut applied, step.now);
    // What the freeze was about is decided.
    applied.site.dispute = None;
    Ok(applied)
}

/// T25: the freeze has reached its limit.
pub(super) fn end(step: &Step<'_>) -> Result<Applied, Refusal> {
    if step.frozen() || step.site().frozen.is_none() {
        return Err(step.illegal("no freeze has reached its limit"));
    }
    let mut applied = step.begin();
    thaw(&mut applied, step.now);
    Ok(applied)
}

/// Ends the freeze, if there is one: clocks run on from here, or from the limit if that was earlier.
pub(super) fn thaw(applied: &mut Applied, now: Timestamp) {
    let Some(freeze) = applied.site.frozen.take() else { return };
    let left = freeze.until.since(now);
    if left > Duration::ZERO {
        move_clocks(&mut applied.site, |at| at.minus(left));
    }
    applied.tell("SiteUnfrozen", json!({"at": now.min(freeze.until), "case": freeze.case}));
}

/// The clocks that a freeze stops. An offer's life and settling run on.
fn move_clocks(site: &mut Site, shift: impl Fn(Timestamp) -> Timestamp) {
    site.plan.lapses_at = site.plan.lapses_at.map(&shift);
    site.plan.returns_at = site.plan.returns_at.map(&shift);
    if let Seats::PartnerManaged(engagement) = &mut site.seats
        && let Some(pending) = &mut engagement.return_pending
    {
        pending.effective_at = shift(pending.effective_at);
    }
}

/// T29: the owner cannot act for good. Until a successor has accepted, the policies let nobody change the site; clocks run
/// on, so that a partner's time is not lengthened by it.
pub(super) fn open_custody(step: &Step<'_>, case: &Case) -> Result<Applied, Refusal> {
    agreed(step, case, true)?;
    if step.site().custody.is_some() {
        return Err(Refusal::AlreadySo { what: "the site is in custody" });
    }
    let mut applied = step.begin();
    ending::close(&mut applied, step.now, Ending::Invalidated);
    applied.site.custody = Some(case.case.clone());
    applied.tell("CustodyOpened", json!({"case": case.case, "approver": case.approver}));
    Ok(applied)
}

/// What is done in custody is done under the case that it was opened with.
pub(super) fn under(step: &Step<'_>, case: &Case) -> Result<(), Refusal> {
    match &step.site().custody {
        Some(open) if *open == case.case => Ok(()),
        Some(_) => Err(step.illegal("the site is in custody under another case")),
        None => Err(step.illegal("a successor is recorded while the site is in custody; use open_custody first")),
    }
}

/// What trust and safety does has a case, and where it matters a colleague who agreed (domain §9).
pub(super) fn agreed(step: &Step<'_>, case: &Case, needed: bool) -> Result<(), Refusal> {
    let actor = step.principal()?;
    match &case.approver {
        Some(approver) => {
            let colleague = step.situation.directory.staff_role(approver) == Some(StaffRole::TrustSafety);
            if colleague && actor != Principal::Staff(approver.clone()) { Ok(()) } else { Err(Refusal::ApproverNeeded) }
        }
        None if needed => Err(Refusal::ApproverNeeded),
        None => Ok(()),
    }
}

//! How an offer ends without anybody taking a seat (T4, T5, T6, and being overtaken). Rights are as before.

use serde_json::json;

use super::{Applied, Handover, HandoverStatus, Refusal, step::Step};
use crate::{ids::HandoverId, time::Timestamp};

/// What ended an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Declined,
    Cancelled,
    Expired,
    Superseded,
    Invalidated,
}

impl Ending {
    const fn status(self) -> HandoverStatus {
        match self {
            Self::Declined => HandoverStatus::Declined,
            Self::Cancelled => HandoverStatus::Cancelled,
            Self::Expired => HandoverStatus::Expired,
            Self::Superseded => HandoverStatus::Superseded,
            Self::Invalidated => HandoverStatus::Invalidated,
        }
    }
    const fn event(self) -> &'static str {
        match self {
            Self::Declined => "HandoverDeclined",
            Self::Cancelled => "HandoverCancelled",
            Self::Expired => "HandoverExpired",
            Self::Superseded => "HandoverSuperseded",
            Self::Invalidated => "HandoverInvalidated",
        }
    }
}

/// T4: the named party says no.
pub(super) fn decline(step: &Step<'_>, id: &HandoverId) -> Result<Applied, Refusal> {
    let offer = live(step, id)?;
    // Who has said yes already may still say no, as long as another yes is missing.
    let given = offer.consents_given.iter().map(|consent| &consent.account);
    let asked = offer.consents_needed.iter().chain(given);
    if !asked.into_iter().any(|account| step.party(account).is_ok()) {
        return Err(Refusal::NotAParty);
    }
    step.not_frozen()?;
    Ok(closed(step, Ending::Declined))
}

/// T5: the initiator takes the offer back.
pub(super) fn cancel(step: &Step<'_>, id: &HandoverId) -> Result<Applied, Refusal> {
    step.party(&live(step, id)?.initiator)?;
    step.not_frozen()?;
    Ok(closed(step, Ending::Cancelled))
}

/// T6: time ends the offer. Neither a freeze nor the trash stops that clock.
pub(super) fn expire(step: &Step<'_>, id: &HandoverId) -> Result<Applied, Refusal> {
    if named(step, id)?.is_live(step.now) {
        return Err(step.illegal("the offer has not run out yet"));
    }
    Ok(closed(step, Ending::Expired))
}

/// Reminds those whose answer is missing: once for all the times that have passed.
pub(super) fn remind(step: &Step<'_>, id: &HandoverId) -> Result<Applied, Refusal> {
    let offer = live(step, id)?;
    if offer.reminders.first().is_none_or(|at| step.now < *at) {
        return Err(step.illegal("there is nobody to remind yet"));
    }
    let mut offer = offer.clone();
    offer.reminders.retain(|at| step.now < *at);
    let mut applied = step.begin();
    applied.tell(
        "HandoverReminder",
        json!({"handover": offer.id, "kind": offer.kind, "to": offer.consents_needed, "expires_at": offer.expires_at}),
    );
    applied.site.open_handover = Some(offer.clone());
    applied.handovers.push(offer);
    Ok(applied)
}

fn closed(step: &Step<'_>, ending: Ending) -> Applied {
    let mut applied = step.begin();
    close(&mut applied, step.now, ending);
    applied
}

/// The site's offer of this id, unless it was ended. One that ran out and was not committed as expired is found.
pub(super) fn named<'a>(step: &Step<'a>, id: &HandoverId) -> Result<&'a Handover, Refusal> {
    let site = step.site();
    if let Some(offer) = site.open_handover.as_ref().filter(|offer| offer.id == *id) {
        return Ok(offer);
    }
    match step.situation.named.filter(|handover| handover.id == *id && handover.site == site.id) {
        Some(ended) if !ended.status.is_live() => Err(Refusal::Terminal(ended.status)),
        Some(_) | None => Err(Refusal::UnknownHandover),
    }
}

/// The site's offer of this id, if somebody can still answer it.
pub(super) fn live<'a>(step: &Step<'a>, id: &HandoverId) -> Result<&'a Handover, Refusal> {
    let offer = named(step, id)?;
    if offer.is_live(step.now) { Ok(offer) } else { Err(Refusal::Terminal(offer.status_at(step.now))) }
}

/// Ends the open offer, if there is one. Whatever was meant to end it, an offer that ran out before is expired as of
/// its deadline: that is how it has counted since.
pub(super) fn close(applied: &mut Applied, now: Timestamp, ending: Ending) {
    let Some(mut offer) = applied.site.open_handover.take() else { return };
    let (ending, at) = if offer.is_live(now) { (ending, now) } else { (Ending::Expired, offer.expires_at) };
    offer.status = ending.status();
    offer.ended_at = Some(at);
    applied.tell(
        ending.event(),
        json!({"handover": offer.id, "kind": offer.kind, "initiator": offer.initiator, "to": offer.to, "at": at}),
    );
    applied.handovers.push(offer);
}

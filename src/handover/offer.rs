//! Making an offer (T2, T7): nothing changes but that somebody may now say yes.

use serde_json::json;

use super::{
    Applied, Blocker, Handover, HandoverKind, HandoverStatus, Refusal,
    ending::{self, Ending},
    step::{Step, agency_blockers, unblocked},
};
use crate::{
    ids::{Account, AgencyId, UserId},
    site::{PlanStatus, Tier},
};

/// T2: the owner offers an agency the Partner seat.
pub(super) fn partner_role(step: &Step<'_>, owner: &UserId, to: &AgencyId) -> Result<Applied, Refusal> {
    let agency = step.situation.directory.agency(to).ok_or(Refusal::UnknownAgency)?;
    none_open(step)?;
    unblocked(site_blockers(step).chain(agency_blockers(agency)).collect())?;
    open(step, HandoverKind::PartnerHandover, owner.clone().into(), to.clone().into())
}

/// T7: the agency that built the site offers its client the Client seat. Visitors must see the site and its plan must
/// be a paid one, because that is what the client is told.
pub(super) fn client_role(step: &Step<'_>, owner: &AgencyId, to: &UserId) -> Result<Applied, Refusal> {
    let agency = step.situation.directory.agency(owner).ok_or(Refusal::UnknownAgency)?;
    none_open(step)?;
    let site = step.site();
    let unpublished = (!site.published).then_some(Blocker::NotPublished);
    let free = (site.plan.tier == Tier::Free).then_some(Blocker::PlanFree);
    unblocked(site_blockers(step).chain(agency_blockers(agency)).chain(unpublished).chain(free).collect())?;
    open(step, HandoverKind::ClientAssignment, owner.clone().into(), to.clone().into())
}

/// One offer at a time (I13). One that ran out does not count, committed or not.
fn none_open(step: &Step<'_>) -> Result<(), Refusal> {
    match &step.site().open_handover {
        Some(offer) if offer.is_live(step.now) => Err(Refusal::AlreadyOpen),
        Some(_) | None => Ok(()),
    }
}

fn site_blockers(step: &Step<'_>) -> impl Iterator<Item = Blocker> + use<> {
    let plan = &step.site().plan;
    let unpaid = (plan.status != PlanStatus::Ok).then_some(Blocker::PlanPastDue);
    let stuck = (!plan.transferable).then_some(Blocker::PlanNotTransferable);
    unpaid.into_iter().chain(stuck).chain(step.stops())
}

fn open(step: &Step<'_>, kind: HandoverKind, initiator: Account, to: Account) -> Result<Applied, Refusal> {
    let initiated_by = step.person()?.clone();
    let mut applied = step.begin();
    // An offer that ran out and was not committed as expired makes room in this same step.
    ending::close(&mut applied, step.now, Ending::Expired);
    let offer = Handover {
        id: step.situation.new_handover.clone(),
        site: step.site().id.clone(),
        kind,
        initiator,
        initiated_by,
        consents_needed: vec![to.clone()],
        to,
        status: HandoverStatus::Open,
        consents_given: Vec::new(),
        offered_at: step.now,
        expires_at: step.now.plus(step.situation.timers.offer_ttl),
        ended_at: None,
        revision_at_offer: step.site().revision,
        preview_digest: step.situation.preview_digest.into(),
    };
    applied.tell(
        "HandoverOffered",
        json!({
            "handover": offer.id,
            "kind": offer.kind,
            "initiator": offer.initiator,
            "to": offer.to,
            "expires_at": offer.expires_at,
        }),
    );
    applied.site.open_handover = Some(offer.clone());
    applied.handovers.push(offer);
    Ok(applied)
}

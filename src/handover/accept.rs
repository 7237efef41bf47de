//! Saying yes (T3, T8): the one way into a partner-managed site.
//!
//! Everything that an offer rested on is asked again here, because time has passed since. The explanation's digest is
//! compared by the caller, who knows the texts.

use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{
    Applied, Blocker, Consent, Handover, HandoverKind, HandoverStatus, Refusal, ending, people,
    step::{Step, agency_blockers, unblocked},
};
use crate::{
    assignment::Agency,
    ids::{Account, AgencyId, HandoverId, UserId},
    site::{Engagement, Plan, Seats, Site},
};

/// A yes, and what was read before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) handover: &'a HandoverId,
    pub(super) explanation_digest: &'a SmolStr,
    pub(super) lang: &'a SmolStr,
}

/// T3: an agency takes the Partner seat that the owner offered. The owner becomes the client; the title stays.
pub(super) fn partner_role(step: &Step<'_>, owner: &UserId, answer: &Answer<'_>) -> Result<Applied, Refusal> {
    let offer = ending::live(step, answer.handover)?;
    let (HandoverKind::PartnerHandover, Account::Agency(partner)) = (offer.kind, &offer.to) else {
        return Err(step.illegal("this kind of offer is not answered from here"));
    };
    let accepted = consent(step, offer, &owner.clone().into(), answer)?;
    let agency = step.situation.directory.agency(partner).ok_or(Refusal::UnknownAgency)?;
    let stuck = (!step.site().plan.transferable).then_some(Blocker::PlanNotTransferable);
    unblocked(step.stops().into_iter().chain(agency_blockers(agency)).chain(stuck).collect())?;
    Ok(seat(step, accepted, owner, agency, Some(step.site().plan.clone())))
}

/// T8: a client takes the site that an agency built for them: the content and the agency's domains on it become the
/// client's, and nothing is asked of their purse.
pub(super) fn client_role(step: &Step<'_>, owner: &AgencyId, answer: &Answer<'_>) -> Result<Applied, Refusal> {
    let offer = ending::live(step, answer.handover)?;
    let (HandoverKind::ClientAssignment, Account::User(client)) = (offer.kind, &offer.to) else {
        return Err(step.illegal("this kind of offer is not answered from here"));
    };
    let accepted = consent(step, offer, &owner.clone().into(), answer)?;
    let agency = step.situation.directory.agency(owner).ok_or(Refusal::UnknownAgency)?;
    unblocked(step.stops().into_iter().chain(agency_blockers(agency)).collect())?;
    // No snapshot of the plan: it was the agency's, and a client who undoes the assignment must not find themself
    // holding a paid plan without end (I11). They get the bridge that every other return gives.
    Ok(seat(step, accepted, client, agency, None))
}

/// In a partner-managed site no command opens an offer yet, so an answer can only come too late.
pub(super) fn while_managed(step: &Step<'_>, id: &HandoverId) -> Result<Applied, Refusal> {
    ending::live(step, id)?;
    Err(step.illegal("this kind of offer is not answered from here"))
}

/// The handover with the acting person's yes in it. The offering account must still hold the seat it offered from
/// (I12); every transition that moves a seat ends the open offer, so otherwise the offer is void.
fn consent(step: &Step<'_>, offer: &Handover, seat: &Account, answer: &Answer<'_>) -> Result<Handover, Refusal> {
    if offer.initiator != *seat {
        return Err(Refusal::Terminal(HandoverStatus::Invalidated));
    }
    let by = step.party(&offer.to)?.clone();
    let mut accepted = offer.clone();
    accepted.status = HandoverStatus::Accepted;
    accepted.ended_at = Some(step.now);
    accepted.consents_needed.retain(|account| *account != offer.to);
    accepted.consents_given.push(Consent {
        account: offer.to.clone(),
        by,
        at: step.now,
        explanation_digest: answer.explanation_digest.clone(),
        lang: answer.lang.clone(),
    });
    Ok(accepted)
}

fn seat(step: &Step<'_>, accepted: Handover, client: &UserId, partner: &Agency, plan_before: Option<Plan>) -> Applied {
    let before = &step.site().seats;
    let mut applied = step.begin();
    applied.site.open_handover = None;
    applied.site.seats = Seats::PartnerManaged(Box::new(Engagement {
        client: client.clone(),
        partner: partner.id.clone(),
        since: step.now,
        settling_until: step.now.plus(step.situation.timers.settle),
        handover: Some(accepted.id.clone()),
        plan_before,
        freeze_used: false,
        return_pending: None,
    }));
    let mut subsumed = people::subsume(&mut applied.site, client, partner, step.situation.strengths);
    people::drop_what_partner_could_not_give(&mut applied.site, &partner.id, step.situation.strengths, &mut subsumed);
    applied.tell(
        "HandoverAccepted",
        json!({
            "handover": accepted.id,
            "kind": accepted.kind,
            "initiator": accepted.initiator,
            "to": accepted.to,
            "by": accepted.consents_given.last().map(|consent| &consent.by),
        }),
    );
    let owner = applied.site.seats.content_owner();
    if before.content_owner() != owner {
        let domains = grant_domains(&mut applied.site, &partner.id.clone().into(), &client.clone().into());
        let from = before.content_owner();
        applied.tell("TitleGranted", json!({"from": from, "to": owner, "domains": domains}));
    }
    tell_seats(&mut applied, before, &subsumed);
    applied.handovers.push(accepted);
    applied
}

/// Gives the domains that `from` holds on this site to `to`, and names them.
fn grant_domains(site: &mut Site, from: &Account, to: &Account) -> Vec<String> {
    let mut names = Vec::new();
    for domain in site.domains.iter_mut().filter(|domain| domain.holder == *from) {
        domain.holder = to.clone();
        names.push(domain.name.clone());
    }
    names
}

/// Tells who sits where now, with what became of people on the way, and who pays if that changed.
pub(super) fn tell_seats(applied: &mut Applied, before: &Seats, people: &people::Moved) {
    let after = applied.site.seats.clone();
    applied.tell(
        "SeatsChanged",
        json!({
            "before": seats(before),
            "after": seats(&after),
            "removed": people.removed,
            "granted": people.granted,
            "kept": people.kept,
        }),
    );
    if before.plan_holder() != after.plan_holder() {
        let (from, to) = (before.plan_holder(), after.plan_holder());
        applied.tell("PlanHolderChanged", json!({"from": from, "to": to, "plan": applied.site.plan}));
    }
}

fn seats(seats: &Seats) -> Value {
    let engagement = seats.engagement();
    json!({
        "mode": seats.mode(),
        "owner": seats.owner(),
        "client": engagement.map(|engagement| Account::from(engagement.client.clone())),
        "partner": engagement.map(|engagement| Account::from(engagement.partner.clone())),
    })
}

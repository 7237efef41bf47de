//! Saying yes (T3, T8, T10, T26): the one way in which a seat changes hands with everybody's consent.
//!
//! Whether the offering seat is still held, the parties fit, the plan can move and the site may change is asked again here,
//! because time has passed since; a plan that became past due meanwhile stands in nobody's way, because what is owed stays
//! the former payer's. The explanation's digest is compared by the caller, who knows the texts.

use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{
    Applied, Blocker, Consent, Handover, HandoverKind, HandoverStatus, Refusal, Terms, ending, offer,
    people::{self, Moved},
    plan,
    step::{Step, agency_blockers, unblocked},
};
use crate::{
    assignment::Agency,
    ids::{Account, AgencyId, HandoverId, UserId},
    site::{Engagement, Plan, PlanStatus, Seats, Site, Tier},
};

/// A yes, and what was read before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) handover: &'a HandoverId,
    pub(super) explanation_digest: &'a SmolStr,
    pub(super) lang: &'a SmolStr,
}

const ELSEWHERE: &str = "this kind of offer is not answered from here";

/// T3, T26 on a person's own site.
pub(super) fn self_managed(step: &Step<'_>, owner: &UserId, answer: &Answer<'_>) -> Result<Applied, Refusal> {
    let offer = offered(step, answer.handover)?;
    match (offer.kind, &offer.to) {
        (HandoverKind::PartnerHandover, Account::Agency(partner)) => {
            let consented = consent(step, offer, answer)?;
            let agency = known(step, partner)?;
            let stuck = (!step.site().plan.transferable).then_some(Blocker::PlanNotTransferable);
            let reported = step.site().reported.iter().copied();
            let site = step.stops().into_iter().chain(stuck).chain(reported);
            unblocked(site.chain(offer::takes_over(step, agency)).collect())?;
            let plan_before = Some(step.site().plan.clone());
            Ok(seat(step, consented, owner, agency, plan_before))
        }
        (HandoverKind::OwnershipTransfer, Account::User(to)) => ownership(step, offer, to, answer),
        _ => Err(step.illegal(ELSEWHERE)),
    }
}

/// T8, T26 on a site that an agency built. At T8 the content and the agency's domains on it become the client's, and
/// nothing is asked of their purse.
pub(super) fn partner_built(step: &Step<'_>, owner: &AgencyId, answer: &Answer<'_>) -> Result<Applied, Refusal> {
    let offer = offered(step, answer.handover)?;
    match (offer.kind, &offer.to) {
        (HandoverKind::ClientAssignment, Account::User(client)) => {
            let consented = consent(step, offer, answer)?;
            let agency = known(step, owner)?;
            let closing = offer::closing(step, &offer.to);
            unblocked(step.stops().into_iter().chain(agency_blockers(agency)).chain(closing).collect())?;
            // No snapshot of the plan: it was the agency's, and a client who undoes the assignment must not find
            // themself holding a paid plan without end (I11). They get the bridge that every other return gives.
            Ok(seat(step, consented, client, agency, None))
        }
        (HandoverKind::OwnershipTransfer, Account::User(to)) => ownership(step, offer, to, answer),
        _ => Err(step.illegal(ELSEWHERE)),
    }
}

/// T10, and T26 by case, on a site that a partner runs.
pub(super) fn partner_managed(
    step: &Step<'_>,
    engagement: &Engagement,
    answer: &Answer<'_>,
) -> Result<Applied, Refusal> {
    let offer = offered(step, answer.handover)?;
    match (offer.kind, &offer.to) {
        (HandoverKind::PartnerReplacement, Account::Agency(new)) => {
            let consented = consent(step, offer, answer)?;
            let agency = known(step, new)?;
            unblocked(step.stops().into_iter().chain(offer::takes_over(step, agency)).collect())?;
            if consented.consents_needed.is_empty() {
                return Ok(replace(step, consented, engagement, agency));
            }
            Ok(one_more_yes(step, consented))
        }
        (HandoverKind::OwnershipTransfer, Account::User(to)) => ownership(step, offer, to, answer),
        _ => Err(step.illegal(ELSEWHERE)),
    }
}

/// The live offer of this id. A request is answered by an offer, not by this.
fn offered<'a>(step: &Step<'a>, id: &HandoverId) -> Result<&'a Handover, Refusal> {
    let offer = ending::live(step, id)?;
    if offer.status == HandoverStatus::Requested {
        return Err(step.illegal("a request is answered with offer_partner_role or decline_handover"));
    }
    Ok(offer)
}

fn known<'a>(step: &Step<'a>, id: &AgencyId) -> Result<&'a Agency, Refusal> {
    step.situation.directory.agency(id).map(AsRef::as_ref).ok_or(Refusal::UnknownAgency)
}

/// The handover with the acting person's yes in it. The offering account must still hold the seat it offered from
/// (I12); every transition that moves a seat ends the open offer, so otherwise the offer is void.
fn consent(step: &Step<'_>, offer: &Handover, answer: &Answer<'_>) -> Result<Handover, Refusal> {
    if !offer::still_seated(offer, &step.site().seats) {
        return Err(Refusal::Terminal(HandoverStatus::Invalidated));
    }
    let Some(account) = offer.consents_needed.iter().find(|account| step.party(account).is_ok()).cloned() else {
        let said = offer.consents_given.iter().any(|consent| step.party(&consent.account).is_ok());
        return Err(if said {
            Refusal::AlreadySo { what: "you have said yes to this offer" }
        } else {
            Refusal::NotAParty
        });
    };
    let by = step.party(&account)?.clone();
    let mut consented = offer.clone();
    consented.consents_needed.retain(|needed| *needed != account);
    consented.consents_given.push(Consent {
        account,
        by,
        at: step.now,
        explanation_digest: answer.explanation_digest.clone(),
        lang: answer.lang.clone(),
        text_version: step.situation.text_version.into(),
    });
    if consented.consents_needed.is_empty() {
        consented.status = HandoverStatus::Accepted;
        consented.ended_at = Some(step.now);
    }
    Ok(consented)
}

/// One of several has said yes; the offer waits for the others.
fn one_more_yes(step: &Step<'_>, consented: Handover) -> Applied {
    let mut applied = step.begin();
    let by = consented.consents_given.last();
    applied.tell(
        "HandoverConsented",
        json!({
            "handover": consented.id,
            "kind": consented.kind,
            "account": by.map(|consent| &consent.account),
            "by": by.map(|consent| &consent.by),
            "consents_needed": consented.consents_needed,
        }),
    );
    applied.site.open_handover = Some(consented.clone());
    applied.handovers.push(consented);
    applied
}

fn engaged(step: &Step<'_>, accepted: &Handover, client: &UserId, partner: &Agency, plan: Option<Plan>) -> Seats {
    Seats::PartnerManaged(Box::new(Engagement {
        client: client.clone(),
        partner: partner.id.clone(),
        since: step.now,
        settling_until: step.now.plus(step.situation.timers.settle),
        handover: Some(accepted.id.clone()),
        plan_before: plan,
        freeze_used: false,
        return_pending: None,
    }))
}

fn seat(step: &Step<'_>, accepted: Handover, client: &UserId, partner: &Agency, plan_before: Option<Plan>) -> Applied {
    let before = &step.site().seats;
    let mut applied = step.begin();
    applied.site.open_handover = None;
    applied.site.seats = engaged(step, &accepted, client, partner, plan_before);
    start_paying(&mut applied.site, before);
    let mut moved = Moved::default();
    people::subsume(&mut applied.site, client, partner, step.situation.strengths, &mut moved);
    people::drop_what_partner_could_not_give(&mut applied.site, &partner.id, step.situation.strengths, &mut moved);
    tell_accepted(&mut applied, &accepted);
    let owner = applied.site.seats.content_owner();
    if before.content_owner() != owner {
        let from = before.content_owner();
        let domains = grant_domains(&mut applied.site, &partner.id.clone().into(), &client.clone().into(), |_| true);
        applied.tell("TitleGranted", json!({"from": from, "to": owner, "domains": domains}));
    }
    tell_seats(&mut applied, before, &moved);
    plan::owed_on(step, &mut applied);
    applied.handovers.push(accepted);
    applied
}

/// T10: the seat passes from one agency to another in one step; nothing of the old one's stays.
fn replace(step: &Step<'_>, accepted: Handover, engagement: &Engagement, partner: &Agency) -> Applied {
    let before = &step.site().seats;
    let mut applied = step.begin();
    applied.site.open_handover = None;
    let strengths = step.situation.strengths;
    let nobody = std::collections::BTreeSet::new();
    let mut moved = people::part(&mut applied.site, engagement, &nobody, strengths, step.situation.revision);
    // No snapshot of the plan: it was the old partner's, and a client who undoes the replacement has not agreed to pay.
    applied.site.seats = engaged(step, &accepted, &engagement.client, partner, None);
    applied.site.dispute = None;
    start_paying(&mut applied.site, before);
    people::subsume(&mut applied.site, &engagement.client, partner, strengths, &mut moved);
    tell_accepted(&mut applied, &accepted);
    applied.tell("PartnerLeft", json!({"partner": engagement.partner, "instead": partner.id}));
    tell_seats(&mut applied, before, &moved);
    applied.handovers.push(accepted);
    applied
}

/// T26: what the terms list moves, and nothing else stays with the former owner.
fn ownership(step: &Step<'_>, offer: &Handover, to: &UserId, answer: &Answer<'_>) -> Result<Applied, Refusal> {
    let Some(terms) = &offer.terms else { return Err(step.illegal(ELSEWHERE)) };
    let before = &step.site().seats;
    let by_case = terms.case.is_some();
    if before.engagement().is_some() && !by_case {
        return Err(step.illegal(ELSEWHERE));
    }
    if by_case {
        offer::never_the_partners(step, to)?;
    }
    let accepted = consent(step, offer, answer)?;
    still_held(step, offer, terms)?;
    let closing = offer::closing(step, &offer.to);
    let reported = step.site().reported.iter().copied().filter(|_| !by_case);
    unblocked(step.stops().into_iter().chain(closing).chain(reported).collect())?;
    let mut applied = step.begin();
    applied.site.open_handover = None;
    let recipient = Account::from(to.clone());
    let mut moved = Moved::default();
    match &step.site().seats {
        // The successor of a client sits where the client sat; the partner's seat is none of theirs.
        Seats::PartnerManaged(engagement) => {
            // A dispute is the seat's: whoever sits there now closes it.
            let former = Account::from(engagement.client.clone());
            if let Some(dispute) = applied.site.dispute.as_mut().filter(|dispute| dispute.opened_by == former) {
                dispute.opened_by = recipient.clone();
            }
            let engagement = Engagement { client: to.clone(), ..Engagement::clone(engagement) };
            applied.site.seats = Seats::PartnerManaged(Box::new(engagement));
            // What the former client said yes to, nobody has said yes to any more.
            applied.site.confirmations.clear();
            applied.site.sessions.retain(|session| session.granted_by != offer.initiator);
        }
        Seats::SelfManaged { .. } | Seats::PartnerBuilt { .. } | Seats::Purged => {
            applied.site.seats = Seats::SelfManaged { owner: to.clone() };
            people::owner_left(&mut applied.site, &mut moved);
            if !terms.plan {
                applied.site.plan = Plan::of(Tier::Free);
            }
            start_paying(&mut applied.site, before);
        }
    }
    applied.site.custody = None;
    people::owner_came(&mut applied.site, to, &mut moved);
    if let (true, Account::User(former)) = (terms.stay, &offer.initiator) {
        people::former_owner_stays(&mut applied.site, former, &recipient, step.situation.revision);
    }
    let domains =
        grant_domains(&mut applied.site, &offer.initiator, &recipient, |domain| terms.domains.contains(domain));
    tell_accepted(&mut applied, &accepted);
    tell_title(&mut applied, before, &recipient, terms, &domains);
    tell_seats(&mut applied, before, &moved);
    applied.handovers.push(accepted);
    Ok(applied)
}

/// What the recipient read is what they get: every domain that was listed.
fn still_held(step: &Step<'_>, offer: &Handover, terms: &Terms) -> Result<(), Refusal> {
    let held = |name: &String| {
        step.site().domains.iter().any(|domain| domain.name == *name && domain.holder == offer.initiator)
    };
    match terms.domains.iter().find(|name| !held(name)) {
        Some(domain) => Err(Refusal::UnknownDomain { domain: domain.clone() }),
        None => Ok(()),
    }
}

/// Whoever comes to pay starts with a clean plan: what is owed stays the former payer's.
fn start_paying(site: &mut Site, before: &Seats) {
    if before.plan_holder() == site.seats.plan_holder() {
        return;
    }
    let plan = &mut site.plan;
    plan.status = PlanStatus::Ok;
    (plan.lapses_at, plan.returns_at, plan.bridge_until) = (None, None, None);
}

fn tell_accepted(applied: &mut Applied, accepted: &Handover) {
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
}

fn tell_title(applied: &mut Applied, before: &Seats, to: &Account, terms: &Terms, domains: &[String]) {
    let from = before.content_owner();
    applied.tell(
        "TitleTransferred",
        json!({"from": from, "to": to, "domains": domains, "plan": terms.plan, "stay": terms.stay, "case": terms.case}),
    );
}

/// Gives those domains that `from` holds on this site to `to`, and names them.
fn grant_domains(site: &mut Site, from: &Account, to: &Account, listed: impl Fn(&String) -> bool) -> Vec<String> {
    let mut names = Vec::new();
    for domain in site.domains.iter_mut().filter(|domain| domain.holder == *from && listed(&domain.name)) {
        domain.holder = to.clone();
        names.push(domain.name.clone());
    }
    names
}

/// Tells who sits where now, with what became of people on the way, and who pays if that changed.
pub(super) fn tell_seats(applied: &mut Applied, before: &Seats, people: &Moved) {
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

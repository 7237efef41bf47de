//! Making an offer (T2, T7, T9, T26): nothing changes but that somebody may now say yes.

use serde_json::json;
use smol_str::SmolStr;

use super::{
    Applied, Blocker, Case, Handover, HandoverKind, HandoverStatus, Refusal, Terms,
    ending::{self, Ending},
    freeze,
    step::{Step, agency_blockers, unblocked},
};
use crate::{
    assignment::Agency,
    ids::{Account, AgencyId, Principal, UserId},
    site::{Engagement, PlanStatus, ReturnReason, Seats, Side, Tier},
};

/// T2: the owner offers an agency the Partner seat. Where that agency asked, this is the yes to its request, and the
/// request becomes the offer; a request of another agency is overtaken.
pub(super) fn partner_role(step: &Step<'_>, owner: &UserId, to: &AgencyId) -> Result<Applied, Refusal> {
    let agency = known(step, to)?;
    none_open(step)?;
    unblocked(site_blockers(step, true).into_iter().chain(takes_over(step, agency)).collect())?;
    let asked = step.site().open_handover.as_ref().filter(|asked| {
        asked.status == HandoverStatus::Requested
            && asked.is_live(step.now)
            && asked.initiator == agency.id.clone().into()
    });
    let draft = Draft {
        kind: HandoverKind::PartnerHandover,
        initiator: owner.clone().into(),
        to: to.clone().into(),
        consents: vec![to.clone().into()],
        terms: None,
    };
    open(step, draft, asked)
}

/// T7: the agency that built the site offers its client the Client seat. Visitors must see the site and its plan must
/// be a paid one, because that is what the client is told.
pub(super) fn client_role(step: &Step<'_>, owner: &AgencyId, to: &UserId) -> Result<Applied, Refusal> {
    let agency = known(step, owner)?;
    none_open(step)?;
    let site = step.site();
    let unpublished = (!site.published).then_some(Blocker::NotPublished);
    let free = (site.plan.tier == Tier::Free).then_some(Blocker::PlanFree);
    let closing = closing(step, &to.clone().into());
    let agency = agency_blockers(agency);
    let others = [unpublished, free, closing].into_iter().flatten();
    unblocked(site_blockers(step, true).into_iter().chain(agency).chain(others).collect())?;
    let draft = Draft {
        kind: HandoverKind::ClientAssignment,
        initiator: owner.clone().into(),
        to: to.clone().into(),
        consents: vec![to.clone().into()],
        terms: None,
    };
    open(step, draft, None)
}

/// T9: another agency is to take the Partner seat. The client may start it, or the partner with the client's yes: then
/// both the client and the new agency must consent. An unpaid plan does not stand in the way: the new partner pays from
/// its own start on, and what is owed stays the old partner's.
pub(super) fn replacement(step: &Step<'_>, engagement: &Engagement, to: &AgencyId) -> Result<Applied, Refusal> {
    let agency = known(step, to)?;
    none_open(step)?;
    if *to == engagement.partner {
        return Err(Refusal::OwnAccount);
    }
    let side = step.situation.acting.map_or(Side::Partner, |acting| acting.side);
    match engagement.return_pending.as_ref().map(|pending| pending.reason) {
        Some(ReturnReason::Reclaim) => {
            return Err(step.illegal("the client is taking the site back; use withdraw_reclaim first"));
        }
        Some(_) if side == Side::Partner => {
            return Err(step.illegal("the site is on its way back; only the client may name another partner now"));
        }
        Some(_) | None => {}
    }
    let old = step.situation.directory.agency(&engagement.partner);
    let stopped = old.filter(|old| side == Side::Partner && !old.is_active()).map(|_| Blocker::AgencySuspended);
    // The partner does not veto its own replacement by a dispute.
    let own = |blocker: &Blocker| !(side == Side::Client && *blocker == Blocker::OpenDispute);
    let site = site_blockers(step, false).into_iter().filter(own).chain(stopped);
    unblocked(site.chain(takes_over(step, agency)).collect())?;
    let client = Account::from(engagement.client.clone());
    let (initiator, consents) = match side {
        Side::Client => (client, vec![to.clone().into()]),
        Side::Partner => (engagement.partner.clone().into(), vec![client, to.clone().into()]),
    };
    let draft =
        Draft { kind: HandoverKind::PartnerReplacement, initiator, to: to.clone().into(), consents, terms: None };
    open(step, draft, None)
}

/// T26: the owner gives everything away: the title, the seat, the plan or not, the listed domains.
pub(super) fn ownership(step: &Step<'_>, owner: &Account, to: &UserId, terms: Terms) -> Result<Applied, Refusal> {
    none_open(step)?;
    let recipient = Account::from(to.clone());
    if recipient == *owner {
        return Err(Refusal::OwnAccount);
    }
    let site = step.site();
    let held = |name: &String| site.domains.iter().any(|domain| domain.name == *name && domain.holder == *owner);
    if let Some(domain) = terms.domains.iter().find(|name| !held(name)) {
        return Err(Refusal::UnknownDomain { domain: domain.clone() });
    }
    if terms.stay && matches!(owner, Account::Agency(_)) {
        return Err(step.illegal("an agency does not stay as a person; the new owner may offer it the partner role"));
    }
    let agency = step.site().seats.agency().and_then(|id| step.situation.directory.agency(id));
    let stopped = agency.filter(|agency| !agency.is_active()).map(|_| Blocker::AgencySuspended);
    let others = [closing(step, &recipient), stopped].into_iter().flatten();
    unblocked(site_blockers(step, terms.plan).into_iter().chain(others).collect())?;
    let draft = Draft {
        kind: HandoverKind::OwnershipTransfer,
        initiator: owner.clone(),
        consents: vec![recipient.clone()],
        to: recipient,
        terms: Some(terms),
    };
    open(step, draft, None)
}

/// T26 by case: while a site is in custody, trust and safety offers the legal successor what the owner had: the title,
/// the owner's or the client's seat, every domain of theirs. Never to the partner or its people (T29).
pub(super) fn succession(step: &Step<'_>, to: &UserId, case: &Case) -> Result<Applied, Refusal> {
    freeze::agreed(step, case, true)?;
    freeze::under(step, case)?;
    let site = step.site();
    let owner = site.seats.content_owner().ok_or_else(|| step.illegal("the site has no owner"))?;
    none_open(step)?;
    if site.return_pending().is_some_and(|pending| pending.reason == ReturnReason::Reclaim) {
        return Err(step.illegal("the client is taking the site back; record the successor when it has come back"));
    }
    let recipient = Account::from(to.clone());
    if recipient == owner {
        return Err(Refusal::OwnAccount);
    }
    never_the_partners(step, to)?;
    let domains =
        site.domains.iter().filter(|domain| domain.holder == owner).map(|domain| domain.name.clone()).collect();
    let terms = Terms { domains, plan: true, stay: false, case: Some(case.case.clone()) };
    unblocked(closing(step, &recipient).into_iter().collect())?;
    let draft = Draft {
        kind: HandoverKind::OwnershipTransfer,
        initiator: owner,
        consents: vec![recipient.clone()],
        to: recipient,
        terms: Some(terms),
    };
    let mut before = step.begin();
    if site.trashed_at.is_some() {
        // Nobody else could take it out for the successor.
        (before.site.trashed_at, before.site.purge_at) = (None, None);
        before.tell("SiteRestored", json!({}));
    }
    let mut applied = opened(step, before, draft, None, step.principal()?);
    applied.tell("SuccessorRecorded", json!({"to": to, "case": case.case, "approver": case.approver}));
    Ok(applied)
}

/// T29: the partner never inherits, nor anybody of its side.
pub(super) fn never_the_partners(step: &Step<'_>, successor: &UserId) -> Result<(), Refusal> {
    let site = step.site();
    let Some(engagement) = site.seats.engagement() else { return Ok(()) };
    let agency = step.situation.directory.agency(&engagement.partner);
    let member = agency.is_some_and(|agency| agency.member(successor).is_some());
    if member || site.contributors.get(successor).is_some_and(|row| row.side == Side::Partner) {
        return Err(step.illegal("the partner and its people never inherit a client's site"));
    }
    Ok(())
}

/// An offer before it has an id and deadlines.
struct Draft {
    kind: HandoverKind,
    initiator: Account,
    to: Account,
    consents: Vec<Account>,
    terms: Option<Terms>,
}

fn known<'a>(step: &Step<'a>, id: &AgencyId) -> Result<&'a Agency, Refusal> {
    step.situation.directory.agency(id).map(AsRef::as_ref).ok_or(Refusal::UnknownAgency)
}

/// One offer at a time (I13). One that ran out does not count, committed or not, and a request is no offer.
pub(super) fn none_open(step: &Step<'_>) -> Result<(), Refusal> {
    match &step.site().open_handover {
        Some(offer) if offer.status == HandoverStatus::Open && offer.is_live(step.now) => Err(Refusal::AlreadyOpen),
        Some(_) | None => Ok(()),
    }
}

fn site_blockers(step: &Step<'_>, plan_moves: bool) -> Vec<Blocker> {
    let site = step.site();
    let unpaid = (plan_moves && site.plan.status != PlanStatus::Ok).then_some(Blocker::PlanPastDue);
    let stuck = (!site.plan.transferable && plan_moves).then_some(Blocker::PlanNotTransferable);
    let disputed = site.dispute.as_ref().filter(|d| step.now < d.until).map(|_| Blocker::OpenDispute);
    let owner = site.seats.content_owner().and_then(|owner| closing(step, &owner));
    let reported = site.reported.iter().copied();
    [unpaid, stuck, disputed, owner].into_iter().flatten().chain(reported).chain(step.stops()).collect()
}

/// What keeps an agency from taking a seat that it will pay for.
pub(super) fn takes_over(step: &Step<'_>, agency: &Agency) -> Vec<Blocker> {
    let no_card = (!agency.card).then_some(Blocker::AgencyNoCard);
    agency_blockers(agency).chain(no_card).chain(closing(step, &agency.id.clone().into())).collect()
}

pub(super) fn closing(step: &Step<'_>, account: &Account) -> Option<Blocker> {
    step.is_closing(account).then_some(Blocker::AccountClosing)
}

fn open(step: &Step<'_>, draft: Draft, asked: Option<&Handover>) -> Result<Applied, Refusal> {
    let initiated_by = Principal::User(step.person()?.clone());
    Ok(opened(step, step.begin(), draft, asked, initiated_by))
}

fn opened(
    step: &Step<'_>,
    mut applied: Applied,
    draft: Draft,
    asked: Option<&Handover>,
    initiated_by: Principal,
) -> Applied {
    // An offer that ran out and was not committed as expired makes room in this same step, and so does a request.
    if asked.is_none() {
        ending::close(&mut applied, step.now, Ending::Superseded);
    }
    let timers = step.situation.timers;
    let expires_at = step.now.plus(timers.offer_ttl);
    let reminders = [timers.first_reminder, timers.second_reminder].map(|after| step.now.plus(after));
    let offer = Handover {
        id: asked.map_or(step.situation.new_handover, |asked| &asked.id).clone(),
        site: step.site().id.clone(),
        kind: draft.kind,
        initiator: draft.initiator,
        initiated_by,
        consents_needed: draft.consents,
        to: draft.to,
        status: HandoverStatus::Open,
        consents_given: Vec::new(),
        offered_at: step.now,
        expires_at,
        ended_at: None,
        revision_at_offer: step.site().revision,
        preview_digest: SmolStr::new(step.situation.preview_digest),
        requested_by: asked.and_then(|asked| asked.requested_by.clone()),
        reminders: reminders.into_iter().filter(|at| *at < expires_at).collect(),
        terms: draft.terms,
    };
    applied.tell(
        "HandoverOffered",
        json!({
            "handover": offer.id,
            "kind": offer.kind,
            "initiator": offer.initiator,
            "to": offer.to,
            "consents_needed": offer.consents_needed,
            "requested": asked.is_some(),
            "terms": offer.terms,
            "expires_at": offer.expires_at,
        }),
    );
    // The code was for asking; the answer is given.
    applied.site.site_code = None;
    applied.site.open_handover = Some(offer.clone());
    applied.handovers.push(offer);
    applied
}

/// Whether the offer's initiator still holds the seat that it was made from (I12).
pub(super) fn still_seated(offer: &Handover, seats: &Seats) -> bool {
    match offer.kind {
        HandoverKind::PartnerHandover | HandoverKind::ClientAssignment => {
            seats.owner().as_ref() == Some(&offer.initiator)
        }
        HandoverKind::OwnershipTransfer => seats.content_owner().as_ref() == Some(&offer.initiator),
        HandoverKind::PartnerReplacement => seats.engagement().is_some_and(|engagement| {
            offer.initiator == engagement.client.clone().into() || offer.initiator == engagement.partner.clone().into()
        }),
    }
}

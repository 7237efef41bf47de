//! The agency's people on a site, and the site's way when the agency itself is stopped (T22, T23).
//!
//! Suspending an agency is one row: what it may do ends everywhere at once, without touching a site (`assignment`), and
//! the row says when its sites go back. Then each follows in a step of its own, so that a hundred thousand of them are no
//! single transaction.

use serde_json::json;

use super::{
    Applied, Refusal, giving_back,
    step::{Step, counts, freeze},
};
use crate::{
    assignment::{AgencyStatus, Directory, MemberRole},
    ids::{AgencyId, UserId},
    site::{AgencyGrant, Engagement, PlanStatus, ReturnReason, Side, Site, Template},
    time::Timestamp,
};

/// An admin delegates a part of the work on this site to a member.
pub(super) fn delegate(
    step: &Step<'_>,
    agency: &AgencyId,
    user: &UserId,
    template: Template,
    expires_at: Option<Timestamp>,
) -> Result<Applied, Refusal> {
    worker(step, agency, user)?;
    if expires_at.is_some_and(|at| at <= step.now) {
        return Err(Refusal::OutOfRange { field: "expires_at", allowed: "an instant in the future".to_owned() });
    }
    step.not_stopped()?;
    let grant = AgencyGrant { template, expires_at };
    let before = step.site().grants.get(user);
    if before == Some(&grant) {
        return Err(Refusal::AlreadySo { what: "the member has this delegation already" });
    }
    let mut applied = step.begin();
    applied.tell("AgencyGrantChanged", json!({"user": user, "before": before, "after": grant}));
    applied.site.grants.insert(user.clone(), grant);
    Ok(applied)
}

/// An admin takes a delegation back; also from somebody who has left the agency.
pub(super) fn take_back(step: &Step<'_>, user: &UserId) -> Result<Applied, Refusal> {
    let before = step.site().grants.get(user).ok_or(Refusal::UnknownMember)?;
    step.not_stopped()?;
    let mut applied = step.begin();
    applied.tell("AgencyGrantChanged", json!({"user": user, "before": before, "after": null}));
    applied.site.grants.remove(user);
    Ok(applied)
}

/// The client keeps one member out. Admins act as the agency itself: who does not trust the agency takes the site back.
pub(super) fn block(step: &Step<'_>, agency: &AgencyId, user: &UserId) -> Result<Applied, Refusal> {
    let member = step.situation.directory.agency(agency).and_then(|agency| agency.member(user));
    match member {
        None => return Err(Refusal::UnknownMember),
        Some(MemberRole::Admin) => return Err(Refusal::AdminActsForAgency),
        Some(MemberRole::Member | MemberRole::Billing) => {}
    }
    step.not_stopped()?;
    let mut applied = step.begin();
    if !applied.site.blocked.insert(user.clone()) {
        return Err(Refusal::AlreadySo { what: "the member is kept out already" });
    }
    applied.tell("MemberBlocked", json!({"user": user, "partner": agency}));
    // What the partner gave the person beside the agency goes too.
    if let Some(row) = step.site().contributors.get(user).filter(|row| row.side == Side::Partner) {
        applied.tell("ContributorRemoved", json!({"user": user, "before": row}));
        applied.site.contributors.remove(user);
    }
    Ok(applied)
}

/// The client lets a member in again.
pub(super) fn unblock(step: &Step<'_>, user: &UserId) -> Result<Applied, Refusal> {
    step.not_stopped()?;
    let mut applied = step.begin();
    if !applied.site.blocked.remove(user) {
        return Err(Refusal::UnknownMember);
    }
    applied.tell("MemberUnblocked", json!({"user": user}));
    Ok(applied)
}

/// Work is delegated to members; admins have all of it, billing people none.
fn worker(step: &Step<'_>, agency: &AgencyId, user: &UserId) -> Result<(), Refusal> {
    match step.situation.directory.agency(agency).and_then(|agency| agency.member(user)) {
        Some(MemberRole::Member) => Ok(()),
        Some(MemberRole::Admin) => Err(Refusal::AlreadySo { what: "an admin of the agency may do all of its work" }),
        Some(MemberRole::Billing) | None => Err(Refusal::UnknownMember),
    }
}

/// Why sites of such an agency go back to their clients.
pub(super) const fn reason(status: AgencyStatus) -> Option<ReturnReason> {
    match status {
        AgencyStatus::Active => None,
        AgencyStatus::Suspended => Some(ReturnReason::AgencySuspended),
        AgencyStatus::Dissolving => Some(ReturnReason::AgencyDissolved),
    }
}

/// Whether time or the agency's reinstatement has something to commit on the site: the notice of a suspension is over, or
/// a return that a suspension brought has lost its reason.
pub(super) fn is_out_of_step(site: &Site, directory: &Directory, now: Timestamp) -> bool {
    let Some(engagement) = site.seats.engagement() else { return false };
    let Some(agency) = directory.agency(&engagement.partner) else { return false };
    match &engagement.return_pending {
        None => !agency.is_active() && agency.returns_at.is_some_and(|at| at <= now) && freeze(site, now).is_none(),
        Some(pending) => !counts(site, pending, directory),
    }
}

/// T22, T23: an agency that may not go on gives its sites back when the notice that began with its suspension is over; the
/// client may take them at once. A return that was written down for it ends when it is let in again before that.
pub(super) fn follow(step: &Step<'_>, engagement: &Engagement) -> Result<Applied, Refusal> {
    let directory = step.situation.directory;
    let agency = directory.agency(&engagement.partner).ok_or(Refusal::UnknownAgency)?;
    if !is_out_of_step(step.site(), directory, step.now) {
        return Err(step.illegal("the agency's status changes nothing here now"));
    }
    if let (Some(reason), Some(at)) = (reason(agency.status), agency.returns_at) {
        return Ok(giving_back::for_agency(step, engagement, reason, at));
    }
    let mut applied = step.begin();
    applied.tell("ReturnCancelled", json!({"reason": "agency_active"}));
    if step.site().plan.status == PlanStatus::Lapsed {
        // The other cause is still there, and starts its own clock.
        let effective_at = step.now.plus(step.situation.timers.lapse_notice);
        giving_back::schedule(&mut applied, engagement, ReturnReason::PlanLapsed, step.now, effective_at);
    } else {
        giving_back::pend(&mut applied, engagement, None);
    }
    Ok(applied)
}

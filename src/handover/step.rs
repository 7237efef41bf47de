//! What every transition asks of its situation: who acts, what blocks, which state this is in words.

use smol_str::SmolStr;

use super::{Applied, Blocker, CommandName, HandoverStatus, Refusal, Situation};
use crate::{
    assignment::{Agency, Directory},
    ids::{Account, Principal, UserId},
    site::{Freeze, PlanStatus, ReturnPending, ReturnReason, Site},
    time::Timestamp,
};

/// One command at one moment.
#[derive(Debug, Clone)]
pub(super) struct Step<'a> {
    pub(super) situation: &'a Situation<'a>,
    pub(super) command: CommandName,
    /// The act that a client's confirmation must name for this command.
    pub(super) operation: Option<SmolStr>,
    pub(super) now: Timestamp,
}

impl<'a> Step<'a> {
    pub(super) fn site(&self) -> &'a Site {
        self.situation.site
    }
    /// The change that a transition fills in.
    pub(super) fn begin(&self) -> Applied {
        Applied::nothing(self.situation.site)
    }
    /// The refusal of a command that this state does not know.
    pub(super) fn illegal(&self, because: &'static str) -> Refusal {
        Refusal::Illegal { state: describe_state(self.site(), self.now), command: self.command, because }
    }
    /// The acting person. Time, staff and services are no party to a handover.
    pub(super) fn person(&self) -> Result<&'a UserId, Refusal> {
        match self.situation.acting.map(|acting| &acting.principal) {
            Some(Principal::User(user)) => Ok(user),
            Some(Principal::Staff(_) | Principal::Service(_)) | None => Err(Refusal::NotAParty),
        }
    }
    /// Whoever acts.
    pub(super) fn principal(&self) -> Result<Principal, Refusal> {
        self.situation.acting.map(|acting| acting.principal.clone()).ok_or(Refusal::NotAParty)
    }
    /// Whether an account is being closed: it is offered nothing and offers nothing.
    pub(super) fn is_closing(&self, account: &Account) -> bool {
        self.situation.directory.is_closing(account)
    }
    /// The acting person, if they may answer for this account: its user, or an admin of its agency. Not a question of
    /// roles: a handover records who consented, so what it records must be true (I21).
    pub(super) fn party(&self, account: &Account) -> Result<&'a UserId, Refusal> {
        let person = self.person()?;
        let answers = self.situation.directory.speaks_for(person, account);
        if answers { Ok(person) } else { Err(Refusal::NotAParty) }
    }
    pub(super) fn frozen(&self) -> bool {
        freeze(self.site(), self.now).is_some()
    }
    /// Refuses while the site is frozen.
    pub(super) fn not_frozen(&self) -> Result<(), Refusal> {
        unblocked(self.frozen().then_some(Blocker::Frozen).into_iter().collect())
    }
    /// Refuses while the site is frozen or in the trash.
    pub(super) fn not_stopped(&self) -> Result<(), Refusal> {
        unblocked(self.stops())
    }
    /// Of a freeze and the trash, what holds.
    pub(super) fn stops(&self) -> Vec<Blocker> {
        let frozen = self.frozen().then_some(Blocker::Frozen);
        let trashed = self.site().trashed_at.map(|_| Blocker::Trashed);
        frozen.into_iter().chain(trashed).collect()
    }
}

/// Refuses when anything blocks, with all of it in one order.
pub(super) fn unblocked(mut blockers: Vec<Blocker>) -> Result<(), Refusal> {
    blockers.sort_unstable();
    if blockers.is_empty() { Ok(()) } else { Err(Refusal::Blocked(blockers)) }
}

/// What keeps an agency from taking or keeping a seat.
pub(super) fn agency_blockers(agency: &Agency) -> impl Iterator<Item = Blocker> + use<> {
    let unverified = (!agency.verified).then_some(Blocker::AgencyUnverified);
    let suspended = (!agency.is_active()).then_some(Blocker::AgencySuspended);
    unverified.into_iter().chain(suspended)
}

/// The freeze that holds at `now`: it ends by itself, whether that was committed or not.
pub(super) fn freeze(site: &Site, now: Timestamp) -> Option<&Freeze> {
    site.frozen.as_ref().filter(|freeze| now < freeze.until)
}

/// Whether the notice of a return is over. A freeze stops the clock.
pub(super) fn is_due(site: &Site, pending: &ReturnPending, now: Timestamp) -> bool {
    now >= pending.effective_at && freeze(site, now).is_none()
}

/// Whether a return stands. One that an agency's suspension brought does not outlive the suspension, unless its notice
/// was over before the agency was let in again.
pub(super) fn counts(site: &Site, pending: &ReturnPending, directory: &Directory) -> bool {
    let by_agency = matches!(pending.reason, ReturnReason::AgencySuspended | ReturnReason::AgencyDissolved);
    let agency = site.seats.agency().and_then(|id| directory.agency(id));
    !(by_agency && agency.is_some_and(|agency| agency.is_active() && agency.status_since < pending.effective_at))
}

/// The state that the transitions tell apart, in words, for example `partner_managed, settling, frozen`.
#[must_use]
pub fn describe_state(site: &Site, now: Timestamp) -> String {
    let mut words = vec![site.seats.mode().wire_name().to_owned()];
    if site.seats.engagement().is_some_and(|engagement| now < engagement.settling_until) {
        words.push("settling".to_owned());
    }
    if let Some(pending) = site.return_pending() {
        let due = if is_due(site, pending, now) { "due" } else { "pending" };
        let lock = if pending.locked { ", locked" } else { "" };
        words.push(format!("return {due} ({}{lock})", reason_name(pending.reason)));
    }
    if let Some(offer) = &site.open_handover {
        let requested = offer.status == HandoverStatus::Requested;
        let what = match (requested, offer.is_live(now)) {
            (true, true) => "requested",
            (true, false) => "request expired",
            (false, true) => "offer open",
            (false, false) => "offer expired",
        };
        words.push(what.to_owned());
    }
    if freeze(site, now).is_some() {
        words.push("frozen".to_owned());
    }
    if site.trashed_at.is_some() {
        words.push("trashed".to_owned());
    }
    if site.custody.is_some() {
        words.push("in custody".to_owned());
    }
    if site.dispute.as_ref().is_some_and(|dispute| now < dispute.until) {
        words.push("disputed".to_owned());
    }
    match site.plan.status {
        PlanStatus::Ok => {}
        PlanStatus::PastDue => words.push("plan past due".to_owned()),
        PlanStatus::Lapsed => words.push("plan lapsed".to_owned()),
    }
    words.join(", ")
}

/// The reason's name on the wire.
pub(super) const fn reason_name(reason: ReturnReason) -> &'static str {
    match reason {
        ReturnReason::Reclaim => "reclaim",
        ReturnReason::Resign => "resign",
        ReturnReason::AgencySuspended => "agency_suspended",
        ReturnReason::AgencyDissolved => "agency_dissolved",
        ReturnReason::PlanLapsed => "plan_lapsed",
    }
}

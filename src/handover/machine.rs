//! The transitions, state first: the table of the domain, §5.3, as one match in another.
//!
//! The outer match is the state, the inner one the command, and neither has a wildcard arm: whoever adds a command or
//! a mode is asked by the compiler what it means everywhere. A table of function pointers lost: it would need the same
//! sixty cells and hide which of them are empty.

use serde_json::Value;
use smol_str::SmolStr;

use super::{
    Command, Handover, Refusal, Terms, Timers, accept, agency, consent, ending,
    ending::Ending,
    freeze, giving_back, offer, people, plan, request,
    step::{Step, counts, is_due},
    trash,
};
use crate::{
    assignment::{Directory, Strengths},
    ids::{Account, AgencyId, HandoverId, Principal, UserId},
    revision::Revision,
    site::{Engagement, Seats, Side, Site},
    time::Timestamp,
};

/// Everything a transition may look at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The site as it stands.
    pub site: &'a Site,
    /// The handover that the command names, open or ended, as the store has it: so that a late answer learns how the
    /// offer ended. The site's own open offer counts where both are given.
    pub named: Option<&'a Handover>,
    /// The agencies that the site and the command name.
    pub directory: &'a Directory,
    /// What each role may do, computed from the loaded policies: the source of the grant rule.
    pub strengths: &'a Strengths,
    /// How long things take.
    pub timers: &'a Timers,
    /// Who acts; none for what only time does.
    pub acting: Option<&'a Acting>,
    /// The id a new handover would get.
    pub new_handover: &'a HandoverId,
    /// The revision that the commit will have.
    pub revision: Revision,
    /// Digest of the preview that came with an offer.
    pub preview_digest: &'a str,
    /// Names exactly the texts that a consent was given after.
    pub text_version: &'a str,
    /// The one-time code that a site would get.
    pub new_code: &'a str,
    /// Whether trust and safety needs a colleague's agreement for a freeze too.
    pub four_eyes: bool,
}

/// A person in their capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// The person.
    pub principal: Principal,
    /// The account of the seat they act through, or the person's own account; staff and services have none.
    pub through: Option<Account>,
    /// The side they act for.
    pub side: Side,
    /// The roles that they hold on this site, by name.
    pub roles: Vec<SmolStr>,
}

/// What must happen, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The site as it will be.
    pub site: Site,
    /// The handovers that were opened or ended, in the order of the events.
    pub handovers: Vec<Handover>,
    /// What to tell, in order.
    pub events: Vec<Event>,
}

/// Something that happened to a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// For example `SeatsChanged`; the names are those of the domain, §5.3 and §8.
    pub kind: &'static str,
    /// What changed, as a JSON object.
    pub data: Value,
}

impl Applied {
    /// Nothing has happened yet.
    pub(super) fn nothing(site: &Site) -> Self {
        Self { site: site.clone(), handovers: Vec::new(), events: Vec::new() }
    }
    /// This change and then another one on the site that it left.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        // A handover that both touched is kept as the second left it, at the place of the first.
        for handover in next.handovers {
            match self.handovers.iter_mut().find(|known| known.id == handover.id) {
                Some(known) => *known = handover,
                None => self.handovers.push(handover),
            }
        }
        self.events.extend(next.events);
        self.site = next.site;
        self
    }
    /// Adds to what there is to tell.
    pub(super) fn tell(&mut self, kind: &'static str, data: Value) {
        self.events.push(Event { kind, data });
    }
}

/// Carries out one command, or says why not.
///
/// # Errors
/// The [`Refusal`] names the state and the command; nothing has changed.
pub fn apply(situation: &Situation<'_>, command: &Command, now: Timestamp) -> Result<Applied, Refusal> {
    let step = Step { situation, command: command.name(), operation: command.operation(), now };
    let mut applied = match &situation.site.seats {
        Seats::SelfManaged { owner } => self_managed(&step, owner, command),
        Seats::PartnerBuilt { owner } => partner_built(&step, owner, command),
        Seats::PartnerManaged(engagement) => partner_managed(&step, engagement, command),
        Seats::Purged => purged(&step, command),
    }?;
    applied.site.revision = situation.revision;
    Ok(applied)
}

/// A person runs and pays for their own site.
fn self_managed(step: &Step<'_>, owner: &UserId, command: &Command) -> Result<Applied, Refusal> {
    const NO_PARTNER: &str = "no partner runs this site";
    match command {
        Command::RequestPartnerRole { agency, site_code } => request::ask(step, owner, agency.as_ref(), site_code),
        Command::IssueSiteCode => request::issue_code(step),
        Command::OfferPartnerRole { to } => offer::partner_role(step, owner, to),
        Command::AssignClientRole { .. } => {
            Err(step.illegal("only an agency that built the site assigns the client role; use offer_partner_role"))
        }
        Command::TransferOwnership { to, domains, plan, stay } => {
            let terms = Terms { domains: domains.clone(), plan: *plan, stay: *stay, case: None };
            offer::ownership(step, &owner.clone().into(), to, terms)
        }
        Command::AcceptHandover { handover, explanation_digest, lang } => {
            accept::self_managed(step, owner, &accept::Answer { handover, explanation_digest, lang })
        }
        Command::ReplacePartner { .. }
        | Command::ReclaimSite { .. }
        | Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::ResignAsPartner
        | Command::RescuePlan
        | Command::FollowAgency
        | Command::OpenDispute { .. }
        | Command::CloseDispute
        | Command::GrantAgencyAccess { .. }
        | Command::RevokeAgencyAccess { .. }
        | Command::BlockAgencyMember { .. }
        | Command::UnblockAgencyMember { .. }
        | Command::ConfirmPartnerAction { .. }
        | Command::SpendConfirmation { .. } => Err(step.illegal(NO_PARTNER)),
        Command::PurgeSite => trash::purge(step),
        Command::EmptyTrash => trash::empty(step),
        Command::DeclineHandover { .. }
        | Command::CancelHandover { .. }
        | Command::ExpireHandover { .. }
        | Command::RemindHandover { .. }
        | Command::ReportPlan { .. }
        | Command::LapsePlan
        | Command::FreezeSite(_)
        | Command::UnfreezeSite(_)
        | Command::EndFreeze
        | Command::OpenCustody(_)
        | Command::RecordSuccessor { .. }
        | Command::TrashSite { .. }
        | Command::RestoreSite
        | Command::GrantRole { .. }
        | Command::ChangeRole { .. }
        | Command::RevokeRole { .. }
        | Command::LeaveSite
        | Command::GrantSupportSession { .. }
        | Command::EndSupportSession { .. } => whoever_owns(step, command),
    }
}

/// An agency built the site and has not given it to a client yet.
fn partner_built(step: &Step<'_>, owner: &AgencyId, command: &Command) -> Result<Applied, Refusal> {
    const NO_CLIENT: &str = "the site has no client yet";
    match command {
        // Whoever asks is a stranger: a site without a code tells them nothing.
        Command::RequestPartnerRole { .. } => Err(Refusal::WrongSiteCode),
        Command::IssueSiteCode | Command::OfferPartnerRole { .. } => {
            Err(step.illegal("the agency that built the site runs it already; use assign_client_role"))
        }
        Command::AssignClientRole { to } => offer::client_role(step, owner, to),
        Command::TransferOwnership { to, domains, plan, stay } => {
            let terms = Terms { domains: domains.clone(), plan: *plan, stay: *stay, case: None };
            offer::ownership(step, &owner.clone().into(), to, terms)
        }
        Command::AcceptHandover { handover, explanation_digest, lang } => {
            accept::partner_built(step, owner, &accept::Answer { handover, explanation_digest, lang })
        }
        Command::GrantAgencyAccess { user, template, expires_at } => {
            agency::delegate(step, owner, user, *template, *expires_at)
        }
        Command::RevokeAgencyAccess { user } => agency::take_back(step, user),
        Command::ReplacePartner { .. }
        | Command::ReclaimSite { .. }
        | Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::ResignAsPartner
        | Command::RescuePlan
        | Command::FollowAgency
        | Command::OpenDispute { .. }
        | Command::CloseDispute
        | Command::BlockAgencyMember { .. }
        | Command::UnblockAgencyMember { .. }
        | Command::ConfirmPartnerAction { .. }
        | Command::SpendConfirmation { .. } => Err(step.illegal(NO_CLIENT)),
        Command::PurgeSite => trash::purge(step),
        Command::EmptyTrash => trash::empty(step),
        Command::DeclineHandover { .. }
        | Command::CancelHandover { .. }
        | Command::ExpireHandover { .. }
        | Command::RemindHandover { .. }
        | Command::ReportPlan { .. }
        | Command::LapsePlan
        | Command::FreezeSite(_)
        | Command::UnfreezeSite(_)
        | Command::EndFreeze
        | Command::OpenCustody(_)
        | Command::RecordSuccessor { .. }
        | Command::TrashSite { .. }
        | Command::RestoreSite
        | Command::GrantRole { .. }
        | Command::ChangeRole { .. }
        | Command::RevokeRole { .. }
        | Command::LeaveSite
        | Command::GrantSupportSession { .. }
        | Command::EndSupportSession { .. } => whoever_owns(step, command),
    }
}

/// A client owns the content, a partner runs the site and pays for it.
fn partner_managed(step: &Step<'_>, engagement: &Engagement, command: &Command) -> Result<Applied, Refusal> {
    const RUN: &str = "a partner runs this site already; use replace_partner, or reclaim_site first";
    match command {
        Command::RequestPartnerRole { .. } => Err(Refusal::WrongSiteCode),
        Command::IssueSiteCode | Command::OfferPartnerRole { .. } => Err(step.illegal(RUN)),
        Command::AssignClientRole { .. } => Err(step.illegal("the site has a client already")),
        Command::ReplacePartner { to } => offer::replacement(step, engagement, to),
        Command::TransferOwnership { .. } => Err(step.illegal("a partner runs this site; use reclaim_site first")),
        Command::AcceptHandover { handover, explanation_digest, lang } => {
            accept::partner_managed(step, engagement, &accept::Answer { handover, explanation_digest, lang })
        }
        Command::ReclaimSite { lock, keep } => giving_back::reclaim(step, engagement, *lock, keep),
        Command::WithdrawReclaim => giving_back::withdraw(step, engagement),
        Command::ReleaseSite => giving_back::release(step, engagement),
        Command::ReturnEffective => giving_back::take_effect(step, engagement),
        Command::ResignAsPartner => giving_back::resign(step, engagement),
        Command::RescuePlan => giving_back::rescue(step, engagement),
        Command::FollowAgency => agency::follow(step, engagement),
        Command::OpenDispute { reason } => freeze::dispute(step, reason),
        Command::CloseDispute => freeze::close_dispute(step),
        Command::GrantAgencyAccess { user, template, expires_at } => {
            agency::delegate(step, &engagement.partner, user, *template, *expires_at)
        }
        Command::RevokeAgencyAccess { user } => agency::take_back(step, user),
        Command::BlockAgencyMember { user } => agency::block(step, &engagement.partner, user),
        Command::UnblockAgencyMember { user } => agency::unblock(step, user),
        Command::ConfirmPartnerAction { action, operation, expires_in_s } => {
            consent::confirm(step, action, operation, *expires_in_s)
        }
        Command::SpendConfirmation { action, operation } => consent::spend(step, action, operation),
        Command::PurgeSite | Command::EmptyTrash => {
            Err(step.illegal("nobody deletes a site for good while a partner runs it; use reclaim_site first"))
        }
        Command::DeclineHandover { .. }
        | Command::CancelHandover { .. }
        | Command::ExpireHandover { .. }
        | Command::RemindHandover { .. }
        | Command::ReportPlan { .. }
        | Command::LapsePlan
        | Command::FreezeSite(_)
        | Command::UnfreezeSite(_)
        | Command::EndFreeze
        | Command::OpenCustody(_)
        | Command::RecordSuccessor { .. }
        | Command::TrashSite { .. }
        | Command::RestoreSite
        | Command::GrantRole { .. }
        | Command::ChangeRole { .. }
        | Command::RevokeRole { .. }
        | Command::LeaveSite
        | Command::GrantSupportSession { .. }
        | Command::EndSupportSession { .. } => whoever_owns(step, command),
    }
}

/// What is the same whoever holds the seats. The modes above take everything else, arm by arm.
fn whoever_owns(step: &Step<'_>, command: &Command) -> Result<Applied, Refusal> {
    match command {
        Command::DeclineHandover { handover } => ending::decline(step, handover),
        Command::CancelHandover { handover } => ending::cancel(step, handover),
        Command::ExpireHandover { handover } => ending::expire(step, handover),
        Command::RemindHandover { handover } => ending::remind(step, handover),
        Command::ReportPlan { status } => plan::report(step, *status),
        Command::LapsePlan => plan::lapse(step),
        Command::FreezeSite(case) => freeze::begin(step, case),
        Command::UnfreezeSite(case) => freeze::lift(step, case),
        Command::EndFreeze => freeze::end(step),
        Command::OpenCustody(case) => freeze::open_custody(step, case),
        Command::RecordSuccessor { to, case } => offer::succession(step, to, case),
        Command::TrashSite { .. } => trash::put_in(step),
        Command::RestoreSite => trash::take_out(step),
        Command::GrantRole { user, role } => people::grant(step, user, role),
        Command::ChangeRole { user, role } => people::change(step, user, role),
        Command::RevokeRole { user } => people::revoke(step, user),
        Command::LeaveSite => people::leave(step),
        Command::GrantSupportSession { agent, minutes } => consent::support(step, agent, *minutes),
        Command::EndSupportSession { agent } => consent::end_support(step, agent),
        Command::RequestPartnerRole { .. }
        | Command::IssueSiteCode
        | Command::OfferPartnerRole { .. }
        | Command::AssignClientRole { .. }
        | Command::ReplacePartner { .. }
        | Command::TransferOwnership { .. }
        | Command::AcceptHandover { .. }
        | Command::ReclaimSite { .. }
        | Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::ResignAsPartner
        | Command::RescuePlan
        | Command::FollowAgency
        | Command::OpenDispute { .. }
        | Command::CloseDispute
        | Command::GrantAgencyAccess { .. }
        | Command::RevokeAgencyAccess { .. }
        | Command::BlockAgencyMember { .. }
        | Command::UnblockAgencyMember { .. }
        | Command::ConfirmPartnerAction { .. }
        | Command::SpendConfirmation { .. }
        | Command::PurgeSite
        | Command::EmptyTrash => Err(step.illegal("this depends on who holds the seats")),
    }
}

/// The site is gone. An old offer still answers how it ended, and nothing more.
fn purged(step: &Step<'_>, command: &Command) -> Result<Applied, Refusal> {
    if let Some(handover) = command.handover() {
        ending::named(step, handover)?;
    }
    if matches!(command, Command::RequestPartnerRole { .. }) {
        return Err(Refusal::WrongSiteCode);
    }
    Err(step.illegal("the site is gone for good"))
}

/// What time alone has made due on this site at `now`: the command that a worker commits, if any. Ask again after
/// committing it, because several things may have run out together. Every command that a person gives commits this first
/// (`app`), so that a freeze stops clocks that run, never one that has run out: a late worker would lengthen the
/// partner's time (I7).
#[must_use]
pub fn due(site: &Site, directory: &Directory, now: Timestamp) -> Option<Command> {
    if let Some(offer) = &site.open_handover {
        if !offer.is_live(now) {
            return Some(Command::ExpireHandover { handover: offer.id.clone() });
        }
        if offer.reminders.first().is_some_and(|at| *at <= now) {
            return Some(Command::RemindHandover { handover: offer.id.clone() });
        }
    }
    if let Some(freeze) = &site.frozen {
        return (freeze.until <= now).then_some(Command::EndFreeze);
    }
    if plan::runs_out(site, now) {
        return Some(Command::LapsePlan);
    }
    if site.return_pending().is_some_and(|pending| counts(site, pending, directory) && is_due(site, pending, now)) {
        return Some(Command::ReturnEffective);
    }
    if trash::is_full(site, now) {
        return Some(Command::EmptyTrash);
    }
    agency::is_out_of_step(site, directory, now).then_some(Command::FollowAgency)
}

/// Ends the site's open offer because what it rested on is gone: an agency that it names was suspended or is
/// dissolving, or the site was frozen. `None` when no offer is open. Not a command: the caller's own change does it
/// in the same transaction, and finds the offers with [`Handover::names`].
#[must_use]
pub fn invalidate(site: &Site, now: Timestamp) -> Option<Applied> {
    site.open_handover.as_ref()?;
    let mut applied = Applied::nothing(site);
    ending::close(&mut applied, now, Ending::Invalidated);
    Some(applied)
}

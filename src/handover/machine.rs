//! The transitions, state first: the table of the domain, §5.3, as one match in another.
//!
//! The outer match is the state, the inner one the command, and neither has a wildcard arm: whoever adds a command or
//! a mode is asked by the compiler what it means everywhere. A table of function pointers lost: it would need the same
//! sixty cells and hide which of them are empty.

use serde_json::Value;
use smol_str::SmolStr;

use super::{
    Command, Handover, Refusal, Timers, accept, ending,
    ending::Ending,
    giving_back, offer, people,
    step::{Step, is_due},
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
}

/// A person in their capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// The person.
    pub principal: Principal,
    /// The account of the seat they act through, or the person's own account.
    pub through: Account,
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
    let step = Step { situation, command: command.name(), now };
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
    match command {
        Command::OfferPartnerRole { to } => offer::partner_role(step, owner, to),
        Command::AssignClientRole { .. } => {
            Err(step.illegal("only an agency that built the site assigns the client role; use offer_partner_role"))
        }
        Command::AcceptHandover { handover, explanation_digest, lang } => {
            accept::partner_role(step, owner, &accept::Answer { handover, explanation_digest, lang })
        }
        Command::DeclineHandover { handover } => ending::decline(step, handover),
        Command::CancelHandover { handover } => ending::cancel(step, handover),
        Command::ExpireHandover { handover } => ending::expire(step, handover),
        Command::ReclaimSite { .. }
        | Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::ResignAsPartner => Err(step.illegal("no partner runs this site")),
        Command::GrantRole { user, role } => people::grant(step, user, role),
        Command::ChangeRole { user, role } => people::change(step, user, role),
        Command::RevokeRole { user } => people::revoke(step, user),
        Command::LeaveSite => people::leave(step),
    }
}

/// An agency built the site and has not given it to a client yet.
fn partner_built(step: &Step<'_>, owner: &AgencyId, command: &Command) -> Result<Applied, Refusal> {
    match command {
        Command::OfferPartnerRole { .. } => {
            Err(step.illegal("the agency that built the site runs it already; use assign_client_role"))
        }
        Command::AssignClientRole { to } => offer::client_role(step, owner, to),
        Command::AcceptHandover { handover, explanation_digest, lang } => {
            accept::client_role(step, owner, &accept::Answer { handover, explanation_digest, lang })
        }
        Command::DeclineHandover { handover } => ending::decline(step, handover),
        Command::CancelHandover { handover } => ending::cancel(step, handover),
        Command::ExpireHandover { handover } => ending::expire(step, handover),
        Command::ReclaimSite { .. }
        | Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::ResignAsPartner => Err(step.illegal("the site has no client yet")),
        Command::GrantRole { user, role } => people::grant(step, user, role),
        Command::ChangeRole { user, role } => people::change(step, user, role),
        Command::RevokeRole { user } => people::revoke(step, user),
        Command::LeaveSite => people::leave(step),
    }
}

/// A client owns the content, a partner runs the site and pays for it.
fn partner_managed(step: &Step<'_>, engagement: &Engagement, command: &Command) -> Result<Applied, Refusal> {
    match command {
        Command::OfferPartnerRole { .. } => {
            Err(step.illegal("a partner runs this site already; use replace_partner, or reclaim_site first"))
        }
        Command::AssignClientRole { .. } => Err(step.illegal("the site has a client already")),
        Command::AcceptHandover { handover, .. } => accept::while_managed(step, handover),
        Command::DeclineHandover { handover } => ending::decline(step, handover),
        Command::CancelHandover { handover } => ending::cancel(step, handover),
        Command::ExpireHandover { handover } => ending::expire(step, handover),
        Command::ReclaimSite { lock, keep } => giving_back::reclaim(step, engagement, *lock, keep),
        Command::WithdrawReclaim => giving_back::withdraw(step, engagement),
        Command::ReleaseSite => giving_back::release(step, engagement),
        Command::ReturnEffective => giving_back::take_effect(step, engagement),
        Command::ResignAsPartner => giving_back::resign(step, engagement),
        Command::GrantRole { user, role } => people::grant(step, user, role),
        Command::ChangeRole { user, role } => people::change(step, user, role),
        Command::RevokeRole { user } => people::revoke(step, user),
        Command::LeaveSite => people::leave(step),
    }
}

/// The site is gone. An old offer still answers how it ended, and nothing more.
fn purged(step: &Step<'_>, command: &Command) -> Result<Applied, Refusal> {
    const GONE: &str = "the site is gone for good";
    match command {
        Command::AcceptHandover { handover, .. }
        | Command::DeclineHandover { handover }
        | Command::CancelHandover { handover }
        | Command::ExpireHandover { handover } => {
            ending::named(step, handover)?;
            Err(step.illegal(GONE))
        }
        Command::OfferPartnerRole { .. }
        | Command::AssignClientRole { .. }
        | Command::ReclaimSite { .. }
        | Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::ResignAsPartner
        | Command::GrantRole { .. }
        | Command::ChangeRole { .. }
        | Command::RevokeRole { .. }
        | Command::LeaveSite => Err(step.illegal(GONE)),
    }
}

/// What time alone has made due on this site at `now`: the command that a worker commits, if any. Ask again after
/// committing it, because an offer and a return may have run out together. Whoever freezes a site commits this first: a
/// freeze stops a clock that runs, not one that has run out, or a late worker would lengthen the partner's time (I7).
#[must_use]
pub fn due(site: &Site, now: Timestamp) -> Option<Command> {
    if let Some(offer) = site.open_handover.as_ref().filter(|offer| !offer.is_live(now)) {
        return Some(Command::ExpireHandover { handover: offer.id.clone() });
    }
    site.return_pending().filter(|pending| is_due(site, pending, now)).map(|_| Command::ReturnEffective)
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

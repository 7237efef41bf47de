//! The transitions, state first.

use serde_json::Value;
use smol_str::SmolStr;

use super::{Command, Handover, Refusal, Timers};
use crate::{
    assignment::{Directory, Strengths},
    ids::{Account, HandoverId, Principal},
    revision::Revision,
    site::{Side, Site},
    time::Timestamp,
};

/// Everything a transition may look at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The site as it stands.
    pub site: &'a Site,
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
    /// The handover that was opened or ended.
    pub handover: Option<Handover>,
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

/// Carries out one command, or says why not.
///
/// # Errors
/// The [`Refusal`] names the state and the command; nothing has changed.
pub fn apply(situation: &Situation<'_>, command: &Command, now: Timestamp) -> Result<Applied, Refusal> {
    let _ = (situation, command, now);
    Err(Refusal::UnknownHandover)
}

/// What time alone has made due on this site at `now`: the command that a worker commits, if any.
#[must_use]
pub fn due(site: &Site, now: Timestamp) -> Option<Command> {
    let _ = (site, now);
    None
}

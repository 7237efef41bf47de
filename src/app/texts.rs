//! What do people read before they consent, and about what is going on? From states to texts, for one side each.
//!
//! Consent and reading use the same function (`of_one`), so that the digest that somebody accepts with is that of what
//! they were shown.

use std::collections::BTreeSet;

use serde::Serialize;
use smol_str::SmolStr;

use super::{
    App, Failure, Kind,
    command::{Attempt, Ground},
};
use crate::{
    assignment::{AgencyStatus, Directory, SitePolicies},
    explanation::{self, Audience, ExplainError, Explanation, Extra, Flow, Parties},
    handover::{Command, Handover, HandoverStatus, Terms, Timers},
    ids::{Account, UserId},
    site::{PlanStatus, ReturnPending, ReturnReason, Seats, Site},
    time::Timestamp,
};

/// Names exactly the texts that are read before this command; empty where there are none.
pub(super) fn text_version(command: &Command) -> SmolStr {
    let Command::AcceptHandover { lang, .. } = command else { return SmolStr::default() };
    explanation::text_version(lang).unwrap_or_default()
}

/// The digest that an acceptance must name: of the text that the accepting side reads. None where the actor is nobody
/// whose answer is waited for: the machine has said so before.
pub(super) fn acceptors_digest(attempt: &Attempt, ground: Ground<'_>, lang: &str) -> Result<SmolStr, Failure> {
    let Some(handover) = ground.named else { return Err(Failure::unknown_handover()) };
    let Some(audience) = consenting(attempt, ground, handover) else { return Ok(SmolStr::default()) };
    let text = of_one(&attempt.policies, &attempt.rules.timers, ground, handover, audience, lang)?;
    Ok(SmolStr::new(text.digest))
}

/// As whom the actor reads the offer that they are about to accept.
fn consenting(attempt: &Attempt, ground: Ground<'_>, handover: &Handover) -> Option<Audience> {
    let user = attempt.request.actor.user()?;
    let account = handover.consents_needed.iter().find(|account| ground.directory.speaks_for(user, account))?;
    flow_of(handover).audience_of(account, Some(&handover.to))
}

/// What the acting person should read before this command; none for commands that have no text.
pub(super) fn explanation_for_actor(
    attempt: &Attempt,
    ground: Ground<'_>,
    lang: &str,
) -> Result<Option<Explanation>, Failure> {
    let (site, directory) = (ground.site, ground.directory);
    let timers = &attempt.rules.timers;
    let seated = || Parties::of_site(site, directory);
    let is_client = |user: &UserId| site.seats.engagement().is_some_and(|engagement| engagement.client == *user);
    let side = if attempt.request.actor.user().is_some_and(is_client) { Audience::Client } else { Audience::Partner };
    let mut extra = extra(site, None, timers);
    let owner = site.seats.owner();
    let offered: Account;
    let (flow, audience, parties) = match &attempt.request.command {
        Command::OfferPartnerRole { to } => {
            offered = to.clone().into();
            let owner = owner.as_ref().unwrap_or(&offered);
            let flow = Flow::PartnerHandover;
            (flow, flow.starter(), Parties::of_accounts([owner, &offered], directory))
        }
        Command::AssignClientRole { to } => {
            offered = to.clone().into();
            let owner = owner.as_ref().unwrap_or(&offered);
            let flow = Flow::ClientAssignment;
            (flow, flow.starter(), Parties::of_accounts([owner, &offered], directory))
        }
        Command::ReplacePartner { to } => (Flow::Replacement, side, Parties::of_replacement(site, to, directory)),
        Command::TransferOwnership { to, domains, plan, stay } => {
            let terms = Terms { domains: domains.clone(), plan: *plan, stay: *stay, case: None };
            extra = moving(extra, &terms);
            (Flow::OwnershipTransfer, Audience::Owner, Parties::of_transfer(site, to, directory))
        }
        Command::AcceptHandover { lang, .. } => {
            let Some(handover) = ground.named else { return Ok(None) };
            let Some(audience) = consenting(attempt, ground, handover) else { return Ok(None) };
            return of_one(&attempt.policies, timers, ground, handover, audience, lang).map(Some);
        }
        Command::ReclaimSite { .. } if site.seats.engagement().is_some() => (Flow::Reclaim, Audience::Client, seated()),
        Command::ResignAsPartner if site.seats.engagement().is_some() => (Flow::Resign, Audience::Partner, seated()),
        Command::RescuePlan if site.seats.engagement().is_some() => (Flow::Rescue, Audience::Client, seated()),
        Command::OpenDispute { .. } if site.seats.engagement().is_some() => (Flow::Dispute, side, seated()),
        Command::GrantRole { user, .. } => {
            // Somebody invites an agency's admin as if they were anybody.
            let mut agencies = directory.agencies_of_admin(user).filter(|agency| agency.verified && agency.is_active());
            let seat = site.seats.agency();
            let Some(agency) = agencies.find(|agency| Some(&agency.id) != seat) else { return Ok(None) };
            extra.email = Some(user.to_string());
            (Flow::Nudge, Audience::Client, Parties { agency: Some(agency), ..Parties::default() })
        }
        _ => return Ok(None),
    };
    explain(&attempt.policies, timers, ground, (flow, audience), lang, (&parties, &extra)).map(Some)
}

/// The flow of a handover as it stands: what is only asked for is explained as a request.
fn flow_of(handover: &Handover) -> Flow {
    let by_case = handover.terms.as_ref().is_some_and(|terms| terms.case.is_some());
    match handover.status {
        HandoverStatus::Requested => Flow::PartnerRequest,
        _ if by_case => Flow::Succession,
        _ => Flow::of(handover.kind).unwrap_or(Flow::PartnerHandover),
    }
}

/// What the texts tell beside the site and its parties.
fn extra(site: &Site, handover: Option<&Handover>, timers: &Timers) -> Extra {
    let extra = Extra {
        lapses_at: site.plan.lapses_at,
        returns_at: site.plan.returns_at,
        freeze_max: Some(timers.freeze_max),
        past_due_grace: Some(timers.past_due_grace),
        lapse_notice: Some(timers.lapse_notice),
        suspension_notice: Some(timers.suspension_notice),
        ..Extra::default()
    };
    match handover.and_then(|handover| handover.terms.as_ref()) {
        Some(terms) => moving(extra, terms),
        None => extra,
    }
}

fn moving(extra: Extra, terms: &Terms) -> Extra {
    Extra {
        transfer_domains: Some(terms.domains.iter().cloned().collect()),
        plan_moves: Some(terms.plan),
        keeps_role: Some(terms.stay),
        ..extra
    }
}

fn explain(
    policies: &SitePolicies,
    timers: &Timers,
    ground: Ground<'_>,
    (flow, audience): (Flow, Audience),
    lang: &str,
    (parties, extra): (&Parties<'_>, &Extra),
) -> Result<Explanation, Failure> {
    let spends = |role: &str| policies.strengths().spends(role);
    let facts = explanation::facts_with(flow, ground.site, parties, timers, &spends, ground.now, extra);
    explanation::explain(flow, audience, lang, &facts).map_err(Failure::from)
}

/// The text of a handover for one side. Consent and reading use this one, so that they cannot differ.
fn of_one(
    policies: &SitePolicies,
    timers: &Timers,
    ground: Ground<'_>,
    handover: &Handover,
    audience: Audience,
    lang: &str,
) -> Result<Explanation, Failure> {
    let parties = Parties::of_handover(handover, ground.directory).seated_on(ground.site, ground.directory);
    let extra = extra(ground.site, Some(handover), timers);
    explain(policies, timers, ground, (flow_of(handover), audience), lang, (&parties, &extra))
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        match &error {
            ExplainError::UnknownLanguage { .. } => Self::new(Kind::Invalid, "unknown_language", sentence(&error)),
            ExplainError::UnknownAudience { .. } => Self::new(Kind::Invalid, "unknown_audience", sentence(&error)),
            ExplainError::Broken(_) => Self::new(Kind::Unavailable, "evaluation_failed", sentence(&error)),
        }
    }
}

/// An error as a sentence.
fn sentence(error: &ExplainError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

/// The text of an open or ended handover for one side.
///
/// # Errors
/// `400` for a language or an audience that there is not.
pub(super) fn of_handover(
    app: &App,
    site: &Site,
    handover: &Handover,
    audience: Audience,
    lang: &str,
) -> Result<Explanation, Failure> {
    let (policies, now) = (app.view.policies(), app.now());
    app.view.directory(|directory| {
        let ground = Ground { site, named: Some(handover), directory, revision: site.revision, now };
        of_one(&policies, &app.rules.timers, ground, handover, audience, lang)
    })
}

/// One thing that is going on with a site, told to one side.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Notice {
    /// What is going on, for example `reclaim`, `past_due` or `freeze`.
    #[schema(value_type = String)]
    flow: &'static str,
    /// What this side is told about it.
    #[serde(flatten)]
    explanation: Explanation,
}

/// What is going on with a site: its state, told in words. What has no text for this side is left out.
///
/// # Errors
/// `400` for a language that there is not.
pub(super) fn going_on(app: &App, site: &Site, audience: Audience, lang: &str) -> Result<Vec<Notice>, Failure> {
    let (policies, now) = (app.view.policies(), app.now());
    let timers = &app.rules.timers;
    app.view.directory(|directory| {
        let site = &on_its_way(site, directory);
        let ground = Ground { site, named: None, directory, revision: site.revision, now };
        let parties = Parties::of_site(site, directory);
        let extra = extra(site, None, timers);
        let mut notices = Vec::new();
        for (name, flow) in flows_of(site, &parties, now) {
            let Some(audience) = flow.reader(audience) else { continue };
            let explanation = explain(&policies, timers, ground, (flow, audience), lang, (&parties, &extra))?;
            notices.push(Notice { flow: name, explanation });
        }
        Ok(notices)
    })
}

/// The site with the return that its agency's suspension means for it, which nobody writes down before it is due.
fn on_its_way(site: &Site, directory: &Directory) -> Site {
    let mut site = site.clone();
    if let Seats::PartnerManaged(engagement) = &mut site.seats
        && engagement.return_pending.is_none()
        && let Some(agency) = directory.agency(&engagement.partner)
        && let Some(effective_at) = agency.returns_at
    {
        engagement.return_pending = Some(ReturnPending {
            reason: ReturnReason::AgencySuspended,
            requested_at: agency.status_since,
            effective_at,
            locked: false,
            keep: BTreeSet::new(),
        });
    }
    site
}

/// The flows that a site's state is in the middle of.
fn flows_of(site: &Site, parties: &Parties<'_>, now: Timestamp) -> Vec<(&'static str, Flow)> {
    let mut flows = Vec::new();
    if site.frozen.as_ref().is_some_and(|freeze| now < freeze.until) {
        flows.push(("freeze", Flow::Freeze));
    }
    if site.custody.is_some() {
        flows.push(("custody", Flow::Custody));
    }
    if site.plan.bridge_until.is_some_and(|until| now < until) {
        flows.push(("returned", Flow::Returned));
    }
    if site.seats.engagement().is_none() {
        return flows;
    }
    if site.dispute.as_ref().is_some_and(|dispute| now < dispute.until) {
        flows.push(("dispute", Flow::Dispute));
    }
    match site.return_pending().map(|pending| pending.reason) {
        Some(ReturnReason::Reclaim) => flows.push(("reclaim", Flow::Reclaim)),
        Some(ReturnReason::Resign) => flows.push(("resign", Flow::Resign)),
        Some(ReturnReason::AgencySuspended | ReturnReason::AgencyDissolved | ReturnReason::PlanLapsed) | None => {}
    }
    match site.plan.status {
        PlanStatus::PastDue => flows.push(("past_due", Flow::PastDue)),
        PlanStatus::Lapsed => flows.push(("lapsed", Flow::Lapsed)),
        PlanStatus::Ok => {}
    }
    match parties.agency.map(|agency| agency.status) {
        Some(AgencyStatus::Suspended) => flows.push(("agency_suspended", Flow::AgencySuspended)),
        Some(AgencyStatus::Dissolving) => flows.push(("agency_dissolving", Flow::AgencyDissolving)),
        Some(AgencyStatus::Active) | None => {}
    }
    flows
}

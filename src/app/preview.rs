//! Previews: what a command would do, said before anybody decides. Nothing is changed.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{
    App, Failure, Kind, PermissionDiff,
    command::{Attempt, CommandRequest, Ground},
    diff::permission_diff,
};
use crate::{
    assignment::{AgencyStatus, Directory, SitePolicies},
    digest as content,
    explanation::{self, Audience, ExplainError, Explanation, Extra, Flow, Parties},
    handover::{Acting, Applied, Command, Handover, HandoverStatus, Terms, Timers},
    ids::{Account, AgencyId, Principal, UserId},
    site::{PlanStatus, ReturnPending, ReturnReason, Seats, Side, Site, SiteView},
    store::{Loaded, Store, Verdict},
    time::Timestamp,
};

/// The answer to `?dry_run=true`.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Preview {
    /// `apply` or `refuse`.
    would: &'static str,
    /// Why it would be refused.
    code: Option<String>,
    /// The same as a sentence.
    detail: Option<String>,
    /// What stands in the way.
    #[schema(value_type = Vec<String>)]
    blockers: Vec<serde_json::Value>,
    /// The site as it is.
    before: SiteView,
    /// The site as it would be; for an offer, once it is accepted.
    after: Option<SiteView>,
    /// What would change for whom, between those two.
    permission_diff: PermissionDiff,
    /// What the acting person should read first.
    explanation: Vec<Line>,
    /// What an offer must carry as `preview_digest`. The same until something about the site or the parties changes.
    digest: Option<String>,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct Line {
    key: String,
    text: String,
}

impl App {
    /// Previews a command.
    ///
    /// # Errors
    /// `404`, `409 terminal` and `403` as the command itself: who may not do it is shown nothing.
    pub async fn preview(&self, request: CommandRequest) -> Result<Preview, Failure> {
        let wanted = self.wanted(&request);
        let attempt = self.attempt(request);
        let keep = Box::new(|loaded: &Loaded| Verdict::Leave(loaded.clone()));
        let loaded = self.store.change(wanted, keep).await?;
        let now = self.clock.now().max(loaded.head.at);
        let met = attempt.meet(&loaded, now)?;
        let ground = attempt.ground(&met)?;
        let lines = texts(&attempt, ground)?;
        let tried = attempt.try_on(ground).and_then(|(applied, _)| {
            attempt.unchanged(&met)?;
            attempt.within_quotas(&loaded, &applied)?;
            Ok(applied)
        });
        let refused = match tried {
            Ok(applied) => return applied_preview(&attempt, ground, applied, lines),
            Err(failure) if shown(failure.kind) => failure,
            Err(failure) => return Err(failure),
        };
        let blockers = refused.more.get("blockers").and_then(|value| value.as_array().cloned()).unwrap_or_default();
        Ok(Preview {
            would: "refuse",
            code: Some(refused.code.into_owned()),
            detail: Some(refused.detail),
            blockers,
            before: SiteView::from(ground.site),
            after: None,
            permission_diff: Vec::new(),
            explanation: lines,
            digest: None,
        })
    }
}

/// Refusals that are part of a preview; the others answer in its place.
fn shown(kind: Kind) -> bool {
    matches!(kind, Kind::Conflict | Kind::Unprocessable | Kind::Precondition | Kind::TooMany)
}

fn applied_preview(
    attempt: &Attempt,
    ground: Ground<'_>,
    applied: Applied,
    lines: Vec<Line>,
) -> Result<Preview, Failure> {
    let after = accepted(attempt, ground, &applied).unwrap_or(applied).site;
    Ok(Preview {
        would: "apply",
        code: None,
        detail: None,
        blockers: Vec::new(),
        before: SiteView::from(ground.site),
        after: Some(SiteView::from(&after)),
        permission_diff: permission_diff(&attempt.policies, ground.directory, ground.site, &after, ground.now)?,
        explanation: lines,
        digest: Some(digest(attempt, ground)?.to_string()),
    })
}

/// An offer changes no right; what matters is what its acceptance would. So that is played through as well.
fn accepted(attempt: &Attempt, ground: Ground<'_>, offered: &Applied) -> Option<Applied> {
    if !attempt.request.command.name().is_offer() {
        return None;
    }
    let mut before = offered.clone();
    // Everybody whose yes is needed says it, one after the other.
    while let Some(offer) = before.site.open_handover.clone() {
        let account = offer.consents_needed.first()?;
        let (person, side) = match account {
            Account::User(user) => (user.clone(), Side::Client),
            Account::Agency(agency) => (ground.directory.agency(agency)?.admins().next()?.clone(), Side::Partner),
        };
        let through = Some(account.clone());
        let acting = Acting { principal: Principal::User(person), through, side, roles: Vec::new() };
        let command = Command::AcceptHandover {
            handover: offer.id.clone(),
            explanation_digest: SmolStr::default(),
            lang: SmolStr::new_static("en"),
        };
        let ground = Ground { site: &before.site, named: Some(&offer), ..ground };
        before = attempt.apply(ground, &command, Some(&acting)).ok()?;
    }
    Some(before)
}

/// The digest that binds an offer to what its maker saw: SHA-256 over the RFC 8785 form of everything that the preview
/// rests on and that does not change by waiting.
pub(super) fn digest(attempt: &Attempt, ground: Ground<'_>) -> Result<SmolStr, Failure> {
    let request = &attempt.request;
    let fields = fields(&request.command);
    let text = explanation_for_actor(attempt, ground, "en")?.map(|explanation| explanation.digest);
    let digested = json!({
        "site": ground.site.id,
        "revision": ground.site.revision,
        "command": request.command.name().wire_name(),
        "fields": fields,
        "fingerprint": attempt.policies.bundle().fingerprint(),
        "explanation": text,
    });
    let hash = content::sha256_of_json(&digested)
        .map_err(|error| Failure::new(Kind::Unavailable, "evaluation_failed", error.to_string()))?;
    Ok(smol_str::format_smolstr!("sha256:{hash}"))
}

/// What a command says beside its name and its site.
fn fields(command: &Command) -> Value {
    match command {
        Command::OfferPartnerRole { to } | Command::ReplacePartner { to } => {
            json!({ "to": Account::from(AgencyId::clone(to)) })
        }
        Command::AssignClientRole { to } => json!({ "to": Account::from(UserId::clone(to)) }),
        Command::TransferOwnership { to, domains, plan, stay } => {
            json!({ "to": Account::from(UserId::clone(to)), "domains": domains, "plan": plan, "stay": stay })
        }
        Command::ReclaimSite { lock, keep } => json!({ "lock": lock, "keep": keep }),
        Command::GrantRole { user, role } | Command::ChangeRole { user, role } => json!({ "user": user, "role": role }),
        Command::RevokeRole { user } => json!({ "user": user }),
        other => json!({ "handover": other.handover(), "operation": other.operation() }),
    }
}

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

fn texts(attempt: &Attempt, ground: Ground<'_>) -> Result<Vec<Line>, Failure> {
    let explanation = explanation_for_actor(attempt, ground, &attempt.request.lang)?;
    let sections = explanation.into_iter().flat_map(|explanation| explanation.sections);
    Ok(sections.map(|section| Line { key: section.key, text: section.text }).collect())
}

/// What the acting person should read before this command; none for commands that have no text.
fn explanation_for_actor(attempt: &Attempt, ground: Ground<'_>, lang: &str) -> Result<Option<Explanation>, Failure> {
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

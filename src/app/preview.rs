//! Previews: what a command would do, said before anybody decides. Nothing is changed.

use serde::Serialize;
use serde_json::json;
use smol_str::SmolStr;

use super::{
    App, Failure, Kind, PermissionDiff,
    command::{self, Attempt, CommandRequest, Ground},
    diff::permission_diff,
};
use crate::{
    digest as content,
    explanation::{self, Audience, ExplainError, Explanation, Flow, Parties},
    handover::{Acting, Applied, Command, Handover},
    ids::{Account, AgencyId, Principal, UserId},
    site::{Side, Site, SiteView},
    store::{Loaded, Store, Verdict},
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
        let wanted = command::wanted(&request);
        let attempt = self.attempt(request);
        let keep = Box::new(|loaded: &Loaded| Verdict::Leave(loaded.clone()));
        let loaded = self.store.change(wanted, keep).await?;
        let now = self.clock.now().max(loaded.head.at);
        let ground = attempt.ground(&loaded, now)?;
        let lines = texts(&attempt, ground)?;
        let refused = match attempt.try_on(ground) {
            Ok((applied, _)) => return applied_preview(&attempt, ground, applied, lines),
            Err(failure) if failure.kind == Kind::Conflict || failure.kind == Kind::Unprocessable => failure,
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
    if !matches!(attempt.request.command, Command::OfferPartnerRole { .. } | Command::AssignClientRole { .. }) {
        return None;
    }
    let offer = offered.site.open_handover.as_ref()?;
    let person = match &offer.to {
        Account::User(user) => user.clone(),
        Account::Agency(agency) => ground.directory.agency(agency)?.admins().next()?.clone(),
    };
    let side = match &offer.to {
        Account::User(_) => Side::Client,
        Account::Agency(_) => Side::Partner,
    };
    let acting = Acting { principal: Principal::User(person), through: offer.to.clone(), side, roles: Vec::new() };
    let command = Command::AcceptHandover {
        handover: offer.id.clone(),
        explanation_digest: SmolStr::default(),
        lang: SmolStr::new_static("en"),
    };
    let ground = Ground { site: &offered.site, named: Some(offer), ..ground };
    attempt.apply(ground, &command, Some(&acting)).ok()
}

/// The digest that binds an offer to what its maker saw: SHA-256 over the RFC 8785 form of everything that the preview
/// rests on and that does not change by waiting.
pub(super) fn digest(attempt: &Attempt, ground: Ground<'_>) -> Result<SmolStr, Failure> {
    let request = &attempt.request;
    let fields = match &request.command {
        Command::OfferPartnerRole { to } => json!({ "to": Account::from(AgencyId::clone(to)) }),
        Command::AssignClientRole { to } => json!({ "to": Account::from(UserId::clone(to)) }),
        Command::AcceptHandover { handover, .. }
        | Command::DeclineHandover { handover }
        | Command::CancelHandover { handover }
        | Command::ExpireHandover { handover } => json!({ "handover": handover }),
        Command::ReclaimSite { lock, keep } => json!({ "lock": lock, "keep": keep }),
        Command::GrantRole { user, role } | Command::ChangeRole { user, role } => json!({ "user": user, "role": role }),
        Command::RevokeRole { user } => json!({ "user": user }),
        Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::ResignAsPartner
        | Command::LeaveSite => json!({}),
    };
    let text = explanation_for_actor(attempt, ground)?.map(|explanation| explanation.digest);
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

/// The digest that an acceptance must name: of the text that the accepting side reads.
pub(super) fn acceptors_digest(attempt: &Attempt, ground: Ground<'_>, lang: &str) -> Result<SmolStr, Failure> {
    let Some(handover) = ground.named else { return Err(Failure::unknown_handover()) };
    let Some((flow, audience)) = Flow::of(handover.kind).and_then(|flow| Some((flow, flow.acceptor()?))) else {
        return Ok(SmolStr::default());
    };
    let parties = Parties::of_handover(handover, ground.directory);
    let text = explain(attempt, ground.site, ground, flow, audience, lang, &parties)?;
    Ok(SmolStr::new(text.digest))
}

fn texts(attempt: &Attempt, ground: Ground<'_>) -> Result<Vec<Line>, Failure> {
    let explanation = explanation_for_actor(attempt, ground)?;
    let sections = explanation.into_iter().flat_map(|explanation| explanation.sections);
    Ok(sections.map(|section| Line { key: section.key, text: section.text }).collect())
}

/// What the acting person should read before this command; none for commands that have no text.
fn explanation_for_actor(attempt: &Attempt, ground: Ground<'_>) -> Result<Option<Explanation>, Failure> {
    let offer_parties = |to: &Account| match ground.site.seats.owner() {
        Some(owner) => [owner, to.clone()],
        None => [to.clone(), to.clone()],
    };
    let (flow, audience, accounts, lang) = match &attempt.request.command {
        Command::OfferPartnerRole { to } => {
            let flow = Flow::PartnerHandover;
            (flow, flow.starter(), offer_parties(&to.clone().into()), "en")
        }
        Command::AssignClientRole { to } => {
            let flow = Flow::ClientAssignment;
            (flow, flow.starter(), offer_parties(&to.clone().into()), "en")
        }
        Command::AcceptHandover { lang, .. } => {
            let Some(handover) = ground.named else { return Ok(None) };
            let Some((flow, audience)) = Flow::of(handover.kind).and_then(|flow| Some((flow, flow.acceptor()?))) else {
                return Ok(None);
            };
            (flow, audience, [handover.initiator.clone(), handover.to.clone()], lang.as_str())
        }
        Command::ReclaimSite { .. } | Command::ResignAsPartner => {
            let Some(engagement) = ground.site.seats.engagement() else { return Ok(None) };
            let accounts = [engagement.client.clone().into(), AgencyId::clone(&engagement.partner).into()];
            match &attempt.request.command {
                Command::ReclaimSite { .. } => (Flow::Reclaim, Audience::Client, accounts, "en"),
                _ => (Flow::Resign, Audience::Partner, accounts, "en"),
            }
        }
        Command::DeclineHandover { .. }
        | Command::CancelHandover { .. }
        | Command::ExpireHandover { .. }
        | Command::WithdrawReclaim
        | Command::ReleaseSite
        | Command::ReturnEffective
        | Command::GrantRole { .. }
        | Command::ChangeRole { .. }
        | Command::RevokeRole { .. }
        | Command::LeaveSite => return Ok(None),
    };
    let [first, second] = &accounts;
    let parties = Parties::of_accounts([first, second], ground.directory);
    explain(attempt, ground.site, ground, flow, audience, lang, &parties).map(Some)
}

fn explain(
    attempt: &Attempt,
    site: &Site,
    ground: Ground<'_>,
    flow: Flow,
    audience: Audience,
    lang: &str,
    parties: &Parties<'_>,
) -> Result<Explanation, Failure> {
    let strengths = attempt.policies.strengths();
    let facts = explanation::facts_of(flow, site, parties, &attempt.timers, &|role| strengths.spends(role), ground.now);
    explanation::explain(flow, audience, lang, &facts).map_err(Failure::from)
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        match &error {
            ExplainError::UnknownLanguage { .. } => Self::new(Kind::Invalid, "unknown_language", sentence(&error)),
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
    let policies = app.view.policies();
    let strengths = policies.strengths();
    let Some(flow) = Flow::of(handover.kind) else {
        return Err(Failure::new(Kind::NotFound, "no_explanation", "There is no text for this kind of handover."));
    };
    let now = app.now();
    app.view.directory(|directory| {
        let parties = Parties::of_handover(handover, directory);
        let facts = explanation::facts_of(flow, site, &parties, &app.timers, &|role| strengths.spends(role), now);
        explanation::explain(flow, audience, lang, &facts).map_err(Failure::from)
    })
}

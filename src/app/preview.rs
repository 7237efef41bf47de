//! Previews: what a command would do, said before anybody decides. Nothing is changed.

use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{
    App, Failure, Kind, PermissionDiff,
    command::{Attempt, CommandRequest, Ground},
    diff::permission_diff,
    texts,
};
use crate::{
    digest as content,
    handover::{Acting, Applied, Command},
    ids::{Account, AgencyId, Principal, UserId},
    site::{Side, SiteView},
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
    let text = texts::explanation_for_actor(attempt, ground, "en")?.map(|explanation| explanation.digest);
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

fn texts(attempt: &Attempt, ground: Ground<'_>) -> Result<Vec<Line>, Failure> {
    let explanation = texts::explanation_for_actor(attempt, ground, &attempt.request.lang)?;
    let sections = explanation.into_iter().flat_map(|explanation| explanation.sections);
    Ok(sections.map(|section| Line { key: section.key, text: section.text }).collect())
}

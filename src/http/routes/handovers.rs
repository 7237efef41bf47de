//! Handovers: offers open and ended, and what they mean in plain words.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use super::{Service, reply};
use crate::{
    explanation::{Audience, Explanation},
    handover::Handover,
    http::problem::Problem,
    ids::{HandoverId, Principal, SiteId},
    site::HandoverView,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplanationQuery {
    audience: Option<String>,
    lang: Option<String>,
    actor: Option<Principal>,
}

/// A site's handovers, oldest first.
#[utoipa::path(get, path = "/v1/sites/{site}/handovers", tag = "handovers",
    params(("site" = String, Path), ("after" = Option<String>, Query), ("limit" = Option<usize>, Query), ("actor" = Option<String>, Query)),
    responses((status = 200, body = reply::List<HandoverView>), (status = 403), (status = 404)))]
pub(super) async fn of_site(
    State(service): State<Service>,
    Path(site): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse()?;
    let query: reply::PageQuery = reply::query(request.uri())?;
    let viewer = match &query.actor {
        Some(actor) => Some(service.app().viewer(actor, &site).await?),
        None => None,
    };
    let after: Option<HandoverId> = query.after()?;
    let page = service.app().handovers(&site, after.as_ref(), query.limit(service.limits())?).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| last.id.to_string());
    let seen = |handover: &&Handover| viewer.as_ref().is_none_or(|viewer| viewer.sees(handover));
    let items: Vec<HandoverView> = page.items.iter().filter(seen).map(HandoverView::from).collect();
    if let Some(viewer) = viewer.filter(|viewer| items.is_empty() && next.is_none() && !viewer.sees_everything()) {
        return Err(viewer.refusal().into());
    }
    reply::json(StatusCode::OK, &reply::List { items, next })
}

/// One handover.
#[utoipa::path(get, path = "/v1/handovers/{handover}", tag = "handovers",
    params(("handover" = String, Path), ("actor" = Option<String>, Query)),
    responses((status = 200, body = HandoverView), (status = 403), (status = 404)))]
pub(super) async fn get_handover(
    State(service): State<Service>,
    Path(handover): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let id: HandoverId = handover.parse()?;
    let query: reply::ActorQuery = reply::query(request.uri())?;
    let found = service.app().handover(&id).await?;
    if let Some(actor) = &query.actor {
        may_view(&service, actor, &found).await?;
    }
    reply::json(StatusCode::OK, &HandoverView::from(&found))
}

/// What the handover means for one side, in plain words, with the digest that an acceptance names.
#[utoipa::path(get, path = "/v1/handovers/{handover}/explanation", tag = "handovers",
    params(("handover" = String, Path), ("audience" = String, Query, description = "Who reads: `client`, `partner`, `old_partner`, `new_partner`, `owner` or `recipient`."), ("lang" = Option<String>, Query)),
    responses((status = 200, body = Explanation), (status = 400), (status = 404)))]
pub(super) async fn explanation(
    State(service): State<Service>,
    Path(handover): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let id: HandoverId = handover.parse()?;
    let query: ExplanationQuery = reply::query(request.uri())?;
    let audience = audience(query.audience.as_deref())?;
    if let Some(actor) = &query.actor {
        let handover = service.app().handover(&id).await?;
        may_view(&service, actor, &handover).await?;
        // The text is made of what is true now, which is not a former party's business any more.
        if !handover.status.is_live() && !service.app().viewer(actor, &handover.site).await?.sees_everything() {
            let detail =
                "this handover has ended, and what it would say today is for those who have a role on the site";
            return Err(Problem::not_found("no_explanation", detail));
        }
    }
    let text = service.app().explanation(&id, audience, query.lang.as_deref().unwrap_or("en")).await?;
    reply::json(StatusCode::OK, &text)
}

/// What is going on with a site, in plain words for one side: a reclaim, an unpaid plan, a freeze.
#[utoipa::path(get, path = "/v1/sites/{site}/explanation", tag = "sites",
    params(("site" = String, Path), ("audience" = String, Query, description = "Who reads: `client` or `partner`."), ("lang" = Option<String>, Query)),
    responses((status = 200, body = Vec<crate::app::Notice>), (status = 400), (status = 404)))]
pub(super) async fn of_state(
    State(service): State<Service>,
    Path(site): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse()?;
    let query: ExplanationQuery = reply::query(request.uri())?;
    let audience = audience(query.audience.as_deref())?;
    if let Some(actor) = &query.actor {
        service.app().may_look(actor, "ViewSite", &site).await?;
    }
    let items = service.app().notices(&site, audience, query.lang.as_deref().unwrap_or("en")).await?;
    reply::json(StatusCode::OK, &serde_json::json!({ "items": items }))
}

fn audience(given: Option<&str>) -> Result<Audience, Problem> {
    given.and_then(Audience::from_wire).ok_or_else(|| {
        let names = Audience::ALL.map(|audience| format!("`{}`", audience.wire_name())).join(", ");
        Problem::bad_request("invalid_query", format!("`audience` says who reads, one of {names}"))
    })
}

async fn may_view(service: &Service, actor: &Principal, handover: &Handover) -> Result<(), Problem> {
    let viewer = service.app().viewer(actor, &handover.site).await?;
    if viewer.sees(handover) { Ok(()) } else { Err(viewer.refusal().into()) }
}

//! What happened: a site's audit events, and the change feed for callers that keep a cache.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};

use super::{Service, reply};
use crate::{
    http::problem::Problem,
    ids::SiteId,
    revision::Revision,
    store::{AuditEvent, Change},
};

/// A site's audit events, oldest first.
#[utoipa::path(get, path = "/v1/sites/{site}/audit", tag = "history",
    params(("site" = String, Path), ("after" = Option<u64>, Query), ("limit" = Option<usize>, Query), ("actor" = Option<String>, Query)),
    responses((status = 200, body = reply::List<AuditEvent>), (status = 403), (status = 404)))]
pub(super) async fn audit(
    State(service): State<Service>,
    Path(site): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse()?;
    let query: reply::PageQuery = reply::query(request.uri())?;
    if let Some(actor) = &query.actor {
        service.app().may_look(actor, "ViewAuditLog", &site).await?;
    }
    let page = service.app().audit(&site, query.after()?.unwrap_or(0), query.limit(service.limits())?).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| last.seq.to_string());
    reply::json(StatusCode::OK, &reply::List { items: page.items, next })
}

/// What changed after a revision: what a caller's own cache must drop. A page never splits a revision.
#[utoipa::path(get, path = "/v1/changes", tag = "history",
    params(("after" = Option<u64>, Query, description = "A revision."), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = reply::List<Change>), (status = 400)))]
pub(super) async fn changes(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let query: reply::PageQuery = reply::query::<reply::FeedQuery>(request.uri())?.into();
    let after: Option<Revision> = query.after()?;
    let page = service.app().changes(after.unwrap_or_default(), query.limit(service.limits())?).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| last.revision.to_string());
    reply::json(StatusCode::OK, &reply::List { items: page.items, next })
}

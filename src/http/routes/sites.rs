//! Sites: registering, reading, and who has access.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};

use super::{Service, reply};
use crate::{
    app::{AccessEntry, SiteUpdate},
    http::{json, problem::Problem},
    ids::{SiteId, UserId},
    site::SiteView,
};

/// A site: mode, seats, plan, flags, open handover, pending return.
#[utoipa::path(get, path = "/v1/sites/{site}", tag = "sites",
    params(("site" = String, Path), ("actor" = Option<String>, Query, description = "Answer only if this person may ViewSite.")),
    responses((status = 200, body = SiteView), (status = 403), (status = 404)))]
pub(super) async fn get_site(
    State(service): State<Service>,
    Path(site): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse()?;
    let query: reply::ActorQuery = reply::query(request.uri())?;
    if let Some(actor) = &query.actor {
        service.app().may_look(actor, "ViewSite", &site).await?;
    }
    let found = service.app().site(&site).await?;
    let response = reply::json(StatusCode::OK, &SiteView::from(&found))?;
    Ok(reply::stamped(response, found.revision, Some(found.revision)))
}

/// Registers a site, or changes what the platform merely reports about it.
#[utoipa::path(put, path = "/v1/sites/{site}", tag = "sites", params(("site" = String, Path)), request_body = SiteUpdate,
    responses(
        (status = 200, body = SiteView), (status = 201, body = SiteView), (status = 400), (status = 404, description = "No such agency."),
        (status = 409, description = "Mode, owner and plan status change by commands only."),
    ))]
pub(super) async fn put_site(
    State(service): State<Service>,
    Path(site): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse()?;
    let update: SiteUpdate = json::read_as(request, service.limits().body).await?;
    let done = service.app().put_site(site, update).await?;
    service.app().effective(done.revision, None).await?;
    let response = reply::json(created(done.created), &SiteView::from(&done.value))?;
    Ok(reply::stamped(response, done.revision, Some(done.value.revision)))
}

/// Everybody who has access: role, how it is held, who gave it, what is conditional.
#[utoipa::path(get, path = "/v1/sites/{site}/access", tag = "sites",
    params(("site" = String, Path), ("after" = Option<String>, Query), ("limit" = Option<usize>, Query, description = "People on a page."), ("actor" = Option<String>, Query, description = "Answer only if this person may ViewContributors.")),
    responses((status = 200, body = reply::List<AccessEntry>), (status = 403), (status = 404)))]
pub(super) async fn access(
    State(service): State<Service>,
    Path(site): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse()?;
    let query: reply::PageQuery = reply::query(request.uri())?;
    if let Some(actor) = &query.actor {
        service.app().may_look(actor, "ViewContributors", &site).await?;
    }
    let after: Option<UserId> = query.after()?;
    let (revision, page) = service.app().access(&site, after.as_ref(), query.limit(service.limits())?).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| last.principal.id().to_owned());
    let list = reply::List { items: page.items, next };
    Ok(reply::stamped(reply::json(StatusCode::OK, &list)?, revision, None))
}

pub(super) fn created(created: bool) -> StatusCode {
    if created { StatusCode::CREATED } else { StatusCode::OK }
}

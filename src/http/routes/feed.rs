//! What happened: a site's audit events, and the change feed for callers that keep a cache.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::{
    Service, reply,
    stream::{self, Form},
};
use crate::{
    app::Position,
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

/// What changed after a revision: what a caller's own cache must drop. A page never splits a revision. With
/// `Accept: text/event-stream` a stream of server-sent events that goes on as changes are published.
#[utoipa::path(get, path = "/v1/changes", tag = "history",
    params(
        ("after" = Option<String>, Query, description = "A revision or its token. None: from the first change on."),
        ("limit" = Option<usize>, Query, description = "Changes of a page; not for a stream."),
        ("last-event-id" = Option<String>, Header, description = "The same as `after`, and wins; a token in `after` is compared still. For a stream only."),
    ),
    responses(
        (status = 200, content((reply::List<Change> = "application/json"), (stream::ChangeEvent = "text/event-stream"))),
        (status = 400), (status = 406),
        (status = 409, description = "This history does not have that revision: `future_revision`, `other_history`, `lost_commits`."),
        (status = 503, description = "`too_many_streams`, `stale_lease`, or the store does not answer."),
    ))]
pub(super) async fn changes(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let (head, _) = request.into_parts();
    let query: reply::PageQuery = reply::query::<reply::FeedQuery>(&head.uri)?.into();
    let asked: Option<Position> = query.after()?;
    let form = Form::of(&head.headers)?;
    let after = match asked {
        Some(position) => service.app().position(position).await?,
        None => Revision::default(),
    };
    let mut response = match form {
        Form::Stream => stream::open(&service, (&head.method, &head.headers), &query, after).await?,
        Form::Page => {
            let told = service.app().changes(after, query.limit(service.limits())?).await?;
            let next = told.items.last().filter(|_| told.more).map(|last| last.revision.to_string());
            reply::json(StatusCode::OK, &reply::List { items: told.items, next })?
        }
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

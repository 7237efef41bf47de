//! Delivery of events: who is told, how far they are, and what could not be delivered.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};

use super::{Service, reply};
use crate::{
    http::problem::Problem,
    store::delivery::{DeadLetter, SinkReport},
};

/// Everybody who is told of events: where they are in the log, what waits and what was given up.
#[utoipa::path(get, path = "/v1/events/sinks", tag = "events",
    responses((status = 200, body = reply::List<SinkReport>), (status = 400)))]
pub(super) async fn sinks(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let _: reply::NoQuery = reply::query(request.uri())?;
    reply::json(StatusCode::OK, &reply::List { items: service.app().sinks().await?, next: None })
}

/// Events that a subscriber did not take, oldest first; those that were put back are listed until they are delivered.
#[utoipa::path(get, path = "/v1/events/dead-letters", tag = "events",
    params(("after" = Option<u64>, Query), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = reply::List<DeadLetter>), (status = 400)))]
pub(super) async fn dead_letters(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let query: reply::PageQuery = reply::query::<reply::FeedQuery>(request.uri())?.into();
    let page = service.app().dead_letters(query.after()?.unwrap_or(0), query.limit(service.limits())?).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| last.id.to_string());
    reply::json(StatusCode::OK, &reply::List { items: page.items, next })
}

/// Puts a dead letter back into the queue. Again does nothing more: the answer tells what has become of it.
#[utoipa::path(post, path = "/v1/events/dead-letters/{id}/retry", tag = "events",
    params(("id" = u64, Path)),
    responses((status = 202, body = DeadLetter), (status = 400), (status = 404)))]
pub(super) async fn retry(
    State(service): State<Service>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let _: reply::NoQuery = reply::query(request.uri())?;
    let id = id.parse().map_err(|_| {
        Problem::bad_request(
            "invalid_id",
            "the `id` of a dead letter is a number; GET /v1/events/dead-letters lists them",
        )
    })?;
    reply::json(StatusCode::ACCEPTED, &service.app().retry_dead_letter(id).await?)
}

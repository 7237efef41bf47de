//! The journal of billing, for an operator who asks what is stuck.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};

use super::{Service, reply};
use crate::{
    http::problem::Problem,
    ids::{Account, SiteId},
    revision::Revision,
    store::{Saga, SagaState},
    time::Timestamp,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SagaQuery {
    state: Option<SagaState>,
    after: Option<String>,
    limit: Option<usize>,
}

/// One change of payer, and how far billing knows of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SagaView {
    id: String,
    #[schema(value_type = String)]
    site: SiteId,
    kind: String,
    state: SagaState,
    /// From 1; one more each time that a released saga was tried again.
    attempt: u64,
    /// Calls that failed in this state.
    tries: u64,
    /// What kind of failure the last one was, for example `timeout`, `unreachable`, `http_503`, `refused`.
    last_failure: Option<String>,
    #[schema(value_type = Option<String>)]
    payer: Option<Account>,
    #[schema(value_type = Option<String>)]
    from: Option<Account>,
    /// The commit that moved the payer.
    #[schema(value_type = Option<u64>)]
    revision: Option<Revision>,
    /// From when on the payer is liable.
    #[schema(value_type = Option<String>, format = DateTime)]
    effective_at: Option<Timestamp>,
    /// When it came into this state.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// When billing is asked next, or the reservation is given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
}

impl From<Saga> for SagaView {
    fn from(saga: Saga) -> Self {
        Self {
            id: saga.id.to_string(),
            site: saga.site,
            kind: saga.kind.to_string(),
            state: saga.state,
            attempt: saga.attempt,
            tries: saga.tries,
            last_failure: saga.failure,
            payer: saga.payer,
            from: saga.from,
            revision: saga.revision,
            effective_at: saga.effective_at,
            since: saga.since,
            due_at: saga.due_at,
        }
    }
}

/// What was agreed with billing, in the order of ids; with `state`, only what stands there.
#[utoipa::path(get, path = "/v1/billing/sagas", tag = "billing",
    params(("state" = Option<String>, Query, description = "`reserving`, `confirming`, `confirmed`, `releasing` or `released`."),
        ("after" = Option<String>, Query), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = reply::List<SagaView>), (status = 400)))]
pub(super) async fn sagas(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let query: SagaQuery = reply::query(request.uri())?;
    let page = reply::PageQuery { after: query.after, limit: query.limit, actor: None };
    let limit = page.limit(service.limits())?;
    let page = service.app().sagas(query.state, page.after.as_deref(), limit).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| last.id.to_string());
    let items = page.items.into_iter().map(SagaView::from).collect();
    reply::json(StatusCode::OK, &reply::List { items, next })
}

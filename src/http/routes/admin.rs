//! The admin listener: is the process alive, can it answer, how does it do? Never a caller's data.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use serde_json::json;

use super::reply;
use crate::{app::App, http::problem::Problem, metrics};

/// `/livez`, `/readyz` and `/metrics`.
pub fn admin(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(app)
}

async fn live() -> Result<Response, Problem> {
    reply::json(StatusCode::OK, &json!({ "status": "alive" }))
}

/// Ready: the rules are loaded and the system of record can be read, or, where others write to it too, a lease holds.
async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.ready().await {
        Ok(revision) => reply::json(StatusCode::OK, &json!({ "status": "ready", "revision": revision })),
        Err(failure) => {
            tracing::warn!(code = %failure.code, "not ready");
            Err(Problem::unavailable("not_ready", "the store cannot be read or followed; the log says why"))
        }
    }
}

/// What the service counts, for Prometheus.
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = metrics::page(app.metrics().await).map_err(|error| {
        tracing::error!(%error, "the page of metrics cannot be written");
        Problem::internal()
    })?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    Ok(response)
}

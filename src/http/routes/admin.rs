//! The admin listener: is the process alive, can it answer? Never a caller's data.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde_json::json;

use super::reply;
use crate::{app::App, http::problem::Problem, store::Store};

/// `/livez` and `/readyz`.
pub fn admin(app: Arc<App>) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(app)
}

async fn live() -> Result<Response, Problem> {
    reply::json(StatusCode::OK, &json!({ "status": "alive" }))
}

/// Ready: the rules are loaded and the system of record can be read.
async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.store().head().await {
        Ok(head) => reply::json(StatusCode::OK, &json!({ "status": "ready", "revision": head.revision })),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(Problem::unavailable("not_ready", "the store cannot be read; the log says why"))
        }
    }
}

//! The admin listener: is the process alive, can it answer? Never a caller's data.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde_json::json;

use super::reply;
use crate::{app::App, http::problem::Problem};

/// `/livez` and `/readyz`.
pub fn admin(app: Arc<App>) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(app)
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

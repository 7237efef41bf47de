//! Which calls are there? Routes: from well-formed requests to [`App`] methods and back.
//!
//! Each file is one part of the API. A handler reads (strictly: `http::json`, `http::authzen`), calls one method of the
//! service, and writes; it decides nothing. The OpenAPI document is generated from the same declarations.

mod accounts;
mod admin;
mod agencies;
mod billing;
mod command;
mod evaluation;
mod events;
mod feed;
mod handovers;
mod policies;
mod reply;
mod sites;
mod transitions;

pub use admin::admin;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, clock, config::Limits};

/// What every handler needs.
#[derive(Clone)]
struct Service(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    limits: Limits,
    decisions: Decisions,
}

impl Service {
    fn app(&self) -> &App {
        &self.0.app
    }
    /// For what goes on when its caller has gone.
    fn shared_app(&self) -> Arc<App> {
        Arc::clone(&self.0.app)
    }
    fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

/// Names for decisions: one random prefix for each process, then a number. Drawing a random name for each decision
/// would cost a system call and tell nobody more.
struct Decisions {
    prefix: String,
    next: AtomicU64,
}

impl Decisions {
    fn new() -> Self {
        Self { prefix: clock::new_uuid(), next: AtomicU64::new(1) }
    }
    fn name(&self) -> String {
        format!("{}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Mandate",
    description = "Who may do what on a website, and how a site passes between a client and a partner."
))]
struct Description;

fn described() -> OpenApiRouter<Service> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(evaluation::evaluation))
        .routes(routes!(sites::get_site, sites::put_site))
        .routes(routes!(sites::access))
        .routes(routes!(transitions::transition))
        .routes(routes!(handovers::of_site))
        .routes(routes!(handovers::get_handover))
        .routes(routes!(handovers::explanation))
        .routes(routes!(handovers::of_state))
        .routes(routes!(feed::audit))
        .routes(routes!(feed::changes))
        .routes(routes!(accounts::get_account, accounts::put_account))
        .routes(routes!(billing::sagas))
        .routes(routes!(agencies::get_agency, agencies::put_agency))
        .routes(routes!(agencies::put_member, agencies::delete_member))
        .routes(routes!(agencies::put_staff, agencies::delete_staff))
        .routes(routes!(events::sinks))
        .routes(routes!(events::dead_letters))
        .routes(routes!(events::retry))
        .routes(routes!(policies::policies))
}

/// The decision and control API.
pub fn control(app: Arc<App>, limits: Limits) -> Router {
    let (router, api) = described().split_for_parts();
    router
        .route("/openapi.json", get(move || std::future::ready(reply::json(StatusCode::OK, &api))))
        .with_state(Service(Arc::new(Inner { app, limits, decisions: Decisions::new() })))
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().split_for_parts().1
}

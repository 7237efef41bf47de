//! Which calls are there? Routes: from well-formed requests to [`App`] methods and back.
//!
//! Each file is one part of the API. A handler reads (strictly: `http::json`, `http::authzen`), calls one method of the
//! service, and writes; it decides nothing. The OpenAPI document is generated from the same declarations.

mod accounts;
mod admin;
mod agencies;
mod billing;
mod command;
mod domain;
mod evaluation;
mod events;
mod feed;
mod handovers;
mod metadata;
mod policies;
mod replicas;
mod reply;
mod search;
mod sites;
mod stream;
mod transitions;

pub use admin::admin;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use smol_str::SmolStr;
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{problem::Problem, signing::Signer};
use crate::{
    app::App,
    clock,
    config::{BatchMerge, Config, Limits, Role},
    domains::PolicyDomain,
};

/// What every handler needs.
#[derive(Clone)]
struct Service(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    limits: Limits,
    merge: BatchMerge,
    decisions: Decisions,
    /// Places for those who follow the change feed.
    streams: Arc<Semaphore>,
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
    fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
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

/// What is described by hand, because there is one of it for each decision point.
#[derive(OpenApi)]
#[openapi(paths(metadata::metadata))]
struct Discovery;

/// What is served beside the sites.
#[derive(Debug, Default)]
pub struct Beside {
    /// Policy domains by name.
    pub domains: Vec<(SmolStr, Arc<PolicyDomain>)>,
    /// What signs the documents of discovery.
    pub signer: Option<Arc<Signer>>,
}

/// What a process that only decides serves too: decisions, and what tells callers when to drop what they remember.
fn decisions() -> OpenApiRouter<Service> {
    let mut described = Description::openapi();
    described.merge(Discovery::openapi());
    OpenApiRouter::with_openapi(described)
        .routes(routes!(evaluation::evaluation))
        .routes(routes!(evaluation::evaluations))
        .routes(routes!(search::subject))
        .routes(routes!(search::resource))
        .routes(routes!(search::action))
}

fn reads() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(feed::changes))
        .routes(routes!(policies::policies))
        .routes(routes!(replicas::replicas))
}

fn commands() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(sites::get_site, sites::put_site))
        .routes(routes!(sites::access))
        .routes(routes!(transitions::transition))
        .routes(routes!(handovers::of_site))
        .routes(routes!(handovers::get_handover))
        .routes(routes!(handovers::explanation))
        .routes(routes!(handovers::of_state))
        .routes(routes!(feed::audit))
        .routes(routes!(accounts::get_account, accounts::put_account))
        .routes(routes!(billing::sagas))
        .routes(routes!(agencies::get_agency, agencies::put_agency))
        .routes(routes!(agencies::put_member, agencies::delete_member))
        .routes(routes!(agencies::put_staff, agencies::delete_staff))
        .routes(routes!(events::sinks))
        .routes(routes!(events::dead_letters))
        .routes(routes!(events::retry))
}

fn described(role: Role) -> OpenApiRouter<Service> {
    let begun = if role.decides() { decisions() } else { OpenApiRouter::with_openapi(Description::openapi()) };
    let served = begun.merge(reads());
    if role.writes() { served.merge(commands()) } else { served }
}

/// What is served by another process of this installation.
fn elsewhere(role: Role) -> Problem {
    let (does, other) = if role.writes() { ("takes commands only", "`pdp`") } else { ("decides only", "`control`") };
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_served_here",
        format!("there is nothing at this path in a process that {does}; ask one whose `role` is `all` or {other}"),
    )
}

/// The decision and control API, as far as this process serves it.
pub fn control(app: Arc<App>, config: &Config, beside: &Beside) -> Router {
    let (router, api) = described(config.role).split_for_parts();
    let router = router.route("/openapi.json", get(move || std::future::ready(reply::json(StatusCode::OK, &api))));
    let role = config.role;
    let router = if role == Role::All { router } else { router.fallback(move || std::future::ready(elsewhere(role))) };
    let (limits, merge) = (config.limits.clone(), config.batch_default_merge);
    let streams = Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS)));
    let service = Service(Arc::new(Inner { app, limits, merge, decisions: Decisions::new(), streams }));
    let router = router.with_state(service.clone());
    if !role.decides() {
        return router;
    }
    let router = metadata::documents(router, config.public_url.as_ref(), beside);
    let served = beside.domains.iter().map(|(name, domain)| domain::routes(&service, name, domain));
    served.fold(router, Router::merge)
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    described(Role::All).split_for_parts().1
}

//! `GET /.well-known/authzen-configuration`: which calls of the standard are there, and where?
//!
//! Every URL is made of the setting `public_url` and never of the `Host` header, which whoever asks can choose. Without the
//! setting there is no document: a guess would be believed.

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::Response,
    routing::get,
};
use serde::Serialize;

use super::{Service, reply};
use crate::{config::PublicUrl, http::problem::Problem};

/// Where the document stands; that of an identifier with a path stands below, under that path.
pub(super) const WELL_KNOWN: &str = "/.well-known/authzen-configuration";

/// How long the document may be kept.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The standard's metadata.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Metadata {
    /// The identifier of this decision point, as it is configured.
    #[schema(example = "https://pdp.example.com")]
    policy_decision_point: String,
    #[schema(example = "https://pdp.example.com/access/v1/evaluation")]
    access_evaluation_endpoint: String,
    #[schema(example = "https://pdp.example.com/access/v1/evaluations")]
    access_evaluations_endpoint: String,
    #[schema(example = "https://pdp.example.com/access/v1/search/subject")]
    search_subject_endpoint: String,
    #[schema(example = "https://pdp.example.com/access/v1/search/resource")]
    search_resource_endpoint: String,
    #[schema(example = "https://pdp.example.com/access/v1/search/action")]
    search_action_endpoint: String,
}

/// What this decision point offers, for callers that are told its name only. Readable by everybody.
#[utoipa::path(get, path = "/.well-known/authzen-configuration", tag = "decisions", responses(
    (status = 200, body = Metadata),
    (status = 404, description = "No `public_url` is set."),
))]
pub(super) async fn metadata(State(service): State<Service>, uri: Uri) -> Result<Response, Problem> {
    let Some(url) = &service.0.public_url else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_configured",
            "this decision point has not been told its name: set `public_url`, for example `https://pdp.example.com`",
        ));
    };
    // Another name than this one is nobody here.
    if uri.path().strip_prefix(WELL_KNOWN) != Some(url.path()) {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no decision point of this name here"));
    }
    let body = Metadata {
        policy_decision_point: url.as_str().to_owned(),
        access_evaluation_endpoint: url.join("/access/v1/evaluation"),
        access_evaluations_endpoint: url.join("/access/v1/evaluations"),
        search_subject_endpoint: url.join("/access/v1/search/subject"),
        search_resource_endpoint: url.join("/access/v1/search/resource"),
        search_action_endpoint: url.join("/access/v1/search/action"),
    };
    let mut response = reply::json(StatusCode::OK, &body)?;
    response.headers_mut().insert(header::CACHE_CONTROL, KEPT);
    Ok(response)
}

/// The same document where an identifier with a path has it.
pub(super) fn below(router: Router<Service>, url: Option<&PublicUrl>) -> Router<Service> {
    match url.map(PublicUrl::path) {
        Some(path) if !path.is_empty() => router.route(&format!("{WELL_KNOWN}{path}"), get(metadata)),
        Some(_) | None => router,
    }
}

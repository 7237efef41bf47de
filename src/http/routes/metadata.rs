//! `GET /.well-known/authzen-configuration`: which calls of the standard are there, and where?
//!
//! Every URL is made of the setting `public_url` and never of the `Host` header, which whoever asks can choose. Without the
//! setting there is no document: a guess would be believed. The sites' decision point has that URL as its identifier, a
//! policy domain the same with its name behind it.
//!
//! With a key, the document is signed: the same members again, as the claims of a token that is made anew each hour and
//! counts for a day.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Beside, reply};
use crate::{
    clock::{Clock as _, SystemClock},
    config::PublicUrl,
    http::{problem::Problem, signing::Signer},
};

/// Where the document stands; that of an identifier with a path stands below, under that path.
const WELL_KNOWN: &str = "/.well-known/authzen-configuration";

/// How long the document may be kept.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// How long a signature is told, in seconds.
const TOLD: i64 = 60 * 60;
/// How long it counts, in seconds.
const COUNTS: i64 = 24 * 60 * 60;

/// The standard's metadata.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "the standard's names")]
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
    /// The same, signed; where a key is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_metadata: Option<String>,
}

/// One decision point's document.
struct Document {
    /// None: no name is configured.
    said: Option<Metadata>,
    signer: Option<Arc<Signer>>,
    /// The last signature, and when it was made.
    signed: Mutex<Option<(i64, String)>>,
}

/// What this decision point offers, for callers that are told its name only. Readable by everybody.
#[utoipa::path(get, path = "/.well-known/authzen-configuration", tag = "decisions", responses(
    (status = 200, body = Metadata),
    (status = 404, description = "No `public_url` is set."),
))]
#[expect(dead_code, reason = "describes the route for the OpenAPI document")]
pub(super) fn metadata() {}

async fn document(State(document): State<Arc<Document>>) -> Result<Response, Problem> {
    let Some(said) = &document.said else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_configured",
            "this decision point has not been told its name: set `public_url`, for example `https://pdp.example.com`",
        ));
    };
    let signed_metadata = document.signed(said, SystemClock.now().as_seconds());
    let mut response = reply::json(StatusCode::OK, &Metadata { signed_metadata, ..said.clone() })?;
    response.headers_mut().insert(header::CACHE_CONTROL, KEPT);
    Ok(response)
}

impl Document {
    fn signed(&self, said: &Metadata, now: i64) -> Option<String> {
        let signer = self.signer.as_ref()?;
        let mut signed = self.signed.lock();
        if let Some((at, text)) = &*signed
            && (*at..at + TOLD).contains(&now)
        {
            return Some(text.clone());
        }
        let mut claims = json!(said);
        if let Value::Object(claims) = &mut claims {
            claims.insert("iss".to_owned(), said.policy_decision_point.as_str().into());
            claims.insert("iat".to_owned(), now.into());
            claims.insert("exp".to_owned(), (now + COUNTS).into());
        }
        let text = signer.sign(&claims)?;
        *signed = Some((now, text.clone()));
        Some(text)
    }
}

/// Adds the documents: the sites' own, and that of each policy domain.
pub(super) fn documents(router: Router, url: Option<&PublicUrl>, beside: &Beside) -> Router {
    let names = beside.domains.iter().map(|(name, _)| format!("/{name}"));
    std::iter::once(String::new()).chain(names).fold(router, |router, name| {
        let said = url.map(|url| Metadata::of(url, &name));
        let signer = beside.signer.clone();
        let state = Arc::new(Document { said, signer, signed: Mutex::new(None) });
        let served = get(document).with_state(state);
        match url.map(PublicUrl::path) {
            // An identifier with a path has its document below that path, and nobody of a shorter name is here.
            Some(path) => router.route(&format!("{WELL_KNOWN}{path}{name}"), served),
            None => router.route(&format!("{WELL_KNOWN}{name}"), served),
        }
    })
}

impl Metadata {
    fn of(url: &PublicUrl, name: &str) -> Self {
        let below = |path: &str| url.join(&format!("{name}{path}"));
        Self {
            policy_decision_point: if name.is_empty() { url.as_str().to_owned() } else { url.join(name) },
            access_evaluation_endpoint: below("/access/v1/evaluation"),
            access_evaluations_endpoint: below("/access/v1/evaluations"),
            search_subject_endpoint: below("/access/v1/search/subject"),
            search_resource_endpoint: below("/access/v1/search/resource"),
            search_action_endpoint: below("/access/v1/search/action"),
            signed_metadata: None,
        }
    }
}

//! `GET /v1/policies`: the rules in force.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{Service, reply};
use crate::{http::problem::Problem, policy::Effect};

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PoliciesBody {
    /// Names the bundle: schema and policies together.
    fingerprint: String,
    policies: Vec<PolicyBody>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PolicyBody {
    id: String,
    /// What it says, in one sentence.
    doc: String,
    /// `permit` or `forbid`.
    effect: &'static str,
    /// The file it stands in.
    file: String,
}

/// The bundle's fingerprint and every policy with its one-sentence description.
#[utoipa::path(get, path = "/v1/policies", tag = "decisions", responses((status = 200, body = PoliciesBody)))]
pub(super) async fn policies(State(service): State<Service>) -> Result<Response, Problem> {
    let policies = service.app().view().policies();
    let bundle = policies.bundle();
    let body = PoliciesBody {
        fingerprint: bundle.fingerprint().to_string(),
        policies: bundle
            .policies()
            .iter()
            .map(|policy| PolicyBody {
                id: policy.id.to_string(),
                doc: policy.doc.clone(),
                effect: match policy.effect {
                    Effect::Permit => "permit",
                    Effect::Forbid => "forbid",
                },
                file: policy.path.clone(),
            })
            .collect(),
    };
    reply::json(StatusCode::OK, &body)
}

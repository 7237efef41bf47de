//! `POST /access/v1/evaluation` and `…/evaluations`: one question or several, as the AuthZEN *Authorization API 1.0* asks
//! them.
//!
//! All questions of a batch are answered at one revision, each as if it had been asked alone. An item that is no question
//! is answered in its place, by a deny with the error beside it; when one cannot be decided nothing is answered, because
//! a fault must not look like a deny.

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use super::{Service, reply};
use crate::{
    app::{Checked, Detail, Question, Until},
    assignment::{Asked, SitePolicies, Via},
    decision::Obligation,
    explanation,
    http::{
        authzen::{Asking, Batch, EvaluationRequest, Evaluations},
        json::{self, Json, Members},
        problem::Problem,
    },
    ids::{Principal, SiteId},
    revision::{Revision, RevisionToken},
    time::Timestamp,
};

const AT_LEAST_AS_FRESH: HeaderName = HeaderName::from_static("at-least-as-fresh");
const CONSISTENCY: HeaderName = HeaderName::from_static("consistency");
const DECISION_ID: HeaderName = HeaderName::from_static("decision-id");
pub(super) const POLICY_FINGERPRINT: HeaderName = HeaderName::from_static("policy-fingerprint");

/// The standard's answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DecisionBody {
    pub decision: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<DecisionContext>,
}

/// What is beside a decision: obligations whenever there are any, the rest when `context.explain` is true.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
struct DecisionContext {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    obligations: Vec<Obligation>,
    #[serde(flatten)]
    explained: Option<Explained>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ItemError>,
}

/// Why an item of a batch is no question.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ItemError {
    /// The status that the question would get if it were asked alone.
    #[schema(example = 400)]
    status: u16,
    #[schema(example = "`resource.id` is missing")]
    message: String,
}

/// The answers to a batch, in the order of its items.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DecisionsBody {
    pub evaluations: Vec<DecisionBody>,
}

/// Why.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(super) struct Explained {
    /// Why not; absent for an allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<SmolStr>,
    /// How access is had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The policies that determined it.
    #[schema(value_type = Vec<String>)]
    pub policies: Vec<SmolStr>,
    /// What each of them says, in one sentence.
    #[schema(value_type = Object)]
    pub docs: Map<String, Value>,
    /// What was missing: a role that would do, or the fact that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Until when, where waiting is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// What can be done about it, and by whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The standard's question, for the OpenAPI document; reading is `http::authzen`'s.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read by hand")]
struct EvaluationBody {
    #[schema(example = json!({"type": "user", "id": "maria"}))]
    subject: Value,
    #[schema(example = json!({"name": "PublishSite"}))]
    action: Value,
    #[schema(example = json!({"type": "site", "id": "bakery"}))]
    resource: Value,
    context: Option<Value>,
}

/// May this subject do this action on this resource?
#[utoipa::path(post, path = "/access/v1/evaluation", tag = "decisions", request_body = EvaluationBody, responses(
    (status = 200, body = DecisionBody, description = "Allow or deny. A deny is an answer, never an error."),
    (status = 400, description = "The body is not a question of the standard."),
    (status = 503, description = "No answer now: treat it as no access."),
))]
pub(super) async fn evaluation(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    fresh_enough(&service, request.headers()).await?;
    let body = json::body(request, service.limits().body).await?;
    let question = EvaluationRequest::from_json(json::parse(&body)?)?;
    one(&service, &question).await
}

/// Several questions in one request, for the OpenAPI document.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read by hand")]
struct EvaluationsBody {
    /// Stands for the subject of every item that names none; so do the next three.
    #[schema(example = json!({"type": "user", "id": "maria"}))]
    subject: Option<Value>,
    action: Option<Value>,
    #[schema(example = json!({"type": "site", "id": "bakery"}))]
    resource: Option<Value>,
    context: Option<Value>,
    /// The questions. None: the request is one question itself, and is answered as one.
    #[schema(example = json!([{"action": {"name": "EditContent"}}, {"action": {"name": "PublishSite"}}]))]
    evaluations: Option<Vec<Value>>,
    /// `evaluations_semantic`: `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`.
    options: Option<Value>,
}

/// May each of these?
#[utoipa::path(post, path = "/access/v1/evaluations", tag = "decisions", request_body = EvaluationsBody, responses(
    (status = 200, body = DecisionsBody, description = "Answers in the items' order, all of one revision; fewer where the \
        semantic ends them early. One answer alone where there are no items."),
    (status = 400, description = "The body is not a request of the standard."),
    (status = 413, description = "More items than a batch may have, or a body that is too large."),
    (status = 503, description = "No answer now: treat it as no access."),
))]
pub(super) async fn evaluations(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    fresh_enough(&service, request.headers()).await?;
    let limits = service.limits();
    let body = json::body(request, limits.batch_body).await?;
    match Evaluations::from_json(json::parse(&body)?, service.0.merge, limits.batch_items)? {
        Evaluations::One(question) => one(&service, &question).await,
        Evaluations::Several(batch) => several(&service, &batch).await,
    }
}

async fn one(service: &Service, question: &EvaluationRequest<'_>) -> Result<Response, Problem> {
    let question = meant(question.asking());
    let checked = service.app().check(&question).await?;
    let response = if question.detail == Detail::Full || !checked.outcome.obligations.is_empty() {
        reply::json(StatusCode::OK, &answer(&checked, &question))?
    } else {
        bare(checked.outcome.allowed)
    };
    Ok(stamped(response, service, Some(stood(&checked))))
}

async fn several(service: &Service, batch: &Batch<'_>) -> Result<Response, Problem> {
    let until = batch.until;
    let items: Vec<_> = batch.questions().collect();
    // What is no question is a deny, too: nothing behind it is asked where a deny is the end.
    let asked = items.iter().take_while(|item| item.is_ok() || !until.ends(false));
    let questions: Vec<_> = asked.flatten().copied().map(meant).collect();
    let answers = service.app().check_each(&questions, until).await?;
    let decided = answers.iter().zip(&questions).map(|(checked, question)| answer(checked, question));
    let evaluations = in_place(&items, until, decided);
    let response = reply::json(StatusCode::OK, &DecisionsBody { evaluations })?;
    Ok(stamped(response, service, answers.first().map(stood)))
}

/// The answers and the refusals in the places of their items, up to the last one that is wanted.
pub(super) fn in_place(
    items: &[Result<Asking<'_, '_>, &Problem>],
    until: Until,
    mut decided: impl Iterator<Item = DecisionBody>,
) -> Vec<DecisionBody> {
    let mut evaluations = Vec::with_capacity(items.len());
    for item in items {
        let body = match item {
            Ok(_) => decided.next(),
            Err(problem) => Some(DecisionBody::refused(problem)),
        };
        let Some(body) = body else { break };
        let last = until.ends(body.decision);
        evaluations.push(body);
        if last {
            break;
        }
    }
    evaluations
}

/// What the decision is asked.
fn meant<'q>(asking: Asking<'q, '_>) -> Question<'q> {
    let Asking { subject, action, resource, context } = asking;
    let explain = matches!(context.get("explain"), Some(Json::Bool(true)));
    Question {
        principal: principal(&subject.kind, &subject.id),
        action: &action.name,
        site: site(&resource.kind, &resource.id),
        asked: asked(context),
        detail: if explain { Detail::Full } else { Detail::Bare },
    }
}

fn answer(checked: &Checked, question: &Question<'_>) -> DecisionBody {
    let obligations = checked.outcome.obligations.clone();
    let explained = (question.detail == Detail::Full).then(|| explained(checked, question.action));
    let context = DecisionContext { obligations, explained, error: None };
    let said = !context.obligations.is_empty() || context.explained.is_some();
    DecisionBody { decision: checked.outcome.allowed, context: said.then_some(context) }
}

impl DecisionBody {
    /// An answer with its explanation.
    pub(super) fn explained(decision: bool, explained: Explained) -> Self {
        Self { decision, context: Some(DecisionContext { explained: Some(explained), ..DecisionContext::default() }) }
    }
    /// An answer and nothing else.
    pub(super) const fn bare(decision: bool) -> Self {
        Self { decision, context: None }
    }
    fn refused(problem: &Problem) -> Self {
        let error = ItemError { status: problem.status().as_u16(), message: problem.detail().to_owned() };
        Self { decision: false, context: Some(DecisionContext { error: Some(error), ..DecisionContext::default() }) }
    }
}

/// Adds the headers of an answer: at which revision and by which policies, and its name.
pub(super) fn stamped(
    mut response: Response,
    service: &Service,
    stood: Option<(Revision, &SmolStr, &SitePolicies)>,
) -> Response {
    let headers = response.headers_mut();
    // All of them are ASCII; an answer without them is better than none.
    if let Ok(decision) = HeaderValue::try_from(service.0.decisions.name()) {
        headers.insert(DECISION_ID, decision);
    }
    if let Some((revision, token, policies)) = stood {
        headers.insert(reply::REVISION, HeaderValue::from(revision.0));
        let fingerprint = HeaderValue::from_str(policies.bundle().fingerprint());
        for (name, value) in [(reply::TOKEN, HeaderValue::from_str(token)), (POLICY_FINGERPRINT, fingerprint)] {
            value.ok().and_then(|value| headers.insert(name, value));
        }
    }
    response
}

/// Where an answer was decided.
fn stood(checked: &Checked) -> (Revision, &SmolStr, &SitePolicies) {
    (checked.revision, &checked.token, &checked.policies)
}

fn bare(allowed: bool) -> Response {
    let text: &'static [u8] = if allowed { br#"{"decision":true}"# } else { br#"{"decision":false}"# };
    let mut response = Response::new(Body::from(Bytes::from_static(text)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A kind or an identifier that there is not is nobody, which is a deny and no error.
pub(super) fn principal(kind: &str, id: &str) -> Option<Principal> {
    match kind {
        "user" => id.parse().ok().map(Principal::User),
        "staff" => id.parse().ok().map(Principal::Staff),
        "service" => id.parse().ok().map(Principal::Service),
        _ => None,
    }
}

/// The same of sites.
pub(super) fn site(kind: &str, id: &str) -> Option<SiteId> {
    (kind == "site").then(|| id.parse().ok()).flatten()
}

/// What a caller may say about a request. Anything else is ignored; what is ill-typed counts as not said.
pub(super) fn asked(context: &Members<'_>) -> Asked {
    let text = |name: &str| context.get(name).and_then(Json::as_str);
    Asked {
        auth_time: context.get("auth_time").and_then(Json::as_i64),
        account: text("account").and_then(|account| account.parse().ok()),
        operation: text("operation").map(SmolStr::new),
        case: text("case").map(SmolStr::new),
    }
}

/// Embedded, there is one state and no lag: any revision that was ever told is here, and every answer is the system of
/// record's. A replica asks the database once where that is wanted. A revision that was never told comes from another
/// history.
pub(super) async fn fresh_enough(service: &Service, headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONSISTENCY) {
        Some(value) if value == "full" => service.app().newly_asked().await?,
        Some(_) => return Err(Problem::bad_request("invalid_header", "`Consistency` can only be `full`")),
        None => {}
    }
    let Some(value) = headers.get(AT_LEAST_AS_FRESH) else { return Ok(()) };
    let said = value.to_str().unwrap_or_default();
    if let Ok(floor) = said.parse::<Revision>() {
        return Ok(service.app().at_least(floor).await?);
    }
    let token = said.parse::<RevisionToken>().map_err(|_| {
        Problem::bad_request(
            "invalid_header",
            "`At-Least-As-Fresh` is a revision or a token as an earlier answer told it",
        )
    })?;
    Ok(service.app().at_least_as_fresh(&token).await?)
}

fn explained(checked: &Checked, action: &str) -> Explained {
    let outcome = &checked.outcome;
    let bundle = checked.policies.bundle();
    let docs = bundle
        .policies()
        .iter()
        .filter(|policy| outcome.policies.contains(&policy.id))
        .map(|policy| (policy.id.to_string(), json!(policy.doc)))
        .collect();
    let reason = outcome.reason.as_deref();
    let remedy = reason.and_then(explanation::denial).map(|(sentence, remedy)| format!("{sentence} {remedy}"));
    Explained {
        reason: outcome.reason.clone(),
        via: outcome.via,
        policies: outcome.policies.clone(),
        docs,
        missing: reason.map(|reason| missing(checked, reason, action)).unwrap_or_default(),
        until: checked.until,
        remedy,
    }
}

/// What would have made the difference: roles that would do, or the fact behind the reason.
fn missing(checked: &Checked, reason: &str, action: &str) -> Vec<String> {
    let bundle = checked.policies.bundle();
    match reason {
        "no_role" | "role_lacks_action" | "not_a_party" => {
            let Some(bucket) = bundle.action(action).and_then(|action| bundle.bucket(action)) else {
                return Vec::new();
            };
            let mut roles: Vec<_> = bucket.roles().collect();
            roles.sort_unstable();
            roles.into_iter().map(|role| format!("role:{}", bundle.role_name(role))).collect()
        }
        "not_payer" => vec!["granted_by_payer".to_owned()],
        "not_your_own" => vec!["own_account".to_owned()],
        "confirm_required" => vec!["confirmed".to_owned()],
        "case_required" => vec!["case_given".to_owned()],
        "stepup_required" => vec!["fresh_sign_in".to_owned()],
        "grant_expired" => vec!["grant_live".to_owned()],
        "no_session" => vec!["support_session_live".to_owned()],
        other => vec![format!("not:{other}")],
    }
}

//! `/{domain}/access/v1/…`: the calls of the standard for a policy domain other than sites.
//!
//! The same bodies, limits and pages as for sites; what is asked is a [`PolicyDomain`], which never changes, so that there
//! are no revisions. An answer names the policies that it was made by in `Policy-Fingerprint`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode},
    response::Response,
    routing::post,
};
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use super::{
    Service,
    evaluation::{self, DecisionBody, DecisionsBody, Explained},
    reply,
    search::{self, Hit, Pages},
};
use crate::{
    domains::{Ask, Decided, Fault, Overlay, PolicyDomain, Thing},
    http::{
        authzen::{self, Asking, EvaluationRequest, Evaluations, Open, SearchRequest, Sought},
        json::{self as body_json, Json, Members},
        problem::Problem,
    },
};

/// How long one request is worked on before others get their turn.
const TURN: Duration = Duration::from_micros(500);
/// How much of a policy's failure is logged, in characters.
const FAULT: usize = 300;
/// How many candidates one page looks at, at most.
const CANDIDATES: usize = 10_000;

/// What a handler needs.
#[derive(Clone)]
struct Place {
    service: Service,
    name: SmolStr,
    domain: Arc<PolicyDomain>,
}

/// How long a request has been worked on since others last had their turn.
struct Turn(Instant);

impl Turn {
    fn new() -> Self {
        Self(Instant::now())
    }
    /// Lets others go first, when it has been long enough.
    async fn end(&mut self) {
        if self.0.elapsed() >= TURN {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

/// The routes of one domain.
pub(super) fn routes(service: &Service, name: &SmolStr, domain: &Arc<PolicyDomain>) -> Router {
    let place = Place { service: service.clone(), name: name.clone(), domain: Arc::clone(domain) };
    let search =
        |open| post(async move |State(place): State<Place>, request: Request| found(&place, request, open).await);
    let routes = Router::new()
        .route("/access/v1/evaluation", post(evaluation))
        .route("/access/v1/evaluations", post(evaluations))
        .route("/access/v1/search/subject", search(Open::Subject))
        .route("/access/v1/search/resource", search(Open::Resource))
        .route("/access/v1/search/action", search(Open::Action))
        .with_state(place);
    Router::new().nest(&format!("/{name}"), routes)
}

/// A question in values of its own.
struct Question {
    subject: Entity,
    action: String,
    resource: Entity,
    context: Map<String, Value>,
}

/// A subject or a resource.
#[derive(Default)]
struct Entity {
    kind: String,
    id: String,
    properties: Map<String, Value>,
}

impl Question {
    fn of(asking: Asking<'_, '_>) -> Self {
        Self {
            subject: Entity::of(asking.subject),
            action: asking.action.name.to_string(),
            resource: Entity::of(asking.resource),
            context: context(asking.context, Some(&asking.action.properties)),
        }
    }

    /// A search as a question in which what is sought is still open.
    fn open(request: &SearchRequest<'_>) -> Self {
        let mut question = Self {
            subject: request.subject.as_ref().map(Entity::of).unwrap_or_default(),
            action: request.action.as_ref().map(|action| action.name.to_string()).unwrap_or_default(),
            resource: request.resource.as_ref().map(Entity::of).unwrap_or_default(),
            context: context(&request.context, request.action.as_ref().map(|action| &action.properties)),
        };
        match &request.sought {
            Sought::Subject(kind) => question.subject.kind = kind.to_string(),
            Sought::Resource(kind) => question.resource.kind = kind.to_string(),
            Sought::Action => {}
        }
        question
    }

    fn put(&mut self, sought: &Sought<'_>, candidate: &str) {
        let open = match sought {
            Sought::Subject(_) => &mut self.subject.id,
            Sought::Resource(_) => &mut self.resource.id,
            Sought::Action => &mut self.action,
        };
        candidate.clone_into(open);
    }

    fn decided(&self, domain: &PolicyDomain, overlay: &mut Overlay) -> Result<Decided, Problem> {
        let ask = Ask {
            subject: self.subject.thing(),
            action: &self.action,
            resource: self.resource.thing(),
            context: &self.context,
        };
        domain.decide(&ask, overlay).map_err(|fault| undecided(&fault))
    }
}

impl Entity {
    fn of(entity: &authzen::Entity<'_>) -> Self {
        let (kind, id) = (entity.kind.to_string(), entity.id.to_string());
        Self { kind, id, properties: values(&entity.properties) }
    }
    fn thing(&self) -> Thing<'_> {
        Thing { kind: &self.kind, id: &self.id, properties: &self.properties }
    }
}

/// The circumstances; what is said about the action is one of them, and a caller cannot say it otherwise.
fn context(context: &Members<'_>, action: Option<&Members<'_>>) -> Map<String, Value> {
    let mut context = values(context);
    context.insert("action".to_owned(), action.map(values).unwrap_or_default().into());
    context
}

fn values(members: &Members<'_>) -> Map<String, Value> {
    match Value::from(Json::Object(members.clone())) {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}

/// A policy failed: neither a yes nor a no. What it says may repeat what the caller sent.
fn undecided(fault: &Fault) -> Problem {
    let said: String = fault.to_string().chars().take(FAULT).collect();
    tracing::error!(fault = said, "a policy of a domain failed");
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "policy_failed",
        "a policy cannot be evaluated for this question: treat it as no access",
    )
}

async fn evaluation(State(place): State<Place>, request: Request) -> Result<Response, Problem> {
    let body = body_json::body(request, place.service.limits().body).await?;
    let question = EvaluationRequest::from_json(body_json::parse(&body)?)?;
    one(&place, &question)
}

async fn evaluations(State(place): State<Place>, request: Request) -> Result<Response, Problem> {
    let limits = place.service.limits();
    let body = body_json::body(request, limits.batch_body).await?;
    match Evaluations::from_json(body_json::parse(&body)?, place.service.0.merge, limits.batch_items)? {
        Evaluations::One(question) => one(&place, &question),
        Evaluations::Several(batch) => {
            let items: Vec<_> = batch.questions().collect();
            let (mut overlay, mut turn) = (Overlay::default(), Turn::new());
            let mut bodies = Vec::with_capacity(items.len());
            for item in &items {
                let last = match item {
                    Ok(asking) => {
                        turn.end().await;
                        let body = answered(&place, *asking, &mut overlay)?;
                        let last = batch.until.ends(body.decision);
                        bodies.push(body);
                        last
                    }
                    // What is no question is a deny, too.
                    Err(_) => batch.until.ends(false),
                };
                if last {
                    break;
                }
            }
            let evaluations = evaluation::in_place(&items, batch.until, bodies.into_iter());
            Ok(stamped(&place, reply::json(StatusCode::OK, &DecisionsBody { evaluations })?))
        }
    }
}

fn one(place: &Place, question: &EvaluationRequest<'_>) -> Result<Response, Problem> {
    Ok(stamped(place, reply::json(StatusCode::OK, &answered(place, question.asking(), &mut Overlay::default())?)?))
}

fn answered(place: &Place, asking: Asking<'_, '_>, overlay: &mut Overlay) -> Result<DecisionBody, Problem> {
    let domain = &place.domain;
    let explain = matches!(asking.context.get("explain"), Some(Json::Bool(true)));
    let decided = Question::of(asking).decided(domain, overlay);
    place.service.app().meter().decided_elsewhere(&place.name, decided.as_ref().ok().map(|decided| decided.allowed));
    let decided = decided?;
    Ok(if explain {
        DecisionBody::explained(decided.allowed, explained(domain, &decided))
    } else {
        DecisionBody::bare(decided.allowed)
    })
}

fn explained(domain: &PolicyDomain, decided: &Decided) -> Explained {
    let doc = |policy: &SmolStr| Some((policy.to_string(), json!(domain.doc(policy)?)));
    Explained {
        reason: decided.reason.map(SmolStr::new_static),
        policies: decided.policies.clone(),
        docs: decided.policies.iter().filter_map(doc).collect(),
        missing: decided.missing.clone(),
        ..Explained::default()
    }
}

async fn found(place: &Place, request: Request, open: Open) -> Result<Response, Problem> {
    let body = body_json::body(request, place.service.limits().body).await?;
    let request = SearchRequest::from_json(body_json::parse(&body)?, open)?;
    let (pages, stood) = Pages::read(&place.service, &request, &place.name).await?;
    let stands = place.domain.fingerprint();
    if stood.is_some_and(|stood| stood != *stands) {
        return Err(search::bad("`page.token` is of policies that are no longer in force: begin anew without one"));
    }
    let (hits, next) = hits(&place.domain, &request, pages.span.after.as_deref(), pages.span.limit).await?;
    Ok(stamped(place, pages.answer(hits, next, None, stands)?))
}

/// The results behind `after`, and after which candidate more may follow.
async fn hits(
    domain: &PolicyDomain,
    request: &SearchRequest<'_>,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Hit>, Option<String>), Problem> {
    let mut question = Question::open(request);
    let candidates: Vec<&SmolStr> = match &request.sought {
        Sought::Subject(kind) | Sought::Resource(kind) => domain.listed(kind).collect(),
        Sought::Action => domain.between(&question.subject.kind, &question.resource.kind).collect(),
    };
    let (mut hits, mut looked_at) = (Vec::new(), None);
    let (mut overlay, mut turn) = (Overlay::default(), Turn::new());
    let behind = candidates.into_iter().filter(|one| after.is_none_or(|after| one.as_str() > after));
    for (n, candidate) in behind.enumerate() {
        if n == CANDIDATES {
            return Ok((hits, looked_at));
        }
        turn.end().await;
        question.put(&request.sought, candidate);
        if question.decided(domain, &mut overlay)?.allowed {
            // One more than is wanted tells whether more follow.
            if hits.len() == limit {
                return Ok((hits, looked_at));
            }
            hits.push(hit(&request.sought, candidate));
        }
        looked_at = Some(candidate.to_string());
    }
    Ok((hits, None))
}

fn hit(sought: &Sought<'_>, candidate: &SmolStr) -> Hit {
    match sought {
        Sought::Subject(kind) | Sought::Resource(kind) => {
            Hit::Entity { kind: kind.to_string(), id: candidate.to_string() }
        }
        Sought::Action => Hit::Action { name: candidate.to_string() },
    }
}

/// Adds the headers of an answer.
fn stamped(place: &Place, response: Response) -> Response {
    let mut response = evaluation::stamped(response, &place.service, None);
    if let Ok(fingerprint) = HeaderValue::from_str(place.domain.fingerprint()) {
        response.headers_mut().insert(evaluation::POLICY_FINGERPRINT, fingerprint);
    }
    response
}

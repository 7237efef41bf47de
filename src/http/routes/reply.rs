//! What answers have in common: failures as problems, revisions as headers, lists as pages.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Serialize};

use crate::{
    app::{Failure, Kind},
    config::Limits,
    http::problem::Problem,
    ids::{IdError, Principal},
    revision::{Revision, RevisionToken},
};

/// The revision that an answer is true at.
pub(super) const REVISION: HeaderName = HeaderName::from_static("revision");

/// The same with the history that it is of, for callers to keep.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("revision-token");

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let status = match failure.kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Payment => StatusCode::PAYMENT_REQUIRED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Precondition => StatusCode::PRECONDITION_FAILED,
            Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut problem = Self::new(status, failure.code, failure.detail);
        for (name, value) in *failure.more {
            problem = problem.with(&name, value);
        }
        if failure.kind == Kind::Unavailable {
            problem = problem.header(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        problem
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Self::bad_request("invalid_id", error.to_string())
    }
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct List<T> {
    pub items: Vec<T>,
    /// What to send as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// `?after=&limit=&actor=`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    pub after: Option<String>,
    pub limit: Option<usize>,
    pub actor: Option<Principal>,
}

/// `?after=&limit=`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedQuery {
    after: Option<String>,
    limit: Option<usize>,
}

impl From<FeedQuery> for PageQuery {
    fn from(query: FeedQuery) -> Self {
        Self { after: query.after, limit: query.limit, actor: None }
    }
}

/// No query part.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

impl PageQuery {
    pub(super) fn limit(&self, limits: &Limits) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(limits.page),
            Some(limit) if (1..=limits.page_max).contains(&limit) => Ok(limit),
            Some(_) => {
                Err(Problem::bad_request("invalid_query", format!("`limit` is a number from 1 to {}", limits.page_max)))
            }
        }
    }
    pub(super) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let parse = |text: &String| text.parse().map_err(|_| bad_after());
        self.after.as_ref().map(parse).transpose()
    }
}

fn bad_after() -> Problem {
    Problem::bad_request("invalid_query", "`after` is not a position of this list: send the `next` of the page before")
}

/// `?actor=`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActorQuery {
    pub actor: Option<Principal>,
}

/// A JSON answer.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        Problem::internal()
    })?;
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Adds the revision, as the header and, for one thing, as its entity tag.
pub(super) fn stamped(mut response: Response, revision: Revision, tagged: Option<Revision>) -> Response {
    if let Ok(value) = HeaderValue::from_str(&revision.to_string()) {
        response.headers_mut().insert(REVISION, value);
    }
    if let Some(Ok(tag)) = tagged.map(|revision| HeaderValue::from_str(&revision.etag())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Adds the revision's token.
pub(super) fn tokened(mut response: Response, token: &RevisionToken) -> Response {
    if let Ok(value) = HeaderValue::from_str(&token.to_string()) {
        response.headers_mut().insert(TOKEN, value);
    }
    response
}

/// The query part, read strictly.
pub(super) fn query<T: serde::de::DeserializeOwned>(uri: &axum::http::Uri) -> Result<T, Problem> {
    axum::extract::Query::try_from_uri(uri).map(|axum::extract::Query(query)| query).map_err(|error| {
        Problem::bad_request("invalid_query", format!("the query part cannot be read: {}", error.body_text()))
    })
}

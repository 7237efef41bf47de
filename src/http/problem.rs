//! How does a caller learn that something went wrong? As `application/problem+json` (RFC 9457), everywhere.
//!
//! `code` is the stable member: programs compare it, and the changelog announces when one goes. `detail` is a sentence
//! for a person and may be reworded at any time. `type` stays `about:blank`, because a URI that nobody can open says
//! less than a code. Further members, such as `blockers` or `handover`, are added with [`Problem::with`].
//!
//! Invariant: a deny is not a problem. Problems say that no decision was made or that nothing was applied.
//! An error enum with one variant for each code lost: refusals, faults and parse errors are enums where they arise,
//! and this is only their shape on the wire.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of every error body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error answer, not yet sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone, PartialEq)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    members: Map<String, Value>,
}

/// The body of every error answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemDocument<'a> {
    /// Always `about:blank`: see `code`.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The HTTP status, again.
    #[schema(example = 404)]
    status: u16,
    /// What went wrong, as a sentence for a person.
    #[schema(value_type = String, example = "there is no site `bakery`")]
    detail: &'a str,
    /// What went wrong, for a program: stable.
    #[schema(value_type = String, example = "unknown_site")]
    code: &'a str,
    /// What the code brings along, for example `blockers`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    members: &'a Map<String, Value>,
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident => $status:ident),+ $(,)?) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(code: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
            Self::new(StatusCode::$status, code, detail)
        })+
    };
}

impl Problem {
    /// A problem with any status.
    #[must_use]
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        let (code, detail) = (code.into(), detail.into());
        Self(Box::new(Parts { status, code, detail, headers: Vec::new(), members: Map::new() }))
    }

    statuses! {
        /// `400`: the request breaks a rule that holds whatever is stored.
        bad_request => BAD_REQUEST,
        /// `402`: somebody has to pay first.
        payment_required => PAYMENT_REQUIRED,
        /// `403`: the actor may not.
        forbidden => FORBIDDEN,
        /// `404`: there is no such thing, or none that this caller may know of.
        not_found => NOT_FOUND,
        /// `409`: the state does not know this command, or is not the one the caller saw.
        conflict => CONFLICT,
        /// `412`: the site changed since the caller read it.
        precondition_failed => PRECONDITION_FAILED,
        /// `413`: over a limit.
        too_large => PAYLOAD_TOO_LARGE,
        /// `422`: stored facts stand in the way.
        unprocessable => UNPROCESSABLE_ENTITY,
        /// `503`: no decision could be made, or nothing was applied; the caller must refuse.
        unavailable => SERVICE_UNAVAILABLE,
    }

    /// `503 internal`: a fault of ours. Not `500`, so that every caller that fails closed on an unavailable service
    /// fails closed on a broken one.
    #[must_use]
    pub fn internal() -> Self {
        Self::unavailable(
            "internal",
            "the service failed while it worked on this request; refuse what you were about to do",
        )
    }

    /// Adds a member beside the standard ones, for example `blockers`; a standard name changes nothing.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if !matches!(name, "type" | "title" | "status" | "detail" | "code") {
            self.0.members.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Adds a response header, for example `Retry-After`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The body as it goes over the wire.
    #[must_use]
    pub fn document(&self) -> ProblemDocument<'_> {
        ProblemDocument {
            kind: "about:blank",
            title: self.0.status.canonical_reason().unwrap_or("Error"),
            status: self.0.status.as_u16(),
            detail: &self.0.detail,
            code: &self.0.code,
            members: &self.0.members,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Serializing strings and JSON values cannot fail; an empty body would still carry the status.
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        for (name, value) in self.0.headers {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_problem_on_the_wire() {
        let problem = Problem::unprocessable("blocked", "stored facts stand in the way")
            .with("blockers", json!(["frozen", "trashed"]))
            .with("status", 200)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"));
        let response = problem.into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "1");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"stored facts stand in the way","code":"blocked","blockers":["frozen","trashed"]}"#
        );
    }

    #[test]
    fn a_fault_refuses() {
        assert_eq!(
            (Problem::internal().status().as_u16(), Problem::internal().code().to_owned()),
            (503, "internal".into())
        );
    }
}

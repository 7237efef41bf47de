//! Why was there no answer?
//!
//! A deny is an answer and no error. Everything here is the absence of an answer, and means: no access. The kinds are
//! told apart because different people have to do something about them, not because one of them would let anybody in.

use std::fmt;

use serde_json::Value;

/// What the server said instead of an answer: `application/problem+json`, or as much of it as there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, for a program: stable. None where it was not this service that spoke, a proxy for example.
    pub code: Option<String>,
    /// What went wrong, for a person.
    pub detail: String,
    /// What the server's log calls the request.
    pub request_id: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.as_deref().unwrap_or("without a code");
        write!(f, "{} {code}: {}", self.status, self.detail)
    }
}

/// Why there is no answer. Whatever it is: **no access**.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client was told something that cannot work: an address, a file, a header. Nothing was sent.
    #[error("{0}")]
    Setup(String),
    /// Nobody answered in time, or nobody who could prove to be the server.
    #[error("no answer from `{server}`: {why}")]
    Unreachable {
        /// Who was asked.
        server: String,
        /// What the connection said.
        why: String,
    },
    /// The server cannot decide now (5xx and `429`): the same question may be answered later.
    #[error("the server cannot answer now ({0})")]
    Unavailable(Problem),
    /// The server refuses the request itself: `400`, `401`, `404`, `413`. Asking again will not help.
    #[error("the server refuses the request ({0})")]
    Refused(Problem),
    /// Something came back that is no answer of the standard. It is not guessed at.
    #[error("what came back is no answer: {0}")]
    NotAnAnswer(String),
    /// The metadata is that of another decision point than the one that was asked for.
    #[error("the metadata at `{expected}` is that of `{found}`")]
    OtherIdentity {
        /// As the client was told.
        expected: String,
        /// As the document says.
        found: String,
    },
    /// The decision point's metadata does not offer this call.
    #[error("this decision point does not offer `{0}`")]
    NotOffered(&'static str),
}

impl Error {
    /// The server's problem, where it was the server that spoke.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Unavailable(problem) | Self::Refused(problem) => Some(problem),
            Self::Setup(_)
            | Self::Unreachable { .. }
            | Self::NotAnAnswer(_)
            | Self::OtherIdentity { .. }
            | Self::NotOffered(_) => None,
        }
    }
    /// The HTTP status, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }
    /// The stable code, where there was one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.problem()?.code.as_deref()
    }
    /// Whether the same question may be answered when it is asked again.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable(_))
    }

    /// A status other than `200`, with the body that came along.
    pub(super) fn of_status(status: u16, body: &[u8], request_id: Option<String>) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail").unwrap_or_else(|| "no reason was given".to_owned());
        Self::of_problem(Problem { status, code: text("code"), detail, request_id })
    }

    pub(super) fn of_problem(problem: Problem) -> Self {
        if problem.status >= 500 || problem.status == 429 { Self::Unavailable(problem) } else { Self::Refused(problem) }
    }
}

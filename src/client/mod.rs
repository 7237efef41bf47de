//! How does a Rust program ask? A small blocking client of this service, and of any other decision point that speaks the
//! AuthZEN *Authorization API 1.0*.
//!
//! ```no_run
//! use mandate::client::{Client, Entity, Question};
//!
//! let client = Client::builder("https://pdp.example.com").bearer("the key of this application").build()?;
//! let question = Question::new(Entity::user("maria"), "PublishSite", Entity::site("bakery"));
//! match client.evaluate(&question) {
//!     // The one case in which Maria may.
//!     Ok(decision) if decision.is_allowed() => println!("published"),
//!     // An answer, and it is no.
//!     Ok(_) => println!("403: you may not publish this site"),
//!     // No answer: she may not now, and nobody has said that she may not.
//!     Err(error) => println!("503: {error}"),
//! }
//! # Ok::<(), mandate::client::Error>(())
//! ```
//!
//! Invariant: a fault never looks like a decision. An allow and a deny are both [`Decision`]s; whatever is neither is an
//! [`Error`], and every error means no access. There is no method that answers a plain `bool` for a question, because it
//! would have to answer one for a fault.
//!
//! Nothing is retried and nothing is remembered: how long a caller may wait is its own to say, and how long an answer
//! holds is the service's (`docs/changes.md`). A [`Client`] is cheap to clone and may be used by many threads; it keeps its
//! connections. It names no other module of this library and asks over HTTP alone. An asynchronous client lost: it would
//! be a second copy of everything here, and the `authzen-rs` crate is one (`examples/README.md`).

mod answer;
mod builder;
mod error;
mod metadata;
mod pages;
mod question;
pub(crate) mod transport;

use std::sync::Arc;

use serde_json::{Value, json};
use ureq::http::Method;

pub use answer::{Answers, Decision, Explanation, Obligation, Stamp};
pub use builder::Builder;
pub use error::{Error, Problem};
pub use metadata::Metadata;
pub use pages::{Found, Page, Pages};
pub use question::{Action, Entity, Question, Semantic};

use self::{metadata::Endpoints, transport::Transport};

/// The calls of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// One question.
    Evaluation,
    /// Several questions.
    Evaluations,
    /// Who may?
    Subjects,
    /// On what?
    Resources,
    /// What?
    Actions,
}

impl Endpoint {
    const ALL: [Self; 5] = [Self::Evaluation, Self::Evaluations, Self::Subjects, Self::Resources, Self::Actions];

    const fn path(self) -> &'static str {
        match self {
            Self::Evaluation => "/access/v1/evaluation",
            Self::Evaluations => "/access/v1/evaluations",
            Self::Subjects => "/access/v1/search/subject",
            Self::Resources => "/access/v1/search/resource",
            Self::Actions => "/access/v1/search/action",
        }
    }
    /// Its member of the metadata.
    const fn member(self) -> &'static str {
        match self {
            Self::Evaluation => "access_evaluation_endpoint",
            Self::Evaluations => "access_evaluations_endpoint",
            Self::Subjects => "search_subject_endpoint",
            Self::Resources => "search_resource_endpoint",
            Self::Actions => "search_action_endpoint",
        }
    }
}

/// A caller of one decision point.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    fresh: Fresh,
}

#[derive(Debug)]
struct Inner {
    /// The base URL to the letter.
    identifier: String,
    transport: Transport,
    endpoints: Endpoints,
}

/// A revision before which nothing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor(Option<String>);

impl From<u64> for Floor {
    fn from(revision: u64) -> Self {
        Self(Some(revision.to_string()))
    }
}
impl From<&str> for Floor {
    fn from(revision: &str) -> Self {
        Self(Some(revision.to_owned()))
    }
}
/// By its token where it has one: a restore of the database cannot be mistaken for progress then.
impl From<&Stamp> for Floor {
    fn from(stamp: &Stamp) -> Self {
        Self(stamp.token.clone().or_else(|| stamp.revision.map(|revision| revision.to_string())))
    }
}

/// How fresh answers have to be.
#[derive(Debug, Clone, Default)]
struct Fresh {
    at_least: Option<String>,
    full: bool,
}

impl Client {
    /// A client of the decision point at this base URL: `http://127.0.0.1:8080`, or `https://pdp.example.com/shop` for a
    /// policy domain of that name.
    pub fn builder(base: impl Into<String>) -> Builder {
        Builder::new(base.into())
    }

    /// The same client, which takes answers of this revision or later only: that of an earlier answer, by its [`Stamp`], or
    /// of a command, by its `Revision` or `Revision-Token`. A server that is not so far answers `503 not_fresh_enough`,
    /// which is an [`Error::Unavailable`].
    #[must_use]
    pub fn at_least_as_fresh(&self, revision: impl Into<Floor>) -> Self {
        let fresh = Fresh { at_least: revision.into().0, ..self.fresh.clone() };
        Self { inner: Arc::clone(&self.inner), fresh }
    }

    /// The same client, whose questions the server answers by the system of record and not from memory.
    #[must_use]
    pub fn fully_consistent(&self) -> Self {
        let fresh = Fresh { full: true, ..self.fresh.clone() };
        Self { inner: Arc::clone(&self.inner), fresh }
    }

    /// May this subject do this action on this resource?
    ///
    /// # Errors
    /// Whatever is not an answer. Treat it as no access.
    pub fn evaluate(&self, question: &Question) -> Result<Decision, Error> {
        let (body, stamp) = self.ask(Endpoint::Evaluation, &json!(question))?;
        Decision::read(&body, &stamp)
    }

    /// Several questions in one request, answered at one revision.
    ///
    /// # Errors
    /// Whatever keeps the whole batch from being answered. Treat it as no access. A single question that is none is an
    /// error in its place of [`Answers::each`].
    pub fn evaluate_each(&self, questions: &[Question], semantic: Semantic) -> Result<Answers, Error> {
        if questions.is_empty() {
            return Err(Error::Setup("a batch has at least one question".to_owned()));
        }
        let body = json!({"evaluations": questions, "options": {"evaluations_semantic": semantic.name()}});
        let (body, stamp) = self.ask(Endpoint::Evaluations, &body)?;
        Answers::read(&body, stamp, questions.len(), semantic)
    }

    /// Who of this type (`user`, for example) may do this action on this resource?
    pub fn search_subjects(&self, kind: &str, action: impl Into<Action>, resource: &Entity) -> Pages<Entity> {
        let members = [("subject", json!({ "type": kind })), ("resource", json!(resource))];
        Pages::new(self.clone(), Endpoint::Subjects, members, Some(json!(action.into())))
    }

    /// On which resources of this type (`site`, for example) may this subject do this action?
    pub fn search_resources(&self, subject: &Entity, action: impl Into<Action>, kind: &str) -> Pages<Entity> {
        let members = [("subject", json!(subject)), ("resource", json!({ "type": kind }))];
        Pages::new(self.clone(), Endpoint::Resources, members, Some(json!(action.into())))
    }

    /// Which actions may this subject do on this resource?
    pub fn search_actions(&self, subject: &Entity, resource: &Entity) -> Pages<Action> {
        let members = [("subject", json!(subject)), ("resource", json!(resource))];
        Pages::new(self.clone(), Endpoint::Actions, members, None)
    }

    /// What the decision point says about itself, if it is the one that was asked for.
    ///
    /// # Errors
    /// It cannot be read, or is that of another one.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        Metadata::fetch(&self.inner.transport, &self.inner.identifier)
    }

    fn ask(&self, endpoint: Endpoint, body: &Value) -> Result<(Value, Stamp), Error> {
        let url = self.inner.endpoints.get(endpoint)?;
        let mut headers = Vec::new();
        if let Some(revision) = &self.fresh.at_least {
            headers.push(("at-least-as-fresh", revision.as_str()));
        }
        if self.fresh.full {
            headers.push(("consistency", "full"));
        }
        let reply = self.inner.transport.call(Method::POST, url, &headers, Some(body))?;
        Ok((reply.json()?, Stamp::of(&reply)))
    }
}

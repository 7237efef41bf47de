//! What is asked? The entities and questions of the standard, as they are sent.

use serde::Serialize;
use serde_json::{Map, Value};

/// A subject or a resource: a type and an id within it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entity {
    /// For example `user` or `site`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Unique within its type.
    pub id: String,
    /// What the caller says about it; what counts of that is the decision point's to say.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
}

impl Entity {
    /// The entity of this type with this id.
    #[must_use]
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), properties: Map::new() }
    }
    /// A person.
    #[must_use]
    pub fn user(id: impl Into<String>) -> Self {
        Self::new("user", id)
    }
    /// A website.
    #[must_use]
    pub fn site(id: impl Into<String>) -> Self {
        Self::new("site", id)
    }
    /// The same with something said about it.
    #[must_use]
    pub fn with(mut self, property: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.insert(property.into(), value.into());
        self
    }
}

/// An action.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// For example `PublishSite`.
    pub name: String,
    /// What the caller says about it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
}

impl Action {
    /// The action of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), properties: Map::new() }
    }
    /// The same with something said about it.
    #[must_use]
    pub fn with(mut self, property: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.insert(property.into(), value.into());
        self
    }
}

impl From<&str> for Action {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// One question: may this subject do this action on this resource?
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Question {
    /// Who would act.
    pub subject: Entity,
    /// What they would do.
    pub action: Action,
    /// On what.
    pub resource: Entity,
    /// The circumstances.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
}

impl Question {
    /// May `subject` do `action` on `resource`?
    #[must_use]
    pub fn new(subject: Entity, action: impl Into<Action>, resource: Entity) -> Self {
        Self { subject, action: action.into(), resource, context: Map::new() }
    }
    /// Wants to know why, too: see [`Decision::explanation`](super::Decision::explanation).
    #[must_use]
    pub fn explained(self) -> Self {
        self.with("explain", true)
    }
    /// When the person last signed in, in seconds since 1970: for what needs a fresh sign-in.
    #[must_use]
    pub fn signed_in_at(self, seconds: i64) -> Self {
        self.with("auth_time", seconds)
    }
    /// Says something of the circumstances, for example `operation`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.context.insert(name.into(), value.into());
        self
    }
}

/// Where a batch of questions ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Semantic {
    /// After the last question.
    #[default]
    ExecuteAll,
    /// After the first that is not an allow: for "may all of these?"
    DenyOnFirstDeny,
    /// After the first allow: for "may any of these?"
    PermitOnFirstPermit,
}

impl Semantic {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ExecuteAll => "execute_all",
            Self::DenyOnFirstDeny => "deny_on_first_deny",
            Self::PermitOnFirstPermit => "permit_on_first_permit",
        }
    }
    /// Whether nothing comes after this one.
    pub(super) const fn ends(self, allowed: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !allowed,
            Self::PermitOnFirstPermit => allowed,
        }
    }
}

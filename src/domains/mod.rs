//! How does the same engine decide about other things than sites? Policy domains: a schema, policies and entities of their
//! own, and no line of code.
//!
//! A [`PolicyDomain`] is built from a folder's files as `(path, text)` pairs and never changes: `domain.toml` says what the
//! callers' types are called in the schema and of which properties their word counts, a JSON file lists the entities.
//! A question becomes a Cedar request over those entities, with what the caller may say laid over what is stored, for that
//! question only. What the schema does not name is not read: a caller cannot bring in an attribute.
//!
//! Everything is strict when a domain is loaded and lenient when it is asked: a type, an action or an id that nobody knows
//! is a deny. Nothing in here knows what a site is, and sites are decided elsewhere (`assignment`, `decision`): they have
//! roles, an index and a history, which a folder has not.

mod ask;
mod load;
mod manifest;
mod shape;

pub use ask::{Ask, Decided, Fault, Overlay, Thing};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{Entities, EntityTypeName, EntityUid, PolicyId, PolicySet, Schema};
use cedar_policy_core::ast;
use smol_str::SmolStr;

use shape::{Field, Shape};

/// Files, entities and policies as one value.
#[derive(Debug)]
pub struct PolicyDomain {
    schema: Schema,
    policies: PolicySet,
    docs: BTreeMap<PolicyId, SmolStr>,
    entities: Entities,
    /// The same one by one, for the questions that something is laid over them for.
    stored: Vec<Arc<ast::Entity>>,
    /// By what callers call them.
    kinds: BTreeMap<SmolStr, Kind>,
    /// By name.
    actions: BTreeMap<SmolStr, Act>,
    fingerprint: SmolStr,
}

/// One type of entities.
#[derive(Debug)]
struct Kind {
    entity: EntityTypeName,
    /// The properties of which a caller's word counts.
    trusted: BTreeMap<SmolStr, Shape>,
    unlisted: Unlisted,
    /// The ids that are listed, in order.
    listed: BTreeSet<SmolStr>,
}

/// What an id is that the entity source does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unlisted {
    /// Nobody: denied.
    #[default]
    Deny,
    /// An entity with what the caller may say about it, and nothing else.
    Admit,
}

/// One action.
#[derive(Debug)]
struct Act {
    uid: EntityUid,
    /// What of the circumstances it takes.
    context: BTreeMap<SmolStr, Field>,
    principals: BTreeSet<EntityTypeName>,
    resources: BTreeSet<EntityTypeName>,
}

impl PolicyDomain {
    /// `sha256:` and 16 digits over every file.
    #[must_use]
    pub const fn fingerprint(&self) -> &SmolStr {
        &self.fingerprint
    }

    /// What a policy says about itself.
    #[must_use]
    pub fn doc(&self, policy: &str) -> Option<&SmolStr> {
        self.docs.get(&PolicyId::new(policy))
    }

    /// The listed ids of a caller's type, in order; none for a type that there is not.
    pub fn listed(&self, kind: &str) -> impl Iterator<Item = &SmolStr> {
        self.kinds.get(kind).into_iter().flat_map(|kind| &kind.listed)
    }

    /// The actions that there are between two of a caller's types, in order of their names.
    pub fn between(&self, subject: &str, resource: &str) -> impl Iterator<Item = &SmolStr> {
        let both = self.kinds.get(subject).zip(self.kinds.get(resource));
        both.into_iter().flat_map(|(subject, resource)| {
            let applies =
                |act: &Act| act.principals.contains(&subject.entity) && act.resources.contains(&resource.entity);
            self.actions.iter().filter(move |(_, act)| applies(act)).map(|(name, _)| name)
        })
    }
}

#[cfg(test)]
mod tests;

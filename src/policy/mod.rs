//! Which rules are in force? Schema and policies as one immutable value with a fingerprint.
//!
//! A [`Bundle`] is built from `(path, text)` pairs, so that it does not matter whether they come from a folder, from
//! the copies compiled into the binary, or from a test. Building it is all or nothing: parsing, strict validation
//! without warnings, slice level 1, the house rules (`rules`), and the action-and-role index, whose equality to the
//! full set is checked before anybody may use it (`assignment::SitePolicies`).
//!
//! It knows a policy domain only by [`Names`]: the schema's namespace and its role type. Nothing in here
//! knows what a site is.

use serde::{Deserialize, Serialize};

mod bundle;
mod error;
mod index;
mod rules;
mod schema;

pub use bundle::{Bundle, Effect, PolicyMeta};
pub use error::{Problem, Problems};
pub use index::Bucket;
pub(crate) use index::Rule;
pub use schema::{Action, ActionIx, Role, RoleIx};

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Path relative to the policy or schema folder, with forward slashes: `policies/seats/owner.cedar`.
    pub path: String,
    /// The file's text.
    pub text: String,
}

/// What a bundle is built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The schema.
    pub schema: Source,
    /// The policies, in any order.
    pub policies: Vec<Source>,
}

/// By which names a bundle finds its way in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// The schema's namespace, for example `Sites`.
    pub namespace: &'static str,
    /// The enumerated entity type whose members are roles, for example `Role`.
    pub role_type: &'static str,
    /// Entity types of which a policy may name a member: enumerations, never people or things.
    pub literal_types: &'static [&'static str],
}

//! `domain.toml`: what callers' types are called in the schema, and how far callers are believed.

use std::collections::BTreeMap;

use serde::Deserialize;
use smol_str::SmolStr;

use super::Unlisted;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The entity source: the name of a JSON file beside this one.
    pub entities: String,
    /// By what callers call them.
    pub types: BTreeMap<SmolStr, TypeEntry>,
}

/// One type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeEntry {
    /// The entity type of the schema.
    pub entity: String,
    /// The properties of which a caller's word counts, over what is stored.
    #[serde(default)]
    pub trusted: Vec<SmolStr>,
    #[serde(default)]
    pub unlisted: Unlisted,
}

impl Manifest {
    /// Reads the file; the error says where.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }
}

//! Settings whose text has to be understood before it is a value.

use std::{fmt, path::PathBuf};

use serde::Deserialize;

/// The system of record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Database {
    /// The embedded store: the path of its file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(PostgresUrl),
}

/// Where a PostgreSQL database is, role and password included: shown without them.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// The URL as it was written.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PostgresUrl {
    /// Without role, password and options: from the last `@` before the path on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let bare = rest.split_once('?').map_or(rest, |(bare, _)| bare);
        let place = bare.rsplit_once('@').map_or(bare, |(_, place)| place);
        write!(f, "postgres://{place}")
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl TryFrom<String> for Database {
    type Error = String;
    fn try_from(url: String) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            // The URL may hold a password: it is not repeated.
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") && rest.len() > 2 => {
                Ok(Self::Postgres(PostgresUrl(url)))
            }
            _ => Err("not a database that this build knows: write `sqlite:PATH` or \
                      `postgres://ROLE:PASSWORD@HOST:PORT/DATABASE`"
                .to_owned()),
        }
    }
}

/// What this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Role {
    /// Decisions, commands and timers.
    #[default]
    All,
    /// Decisions only: it has no route that changes anything, and needs no right in the database to write more than its
    /// own row in the registry.
    Pdp,
    /// Commands and timers, and no decisions.
    Control,
}

impl Role {
    /// Whether commands are taken.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Pdp)
    }
    /// Whether decisions are answered.
    #[must_use]
    pub const fn decides(self) -> bool {
        !matches!(self, Self::Control)
    }
}

impl TryFrom<String> for Role {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "all" => Ok(Self::All),
            "pdp" => Ok(Self::Pdp),
            "control" => Ok(Self::Control),
            other => Err(format!("`{other}` is not a role: write `all`, `pdp` (decisions only) or `control`")),
        }
    }
}

/// On what a replica rests when it answers from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Reads {
    /// On its lease.
    #[default]
    Lease,
    /// On asking the database, for each check, whether anything has changed: for machines whose clocks may stand still.
    Verify,
}

impl TryFrom<String> for Reads {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "lease" => Ok(Self::Lease),
            "verify" => Ok(Self::Verify),
            other => Err(format!("`{other}` is not a way to read: write `lease` or `verify`")),
        }
    }
}

/// How the entity of an item of a batch and the one at the top level become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum BatchMerge {
    /// The item's is taken as it is, whole, as the standard says.
    #[default]
    Entity,
    /// The item's is taken, and a `type`, `id` or `name` that it lacks from the other one: what one module of the OpenID
    /// conformance suite wants.
    Lenient,
}

impl TryFrom<String> for BatchMerge {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "entity" => Ok(Self::Entity),
            "lenient" => Ok(Self::Lenient),
            other => Err(format!("`{other}` is not a way to merge: write `entity` or `lenient`")),
        }
    }
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Auth {
    /// Not at all: everybody who can reach the listener may ask and command, so only this machine can reach it.
    None,
    /// By name and key: `Authorization: Basic`.
    Basic,
    /// By a key: `Authorization: Bearer`.
    ApiKey,
    /// By a certificate.
    Mtls,
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::ApiKey => "api_key",
            Self::Mtls => "mtls",
        })
    }
}

impl TryFrom<String> for Auth {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "none" => Ok(Self::None),
            "basic" => Ok(Self::Basic),
            "api_key" => Ok(Self::ApiKey),
            "mtls" => Ok(Self::Mtls),
            other => Err(format!(
                "`{other}` is not a kind of authentication: write `none` (on loopback addresses and unix sockets only), \
                 `basic`, `api_key` or `mtls`"
            )),
        }
    }
}

/// `14d`, `2h 30m`, `500ms`.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is not a duration such as `5s` or `500ms`: {error}")))
    }
}

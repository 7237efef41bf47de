//! Settings whose text has to be understood before it is a value.

use std::path::PathBuf;

use serde::Deserialize;

/// The system of record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Database {
    /// The embedded store: the path of its file.
    Sqlite(PathBuf),
}

impl TryFrom<String> for Database {
    type Error = String;
    fn try_from(url: String) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            // The URL may hold a password: it is not repeated.
            Some(("postgres" | "postgresql", _)) => {
                Err("this build has the embedded store only: write `sqlite:PATH`, not a postgres URL".to_owned())
            }
            _ => Err("not a database that this build knows: write `sqlite:PATH`".to_owned()),
        }
    }
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Auth {
    /// Not at all: everybody who can reach the listener may ask and command, so only this machine can reach it.
    None,
}

impl TryFrom<String> for Auth {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "none" => Ok(Self::None),
            other => Err(format!(
                "`{other}` is not a kind of authentication that this build has: only `none`, on loopback addresses \
                 and unix sockets, is supported"
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

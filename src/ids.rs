//! Which thing is meant? Identifiers and references, parsed once at the edge.
//!
//! An identifier is ASCII, `[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}`, case-sensitive; a reference is `kind:id`, for
//! example `user:maria`. The platform chooses identifiers (people, agencies, sites); the service makes only those
//! of handovers, confirmations and sessions, as UUIDv7, outside this module, because a pure module draws no
//! random numbers.
//!
//! Invariant: a value of these types is always well formed, so nothing downstream checks again. Plain `String`s
//! lost: Cedar, SQL and the log all receive these, and an identifier that means something to one of them is an attack.

mod packed;

pub use packed::Packed;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Longest identifier, in bytes.
pub const MAX_ID_LEN: usize = 128;

/// Why a text is not an identifier or a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text breaks the syntax of an identifier.
    #[error(
        "`{0}` is not an identifier: use 1 to 128 of the characters A-Z a-z 0-9 _ . @ - and start with a letter or a digit"
    )]
    Syntax(String),
    /// The text is not `kind:id` with one of the kinds that are accepted here.
    #[error("`{given}` is not a reference: write {expected}")]
    Kind {
        /// The text as given.
        given: String,
        /// What would have been accepted, in words.
        expected: &'static str,
    },
}

fn well_formed(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_ID_LEN
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'@' | b'-'))
}

/// The first characters of a refused text: enough to recognise it, too few to flood a log.
fn excerpt(text: &str) -> String {
    text.chars().take(48).collect()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "SmolStr", into = "SmolStr")]
        pub struct $name(SmolStr);

        impl $name {
            /// The identifier without its kind.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if well_formed(text) { Ok(Self(SmolStr::new(text))) } else { Err(IdError::Syntax(excerpt(text))) }
            }
        }
        impl TryFrom<SmolStr> for $name {
            type Error = IdError;
            fn try_from(text: SmolStr) -> Result<Self, IdError> {
                if well_formed(&text) { Ok(Self(text)) } else { Err(IdError::Syntax(excerpt(&text))) }
            }
        }
        impl From<$name> for SmolStr {
            fn from(id: $name) -> SmolStr {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// A person. People are not registered: any well-formed identifier may hold a role.
    UserId
);
id!(
    /// A partner organisation, registered with `PUT /v1/agencies/{agency}`.
    AgencyId
);
id!(
    /// A website: the root of every authorization.
    SiteId
);
id!(
    /// A member of the platform's staff.
    StaffId
);
id!(
    /// A service of the platform, for example `service:billing`.
    ServiceId
);
id!(
    /// One handover: an offer and what became of it.
    HandoverId
);

macro_rules! reference {
    ($(#[$doc:meta])* $name:ident, $expected:literal, { $($(#[$vdoc:meta])* $kind:literal => $variant:ident($id:ty)),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "SmolStr", into = "SmolStr")]
        pub enum $name { $($(#[$vdoc])* $variant($id)),+ }

        impl $name {
            /// The kind, as written before the colon.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind),+ }
            }
            /// The identifier, as written after the colon.
            #[must_use]
            pub fn id(&self) -> &str {
                match self { $(Self::$variant(id) => id.as_str()),+ }
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                match text.split_once(':') {
                    $(Some(($kind, id)) => Ok(Self::$variant(id.parse()?)),)+
                    _ => Err(IdError::Kind { given: excerpt(text), expected: $expected }),
                }
            }
        }
        impl TryFrom<SmolStr> for $name {
            type Error = IdError;
            fn try_from(text: SmolStr) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$name> for SmolStr {
            fn from(reference: $name) -> SmolStr {
                smol_str::format_smolstr!("{reference}")
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.kind(), self.id())
            }
        }
        $(impl From<$id> for $name {
            fn from(id: $id) -> Self {
                Self::$variant(id)
            }
        })+
    };
}

reference!(
    /// What a seat, a plan or a domain belongs to. A person's account is the person.
    Account, "`user:ID` or `agency:ID`",
    {
        /// A person.
        "user" => User(UserId),
        /// An agency.
        "agency" => Agency(AgencyId),
    }
);
reference!(
    /// Who asks or acts: the principal of a check, the actor of a command.
    Principal, "`user:ID`, `staff:ID` or `service:ID`",
    {
        /// A person, on their own account or for an agency.
        "user" => User(UserId),
        /// A member of the platform's staff.
        "staff" => Staff(StaffId),
        /// One of the platform's services.
        "service" => Service(ServiceId),
    }
);

impl Principal {
    /// The person, if it is one.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        if let Self::User(user) = self { Some(user) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_the_published_syntax() {
        for good in ["a", "maria", "0x", "a.b_c@d-e", &"x".repeat(128)] {
            assert_eq!(good.parse::<UserId>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "-a", ".a", "a b", "a:b", "ä", "a\0", "a/b", &"x".repeat(129)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn references_name_their_kind() {
        assert_eq!("user:maria".parse::<Account>().unwrap().to_string(), "user:maria");
        assert_eq!("agency:x".parse::<Account>().unwrap().kind(), "agency");
        assert_eq!("staff:x".parse::<Principal>().unwrap().id(), "x");
        for bad in ["maria", "User:maria", "staff:x", "user:", "user: maria", "user:a:b"] {
            assert!(bad.parse::<Account>().is_err(), "{bad:?}");
        }
    }
}

//! How new is it? The global revision that every committed change bumps by one.
//!
//! There is one revision for the whole installation, not one for each site: commit order equals revision order,
//! without gaps, so that "everything up to 44" has a meaning. A site's own revision is that of the last change
//! committed to it; it is what entity tags, offers and previews name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A committed state of the installation. Zero is the empty store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of the next commit.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    /// The strong entity tag of a thing at this revision: `"r44"`, quotes included (RFC 9110 §8.8.3).
    #[must_use]
    pub fn etag(self) -> String {
        format!("\"r{}\"", self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

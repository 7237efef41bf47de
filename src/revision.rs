//! How new is it? The global revision that every committed change bumps by one.
//!
//! There is one revision for the whole installation, not one for each site: commit order equals revision order,
//! without gaps, so that "everything up to 44" has a meaning. A site's own revision is that of the last change
//! committed to it; it is what entity tags, offers and previews name.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
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

/// A revision of one history, for callers to keep: `base64url(epoch ‖ revision ‖ first 8 bytes of the chain)`, 43 characters.
///
/// The epoch tells a restored backup from what was before it; the chain tells two histories apart that share epoch and
/// number, as after a failover that lost commits. So every caller who keeps a token can notice lost commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RevisionToken {
    epoch: [u8; 16],
    revision: Revision,
    chain: [u8; 8],
}

/// The text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a revision token is 43 characters of base64url, as an earlier answer told it")]
pub struct NotAToken;

/// The first bytes of lower-case or upper-case hexadecimal digits, hyphens aside.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut digits = digits.chars().filter(|digit| *digit != '-').map(|digit| digit.to_digit(16));
    let mut found = [0; N];
    for byte in &mut found {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(found)
}

impl RevisionToken {
    /// The token of a revision: `epoch` is the history's UUID, `chain` the hexadecimal hash over everything up to the
    /// revision. None when they are not.
    #[must_use]
    pub fn of(epoch: &str, revision: Revision, chain: &str) -> Option<Self> {
        Some(Self { epoch: bytes(epoch)?, revision, chain: bytes(chain)? })
    }
    /// The revision.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }
    /// Whether it is of the history that this UUID names.
    #[must_use]
    pub fn is_of(&self, epoch: &str) -> bool {
        bytes(epoch) == Some(self.epoch)
    }
    /// Whether the history that had this chain at the token's revision is the token's.
    #[must_use]
    pub fn continues(&self, chain: &str) -> bool {
        bytes(chain) == Some(self.chain)
    }
}

impl fmt::Display for RevisionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: [&[u8]; 3] = [&self.epoch, &self.revision.0.to_be_bytes(), &self.chain];
        f.write_str(&URL_SAFE_NO_PAD.encode(parts.concat()))
    }
}

impl FromStr for RevisionToken {
    type Err = NotAToken;
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotAToken)?;
        let (epoch, rest) = bytes.split_first_chunk::<16>().ok_or(NotAToken)?;
        let (revision, rest) = rest.split_first_chunk::<8>().ok_or(NotAToken)?;
        let (chain, rest) = rest.split_first_chunk::<8>().ok_or(NotAToken)?;
        let revision = Revision(u64::from_be_bytes(*revision));
        if rest.is_empty() { Ok(Self { epoch: *epoch, revision, chain: *chain }) } else { Err(NotAToken) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: &str = "0192e1f5-7c00-7abc-8def-0123456789ab";

    #[test]
    fn a_token_tells_histories_apart() {
        let chain = "00ff".repeat(16);
        let token = RevisionToken::of(EPOCH, Revision(44), &chain).unwrap();
        assert_eq!(token.to_string().len(), 43);
        assert_eq!(token.to_string().parse(), Ok(token));
        assert!(token.is_of(EPOCH) && !token.is_of(&EPOCH.replace("0192", "0193")));
        assert!(token.continues(&chain) && !token.continues(&"01ff".repeat(16)));
        assert_eq!(token.revision(), Revision(44));
        assert_eq!(RevisionToken::of("not a uuid", Revision(1), &chain), None);
        assert_eq!(RevisionToken::of(EPOCH, Revision(1), "00"), None);
    }

    proptest! {
        #[test]
        fn every_token_is_read_as_it_was_written(epoch: [u8; 16], revision: u64, chain: [u8; 8]) {
            let token = RevisionToken { epoch, revision: Revision(revision), chain };
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }
        #[test]
        fn no_text_is_a_panic(text in ".{0,60}") {
            if let Ok(token) = text.parse::<RevisionToken>() {
                prop_assert_eq!(token.to_string(), text);
            }
        }
    }
}

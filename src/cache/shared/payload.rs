//! How is a site written into an entry? As the document that import and export use, without its people; and these, who are
//! most of it, in few bytes each.
//!
//! ```text
//! revision(u64) ‖ length(u32) ‖ document ‖ people(u32) ‖ for each: user ‖ role ‖ grantor ‖ side(u8) ‖ revision(u64)
//! ```
//!
//! Numbers are big-endian, a text is its length (u16) and its bytes.
//!
//! Invariant: what is written reads back as the very same site. It is tried before anything is shared, because a copy
//! that lost a field would be believed by every replica; a site that would not come back the same is not shared. All of it
//! in bytes of its own lost: it would have to be kept equal to the document for ever, and what few sites have costs nothing
//! where it is not there. All of it as the document lost: reading the people took longer than all else that a miss costs.

use std::collections::BTreeMap;

use super::Unusable;
use crate::{
    ids::{SiteId, UserId},
    revision::Revision,
    site::{Contributor, Side, Site, SiteDocument},
};

/// The site as bytes; none when they would not be the site any more.
pub fn write(site: &Site) -> Option<Vec<u8>> {
    let mut document = SiteDocument::from(site);
    document.contributors.clear();
    let document = serde_json::to_vec(&document).ok()?;
    let mut bytes = Vec::with_capacity(document.len() + site.contributors.len() * 64 + 16);
    bytes.extend(site.revision.0.to_be_bytes());
    bytes.extend(u32::try_from(document.len()).ok()?.to_be_bytes());
    bytes.extend(document);
    bytes.extend(u32::try_from(site.contributors.len()).ok()?.to_be_bytes());
    for (user, Contributor { role, grantor, side, revision }) in &site.contributors {
        for text in [user.as_str(), role, &grantor.to_string()] {
            bytes.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.push(match side {
            Side::Client => 0,
            Side::Partner => 1,
        });
        bytes.extend(revision.0.to_be_bytes());
    }
    read(&bytes, &site.id).is_ok_and(|again| again == *site).then_some(bytes)
}

/// The site that the bytes say, if it is the one that was asked for.
pub fn read(bytes: &[u8], id: &SiteId) -> Result<Site, Unusable> {
    let site = site_of(bytes).ok_or(Unusable::NotASite)?;
    if site.id == *id { Ok(site) } else { Err(Unusable::NotASite) }
}

fn site_of(bytes: &[u8]) -> Option<Site> {
    let mut left = Left(bytes);
    let revision = left.revision()?;
    let length = left.count()?;
    let mut document: SiteDocument = serde_json::from_slice(left.take(length)?).ok()?;
    // Said twice, nobody knows which one holds.
    if !document.contributors.is_empty() {
        return None;
    }
    let people = left.count()?;
    document.contributors = (0..people).map(|_| left.person()).collect::<Option<BTreeMap<_, _>>>()?;
    let whole = left.0.is_empty() && document.contributors.len() == people;
    let mut site = Site::try_from(document).ok().filter(|_| whole)?;
    site.revision = revision;
    Some(site)
}

/// What is left to read.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        Some(taken)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*taken)
    }
    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }
    fn revision(&mut self) -> Option<Revision> {
        self.array().map(u64::from_be_bytes).map(Revision)
    }
    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_be_bytes(self.array()?);
        std::str::from_utf8(self.take(length.into())?).ok()
    }
    fn person(&mut self) -> Option<(UserId, Contributor)> {
        let user = self.text()?.parse().ok()?;
        let (role, grantor) = (self.text()?.into(), self.text()?.parse().ok()?);
        let side = match self.array()? {
            [0] => Side::Client,
            [1] => Side::Partner,
            [_] => return None,
        };
        Some((user, Contributor { role, grantor, side, revision: self.revision()? }))
    }
}

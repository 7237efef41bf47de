//! How is a site written into an entry? As the document that import and export use, and its revision.
//!
//! Invariant: what is written reads back as the very same site. It is tried before anything is shared, because a copy
//! that lost a field would be believed by every replica; a site that would not come back the same is not shared. A
//! second format for speed lost: it would have to be kept equal to the first for ever, and a copy is read once for each
//! change and replica.

use serde::{Deserialize, Serialize};

use super::Unusable;
use crate::{
    ids::SiteId,
    revision::Revision,
    site::{Site, SiteDocument},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    revision: Revision,
    site: SiteDocument,
}

/// The site as bytes; none when they would not be the site any more.
pub fn write(site: &Site) -> Option<Vec<u8>> {
    let payload = Payload { revision: site.revision, site: SiteDocument::from(site) };
    let bytes = serde_json::to_vec(&payload).ok()?;
    read(&bytes, &site.id).is_ok_and(|again| again == *site).then_some(bytes)
}

/// The site that the bytes say, if it is the one that was asked for.
pub fn read(bytes: &[u8], id: &SiteId) -> Result<Site, Unusable> {
    let payload: Payload = serde_json::from_slice(bytes).map_err(|_| Unusable::NotASite)?;
    let mut site = Site::try_from(payload.site).map_err(|_| Unusable::NotASite)?;
    site.revision = payload.revision;
    if site.id == *id { Ok(site) } else { Err(Unusable::NotASite) }
}

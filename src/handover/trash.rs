//! Into the trash, out of it, and gone for good (T27). Nothing else deletes anything (I26).

use serde_json::json;

use super::{
    Applied, Refusal, consent,
    ending::{self, Ending},
    step::{Step, freeze},
};
use crate::{
    site::{Plan, Seats, Site, Tier},
    time::Timestamp,
};

/// The owner or the client trashes the site; the partner with the client's confirmation. Not while an offer waits.
pub(super) fn put_in(step: &Step<'_>) -> Result<Applied, Refusal> {
    let site = step.site();
    if site.trashed_at.is_some() {
        return Err(Refusal::AlreadySo { what: "the site is in the trash" });
    }
    step.not_frozen()?;
    super::offer::none_open(step)?;
    let mut applied = step.begin();
    consent::spend_own(step, &mut applied);
    // An agency that only asked is answered by this, too.
    ending::close(&mut applied, step.now, Ending::Superseded);
    let purge_at = step.now.plus(step.situation.timers.trash_keep);
    (applied.site.trashed_at, applied.site.purge_at) = (Some(step.now), Some(purge_at));
    applied.tell("SiteTrashed", json!({"purge_at": site.seats.owner().map(|_| purge_at)}));
    Ok(applied)
}

/// Out of the trash.
pub(super) fn take_out(step: &Step<'_>) -> Result<Applied, Refusal> {
    if step.site().trashed_at.is_none() {
        return Err(step.illegal("the site is not in the trash"));
    }
    step.not_frozen()?;
    let mut applied = step.begin();
    (applied.site.trashed_at, applied.site.purge_at) = (None, None);
    applied.tell("SiteRestored", json!({}));
    Ok(applied)
}

/// The owner deletes what is in the trash.
pub(super) fn purge(step: &Step<'_>) -> Result<Applied, Refusal> {
    if step.site().trashed_at.is_none() {
        return Err(step.illegal("only a site in the trash is deleted for good; use trash_site first"));
    }
    step.not_frozen()?;
    Ok(gone(step))
}

/// Whether a site has been in the trash for so long that time deletes it. A freeze stops even that, and custody.
pub(super) fn is_full(site: &Site, now: Timestamp) -> bool {
    site.trashed_at.is_some()
        && site.seats.owner().is_some()
        && site.purge_at.is_some_and(|at| at <= now)
        && freeze(site, now).is_none()
        && site.custody.is_none()
}

/// Time deletes what was long in the trash.
pub(super) fn empty(step: &Step<'_>) -> Result<Applied, Refusal> {
    if !is_full(step.site(), step.now) {
        return Err(step.illegal("the site has not been in the trash for long enough"));
    }
    Ok(gone(step))
}

/// Nothing is left but the id, which stays taken, and the history.
fn gone(step: &Step<'_>) -> Applied {
    let site = step.site();
    let mut applied = step.begin();
    ending::close(&mut applied, step.now, Ending::Invalidated);
    let purged = Site::registered(site.id.clone(), Seats::Purged, Plan::of(Tier::Free), false, Vec::new());
    applied.site = purged;
    applied.tell("SitePurged", json!({"content_owner": site.seats.content_owner()}));
    applied
}

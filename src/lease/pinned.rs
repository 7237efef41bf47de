//! From which view does a check answer? One, pinned after the request was received, for values and lease alike.
//!
//! ```text
//! received ─► now ─► pin(view, now) ─► usable(key, tag) for each value ─► evaluate ─► reply(now, outcome)
//! ```
//!
//! The reading that pins must be taken after the request was received; that is what the promise rests on. The second one
//! shortens the tail of checks that were received before an acknowledgement and are answered after it. Loading the view
//! a second time for the lease lost: an old value under a new lease is exactly what must not happen.

use std::sync::Arc;

use super::{Boot, Key, Tag, Use, View};

/// A view whose lease held after a request had been received.
#[derive(Debug, Clone)]
pub struct Pinned(Arc<View>);

impl Pinned {
    /// Pins `view` for one check, if its lease holds at `now`, a reading taken after the request was received.
    #[must_use]
    pub fn pin(view: &Arc<View>, now: Boot) -> Option<Self> {
        view.holds(now).then(|| Self(Arc::clone(view)))
    }
    /// Whether a remembered value may be used in this check.
    #[must_use]
    pub fn usable(&self, key: &Key, tag: &Tag) -> Use {
        self.0.usable(key, tag)
    }
    /// The history and revision at which the check is evaluated.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.0.tag()
    }
    /// The outcome with the tag at which it is true, if the lease still holds at `now`, right before the reply is
    /// written. Otherwise try again, once, with a newer view.
    #[must_use]
    pub fn reply<T>(self, now: Boot, outcome: T) -> Option<(T, Tag)> {
        self.0.holds(now).then(|| (outcome, self.0.tag()))
    }
}

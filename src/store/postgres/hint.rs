//! What is heard of commits between two polls. It is a hint: whoever says it need not tell the truth, and it can only make
//! somebody look sooner. It names no history: after a restore a smaller revision seems to be known, and is found by the next
//! poll.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::revision::Revision;

/// Wakes the thread that follows, and remembers the newest revision that it was woken for.
#[derive(Debug, Default)]
pub struct Hint {
    notify: Notify,
    newest: AtomicU64,
}

impl Hint {
    /// Somebody says that there is this revision.
    pub fn of(&self, revision: Revision) {
        self.newest.fetch_max(revision.0, Ordering::AcqRel);
        self.wake();
    }
    /// Wakes it for another reason.
    pub fn wake(&self) {
        self.notify.notify_one();
    }
    /// The newest revision since this was asked last; the first one, which everybody knows, where none was named.
    pub fn take(&self) -> Revision {
        Revision(self.newest.swap(0, Ordering::AcqRel))
    }
    /// A notification. One without a revision is another version's: whatever there is may be newer.
    pub(super) fn notified(&self, payload: &str) {
        self.of(Revision(payload.parse().unwrap_or(u64::MAX)));
    }
    /// Waits until it is woken.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_remembered_once() {
        let hint = Hint::default();
        for payload in ["7", "9", "8"] {
            hint.notified(payload);
        }
        assert_eq!((hint.take(), hint.take()), (Revision(9), Revision(0)));
        for strange in ["", "-1", "1e3", "99999999999999999999"] {
            hint.notified(strange);
            assert_eq!(hint.take(), Revision(u64::MAX), "{strange}");
        }
    }
}

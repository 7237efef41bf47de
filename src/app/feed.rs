//! What has changed since a revision? The change feed, for callers that keep a cache of their own.
//!
//! The log is whole: every revision since the first can be asked for. Told is only what this process shows to checks
//! already, so that a caller who drops a copy because of it and asks here again gets the new answer, never the old one.
//! A revision that the log does not have is refused ([`Position`]): whoever says it has followed another history, and
//! "nothing new" would be a lie.
//!
//! Reading the store at intervals lost: [`News`] wakes with the commit, or with the poll that brought it.

use std::{str::FromStr, sync::Arc};

use smol_str::SmolStr;
use tokio::sync::watch;

use super::{App, Failure, Kind, cluster};
use crate::{
    clock::{BootClock as _, SystemBootClock},
    events::Wake,
    revision::{NotAToken, Revision, RevisionToken},
    store::{Change, Store as _},
};

/// Up to where a caller has followed: a revision, or its token, which tells histories apart as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// A number.
    Revision(Revision),
    /// A token, as an answer told it.
    Token(RevisionToken),
}

impl FromStr for Position {
    type Err = NotAToken;
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Revision).map_err(|_| NotAToken);
        }
        text.parse().map(Self::Token)
    }
}

/// A page of the feed.
#[derive(Debug)]
pub struct Told {
    /// Changes of whole revisions, in order.
    pub items: Vec<Change>,
    /// Whether there are more up to [`Told::head`].
    pub more: bool,
    /// The revision that checks were answered at before this was read.
    pub head: Revision,
}

/// Tells when there may be something new to read.
#[derive(Debug)]
pub struct News {
    source: Source,
    ending: watch::Receiver<bool>,
}

#[derive(Debug)]
enum Source {
    /// One process alone: its own commits.
    Commits(watch::Receiver<Wake>),
    /// One of many: what its polls found.
    Polls(watch::Receiver<u64>),
}

impl News {
    /// Whatever was published until now counts as seen.
    pub fn seen(&mut self) {
        match &mut self.source {
            Source::Commits(commits) => drop(commits.borrow_and_update()),
            Source::Polls(polls) => drop(polls.borrow_and_update()),
        }
    }
    /// Whether the process is about to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }
    /// Waits until something was published that has not been seen. False: nothing will be any more.
    pub async fn more(&mut self) -> bool {
        let published = async {
            match &mut self.source {
                Source::Commits(commits) => commits.changed().await.is_ok(),
                Source::Polls(polls) => polls.changed().await.is_ok(),
            }
        };
        tokio::select! {
            more = published => more,
            _ = self.ending.wait_for(|ending| *ending) => false,
        }
    }
}

impl App {
    /// The revision of a position, once this process is as far.
    ///
    /// # Errors
    /// `409` when the system of record does not have it; `503` when it does not answer.
    pub async fn position(&self, position: Position) -> Result<Revision, Failure> {
        match position {
            Position::Token(token) => self.at_least_as_fresh(&token).await.map(|()| token.revision()),
            Position::Revision(revision) => {
                if self.view.head().0 < revision {
                    self.newly_asked().await?;
                }
                let head = self.view.head().0;
                if revision <= head {
                    return Ok(revision);
                }
                Err(Failure::new(
                    Kind::Conflict,
                    "future_revision",
                    format!(
                        "The last revision is {head}, and {revision} comes after it: it is of another installation, or \
                         commits were lost since. Drop every copy, and follow from the revision of a new answer."
                    ),
                ))
            }
        }
    }

    /// Changes after a revision, whole revisions at a time, up to what checks are answered at.
    ///
    /// # Errors
    /// `503` when the store cannot be read, or when this replica does not know what is effective.
    pub async fn changes(&self, after: Revision, limit: usize) -> Result<Told, Failure> {
        self.leased().await?;
        // Before the store is read: whatever there is up to here is in what it says.
        let head = self.view.head().0;
        let page = self.store.changes(after, limit).await?;
        let read = page.items.len();
        let items: Vec<Change> = page.items.into_iter().filter(|change| change.revision <= head).collect();
        Ok(Told { more: page.more && items.len() == read, items, head })
    }

    /// When there may be something new to tell.
    #[must_use]
    pub fn news(&self) -> News {
        let source = match &self.cluster {
            None => Source::Commits(self.wake.subscribe()),
            Some(cluster) => Source::Polls(cluster.published()),
        };
        News { source, ending: self.ending.subscribe() }
    }

    /// Which history this process follows, while it may answer from it.
    #[must_use]
    pub fn followed(&self) -> Option<SmolStr> {
        let Some(_) = &self.cluster else { return Some(self.view.epoch()) };
        let lease = self.view.lease().filter(|lease| lease.holds(SystemBootClock.boottime()))?;
        Some(lease.epoch().id.clone())
    }

    /// Ends whatever follows the feed: nobody waits for it at the end of the process.
    pub fn end_feeds(&self) {
        self.ending.send_replace(true);
    }
}

impl cluster::Cluster {
    /// Counts what was published.
    fn published(self: &Arc<Self>) -> watch::Receiver<u64> {
        self.moved.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_number_or_a_token() {
        assert_eq!("044".parse(), Ok(Position::Revision(Revision(44))));
        let token = RevisionToken::of("0192e1f5-7c00-7abc-8def-0123456789ab", Revision(4), &"00ff".repeat(16)).unwrap();
        assert_eq!(token.to_string().parse(), Ok(Position::Token(token)));
        for bad in ["", "+4", "-1", "4.0", " 4", "r44", "99999999999999999999", "0x1"] {
            assert_eq!(bad.parse::<Position>(), Err(NotAToken), "{bad:?}");
        }
    }
}

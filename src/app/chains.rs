//! Which history does a revision belong to? The chain at revisions that this process has heard of, so that most tokens are
//! compared without asking the store.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use smol_str::SmolStr;

use super::{App, Failure, Kind};
use crate::revision::{Revision, RevisionToken};

/// How many revisions are remembered; the oldest go first.
const KNOWN: usize = 1_024;

/// The chain at some revisions of one history.
#[derive(Debug, Default)]
pub(super) struct Chains(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    epoch: SmolStr,
    chains: BTreeMap<Revision, String>,
}

impl Chains {
    /// What it was at a revision, where that is remembered.
    pub fn of(&self, epoch: &str, revision: Revision) -> Option<String> {
        let known = self.0.lock();
        (known.epoch == epoch).then(|| known.chains.get(&revision).cloned()).flatten()
    }
    /// What it was.
    pub fn note(&self, epoch: &str, revision: Revision, chain: &str) {
        let mut known = self.0.lock();
        if known.epoch != epoch {
            *known = Known { epoch: epoch.into(), chains: BTreeMap::new() };
        }
        known.chains.insert(revision, chain.to_owned());
        if known.chains.len() > KNOWN {
            known.chains.pop_first();
        }
    }
}

impl App {
    async fn chain_at(&self, epoch: &str, revision: Revision) -> Result<String, Failure> {
        if let Some(chain) = self.chains.of(epoch, revision) {
            return Ok(chain);
        }
        let read = self.store.chain_at(revision).await?;
        if read.epoch.id == epoch && read.revision >= revision {
            self.chains.note(epoch, revision, &read.value);
        }
        Ok(read.value)
    }

    /// The token of a revision that this process has seen.
    ///
    /// # Errors
    /// `503` when the store cannot be read.
    pub async fn token(&self, revision: Revision) -> Result<RevisionToken, Failure> {
        let epoch = self.view.epoch();
        let chain = self.chain_at(&epoch, revision).await?;
        RevisionToken::of(&epoch, revision, &chain).ok_or_else(|| {
            Failure::new(Kind::Unavailable, "store_corrupt", "The history has no name that a token could carry.")
        })
    }

    /// Waits until checks are answered at this revision or later.
    ///
    /// # Errors
    /// `503` when the store is not that far.
    pub async fn at_least(&self, floor: Revision) -> Result<(), Failure> {
        if self.view.head().0 < floor {
            self.newly_asked().await?;
        }
        if self.view.head().0 < floor {
            return Err(Failure::new(
                Kind::Unavailable,
                "not_fresh_enough",
                "This revision has not been reached here; it may be of another installation or of one that was restored.",
            ));
        }
        Ok(())
    }

    /// The same for a token, which also tells whether the store still has that very history.
    ///
    /// # Errors
    /// `409` when it has not: commits that somebody was told of are gone.
    pub async fn at_least_as_fresh(&self, token: &RevisionToken) -> Result<(), Failure> {
        if !token.is_of(&self.view.epoch()) || self.view.head().0 < token.revision() {
            self.newly_asked().await?;
        }
        let epoch = self.view.epoch();
        if !token.is_of(&epoch) {
            return Err(Failure::new(
                Kind::Conflict,
                "other_history",
                "The token is of another history: this installation was restored from a backup since, or it is another \
                 one. Forget the token, and whatever was concluded from it.",
            ));
        }
        let known = self.view.head().0 >= token.revision();
        if known && token.continues(&self.chain_at(&epoch, token.revision()).await?) {
            return Ok(());
        }
        tracing::error!(revision = %token.revision(), "lost_commits: a caller knows a commit that the store does not have");
        Err(Failure::new(
            Kind::Conflict,
            "lost_commits",
            "The token names a commit that the system of record does not have any more. Tell whoever runs it: a failover \
             or a restore has lost changes.",
        ))
    }
}

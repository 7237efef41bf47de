//! May this replica believe its next poll? What it has applied, when the registry last heard of it, and quarantine.
//!
//! Invariants: while quarantined nothing is believed and there is no view, until an operator acknowledges. A replica
//! that was silent for longer than its lease and [`MAX_SILENCE`] registers again *before* the poll that it believes.
//! Writers stop counting a silent row; a poll of the row's replica may be on its way just then, with a snapshot from
//! before the commit, and its lease would be one that nobody waits for. A registration that has returned is seen by
//! every registry that is read later, so the writer counts it again, or the poll sees the commit.

use std::{sync::Arc, time::Duration};

use super::{Boot, PollAnswer, Rejected, Step, View, advance, learn};

/// How long beyond its lease a replica may be silent and still poll without registering again. Shorter than the silence
/// after which writers ignore a row, by more than clocks may drift and a lease may last.
pub const MAX_SILENCE: Duration = Duration::from_secs(30);

/// A replica's place in the history.
#[derive(Debug)]
pub struct Follower {
    view: Option<Arc<View>>,
    heard: Boot,
    quarantine: Option<Rejected>,
}

impl Follower {
    /// A replica that has registered and not polled yet. `at` was read before the registration was sent; the first poll
    /// is sent after it returned.
    #[must_use]
    pub const fn registered(at: Boot) -> Self {
        Self { view: None, heard: at, quarantine: None }
    }
    /// The replica has registered again, by the same rules.
    pub fn registered_again(&mut self, at: Boot) {
        self.heard = self.heard.max(at);
    }
    /// Whether the replica has to register before it polls at `now`.
    #[must_use]
    pub fn must_register(&self, now: Boot) -> bool {
        let lease = self.view.as_ref().map_or(Duration::ZERO, |view| view.ttl());
        now.since(self.heard).is_none_or(|silence| silence >= lease.saturating_add(MAX_SILENCE))
    }
    /// What is known; nothing before the first poll and in quarantine.
    #[must_use]
    pub const fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }
    /// Why nothing is answered.
    #[must_use]
    pub const fn quarantine(&self) -> Option<&Rejected> {
        self.quarantine.as_ref()
    }
    /// A poll was answered that was sent right after `sent` was read.
    ///
    /// # Errors
    /// The answer is not to be believed, or an earlier one put the replica into quarantine. When the reason
    /// [quarantines](Rejected::quarantines) the published view is to be withdrawn at once.
    pub fn answered(&mut self, sent: Boot, answer: PollAnswer) -> Result<Step, Rejected> {
        if let Some(reason) = &self.quarantine {
            return Err(reason.clone());
        }
        let overtaken = self.view.as_ref().is_some_and(|view| sent <= view.t0());
        if !overtaken && self.must_register(sent) {
            return Err(Rejected::Silent);
        }
        let step = advance(self.view.as_deref(), sent, answer).inspect_err(|reason| self.note(reason))?;
        if let Some(view) = step.view() {
            self.view = Some(Arc::clone(view));
            self.heard = sent;
        }
        Ok(step)
    }
    /// A look was answered that was sent right after `sent` was read: none where it takes a poll to tell what to do. It is
    /// nothing that the registry has heard of this replica, and no reason for quarantine: the poll that follows will be.
    pub fn looked(&mut self, sent: Boot, answer: PollAnswer) -> Option<Step> {
        let step = learn(self.view.as_deref()?, sent, answer)?;
        self.view = step.view().cloned();
        Some(step)
    }
    fn note(&mut self, reason: &Rejected) {
        if reason.quarantines() {
            self.quarantine = Some(reason.clone());
            self.view = None;
        }
    }
    /// An operator accepts the history as it is now. The next poll starts from nothing.
    pub fn acknowledge(&mut self) {
        self.quarantine = None;
        self.view = None;
    }
}

//! What only time does, committed: offers that lapse, notices that end.
//!
//! Decisions do not wait for this worker: an expired offer has no parties and a finished notice leaves no partner-side
//! right from the deadline on, committed or not (`assignment`). The worker makes the new seats, and the record. The
//! transition is due or not by the state that the transaction reads, so however often it is tried, it happens once.

use std::{sync::Arc, time::Duration};

use super::{App, Failure, command};
use crate::{
    clock,
    handover::{self, Situation},
    ids::SiteId,
    store::{Loaded, Store, Verdict, Wanted},
};

/// Sites looked at in one round.
const BATCH: usize = 100;
/// Never longer asleep: a deadline that a clock's jump brought nearer is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl App {
    /// Commits what is due, and sleeps until the next deadline; never ends by itself.
    pub async fn run_timers(self: Arc<Self>) {
        loop {
            let sleep = match self.commit_due().await {
                Ok(sleep) => sleep,
                Err(failure) => {
                    tracing::warn!(code = %failure.code, "timers could not be committed, trying again");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.deadlines.notified() => {}
            }
        }
    }

    /// Commits everything that is due now; answers how long nothing will be.
    ///
    /// # Errors
    /// `503` when the store cannot be read or written.
    pub async fn commit_due(&self) -> Result<Duration, Failure> {
        loop {
            let now = self.now();
            let (sites, next) = self.store.due(now, BATCH).await?;
            let (mut progress, mut failed) = (false, false);
            for site in &sites {
                // One site that cannot be read must not hold up the others.
                match self.commit_due_on(site).await {
                    Ok(done) => progress |= done,
                    Err(failure) => {
                        failed = true;
                        tracing::error!(%site, code = %failure.code, "what is due here could not be committed");
                    }
                }
            }
            if sites.is_empty() || !progress {
                // What failed is due now, whenever the next deadline is.
                let longest = if failed { AFTER_FAILURE } else { LONGEST_SLEEP };
                let nearest = next.map_or(longest, |at| at.since(now));
                return Ok(nearest.clamp(Duration::from_millis(1), longest));
            }
        }
    }

    /// Commits the next due step of one site; false when there was none.
    async fn commit_due_on(&self, site: &SiteId) -> Result<bool, Failure> {
        let Some(command) = self.store.site(site).await?.value.and_then(|site| handover::due(&site, self.now())) else {
            return Ok(false);
        };
        // A handover expires once in its life; a site may return many times, and its state says whether it is due.
        let wanted = Wanted { sites: vec![site.clone()], handover: command.handover().cloned(), ..Wanted::default() };
        let (policies, timers, new_handover) = (self.view.policies(), self.timers.clone(), clock::new_handover_id());
        let clock = Arc::clone(&self.clock);
        let decide = Box::new(move |loaded: &Loaded| {
            let now = clock.now().max(loaded.head.at);
            let Some(site) = loaded.sites.first().and_then(Option::as_ref) else { return Verdict::Leave(false) };
            let situation = Situation {
                site,
                named: loaded.handover.as_ref(),
                directory: &loaded.directory,
                strengths: policies.strengths(),
                timers: &timers,
                acting: None,
                new_handover: &new_handover,
                revision: loaded.head.revision.next(),
                preview_digest: "",
            };
            match handover::apply(&situation, &command, now) {
                Ok(applied) => Verdict::Commit(Box::new(command::changes(applied, None, now)), true),
                Err(_) => Verdict::Leave(false),
            }
        });
        Ok(self.store.change(wanted, decide).await?)
    }
}

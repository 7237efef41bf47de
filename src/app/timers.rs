//! What only time does, committed: offers that lapse, notices that end.
//!
//! Decisions do not wait for this worker: an expired offer has no parties and a finished notice leaves no partner-side
//! right from the deadline on, committed or not (`assignment`). The worker makes the new seats, and the record. The
//! transition is due or not by the state that the transaction reads, so however often it is tried, it happens once.

use std::{sync::Arc, time::Duration};

use super::{App, Failure, command, policies};
use crate::{
    assignment::{Directory, SitePolicies},
    clock,
    handover::{self, Applied, Situation, Timers},
    ids::{HandoverId, SiteId},
    revision::Revision,
    site::Site,
    store::{Loaded, Store, Verdict, Wanted},
    time::Timestamp,
};

/// Sites looked at in one round.
const BATCH: usize = 100;
/// Never longer asleep: a deadline that a clock's jump brought nearer is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long after a commit new deadlines are looked for: commits that follow each other are looked at once, and who waits for
/// one is served first.
const AFTER_COMMIT: Duration = Duration::from_millis(20);

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
                () = self.deadlines.notified() => tokio::time::sleep(AFTER_COMMIT).await,
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

    /// Commits what is due on one site; false when nothing was. The state that the transaction reads says what is due, so
    /// that it happens once however many try.
    async fn commit_due_on(&self, site: &SiteId) -> Result<bool, Failure> {
        let wanted = Wanted { sites: vec![site.clone()], ..Wanted::default() };
        let (in_view, timers) = (self.view.policies(), self.rules.timers.clone());
        let unused = clock::new_handover_id();
        let (clock, books) = (Arc::clone(&self.clock), self.books());
        let decide = Box::new(move |loaded: &Loaded| {
            if let Err(failure) = policies::decided_by(&loaded.head, &in_view) {
                return Verdict::Leave(Err(failure));
            }
            let now = clock.now().max(loaded.head.at);
            let Some(site) = loaded.sites.first().and_then(Option::as_ref) else { return Verdict::Leave(Ok(false)) };
            let revision = loaded.head.revision.next();
            match settle(site, &loaded.directory, &in_view, &timers, (&unused, revision), now) {
                Some(settled) => {
                    let changes = command::changes(settled, None, None, now);
                    Verdict::Commit(Box::new(books.settled(loaded, changes)), Ok(true))
                }
                None => Verdict::Leave(Ok(false)),
            }
        });
        self.store.change(wanted, decide).await?
    }
}

/// What time has made of a site: every step that is due, one after the other, as one change. None when nothing is due.
pub(super) fn settle(
    site: &Site,
    directory: &Directory,
    policies: &SitePolicies,
    timers: &Timers,
    (new_handover, revision): (&HandoverId, Revision),
    now: Timestamp,
) -> Option<Applied> {
    let mut settled: Option<Applied> = None;
    for _ in 0..STEPS {
        let site = settled.as_ref().map_or(site, |settled| &settled.site);
        let Some(command) = handover::due(site, directory, now) else { break };
        let situation = Situation {
            site,
            named: None,
            directory,
            strengths: policies.strengths(),
            timers,
            acting: None,
            new_handover,
            revision,
            preview_digest: "",
            text_version: "",
            new_code: "",
            four_eyes: false,
        };
        let Ok(next) = handover::apply(&situation, &command, now) else { break };
        settled = Some(match settled {
            Some(before) => before.then(next),
            None => next,
        });
    }
    settled
}

/// More steps than can be due at once: each clock of a site runs out once.
const STEPS: usize = 16;

//! Does the suite notice? Stores that are wrong in one way each, and the case that must catch it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::suite;
use crate::{
    assignment::Directory,
    handover::Handover,
    ids::{HandoverId, SiteId},
    policy::Sources,
    revision::Revision,
    site::Site,
    store::{
        At, AuditEvent, Change, Committed, Decide, Head, Loaded, Observer, Page, Saga, SagaState, SitesOf, Store,
        StoreError, Verdict, Wanted, sql::SqlStore, sqlite,
    },
    time::Timestamp,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The head stays at its first revision.
    ForgetsTheRevision,
    /// The observer hears a little later.
    AnswersBeforeObserving,
    /// The feed lacks one row of each page.
    DropsAChangeRow,
    /// Other policies are in force, and their files are those from before.
    KeepsTheFirstPolicies,
    /// The feed ends a page wherever the limit falls.
    SplitsARevision,
    /// Replies are not kept.
    ForgetsReplies,
    /// Every decision on a site sees what the first one saw.
    DecidesOnOldState,
    /// Only the first of several events is written.
    LosesAnEvent,
    /// An event is written otherwise than it was hashed.
    TampersWithAnEvent,
    /// The rest of a change is committed without its handovers.
    CommitsAPart,
    /// A caller who goes away takes the change along.
    StopsWithItsCaller,
    /// Every contributor gets the revision of the last change to the site.
    StampsEverybody,
    /// Time is what the change said, even in the past.
    LetsTimeGoBack,
    /// Deadlines are found only when they have passed.
    MissesTheDeadlineItself,
    /// A page of somebody's sites begins one too late.
    SkipsASite,
    /// The revision of a read is older than what was read.
    ReadsTwoSnapshots,
    /// Agency members are not loaded.
    LoadsNoMembers,
    /// A commit is written without the billing saga that it confirms.
    LosesASaga,
    /// The billing saga of a change is found due whatever is ahead of it.
    ForgetsTheOrderOfSagas,
}

struct Faulty {
    inner: SqlStore,
    fault: Fault,
    first_seen: Mutex<HashMap<Vec<SiteId>, Loaded>>,
    last_at: Mutex<Timestamp>,
    _folder: tempfile::TempDir,
}

impl Faulty {
    fn new(fault: Fault, observer: Observer) -> Self {
        let observer: Observer = if fault == Fault::AnswersBeforeObserving {
            Arc::new(move |committed: &Committed| {
                let (observer, committed) = (Arc::clone(&observer), committed.clone());
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(30));
                    observer(&committed);
                });
            })
        } else {
            observer
        };
        let folder = tempfile::tempdir().unwrap();
        let inner = sqlite::open(&folder.path().join(Path::new("mandate.db")), Some(observer)).unwrap();
        Self { inner, fault, first_seen: Mutex::default(), last_at: Mutex::default(), _folder: folder }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

/// Set when the caller's future is gone.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Store for Faulty {
    async fn head(&self) -> Result<Head, StoreError> {
        let mut head = self.inner.head().await?;
        if self.is(Fault::ForgetsTheRevision) {
            head.revision = head.revision.min(Revision(1));
        }
        if self.is(Fault::LetsTimeGoBack) && head.revision > Revision(0) {
            head.at = *self.last_at.lock();
        }
        Ok(head)
    }

    async fn site(&self, id: &SiteId) -> Result<At<Option<Site>>, StoreError> {
        let earlier = self.inner.head().await?.revision;
        if self.is(Fault::ReadsTwoSnapshots) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut found = self.inner.site(id).await?;
        if self.is(Fault::ReadsTwoSnapshots) {
            found.revision = earlier;
        }
        if let (true, Some(site)) = (self.is(Fault::StampsEverybody), &mut found.value) {
            let revision = site.revision;
            site.contributors.values_mut().for_each(|row| row.revision = revision);
        }
        Ok(found)
    }

    async fn directory(&self) -> Result<At<Directory>, StoreError> {
        let mut found = self.inner.directory().await?;
        if self.is(Fault::LoadsNoMembers) {
            let agencies: Vec<_> = found.value.agencies().cloned().collect();
            for mut agency in agencies {
                Arc::make_mut(&mut agency).members.clear();
                found.value.put_agency(agency);
            }
        }
        Ok(found)
    }

    async fn handover(&self, id: &HandoverId) -> Result<Option<Handover>, StoreError> {
        self.inner.handover(id).await
    }

    async fn handovers(
        &self,
        site: &SiteId,
        after: Option<&HandoverId>,
        limit: usize,
    ) -> Result<Page<Handover>, StoreError> {
        self.inner.handovers(site, after, limit).await
    }

    async fn audit(&self, site: Option<&SiteId>, after: u64, limit: usize) -> Result<Page<AuditEvent>, StoreError> {
        let mut page = self.inner.audit(site, after, limit).await?;
        if self.is(Fault::TampersWithAnEvent) {
            page.items.iter_mut().filter(|event| event.seq == 2).for_each(|event| event.kind = "Other".into());
        }
        Ok(page)
    }

    async fn policies(&self, sha256: &str) -> Result<Option<Sources>, StoreError> {
        if self.is(Fault::KeepsTheFirstPolicies) {
            let (sources, _) = super::cases::two_bundles();
            return Ok(Some(sources.sources));
        }
        self.inner.policies(sha256).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Page<Change>, StoreError> {
        let mut page = self.inner.changes(after, limit).await?;
        if self.is(Fault::DropsAChangeRow) {
            page.items.pop();
        }
        if self.is(Fault::SplitsARevision) && page.items.len() > limit.max(1) {
            page.items.truncate(limit.max(1));
            page.more = true;
        }
        Ok(page)
    }

    async fn sites(&self, after: Option<&SiteId>, limit: usize) -> Result<Page<SiteId>, StoreError> {
        self.inner.sites(after, limit).await
    }

    async fn sites_of(
        &self,
        of: &SitesOf,
        after: Option<&SiteId>,
        limit: usize,
    ) -> Result<At<Page<SiteId>>, StoreError> {
        let mut found = self.inner.sites_of(of, after, limit).await?;
        if self.is(Fault::SkipsASite) && after.is_some() && !found.value.items.is_empty() {
            found.value.items.remove(0);
        }
        Ok(found)
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<(Vec<SiteId>, Option<Timestamp>), StoreError> {
        let now =
            if self.is(Fault::MissesTheDeadlineItself) { Timestamp::from_micros(now.as_micros() - 1) } else { now };
        self.inner.due(now, limit).await
    }

    async fn sagas(
        &self,
        state: Option<SagaState>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Saga>, StoreError> {
        self.inner.sagas(state, after, limit).await
    }

    async fn sagas_due(&self, now: Timestamp, limit: usize) -> Result<(Vec<Saga>, Option<Timestamp>), StoreError> {
        let (mut due, next) = self.inner.sagas_due(now, limit).await?;
        if self.is(Fault::ForgetsTheOrderOfSagas) {
            due = self.inner.sagas(None, None, limit).await?.items;
            due.retain(|saga| saga.due_at.is_some_and(|at| at <= now));
        }
        Ok((due, next))
    }

    async fn change<R: Send + 'static>(&self, mut wanted: Wanted, decide: Decide<R>) -> Result<R, StoreError> {
        let fault = self.fault;
        if fault == Fault::ForgetsReplies {
            wanted.key = None;
        }
        let sites = wanted.sites.clone();
        let old = self
            .first_seen
            .lock()
            .get(&sites)
            .filter(|_| fault == Fault::DecidesOnOldState && !sites.is_empty())
            .cloned();
        let gone = Arc::new(AtomicBool::new(false));
        let (told_gone, (note, noted)) = (Arc::clone(&gone), std::sync::mpsc::channel());
        let _watch = Gone(gone);
        let wrapped: Decide<R> = Box::new(move |loaded| {
            let _ = note.send(loaded.clone());
            match decide(old.as_ref().unwrap_or(loaded)) {
                Verdict::Commit(_, answer)
                    if fault == Fault::StopsWithItsCaller && told_gone.load(Ordering::SeqCst) =>
                {
                    Verdict::Leave(answer)
                }
                Verdict::Commit(mut changes, answer) => {
                    if fault == Fault::LosesAnEvent {
                        changes.events.truncate(1);
                    }
                    if fault == Fault::CommitsAPart {
                        changes.handovers.clear();
                    }
                    if fault == Fault::LosesASaga {
                        changes.sagas.clear();
                    }
                    Verdict::Commit(changes, answer)
                }
                other @ (Verdict::Leave(_) | Verdict::Journal(..)) => other,
            }
        });
        let answer = self.inner.change(wanted, wrapped).await;
        if let Ok(loaded) = noted.try_recv() {
            self.first_seen.lock().entry(sites).or_insert(loaded);
        }
        if fault == Fault::LetsTimeGoBack {
            let last = self.inner.audit(None, 0, 1000).await?.items.len();
            *self.last_at.lock() = Timestamp::from_micros(i64::try_from(last).unwrap_or(0) % 2);
        }
        answer
    }
}

async fn caught_by(fault: Fault) -> Vec<&'static str> {
    suite(async |observer| Faulty::new(fault, observer)).await.into_iter().map(|failure| failure.case).collect()
}

macro_rules! negative_controls {
    ($($name:ident: $fault:ident is caught by $case:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let caught = caught_by(Fault::$fault).await;
            assert!(caught.contains(&$case), "{caught:?}");
            assert!(caught.len() < 20, "the fault is not one fault: {caught:?}");
        })+
    };
}

negative_controls! {
    a_forgotten_revision: ForgetsTheRevision is caught by "every_commit_is_the_next_revision";
    an_answer_before_observing: AnswersBeforeObserving is caught by "the_observer_is_told_before_the_caller";
    a_dropped_change_row: DropsAChangeRow is caught by "the_feed_names_every_key";
    a_split_revision: SplitsARevision is caught by "the_feed_never_splits_a_revision";
    a_forgotten_reply: ForgetsReplies is caught by "a_reply_is_found_under_its_key_only";
    a_decision_on_old_state: DecidesOnOldState is caught by "a_decision_sees_exactly_the_committed_state";
    a_lost_event: LosesAnEvent is caught by "audit_events_form_one_chain";
    a_tampered_event: TampersWithAnEvent is caught by "audit_events_form_one_chain";
    a_part_committed: CommitsAPart is caught by "a_refused_change_leaves_no_part_behind";
    a_change_that_stops_with_its_caller: StopsWithItsCaller is caught by "a_begun_change_outlives_its_caller";
    everybody_stamped: StampsEverybody is caught by "one_person_in_a_thousand_costs_one_row";
    two_snapshots: ReadsTwoSnapshots is caught by "a_read_is_one_snapshot";
    time_going_back: LetsTimeGoBack is caught by "time_never_goes_back";
    a_deadline_missed: MissesTheDeadlineItself is caught by "deadlines_come_due";
    a_site_skipped: SkipsASite is caught by "somebodys_sites_are_found_by_every_way";
    members_not_loaded: LoadsNoMembers is caught by "the_directory_is_everybody";
    old_policies: KeepsTheFirstPolicies is caught by "policies_stay_in_force_until_others_are";
    a_lost_saga: LosesASaga is caught by "a_saga_is_confirmed_by_its_commit";
    sagas_out_of_order: ForgetsTheOrderOfSagas is caught by "sagas_come_due_in_the_order_of_a_sites_commits";
}

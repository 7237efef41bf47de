//! How does a replica come by what it answers from: copies that others shared, the database, and a newer view.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Cluster, regressed};
use crate::{
    app::{Failure, meter::Source},
    cache::{Fill, View, shared::Lookup},
    clock::{BootClock as _, SystemBootClock},
    fault::{self, Mutant, Point},
    ids::SiteId,
    lease::{Boot, Epoch},
    revision::Revision,
    store::{At, Store as _, StoreError, postgres::Hint},
};

/// How long a check waits for a poll that would let it answer.
const REFRESH: Duration = Duration::from_millis(800);
/// For how long what is heard from the shared cache's channel is not listened to again, in milliseconds.
const HEARD_AGAIN: u64 = 20;

/// What is heard of new revisions from somebody who need not tell the truth: it can only make a poll come sooner, and
/// not often.
#[derive(Clone)]
pub(in crate::app) struct Heard {
    view: Arc<View>,
    pub(super) hint: Arc<Hint>,
    last: Arc<AtomicU64>,
}

impl Heard {
    pub fn new(view: Arc<View>) -> Self {
        Self { view, hint: Arc::default(), last: Arc::default() }
    }
    /// Somebody says that there is this revision.
    pub fn of(&self, revision: Revision) {
        let now = u64::try_from(SystemBootClock.boottime().since_start().as_millis()).unwrap_or(u64::MAX);
        let often = now.saturating_sub(self.last.load(Ordering::Acquire)) < HEARD_AGAIN;
        if !often && revision > self.view.head().0 {
            self.last.store(now, Ordering::Release);
            self.hint.of(revision);
        }
    }
}

/// What a history is called in the shared cache.
pub(in crate::app) fn name_of(epoch: &Epoch) -> String {
    format!("{}.{}", epoch.id, epoch.timeline)
}

impl Cluster {
    /// Brings a site into the view, under the lease that holds when it has been read, however long that took: from the copy that another replica shared, when it is as new as the view, or else from
    /// the database, once for all who ask at the same time. Answers whence it came, too.
    ///
    /// # Errors
    /// `503` when the database cannot be read.
    pub async fn fill(&self, view: &View, site: &SiteId) -> Result<(Fill, Source), Failure> {
        if let (Some(shared), Some(lease)) = (&self.shared, view.lease())
            && let Lookup::Hit(found) = shared.get(&name_of(lease.epoch()), site).await
        {
            let tag = if fault::mutant(Mutant::Untagged) { lease.revision() } else { found.tag };
            let read = At { revision: tag, epoch: lease.epoch().clone(), value: Some(*found.site) };
            match view.fill(site, &read, SystemBootClock.boottime()) {
                fill @ (Fill::Done | Fill::Ahead) => return Ok((fill, Source::Shared)),
                Fill::Again => shared.counts().stale.add(),
                Fill::BelowFloor => shared.counts().below_floor.add(),
            };
        }
        let (store, wanted) = (Arc::clone(&self.store), site.clone());
        let load = move || async move { store.site(&wanted).await.map(Arc::new).map_err(Failure::from) };
        let read = self.loads.join(site.clone(), load).await;
        fault::point(Point::SiteRead);
        let read = read.map_err(|lost| {
            tracing::error!(%lost, %site, "a site could not be read");
            Failure::from(StoreError::Unavailable(lost.to_string()))
        })??;
        if fault::mutant(Mutant::TagAtFill)
            && let Some(lease) = view.lease()
        {
            let read = At { revision: lease.revision(), epoch: lease.epoch().clone(), value: read.value.clone() };
            return Ok((view.fill(site, &read, SystemBootClock.boottime()), Source::Store));
        }
        let verdict = view.fill(site, &read, SystemBootClock.boottime());
        self.meter.read_from_store(read.value.is_some(), matches!(verdict, Fill::Done | Fill::Ahead));
        if let (Some(shared), Some(found)) = (&self.shared, &read.value) {
            shared.put(&name_of(&read.epoch), read.revision, Arc::new(found.clone()));
        }
        Ok((verdict, Source::Store))
    }

    /// Waits for a view whose lease was asked for after `since`.
    ///
    /// # Errors
    /// `503 stale_lease` when there is none in time.
    pub async fn refreshed(&self, view: &View, since: Boot) -> Result<(), Failure> {
        self.until(|| view.lease().is_some_and(|lease| lease.t0() >= since)).await
    }

    /// Asks the database where it stands, and waits until the view is as far: no clock has a part in it.
    ///
    /// # Errors
    /// `503` when the database does not answer, or this replica does not follow it.
    pub async fn verified(&self, view: &View) -> Result<(), Failure> {
        let there = self.store.position().await?;
        let behind = || match view.lease() {
            Some(lease) => *lease.epoch() != there.epoch || lease.revision() < there.revision,
            None => true,
        };
        self.until(|| !behind()).await
    }

    /// Waits until a poll has brought what is wanted.
    async fn until(&self, holds: impl Fn() -> bool) -> Result<(), Failure> {
        let mut moved = self.moved.clone();
        let quarantined = || self.quarantined.load(Ordering::Acquire);
        let fresh = async {
            // In quarantine no poll is believed any more.
            while !holds() && !quarantined() {
                self.wanted.store(true, Ordering::Release);
                self.hint.wake();
                if moved.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(REFRESH, fresh).await.map_err(|_| self.stale())?;
        if quarantined() { Err(regressed()) } else { Ok(()) }
    }
}

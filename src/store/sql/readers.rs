//! Reads beside the writer: a few connections, each read one snapshot.
//!
//! A read runs on a thread that may block, inside one transaction, so that all it sees is the state of one revision. It
//! neither waits for the writer nor holds it up. One shared connection lost: a page of the audit log would stand in the
//! way of every other read.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    db::{Connection, Db, Place, Row, params},
    fields::Fields,
};
use crate::{
    ids::SiteId,
    store::{Page, StoreError},
    time::Timestamp,
};

/// How many reads run at once; more wait.
const READERS: usize = 4;

/// Connections that only read, opened when first needed and kept.
pub(super) struct Readers {
    place: Arc<dyn Place>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Box<dyn Connection>>>>,
}

impl Readers {
    /// Opens the first connection, so that a database that cannot be read is found now.
    pub fn open(place: Arc<dyn Place>) -> Result<Self, StoreError> {
        let first = place.reader()?;
        let idle = Arc::new(Mutex::new(vec![first]));
        Ok(Self { place, permits: Arc::new(Semaphore::new(READERS)), idle })
    }

    /// Runs a read in one snapshot.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(move |idle, place| {
            let kept = idle.lock().pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => place.reader()?,
            };
            let (mut read, mut found) = (Some(read), None);
            // A connection whose read failed is not kept: it may be the reason.
            connection.read(&mut |db| {
                found = read.take().map(|read| read(db)).transpose()?;
                Ok(())
            })?;
            idle.lock().push(connection);
            found.ok_or_else(|| StoreError::Unavailable("the read was not run".into()))
        })
        .await
    }

    /// Runs a read of one statement, which takes no transaction: for what is asked again and again.
    pub async fn glance<T: Send + 'static>(
        &self,
        read: impl Fn(&dyn Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(move |idle, place| {
            let glance = |mut connection: Box<dyn Connection>| {
                let mut found = None;
                connection.glance(&mut |db| {
                    found = Some(read(db)?);
                    Ok(())
                })?;
                idle.lock().push(connection);
                found.ok_or_else(|| StoreError::Unavailable("the read was not run".into()))
            };
            // One that was lost since it was used last is found out now.
            let kept = idle.lock().pop();
            match kept.map(glance) {
                Some(Ok(found)) => Ok(found),
                Some(Err(_)) | None => glance(place.reader()?),
            }
        })
        .await
    }

    /// Runs something with connections on a thread that may block, when there is room for it.
    async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Mutex<Vec<Box<dyn Connection>>>, &dyn Place) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = |_| StoreError::Unavailable("the store is shutting down".into());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(stopped)?;
        let (idle, place) = (Arc::clone(&self.idle), Arc::clone(&self.place));
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            run(&idle, &*place)
        });
        task.await.map_err(|error| StoreError::Unavailable(format!("a read did not finish: {error}")))?
    }
}

/// The LIMIT that tells whether more follow after a page.
pub(super) fn one_more(limit: usize) -> i64 {
    i64::try_from(limit.max(1)).unwrap_or(i64::MAX - 1).saturating_add(1)
}

/// The page of what was read with [`one_more`].
pub(super) fn cut<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit.max(1);
    items.truncate(limit.max(1));
    Page { items, more }
}

fn site_of(row: &Row) -> Result<SiteId, StoreError> {
    Fields { table: "site", key: "its id", row }.parse("id")
}

/// Site ids in order, after one.
pub(super) fn site_ids(db: &dyn Db, after: Option<&SiteId>, limit: usize) -> Result<Page<SiteId>, StoreError> {
    let sql = "SELECT id FROM site WHERE id > ?1 ORDER BY id LIMIT ?2";
    // No identifier sorts before the empty text.
    Ok(cut(db.all(sql, params![after.map_or("", SiteId::as_str), one_more(limit)], site_of)?, limit))
}

/// Sites of agencies that may not go on, whose notice is over; and sites on their way back for an agency that was
/// let in again in time.
const OUT_OF_STEP: &str = "
    SELECT site.id AS id FROM agency JOIN site ON site.agency = agency.id
    WHERE agency.status <> 'active' AND agency.returns_at <= ?1 AND site.mode = 'partner_managed' AND site.return_reason IS NULL
        AND (site.frozen_until IS NULL OR site.frozen_until <= ?1)
    UNION ALL
    SELECT site.id AS id FROM site
    WHERE site.return_reason IN ('agency_suspended', 'agency_dissolved') AND EXISTS (SELECT 1 FROM agency
        WHERE agency.id = site.agency AND agency.status = 'active' AND agency.status_since < site.return_effective_at)
    LIMIT ?2";

/// Sites whose next deadline is not after `now`, most overdue first, and the earliest deadline after it.
pub(super) fn due(db: &dyn Db, now: Timestamp, limit: usize) -> Result<(Vec<SiteId>, Option<Timestamp>), StoreError> {
    let sql = "SELECT id FROM site WHERE next_deadline IS NOT NULL AND next_deadline <= ?1 ORDER BY next_deadline, id LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut sites = db.all(sql, params![now, limit], site_of)?;
    let left = limit.saturating_sub(i64::try_from(sites.len()).unwrap_or(i64::MAX));
    for site in db.all(OUT_OF_STEP, params![now, left], site_of)? {
        if !sites.contains(&site) {
            sites.push(site);
        }
    }
    let next = "SELECT min(next) FROM (
                 SELECT min(next_deadline) AS next FROM site WHERE next_deadline > ?1
                 UNION ALL SELECT min(returns_at) FROM agency WHERE status <> 'active' AND returns_at > ?1) AS both_kinds";
    Ok((sites, db.integer(next, params![now])?.map(Timestamp::from_micros)))
}

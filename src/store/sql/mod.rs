//! One system of record on two databases: what is written and read, in SQL that both of them understand.
//!
//! A change goes through `writer` (a thread with a queue) into `change` (one transaction); reads go through `readers` (a
//! few connections, one snapshot each). `sites`, `handovers`, `people`, `log`, `replies`, `sagas` and `deliveries` turn
//! values into rows and back. They know a database as a `Db`: statements with numbered parameters, rows with named
//! columns, three kinds of value. How a database is opened, locked, committed and told apart from a broken one is in
//! `store::sqlite` and `store::postgres`.
//!
//! Invariants: a change that was answered is durable; changes follow each other, so that commit order is revision order
//! without gaps; a read sees one revision whole; whoever goes away aborts nothing, because a transaction runs on a
//! thread, never inside a future that can be dropped. Two adapters with SQL of their own lost: the second would be
//! trusted for what only the first one was asked.

mod change;
pub(super) mod db;
mod deliveries;
mod fields;
mod handovers;
mod log;
mod people;
mod policies;
mod readers;
mod replicas;
mod replies;
mod sagas;
mod search;
mod sites;
mod writer;

pub(super) use self::log::head;

pub use replicas::Listed;

use std::sync::Arc;

use self::{
    db::{Connection, Db, Place},
    readers::Readers,
    writer::Writer,
};
use super::{
    At, AuditEvent, Change, Decide, Head, Observer, Page, Registry, Saga, SagaState, SitesOf, Store, StoreError, Wanted,
};
use crate::{
    assignment::Directory,
    handover::Handover,
    ids::{HandoverId, SiteId},
    lease::{Epoch, ReplicaId},
    policy::Sources,
    revision::Revision,
    site::Site,
    time::Timestamp,
};

/// A system of record in a SQL database.
///
/// Dropping it finishes the changes that are queued and closes every connection.
pub struct SqlStore {
    readers: Readers,
    /// None when the database was opened to be read only.
    writer: Option<Writer>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore").field("writable", &self.writer.is_some()).finish_non_exhaustive()
    }
}

impl SqlStore {
    /// A store that reads through connections of `place` and writes through `writer`, where there is one.
    ///
    /// The observer is told of every commit of this store, before the change is answered. It runs on the writing
    /// thread and must not wait for the store. Should it panic, the change's outcome is [`StoreError::Unknown`] and
    /// no further change is taken.
    pub(super) fn new(
        place: Arc<dyn Place>,
        writer: Option<Box<dyn Connection>>,
        observer: Option<Observer>,
    ) -> Result<Self, StoreError> {
        let readers = Readers::open(place)?;
        let writer = writer.map(|connection| Writer::start(connection, observer)).transpose()?;
        Ok(Self { readers, writer })
    }

    /// Who is registered as a replica, the longest lease that any of them may hold, and the chain at a revision.
    ///
    /// # Errors
    /// As every read of the store, and where the database has no registry, because one process alone uses it.
    pub async fn registry(&self, revision: Revision) -> Result<At<Registry>, StoreError> {
        self.readers.glance(move |db| replicas::read(db, revision)).await
    }

    /// Every registered replica, for people to look at.
    ///
    /// # Errors
    /// As [`SqlStore::registry`].
    pub async fn replicas(&self) -> Result<Vec<Listed>, StoreError> {
        self.readers.read(replicas::list).await
    }

    /// Deletes a replica's row, if it has not been renewed since it was read.
    ///
    /// # Errors
    /// As every write of the store.
    pub async fn forget(&self, replica: ReplicaId, renewed: Timestamp) -> Result<(), StoreError> {
        self.note(move |db| replicas::forget(db, &replica, renewed)).await
    }

    /// Whether a synchronous standby has everything up to a mark on its disk.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn is_replicated(&self, mark: String) -> Result<bool, StoreError> {
        self.readers.read(move |db| replicas::has(db, &mark)).await
    }

    /// Begins another history with what is stored now, under this id: a restored backup is not what was before it. Answers
    /// the head as it was, and the id.
    ///
    /// # Errors
    /// As every write of the store.
    pub async fn begin_history(&self, epoch: String) -> Result<(Head, String), StoreError> {
        self.note(move |db| {
            let before = log::head(db)?;
            log::begin_history(db, &epoch)?;
            Ok((before, epoch))
        })
        .await
    }

    /// 64 digits that every process on this database knows and nobody else: they authenticate where pages of a search go on.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn page_secret(&self) -> Result<String, StoreError> {
        self.readers.read(search::page_secret).await
    }

    /// Where the store stands.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn position(&self) -> Result<At<()>, StoreError> {
        self.readers.read(|db| at(db, ())).await
    }

    /// The hash over everything up to a revision, hexadecimal.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn chain_at(&self, revision: Revision) -> Result<At<String>, StoreError> {
        self.readers.read(move |db| at(db, log::chain_at(db, revision)?)).await
    }

    /// Runs something on the writing connection as the driver has it, for tests that break something.
    #[cfg(test)]
    pub(super) async fn with<C: 'static, T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut C) -> T + Send + 'static,
    ) -> T {
        self.writer.as_ref().unwrap().with(run).await
    }
}

/// What was read, with where this snapshot stands.
fn at<T>(db: &dyn Db, value: T) -> Result<At<T>, StoreError> {
    let head = log::head(db)?;
    let epoch = Epoch { id: head.epoch.into(), timeline: db.timeline()?.into() };
    Ok(At { revision: head.revision, epoch, value })
}

impl Store for SqlStore {
    async fn head(&self) -> Result<Head, StoreError> {
        self.readers.read(log::head).await
    }

    async fn site(&self, id: &SiteId) -> Result<At<Option<Site>>, StoreError> {
        let id = id.clone();
        self.readers.read(move |db| at(db, sites::load(db, &id)?)).await
    }

    async fn directory(&self) -> Result<At<Directory>, StoreError> {
        self.readers.read(|db| at(db, people::load_all(db)?)).await
    }

    async fn handover(&self, id: &HandoverId) -> Result<Option<Handover>, StoreError> {
        let id = id.clone();
        self.readers.read(move |db| handovers::load(db, &id)).await
    }

    async fn handovers(
        &self,
        site: &SiteId,
        after: Option<&HandoverId>,
        limit: usize,
    ) -> Result<Page<Handover>, StoreError> {
        let (site, after) = (site.clone(), after.cloned());
        self.readers.read(move |db| handovers::page(db, &site, after.as_ref(), limit)).await
    }

    async fn audit(&self, site: Option<&SiteId>, after: u64, limit: usize) -> Result<Page<AuditEvent>, StoreError> {
        let site = site.cloned();
        self.readers.read(move |db| log::audit_page(db, site.as_ref(), after, limit)).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Page<Change>, StoreError> {
        self.readers.read(move |db| log::change_page(db, after, limit)).await
    }

    async fn sites(&self, after: Option<&SiteId>, limit: usize) -> Result<Page<SiteId>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |db| readers::site_ids(db, after.as_ref(), limit)).await
    }

    async fn sites_of(
        &self,
        of: &SitesOf,
        after: Option<&SiteId>,
        limit: usize,
    ) -> Result<At<Page<SiteId>>, StoreError> {
        let (of, after) = (of.clone(), after.cloned());
        self.readers.read(move |db| at(db, search::sites_of(db, &of, after.as_ref(), limit)?)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<(Vec<SiteId>, Option<Timestamp>), StoreError> {
        self.readers.read(move |db| readers::due(db, now, limit)).await
    }

    async fn policies(&self, sha256: &str) -> Result<Option<Sources>, StoreError> {
        let sha256 = sha256.to_owned();
        self.readers.read(move |db| policies::load(db, &sha256)).await
    }

    async fn sagas(
        &self,
        state: Option<SagaState>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Saga>, StoreError> {
        let after = after.map(str::to_owned);
        self.readers.read(move |db| sagas::page(db, state, after.as_deref(), limit)).await
    }

    async fn sagas_due(&self, now: Timestamp, limit: usize) -> Result<(Vec<Saga>, Option<Timestamp>), StoreError> {
        self.readers.read(move |db| sagas::due(db, now, limit)).await
    }

    async fn change<R: Send + 'static>(&self, wanted: Wanted, decide: Decide<R>) -> Result<R, StoreError> {
        match &self.writer {
            Some(writer) => writer.change(wanted, decide).await,
            None => Err(StoreError::Unavailable("the database was opened to be read only".into())),
        }
    }
}

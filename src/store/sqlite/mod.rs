//! SQLite, the embedded system of record: one file, one process that writes, any number that read.
//!
//! A change goes through `writer` (a thread with a queue) into `change` (one transaction); reads go through `read` (a
//! few connections, one snapshot each). `sites`, `handovers`, `people`, `log`, `replies` and `deliveries` turn values
//! into rows and back, `file` and `schema` open the database. What must always hold is written down twice, in the types and as
//! CHECKs, indexes and triggers of `migrations/`.
//!
//! Invariants: a change that was answered survives a power cut (`synchronous=FULL`); one process writes, by a lock on
//! `<file>.lock`; commit order is revision order; a read sees one revision whole. An asynchronous driver lost: SQLite
//! blocks anyway, and a transaction that lives inside a future can be dropped halfway.

mod change;
mod deliveries;
mod error;
mod file;
mod handovers;
mod log;
mod mounts;
mod people;
mod read;
mod replies;
mod rows;
mod sagas;
mod schema;
mod sites;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;

use self::{file::Place, read::Readers, writer::Writer};
use super::{At, AuditEvent, Change, Decide, Head, Observer, Page, Saga, SagaState, Store, StoreError, Wanted};
use crate::{
    assignment::Directory,
    handover::Handover,
    ids::{HandoverId, SiteId},
    revision::Revision,
    site::Site,
    time::Timestamp,
};

/// A system of record in one SQLite file.
///
/// Dropping it finishes the changes that are queued, closes the file and lets go of its lock.
pub struct SqliteStore {
    readers: Readers,
    /// None when the file was opened to be read only.
    writer: Option<Writer>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("writable", &self.writer.is_some()).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database to read and write, and makes it when it is not there, its folder included. Blocks while
    /// migrations run.
    ///
    /// The observer is told of every commit of this store, before the change is answered. It runs on the writing
    /// thread and must not wait for the store. Should it panic, the change's outcome is [`StoreError::Unknown`] and
    /// no further change is taken.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when another process has the file open to write, or file or folder cannot be
    /// written; [`StoreError::Corrupt`] when it is not a database of this version or an older one.
    pub fn open(path: &Path, observer: Option<Observer>) -> Result<Self, StoreError> {
        let place = Place::to_write(path)?;
        let open = || {
            place.refuse_network()?;
            let lock = place.lock()?;
            let mut connection = place.connect()?;
            schema::admit(&connection)?;
            file::write_ahead(&connection)?;
            schema::migrate(&mut connection)?;
            log::head(&connection)?;
            let readers = Readers::open(place.clone())?;
            Ok(Self { readers, writer: Some(Writer::start(connection, lock, observer)?) })
        };
        open().map_err(|error| place.named(error))
    }

    /// Opens the database to read only: takes no lock and works beside a process that writes. Every change is refused.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is not there or cannot be read; [`StoreError::Corrupt`] when its schema is
    /// not exactly this version's.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let place = Place::to_read(path)?;
        let open = || {
            schema::check(&place.connect_read_only()?)?;
            Ok(Self { readers: Readers::open(place.clone())?, writer: None })
        };
        open().map_err(|error| place.named(error))
    }
}

impl Store for SqliteStore {
    async fn head(&self) -> Result<Head, StoreError> {
        self.readers.read(log::head).await
    }

    async fn site(&self, id: &SiteId) -> Result<At<Option<Site>>, StoreError> {
        let id = id.clone();
        self.readers.read(move |db| Ok(At { revision: log::head(db)?.revision, value: sites::load(db, &id)? })).await
    }

    async fn directory(&self) -> Result<At<Directory>, StoreError> {
        self.readers.read(|db| Ok(At { revision: log::head(db)?.revision, value: people::load_all(db)? })).await
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
        self.readers.read(move |db| read::site_ids(db, after.as_ref(), limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<(Vec<SiteId>, Option<Timestamp>), StoreError> {
        self.readers.read(move |db| read::due(db, now, limit)).await
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

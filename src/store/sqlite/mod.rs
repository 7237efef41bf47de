//! SQLite, the embedded system of record: one file, one process that writes, any number that read.
//!
//! What is written and read is `store::sql`'s; here is how the file is opened (`file`, `mounts`), brought up to date
//! (`schema`) and spoken to (`connection`). What must always hold is written down twice, in the types and as CHECKs,
//! indexes and triggers of `migrations/`.
//!
//! Invariants: a change that was answered survives a power cut (`synchronous=FULL`); one process writes, by a lock on
//! `<file>.lock`; commit order is revision order; a read sees one revision whole. An asynchronous driver lost: SQLite
//! blocks anyway, and a transaction that lives inside a future can be dropped halfway.

mod connection;
mod error;
mod file;
mod mounts;
mod schema;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use self::{
    connection::{SqliteConnection, Statements},
    file::Place,
};
use super::{
    Observer, StoreError,
    sql::{self, SqlStore, db},
};

impl db::Place for Place {
    fn reader(&self) -> Result<Box<dyn db::Connection>, StoreError> {
        Ok(Box::new(SqliteConnection::reading(self.connect_read_only()?)))
    }
}

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
pub fn open(path: &Path, observer: Option<Observer>) -> Result<SqlStore, StoreError> {
    let place = Place::to_write(path)?;
    let open = || {
        place.refuse_network()?;
        let lock = place.lock()?;
        let mut connection = place.connect()?;
        schema::admit(&connection)?;
        file::write_ahead(&connection)?;
        schema::migrate(&mut connection)?;
        sql::head(&Statements(&connection))?;
        let writer = Box::new(SqliteConnection::writing(connection, lock));
        SqlStore::new(Arc::new(place.clone()), Some(writer), observer)
    };
    open().map_err(|error| place.named(error))
}

/// Opens the database to read only: takes no lock and works beside a process that writes. Every change is refused.
///
/// # Errors
/// [`StoreError::Unavailable`] when it is not there or cannot be read; [`StoreError::Corrupt`] when its schema is
/// not exactly this version's.
pub fn open_read_only(path: &Path) -> Result<SqlStore, StoreError> {
    let place = Place::to_read(path)?;
    let open = || {
        schema::check(&place.connect_read_only()?)?;
        SqlStore::new(Arc::new(place.clone()), None, None)
    };
    open().map_err(|error| place.named(error))
}

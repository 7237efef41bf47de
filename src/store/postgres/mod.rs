//! PostgreSQL, the system of record when one machine is outgrown: one database, any number of replicas.
//!
//! What is written and read is `store::sql`'s; here is how the server is reached (`server`), what it must be (`schema`), how it
//! is spoken to (`connection`), how a replica follows it (`replica`) and hears of commits (`hint`), what a process that only
//! decides may do there (`grants`), and what its errors mean (`error`).
//!
//! Invariants: a change that was answered is as durable as the server's `synchronous_commit` makes it, and at least on its
//! own disk; every change takes the head's row first, so that changes of all replicas follow each other and commit order
//! is revision order; no statement waits longer than its deadline; a connection whose transaction did not end cleanly is
//! closed, never used again. A pool of connections inside futures lost: a caller who goes away would leave a transaction
//! open.

mod connection;
mod error;
pub mod grants;
mod hint;
mod replica;
mod schema;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::server::{Reached, Server};
pub use self::{
    hint::Hint,
    replica::{Polled, Replica},
};
use super::{
    Observer, StoreError,
    sql::{SqlStore, db::Place as _},
};

/// Opens the database to read and write, and makes its tables where there are none. Blocks: not for a thread that runs
/// futures.
///
/// The observer is told of every commit of this store, as in [`crate::store::sqlite::open`].
///
/// # Errors
/// [`StoreError::Unavailable`] when the server cannot be reached, is too old or a standby, or refuses the role;
/// [`StoreError::Corrupt`] when the database is not one of this version or an older one.
pub fn open(url: &str, observer: Option<Observer>) -> Result<SqlStore, StoreError> {
    let server = Arc::new(Server::named(url)?);
    let open = || {
        let mut session = server.connect()?;
        session.block_mut(schema::MIGRATING, async |client| schema::prepare(client).await)?;
        let reached = Reached(Arc::clone(&server));
        let writer = reached.writer(session);
        SqlStore::new(Arc::new(reached), Some(writer), observer)
    };
    open().map_err(|error| server.called(error))
}

/// Opens the database to read only, beside processes that write. Blocks, as [`open`]. Every change is refused.
///
/// # Errors
/// As [`open`], and [`StoreError::Corrupt`] when the schema is not exactly this version's.
pub fn open_read_only(url: &str) -> Result<SqlStore, StoreError> {
    let server = Arc::new(Server::named(url)?);
    let open = || {
        let session = server.connect()?;
        session.block(schema::MIGRATING, schema::check(session.client()))?;
        let reached = Reached(Arc::clone(&server));
        reached.reader()?;
        SqlStore::new(Arc::new(reached), None, None)
    };
    open().map_err(|error| server.called(error))
}

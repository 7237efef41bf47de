//! A connection to the file: statements, snapshots, and what a COMMIT that failed means.
//!
//! The writing connection holds the process's lock and closes before it lets go. A transaction that writes takes the
//! database's write lock with its first statement (BEGIN IMMEDIATE).

use std::sync::Arc;

use rusqlite::{
    Connection, ErrorCode, ToSql, TransactionBehavior,
    types::{ToSqlOutput, ValueRef},
};

use super::{error::may_have_reached_the_disk, file::Lock};
use crate::{
    revision::Revision,
    store::{
        StoreError,
        sql::{
            self,
            db::{self, Db, Ending, Fault, Param, Row, Value},
        },
    },
};

/// A connection to the file.
pub(super) struct SqliteConnection {
    /// Closed before the lock is let go.
    connection: Connection,
    _lock: Option<Lock>,
}

impl SqliteConnection {
    /// The connection that writes.
    pub const fn writing(connection: Connection, lock: Lock) -> Self {
        Self { connection, _lock: Some(lock) }
    }
    /// One that reads.
    pub const fn reading(connection: Connection) -> Self {
        Self { connection, _lock: None }
    }
}

impl db::Connection for SqliteConnection {
    fn read(&mut self, work: &mut dyn FnMut(&dyn Db) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let snapshot = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        work(&Statements(&snapshot))?;
        snapshot.finish()?;
        Ok(())
    }

    fn write(
        &mut self,
        _: &dyn Fn(&'static str) -> Vec<db::Asked<'static>>,
        work: &mut dyn FnMut(&dyn Db) -> Result<Ending, StoreError>,
    ) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            // An earlier rollback failed; without this every later change would.
            self.connection.execute_batch("ROLLBACK")?;
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let revision = match work(&Statements(&transaction))? {
            Ending::Leave => return Ok(()),
            // The head stays, so it cannot tell of a commit that failed: then nothing is promised.
            Ending::Notes => None,
            Ending::Change(revision) => Some(revision),
        };
        let outcome = transaction.commit();
        settle(&self.connection, outcome, revision)
    }

    #[cfg(test)]
    fn raw(&mut self) -> &mut dyn std::any::Any {
        &mut self.connection
    }
}

/// What came of COMMIT. When it failed, the head tells whether it took effect.
fn settle(
    connection: &Connection,
    outcome: rusqlite::Result<()>,
    revision: Option<Revision>,
) -> Result<(), StoreError> {
    let Err(error) = outcome else { return Ok(()) };
    if !connection.is_autocommit() {
        // Already tried when the transaction was dropped, and tried again by the next change.
        let _ = connection.execute_batch("ROLLBACK");
    }
    if may_have_reached_the_disk(&error) {
        return Err(StoreError::Unknown(format!("the disk did not confirm the commit: {error}")));
    }
    match sql::head(&Statements(connection)) {
        Ok(head) if revision.is_some_and(|revision| head.revision >= revision) => Ok(()),
        Ok(_) => Err(error.into()),
        Err(unread) => Err(StoreError::Unknown(format!("{error}; and afterwards {unread}"))),
    }
}

/// Statements on a connection.
pub(super) struct Statements<'c>(pub &'c Connection);

impl Db for Statements<'_> {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let mut statement = self.0.prepare_cached(sql)?;
        let columns: Arc<[Box<str>]> = statement.column_names().into_iter().map(Box::from).collect();
        let mut rows = statement.query(rusqlite::params_from_iter(params))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..columns.len()).map(|n| value_of(row.get_ref(n)?)).collect::<Result<_, Fault>>()?;
            found.push(Row::new(Arc::clone(&columns), values));
        }
        Ok(found)
    }
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault> {
        let written = self.0.prepare_cached(sql)?.execute(rusqlite::params_from_iter(params))?;
        Ok(u64::try_from(written).unwrap_or(u64::MAX))
    }
    fn insertion_order(&self) -> &'static str {
        "rowid"
    }
    fn timeline(&self) -> Result<String, StoreError> {
        Ok(String::new())
    }
}

fn value_of(value: ValueRef<'_>) -> Result<Value, Fault> {
    let bad = |what: &str| Fault::Store(StoreError::Corrupt(format!("a column holds {what}")));
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(value) => Ok(Value::Int(value)),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text.to_owned())),
            Err(_) => Err(bad("a text that is not UTF-8")),
        },
        ValueRef::Real(_) => Err(bad("a number that is not whole")),
        ValueRef::Blob(_) => Err(bad("bytes")),
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Refused(error.to_string()),
            _ => Self::Store(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn failed(code: i32) -> rusqlite::Result<()> {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn a_failed_commit_is_called_what_it_is() {
        let db = Connection::open_in_memory().unwrap();
        let next = Some(Revision(8));
        assert!(matches!(settle(&db, failed(ffi::SQLITE_FULL), next), Err(StoreError::Unknown(_))), "no head to read");
        let table = "CREATE TABLE head (epoch TEXT, revision INTEGER, chain TEXT, at INTEGER, policy TEXT);
                     INSERT INTO head VALUES ('e', 7, 'c', 0, NULL)";
        db.execute_batch(table).unwrap();
        assert!(settle(&db, Ok(()), next).is_ok());
        db.execute_batch("BEGIN").unwrap();
        assert!(matches!(settle(&db, failed(ffi::SQLITE_FULL), next), Err(StoreError::Unavailable(_))));
        assert!(db.is_autocommit(), "rolled back");
        assert!(matches!(settle(&db, failed(ffi::SQLITE_IOERR_WRITE), next), Err(StoreError::Unavailable(_))));
        assert!(matches!(settle(&db, failed(ffi::SQLITE_IOERR_FSYNC), next), Err(StoreError::Unknown(_))));
        assert!(settle(&db, failed(ffi::SQLITE_IOERR), Some(Revision(7))).is_ok(), "the head says it took effect");
        assert!(settle(&db, failed(ffi::SQLITE_IOERR), None).is_err(), "notes move no head");
    }
}

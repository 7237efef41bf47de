//! A connection to the server: statements with deadlines, snapshots, and what a COMMIT that failed means.
//!
//! A transaction takes the session out of its place and puts it back when it has ended cleanly; in every other case, a
//! panic included, the session is dropped and the next transaction makes a new one. The server rolls back what a lost
//! session left open.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio_postgres::{
    Column, Statement,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{
    error::{failed, fault as fault_of, rolled_back},
    replica,
    server::{Server, Session},
};
use crate::{
    fault::{self, Mutant, Point},
    store::{
        StoreError,
        sql::db::{Connection, Db, Ending, Fault, Param, Row, Value},
    },
};

/// How long one statement may take, COMMIT included, before its connection is given up.
const STATEMENT: Duration = Duration::from_secs(12);

/// How long COMMIT may take: past that nobody can say any more whether it took effect.
const COMMIT: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Snapshots.
    Reads,
    /// Changes.
    Writes,
}

/// A connection to the server, made again when it is lost.
pub(super) struct PostgresConnection {
    server: Arc<Server>,
    mode: Mode,
    kept: Option<Kept>,
}

/// A session between two transactions, with the statements that it knows.
struct Kept {
    session: Session,
    prepared: RefCell<HashMap<String, Statement>>,
}

impl PostgresConnection {
    pub fn new(server: Arc<Server>, session: Session, mode: Mode) -> Self {
        Self { server, mode, kept: Some(Kept { session, prepared: RefCell::default() }) }
    }

    /// Begins a transaction, on a new session where the old one is lost.
    fn begin(&mut self, sql: &str) -> Result<Kept, StoreError> {
        if let Some(kept) = self.kept.take()
            && !kept.session.client().is_closed()
            && self.run(&kept, sql).is_ok()
        {
            return Ok(kept);
        }
        // Nothing has been asked of the transaction yet: it is as good as new.
        let kept = Kept { session: self.server.connect()?, prepared: RefCell::default() };
        self.run(&kept, sql)?;
        Ok(kept)
    }

    fn run(&self, kept: &Kept, sql: &str) -> Result<(), StoreError> {
        let work = async { kept.session.client().batch_execute(sql).await.map_err(|error| failed(&error)) };
        self.server.block(STATEMENT, work)
    }

    /// COMMIT, and what came of it.
    fn commit(&self, kept: &Kept) -> Result<(), StoreError> {
        kept.session.warnings();
        fault::point(Point::BeforeCommit);
        let unknown = |why: String| Err(StoreError::Unknown(why));
        match self.server.within(COMMIT, kept.session.client().batch_execute("COMMIT"))? {
            // The one warning that a COMMIT gives: it is on this server's disk, but the wait for its standby was broken off.
            Some(Ok(())) => match kept.session.warnings().first() {
                None => Ok(()),
                Some(warning) => unknown(format!("the server warned while it committed: {warning}")),
            },
            Some(Err(error)) if rolled_back(&error) => Err(failed(&error)),
            Some(Err(error)) => unknown(format!("the connection was lost during the commit: {error}")),
            None => unknown(format!("the commit was not confirmed within {COMMIT:?}")),
        }
    }
}

impl Connection for PostgresConnection {
    fn read(&mut self, work: &mut dyn FnMut(&dyn Db) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let kept = self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        work(&Statements { server: &self.server, kept: &kept })?;
        self.run(&kept, "COMMIT")?;
        self.kept = Some(kept);
        Ok(())
    }

    fn write(&mut self, work: &mut dyn FnMut(&dyn Db) -> Result<Ending, StoreError>) -> Result<(), StoreError> {
        if self.mode == Mode::Reads {
            return Err(StoreError::Unavailable("the database was opened to be read only".into()));
        }
        // Whoever has the head's row is the only one that changes anything, here and in every other replica; what is read
        // from now on is what the one before has committed.
        let kept = self.begin("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT one FROM head FOR UPDATE")?;
        match work(&Statements { server: &self.server, kept: &kept }) {
            Ok(Ending::Notes) => self.commit(&kept)?,
            Ok(Ending::Change(_)) => {
                // Heard when the commit is done; a hint, without which replicas find it a poll later.
                self.run(&kept, "NOTIFY mandate")?;
                self.commit(&kept)?;
                fault::point(Point::AfterCommit);
            }
            Ok(Ending::Leave) => self.run(&kept, "ROLLBACK")?,
            Err(error) => {
                if self.run(&kept, "ROLLBACK").is_ok() {
                    self.kept = Some(kept);
                }
                return Err(error);
            }
        }
        self.kept = Some(kept);
        Ok(())
    }

    #[cfg(test)]
    fn raw(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

/// Statements inside a transaction.
struct Statements<'c> {
    server: &'c Server,
    kept: &'c Kept,
}

impl Statements<'_> {
    fn prepared(&self, sql: &str) -> Result<Statement, Fault> {
        if let Some(known) = self.kept.prepared.borrow().get(sql) {
            return Ok(known.clone());
        }
        let text = sql.replace('?', "$");
        let work = async { self.kept.session.client().prepare(&text).await };
        let statement = self.wait(work)?;
        self.kept.prepared.borrow_mut().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Fault> {
        match self.server.within(STATEMENT, work).map_err(Fault::Store)? {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(fault_of(&error)),
            None => Err(Fault::Store(StoreError::Unavailable(format!("it did not answer within {STATEMENT:?}")))),
        }
    }
}

impl Db for Statements<'_> {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let statement = self.prepared(sql)?;
        let columns: Arc<[Box<str>]> = statement.columns().iter().map(|column| column.name().into()).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let rows = self.wait(self.kept.session.client().query(&statement, &params))?;
        rows.iter().map(|row| Ok(Row::new(Arc::clone(&columns), values_of(row)?))).collect()
    }
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault> {
        let statement = self.prepared(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        self.wait(self.kept.session.client().execute(&statement, &params))
    }
    fn insertion_order(&self) -> &'static str {
        "n"
    }
    fn timeline(&self) -> Result<String, StoreError> {
        if fault::mutant(Mutant::StandbyPoll) {
            return Ok(replica::PLANTED_TIMELINE.to_owned());
        }
        // Refused by a standby: what it holds may be old.
        let sql = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
        match self.query(sql, &[])?.first().and_then(Row::first) {
            Some(Value::Text(timeline)) => Ok(timeline.clone()),
            Some(Value::Int(_) | Value::Null) | None => Err(StoreError::Corrupt("the server names no timeline".into())),
        }
    }
}

fn values_of(row: &tokio_postgres::Row) -> Result<Vec<Value>, Fault> {
    row.columns().iter().enumerate().map(|(n, column)| value_of(row, n, column).map_err(|e| fault_of(&e))).collect()
}

fn value_of(row: &tokio_postgres::Row, n: usize, column: &Column) -> Result<Value, tokio_postgres::Error> {
    let int = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
    Ok(match *column.type_() {
        Type::BOOL => int(row.try_get::<_, Option<bool>>(n)?.map(i64::from)),
        Type::INT4 => int(row.try_get::<_, Option<i32>>(n)?.map(i64::from)),
        Type::INT8 => int(row.try_get(n)?),
        _ => row.try_get::<_, Option<String>>(n)?.map_or(Value::Null, Value::Text),
    })
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) if *ty == Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
            Self::Int(value) if *ty == Type::INT8 => value.to_sql(ty, out),
            Self::Int(_) => Err(format!("a number where the statement takes `{ty}`").into()),
            Self::Text(text) => text.as_ref().to_sql(ty, out),
        }
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

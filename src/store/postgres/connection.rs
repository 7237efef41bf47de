//! A connection to the server: statements with deadlines, snapshots, and what a COMMIT that failed means.
//!
//! A transaction takes the session out of its place and puts it back when it has ended cleanly; in every other case, a
//! panic included, the session is dropped and the next transaction makes a new one. The server rolls back what a lost
//! session left open.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::future::{join, join_all, try_join_all};
use tokio_postgres::{
    Column, SimpleQueryMessage, Statement,
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

/// Begins a change, which is the only one from then on, and answers on which timeline the server is: as long as it is up, on
/// none other. A standby refuses.
const LOCK: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline FROM head FOR UPDATE";

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
    /// On which timeline the server was found when the present change began.
    timeline: RefCell<Option<String>>,
}

impl Kept {
    fn new(session: Session) -> Self {
        Self { session, prepared: RefCell::default(), timeline: RefCell::default() }
    }

    /// Begins a transaction.
    fn begin(&self, sql: &str) -> Result<(), StoreError> {
        let asked = async { self.session.client().simple_query(sql).await.map_err(|error| failed(&error)) };
        let answers = self.session.block(STATEMENT, asked)?;
        *self.timeline.borrow_mut() = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get("timeline").map(str::to_owned),
            _ => None,
        });
        Ok(())
    }
}

impl PostgresConnection {
    pub fn new(server: Arc<Server>, session: Session, mode: Mode) -> Self {
        Self { server, mode, kept: Some(Kept::new(session)) }
    }

    /// Begins a transaction, on a new session where the old one is lost.
    fn begin(&mut self, sql: &str) -> Result<Kept, StoreError> {
        if let Some(kept) = self.kept.take()
            && !kept.session.client().is_closed()
            && kept.begin(sql).is_ok()
        {
            return Ok(kept);
        }
        // Nothing has been asked of the transaction yet: it is as good as new.
        let kept = Kept::new(self.server.connect()?);
        kept.begin(sql)?;
        Ok(kept)
    }

    fn run(kept: &Kept, sql: &str) -> Result<(), StoreError> {
        let work = async { kept.session.client().batch_execute(sql).await.map_err(|error| failed(&error)) };
        kept.session.block(STATEMENT, work)
    }

    /// COMMIT, and what came of it.
    fn commit(kept: &Kept) -> Result<(), StoreError> {
        kept.session.warnings();
        fault::point(Point::BeforeCommit);
        let unknown = |why: String| Err(StoreError::Unknown(why));
        match kept.session.within(COMMIT, kept.session.client().batch_execute("COMMIT"))? {
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
        work(&Statements::on(&kept))?;
        Self::run(&kept, "COMMIT")?;
        self.kept = Some(kept);
        Ok(())
    }

    fn glance(&mut self, work: &mut dyn FnMut(&dyn Db) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let lost = || StoreError::Unavailable("the connection is lost".into());
        let kept = self.kept.take().filter(|kept| !kept.session.client().is_closed()).ok_or_else(lost)?;
        work(&Statements::on(&kept))?;
        self.kept = Some(kept);
        Ok(())
    }

    fn write(&mut self, work: &mut dyn FnMut(&dyn Db) -> Result<Ending, StoreError>) -> Result<(), StoreError> {
        if self.mode == Mode::Reads {
            return Err(StoreError::Unavailable("the database was opened to be read only".into()));
        }
        // Whoever has the head's row is the only one that changes anything, here and in every other replica; what is read
        // from now on is what the one before has committed.
        let kept = self.begin(LOCK)?;
        let statements = Statements::on(&kept);
        let ending = work(&statements).and_then(|ending| match ending {
            Ending::Leave => Ok(ending),
            Ending::Notes | Ending::Change(_) => statements.settle().map(|()| ending),
        });
        match ending {
            Ok(Ending::Notes) => Self::commit(&kept)?,
            Ok(Ending::Change(_)) => {
                // Heard when the commit is done; a hint, without which replicas find it a poll later.
                Self::run(&kept, "NOTIFY mandate")?;
                Self::commit(&kept)?;
                fault::point(Point::AfterCommit);
            }
            Ok(Ending::Leave) => Self::run(&kept, "ROLLBACK")?,
            Err(error) => {
                if Self::run(&kept, "ROLLBACK").is_ok() {
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
    kept: &'c Kept,
    /// What was put off: it is sent in front of whatever is asked next, without waiting for its answers in between.
    put_off: RefCell<Vec<PutOff>>,
}

/// A statement that can wait.
struct PutOff {
    statement: Statement,
    params: Vec<Param<'static>>,
    refused: String,
}

impl<'c> Statements<'c> {
    fn on(kept: &'c Kept) -> Self {
        Self { kept, put_off: RefCell::default() }
    }

    /// Runs what was put off.
    fn settle(&self) -> Result<(), StoreError> {
        if self.put_off.borrow().is_empty() {
            return Ok(());
        }
        Ok(self.ask(std::future::ready(Ok(())))?)
    }

    /// Sends what was put off, then what is asked now, and waits for the answers of all.
    fn ask<T>(&self, asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Fault> {
        let earlier = self.put_off.take();
        let client = self.kept.session.client();
        let run = async |one: &PutOff| {
            let params: Vec<&(dyn ToSql + Sync)> = one.params.iter().map(|param| param as _).collect();
            client.execute(&one.statement, &params).await
        };
        // Futures are polled in this order for the first time, and with that each one is sent.
        let all = async { Ok(join(join_all(earlier.iter().map(run)), asked).await) };
        let (ran, answer) = self.wait(all)?;
        for (one, ran) in earlier.iter().zip(ran) {
            // The first one that failed is the reason for all that follow.
            ran.map_err(|error| fault_of(&error).because(&one.refused))?;
        }
        answer.map_err(|error| fault_of(&error))
    }

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
        match self.kept.session.within(STATEMENT, work).map_err(Fault::Store)? {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(fault_of(&error)),
            None => Err(Fault::Store(StoreError::Unavailable(format!("it did not answer within {STATEMENT:?}")))),
        }
    }
}

impl Db for Statements<'_> {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let statement = self.prepared(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        rows_of(&statement, &self.ask(self.kept.session.client().query(&statement, &params))?)
    }
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault> {
        let statement = self.prepared(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        self.ask(self.kept.session.client().execute(&statement, &params))
    }
    fn query_all(&self, statements: &[&str], params: &[Param<'_>]) -> Result<Vec<Vec<Row>>, Fault> {
        let prepared = statements.iter().map(|sql| self.prepared(sql)).collect::<Result<Vec<_>, _>>()?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let client = self.kept.session.client();
        let answers = self.ask(try_join_all(prepared.iter().map(|statement| client.query(statement, &params))))?;
        let rows = |(statement, rows): (&Statement, &Vec<_>)| rows_of(statement, rows);
        prepared.iter().zip(&answers).map(rows).collect()
    }
    fn later(&self, sql: &str, params: &[Param<'_>], refused: &str) -> Result<(), Fault> {
        let statement = self.prepared(sql)?;
        let params = params.iter().cloned().map(Param::into_owned).collect();
        self.put_off.borrow_mut().push(PutOff { statement, params, refused: refused.to_owned() });
        Ok(())
    }
    fn insertion_order(&self) -> &'static str {
        "n"
    }
    fn timeline(&self) -> Result<String, StoreError> {
        if fault::mutant(Mutant::StandbyPoll) {
            return Ok(replica::PLANTED_TIMELINE.to_owned());
        }
        if let Some(known) = &*self.kept.timeline.borrow() {
            return Ok(known.clone());
        }
        // Refused by a standby: what it holds may be old.
        let sql = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
        match self.query(sql, &[])?.first().and_then(Row::first) {
            Some(Value::Text(timeline)) => Ok(timeline.clone()),
            Some(Value::Int(_) | Value::Null) | None => Err(StoreError::Corrupt("the server names no timeline".into())),
        }
    }
}

fn rows_of(statement: &Statement, rows: &[tokio_postgres::Row]) -> Result<Vec<Row>, Fault> {
    let columns: Arc<[Box<str>]> = statement.columns().iter().map(|column| column.name().into()).collect();
    rows.iter().map(|row| Ok(Row::new(Arc::clone(&columns), values_of(row)?))).collect()
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

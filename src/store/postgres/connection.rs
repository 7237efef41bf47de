//! A connection to the server: statements with deadlines, snapshots, and what a COMMIT that failed means.
//!
//! A transaction takes the session out of its place and puts it back when it has ended cleanly; in every other case, a
//! panic included, the session is dropped and the next transaction makes a new one. The server rolls back what a lost
//! session left open.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

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
    revision::Revision,
    store::{
        StoreError,
        sql::db::{Asked, Connection, Db, Ending, Fault, Param, Row, Value},
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

/// By which column a table without a key of its own has its rows in the order in which they were added.
const INSERTION_ORDER: &str = "n";

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

/// What was asked while a change began, with the answers, in order.
type InHand = VecDeque<(Asked<'static>, Vec<Row>)>;

impl Kept {
    fn new(session: Session) -> Self {
        Self { session, prepared: RefCell::default(), timeline: RefCell::default() }
    }

    /// Begins a transaction, and asks what is foreseen on the same way: every statement takes its own snapshot, when those before
    /// it are done, and so after the lock.
    fn begin(&self, sql: &str, foreseen: &[Asked<'static>]) -> Result<InHand, StoreError> {
        let prepared = Statements::on(self).prepared_all(foreseen.iter().map(|(sql, _)| &**sql))?;
        let client = self.session.client();
        let query = async |statement: &Statement, params: &[Param<'_>]| {
            let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
            client.query(statement, &params).await
        };
        let foreseen_now = prepared.iter().zip(foreseen).map(|(statement, (_, params))| query(statement, params));
        let asked = async { Ok(join(client.simple_query(sql), join_all(foreseen_now)).await) };
        let (begun, found) = self.session.block(STATEMENT, asked)?;
        let begun = begun.map_err(|error| failed(&error))?;
        *self.timeline.borrow_mut() = begun.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get("timeline").map(str::to_owned),
            _ => None,
        });
        let mut in_hand = InHand::new();
        for ((statement, asked), found) in prepared.iter().zip(foreseen).zip(found) {
            let found = found.map_err(|error| failed(&error))?;
            in_hand.push_back((asked.clone(), rows_of(statement, &found)?));
        }
        Ok(in_hand)
    }
}

impl PostgresConnection {
    pub fn new(server: Arc<Server>, session: Session, mode: Mode) -> Self {
        Self { server, mode, kept: Some(Kept::new(session)) }
    }

    /// Begins a transaction, on a new session where the old one is lost.
    fn begin(&mut self, sql: &str, foreseen: &[Asked<'static>]) -> Result<(Kept, InHand), StoreError> {
        if let Some(kept) = self.kept.take()
            && !kept.session.client().is_closed()
            && let Ok(in_hand) = kept.begin(sql, foreseen)
        {
            return Ok((kept, in_hand));
        }
        // Nothing has been written yet: another transaction is as good as this one.
        let kept = Kept::new(self.server.connect()?);
        let in_hand = kept.begin(sql, foreseen)?;
        Ok((kept, in_hand))
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
        let (kept, _) = self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &[])?;
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

    fn write(
        &mut self,
        foreseen: &dyn Fn(&'static str) -> Vec<Asked<'static>>,
        work: &mut dyn FnMut(&dyn Db) -> Result<Ending, StoreError>,
    ) -> Result<(), StoreError> {
        if self.mode == Mode::Reads {
            return Err(StoreError::Unavailable("the database was opened to be read only".into()));
        }
        // Whoever has the head's row is the only one that changes anything, here and in every other replica; what is read
        // from now on is what the one before has committed.
        let (kept, in_hand) = self.begin(LOCK, &foreseen(INSERTION_ORDER))?;
        let statements = Statements { in_hand: in_hand.into(), ..Statements::on(&kept) };
        let ending = work(&statements).and_then(|ending| match ending {
            Ending::Leave => Ok(ending),
            Ending::Notes | Ending::Change(_) => statements.settle().map(|()| ending),
        });
        match ending {
            Ok(Ending::Notes) => Self::commit(&kept)?,
            Ok(Ending::Change(_)) => {
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
    /// What is known already; nothing once something is written.
    in_hand: RefCell<InHand>,
}

/// A statement that can wait.
struct PutOff {
    statement: Statement,
    params: Vec<Param<'static>>,
    refused: String,
}

impl<'c> Statements<'c> {
    fn on(kept: &'c Kept) -> Self {
        Self { kept, put_off: RefCell::default(), in_hand: RefCell::default() }
    }

    /// The answer to what was foreseen, once.
    fn foreseen(&self, sql: &str, params: &[Param<'_>]) -> Option<Vec<Row>> {
        let mut in_hand = self.in_hand.borrow_mut();
        // They are asked for in their order, all but a few.
        let at = in_hand.iter().position(|((known, with), _)| known == sql && with == params)?;
        in_hand.remove(at).map(|(_, rows)| rows)
    }

    /// From now on what was read before is not what is there.
    fn writes(&self) {
        self.in_hand.borrow_mut().clear();
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
            // The first one that failed is the reason for all that follow. It is not what is asked now, and must not be taken
            // for its refusal.
            ran.map_err(|error| Fault::Store(fault_of(&error).because(&one.refused).into()))?;
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

    /// The same for several: those that are not known yet are prepared on one way.
    fn prepared_all<'s>(&self, all: impl Iterator<Item = &'s str> + Clone) -> Result<Vec<Statement>, Fault> {
        let new: BTreeSet<&str> = all.clone().filter(|sql| !self.kept.prepared.borrow().contains_key(*sql)).collect();
        let texts: Vec<String> = new.iter().map(|sql| sql.replace('?', "$")).collect();
        let statements = self.wait(try_join_all(texts.iter().map(|text| self.kept.session.client().prepare(text))))?;
        self.kept.prepared.borrow_mut().extend(new.into_iter().map(str::to_owned).zip(statements));
        all.map(|sql| self.prepared(sql)).collect()
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
        if let Some(rows) = self.foreseen(sql, params) {
            return Ok(rows);
        }
        let statement = self.prepared(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        rows_of(&statement, &self.ask(self.kept.session.client().query(&statement, &params))?)
    }
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault> {
        self.writes();
        let statement = self.prepared(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        self.ask(self.kept.session.client().execute(&statement, &params))
    }
    fn query_all(&self, statements: &[&str], params: &[Param<'_>]) -> Result<Vec<Vec<Row>>, Fault> {
        let foreseen: Option<_> = statements.iter().map(|sql| self.foreseen(sql, params)).collect();
        if let Some(answers) = foreseen {
            return Ok(answers);
        }
        let prepared = self.prepared_all(statements.iter().copied())?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let client = self.kept.session.client();
        let answers = self.ask(try_join_all(prepared.iter().map(|statement| client.query(statement, &params))))?;
        let rows = |(statement, rows): (&Statement, &Vec<_>)| rows_of(statement, rows);
        prepared.iter().zip(&answers).map(rows).collect()
    }
    fn later(&self, sql: &str, params: &[Param<'_>], refused: &str) -> Result<(), Fault> {
        self.writes();
        let statement = self.prepared(sql)?;
        let params = params.iter().cloned().map(Param::into_owned).collect();
        self.put_off.borrow_mut().push(PutOff { statement, params, refused: refused.to_owned() });
        Ok(())
    }
    fn announce(&self, revision: Revision) -> Result<(), StoreError> {
        // Heard when the commit is done; a hint, without which replicas find it a poll later.
        Ok(self.later("SELECT pg_notify('mandate', ?1)", &[revision.0.to_string().into()], "")?)
    }
    fn insertion_order(&self) -> &'static str {
        INSERTION_ORDER
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

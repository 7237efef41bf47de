//! What do two databases have in common? Statements with numbered parameters, rows with named columns, three kinds of
//! value, and a transaction that is whole or was not.
//!
//! A statement is written once, with parameters `?1`, `?2`, …, in SQL that both databases read alike; what only one of
//! them needs is asked of [`Db::insertion_order`]. Rows are handed over as values, not as cursors: pages are small, and a
//! cursor would tie every reader to one driver. A driver that speaks to any database lost: it hides what a failed COMMIT
//! means, which is the one thing that has to be known.

use std::{borrow::Cow, sync::Arc};

use super::fields::contradiction;
use crate::{revision::Revision, store::StoreError, time::Timestamp};

/// A statement's parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param<'a> {
    /// No value.
    Null,
    /// An integer, an instant or a flag.
    Int(i64),
    /// A text, an identifier or JSON.
    Text(Cow<'a, str>),
}

/// A statement with its parameters.
pub type Asked<'a> = (Cow<'a, str>, Vec<Param<'a>>);

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// An integer, an instant or a flag.
    Int(i64),
    /// A text, an identifier or JSON.
    Text(String),
}

/// A row: values by the names of their columns.
#[derive(Debug)]
pub struct Row {
    columns: Arc<[Box<str>]>,
    values: Vec<Value>,
}

impl Row {
    /// A row of these values, in the order of these columns.
    pub const fn new(columns: Arc<[Box<str>]>, values: Vec<Value>) -> Self {
        Self { columns, values }
    }
    /// The value of a column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.get(self.columns.iter().position(|name| **name == *column)?)
    }
    /// The value of the first column.
    pub fn first(&self) -> Option<&Value> {
        self.values.first()
    }
}

/// Why a statement failed.
#[derive(Debug)]
pub enum Fault {
    /// The tables refuse what it would write; the text is the database's.
    Refused(String),
    /// Anything else.
    Store(StoreError),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(what) => Self::Unavailable(format!("the change contradicts what must always hold ({what})")),
            Fault::Store(error) => error,
        }
    }
}

impl Fault {
    /// The fault, with what it means that the tables refused the row, where there is something to say.
    pub fn because(self, refused: &str) -> Self {
        match self {
            Self::Refused(why) if !refused.is_empty() => Self::Store(contradiction(format_args!("{refused}: {why}"))),
            fault => fault,
        }
    }
    /// The error, with a sentence about the row where the tables refused it.
    pub fn or_refused(self, what: impl FnOnce(&str) -> StoreError) -> StoreError {
        match self {
            Self::Refused(text) => what(&text),
            Self::Store(error) => error,
        }
    }
}

/// Statements inside one transaction.
pub trait Db {
    /// The rows that a statement answers, in its order.
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Fault>;
    /// Runs a statement that answers nothing; how many rows it wrote.
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault>;
    /// What several statements with the same parameters answer, each in its order. Where the first one finds nothing, nobody
    /// is asked the others, or what they answer is dropped. A database that is far away is asked all of them at once.
    fn query_all(&self, statements: &[&str], params: &[Param<'_>]) -> Result<Vec<Vec<Row>>, Fault> {
        let mut answers: Vec<Vec<Row>> = Vec::with_capacity(statements.len());
        for sql in statements {
            answers.push(self.query(sql, params)?);
            if answers.first().is_some_and(Vec::is_empty) {
                break;
            }
        }
        Ok(answers)
    }
    /// Runs a statement that answers nothing, now or before the next one that does, or at the end of the transaction. Where it
    /// fails all else fails, and nothing is committed; `refused` says what it means that the tables refuse it.
    fn later(&self, sql: &str, params: &[Param<'_>], refused: &str) -> Result<(), Fault> {
        self.execute(sql, params).map(drop).map_err(|fault| fault.because(refused))
    }
    /// Tells whoever follows the database of this revision, once the transaction is committed. Nobody follows a file.
    fn announce(&self, _revision: Revision) -> Result<(), StoreError> {
        Ok(())
    }
    /// The column by which a table without a key of its own has its rows in the order in which they were added.
    fn insertion_order(&self) -> &'static str;
    /// The server's timeline, which changes when a standby is promoted; a file has none.
    fn timeline(&self) -> Result<String, StoreError>;
}

impl dyn Db + '_ {
    /// The first row that a statement answers, as a value.
    pub fn one<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        take: impl FnOnce(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.query(sql, params)?.first().map(take).transpose()
    }
    /// All rows that a statement answers, as values.
    pub fn all<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        take: impl FnMut(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.query(sql, params)?.iter().map(take).collect()
    }
    /// Inserts a row, or changes the one that has its key; how many rows it wrote, which is none where
    /// there is one of which `only_where` does not hold.
    pub fn put(
        &self,
        table: &str,
        key: &[&str],
        row: Vec<(&str, Param<'_>)>,
        only_where: Option<&str>,
    ) -> Result<u64, Fault> {
        let (columns, params): (Vec<&str>, Vec<Param<'_>>) = row.into_iter().unzip();
        let mut sql = upsert(table, key, &columns);
        if let Some(condition) = only_where {
            sql.push_str(" WHERE ");
            sql.push_str(condition);
        }
        self.execute(&sql, &params)
    }
    /// The same, with no hurry ([`Db::later`]).
    pub fn put_later(
        &self,
        table: &str,
        key: &[&str],
        row: Vec<(&str, Param<'_>)>,
        refused: &str,
    ) -> Result<(), Fault> {
        let (columns, params): (Vec<&str>, Vec<Param<'_>>) = row.into_iter().unzip();
        self.later(&upsert(table, key, &columns), &params, refused)
    }
    /// The one integer that a statement answers; none where it is NULL or there is no row.
    pub fn integer(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<i64>, StoreError> {
        match self.query(sql, params)?.first().and_then(Row::first) {
            Some(Value::Int(value)) => Ok(Some(*value)),
            Some(Value::Null) | None => Ok(None),
            Some(Value::Text(_)) => Err(StoreError::Corrupt(format!("a text where a number is expected: {sql}"))),
        }
    }
}

/// How a transaction that writes ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was written: it is rolled back.
    Leave,
    /// What was written is committed; the head stays.
    Notes,
    /// What was written is committed, and the head is at this revision then.
    Change(Revision),
}

/// A connection to the database.
pub trait Connection: Send {
    /// Runs `work` once, in one snapshot that it cannot change.
    fn read(&mut self, work: &mut dyn FnMut(&dyn Db) -> Result<(), StoreError>) -> Result<(), StoreError>;
    /// Runs `work`, which asks one statement: that sees one snapshot by itself.
    fn glance(&mut self, work: &mut dyn FnMut(&dyn Db) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.read(work)
    }
    /// Runs `work` once, in one transaction that holds off every other change from its first statement on, and ends it
    /// as `work` says; an error or a panic of `work` rolls it back.
    ///
    /// `foreseen` names queries that `work` asks before it writes anything, as it asks them; it is given
    /// [`Db::insertion_order`]. A database that is far away is asked all of them on the way on which the transaction begins.
    fn write(
        &mut self,
        foreseen: &dyn Fn(&'static str) -> Vec<Asked<'static>>,
        work: &mut dyn FnMut(&dyn Db) -> Result<Ending, StoreError>,
    ) -> Result<(), StoreError>;
    /// The connection as what it is, for tests that break something.
    #[cfg(test)]
    fn raw(&mut self) -> &mut dyn std::any::Any;
}

/// Where connections that only read come from.
pub trait Place: Send + Sync + 'static {
    /// Opens one more.
    fn reader(&self) -> Result<Box<dyn Connection>, StoreError>;
}

impl Param<'_> {
    /// The same, for whoever keeps it.
    pub fn into_owned(self) -> Param<'static> {
        match self {
            Self::Null => Param::Null,
            Self::Int(value) => Param::Int(value),
            Self::Text(text) => Param::Text(text.into_owned().into()),
        }
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Param<'_> {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u16> for Param<'_> {
    fn from(value: u16) -> Self {
        Self::Int(value.into())
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<Timestamp> for Param<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Int(value.as_micros())
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value.into())
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Param<'_> {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The parameters of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::db::Param::from($value)),*] };
}
pub(in crate::store) use params;

/// The text of a statement that inserts a row, or changes the one that has its key. Names are quoted: `user` is a word of
/// the language in one of the databases.
fn upsert(table: &str, key: &[&str], columns: &[&str]) -> String {
    let list = |names: &[&str], each: fn(&str) -> String| names.iter().map(|name| each(name)).collect::<Vec<_>>();
    let quoted = |name: &str| format!("\"{name}\"");
    let places: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    let rest: Vec<&str> = columns.iter().filter(|name| !key.contains(name)).copied().collect();
    format!(
        "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        list(columns, quoted).join(", "),
        places.join(", "),
        list(key, quoted).join(", "),
        list(&rest, |name| format!("\"{name}\" = excluded.\"{name}\"")).join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_inserted_or_changed_but_for_its_key() {
        let sql = upsert("lane", &["sink", "site"], &["sink", "site", "seq"]);
        let wanted = r#"INSERT INTO lane ("sink", "site", "seq") VALUES (?1, ?2, ?3) ON CONFLICT ("sink", "site") DO UPDATE SET "seq" = excluded."seq""#;
        assert_eq!(sql, wanted);
    }

    #[test]
    fn a_column_is_found_by_its_name() {
        let row = Row::new(["id".into(), "at".into()].into(), vec![Value::Text("x".into()), Value::Int(7)]);
        assert_eq!(row.get("at"), Some(&Value::Int(7)));
        assert_eq!(row.get("nothing"), None);
        assert_eq!(row.first(), Some(&Value::Text("x".into())));
    }
}

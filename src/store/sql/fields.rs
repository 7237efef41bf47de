//! From a row to a value of the domain: parsed once here, so that nothing downstream checks again.
//!
//! Invariant: a row that this version cannot have written is [`StoreError::Corrupt`], naming table, key and column;
//! it never becomes a default. Deriving the mapping from the types lost: the table would follow every rename.

use std::{fmt::Display, str::FromStr};

use serde::{
    Serialize,
    de::{DeserializeOwned, IntoDeserializer, value::StrDeserializer},
};
use serde_json::Value as Json;

use super::db::{Row, Value};
use crate::{revision::Revision, store::StoreError, time::Timestamp};

/// A change whose parts do not fit together; it is refused as a whole.
pub(super) fn contradiction(what: impl Display) -> StoreError {
    StoreError::Unavailable(format!("the change contradicts itself: {what}"))
}

/// What is stored under a key of a table contradicts itself.
pub(super) fn corrupt(table: &str, key: &str, what: impl Display) -> StoreError {
    StoreError::Corrupt(format!("table `{table}`, key `{key}`: {what}"))
}

/// The columns of one row, by name.
pub(super) struct Fields<'r> {
    pub table: &'static str,
    pub key: &'r str,
    pub row: &'r Row,
}

impl<'r> Fields<'r> {
    /// A row whose key is one of its own columns; where it has none, the reading of that column says so.
    pub fn keyed(table: &'static str, column: &str, row: &'r Row) -> Self {
        let key = match row.get(column) {
            Some(Value::Text(key)) => key,
            Some(Value::Int(_) | Value::Null) | None => "",
        };
        Self { table, key, row }
    }

    /// An error about this row.
    pub fn bad(&self, what: impl Display) -> StoreError {
        corrupt(self.table, self.key, what)
    }

    fn bad_column(&self, column: &str, what: impl Display) -> StoreError {
        self.bad(format_args!("column `{column}`: {what}"))
    }

    fn value(&self, column: &str) -> Result<&'r Value, StoreError> {
        self.row.get(column).ok_or_else(|| self.bad_column(column, "is not in the table"))
    }

    pub fn maybe_text(&self, column: &str) -> Result<Option<&'r str>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            Value::Int(_) => Err(self.bad_column(column, "not a text")),
        }
    }

    pub fn text(&self, column: &str) -> Result<&'r str, StoreError> {
        self.maybe_text(column)?.ok_or_else(|| self.bad_column(column, "is missing"))
    }

    fn maybe_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(*value)),
            Value::Text(_) => Err(self.bad_column(column, "not an integer")),
        }
    }

    fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.maybe_int(column)?.ok_or_else(|| self.bad_column(column, "is missing"))
    }

    pub fn count(&self, column: &str) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?).map_err(|_| self.bad_column(column, "is negative"))
    }

    pub fn maybe_count(&self, column: &str) -> Result<Option<u64>, StoreError> {
        let count = |value| u64::try_from(value).map_err(|_| self.bad_column(column, "is negative"));
        self.maybe_int(column)?.map(count).transpose()
    }

    pub fn revision(&self, column: &str) -> Result<Revision, StoreError> {
        self.count(column).map(Revision)
    }

    pub fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.int(column).map(Timestamp::from_micros)
    }

    pub fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe_int(column)?.map(Timestamp::from_micros))
    }

    pub fn flag(&self, column: &str) -> Result<bool, StoreError> {
        match self.int(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad_column(column, "is neither 0 nor 1")),
        }
    }

    /// An identifier or a reference.
    pub fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|e| self.bad_column(column, e))
    }

    pub fn maybe_parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.maybe_text(column)?.map(|text| text.parse().map_err(|e| self.bad_column(column, e))).transpose()
    }

    /// A variant of an enumeration, by its name on the wire.
    pub fn name<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text: StrDeserializer<'_, serde::de::value::Error> = self.text(column)?.into_deserializer();
        T::deserialize(text).map_err(|e| self.bad_column(column, e))
    }

    pub fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(self.text(column)?).map_err(|e| self.bad_column(column, e))
    }

    pub fn maybe_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.maybe_text(column)?
            .map(|text| serde_json::from_str(text).map_err(|e| self.bad_column(column, e)))
            .transpose()
    }
}

/// The name on the wire of an enumeration's variant.
pub(super) fn wire(variant: impl Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(variant).map_err(contradiction)? {
        Json::String(name) => Ok(name),
        other => Err(contradiction(format_args!("`{other}` is not a name"))),
    }
}

/// An integer column's value for a revision or a position.
pub(super) fn int(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| contradiction(format_args!("{value} is too large to be stored")))
}

/// A JSON column's value.
pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(contradiction)
}

//! Is the schema the one this version knows? Migrations, forward only, each a file whose checksum is kept.
//!
//! They run under the writing process's lock, all of them in one transaction: a crash leaves the old schema or the new
//! one. A database from a newer version is refused, because what it means is not known here.

use refinery::{Migration, Runner};
use rusqlite::{Connection, OptionalExtension as _};

use crate::store::StoreError;

/// Every migration, in order: its name and text. A new one goes at the end; none is ever changed.
const MIGRATIONS: [(&str, &str); 6] = [
    ("V1__schema", include_str!("migrations/V1__schema.sql")),
    ("V2__whole_handover", include_str!("migrations/V2__whole_handover.sql")),
    ("V3__deliveries", include_str!("migrations/V3__deliveries.sql")),
    ("V4__billing", include_str!("migrations/V4__billing.sql")),
    ("V5__policies", include_str!("migrations/V5__policies.sql")),
    ("V6__search", include_str!("migrations/V6__search.sql")),
];

/// The schema that this version writes.
const VERSION: i64 = {
    let [.., (last, _)] = MIGRATIONS;
    number(last.as_bytes())
};

/// The number in `V12__what_it_does`.
const fn number(mut name: &[u8]) -> i64 {
    let mut number = 0;
    while let [_, rest @ ..] = name {
        match rest {
            [digit @ b'0'..=b'9', ..] => number = number * 10 + (*digit - b'0') as i64,
            _ => return number,
        }
        name = rest;
    }
    number
}

/// Whether this version may write the database: it is empty, or has this schema or an older one.
pub(super) fn admit(connection: &Connection) -> Result<(), StoreError> {
    match version(connection)? {
        None if is_empty(connection)? => Ok(()),
        None => Err(foreign()),
        Some(found) if found > VERSION => Err(newer(found)),
        Some(_) => Ok(()),
    }
}

/// Brings the schema of an admitted database up to date.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |error: refinery::Error| match std::error::Error::source(&error) {
        Some(cause) => StoreError::Unavailable(format!("the schema could not be set up: {error}: {cause}")),
        None => StoreError::Corrupt(format!("the schema is not that of this version: {error}")),
    };
    let migrations = MIGRATIONS
        .into_iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    Runner::new(&migrations).set_grouped(true).run(connection).map_err(failed)?;
    Ok(())
}

/// Whether a database that is only read has exactly this version's schema.
pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    match version(connection)? {
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => Err(newer(found)),
        Some(found) => Err(StoreError::Corrupt(format!(
            "it has the older schema {found}, this version reads {VERSION}; start `mandate serve` on it once"
        ))),
        None => Err(foreign()),
    }
}

fn newer(found: i64) -> StoreError {
    StoreError::Corrupt(format!(
        "it was written by a newer version of mandate (its schema is {found}, this version knows {VERSION}); start \
         that version, or restore a backup from before the upgrade"
    ))
}

fn foreign() -> StoreError {
    StoreError::Corrupt("it is a database, but not one of mandate's".into())
}

/// The schema's version, none when there is no history of migrations.
fn version(connection: &Connection) -> Result<Option<i64>, StoreError> {
    let known = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'refinery_schema_history'", [], |_| {
            Ok(())
        })
        .optional()?;
    match known {
        // A history without an entry is what a crash between its making and the first migration leaves.
        Some(()) => Ok(Some(connection.query_row(
            "SELECT coalesce(max(version), 0) FROM refinery_schema_history",
            [],
            |row| row.get(0),
        )?)),
        None => Ok(None),
    }
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_last_migration() {
        let numbers: Vec<i64> = MIGRATIONS
            .iter()
            .map(|(name, _)| name.split_once("__").unwrap().0.strip_prefix('V').unwrap().parse().unwrap())
            .collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&VERSION));
    }
}

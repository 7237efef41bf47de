//! Opening the system of record for a command that works on it directly.

use crate::{
    config::Database,
    store::{StoreError, postgres, sql::SqlStore, sqlite},
};

/// Opens it to read and write, without telling anybody of its commits.
pub(super) fn open(database: &Database) -> Result<SqlStore, StoreError> {
    match database {
        Database::Sqlite(path) => sqlite::open(path, None),
        Database::Postgres(url) => postgres::open(url.secret(), None),
    }
}

/// Opens it to read, beside whoever writes to it.
pub(super) fn open_read_only(database: &Database) -> Result<SqlStore, StoreError> {
    match database {
        Database::Sqlite(path) => sqlite::open_read_only(path),
        Database::Postgres(url) => postgres::open_read_only(url.secret()),
    }
}

//! What went wrong, in a sentence that says what to do. PostgreSQL's codes become the port's three kinds of fault.

use tokio_postgres::{Error, error::SqlState};
use tokio_rustls::rustls::Error as TlsError;

use crate::store::{StoreError, sql::db::Fault};

/// Anything a statement inside a transaction can fail with. The transaction is rolled back, so nothing was written.
pub(super) fn fault(error: &Error) -> Fault {
    match error.as_db_error() {
        // Class 23: a constraint, a key, or one of our triggers.
        Some(said) if said.code().code().starts_with("23") => Fault::Refused(said.message().to_owned()),
        _ => Fault::Store(failed(error)),
    }
}

/// The same, as the port's error.
pub(super) fn failed(error: &Error) -> StoreError {
    let Some(said) = error.as_db_error() else {
        return match std::error::Error::source(error) {
            _ if error.is_closed() => StoreError::Unavailable("the connection to it was closed".into()),
            Some(cause) => StoreError::Unavailable(format!("the connection to it failed: {cause}")),
            // Neither the server nor the connection: a column of another type than this version writes.
            None => StoreError::Corrupt(error.to_string()),
        };
    };
    let what = said.message();
    match *said.code() {
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::UNDEFINED_FUNCTION => {
            StoreError::Corrupt(format!("its schema is not that of this version ({what})"))
        }
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => StoreError::Corrupt(what.to_owned()),
        ref code => StoreError::Unavailable(match advice(code) {
            Some(advice) => format!("{advice} ({what})"),
            None => what.to_owned(),
        }),
    }
}

fn advice(code: &SqlState) -> Option<&'static str> {
    match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Some("it does not let this role in; check role and password in the database's URL")
        }
        SqlState::INVALID_CATALOG_NAME => {
            Some("there is no such database; make it with `createdb`, or correct the URL")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => Some(
            "this role may not do that; use the role that owns the tables, or, for a process that only decides, give this \
             one its rights with `mandate grants --to ROLE`",
        ),
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            Some("this server is a standby and takes no changes; name the primary in the database's URL")
        }
        SqlState::LOCK_NOT_AVAILABLE => Some("another replica's change is taking too long; try again"),
        SqlState::QUERY_CANCELED => Some("the statement took too long or was cancelled"),
        SqlState::DISK_FULL => Some("its disk is full; free some space and try again"),
        SqlState::TOO_MANY_CONNECTIONS => Some("it has no connection left; raise `max_connections` or stop a client"),
        SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
            Some("it is starting or stopping; try again")
        }
        _ => None,
    }
}

/// Why a connection could not be made.
pub(super) fn unreachable_server(error: &Error) -> StoreError {
    if error.as_db_error().is_some() {
        return failed(error);
    }
    let source = std::error::Error::source(error);
    let cause = source.map_or_else(|| error.to_string(), ToString::to_string);
    let tls = source.and_then(|source| source.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<TlsError>());
    let advice = match tls {
        Some(TlsError::InvalidCertificate(_)) => {
            "name the host as its certificate does and let `SSL_CERT_FILE` name the authority that signed it; or, where \
             nobody can listen in, add `?sslmode=disable` to the database's URL"
        }
        Some(_) | None => "check host and port, and that it runs",
    };
    StoreError::Unavailable(format!("it cannot be reached: {cause}; {advice}"))
}

/// Whether COMMIT that failed this way has certainly not taken effect: the server says that it rolled back.
pub(super) fn rolled_back(error: &Error) -> bool {
    error.as_db_error().is_some_and(|said| ["23", "40"].contains(&said.code().code().get(..2).unwrap_or_default()))
}

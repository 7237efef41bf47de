//! What went wrong, in a sentence that says what to do. SQLite's codes become the port's three kinds of fault.

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

/// Anything a statement can fail with. Whoever runs a transaction rolls it back, so nothing was written.
impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error.sqlite_error_code() {
            // Without a code it is not SQLite but the row: a column of another type or name than this version writes.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => Self::Corrupt(error.to_string()),
            Some(code) => Self::Unavailable(match advice(code) {
                Some(advice) => format!("{advice} ({error})"),
                None => error.to_string(),
            }),
        }
    }
}

const fn advice(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::DiskFull => Some("the disk is full; free some space and try again"),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some("another process holds the database's lock"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Some("the database file or its folder cannot be written"),
        ErrorCode::CannotOpen => {
            Some("the database file cannot be opened; check that it and its folder can be written")
        }
        ErrorCode::SystemIoFailure => Some("reading or writing the disk failed"),
        ErrorCode::OutOfMemory => Some("there is not enough memory"),
        ErrorCode::ConstraintViolation => Some("the change contradicts what must always hold"),
        _ => None,
    }
}

/// Whether a COMMIT that failed this way may nevertheless be found on the disk after a crash: everything had been
/// handed to the operating system, and only the confirmation that it is durable failed.
pub(super) fn may_have_reached_the_disk(error: &Error) -> bool {
    const { assert!(rusqlite::ffi::SQLITE_IOERR_FSYNC & 0xff == rusqlite::ffi::SQLITE_IOERR) };
    error.sqlite_error().is_some_and(|e| {
        matches!(e.extended_code, rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC)
    })
}

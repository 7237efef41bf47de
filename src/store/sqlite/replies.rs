//! Replies kept for idempotency keys: at least seven days, in the same transaction as what they tell about.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use super::{
    error::contradiction,
    rows::{Fields, int, json},
};
use crate::{
    revision::Revision,
    store::{IdempotencyKey, StoreError, StoredReply},
    time::Timestamp,
};

/// How long a reply is kept at least.
const KEEP: Duration = Duration::from_hours(7 * 24);

/// How many old replies one commit removes at most, so that no commit pays for all of them.
const PRUNE: i64 = 16;

/// The reply stored under a key.
pub(super) fn load(db: &Connection, key: &IdempotencyKey) -> Result<Option<StoredReply>, StoreError> {
    db.prepare_cached("SELECT * FROM transition WHERE caller = ?1 AND path = ?2 AND key = ?3")?
        .query_row([&key.caller, &key.path, &key.key], |row| {
            let f = Fields { table: "transition", key: &key.key, row };
            let reply = || {
                Ok(StoredReply {
                    fingerprint: f.text("fingerprint")?.to_owned(),
                    revision: f.revision("revision")?,
                    body: f.json("body")?,
                })
            };
            Ok(reply())
        })
        .optional()?
        .transpose()
}

/// Keeps a reply. A key that has one already is a contradiction: it was found before the change was decided.
pub(super) fn keep(
    db: &Connection,
    key: &IdempotencyKey,
    (fingerprint, body): &(String, Value),
    revision: Revision,
    at: Timestamp,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO transition (caller, path, key, fingerprint, revision, body, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![key.caller, key.path, key.key, fingerprint, int(revision.0)?, json(body)?, at.as_micros()])
    .map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => contradiction("the idempotency key already has a reply"),
        _ => error.into(),
    })?;
    Ok(())
}

/// Removes some replies that are older than they need to be.
pub(super) fn prune(db: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let keep = i64::try_from(KEEP.as_micros()).unwrap_or(i64::MAX);
    let before = now.as_micros().saturating_sub(keep);
    // Rows are written in the order of their times, so the first ones are the oldest: no index on time is kept up. And
    // most commits find nothing to remove; SQLite plans the removal anew for each value of its bounds.
    let oldest: Option<i64> = db
        .prepare_cached("SELECT at FROM transition ORDER BY rowid LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    if oldest.is_some_and(|at| at < before) {
        db.prepare_cached(
            "DELETE FROM transition
             WHERE rowid IN (SELECT rowid FROM transition ORDER BY rowid LIMIT ?2) AND at < ?1",
        )?
        .execute([before, PRUNE])?;
    }
    Ok(())
}

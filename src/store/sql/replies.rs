//! Replies kept for idempotency keys: at least seven days, in the same transaction as what they tell about.

use std::time::Duration;

use serde_json::Value;

use super::{
    db::{Db, params},
    fields::{Fields, int, json},
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
pub(super) fn load(db: &dyn Db, key: &IdempotencyKey) -> Result<Option<StoredReply>, StoreError> {
    let sql = "SELECT * FROM transition WHERE caller = ?1 AND path = ?2 AND key = ?3";
    db.one(sql, params![&key.caller, &key.path, &key.key], |row| {
        let f = Fields { table: "transition", key: &key.key, row };
        Ok(StoredReply {
            fingerprint: f.text("fingerprint")?.to_owned(),
            revision: f.revision("revision")?,
            body: f.json("body")?,
        })
    })
}

/// Keeps a reply. A key that has one already is a contradiction: it was found before the change was decided.
pub(super) fn keep(
    db: &dyn Db,
    key: &IdempotencyKey,
    (fingerprint, body): &(String, Value),
    revision: Revision,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO transition (caller, path, key, fingerprint, revision, body, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let row = params![&key.caller, &key.path, &key.key, fingerprint, int(revision.0)?, json(body)?, at];
    Ok(db.later(sql, row, "the idempotency key already has a reply")?)
}

/// Removes some replies that are older than they need to be.
pub(super) fn prune(db: &dyn Db, now: Timestamp) -> Result<(), StoreError> {
    let keep = i64::try_from(KEEP.as_micros()).unwrap_or(i64::MAX);
    let before = now.as_micros().saturating_sub(keep);
    // Rows are written in the order of their times, so the first ones are the oldest: no index on time is kept up. And
    // most commits find nothing to remove; SQLite plans the removal anew for each value of its bounds.
    let order = db.insertion_order();
    let oldest = db.integer(&format!("SELECT at FROM transition ORDER BY {order} LIMIT 1"), params![])?;
    if oldest.is_some_and(|at| at < before) {
        let sql = format!(
            "DELETE FROM transition
             WHERE {order} IN (SELECT {order} FROM transition ORDER BY {order} LIMIT ?2) AND at < ?1"
        );
        db.execute(&sql, params![before, PRUNE])?;
    }
    Ok(())
}

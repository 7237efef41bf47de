//! Replies kept for idempotency keys: at least seven days, in the same transaction as what they tell about.

use std::time::Duration;

use serde_json::Value;

use super::{
    db::{Asked, Db, params},
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
const UNDER: &str = "SELECT * FROM transition WHERE caller = ?1 AND path = ?2 AND key = ?3";

/// What [`load`] asks.
pub(super) fn load_asks(key: &IdempotencyKey) -> Asked<'static> {
    let key = [&key.caller, &key.path, &key.key].map(|part| part.clone().into());
    (UNDER.into(), key.into())
}

/// The reply stored under a key.
pub(super) fn load(db: &dyn Db, key: &IdempotencyKey) -> Result<Option<StoredReply>, StoreError> {
    db.one(UNDER, params![&key.caller, &key.path, &key.key], |row| {
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

/// Asks for the oldest reply's time. Rows are written in the order of their times, so the first one is the oldest: no index on
/// time is kept up.
pub(super) fn oldest_asks(order: &str) -> String {
    format!("SELECT at FROM transition ORDER BY {order} LIMIT 1")
}

/// The oldest reply's time, in microseconds; none where there are no replies.
pub(super) fn oldest(db: &dyn Db) -> Result<Option<i64>, StoreError> {
    db.integer(&oldest_asks(db.insertion_order()), params![])
}

/// Removes some replies that are older than they need to be, the oldest of which is given.
pub(super) fn prune(db: &dyn Db, oldest: Option<i64>, now: Timestamp) -> Result<(), StoreError> {
    let keep = i64::try_from(KEEP.as_micros()).unwrap_or(i64::MAX);
    let before = now.as_micros().saturating_sub(keep);
    let order = db.insertion_order();
    // Most commits find nothing to remove, and SQLite plans the removal anew for each value of its bounds.
    if oldest.is_some_and(|at| at < before) {
        let sql = format!(
            "DELETE FROM transition
             WHERE {order} IN (SELECT {order} FROM transition ORDER BY {order} LIMIT ?2) AND at < ?1"
        );
        db.execute(&sql, params![before, PRUNE])?;
    }
    Ok(())
}

//! Billing sagas as rows.

use super::{
    db::{Db, Param, Row, params},
    fields::{Fields, contradiction, int, json},
    readers::{cut, one_more},
};
use crate::{
    revision::Revision,
    store::{Page, Saga, SagaState, StoreError},
    time::Timestamp,
};

fn saga_of(row: &Row) -> Result<Saga, StoreError> {
    let f = Fields::keyed("billing_saga", "id", row);
    Ok(Saga {
        id: f.text("id")?.into(),
        attempt: f.count("attempt")?,
        site: f.parse("site")?,
        kind: f.text("kind")?.into(),
        payer: f.maybe_parse("payer")?,
        from: f.maybe_parse("payer_before")?,
        plan: f.json("plan")?,
        state: f.name("state")?,
        revision: f.maybe_time("revision")?.map(|_| f.revision("revision")).transpose()?,
        effective_at: f.maybe_time("effective_at")?,
        since: f.time("since")?,
        due_at: f.maybe_time("due_at")?,
        tries: f.count("tries")?,
        failure: f.maybe_text("failure")?.map(str::to_owned),
    })
}

/// One saga.
pub(super) fn load(db: &dyn Db, id: &str) -> Result<Option<Saga>, StoreError> {
    db.one("SELECT * FROM billing_saga WHERE id = ?1", params![id], saga_of)
}

/// Sagas in the order of their ids, after one, of one state or of all.
pub(super) fn page(
    db: &dyn Db,
    state: Option<SagaState>,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Saga>, StoreError> {
    let sql =
        "SELECT * FROM billing_saga WHERE id > ?1 AND (CAST(?2 AS TEXT) IS NULL OR state = ?2) ORDER BY id LIMIT ?3";
    let params = params![after.unwrap_or_default(), state.map(SagaState::wire_name), one_more(limit)];
    Ok(cut(db.all(sql, params, saga_of)?, limit))
}

/// Sagas to act on, most overdue first, and when the next one after `now` is. Of a site's commits only the oldest that
/// billing has not acknowledged.
pub(super) fn due(db: &dyn Db, now: Timestamp, limit: usize) -> Result<(Vec<Saga>, Option<Timestamp>), StoreError> {
    let sql = "SELECT * FROM billing_saga AS s WHERE due_at IS NOT NULL AND due_at <= ?1
             AND NOT (state = 'confirming' AND EXISTS (SELECT 1 FROM billing_saga AS o
                 WHERE o.site = s.site AND o.state = 'confirming' AND o.revision < s.revision))
         ORDER BY due_at, id LIMIT ?2";
    let items = db.all(sql, params![now, i64::try_from(limit).unwrap_or(i64::MAX)], saga_of)?;
    let next = db.integer("SELECT min(due_at) FROM billing_saga WHERE due_at > ?1", params![now])?;
    Ok((items, next.map(Timestamp::from_micros)))
}

/// Writes the sagas of a commit: those that it confirms carry its revision.
pub(super) fn commit(db: &dyn Db, sagas: &[Saga], revision: Revision) -> Result<(), StoreError> {
    for saga in sagas {
        if saga.revision.is_some_and(|named| named != revision) {
            return Err(contradiction(format_args!("billing saga `{}` names another commit", saga.id)));
        }
        save(db, saga)?;
    }
    Ok(())
}

/// Writes sagas beside any commit: none of them may claim one that is not stored.
pub(super) fn journal(db: &dyn Db, sagas: &[Saga]) -> Result<(), StoreError> {
    for saga in sagas {
        if saga.revision.is_some() && load(db, &saga.id)?.is_none_or(|stored| stored.revision != saga.revision) {
            return Err(contradiction(format_args!("billing saga `{}` is confirmed without a commit", saga.id)));
        }
        save(db, saga)?;
    }
    Ok(())
}

fn save(db: &dyn Db, saga: &Saga) -> Result<(), StoreError> {
    let row: Vec<(&str, Param<'_>)> = vec![
        ("id", saga.id.as_str().into()),
        ("site", saga.site.as_str().into()),
        ("attempt", int(saga.attempt)?.into()),
        ("kind", saga.kind.as_str().into()),
        ("payer", saga.payer.as_ref().map(ToString::to_string).into()),
        ("payer_before", saga.from.as_ref().map(ToString::to_string).into()),
        ("plan", json(&saga.plan)?.into()),
        ("state", saga.state.wire_name().into()),
        ("revision", saga.revision.map(|revision| int(revision.0)).transpose()?.into()),
        ("effective_at", saga.effective_at.into()),
        ("since", saga.since.into()),
        ("due_at", saga.due_at.into()),
        ("tries", int(saga.tries)?.into()),
        ("failure", saga.failure.as_ref().into()),
    ];
    db.put("billing_saga", &["id"], row, None).map_err(|fault| {
        fault.or_refused(|why| {
            contradiction(format_args!("billing saga `{}` in state {}: {why}", saga.id, saga.state.wire_name()))
        })
    })?;
    Ok(())
}

//! Billing sagas as rows.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{
    error::contradiction,
    read::{cut, one_more},
    rows::{Fields, int, json},
};
use crate::{
    revision::Revision,
    store::{Page, Saga, SagaState, StoreError},
    time::Timestamp,
};

fn saga_of(row: &Row<'_>) -> Result<Saga, StoreError> {
    let id: String = row.get("id")?;
    let f = Fields { table: "billing_saga", key: &id, row };
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
pub(super) fn load(db: &Connection, id: &str) -> Result<Option<Saga>, StoreError> {
    db.prepare_cached("SELECT * FROM billing_saga WHERE id = ?1")?
        .query_row([id], |row| Ok(saga_of(row)))
        .optional()?
        .transpose()
}

/// Sagas in the order of their ids, after one, of one state or of all.
pub(super) fn page(
    db: &Connection,
    state: Option<SagaState>,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Saga>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM billing_saga WHERE id > ?1 AND (?2 IS NULL OR state = ?2) ORDER BY id LIMIT ?3",
    )?;
    let state = state.map(SagaState::wire_name);
    let mut rows = statement.query(params![after.unwrap_or_default(), state, one_more(limit)])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(saga_of(row)?);
    }
    Ok(cut(items, limit))
}

/// Sagas to act on, most overdue first, and when the next one after `now` is. Of a site's commits only the oldest that
/// billing has not acknowledged.
pub(super) fn due(db: &Connection, now: Timestamp, limit: usize) -> Result<(Vec<Saga>, Option<Timestamp>), StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM billing_saga AS s WHERE due_at IS NOT NULL AND due_at <= ?1
             AND NOT (state = 'confirming' AND EXISTS (SELECT 1 FROM billing_saga AS o
                 WHERE o.site = s.site AND o.state = 'confirming' AND o.revision < s.revision))
         ORDER BY due_at, id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![now.as_micros(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(saga_of(row)?);
    }
    let next = db
        .prepare_cached("SELECT min(due_at) AS next FROM billing_saga WHERE due_at > ?1")?
        .query_row([now.as_micros()], |row| {
            Ok(Fields { table: "billing_saga", key: "the next one due", row }.maybe_time("next"))
        })??;
    Ok((items, next))
}

/// Writes the sagas of a commit: those that it confirms carry its revision.
pub(super) fn commit(db: &Connection, sagas: &[Saga], revision: Revision) -> Result<(), StoreError> {
    for saga in sagas {
        if saga.revision.is_some_and(|named| named != revision) {
            return Err(contradiction(format_args!("billing saga `{}` names another commit", saga.id)));
        }
        save(db, saga)?;
    }
    Ok(())
}

/// Writes sagas beside any commit: none of them may claim one that is not stored.
pub(super) fn journal(db: &Connection, sagas: &[Saga]) -> Result<(), StoreError> {
    for saga in sagas {
        if saga.revision.is_some() && load(db, &saga.id)?.is_none_or(|stored| stored.revision != saga.revision) {
            return Err(contradiction(format_args!("billing saga `{}` is confirmed without a commit", saga.id)));
        }
        save(db, saga)?;
    }
    Ok(())
}

fn save(db: &Connection, saga: &Saga) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO billing_saga (id, site, attempt, kind, payer, payer_before, plan, state, revision, effective_at,
             since, due_at, tries, failure)
         VALUES (:id, :site, :attempt, :kind, :payer, :payer_before, :plan, :state, :revision, :effective_at,
             :since, :due_at, :tries, :failure)
         ON CONFLICT (id) DO UPDATE SET site = excluded.site, attempt = excluded.attempt, kind = excluded.kind,
             payer = excluded.payer, payer_before = excluded.payer_before, plan = excluded.plan,
             state = excluded.state, revision = excluded.revision, effective_at = excluded.effective_at,
             since = excluded.since, due_at = excluded.due_at, tries = excluded.tries, failure = excluded.failure",
    )?
    .execute(named_params! {
        ":id": saga.id.as_str(),
        ":site": saga.site.as_str(),
        ":attempt": int(saga.attempt)?,
        ":kind": saga.kind.as_str(),
        ":payer": saga.payer.as_ref().map(ToString::to_string),
        ":payer_before": saga.from.as_ref().map(ToString::to_string),
        ":plan": json(&saga.plan)?,
        ":state": saga.state.wire_name(),
        ":revision": saga.revision.map(|revision| int(revision.0)).transpose()?,
        ":effective_at": saga.effective_at.map(Timestamp::as_micros),
        ":since": saga.since.as_micros(),
        ":due_at": saga.due_at.map(Timestamp::as_micros),
        ":tries": int(saga.tries)?,
        ":failure": saga.failure,
    })
    .map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            contradiction(format_args!("billing saga `{}` in state {}: {error}", saga.id, saga.state.wire_name()))
        }
        _ => error.into(),
    })?;
    Ok(())
}

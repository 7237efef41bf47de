//! What happened, in order: the head, the audit events with their hash chain, and the change feed.
//!
//! The feed has one row for each event and one for each key that changed without an event; what a row tells beyond
//! its key is read from the event itself, so that nothing is kept twice.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::{
    error::contradiction,
    read::one_more,
    rows::{Fields, corrupt, int},
};
use crate::{
    ids::SiteId,
    revision::Revision,
    store::{AuditEvent, Change, Head, NewEvent, Page, StoreError, audit::link},
    time::Timestamp,
};

/// The kind of a change that no event tells about.
const CHANGED: &str = "Changed";

/// The head.
pub(super) fn head(db: &Connection) -> Result<Head, StoreError> {
    db.prepare_cached("SELECT * FROM head")?.query_row([], |row| {
        let f = Fields { table: "head", key: "1", row };
        let head = || {
            Ok(Head {
                epoch: f.text("epoch")?.to_owned(),
                revision: f.revision("revision")?,
                chain: f.text("chain")?.to_owned(),
                at: f.time("at")?,
            })
        };
        Ok(head())
    })?
}

/// Moves the head on: the last statement before COMMIT.
pub(super) fn advance(db: &Connection, head: &Head) -> Result<(), StoreError> {
    let updated = db
        .prepare_cached("UPDATE head SET revision = ?1, chain = ?2, at = ?3 WHERE revision = ?1 - 1")?
        .execute(params![int(head.revision.0)?, head.chain, head.at.as_micros()])?;
    if updated == 1 { Ok(()) } else { Err(corrupt("head", "1", "the revision moved inside a transaction")) }
}

/// Writes the events behind the head's chain, which moves on to the last one's hash; returns each one's key and place.
pub(super) fn append(
    db: &Connection,
    head: &mut Head,
    events: Vec<NewEvent>,
    touched: &BTreeSet<String>,
) -> Result<Vec<(Option<String>, u64)>, StoreError> {
    let mut seq: u64 = db
        .prepare_cached("SELECT coalesce(max(seq), 0) AS seq FROM audit")?
        .query_row([], |row| Ok(Fields { table: "audit", key: "the last event", row }.count("seq")))??;
    let mut insert = db.prepare_cached(
        "INSERT INTO audit (seq, revision, at, site, kind, actor, via, data, hash, evidence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let mut placed = Vec::with_capacity(events.len());
    for new in events {
        seq = seq.saturating_add(1);
        let key = key_of(&new, touched);
        // The event is hashed as it will be read back.
        let canonical = |json| serde_json_canonicalizer::to_string(json).map_err(contradiction);
        let data = canonical(&new.data)?;
        let evidence = new.evidence.as_ref().map(canonical).transpose()?;
        let mut event = AuditEvent {
            seq,
            revision: head.revision,
            at: head.at,
            site: new.site,
            kind: new.kind,
            actor: new.actor,
            via: new.via,
            data: serde_json::from_str(&data).map_err(contradiction)?,
            evidence: evidence.as_deref().map(serde_json::from_str).transpose().map_err(contradiction)?,
            hash: String::new(),
        };
        event.hash = link(&head.chain, &event).map_err(contradiction)?;
        insert.execute(params![
            int(seq)?,
            int(event.revision.0)?,
            event.at.as_micros(),
            event.site.as_ref().map(SiteId::as_str),
            event.kind,
            event.actor.as_ref().map(ToString::to_string),
            event.via,
            data,
            event.hash,
            evidence,
        ])?;
        head.chain = event.hash;
        placed.push((key, seq));
    }
    Ok(placed)
}

/// Which key an event is about: its site, or the agency or member of staff it names, or the only one touched.
fn key_of(event: &NewEvent, touched: &BTreeSet<String>) -> Option<String> {
    if let Some(site) = &event.site {
        return Some(format!("site:{site}"));
    }
    let named = ["agency", "staff", "account"].into_iter().find_map(|kind| {
        let id = event.data.get(kind)?.as_str()?;
        touched.get(&format!("{kind}:{}", id.strip_prefix(kind).and_then(|id| id.strip_prefix(':')).unwrap_or(id)))
    });
    named.or_else(|| touched.iter().find(|key| !key.starts_with("site:"))).cloned()
}

/// Writes the change rows of one revision: the events' and those of keys without one.
pub(super) fn publish(
    db: &Connection,
    head: &Head,
    placed: Vec<(Option<String>, u64)>,
    touched: &BTreeSet<String>,
) -> Result<(), StoreError> {
    let revision = int(head.revision.0)?;
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut insert = db.prepare_cached("INSERT INTO change (revision, n, key, at, seq) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut n = 0_i64;
    for (key, seq) in placed {
        if let Some(key) = key {
            insert.execute(params![revision, n, key, head.at.as_micros(), int(seq)?])?;
            told.insert(key);
            n += 1;
        }
    }
    for key in touched.difference(&told) {
        insert.execute(params![revision, n, key, head.at.as_micros(), None::<i64>])?;
        n += 1;
    }
    Ok(())
}

/// Audit events in order, of one site or of all, after a position.
pub(super) fn audit_page(
    db: &Connection,
    site: Option<&SiteId>,
    after: u64,
    limit: usize,
) -> Result<Page<AuditEvent>, StoreError> {
    let sql = match site {
        Some(_) => "SELECT * FROM audit WHERE seq > ?2 AND site = ?1 ORDER BY seq LIMIT ?3",
        None => "SELECT * FROM audit WHERE seq > ?2 AND ?1 IS NULL ORDER BY seq LIMIT ?3",
    };
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![site.map(SiteId::as_str), after, one_more(limit)])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        // The row that only says whether more follow is the next page's to read.
        if items.len() == limit.max(1) {
            return Ok(Page { items, more: true });
        }
        items.push(event_of(row)?);
    }
    Ok(Page { items, more: false })
}

/// An event from its row.
pub(super) fn event_of(row: &Row<'_>) -> Result<AuditEvent, StoreError> {
    let key = row.get::<_, i64>("seq")?.to_string();
    let f = Fields { table: "audit", key: &key, row };
    Ok(AuditEvent {
        seq: f.count("seq")?,
        revision: f.revision("revision")?,
        at: f.time("at")?,
        site: f.maybe_parse("site")?,
        kind: f.text("kind")?.to_owned(),
        actor: f.maybe_parse("actor")?,
        via: f.maybe_text("via")?.map(str::to_owned),
        data: f.json("data")?,
        evidence: f.maybe_json("evidence")?,
        hash: f.text("hash")?.to_owned(),
    })
}

const CHANGES: &str = "SELECT change.revision, change.key, change.at, audit.seq, audit.kind, audit.data
     FROM change LEFT JOIN audit ON audit.seq = change.seq";

/// Changes of whole revisions after one: at most `limit`, unless the first revision alone has more.
pub(super) fn change_page(db: &Connection, after: Revision, limit: usize) -> Result<Page<Change>, StoreError> {
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let mut items = changes(
        db,
        &format!("{CHANGES} WHERE change.revision > ?1 ORDER BY change.revision, change.n LIMIT ?2"),
        params![after, one_more(limit)],
    )?;
    if items.len() <= limit.max(1) {
        return Ok(Page { items, more: false });
    }
    let Some(split) = items.last().map(|change| change.revision) else { return Ok(Page { items, more: false }) };
    items.retain(|change| change.revision < split);
    if !items.is_empty() {
        return Ok(Page { items, more: true });
    }
    let whole = int(split.0)?;
    let items = changes(db, &format!("{CHANGES} WHERE change.revision = ?1 ORDER BY change.n"), params![whole])?;
    let more = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM change WHERE revision > ?1)")?
        .query_row([whole], |row| row.get(0))?;
    Ok(Page { items, more })
}

fn changes(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Change>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(change_of(row)?);
    }
    Ok(items)
}

fn change_of(row: &Row<'_>) -> Result<Change, StoreError> {
    let name = row.get::<_, i64>("revision")?.to_string();
    let f = Fields { table: "change", key: &name, row };
    let key = f.text("key")?;
    let site = key.strip_prefix("site:").map(str::parse).transpose().map_err(|e| f.bad(e))?;
    Ok(Change {
        revision: f.revision("revision")?,
        at: f.time("at")?,
        site,
        key: key.to_owned(),
        kind: f.maybe_text("kind")?.unwrap_or(CHANGED).to_owned(),
        data: f.maybe_json("data")?.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
    })
}

/// The instant of an event, for those that follow: never before the last commit's.
pub(super) fn not_before(head: &Head, at: Timestamp) -> Timestamp {
    at.max(head.at)
}

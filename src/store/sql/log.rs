//! What happened, in order: the head, the audit events with their hash chain, and the change feed.
//!
//! The feed has one row for each event and one for each key that changed without an event; what a row tells beyond
//! its key is read from the event itself, so that nothing is kept twice.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    db::{Db, Param, Row, params},
    fields::{Fields, contradiction, corrupt, int},
    readers::one_more,
};
use crate::{
    ids::SiteId,
    revision::Revision,
    store::{AuditEvent, Change, GENESIS, Head, NewEvent, Page, StoreError, audit::link},
    time::Timestamp,
};

/// The kind of a change that no event tells about.
const CHANGED: &str = "Changed";

/// The head's row.
pub(super) const HEAD: &str = "SELECT * FROM head";
/// The last event's place; none is 0.
pub(super) const LAST: &str = "SELECT coalesce(max(seq), 0) AS seq FROM audit";

/// The head.
pub(in crate::store) fn head(db: &dyn Db) -> Result<Head, StoreError> {
    let head = db.one(HEAD, params![], |row| {
        let f = Fields { table: "head", key: "1", row };
        Ok(Head {
            epoch: f.text("epoch")?.to_owned(),
            revision: f.revision("revision")?,
            chain: f.text("chain")?.to_owned(),
            at: f.time("at")?,
            policy: f.maybe_text("policy")?.map(str::to_owned),
        })
    })?;
    head.ok_or_else(|| corrupt("head", "1", "there is no such row"))
}

/// Moves the head on: the last statement before COMMIT.
pub(super) fn advance(db: &dyn Db, head: &Head) -> Result<(), StoreError> {
    let sql = "UPDATE head SET revision = ?1, chain = ?2, at = ?3, policy = ?4 WHERE revision = ?1 - 1";
    let updated = db.execute(sql, params![int(head.revision.0)?, &head.chain, head.at, head.policy.as_ref()])?;
    if updated == 1 { Ok(()) } else { Err(corrupt("head", "1", "the revision moved inside a transaction")) }
}

/// Gives the history another id.
pub(super) fn begin_history(db: &dyn Db, epoch: &str) -> Result<(), StoreError> {
    db.execute("UPDATE head SET epoch = ?1", params![epoch])?;
    Ok(())
}

/// The last event's place.
pub(super) fn last(db: &dyn Db) -> Result<u64, StoreError> {
    let last = db.one(LAST, params![], |row| Fields { table: "audit", key: "the last event", row }.count("seq"))?;
    Ok(last.unwrap_or_default())
}

/// Writes the events behind the last one, whose place is `seq` and whose hash is the head's chain, which moves on; returns
/// each one's key and place.
pub(super) fn append(
    db: &dyn Db,
    mut seq: u64,
    head: &mut Head,
    events: Vec<NewEvent>,
    touched: &BTreeSet<String>,
) -> Result<Vec<(Option<String>, u64)>, StoreError> {
    let insert = "INSERT INTO audit (seq, revision, at, site, kind, actor, via, data, hash, evidence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
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
        let row = params![
            int(seq)?,
            int(event.revision.0)?,
            event.at,
            event.site.as_ref().map(SiteId::as_str),
            &event.kind,
            event.actor.as_ref().map(ToString::to_string),
            event.via.as_ref(),
            &data,
            &event.hash,
            evidence.as_ref(),
        ];
        db.later(insert, row, "")?;
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
    db: &dyn Db,
    head: &Head,
    placed: Vec<(Option<String>, u64)>,
    touched: &BTreeSet<String>,
) -> Result<(), StoreError> {
    let revision = int(head.revision.0)?;
    let mut told: BTreeSet<String> = BTreeSet::new();
    let insert = "INSERT INTO change (revision, n, key, at, seq) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut n = 0_i64;
    for (key, seq) in placed {
        if let Some(key) = key {
            db.later(insert, params![revision, n, &key, head.at, int(seq)?], "")?;
            told.insert(key);
            n += 1;
        }
    }
    for key in touched.difference(&told) {
        db.later(insert, params![revision, n, key, head.at, None::<i64>], "")?;
        n += 1;
    }
    Ok(())
}

/// The chain at a revision: the hash of the last event up to there, and before the first one what a chain begins with.
pub(super) fn chain_at(db: &dyn Db, revision: Revision) -> Result<String, StoreError> {
    let sql = "SELECT hash FROM audit WHERE revision <= ?1 ORDER BY revision DESC, seq DESC LIMIT 1";
    let found = db.one(sql, params![int(revision.0)?], |row| {
        Ok(Fields { table: "audit", key: "the last event", row }.text("hash")?.to_owned())
    })?;
    Ok(found.unwrap_or_else(|| GENESIS.to_owned()))
}

/// Audit events in order, of one site or of all, after a position.
pub(super) fn audit_page(
    db: &dyn Db,
    site: Option<&SiteId>,
    after: u64,
    limit: usize,
) -> Result<Page<AuditEvent>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = if let Some(site) = site {
        let sql = "SELECT * FROM audit WHERE seq > ?2 AND site = ?1 ORDER BY seq LIMIT ?3";
        db.query(sql, params![site.as_str(), after, one_more(limit)])?
    } else {
        db.query("SELECT * FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2", params![after, one_more(limit)])?
    };
    let most = limit.max(1);
    // The row that only says whether more follow is the next page's to understand.
    let items = rows.iter().take(most).map(event_of).collect::<Result<_, _>>()?;
    Ok(Page { items, more: rows.len() > most })
}

/// An event from its row.
pub(super) fn event_of(row: &Row) -> Result<AuditEvent, StoreError> {
    let key = Fields { table: "audit", key: "", row }.count("seq")?.to_string();
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
pub(super) fn change_page(db: &dyn Db, after: Revision, limit: usize) -> Result<Page<Change>, StoreError> {
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
    let more = db.integer("SELECT EXISTS (SELECT 1 FROM change WHERE revision > ?1)", params![whole])?;
    Ok(Page { items, more: more == Some(1) })
}

fn changes(db: &dyn Db, sql: &str, params: &[Param<'_>]) -> Result<Vec<Change>, StoreError> {
    db.all(sql, params, change_of)
}

fn change_of(row: &Row) -> Result<Change, StoreError> {
    let name = Fields { table: "change", key: "", row }.count("revision")?.to_string();
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

//! Handovers as rows: open ones, which are read with their site, and ended ones, which are kept.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, named_params, params};

use super::{
    error::contradiction,
    rows::{Fields, int, json},
};
use crate::{
    handover::Handover,
    ids::{Account, AgencyId, HandoverId, SiteId, UserId},
    store::{Page, StoreError, Traffic},
    time::Timestamp,
};

fn handover_of(row: &Row<'_>) -> Result<Handover, StoreError> {
    let id: String = row.get("id")?;
    let f = Fields { table: "handover", key: &id, row };
    Ok(Handover {
        id: f.parse("id")?,
        site: f.parse("site")?,
        kind: f.name("kind")?,
        initiator: f.parse("initiator")?,
        initiated_by: f.parse("initiated_by")?,
        to: f.parse("recipient")?,
        status: f.name("status")?,
        consents_needed: f.json("consents_needed")?,
        consents_given: f.json("consents_given")?,
        offered_at: f.time("offered_at")?,
        expires_at: f.time("expires_at")?,
        ended_at: f.maybe_time("ended_at")?,
        revision_at_offer: f.revision("revision_at_offer")?,
        preview_digest: f.text("preview_digest")?.into(),
        requested_by: f.maybe_parse("requested_by")?,
        reminders: f.json("reminders")?,
        terms: f.maybe_json("terms")?,
    })
}

fn one(db: &Connection, sql: &str, params: impl Params) -> Result<Option<Handover>, StoreError> {
    db.prepare_cached(sql)?.query_row(params, |row| Ok(handover_of(row))).optional()?.transpose()
}

/// One handover, open or ended.
pub(super) fn load(db: &Connection, id: &HandoverId) -> Result<Option<Handover>, StoreError> {
    one(db, "SELECT * FROM handover WHERE id = ?1", [id.as_str()])
}

/// The open offer on a site.
pub(super) fn live_of(db: &Connection, site: &SiteId) -> Result<Option<Handover>, StoreError> {
    one(db, "SELECT * FROM handover WHERE site = ?1 AND status IN ('requested', 'open')", [site.as_str()])
}

/// The sites with an open offer that this agency made or was made, in order.
pub(super) fn sites_with_offers_of(db: &Connection, agency: &AgencyId) -> Result<Vec<SiteId>, StoreError> {
    let account = format!("agency:{agency}");
    let mut statement = db.prepare_cached(
        "SELECT site FROM handover WHERE status IN ('requested', 'open') AND initiator = ?1
         UNION SELECT site FROM handover WHERE status IN ('requested', 'open') AND recipient = ?1 ORDER BY site",
    )?;
    let mut rows = statement.query([&account])?;
    let mut sites = Vec::new();
    while let Some(row) = rows.next()? {
        sites.push(Fields { table: "handover", key: &account, row }.parse("site")?);
    }
    Ok(sites)
}

/// A site's handovers, oldest first, after the one named. After one that is not there nothing follows.
pub(super) fn page(
    db: &Connection,
    site: &SiteId,
    after: Option<&HandoverId>,
    limit: usize,
) -> Result<Page<Handover>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM handover WHERE site = ?1 AND (?2 IS NULL OR (offered_at, id) >
             (SELECT offered_at, id FROM handover WHERE site = ?1 AND id = ?2))
         ORDER BY offered_at, id LIMIT ?3",
    )?;
    let mut rows =
        statement.query(params![site.as_str(), after.map(HandoverId::as_str), super::read::one_more(limit)])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(handover_of(row)?);
    }
    Ok(super::read::cut(items, limit))
}

/// How many offers and requests an account made, and got, since an instant. More than [`MANY`] is not counted.
pub(super) fn traffic(db: &Connection, account: &Account, since: Timestamp) -> Result<Traffic, StoreError> {
    // Many offers of one site are one to whoever gets them: nobody is flooded, or kept from offers, by a single site.
    let count = |column: &str, what: &str| -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT count(*) FROM (SELECT {what} FROM handover WHERE {column} = ?1 AND offered_at > ?2 LIMIT {MANY})"
        );
        let count: i64 =
            db.prepare_cached(&sql)?.query_row(params![account.to_string(), since.as_micros()], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or_default())
    };
    Ok(Traffic { made: count("initiator", "1")?, got: count("recipient", "DISTINCT site")? })
}

/// More offers in one window than anybody would allow.
const MANY: u32 = 100_000;

/// Writes a handover as it is now.
pub(super) fn save(db: &Connection, handover: &Handover) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO handover (id, site, kind, initiator, initiated_by, recipient, status, consents_needed,
             consents_given, offered_at, expires_at, ended_at, revision_at_offer, preview_digest, requested_by, reminders,
             terms)
         VALUES (:id, :site, :kind, :initiator, :initiated_by, :recipient, :status, :consents_needed,
             :consents_given, :offered_at, :expires_at, :ended_at, :revision_at_offer, :preview_digest, :requested_by,
             :reminders, :terms)
         ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, initiator = excluded.initiator,
             initiated_by = excluded.initiated_by, recipient = excluded.recipient, status = excluded.status,
             consents_needed = excluded.consents_needed, consents_given = excluded.consents_given,
             offered_at = excluded.offered_at, expires_at = excluded.expires_at, ended_at = excluded.ended_at,
             revision_at_offer = excluded.revision_at_offer, preview_digest = excluded.preview_digest,
             requested_by = excluded.requested_by, reminders = excluded.reminders, terms = excluded.terms
         WHERE handover.site = excluded.site",
    )?
    .execute(named_params! {
        ":id": handover.id.as_str(),
        ":site": handover.site.as_str(),
        ":kind": handover.kind.wire_name(),
        ":initiator": handover.initiator.to_string(),
        ":initiated_by": handover.initiated_by.to_string(),
        ":recipient": handover.to.to_string(),
        ":status": handover.status.wire_name(),
        ":consents_needed": json(&handover.consents_needed)?,
        ":consents_given": json(&handover.consents_given)?,
        ":offered_at": handover.offered_at.as_micros(),
        ":expires_at": handover.expires_at.as_micros(),
        ":ended_at": handover.ended_at.map(Timestamp::as_micros),
        ":revision_at_offer": int(handover.revision_at_offer.0)?,
        ":preview_digest": handover.preview_digest.as_str(),
        ":requested_by": handover.requested_by.as_ref().map(UserId::as_str),
        ":reminders": json(&handover.reminders)?,
        ":terms": handover.terms.as_ref().map(json).transpose()?,
    })
    .and_then(|written| if written == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(written)) })
    .map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => contradiction(format_args!(
            "handover `{}` (one may be open on site `{}`, and the site must exist): {error}",
            handover.id, handover.site
        )),
        _ if matches!(error, rusqlite::Error::StatementChangedRows(0)) => {
            contradiction(format_args!("handover `{}` belongs to another site than `{}`", handover.id, handover.site))
        }
        _ => error.into(),
    })
}

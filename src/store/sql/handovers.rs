//! Handovers as rows: open ones, which are read with their site, and ended ones, which are kept.

use super::{
    db::{Asked, Db, Param, Row, params},
    fields::{Fields, contradiction, int, json},
};
use crate::{
    handover::Handover,
    ids::{Account, AgencyId, HandoverId, SiteId, UserId},
    store::{Page, StoreError, Traffic},
    time::Timestamp,
};

/// The open offer on a site, of which there is one at most.
pub(super) const LIVE: &str = "SELECT * FROM handover WHERE site = ?1 AND status IN ('requested', 'open')";

pub(super) fn handover_of(row: &Row) -> Result<Handover, StoreError> {
    let f = Fields::keyed("handover", "id", row);
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

/// One handover.
const ONE: &str = "SELECT * FROM handover WHERE id = ?1";

/// What [`load`] asks.
pub(super) fn load_asks(id: &HandoverId) -> Asked<'static> {
    (ONE.into(), vec![id.to_string().into()])
}

/// One handover, open or ended.
pub(super) fn load(db: &dyn Db, id: &HandoverId) -> Result<Option<Handover>, StoreError> {
    db.one(ONE, params![id.as_str()], handover_of)
}

/// The open offer on a site.
pub(super) fn live_of(db: &dyn Db, site: &SiteId) -> Result<Option<Handover>, StoreError> {
    db.one(LIVE, params![site.as_str()], handover_of)
}

/// The sites with an open offer that this agency made or was made, in order.
pub(super) fn sites_with_offers_of(db: &dyn Db, agency: &AgencyId) -> Result<Vec<SiteId>, StoreError> {
    let account = format!("agency:{agency}");
    let sql = "SELECT site FROM handover WHERE status IN ('requested', 'open') AND initiator = ?1
         UNION SELECT site FROM handover WHERE status IN ('requested', 'open') AND recipient = ?1 ORDER BY site";
    db.all(sql, params![&account], |row| Fields { table: "handover", key: &account, row }.parse("site"))
}

/// A site's handovers, oldest first, after the one named. After one that is not there nothing follows.
pub(super) fn page(
    db: &dyn Db,
    site: &SiteId,
    after: Option<&HandoverId>,
    limit: usize,
) -> Result<Page<Handover>, StoreError> {
    let sql = "SELECT * FROM handover WHERE site = ?1 AND (CAST(?2 AS TEXT) IS NULL OR (offered_at, id) >
             (SELECT offered_at, id FROM handover WHERE site = ?1 AND id = ?2))
         ORDER BY offered_at, id LIMIT ?3";
    let params = params![site.as_str(), after.map(HandoverId::as_str), super::readers::one_more(limit)];
    Ok(super::readers::cut(db.all(sql, params, handover_of)?, limit))
}

/// How many offers and requests an account made, and got, since an instant. More than [`MANY`] is not counted.
pub(super) fn traffic(db: &dyn Db, account: &Account, since: Timestamp) -> Result<Traffic, StoreError> {
    // Many offers of one site are one to whoever gets them: nobody is flooded, or kept from offers, by a single site.
    let count = |column: &str, what: &str| -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT count(*) FROM (SELECT {what} FROM handover WHERE {column} = ?1 AND offered_at > ?2 LIMIT {MANY}) AS counted"
        );
        let count = db.integer(&sql, params![account.to_string(), since])?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    };
    Ok(Traffic { made: count("initiator", "1")?, got: count("recipient", "DISTINCT site")? })
}

/// More offers in one window than anybody would allow.
const MANY: u32 = 100_000;

/// Writes a handover as it is now.
pub(super) fn save(db: &dyn Db, handover: &Handover) -> Result<(), StoreError> {
    let row: Vec<(&str, Param<'_>)> = vec![
        ("id", handover.id.as_str().into()),
        ("site", handover.site.as_str().into()),
        ("kind", handover.kind.wire_name().into()),
        ("initiator", handover.initiator.to_string().into()),
        ("initiated_by", handover.initiated_by.to_string().into()),
        ("recipient", handover.to.to_string().into()),
        ("status", handover.status.wire_name().into()),
        ("consents_needed", json(&handover.consents_needed)?.into()),
        ("consents_given", json(&handover.consents_given)?.into()),
        ("offered_at", handover.offered_at.into()),
        ("expires_at", handover.expires_at.into()),
        ("ended_at", handover.ended_at.into()),
        ("revision_at_offer", int(handover.revision_at_offer.0)?.into()),
        ("preview_digest", handover.preview_digest.as_str().into()),
        ("requested_by", handover.requested_by.as_ref().map(UserId::as_str).into()),
        ("reminders", json(&handover.reminders)?.into()),
        ("terms", handover.terms.as_ref().map(json).transpose()?.into()),
    ];
    let written = db.put("handover", &["id"], row, Some("handover.site = excluded.site")).map_err(|fault| {
        fault.or_refused(|why| {
            contradiction(format_args!(
                "handover `{}` (one may be open on site `{}`, and the site must exist): {why}",
                handover.id, handover.site
            ))
        })
    })?;
    if written == 1 {
        return Ok(());
    }
    Err(contradiction(format_args!("handover `{}` belongs to another site than `{}`", handover.id, handover.site)))
}

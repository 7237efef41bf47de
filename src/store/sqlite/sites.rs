//! Sites and everybody on them, as rows.
//!
//! A site is one row of `site` and one row for each contributor, grant, blocked person, confirmation and session. Its
//! open handover is a row of `handover` (see there) and is read with it.
//!
//! Invariants: saving compares with what is stored and touches only rows that differ, so that one grant on a site of
//! ten thousand people writes one row; a contributor keeps the revision of its last real change. Content owner and
//! plan holder are written beside the seats for SQL's sake and must agree with them when read. One JSON document for
//! each site lost: no CHECK could look into it, and every grant would rewrite it whole.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use smol_str::SmolStr;

use super::{
    error::contradiction,
    handovers,
    rows::{Fields, int, json, wire},
};
use crate::{
    ids::{Account, AgencyId, HandoverId, SiteId},
    revision::Revision,
    site::{
        AgencyGrant, Confirmation, Contributor, Engagement, Freeze, Mode, ReturnPending, Seats, Site, SupportSession,
        next_deadline,
    },
    store::StoreError,
    time::Timestamp,
};

/// The stored site with everything on it.
pub(super) fn load(db: &Connection, id: &SiteId) -> Result<Option<Site>, StoreError> {
    let site = db
        .prepare_cached("SELECT * FROM site WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok(site_of(id, row)))
        .optional()?
        .transpose()?;
    let Some(mut site) = site else { return Ok(None) };
    site.open_handover = handovers::live_of(db, id)?;
    each(db, "contributor", "SELECT * FROM contributor WHERE site = ?1", id, |f| {
        let contributor = Contributor {
            role: f.text("role")?.into(),
            grantor: f.parse("grantor")?,
            side: f.name("side")?,
            revision: f.revision("revision")?,
        };
        site.contributors.insert(f.parse("user")?, contributor);
        Ok(())
    })?;
    each(db, "agency_grant", "SELECT * FROM agency_grant WHERE site = ?1", id, |f| {
        let grant = AgencyGrant { template: f.name("template")?, expires_at: f.maybe_time("expires_at")? };
        site.grants.insert(f.parse("user")?, grant);
        Ok(())
    })?;
    each(db, "blocked", "SELECT * FROM blocked WHERE site = ?1", id, |f| {
        site.blocked.insert(f.parse("user")?);
        Ok(())
    })?;
    each(db, "confirmation", "SELECT * FROM confirmation WHERE site = ?1 ORDER BY n", id, |f| {
        site.confirmations.push(Confirmation {
            action: f.text("action")?.into(),
            operation: f.text("operation")?.into(),
            expires_at: f.time("expires_at")?,
        });
        Ok(())
    })?;
    each(db, "support_session", "SELECT * FROM support_session WHERE site = ?1 ORDER BY n", id, |f| {
        site.sessions.push(SupportSession {
            agent: f.parse("agent")?,
            granted_by: f.parse("granted_by")?,
            until: f.time("until")?,
        });
        Ok(())
    })?;
    Ok(Some(site))
}

/// The sites whose content an account owns or whose plan it holds, in order; at most a page.
pub(super) fn held_by(db: &Connection, account: &Account) -> Result<Vec<SiteId>, StoreError> {
    let account = account.to_string();
    let mut statement = db.prepare_cached(
        "SELECT id FROM site WHERE content_owner = ?1 UNION SELECT id FROM site WHERE plan_holder = ?1
         ORDER BY id LIMIT 100",
    )?;
    let mut rows = statement.query([&account])?;
    let mut sites = Vec::new();
    while let Some(row) = rows.next()? {
        sites.push(Fields { table: "site", key: &account, row }.parse("id")?);
    }
    Ok(sites)
}

/// Whether an agency runs any client's site.
pub(super) fn runs_some(db: &Connection, agency: &AgencyId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM site WHERE agency = ?1 AND mode = 'partner_managed')";
    Ok(db.prepare_cached(sql)?.query_row([agency.as_str()], |row| row.get(0))?)
}

fn each(
    db: &Connection,
    table: &'static str,
    sql: &str,
    id: &SiteId,
    mut take: impl FnMut(&Fields<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([id.as_str()])?;
    while let Some(row) = rows.next()? {
        take(&Fields { table, key: id.as_str(), row })?;
    }
    Ok(())
}

fn site_of(id: &SiteId, row: &Row<'_>) -> Result<Site, StoreError> {
    let f = Fields { table: "site", key: id.as_str(), row };
    let seats = seats_of(&f)?;
    for (column, derived) in [("content_owner", seats.content_owner()), ("plan_holder", seats.plan_holder())] {
        let stored: Option<Account> = f.maybe_parse(column)?;
        if stored != derived {
            return Err(f.bad(format_args!("column `{column}` does not agree with the seats")));
        }
    }
    let published = f.flag("published")?;
    let mut site = Site::registered(id.clone(), seats, f.json("plan")?, published, f.json("domains")?);
    site.revision = f.revision("revision")?;
    site.trashed_at = f.maybe_time("trashed_at")?;
    site.purge_at = f.maybe_time("purge_at")?;
    site.dispute = f.maybe_json("dispute")?;
    site.custody = f.maybe_text("custody")?.map(Into::into);
    site.site_code = f.maybe_json("site_code")?;
    site.reported = f.json("reported")?;
    site.frozen = match (f.maybe_time("frozen_until")?, f.maybe_text("frozen_case")?) {
        (Some(until), Some(case)) => {
            Some(Freeze { since: f.maybe_time("frozen_since")?.unwrap_or(until), until, case: case.into() })
        }
        (None, None) => None,
        _ => return Err(f.bad("half of a freeze")),
    };
    Ok(site)
}

fn seats_of(f: &Fields<'_>) -> Result<Seats, StoreError> {
    let seat = |column| -> Result<Option<Account>, StoreError> { f.maybe_parse(column) };
    Ok(match (f.name("mode")?, seat("owner")?, seat("client")?, seat("partner")?) {
        (Mode::SelfManaged, Some(Account::User(owner)), None, None) => Seats::SelfManaged { owner },
        (Mode::PartnerBuilt, Some(Account::Agency(owner)), None, None) => Seats::PartnerBuilt { owner },
        (Mode::PartnerManaged, None, Some(Account::User(client)), Some(Account::Agency(partner))) => {
            Seats::PartnerManaged(Box::new(Engagement {
                client,
                partner,
                since: f.time("since")?,
                settling_until: f.time("settling_until")?,
                handover: f.maybe_parse("handover")?,
                plan_before: f.maybe_json("plan_before")?,
                freeze_used: f.flag("freeze_used")?,
                return_pending: return_of(f)?,
            }))
        }
        (Mode::Purged, None, None, None) => Seats::Purged,
        (mode, ..) => return Err(f.bad(format_args!("the seats do not fit the mode `{}`", mode.wire_name()))),
    })
}

fn return_of(f: &Fields<'_>) -> Result<Option<ReturnPending>, StoreError> {
    let Some(_) = f.maybe_text("return_reason")? else { return Ok(None) };
    Ok(Some(ReturnPending {
        reason: f.name("return_reason")?,
        requested_at: f.time("return_requested_at")?,
        effective_at: f.time("return_effective_at")?,
        locked: f.flag("return_locked")?,
        keep: f.json("return_keep")?,
    }))
}

const UPSERT: &str = "
    INSERT INTO site (id, revision, mode, owner, client, partner, content_owner, plan_holder, agency, since,
        settling_until, handover, plan_before, freeze_used, return_reason, return_requested_at, return_effective_at,
        return_locked, return_keep, plan, published, domains, trashed_at, frozen_until, frozen_case, next_deadline,
        frozen_since, purge_at, dispute, custody, site_code, reported)
    VALUES (:id, :revision, :mode, :owner, :client, :partner, :content_owner, :plan_holder, :agency, :since,
        :settling_until, :handover, :plan_before, :freeze_used, :return_reason, :return_requested_at,
        :return_effective_at, :return_locked, :return_keep, :plan, :published, :domains, :trashed_at, :frozen_until,
        :frozen_case, :next_deadline, :frozen_since, :purge_at, :dispute, :custody, :site_code, :reported)
    ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, mode = excluded.mode, owner = excluded.owner,
        client = excluded.client, partner = excluded.partner, content_owner = excluded.content_owner,
        plan_holder = excluded.plan_holder, agency = excluded.agency, since = excluded.since,
        settling_until = excluded.settling_until, handover = excluded.handover, plan_before = excluded.plan_before,
        freeze_used = excluded.freeze_used, return_reason = excluded.return_reason,
        return_requested_at = excluded.return_requested_at, return_effective_at = excluded.return_effective_at,
        return_locked = excluded.return_locked, return_keep = excluded.return_keep, plan = excluded.plan,
        published = excluded.published, domains = excluded.domains, trashed_at = excluded.trashed_at,
        frozen_until = excluded.frozen_until, frozen_case = excluded.frozen_case,
        next_deadline = excluded.next_deadline, frozen_since = excluded.frozen_since, purge_at = excluded.purge_at,
        dispute = excluded.dispute, custody = excluded.custody, site_code = excluded.site_code,
        reported = excluded.reported";

/// Writes what differs from `old`, the site as it is stored, and stamps `new` with the revision. The open handover is
/// not written here.
pub(super) fn save(db: &Connection, old: Option<&Site>, new: &mut Site, revision: Revision) -> Result<(), StoreError> {
    new.revision = revision;
    match old {
        // Naming a column in an UPDATE rewrites its indexes, changed or not.
        Some(old) if same_row(old, new) => {
            db.prepare_cached("UPDATE site SET revision = ?2 WHERE id = ?1")?
                .execute(params![new.id.as_str(), int(revision.0)?])?;
        }
        Some(_) | None => save_row(db, new)?,
    }
    save_contributors(db, old, new, revision)?;
    save_grants(db, old, new)?;
    save_blocked(db, old, new)?;
    if old.map_or(&[][..], |site| &site.confirmations) != new.confirmations.as_slice() {
        db.prepare_cached("DELETE FROM confirmation WHERE site = ?1")?.execute([new.id.as_str()])?;
        let mut insert = db.prepare_cached("INSERT INTO confirmation VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (n, c) in (0_i64..).zip(&new.confirmations) {
            let (action, operation) = (c.action.as_str(), c.operation.as_str());
            insert.execute(params![new.id.as_str(), n, action, operation, c.expires_at.as_micros()])?;
        }
    }
    if old.map_or(&[][..], |site| &site.sessions) != new.sessions.as_slice() {
        db.prepare_cached("DELETE FROM support_session WHERE site = ?1")?.execute([new.id.as_str()])?;
        let mut insert = db.prepare_cached("INSERT INTO support_session VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (n, s) in (0_i64..).zip(&new.sessions) {
            let granted_by = s.granted_by.to_string();
            insert.execute(params![new.id.as_str(), n, s.agent.as_str(), granted_by, s.until.as_micros()])?;
        }
    }
    Ok(())
}

/// Whether the site's own row says the same of both, the revision aside. People and offers have rows of their own, but for
/// the deadline that follows from an offer.
fn same_row(a: &Site, b: &Site) -> bool {
    let Site {
        id,
        revision: _,
        seats,
        plan,
        published,
        domains,
        trashed_at,
        purge_at,
        frozen,
        dispute,
        custody,
        site_code,
        reported,
        open_handover: _,
        contributors: _,
        grants: _,
        blocked: _,
        confirmations: _,
        sessions: _,
    } = a;
    (id, seats, plan, published, domains) == (&b.id, &b.seats, &b.plan, &b.published, &b.domains)
        && (trashed_at, purge_at, frozen, dispute) == (&b.trashed_at, &b.purge_at, &b.frozen, &b.dispute)
        && (custody, site_code, reported) == (&b.custody, &b.site_code, &b.reported)
        && next_deadline(a) == next_deadline(b)
}

/// The site's own row, its deadline included.
pub(super) fn save_row(db: &Connection, site: &Site) -> Result<(), StoreError> {
    let text = |account: Option<Account>| account.map(|account| account.to_string());
    let engagement = site.seats.engagement();
    let back = site.return_pending();
    db.prepare_cached(UPSERT)?
        .execute(named_params! {
            ":id": site.id.as_str(),
            ":revision": int(site.revision.0)?,
            ":mode": site.seats.mode().wire_name(),
            ":owner": text(site.seats.owner()),
            ":client": text(engagement.map(|e| e.client.clone().into())),
            ":partner": text(engagement.map(|e| e.partner.clone().into())),
            ":content_owner": text(site.seats.content_owner()),
            ":plan_holder": text(site.seats.plan_holder()),
            ":agency": site.seats.agency().map(AgencyId::as_str),
            ":since": engagement.map(|e| e.since.as_micros()),
            ":settling_until": engagement.map(|e| e.settling_until.as_micros()),
            ":handover": engagement.and_then(|e| e.handover.as_ref()).map(HandoverId::as_str),
            ":plan_before": engagement.and_then(|e| e.plan_before.as_ref()).map(json).transpose()?,
            ":freeze_used": engagement.is_some_and(|e| e.freeze_used),
            ":return_reason": back.map(|b| wire(b.reason)).transpose()?,
            ":return_requested_at": back.map(|b| b.requested_at.as_micros()),
            ":return_effective_at": back.map(|b| b.effective_at.as_micros()),
            ":return_locked": back.map(|b| b.locked),
            ":return_keep": back.map(|b| json(&b.keep)).transpose()?,
            ":plan": json(&site.plan)?,
            ":published": site.published,
            ":domains": json(&site.domains)?,
            ":trashed_at": site.trashed_at.map(Timestamp::as_micros),
            ":frozen_until": site.frozen.as_ref().map(|f| f.until.as_micros()),
            ":frozen_case": site.frozen.as_ref().map(|f| f.case.as_str()),
            ":frozen_since": site.frozen.as_ref().map(|f| f.since.as_micros()),
            ":purge_at": site.purge_at.map(Timestamp::as_micros),
            ":dispute": site.dispute.as_ref().map(json).transpose()?,
            ":custody": site.custody.as_ref().map(SmolStr::as_str),
            ":site_code": site.site_code.as_ref().map(json).transpose()?,
            ":reported": json(&site.reported)?,
            ":next_deadline": next_deadline(site).map(Timestamp::as_micros),
        })
        .map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => {
                contradiction(format_args!("site `{}` (an agency it seats must be registered): {error}", site.id))
            }
            _ => error.into(),
        })?;
    Ok(())
}

fn save_contributors(
    db: &Connection,
    old: Option<&Site>,
    new: &mut Site,
    revision: Revision,
) -> Result<(), StoreError> {
    let site = new.id.as_str();
    let none = BTreeMap::new();
    let stored = old.map_or(&none, |site| &site.contributors);
    let mut put = db.prepare_cached(
        "INSERT INTO contributor (site, user, role, grantor, side, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (site, user) DO UPDATE SET role = excluded.role, grantor = excluded.grantor,
         side = excluded.side, revision = excluded.revision",
    )?;
    for (user, contributor) in &mut new.contributors {
        match stored.get(user) {
            Some(kept) if same_apart_from_revision(kept, contributor) => contributor.revision = kept.revision,
            _ => {
                contributor.revision = revision;
                put.execute(params![
                    site,
                    user.as_str(),
                    contributor.role.as_str(),
                    contributor.grantor.to_string(),
                    wire(contributor.side)?,
                    int(revision.0)?
                ])?;
            }
        }
    }
    let mut remove = db.prepare_cached("DELETE FROM contributor WHERE site = ?1 AND user = ?2")?;
    for user in stored.keys().filter(|user| !new.contributors.contains_key(*user)) {
        remove.execute([site, user.as_str()])?;
    }
    Ok(())
}

fn same_apart_from_revision(a: &Contributor, b: &Contributor) -> bool {
    let Contributor { role, grantor, side, revision: _ } = a;
    (role, grantor, side) == (&b.role, &b.grantor, &b.side)
}

fn save_grants(db: &Connection, old: Option<&Site>, new: &Site) -> Result<(), StoreError> {
    let site = new.id.as_str();
    let none = BTreeMap::new();
    let stored = old.map_or(&none, |site| &site.grants);
    for (user, grant) in new.grants.iter().filter(|(user, grant)| stored.get(*user) != Some(*grant)) {
        db.prepare_cached(
            "INSERT INTO agency_grant (site, user, template, expires_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (site, user) DO UPDATE SET template = excluded.template, expires_at = excluded.expires_at",
        )?
        .execute(params![
            site,
            user.as_str(),
            wire(grant.template)?,
            grant.expires_at.map(Timestamp::as_micros)
        ])?;
    }
    for user in stored.keys().filter(|user| !new.grants.contains_key(*user)) {
        db.prepare_cached("DELETE FROM agency_grant WHERE site = ?1 AND user = ?2")?.execute([site, user.as_str()])?;
    }
    Ok(())
}

fn save_blocked(db: &Connection, old: Option<&Site>, new: &Site) -> Result<(), StoreError> {
    let site = new.id.as_str();
    let none = std::collections::BTreeSet::new();
    let stored = old.map_or(&none, |site| &site.blocked);
    for user in new.blocked.difference(stored) {
        db.prepare_cached("INSERT INTO blocked (site, user) VALUES (?1, ?2)")?.execute([site, user.as_str()])?;
    }
    for user in stored.difference(&new.blocked) {
        db.prepare_cached("DELETE FROM blocked WHERE site = ?1 AND user = ?2")?.execute([site, user.as_str()])?;
    }
    Ok(())
}

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

use smol_str::SmolStr;

use super::{
    db::{Asked, Db, Param, Row, params},
    fields::{Fields, int, json, wire},
    handovers,
};
use crate::{
    ids::{Account, AgencyId, HandoverId, SiteId},
    revision::Revision,
    site::{
        AgencyGrant, Confirmation, Contributor, Engagement, Freeze, Mode, ReturnPending, Seats, Site, SupportSession,
        next_deadline,
    },
    store::StoreError,
};

/// A site, its open handover, and everybody and everything on it.
const WHOLE: [&str; 7] = [
    "SELECT * FROM site WHERE id = ?1",
    handovers::LIVE,
    "SELECT * FROM contributor WHERE site = ?1",
    "SELECT * FROM agency_grant WHERE site = ?1",
    "SELECT * FROM blocked WHERE site = ?1",
    "SELECT * FROM confirmation WHERE site = ?1 ORDER BY n",
    "SELECT * FROM support_session WHERE site = ?1 ORDER BY n",
];

/// What [`load`] asks.
pub(super) fn load_asks(id: &SiteId) -> impl Iterator<Item = Asked<'static>> {
    WHOLE.iter().map(|sql| ((*sql).into(), vec![id.to_string().into()]))
}

/// The stored site with everything on it.
pub(super) fn load(db: &dyn Db, id: &SiteId) -> Result<Option<Site>, StoreError> {
    let mut answers = db.query_all(&WHOLE, params![id.as_str()])?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let Some(mut site) = next().first().map(|row| site_of(id, row)).transpose()? else { return Ok(None) };
    site.open_handover = next().first().map(handovers::handover_of).transpose()?;
    each("contributor", &next(), id, |f| {
        let contributor = Contributor {
            role: f.text("role")?.into(),
            grantor: f.parse("grantor")?,
            side: f.name("side")?,
            revision: f.revision("revision")?,
        };
        site.contributors.insert(f.parse("user")?, contributor);
        Ok(())
    })?;
    each("agency_grant", &next(), id, |f| {
        let grant = AgencyGrant { template: f.name("template")?, expires_at: f.maybe_time("expires_at")? };
        site.grants.insert(f.parse("user")?, grant);
        Ok(())
    })?;
    each("blocked", &next(), id, |f| {
        site.blocked.insert(f.parse("user")?);
        Ok(())
    })?;
    each("confirmation", &next(), id, |f| {
        site.confirmations.push(Confirmation {
            action: f.text("action")?.into(),
            operation: f.text("operation")?.into(),
            expires_at: f.time("expires_at")?,
        });
        Ok(())
    })?;
    each("support_session", &next(), id, |f| {
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
pub(super) fn held_by(db: &dyn Db, account: &Account) -> Result<Vec<SiteId>, StoreError> {
    let account = account.to_string();
    let sql = "SELECT id FROM site WHERE content_owner = ?1 UNION SELECT id FROM site WHERE plan_holder = ?1
         ORDER BY id LIMIT 100";
    db.all(sql, params![&account], |row| Fields { table: "site", key: &account, row }.parse("id"))
}

/// Whether an agency runs any client's site.
pub(super) fn runs_some(db: &dyn Db, agency: &AgencyId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM site WHERE agency = ?1 AND mode = 'partner_managed')";
    Ok(db.integer(sql, params![agency.as_str()])? == Some(1))
}

fn each(
    table: &'static str,
    rows: &[Row],
    id: &SiteId,
    mut take: impl FnMut(&Fields<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    rows.iter().try_for_each(|row| take(&Fields { table, key: id.as_str(), row }))
}

fn site_of(id: &SiteId, row: &Row) -> Result<Site, StoreError> {
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

/// Writes what differs from `old`, the site as it is stored, and stamps `new` with the revision. The open handover is
/// not written here.
pub(super) fn save(db: &dyn Db, old: Option<&Site>, new: &mut Site, revision: Revision) -> Result<(), StoreError> {
    new.revision = revision;
    match old {
        // Naming a column in an UPDATE rewrites its indexes, changed or not.
        Some(old) if same_row(old, new) => {
            let sql = "UPDATE site SET revision = ?2 WHERE id = ?1";
            db.later(sql, params![new.id.as_str(), int(revision.0)?], "")?;
        }
        Some(_) | None => save_row(db, new)?,
    }
    save_contributors(db, old, new, revision)?;
    save_grants(db, old, new)?;
    save_blocked(db, old, new)?;
    if old.map_or(&[][..], |site| &site.confirmations) != new.confirmations.as_slice() {
        db.later("DELETE FROM confirmation WHERE site = ?1", params![new.id.as_str()], "")?;
        let sql = "INSERT INTO confirmation (site, n, action, operation, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        for (n, c) in (0_i64..).zip(&new.confirmations) {
            let (action, operation) = (c.action.as_str(), c.operation.as_str());
            db.later(sql, params![new.id.as_str(), n, action, operation, c.expires_at], "")?;
        }
    }
    if old.map_or(&[][..], |site| &site.sessions) != new.sessions.as_slice() {
        db.later("DELETE FROM support_session WHERE site = ?1", params![new.id.as_str()], "")?;
        let sql = "INSERT INTO support_session (site, n, agent, granted_by, until) VALUES (?1, ?2, ?3, ?4, ?5)";
        for (n, s) in (0_i64..).zip(&new.sessions) {
            let granted_by = s.granted_by.to_string();
            db.later(sql, params![new.id.as_str(), n, s.agent.as_str(), granted_by, s.until], "")?;
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
pub(super) fn save_row(db: &dyn Db, site: &Site) -> Result<(), StoreError> {
    let text = |account: Option<Account>| account.map(|account| account.to_string());
    let engagement = site.seats.engagement();
    let back = site.return_pending();
    let row: Vec<(&str, Param<'_>)> = vec![
        ("id", site.id.as_str().into()),
        ("revision", int(site.revision.0)?.into()),
        ("mode", site.seats.mode().wire_name().into()),
        ("owner", text(site.seats.owner()).into()),
        ("client", text(engagement.map(|e| e.client.clone().into())).into()),
        ("partner", text(engagement.map(|e| e.partner.clone().into())).into()),
        ("content_owner", text(site.seats.content_owner()).into()),
        ("plan_holder", text(site.seats.plan_holder()).into()),
        ("agency", site.seats.agency().map(AgencyId::as_str).into()),
        ("since", engagement.map(|e| e.since).into()),
        ("settling_until", engagement.map(|e| e.settling_until).into()),
        ("handover", engagement.and_then(|e| e.handover.as_ref()).map(HandoverId::as_str).into()),
        ("plan_before", engagement.and_then(|e| e.plan_before.as_ref()).map(json).transpose()?.into()),
        ("freeze_used", engagement.is_some_and(|e| e.freeze_used).into()),
        ("return_reason", back.map(|b| wire(b.reason)).transpose()?.into()),
        ("return_requested_at", back.map(|b| b.requested_at).into()),
        ("return_effective_at", back.map(|b| b.effective_at).into()),
        ("return_locked", back.map(|b| b.locked).into()),
        ("return_keep", back.map(|b| json(&b.keep)).transpose()?.into()),
        ("plan", json(&site.plan)?.into()),
        ("published", site.published.into()),
        ("domains", json(&site.domains)?.into()),
        ("trashed_at", site.trashed_at.into()),
        ("frozen_until", site.frozen.as_ref().map(|f| f.until).into()),
        ("frozen_case", site.frozen.as_ref().map(|f| f.case.as_str()).into()),
        ("frozen_since", site.frozen.as_ref().map(|f| f.since).into()),
        ("purge_at", site.purge_at.into()),
        ("dispute", site.dispute.as_ref().map(json).transpose()?.into()),
        ("custody", site.custody.as_ref().map(SmolStr::as_str).into()),
        ("site_code", site.site_code.as_ref().map(json).transpose()?.into()),
        ("reported", json(&site.reported)?.into()),
        ("next_deadline", next_deadline(site).into()),
    ];
    let refused = format!("site `{}` (an agency it seats must be registered)", site.id);
    db.put_later("site", &["id"], row, &refused)?;
    Ok(())
}

fn save_contributors(db: &dyn Db, old: Option<&Site>, new: &mut Site, revision: Revision) -> Result<(), StoreError> {
    let site = new.id.as_str();
    let none = BTreeMap::new();
    let stored = old.map_or(&none, |site| &site.contributors);
    for (user, contributor) in &mut new.contributors {
        match stored.get(user) {
            Some(kept) if same_apart_from_revision(kept, contributor) => contributor.revision = kept.revision,
            _ => {
                contributor.revision = revision;
                let row = vec![
                    ("site", site.into()),
                    ("user", user.as_str().into()),
                    ("role", contributor.role.as_str().into()),
                    ("grantor", contributor.grantor.to_string().into()),
                    ("side", wire(contributor.side)?.into()),
                    ("revision", int(revision.0)?.into()),
                ];
                db.put_later("contributor", &["site", "user"], row, "")?;
            }
        }
    }
    let remove = r#"DELETE FROM contributor WHERE site = ?1 AND "user" = ?2"#;
    for user in stored.keys().filter(|user| !new.contributors.contains_key(*user)) {
        db.later(remove, params![site, user.as_str()], "")?;
    }
    Ok(())
}

fn same_apart_from_revision(a: &Contributor, b: &Contributor) -> bool {
    let Contributor { role, grantor, side, revision: _ } = a;
    (role, grantor, side) == (&b.role, &b.grantor, &b.side)
}

fn save_grants(db: &dyn Db, old: Option<&Site>, new: &Site) -> Result<(), StoreError> {
    let site = new.id.as_str();
    let none = BTreeMap::new();
    let stored = old.map_or(&none, |site| &site.grants);
    for (user, grant) in new.grants.iter().filter(|(user, grant)| stored.get(*user) != Some(*grant)) {
        let row = vec![
            ("site", site.into()),
            ("user", user.as_str().into()),
            ("template", wire(grant.template)?.into()),
            ("expires_at", grant.expires_at.into()),
        ];
        db.put_later("agency_grant", &["site", "user"], row, "")?;
    }
    for user in stored.keys().filter(|user| !new.grants.contains_key(*user)) {
        let sql = r#"DELETE FROM agency_grant WHERE site = ?1 AND "user" = ?2"#;
        db.later(sql, params![site, user.as_str()], "")?;
    }
    Ok(())
}

fn save_blocked(db: &dyn Db, old: Option<&Site>, new: &Site) -> Result<(), StoreError> {
    let site = new.id.as_str();
    let none = std::collections::BTreeSet::new();
    let stored = old.map_or(&none, |site| &site.blocked);
    for user in new.blocked.difference(stored) {
        db.later(r#"INSERT INTO blocked (site, "user") VALUES (?1, ?2)"#, params![site, user.as_str()], "")?;
    }
    for user in stored.difference(&new.blocked) {
        db.later(r#"DELETE FROM blocked WHERE site = ?1 AND "user" = ?2"#, params![site, user.as_str()], "")?;
    }
    Ok(())
}

//! Agencies with their members, and staff, as rows.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{Fields, int, wire};
use crate::{
    assignment::{Agency, Directory, StaffRole},
    ids::{Account, AgencyId, StaffId, UserId},
    revision::Revision,
    store::{AccountStatus, StoreError},
    time::Timestamp,
};

/// Everybody: what a running service holds in memory.
pub(super) fn load_all(db: &Connection) -> Result<Directory, StoreError> {
    let mut agencies: BTreeMap<AgencyId, Agency> = BTreeMap::new();
    let mut statement = db.prepare_cached("SELECT * FROM agency")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let agency = agency_of(row)?;
        agencies.insert(agency.id.clone(), agency);
    }
    let mut statement = db.prepare_cached("SELECT * FROM agency_member")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: String = row.get("agency")?;
        let f = Fields { table: "agency_member", key: &id, row };
        let agency = agencies.get_mut(id.as_str()).ok_or_else(|| f.bad("there is no such agency"))?;
        agency.members.insert(f.parse("user")?, f.name("role")?);
    }
    let mut directory = Directory::default();
    for agency in agencies.into_values() {
        directory.put_agency(Arc::new(agency));
    }
    let mut statement = db.prepare_cached("SELECT * FROM staff")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, role) = staff_of(row)?;
        directory.put_staff(id, Some(role));
    }
    Ok(directory)
}

/// One agency with all its members.
pub(super) fn load_agency(db: &Connection, id: &AgencyId) -> Result<Option<Agency>, StoreError> {
    let agency = db
        .prepare_cached("SELECT * FROM agency WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok(agency_of(row)))
        .optional()?
        .transpose()?;
    let Some(mut agency) = agency else { return Ok(None) };
    let mut statement = db.prepare_cached("SELECT user, role FROM agency_member WHERE agency = ?1")?;
    let mut rows = statement.query([id.as_str()])?;
    while let Some(row) = rows.next()? {
        let f = Fields { table: "agency_member", key: id.as_str(), row };
        agency.members.insert(f.parse("user")?, f.name("role")?);
    }
    Ok(Some(agency))
}

/// The agencies in which this person is an admin.
pub(super) fn agencies_of_admin(db: &Connection, user: &UserId) -> Result<Vec<AgencyId>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT agency FROM agency_member WHERE user = ?1 AND role = 'admin' ORDER BY agency")?;
    let mut rows = statement.query([user.as_str()])?;
    let mut agencies = Vec::new();
    while let Some(row) = rows.next()? {
        agencies.push(Fields { table: "agency_member", key: user.as_str(), row }.parse("agency")?);
    }
    Ok(agencies)
}

/// What this member of staff is.
pub(super) fn load_staff(db: &Connection, id: &StaffId) -> Result<Option<StaffRole>, StoreError> {
    let found = db
        .prepare_cached("SELECT * FROM staff WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok(staff_of(row)))
        .optional()?
        .transpose()?;
    Ok(found.map(|(_, role)| role))
}

fn agency_of(row: &Row<'_>) -> Result<Agency, StoreError> {
    let id: String = row.get("id")?;
    let f = Fields { table: "agency", key: &id, row };
    Ok(Agency {
        id: f.parse("id")?,
        name: f.text("name")?.to_owned(),
        domain: f.text("domain")?.to_owned(),
        verified: f.flag("verified")?,
        status: f.name("status")?,
        status_since: f.time("status_since")?,
        returns_at: f.maybe_time("returns_at")?,
        card: f.flag("card")?,
        members: BTreeMap::new(),
        revision: f.revision("revision")?,
    })
}

fn staff_of(row: &Row<'_>) -> Result<(StaffId, StaffRole), StoreError> {
    let id: String = row.get("id")?;
    let f = Fields { table: "staff", key: &id, row };
    Ok((f.parse("id")?, f.name("role")?))
}

/// Writes what differs from `old`, the agency as it is stored, and stamps `new` with the revision.
pub(super) fn save_agency(
    db: &Connection,
    old: Option<&Agency>,
    new: &mut Agency,
    revision: Revision,
) -> Result<(), StoreError> {
    new.revision = revision;
    db.prepare_cached(
        "INSERT INTO agency (id, revision, name, domain, verified, status, status_since, card, returns_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, name = excluded.name,
         domain = excluded.domain, verified = excluded.verified, status = excluded.status,
         status_since = excluded.status_since, card = excluded.card, returns_at = excluded.returns_at",
    )?
    .execute(params![
        new.id.as_str(),
        int(revision.0)?,
        new.name,
        new.domain,
        new.verified,
        wire(new.status)?,
        new.status_since.as_micros(),
        new.card,
        new.returns_at.map(Timestamp::as_micros)
    ])?;
    let none = BTreeMap::new();
    let stored = old.map_or(&none, |agency| &agency.members);
    for (user, role) in new.members.iter().filter(|(user, role)| stored.get(*user) != Some(*role)) {
        db.prepare_cached(
            "INSERT INTO agency_member (agency, user, role) VALUES (?1, ?2, ?3)
             ON CONFLICT (agency, user) DO UPDATE SET role = excluded.role",
        )?
        .execute([new.id.as_str(), user.as_str(), &wire(role)?])?;
    }
    for user in stored.keys().filter(|user| !new.members.contains_key(*user)) {
        db.prepare_cached("DELETE FROM agency_member WHERE agency = ?1 AND user = ?2")?
            .execute([new.id.as_str(), user.as_str()])?;
    }
    Ok(())
}

/// Registers a member of staff, changes their role, or removes them with `None`.
pub(super) fn save_staff(db: &Connection, id: &StaffId, role: Option<StaffRole>) -> Result<(), StoreError> {
    match role {
        Some(role) => db
            .prepare_cached(
                "INSERT INTO staff (id, role) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET role = excluded.role",
            )?
            .execute([id.as_str(), &wire(role)?])?,
        None => db.prepare_cached("DELETE FROM staff WHERE id = ?1")?.execute([id.as_str()])?,
    };
    Ok(())
}

/// What becomes of an account; none while it is open.
pub(super) fn closing(db: &Connection, account: &Account) -> Result<Option<AccountStatus>, StoreError> {
    let found = db
        .prepare_cached("SELECT * FROM account WHERE account = ?1")?
        .query_row([account.to_string()], |row| {
            let key = account.to_string();
            Ok(Fields { table: "account", key: &key, row }.name("status"))
        })
        .optional()?
        .transpose()?;
    Ok(found)
}

/// Notes what becomes of an account; `None` opens it again.
pub(super) fn save_account(
    db: &Connection,
    account: &Account,
    status: Option<AccountStatus>,
    at: Timestamp,
) -> Result<(), StoreError> {
    match status {
        Some(status) => db
            .prepare_cached(
                "INSERT INTO account (account, status, since) VALUES (?1, ?2, ?3)
                 ON CONFLICT (account) DO UPDATE SET status = excluded.status, since = excluded.since",
            )?
            .execute(params![account.to_string(), wire(status)?, at.as_micros()])?,
        None => db.prepare_cached("DELETE FROM account WHERE account = ?1")?.execute([account.to_string()])?,
    };
    Ok(())
}

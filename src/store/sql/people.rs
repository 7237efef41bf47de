//! Agencies with their members, and staff, as rows.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    db::{Asked, Db, Row, params},
    fields::{Fields, int, wire},
};
use crate::{
    assignment::{Agency, Directory, StaffRole},
    ids::{Account, AgencyId, StaffId, UserId},
    revision::Revision,
    store::{AccountStatus, StoreError},
    time::Timestamp,
};

/// Everybody: what a running service holds in memory.
pub(super) fn load_all(db: &dyn Db) -> Result<Directory, StoreError> {
    let mut agencies: BTreeMap<AgencyId, Agency> = BTreeMap::new();
    for row in db.query("SELECT * FROM agency", params![])? {
        let agency = agency_of(&row)?;
        agencies.insert(agency.id.clone(), agency);
    }
    for row in db.query("SELECT * FROM agency_member", params![])? {
        let f = Fields::keyed("agency_member", "agency", &row);
        let agency = agencies.get_mut(f.text("agency")?).ok_or_else(|| f.bad("there is no such agency"))?;
        agency.members.insert(f.parse("user")?, f.name("role")?);
    }
    let mut directory = Directory::default();
    for agency in agencies.into_values() {
        directory.put_agency(Arc::new(agency));
    }
    for row in db.query("SELECT * FROM staff", params![])? {
        let (id, role) = staff_of(&row)?;
        directory.put_staff(id, Some(role));
    }
    Ok(directory)
}

/// An agency and all its members.
const WHOLE: [&str; 2] = ["SELECT * FROM agency WHERE id = ?1", "SELECT * FROM agency_member WHERE agency = ?1"];

/// What [`load_agency`] asks.
pub(super) fn load_agency_asks(id: &AgencyId) -> impl Iterator<Item = Asked<'static>> {
    WHOLE.iter().map(|sql| ((*sql).into(), vec![id.to_string().into()]))
}

/// One agency with all its members.
pub(super) fn load_agency(db: &dyn Db, id: &AgencyId) -> Result<Option<Agency>, StoreError> {
    let mut answers = db.query_all(&WHOLE, params![id.as_str()])?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let Some(mut agency) = next().first().map(agency_of).transpose()? else { return Ok(None) };
    for row in next() {
        let f = Fields { table: "agency_member", key: id.as_str(), row: &row };
        agency.members.insert(f.parse("user")?, f.name("role")?);
    }
    Ok(Some(agency))
}

/// The agencies in which this person is an admin.
pub(super) fn agencies_of_admin(db: &dyn Db, user: &UserId) -> Result<Vec<AgencyId>, StoreError> {
    let sql = r#"SELECT agency FROM agency_member WHERE "user" = ?1 AND role = 'admin' ORDER BY agency"#;
    let key = user.as_str();
    db.all(sql, params![key], |row| Fields { table: "agency_member", key, row }.parse("agency"))
}

/// What this member of staff is.
pub(super) fn load_staff(db: &dyn Db, id: &StaffId) -> Result<Option<StaffRole>, StoreError> {
    let found = db.one("SELECT * FROM staff WHERE id = ?1", params![id.as_str()], staff_of)?;
    Ok(found.map(|(_, role)| role))
}

fn agency_of(row: &Row) -> Result<Agency, StoreError> {
    let f = Fields::keyed("agency", "id", row);
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

fn staff_of(row: &Row) -> Result<(StaffId, StaffRole), StoreError> {
    let f = Fields::keyed("staff", "id", row);
    Ok((f.parse("id")?, f.name("role")?))
}

/// Writes what differs from `old`, the agency as it is stored, and stamps `new` with the revision.
pub(super) fn save_agency(
    db: &dyn Db,
    old: Option<&Agency>,
    new: &mut Agency,
    revision: Revision,
) -> Result<(), StoreError> {
    new.revision = revision;
    let row = vec![
        ("id", new.id.as_str().into()),
        ("revision", int(revision.0)?.into()),
        ("name", (&new.name).into()),
        ("domain", (&new.domain).into()),
        ("verified", new.verified.into()),
        ("status", wire(new.status)?.into()),
        ("status_since", new.status_since.into()),
        ("card", new.card.into()),
        ("returns_at", new.returns_at.into()),
    ];
    db.put("agency", &["id"], row, None)?;
    let none = BTreeMap::new();
    let stored = old.map_or(&none, |agency| &agency.members);
    for (user, role) in new.members.iter().filter(|(user, role)| stored.get(*user) != Some(*role)) {
        let row =
            vec![("agency", new.id.as_str().into()), ("user", user.as_str().into()), ("role", wire(role)?.into())];
        db.put("agency_member", &["agency", "user"], row, None)?;
    }
    for user in stored.keys().filter(|user| !new.members.contains_key(*user)) {
        let sql = r#"DELETE FROM agency_member WHERE agency = ?1 AND "user" = ?2"#;
        db.execute(sql, params![new.id.as_str(), user.as_str()])?;
    }
    Ok(())
}

/// Registers a member of staff, changes their role, or removes them with `None`.
pub(super) fn save_staff(db: &dyn Db, id: &StaffId, role: Option<StaffRole>) -> Result<(), StoreError> {
    match role {
        Some(role) => db.put("staff", &["id"], vec![("id", id.as_str().into()), ("role", wire(role)?.into())], None)?,
        None => db.execute("DELETE FROM staff WHERE id = ?1", params![id.as_str()])?,
    };
    Ok(())
}

/// An account that is not simply open.
const CLOSING: &str = "SELECT * FROM account WHERE account = ?1";

/// What [`closing`] asks.
pub(super) fn closing_asks(account: &Account) -> Asked<'static> {
    (CLOSING.into(), vec![account.to_string().into()])
}

/// What becomes of an account; none while it is open.
pub(super) fn closing(db: &dyn Db, account: &Account) -> Result<Option<AccountStatus>, StoreError> {
    let key = account.to_string();
    db.one(CLOSING, params![&key], |row| Fields { table: "account", key: &key, row }.name("status"))
}

/// Notes what becomes of an account; `None` opens it again.
pub(super) fn save_account(
    db: &dyn Db,
    account: &Account,
    status: Option<AccountStatus>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let account = account.to_string();
    match status {
        Some(status) => {
            let row = vec![("account", account.into()), ("status", wire(status)?.into()), ("since", at.into())];
            db.put("account", &["account"], row, None)?
        }
        None => db.execute("DELETE FROM account WHERE account = ?1", params![&account])?,
    };
    Ok(())
}

//! On which sites may somebody be anybody? Candidates for a search, by the ways in which access is had.
//!
//! Each way has an index of its own, and each is read in the order of site ids from where the page before ended; what they
//! find together is one page. One statement with a UNION lost: neither database reads an index of 100,000 sites in order
//! behind a join, but sorts them all for each page.

use std::collections::BTreeSet;

use super::{
    db::{Db, params},
    fields::Fields,
    readers::{cut, one_more, site_ids},
};
use crate::{
    ids::{Account, AgencyId, SiteId},
    store::{Page, SitesOf, StoreError},
};

/// Ways of an account, written `user:ID` or `agency:ID`.
const BY_ACCOUNT: &[&str] = &[
    "SELECT id FROM site WHERE content_owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    "SELECT site AS id FROM handover WHERE status IN ('requested', 'open') AND initiator = ?1 AND site > ?2 ORDER BY site LIMIT ?3",
    "SELECT site AS id FROM handover WHERE status IN ('requested', 'open') AND recipient = ?1 AND site > ?2 ORDER BY site LIMIT ?3",
];
/// Ways of a person, by the bare id.
const BY_USER: &[&str] = &[
    r#"SELECT site AS id FROM contributor WHERE "user" = ?1 AND site > ?2 ORDER BY site LIMIT ?3"#,
    r#"SELECT site AS id FROM agency_grant WHERE "user" = ?1 AND site > ?2 ORDER BY site LIMIT ?3"#,
];
/// The agency that holds a seat, by the bare id.
const BY_AGENCY: &[&str] = &["SELECT id FROM site WHERE agency = ?1 AND id > ?2 ORDER BY id LIMIT ?3"];
/// The agencies through which somebody may be anybody on every site of theirs. A member is that on delegated sites only.
const AGENCIES: &str = r#"SELECT agency FROM agency_member WHERE "user" = ?1 AND role <> 'member' ORDER BY agency"#;
/// Support sessions.
const BY_AGENT: &[&str] =
    &["SELECT DISTINCT site AS id FROM support_session WHERE agent = ?1 AND site > ?2 ORDER BY site LIMIT ?3"];

/// A page of candidates in the order of their ids, after one.
pub(super) fn sites_of(
    db: &dyn Db,
    of: &SitesOf,
    after: Option<&SiteId>,
    limit: usize,
) -> Result<Page<SiteId>, StoreError> {
    let mut found = BTreeSet::new();
    let mut add = |ways: &[&str], key: &str| -> Result<(), StoreError> {
        for sql in ways {
            // No identifier sorts before the empty text.
            let rows = db.query(sql, params![key, after.map_or("", SiteId::as_str), one_more(limit)])?;
            for row in &rows {
                found.insert(Fields { table: "site", key: "its id", row }.parse("id")?);
            }
        }
        Ok(())
    };
    match of {
        SitesOf::All => return site_ids(db, after, limit),
        SitesOf::Agent(staff) => add(BY_AGENT, staff.as_str())?,
        SitesOf::Person(user) => {
            add(BY_ACCOUNT, &Account::User(user.clone()).to_string())?;
            add(BY_USER, user.as_str())?;
            for row in &db.query(AGENCIES, params![user.as_str()])? {
                let agency: AgencyId = Fields { table: "agency_member", key: user.as_str(), row }.parse("agency")?;
                add(BY_AGENCY, agency.as_str())?;
                add(BY_ACCOUNT, &Account::Agency(agency).to_string())?;
            }
        }
    }
    Ok(cut(found.into_iter().collect(), limit))
}

/// What authenticates the places where pages go on.
pub(super) fn page_secret(db: &dyn Db) -> Result<String, StoreError> {
    let found = db.one("SELECT value FROM secret WHERE name = 'pages'", params![], |row| {
        Ok(Fields { table: "secret", key: "pages", row }.text("value")?.to_owned())
    })?;
    found.ok_or_else(|| super::fields::corrupt("secret", "pages", "there is no such row"))
}

//! On what do the policies' tests stand? Named people, agencies, staff and sites, at a pinned moment.
//!
//! A fixture file is one small world. Its sites have the shape of [`SiteDocument`], with four additions that keep a cast
//! from being written twice: `like` takes everything from another site and overrides what is written, `is` says in
//! words what the site shows, `agency_status` asks as if the site's agency had that status, and what can be derived of
//! an `open_handover` (its id, its site, its status) may be left out.
//!
//! Everything is checked: a person must be declared before a site may name them, so that a slip of the pen cannot turn
//! a test about an owner into a test about a stranger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use smol_str::SmolStr;
use toml::{Spanned, Table, Value};

use super::{line_at, toml_problem};
use crate::{
    assignment::{Agency, AgencyStatus, Directory, MemberRole, SitePolicies, StaffRole},
    ids::{Account, AgencyId, Principal, SiteId, StaffId, UserId},
    policy::{Problem, Problems, Source},
    revision::Revision,
    site::{Site, SiteDocument},
    time::Timestamp,
};

/// A fixture file.
#[derive(Debug, Clone)]
pub struct World {
    /// The file's path.
    pub path: String,
    /// The file's name without its ending, by which suites refer to it.
    pub name: String,
    /// The moment at which every question is asked.
    pub now: Timestamp,
    /// Everybody who may ask, in the file's order: people, then staff.
    pub people: Vec<Person>,
    /// Agencies and staff.
    pub directory: Directory,
    /// The sites, in the file's order.
    pub sites: Vec<FixtureSite>,
}

/// Somebody who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub principal: Principal,
    /// Who that is, in words.
    pub is: String,
}

/// A site of a fixture.
#[derive(Debug, Clone)]
pub struct FixtureSite {
    /// The site it takes after.
    pub like: Option<SiteId>,
    /// What it shows, in words.
    pub is: String,
    /// The site as it would be stored.
    pub site: Site,
    /// The directory under which it is asked about, when it is not the world's own.
    directory: Option<Directory>,
    line: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorldToml {
    now: Timestamp,
    #[serde(default)]
    people: BTreeMap<UserId, Spanned<String>>,
    #[serde(default)]
    agencies: BTreeMap<AgencyId, AgencyToml>,
    #[serde(default)]
    staff: BTreeMap<StaffId, Spanned<StaffToml>>,
    #[serde(default)]
    sites: BTreeMap<SiteId, Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgencyToml {
    name: String,
    domain: String,
    #[serde(default)]
    verified: bool,
    #[serde(default = "active")]
    status: AgencyStatus,
    #[serde(default)]
    members: BTreeMap<UserId, MemberRole>,
}

const fn active() -> AgencyStatus {
    AgencyStatus::Active
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StaffToml {
    role: StaffRole,
    is: String,
}

impl World {
    /// Reads a fixture file.
    ///
    /// # Errors
    /// Everything wrong with it, with file and line.
    pub fn parse(file: &Source) -> Result<Self, Problems> {
        let toml: WorldToml = toml::from_str(&file.text).map_err(|error| Problems(vec![toml_problem(file, &error)]))?;
        let name = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".toml").to_owned();
        let now = toml.now;
        let mut directory = Directory::default();
        for (id, agency) in toml.agencies {
            let AgencyToml { name, domain, verified, status, members } = agency;
            let revision = Revision::default();
            let since = now;
            let card = true;
            directory.put_agency(Arc::new(Agency {
                id,
                name,
                domain,
                verified,
                status,
                status_since: since,
                returns_at: None,
                card,
                members,
                revision,
            }));
        }
        let mut people = Vec::new();
        for (id, is) in toml.people {
            people.push((is.span().start, Person { principal: Principal::User(id), is: is.into_inner() }));
        }
        for (id, staff) in toml.staff {
            let start = file.text.len() + staff.span().start;
            let StaffToml { role, is } = staff.into_inner();
            directory.put_staff(id.clone(), Some(role));
            people.push((start, Person { principal: Principal::Staff(id), is }));
        }
        people.sort_by_key(|(start, _)| *start);
        let people = people.into_iter().map(|(_, person)| person).collect();
        let mut world = Self { path: file.path.clone(), name, now, people, directory, sites: Vec::new() };
        let mut problems = Vec::new();
        let tables: BTreeMap<SiteId, (usize, Table)> = toml
            .sites
            .into_iter()
            .map(|(id, table)| {
                let header = format!("[sites.{id}]");
                let start = file.text.find(&header).unwrap_or_else(|| table.span().start);
                (id, (start, table.into_inner()))
            })
            .collect();
        for (id, (start, _)) in &tables {
            let line = line_at(&file.text, *start);
            match site(&tables, id, line, &world) {
                Ok(site) => world.sites.push(site),
                Err(reason) => {
                    problems.push(Problem { path: file.path.clone(), line, reason: format!("site `{id}`: {reason}") });
                }
            }
        }
        world.sites.sort_by_key(|site| site.line);
        problems.extend(world.undeclared());
        if problems.is_empty() { Ok(world) } else { Err(Problems(problems)) }
    }

    /// The site of this id.
    #[must_use]
    pub fn site(&self, id: &str) -> Option<&FixtureSite> {
        self.sites.iter().find(|site| site.site.id.as_str() == id)
    }
    /// The person of this name: `maria`, `user:maria` or `staff:sam`; a service needs no declaration.
    #[must_use]
    pub fn principal(&self, name: &str) -> Option<Principal> {
        let declared = self.people.iter().map(|person| &person.principal);
        match name.parse::<Principal>() {
            Ok(service @ Principal::Service(_)) => Some(service),
            Ok(full) => declared.into_iter().find(|principal| **principal == full).cloned(),
            Err(_) => declared.into_iter().find(|principal| principal.id() == name).cloned(),
        }
    }
    /// The directory under which a site is asked about.
    #[must_use]
    pub fn directory_of<'a>(&'a self, site: &'a FixtureSite) -> &'a Directory {
        site.directory.as_ref().unwrap_or(&self.directory)
    }
    /// What a fixture says that the loaded policies do not know: roles that are not in the schema or that no
    /// invitation can give, confirmed actions that do not exist.
    #[must_use]
    pub fn unknown_to(&self, policies: &SitePolicies) -> Vec<Problem> {
        let mut problems = Vec::new();
        for fixture in &self.sites {
            let mut problem = |reason: String| {
                problems.push(Problem { path: self.path.clone(), line: fixture.line, reason });
            };
            for (user, row) in &fixture.site.contributors {
                if !policies.strengths().is_person_role(&row.role) {
                    problem(format!("`{user}` has the role `{}`, which no invitation can give", row.role));
                }
            }
            for confirmation in &fixture.site.confirmations {
                if policies.bundle().action(&confirmation.action).is_none() {
                    problem(format!("`{}` is confirmed, but there is no such action", confirmation.action));
                }
            }
        }
        problems
    }

    /// People, staff and agencies that something names and nothing declares.
    fn undeclared(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let known = |account: &Account| match account {
            Account::User(user) => self.principal(&format!("user:{user}")).is_some(),
            Account::Agency(agency) => self.directory.agency(agency).is_some(),
        };
        for agency in self.directory.agencies() {
            for user in agency.members.keys().filter(|user| !known(&Account::User((*user).clone()))) {
                problems.push(Problem::of_file(
                    &self.path,
                    format!("agency `{}` has the member `{user}`, who is not among `[people]`", agency.id),
                ));
            }
        }
        for fixture in &self.sites {
            let site = &fixture.site;
            let mut named: BTreeSet<Account> = BTreeSet::new();
            named.extend(site.seats.content_owner());
            named.extend(site.seats.plan_holder());
            named.extend(site.domains.iter().map(|domain| domain.holder.clone()));
            named.extend(site.contributors.keys().cloned().map(Account::User));
            named.extend(site.contributors.values().map(|row| row.grantor.clone()));
            named.extend(site.grants.keys().chain(&site.blocked).cloned().map(Account::User));
            named.extend(site.sessions.iter().map(|session| session.granted_by.clone()));
            if let Some(offer) = &site.open_handover {
                named.extend([offer.initiator.clone(), offer.to.clone()]);
                named.extend(offer.initiated_by.user().cloned().map(Account::User));
            }
            let mut missing: Vec<String> =
                named.iter().filter(|account| !known(account)).map(ToString::to_string).collect();
            missing.extend(
                site.sessions
                    .iter()
                    .filter(|session| self.directory.staff_role(&session.agent).is_none())
                    .map(|session| format!("staff:{}", session.agent)),
            );
            problems.extend(missing.into_iter().map(|who| Problem {
                path: self.path.clone(),
                line: fixture.line,
                reason: format!("site `{}` names `{who}`, which the fixture does not declare", site.id),
            }));
        }
        problems
    }
}

/// One site: its own table over that of the site it is like.
fn site(
    all: &BTreeMap<SiteId, (usize, Table)>,
    id: &SiteId,
    line: usize,
    world: &World,
) -> Result<FixtureSite, String> {
    let parent = like_of(all, id)?;
    let mut table = inherited(all, id, &mut Vec::new())?;
    let is = text(table.remove("is"), "is")?.ok_or("`is` is missing: say in words what the site shows")?;
    let status = table.remove("agency_status");
    table.insert("id".to_owned(), Value::String(id.to_string()));
    if let Some(offer) = table.get_mut("open_handover").and_then(Value::as_table_mut) {
        complete_offer(offer, id, world.now);
    }
    let document: SiteDocument =
        Value::Table(table).try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let site = Site::try_from(document).map_err(|error| error.to_string())?;
    let directory = match status {
        None => None,
        Some(status) => {
            let status: AgencyStatus =
                status.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
            let agency = site.seats.agency().and_then(|id| world.directory.agency(id));
            let agency = agency.ok_or("`agency_status` is for a site on which an agency has a seat")?;
            let mut directory = world.directory.clone();
            directory.put_agency(Arc::new(Agency { status, ..Agency::clone(agency) }));
            Some(directory)
        }
    };
    Ok(FixtureSite { like: parent, is, site, directory, line })
}

fn like_of(tables: &BTreeMap<SiteId, (usize, Table)>, id: &SiteId) -> Result<Option<SiteId>, String> {
    let (_, table) = tables.get(id).ok_or_else(|| format!("`like` names `{id}`, which is no site of this file"))?;
    match table.get("like") {
        None => Ok(None),
        Some(Value::String(like)) => SmolStr::new(like).try_into().map(Some).map_err(|error| format!("{error}")),
        Some(_) => Err("`like` is the id of another site".to_owned()),
    }
}

fn inherited(tables: &BTreeMap<SiteId, (usize, Table)>, id: &SiteId, seen: &mut Vec<SiteId>) -> Result<Table, String> {
    if seen.contains(id) {
        return Err(format!("`like` goes round in a circle at `{id}`"));
    }
    seen.push(id.clone());
    let like = like_of(tables, id)?;
    let (_, own) = tables.get(id).ok_or_else(|| format!("there is no site `{id}`"))?;
    let mut own = own.clone();
    own.remove("like");
    let Some(like) = like else { return Ok(own) };
    let mut base = inherited(tables, &like, seen)?;
    // What a site shows and how it is asked about is its own.
    base.remove("is");
    base.remove("agency_status");
    overlay(&mut base, own);
    Ok(base)
}

/// Tables are merged, everything else is replaced.
fn overlay(base: &mut Table, own: Table) {
    for (key, value) in own {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => overlay(under, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// What follows from the rest of an offer, unless it is written.
fn complete_offer(offer: &mut Table, site: &SiteId, now: Timestamp) {
    let to = offer.get("to").cloned();
    for (key, value) in [
        ("id", format!("offer-of-{site}").into()),
        ("site", site.to_string().into()),
        ("status", "open".into()),
        ("consents_needed", Value::Array(to.into_iter().collect())),
        ("consents_given", Value::Array(Vec::new())),
        ("offered_at", now.to_string().into()),
        ("revision_at_offer", Value::Integer(1)),
        ("preview_digest", "sha256:fixture".into()),
    ] {
        offer.entry(key).or_insert(value);
    }
}

fn text(value: Option<Value>, key: &str) -> Result<Option<String>, String> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{key}` is a text")),
    }
}

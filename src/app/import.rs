//! Whole records from outside, and out again: agencies, staff, and sites with everybody on them.
//!
//! A [`Record`] is one line of an import or export. [`import_batch`] takes many in one transaction: all of them, or
//! none and a list of what is wrong with which line. What is there already exactly as the line says is passed over, so
//! that an import that broke off is simply run again; what is there differently is an error, because seats and titles
//! of a registered site move by commands only. Replacing what is there lost: an old file would undo a handover.
//!
//! The caller is the only writer (it holds the database's lock), so what is read just before a batch still holds in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use smol_str::SmolStr;

use super::registry;
use crate::{
    assignment::{Agency, Directory, SitePolicies, StaffRole},
    handover::{HandoverKind, HandoverStatus},
    ids::{Account, AgencyId, SiteId, StaffId},
    revision::Revision,
    site::{Mode, ReturnReason, Seats, Side, Site, SiteDocument},
    store::{Changes, Loaded, NewEvent, Store, StoreError, Verdict, Wanted},
    time::Timestamp,
};

/// One line of an import or export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// An agency with its members.
    Agency(Agency),
    /// A member of the platform's staff.
    Staff(StaffRecord),
    /// A site with everybody on it.
    Site(Box<SiteDocument>),
}

/// A member of the platform's staff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaffRecord {
    /// Who.
    pub id: StaffId,
    /// What they may be asked to do.
    pub role: StaffRole,
}

impl Record {
    /// As one line of JSON, without the line's end. Revisions are left out: they belong to the history they are from.
    ///
    /// # Errors
    /// When the record has no JSON form, which the types rule out.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let mut json = serde_json::to_value(self)?;
        for path in ["/agency", "/site"] {
            let Some(thing) = json.pointer_mut(path).and_then(|thing| thing.as_object_mut()) else { continue };
            thing.remove("revision");
            let people = thing.get_mut("contributors").and_then(|people| people.as_object_mut());
            for person in people.into_iter().flat_map(|people| people.values_mut()) {
                if let Some(person) = person.as_object_mut() {
                    person.remove("revision");
                }
            }
        }
        serde_json::to_string(&json)
    }
}

/// A record and the line it was read from, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it was read.
    pub number: u64,
    /// What it says.
    pub record: Record,
}

/// Something wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LineError {
    /// Which line, from 1.
    pub line: u64,
    /// What is wrong with it and, where that helps, what would be right.
    pub reason: String,
}

/// Why a batch was not imported. Nothing of it was written then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Lines that cannot be imported, at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Lines(Vec<LineError>),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How many records were written, and how many were there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// New agencies.
    pub agencies: u64,
    /// New members of staff.
    pub staff: u64,
    /// New sites.
    pub sites: u64,
    /// Lines that said what holds already.
    pub present: u64,
}

impl Imported {
    /// Adds what another batch did.
    pub fn add(&mut self, other: Self) {
        self.agencies += other.agencies;
        self.staff += other.staff;
        self.sites += other.sites;
        self.present += other.present;
    }
}

/// Imports all lines in one transaction, with one audit event for each record, or none of them.
///
/// # Errors
/// Every line that cannot be imported, with the reason; or what the store says.
pub async fn import_batch<S: Store>(
    store: &S,
    policies: &Arc<SitePolicies>,
    lines: Vec<Line>,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    let any_staff = lines.iter().any(|line| matches!(line.record, Record::Staff(_)));
    let staff = if any_staff { store.directory().await?.value } else { Directory::default() };
    let wanted = wanted(&lines);
    let policies = Arc::clone(policies);
    let decide = Box::new(move |loaded: &Loaded| {
        let mut batch = Batch::new(&policies, loaded, &staff, now);
        for line in lines {
            batch.take(line);
        }
        batch.verdict()
    });
    store.change(wanted, decide).await?
}

/// Everything that the lines could meet in the store.
fn wanted(lines: &[Line]) -> Wanted {
    let mut sites: BTreeSet<SiteId> = BTreeSet::new();
    let mut agencies: BTreeSet<AgencyId> = BTreeSet::new();
    for line in lines {
        match &line.record {
            Record::Agency(agency) => {
                agencies.insert(agency.id.clone());
            }
            Record::Staff(_) => {}
            Record::Site(document) => {
                sites.insert(document.id.clone());
                agencies.extend(named_agencies(document).map(|(_, id)| id.clone()));
            }
        }
    }
    Wanted { sites: sites.into_iter().collect(), agencies: agencies.into_iter().collect(), ..Wanted::default() }
}

/// The agencies that a site names, with the field that does.
pub fn named_agencies(document: &SiteDocument) -> impl Iterator<Item = (&'static str, &AgencyId)> {
    let seats = [("owner", document.owner.as_ref())];
    let offer = document.open_handover.iter();
    let offer =
        offer.flat_map(|o| [("open_handover.initiator", Some(&o.initiator)), ("open_handover.to", Some(&o.to))]);
    let grantors = document.contributors.values().map(|row| ("contributors", Some(&row.grantor)));
    let accounts = seats.into_iter().chain(offer).chain(grantors);
    let agencies = accounts.filter_map(|(field, account)| match account? {
        Account::Agency(id) => Some((field, id)),
        Account::User(_) => None,
    });
    document.partner.iter().map(|id| ("partner", id)).chain(agencies)
}

/// One batch inside its transaction.
struct Batch<'a> {
    policies: &'a SitePolicies,
    loaded: &'a Loaded,
    staff: &'a Directory,
    sites: BTreeMap<SiteId, Site>,
    agencies: BTreeMap<AgencyId, Agency>,
    new_staff: BTreeMap<StaffId, StaffRole>,
    events: Vec<NewEvent>,
    at: Timestamp,
    imported: Imported,
    wrong: Vec<LineError>,
}

impl<'a> Batch<'a> {
    fn new(policies: &'a SitePolicies, loaded: &'a Loaded, staff: &'a Directory, now: Timestamp) -> Self {
        Self {
            policies,
            loaded,
            staff,
            sites: BTreeMap::new(),
            agencies: BTreeMap::new(),
            new_staff: BTreeMap::new(),
            events: Vec::new(),
            at: now.max(loaded.head.at),
            imported: Imported::default(),
            wrong: Vec::new(),
        }
    }

    fn take(&mut self, line: Line) {
        let taken = match line.record {
            Record::Agency(agency) => self.agency(agency),
            Record::Staff(staff) => self.member_of_staff(staff),
            Record::Site(document) => self.site(*document),
        };
        if let Err(reason) = taken {
            self.wrong.push(LineError { line: line.number, reason });
        }
    }

    fn agency(&mut self, mut agency: Agency) -> Result<(), String> {
        agency.revision = Revision::default();
        let stored = self.loaded.directory.agency(&agency.id).map(|stored| {
            let mut stored = Agency::clone(stored);
            stored.revision = Revision::default();
            stored
        });
        if let Some(present) = self.agencies.get(&agency.id).or(stored.as_ref()) {
            return self.present(*present == agency, "agency", agency.id.as_str());
        }
        registry::presentable(&agency.name, &agency.domain).map_err(|failure| failure.detail)?;
        let data = json!({ "agency": agency.id, "name": agency.name, "domain": agency.domain,
            "verified": agency.verified, "status": agency.status, "members": agency.members });
        self.event(None, "AgencyImported", data);
        self.imported.agencies += 1;
        self.agencies.insert(agency.id.clone(), agency);
        Ok(())
    }

    fn member_of_staff(&mut self, staff: StaffRecord) -> Result<(), String> {
        let present = self.new_staff.get(&staff.id).copied().or_else(|| self.staff.staff_role(&staff.id));
        if let Some(role) = present {
            return self.present(role == staff.role, "member of staff", staff.id.as_str());
        }
        self.event(None, "StaffImported", json!({ "staff": staff.id, "role": staff.role }));
        self.imported.staff += 1;
        self.new_staff.insert(staff.id, staff.role);
        Ok(())
    }

    fn site(&mut self, document: SiteDocument) -> Result<(), String> {
        for (field, id) in named_agencies(&document) {
            if !self.agencies.contains_key(id) && self.loaded.directory.agency(id).is_none() {
                return Err(format!(
                    "site `{}`: `{field}` names the agency `{id}`, which is neither registered nor on an earlier line",
                    document.id
                ));
            }
        }
        let mode = document.mode;
        let site = Site::try_from(document).map(without_revisions).map_err(|error| error.to_string())?;
        self.check(&site).map_err(|reason| format!("site `{}`: {reason}", site.id))?;
        let stored = self.loaded.sites.iter().flatten().find(|stored| stored.id == site.id).cloned();
        let stored = stored.map(without_revisions);
        if let Some(present) = self.sites.get(&site.id).or(stored.as_ref()) {
            return self.present(*present == site, "site", site.id.as_str());
        }
        let data = json!({ "mode": mode, "content_owner": site.seats.content_owner(),
            "plan_holder": site.seats.plan_holder(), "plan": site.plan, "published": site.published,
            "domains": site.domains, "contributors": site.contributors.len() });
        self.event(Some(site.id.clone()), "SiteImported", data);
        self.imported.sites += 1;
        self.sites.insert(site.id.clone(), site);
        Ok(())
    }

    /// What the shape of a document cannot tell.
    fn check(&self, site: &Site) -> Result<(), String> {
        let strengths = self.policies.strengths();
        if let Some((user, row)) = site.contributors.iter().find(|(_, row)| !strengths.is_person_role(&row.role)) {
            let known: Vec<&str> = strengths.person_roles().iter().map(SmolStr::as_str).collect();
            return Err(format!(
                "`{user}` cannot be given the role `{}`: the roles of people are {}",
                row.role,
                known.join(", ")
            ));
        }
        if let Some(domain) = site.domains.iter().find(|domain| !registry::is_hostname(&domain.name)) {
            return Err(format!("`{}` is not a host name in lower case such as `bakery.example`", domain.name));
        }
        let names: BTreeSet<&str> = site.domains.iter().map(|domain| domain.name.as_str()).collect();
        if names.len() != site.domains.len() {
            return Err("a domain is listed twice".to_owned());
        }
        registry::plan_texts(&site.plan).map_err(|failure| failure.detail)?;
        possible(site)
    }

    fn present(&mut self, same: bool, kind: &str, id: &str) -> Result<(), String> {
        if same {
            self.imported.present += 1;
            return Ok(());
        }
        Err(format!("there is another {kind} `{id}` already; an import adds and never changes what is there"))
    }

    fn event(&mut self, site: Option<SiteId>, kind: &str, data: serde_json::Value) {
        self.events.push(NewEvent { site, kind: kind.to_owned(), actor: None, via: None, data, evidence: None });
    }

    fn verdict(self) -> Verdict<Result<Imported, ImportError>> {
        if !self.wrong.is_empty() {
            return Verdict::Leave(Err(ImportError::Lines(self.wrong)));
        }
        if self.events.is_empty() {
            return Verdict::Leave(Ok(self.imported));
        }
        let changes = Changes {
            sites: self.sites.into_values().collect(),
            agencies: self.agencies.into_values().collect(),
            staff: self.new_staff.into_iter().map(|(id, role)| (id, Some(role))).collect(),
            events: self.events,
            at: self.at,
            ..Changes::default()
        };
        Verdict::Commit(Box::new(changes), Ok(self.imported))
    }
}

/// The same whichever history it is from.
fn without_revisions(mut site: Site) -> Site {
    site.revision = Revision::default();
    for row in site.contributors.values_mut() {
        row.revision = Revision::default();
    }
    site
}

/// States that no sequence of commands reaches: what they would mean later nobody has thought through.
fn possible(site: &Site) -> Result<(), String> {
    let engaged = site.seats.engagement().is_some();
    if let Some(offer) = &site.open_handover {
        let fits = match offer.kind {
            HandoverKind::PartnerHandover => site.seats.mode() == Mode::SelfManaged,
            HandoverKind::ClientAssignment => site.seats.mode() == Mode::PartnerBuilt,
            HandoverKind::PartnerReplacement => engaged,
            HandoverKind::OwnershipTransfer => {
                let by_case = offer.terms.as_ref().is_some_and(|terms| terms.case.is_some());
                site.seats.owner().is_some() || (engaged && by_case)
            }
        };
        let seated = match offer.status {
            // A request comes from an agency without a seat, and goes to the owner.
            HandoverStatus::Requested => site.seats.owner().as_ref() == Some(&offer.to),
            _ => site.seats.owner().is_none() || site.seats.owner().as_ref() == Some(&offer.initiator),
        };
        if !fits || !seated {
            return Err("`open_handover` was not made from a seat of this site".to_owned());
        }
        if site.return_pending().is_some_and(|pending| pending.reason == ReturnReason::Reclaim) {
            return Err("a site that its client takes back has no `open_handover`".to_owned());
        }
    }
    let holder = match &site.seats {
        Seats::SelfManaged { owner } => Some(owner),
        Seats::PartnerManaged(engagement) => Some(&engagement.client),
        Seats::PartnerBuilt { .. } | Seats::Purged => None,
    };
    if let Some(user) = holder.filter(|user| site.contributors.contains_key(*user)) {
        return Err(format!("`{user}` holds a seat of the site and cannot be a contributor too"));
    }
    if site.seats.mode() == Mode::SelfManaged {
        if !(site.grants.is_empty() && site.blocked.is_empty()) {
            return Err("a self-managed site has no agency: `grants` and `blocked` must be empty".to_owned());
        }
        if let Some((user, _)) = site.contributors.iter().find(|(_, row)| row.side == Side::Partner) {
            return Err(format!("`{user}` is on the partner's side of a site that has no partner"));
        }
    }
    Ok(())
}

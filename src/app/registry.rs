//! What the platform registers and reports: sites, agencies and their people, staff.
//!
//! A `PUT` creates, or changes what the platform merely reports; seats, titles, payers and the plan's status move by
//! commands only. Saying again what holds already changes nothing and bumps no revision. Suspending an agency is one
//! row: its rights end with that commit on every site, and open offers that name it end in the same transaction.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, json};

use super::{App, Failure, Kind};
use crate::{
    assignment::{Agency, AgencyStatus, MemberRole, StaffRole},
    handover,
    ids::{Account, AgencyId, SiteId, StaffId, UserId},
    revision::Revision,
    site::{Domain, Mode, Plan, Seats, Site},
    store::{Changes, Loaded, NewEvent, Store, Verdict, Wanted},
};

/// Most domains of one site.
const MAX_DOMAINS: usize = 100;
/// Longest agency name, in characters.
const MAX_NAME: usize = 80;

/// `PUT /v1/sites/{site}`.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteUpdate {
    /// `self_managed` or `partner_built`.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// `user:ID` for a self-managed site, `agency:ID` for a partner-built one.
    #[schema(value_type = String)]
    pub owner: Account,
    /// The host plan.
    pub plan: Plan,
    /// Whether visitors can see the site.
    #[serde(default)]
    pub published: bool,
    /// Connected domains: names, or names with their holders.
    #[serde(default)]
    #[schema(value_type = Vec<Domain>)]
    pub domains: Vec<DomainUpdate>,
}

/// A domain by name, held by the owner, or with another holder.
#[derive(Debug, Clone)]
pub enum DomainUpdate {
    /// `"bakery.example"`.
    Name(String),
    /// `{"name":"bakery.example","holder":"user:maria"}`.
    Held(Domain),
}

/// By hand: an untagged enumeration would also take an array for a domain.
impl<'de> Deserialize<'de> for DomainUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = DomainUpdate;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a domain's name, or an object with `name` and `holder`")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<DomainUpdate, E> {
                Ok(DomainUpdate::Name(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<DomainUpdate, A::Error> {
                Domain::deserialize(MapAccessDeserializer::new(members)).map(DomainUpdate::Held)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// `PUT /v1/agencies/{agency}`.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgencyUpdate {
    /// The name that clients are shown.
    pub name: String,
    /// The agency's domain, shown beside the name.
    pub domain: String,
    /// Whether the platform checked both.
    #[serde(default)]
    pub verified: bool,
    /// Whether the agency's rights hold.
    #[serde(default = "active")]
    pub status: AgencyStatus,
}

const fn active() -> AgencyStatus {
    AgencyStatus::Active
}

/// What a registration did.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered<T> {
    /// It did not exist before.
    pub created: bool,
    /// The present revision of the installation.
    pub revision: Revision,
    /// The thing as it is now.
    pub value: T,
}

type Decided<T> = Verdict<Result<Registered<T>, Failure>>;

impl App {
    /// Registers a site, or changes what the platform reports about it.
    ///
    /// # Errors
    /// `400` for an owner or domain that does not fit; `404` for an unknown agency; `409` for a change that only
    /// commands make.
    pub async fn put_site(&self, id: SiteId, update: SiteUpdate) -> Result<Registered<Site>, Failure> {
        let seats = seats(&update)?;
        let domains = domains(&update)?;
        let agency = seats.agency().cloned();
        let wanted =
            Wanted { sites: vec![id.clone()], agencies: agency.iter().cloned().collect(), ..Wanted::default() };
        let clock = std::sync::Arc::clone(&self.clock);
        let decide = move |loaded: &Loaded| -> Decided<Site> {
            let at = clock.now().max(loaded.head.at);
            if let Some(agency) = &agency
                && loaded.directory.agency(agency).is_none()
            {
                return Verdict::Leave(Err(Failure::unknown_agency(agency.as_str())));
            }
            let Some(old) = loaded.sites.first().and_then(Option::as_ref) else {
                let site = Site::registered(id, seats, update.plan, update.published, domains);
                return commit(loaded, site, "SiteRegistered", at, true);
            };
            if let Err(failure) = fits(old, &seats, &update.plan) {
                return Verdict::Leave(Err(failure));
            }
            let mut site = old.clone();
            site.plan = Plan { bridge_until: old.plan.bridge_until, ..update.plan };
            site.published = update.published;
            site.domains = domains;
            if site == *old {
                return Verdict::Leave(Ok(Registered { created: false, revision: loaded.head.revision, value: site }));
            }
            commit(loaded, site, "SiteReported", at, false)
        };
        self.store.change(wanted, Box::new(decide)).await?
    }

    /// Registers an agency or changes it. Open offers that name an agency which is not active any more end with it.
    ///
    /// # Errors
    /// `400` for a name or domain that clients could be misled by.
    pub async fn put_agency(&self, id: AgencyId, update: AgencyUpdate) -> Result<Registered<Agency>, Failure> {
        presentable(&update)?;
        let ends = (update.status != AgencyStatus::Active).then(|| id.clone());
        let wanted = Wanted { agencies: vec![id.clone()], open_handovers_of: ends, ..Wanted::default() };
        let clock = std::sync::Arc::clone(&self.clock);
        let decide = move |loaded: &Loaded| -> Decided<Agency> {
            let old = loaded.directory.agency(&id);
            let mut agency = Agency {
                id: id.clone(),
                name: update.name,
                domain: update.domain,
                verified: update.verified,
                status: update.status,
                members: old.map(|old| old.members.clone()).unwrap_or_default(),
                revision: old.map(|old| old.revision).unwrap_or_default(),
            };
            if old.is_some_and(|old| **old == agency) {
                return Verdict::Leave(Ok(Registered {
                    created: false,
                    revision: loaded.head.revision,
                    value: agency,
                }));
            }
            let at = clock.now().max(loaded.head.at);
            let kind = match (old.map(|old| old.status), agency.status) {
                (None, _) => "AgencyRegistered",
                (Some(AgencyStatus::Active), AgencyStatus::Suspended) => "AgencySuspended",
                (Some(AgencyStatus::Active), AgencyStatus::Dissolving) => "AgencyDissolving",
                (Some(_), _) => "AgencyChanged",
            };
            let created = old.is_none();
            let mut changes = Changes { at, ..Changes::default() };
            changes.events.push(event(None, kind, json!({
                "agency": id, "name": agency.name, "domain": agency.domain, "verified": agency.verified, "status": agency.status,
            })));
            for site in loaded.sites.iter().flatten() {
                if let Some(applied) = handover::invalidate(site, at) {
                    let mut ended = super::command::changes(applied, None, at);
                    changes.sites.append(&mut ended.sites);
                    changes.handovers.append(&mut ended.handovers);
                    changes.events.append(&mut ended.events);
                }
            }
            changes.agencies.push(agency.clone());
            agency.revision = loaded.head.revision.next();
            Verdict::Commit(Box::new(changes), Ok(Registered { created, revision: agency.revision, value: agency }))
        };
        self.store.change(wanted, Box::new(decide)).await?
    }

    /// Puts a person into an agency, changes what they are there, or takes them out with `None`. All that they may do
    /// through the agency ends with the row, on every site.
    ///
    /// # Errors
    /// `404` for an unknown agency or member; `409 last_admin` when nobody would be left to act for the agency.
    pub async fn put_member(
        &self,
        id: AgencyId,
        user: UserId,
        role: Option<MemberRole>,
    ) -> Result<Registered<Agency>, Failure> {
        let wanted = Wanted { agencies: vec![id.clone()], ..Wanted::default() };
        let clock = std::sync::Arc::clone(&self.clock);
        let decide = move |loaded: &Loaded| -> Decided<Agency> {
            let Some(old) = loaded.directory.agency(&id) else {
                return Verdict::Leave(Err(Failure::unknown_agency(id.as_str())));
            };
            let before = old.member(&user);
            if before == role {
                return Verdict::Leave(match role {
                    Some(_) => {
                        Ok(Registered { created: false, revision: loaded.head.revision, value: Agency::clone(old) })
                    }
                    None => Err(Failure::new(
                        Kind::NotFound,
                        "unknown_member",
                        format!("`{user}` is not a member of the agency `{id}`."),
                    )),
                });
            }
            let mut agency = Agency::clone(old);
            match role {
                Some(role) => agency.members.insert(user.clone(), role),
                None => agency.members.remove(&user),
            };
            if old.admins().next().is_some() && agency.admins().next().is_none() {
                return Verdict::Leave(Err(Failure::new(
                    Kind::Conflict,
                    "last_admin",
                    format!(
                        "`{user}` is the last admin of `{id}`. Name another admin first, or set its status to dissolving."
                    ),
                )));
            }
            let at = clock.now().max(loaded.head.at);
            let kind = match (before, role) {
                (None, _) => "AgencyMemberAdded",
                (Some(_), None) => "AgencyMemberRemoved",
                (Some(_), Some(_)) => "AgencyMemberChanged",
            };
            let data = json!({ "agency": id, "user": user, "role": role });
            let changes = Changes {
                agencies: vec![agency.clone()],
                events: vec![event(None, kind, data)],
                at,
                ..Changes::default()
            };
            agency.revision = loaded.head.revision.next();
            let reply = Registered { created: before.is_none(), revision: agency.revision, value: agency };
            Verdict::Commit(Box::new(changes), Ok(reply))
        };
        self.store.change(wanted, Box::new(decide)).await?
    }

    /// Registers a member of staff, changes what they are, or removes them with `None`.
    ///
    /// # Errors
    /// `404` when there is nobody to remove.
    pub async fn put_staff(
        &self,
        id: StaffId,
        role: Option<StaffRole>,
    ) -> Result<Registered<Option<StaffRole>>, Failure> {
        let wanted = Wanted { staff: Some(id.clone()), ..Wanted::default() };
        let clock = std::sync::Arc::clone(&self.clock);
        let decide = move |loaded: &Loaded| -> Decided<Option<StaffRole>> {
            let before = loaded.directory.staff_role(&id);
            if before == role {
                return Verdict::Leave(match role {
                    Some(_) => Ok(Registered { created: false, revision: loaded.head.revision, value: role }),
                    None => Err(Failure::new(
                        Kind::NotFound,
                        "unknown_staff",
                        format!("There is no member of staff `{id}`."),
                    )),
                });
            }
            let at = clock.now().max(loaded.head.at);
            let kind = if role.is_some() { "StaffChanged" } else { "StaffRemoved" };
            let events = vec![event(None, kind, json!({ "staff": id, "role": role }))];
            let changes = Changes { staff: vec![(id, role)], events, at, ..Changes::default() };
            let revision = loaded.head.revision.next();
            Verdict::Commit(Box::new(changes), Ok(Registered { created: before.is_none(), revision, value: role }))
        };
        self.store.change(wanted, Box::new(decide)).await?
    }
}

fn event(site: Option<SiteId>, kind: &str, data: Value) -> NewEvent {
    NewEvent { site, kind: kind.to_owned(), actor: None, via: None, data }
}

fn commit(loaded: &Loaded, mut site: Site, kind: &str, at: crate::time::Timestamp, created: bool) -> Decided<Site> {
    let data = json!({
        "mode": site.seats.mode(), "owner": site.seats.owner(), "plan": site.plan, "published": site.published, "domains": site.domains,
    });
    let events = vec![event(Some(site.id.clone()), kind, data)];
    let changes = Changes { sites: vec![site.clone()], events, at, ..Changes::default() };
    site.revision = loaded.head.revision.next();
    Verdict::Commit(Box::new(changes), Ok(Registered { created, revision: site.revision, value: site }))
}

fn seats(update: &SiteUpdate) -> Result<Seats, Failure> {
    let wrong = |detail: &str| Err(Failure::new(Kind::Invalid, "invalid_body", detail));
    match (update.mode, &update.owner) {
        (Mode::SelfManaged, Account::User(owner)) => Ok(Seats::SelfManaged { owner: owner.clone() }),
        (Mode::PartnerBuilt, Account::Agency(owner)) => Ok(Seats::PartnerBuilt { owner: owner.clone() }),
        (Mode::SelfManaged, Account::Agency(_)) => wrong(
            "A self_managed site is owned by a person: write `owner` as `user:ID`, or use the mode partner_built.",
        ),
        (Mode::PartnerBuilt, Account::User(_)) => wrong(
            "A partner_built site is owned by an agency: write `owner` as `agency:ID`, or use the mode self_managed.",
        ),
        (Mode::PartnerManaged | Mode::Purged, _) => {
            wrong("`mode` is self_managed or partner_built here; the other modes are reached by commands.")
        }
    }
}

fn domains(update: &SiteUpdate) -> Result<Vec<Domain>, Failure> {
    if update.domains.len() > MAX_DOMAINS {
        let detail = format!("A site has at most {MAX_DOMAINS} domains.");
        return Err(Failure::new(Kind::Invalid, "invalid_body", detail));
    }
    let mut found: BTreeMap<String, Domain> = BTreeMap::new();
    for domain in &update.domains {
        let domain = match domain {
            DomainUpdate::Name(name) => Domain { name: name.clone(), holder: update.owner.clone() },
            DomainUpdate::Held(domain) => domain.clone(),
        };
        if !is_hostname(&domain.name) {
            let detail = "A domain is a host name in lower case such as `bakery.example`.".to_owned();
            return Err(Failure::new(Kind::Invalid, "invalid_body", detail));
        }
        if found.insert(domain.name.clone(), domain).is_some() {
            return Err(Failure::new(Kind::Invalid, "invalid_body", "A domain is listed twice."));
        }
    }
    Ok(found.into_values().collect())
}

/// RFC 1123 host name with at least two labels, in lower case.
pub(super) fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

/// Clients are shown an agency's name and domain when they decide whom to trust, so the name may not look like an
/// address or carry a message.
pub(super) fn presentable(update: &AgencyUpdate) -> Result<(), Failure> {
    let name = &update.name;
    let plain = !name.trim().is_empty()
        && name.trim() == name
        && name.chars().count() <= MAX_NAME
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '@' | '<' | '>' | '\\' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        && !name.split_whitespace().any(is_hostname);
    if !plain {
        let detail = format!(
            "`name` is what clients are shown: 1 to {MAX_NAME} characters, without addresses, links or control characters."
        );
        return Err(Failure::new(Kind::Invalid, "invalid_body", detail));
    }
    if !is_hostname(&update.domain) {
        return Err(Failure::new(
            Kind::Invalid,
            "invalid_body",
            "`domain` is the agency's host name in lower case, such as `studio-north.example`.",
        ));
    }
    Ok(())
}

/// Whether an update leaves alone what only commands change.
fn fits(old: &Site, seats: &Seats, plan: &Plan) -> Result<(), Failure> {
    let by_command = |what: &str, how: &str| {
        Err(Failure::new(
            Kind::Conflict,
            "changes_by_command",
            format!("`{what}` of a registered site changes by commands only: {how}."),
        ))
    };
    if old.seats == Seats::Purged {
        return Err(Failure::new(
            Kind::Conflict,
            "purged",
            "This site was deleted for good, and its id is not used again. Register the new site under another id.",
        ));
    }
    if old.seats.mode() != seats.mode() {
        return by_command("mode", "use the transitions endpoint");
    }
    if old.seats != *seats {
        return by_command("owner", "use the transitions endpoint");
    }
    if old.plan.status != plan.status {
        return by_command("plan.status", "the billing service reports it with report_plan");
    }
    Ok(())
}

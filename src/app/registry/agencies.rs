//! Agencies with their people, and platform staff.

use serde::Deserialize;
use serde_json::json;
use smol_str::SmolStr;

use super::{Decided, Registered, event, is_hostname, is_line};
use crate::{
    app::{App, Failure, Kind, command},
    assignment::{Agency, AgencyStatus, MemberRole, StaffRole},
    handover,
    ids::{AgencyId, StaffId, UserId},
    store::{Changes, Loaded, Store, Verdict, Wanted},
};

/// Longest agency name, in characters.
const MAX_NAME: usize = 80;

/// `PUT /v1/agencies/{agency}`.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgencyUpdate {
    /// The name that clients are shown.
    pub name: String,
    /// The agency's domain, shown beside the name.
    pub domain: String,
    /// Whether the platform checked both; absent: as it is while name and domain are, and not for a new agency.
    pub verified: Option<bool>,
    /// Whether the agency's rights hold; absent: as it is, and active for a new agency. So a `PUT` that only renames a
    /// suspended agency leaves it suspended.
    pub status: Option<AgencyStatus>,
    /// Whether the platform has a card of it that can be charged; absent: as it is, and so for a new agency.
    pub card: Option<bool>,
    /// Trust and safety's case, for the audit of a suspension.
    #[schema(value_type = Option<String>)]
    pub case: Option<SmolStr>,
}

impl App {
    /// Registers an agency or changes it. Open offers that name an agency which is not active any more end with it.
    ///
    /// # Errors
    /// `400` for a name or domain that clients could be misled by.
    pub async fn put_agency(&self, id: AgencyId, update: AgencyUpdate) -> Result<Registered<Agency>, Failure> {
        presentable(&update.name, &update.domain)?;
        let ends = update.status.filter(|status| *status != AgencyStatus::Active).map(|_| id.clone());
        let wanted = Wanted {
            agencies: vec![id.clone()],
            open_handovers_of: ends,
            engaged_by: Some(id.clone()),
            ..Wanted::default()
        };
        let clock = std::sync::Arc::clone(&self.clock);
        let notice = self.rules.timers.suspension_notice;
        let decide = move |loaded: &Loaded| -> Decided<Agency> {
            let old = loaded.directory.agency(&id);
            let at = clock.now().max(loaded.head.at);
            let status = update.status.unwrap_or_else(|| old.map_or(AgencyStatus::Active, |old| old.status));
            if status == AgencyStatus::Active
                && loaded.engaged
                && old.and_then(|old| old.returns_at).is_some_and(|due| due <= at)
            {
                return Verdict::Leave(Err(returns_due(&id)));
            }
            // What the platform checked was a name and a domain: with either it changes.
            let same = |old: &Agency| old.name == update.name && old.domain == update.domain;
            let verified = update.verified.unwrap_or_else(|| old.is_some_and(|old| old.verified && same(old)));
            let mut agency = Agency {
                id: id.clone(),
                name: update.name,
                domain: update.domain,
                verified,
                status,
                status_since: old.filter(|old| old.status == status).map_or(at, |old| old.status_since),
                // From the first stop on: a suspended agency that dissolves gains no time.
                returns_at: (status != AgencyStatus::Active)
                    .then(|| old.and_then(|old| old.returns_at).unwrap_or_else(|| at.plus(notice))),
                card: update.card.unwrap_or_else(|| old.is_none_or(|old| old.card)),
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
            let kind = match (old.map(|old| old.status), agency.status) {
                (None, _) => "AgencyRegistered",
                (Some(old), new) if old == new => "AgencyChanged",
                (Some(_), AgencyStatus::Suspended) => "AgencySuspended",
                (Some(_), AgencyStatus::Dissolving) => "AgencyDissolving",
                (Some(_), AgencyStatus::Active) => "AgencyReinstated",
            };
            let created = old.is_none();
            let mut changes = Changes { at, ..Changes::default() };
            changes.events.push(event(None, kind, json!({
                "agency": id, "name": agency.name, "domain": agency.domain, "verified": agency.verified, "status": agency.status,
                "case": update.case,
            })));
            for site in loaded.sites.iter().flatten() {
                if let Some(applied) = handover::invalidate(site, at) {
                    let mut ended = command::changes(applied, None, None, at);
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
            if old.status != AgencyStatus::Dissolving
                && old.admins().next().is_some()
                && agency.admins().next().is_none()
            {
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
        let wanted = Wanted { staff: vec![id.clone()], ..Wanted::default() };
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

/// `409`: what a suspension promised its clients is kept first.
fn returns_due(id: &AgencyId) -> Failure {
    let detail = format!(
        "The notice of `{id}`'s suspension is over, and its sites are being returned to their clients. Try again in a moment."
    );
    Failure::new(Kind::Conflict, "returns_due", detail)
}

/// Clients are shown an agency's name and domain when they decide whom to trust, so the name may not look like an
/// address or carry a message, and may not hide anything.
pub(in crate::app) fn presentable(name: &str, domain: &str) -> Result<(), Failure> {
    let address = |word: &str| is_hostname(&word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
    let plain =
        is_line(name, MAX_NAME) && !name.contains(['/', '@', '<', '>', '\\']) && !name.split_whitespace().any(address);
    if !plain {
        let detail = format!(
            "`name` is what clients are shown: 1 to {MAX_NAME} characters, without addresses, links or control characters."
        );
        return Err(Failure::new(Kind::Invalid, "invalid_body", detail));
    }
    if !is_hostname(domain) {
        return Err(Failure::new(
            Kind::Invalid,
            "invalid_body",
            "`domain` is the agency's host name in lower case, such as `studio-north.example`.",
        ));
    }
    Ok(())
}

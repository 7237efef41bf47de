//! A small cast, sites in every state, and people in their capacities.
//!
//! Maria is the client; Nora is an admin of Studio North, Milo a member, Bill does its invoices; Olga is the admin of
//! the other agency, Atelier. Eva is the client's contributor, Paul the partner's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use smol_str::SmolStr;

use super::matrix::{strength, strengths};
use crate::{
    assignment::{Agency, AgencyStatus, Directory, MemberRole, StaffRole, Strength},
    handover::{
        Acting, Applied, Authority, Command, Handover, HandoverKind, HandoverStatus, Refusal, Situation, Timers, apply,
    },
    ids::{Account, AgencyId, HandoverId, Principal, UserId},
    revision::Revision,
    site::{Contributor, Domain, Engagement, Freeze, Plan, ReturnPending, ReturnReason, Seats, Side, Site, Tier},
    time::Timestamp,
};

pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// When the scenes play. Deadlines lie before and after it.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_440_000);

pub(crate) fn ago(duration: Duration) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() - i64::try_from(duration.as_micros()).unwrap())
}
pub(crate) fn user(id: &str) -> UserId {
    id.parse().unwrap()
}
pub(crate) fn agency(id: &str) -> AgencyId {
    id.parse().unwrap()
}
pub(crate) fn handover(id: &str) -> HandoverId {
    id.parse().unwrap()
}
pub(crate) fn account(reference: &str) -> Account {
    reference.parse().unwrap()
}

/// Both agencies, active and verified.
pub(crate) fn directory() -> Directory {
    let mut directory = Directory::default();
    let north = [("nora", MemberRole::Admin), ("milo", MemberRole::Member), ("bill", MemberRole::Billing)];
    for (id, members) in [("studio-north", north.as_slice()), ("atelier", &[("olga", MemberRole::Admin)])] {
        directory.put_agency(Arc::new(Agency {
            id: agency(id),
            name: id.to_owned(),
            domain: format!("{id}.example"),
            verified: true,
            status: AgencyStatus::Active,
            status_since: ago(DAY * 90),
            returns_at: None,
            card: true,
            members: members.iter().map(|(member, role)| (user(member), *role)).collect(),
            revision: Revision(1),
        }));
    }
    for (id, role) in [("tess", StaffRole::TrustSafety), ("theo", StaffRole::TrustSafety), ("sam", StaffRole::Support)]
    {
        directory.put_staff(id.parse().unwrap(), Some(role));
    }
    directory
}

/// The same with one agency in another status.
pub(crate) fn directory_with(id: &str, status: AgencyStatus) -> Directory {
    let mut directory = directory();
    let changed = Agency { status, ..Agency::clone(directory.agency(&agency(id)).unwrap()) };
    directory.put_agency(Arc::new(changed));
    directory
}

fn site(seats: Seats) -> Site {
    let domains = vec![Domain { name: "bakery.example".to_owned(), holder: seats.content_owner().unwrap() }];
    let mut site = Site::registered("bakery".parse().unwrap(), seats, Plan::of(Tier::Premium), true, domains);
    site.revision = Revision(40);
    site
}

pub(crate) fn row(role: &str, grantor: &str, side: Side) -> Contributor {
    Contributor { role: role.into(), grantor: account(grantor), side, revision: Revision(30) }
}

/// Maria runs and pays for her own site; Eva helps her.
pub(crate) fn self_managed() -> Site {
    let mut site = site(Seats::SelfManaged { owner: user("maria") });
    site.contributors.insert(user("eva"), row("WebsiteManager", "user:maria", Side::Client));
    site
}

/// Studio North built the site; Paul helps.
pub(crate) fn partner_built() -> Site {
    let mut site = site(Seats::PartnerBuilt { owner: agency("studio-north") });
    site.contributors.insert(user("paul"), row("BlogEditor", "agency:studio-north", Side::Partner));
    site
}

/// Studio North runs Maria's site and settled long ago.
pub(crate) fn managed() -> Site {
    let mut site = site(Seats::PartnerManaged(Box::new(Engagement {
        client: user("maria"),
        partner: agency("studio-north"),
        since: ago(DAY * 60),
        settling_until: ago(DAY * 53),
        handover: Some(handover("h-before")),
        plan_before: Some(Plan::of(Tier::Free)),
        freeze_used: false,
        return_pending: None,
    })));
    site.domains[0].holder = account("user:maria");
    site.contributors.insert(user("eva"), row("WebsiteManager", "user:maria", Side::Client));
    site.contributors.insert(user("paul"), row("BlogEditor", "agency:studio-north", Side::Partner));
    site
}

pub(crate) fn engagement(site: &mut Site) -> &mut Engagement {
    match &mut site.seats {
        Seats::PartnerManaged(engagement) => engagement,
        Seats::SelfManaged { .. } | Seats::PartnerBuilt { .. } | Seats::Purged => panic!("not partner-managed"),
    }
}

/// The partner was seated yesterday.
pub(crate) fn settling() -> Site {
    let mut site = managed();
    engagement(&mut site).since = ago(DAY);
    engagement(&mut site).settling_until = NOW.plus(DAY * 6);
    site
}

/// On the way back, with the notice over at `effective_at`.
pub(crate) fn returning(reason: ReturnReason, effective_at: Timestamp) -> Site {
    let mut site = managed();
    engagement(&mut site).return_pending = Some(ReturnPending {
        reason,
        requested_at: ago(DAY),
        effective_at,
        locked: false,
        keep: [user("paul")].into(),
    });
    site
}

pub(crate) fn frozen(mut site: Site) -> Site {
    site.frozen = Some(Freeze { since: ago(DAY), until: NOW.plus(DAY * 3), case: "case-7".into() });
    site
}

pub(crate) fn trashed(mut site: Site) -> Site {
    site.trashed_at = Some(ago(DAY));
    site
}

/// With an offer made yesterday: to Studio North on a person's site, to Maria on an agency's.
pub(crate) fn offered(mut site: Site, expires_at: Timestamp) -> Site {
    let initiator = site.seats.owner().unwrap();
    let (kind, by, to) = match &initiator {
        Account::User(owner) => (HandoverKind::PartnerHandover, owner.clone(), account("agency:studio-north")),
        Account::Agency(_) => (HandoverKind::ClientAssignment, user("nora"), account("user:maria")),
    };
    site.open_handover = Some(Handover {
        id: handover("h-open"),
        site: site.id.clone(),
        kind,
        initiator,
        initiated_by: by.into(),
        consents_needed: vec![to.clone()],
        to,
        status: HandoverStatus::Open,
        consents_given: Vec::new(),
        offered_at: ago(DAY),
        expires_at,
        ended_at: None,
        revision_at_offer: Revision(40),
        preview_digest: "sha256:preview".into(),
        requested_by: None,
        reminders: Vec::new(),
        terms: None,
    });
    site
}

/// A person as the service would present them: every role they hold here, and the account they act through. Client
/// seat first, so that somebody on both sides speaks for the client.
pub(crate) fn acting(on: &Site, directory: &Directory, person: &UserId) -> Acting {
    let own = Account::from(person.clone());
    let admin = |id: &AgencyId| directory.agency(id).and_then(|a| a.member(person)) == Some(MemberRole::Admin);
    let (held, through, side): (Option<&str>, Account, Side) = match &on.seats {
        Seats::SelfManaged { owner } if owner == person => (Some("Owner"), own, Side::Client),
        Seats::PartnerBuilt { owner } if admin(owner) => (Some("Owner"), owner.clone().into(), Side::Partner),
        Seats::PartnerManaged(engagement) if engagement.client == *person => (Some("Client"), own, Side::Client),
        Seats::PartnerManaged(engagement) if admin(&engagement.partner) => {
            (Some("Partner"), engagement.partner.clone().into(), Side::Partner)
        }
        Seats::SelfManaged { .. } | Seats::PartnerBuilt { .. } | Seats::PartnerManaged(_) | Seats::Purged => {
            let row = on.contributors.get(person);
            (None, own, row.map_or(Side::Client, |row| row.side))
        }
    };
    let row = on.contributors.get(person).map(|row| row.role.clone());
    let grant = on.grants.get(person).map(|grant| SmolStr::new_static(grant.template.role()));
    let roles = held.map(SmolStr::new_static).into_iter().chain(row).chain(grant).collect();
    Acting { principal: Principal::User(person.clone()), through: Some(through), side, roles }
}

/// Somebody who holds no account: `staff:tess` of trust and safety, `service:billing`.
pub(crate) fn official(reference: &str) -> Acting {
    Acting { principal: reference.parse().unwrap(), through: None, side: Side::Client, roles: Vec::new() }
}

/// What the matrix would answer: some role of the actor has the action, in some way. The named-party actions need no
/// role; the machine itself knows the parties.
pub(crate) fn permitted(acting: &Acting, command: &Command) -> bool {
    let action = match command.name().authority() {
        Authority::Action(action) => action,
        Authority::Billing | Authority::Service => return matches!(acting.principal, Principal::Service(_)),
        Authority::Time => return false,
    };
    let has = |role: &str| acting.roles.iter().any(|held| held == role);
    match (&acting.principal, action) {
        (Principal::Service(_), _) => return false,
        (Principal::Staff(_), _) => {
            return ["FreezeSite", "UnfreezeSite", "OpenCustody", "RecordSuccessor"].contains(&action);
        }
        // Whether the person speaks for an agency that may ask, the machine looks up itself.
        (Principal::User(_), "RequestPartnerRole") => return true,
        (Principal::User(_), "SetAgencyGrant") => {
            return acting.side == Side::Partner && (has("Partner") || has("Owner"));
        }
        (Principal::User(_), "BlockAgencyMember") => return has("Client"),
        (Principal::User(_), _) => {}
    }
    command.handover().is_some() || acting.roles.iter().any(|role| strength(role, false, action) != Strength::Denied)
}

/// How commands are carried out: by the machine, or by one with a planted fault.
pub(crate) type Machine<'a> = &'a dyn Fn(&Situation<'_>, &Command, Timestamp) -> Result<Applied, Refusal>;

/// A site with everything around it that a command looks at.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) directory: Directory,
    pub(crate) timers: Timers,
    /// Every handover there ever was, as a store keeps it.
    pub(crate) handovers: BTreeMap<HandoverId, Handover>,
    pub(crate) now: Timestamp,
    pub(crate) revision: Revision,
}

impl World {
    pub(crate) fn new(site: Site) -> Self {
        let handovers = site.open_handover.iter().map(|open| (open.id.clone(), open.clone())).collect();
        let timers = Timers::default();
        Self { revision: site.revision, site, directory: directory(), timers, handovers, now: NOW }
    }
    pub(crate) fn acting(&self, person: &str) -> Acting {
        acting(&self.site, &self.directory, &user(person))
    }
    /// What `machine` makes of a command here, without keeping it.
    pub(crate) fn try_with(
        &self,
        machine: Machine<'_>,
        acting: Option<&Acting>,
        command: &Command,
    ) -> Result<Applied, Refusal> {
        let revision = self.revision.next();
        let situation = Situation {
            site: &self.site,
            named: command.handover().and_then(|id| self.handovers.get(id)),
            directory: &self.directory,
            strengths: strengths(),
            timers: &self.timers,
            acting,
            new_handover: &handover(&format!("h-{revision}")),
            revision,
            preview_digest: "sha256:preview",
            text_version: "en-1",
            new_code: "AAAA-BBBB-CCCC",
            four_eyes: false,
        };
        machine(&situation, command, self.now)
    }
    /// Keeps what was applied, as a store does.
    pub(crate) fn keep(&mut self, applied: &Applied) {
        self.revision = self.revision.next();
        self.site = applied.site.clone();
        for handover in &applied.handovers {
            self.handovers.insert(handover.id.clone(), handover.clone());
        }
    }
    /// A person does something, and it is kept.
    pub(crate) fn does(&mut self, person: &str, command: &Command) -> Result<Applied, Refusal> {
        let applied = self.try_with(&apply, Some(&self.acting(person)), command)?;
        self.keep(&applied);
        Ok(applied)
    }
    /// Time does something, and it is kept.
    pub(crate) fn time_does(&mut self, command: &Command) -> Result<Applied, Refusal> {
        let applied = self.try_with(&apply, None, command)?;
        self.keep(&applied);
        Ok(applied)
    }
}

pub(crate) fn accept(id: &str) -> Command {
    Command::AcceptHandover { handover: handover(id), explanation_digest: "sha256:read".into(), lang: "en".into() }
}

pub(crate) fn events(applied: &Applied) -> Vec<&'static str> {
    applied.events.iter().map(|event| event.kind).collect()
}

//! Random sites with everybody on them, at a fixed moment. Identifiers come from small pools, so that people meet.

use std::sync::Arc;

use proptest::{collection::btree_map, collection::btree_set, option, prelude::*, sample::select};
use smol_str::SmolStr;

use crate::{
    assignment::{Agency, AgencyStatus, Asked, Directory, MemberRole, SHIPPED, StaffRole},
    handover::{Handover, HandoverKind, HandoverStatus},
    ids::{Account, AgencyId, Principal, SiteId, StaffId, UserId},
    revision::Revision,
    site::{
        AgencyGrant, Confirmation, Contributor, Engagement, Freeze, Plan, PlanStatus, ReturnPending, ReturnReason,
        Seats, Side, Site, SupportSession, Template, Tier,
    },
    time::Timestamp,
};

/// The moment of every question.
pub const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

/// A site, the agencies and staff around it, a question about it.
#[derive(Debug, Clone)]
pub struct World {
    pub site: Site,
    pub agencies: Vec<Agency>,
    pub staff: Vec<(StaffId, StaffRole)>,
    pub principal: Principal,
    pub asked: Asked,
}

impl World {
    pub fn directory(&self) -> Directory {
        let mut directory = Directory::default();
        for agency in &self.agencies {
            directory.put_agency(Arc::new(agency.clone()));
        }
        for (id, role) in &self.staff {
            directory.put_staff(id.clone(), Some(*role));
        }
        directory
    }
}

fn user() -> impl Strategy<Value = UserId> {
    select(vec!["p0", "p1", "p2", "p3"]).prop_map(|id| id.parse().unwrap())
}
fn agency() -> impl Strategy<Value = AgencyId> {
    // The third agency is never registered.
    select(vec!["g0", "g0", "g1", "g1", "g2"]).prop_map(|id| id.parse().unwrap())
}
/// Only a registered agency can hold a seat: the store sees to that.
fn seated() -> impl Strategy<Value = AgencyId> {
    select(vec!["g0", "g1"]).prop_map(|id| id.parse().unwrap())
}
fn staff() -> impl Strategy<Value = StaffId> {
    select(vec!["s0", "s1", "s2"]).prop_map(|id| id.parse().unwrap())
}
fn account() -> impl Strategy<Value = Account> {
    prop_oneof![user().prop_map(Account::User), agency().prop_map(Account::Agency)]
}
/// Over, just over, and to come.
fn instant() -> impl Strategy<Value = Timestamp> {
    select(vec![-500, 0, 1, 500]).prop_map(|s| Timestamp::from_seconds(NOW.as_seconds() + s))
}

fn seats() -> impl Strategy<Value = Seats> {
    let reason = select(vec![
        ReturnReason::Reclaim,
        ReturnReason::Reclaim,
        ReturnReason::Resign,
        ReturnReason::AgencySuspended,
        ReturnReason::PlanLapsed,
    ]);
    let pending = (reason, instant(), any::<bool>()).prop_map(|(reason, effective_at, locked)| ReturnPending {
        reason,
        requested_at: NOW,
        effective_at,
        locked,
        keep: [].into(),
    });
    let engaged = (user(), seated(), instant(), option::of(pending)).prop_map(|(client, partner, until, pending)| {
        Seats::PartnerManaged(Box::new(Engagement {
            client,
            partner,
            since: Timestamp::default(),
            settling_until: until,
            handover: None,
            plan_before: None,
            freeze_used: false,
            return_pending: pending,
        }))
    });
    prop_oneof![
        3 => user().prop_map(|owner| Seats::SelfManaged { owner }),
        3 => seated().prop_map(|owner| Seats::PartnerBuilt { owner }),
        8 => engaged,
        1 => Just(Seats::Purged),
    ]
}

fn contributor() -> impl Strategy<Value = Contributor> {
    let roles = SHIPPED.strengths().person_roles().to_vec();
    (select(roles), account(), select(vec![Side::Client, Side::Partner]))
        .prop_map(|(role, grantor, side)| Contributor { role, grantor, side, revision: Revision(1) })
}

fn grant() -> impl Strategy<Value = AgencyGrant> {
    (select(Template::ALL.to_vec()), option::of(instant()))
        .prop_map(|(template, expires_at)| AgencyGrant { template, expires_at })
}

fn offer() -> impl Strategy<Value = Handover> {
    let status = select(vec![HandoverStatus::Open, HandoverStatus::Open, HandoverStatus::Requested]);
    (account(), account(), user(), status, instant()).prop_map(|(initiator, to, initiated_by, status, expires_at)| {
        Handover {
            id: "h".parse().unwrap(),
            site: "x".parse().unwrap(),
            kind: HandoverKind::PartnerHandover,
            initiator,
            initiated_by: initiated_by.into(),
            consents_needed: vec![to.clone()],
            to,
            status,
            consents_given: Vec::new(),
            offered_at: Timestamp::default(),
            expires_at,
            ended_at: None,
            revision_at_offer: Revision(1),
            requested_by: None,
            reminders: Vec::new(),
            terms: None,
            preview_digest: "sha256:none".into(),
        }
    })
}

prop_compose! {
    fn site()(
        seats in seats(),
        contributors in btree_map(user(), contributor(), 0..4),
        grants in btree_map(user(), grant(), 0..4),
        blocked in btree_set(user(), 0..2),
        status in select(vec![PlanStatus::Ok, PlanStatus::Ok, PlanStatus::PastDue, PlanStatus::Lapsed]),
        trashed in prop::bool::weighted(0.15),
        custody in prop::bool::weighted(0.1),
        frozen in option::weighted(0.2, instant()),
        offer in option::weighted(0.4, offer()),
        confirmed in option::of((select(vec!["TrashSite", "RefundOrder", "EditDnsCritical"]), instant())),
        sessions in prop::collection::vec((staff(), instant()), 0..3),
        unpaid in (option::of(instant()), option::of(instant())),
    ) -> Site {
        let id: SiteId = "x".parse().unwrap();
        let mut site = Site::registered(id, seats, Plan { status, ..Plan::of(Tier::Premium) }, true, Vec::new());
        (site.plan.lapses_at, site.plan.returns_at) = unpaid;
        if site.seats != Seats::Purged {
            site.contributors = contributors;
            site.grants = grants;
            site.blocked = blocked;
            site.trashed_at = trashed.then_some(NOW);
            site.custody = custody.then(|| "c".into());
            site.frozen = frozen.map(|until| Freeze { since: NOW, until, case: "c".into() });
            site.open_handover = offer;
            site.confirmations = confirmed
                .map(|(action, expires_at)| Confirmation { action: action.into(), operation: "op".into(), expires_at })
                .into_iter()
                .collect();
            site.sessions = sessions
                .into_iter()
                .map(|(agent, until)| {
                    SupportSession { agent, granted_by: Account::User("p0".parse().unwrap()), until }
                })
                .collect();
        }
        site
    }
}

fn agency_of(id: &'static str) -> impl Strategy<Value = Agency> {
    let member = select(vec![MemberRole::Admin, MemberRole::Member, MemberRole::Billing]);
    let status =
        select(vec![AgencyStatus::Active, AgencyStatus::Active, AgencyStatus::Suspended, AgencyStatus::Dissolving]);
    (btree_map(user(), member, 0..4), status, instant(), any::<bool>()).prop_map(
        |(members, status, since, verified)| Agency {
            id: id.parse().unwrap(),
            name: String::new(),
            domain: String::new(),
            verified,
            status,
            status_since: since,
            returns_at: None,
            card: true,
            members,
            revision: Revision(1),
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    let auth_time = option::of(select(vec![-601, -600, 0, 60, 61]));
    let case = option::of(select(vec!["", "c"]));
    (auth_time, option::of(account()), option::of(select(vec!["op", "other"])), case).prop_map(
        |(auth_time, account, operation, case)| Asked {
            auth_time: auth_time.map(|s| NOW.as_seconds() + s),
            account,
            operation: operation.map(SmolStr::new),
            case: case.map(SmolStr::new),
        },
    )
}

prop_compose! {
    pub fn world()(
        site in site(),
        first in agency_of("g0"),
        second in agency_of("g1"),
        support in any::<bool>(),
        principal in prop_oneof![
            5 => user().prop_map(Principal::User),
            1 => staff().prop_map(Principal::Staff),
            1 => Just("service:billing".parse().unwrap()),
        ],
        asked in asked(),
    ) -> World {
        let staff = [("s0", StaffRole::Support), ("s1", if support { StaffRole::Support } else { StaffRole::TrustSafety })];
        let staff = staff.map(|(id, role)| (id.parse().unwrap(), role)).into();
        World { site, agencies: vec![first, second], staff, principal, asked }
    }
}

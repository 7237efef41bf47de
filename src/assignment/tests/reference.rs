//! Who holds what, said naively: sentences of the domain, read straight off the stored site. The compact row must say
//! the same.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestRunner};

use super::sites::{NOW, World, world};
use crate::{
    assignment::{Agency, Circumstances, Flags, MemberRole, SHIPPED, SiteRow, StaffRole, Via},
    handover::HandoverStatus,
    ids::{Account, Principal, UserId},
    site::{PlanStatus, ReturnReason, Seats, Side},
    time::Timestamp,
};

/// What a principal holds: roles by name and way, the facts that follow, the agency whose cards are their own.
type Holdings = (BTreeSet<(String, Via)>, Circumstances, Option<String>);

fn flags(world: &World) -> Flags {
    let site = &world.site;
    let pending = site.return_pending();
    let agency = site.seats.agency();
    Flags {
        agency_suspended: agency.is_some_and(|id| !world.agencies.iter().any(|a| a.id == *id && a.is_active())),
        frozen: site.frozen.as_ref().is_some_and(|freeze| NOW < freeze.until),
        trashed: site.trashed_at.is_some(),
        custody: site.custody.is_some(),
        past_due: site.plan.status == PlanStatus::PastDue && !lapsed_by_time(world),
        lapsed: site.plan.status == PlanStatus::Lapsed || lapsed_by_time(world),
        handover_open: offer_waits(world),
        settling: site.seats.engagement().is_some_and(|engagement| NOW < engagement.settling_until),
        return_pending: return_at(world).is_some(),
        reclaim_pending: pending.is_some_and(|pending| pending.reason == ReturnReason::Reclaim),
        locked: return_at(world).is_some() && pending.is_some_and(|pending| pending.locked),
    }
}

/// The grace of an unpaid plan is over, whether anybody has committed that or not.
fn lapsed_by_time(world: &World) -> bool {
    let site = &world.site;
    let frozen = site.frozen.as_ref().is_some_and(|freeze| NOW < freeze.until);
    site.plan.status == PlanStatus::PastDue && site.plan.lapses_at.is_some_and(|at| at <= NOW) && !frozen
}

/// When the site is back: by the return that is written, unless it was for an agency that was let in again in time, or by
/// the one that a lapse has brought.
fn return_at(world: &World) -> Option<Timestamp> {
    let site = &world.site;
    let engagement = site.seats.engagement()?;
    match &engagement.return_pending {
        Some(pending) => {
            let for_agency = [ReturnReason::AgencySuspended, ReturnReason::AgencyDissolved].contains(&pending.reason);
            let partner = world.agencies.iter().find(|agency| agency.id == engagement.partner);
            let let_in = partner.is_some_and(|agency| agency.is_active() && agency.status_since < pending.effective_at);
            (!(for_agency && let_in)).then_some(pending.effective_at)
        }
        None => site
            .plan
            .returns_at
            .filter(|_| site.plan.status == PlanStatus::PastDue && site.plan.lapses_at.is_some_and(|at| at <= NOW)),
    }
}

fn offer_waits(world: &World) -> bool {
    world.site.open_handover.as_ref().is_some_and(|o| o.status == HandoverStatus::Open && NOW < o.expires_at)
}

/// The notice of a return is over and no freeze stops its clock.
fn returned(world: &World) -> bool {
    return_at(world).is_some_and(|at| at <= NOW) && !flags(world).frozen
}

fn speaks_for(world: &World, user: &UserId, account: &Account) -> bool {
    match account {
        Account::User(other) => user == other,
        Account::Agency(id) => {
            let agency = world.agencies.iter().find(|agency| agency.id == *id);
            agency.is_some_and(|agency| agency.is_active() && agency.member(user) == Some(MemberRole::Admin))
        }
    }
}

fn holdings(world: &World, returned: bool) -> Holdings {
    let site = &world.site;
    let mut roles: BTreeSet<(String, Via)> = BTreeSet::new();
    let mut hold = |role: &str, via: Via| roles.insert((role.to_owned(), via));
    let mut facts = Circumstances::default();
    let mut account = None;
    match &world.principal {
        Principal::Service(_) => {}
        Principal::Staff(id) => match world.staff.iter().find(|(staff, _)| staff == id) {
            Some((_, StaffRole::Support)) => {
                hold("SupportAgent", Via::Session);
                facts.support_session_live = site.sessions.iter().any(|s| s.agent == *id && NOW < s.until);
            }
            Some((_, StaffRole::TrustSafety)) => {
                hold("TrustSafety", Via::Session);
            }
            None => {}
        },
        Principal::User(user) => {
            let agency: Option<&Agency> =
                site.seats.agency().and_then(|id| world.agencies.iter().find(|agency| agency.id == *id));
            let membership = agency.filter(|_| !returned).and_then(|agency| agency.member(user));
            match &site.seats {
                Seats::SelfManaged { owner } if owner == user => {
                    hold("Owner", Via::Seat);
                }
                Seats::PartnerBuilt { .. } if membership == Some(MemberRole::Admin) => {
                    hold("Owner", Via::Agency);
                }
                Seats::PartnerManaged(engagement) => {
                    if engagement.client == *user {
                        hold("Client", Via::Seat);
                    }
                    if membership == Some(MemberRole::Admin) {
                        hold("Partner", Via::Agency);
                    }
                }
                Seats::SelfManaged { .. } | Seats::PartnerBuilt { .. } | Seats::Purged => {}
            }
            if membership == Some(MemberRole::Billing) {
                hold("AgencyBilling", Via::Agency);
            }
            if matches!(membership, Some(MemberRole::Admin | MemberRole::Billing)) {
                account = agency.map(|agency| agency.id.to_string());
            }
            if matches!(membership, Some(MemberRole::Member | MemberRole::Billing)) {
                facts.blocked = site.blocked.contains(user);
                if let Some(grant) = site.grants.get(user) {
                    facts.grant_live = grant.expires_at.is_none_or(|end| NOW < end);
                    if membership == Some(MemberRole::Member) {
                        hold(grant.template.role(), Via::Grant);
                    }
                }
            }
            if let Some(row) = site.contributors.get(user).filter(|row| !(returned && row.side == Side::Partner)) {
                if row.role != "NoSuchRole" {
                    hold(&row.role, Via::Contributor);
                }
                facts.partner_side = row.side == Side::Partner;
                facts.granted_by_payer = Some(&row.grantor) == site.seats.plan_holder().as_ref();
            }
            if let Some(offer) = site.open_handover.as_ref().filter(|offer| NOW < offer.expires_at) {
                let given = offer.consents_given.iter().map(|consent| &consent.account);
                if offer.consents_needed.iter().chain(given).any(|account| speaks_for(world, user, account)) {
                    let open = offer.status == HandoverStatus::Open;
                    hold(if open { "HandoverAcceptor" } else { "HandoverAsked" }, Via::NamedParty);
                }
                if speaks_for(world, user, &offer.initiator) {
                    hold("HandoverInitiator", Via::NamedParty);
                }
            }
            if world.agencies.iter().any(|a| a.verified && a.is_active() && a.member(user) == Some(MemberRole::Admin)) {
                hold("VerifiedAgencyAdmin", Via::Agency);
            }
        }
    }
    (roles, facts, account)
}

fn from_row(world: &World) -> (Holdings, Flags) {
    let directory = world.directory();
    let row = SiteRow::of(&world.site, &SHIPPED);
    let held = row.held(&world.principal, &SHIPPED, &directory, NOW);
    let roles = held.roles.iter().map(|held| (SHIPPED.bundle().role_name(held.role).to_owned(), held.via)).collect();
    let account = held.agency_account.as_ref().map(ToString::to_string);
    ((roles, held.circumstances, account), row.flags(&directory, NOW))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_row_says_what_the_site_says(world in world()) {
        let (held, row_flags) = from_row(&world);
        prop_assert_eq!(held, holdings(&world, returned(&world)));
        prop_assert_eq!(row_flags, flags(&world));
    }
}

/// A reference that forgets that a return's notice ends everything must be found out.
#[test]
fn the_comparison_finds_a_forgotten_return() {
    let forgetful = TestRunner::deterministic().run(&world(), |world| {
        prop_assert_eq!(from_row(&world).0, holdings(&world, false));
        Ok(())
    });
    assert!(forgetful.is_err());
}

//! Which roles does this person hold on this site now, and how did they come by them?
//!
//! Rights are a union over routes: a person may be the client, an admin of the partner agency and a contributor at
//! once. Routes that time or a suspension ended are left out here only where *everything* through them has ended (a
//! return whose notice is over, an offer that lapsed); everything partial is the policies' to say.

use serde::Serialize;
use smallvec::SmallVec;

use super::{
    Circumstances, Directory, Flags, MemberRole, SitePolicies, SiteRow, StaffRole,
    row::{Deadline, Offer, Unpaid},
};
use crate::{
    ids::{Account, AgencyId, Principal, StaffId, UserId},
    policy::RoleIx,
    site::{Mode, PlanStatus, ReturnReason},
    time::Timestamp,
};

/// How access is had, most direct first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The person's own seat.
    Seat,
    /// An invitation.
    Contributor,
    /// The agency that holds the seat, or an agency as such.
    Agency,
    /// What the agency delegated to the person on this site.
    Grant,
    /// A support session, or a place in platform staff.
    Session,
    /// Being named in an open offer.
    NamedParty,
}

/// One role and the way it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeldRole {
    /// The role.
    pub role: RoleIx,
    /// How it is held.
    pub via: Via,
    /// It is the same on every site and makes nobody somebody on this one.
    pub standing: bool,
}

/// Everything a person holds on a site, and the circumstances that follow from how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// In no order; a role may be there twice, by two routes.
    pub roles: SmallVec<[HeldRole; 4]>,
    /// Circumstances that follow from stored rows: the rest is the request's.
    pub circumstances: Circumstances,
    /// The agency whose cards and invoices the person may use as their own.
    pub agency_account: Option<AgencyId>,
    /// Something that the site refers to is not there: whoever asks gets no answer, rather than a deny.
    pub missing: Option<&'static str>,
}

impl SiteRow {
    /// The site's flags now.
    #[must_use]
    pub fn flags(&self, directory: &Directory, now: Timestamp) -> Flags {
        let frozen = self.frozen_until.is_some_and(|until| until.is_after(now));
        let lapsed = self.unpaid().is_some_and(|unpaid| unpaid.lapses_at <= now) && !frozen;
        let return_pending = self.return_at(directory, now).is_some();
        Flags {
            agency_suspended: self
                .agency
                .as_ref()
                .is_some_and(|id| !directory.agency(id).is_some_and(|agency| agency.is_active())),
            frozen,
            trashed: self.trashed,
            custody: self.custody,
            past_due: self.plan == PlanStatus::PastDue && !lapsed,
            lapsed: self.plan == PlanStatus::Lapsed || lapsed,
            handover_open: self.offer(now).is_some_and(|offer| offer.open),
            settling: self.settling_until.is_some_and(|until| until.is_after(now)),
            return_pending,
            reclaim_pending: return_pending && self.returning == Some(ReturnReason::Reclaim),
            locked: return_pending && self.locked,
        }
    }
    /// The site's mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// The offer that still waits: time alone ends one.
    fn offer(&self, now: Timestamp) -> Option<&Offer> {
        self.offer.as_deref().filter(|offer| now < offer.expires_at)
    }
    fn unpaid(&self) -> Option<Unpaid> {
        self.rare.as_ref().and_then(|rare| rare.unpaid)
    }
    /// When the site is back with its client, if it is on its way: by a return that was committed, unless it was for an
    /// agency that has been let in again in time; or by a lapse that time brought and nobody has committed yet.
    fn return_at(&self, directory: &Directory, now: Timestamp) -> Option<Timestamp> {
        if let Some(at) = self.return_at.map(Deadline::at) {
            let for_agency =
                matches!(self.returning, Some(ReturnReason::AgencySuspended | ReturnReason::AgencyDissolved));
            let agency = self.agency.as_ref().filter(|_| for_agency).and_then(|id| directory.agency(id));
            return (!agency.is_some_and(|agency| agency.is_active() && agency.status_since < at)).then_some(at);
        }
        self.unpaid().filter(|unpaid| unpaid.lapses_at <= now).and_then(|unpaid| unpaid.returns_at)
    }
    /// The notice of a return is over and only its commit is missing: nothing is left of the partner's side.
    fn returned(&self, directory: &Directory, now: Timestamp) -> bool {
        self.return_at(directory, now).is_some_and(|at| at <= now)
            && !self.frozen_until.is_some_and(|until| until.is_after(now))
    }
    /// What this principal holds here now.
    #[must_use]
    pub fn held(&self, principal: &Principal, policies: &SitePolicies, directory: &Directory, now: Timestamp) -> Held {
        let mut held = Held::default();
        if self.agency.as_ref().is_some_and(|id| directory.agency(id).is_none()) {
            held.missing = Some("the agency that holds the site's seat is not registered");
        }
        match principal {
            Principal::User(user) => self.hold_user(user, policies, directory, now, &mut held),
            Principal::Staff(staff) => self.hold_staff(staff, policies, directory, now, &mut held),
            Principal::Service(_) => {}
        }
        held
    }

    fn hold_user(
        &self,
        user: &UserId,
        policies: &SitePolicies,
        directory: &Directory,
        now: Timestamp,
        held: &mut Held,
    ) {
        let given = policies.given();
        if self.is_seated(user.as_str()) {
            held.add(if self.mode == Mode::PartnerManaged { given.client } else { given.owner }, Via::Seat);
        }
        let returned = self.returned(directory, now);
        if let Some(assignment) = self.contributor(user.as_str()).filter(|row| !(returned && row.partner_side)) {
            match assignment.role {
                Some(role) => held.add(role, Via::Contributor),
                None => held.missing = Some("the person's role is not in the schema"),
            }
            held.circumstances.partner_side = assignment.partner_side;
            held.circumstances.granted_by_payer = assignment.granted_by_payer;
        }
        if let Some(agency) = self.agency.as_ref().filter(|_| !returned).and_then(|id| directory.agency(id)) {
            match agency.member(user) {
                Some(MemberRole::Admin) => {
                    held.add(if self.mode == Mode::PartnerManaged { given.partner } else { given.owner }, Via::Agency);
                    held.agency_account = Some(agency.id.clone());
                }
                Some(role @ (MemberRole::Member | MemberRole::Billing)) => {
                    if role == MemberRole::Billing {
                        held.add(given.billing, Via::Agency);
                        held.agency_account = Some(agency.id.clone());
                    }
                    if let Some(rare) = &self.rare {
                        if let Some(grant) = rare.grants.get(user) {
                            // Billing people see a delegated site; only members work on it.
                            if role == MemberRole::Member {
                                held.add(given.template(grant.template), Via::Grant);
                            }
                            held.circumstances.grant_live = grant.expires_at.is_none_or(|end| now < end);
                        }
                        held.circumstances.blocked = rare.blocked.contains(user);
                    }
                }
                None => {}
            }
        }
        if let Some(offer) = self.offer(now) {
            if offer.answering.iter().any(|account| speaks_for(user, account, directory)) {
                held.add(if offer.open { given.acceptor } else { given.asked }, Via::NamedParty);
            }
            if speaks_for(user, &offer.initiator, directory) {
                held.add(given.initiator, Via::NamedParty);
            }
        }
        if directory.is_verified_admin(user) {
            held.roles.push(HeldRole { role: given.verified_admin, via: Via::Agency, standing: true });
        }
    }

    fn hold_staff(
        &self,
        staff: &StaffId,
        policies: &SitePolicies,
        directory: &Directory,
        now: Timestamp,
        held: &mut Held,
    ) {
        let given = policies.given();
        match directory.staff_role(staff) {
            Some(StaffRole::Support) => {
                held.add(given.support, Via::Session);
                held.circumstances.support_session_live = self
                    .rare
                    .as_ref()
                    .is_some_and(|rare| rare.sessions.iter().any(|(agent, until)| agent == staff && now < *until));
            }
            Some(StaffRole::TrustSafety) => held.add(given.trust_safety, Via::Session),
            None => {}
        }
    }
}

impl Held {
    fn add(&mut self, role: RoleIx, via: Via) {
        self.roles.push(HeldRole { role, via, standing: false });
    }
    /// Whether the person is anybody on this site.
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        self.roles.iter().any(|held| !held.standing)
    }
    /// Whether this account's cards and invoices are the person's own here.
    #[must_use]
    pub fn owns(&self, user: &UserId, account: &Account) -> bool {
        match account {
            Account::User(own) => own == user,
            Account::Agency(agency) => self.agency_account.as_ref() == Some(agency),
        }
    }
    /// The most direct way in which the person is anybody on this site.
    #[must_use]
    pub fn via_here(&self) -> Option<Via> {
        self.roles.iter().filter(|held| !held.standing).map(|held| held.via).min()
    }
    /// The most direct way in which one of these roles is held.
    #[must_use]
    pub fn via(&self, roles: impl Fn(RoleIx) -> bool) -> Option<Via> {
        self.roles.iter().filter(|held| roles(held.role)).map(|held| held.via).min()
    }
}

/// A person speaks for themselves and, as an admin, for an active agency.
fn speaks_for(user: &UserId, account: &Account, directory: &Directory) -> bool {
    match account {
        Account::User(named) => named == user,
        Account::Agency(agency) => directory
            .agency(agency)
            .is_some_and(|agency| agency.is_active() && agency.member(user) == Some(MemberRole::Admin)),
    }
}

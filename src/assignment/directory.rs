//! Which agencies are there, who belongs to them, and who is platform staff?
//!
//! Loaded whole at start (`docs`: embedded at scale), because suspending an agency is one row that must end its
//! rights on every site at once, without touching those sites.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Account, AgencyId, StaffId, UserId},
    revision::Revision,
    time::Timestamp,
};

/// A partner organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agency {
    /// Chosen by the platform.
    pub id: AgencyId,
    /// The name that clients are shown.
    pub name: String,
    /// The agency's verified domain, shown to clients beside the name.
    pub domain: String,
    /// Whether the platform checked name and domain. Only a verified agency may be offered a seat.
    pub verified: bool,
    /// Whether its rights hold.
    pub status: AgencyStatus,
    /// Since when they do, or do not.
    #[serde(default)]
    pub status_since: Timestamp,
    /// While they do not: when the sites that it runs go back to their clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns_at: Option<Timestamp>,
    /// Whether the platform has a card of it that could be charged.
    #[serde(default = "yes")]
    pub card: bool,
    /// Its people, one role each.
    #[serde(default)]
    pub members: BTreeMap<UserId, MemberRole>,
    /// The global revision of the last change to this agency or its members.
    #[serde(default)]
    pub revision: Revision,
}

const fn yes() -> bool {
    true
}

/// Whether an agency's rights hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgencyStatus {
    /// They hold.
    Active,
    /// Trust and safety suspended it: every right through it is off.
    Suspended,
    /// It is closing down: every right through it is off, and it stays until its sites are returned or replaced.
    Dissolving,
}

/// What a person is in an agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Acts for the agency: holds its seats.
    Admin,
    /// Works on the sites that an admin delegates.
    Member,
    /// Handles the agency's plans and invoices.
    Billing,
}

/// What a staff member may be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaffRole {
    /// Looks at a site inside a consented session.
    Support,
    /// Freezes sites, with a case.
    TrustSafety,
}

/// Agencies with their members, and staff. The whole of it in a running service, the part that one command needs
/// inside a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    agencies: HashMap<AgencyId, Arc<Agency>>,
    staff: HashMap<StaffId, StaffRole>,
    /// Accounts that are being closed, as far as a command needs to know.
    closing: HashSet<Account>,
    /// For each person who is an admin somewhere, where.
    admin_of: HashMap<UserId, BTreeSet<AgencyId>>,
}

impl Directory {
    /// The agency of this id.
    #[must_use]
    pub fn agency(&self, id: &AgencyId) -> Option<&Arc<Agency>> {
        self.agencies.get(id)
    }
    /// All agencies, in no order.
    pub fn agencies(&self) -> impl Iterator<Item = &Arc<Agency>> {
        self.agencies.values()
    }
    /// All staff, in no order.
    pub fn staff(&self) -> impl Iterator<Item = (&StaffId, StaffRole)> {
        self.staff.iter().map(|(id, role)| (id, *role))
    }
    /// What this member of staff is.
    #[must_use]
    pub fn staff_role(&self, id: &StaffId) -> Option<StaffRole> {
        self.staff.get(id).copied()
    }
    /// Whether a person answers for an account: it is their own, or they are an admin of its agency.
    #[must_use]
    pub fn speaks_for(&self, user: &UserId, account: &Account) -> bool {
        match account {
            Account::User(own) => own == user,
            Account::Agency(id) => self.agency(id).is_some_and(|agency| agency.member(user) == Some(MemberRole::Admin)),
        }
    }
    /// Whether this account is being closed.
    #[must_use]
    pub fn is_closing(&self, account: &Account) -> bool {
        self.closing.contains(account)
    }
    /// Says that this account is being closed.
    pub fn put_closing(&mut self, account: Account) {
        self.closing.insert(account);
    }
    /// The agencies in which this person is an admin, in order.
    pub fn agencies_of_admin(&self, user: &UserId) -> impl Iterator<Item = &Agency> {
        let own = self.admin_of.get(user).into_iter().flatten();
        own.filter_map(|id| self.agencies.get(id)).map(AsRef::as_ref)
    }
    /// Whether this person is an admin of some active, verified agency.
    #[must_use]
    pub fn is_verified_admin(&self, user: &UserId) -> bool {
        self.admin_of.get(user).is_some_and(|agencies| {
            agencies.iter().filter_map(|id| self.agencies.get(id)).any(|agency| agency.verified && agency.is_active())
        })
    }
    /// Adds an agency or replaces it, members included.
    pub fn put_agency(&mut self, agency: Arc<Agency>) {
        if let Some(old) = self.agencies.get(&agency.id).cloned() {
            for user in old.admins() {
                if let Some(of) = self.admin_of.get_mut(user) {
                    of.remove(&agency.id);
                    if of.is_empty() {
                        self.admin_of.remove(user);
                    }
                }
            }
        }
        for user in agency.admins() {
            self.admin_of.entry(user.clone()).or_default().insert(agency.id.clone());
        }
        self.agencies.insert(agency.id.clone(), agency);
    }
    /// Adds a member of staff, changes their role, or removes them with `None`.
    pub fn put_staff(&mut self, id: StaffId, role: Option<StaffRole>) {
        match role {
            Some(role) => self.staff.insert(id, role),
            None => self.staff.remove(&id),
        };
    }
}

impl Agency {
    /// Whether rights through this agency hold.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == AgencyStatus::Active
    }
    /// The people who act for the agency.
    pub fn admins(&self) -> impl Iterator<Item = &UserId> {
        self.members.iter().filter(|(_, role)| **role == MemberRole::Admin).map(|(user, _)| user)
    }
    /// What this person is here.
    #[must_use]
    pub fn member(&self, user: &UserId) -> Option<MemberRole> {
        self.members.get(user).copied()
    }
}

//! How much may each role do? The table behind the grant rule (domain §4.2), computed from the loaded policies.
//!
//! Role R may be granted by somebody with role X if R is not X, X is permitted to invite, and R may do nothing further
//! than X may. Computed when a bundle is activated, by asking the policies themselves, so that a changed rule changes
//! who may grant what, and no list of names can disagree with it.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::{Circumstances, Facts, Flags, Kind, SitePolicies};
use crate::{
    decision::{Fault, evaluate},
    policy::{ActionIx, RoleIx},
    site::Mode,
};

/// How far a role may do an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Strength {
    /// Not at all.
    #[default]
    Denied,
    /// Only with the client's confirmation of the single act.
    Confirmed,
    /// In any other way.
    Allowed,
}

/// For each role, with and without being on the payer's side, what it may do at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strengths {
    /// The columns' names.
    actions: Vec<SmolStr>,
    /// Person-level roles: those that an invitation can give.
    person_roles: Vec<SmolStr>,
    /// Role → (as somebody whose grantor pays, otherwise), one strength for each action but `LeaveSite`, in one order.
    table: BTreeMap<SmolStr, [Vec<Strength>; 2]>,
    /// Where `InviteContributor` stands in that order.
    invite: usize,
}

/// Giving up one's own role is no power over anything.
const LEAVE: &str = "LeaveSite";
const INVITE: &str = "InviteContributor";

impl Strengths {
    /// Asks the policies of a bundle.
    ///
    /// # Errors
    /// [`Fault`] when a policy cannot be evaluated.
    pub fn of(policies: &SitePolicies) -> Result<Self, Fault> {
        let bundle = policies.bundle();
        let actions: Vec<ActionIx> =
            bundle.actions().filter(|(_, action)| action.name != LEAVE).map(|(n, _)| n).collect();
        let invite = actions.iter().position(|action| bundle.action_name(*action) == INVITE).unwrap_or(usize::MAX);
        let mut table = BTreeMap::new();
        for (role, entry) in bundle.roles() {
            let row = |payer: bool| {
                actions.iter().map(|action| strength(policies, role, *action, payer)).collect::<Result<Vec<_>, _>>()
            };
            table.insert(entry.name.clone(), [row(true)?, row(false)?]);
        }
        let person_roles = bundle
            .roles()
            .filter(|(role, _)| !policies.given().contains(*role))
            .map(|(_, entry)| entry.name.clone())
            .collect();
        let actions = actions.iter().map(|action| SmolStr::new(bundle.action_name(*action))).collect();
        Ok(Self { actions, person_roles, table, invite })
    }
    /// The table from rows already computed. `actions` names the columns, `LeaveSite` not among them; a row says what
    /// its role may do as somebody whose grantor pays, and otherwise. What a short row leaves out is denied, and
    /// without a column `InviteContributor` nobody grants anything.
    #[must_use]
    pub fn from_rows(
        actions: &[&str],
        person_roles: Vec<SmolStr>,
        rows: impl IntoIterator<Item = (SmolStr, [Vec<Strength>; 2])>,
    ) -> Self {
        let filled = |mut row: Vec<Strength>| {
            row.resize(actions.len(), Strength::Denied);
            row
        };
        Self {
            actions: actions.iter().map(SmolStr::new).collect(),
            person_roles,
            table: rows.into_iter().map(|(role, pair)| (role, pair.map(filled))).collect(),
            invite: actions.iter().position(|action| *action == "InviteContributor").unwrap_or(usize::MAX),
        }
    }
    /// Whether a holder of `grantor` may hand out `role`. `payer` says whether people granted by this grantor would be
    /// on the payer's side, that is, whether the grantor's account holds the host plan.
    #[must_use]
    pub fn may_grant(&self, grantor: &str, payer: bool, role: &str) -> bool {
        let Some(strong) = self.row(grantor, payer) else { return false };
        let Some(weak) = self.row(role, payer) else { return false };
        grantor != role
            && self.is_person_role(role)
            && strong.get(self.invite).is_some_and(|s| *s != Strength::Denied)
            && weak.iter().zip(strong).all(|(w, s)| w <= s)
    }
    /// The same where the client has confirmed this very grant: what the grantor may do with a confirmation only, counts
    /// as what it may do.
    #[must_use]
    pub fn may_grant_confirmed(&self, grantor: &str, payer: bool, role: &str) -> bool {
        let (Some(strong), Some(weak)) = (self.row(grantor, payer), self.row(role, payer)) else { return false };
        grantor != role
            && self.is_person_role(role)
            && strong.get(self.invite).is_some_and(|s| *s != Strength::Denied)
            && weak.iter().zip(strong).all(|(w, s)| *w == Strength::Denied || *s != Strength::Denied)
    }
    /// Whether a role may do an action with the client's confirmation only.
    #[must_use]
    pub fn needs_confirmation(&self, role: &str, action: &str) -> bool {
        let column = self.actions.iter().position(|name| name == action);
        let row = self.row(role, true);
        column.zip(row).and_then(|(column, row)| row.get(column)) == Some(&Strength::Confirmed)
    }
    /// Whether `role` may do nothing that `ceiling` may not, money aside.
    #[must_use]
    pub fn at_most(&self, role: &str, ceiling: &str) -> bool {
        match (self.row(role, false), self.row(ceiling, false)) {
            (Some(weak), Some(strong)) => weak.iter().zip(strong).all(|(w, s)| w <= s),
            _ => false,
        }
    }
    /// Whether an agency's template stays within what an invited person's role may do. Actions that no invitation can
    /// give at all (duplicating a site) are left out: the agency may delegate them to its people anyway, and counting
    /// them would leave no template within any role.
    #[must_use]
    pub fn within(&self, template: &str, role: &str) -> bool {
        let (Some(weak), Some(strong)) = (self.row(template, false), self.row(role, false)) else { return false };
        weak.iter().zip(strong).enumerate().all(|(n, (w, s))| w <= s || !self.some_person_may(n))
    }
    fn some_person_may(&self, action: usize) -> bool {
        self.person_roles
            .iter()
            .filter_map(|role| self.row(role, true))
            .any(|row| row.get(action).is_some_and(|strength| *strength != Strength::Denied))
    }
    /// Whether a role may spend while its grantor pays, and not otherwise.
    #[must_use]
    pub fn spends(&self, role: &str) -> bool {
        self.row(role, true) != self.row(role, false)
    }
    /// How many actions a role may do in some way.
    #[must_use]
    pub fn breadth(&self, role: &str) -> usize {
        self.row(role, false).map_or(0, |row| row.iter().filter(|s| **s != Strength::Denied).count())
    }
    /// Whether an invitation can give this role.
    #[must_use]
    pub fn is_person_role(&self, role: &str) -> bool {
        self.person_roles.iter().any(|name| name == role)
    }
    /// The roles that an invitation can give.
    #[must_use]
    pub fn person_roles(&self) -> &[SmolStr] {
        &self.person_roles
    }
    fn row(&self, role: &str, payer: bool) -> Option<&Vec<Strength>> {
        self.table.get(role).map(|[paying, other]| if payer { paying } else { other })
    }
}

/// The most that a role may do, over every mode and every state in which something becomes possible.
fn strength(policies: &SitePolicies, role: RoleIx, action: ActionIx, payer: bool) -> Result<Strength, Fault> {
    let bundle = policies.bundle();
    if !bundle.bucket(action).is_some_and(|bucket| bucket.permits_everybody() || bucket.permits_some(role)) {
        return Ok(Strength::Denied);
    }
    let plain = Flags::default();
    let states = [
        plain,
        Flags { trashed: true, ..plain },
        Flags { frozen: true, ..plain },
        Flags { past_due: true, ..plain },
        Flags { return_pending: true, reclaim_pending: true, ..plain },
    ];
    let mut most = Strength::Denied;
    for mode in [Mode::SelfManaged, Mode::PartnerBuilt, Mode::PartnerManaged] {
        for flags in states {
            for (confirmed, strength) in [(false, Strength::Allowed), (true, Strength::Confirmed)] {
                if strength <= most {
                    continue;
                }
                let circumstances = Circumstances { confirmed, granted_by_payer: payer, ..Circumstances::favourable() };
                let facts = Facts { mode, flags, circumstances };
                let slice = policies.slice(Kind::User, action, &[role], &facts);
                if evaluate(bundle, &slice)?.allowed {
                    most = strength;
                }
            }
        }
    }
    Ok(most)
}

//! How much may each role do? The table behind the grant rule (domain §4.2), computed from the loaded policies.

use std::collections::BTreeMap;

use smol_str::SmolStr;

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
    /// Person-level roles: those that an invitation can give.
    person_roles: Vec<SmolStr>,
    /// Role → (as somebody whose grantor pays, otherwise), one strength for each action but `LeaveSite`, in one order.
    table: BTreeMap<SmolStr, [Vec<Strength>; 2]>,
    /// Where `InviteContributor` stands in that order.
    invite: usize,
}

impl Strengths {
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
    /// Whether `role` may do nothing that `ceiling` may not, money aside.
    #[must_use]
    pub fn at_most(&self, role: &str, ceiling: &str) -> bool {
        match (self.row(role, false), self.row(ceiling, false)) {
            (Some(weak), Some(strong)) => weak.iter().zip(strong).all(|(w, s)| w <= s),
            _ => false,
        }
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

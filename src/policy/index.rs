//! Policies by action and role, so that a check evaluates a handful of policies however many there are.
//!
//! Cedar evaluates every policy of the set it is given, at 0.6 to 1 µs each, and has no index of its own. A scope
//! `principal in Role::"R"`, `action in [...]` is decided by the request's role set and action alone, so the policies
//! whose scope cannot match are left out beforehand, and of those that can only the conditions are kept, as they were
//! written: Cedar's authorizer would put scope and condition together anew for every policy of every request.
//! Policies without a role, and all forbids, are in every role's reach.
//!
//! The equality with the full set is not taken on trust: see [`crate::assignment::SitePolicies`] and the property test.

use std::{collections::HashMap, sync::Arc};

use cedar_policy::{Policy, PolicyId, PrincipalConstraint, ResourceConstraint};
use cedar_policy_core::ast;

use super::{Effect, PolicyMeta, RoleIx, schema::Vocabulary};

/// The policies that can bear on one action.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Forbids, whatever the role.
    pub(crate) forbids: Vec<Rule>,
    /// Permits for everybody.
    pub(crate) unscoped: Vec<Rule>,
    /// Permits for one role.
    pub(crate) by_role: HashMap<RoleIx, Vec<Rule>>,
}

/// One policy, as far as the index has not decided it.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Which policy it is: its place among [`super::Bundle::policies`].
    pub policy: usize,
    /// What has still to hold.
    pub condition: Arc<ast::Expr>,
}

impl Bucket {
    /// Whether some permit for this action names the role.
    #[must_use]
    pub fn permits_some(&self, role: RoleIx) -> bool {
        self.by_role.contains_key(&role)
    }
    /// Whether some permit for this action is for everybody.
    #[must_use]
    pub fn permits_everybody(&self) -> bool {
        !self.unscoped.is_empty()
    }
    /// The roles that some permit for this action names.
    pub fn roles(&self) -> impl Iterator<Item = RoleIx> + '_ {
        self.by_role.keys().copied()
    }
}

pub(super) fn build(found: &[(Policy, PolicyMeta)], vocabulary: &Vocabulary) -> Result<Vec<Bucket>, String> {
    let mut buckets = vec![Bucket::default(); vocabulary.actions.len()];
    for (n, (policy, meta)) in found.iter().enumerate() {
        let condition = remaining(policy).map_err(|error| format!("cannot index `{}`: {error}", meta.id))?;
        for action in &meta.actions {
            let Some(bucket) = buckets.get_mut(usize::from(action.0)) else { continue };
            let rules = match (meta.effect, meta.role) {
                (Effect::Forbid, _) => &mut bucket.forbids,
                (Effect::Permit, None) => &mut bucket.unscoped,
                (Effect::Permit, Some(role)) => bucket.by_role.entry(role).or_default(),
            };
            rules.push(Rule { policy: n, condition: Arc::clone(&condition) });
        }
    }
    Ok(buckets)
}

/// What is left to evaluate of a policy in its bucket: its conditions. A forbid is looked at whatever the role, so one
/// that names a principal keeps its whole scope, and so does a policy that names a resource.
fn remaining(policy: &Policy) -> Result<Arc<ast::Expr>, Box<dyn std::error::Error>> {
    // By way of JSON, which has no places in files: carrying each expression's place along costs two writes to memory
    // that all threads share.
    let id: PolicyId = policy.id().clone();
    let policy = Policy::from_json(Some(id), policy.to_json()?)?;
    let decided = matches!(policy.principal_constraint(), PrincipalConstraint::Any)
        || policy.effect() == cedar_policy::Effect::Permit;
    let everywhere = matches!(policy.resource_constraint(), ResourceConstraint::Any);
    let policy: &ast::Policy = policy.as_ref();
    Ok(match policy.non_scope_constraints_arc() {
        _ if !(decided && everywhere) => Arc::new(policy.condition()),
        Some(condition) => Arc::clone(condition),
        None => Arc::new(ast::Expr::val(true)),
    })
}

//! Policies by action and role, so that a check evaluates a handful of policies however many there are.
//!
//! Cedar evaluates every policy of the set it is given, at 0.6 to 1 µs each, and has no index of its own. A scope
//! `principal in Role::"R"`, `action in [...]` is decided by the request's role set and action alone, so the policies
//! whose scope cannot match are left out beforehand, and in those that can the decided part of the scope is replaced by
//! "any": the conditions stay as they were written. Policies without a role, and all forbids, are in every role's reach.
//!
//! The equality with the full set is not taken on trust: see [`crate::assignment::SitePolicies`] and the property test.

use std::collections::HashMap;

use cedar_policy::{Policy, PolicyId, PolicySet, PrincipalConstraint};
use serde_json::{Value, json};

use super::{Effect, PolicyMeta, RoleIx, schema::Vocabulary};

/// The policies that can bear on one action.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Forbids, whatever the role.
    pub(crate) forbids: Option<PolicySet>,
    /// Permits for everybody.
    pub(crate) unscoped: Option<PolicySet>,
    /// Permits for one role.
    pub(crate) by_role: HashMap<RoleIx, PolicySet>,
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
        self.unscoped.is_some()
    }
    /// The roles that some permit for this action names.
    pub fn roles(&self) -> impl Iterator<Item = RoleIx> + '_ {
        self.by_role.keys().copied()
    }
}

pub(super) fn build(found: &[(Policy, PolicyMeta)], vocabulary: &Vocabulary) -> Result<Vec<Bucket>, String> {
    let mut buckets = vec![Bucket::default(); vocabulary.actions.len()];
    for (policy, meta) in found {
        let short = specialise(policy)?;
        for action in &meta.actions {
            let Some(bucket) = buckets.get_mut(usize::from(action.0)) else { continue };
            let set = match (meta.effect, meta.role) {
                (Effect::Forbid, _) => bucket.forbids.get_or_insert_default(),
                (Effect::Permit, None) => bucket.unscoped.get_or_insert_default(),
                (Effect::Permit, Some(role)) => bucket.by_role.entry(role).or_default(),
            };
            set.add(short.clone()).map_err(|error| format!("cannot index `{}`: {error}", meta.id))?;
        }
    }
    Ok(buckets)
}

/// The policy with the parts of its scope that the index has decided replaced by "any". A forbid keeps its principal:
/// it is looked at whatever the role.
fn specialise(policy: &Policy) -> Result<Policy, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot index `{}`: {error}", policy.id());
    let mut est = policy.to_json().map_err(|error| failed(&error))?;
    let any = json!({ "op": "All" });
    let decided = matches!(policy.principal_constraint(), PrincipalConstraint::Any)
        || policy.effect() == cedar_policy::Effect::Permit;
    if let Value::Object(map) = &mut est {
        map.insert("action".to_owned(), any.clone());
        if decided {
            map.insert("principal".to_owned(), any);
        }
    }
    let id: PolicyId = policy.id().clone();
    Policy::from_json(Some(id), est).map_err(|error| failed(&error))
}

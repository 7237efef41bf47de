//! May they? One request against one bundle: the only caller of Cedar's authorizer and evaluator.
//!
//! [`evaluate`] answers from the index, condition by condition with Cedar's evaluator; [`evaluate_plainly`] asks Cedar's
//! authorizer about the whole policy set. They are equal, and the second is the definition of the first; a [`Sweep`]
//! asks the index about many actions. All refuse ([`Fault`]) when a policy errs: Cedar's authorizer skips it, and a skipped forbid is a permission nobody wrote.
//!
//! A [`Slice`] holds all that policies may read: the principal with the roles it holds here, the resource, the action
//! closed over its groups, and the context. Bundles are validated at slice level 1, so nothing else can be reached.
//! Entity stores of whole sites lost: building one costs twenty times what a decision costs.

mod reason;
mod slice;
mod sweep;

pub use reason::{Restore, why_denied};
pub use slice::{Part, Roles, Slice, entity_uid};
pub use sweep::Sweep;

use cedar_policy::{Authorizer, Decision, Entities, Request};
use cedar_policy_core::{
    ast::{Literal, SlotEnv, ValueKind},
    evaluator::Evaluator,
    extensions::Extensions,
};
use smol_str::SmolStr;

use crate::policy::{Bundle, Effect, PolicyMeta, Rule};

/// What the policies say, and which of them said it.
#[derive(Debug, Clone)]
pub struct Evaluation<'a> {
    /// Whether some permit applied and no forbid did.
    pub allowed: bool,
    /// The policies that determined it: the permits that applied, or the forbids; by file and line. Empty when nothing
    /// applied.
    pub determining: Vec<&'a PolicyMeta>,
}

/// Why there is no answer. A fault refuses access and is never told as a deny.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A policy could not be evaluated.
    #[error("evaluating the policies failed: {0}")]
    Evaluation(String),
    /// Something the decision needs was not there, for example an action of another bundle.
    #[error("the request is not complete: {0}")]
    Missing(&'static str),
}

/// Decides from the policies that can bear on this action and these roles.
///
/// # Errors
/// [`Fault`] when a policy errs or the slice is of another bundle.
pub fn evaluate<'a>(bundle: &'a Bundle, slice: &Slice) -> Result<Evaluation<'a>, Fault> {
    let (request, entities) = slice.prepare(bundle)?;
    let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
    walk(bundle, slice, |rule, policy| holds(&evaluator, rule, policy))
}

/// Asks the policies that can bear on this action and these roles whether they apply: forbids first, and permits only
/// when there are none.
fn walk<'a>(
    bundle: &'a Bundle,
    slice: &Slice,
    mut holds: impl FnMut(&Rule, &PolicyMeta) -> Result<bool, Fault>,
) -> Result<Evaluation<'a>, Fault> {
    let bucket = bundle.bucket(slice.action).ok_or(Fault::Missing("the action is not of this bundle"))?;
    let mut determining = Vec::new();
    let mut collect = |rules: &[Rule], determining: &mut Vec<&'a PolicyMeta>| -> Result<(), Fault> {
        for rule in rules {
            let policy = bundle.policies().get(rule.policy).ok_or(Fault::Missing("a policy is not of this bundle"))?;
            if holds(rule, policy)? {
                determining.push(policy);
            }
        }
        Ok(())
    };
    collect(&bucket.forbids, &mut determining)?;
    if !determining.is_empty() {
        return Ok(settle(false, determining));
    }
    collect(&bucket.unscoped, &mut determining)?;
    for role in &slice.roles {
        if let Some(permits) = bucket.by_role.get(role) {
            collect(permits, &mut determining)?;
        }
    }
    Ok(settle(!determining.is_empty(), determining))
}

/// Whether a policy's condition holds.
fn holds(evaluator: &Evaluator<'_>, rule: &Rule, policy: &PolicyMeta) -> Result<bool, Fault> {
    let failed = |what: &dyn std::fmt::Display| Fault::Evaluation(format!("policy `{}`: {what}", policy.id));
    // Templates are refused when a bundle is built, so no policy has slots.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that evaluates")]
    let value = evaluator.interpret(&rule.condition, &SlotEnv::new()).map_err(|error| failed(&error))?;
    match value.value_kind() {
        ValueKind::Lit(Literal::Bool(holds)) => Ok(*holds),
        _ => Err(failed(&"its condition is not a boolean")),
    }
}

/// Decides from every policy of the bundle: the definition that [`evaluate`] must equal.
///
/// # Errors
/// [`Fault`] when a policy errs or the slice is of another bundle.
pub fn evaluate_plainly<'a>(bundle: &'a Bundle, slice: &Slice) -> Result<Evaluation<'a>, Fault> {
    let (request, entities) = slice.prepare(bundle)?;
    #[expect(clippy::disallowed_methods, reason = "this is the one place that evaluates")]
    let response = Authorizer::new().is_authorized(&Request::from(request), &bundle.all, &Entities::from(entities));
    if let Some(error) = response.diagnostics().errors().next() {
        return Err(Fault::Evaluation(error.to_string()));
    }
    let known = |id| bundle.policy(id).ok_or(Fault::Missing("a policy is not of this bundle"));
    let determining = response.diagnostics().reason().map(known).collect::<Result<_, _>>()?;
    Ok(settle(response.decision() == Decision::Allow, determining))
}

fn settle(allowed: bool, mut determining: Vec<&PolicyMeta>) -> Evaluation<'_> {
    if determining.len() > 1 {
        determining.sort_unstable_by(|a, b| a.path.cmp(&b.path).then(a.line.cmp(&b.line)));
    }
    Evaluation { allowed, determining }
}

/// Something the platform must do when it lets the request through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, utoipa::ToSchema)]
pub struct Obligation {
    /// The side to tell.
    #[schema(value_type = String)]
    pub notify: SmolStr,
    /// The action it is told about.
    #[schema(value_type = String)]
    pub action: SmolStr,
}

impl Evaluation<'_> {
    /// What must be done when the request is let through: each side that a determining permit says is told.
    #[must_use]
    pub fn obligations(&self, action: &str) -> Vec<Obligation> {
        let mut found: Vec<Obligation> = self
            .determining
            .iter()
            .filter(|policy| policy.effect == Effect::Permit)
            .filter_map(|policy| policy.notify.clone())
            .map(|notify| Obligation { notify, action: SmolStr::new(action) })
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests;

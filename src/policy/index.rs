//! Policies by action and role, so that a check evaluates a handful of policies however many there are.
//!
//! Cedar evaluates every policy of the set it is given, at 0.6 to 1 µs each, and has no index of its own. A scope
//! `principal in Role::"R"`, `action in [...]` is decided by the request's role set and action alone, so the policies
//! whose scope cannot match are left out beforehand, and of those that can only the conditions are kept, as they were
//! written: Cedar's authorizer would put scope and condition together anew for every policy of every request. What a
//! condition itself says of the action (`action in ...`) is decided as the scope is: a bucket is for one action. So what
//! is kept hardly ever depends on the action, and conditions that are the same have one number, by which a caller who
//! asks about many actions remembers them.
//! Policies without a role, and all forbids, are in every role's reach.
//!
//! The equality with the full set is not taken on trust: see [`crate::assignment::SitePolicies`] and the property test.

use std::{collections::HashMap, sync::Arc};

use cedar_policy::{Policy, PolicyId, PrincipalConstraint, ResourceConstraint};
use cedar_policy_core::ast;
use serde_json::{Value, json};

use super::{Action, Effect, PolicyMeta, RoleIx, schema::Vocabulary};

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
    /// Equal conditions have equal numbers, from 0. None when it mentions an action: it may hold for one and not another.
    pub number: Option<usize>,
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
    let mut numbers = Numbers::new();
    for (n, (policy, meta)) in found.iter().enumerate() {
        let failed = |error: &dyn std::fmt::Display| format!("cannot index `{}`: {error}", meta.id);
        let written = policy.to_json().map_err(|error| failed(&error))?;
        let mut variants: Vec<(Value, Rule)> = Vec::new();
        for action in &meta.actions {
            let at = usize::from(action.0);
            let (Some(bucket), Some(action)) = (buckets.get_mut(at), vocabulary.actions.get(at)) else { continue };
            let mut written = written.clone();
            if let Some(conditions) = written.get_mut("conditions") {
                decide(conditions, action);
            }
            let rule = if let Some((_, rule)) = variants.iter().find(|(variant, _)| *variant == written) {
                rule.clone()
            } else {
                let condition = remaining(policy.id(), &written).map_err(|error| failed(&error))?;
                let rule = Rule { policy: n, number: number(&mut numbers, &condition), condition };
                variants.push((written, rule.clone()));
                rule
            };
            let rules = match (meta.effect, meta.role) {
                (Effect::Forbid, _) => &mut bucket.forbids,
                (Effect::Permit, None) => &mut bucket.unscoped,
                (Effect::Permit, Some(role)) => bucket.by_role.entry(role).or_default(),
            };
            rules.push(rule);
        }
    }
    Ok(buckets)
}

/// What is left to evaluate of a policy in its bucket: its conditions. A forbid is looked at whatever the role, so one
/// that names a principal keeps its whole scope, and so does a policy that names a resource.
///
/// By way of JSON, which has no places in files: carrying each expression's place along costs two writes to memory that
/// all threads share.
fn remaining(id: &PolicyId, written: &Value) -> Result<Arc<ast::Expr>, Box<dyn std::error::Error>> {
    let policy = Policy::from_json(Some(id.clone()), written.clone())?;
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

/// Puts the answer in place of every `action in ...`, `action == ...` and `action != ...` about named actions, in Cedar's
/// JSON form of conditions. What is written otherwise stays as it is.
fn decide(part: &mut Value, action: &Action) {
    if let Some(answer) = answer(part, action) {
        *part = json!({ "Value": answer });
        return;
    }
    match part {
        Value::Array(parts) => parts.iter_mut().for_each(|part| decide(part, action)),
        // A constant has no parts that are evaluated.
        Value::Object(parts) if parts.len() == 1 && parts.contains_key("Value") => {}
        Value::Object(parts) => parts.values_mut().for_each(|part| decide(part, action)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn answer(part: &Value, action: &Action) -> Option<bool> {
    let parts = part.as_object().filter(|parts| parts.len() == 1)?;
    let (operator, operands) = parts.iter().next()?;
    let (left, right) = (operands.get("left")?, operands.get("right")?);
    if *left != json!({ "Var": "action" }) {
        return None;
    }
    let own_type = action.uid.entity_type().to_string();
    let named = |part: &Value| {
        let entity = part.get("Value")?.get("__entity")?;
        (entity.get("type")?.as_str()? == own_type).then_some(())?;
        entity.get("id")?.as_str().map(str::to_owned)
    };
    let is = |id: &String| AsRef::<str>::as_ref(action.uid.eid()) == id;
    match (operator.as_str(), right.get("Set").and_then(Value::as_array)) {
        ("in", Some(set)) => {
            let ids: Vec<String> = set.iter().map(named).collect::<Option<_>>()?;
            Some(ids.iter().any(|id| is(id) || action.groups.contains(id.as_str())))
        }
        ("in", None) => named(right).map(|id| is(&id) || action.groups.contains(id.as_str())),
        ("==", None) => named(right).map(|id| is(&id)),
        ("!=", None) => named(right).map(|id| !is(&id)),
        _ => None,
    }
}

type Numbers = HashMap<Arc<ast::Expr>, usize>;

fn number(numbers: &mut Numbers, condition: &Arc<ast::Expr>) -> Option<usize> {
    if mentions_action(condition) {
        return None;
    }
    let next = numbers.len();
    Some(*numbers.entry(Arc::clone(condition)).or_insert(next))
}

/// The request's action by its variable, or any action by name. Nothing else leads to one: no attribute is an action.
fn mentions_action(condition: &ast::Expr) -> bool {
    condition.subexpressions().any(|part| match part.expr_kind() {
        ast::ExprKind::Var(variable) => *variable == ast::Var::Action,
        ast::ExprKind::Lit(ast::Literal::EntityUID(uid)) => uid.is_action(),
        _ => false,
    })
}

//! The house rules of a bundle, beyond Cedar's own validation.
//!
//! Every policy has a unique `@id` and a one-sentence `@doc`, and no annotation that nobody reads; the folder tells the
//! effect (`guardrails/` holds only forbids, each with a `@reason`; every other folder only permits); no policy names a
//! person or a thing; every action of the catalogue is covered by a permit. They exist so that the rule index, reason
//! codes and the index by role can be derived instead of written twice.
//!
//! And no policy can err while it is evaluated: a validated condition of slice level 1 over required booleans and
//! entities fails in arithmetic or in an extension function only, and neither is let in.

use cedar_policy::{Policy, PolicyId, PolicySet};
use serde_json::Value;
use smol_str::SmolStr;

use super::{
    Effect, Names, PolicyMeta, Problem, Source,
    bundle::scope,
    error::{line_of, line_of_text},
    schema::Vocabulary,
};

/// Reads the policies of one file, keeping those that follow the rules and reporting the others.
pub(super) fn read(
    file: &Source,
    set: &PolicySet,
    vocabulary: &Vocabulary,
    names: &Names,
    found: &mut Vec<(Policy, PolicyMeta)>,
    problems: &mut Vec<Problem>,
) {
    if let Some(template) = set.templates().next() {
        problems.push(Problem::of_file(
            &file.path,
            format!("template `{}`: write plain policies, roles are given per request", template.id()),
        ));
    }
    let mut policies: Vec<(usize, &Policy)> = set.policies().map(|policy| (start(policy), policy)).collect();
    policies.sort_by_key(|(start, _)| *start);
    for (start, policy) in policies {
        let line = line_of(&file.text, start);
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            let reason = "a policy has no `@id`: write `@id(\"folder.file\")` above it".to_owned();
            problems.push(Problem { path: file.path.clone(), line, reason });
            continue;
        };
        let mut problem = |reason: String| problems.push(Problem { path: file.path.clone(), line, reason });
        if let Some((_, other)) = found.iter().find(|(_, meta)| meta.id == id) {
            problem(format!("`@id(\"{id}\")` is taken by {}:{}", other.path, other.line));
            continue;
        }
        match meta(file, line, id, policy, vocabulary, names) {
            Ok(meta) => found.push((policy.new_id(PolicyId::new(id)), meta)),
            Err(reasons) => reasons.into_iter().for_each(&mut problem),
        }
    }
}

fn meta(
    file: &Source,
    line: usize,
    id: &str,
    policy: &Policy,
    vocabulary: &Vocabulary,
    names: &Names,
) -> Result<PolicyMeta, Vec<String>> {
    let mut reasons = Vec::new();
    let doc = policy.annotation("doc").unwrap_or_default().to_owned();
    if !(doc.ends_with('.') && doc.len() > 10) || doc.contains(". ") || doc.contains('\n') {
        reasons.push(format!("`{id}` needs a `@doc` of one English sentence, ending in a full stop"));
    }
    for (annotation, _) in policy.annotations().filter(|(name, _)| !ANNOTATIONS.contains(name)) {
        reasons.push(format!("`{id}` has the annotation `@{annotation}`; there are: {}", ANNOTATIONS.join(", ")));
    }
    if let Some(what) = policy.to_json().ok().and_then(|json| may_err(json.get("conditions")?)) {
        reasons.push(format!("`{id}` contains {what}: a condition may not be able to fail while it is evaluated"));
    }
    let effect = match policy.effect() {
        cedar_policy::Effect::Permit => Effect::Permit,
        cedar_policy::Effect::Forbid => Effect::Forbid,
    };
    let guardrail = file.path.split('/').any(|part| part == "guardrails");
    let reason = policy.annotation("reason").map(SmolStr::new);
    match (guardrail, effect) {
        (true, Effect::Permit) => reasons.push(format!("`{id}` is a permit: `guardrails/` holds forbids only")),
        (false, Effect::Forbid) => reasons.push(format!("`{id}` is a forbid: forbids belong in `guardrails/`")),
        (true, Effect::Forbid) if reason.is_none() => {
            reasons.push(format!("`{id}` is a forbid and needs a `@reason`: the code a denied caller is given"));
        }
        (true, Effect::Forbid) | (false, Effect::Permit) => {}
    }
    for literal in policy.entity_literals() {
        let type_name = literal.type_name().to_string();
        let known = type_name.strip_prefix(names.namespace).and_then(|rest| rest.strip_prefix("::"));
        let allowed = known.is_some_and(|name| name == "Action" || names.literal_types.contains(&name));
        if !allowed {
            reasons.push(format!(
                "`{id}` names `{literal}`: a rule speaks of roles and facts, not of single people or things"
            ));
        }
    }
    let notify = policy.annotation("notify").map(SmolStr::new);
    match scope(policy, vocabulary) {
        Ok((role, actions)) if reasons.is_empty() => Ok(PolicyMeta {
            id: SmolStr::new(id),
            doc,
            effect,
            path: file.path.clone(),
            line,
            role,
            actions,
            reason,
            notify,
        }),
        Ok(_) => Err(reasons),
        Err(error) => {
            reasons.push(format!("`{id}`: {error}"));
            Err(reasons)
        }
    }
}

/// Actions that nobody is permitted by any policy's scope: a catalogue entry that was forgotten.
pub(super) fn coverage(path: &str, text: &str, vocabulary: &Vocabulary, metas: &[PolicyMeta]) -> Vec<Problem> {
    (0..=u16::MAX)
        .map(super::ActionIx)
        .zip(&vocabulary.actions)
        .filter(|(n, _)| !metas.iter().any(|meta| meta.effect == Effect::Permit && meta.actions.contains(n)))
        .map(|(_, action)| Problem {
            path: path.to_owned(),
            line: line_of_text(text, &format!("action {} ", action.name)),
            reason: format!("action `{}` is not covered: no policy permits it to anybody", action.name),
        })
        .collect()
}

/// The annotations that something reads.
const ANNOTATIONS: &[&str] = &["id", "doc", "reason", "notify"];

/// The first thing in a condition, in Cedar's JSON form, that could fail at the time of a check.
fn may_err(expression: &Value) -> Option<String> {
    match expression {
        Value::Object(map) => {
            // An operator or a function is an object of one member: its name, with its operands.
            if let (1, Some((name, operands))) = (map.len(), map.iter().next()) {
                match (name.as_str(), operands) {
                    ("+" | "-" | "*" | "neg", _) => return Some("arithmetic".to_owned()),
                    ("Value", Value::Number(number)) => return Some(format!("the number {number}")),
                    ("Set", _) => {}
                    (function, Value::Array(_)) => return Some(format!("the extension function `{function}`")),
                    _ => {}
                }
            }
            map.values().find_map(may_err)
        }
        Value::Array(items) => items.iter().find_map(may_err),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Where a policy starts in its file, its annotations included.
fn start(policy: &Policy) -> usize {
    let policy: &cedar_policy_core::ast::Policy = policy.as_ref();
    policy.loc().map_or(0, |loc| loc.span.offset())
}

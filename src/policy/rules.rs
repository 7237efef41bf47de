//! The house rules of a bundle, beyond Cedar's own validation.
//!
//! Every policy has a unique `@id` and a one-sentence `@doc`; the folder tells the effect (`guardrails/` holds only
//! forbids, each with a `@reason`; every other folder only permits); no policy names a person or a thing; every action
//! of the catalogue is covered by a permit. They exist so that the rule index, reason codes and the index by role can be
//! derived instead of written twice.

use cedar_policy::{Policy, PolicyId, PolicySet};
use smol_str::SmolStr;

use super::{
    Domain, Effect, PolicyMeta, Problem, Source,
    bundle::{line_of_id, scope},
    error::line_of_text,
    schema::Vocabulary,
};

/// Reads the policies of one file, keeping those that follow the rules and reporting the others.
pub(super) fn read(
    file: &Source,
    set: &PolicySet,
    vocabulary: &Vocabulary,
    domain: &Domain,
    found: &mut Vec<(Policy, PolicyMeta)>,
    problems: &mut Vec<Problem>,
) {
    if let Some(template) = set.templates().next() {
        problems.push(Problem::of_file(
            &file.path,
            format!("template `{}`: write plain policies, roles are given per request", template.id()),
        ));
    }
    for policy in set.policies() {
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            problems.push(Problem::of_file(&file.path, format!("a policy has no `@id`: {}", first_line(policy))));
            continue;
        };
        let line = line_of_id(file, id);
        let mut problem = |reason: String| problems.push(Problem { path: file.path.clone(), line, reason });
        if let Some((_, other)) = found.iter().find(|(_, meta)| meta.id == id) {
            problem(format!("`@id(\"{id}\")` is taken by {}:{}", other.path, other.line));
            continue;
        }
        match meta(file, line, id, policy, vocabulary, domain) {
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
    domain: &Domain,
) -> Result<PolicyMeta, Vec<String>> {
    let mut reasons = Vec::new();
    let doc = policy.annotation("doc").unwrap_or_default().to_owned();
    if !(doc.ends_with('.') && doc.len() > 10) {
        reasons.push(format!("`{id}` needs a `@doc` of one English sentence, ending in a full stop"));
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
        let known = type_name.strip_prefix(domain.namespace).and_then(|rest| rest.strip_prefix("::"));
        let allowed = known.is_some_and(|name| name == "Action" || domain.literal_types.contains(&name));
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

fn first_line(policy: &Policy) -> String {
    policy.to_string().lines().next().unwrap_or_default().to_owned()
}

//! The bundle: parsed, validated, indexed, fingerprinted.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use cedar_policy::{
    ActionConstraint, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, Schema, ValidationMode, Validator,
};
use cedar_policy_core::ast;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::{
    Action, ActionIx, Bucket, Names, Problem, Problems, Role, RoleIx, Source, Sources, error::line_of, index, rules,
    schema::Vocabulary,
};
use crate::digest;

/// What a policy does when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "Cedar's two effects")]
pub enum Effect {
    Permit,
    Forbid,
}

/// What is known of one policy besides its condition.
#[derive(Debug, Clone)]
pub struct PolicyMeta {
    /// `@id`.
    pub id: SmolStr,
    /// `@doc`: one sentence.
    pub doc: String,
    /// Permit or forbid.
    pub effect: Effect,
    /// The file it stands in.
    pub path: String,
    /// The line it starts on with its annotations, from 1.
    pub line: usize,
    /// The role its scope names; none when it is for everybody.
    pub role: Option<RoleIx>,
    /// The actions its scope covers, in the catalogue's order.
    pub actions: Vec<ActionIx>,
    /// `@reason`: the reason code of a denial by this forbid.
    pub reason: Option<SmolStr>,
    /// `@notify`: the side that is told when this permit lets somebody act.
    pub notify: Option<SmolStr>,
}

/// Schema and policies as one value.
#[derive(Debug)]
pub struct Bundle {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) all: PolicySet,
    policies: Vec<PolicyMeta>,
    by_id: HashMap<PolicyId, usize>,
    buckets: Vec<Bucket>,
    sha256: SmolStr,
    fingerprint: SmolStr,
    sources: Sources,
}

impl Bundle {
    /// Builds a bundle from one schema file and any number of policy files.
    ///
    /// # Errors
    /// Everything that is wrong, with file and line: syntax, validation errors and warnings, a condition that reads
    /// beyond principal and resource, and the house rules (`rules`).
    pub fn build(schema: &Source, policies: &[Source], names: &Names) -> Result<Self, Problems> {
        let vocabulary = Vocabulary::parse(schema, names).map_err(Problems)?;
        let mut problems = Vec::new();
        let mut found: Vec<(Policy, PolicyMeta)> = Vec::new();
        let mut files: Vec<&Source> = policies.iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        for file in files {
            match PolicySet::from_str(&file.text) {
                Ok(set) => rules::read(file, &set, &vocabulary, names, &mut found, &mut problems),
                Err(error) => problems.extend(syntax(file, &error)),
            }
        }
        let mut all = PolicySet::new();
        let mut by_id = HashMap::new();
        found.sort_by(|a, b| a.1.path.cmp(&b.1.path).then(a.1.line.cmp(&b.1.line)));
        for (n, (policy, meta)) in found.iter().enumerate() {
            by_id.insert(policy.id().clone(), n);
            if let Err(error) = all.add(policy.clone()) {
                problems.push(Problem { path: meta.path.clone(), line: meta.line, reason: error.to_string() });
            }
        }
        let metas: Vec<PolicyMeta> = found.iter().map(|(_, meta)| meta.clone()).collect();
        if problems.is_empty() {
            problems.extend(validate(&all, &vocabulary.schema, &metas, policies));
            problems.extend(rules::coverage(&schema.path, &schema.text, &vocabulary, &metas));
        }
        if !problems.is_empty() {
            problems.sort();
            return Err(Problems(problems));
        }
        let buckets = index::build(&found, &vocabulary)
            .map_err(|reason| Problems(vec![Problem::of_file(&schema.path, reason)]))?;
        let sha256 = sha256(schema, policies);
        let fingerprint = smol_str::format_smolstr!("sha256:{}", sha256.get(..16).unwrap_or(&sha256));
        let sources = Sources { schema: schema.clone(), policies: policies.to_vec() };
        Ok(Self { vocabulary, all, policies: metas, by_id, buckets, sha256, fingerprint, sources })
    }

    /// SHA-256 over the schema and every policy file with its path, in lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> &SmolStr {
        &self.sha256
    }
    /// What it was built from.
    #[must_use]
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }
    /// `sha256:` and the first 16 digits of [`Bundle::sha256`], for people.
    #[must_use]
    pub fn fingerprint(&self) -> &SmolStr {
        &self.fingerprint
    }
    /// Every policy, by file and line.
    #[must_use]
    pub fn policies(&self) -> &[PolicyMeta] {
        &self.policies
    }
    /// Every action that can be asked about, in the catalogue's order.
    pub fn actions(&self) -> impl Iterator<Item = (ActionIx, &Action)> {
        (0..=u16::MAX).map(ActionIx).zip(&self.vocabulary.actions)
    }
    /// Every role, in the schema's order.
    pub fn roles(&self) -> impl Iterator<Item = (RoleIx, &Role)> {
        (0..=u16::MAX).map(RoleIx).zip(&self.vocabulary.roles)
    }
    /// The action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<ActionIx> {
        self.vocabulary.action_by_name.get(name).copied()
    }
    /// The role of this name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<RoleIx> {
        self.vocabulary.role_by_name.get(name).copied()
    }
    /// The name of an action of this bundle; empty for one of another bundle.
    #[must_use]
    pub fn action_name(&self, action: ActionIx) -> &str {
        self.vocabulary.actions.get(usize::from(action.0)).map_or("", |action| action.name.as_str())
    }
    /// The name of a role of this bundle; empty for one of another bundle.
    #[must_use]
    pub fn role_name(&self, role: RoleIx) -> &str {
        self.vocabulary.roles.get(usize::from(role.0)).map_or("", |role| role.name.as_str())
    }
    /// The entity of a role.
    pub(crate) fn role_uid(&self, role: RoleIx) -> Option<ast::EntityUID> {
        self.vocabulary.roles.get(usize::from(role.0)).map(|role| ast::EntityUID::clone(role.uid.as_ref()))
    }
    /// The policies that can bear on an action, by role.
    #[must_use]
    pub fn bucket(&self, action: ActionIx) -> Option<&Bucket> {
        self.buckets.get(usize::from(action.0))
    }
    /// What is known of a policy.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<&PolicyMeta> {
        self.by_id.get(id).and_then(|n| self.policies.get(*n))
    }
    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.vocabulary.schema
    }
}

fn syntax(file: &Source, error: &cedar_policy::ParseErrors) -> Vec<Problem> {
    use miette::Diagnostic as _;
    error
        .iter()
        .map(|error| Problem {
            path: file.path.clone(),
            line: error
                .labels()
                .and_then(|mut labels| labels.next())
                .map_or(0, |label| line_of(&file.text, label.offset())),
            reason: error.to_string(),
        })
        .collect()
}

/// Strict validation with warnings as errors, then slice level 1: a condition may read the principal's and the
/// resource's attributes and nothing behind them, so that a request's two entities are the whole slice.
fn validate(all: &PolicySet, schema: &Schema, metas: &[PolicyMeta], files: &[Source]) -> Vec<Problem> {
    let result = Validator::new(schema.clone()).validate_with_level(all, ValidationMode::Strict, 1);
    let offset = |diagnostic: &dyn miette::Diagnostic| {
        diagnostic.labels().and_then(|mut labels| labels.next()).map(|label| label.offset())
    };
    let words = |diagnostic: &dyn miette::Diagnostic| match diagnostic.help() {
        Some(help) => format!("{diagnostic}; {help}"),
        None => diagnostic.to_string(),
    };
    let errors = result.validation_errors().map(|error| (error.policy_id().clone(), words(error), offset(error)));
    let warnings =
        result.validation_warnings().map(|warning| (warning.policy_id().clone(), words(warning), offset(warning)));
    errors
        .chain(warnings)
        .map(|(id, reason, offset)| {
            let id: &str = id.as_ref();
            let Some(meta) = metas.iter().find(|meta| meta.id == id) else {
                return Problem::of_file("policies", reason);
            };
            let file = files.iter().find(|file| file.path == meta.path);
            let line = file.zip(offset).map_or(meta.line, |(file, offset)| line_of(&file.text, offset));
            Problem { path: meta.path.clone(), line, reason }
        })
        .collect()
}

fn sha256(schema: &Source, policies: &[Source]) -> SmolStr {
    let files: BTreeMap<&str, &str> =
        policies.iter().chain([schema]).map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let mut hash = Sha256::new();
    for (path, text) in files {
        // Lengths first, so that no two different sets of files hash alike.
        for part in [path, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    digest::hex(&hash.finalize()).into()
}

/// Reads one policy's scope.
pub(super) fn scope(policy: &Policy, vocabulary: &Vocabulary) -> Result<(Option<RoleIx>, Vec<ActionIx>), String> {
    let role = match policy.principal_constraint() {
        PrincipalConstraint::Any => None,
        PrincipalConstraint::In(uid) => {
            let found = vocabulary.roles.iter().position(|role| role.uid == uid);
            let n = found.and_then(|n| u16::try_from(n).ok());
            Some(RoleIx(n.ok_or_else(|| format!("the scope names `{uid}`, which is not a role"))?))
        }
        PrincipalConstraint::Eq(_) | PrincipalConstraint::Is(_) | PrincipalConstraint::IsIn(..) => {
            return Err("the scope's principal must be `principal` or `principal in` a role".to_owned());
        }
    };
    let is = |action: &Action, uid: &EntityUid| *action.uid == *AsRef::<ast::EntityUID>::as_ref(uid);
    let constraint = policy.action_constraint();
    let actions = (0..=u16::MAX)
        .map(ActionIx)
        .zip(&vocabulary.actions)
        .filter(|(_, action)| match &constraint {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => is(action, uid),
            ActionConstraint::In(uids) => {
                uids.iter().any(|uid| is(action, uid) || action.groups.contains(uid.id().unescaped()))
            }
        })
        .map(|(n, _)| n)
        .collect();
    Ok((role, actions))
}

//! Is a folder a policy domain? Everything that is wrong with it, with file and line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
    sync::Arc,
};

use cedar_policy::{
    Entities, EntityTypeName, Policy, PolicyId, PolicySet, Schema, SchemaFragment, ValidationMode, Validator,
};
use cedar_policy_core::{ast, validator::types::Type};
use smol_str::SmolStr;

use super::{
    Act, Kind, PolicyDomain,
    manifest::{Manifest, TypeEntry},
    shape::{self, Shape},
};
use crate::{
    digest,
    policy::{Problem, Problems, Source},
};

/// The file that describes a domain.
const MANIFEST: &str = "domain.toml";
/// The file with its schema.
const SCHEMA: &str = "schema.cedarschema";

impl PolicyDomain {
    /// Builds a domain from the files of its folder, whose paths are relative to it: `domain.toml`, `schema.cedarschema`,
    /// `policies/….cedar` at any depth, and the file of entities. Others are ignored.
    ///
    /// # Errors
    /// Everything that is wrong, with file and line.
    pub fn build(files: &[Source]) -> Result<Self, Problems> {
        let manifest_file = file(files, MANIFEST)?;
        let manifest = Manifest::read(&manifest_file.text).map_err(|error| whole(MANIFEST, &error))?;
        let schema_file = file(files, SCHEMA)?;
        let schema = schema(schema_file)?;
        let entities_file = file(files, &manifest.entities)?;
        let entities = Entities::from_json_str(&entities_file.text, Some(&schema))
            .map_err(|error| whole(&entities_file.path, &sentence(&error)))?;
        related(&entities).map_err(|why| whole(&entities_file.path, &why))?;
        let kinds = kinds(&manifest, &schema, &entities)?;
        let actions = actions(&schema)?;
        let is_policy = |file: &&Source| {
            let cedar = std::path::Path::new(&file.path).extension().is_some_and(|ending| ending == "cedar");
            file.path.starts_with("policies/") && cedar
        };
        let mut policy_files: Vec<&Source> = files.iter().filter(is_policy).collect();
        policy_files.sort_by(|a, b| a.path.cmp(&b.path));
        let (policies, docs) = policies(&policy_files)?;
        validated(&schema, &policies)?;
        let mut read = policy_files;
        read.extend([manifest_file, schema_file, entities_file]);
        let stored = entities.iter().map(|entity| Arc::new(AsRef::<ast::Entity>::as_ref(entity).clone())).collect();
        let fingerprint = fingerprint(read);
        Ok(Self { schema, policies, docs, entities, stored, kinds, actions, fingerprint })
    }
}

fn file<'a>(files: &'a [Source], path: &str) -> Result<&'a Source, Problems> {
    files.iter().find(|file| file.path == path).ok_or_else(|| whole(path, &"there is no such file in the folder"))
}

fn whole(path: &str, reason: &dyn Display) -> Problems {
    Problems(vec![Problem::of_file(path, reason.to_string())])
}

/// What Cedar says, with what it says to do.
fn sentence<E: miette::Diagnostic + std::error::Error>(error: &E) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        said = format!("{said}: {next}");
        cause = next.source();
    }
    match error.help() {
        Some(help) => format!("{said}; {help}"),
        None => said,
    }
}

fn schema(file: &Source) -> Result<Schema, Problems> {
    let (fragment, mut warnings) =
        SchemaFragment::from_cedarschema_str(&file.text).map_err(|error| whole(SCHEMA, &sentence(&error)))?;
    if let Some(warning) = warnings.next() {
        return Err(whole(SCHEMA, &warning));
    }
    let schema = Schema::from_schema_fragments([fragment]).map_err(|error| whole(SCHEMA, &sentence(&error)))?;
    // An entity that a caller changes for one question would lose them.
    let mut declared = schema.as_ref().entity_types();
    let tagged = declared.find(|declared| declared.tag_type().is_some()).map(|declared| declared.name().to_string());
    drop(declared);
    match tagged {
        Some(name) => Err(whole(SCHEMA, &format_args!("`{name}` has tags, which a domain's entities cannot have"))),
        None => Ok(schema),
    }
}

/// Every parent is listed: a misspelt one would take an entity out of what a policy forbids.
fn related(entities: &Entities) -> Result<(), String> {
    for entity in entities.iter() {
        let (uid, _, parents) = entity.clone().into_inner();
        if let Some(missing) = parents.into_iter().find(|parent| entities.get(parent).is_none()) {
            return Err(format!("`{uid}` has the parent `{missing}`, which is not listed"));
        }
    }
    Ok(())
}

fn kinds(manifest: &Manifest, schema: &Schema, entities: &Entities) -> Result<BTreeMap<SmolStr, Kind>, Problems> {
    let mut kinds = BTreeMap::new();
    for (called, entry) in &manifest.types {
        let kind =
            kind(entry, schema, entities).map_err(|why| whole(MANIFEST, &format_args!("`types.{called}`: {why}")))?;
        kinds.insert(called.clone(), kind);
    }
    let names: BTreeSet<_> = kinds.values().map(|kind: &Kind| &kind.entity).collect();
    if names.len() < kinds.len() {
        return Err(whole(MANIFEST, &"two of `types` are the same entity type, and could be trusted differently"));
    }
    if kinds.is_empty() {
        return Err(whole(MANIFEST, &"`types` names no type that callers could ask about"));
    }
    Ok(kinds)
}

fn kind(entry: &TypeEntry, schema: &Schema, entities: &Entities) -> Result<Kind, String> {
    let name = &entry.entity;
    let unknown = || format!("the schema has no entity type `{name}`");
    let entity: EntityTypeName = name.parse().map_err(|_| unknown())?;
    let known = schema.entity_types().any(|known| *known == entity);
    let declared = schema.as_ref().get_entity_type(entity.as_ref()).filter(|_| known).ok_or_else(unknown)?;
    let trusted = entry.trusted.iter().map(|property| {
        let shape = declared.attr(property).and_then(|attribute| Shape::of(&attribute.attr_type, schema.as_ref()));
        let shape =
            shape.ok_or_else(|| format!("`trusted` names `{property}`, which `{name}` has not in the schema"))?;
        Ok((property.clone(), shape))
    });
    let trusted = trusted.collect::<Result<_, String>>()?;
    let of_kind = entities.iter().map(cedar_policy::Entity::uid).filter(|uid| *uid.type_name() == entity);
    let listed = of_kind.map(|uid| SmolStr::from(uid.id().unescaped())).collect();
    Ok(Kind { entity, trusted, unlisted: entry.unlisted, listed })
}

fn actions(schema: &Schema) -> Result<BTreeMap<SmolStr, Act>, Problems> {
    let mut actions = BTreeMap::new();
    for uid in schema.actions() {
        let (Some(principals), Some(resources)) = (schema.principals_for_action(uid), schema.resources_for_action(uid))
        else {
            continue;
        };
        let (principals, resources) = (principals.cloned().collect(), resources.cloned().collect());
        let context = match schema.as_ref().context_type(uid.as_ref()) {
            Some(Type::Record { attrs, .. }) => shape::fields(attrs, schema.as_ref()),
            Some(_) | None => BTreeMap::new(),
        };
        let act = Act { uid: uid.clone(), context, principals, resources };
        // A group of actions is for nobody and nothing.
        if act.principals.is_empty() || act.resources.is_empty() {
            continue;
        }
        let name = SmolStr::from(uid.id().unescaped());
        if let Some(other) = actions.insert(name, act) {
            return Err(whole(
                SCHEMA,
                &format_args!("two actions have the name of `{}`, and callers send only that", other.uid),
            ));
        }
    }
    Ok(actions)
}

/// The policies under the ids that they give themselves, and what each says that it does.
fn policies(files: &[&Source]) -> Result<(PolicySet, BTreeMap<PolicyId, SmolStr>), Problems> {
    let (mut all, mut docs, mut problems) = (PolicySet::new(), BTreeMap::new(), Vec::new());
    for file in files {
        let set = match PolicySet::from_str(&file.text) {
            Ok(set) => set,
            Err(errors) => {
                problems.extend(errors.iter().map(|error| Problem::of_file(&file.path, sentence(error))));
                continue;
            }
        };
        if set.templates().next().is_some() {
            problems.push(Problem::of_file(&file.path, "a domain has no templates: write policies"));
        }
        for policy in set.policies() {
            match named(policy) {
                Ok((policy, doc)) => {
                    docs.insert(policy.id().clone(), doc);
                    if let Err(error) = all.add(policy) {
                        problems.push(Problem::of_file(&file.path, sentence(&error)));
                    }
                }
                Err(why) => problems.push(Problem::of_file(&file.path, why)),
            }
        }
    }
    if problems.is_empty() && docs.is_empty() {
        return Err(whole("policies", &"there is no policy in it: files are called `policies/….cedar`"));
    }
    if problems.is_empty() { Ok((all, docs)) } else { Err(Problems(problems)) }
}

fn named(policy: &Policy) -> Result<(Policy, SmolStr), String> {
    let said = |name: &str| policy.annotation(name).filter(|text| !text.is_empty());
    let id = said("id").ok_or_else(|| format!("`{}` has no `@id`", policy.id()))?;
    let doc = said("doc").ok_or_else(|| format!("the policy `{id}` has no `@doc`: one sentence on what it is for"))?;
    Ok((policy.new_id(PolicyId::new(id)), doc.into()))
}

/// Strict, and warnings are errors.
fn validated(schema: &Schema, policies: &PolicySet) -> Result<(), Problems> {
    let found = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    let errors = found.validation_errors().map(|error| (error.policy_id().clone(), sentence(error)));
    let warnings = found.validation_warnings().map(|warning| (warning.policy_id().clone(), sentence(warning)));
    let problems: Vec<_> = errors
        .chain(warnings)
        .map(|(id, why)| Problem::of_file("policies", format!("the policy `{id}`: {why}")))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

fn fingerprint(mut files: Vec<&Source>) -> SmolStr {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut whole = Vec::new();
    for part in files.iter().flat_map(|file| [&file.path, &file.text]) {
        // Lengths first, so that no two different sets of files hash alike.
        whole.extend_from_slice(&(part.len() as u64).to_be_bytes());
        whole.extend_from_slice(part.as_bytes());
    }
    let hash = digest::sha256(&whole);
    smol_str::format_smolstr!("sha256:{}", hash.get(..16).unwrap_or(&hash))
}

//! What a schema declares, in the form the rest needs: numbered actions with their groups, numbered roles.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use cedar_policy::{EntityUid, Schema, SchemaFragment};
use cedar_policy_core::ast;
use serde_json::Value;
use smol_str::SmolStr;

use super::{Names, Problem, Source, error::line_of};

/// Number of an action within its bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionIx(pub(crate) u16);

/// Number of a role within its bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleIx(pub(crate) u16);

/// An action that can be asked about; groups are not.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its name, for example `PublishSite`.
    pub name: SmolStr,
    /// Names of the groups it is in, directly or through another group.
    pub groups: BTreeSet<SmolStr>,
    pub(crate) uid: Arc<ast::EntityUID>,
    /// The entity, closed over its groups. Only ever taken from the schema: a hand-made one that forgot a group would
    /// make forbids on that group silently stop.
    pub(crate) entity: Arc<ast::Entity>,
}

/// A member of the domain's role type.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name, for example `Partner`.
    pub name: SmolStr,
    pub(crate) uid: EntityUid,
}

/// A schema, taken apart once.
#[derive(Debug, Clone)]
pub(crate) struct Vocabulary {
    pub schema: Schema,
    /// In the schema file's order.
    pub actions: Vec<Action>,
    pub roles: Vec<Role>,
    pub action_by_name: HashMap<SmolStr, ActionIx>,
    pub role_by_name: HashMap<SmolStr, RoleIx>,
}

impl Vocabulary {
    pub(super) fn parse(source: &Source, names: &Names) -> Result<Self, Vec<Problem>> {
        let whole = |reason: String| vec![Problem::of_file(&source.path, reason)];
        let (fragment, warnings) =
            SchemaFragment::from_cedarschema_str(&source.text).map_err(|error| vec![syntax(source, &error)])?;
        if let Some(warning) = warnings.map(|w| w.to_string()).next() {
            return Err(whole(format!("the schema has a warning: {warning}")));
        }
        let json =
            fragment.clone().to_json_value().map_err(|error| whole(format!("the schema cannot be read: {error}")))?;
        let schema = Schema::from_schema_fragments([fragment])
            .map_err(|error| whole(format!("the schema is not consistent: {error}")))?;
        let forbidden = forbidden_types(&json, source);
        if !forbidden.is_empty() {
            return Err(forbidden);
        }
        let entities = schema
            .action_entities()
            .map_err(|error| whole(format!("the schema's actions are not a hierarchy: {error}")))?;
        let mut actions: Vec<Action> = Vec::new();
        for uid in schema.actions() {
            let asked_about = schema.principals_for_action(uid).is_some_and(|mut types| types.next().is_some());
            let Some(entity) = entities.get(uid).filter(|_| asked_about) else { continue };
            let groups = entities
                .ancestors(uid)
                .map(|groups| groups.map(|group| SmolStr::new(group.id().unescaped())).collect())
                .unwrap_or_default();
            let entity: &ast::Entity = entity.as_ref();
            actions.push(Action {
                name: SmolStr::new(uid.id().unescaped()),
                groups,
                uid: Arc::new(entity.uid().clone()),
                entity: Arc::new(entity.clone()),
            });
        }
        // The file's order is the catalogue's order; Cedar keeps none.
        actions.sort_by_key(|action| position(&source.text, &action.name));
        let roles = roles(&json, names).map_err(|reason| whole(reason.to_owned()))?;
        let action_by_name = numbered(&actions, |action| &action.name).map(|(n, name)| (name, ActionIx(n))).collect();
        let role_by_name = numbered(&roles, |role| &role.name).map(|(n, name)| (name, RoleIx(n))).collect();
        Ok(Self { schema, actions, roles, action_by_name, role_by_name })
    }
}

fn syntax(source: &Source, error: &cedar_policy::CedarSchemaError) -> Problem {
    use miette::Diagnostic as _;
    Problem {
        path: source.path.clone(),
        line: error
            .labels()
            .and_then(|mut labels| labels.next())
            .map_or(0, |label| line_of(&source.text, label.offset())),
        reason: format!("the schema does not parse: {error}"),
    }
}

fn numbered<'a, T>(items: &'a [T], name: impl Fn(&'a T) -> &'a SmolStr) -> impl Iterator<Item = (u16, SmolStr)> {
    (0..=u16::MAX).zip(items.iter().map(move |item| name(item).clone()))
}

fn position(text: &str, action: &str) -> usize {
    text.find(&format!("action {action} ")).unwrap_or(usize::MAX)
}

fn roles(json: &Value, names: &Names) -> Result<Vec<Role>, &'static str> {
    const REASON: &str = "the schema does not declare the domain's role type as an enumeration";
    let members = json
        .pointer(&format!("/{}/entityTypes/{}/enum", names.namespace, names.role_type))
        .and_then(Value::as_array)
        .ok_or(REASON)?;
    let type_name = format!("{}::{}", names.namespace, names.role_type).parse().map_err(|_| REASON)?;
    Ok(members
        .iter()
        .filter_map(Value::as_str)
        .map(|name| Role {
            name: SmolStr::new(name),
            uid: EntityUid::from_type_name_and_id(
                cedar_policy::EntityTypeName::clone(&type_name),
                cedar_policy::EntityId::new(name),
            ),
        })
        .collect())
}

const OPTIONAL: &str = "an optional attribute";

/// The first line that contains `needle` outside a comment, from 1; 0 when there is none.
fn line_of_code(text: &str, needle: &str) -> usize {
    let code = |line: &str| line.split("//").next().is_some_and(|code| code.contains(needle));
    text.lines().position(code).map_or(0, |n| n + 1)
}

/// Times and numbers have no place in a schema here: a policy would compare what the service must compute for each
/// request (a deadline), or believe a number that a caller made up.
fn forbidden_types(json: &Value, source: &Source) -> Vec<Problem> {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for key in ["type", "name"] {
                    if let Some(Value::String(name)) = map.get(key) {
                        let name = name.trim_start_matches("__cedar::");
                        if matches!(name, "Long" | "datetime" | "duration" | "decimal") {
                            found.insert(name.to_owned());
                        }
                    }
                }
                if map.get("required") == Some(&Value::Bool(false)) {
                    found.insert(OPTIONAL.to_owned());
                }
                map.values().for_each(|inner| walk(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(json, &mut found);
    found
        .into_iter()
        .map(|name| Problem {
            path: source.path.clone(),
            line: line_of_code(&source.text, if name == OPTIONAL { "?:" } else { &name }),
            reason: format!(
                "`{name}` may not be used in a schema: the service computes required booleans from times and numbers"
            ),
        })
        .collect()
}

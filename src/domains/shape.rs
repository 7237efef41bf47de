//! What does a caller's JSON mean in Cedar? As much of it as the schema has a place for.
//!
//! A value of another type than the schema's, a number that is no 64-bit integer, a text that is no date: each is left out,
//! as if it had not been sent. To guess would let a caller choose what a policy reads, and to refuse would make an error
//! of what the standard lets anybody send.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Context, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use cedar_policy_core::validator::{
    ValidatorEntityTypeKind, ValidatorSchema,
    types::{Attributes, EntityKind, Type},
};
use serde_json::{Map, Value};
use smol_str::SmolStr;

/// The type of a value in the schema.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Bool,
    Long,
    Text,
    /// `{"type":…,"id":…}`, with the schema's own name of the type; of an enumeration one of its names.
    Entity(EntityTypeName, Option<BTreeSet<SmolStr>>),
    Set(Box<Shape>),
    Record(BTreeMap<SmolStr, Field>),
    Extension(Extension),
}

/// A member of a record.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub shape: Shape,
    pub required: bool,
}

/// Cedar's extension types.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extension {
    Ip,
    Decimal,
    Datetime,
    Duration,
}

impl Shape {
    /// The shape of a schema's type; none for a type that no value can have.
    pub(super) fn of(declared: &Type, schema: &ValidatorSchema) -> Option<Self> {
        Some(match declared {
            Type::Bool(_) => Self::Bool,
            Type::Long => Self::Long,
            Type::String => Self::Text,
            Type::Set { element_type } => Self::Set(Box::new(Self::of(element_type.as_deref()?, schema)?)),
            Type::Record { attrs, .. } => Self::Record(fields(attrs, schema)),
            Type::Entity(EntityKind::Entity(names)) => {
                let name = names.get_single_entity()?;
                let all = match schema.get_entity_type(name).map(|declared| &declared.kind) {
                    Some(ValidatorEntityTypeKind::Enum(all)) => {
                        Some(all.iter().map(|id| id.clone().into_smolstr()).collect())
                    }
                    _ => None,
                };
                Self::Entity(name.to_string().parse().ok()?, all)
            }
            Type::ExtensionType { name } => Self::Extension(match name.to_string().as_str() {
                "ipaddr" => Extension::Ip,
                "decimal" => Extension::Decimal,
                "datetime" => Extension::Datetime,
                "duration" => Extension::Duration,
                _ => return None,
            }),
            Type::Never | Type::Entity(EntityKind::AnyEntity) => return None,
        })
    }

    /// The value, as far as it fits.
    pub(super) fn read(&self, value: &Value) -> Option<RestrictedExpression> {
        match (self, value) {
            (Self::Bool, Value::Bool(value)) => Some(RestrictedExpression::new_bool(*value)),
            (Self::Long, Value::Number(value)) => value.as_i64().map(RestrictedExpression::new_long),
            (Self::Text, Value::String(value)) => Some(RestrictedExpression::new_string(value.clone())),
            (Self::Set(of), Value::Array(values)) => {
                let values: Option<Vec<_>> = values.iter().map(|value| of.read(value)).collect();
                values.map(RestrictedExpression::new_set)
            }
            (Self::Record(fields), Value::Object(members)) => {
                let (found, missing) = read(fields, members);
                if missing.is_empty() { RestrictedExpression::new_record(found).ok() } else { None }
            }
            (Self::Entity(kind, all), Value::Object(members)) => {
                let named = members.get("type").and_then(Value::as_str).is_some_and(|named| named == kind.to_string());
                let id = members.get("id").and_then(Value::as_str).filter(|_| named)?;
                if all.as_ref().is_some_and(|all| !all.contains(id)) {
                    return None;
                }
                let uid = EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id));
                Some(RestrictedExpression::new_entity_uid(uid))
            }
            (Self::Extension(extension), Value::String(text)) => extension.read(text),
            _ => None,
        }
    }
}

impl Extension {
    fn read(self, text: &str) -> Option<RestrictedExpression> {
        let made = || match self {
            Self::Ip => RestrictedExpression::new_ip(text),
            Self::Decimal => RestrictedExpression::new_decimal(text),
            Self::Datetime => RestrictedExpression::new_datetime(text),
            Self::Duration => RestrictedExpression::new_duration(text),
        };
        // Such texts are read when they are evaluated, which a context does when it is made.
        Context::from_pairs([("value".to_owned(), made())]).ok().map(|_| made())
    }
}

/// The members of a declared record.
pub(super) fn fields(attributes: &Attributes, schema: &ValidatorSchema) -> BTreeMap<SmolStr, Field> {
    let field = |(name, declared): (&SmolStr, &cedar_policy_core::validator::types::AttributeType)| {
        let shape = Shape::of(&declared.attr_type, schema)?;
        Some((name.clone(), Field { shape, required: declared.is_required }))
    };
    attributes.iter().filter_map(field).collect()
}

/// The members that fit, and the names of those that are required and do not.
pub(super) fn read(
    fields: &BTreeMap<SmolStr, Field>,
    members: &Map<String, Value>,
) -> (Vec<(String, RestrictedExpression)>, Vec<SmolStr>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (name, field) in fields {
        match members.get(name.as_str()).and_then(|value| field.shape.read(value)) {
            Some(value) => found.push((name.to_string(), value)),
            None if field.required => missing.push(name.clone()),
            None => {}
        }
    }
    (found, missing)
}

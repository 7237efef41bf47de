//! Does this JSON value have the shape of that struct, and if not, which member does not?
//!
//! A deserializer over [`Value`] that is stricter than `serde_json`'s in two ways: a struct is only ever read from an
//! object (serde's derive also takes an array, member by position: `["self_managed","user:maria"]` would register a
//! site), and a member that the struct does not have is refused whether or not it says `deny_unknown_fields`. Errors
//! carry the path of the member.
//!
//! Limit: serde buffers the content of internally tagged enums, untagged enums and flattened members out of our sight;
//! below those, write `deny_unknown_fields` and no nested structs. Our own bodies use none of them.

use std::fmt;

use serde::{
    Deserialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

/// Reads `value` as a `T`; the error is a sentence that names the member.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    if !value.is_object() {
        return Err(format!("the body must be a JSON object, not {}", kind(&value)));
    }
    T::deserialize(Strict(value)).map_err(|misfit| misfit.to_string())
}

/// A value's kind, with its article.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What does not fit, and where: steps from the inside out.
#[derive(Debug)]
struct Misfit {
    steps: Vec<String>,
    what: String,
}

impl Misfit {
    fn below(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str(&self.what);
        }
        let path = self.steps.iter().rev().fold(String::new(), |path, step| match step.as_str() {
            step if path.is_empty() || step.starts_with('[') => path + step,
            step => path + "." + step,
        });
        write!(f, "`{path}`: {}", self.what)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { steps: Vec::new(), what: what.to_string() }
    }
}

struct Strict(Value);

impl Strict {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.0 {
            Value::Null => Unexpected::Other("null"),
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(_) => Unexpected::Other("a number"),
            Value::String(text) if text.len() <= 48 => Unexpected::Str(text),
            Value::String(_) => Unexpected::Other("a string"),
            Value::Array(_) => Unexpected::Other("an array"),
            Value::Object(_) => Unexpected::Other("an object"),
        }
    }
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => number.deserialize_any(visitor).map_err(de::Error::custom),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), next: 0 }),
            Value::Object(members) => visitor.visit_map(Members::new(members)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Object(members) => {
                if let Some(unknown) = members.keys().find(|key| !fields.contains(&key.as_str())) {
                    let unknown: String = unknown.chars().take(48).collect();
                    return Err(de::Error::unknown_field(&unknown, fields));
                }
                visitor.visit_map(Members::new(members))
            }
            _ => Err(de::Error::invalid_type(self.unexpected(), &"an object")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Object(members) if members.len() == 1 => match members.into_iter().next() {
                Some((name, content)) => visitor.visit_enum(Variant { name, content }),
                None => Err(de::Error::custom("an empty object names no variant")),
            },
            _ => Err(de::Error::invalid_type(self.unexpected(), &"a string")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

struct Items {
    items: std::vec::IntoIter<Value>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Misfit;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.next;
        self.next = index.saturating_add(1);
        seed.deserialize(Strict(item)).map(Some).map_err(|misfit| misfit.below(format!("[{index}]")))
    }
}

struct Members {
    members: serde_json::map::IntoIter,
    value: Option<(String, Value)>,
}

impl Members {
    fn new(members: Map<String, Value>) -> Self {
        Self { members: members.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = Misfit;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        let read = seed.deserialize(key.as_str().into_deserializer());
        self.value = Some((key, value));
        read.map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        match self.value.take() {
            Some((key, value)) => seed.deserialize(Strict(value)).map_err(|misfit| misfit.below(key)),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// An externally tagged variant with content: `{"name": content}`.
struct Variant {
    name: String,
    content: Value,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Misfit;
    type Variant = Strict;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Strict), Misfit> {
        Ok((seed.deserialize(self.name.into_deserializer())?, Strict(self.content)))
    }
}

impl<'de> VariantAccess<'de> for Strict {
    type Error = Misfit;
    fn unit_variant(self) -> Result<(), Misfit> {
        <()>::deserialize(self)
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Misfit> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::ids::Account;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Plan {
        tier: Tier,
        price: Option<u32>,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Tier {
        Free,
        Premium,
        Custom { seats: u8 },
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Body {
        owner: Account,
        #[serde(default)]
        plans: Vec<Plan>,
        plan: Option<Plan>,
        #[serde(default)]
        more: BTreeMap<String, Plan>,
    }

    #[test]
    fn a_body_that_fits() {
        let body: Body = read(json!({"owner":"user:maria","plans":[{"tier":"free","price":3}],
            "plan":null,"more":{"x":{"tier":{"custom":{"seats":2}}}}}))
        .unwrap();
        assert_eq!(body.owner.to_string(), "user:maria");
        assert_eq!(body.plans, [Plan { tier: Tier::Free, price: Some(3) }]);
        assert_eq!(body.more["x"].tier, Tier::Custom { seats: 2 });
        assert_ne!(Tier::Free, Tier::Premium);
    }

    #[test]
    fn arrays_are_not_structs() {
        let positional = json!(["user:maria", [], null, {}]);
        assert!(serde_json::from_value::<Body>(positional.clone()).is_ok(), "the control: serde_json alone takes it");
        assert_eq!(read::<Body>(positional).unwrap_err(), "the body must be a JSON object, not an array");
        for (body, path) in [
            (json!({"owner":"user:maria","plan":["free",3]}), "`plan`"),
            (json!({"owner":"user:maria","plans":[["free",3]]}), "`plans[0]`"),
            (json!({"owner":"user:maria","more":{"x":["free",3]}}), "`more.x`"),
        ] {
            assert!(serde_json::from_value::<Body>(body.clone()).is_ok(), "the control: {body}");
            let error = read::<Body>(body).unwrap_err();
            assert!(error.starts_with(path) && error.ends_with("expected an object"), "{error}");
        }
    }

    #[test]
    fn errors_name_the_member() {
        let error = read::<Body>(json!({"owner":"user:a","plan":{"tier":{"custom":[2]}}})).unwrap_err();
        assert!(error.starts_with("`plan.tier`"), "{error}");
        for (body, expected) in [
            (json!({}), "missing field `owner`"),
            (json!({"owner":"maria"}), "`owner`: `maria` is not a reference: write `user:ID` or `agency:ID`"),
            (
                json!({"owner":"user:a","plan":{"tier":"gold"}}),
                "`plan.tier`: unknown variant `gold`, expected one of `free`, `premium`, `custom`",
            ),
            (
                json!({"owner":"user:a","plan":{"tier":"free","prize":1}}),
                "`plan`: unknown field `prize`, expected `tier` or `price`",
            ),
            (
                json!({"owner":"user:a","plan":{"tier":"free","price":-1}}),
                "`plan.price`: invalid value: integer `-1`, expected u32",
            ),
            (
                json!({"owner":"user:a","plan":{"tier":"free","price":"1"}}),
                "`plan.price`: invalid type: string \"1\", expected u32",
            ),
            (json!({"owner":"user:a","plan":{"tier":null}}), "`plan.tier`: invalid type: null, expected a string"),
            (json!({"owner":"user:a","plans":{}}), "`plans`: invalid type: map, expected a sequence"),
            (json!({"owner":"user:a","plans":[{"tier":"free"},{}]}), "`plans[1]`: missing field `tier`"),
            (json!("x"), "the body must be a JSON object, not a string"),
        ] {
            assert_eq!(read::<Body>(body.clone()).unwrap_err(), expected, "{body}");
        }
        let error = read::<Body>(json!({"owner":"user:a","x":1})).unwrap_err();
        assert!(error.starts_with("unknown field `x`"), "{error}");
    }
}

//! What does an AuthZEN caller ask? The members of the *Authorization API 1.0*, from the strictly read [`Json`].
//!
//! One question is an [`EvaluationRequest`], several in one request are a [`Batch`], and a
//! question with one entity left open is a [`SearchRequest`].
//!
//! Only the shape is judged here: a known member that is missing or of another JSON type is `400 invalid_request`, an
//! unknown member is ignored, `properties: null` and `context: null` are absent. What the words mean is judged by the
//! decision: a type, action or identifier that nobody knows is a deny, never an error, so all of them stay strings.
//!
//! Read by hand, not by serde: derived structs answer for arrays, and their errors do not name the member.
//! `subject` and `principal` are the same thing on the two sides of this module.

mod batch;
mod search;

use std::borrow::Cow;

pub use batch::{Batch, Evaluations};
pub use search::{Open, PageRequest, SearchRequest, Sought};

use super::{
    json::{Json, Members},
    problem::Problem,
};

/// A subject or a resource: `{"type","id","properties"?}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity<'a> {
    /// For example `user` or `site`.
    pub kind: Cow<'a, str>,
    /// Unique within its type.
    pub id: Cow<'a, str>,
    /// What the caller says about it; empty when absent.
    pub properties: Members<'a>,
}

/// An action: `{"name","properties"?}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Action<'a> {
    /// For example `PublishSite`.
    pub name: Cow<'a, str>,
    /// What the caller says about it; empty when absent.
    pub properties: Members<'a>,
}

/// One question: `POST /access/v1/evaluation`.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationRequest<'a> {
    /// Who asks to act: the principal.
    pub subject: Entity<'a>,
    /// What they would do.
    pub action: Action<'a>,
    /// To what.
    pub resource: Entity<'a>,
    /// The circumstances; empty when absent.
    pub context: Members<'a>,
}

/// The parts of one question, wherever they are kept.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'q, 'a> {
    /// Who asks to act.
    pub subject: &'q Entity<'a>,
    /// What they would do.
    pub action: &'q Action<'a>,
    /// To what.
    pub resource: &'q Entity<'a>,
    /// The circumstances.
    pub context: &'q Members<'a>,
}

impl<'a> EvaluationRequest<'a> {
    /// Its parts.
    #[must_use]
    pub fn asking(&self) -> Asking<'_, 'a> {
        let Self { subject, action, resource, context } = self;
        Asking { subject, action, resource, context }
    }
    /// Reads a question.
    ///
    /// # Errors
    /// `400 invalid_request` that names the member.
    pub fn from_json(body: Json<'a>) -> Result<Self, Problem> {
        Self::take(&mut object(body, "the body")?)
    }

    fn take(body: &mut Members<'a>) -> Result<Self, Problem> {
        Ok(Self {
            subject: Entity::take(body, "subject")?,
            action: Action::take(body, "action")?,
            resource: Entity::take(body, "resource")?,
            context: optional(body, "context", "context")?,
        })
    }
}

impl<'a> Entity<'a> {
    /// Takes the entity `name` out of `body`.
    ///
    /// # Errors
    /// `400 invalid_request` that names the member.
    pub fn take(body: &mut Members<'a>, name: &str) -> Result<Self, Problem> {
        let mut entity = required(body, name)?;
        Ok(Self {
            kind: text(&mut entity, name, "type")?,
            id: text(&mut entity, name, "id")?,
            properties: properties(&mut entity, name)?,
        })
    }
}

impl<'a> Action<'a> {
    /// Takes the action `name` out of `body`.
    ///
    /// # Errors
    /// `400 invalid_request` that names the member.
    pub fn take(body: &mut Members<'a>, name: &str) -> Result<Self, Problem> {
        let mut action = required(body, name)?;
        Ok(Self { name: text(&mut action, name, "name")?, properties: properties(&mut action, name)? })
    }
}

fn required<'a>(body: &mut Members<'a>, name: &str) -> Result<Members<'a>, Problem> {
    match body.take(name) {
        Some(value) => object(value, &format_args!("`{name}`")),
        None => Err(invalid(format!("`{name}` is missing"))),
    }
}

fn text<'a>(object: &mut Members<'a>, parent: &str, name: &str) -> Result<Cow<'a, str>, Problem> {
    match object.take(name) {
        Some(Json::Text(text)) => Ok(text),
        Some(other) => Err(invalid(format!("`{parent}.{name}` must be a string, not {}", other.kind()))),
        None => Err(invalid(format!("`{parent}.{name}` is missing"))),
    }
}

fn properties<'a>(object: &mut Members<'a>, parent: &str) -> Result<Members<'a>, Problem> {
    optional(object, "properties", &format_args!("{parent}.properties"))
}

fn optional<'a>(
    body: &mut Members<'a>,
    name: &str,
    path: &(impl std::fmt::Display + ?Sized),
) -> Result<Members<'a>, Problem> {
    match body.take(name) {
        None | Some(Json::Null) => Ok(Members::default()),
        Some(value) => object(value, &format_args!("`{path}`")),
    }
}

fn object<'a>(value: Json<'a>, path: &(impl std::fmt::Display + ?Sized)) -> Result<Members<'a>, Problem> {
    match value {
        Json::Object(members) => Ok(members),
        other => Err(invalid(format!("{path} must be an object, not {}", other.kind()))),
    }
}

fn invalid(detail: String) -> Problem {
    Problem::bad_request("invalid_request", detail)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::json;

    fn question(text: &str) -> Result<EvaluationRequest<'_>, Problem> {
        EvaluationRequest::from_json(json::parse(text.as_bytes()).unwrap())
    }
    fn member(members: &Members<'_>, name: &str) -> Value {
        members.get(name).unwrap().clone().into()
    }

    fn whole() -> Value {
        json!({
            "subject": {"type": "user", "id": "maria", "properties": {"a": [null, 1.5]}},
            "action": {"name": "PublishSite", "properties": {"soft": true}},
            "resource": {"type": "site", "id": "bakery", "properties": {}},
            "context": {"auth_time": 1_795_440_000, "time": "2025-06-27T18:03-07:00"},
        })
    }

    #[test]
    fn a_whole_question() {
        let text = whole().to_string();
        let question = question(&text).unwrap();
        assert_eq!((&*question.subject.kind, &*question.subject.id), ("user", "maria"));
        assert_eq!(member(&question.subject.properties, "a"), json!([null, 1.5]));
        assert_eq!(question.action.name, "PublishSite");
        assert_eq!(member(&question.action.properties, "soft"), json!(true));
        assert_eq!((&*question.resource.kind, &*question.resource.id), ("site", "bakery"));
        assert_eq!(member(&question.context, "auth_time"), json!(1_795_440_000));
    }

    #[test]
    fn what_may_be_absent_may_be_null_and_what_is_unknown_is_ignored() {
        let mut body = whole();
        for (parent, name) in [("/subject", "properties"), ("/action", "properties"), ("", "context")] {
            body.pointer_mut(parent).unwrap()[name] = Value::Null;
        }
        body["resource"].as_object_mut().unwrap().swap_remove("properties");
        for parent in ["", "/subject", "/action", "/resource"] {
            body.pointer_mut(parent).unwrap()["unknown"] = json!({"type": 1});
        }
        body["action"]["type"] = json!(1);
        body["subject"]["name"] = json!([]);
        let text = body.to_string();
        let question = question(&text).unwrap();
        assert!(question.subject.properties.is_empty() && question.resource.properties.is_empty());
        assert!(question.action.properties.is_empty() && question.context.is_empty());
    }

    #[test]
    fn strange_but_well_formed_names_are_not_errors() {
        for name in ["", " ", "space ship/1", "ä", "\0", "__proto__", &"x".repeat(10_000)] {
            let mut body = whole();
            body["subject"]["type"] = json!(name);
            body["action"]["name"] = json!(name);
            body["resource"]["id"] = json!(name);
            assert_eq!(question(&body.to_string()).unwrap().action.name, name);
        }
    }

    /// Every known member, in every form that is not its own.
    #[test]
    fn each_malformed_member_is_400_and_named() {
        let wrong_strings = [json!(null), json!(1), json!(true), json!([]), json!(["x"]), json!({}), json!({"x": "y"})];
        let wrong_objects = [json!(1), json!(1.5), json!(true), json!("x"), json!([]), json!([{}]), json!([["a", 1]])];
        let mut cases = 0;
        let mut refused = |body: Value, expected: &str| {
            let problem = question(&body.to_string()).unwrap_err();
            assert_eq!((problem.status().as_u16(), problem.code()), (400, "invalid_request"), "{body}");
            assert!(problem.detail().starts_with(expected), "{body}: {}", problem.detail());
            cases += 1;
        };
        for (parent, name) in
            [("subject", "type"), ("subject", "id"), ("action", "name"), ("resource", "type"), ("resource", "id")]
        {
            let mut body = whole();
            body[parent].as_object_mut().unwrap().swap_remove(name);
            refused(body, &format!("`{parent}.{name}` is missing"));
            for wrong in &wrong_strings {
                let mut body = whole();
                body[parent][name] = wrong.clone();
                refused(body, &format!("`{parent}.{name}` must be a string, not "));
            }
        }
        for path in ["subject.properties", "action.properties", "resource.properties", "context"] {
            for wrong in &wrong_objects {
                let mut body = whole();
                *body.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = wrong.clone();
                refused(body, &format!("`{path}` must be an object, not "));
            }
        }
        for entity in ["subject", "action", "resource"] {
            let mut body = whole();
            body.as_object_mut().unwrap().swap_remove(entity);
            refused(body, &format!("`{entity}` is missing"));
            for wrong in wrong_objects.iter().chain([&json!(null)]) {
                let mut body = whole();
                body[entity] = wrong.clone();
                refused(body, &format!("`{entity}` must be an object, not "));
            }
        }
        for wrong in wrong_objects.iter().chain([&json!(null), &json!([whole()]), &json!([{"type": "user"}])]) {
            refused(wrong.clone(), "the body must be an object, not ");
        }
        assert_eq!(cases, 5 * 8 + 4 * 7 + 3 * 9 + 10, "the table is as long as it looks");
    }
}

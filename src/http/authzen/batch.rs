//! Several questions in one request: `POST /access/v1/evaluations`.
//!
//! What the request says at its top level stands for whatever an item leaves out: an entity that an item names replaces
//! the whole entity, and its `context` the whole context. An item that is no question is answered by an error in its own
//! place and stands in no other's way; only what is wrong with the request as a whole is refused as a whole.
//!
//! Without items the request is one question, and is answered as one.

use std::fmt;

use super::{Action, Asking, Entity, EvaluationRequest, Json, Members, Problem, invalid, object, optional};
use crate::{app::Until, config::BatchMerge};

/// A request with questions in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Evaluations<'a> {
    /// One question: there are no items.
    One(EvaluationRequest<'a>),
    /// Items.
    Several(Batch<'a>),
}

/// Several questions. What stands beside the items is kept once, however many there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<'a> {
    items: Vec<Result<Item<'a>, Problem>>,
    /// Whose answer is the last one.
    pub until: Until,
    defaults: Defaults<'a>,
}

/// What one item says itself.
#[derive(Debug, Clone, PartialEq)]
struct Item<'a> {
    subject: Option<Entity<'a>>,
    action: Option<Action<'a>>,
    resource: Option<Entity<'a>>,
    context: Option<Members<'a>>,
}

/// What stands at the top level, with what is wrong about it: that matters only where an item leaves it out.
#[derive(Debug, Clone, PartialEq)]
struct Defaults<'a> {
    subject: Result<Entity<'a>, Problem>,
    action: Result<Action<'a>, Problem>,
    resource: Result<Entity<'a>, Problem>,
    context: Members<'a>,
}

impl<'a> Evaluations<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// `400 invalid_request` that names the member; `413 too_many_items`.
    pub fn from_json(body: Json<'a>, merge: BatchMerge, most: usize) -> Result<Self, Problem> {
        let mut body = object(body, "the body")?;
        let until = until(&mut body)?;
        let mut items = match body.take("evaluations") {
            None => Vec::new(),
            Some(Json::Array(items)) => items,
            Some(other) => return Err(invalid(format!("`evaluations` must be an array, not {}", other.kind()))),
        };
        if items.is_empty() {
            return EvaluationRequest::take(&mut body).map(Self::One);
        }
        if items.len() > most {
            let detail = format!("there are {} evaluations in the request, and at most {most} may be", items.len());
            return Err(Problem::too_large("too_many_items", detail));
        }
        if merge == BatchMerge::Lenient {
            for item in &mut items {
                complete(item, &body);
            }
        }
        let defaults = Defaults::take(&mut body)?;
        Ok(Self::Several(Batch { items: items.into_iter().map(Item::from_json).collect(), until, defaults }))
    }
}

impl<'a> Batch<'a> {
    /// Each question, or why the item is none.
    pub fn questions(&self) -> impl Iterator<Item = Result<Asking<'_, 'a>, &Problem>> {
        self.items.iter().map(|item| {
            let (item, defaults) = (item.as_ref()?, &self.defaults);
            Ok(Asking {
                subject: item.subject.as_ref().map_or(defaults.subject.as_ref(), Ok)?,
                action: item.action.as_ref().map_or(defaults.action.as_ref(), Ok)?,
                resource: item.resource.as_ref().map_or(defaults.resource.as_ref(), Ok)?,
                context: item.context.as_ref().unwrap_or(&defaults.context),
            })
        })
    }
}

impl<'a> Item<'a> {
    fn from_json(item: Json<'a>) -> Result<Self, Problem> {
        let mut item = object(item, "an item of `evaluations`")?;
        let has = |item: &Members<'a>, name| item.get(name).is_some();
        Ok(Self {
            subject: has(&item, "subject").then(|| Entity::take(&mut item, "subject")).transpose()?,
            action: has(&item, "action").then(|| Action::take(&mut item, "action")).transpose()?,
            resource: has(&item, "resource").then(|| Entity::take(&mut item, "resource")).transpose()?,
            context: match item.get("context") {
                None | Some(Json::Null) => None,
                Some(_) => Some(optional(&mut item, "context", "context")?),
            },
        })
    }
}

impl<'a> Defaults<'a> {
    /// A member that is there must be an object; what it lacks an item may have.
    fn take(body: &mut Members<'a>) -> Result<Self, Problem> {
        for name in ["subject", "action", "resource"] {
            if let Some(value) = body.get(name)
                && !matches!(value, Json::Object(_))
            {
                return Err(invalid(format!("`{name}` must be an object, not {}", value.kind())));
            }
        }
        Ok(Self {
            subject: Entity::take(body, "subject"),
            action: Action::take(body, "action"),
            resource: Entity::take(body, "resource"),
            context: optional(body, "context", "context")?,
        })
    }
}

/// `options.evaluations_semantic`; other options are ignored.
fn until(body: &mut Members<'_>) -> Result<Until, Problem> {
    let mut options = optional(body, "options", "options")?;
    match options.take("evaluations_semantic") {
        None | Some(Json::Null) => Ok(Until::End),
        Some(Json::Text(name)) => match &*name {
            "execute_all" => Ok(Until::End),
            "deny_on_first_deny" => Ok(Until::Deny),
            "permit_on_first_permit" => Ok(Until::Permit),
            other => Err(semantic(&format_args!("`{}`", other.chars().take(48).collect::<String>()))),
        },
        Some(other) => Err(semantic(&other.kind())),
    }
}

fn semantic(given: &dyn fmt::Display) -> Problem {
    invalid(format!(
        "`options.evaluations_semantic` is `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`, not {given}"
    ))
}

/// Gives an item's entities what they lack of their names.
fn complete<'a>(item: &mut Json<'a>, parents: &Members<'a>) {
    let Json::Object(item) = item else { return };
    for entity in ["subject", "action", "resource"] {
        let (Some(Json::Object(own)), Some(Json::Object(parent))) = (item.get_mut(entity), parents.get(entity)) else {
            continue;
        };
        for part in ["type", "id", "name"] {
            if own.get(part).is_none()
                && let Some(value) = parent.get(part)
            {
                own.put(part, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::json;

    const MOST: usize = 50;

    fn several(text: &str, merge: BatchMerge) -> Result<Batch<'_>, Problem> {
        match Evaluations::from_json(json::parse(text.as_bytes()).unwrap(), merge, MOST)? {
            Evaluations::Several(batch) => Ok(batch),
            Evaluations::One(question) => panic!("one question: {question:?}"),
        }
    }
    fn read(body: &Value, merge: BatchMerge) -> Result<Vec<Result<[String; 4], String>>, Problem> {
        let text = body.to_string();
        let batch = several(&text, merge)?;
        let told = |question: Asking<'_, '_>| {
            let context = question.context.get("n").and_then(Json::as_i64).unwrap_or_default();
            [&*question.subject.id, &*question.action.name, &*question.resource.id, &context.to_string()]
                .map(str::to_owned)
        };
        Ok(batch.questions().map(|item| item.map(told).map_err(|problem| problem.detail().to_owned())).collect())
    }
    fn entity(kind: &str, id: &str) -> Value {
        json!({"type": kind, "id": id})
    }

    #[test]
    fn an_item_replaces_whole_entities_and_inherits_the_rest() {
        let body = json!({"subject": entity("user", "a"), "action": {"name": "x"}, "resource": entity("site", "s"),
            "context": {"n": 1}, "evaluations": [{}, {"subject": entity("user", "b")}, {"action": {"name": "y"}},
            {"resource": entity("site", "t"), "context": {"n": 2}}, {"context": null}, {"context": {}}, {"unknown": 1}]});
        let item = |subject: &str, action: &str, resource: &str, n: &str| {
            Ok([subject, action, resource, n].map(str::to_owned))
        };
        let wanted = vec![
            item("a", "x", "s", "1"),
            item("b", "x", "s", "1"),
            item("a", "y", "s", "1"),
            item("a", "x", "t", "2"),
            item("a", "x", "s", "1"),
            item("a", "x", "s", "0"),
            item("a", "x", "s", "1"),
        ];
        assert_eq!(read(&body, BatchMerge::Entity).unwrap(), wanted);
        assert_eq!(read(&body, BatchMerge::Lenient).unwrap(), wanted);
    }

    #[test]
    fn an_item_that_is_no_question_stands_in_its_own_way_only() {
        let body = json!({"action": {"name": "x"}, "resource": {"type": "site"}, "evaluations": [
            {"subject": entity("user", "a"), "resource": entity("site", "s")}, {"subject": entity("user", "a")},
            {"resource": entity("site", "s")}, 7, {"subject": "a"}, {"subject": entity("user", "a"), "resource": null},
            {"subject": entity("user", "a"), "resource": entity("site", "s"), "context": 1},
            {"subject": entity("user", "a"), "resource": {"id": "s"}}]});
        let found = read(&body, BatchMerge::Entity).unwrap();
        let problems: Vec<&str> = found.iter().map(|item| item.as_ref().err().map_or("", String::as_str)).collect();
        assert_eq!(
            problems,
            [
                "",
                "`resource.id` is missing",
                "`subject` is missing",
                "an item of `evaluations` must be an object, not a number",
                "`subject` must be an object, not a string",
                "`resource` must be an object, not null",
                "`context` must be an object, not a number",
                "`resource.type` is missing"
            ]
        );
        // What one module of the suite wants: the item's resource has the other one's type.
        let lenient = read(&body, BatchMerge::Lenient).unwrap();
        assert_eq!(lenient[7], Ok(["a", "x", "s", "0"].map(str::to_owned)));
        assert_eq!(lenient[..7], found[..7]);
    }

    #[test]
    fn what_is_wrong_with_the_request_is_refused_as_a_whole() {
        let whole = json!({"subject": entity("user", "a"), "action": {"name": "x"}, "resource": entity("site", "s"),
            "evaluations": [{}], "options": {"evaluations_semantic": "execute_all", "other": [1]}});
        let refused = |name: &str, value: Value| {
            let mut body = whole.clone();
            body[name] = value;
            let problem = read(&body, BatchMerge::Entity).unwrap_err();
            (problem.status().as_u16(), problem.detail().to_owned())
        };
        assert!(read(&whole, BatchMerge::Entity).is_ok(), "the control");
        for name in ["subject", "action", "resource"] {
            for value in [json!("a"), json!(null), json!([]), json!(1)] {
                assert_eq!(refused(name, value.clone()).0, 400, "{name}: {value}");
            }
        }
        for (name, value) in [
            ("context", json!(1)),
            ("options", json!([])),
            ("options", json!("execute_all")),
            ("evaluations", json!({})),
            ("evaluations", json!("x")),
            ("evaluations", json!(null)),
            ("options", json!({"evaluations_semantic": 1})),
            ("options", json!({"evaluations_semantic": "bogus_value"})),
        ] {
            assert_eq!(refused(name, value.clone()).0, 400, "{name}: {value}");
        }
        let (status, detail) = refused("evaluations", json!(vec![json!({}); MOST + 1]));
        assert_eq!((status, detail.as_str()), (413, "there are 51 evaluations in the request, and at most 50 may be"));
        for (name, until) in [
            ("execute_all", Until::End),
            ("deny_on_first_deny", Until::Deny),
            ("permit_on_first_permit", Until::Permit),
        ] {
            let text = json!({"evaluations": [{}], "options": {"evaluations_semantic": name}}).to_string();
            assert_eq!(several(&text, BatchMerge::Entity).unwrap().until, until);
        }
    }

    #[test]
    fn without_items_it_is_one_question() {
        for evaluations in [None, Some(json!([]))] {
            let mut body =
                json!({"subject": entity("user", "a"), "action": {"name": "x"}, "resource": entity("site", "s")});
            if let Some(evaluations) = evaluations {
                body["evaluations"] = evaluations;
            }
            let text = body.to_string();
            let read = |text: &str| {
                let read = Evaluations::from_json(json::parse(text.as_bytes()).unwrap(), BatchMerge::Entity, MOST);
                read.map(|one| matches!(one, Evaluations::One(question) if question.subject.id == "a"))
            };
            assert_eq!(read(&text), Ok(true));
            body.as_object_mut().unwrap().swap_remove("resource");
            let text = body.to_string();
            assert_eq!(read(&text).unwrap_err().detail(), "`resource` is missing");
        }
    }
}

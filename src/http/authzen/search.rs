//! Searches: `POST /access/v1/search/{subject,resource,action}`, each a question with one entity left open.
//!
//! Of the entity that is sought only the type is read. Whatever else is wrong is refused as in a question that is whole.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Action, Entity, Json, Members, Problem, invalid, object, optional, required, text};

/// What is sought.
#[derive(Debug, Clone, PartialEq)]
pub enum Sought<'a> {
    /// Subjects of this type.
    Subject(Cow<'a, str>),
    /// Resources of this type.
    Resource(Cow<'a, str>),
    /// Actions.
    Action,
}

/// Which entity a search leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// The subject.
    Subject,
    /// The resource.
    Resource,
    /// The action.
    Action,
}

/// A search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest<'a> {
    /// What is sought.
    pub sought: Sought<'a>,
    /// Who would act, unless that is sought.
    pub subject: Option<Entity<'a>>,
    /// What they would do, unless that is sought.
    pub action: Option<Action<'a>>,
    /// To what, unless that is sought.
    pub resource: Option<Entity<'a>>,
    /// The circumstances.
    pub context: Members<'a>,
    /// Which part is wanted; none where nothing is said of pages.
    pub page: Option<PageRequest>,
}

/// `page`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRequest {
    /// Where the page before ended.
    pub token: Option<String>,
    /// Most results.
    pub limit: Option<u64>,
}

impl<'a> SearchRequest<'a> {
    /// Reads a search.
    ///
    /// # Errors
    /// `400 invalid_request` that names the member.
    pub fn from_json(body: Json<'a>, open: Open) -> Result<Self, Problem> {
        let mut body = object(body, "the body")?;
        let (mut subject, mut action, mut resource) = (None, None, None);
        let sought = match open {
            Open::Subject => Sought::Subject(kind(&mut body, "subject")?),
            Open::Resource => Sought::Resource(kind(&mut body, "resource")?),
            Open::Action => Sought::Action,
        };
        if open != Open::Subject {
            subject = Some(Entity::take(&mut body, "subject")?);
        }
        if open != Open::Action {
            action = Some(Action::take(&mut body, "action")?);
        }
        if open != Open::Resource {
            resource = Some(Entity::take(&mut body, "resource")?);
        }
        let context = optional(&mut body, "context", "context")?;
        let page = PageRequest::take(&mut body)?;
        Ok(Self { sought, subject, action, resource, context, page })
    }

    /// Everything that makes it this search and no other, pages aside.
    #[must_use]
    pub fn identity(&self) -> Value {
        let value = |members: &Members<'_>| Value::from(Json::Object(members.clone()));
        let entity = |entity: &Entity<'_>| json!({"type": entity.kind, "id": entity.id, "properties": value(&entity.properties)});
        let sought = match &self.sought {
            Sought::Subject(kind) => json!({ "subject": kind }),
            Sought::Resource(kind) => json!({ "resource": kind }),
            Sought::Action => json!("action"),
        };
        json!({
            "sought": sought,
            "subject": self.subject.as_ref().map(entity),
            "action": self.action.as_ref().map(|action| json!({"name": action.name, "properties": value(&action.properties)})),
            "resource": self.resource.as_ref().map(entity),
            "context": value(&self.context),
        })
    }
}

/// The type of what is sought.
fn kind<'a>(body: &mut Members<'a>, name: &str) -> Result<Cow<'a, str>, Problem> {
    let mut entity = required(body, name)?;
    let kind = text(&mut entity, name, "type")?;
    super::properties(&mut entity, name)?;
    Ok(kind)
}

impl PageRequest {
    fn take(body: &mut Members<'_>) -> Result<Option<Self>, Problem> {
        if body.get("page").is_none_or(|page| *page == Json::Null) {
            return Ok(None);
        }
        let mut page = optional(body, "page", "page")?;
        let token = match page.take("token") {
            None | Some(Json::Null) => None,
            // An empty one is what a last page says, and begins anew.
            Some(Json::Text(token)) => Some(token.into_owned()).filter(|token| !token.is_empty()),
            Some(other) => return Err(invalid(format!("`page.token` must be a string, not {}", other.kind()))),
        };
        super::properties(&mut page, "page")?;
        let limit = match page.take("limit") {
            None | Some(Json::Null) => None,
            Some(limit) => Some(limit.as_i64().and_then(|limit| u64::try_from(limit).ok()).ok_or_else(|| {
                invalid(format!("`page.limit` must be a whole number from 0 to {}, in digits only", i64::MAX))
            })?),
        };
        Ok(Some(Self { token, limit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    fn read(body: &Value, open: Open) -> Result<(Value, Option<PageRequest>), String> {
        let body = body.to_string();
        let request = SearchRequest::from_json(json::parse(body.as_bytes()).unwrap(), open);
        request.map(|request| (request.identity(), request.page)).map_err(|problem| problem.detail().to_owned())
    }
    fn whole() -> Value {
        json!({"subject": {"type": "user", "id": "maria"}, "action": {"name": "ViewSite"},
            "resource": {"type": "site", "id": "bakery"}, "context": {"n": 1}})
    }

    #[test]
    fn of_what_is_sought_only_the_type_is_read() {
        for (open, name) in [(Open::Subject, "subject"), (Open::Resource, "resource")] {
            let mut body = whole();
            body[name].as_object_mut().unwrap().swap_remove("id");
            let without = read(&body, open).unwrap();
            for id in [json!("stray"), json!(7), json!(null)] {
                body[name]["id"] = id;
                assert_eq!(read(&body, open).unwrap(), without);
            }
            body[name].as_object_mut().unwrap().swap_remove("type");
            assert_eq!(read(&body, open), Err(format!("`{name}.type` is missing")));
            body.as_object_mut().unwrap().swap_remove(name);
            assert_eq!(read(&body, open), Err(format!("`{name}` is missing")));
        }
        let mut body = whole();
        let with = read(&body, Open::Action).unwrap();
        for action in [json!({}), json!("read"), json!(7), json!(null)] {
            body["action"] = action;
            assert_eq!(read(&body, Open::Action).unwrap(), with, "an action is ignored where actions are sought");
        }
    }

    #[test]
    fn what_is_not_sought_has_to_be_whole() {
        for open in [Open::Subject, Open::Resource, Open::Action] {
            for (name, part) in
                [("subject", "id"), ("subject", "type"), ("resource", "id"), ("resource", "type"), ("action", "name")]
            {
                let left_open = [(Open::Subject, "subject"), (Open::Resource, "resource"), (Open::Action, "action")];
                if left_open.contains(&(open, name)) {
                    continue;
                }
                let mut body = whole();
                body[name].as_object_mut().unwrap().swap_remove(part);
                assert_eq!(read(&body, open), Err(format!("`{name}.{part}` is missing")), "{open:?}");
                body[name] = json!("x");
                assert_eq!(read(&body, open), Err(format!("`{name}` must be an object, not a string")), "{open:?}");
            }
            let mut body = whole();
            body["context"] = json!([]);
            assert!(read(&body, open).is_err());
        }
    }

    #[test]
    fn pages_are_read_strictly_and_what_is_unknown_of_them_is_ignored() {
        let page = |page: Value| {
            let mut body = whole();
            body["page"] = page;
            read(&body, Open::Subject).map(|(_, page)| page)
        };
        let some = |token: Option<&str>, limit| Ok(Some(PageRequest { token: token.map(str::to_owned), limit }));
        assert_eq!(page(json!(null)), Ok(None));
        assert_eq!(page(json!({})), some(None, None));
        assert_eq!(page(json!({"limit": 10, "customAttr": {}})), some(None, Some(10)));
        assert_eq!(page(json!({"limit": 0, "token": ""})), some(None, Some(0)));
        assert_eq!(page(json!({"token": "t"})), some(Some("t"), None));
        for wrong in [
            json!(1),
            json!([]),
            json!("x"),
            json!({"limit": -1}),
            json!({"limit": 1.5}),
            json!({"limit": "1"}),
            json!({"properties": 5}),
            json!({"token": 7}),
        ] {
            assert!(page(wrong.clone()).is_err(), "{wrong}");
        }
    }
}

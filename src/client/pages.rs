//! How does one read what a search found? Page by page, until the server says that there is no more.

use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use super::{
    Client, Endpoint,
    answer::Stamp,
    error::Error,
    question::{Action, Entity},
};

/// What a search can find.
pub trait Found: Sized {
    #[doc(hidden)]
    fn read(item: &Value) -> Option<Self>;
}

impl Found for Entity {
    fn read(item: &Value) -> Option<Self> {
        let text = |name: &str| item.get(name)?.as_str();
        Some(Self::new(text("type")?, text("id")?))
    }
}

impl Found for Action {
    fn read(item: &Value) -> Option<Self> {
        Some(Self::new(item.get("name")?.as_str()?))
    }
}

/// A page of what was found. It may be short, or empty, and others come after it all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub results: Vec<T>,
    /// Where and by what it was found. Each page has a revision of its own.
    pub stamp: Stamp,
}

/// The pages of a search: an iterator that asks for the next one when it is wanted.
///
/// It ends after the last page, or after the first error: what was read until then is not everything. Each page is one
/// request.
#[derive(Debug)]
#[must_use = "nothing is asked until pages are taken"]
pub struct Pages<T> {
    client: Client,
    endpoint: Endpoint,
    body: Map<String, Value>,
    limit: Option<u64>,
    next: Next,
    found: PhantomData<T>,
}

#[derive(Debug, Clone)]
enum Next {
    First,
    After(String),
    None,
}

impl<T: Found> Pages<T> {
    pub(super) fn new(client: Client, endpoint: Endpoint, members: [(&str, Value); 2], more: Option<Value>) -> Self {
        let mut body: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(action) = more {
            body.insert("action".to_owned(), action);
        }
        Self { client, endpoint, body, limit: None, next: Next::First, found: PhantomData }
    }
    /// Asks for at most so many on a page; the server's own limit holds too.
    pub const fn of(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }
    /// Says something of the circumstances, as [`Question::with`](super::Question::with) does.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let context = self.body.entry("context").or_insert_with(|| json!({}));
        if let Some(context) = context.as_object_mut() {
            context.insert(name.into(), value.into());
        }
        self
    }
    /// Everything that was found, one after the other. An error is the last item.
    pub fn results(self) -> impl Iterator<Item = Result<T, Error>> {
        self.flat_map(|page| match page {
            Ok(page) => page.results.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    fn ask(&self, token: Option<&str>) -> Result<(Page<T>, Next), Error> {
        let mut body = self.body.clone();
        let mut page = Map::new();
        if let Some(token) = token {
            page.insert("token".to_owned(), token.into());
        }
        if let Some(limit) = self.limit {
            page.insert("limit".to_owned(), limit.into());
        }
        if !page.is_empty() {
            body.insert("page".to_owned(), page.into());
        }
        let (answer, stamp) = self.client.ask(self.endpoint, &body.into())?;
        let results = answer.get("results").and_then(Value::as_array);
        let results = results.and_then(|results| results.iter().map(T::read).collect());
        let results = results.ok_or_else(|| Error::NotAnAnswer("its `results` cannot be read".to_owned()))?;
        Ok((Page { results, stamp }, next(&answer, token)?))
    }
}

/// Where it goes on. A token that comes again would be asked for ever.
fn next(answer: &Value, token: Option<&str>) -> Result<Next, Error> {
    let wrong = |what: &str| Err(Error::NotAnAnswer(what.to_owned()));
    match answer.get("page") {
        None | Some(Value::Null) => Ok(Next::None),
        Some(page) => match page.get("next_token").and_then(Value::as_str) {
            Some("") => Ok(Next::None),
            Some(again) if Some(again) == token => wrong("its page goes on with itself"),
            Some(after) => Ok(Next::After(after.to_owned())),
            None => wrong("its `page` has no `next_token`"),
        },
    }
}

impl<T: Found> Iterator for Pages<T> {
    type Item = Result<Page<T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let asked = match std::mem::replace(&mut self.next, Next::None) {
            Next::None => return None,
            Next::First => self.ask(None),
            Next::After(token) => self.ask(Some(&token)),
        };
        Some(asked.map(|(page, next)| {
            self.next = next;
            page
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_found() {
        assert_eq!(Entity::read(&json!({"type": "user", "id": "maria"})), Some(Entity::user("maria")));
        assert_eq!(Action::read(&json!({"name": "EditContent"})), Some(Action::new("EditContent")));
        assert_eq!(Entity::read(&json!({"type": "user"})), None);
        assert_eq!(Entity::read(&json!(["user", "maria"])), None);
        assert_eq!(Action::read(&json!("EditContent")), None);
    }

    #[test]
    fn where_pages_go_on() {
        let of = |answer: Value, token| next(&answer, token);
        assert!(matches!(of(json!({}), None), Ok(Next::None)));
        assert!(matches!(of(json!({"page": {"next_token": ""}}), Some("a")), Ok(Next::None)));
        assert!(matches!(of(json!({"page": {"next_token": "b"}}), Some("a")), Ok(Next::After(token)) if token == "b"));
        for wrong in [json!({"page": {"next_token": "a"}}), json!({"page": {}}), json!({"page": "b"})] {
            assert!(matches!(of(wrong, Some("a")), Err(Error::NotAnAnswer(_))));
        }
    }
}

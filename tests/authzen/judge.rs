//! Is this answer the expected one? What the tables call `expected`, and what holds of every answer.

use serde_json::{Value, json};

use crate::client::Answer;

/// What an answer has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Exactly this body.
    Body(String),
    /// These items; none: a deny with an error beside it.
    Items(Vec<Option<bool>>),
    /// An allow with some context.
    Explained,
    /// Exactly these results.
    Found(Vec<Value>),
    /// The same, from page to page.
    Pages(Vec<Value>),
    /// This status, and no decision.
    Refused(u16),
}

impl Expected {
    /// Reads the cell of a table.
    pub fn read(text: &str) -> Option<Self> {
        if let Some(items) = text.strip_prefix('[') {
            let item = |item: &str| match item {
                "allow" => Some(Some(true)),
                "deny" => Some(Some(false)),
                "error" => Some(None),
                _ => None,
            };
            return Some(Self::Items(items.strip_suffix(']')?.split(", ").map(item).collect::<Option<_>>()?));
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let results = || rest.split_whitespace().map(result).collect();
        Some(match word {
            "allow" => Self::Body(json!({"decision": true}).to_string()),
            "deny" => Self::Body(json!({"decision": false}).to_string()),
            "explained" => Self::Explained,
            "found" => Self::Found(results()),
            "pages" => Self::Pages(results()),
            status => Self::Refused(status.parse().ok()?),
        })
    }

    /// Fails with what is wrong with the answer.
    pub fn judge(&self, answer: &Answer) -> Result<(), String> {
        let status = if let Self::Refused(status) = self { *status } else { 200 };
        if answer.status != status {
            return Err(format!("the status is not {status}"));
        }
        well_formed(answer)?;
        match self {
            Self::Body(body) => is(&answer.text(), body),
            Self::Items(items) => judge_items(items, answer),
            Self::Explained => {
                let body = answer.json();
                let two = body.as_object().is_some_and(|members| members.len() == 2);
                let right = two && body["decision"] == true && body["context"].is_object();
                if right { Ok(()) } else { Err("not a decision and a context".into()) }
            }
            Self::Found(results) => {
                let more = page(answer)?.is_some_and(|token| !token.is_empty());
                if more { Err("there is more".into()) } else { only(results, answer) }
            }
            Self::Pages(_) => Err("pages are followed, not judged one by one".into()),
            Self::Refused(405) if answer.header("allow") != Some("POST") => Err("`Allow` is not POST".into()),
            Self::Refused(_) => Ok(()),
        }
    }
}

/// `user:alice`, or the name of an action.
pub fn result(text: &str) -> Value {
    match text.split_once(':') {
        Some((kind, id)) => json!({"type": kind, "id": id}),
        None => json!({ "name": text }),
    }
}

/// What holds of every answer, whatever it says: its media type, and that no error can be taken for a decision.
pub fn well_formed(answer: &Answer) -> Result<(), String> {
    let error = answer.status >= 400;
    let kind = if error { "application/problem+json" } else { "application/json" };
    if answer.header("content-type") != Some(kind) {
        return Err(format!("the media type is not {kind}"));
    }
    let body = answer.json();
    let Some(members) = body.as_object() else { return Err("the body is not an object".into()) };
    if error && (members.contains_key("decision") || members.contains_key("results")) {
        return Err("an error that can be taken for an answer".into());
    }
    if error && (body["status"] != answer.status || !body["code"].is_string() || !body["detail"].is_string()) {
        return Err("a problem without status, code and detail".into());
    }
    Ok(())
}

/// The whole body, to the byte.
fn is(body: &str, expected: &str) -> Result<(), String> {
    if body == expected { Ok(()) } else { Err(format!("the body is not {expected}")) }
}

/// Items to the byte where they are bare, and nothing on top beside them.
fn judge_items(expected: &[Option<bool>], answer: &Answer) -> Result<(), String> {
    let body = answer.json();
    let items = body["evaluations"].as_array().ok_or("`evaluations` is not there")?;
    if items.len() != expected.len() {
        return Err(format!("not {} items", expected.len()));
    }
    let mut bare = Vec::new();
    for (n, (item, expected)) in items.iter().zip(expected).enumerate() {
        if let Some(decision) = expected {
            bare.push(json!({ "decision": decision }));
            continue;
        }
        let error = &item["context"]["error"];
        let status = error["status"].as_u64().is_some_and(|status| (400..600).contains(&status));
        if item["decision"] != false || !status || error["message"].as_str().is_none_or(str::is_empty) {
            return Err(format!("item {n} is not a deny with an error's status and message"));
        }
        bare.push(item.clone());
    }
    is(&answer.text(), &json!({ "evaluations": bare }).to_string())
}

/// The results to the byte.
fn only(expected: &[Value], answer: &Answer) -> Result<(), String> {
    let expected = format!(r#""results":{}}}"#, Value::from(expected));
    if answer.text().ends_with(&expected) { Ok(()) } else { Err(format!("it does not end with {expected}")) }
}

/// The token of a search's answer; none where nothing is said of pages. Fails where the answer has another shape.
pub fn page(answer: &Answer) -> Result<Option<String>, String> {
    let body = answer.json();
    let members: Vec<&str> = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    match members[..] {
        ["results"] => Ok(None),
        ["page", "results"] => {
            let page = body["page"].as_object().ok_or("`page` is not an object")?;
            for (name, value) in page {
                let right = match name.as_str() {
                    "next_token" => value.is_string(),
                    "count" => value.as_u64() == body["results"].as_array().map(|results| results.len() as u64),
                    "total" => value.is_u64(),
                    "properties" => value.is_object(),
                    _ => false,
                };
                if !right {
                    return Err(format!("`page.{name}` is {value}"));
                }
            }
            body["page"]["next_token"]
                .as_str()
                .map(|token| Some(token.to_owned()))
                .ok_or_else(|| "no `next_token`".into())
        }
        _ => Err(format!("the members are {members:?}")),
    }
}

/// The control: answers that are nearly right.
#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn answer(status: u16, kind: &'static str, body: &str) -> Answer {
        let headers: HeaderMap = [("content-type", kind), ("allow", "GET")]
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        Answer { status, headers, body: body.into() }
    }
    fn ok(body: &str) -> Answer {
        answer(200, "application/json", body)
    }
    fn judged(expected: &str, answer: &Answer) -> Result<(), String> {
        Expected::read(expected).unwrap().judge(answer)
    }

    const RIGHT: [(&str, &str); 10] = [
        ("allow", r#"{"decision":true}"#),
        ("deny", r#"{"decision":false}"#),
        ("[allow, deny]", r#"{"evaluations":[{"decision":true},{"decision":false}]}"#),
        ("[error]", r#"{"evaluations":[{"decision":false,"context":{"error":{"status":400,"message":"x"}}}]}"#),
        ("explained", r#"{"decision":true,"context":{}}"#),
        ("found", r#"{"results":[]}"#),
        ("found user:alice", r#"{"results":[{"type":"user","id":"alice"}]}"#),
        ("found user:alice", r#"{"page":{"next_token":""},"results":[{"type":"user","id":"alice"}]}"#),
        ("found user:alice", r#"{"page":{"next_token":"","count":1},"results":[{"type":"user","id":"alice"}]}"#),
        ("found read", r#"{"results":[{"name":"read"}]}"#),
    ];
    const WRONG: [(&str, &str); 22] = [
        ("allow", r#"{"decision":false}"#),
        ("allow", r#"{"decision":"true"}"#),
        ("allow", r#"{"decision":true,"context":{}}"#),
        ("allow", r#"{"evaluations":[{"decision":true}]}"#),
        ("deny", ""),
        ("[allow, deny]", r#"{"evaluations":[{"decision":false},{"decision":true}]}"#),
        ("[allow, deny]", r#"{"evaluations":[{"decision":true}]}"#),
        ("[allow]", r#"{"evaluations":[{"decision":true}],"decision":true}"#),
        ("[allow]", r#"{"evaluations":[{"decision":true,"context":{}}]}"#),
        ("[error]", r#"{"evaluations":[{"decision":false}]}"#),
        ("[error]", r#"{"evaluations":[{"decision":true,"context":{"error":{"status":400,"message":"x"}}}]}"#),
        ("[error]", r#"{"evaluations":[{"decision":false,"context":{"error":{"status":200,"message":"x"}}}]}"#),
        ("explained", r#"{"decision":true}"#),
        ("explained", r#"{"decision":true,"context":"because"}"#),
        ("found", r#"{"results":[{"type":"user","id":"alice"}]}"#),
        ("found user:alice", r#"{"results":[{"id":"alice","type":"user"}]}"#),
        ("found user:alice", r#"{"results":[{"type":"user","id":"alice","properties":{}}]}"#),
        ("found user:alice", r#"{"results":[{"type":"user","id":"alice"}],"page":{"next_token":""}}"#),
        ("found user:alice", r#"{"page":{"next_token":"more"},"results":[{"type":"user","id":"alice"}]}"#),
        ("found user:alice", r#"{"page":{"count":1},"results":[{"type":"user","id":"alice"}]}"#),
        ("found user:alice", r#"{"page":{"next_token":"","count":2},"results":[{"type":"user","id":"alice"}]}"#),
        ("found user:alice user:bob", r#"{"results":[{"type":"user","id":"bob"},{"type":"user","id":"alice"}]}"#),
    ];

    #[test]
    fn what_is_nearly_right_is_wrong() {
        for (expected, body) in RIGHT {
            assert_eq!(judged(expected, &ok(body)), Ok(()), "{expected}: {body}");
            assert!(judged(expected, &answer(201, "application/json", body)).is_err(), "{expected}: {body}");
            assert!(judged(expected, &answer(200, "text/plain", body)).is_err(), "{expected}: {body}");
        }
        for (expected, body) in WRONG {
            assert!(judged(expected, &ok(body)).is_err(), "{expected}: {body}");
        }
        let problem = r#"{"status":400,"code":"x","detail":"y"}"#;
        let refused = |kind, body| judged("400", &answer(400, kind, body));
        assert_eq!(refused("application/problem+json", problem), Ok(()));
        assert!(refused("application/json", problem).is_err());
        assert!(refused("application/problem+json", "{}").is_err());
        assert!(
            refused("application/problem+json", r#"{"status":400,"code":"x","detail":"y","decision":false}"#).is_err()
        );
        assert!(refused("application/problem+json", r#"{"status":422,"code":"x","detail":"y"}"#).is_err());
        assert!(judged("405", &answer(405, "application/problem+json", &problem.replace("400", "405"))).is_err());
    }
}

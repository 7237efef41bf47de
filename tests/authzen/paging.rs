//! Pages beyond the numbered cases: what a token is good for, and that it is good for nothing else.

use serde_json::{Value, json};

use crate::{
    cases::thrice,
    client::{Answer, Call, Caller},
    judge::page,
    pdp::{CERT, Discovered, Pdp, Variant},
};

fn readers() -> Value {
    json!({"subject": {"type": "user"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"}, "page": {"limit": 1}})
}

struct Scene {
    pdp: Pdp,
    caller: Caller,
    at: Discovered,
}

impl Scene {
    fn new() -> Self {
        let pdp = Pdp::start(Variant::Open);
        let (caller, at) = (pdp.caller(), Discovered::of(&pdp, &pdp.identifier(CERT)));
        Self { pdp, caller, at }
    }
    #[track_caller]
    fn ask(&mut self, endpoint: &str, body: &Value) -> Answer {
        thrice(&mut self.caller, &Call::post(self.at.url(endpoint), body)).unwrap()
    }
    /// The token of the first of two pages.
    #[track_caller]
    fn token(&mut self) -> String {
        let first = self.ask("subject", &readers());
        let token = page(&first).unwrap().unwrap();
        assert_eq!(first.json()["results"], json!([{"type": "user", "id": "alice"}]));
        assert!(!token.is_empty(), "{first}");
        token
    }
    #[track_caller]
    fn refused(&mut self, endpoint: &str, body: &Value) {
        let answer = self.ask(endpoint, body);
        assert_eq!(answer.status, 400, "{endpoint} {body}: {answer}");
    }
}

#[test]
fn a_token_carries_the_limit() {
    let mut scene = Scene::new();
    let token = scene.token();
    for said in [json!({"token": token}), json!({"token": token, "limit": 1})] {
        let mut body = readers();
        body["page"] = said;
        let second = scene.ask("subject", &body);
        assert_eq!(second.status, 200, "{second}");
        assert_eq!(page(&second).unwrap().as_deref(), Some(""), "the last page says so: {second}");
        assert_eq!(second.json()["results"], json!([{"type": "user", "id": "bob"}]));
    }
}

#[test]
fn a_token_of_nobodys_is_refused() {
    let mut scene = Scene::new();
    let token = scene.token();
    let middle = token.len() / 2;
    let flipped = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let garbage = [
        "x".to_owned(),
        "AAAA".to_owned(),
        "not base64 at all".to_owned(),
        "A".repeat(1000),
        token[1..].to_owned(),
        token[..token.len() - 4].to_owned(),
        format!("{token}AAAA"),
        format!("{}{flipped}{}", &token[..middle], &token[middle + 1..]),
    ];
    for garbage in garbage {
        let mut body = readers();
        body["page"]["token"] = json!(garbage);
        scene.refused("subject", &body);
    }
    for other in [json!(7), json!([token]), json!({"token": token}), json!(true)] {
        let mut body = readers();
        body["page"]["token"] = other;
        scene.refused("subject", &body);
    }
}

/// A token goes on with the search that it is of, in the domain that it is of.
#[test]
fn a_token_of_something_else_is_refused() {
    let mut scene = Scene::new();
    let token = scene.token();
    let mut whole = readers();
    whole["page"]["token"] = json!(token);
    for (path, value) in [
        ("/action/name", json!("write")),
        ("/subject/type", json!("record")),
        ("/resource/id", json!("record-2")),
        ("/resource/properties", json!({"status": "archived"})),
        ("/action/properties", json!({"soft": true})),
        ("/context", json!({"a": 1})),
        ("/page/limit", json!(2)),
    ] {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut body = whole.clone();
        body.pointer_mut(parent).unwrap()[name] = value;
        scene.refused("subject", &body);
    }
    let other = json!({"subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"}, "page": {"limit": 1, "token": token}});
    scene.refused("resource", &other);
    scene.refused("action", &other);
    for elsewhere in [scene.pdp.identifier("documents"), scene.pdp.identifier("gateway"), scene.pdp.url.clone()] {
        let at = Discovered::of(&scene.pdp, &elsewhere);
        let answer = scene.caller.call(&Call::post(at.url("subject"), &whole));
        assert_eq!(answer.status, 400, "{elsewhere}: {answer}");
    }
    // The control.
    assert_eq!(scene.ask("subject", &whole).json()["results"], json!([{"type": "user", "id": "bob"}]));
}

#[test]
fn no_results_may_be_asked_for() {
    let mut scene = Scene::new();
    for (endpoint, body) in [
        ("subject", readers()),
        (
            "resource",
            json!({"subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
            "resource": {"type": "record"}, "page": {}}),
        ),
        (
            "action",
            json!({"subject": {"type": "user", "id": "alice"},
            "resource": {"type": "record", "id": "record-1"}, "page": {}}),
        ),
    ] {
        let mut body = body;
        body["page"]["limit"] = json!(0);
        let none = scene.ask(endpoint, &body);
        assert_eq!((none.status, &none.json()["results"]), (200, &json!([])), "{endpoint}: {none}");
        assert!(page(&none).unwrap().is_some(), "there is a page, for it is not all: {none}");
    }
}

//! Does anything that a caller says of people, acts and sites give anybody a right? Never, on sites: an answer to which
//! somebody claimed every role is, to the byte, the answer to the question alone.
//!
//! What does count there is listed, and is the control: when the person signed in.

use std::collections::BTreeSet;

use cedar_policy::SchemaFragment;
use serde_json::{Map, Value, json};

use crate::{
    client::{Answer, Call, Caller},
    http::now_s,
    pdp::{Discovered, Pdp, Variant},
    server::Installation,
    worlds,
};

/// Everybody of the story who has something, and one who has nothing.
const PEOPLE: [(&str, &str); 8] = [
    ("user", "maria"),
    ("user", "dana"),
    ("user", "bo"),
    ("user", "jonas"),
    ("user", "tom"),
    ("user", "eve"),
    ("staff", "sam"),
    ("staff", "tess"),
];
/// Most questions of one request.
const MOST: usize = 50;

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/sites.cedarschema");
    let (fragment, _) = SchemaFragment::from_cedarschema_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    fragment.to_json_value().unwrap()["Sites"].clone()
}

/// Every role, and every fact that a policy may read.
fn words(schema: &Value) -> (Vec<String>, Vec<String>) {
    let roles: Vec<String> = serde_json::from_value(schema["entityTypes"]["Role"]["enum"].clone()).unwrap();
    let mut facts: BTreeSet<&String> = BTreeSet::new();
    for shape in [&schema["entityTypes"]["Site"]["shape"], &schema["commonTypes"]["Facts"]] {
        facts.extend(shape["attributes"].as_object().unwrap().keys());
    }
    assert!(roles.len() > 15 && facts.len() > 15, "{roles:?} {facts:?}");
    (roles, facts.into_iter().cloned().collect())
}

/// Every action of the catalogue.
fn actions() -> Vec<String> {
    let table = include_str!("../golden/role_action_matrix.csv");
    table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().to_owned()).collect()
}

/// What somebody might claim with this role in mind, in every form that a careless reader might take.
fn claims(role: &str, facts: &[String]) -> Value {
    let mut claims = json!({
        "role": role, "roles": [role], "Role": role, "seat": role, "via": "seat", "grant": role, "owner": "user:eve",
        "type": "user", "id": "maria", "parents": [{"type": "Sites::Role", "id": role}], "admin": true,
        "__entity": {"type": "Sites::Role", "id": role}, "principal": "user:maria",
        "seats": {"owner": "user:eve", "client": "user:eve", "partner": "agency:studio-north"},
    });
    for name in [role, &role.to_lowercase(), &format!("Sites::Role::\"{role}\"")] {
        claims[name] = json!(true);
    }
    // Facts that would help, whichever way round they help.
    let helps = |fact: &str| !["frozen", "trashed", "blocked", "partner_side", "settling"].contains(&fact);
    for fact in facts {
        claims[fact] = json!(helps(fact));
    }
    claims
}

/// A question with the claims everywhere.
fn claiming(question: &Value, claims: &Value) -> Value {
    let mut question = question.clone();
    for part in ["subject", "action", "resource"] {
        question[part]["properties"] = claims.clone();
        for (name, value) in claims.as_object().unwrap() {
            if !["type", "id", "name"].contains(&name.as_str()) {
                question[part][name] = value.clone();
            }
        }
    }
    let mut context: Map<String, Value> = claims.as_object().unwrap().clone();
    context.extend(question["context"].as_object().cloned().unwrap_or_default());
    question["context"] = context.into();
    question
}

struct Scene {
    _pdp: Pdp,
    caller: Caller,
    at: Discovered,
}

impl Scene {
    fn new() -> Self {
        let pdp = Pdp::start_with(Variant::Open, Installation::with(&worlds::managed_story()), &[]);
        let (caller, at) = (pdp.caller(), Discovered::of(&pdp, &pdp.url));
        Self { _pdp: pdp, caller, at }
    }
    fn ask(&mut self, endpoint: &str, body: &Value) -> Answer {
        let answer = self.caller.call(&Call::post(self.at.url(endpoint), body));
        assert_eq!(answer.status, 200, "{answer}");
        answer
    }
}

fn question((kind, person): (&str, &str), site: &str, explain: bool) -> Value {
    json!({"subject": {"type": kind, "id": person}, "action": {"name": "ViewSite"},
        "resource": {"type": "site", "id": site}, "context": {"explain": explain}})
}

#[test]
fn nothing_that_is_claimed_counts() {
    let mut scene = Scene::new();
    let (roles, facts) = words(&schema());
    let actions = actions();
    let (mut compared, mut allowed) = (0, 0);
    for person in PEOPLE {
        for (site, explain) in [("bakery", false), ("bakery", true), ("florist", false), ("nowhere", false)] {
            for some in actions.chunks(MOST) {
                let mut alone = question(person, site, explain);
                alone["evaluations"] = some.iter().map(|name| json!({"action": {"name": name}})).collect();
                let bare = scene.ask("evaluations", &alone);
                let items = bare.json()["evaluations"].as_array().unwrap().clone();
                assert_eq!(items.len(), some.len());
                allowed += items.iter().filter(|item| item["decision"] == true).count();
                for role in &roles {
                    let claims = claims(role, &facts);
                    let mut body = claiming(&alone, &claims);
                    for item in body["evaluations"].as_array_mut().unwrap() {
                        item["action"]["properties"] = claims.clone();
                    }
                    assert_eq!(scene.ask("evaluations", &body).text(), bare.text(), "{person:?} on {site} as {role}");
                    compared += some.len();
                }
            }
        }
    }
    assert!(allowed > 100 && compared > 10_000, "{allowed} allowed, {compared} compared");
    println!("{compared} answers compared, {allowed} of the questions alone were allowed");
}

#[test]
fn nothing_that_is_claimed_is_found() {
    let mut scene = Scene::new();
    let (roles, facts) = words(&schema());
    for person in PEOPLE {
        let alone = question(person, "bakery", false);
        for endpoint in ["evaluation", "subject", "resource", "action"] {
            let bare = scene.ask(endpoint, &alone);
            for role in &roles {
                let body = claiming(&alone, &claims(role, &facts));
                assert_eq!(scene.ask(endpoint, &body).text(), bare.text(), "{endpoint}: {person:?} as {role}");
            }
        }
    }
}

/// The control: a circumstance that may be sent does count, beside all those that do not.
#[test]
fn a_sign_in_counts() {
    let mut scene = Scene::new();
    let (roles, facts) = words(&schema());
    let mut body = question(("user", "maria"), "bakery", false);
    body["action"]["name"] = json!("ReclaimSite");
    let claims = claims(&roles[0], &facts);
    assert_eq!(scene.ask("evaluation", &claiming(&body, &claims)).json()["decision"], false);
    body["context"]["auth_time"] = json!(now_s());
    for body in [body.clone(), claiming(&body, &claims)] {
        assert_eq!(scene.ask("evaluation", &body).json()["decision"], true, "{body}");
    }
}

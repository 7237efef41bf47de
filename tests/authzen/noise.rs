//! Does it matter what else is sent? Not for what the schema has no place for, nor for a value of another type than the
//! schema's: the answer is the one without it, never an error and never a fault.

use serde_json::{Value, json};

use crate::{
    cases::thrice,
    client::{Answer, Call, Caller},
    pdp::{DOMAINS, Discovered, Pdp, Variant},
    readmes::table,
    server::Installation,
};

/// Everything that JSON can say, and everything that looks like more.
fn values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(0.5),
        json!(1e300),
        json!(""),
        json!("admin"),
        json!("10.0.0.1/40"),
        json!("10.0.0.1"),
        json!("999999999999999.9999"),
        json!("1.5"),
        json!("2025-06-27T18:03-07:00"),
        json!("2025-06-27"),
        json!("9999999999999999d"),
        json!("1h"),
        json!("\u{0}\u{202e}\u{10ffff}\""),
        json!("x".repeat(2_000)),
        json!([]),
        json!([null]),
        json!([1, "a", true, [], {}]),
        json!(["a", "a"]),
        json!({}),
        json!({"type": "Level", "id": "high"}),
        json!({"type": "Level", "id": "none of the enumeration"}),
        json!({"type": "Person", "id": "nobody"}),
        json!({"type": "Person", "id": "pia"}),
        json!({"type": "Action", "id": "see"}),
        json!({"__entity": {"type": "Person", "id": "pia"}}),
        json!({"__extn": {"fn": "ip", "arg": "10.0.0.1"}}),
        json!({"__expr": "1 + 1"}),
        json!({"soft": true, "more": {"level": {"type": "Level", "id": "x"}}}),
        json!([{"type": "Level", "id": "x"}]),
    ]
}

/// A domain with a place for every type that Cedar has.
const DOMAIN: &str = r#"
entities = "entities.json"
[types.person]
entity = "Person"
trusted = ["flag", "count", "text", "level", "friend", "address", "price", "at", "span", "texts", "levels", "record"]
[types.guest]
entity = "Guest"
unlisted = "admit"
trusted = ["flag", "level", "record", "address"]
[types.level]
entity = "Level"
unlisted = "admit"
"#;
const SCHEMA: &str = r#"
entity Level enum ["high", "low"];
type Note = { "must": Bool, "may"?: Long, "level"?: Level };
entity Person in [Person] {
  "flag"?: Bool, "count"?: Long, "text"?: String, "level"?: Level, "friend"?: Person, "address"?: ipaddr,
  "price"?: decimal, "at"?: datetime, "span"?: duration, "texts"?: Set<String>, "levels"?: Set<Level>, "record"?: Note,
};
entity Guest { "flag"?: Bool, "count"?: Long, "level"?: Level, "record"?: Note, "address"?: ipaddr };
action see appliesTo { principal: [Person, Guest], resource: [Person, Guest, Level], context: {
  "flag"?: Bool, "count"?: Long, "text"?: String, "level"?: Level, "friend"?: Person, "address"?: ipaddr,
  "price"?: decimal, "at"?: datetime, "span"?: duration, "texts"?: Set<String>, "levels"?: Set<Level>, "record"?: Note,
  "action"?: Note,
} };
"#;
const POLICIES: &str = r#"
@id("see") @doc("Whoever is listed sees.")
permit (principal, action, resource) unless { principal has flag && principal.flag && principal has count && principal.count > 7 };
"#;
const NAMES: [&str; 12] =
    ["flag", "count", "text", "level", "friend", "address", "price", "at", "span", "texts", "levels", "record"];

/// The domain, served.
fn shapes() -> (Pdp, Caller, Discovered) {
    let installation = Installation::new();
    let folder = installation.folder().join("shapes");
    std::fs::create_dir_all(folder.join("policies")).unwrap();
    let entities = json!([{"uid": {"type": "Person", "id": "pia"}, "attrs": {}, "parents": []}]).to_string();
    for (name, text) in [
        ("domain.toml", DOMAIN),
        ("schema.cedarschema", SCHEMA),
        ("policies/see.cedar", POLICIES),
        ("entities.json", &entities),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let domains = format!("shapes={}", folder.display());
    let pdp = Pdp::start_with(Variant::Open, installation, &[("MANDATE_DOMAINS", &domains)]);
    let (caller, at) = (pdp.caller(), Discovered::of(&pdp, &pdp.identifier("shapes")));
    (pdp, caller, at)
}

/// Each value under each name at each place; the policies read none of them.
#[test]
fn no_value_is_an_error() {
    let (_pdp, mut caller, at) = shapes();
    let mut wrong = Vec::new();
    let (mut asked, values) = (0, values());
    let question = |subject: &str| {
        json!({"subject": {"type": subject, "id": "pia"}, "action": {"name": "see"},
            "resource": {"type": "person", "id": "pia"}})
    };
    for name in NAMES {
        for value in &values {
            let mut bodies = Vec::new();
            for part in ["subject", "resource", "action"] {
                let mut body = question("person");
                body[part]["properties"] = json!({ name: value });
                bodies.push(body);
            }
            let mut body = question("person");
            body["context"] = json!({ name: value });
            bodies.push(body);
            let mut body = question("guest");
            body["subject"] = json!({"type": "guest", "id": "somebody", "properties": { name: value }});
            bodies.push(body);
            let mut body = question("person");
            body["action"]["properties"] = json!({"must": true, "may": value, "level": value});
            body["context"] = json!({"record": {"must": true, "may": value, "level": value}, "levels": [value]});
            bodies.push(body);
            for body in bodies {
                asked += 1;
                let answer = caller.call(&Call::post(at.url("evaluation"), &body));
                if (answer.status, answer.text().as_str()) != (200, r#"{"decision":true}"#) {
                    wrong.push(format!("{body}\n    {answer}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Ids of every kind, of a type that admits them and of one whose names are all there are.
#[test]
fn no_id_is_an_error() {
    let (_pdp, mut caller, at) = shapes();
    let long = "x".repeat(20_000);
    for id in ["", " ", "high", "low", "none of the enumeration", "\u{0}", "\"", "a::\"b\"", "ä\u{202e}", long.as_str()]
    {
        for kind in ["person", "guest", "level"] {
            let body = json!({"subject": {"type": "person", "id": "pia"}, "action": {"name": "see"},
                "resource": {"type": kind, "id": id}});
            let answer = caller.call(&Call::post(at.url("evaluation"), &body));
            let there = kind == "guest" || kind == "level" && ["high", "low"].contains(&id);
            let expected = json!({"decision": there}).to_string();
            assert_eq!((answer.status, answer.text()), (200, expected), "{kind}:{id}");
            let search =
                json!({"subject": {"type": "person"}, "action": {"name": "see"}, "resource": body["resource"]});
            let found = caller.call(&Call::post(at.url("subject"), &search));
            assert_eq!((found.status, found.text().contains("pia")), (200, there), "{kind}:{id}: {found}");
        }
    }
}

fn ask(caller: &mut Caller, at: &Discovered, endpoint: &str, body: &Value) -> Answer {
    thrice(caller, &Call::post(at.url(endpoint), body)).unwrap()
}

/// What the READMEs say holds with everything else beside it.
#[test]
fn what_has_no_place_counts_for_nothing() {
    let pdp = Pdp::start(Variant::Open);
    let mut caller = pdp.caller();
    let values = values();
    for domain in DOMAINS {
        let at = Discovered::of(&pdp, &pdp.identifier(domain));
        for (n, row) in table(domain).iter().enumerate() {
            let bare = ask(&mut caller, &at, row.endpoint, &row.body);
            let mut body = row.body.clone();
            for (m, name) in
                ["groups", "parents", "scopes", "tier", "internal", "uid", "attrs", "shared_with"].iter().enumerate()
            {
                let value = &values[(n + m * 5) % values.len()];
                for place in ["/subject", "/action", "/resource"] {
                    let part = body.pointer_mut(place).unwrap();
                    if !part["properties"].is_object() {
                        part["properties"] = json!({});
                    }
                    part["properties"][name] = value.clone();
                    part[name] = value.clone();
                }
                body[name] = value.clone();
                if !body["context"].is_object() {
                    body["context"] = json!({});
                }
                body["context"][name] = value.clone();
            }
            let noisy = ask(&mut caller, &at, row.endpoint, &body);
            assert_eq!(noisy.text(), bare.text(), "{}: {body}", row.place);
        }
    }
}

//! `POST /access/v1/evaluation` held to the AuthZEN *Authorization API 1.0*: what is malformed is 400, what is unknown
//! is a deny, what varies is in headers, and the body of an answer is the same every time.

use serde_json::{Value, json};

use crate::{
    http::{Call, Client, now_s},
    server::{Installation, Server},
    worlds,
};

const PATH: &str = "/access/v1/evaluation";

fn question() -> Value {
    json!({
        "subject": {"type": "user", "id": "maria"},
        "action": {"name": "PublishSite"},
        "resource": {"type": "site", "id": "bakery"},
    })
}

fn story() -> (Installation, Server) {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    (installation, server)
}

/// The question with one member replaced; an absent value takes it out.
fn with(path: &str, value: Option<Value>) -> Value {
    let mut body = question();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
    body
}

/// §1.3: every way in which a question is not one.
#[test]
fn whatever_is_malformed_is_400() {
    let (_installation, server) = story();
    let mut http = server.client();
    let json_type = "application/json";
    let mut bodies: Vec<(Vec<u8>, &str)> = Vec::new();
    let whole = question().to_string();
    // Not JSON, not an object, or not said to be JSON.
    for text in ["", " ", "{", "nonsense", "[]", "null", "1", "\"maria\"", "true", "{}", "{\"subject\":}", "\u{feff}{}"]
    {
        bodies.push((text.into(), json_type));
    }
    bodies.push((format!("[{whole}]").into(), json_type));
    bodies.push((format!("{whole}{whole}").into(), json_type));
    bodies.push((b"{\"subject\": \"\xff\"}".to_vec(), json_type));
    for kind in ["", "text/plain", "application/jsonx", "application/x-www-form-urlencoded", "text/json", "*/*"] {
        bodies.push((whole.clone().into(), kind));
    }
    // Members that are missing, and members of another JSON type.
    let entities = ["/subject", "/action", "/resource"];
    let texts = ["/subject/type", "/subject/id", "/action/name", "/resource/type", "/resource/id"];
    let objects = ["/subject/properties", "/action/properties", "/resource/properties", "/context"];
    let others = [json!(1), json!(1.5), json!(true), json!([]), json!(["x"]), json!([{}])];
    let mut push = |body: Value| bodies.push((body.to_string().into(), json_type));
    for path in entities.iter().chain(&texts) {
        push(with(path, None));
        push(with(path, Some(Value::Null)));
    }
    for path in texts {
        others.iter().chain([&json!({})]).for_each(|other| push(with(path, Some(other.clone()))));
    }
    for path in entities.iter().chain(&objects) {
        others.iter().chain([&json!("x")]).for_each(|other| push(with(path, Some(other.clone()))));
    }
    assert_eq!(bodies.len(), 15 + 6 + 16 + 5 * 7 + 7 * 7, "the table is as long as it looks");
    for (body, kind) in bodies {
        let call = Call::new("POST", PATH).header("content-type", kind).header("x-request-id", "mine").raw(body);
        let answer = http.call(&call);
        assert_eq!(answer.status, 400, "{call:?}: {answer}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer}");
        assert_eq!(answer.header("x-request-id"), Some("mine"));
        assert!(answer.json().get("decision").is_none(), "an error is no decision: {answer}");
    }
    let none = http.call(&Call::new("POST", PATH).raw(whole.clone()));
    assert_eq!((none.status, none.code().as_str()), (400, "unsupported_media_type"));
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = http.call(&Call::new(method, PATH));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}: {answer}");
        assert_eq!(answer.code(), "method_not_allowed");
    }
    // The control.
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let answer = http.call(&Call::new("POST", PATH).header("content-type", kind).raw(whole.clone()));
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"decision":true}"#), "{kind}");
    }
}

/// §1.2: what nobody knows is refused access, not the question.
#[test]
fn whatever_is_unknown_is_a_deny() {
    let (_installation, server) = story();
    let mut http = server.client();
    let strange = [
        "",
        " ",
        "nobody",
        "space ship/1",
        "user",
        "Sites::User",
        "ä",
        "\0",
        "\"",
        "'; DROP TABLE site; --",
        "maria\n",
    ];
    let long = "x".repeat(1000);
    let mut asked = 0;
    for path in ["/subject/type", "/subject/id", "/action/name", "/resource/type", "/resource/id"] {
        for text in strange.into_iter().chain([long.as_str()]) {
            if (path, text) == ("/subject/type", "user") {
                continue;
            }
            let answer = http.post(PATH, &with(path, Some(json!(text))));
            let said = (answer.status, answer.text());
            assert_eq!(said, (200, r#"{"decision":false}"#.to_owned()), "{path} = {text:?}");
            asked += 1;
        }
    }
    assert_eq!(asked, 5 * 12 - 1);
    for (path, reason) in [
        ("/resource/id", "unknown_site"),
        ("/resource/type", "unknown_site"),
        ("/action/name", "unknown_action"),
        ("/subject/id", "no_role"),
    ] {
        let mut body = with(path, Some(json!("nothing")));
        body["context"] = json!({"explain": true});
        assert_eq!(http.post(PATH, &body).json()["context"]["reason"], reason, "{path}");
    }
    assert!(http.may("user:maria", "PublishSite", "bakery", &json!({})), "the control");
}

#[test]
fn unknown_members_are_ignored_and_nulls_are_absent() {
    let (_installation, server) = story();
    let mut http = server.client();
    for parent in ["", "/subject", "/action", "/resource"] {
        let answer = http.post(PATH, &with(&format!("{parent}/futureField"), Some(json!({"type": ["x"], "id": 7}))));
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"decision":true}"#), "{parent}");
    }
    for path in ["/subject/properties", "/action/properties", "/resource/properties", "/context"] {
        for value in [json!(null), json!({}), json!({"a": null, "b": [1, 1.5, 1e300, {"c": {}}], "role": "Owner"})] {
            let answer = http.post(PATH, &with(path, Some(value.clone())));
            assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"decision":true}"#), "{path}: {value}");
        }
    }
    // What a caller says about somebody gives nobody a right.
    let mut body = with("/subject/id", Some(json!("eve")));
    for properties in [json!({"role": "Owner"}), json!({"roles": ["Owner"]}), json!({"fresh_sign_in": true})] {
        body["subject"]["properties"] = properties.clone();
        body["resource"]["properties"] = json!({"owner": "user:eve", "frozen": false});
        body["context"] = properties;
        assert_eq!(http.post(PATH, &body).text(), r#"{"decision":false}"#, "{body}");
    }
    let time = with("/context", Some(json!({"time": "2025-06-27T18:03-07:00", "ip": "::1"})));
    assert_eq!(http.post(PATH, &time).text(), r#"{"decision":true}"#);
}

/// A claim that cannot be read is not a claim: the answer is the one without it.
#[test]
fn an_ill_typed_circumstance_is_a_deny_not_an_error() {
    let (_installation, server) = story();
    let mut http = server.client();
    let now = now_s();
    let fresh = |value: Value| json!({ "auth_time": value });
    let unread = [
        json!(null),
        json!("now"),
        json!(now.to_string()),
        json!([now]),
        json!({"at": now}),
        json!(true),
        json!(1.5),
        json!(1e300),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(0),
        json!(-now),
        json!(now - 3600),
        json!(now + 3600),
    ];
    for value in unread {
        let said = http.ask("user:maria", "ExportSite", "bakery", &fresh(value.clone()));
        assert_eq!(said.text(), r#"{"decision":false}"#, "{value}");
        assert_eq!(http.why_not("user:maria", "ExportSite", "bakery", &fresh(value)), "stepup_required");
    }
    for at in [now, now - 590, now + 30] {
        assert!(http.may("user:maria", "ExportSite", "bakery", &fresh(json!(at))), "the control: {at}");
    }
    for account in [json!(null), json!(7), json!("maria"), json!("user:"), json!(["user:maria"]), json!("user:eve")] {
        let context = json!({ "account": account });
        assert!(!http.may("user:maria", "PurchaseApp", "bakery", &context), "{context}");
        assert_eq!(http.why_not("user:maria", "PurchaseApp", "bakery", &context), "not_your_own");
    }
    assert!(http.may("user:maria", "PurchaseApp", "bakery", &json!({"account": "user:maria"})), "the control");
    for case in [json!(null), json!(""), json!(7), json!({})] {
        assert!(!http.may("staff:tess", "FreezeSite", "bakery", &json!({ "case": case })), "{case}");
    }
    assert!(http.may("staff:tess", "FreezeSite", "bakery", &json!({"case": "TS-1"})), "the control");
    for explain in [json!(null), json!("true"), json!(1), json!([true])] {
        let said = http.ask("user:eve", "ViewSite", "bakery", &json!({ "explain": explain }));
        assert_eq!(said.text(), r#"{"decision":false}"#, "only `true` asks for reasons: {explain}");
    }
}

#[test]
fn answers_are_bare_and_the_same_every_time() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let mut ids = std::collections::BTreeSet::new();
    for (subject, action, explain) in [
        ("user:maria", "PublishSite", false),
        ("user:eve", "PublishSite", false),
        ("user:dana", "UnpublishSite", false),
        ("user:maria", "PublishSite", true),
        ("user:eve", "PublishSite", true),
        ("user:dana", "UnpublishSite", true),
        ("user:dana", "RefundOrder", true),
    ] {
        let context = if explain { json!({"explain": true}) } else { json!({}) };
        let first = http.ask(subject, action, "bakery", &context);
        for _ in 0..3 {
            let again = http.ask(subject, action, "bakery", &context);
            assert_eq!(again.body, first.body);
            for name in ["revision", "policy-fingerprint", "cache-control", "content-type"] {
                assert_eq!(again.header(name), first.header(name));
            }
            assert!(ids.insert(again.header("decision-id").unwrap().to_owned()), "every decision has its own name");
        }
        if !explain && subject != "user:dana" {
            assert!([r#"{"decision":true}"#, r#"{"decision":false}"#].contains(&first.text().as_str()), "{first}");
        }
    }
}

#[test]
fn what_varies_is_in_headers() {
    let (_installation, server) = story();
    let mut http = server.client();
    let ask = |http: &mut Client, id: Option<&str>| {
        let call = Call::new("POST", PATH).json(&question());
        http.call(&id.map_or_else(|| call.clone(), |id| call.clone().header("x-request-id", id)))
    };
    let answer = ask(&mut http, Some("caller-17"));
    assert_eq!(answer.header("x-request-id"), Some("caller-17"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.header("decision-id").unwrap().is_empty());
    let fingerprint = answer.header("policy-fingerprint").unwrap().to_owned();
    let policies = http.get("/v1/policies").ok().json();
    assert_eq!(policies["fingerprint"], fingerprint.as_str());
    assert_eq!(ask(&mut http, None).header("x-request-id").unwrap().len(), 36, "one is made where none was sent");
    let revision = answer.revision();
    assert_eq!(revision, http.head(0));
    let plan = json!({"mode": "self_managed", "owner": "user:tom", "plan": {"tier": "free"}});
    http.put("/v1/sites/other", &plan).ok();
    assert_eq!(ask(&mut http, None).revision(), revision + 1, "the revision is the installation's");
    // A floor that was reached is answered, one that was not is a fault and no deny.
    for (name, value, status, code) in [
        ("at-least-as-fresh", (revision + 1).to_string(), 200, ""),
        ("at-least-as-fresh", (revision + 2).to_string(), 503, "not_fresh_enough"),
        ("at-least-as-fresh", "soon".to_owned(), 400, "invalid_header"),
        ("at-least-as-fresh", "-1".to_owned(), 400, "invalid_header"),
        ("consistency", "full".to_owned(), 200, ""),
        ("consistency", "lease".to_owned(), 400, "invalid_header"),
    ] {
        let answer = http.call(&Call::new("POST", PATH).json(&question()).header(name, &value));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}: {value}");
    }
}

/// `context.explain`: the reason, how access is had, the policies with their sentences, and what would help.
#[test]
fn an_explanation_says_why() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let mut explain = |subject: &str, action: &str| {
        let answer = http.ask(subject, action, "bakery", &json!({"explain": true})).json();
        (answer["decision"].as_bool().unwrap(), answer["context"].clone())
    };
    let (allowed, why) = explain("user:maria", "PublishSite");
    assert!(allowed && why.get("reason").is_none(), "{why}");
    assert_eq!((&why["via"], &why["policies"]), (&json!("seat"), &json!(["seats.client"])));
    assert!(why["docs"]["seats.client"].as_str().unwrap().ends_with('.'));
    for (subject, action, reason, via, missing) in [
        ("user:eve", "PublishSite", "no_role", Value::Null, None),
        ("user:jonas", "ReclaimSite", "role_lacks_action", json!("contributor"), Some("role:Client")),
        ("user:maria", "ReclaimSite", "stepup_required", json!("seat"), Some("fresh_sign_in")),
        ("user:dana", "RefundOrder", "confirm_required", json!("agency"), Some("confirmed")),
        ("user:dana", "PurchaseApp", "not_your_own", json!("agency"), Some("own_account")),
        ("user:jonas", "UpgradePlan", "not_payer", json!("contributor"), Some("granted_by_payer")),
        ("user:bo", "ManageOrders", "role_lacks_action", json!("grant"), None),
        ("user:kim", "ViewSite", "grant_expired", json!("agency"), None),
        ("user:maria", "OfferPartnerRole", "role_lacks_action", json!("seat"), Some("role:Owner")),
        ("user:maria", "AcceptHandover", "not_a_party", json!("seat"), None),
        ("staff:sam", "ViewSite", "no_session", json!("session"), Some("support_session_live")),
    ] {
        let (allowed, why) = explain(subject, action);
        assert_eq!((allowed, &why["reason"]), (false, &json!(reason)), "{subject} {action}: {why}");
        assert_eq!(why.get("via").unwrap_or(&Value::Null), &via, "{subject} {action}: {why}");
        assert!(!why["remedy"].as_str().unwrap().is_empty(), "{why}");
        if let Some(missing) = missing {
            assert!(why["missing"].as_array().unwrap().contains(&json!(missing)), "{subject} {action}: {why}");
        }
    }
}

/// Code N: the other side is told, and the platform learns that from the answer itself, asked to explain or not.
#[test]
fn obligations_come_with_what_the_other_side_is_told_of() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    for (subject, action, notify) in [
        ("user:dana", "UnpublishSite", "client"),
        ("user:dana", "ExportSite", "client"),
        ("user:dana", "ExportContacts", "client"),
        ("user:dana", "ManageApiKeys", "client"),
        ("user:dana", "EditDns", "client"),
        ("user:dana", "DowngradePlan", "client"),
        ("user:maria", "UnpublishSite", "partner"),
        ("user:maria", "DuplicateSite", "partner"),
    ] {
        let bare = http.ask(subject, action, "bakery", &json!({}));
        let expected =
            format!(r#"{{"decision":true,"context":{{"obligations":[{{"notify":"{notify}","action":"{action}"}}]}}}}"#);
        assert_eq!(bare.text(), expected);
        let explained = http.ask(subject, action, "bakery", &json!({"explain": true})).json();
        assert_eq!(explained["context"]["obligations"], bare.json()["context"]["obligations"]);
    }
    for (subject, action) in [("user:dana", "PublishSite"), ("user:maria", "EditDns"), ("user:jonas", "UnpublishSite")]
    {
        assert_eq!(http.ask(subject, action, "bakery", &json!({})).text(), r#"{"decision":true}"#, "the control");
    }
    assert_eq!(http.ask("user:eve", "UnpublishSite", "bakery", &json!({})).text(), r#"{"decision":false}"#);
}

/// Discovery: under the configured name, whatever `Host` says, and readable by everybody.
#[test]
fn metadata_names_what_there_is() {
    const WELL_KNOWN: &str = "/.well-known/authzen-configuration";
    let (_installation, server) = story();
    let mut http = server.client();
    let unset = http.get(WELL_KNOWN);
    assert_eq!((unset.status, unset.code().as_str()), (404, "not_configured"), "{unset}");
    for (url, path) in [("https://PDP.example.com", ""), ("https://h.example:8443/Tenants/one/", "/Tenants/one")] {
        let mut installation = Installation::with(&worlds::story());
        installation.set("MANDATE_PUBLIC_URL", url);
        let server = installation.start();
        let mut http = server.client();
        let base = url.trim_end_matches('/');
        if !path.is_empty() {
            assert_eq!(http.get(WELL_KNOWN).status, 404, "that is another one's");
        }
        {
            let at = format!("{WELL_KNOWN}{path}");
            let answer = http.call(&Call::new("GET", &at).header("x-request-id", "mine")).ok();
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
            assert_eq!(answer.header("x-request-id"), Some("mine"));
            let document = answer.json();
            let document = document.as_object().unwrap();
            assert_eq!(document["policy_decision_point"], url, "to the byte");
            for (member, value) in document.iter().filter(|(member, _)| *member != "policy_decision_point") {
                let endpoint = value.as_str().unwrap().strip_prefix(base).unwrap();
                assert!(member.ends_with("_endpoint"), "{member}");
                // What is named is there.
                let answer =
                    http.call(&Call::new("POST", endpoint).header("content-type", "application/json").raw("{}"));
                assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{endpoint}: {answer}");
            }
            assert!(document.len() >= 3, "{document:?}");
        }
        assert_eq!(http.get(&format!("{WELL_KNOWN}/nobody")).status, 404);
        assert_eq!(http.call(&Call::new("POST", &format!("{WELL_KNOWN}{path}"))).status, 405);
    }
    let mut installation = Installation::with(&worlds::story());
    installation.set("MANDATE_PUBLIC_URL", "http://pdp.example.com");
    let refused = installation.try_start().map(drop).unwrap_err();
    assert!(refused.log.contains("is no public URL") && refused.log.contains("public_url"), "{}", refused.log);
}

//! `POST /access/v1/evaluations`: a batch is the map of its items, answered at one revision.
//!
//! What the standard's certification asks of batches stands beside what it leaves open: which answer an item gets that is
//! no question, where a semantic cuts, and that items of different sites never mix two revisions.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http::{Call, Client},
    seeded::{Seeded, scale},
    server::Installation,
    worlds,
};

const ONE: &str = "/access/v1/evaluation";
const SEVERAL: &str = "/access/v1/evaluations";

fn user(id: &str) -> Value {
    json!({"type": "user", "id": id})
}
fn site(id: &str) -> Value {
    json!({"type": "site", "id": id})
}
fn action(name: &str) -> Value {
    json!({ "name": name })
}

#[test]
fn items_inherit_and_replace_and_answers_stand_in_their_order() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let body = json!({"subject": user("maria"), "action": action("ViewSite"), "resource": site("bakery"),
        "evaluations": [{}, {"subject": user("eve")}, {"action": action("NoSuchThing")}, {"resource": site("nowhere")},
            {"subject": user("dana"), "action": action("PublishSite")}, {"resource": {"type": "spaceship", "id": "1"}}]});
    let answer = http.post(SEVERAL, &body).ok();
    let told = |decisions: &[bool]| {
        let items: Vec<String> = decisions.iter().map(|decision| format!(r#"{{"decision":{decision}}}"#)).collect();
        format!(r#"{{"evaluations":[{}]}}"#, items.join(","))
    };
    assert_eq!(answer.text(), told(&[true, false, false, false, true, false]));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.revision(), http.head(0));
    for name in ["revision-token", "policy-fingerprint", "decision-id", "x-request-id"] {
        assert!(answer.header(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
    assert_eq!(http.post(SEVERAL, &body).text(), answer.text(), "the same every time");
    // Without items it is one question, and is answered as one.
    for evaluations in [None, Some(json!([]))] {
        let mut one = json!({"subject": user("maria"), "action": action("ViewSite"), "resource": site("bakery")});
        if let Some(evaluations) = evaluations {
            one["evaluations"] = evaluations;
        }
        assert_eq!(http.post(SEVERAL, &one).text(), r#"{"decision":true}"#);
        one.as_object_mut().unwrap().remove("action");
        assert_eq!((http.post(SEVERAL, &one).status, http.post(SEVERAL, &one).code()), (400, "invalid_request".into()));
    }
    for method in ["GET", "PUT"] {
        assert_eq!(http.call(&Call::new(method, SEVERAL)).status, 405);
    }
}

#[test]
fn a_semantic_cuts_behind_the_answer_that_ends_it() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let yes = json!({"subject": user("maria"), "action": action("ViewSite"), "resource": site("bakery")});
    let no = json!({"subject": user("eve"), "action": action("ViewSite"), "resource": site("bakery")});
    let bad = json!({"subject": user("eve")});
    let mut ask = |semantic: &str, items: &[&Value]| -> Vec<bool> {
        let body = json!({"evaluations": items, "options": {"evaluations_semantic": semantic, "unknown": {}}});
        let answer = http.post(SEVERAL, &body).ok().json();
        answer["evaluations"].as_array().unwrap().iter().map(|item| item["decision"].as_bool().unwrap()).collect()
    };
    let all = [&yes, &no, &bad, &yes];
    assert_eq!(ask("execute_all", &all), [true, false, false, true]);
    assert_eq!(ask("deny_on_first_deny", &all), [true, false]);
    assert_eq!(ask("deny_on_first_deny", &[&yes, &bad, &yes]), [true, false], "what failed is no permit");
    assert_eq!(ask("deny_on_first_deny", &[&bad, &yes]), [false]);
    assert_eq!(ask("deny_on_first_deny", &[&yes, &yes]), [true, true]);
    assert_eq!(ask("permit_on_first_permit", &[&no, &bad, &yes, &no]), [false, false, true]);
    assert_eq!(ask("permit_on_first_permit", &[&no, &bad]), [false, false]);
    assert_eq!(ask("permit_on_first_permit", &all), [true]);
    for options in
        [json!({"evaluations_semantic": "bogus_value"}), json!({"evaluations_semantic": 7}), json!([]), json!(1)]
    {
        let answer = http.post(SEVERAL, &json!({"evaluations": [yes], "options": options}));
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{options}");
    }
}

#[test]
fn an_item_that_is_no_question_is_answered_in_its_place() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let body = json!({"action": action("ViewSite"), "evaluations": [{"resource": site("bakery")},
        {"subject": user("maria"), "resource": site("bakery")}, 7, {"subject": "maria", "resource": site("bakery")}]});
    let answer = http.post(SEVERAL, &body).ok();
    let error = |message: &str| json!({"decision": false, "context": {"error": {"status": 400, "message": message}}});
    assert_eq!(
        answer.json(),
        json!({"evaluations": [error("`subject` is missing"), {"decision": true},
        error("an item of `evaluations` must be an object, not a number"), error("`subject` must be an object, not a string")]})
    );
    // Nobody is asked about: answered all the same, and by whoever may answer now.
    let nothing = http.post(SEVERAL, &json!({"evaluations": [{}]})).ok().json();
    assert_eq!(nothing, json!({"evaluations": [error("`subject` is missing")]}));
    // What is wrong with the whole is refused as a whole.
    for body in [
        json!([]),
        json!({"evaluations": {}}),
        json!({"evaluations": null}),
        json!({"evaluations": [{}], "subject": "maria"}),
        json!(null),
    ] {
        assert_eq!(http.post(SEVERAL, &body).status, 400, "{body}");
    }
    for (kind, body) in [("text/plain", "{}"), ("application/json", ""), ("application/json", "{")] {
        assert_eq!(http.call(&Call::new("POST", SEVERAL).header("content-type", kind).raw(body)).status, 400);
    }
}

#[test]
fn a_batch_has_its_own_limits() {
    let mut installation = Installation::with(&worlds::managed_story());
    installation.set("MANDATE_LIMITS__BATCH_ITEMS", "3").set("MANDATE_LIMITS__BATCH_BODY", "2048");
    let server = installation.start();
    let mut http = server.client();
    let batch = |items: usize| {
        json!({"subject": user("maria"), "action": action("ViewSite"), "resource": site("bakery"),
        "evaluations": vec![json!({}); items]})
    };
    assert_eq!(http.post(SEVERAL, &batch(3)).status, 200);
    let over = http.post(SEVERAL, &batch(4));
    assert_eq!((over.status, over.code().as_str()), (413, "too_many_items"), "{over}");
    let mut large = batch(1);
    large["context"] = json!({"text": "x".repeat(2048)});
    let over = http.post(SEVERAL, &large);
    assert_eq!((over.status, over.code().as_str()), (413, "body_too_large"), "{over}");
}

/// What stands beside the items is kept once: it may be as large as the body, and there may be fifty items.
#[test]
fn items_that_inherit_much_cost_little() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let mut subject = user("maria");
    subject["properties"] = json!({"x": vec![0; 100_000]});
    let body = json!({"subject": subject, "action": action("ViewSite"), "resource": site("bakery"), "evaluations": vec![json!({}); 50]});
    http.post(SEVERAL, &json!({"subject": body["subject"], "action": action("ViewSite"), "resource": site("bakery")}))
        .ok();
    let before = server.resident_kb();
    let answer = http.post(SEVERAL, &body).ok().json();
    assert_eq!(answer["evaluations"].as_array().unwrap().len(), 50);
    let grown = server.resident_kb().saturating_sub(before);
    assert!(grown < 30 * 1024, "{grown} KiB for one request of 200 KiB");
}

/// One module of the OpenID suite wants parts of an entity merged, which the standard does not; a setting does it.
#[test]
fn entities_are_merged_only_where_that_is_set() {
    let body = json!({"subject": user("maria"), "action": action("ViewSite"), "resource": {"type": "site"},
        "evaluations": [{"resource": {"id": "bakery", "properties": {}}}]});
    for (merge, decision) in [("entity", false), ("lenient", true)] {
        let mut installation = Installation::with(&worlds::managed_story());
        installation.set("MANDATE_BATCH_DEFAULT_MERGE", merge);
        let server = installation.start();
        assert_eq!(server.client().post(SEVERAL, &body).ok().json()["evaluations"][0]["decision"], decision, "{merge}");
    }
}

/// A question drawn from people, actions and sites that there are and that there are not; now and then none at all.
fn drawn(chance: &mut Seeded) -> Value {
    let people = ["maria", "dana", "bo", "kim", "jonas", "eve", "nobody at all", "sam"];
    let actions =
        ["ViewSite", "PublishSite", "EditContent", "ReclaimSite", "UnpublishSite", "PurchaseApp", "ExportSite", "Fly"];
    let sites = ["bakery", "nowhere", "no site"];
    let kinds = ["user", "user", "user", "user", "staff", "spaceship"];
    let mut question = json!({"subject": {"type": *chance.pick(&kinds), "id": *chance.pick(&people)},
        "action": action(chance.pick::<&str>(&actions)), "resource": site(chance.pick::<&str>(&sites))});
    if chance.chance(30) {
        question["context"] = json!({"explain": chance.chance(70), "account": "user:maria"});
    }
    if chance.chance(10) {
        let name = *chance.pick(&["subject", "action", "resource"]);
        if chance.chance(50) {
            question.as_object_mut().unwrap().remove(name);
        } else {
            question[name] = json!({"type": "user"});
        }
    }
    question
}

/// What the item would be answered if it were asked alone.
fn alone(http: &mut Client, question: &Value) -> Value {
    let answer = http.post(ONE, question);
    if answer.status == 200 {
        return answer.json();
    }
    json!({"decision": false, "context": {"error": {"status": answer.status, "message": answer.json()["detail"]}}})
}

#[test]
fn a_batch_is_the_map_of_its_items() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let mut chance = Seeded::new(0xBA7C);
    let mut seen = BTreeSet::new();
    for round in 0..120 * scale() {
        let mut items: Vec<Value> = (0..=chance.below(12)).map(|_| drawn(&mut chance)).collect();
        if chance.chance(50) {
            items.extend(items.clone());
        }
        let semantic = *chance.pick(&["execute_all", "deny_on_first_deny", "permit_on_first_permit"]);
        let body = json!({"evaluations": items, "options": {"evaluations_semantic": semantic}});
        let answer = http.post(SEVERAL, &body).ok();
        let mut wanted = Vec::new();
        for item in &items {
            let one = alone(&mut http, item);
            let allowed = one["decision"] == true;
            seen.insert((allowed, one.get("context").is_some()));
            wanted.push(one);
            if semantic == "deny_on_first_deny" && !allowed || semantic == "permit_on_first_permit" && allowed {
                break;
            }
        }
        assert_eq!(answer.json(), json!({ "evaluations": wanted }), "seed {}, round {round}: {body}", chance.seed());
    }
    assert_eq!(seen.len(), 4, "allows and denies, with and without more: {seen:?}");
}

/// Two sites that one change touches together are never seen one before and one after it.
#[test]
fn a_batch_is_answered_at_one_revision() {
    const SITES: usize = 12;
    let owned = |n: usize| {
        json!({"site": {"id": format!("s{n}"), "mode": "partner_managed", "client": "maria", "partner": "north",
        "since": "2025-01-01T00:00:00Z", "settling_until": "2025-01-08T00:00:00Z",
        "plan": {"tier": "premium", "status": "ok", "transferable": true}}})
    };
    let agency = json!({"agency": {"id": "north", "name": "North", "domain": "north.example", "verified": true,
        "status": "active", "members": {"dana": "admin"}}});
    let records: Vec<Value> = std::iter::once(agency).chain((0..SITES).map(owned)).collect();
    let mut installation = Installation::with(&records);
    // Room for few: sites are read again and again while the agency changes.
    installation.set("MANDATE_LIMITS__CACHE", "1048576");
    let server = installation.start();
    let address = server.address();
    let over = AtomicBool::new(false);
    let (mut batches, mut apart) = (BTreeSet::<bool>::new(), false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut http = Client::new(address);
            let mut active = true;
            while !over.load(Ordering::Acquire) {
                active = !active;
                let status = if active { "active" } else { "suspended" };
                let body = json!({"name": "North", "domain": "north.example", "verified": true, "status": status});
                http.put("/v1/agencies/north", &body).ok();
            }
        });
        let mut http = Client::new(address);
        let questions: Vec<Value> = (0..SITES).map(|n| json!({"resource": site(&format!("s{n}"))})).collect();
        let body = json!({"subject": user("dana"), "action": action("EditContent"), "evaluations": questions});
        let (begun, mut mixed) = (Instant::now(), None);
        // Both states were seen, and a mixture by questions that were asked alone.
        while mixed.is_none() && (batches.len() < 2 || !apart) && begun.elapsed() < Duration::from_mins(1) {
            let answer = http.post(SEVERAL, &body).ok().json();
            let decisions: BTreeSet<bool> =
                answer["evaluations"].as_array().unwrap().iter().map(|item| item["decision"] == true).collect();
            batches.extend(&decisions);
            mixed = (decisions.len() > 1).then_some(answer);
            let single: BTreeSet<bool> =
                (0..SITES).map(|n| http.may("user:dana", "EditContent", &format!("s{n}"), &json!({}))).collect();
            apart |= single.len() > 1;
        }
        over.store(true, Ordering::Release);
        assert_eq!(mixed, None, "one batch, two revisions");
        assert!(batches.len() == 2 && apart, "the control: asked alone they are seen apart");
    });
}

//! `POST /access/v1/search/…`: what is found is what a check allows, all of it and nothing else.
//!
//! The policy tests' whole cast is asked about: every person, action and site by checks (in batches), and the searches
//! held against that in both directions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http::{Call, Client, now_s},
    seeded::Seeded,
    server::{Installation, Server},
    walk::world::shipped,
    worlds,
};

const SEVERAL: &str = "/access/v1/evaluations";

fn path(what: &str) -> String {
    format!("/access/v1/search/{what}")
}
fn entity(kind: &str, id: &str) -> Value {
    json!({"type": kind, "id": id})
}
fn action(name: &str) -> Value {
    json!({ "name": name })
}
fn ids(answer: &Value, member: &str) -> Vec<String> {
    answer["results"].as_array().unwrap().iter().map(|found| found[member].as_str().unwrap().to_owned()).collect()
}
fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Who may do what where, by checks.
struct Checked {
    allowed: BTreeSet<(String, String, String)>,
    asked: usize,
}

fn check_all(
    http: &mut Client,
    people: &[(String, String)],
    actions: &[String],
    sites: &[String],
    context: &Value,
) -> Checked {
    let mut checked = Checked { allowed: BTreeSet::new(), asked: 0 };
    for (kind, person) in people {
        for name in actions {
            for some in sites.chunks(50) {
                let items: Vec<Value> = some.iter().map(|site| json!({"resource": entity("site", site)})).collect();
                let body = json!({"subject": entity(kind, person), "action": action(name), "context": context, "evaluations": items});
                let answer = http.post(SEVERAL, &body).ok().json();
                for (site, item) in some.iter().zip(answer["evaluations"].as_array().unwrap()) {
                    checked.asked += 1;
                    if item["decision"] == true {
                        checked.allowed.insert((format!("{kind}:{person}"), name.clone(), site.clone()));
                    }
                }
            }
        }
    }
    checked
}

/// Pages of a search to its end, with this limit.
fn all_pages(http: &mut Client, what: &str, body: &Value, limit: u64) -> Vec<Value> {
    let (mut found, mut token) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let mut body = body.clone();
        body["page"] =
            if token.is_empty() { json!({ "limit": limit }) } else { json!({"token": token, "limit": limit}) };
        let answer = http.post(&path(what), &body).ok();
        let said = answer.json();
        assert!(answer.text().starts_with(r#"{"page":{"next_token":""#), "`page` comes first: {answer}");
        let results = said["results"].as_array().unwrap();
        assert_eq!(said["page"]["count"], results.len());
        assert!(u64::try_from(results.len()).unwrap() <= limit);
        found.extend(results.clone());
        said["page"]["next_token"].as_str().unwrap().clone_into(&mut token);
        if token.is_empty() {
            return found;
        }
    }
    panic!("the pages do not end");
}

fn story() -> (Installation, Server) {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    (installation, server)
}

#[test]
fn results_are_bare_and_in_order() {
    let (_installation, server) = story();
    let mut http = server.client();
    let (view, bakery) = (action("ViewSite"), entity("site", "bakery"));
    let who = json!({"subject": {"type": "user"}, "action": view, "resource": bakery});
    let found = http.post(&path("subject"), &who).ok();
    assert!(found.text().starts_with(r#"{"results":[{"type":"user","id":""#), "{found}");
    let people = ids(&found.json(), "id");
    assert!(people.contains(&"maria".to_owned()) && people.contains(&"dana".to_owned()), "{people:?}");
    assert!(!people.contains(&"eve".to_owned()));
    assert!(people.is_sorted());
    for name in ["revision", "revision-token", "policy-fingerprint", "decision-id"] {
        assert!(found.header(name).is_some(), "{name}");
    }
    let whose =
        json!({"subject": entity("user", "maria"), "action": view, "resource": {"type": "site", "id": "stray"}});
    let found = http.post(&path("resource"), &whose).ok();
    assert_eq!(found.text(), r#"{"results":[{"type":"site","id":"bakery"}]}"#);
    let what = json!({"subject": entity("user", "maria"), "resource": bakery, "action": {}});
    let found = http.post(&path("action"), &what).ok();
    assert!(found.text().starts_with(r#"{"results":[{"name":""#), "{found}");
    let names = ids(&found.json(), "name");
    assert!(names.contains(&"ViewSite".to_owned()) && !names.contains(&"UpgradePlan".to_owned()), "{names:?}");
    // What nobody knows is found nowhere, and is no error.
    for (what, body) in [
        ("subject", json!({"subject": {"type": "spaceship"}, "action": view, "resource": bakery})),
        ("subject", json!({"subject": {"type": "user"}, "action": action("Fly"), "resource": bakery})),
        ("subject", json!({"subject": {"type": "user"}, "action": view, "resource": entity("site", "nowhere")})),
        ("subject", json!({"subject": {"type": "user"}, "action": view, "resource": entity("spaceship", "bakery")})),
        ("subject", json!({"subject": {"type": "service"}, "action": view, "resource": bakery})),
        ("resource", json!({"subject": entity("user", "nobody"), "action": view, "resource": {"type": "site"}})),
        ("resource", json!({"subject": entity("spaceship", "maria"), "action": view, "resource": {"type": "site"}})),
        ("resource", json!({"subject": entity("user", "maria"), "action": view, "resource": {"type": "agency"}})),
        (
            "resource",
            json!({"subject": entity("user", "maria"), "action": action("Fly"), "resource": {"type": "site"}}),
        ),
        ("action", json!({"subject": entity("user", "nobody at all"), "resource": bakery})),
        ("action", json!({"subject": entity("user", "maria"), "resource": entity("site", "nowhere")})),
        ("action", json!({"subject": entity("user", "eve"), "resource": bakery})),
    ] {
        assert_eq!(http.post(&path(what), &body).ok().text(), r#"{"results":[]}"#, "{what}: {body}");
    }
    // A search that is none is refused; the same body may be one elsewhere.
    let open = json!({"subject": {"type": "user"}, "action": view, "resource": {"type": "site"}});
    for (what, body) in
        [("subject", &open), ("resource", &open), ("action", &open), ("subject", &json!([])), ("action", &json!({}))]
    {
        let answer = http.post(&path(what), body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{what}: {answer}");
    }
    for what in ["subject", "resource", "action"] {
        assert_eq!(http.call(&Call::new("GET", &path(what))).status, 405);
        assert_eq!(
            http.call(&Call::new("POST", &path(what)).header("content-type", "text/plain").raw("{}")).status,
            400
        );
    }
    // What is said about somebody finds them no more.
    let mut lie = what.clone();
    lie["subject"] = json!({"type": "user", "id": "eve", "properties": {"role": "Owner"}});
    assert_eq!(http.post(&path("action"), &lie).ok().text(), r#"{"results":[]}"#);
}

#[test]
fn pages_go_on_where_they_ended_and_belong_to_one_search() {
    const SITES: usize = 25;
    let own = |n: usize| {
        json!({"site": {"id": format!("s{n:02}"), "mode": "self_managed", "owner": "user:maria",
        "plan": {"tier": "free", "status": "ok", "transferable": true}}})
    };
    let installation = Installation::with(&(0..SITES).map(own).collect::<Vec<_>>());
    let mut server = installation.start();
    let mut http = server.client();
    let body =
        json!({"subject": entity("user", "maria"), "action": action("EditContent"), "resource": {"type": "site"}});
    let all: Vec<String> = (0..SITES).map(|n| format!("s{n:02}")).collect();
    for limit in [1, 7, 24, 25, 26, 1_000] {
        let found = all_pages(&mut http, "resource", &body, limit);
        let found: Vec<&str> = found.iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(found, all, "pages of {limit}");
    }
    assert_eq!(ids(&http.post(&path("resource"), &body).ok().json(), "id"), all);
    let page = |page: Value| {
        let mut body = body.clone();
        body["page"] = page;
        body
    };
    // None are wanted, and the token says that there are some: it goes on at the first.
    let none = http.post(&path("resource"), &page(json!({"limit": 0}))).ok().json();
    assert_eq!((&none["results"], &none["page"]["count"]), (&json!([]), &json!(0)));
    assert_ne!(none["page"]["next_token"], "");
    let nobodys = json!({"subject": entity("user", "eve"), "action": action("EditContent"), "resource": {"type": "site"}, "page": {"limit": 0}});
    let nobodys = http.post(&path("resource"), &nobodys).ok().json();
    assert_eq!(nobodys["page"], json!({"next_token": "", "count": 0, "total": 0}));
    let first = http.post(&path("resource"), &page(json!({"limit": 10, "custom": 1}))).ok().json();
    let token = first["page"]["next_token"].as_str().unwrap().to_owned();
    // A token carries its limit, and goes on in any process on this database.
    server.stop();
    let server = installation.start();
    let mut http = server.client();
    let second = http.post(&path("resource"), &page(json!({ "token": token }))).ok().json();
    assert_eq!(ids(&second, "id"), all[10..20]);
    // What is new meanwhile is found if it lies ahead.
    http.put("/v1/sites/s15a", &json!({"mode": "self_managed", "owner": "user:maria", "plan": {"tier": "free"}})).ok();
    let second = http.post(&path("resource"), &page(json!({"token": token, "limit": 10}))).ok().json();
    assert_eq!(ids(&second, "id")[4..8], texts(&["s14", "s15", "s15a", "s16"]));
    // Any other search, limit or text is refused.
    let mut others =
        vec![(page(json!({"token": token, "limit": 9})), "resource"), (page(json!({"token": "x"})), "resource")];
    for (name, value) in
        [("subject", entity("user", "eve")), ("action", action("ViewSite")), ("context", json!({"a": 1}))]
    {
        let mut other = page(json!({ "token": token }));
        other[name] = value;
        others.push((other, "resource"));
    }
    let mut subjects = page(json!({ "token": token }));
    (subjects["subject"], subjects["resource"]) = (json!({"type": "user"}), entity("site", "s01"));
    others.push((subjects, "subject"));
    for cut in [1, token.len() / 2, token.len() - 1] {
        others.push((page(json!({"token": token[..cut]})), "resource"));
    }
    for (body, what) in others {
        let answer = http.post(&path(what), &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_page"), "{body}: {answer}");
    }
    // Another installation's token is nobody's here.
    let another = Installation::with(&(0..SITES).map(own).collect::<Vec<_>>());
    let another = another.start();
    let foreign = another.client().post(&path("resource"), &page(json!({"limit": 10}))).ok().json();
    let foreign = page(json!({"token": foreign["page"]["next_token"]}));
    assert_eq!(http.post(&path("resource"), &foreign).code(), "invalid_page");
    // The default, spelled out, is the limit that was not named.
    let many: Vec<Value> = (0..150)
        .map(own)
        .map(|mut site| {
            site["site"]["owner"] = json!("user:tom");
            site
        })
        .collect();
    let toms = Installation::with(&many);
    let toms = toms.start();
    let of_tom = |page: Value| json!({"subject": entity("user", "tom"), "action": action("EditContent"), "resource": {"type": "site"}, "page": page});
    let first = toms.client().post(&path("resource"), &of_tom(json!({}))).ok().json();
    let rest = json!({"token": first["page"]["next_token"], "limit": 100});
    assert_eq!(
        toms.client().post(&path("resource"), &of_tom(rest)).ok().json()["page"],
        json!({"next_token": "", "count": 50})
    );
    // Actions in pages.
    let what = json!({"subject": entity("user", "maria"), "resource": entity("site", "s00")});
    let all_actions = http.post(&path("action"), &what).ok().json()["results"].clone();
    for limit in [1, 7, 1_000] {
        assert_eq!(json!(all_pages(&mut http, "action", &what, limit)), all_actions, "pages of {limit}");
    }
    // How many there are is told without any of them.
    let mut none = what.clone();
    none["page"] = json!({"limit": 0});
    let none = http.post(&path("action"), &none).ok().json();
    assert_eq!((&none["results"], &none["page"]["total"]), (&json!([]), &json!(all_actions.as_array().unwrap().len())));
    // People in pages.
    for user in ["ann", "bea", "cid", "dan"] {
        let give = json!({"actor": "user:maria", "auth_time": now_s(), "command": "grant_role", "user": user, "role": "Viewer"});
        http.command("s00", &format!("give-{user}"), &give).ok();
    }
    let who = json!({"subject": {"type": "user"}, "action": action("ViewSite"), "resource": entity("site", "s00")});
    for limit in [1, 2, 3, 5, 9] {
        let found = all_pages(&mut http, "subject", &who, limit);
        let found: Vec<&str> = found.iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(found, ["ann", "bea", "cid", "dan", "maria"], "pages of {limit}");
    }
}

/// Search and check never disagree, in either direction, over the whole cast.
#[test]
fn what_is_found_is_what_a_check_allows() {
    let world = worlds::fixture("cast");
    let records = worlds::records(&world);
    let installation = Installation::with(&records);
    let server = installation.start();
    let mut http = server.client();
    let sites: Vec<String> =
        records.iter().filter_map(|record| record["site"]["id"].as_str()).map(str::to_owned).collect();
    let mut people: Vec<(String, String)> = world
        .people
        .iter()
        .map(|person| (person.principal.kind().to_owned(), person.principal.id().to_owned()))
        .collect();
    people.push(("user".to_owned(), "a-stranger".to_owned()));
    people.sort();
    people.dedup();
    let actions: Vec<String> = shipped().bundle().actions().map(|(_, action)| action.name.to_string()).collect();
    assert!(
        actions.len() > 70 && sites.len() > 30 && people.len() > 20,
        "{} {} {}",
        actions.len(),
        sites.len(),
        people.len()
    );
    let mut chance = Seeded::new(0x5EA7C);
    let (mut asked, mut searched, mut results) = (0, 0, 0);
    for context in [json!({}), json!({"auth_time": now_s(), "case": "TS-1"})] {
        let checked = check_all(&mut http, &people, &actions, &sites, &context);
        asked += checked.asked;
        let mut by: BTreeMap<(&str, &str, &str), BTreeSet<String>> = BTreeMap::new();
        for (person, name, site) in &checked.allowed {
            by.entry(("", name, site)).or_default().insert(person.clone());
            by.entry((person, "", site)).or_default().insert(name.clone());
            by.entry((person, name, "")).or_default().insert(site.clone());
        }
        let known = |key: &(&str, &str, &str)| by.get(key).cloned().unwrap_or_default();
        for name in &actions {
            for site in sites.iter().filter(|_| chance.chance(20)) {
                let mut found = BTreeSet::new();
                for kind in ["user", "staff"] {
                    let body = json!({"subject": {"type": kind}, "action": action(name), "resource": entity("site", site), "context": context});
                    let answer = http.post(&path("subject"), &body).ok().json();
                    found.extend(ids(&answer, "id").into_iter().map(|id| format!("{kind}:{id}")));
                }
                assert_eq!(found, known(&("", name, site)), "who may {name} on {site}? {context}");
                (searched, results) = (searched + 1, results + found.len());
            }
        }
        for (kind, person) in &people {
            let full = format!("{kind}:{person}");
            for name in actions.iter().filter(|_| chance.chance(20)) {
                let body = json!({"subject": entity(kind, person), "action": action(name), "resource": {"type": "site"}, "context": context});
                let found: BTreeSet<String> =
                    ids(&http.post(&path("resource"), &body).ok().json(), "id").into_iter().collect();
                assert_eq!(found, known(&(&full, name, "")), "where may {full} {name}? {context}");
                (searched, results) = (searched + 1, results + found.len());
            }
            for site in sites.iter().filter(|_| chance.chance(40)) {
                let body =
                    json!({"subject": entity(kind, person), "resource": entity("site", site), "context": context});
                let found: BTreeSet<String> =
                    ids(&http.post(&path("action"), &body).ok().json(), "name").into_iter().collect();
                assert_eq!(found, known(&(&full, "", site)), "what may {full} on {site}? {context}");
                (searched, results) = (searched + 1, results + found.len());
            }
        }
    }
    println!("seed {}: {asked} checks, {searched} searches with {results} results", chance.seed());
    assert!(asked >= 100_000 && searched > 1_000 && results > 10_000, "{asked} {searched} {results}");
}

/// While roles come and go: what a page shows is what was so at its revision, and there is always a page.
#[test]
fn a_page_is_whole_at_its_revision_whatever_is_changed_meanwhile() {
    let (_installation, server) = story();
    let address = server.address();
    let over = AtomicBool::new(false);
    // Each commit's revision, and who of the two has the role from there on: always one of them, from the first on.
    let held: Mutex<Vec<(u64, [bool; 2])>> = Mutex::default();
    let mut seen: Vec<(&str, u64, BTreeSet<String>)> = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut http = Client::new(address);
            let mut has = [false, false];
            for n in 0.. {
                if over.load(Ordering::Acquire) && n > 100 {
                    return;
                }
                // From the first one on always one of them has it, and by turns both.
                let (who, gives) = match n {
                    0 => (0, true),
                    n => [(1, false), (1, true), (0, false), (0, true)][n % 4],
                };
                let user = ["xena", "yuri"][who];
                let mut body =
                    json!({"actor": "user:maria", "auth_time": now_s(), "user": user, "command": "revoke_role"});
                if gives {
                    (body["command"], body["role"]) = (json!("grant_role"), json!("Viewer"));
                }
                let answer = http.command("bakery", &format!("turn-{n}"), &body).ok();
                has[who] = gives;
                held.lock().unwrap().push((answer.revision(), has));
            }
        });
        let mut http = Client::new(address);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            let who = json!({"subject": {"type": "user"}, "action": action("ViewSite"), "resource": entity("site", "bakery")});
            let answer = http.post(&path("subject"), &who).ok();
            seen.push(("subject", answer.revision(), ids(&answer.json(), "id").into_iter().collect()));
            for user in ["xena", "yuri"] {
                let body = json!({"subject": entity("user", user), "action": action("ViewSite"), "resource": {"type": "site"}});
                let answer = http.post(&path("resource"), &body).ok();
                seen.push((user, answer.revision(), ids(&answer.json(), "id").into_iter().collect()));
            }
        }
        over.store(true, Ordering::Release);
    });
    let held = held.into_inner().unwrap();
    let at =
        |revision: u64| held.iter().rev().find(|(from, _)| *from <= revision).map_or([false, false], |(_, has)| *has);
    for (what, revision, found) in &seen {
        let has = at(*revision);
        match *what {
            "subject" => {
                assert_eq!([found.contains("xena"), found.contains("yuri")], has, "revision {revision}: {found:?}");
            }
            user => assert_eq!(
                found.contains("bakery"),
                has[usize::from(user == "yuri")],
                "{user}, revision {revision}: {found:?}"
            ),
        }
    }
    assert!(seen.len() > 50 && held.len() > 50, "{} answers, {} changes", seen.len(), held.len());
}

//! Policy domains beside the sites.

use std::path::Path;

use serde_json::json;

use crate::{
    http::{Call, Client},
    matrix::copy,
    server::Installation,
    worlds,
};

const MANIFEST: &str = r#"
entities = "entities.json"
[types.user]
entity = "Reader"
trusted = ["grade"]
[types.book]
entity = "Book"
"#;
const SCHEMA: &str = "entity Reader { grade?: Long };\nentity Book { level: Long };\n\
    action read, burn appliesTo { principal: Reader, resource: Book, context: { action?: { loud?: Bool } } };\n";
const POLICIES: &str = r#"
@id("grade") @doc("Readers of the grade read.")
permit (principal, action == Action::"read", resource) when { principal has grade && principal.grade >= resource.level };
@id("loud") @doc("Nobody reads aloud.")
forbid (principal, action == Action::"read", resource) when { context has action && context.action has loud && context.action.loud };
"#;

/// A library of a hundred books, of which a reader of grade N may read the first N+1.
pub fn library(folder: &Path) {
    std::fs::create_dir_all(folder.join("policies")).unwrap();
    let mut entities = vec![
        json!({"uid": {"type": "Reader", "id": "ann"}, "attrs": {"grade": 49}, "parents": []}),
        json!({"uid": {"type": "Reader", "id": "maria"}, "attrs": {}, "parents": []}),
    ];
    for n in 0..100 {
        let uid = json!({"type": "Book", "id": format!("b{n:02}")});
        entities.push(json!({"uid": uid, "attrs": {"level": n}, "parents": []}));
    }
    for (name, text) in [
        ("domain.toml", MANIFEST),
        ("schema.cedarschema", SCHEMA),
        ("policies/all.cedar", POLICIES),
        ("entities.json", &json!(entities).to_string()),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

fn question(subject: &str, action: &str, resource: (&str, &str)) -> serde_json::Value {
    json!({"subject": {"type": "user", "id": subject}, "action": {"name": action},
        "resource": {"type": resource.0, "id": resource.1}})
}

fn may(http: &mut Client, place: &str, subject: &str, action: &str, resource: (&str, &str)) -> String {
    http.post(&format!("{place}/access/v1/evaluation"), &question(subject, action, resource)).ok().text()
}

#[test]
fn a_domain_decides_beside_the_sites_and_neither_knows_the_other() {
    let folder = tempfile::tempdir().unwrap();
    library(folder.path());
    let mut installation = Installation::with(&worlds::story());
    installation.set("MANDATE_DOMAINS", format!("books={}", folder.path().display()));
    installation.set("MANDATE_PUBLIC_URL", "https://pdp.example/one");
    let server = installation.start();
    let mut http = server.client();
    let (yes, no) = (r#"{"decision":true}"#, r#"{"decision":false}"#);
    for (place, subject, action, resource, answer) in [
        ("/books", "ann", "read", ("book", "b49"), yes),
        ("/books", "ann", "read", ("book", "b50"), no),
        ("/books", "ann", "burn", ("book", "b01"), no),
        ("", "maria", "PublishSite", ("site", "bakery"), yes),
        ("/books", "maria", "PublishSite", ("site", "bakery"), no),
        ("/books", "maria", "read", ("site", "bakery"), no),
        ("", "ann", "read", ("book", "b01"), no),
        ("", "maria", "read", ("site", "bakery"), no),
    ] {
        assert_eq!(may(&mut http, place, subject, action, resource), answer, "{place} {subject} {action} {resource:?}");
    }
    // Explained, in a batch, with what may be said.
    let path = "/books/access/v1/evaluations";
    let batch = json!({"subject": {"type": "user", "id": "ann"}, "action": {"name": "read"}, "context": {"explain": true},
        "evaluations": [{"resource": {"type": "book", "id": "b10"}}, {"resource": {"type": "book"}},
            {"subject": {"type": "user", "id": "ann", "properties": {"grade": 5, "name": "x"}}, "resource": {"type": "book", "id": "b10"}},
            {"action": {"name": "read", "properties": {"loud": true}}, "resource": {"type": "book", "id": "b10"}},
            {"action": {"name": "sell"}, "resource": {"type": "book", "id": "b10"}}]});
    let answer = http.post(path, &batch).ok();
    let doc = |id: &str, text: &str| json!({ id: text });
    assert_eq!(
        answer.json(),
        json!({"evaluations": [
            {"decision": true, "context": {"policies": ["grade"], "docs": doc("grade", "Readers of the grade read.")}},
            {"decision": false, "context": {"error": {"status": 400, "message": "`resource.id` is missing"}}},
            {"decision": false, "context": {"reason": "not_permitted", "policies": [], "docs": {}}},
            {"decision": false, "context": {"reason": "forbidden", "policies": ["loud"], "docs": doc("loud", "Nobody reads aloud.")}},
            {"decision": false, "context": {"reason": "unknown_action", "policies": [], "docs": {}}},
        ]})
    );
    assert!(answer.header("policy-fingerprint").unwrap().starts_with("sha256:"));
    assert!(answer.header("decision-id").is_some() && answer.header("revision").is_none(), "a folder has no revisions");
    let sites = http.post("/access/v1/evaluation", &question("maria", "PublishSite", ("site", "bakery")));
    assert_ne!(sites.header("policy-fingerprint"), answer.header("policy-fingerprint"));
    // Discovery.
    let document = http.get("/.well-known/authzen-configuration/one/books").ok().json();
    assert_eq!(document["policy_decision_point"], "https://pdp.example/one/books");
    assert_eq!(document["search_action_endpoint"], "https://pdp.example/one/books/access/v1/search/action");
    let own = http.get("/.well-known/authzen-configuration/one").ok().json();
    assert_eq!(own["policy_decision_point"], "https://pdp.example/one");
    for nobody in [
        "/.well-known/authzen-configuration/books",
        "/.well-known/authzen-configuration",
        "/films/access/v1/evaluation",
    ] {
        assert_eq!(http.get(nobody).status, 404, "{nobody}");
    }
    assert_eq!(http.call(&Call::new("GET", "/books/access/v1/evaluation")).status, 405);
}

#[test]
fn searches_of_a_domain_are_its_checks() {
    let folder = tempfile::tempdir().unwrap();
    library(folder.path());
    let other = tempfile::tempdir().unwrap();
    copy(folder.path(), other.path());
    let mut installation = Installation::new();
    let domains = format!("books={},films={}", folder.path().display(), other.path().display());
    installation.set("MANDATE_DOMAINS", domains);
    let server = installation.start();
    let mut http = server.client();
    let mut page = json!({"limit": 7});
    let search =
        json!({"subject": {"type": "user", "id": "ann"}, "action": {"name": "read"}, "resource": {"type": "book"}});
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let mut body = search.clone();
        body["page"] = page.clone();
        let answer = http.post("/books/access/v1/search/resource", &body).ok().json();
        found.extend(answer["results"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let next = answer["page"]["next_token"].as_str().unwrap().to_owned();
        if next.is_empty() {
            break;
        }
        // A token is of its own domain's search.
        let mut elsewhere = search.clone();
        elsewhere["page"] = json!({ "token": next });
        let refused = http.post("/films/access/v1/search/resource", &elsewhere);
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_page"), "{refused}");
        page = json!({ "token": next });
    }
    let allowed: Vec<String> = (0..100)
        .map(|n| format!("b{n:02}"))
        .filter(|book| may(&mut http, "/books", "ann", "read", ("book", book)).contains("true"))
        .collect();
    assert_eq!((found, pages), (allowed.clone(), 8));
    assert_eq!(allowed.len(), 50);
    let whole = http.post("/books/access/v1/search/resource", &search).ok();
    assert!(whole.text().starts_with(r#"{"results":[{"type":"book","id":"b00"},"#), "{whole}");
    for (path, body, results) in [
        (
            "subject",
            json!({"subject": {"type": "user"}, "action": {"name": "read"}, "resource": {"type": "book", "id": "b03"}}),
            r#"{"results":[{"type":"user","id":"ann"}]}"#,
        ),
        (
            "subject",
            json!({"subject": {"type": "robot"}, "action": {"name": "read"}, "resource": {"type": "book", "id": "b03"}}),
            r#"{"results":[]}"#,
        ),
        (
            "action",
            json!({"subject": {"type": "user", "id": "ann"}, "resource": {"type": "book", "id": "b03"}}),
            r#"{"results":[{"name":"read"}]}"#,
        ),
        (
            "action",
            json!({"subject": {"type": "user", "id": "nobody"}, "resource": {"type": "book", "id": "b03"}}),
            r#"{"results":[]}"#,
        ),
        (
            "resource",
            json!({"subject": {"type": "user", "id": "maria", "properties": {"grade": 1}}, "action": {"name": "read"}, "resource": {"type": "book", "id": "stray"}}),
            r#"{"results":[{"type":"book","id":"b00"},{"type":"book","id":"b01"}]}"#,
        ),
    ] {
        assert_eq!(http.post(&format!("/books/access/v1/search/{path}"), &body).ok().text(), results, "{path} {body}");
    }
}

#[test]
fn a_folder_that_is_no_domain_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    library(folder.path());
    std::fs::write(folder.path().join("policies/more.cedar"), "permit (principal, action, resource);").unwrap();
    let place = folder.path().display().to_string();
    for (domains, said) in [
        (
            format!("books={place}"),
            vec![format!("{place}/policies/more.cedar"), "no `@id`".to_owned(), "`books`".to_owned()],
        ),
        (format!("books={place}/nowhere"), vec!["cannot read".to_owned(), format!("{place}/nowhere")]),
        (format!("v1={place}"), vec!["`domains`".to_owned(), "the service's own".to_owned()]),
        (place.clone(), vec!["NAME=FOLDER".to_owned()]),
    ] {
        let mut installation = Installation::new();
        installation.set("MANDATE_DOMAINS", domains.as_str());
        let refused = installation.try_start().map(drop).expect_err(&domains);
        for word in said {
            assert!(refused.log.contains(&word), "{domains} without {word}: {}", refused.log);
        }
    }
}

//! Import and export: everything survives the way out and in again, and bad lines are named.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    program::{Run, run, run_reading},
    server::Installation,
};

/// One of everything that a site can have.
fn records() -> Vec<Value> {
    let agency = |id: &str, name: &str, members: Value| {
        json!({"agency": {"id": id, "name": name, "domain": format!("{id}.example"), "verified": true,
            "status": "active", "members": members}})
    };
    let plan = json!({"tier": "premium", "status": "ok", "name": "Business", "price": "29.00", "currency": "EUR",
        "next_charge_at": "2026-12-15T00:00:00Z", "transferable": true});
    vec![
        agency("harbour-web", "Harbour Web", json!({"rita": "admin"})),
        agency("studio-north", "Studio North", json!({"bo": "member", "dana": "admin", "kim": "billing"})),
        json!({"staff": {"id": "sam", "role": "support"}}),
        json!({"staff": {"id": "tess", "role": "trust_safety"}}),
        json!({"site": {"id": "atelier", "mode": "self_managed", "owner": "user:maria", "plan": plan,
            "published": false,
            "open_handover": {"id": "0198c0de-0000-7000-8000-000000000001", "site": "atelier",
                "kind": "partner_handover", "initiator": "user:maria", "initiated_by": "maria",
                "to": "agency:harbour-web", "status": "open", "consents_needed": ["agency:harbour-web"],
                "consents_given": [], "offered_at": "2026-11-20T09:00:00Z", "expires_at": "2036-12-04T09:00:00Z",
                "revision_at_offer": 7, "preview_digest": "sha256:0"}}}),
        json!({"site": {"id": "bakery", "mode": "partner_managed", "client": "maria", "partner": "studio-north",
            "since": "2026-11-01T09:00:00Z", "settling_until": "2026-11-08T09:00:00Z", "plan_before": plan,
            "freeze_used": true,
            "return_pending": {"reason": "reclaim", "requested_at": "2026-11-20T09:00:00Z",
                "effective_at": "2036-11-25T09:00:00Z", "locked": true, "keep": ["lee"]},
            "plan": plan, "published": true,
            "domains": [{"name": "bakery.example", "holder": "user:maria"}],
            "frozen": {"until": "2036-11-26T09:00:00Z", "case": "case-7"},
            "contributors": {"jonas": {"role": "CoOwner", "grantor": "user:maria", "side": "client"},
                "lee": {"role": "Viewer", "grantor": "agency:studio-north", "side": "partner"}},
            "grants": {"bo": {"template": "builder", "expires_at": "2036-01-01T00:00:00Z"}},
            "blocked": ["kim"],
            "confirmations": [{"action": "RefundOrder", "operation": "refund-9", "expires_at": "2036-01-01T00:00:00Z"}],
            "sessions": [{"agent": "sam", "granted_by": "user:maria", "until": "2036-01-01T00:00:00Z"}]}}),
        json!({"site": {"id": "florist", "mode": "partner_built", "owner": "agency:studio-north", "plan": plan,
            "published": true, "trashed_at": "2026-11-01T09:00:00Z"}}),
        json!({"site": {"id": "gone", "mode": "purged", "plan": {"tier": "free"}}}),
    ]
}

fn lines(records: &[Value]) -> String {
    records.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

fn import(folder: &Path, database: &str, text: &str) -> Run {
    run_reading(folder, &["import", "-", "--database-url", &format!("sqlite:{database}")], text)
}

fn export(folder: &Path, database: &str) -> String {
    let ended = run(folder, &["export", "--database-url", &format!("sqlite:{database}")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.out
}

#[test]
fn what_goes_out_comes_in_again() {
    let here = TempDir::new().unwrap();
    let first = import(here.path(), "one.db", &lines(&records()));
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(first.out, "imported: agencies 2, staff 2, sites 4; already there: lines 0\n");
    let out = export(here.path(), "one.db");
    assert_eq!(import(here.path(), "two.db", &out).code, Some(0));
    assert_eq!(export(here.path(), "two.db"), out);
    for (line, record) in out.lines().zip(records()) {
        let exported: Value = serde_json::from_str(line).unwrap();
        for (kind, fields) in record.as_object().unwrap() {
            for (field, value) in fields.as_object().unwrap().iter().filter(|(field, _)| *field != "plan") {
                assert_eq!(exported[kind][field], *value, "{field} of {record}");
            }
        }
    }
    let again = import(here.path(), "two.db", &out);
    assert_eq!(again.out, "imported: agencies 0, staff 0, sites 0; already there: lines 8\n", "{again:?}");
    let to_file = run(here.path(), &["export", "file.jsonl", "--database-url", "sqlite:two.db"]);
    assert_eq!(to_file.code, Some(0));
    assert_eq!(fs::read_to_string(here.path().join("file.jsonl")).unwrap(), out);
    assert!(!here.path().join("file.jsonl.part").exists());
    assert_eq!(run(here.path(), &["audit", "verify", "--database-url", "sqlite:two.db"]).code, Some(0));
}

#[test]
fn what_was_imported_is_served() {
    let installation = Installation::new();
    let ended = import(installation.folder(), "data/mandate.db", &lines(&records()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let server = installation.start();
    let mut http = server.client();
    assert!(http.may("user:maria", "ViewSite", "bakery", &json!({})));
    assert!(!http.may("user:dana", "EditContent", "bakery", &json!({})), "frozen and locked");
    let audit = http.get("/v1/sites/bakery/audit").ok().json();
    assert_eq!(audit["items"][0]["type"], "SiteImported");
    assert_eq!(installation.run(&["export"]).code, Some(0), "beside a running server");
}

#[test]
fn bad_lines_are_named_and_nothing_of_their_batch_stays() {
    let site = |change: Value| {
        let mut site = json!({"id": "s", "mode": "self_managed", "owner": "user:maria", "plan": {"tier": "free"}});
        for (field, value) in change.as_object().unwrap() {
            site[field] = value.clone();
        }
        json!({ "site": site }).to_string()
    };
    let good = site(json!({"id": "good"}));
    let unreadable = [
        ("nonsense".to_owned(), "not JSON"),
        (r#"{"staff":{"id":"sam","role":"support"}"#.to_owned(), "not JSON"),
        (r#"{"shop":{}}"#.to_owned(), "`shop`"),
        (r#"{"site":{"id":"s"}}"#.to_owned(), "`mode`"),
        (r#"{"staff":{"id":"sam","role":"boss"}}"#.to_owned(), "`boss`"),
        (site(json!({"id": "a b"})), "`a b`"),
        (site(json!({"colour": "red"})), "`colour`"),
    ];
    let client_of_nobody = json!({"mode": "partner_managed", "owner": null, "client": "maria", "partner": "nobody"});
    let role = |role: &str| json!({"contributors": {"x": {"role": role, "grantor": "user:maria", "side": "client"}}});
    let evil = json!({"agency": {"id": "x", "name": "see http://evil.example/", "domain": "x.example",
        "verified": true, "status": "active"}});
    let unfit = [
        (site(json!({"owner": null})), "`owner`"),
        (site(json!({"owner": "agency:studio-north"})), "`studio-north`"),
        (site(client_of_nobody), "`nobody`"),
        (site(role("Owner")), "`Owner`"),
        (site(role("King")), "WebsiteManager"),
        (site(json!({"domains": [{"name": "Not A Host", "holder": "user:maria"}]})), "`Not A Host`"),
        (site(json!({"id": "good", "published": true})), "another site `good`"),
        (evil.to_string(), "`name`"),
    ];
    for cases in [&unreadable[..], &unfit] {
        let here = TempDir::new().unwrap();
        let bad: Vec<&str> = cases.iter().map(|(line, _)| line.as_str()).collect();
        let ended = import(here.path(), "one.db", &format!("{good}\n\n{}\n", bad.join("\n")));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for (n, (line, words)) in cases.iter().enumerate() {
            let start = format!("line {}: ", n + 3);
            let told = ended.err.lines().find(|said| said.starts_with(&start));
            assert!(told.is_some_and(|told| told.contains(words)), "{line}: {}", ended.err);
        }
        assert!(ended.err.ends_with("nothing was imported\n"), "{}", ended.err);
        assert_eq!(export(here.path(), "one.db"), "");
    }
}

#[test]
fn earlier_batches_stay_and_are_passed_over_next_time() {
    let here = TempDir::new().unwrap();
    let site = |n: usize| {
        format!(r#"{{"site":{{"id":"s{n:04}","mode":"self_managed","owner":"user:maria","plan":{{"tier":"free"}}}}}}"#)
    };
    let mut text: Vec<String> = (1..=1_200).map(site).collect();
    text.push("oops".to_owned());
    let ended = import(here.path(), "one.db", &text.join("\n"));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("line 1201: ") && ended.err.contains("lines 1 to 1000 are imported"), "{}", ended.err);
    assert_eq!(export(here.path(), "one.db").lines().count(), 1_000);
    text.pop();
    let ended = import(here.path(), "one.db", &text.join("\n"));
    assert_eq!(ended.out, "imported: agencies 0, staff 0, sites 200; already there: lines 1000\n", "{ended:?}");
    assert_eq!(export(here.path(), "one.db").lines().count(), 1_200);
}

//! Exit codes, and what is said about the obvious mistakes.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::{
    program::{program, run, run_reading},
    server::Installation,
};

const BAKERY: &str =
    r#"{"site":{"id":"bakery","mode":"self_managed","owner":"user:maria","plan":{"tier":"premium"},"published":true}}"#;

fn bakery() -> serde_json::Value {
    json!({"mode": "self_managed", "owner": "user:maria", "plan": {"tier": "premium"}})
}

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

#[test]
fn every_help_has_an_example() {
    let here = folder();
    let commands = [
        &[][..],
        &["demo"],
        &["serve"],
        &["check"],
        &["import"],
        &["export"],
        &["audit"],
        &["audit", "verify"],
        &["health"],
        &["policy"],
        &["policy", "validate"],
        &["policy", "test"],
        &["policy", "matrix"],
        &["policy", "decisions"],
    ];
    for command in commands {
        let words: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = run(here.path(), &words);
        assert_eq!(help.code, Some(0), "{words:?}");
        assert!(help.out.contains("Examples:\n  mandate "), "{words:?}: {}", help.out);
    }
}

#[test]
fn a_usage_error_is_64() {
    let here = folder();
    for words in [
        &[][..],
        &["nonsense"],
        &["check", "maria"],
        &["check", "maria", "PublishSite", "bak ery"],
        &["check", "agency:studio-north", "PublishSite", "bakery"],
        &["check", "maria", "PublishSite", "bakery", "--auth-time", "yesterday"],
        &["check", "maria", "PublishSite", "bakery", "--server", "ftp://x"],
        &["check", "maria", "PublishSite", "bakery", "--server", "http://127.0.0.1:1", "--now", "2026-11-24T09:00:00Z"],
        &["serve", "--listen", "0.0.0.0:8080"],
        &["serve", "--listen", "localhost:8080"],
        &["serve", "--timers-settle", "soon"],
        &["serve", "--database-url", "mysql://x/y"],
        &["demo", "--listen", "0.0.0.0:8080"],
    ] {
        let ended = run(here.path(), words);
        assert_eq!(ended.code, Some(64), "{words:?}: {ended:?}");
        assert!(!ended.err.is_empty() && ended.out.is_empty(), "{words:?}: {ended:?}");
    }
    assert!(run(here.path(), &["serve", "--listen", "0.0.0.0:8080"]).err.contains("without authentication"));
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let here = folder();
    fs::write(here.path().join("wrong.toml"), "lisen = '127.0.0.1:1'\n").unwrap();
    let ended = run(here.path(), &["serve", "--config", "wrong.toml"]);
    assert_eq!(ended.code, Some(64));
    assert!(ended.err.contains("wrong.toml") && ended.err.contains("`lisen`"), "{}", ended.err);
    let ended = program(here.path()).arg("serve").env("MANDATE_TIMERS__SETLE", "1d").output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(64) && err.contains("`setle`") && err.contains("environment"), "{err}");
}

#[test]
fn a_missing_file_is_named() {
    let here = folder();
    for words in [
        &["serve", "--config", "nowhere.toml"][..],
        &["check", "maria", "PublishSite", "bakery", "--data", "nowhere.jsonl"],
        &["import", "nowhere.jsonl"],
        &["serve", "--policies", "nowhere"],
        &["check", "maria", "PublishSite", "bakery", "--database-url", "sqlite:nowhere.db"],
        &["export", "--database-url", "sqlite:nowhere.db"],
        &["audit", "verify", "--database-url", "sqlite:nowhere.db"],
        &["policy", "validate", "--policies", "nowhere"],
    ] {
        let ended = run(here.path(), words);
        assert!(matches!(ended.code, Some(1 | 64)), "{words:?}: {ended:?}");
        assert!(ended.err.contains("nowhere"), "{words:?}: {ended:?}");
    }
}

#[test]
fn an_invalid_policy_stops_the_start_with_file_and_line() {
    let here = folder();
    fs::create_dir_all(here.path().join("policies/roles")).unwrap();
    fs::write(here.path().join("policies/roles/odd.cedar"), "// fine so far\npermit (principal, action,\n").unwrap();
    for words in
        [&["serve"][..], &["check", "maria", "PublishSite", "bakery"], &["policy", "validate"], &["policy", "test"]]
    {
        let ended = run(here.path(), words);
        assert_eq!(ended.code, Some(3), "{words:?}: {ended:?}");
        assert!(ended.err.contains("policies/roles/odd.cedar:"), "{words:?}: {}", ended.err);
    }
}

#[test]
fn a_database_in_use_is_said_so() {
    let installation = Installation::new();
    let _server = installation.start();
    let here = installation.folder();
    for words in [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"][..], &["import", "-"]] {
        let ended = run(here, words);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("in use") && ended.err.contains("mandate.db"), "{}", ended.err);
    }
}

#[test]
fn a_server_ends_when_it_is_asked_to() {
    let installation = Installation::new();
    let mut server = installation.start();
    server.client().put("/v1/sites/bakery", &bakery()).ok();
    assert_eq!(server.stop(), Some(0));
    let mut server = installation.start();
    assert!(server.client().may("user:maria", "PublishSite", "bakery", &json!({})));
    server.kill();
    let server = installation.start();
    let mut http = server.client();
    assert!(http.may("user:maria", "PublishSite", "bakery", &json!({})), "what was answered survives a crash");
    assert!(!http.may("user:eve", "PublishSite", "bakery", &json!({})));
}

#[test]
fn health_follows_the_server() {
    let installation = Installation::new();
    let mut server = installation.start();
    let url = format!("http://{}", server.admin_address());
    assert_eq!(installation.run(&["health", &url]).code, Some(0));
    server.kill();
    assert_eq!(installation.run(&["health", &url]).code, Some(1));
}

#[test]
fn a_check_answers_alike_wherever_it_asks() {
    let installation = Installation::new();
    let server = installation.start();
    let (mut http, here) = (server.client(), installation.folder());
    let agency = json!({"name": "Studio North", "domain": "studio-north.example", "verified": true});
    assert_eq!(http.put("/v1/agencies/studio-north", &agency).status, 201);
    http.put("/v1/agencies/studio-north/members/dana", &json!({"role": "admin"})).ok();
    http.put("/v1/sites/bakery", &bakery()).ok();
    let florist = json!({"mode": "partner_built", "owner": "agency:studio-north", "plan": {"tier": "free"}});
    assert_eq!(http.put("/v1/sites/florist", &florist).status, 201);
    assert_eq!(run(here, &["export", "data.jsonl"]).code, Some(0));
    let url = format!("http://{}", server.address());
    for (subject, action, site, more, code, reason) in [
        ("maria", "PublishSite", "bakery", &[][..], 0, ""),
        ("user:maria", "TransferDomain", "site:bakery", &[], 2, "stepup_required"),
        ("maria", "TransferDomain", "bakery", &["--auth-time", "now"], 0, ""),
        ("maria", "TransferDomain", "bakery", &["--auth-time", "0"], 2, "stepup_required"),
        ("maria", "PurchaseApp", "bakery", &["--account", "user:eve"], 2, "not_your_own"),
        ("maria", "PurchaseApp", "bakery", &["--account", "user:maria"], 0, ""),
        ("dana", "PublishSite", "florist", &[], 0, ""),
        ("dana", "PublishSite", "bakery", &[], 2, "no_role"),
        ("maria", "Fly", "bakery", &[], 2, "unknown_action"),
        ("maria", "PublishSite", "nowhere", &[], 2, "unknown_site"),
        ("staff:sam", "ViewSite", "bakery", &[], 2, "no_role"),
        ("service:billing", "ViewSite", "bakery", &[], 2, "no_role"),
    ] {
        for place in [&["--data", "data.jsonl"][..], &["--server", &url]] {
            let words: Vec<&str> =
                ["check", subject, action, site, "--explain"].iter().chain(more).chain(place).copied().collect();
            let ended = run(here, &words);
            assert_eq!(ended.code, Some(code), "{words:?}: {ended:?}");
            let first = if code == 0 { "allow\n" } else { "deny\n" };
            assert!(ended.out.starts_with(first) && ended.out.contains(reason), "{words:?}: {}", ended.out);
            assert_eq!(ended.out.contains("remedy"), code == 2, "{words:?}: {}", ended.out);
            assert_eq!(ended.out.contains("policies "), code == 0, "{words:?}: {}", ended.out);
        }
    }
    // Beside the running server, from its own database.
    let bare = run(here, &["check", "eve", "PublishSite", "bakery"]);
    assert_eq!((bare.code, bare.out.as_str()), (Some(2), "deny\n"));
    let mut explained = program(here);
    let explained =
        explained.args(["check", "eve", "PublishSite", "bakery"]).env("MANDATE_EXPLAIN", "1").output().unwrap();
    assert!(String::from_utf8(explained.stdout).unwrap().contains("no_role"));
    let bare = run(here, &["check", "dana", "PublishSite", "florist"]);
    assert_eq!((bare.code, bare.out.as_str()), (Some(0), "allow\n"));
}

#[test]
fn what_kept_a_check_from_deciding_is_not_a_deny() {
    let here = folder();
    let ended = run(here.path(), &["check", "maria", "PublishSite", "bakery", "--server", "http://127.0.0.1:1"]);
    assert!(ended.code == Some(1) && ended.err.contains("no answer"), "{ended:?}");
    let ended = run(here.path(), &["check", "maria", "PublishSite", "bakery"]);
    assert!(ended.code == Some(1) && ended.err.contains("--data"), "{ended:?}");
    fs::write(here.path().join("bad.jsonl"), format!("{BAKERY}\n{{\"site\":7}}\n")).unwrap();
    let ended = run(here.path(), &["check", "maria", "PublishSite", "bakery", "--data", "bad.jsonl"]);
    assert!(ended.code == Some(1) && ended.err.contains("line 2"), "{ended:?}");
    let ended = run_reading(here.path(), &["check", "maria", "PublishSite", "bakery", "--data", "-"], BAKERY);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "allow\n"));
}

#[test]
fn a_broken_audit_chain_is_found() {
    let installation = Installation::new();
    let mut server = installation.start();
    let here = installation.folder();
    server.client().put("/v1/sites/bakery", &bakery()).ok();
    let whole = run(here, &["audit", "verify"]);
    assert!(whole.code == Some(0) && whole.out.starts_with("whole: 1 events, head "), "{whole:?}");
    server.stop();
    let db = rusqlite::Connection::open(installation.database()).unwrap();
    let triggers: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for trigger in triggers {
        db.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    assert_eq!(db.execute("UPDATE audit SET kind = 'NothingHappened'", []).unwrap(), 1);
    drop(db);
    let broken = run(here, &["audit", "verify"]);
    assert!(broken.code == Some(2) && broken.out.contains("event 1"), "{broken:?}");
}

#[test]
fn the_demo_tells_its_story_from_any_folder() {
    let here = folder();
    let told = run(here.path(), &["demo", "--exit"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert!(told.out.contains("answers were as expected."), "{}", told.out);
    assert!(!told.out.contains('\x1b') && told.err.is_empty(), "{}", told.err);
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn the_shipped_policies_pass_their_own_workbench() {
    let here = folder();
    for words in [
        &["policy", "validate"][..],
        &["policy", "test", "guardrails"],
        &["policy", "matrix", "--check"],
        &["policy", "decisions", "--check"],
    ] {
        let ended = run(here.path(), words);
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
    }
    for format in ["text", "markdown", "csv"] {
        assert!(run(here.path(), &["policy", "matrix", "--format", format]).out.contains("PublishSite"));
    }
    let csv = run(here.path(), &["policy", "matrix", "--format", "csv"]).out;
    fs::write(here.path().join("same.csv"), &csv).unwrap();
    assert_eq!(run(here.path(), &["policy", "matrix", "--check", "--specification", "same.csv"]).code, Some(0));
    let planted = csv.replacen(",Y", ",S", 1);
    fs::write(here.path().join("other.csv"), planted).unwrap();
    let ended = run(here.path(), &["policy", "matrix", "--check", "--specification", "other.csv"]);
    assert!(ended.code == Some(2) && ended.out.contains("1 cells"), "{ended:?}");
    assert_eq!(run(here.path(), &["policy", "test", "no such test"]).code, Some(1));
}

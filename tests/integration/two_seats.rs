//! Two seats on one site, over HTTP: each side's people are its own, and both read everything that was done.

use serde_json::{Value, json};

use crate::{
    http::now_s,
    replicas::postgres::Postgres,
    scenes,
    stage::{Stage, play, refused},
};

#[test]
fn each_sides_people_and_what_both_read() {
    let scenes = scenes![
        the_clients_people_are_the_clients,
        the_partners_people_go_with_it,
        both_seats_read_the_audit,
        an_entry_names_the_human_the_route_and_the_grounds,
        refusals_leave_no_entry,
    ];
    play(scenes, &[]);
    // The same on the other system of record.
    let database = Postgres::start();
    play(scenes, &[("MANDATE_DATABASE_URL", &database.url("two_seats"))]);
}

/// The partner asks the client about the client's people; the client may change or remove anybody.
fn the_clients_people_are_the_clients(stage: &mut Stage) {
    for (who, fields) in [("cora", "Viewer"), ("bill", "Viewer"), ("vic", "BlogEditor")] {
        let change = json!({"user": who, "role": fields});
        refused(&stage.tell("ada", "change_role", "run", &change), 403, "other_side");
        refused(&stage.tell("ada", "revoke_role", "run", &json!({ "user": who })), 403, "other_side");
    }
    stage.answers(&[("cora EditContent run", "yes"), ("vic ViewSite run", "yes")]);
    for seat in ["clara", "ada", "mel"] {
        for command in ["revoke_role", "leave_site"] {
            let fields = if command == "leave_site" { json!({}) } else { json!({"user": "clara"}) };
            let answer = stage.tell(seat, command, "run", &fields);
            // A member's grant is theirs to leave; a seat is nobody's to take or to leave.
            assert_eq!(answer.status >= 400, (seat, command) != ("mel", "leave_site"), "{seat} {command}: {answer}");
        }
    }
    // A manager gives the roles below the own one, a viewer none.
    refused(&stage.tell("fred", "grant_role", "run", &json!({"user": "tom", "role": "CoOwner"})), 403, "may_not_grant");
    assert_eq!(stage.tell("vic", "grant_role", "run", &json!({"user": "tom", "role": "Viewer"})).status, 403);
    stage.tell("fred", "grant_role", "run", &json!({"user": "tom", "role": "Viewer"})).ok();
    stage.tell("cora", "grant_role", "run", &json!({"user": "sid", "role": "WebsiteManager"})).ok();
    refused(&stage.tell("ada", "revoke_role", "run", &json!({"user": "sid"})), 403, "other_side");
    for who in ["fred", "tom", "sid", "vic"] {
        stage.tell("clara", "revoke_role", "run", &json!({ "user": who })).ok();
        assert_eq!(stage.why(who, "ViewSite", "run", &json!({})), "no_role", "{who}");
    }
    refused(&stage.tell("clara", "revoke_role", "run", &json!({"user": "vic"})), 404, "unknown_contributor");
}

/// A return takes the partner's people along, but for those whom the client keeps; the client's stay.
fn the_partners_people_go_with_it(stage: &mut Stage) {
    stage.tell("fred", "grant_role", "run", &json!({"user": "tom", "role": "Viewer"})).ok();
    stage.tell("ada", "grant_role", "run", &json!({"user": "sid", "role": "BlogEditor"})).ok();
    stage.tell("clara", "reclaim_site", "run", &json!({"keep": ["sid"]})).ok();
    stage.answers(&[("tom ViewSite run", "yes"), ("ada InviteContributor run", "return_pending")]);
    stage.tell("ada", "release_site", "run", &json!({})).ok();
    assert_eq!(stage.site("run")["mode"], "self_managed");
    stage.answers(&[
        ("ada ViewSite run", "no_role"),
        ("mel ViewSite run", "no_role"),
        ("pam ViewPlan run", "no_role"),
        ("fred ViewSite run", "no_role"),
        ("tom ViewSite run", "no_role"),
        ("sid PublishBlogPost run", "yes"),
        ("cora EditContent run", "yes"),
        ("bill UpgradePlan run", "yes"),
        ("vic ViewSite run", "yes"),
    ]);
}

/// The status and code of somebody's look at the audit log, and how many entries came.
fn look(stage: &mut Stage, who: &str) -> (u16, String, usize) {
    let path = format!("/v1/sites/{}/audit?limit=1000&actor={}", stage.id("run"), stage.who(who));
    let answer = stage.http.get(&path);
    let items = if answer.status == 200 { answer.json()["items"].as_array().unwrap().len() } else { 0 };
    (answer.status, answer.code(), items)
}

/// Both seats and the co-owner read all of the audit log, support in a session; others and strangers nothing.
fn both_seats_read_the_audit(stage: &mut Stage) {
    stage.tell("ada", "grant_role", "run", &json!({"user": "tom", "role": "WebsiteManager"})).ok();
    stage.tell("clara", "block_agency_member", "run", &json!({"user": "max"})).ok();
    let all = stage.events("run").len();
    assert!(all >= 2);
    for who in ["clara", "ada", "abe", "cora"] {
        assert_eq!(look(stage, who), (200, String::new(), all), "{who}");
    }
    for who in ["mel", "pam", "fred", "tom", "vic", "bill"] {
        assert_eq!(look(stage, who), (403, "role_lacks_action".to_owned(), 0), "{who}");
    }
    for who in ["min", "sue", "sid", "nobody"] {
        assert_eq!(look(stage, who), (403, "no_role".to_owned(), 0), "{who}");
    }
    assert_eq!(look(stage, "max"), (403, "role_lacks_action".to_owned(), 0));
    assert_eq!(look(stage, "staff:sam"), (403, "no_session".to_owned(), 0));
    assert_eq!(look(stage, "staff:tess").0, 403);
    stage.tell("ada", "grant_support_session", "run", &json!({"agent": "sam"})).ok();
    assert_eq!(look(stage, "staff:sam"), (200, String::new(), all + 1));
    assert_eq!(look(stage, "staff:sol").0, 403);
    stage.put_agency("north", &json!({"verified": true, "status": "suspended"})).ok();
    assert_eq!(look(stage, "ada"), (403, "agency_suspended".to_owned(), 0));
    assert_eq!(look(stage, "clara").0, 200);
}

/// The last entry of a kind.
fn entry(stage: &mut Stage, kind: &str) -> Value {
    let path = format!("/v1/sites/{}/audit?limit=1000", stage.id("run"));
    let page = stage.http.get(&path).ok().json();
    let found = page["items"].as_array().unwrap().iter().rfind(|event| event["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {page}")).clone()
}

/// I27: an entry names who acted, through which account, in which role and on what evidence.
fn an_entry_names_the_human_the_route_and_the_grounds(stage: &mut Stage) {
    let north = json!(format!("agency:{}", stage.id("north")));
    let [clara, ada, abe] = ["clara", "ada", "abe"].map(|name| json!(stage.who(name)));
    let signed_in = now_s() - 30;
    let mut body = stage.body("ada", "grant_role", &json!({"user": "tom", "role": "Viewer"}));
    body["auth_time"] = json!(signed_in);
    stage.send("run", &body).ok();
    let added = entry(stage, "ContributorAdded");
    assert_eq!((&added["actor"], &added["via"]), (&ada, &north), "{added}");
    let grounds = (&added["evidence"]["auth_time"], &added["evidence"]["roles"][0]);
    assert_eq!(grounds, (&json!(signed_in), &json!("Partner")), "{added}");
    stage.tell("clara", "confirm_partner_action", "run", &json!({"action": "TrashSite", "operation": "bin-1"})).ok();
    let confirmed = entry(stage, "PartnerActionConfirmed");
    assert_eq!((&confirmed["actor"], &confirmed["via"]), (&clara, &clara), "{confirmed}");
    assert_eq!(confirmed["evidence"]["roles"], json!(["Client"]), "{confirmed}");
    stage.tell("abe", "trash_site", "run", &json!({"operation": "bin-1"})).ok();
    let trashed = entry(stage, "SiteTrashed");
    assert_eq!((&trashed["actor"], &trashed["via"]), (&abe, &north), "{trashed}");
    assert_eq!(trashed["evidence"]["confirmation"], "bin-1", "{trashed}");
    stage.tell("clara", "restore_site", "run", &json!({})).ok();
    stage.tell("staff:tess", "freeze_site", "run", &json!({"case": "TS-4", "approver": "theo"})).ok();
    let frozen = entry(stage, "SiteFrozen");
    assert_eq!((&frozen["actor"], &frozen["via"]), (&json!(stage.who("staff:tess")), &Value::Null), "{frozen}");
    assert_eq!(frozen["evidence"]["case"], "TS-4", "{frozen}");
    assert_eq!(frozen["evidence"]["approver"], json!(stage.id("theo")), "{frozen}");
    stage.tell("staff:tess", "unfreeze_site", "run", &json!({"case": "TS-4"})).ok();
    let offer = stage.offer("clara", "replace_partner", "run", "agency:south");
    let yes = stage.yes("sue", &offer, "new_partner");
    stage.send("run", &yes).ok();
    let accepted = entry(stage, "HandoverAccepted");
    let south = json!(format!("agency:{}", stage.id("south")));
    assert_eq!((&accepted["actor"], &accepted["via"]), (&json!(stage.who("sue")), &south), "{accepted}");
    let evidence = &accepted["evidence"];
    assert_eq!((&evidence["handover"], &evidence["lang"]), (&json!(offer), &json!("en")), "{accepted}");
    assert_eq!(evidence["explanation_digest"], yes["explanation_digest"], "{accepted}");
    assert!(evidence["text_version"].is_string(), "{accepted}");
}

/// What was refused or previewed is no change, and no entry.
fn refusals_leave_no_entry(stage: &mut Stage) {
    let before = stage.events("run");
    let grant = json!({"user": "tom", "role": "Viewer"});
    for who in ["vic", "mel", "sue", "tom"] {
        assert_eq!(stage.tell(who, "grant_role", "run", &grant).status, 403, "{who}");
    }
    stage.preview("ada", "grant_role", "run", &grant).ok();
    assert_eq!(stage.events("run"), before);
    stage.tell("ada", "grant_role", "run", &grant).ok();
    assert_eq!(stage.events("run").len(), before.len() + 1, "the control");
}

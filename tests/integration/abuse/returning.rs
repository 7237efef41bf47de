//! Money and pressure: what a partner in control can do to a client, what a client can do to a partner, and what stays
//! behind when the site comes back.

use mandate::time::Timestamp;
use serde_json::{Value, json};

use crate::{
    scenes,
    stage::{Scene, Stage, blocked, fresh, refused},
    worlds::in_seconds,
};

pub const SCENES: &[Scene] = scenes![
    client_mail,
    agency_bills,
    platform_invoice,
    free_ride,
    partner_stops_paying,
    sabotage,
    mass_invites,
    clones_and_keys,
];

fn put_site(stage: &mut Stage, site: &str, body: &Value) {
    let path = format!("/v1/sites/{}", stage.id(site));
    stage.http.put(&path, body).ok();
}

fn with_operation(operation: &str) -> Value {
    let mut context = fresh();
    context["operation"] = json!(operation);
    context
}

/// Partner controls client's MX: mail and name servers move with the client's yes to that one change, once.
fn client_mail(stage: &mut Stage) {
    let (this, other) = (with_operation("mx-1"), with_operation("mx-2"));
    assert_eq!(stage.why("ada", "EditDnsCritical", "run", &this), "confirm_required");
    stage.answers(&[("ada EditDns run", "yes"), ("mel EditDnsCritical run", "role_lacks_action")]);
    let act = json!({"action": "EditDnsCritical", "operation": "mx-1"});
    // Nobody of the partner's says the client's yes, nor a co-owner, nor a session that is not fresh.
    for who in ["ada", "mel", "cora", "fred", "staff:tess"] {
        let denied = stage.tell(who, "confirm_partner_action", "run", &act);
        assert_eq!(denied.status, 403, "{who}: {denied}");
    }
    let mut stale = stage.body("clara", "confirm_partner_action", &act);
    stale["auth_time"] = json!(crate::http::now_s() - 3600);
    refused(&stage.send("run", &stale), 403, "stepup_required");
    stage.tell("clara", "confirm_partner_action", "run", &act).ok();
    assert_eq!(stage.why("ada", "EditDnsCritical", "run", &this), "");
    assert_eq!(stage.why("ada", "EditDnsCritical", "run", &other), "confirm_required");
    assert_eq!(stage.why("ada", "RefundOrder", "run", &this), "confirm_required", "another act");
    stage.tell("service:dns", "spend_confirmation", "run", &act).ok();
    assert_eq!(stage.why("ada", "EditDnsCritical", "run", &this), "confirm_required");
    refused(&stage.tell("service:dns", "spend_confirmation", "run", &act), 404, "unknown_confirmation");
    // What the partner may never do is not to be confirmed either.
    for action in ["TransferDomain", "PurgeContent", "TransferOwnership", "ManagePayouts"] {
        let never = json!({"action": action, "operation": "x"});
        refused(&stage.tell("clara", "confirm_partner_action", "run", &never), 422, "not_confirmable");
    }
    // The client's own acts rest on a fresh sign-in, never on a session that somebody with their mail may hold.
    for action in ["ReclaimSite", "TransferDomain", "ConfirmPartnerAction", "ReplacePartner"] {
        assert_eq!(stage.why("clara", action, "run", &json!({})), "stepup_required", "{action}");
    }
    // In the first week not even with the client's yes.
    stage.hand_over();
    stage.tell("clara", "confirm_partner_action", "own", &act).ok();
    assert_eq!(stage.why("ada", "EditDnsCritical", "own", &this), "settling_in");
}

/// Unpaid agency bills: a dispute keeps nothing back, and a freeze holds the return up once and for a bounded time.
fn agency_bills(stage: &mut Stage) {
    stage.tell("ada", "open_dispute", "run", &json!({"reason": "unpaid_bills"})).ok();
    let pending = stage.tell("clara", "reclaim_site", "run", &json!({})).ok().json()["site"].clone();
    let due = pending["return_pending"]["effective_at"].as_str().unwrap().to_owned();
    // The partner has no way to stop it, and no way to freeze.
    for command in ["withdraw_reclaim", "reclaim_site"] {
        assert_eq!(stage.tell("ada", command, "run", &json!({})).status, 403, "{command}");
    }
    assert_eq!(stage.tell("ada", "freeze_site", "run", &json!({"case": "C-1"})).status, 403);
    stage.tell("staff:tess", "freeze_site", "run", &json!({"case": "C-1"})).ok();
    let frozen = stage.site("run")["return_pending"]["effective_at"].as_str().unwrap().to_owned();
    let days = |text: &str| text.parse::<Timestamp>().unwrap().as_seconds() / 86_400;
    assert!((13..=15).contains(&(days(&frozen) - days(&due))), "{due} to {frozen}");
    stage.tell("staff:tess", "unfreeze_site", "run", &json!({"case": "C-1"})).ok();
    let resumed = stage.site("run")["return_pending"]["effective_at"].as_str().unwrap().to_owned();
    assert!(days(&resumed) - days(&due) <= 1, "{due} to {resumed}");
    refused(&stage.tell("staff:tess", "freeze_site", "run", &json!({"case": "C-2"})), 409, "freeze_used");
    assert_eq!(stage.site("run")["return_pending"]["effective_at"], json!(resumed));
    stage.answers(&[("clara ReclaimSite run", "yes"), ("clara ExportSite run", "yes")]);
}

/// Unpaid platform invoice: whoever owes for the plan cannot offer it away, but can always take the site back.
fn platform_invoice(stage: &mut Stage) {
    put_site(stage, "own", &json!({"blockers": ["unpaid_platform_invoice"]}));
    for (command, to) in [("offer_partner_role", "agency:north"), ("transfer_ownership", "tom")] {
        let denied = stage.try_offer("clara", command, "own", &json!({"to": to}));
        blocked(&denied, "unpaid_platform_invoice");
    }
    put_site(stage, "own", &json!({"blockers": []}));
    stage.offer("clara", "offer_partner_role", "own", "agency:north");
    put_site(stage, "run", &json!({"blockers": ["unpaid_platform_invoice"]}));
    stage.answers(&[("clara ReclaimSite run", "yes")]);
    stage.tell("clara", "reclaim_site", "run", &json!({})).ok();
    stage.tell("ada", "release_site", "run", &json!({})).ok();
    assert_eq!(stage.site("run")["plan_holder"], json!(stage.who("clara")));
}

/// The partner buys a year and the client undoes it: in the first week the plan is what it was before, and later the
/// client has it for a fortnight at most.
fn free_ride(stage: &mut Stage) {
    let year =
        json!({"plan": {"name": "Business, a year", "price": "290.00", "next_charge_at": in_seconds(365 * 86_400)}});
    let before = stage.site("own")["plan"].clone();
    stage.hand_over();
    put_site(stage, "own", &year);
    assert_ne!(stage.site("own")["plan"], before);
    let back = stage.tell("clara", "reclaim_site", "own", &json!({})).ok().json();
    assert_eq!(back["site"]["mode"], "self_managed", "at once: {back}");
    assert_eq!(back["site"]["plan"], before);
    put_site(stage, "run", &year);
    stage.tell("clara", "reclaim_site", "run", &json!({})).ok();
    let back = stage.tell("ada", "release_site", "run", &json!({})).ok().json()["site"].clone();
    let until: Timestamp = back["plan"]["bridge_until"].as_str().unwrap().parse().unwrap();
    let days = (until.as_seconds() - crate::http::now_s()) / 86_400;
    assert!((13..=14).contains(&days), "{back}");
}

/// Partner stops paying: the client is told at once and can take over at once, with the domain untouched.
fn partner_stops_paying(stage: &mut Stage) {
    refused(&stage.tell("clara", "rescue_plan", "run", &json!({})), 409, "illegal_transition");
    for who in ["ada", "pam", "clara", "tom", "staff:tess", "service:other"] {
        let denied = stage.tell(who, "report_plan", "run", &json!({"status": "past_due"}));
        assert_eq!(denied.status, 403, "{who}: {denied}");
    }
    let told = stage.tell("service:billing", "report_plan", "run", &json!({"status": "past_due"})).ok().json();
    assert!(told["events"].as_array().unwrap().contains(&json!("PlanPastDue")), "{told}");
    let words = stage.http.get(&format!("/v1/sites/{}/explanation?audience=client", stage.id("run"))).ok().text();
    assert!(words.contains("Studio North"), "{words}");
    stage.answers(&[
        ("ada DuplicateSite run", "past_due"),
        ("ada RescuePlan run", "role_lacks_action"),
        ("cora RescuePlan run", "role_lacks_action"),
        ("clara TransferDomain run", "yes"),
        ("clara EditContent run", "yes"),
    ]);
    let domains = stage.site("run")["domains"].clone();
    let rescued = stage.tell("clara", "rescue_plan", "run", &json!({})).ok().json()["site"].clone();
    assert_eq!((&rescued["mode"], &rescued["plan"]["status"]), (&json!("self_managed"), &json!("ok")));
    assert_eq!((&rescued["plan_holder"], &rescued["domains"]), (&json!(stage.who("clara")), &domains));
    stage.answers(&[("ada ViewSite run", "no_role"), ("mel EditContent run", "no_role")]);
}

/// The notice window: what reaches outside or cannot be undone is off for the partner's side, work goes on, and the
/// client can end even that.
fn sabotage(stage: &mut Stage) {
    const OFF: [&str; 13] = [
        "DuplicateSite",
        "ExportSite",
        "ExportContacts",
        "EditDns",
        "EditDnsCritical",
        "ManageApiKeys",
        "ManageApps",
        "PurchaseDomain",
        "InviteContributor",
        "RemoveContributor",
        "UpgradePlan",
        "DowngradePlan",
        "RefundOrder",
    ];
    const ON: [&str; 4] = ["ViewSite", "EditContent", "PublishSite", "ReleaseSite"];
    let ask = |stage: &mut Stage, action: &str| {
        let mut context = fresh();
        context["account"] = json!(stage.who("agency:north"));
        stage.why("ada", action, "run", &context)
    };
    for action in OFF.into_iter().chain(ON) {
        let before = ask(stage, action);
        let usual = match action {
            "EditDnsCritical" | "RefundOrder" => "confirm_required",
            "ReleaseSite" => "wrong_mode",
            _ => "",
        };
        assert_eq!(before, usual, "before: {action}");
    }
    stage.tell("clara", "reclaim_site", "run", &json!({})).ok();
    for action in OFF {
        assert_eq!(ask(stage, action), "return_pending", "{action}");
    }
    for action in ON {
        assert_eq!(ask(stage, action), "", "{action}");
    }
    stage.answers(&[
        ("mel DuplicateSite run", "return_pending"),
        ("fred InviteContributor run", "return_pending"),
        ("mel EditContent run", "yes"),
        ("cora InviteContributor run", "yes"),
        ("clara ExportSite run", "yes"),
        ("ada PurgeContent run", "role_lacks_action"),
        ("ada TransferDomain run", "role_lacks_action"),
    ]);
    // The client need not have locked it from the start.
    let locked = stage.tell("clara", "reclaim_site", "run", &json!({"lock": true})).ok().json();
    assert_eq!(locked["events"], json!(["PartnerLocked"]));
    stage.answers(&[
        ("ada EditContent run", "locked"),
        ("ada PublishSite run", "locked"),
        ("mel EditContent run", "locked"),
        ("fred EditContent run", "locked"),
        ("ada ViewSite run", "yes"),
        ("ada OpenDispute run", "yes"),
        ("ada ReleaseSite run", "yes"),
        ("cora EditContent run", "yes"),
        ("clara EditContent run", "yes"),
    ]);
    blocked(&stage.tell("ada", "grant_role", "run", &json!({"user": "eve", "role": "Viewer"})), "return_pending");
    stage.tell("ada", "release_site", "run", &json!({})).ok();
    stage.answers(&[
        ("ada ViewSite run", "no_role"),
        ("fred ViewSite run", "no_role"),
        ("clara PublishSite run", "yes"),
    ]);
}

/// Partner mass-invites before a reclaim: everybody who came through it goes with it, and nobody came with more than it
/// had.
fn mass_invites(stage: &mut Stage) {
    let crowd: Vec<String> = (0..10).map(|i| format!("friend{i}")).collect();
    for (who, role) in crowd.iter().zip(["WebsiteManager", "Viewer"].into_iter().cycle()) {
        stage.tell("ada", "grant_role", "run", &json!({"user": who, "role": role})).ok();
    }
    for role in ["CoOwner", "StoreManager", "DomainManager"] {
        refused(
            &stage.tell("ada", "grant_role", "run", &json!({"user": "eve", "role": role})),
            403,
            "confirm_required",
        );
    }
    for role in ["Owner", "Client", "Partner"] {
        let seat = stage.tell("ada", "grant_role", "run", &json!({"user": "eve", "role": role}));
        refused(&seat, 400, "unknown_role");
    }
    stage.tell("ada", "grant_agency_access", "run", &json!({"user": "min", "template": "manager"})).ok();
    // What the client agreed to but nobody used is worth nothing afterwards.
    let operation = format!("{}:CoOwner", stage.who("eve"));
    stage
        .tell("clara", "confirm_partner_action", "run", &json!({"action": "InviteContributor", "operation": operation}))
        .ok();
    // A partner's friend invites a friend: partner's side too.
    stage.tell("friend0", "grant_role", "run", &json!({"user": "friend-of-friend", "role": "Viewer"})).ok();
    stage.answers(&[
        ("friend0 EditContent run", "yes"),
        ("min EditContent run", "yes"),
        ("friend-of-friend ViewSite run", "yes"),
    ]);
    // Removing the client's people is not the partner's to do.
    refused(&stage.tell("ada", "revoke_role", "run", &json!({"user": "vic"})), 403, "other_side");
    stage.tell("clara", "reclaim_site", "run", &json!({"keep": ["friend0"]})).ok();
    let late = stage.tell("ada", "grant_role", "run", &json!({"user": "eve", "role": "Viewer"}));
    blocked(&late, "return_pending");
    stage.tell("ada", "release_site", "run", &json!({})).ok();
    for who in
        crowd.iter().skip(1).map(String::as_str).chain(["friend-of-friend", "min", "mel", "max", "fred", "ada", "eve"])
    {
        assert_eq!(stage.why(who, "ViewSite", "run", &fresh()), "no_role", "{who}");
    }
    stage.answers(&[("friend0 EditContent run", "yes"), ("vic ViewSite run", "yes"), ("cora EditContent run", "yes")]);
    let access = stage.http.get(&format!("/v1/sites/{}/access", stage.id("run"))).ok().text();
    assert!(!access.contains(&stage.who("agency:north")), "nothing is the agency's any more: {access}");
    // The agency that built a site cannot leave a co-owner behind in it.
    stage.tell("ada", "grant_role", "built", &json!({"user": "eve", "role": "CoOwner"})).ok();
    stage.tell("ada", "grant_role", "built", &json!({"user": "tom", "role": "WebsiteManager"})).ok();
    let offer = stage.offer("ada", "assign_client_role", "built", "clara");
    stage.accept("clara", "built", &offer, "client").ok();
    stage.answers(&[("eve ViewSite built", "no_role"), ("tom EditContent built", "yes")]);
    stage.tell("clara", "reclaim_site", "built", &json!({})).ok();
    stage.answers(&[("tom ViewSite built", "no_role"), ("clara TransferDomain built", "yes")]);
}

/// Clones, keys and apps are the platform's to end: the events of a return say whose, why and as of when, and until then
/// the client is told whenever one is made.
fn clones_and_keys(stage: &mut Stage) {
    let told = |stage: &mut Stage, action: &str| {
        let mut context = fresh();
        context["account"] = json!(stage.who("agency:north"));
        stage.explained("ada", action, "run", &context)["context"]["obligations"].clone()
    };
    for action in ["ManageApiKeys", "ExportContacts"] {
        assert_eq!(told(stage, action), json!([{"notify": "client", "action": action}]), "{action}");
    }
    stage.answers(&[("ada DuplicateSite run", "yes")]);
    stage.tell("clara", "reclaim_site", "run", &json!({})).ok();
    let back = stage.tell("ada", "release_site", "run", &json!({})).ok().json();
    assert_eq!(back["events"], json!(["SiteReleased", "SiteReturned", "SeatsChanged", "PlanHolderChanged"]));
    let path = format!("/v1/sites/{}/audit?limit=1000", stage.id("run"));
    let events = stage.http.get(&path).ok().json();
    let seats = events["items"].as_array().unwrap().iter().rev().find(|event| event["type"] == "SeatsChanged").unwrap();
    assert_eq!(seats["data"]["before"]["partner"], json!(stage.who("agency:north")), "{seats}");
    assert_eq!(seats["data"]["after"]["partner"], Value::Null, "{seats}");
    assert!(seats["data"]["removed"].get(stage.id("fred")).is_some(), "{seats}");
    for action in ["ManageApiKeys", "DuplicateSite", "ManageApps", "ExportContacts"] {
        assert_eq!(stage.why("ada", action, "run", &fresh()), "no_role", "{action}");
    }
}

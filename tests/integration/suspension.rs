//! One row about an agency, and what follows from it on every site at once.

use serde_json::{Value, json};

use crate::{
    http::{Client, now_s},
    server::{Installation, Server},
    worlds,
};

fn agency(name: &str, status: &str) -> Value {
    json!({"name": name, "domain": format!("{}.example", name.to_lowercase().replace(' ', "-")), "verified": true, "status": status})
}

fn set(http: &mut Client, status: &str) -> u64 {
    http.put("/v1/agencies/studio-north", &agency("Studio North", status)).ok().revision()
}

/// Maria's bakery and Jo's shop run by Studio North, the florist's built by it, and a site that it is offered.
fn world() -> (Installation, Server) {
    let mut records = worlds::managed_story();
    let bakery = records.iter().find(|record| record["site"]["id"] == "bakery").unwrap().clone();
    let mut shop = bakery["site"].clone();
    (shop["id"], shop["client"]) = (json!("shop"), json!("jo"));
    shop["contributors"] = json!({"wim": {"role": "WebsiteManager", "grantor": "agency:studio-north", "side": "partner"},
        "ann": {"role": "WebsiteManager", "grantor": "user:jo", "side": "client"},
        "bo": {"role": "WebsiteDesigner", "grantor": "user:jo", "side": "client"}});
    shop["domains"] = json!([]);
    records.push(json!({ "site": shop }));
    for id in ["offered", "offered-too"] {
        records.push(json!({"site": {"id": id, "mode": "self_managed", "owner": "user:lea", "plan": {"tier": "premium"}, "published": true}}));
    }
    let installation = Installation::with(&records);
    let server = installation.start();
    (installation, server)
}

const PARTNERS: [(&str, &str, &str); 6] = [
    ("user:dana", "PublishSite", "bakery"),
    ("user:dana", "EditContent", "shop"),
    ("user:dana", "PublishSite", "florist"),
    ("user:bo", "EditDesign", "bakery"),
    ("user:kim", "UpgradePlan", "bakery"),
    ("user:wim", "EditContent", "shop"),
];

#[test]
fn a_suspension_ends_every_right_through_the_agency_with_one_commit() {
    let (_installation, server) = world();
    let mut http = server.client();
    for (who, action, site) in PARTNERS {
        assert!(http.may(who, action, site, &json!({})), "before: {who} {action} {site}");
    }
    let before = http.head(0);
    let site_before = http.get("/v1/sites/bakery").body;
    assert_eq!(set(&mut http, "suspended"), before + 1, "one commit");
    for (who, action, site) in PARTNERS {
        assert!(!http.may(who, action, site, &json!({})), "{who} {action} {site}");
        assert_eq!(http.why_not(who, action, site, &json!({})), "agency_suspended", "{who} {action} {site}");
    }
    // What stays: the agency's own invoices, and its right to dispute.
    for site in ["bakery", "shop", "florist"] {
        assert!(http.may("user:dana", "OpenDispute", site, &json!({})));
        assert!(http.may("user:dana", "ViewInvoices", site, &json!({"account": "agency:studio-north"})));
    }
    assert!(http.may("user:kim", "ViewInvoices", "bakery", &json!({"account": "agency:studio-north"})));
    // What never came through the agency: the client, the client's people, a role from the client's own hand.
    for (who, action, site) in [
        ("user:maria", "PublishSite", "bakery"),
        ("user:jonas", "EditContent", "bakery"),
        ("user:ann", "EditContent", "shop"),
        ("user:bo", "EditDesign", "shop"),
    ] {
        assert!(http.may(who, action, site, &json!({})), "{who} {action} {site}");
    }
    let site_after = http.get("/v1/sites/bakery").body;
    assert_eq!(site_before, site_after, "nothing of the site was touched");
    // Commands too, and with the same reason.
    let grant = json!({"actor": "user:dana", "command": "grant_role", "user": "user:new", "role": "Viewer"});
    let refused = http.command("bakery", "k1", &grant);
    assert_eq!((refused.status, refused.code().as_str()), (403, "agency_suspended"));
    // Saying it again changes nothing; reinstating gives everything back.
    assert_eq!(set(&mut http, "suspended"), before + 1);
    assert_eq!(set(&mut http, "active"), before + 2);
    for (who, action, site) in PARTNERS {
        assert!(http.may(who, action, site, &json!({})), "after: {who} {action} {site}");
    }
    assert_eq!(http.command("bakery", "k1", &grant).status, 200, "a refusal was not remembered for the key");
    set(&mut http, "dissolving");
    for (who, action, site) in PARTNERS {
        assert_eq!(
            http.why_not(who, action, site, &json!({})),
            "agency_suspended",
            "dissolving: {who} {action} {site}"
        );
    }
}

/// T12: the client of a suspended agency does not wait for a notice.
#[test]
fn the_client_of_a_suspended_agency_takes_the_site_back_at_once() {
    let (installation, server) = world();
    let mut http = server.client();
    set(&mut http, "suspended");
    let reclaim = json!({"actor": "user:maria", "auth_time": now_s(), "command": "reclaim_site"});
    let done = http.command("bakery", "k1", &reclaim).ok().json();
    assert_eq!((&done["site"]["mode"], &done["site"]["plan_holder"]), (&json!("self_managed"), &json!("user:maria")));
    set(&mut http, "active");
    assert!(!http.may("user:dana", "ViewSite", "bakery", &json!({})), "reinstated, but not on this site");
    // The control: a client whose agency is active waits.
    let reclaim = json!({"actor": "user:jo", "auth_time": now_s(), "command": "reclaim_site"});
    let waiting = http.command("shop", "k1", &reclaim).ok().json();
    assert_eq!(
        (&waiting["site"]["mode"], &waiting["site"]["return_pending"]["reason"]),
        (&json!("partner_managed"), &json!("reclaim"))
    );
    installation.verify_audit();
}

#[test]
fn a_suspension_ends_the_agencys_open_offers_in_the_same_commit() {
    let (_installation, server) = world();
    let mut http = server.client();
    let offer = |http: &mut Client, site: &str, actor: &str, command: &str, to: &str| {
        let reply = http.offer(site, "offer", actor, command, to).ok().json();
        reply["handover"]["id"].as_str().unwrap().to_owned()
    };
    let to_it = offer(&mut http, "offered", "user:lea", "offer_partner_role", "agency:studio-north");
    let by_it = offer(&mut http, "florist", "user:dana", "assign_client_role", "user:tom");
    let unrelated = offer(&mut http, "offered-too", "user:lea", "offer_partner_role", "agency:harbour-web");
    assert!(http.may("user:dana", "AcceptHandover", "offered", &json!({"auth_time": now_s()})));
    let digest = http.digest(&to_it, "partner");
    let revision = set(&mut http, "suspended");
    for (id, site) in [(&to_it, "offered"), (&by_it, "florist")] {
        let ended = http.get(&format!("/v1/handovers/{id}")).ok().json();
        assert_eq!(ended["status"], "invalidated", "{ended}");
        let site = http.get(&format!("/v1/sites/{site}")).ok().json();
        assert_eq!((&site["open_handover"], &site["revision"]), (&Value::Null, &json!(revision)), "{site}");
    }
    assert_eq!(http.get(&format!("/v1/handovers/{unrelated}")).ok().json()["status"], "open", "the control");
    let accept = json!({"actor": "user:dana", "auth_time": now_s(), "command": "accept_handover", "handover": to_it, "explanation_digest": digest});
    let refused = http.command("offered", "late", &accept);
    assert_eq!((refused.status, refused.code().as_str()), (409, "terminal:invalidated"));
    assert!(!http.may("user:tom", "AcceptHandover", "florist", &json!({"auth_time": now_s()})));
    // No new ones either.
    let again = json!({"actor": "user:lea", "auth_time": now_s(), "command": "offer_partner_role", "to": "agency:studio-north"});
    let preview = http.preview("offered", &again).ok().json();
    assert_eq!(
        (&preview["would"], &preview["blockers"]),
        (&json!("refuse"), &json!(["agency_suspended"])),
        "{preview}"
    );
    // Reinstating does not revive what ended.
    set(&mut http, "active");
    assert_eq!(http.get(&format!("/v1/handovers/{to_it}")).ok().json()["status"], "invalidated");
    assert_eq!(http.command("offered", "later", &accept).code(), "terminal:invalidated");
}

/// T30: access through an agency is membership, and nothing else has to be cleaned up.
#[test]
fn access_ends_with_the_membership() {
    let (_installation, server) = world();
    let mut http = server.client();
    let member = |user: &str| format!("/v1/agencies/studio-north/members/{user}");
    assert!(http.may("user:bo", "EditDesign", "bakery", &json!({})));
    http.delete(&member("bo")).ok();
    assert_eq!(http.why_not("user:bo", "EditDesign", "bakery", &json!({})), "no_role");
    assert!(http.may("user:bo", "EditDesign", "shop", &json!({})), "the control: a role of their own stays");
    assert_eq!(http.delete(&member("bo")).code(), "unknown_member");
    http.put(&member("bo"), &json!({"role": "member"})).ok();
    assert!(http.may("user:bo", "EditDesign", "bakery", &json!({})), "the grant waited for the member");
    // Billing sees plans and pays them, and nothing of the content.
    assert!(
        http.may("user:kim", "ViewPlan", "bakery", &json!({}))
            && http.may("user:kim", "UpgradePlan", "florist", &json!({}))
    );
    assert!(http.may("user:kim", "PurchaseApp", "bakery", &json!({"account": "agency:studio-north"})));
    for action in ["ViewContent", "EditContent", "ViewSite", "ViewContributors", "DowngradePlan"] {
        assert!(!http.may("user:kim", action, "bakery", &json!({"auth_time": now_s()})), "{action}");
    }
    for account in ["user:maria", "user:dana", "agency:harbour-web"] {
        assert!(!http.may("user:kim", "PurchaseApp", "bakery", &json!({ "account": account })), "somebody else's card");
    }
    http.put(&member("kim"), &json!({"role": "admin"})).ok();
    assert!(http.may("user:kim", "EditContent", "bakery", &json!({})), "an admin acts for the seat");
    http.put(&member("dana"), &json!({"role": "member"})).ok();
    assert!(!http.may("user:dana", "EditContent", "bakery", &json!({})), "a member needs a grant");
}

#[test]
fn the_last_admin_stays() {
    let (_installation, server) = world();
    let mut http = server.client();
    let dana = "/v1/agencies/studio-north/members/dana";
    let head = http.head(0);
    for answer in
        [http.delete(dana), http.put(dana, &json!({"role": "billing"})), http.put(dana, &json!({"role": "member"}))]
    {
        assert_eq!((answer.status, answer.code().as_str()), (409, "last_admin"), "{answer}");
    }
    assert_eq!(http.head(0), head);
    assert!(http.may("user:dana", "EditContent", "bakery", &json!({})));
    http.put("/v1/agencies/studio-north/members/bo", &json!({"role": "admin"})).ok();
    http.delete(dana).ok();
    assert!(!http.may("user:dana", "ViewSite", "bakery", &json!({})));
    assert!(http.may("user:bo", "EditContent", "bakery", &json!({})));
}

//! How much of it: nobody floods others with offers, and a code does not lie about for ever.

use serde_json::{Value, json};

use crate::{
    scenes,
    server::until,
    stage::{Scene, Stage, refused},
};

pub const SCENES: &[Scene] = scenes![per_sender, per_recipient, code_runs_out];
pub const SETTINGS: &[(&str, &str)] = &[
    ("MANDATE_QUOTAS__PER_SENDER", "3"),
    ("MANDATE_QUOTAS__PER_RECIPIENT", "5"),
    ("MANDATE_TIMERS__SITE_CODE_TTL", "5s"),
];

fn offer_and_cancel(stage: &mut Stage, who: &str, site: &str, to: &str) {
    let offer = stage.offer(who, "offer_partner_role", site, to);
    stage.tell(who, "cancel_handover", site, &json!({"handover": offer})).ok();
}

fn site_of(stage: &mut Stage, who: &str) -> String {
    let site = format!("of-{who}");
    let path = format!("/v1/sites/{}", stage.id(&site));
    let body = json!({"mode": "self_managed", "owner": stage.who(who), "plan": {"tier": "premium"}, "published": true});
    stage.http.put(&path, &body).ok();
    site
}

/// An offer by Clara with its preview read, not yet sent.
fn prepared(stage: &mut Stage, site: &str, to: &str) -> Value {
    let fields = json!({"to": to});
    let preview = stage.preview("clara", "offer_partner_role", site, &fields).ok().json();
    assert_eq!(preview["would"], "apply", "{preview}");
    let mut body = stage.body("clara", "offer_partner_role", &fields);
    body["preview_digest"] = preview["digest"].clone();
    body
}

/// Too much, in a preview and in an offer whose preview was still good.
fn enough(stage: &mut Stage, site: &str, to: &str, late: &Value, whose: &str) {
    let preview = stage.preview("clara", "offer_partner_role", site, &json!({"to": to})).ok().json();
    assert_eq!((&preview["would"], &preview["code"]), (&json!("refuse"), &json!("too_many_offers")), "{preview}");
    let sent = stage.send(site, late);
    refused(&sent, 429, "too_many_offers");
    assert_eq!(sent.json()["account"], json!(stage.who(whose)), "{sent}");
}

/// One sender has had enough, whomever and from whichever site they write next; everybody else goes on.
fn per_sender(stage: &mut Stage) {
    let second = site_of(stage, "clara");
    offer_and_cancel(stage, "clara", "own", "agency:north");
    offer_and_cancel(stage, "clara", "own", "agency:south");
    let late = prepared(stage, &second, "agency:north");
    offer_and_cancel(stage, "clara", "own", "agency:south");
    enough(stage, &second, "agency:north", &late, "clara");
    assert_eq!(stage.site("own")["open_handover"], Value::Null);
    // What is no offer is not counted, above all not the way back.
    stage.tell("clara", "reclaim_site", "run", &json!({})).ok();
    // Others, and what others offer to her, are unaffected.
    let other = site_of(stage, "tom");
    offer_and_cancel(stage, "tom", &other, "agency:north");
    stage.offer("ada", "assign_client_role", "built", "clara");
}

/// One recipient has had enough, whoever writes; other recipients are still reached.
fn per_recipient(stage: &mut Stage) {
    let late = prepared(stage, "own", "agency:north");
    for i in 0..5 {
        let who = format!("sender{i}");
        let site = site_of(stage, &who);
        offer_and_cancel(stage, &who, &site, "agency:north");
    }
    enough(stage, "own", "agency:north", &late, "agency:north");
    offer_and_cancel(stage, "clara", "own", "agency:south");
}

/// A code that nobody used runs out by itself.
fn code_runs_out(stage: &mut Stage) {
    let code = stage.tell("clara", "issue_site_code", "own", &json!({})).ok().json()["site_code"].clone();
    let fields = json!({"site_code": code});
    let first = stage.preview("ada", "request_partner_role", "own", &fields).ok().json();
    assert_eq!(first["would"], "apply", "{first}");
    until("the code has run out", || {
        let preview = stage.preview("ada", "request_partner_role", "own", &fields);
        (preview.status != 200 || preview.json()["would"] != "apply").then_some(())
    });
    refused(&stage.tell("ada", "request_partner_role", "own", &fields), 403, "wrong_site_code");
}

//! Who may ask, offer and answer: phishing, look-alikes, one's own account, people who are there already, leaked links.

use serde_json::{Value, json};

use crate::{
    scenes,
    stage::{Scene, Stage, blocked, refused},
};

pub const SCENES: &[Scene] = scenes![
    phishing_request,
    phishing_words,
    look_alike,
    own_account,
    invitee_already_contributor,
    staff_already_contributors,
    link_leaked,
];

fn code(stage: &mut Stage) -> String {
    let issued = stage.tell("clara", "issue_site_code", "own", &json!({})).ok().json();
    issued["site_code"].as_str().unwrap().to_owned()
}

fn request(stage: &mut Stage, who: &str, code: &str) -> crate::http::Answer {
    stage.tell(who, "request_partner_role", "own", &json!({"site_code": code}))
}

/// A stranger with only the site's name reaches nobody: the code is the owner's to give, works once, and only the last
/// one works.
fn phishing_request(stage: &mut Stage) {
    refused(&request(stage, "ada", "ABCD-2345"), 403, "wrong_site_code");
    let no_code = stage.tell("ada", "request_partner_role", "own", &json!({}));
    assert_eq!(no_code.status, 400, "{no_code}");
    for who in ["ada", "cora", "vic", "tom"] {
        let denied = stage.tell(who, "issue_site_code", "own", &json!({}));
        assert_eq!(denied.status, 403, "{who}: {denied}");
    }
    let replaced = code(stage);
    let given = code(stage);
    assert_ne!(replaced, given);
    refused(&request(stage, "ada", &replaced), 403, "wrong_site_code");
    // A member is not the agency, and the code is not for everybody who finds it.
    for who in ["mel", "pam", "tom"] {
        let denied = request(stage, who, &given);
        assert_eq!(denied.status, 403, "{who}: {denied}");
    }
    let asked = request(stage, "ada", &given.to_lowercase()).ok().json()["handover"].clone();
    assert_eq!(asked["status"], "requested");
    // A request gives nothing, and cannot be accepted by whoever made it.
    stage.answers(&[("ada ViewSite own", "role_lacks_action"), ("ada EditContent own", "role_lacks_action")]);
    assert_eq!(stage.site("own")["seats"]["partner"], Value::Null);
    let id = asked["id"].as_str().unwrap().to_owned();
    let yes = stage.body("ada", "accept_handover", &json!({"handover": id, "explanation_digest": "sha256:none"}));
    assert_eq!(stage.send("own", &yes).status, 403);
    stage.tell("clara", "decline_handover", "own", &json!({"handover": id})).ok();
    refused(&request(stage, "ada", &given), 403, "wrong_site_code");
    // The code of one site says nothing about another.
    let given = code(stage);
    let elsewhere = stage.tell("sue", "request_partner_role", "run", &json!({"site_code": given}));
    assert!(elsewhere.status == 403 || elsewhere.status == 409, "{elsewhere}");
    request(stage, "sue", &given).ok();
}

/// The owner reads the platform's words with the agency's checked name and domain in them, and nothing of the sender's.
fn phishing_words(stage: &mut Stage) {
    for name in [
        "Studio https://evil.example",
        "Studio north.example",
        "www.evil.example",
        "Studio (evil.example)",
        "@studio",
        "Studio <b>North</b>",
        "mail me@evil.example",
        "Studio\nNorth",
        "",
        "Studio\u{202e}htroN",
        "Studio\u{200b}North",
    ] {
        let put = stage.put_agency("north", &json!({"name": name}));
        assert_eq!((put.status, put.code().as_str()), (400, "invalid_body"), "{name:?}: {put}");
    }
    let put = stage.put_agency("north", &json!({"domain": "https://evil.example/x"}));
    assert_eq!(put.status, 400, "{put}");
    let given = code(stage);
    // There is no field for a message.
    for field in ["message", "note", "subject", "reason"] {
        let mut body = stage.body("ada", "request_partner_role", &json!({"site_code": given}));
        body[field] = json!("call 0900 now");
        let refused = stage.send("own", &body);
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_body"), "{field}: {refused}");
    }
    let asked = request(stage, "ada", &given).ok().json()["handover"]["id"].as_str().unwrap().to_owned();
    let words = stage.http.get(&format!("/v1/handovers/{asked}/explanation?audience=client")).ok().text();
    assert!(words.contains("Studio North") && words.contains("north.example"), "{words}");
    assert!(!words.contains("://") && !words.contains(&stage.who("ada")) && !words.contains(&given), "{words}");
}

/// Only an agency that the platform has verified gets a seat, and its domain is shown beside its name.
fn look_alike(stage: &mut Stage) {
    let twin = stage.id("twin");
    let member = format!("/v1/agencies/{twin}/members/{}", stage.id("eve"));
    let body = json!({"name": "Studio North", "domain": "studio-n0rth.example"});
    stage.http.put(&format!("/v1/agencies/{twin}"), &body).ok();
    stage.http.put(&member, &json!({"role": "admin"})).ok();
    let denied = stage.try_offer("clara", "offer_partner_role", "own", &json!({"to": "agency:twin"}));
    blocked(&denied, "agency_unverified");
    let given = code(stage);
    let asked = request(stage, "eve", &given);
    assert!(asked.status == 403 || asked.status == 400, "{asked}");
    let nobody = stage.try_offer("clara", "offer_partner_role", "own", &json!({"to": "agency:nowhere"}));
    refused(&nobody, 404, "unknown_agency");
    // The control: verified, it can be offered the seat, and the owner reads which domain it is.
    stage
        .http
        .put(
            &format!("/v1/agencies/{twin}"),
            &json!({"name": "Studio North", "domain": "studio-n0rth.example", "verified": true}),
        )
        .ok();
    let preview = stage.preview("clara", "offer_partner_role", "own", &json!({"to": "agency:twin"})).ok().json();
    assert_eq!(preview["would"], "apply", "{preview}");
    assert!(preview["explanation"].to_string().contains("studio-n0rth.example"), "{preview}");
    // Verified no more between the offer and the yes: void.
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:twin");
    let yes = stage.yes("eve", &offer, "partner");
    stage
        .http
        .put(
            &format!("/v1/agencies/{twin}"),
            &json!({"name": "Studio North", "domain": "studio-n0rth.example", "verified": false}),
        )
        .ok();
    let late = stage.send("own", &yes);
    blocked(&late, "agency_unverified");
}

/// Who has access to a site, as `principal role`.
fn access(stage: &mut Stage, site: &str) -> Vec<String> {
    let list = stage.http.get(&format!("/v1/sites/{}/access", stage.id(site))).ok().json();
    let entries = list["items"].as_array().unwrap().iter();
    entries.map(|e| format!("{} {}", e["principal"].as_str().unwrap(), e["role"].as_str().unwrap())).collect()
}

/// One account is never both sides. Two accounts of one person are two, with a fresh sign-in for each yes.
fn own_account(stage: &mut Stage) {
    refused(&stage.try_offer("clara", "transfer_ownership", "own", &json!({"to": "clara"})), 422, "own_account");
    refused(&stage.try_offer("clara", "replace_partner", "run", &json!({"to": "agency:north"})), 422, "own_account");
    let to_person =
        stage.tell("clara", "offer_partner_role", "own", &json!({"to": "ada", "preview_digest": "sha256:none"}));
    assert_eq!(to_person.status, 400, "a person gets no Partner seat: {to_person}");
    let to_agency = stage.tell(
        "ada",
        "assign_client_role",
        "built",
        &json!({"to": "agency:north", "preview_digest": "sha256:none"}),
    );
    assert_eq!(to_agency.status, 400, "an agency gets no Client seat: {to_agency}");
    // Clara runs an agency herself.
    stage.put_member("north", "clara", "admin").ok();
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    let mut yes = stage.yes("clara", &offer, "partner");
    yes["auth_time"] = json!(crate::http::now_s() - 3600);
    refused(&stage.send("own", &yes), 403, "stepup_required");
    let yes = stage.yes("clara", &offer, "partner");
    stage.send("own", &yes).ok();
    let site = stage.site("own");
    assert_eq!(
        (&site["seats"]["client"], &site["seats"]["partner"]),
        (&json!(stage.who("clara")), &json!(stage.who("agency:north")))
    );
    // As the client of the pair she may do what the partner may not.
    stage.answers(&[("clara ReclaimSite own", "yes"), ("ada ReclaimSite own", "role_lacks_action")]);
}

/// A seat takes the place of the row its holder had, and the row does not come back with the site.
fn invitee_already_contributor(stage: &mut Stage) {
    stage.tell("clara", "grant_role", "own", &json!({"user": "ada", "role": "Viewer"})).ok();
    let ada = stage.who("ada");
    assert!(access(stage, "own").contains(&format!("{ada} Viewer")), "the control: the row is seen before");
    stage.hand_over();
    let rows = access(stage, "own");
    assert_eq!(rows.iter().filter(|row| row.starts_with(&format!("{ada} "))).count(), 1, "{rows:?}");
    assert!(!rows.contains(&format!("{ada} Viewer")), "{rows:?}");
    stage.answers(&[("ada PublishSite own", "yes")]);
    stage.tell("clara", "reclaim_site", "own", &json!({})).ok();
    let rows = access(stage, "own");
    assert!(!rows.iter().any(|row| row.starts_with(&format!("{ada} "))), "{rows:?}");
    stage.answers(&[
        ("ada ViewSite own", "no_role"),
        ("ada PublishSite own", "no_role"),
        ("cora PublishSite own", "yes"),
    ]);
    // The same for a co-owner who is given the whole site.
    let offer = stage.offer("clara", "transfer_ownership", "own", "cora");
    stage.accept("cora", "own", &offer, "recipient").ok();
    let cora = stage.who("cora");
    let rows = access(stage, "own");
    assert_eq!(rows.iter().filter(|row| row.starts_with(&format!("{cora} "))).count(), 1, "{rows:?}");
    stage.answers(&[("cora TransferOwnership own", "yes"), ("clara ViewSite own", "no_role")]);
}

/// The agency's people with roles of their own: the preview says what becomes of them, and the rows become delegations,
/// which end with the seat.
fn staff_already_contributors(stage: &mut Stage) {
    for (who, role) in [("max", "CoOwner"), ("min", "Viewer"), ("sid", "Viewer")] {
        stage.tell("clara", "grant_role", "own", &json!({"user": who, "role": role})).ok();
    }
    stage.answers(&[("max PublishSite own", "yes"), ("min PublishSite own", "role_lacks_action")]);
    let preview = stage.preview("clara", "offer_partner_role", "own", &json!({"to": "agency:north"})).ok().json();
    let diff = preview["permission_diff"].to_string();
    assert!(diff.contains(&stage.who("max")), "the preview names whose rights change: {diff}");
    assert!(!diff.contains(&stage.who("sid")), "and nobody else's: {diff}");
    stage.hand_over();
    let rows = access(stage, "own");
    assert!(!rows.contains(&format!("{} CoOwner", stage.who("max"))), "{rows:?}");
    // No delegation is as small as looking on: that row stays what Clara gave.
    assert!(rows.contains(&format!("{} Viewer", stage.who("min"))), "{rows:?}");
    assert!(rows.contains(&format!("{} Viewer", stage.who("sid"))), "another agency's member keeps the row: {rows:?}");
    stage.answers(&[
        ("max EditContent own", "yes"),
        ("min PublishSite own", "role_lacks_action"),
        ("max InviteContributor own", "role_lacks_action"),
    ]);
    stage.tell("clara", "reclaim_site", "own", &json!({})).ok();
    stage.answers(&[("max ViewSite own", "no_role"), ("min ViewSite own", "yes"), ("sid ViewSite own", "yes")]);
}

/// Whoever has the offer's id has nothing: the answer is the named account's, and an agency's is its admins'.
fn link_leaked(stage: &mut Stage) {
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    let digest = stage.http.digest(&offer, "partner");
    for who in ["tom", "sue", "sid", "mel", "max", "pam", "cora", "vic", "clara"] {
        let body = stage.body(who, "accept_handover", &json!({"handover": offer, "explanation_digest": digest}));
        let denied = stage.send("own", &body);
        assert_eq!(denied.status, 403, "{who} accepts: {denied}");
        if who != "clara" {
            let cancel = stage.tell(who, "cancel_handover", "own", &json!({"handover": offer}));
            assert_eq!(cancel.status, 403, "{who} cancels: {cancel}");
        }
        let decline = stage.tell(who, "decline_handover", "own", &json!({"handover": offer}));
        assert_eq!(decline.status, 403, "{who} declines: {decline}");
    }
    for who in ["tom", "sue"] {
        let path = format!("/v1/handovers/{offer}/explanation?audience=partner&actor={}", stage.who(who));
        let seen = stage.http.get(&path);
        assert!(seen.status == 403 && !seen.text().contains("north.example"), "{who} reads: {seen}");
    }
    // On the address of another site the id is nobody's.
    let body = stage.body("ada", "accept_handover", &json!({"handover": offer, "explanation_digest": digest}));
    refused(&stage.send("run", &body), 404, "unknown_handover");
    // Staff and services are no parties.
    for who in ["staff:tess", "service:billing"] {
        let body = stage.body(who, "accept_handover", &json!({"handover": offer, "explanation_digest": digest}));
        assert_eq!(stage.send("own", &body).status, 403, "{who}");
    }
    let wrong = stage.body("ada", "accept_handover", &json!({"handover": offer, "explanation_digest": "sha256:other"}));
    assert_eq!(stage.send("own", &wrong).status, 409, "who has not read it cannot say yes");
    assert_eq!(stage.handover(&offer)["status"], "open");
    stage.accept("abe", "own", &offer, "partner").ok();
}

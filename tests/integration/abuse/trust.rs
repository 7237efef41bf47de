//! Those who are trusted: agency staff, admins, support, trust and safety, co-owners, and accounts that end.

use serde_json::{Value, json};

use crate::{
    scenes,
    stage::{self, Scene, Stage, blocked, fresh, refused},
};

pub const SCENES: &[Scene] = scenes![
    employee_leaves,
    last_admin,
    agency_sold,
    suspended_partner,
    client_suspended,
    co_owner_reclaims,
    impersonation,
    insider,
    closing_account,
    free_site,
    domain_elsewhere,
];

/// Agency employee leaves or goes rogue: one row ends it on every site; the client keeps a single person out; the audit
/// names the human.
fn employee_leaves(stage: &mut Stage) {
    stage.answers(&[("mel EditContent run", "yes"), ("mel EditContent built", "yes")]);
    stage.tell("clara", "block_agency_member", "run", &json!({"user": "mel"})).ok();
    stage.answers(&[
        ("mel EditContent run", "blocked_by_client"),
        ("mel EditContent built", "yes"),
        ("max EditContent run", "yes"),
    ]);
    let own = stage.tell("mel", "unblock_agency_member", "run", &json!({"user": "mel"}));
    assert_eq!(own.status, 403, "{own}");
    let admin = stage.tell("ada", "unblock_agency_member", "run", &json!({"user": "mel"}));
    assert_eq!(admin.status, 403, "{admin}");
    stage.remove_member("north", "max").ok();
    stage.answers(&[
        ("max EditContent run", "no_role"),
        ("max EditContent built", "no_role"),
        ("ada EditContent run", "yes"),
    ]);
    // An admin who leaves takes nothing along either, and an offer made to the agency is not theirs to answer.
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    let yes = stage.yes("abe", &offer, "partner");
    stage.remove_member("north", "abe").ok();
    stage.answers(&[("abe EditContent run", "no_role"), ("abe ReleaseSite run", "no_role")]);
    assert_eq!(stage.send("own", &yes).status, 403);
    stage.accept("ada", "own", &offer, "partner").ok();
    let path = format!("/v1/sites/{}/audit?limit=1000", stage.id("own"));
    let events = stage.http.get(&path).ok().json();
    let accepted =
        events["items"].as_array().unwrap().iter().find(|e| e["type"] == "HandoverAccepted").unwrap().clone();
    assert!(accepted.to_string().contains(&stage.who("ada")), "the human behind the agency: {accepted}");
}

/// Last agency admin leaves: not without another one, unless the agency closes.
fn last_admin(stage: &mut Stage) {
    refused(&stage.remove_member("south", "sue"), 409, "last_admin");
    refused(&stage.put_member("south", "sue", "member"), 409, "last_admin");
    stage.put_member("south", "sid", "admin").ok();
    stage.remove_member("south", "sue").ok();
    refused(&stage.remove_member("south", "sid"), 409, "last_admin");
    stage.put_agency("south", &json!({"name": "Studio South", "domain": "south.example", "status": "dissolving"})).ok();
    stage.remove_member("south", "sid").ok();
    // Nobody can be sent there any more.
    blocked(&stage.try_offer("clara", "offer_partner_role", "own", &json!({"to": "agency:south"})), "agency_suspended");
}

/// Agency sold or merged: each client says yes to the new one, or the site stays where it is.
fn agency_sold(stage: &mut Stage) {
    let offer = stage.offer("ada", "replace_partner", "run", "agency:south");
    assert_eq!(stage.handover(&offer)["consents_needed"].as_array().unwrap().len(), 2);
    // Neither agency says the client's yes, both of them together do not either.
    stage.accept("sue", "run", &offer, "new_partner").ok();
    for who in ["sue", "ada", "cora"] {
        let digest = stage.http.digest(&offer, "client");
        let body = stage.body(who, "accept_handover", &json!({"handover": offer, "explanation_digest": digest}));
        let denied = stage.send("run", &body);
        assert!(denied.status == 403 || denied.code() == "already_so", "{who}: {denied}");
    }
    assert_eq!(stage.site("run")["seats"]["partner"], json!(stage.who("agency:north")));
    // What the agency built and holds itself is not an engagement: it has no client to ask, and no shortcut.
    let built =
        stage.tell("ada", "replace_partner", "built", &json!({"to": "agency:south", "preview_digest": "sha256:none"}));
    assert!(built.status == 403 || built.status == 409, "{built}");
    stage.tell("clara", "decline_handover", "run", &json!({"handover": offer})).ok();
    assert_eq!(stage.site("run")["seats"]["partner"], json!(stage.who("agency:north")));
    stage.answers(&[("sue ViewSite run", "no_role"), ("ada EditContent run", "yes"), ("clara ReclaimSite run", "yes")]);
}

/// Suspended partner: its rights are off at once, its offers are void, and the client waits for nobody.
fn suspended_partner(stage: &mut Stage) {
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    let yes = stage.yes("ada", &offer, "partner");
    stage.put_agency("north", &json!({"status": "suspended", "case": "C-7"})).ok();
    stage.answers(&[
        ("ada EditContent run", "agency_suspended"),
        ("mel EditContent run", "agency_suspended"),
        ("fred EditContent run", "agency_suspended"),
        ("ada ReleaseSite run", "agency_suspended"),
        ("ada OpenDispute run", "yes"),
        ("clara EditContent run", "yes"),
        ("cora EditContent run", "yes"),
    ]);
    assert_eq!(stage.handover(&offer)["status"], "invalidated");
    refused(&stage.send("own", &yes), 409, "terminal:invalidated");
    // A new name or a corrected domain does not lift it.
    stage.put_agency("north", &json!({"name": "Studio North and Friends"})).ok();
    stage.answers(&[("ada EditContent run", "agency_suspended")]);
    let back = stage.tell("clara", "reclaim_site", "run", &json!({})).ok().json();
    assert_eq!(back["site"]["mode"], "self_managed", "{back}");
    // Reinstated, it has lost what the client took back.
    stage.put_agency("north", &json!({"status": "active"})).ok();
    stage.answers(&[("ada EditContent run", "no_role"), ("ada EditContent built", "yes")]);
}

/// Client suspended for abuse: the freeze stops both sides and moves nothing.
fn client_suspended(stage: &mut Stage) {
    let before = stage.site("run");
    let no_case = stage.tell("staff:tess", "freeze_site", "run", &json!({}));
    assert!(no_case.status == 400 || no_case.status == 403, "{no_case}");
    assert_eq!(
        stage.tell("staff:sam", "freeze_site", "run", &json!({"case": "C-1"})).status,
        403,
        "support does not freeze"
    );
    stage.tell("staff:tess", "freeze_site", "run", &json!({"case": "C-1"})).ok();
    stage.answers(&[
        ("ada ViewSite run", "yes"),
        ("ada EditContent run", "frozen"),
        ("ada PublishSite run", "frozen"),
        ("ada ExportSite run", "frozen"),
        ("clara EditContent run", "frozen"),
        ("clara TransferDomain run", "frozen"),
        ("clara ExportSite run", "yes"),
        ("clara ReclaimSite run", "yes"),
        ("cora EditContent run", "frozen"),
    ]);
    let after = stage.site("run");
    for fact in ["mode", "content_owner", "plan_holder", "seats", "domains", "published", "plan"] {
        assert_eq!(before[fact], after[fact], "{fact}");
    }
    for (who, command) in [("ada", "resign_as_partner"), ("ada", "release_site"), ("clara", "trash_site")] {
        let stopped = stage.tell(who, command, "run", &json!({}));
        assert!(stopped.status >= 400, "{command}: {stopped}");
    }
    // Not by the parties: only trust and safety, or time, lifts it.
    for who in ["clara", "ada", "staff:sam"] {
        assert_eq!(stage.tell(who, "unfreeze_site", "run", &json!({"case": "C-1"})).status, 403, "{who}");
    }
    // The reclaim is recorded and waits for the end of the freeze, even where it would be at once.
    let kept = stage.tell("clara", "reclaim_site", "run", &json!({})).ok().json();
    assert_eq!(
        (&kept["site"]["mode"], &kept["site"]["return_pending"]["reason"]),
        (&json!("partner_managed"), &json!("reclaim"))
    );
}

/// A co-owner tries to reclaim: no, and they read who can.
fn co_owner_reclaims(stage: &mut Stage) {
    for who in ["cora", "bill", "vic", "ada", "mel", "fred", "tom", "staff:tess", "staff:sam"] {
        let denied = stage.tell(who, "reclaim_site", "run", &json!({}));
        assert_eq!(denied.status, 403, "{who}: {denied}");
    }
    let answer = stage.explained("cora", "ReclaimSite", "run", &fresh());
    assert_eq!(answer["decision"], false);
    assert_eq!(answer["context"]["reason"], "role_lacks_action", "{answer}");
    assert_eq!(answer["context"]["missing"], json!(["role:Client"]), "{answer}");
    assert_eq!(stage.site("run")["return_pending"], Value::Null);
}

/// Impersonation by support: nothing without a seat's consent, and then a look, for a while.
fn impersonation(stage: &mut Stage) {
    stage.answers(&[("staff:sam ViewSite run", "no_session")]);
    for who in ["staff:sam", "staff:tess", "cora", "mel", "fred", "tom"] {
        let denied = stage.tell(who, "grant_support_session", "run", &json!({"agent": "sam"}));
        assert_eq!(denied.status, 403, "{who}: {denied}");
    }
    let long = stage.tell("clara", "grant_support_session", "run", &json!({"agent": "sam", "minutes": 61}));
    refused(&long, 400, "out_of_range");
    let staff = stage.tell("clara", "grant_support_session", "run", &json!({"agent": "tess"}));
    refused(&staff, 404, "unknown_staff");
    stage.tell("clara", "grant_support_session", "run", &json!({"agent": "sam", "minutes": 30})).ok();
    let fresh = fresh();
    assert!(stage.may("staff:sam", "ViewSite", "run", &fresh));
    assert!(!stage.may("staff:sol", "ViewSite", "run", &fresh), "the session is one agent's");
    assert!(!stage.may("staff:sam", "ViewSite", "own", &fresh), "and one site's");
    // Of the whole catalogue nothing but looking, with every sign-in and case in the world.
    let mut everything = fresh.clone();
    for (name, value) in [("case", "C-1"), ("operation", "x")] {
        everything[name] = json!(value);
    }
    everything["account"] = json!(stage.who("clara"));
    for action in stage::actions() {
        let looking = action.starts_with("View");
        let may = stage.may("staff:sam", &action, "run", &everything);
        assert!(looking || !may, "support may {action}");
    }
    for action in ["ViewPayouts", "ViewInvoices", "ExportSite", "ExportContacts"] {
        assert!(!stage.may("staff:sam", action, "run", &everything), "{action}");
    }
    let offer = stage.offer("clara", "replace_partner", "run", "agency:south");
    for command in ["accept_handover", "cancel_handover", "decline_handover"] {
        let mut fields = json!({"handover": offer});
        if command == "accept_handover" {
            fields["explanation_digest"] = json!("sha256:none");
        }
        assert_eq!(stage.tell("staff:sam", command, "run", &fields).status, 403, "{command}");
    }
    stage.tell("clara", "end_support_session", "run", &json!({"agent": "sam"})).ok();
    assert!(!stage.may("staff:sam", "ViewSite", "run", &fresh));
    let events = stage.events("run");
    assert!(
        ["SupportSessionStarted", "SupportSessionEnded"].iter().all(|kind| events.iter().any(|event| event == kind))
    );
}

/// A trust and safety insider: no title moves without custody, a colleague, and the successor's own yes.
fn insider(stage: &mut Stage) {
    let successor = |approver: &str| json!({"to": "tom", "case": "C-1", "approver": approver});
    let early = stage.tell("staff:tess", "record_successor", "run", &successor("theo"));
    refused(&early, 409, "illegal_transition");
    for approver in ["tess", "sam", "nobody"] {
        let alone = stage.tell("staff:tess", "open_custody", "run", &json!({"case": "C-1", "approver": approver}));
        refused(&alone, 403, "approver_needed");
    }
    let missing = stage.tell("staff:tess", "open_custody", "run", &json!({"case": "C-1"}));
    assert!(missing.status == 400 || missing.status == 403, "{missing}");
    let support = stage.tell("staff:sam", "open_custody", "run", &json!({"case": "C-1", "approver": "tess"}));
    assert_eq!(support.status, 403, "{support}");
    stage.tell("staff:tess", "open_custody", "run", &json!({"case": "C-1", "approver": "theo"})).ok();
    assert_eq!(stage.site("run")["content_owner"], json!(stage.who("clara")), "custody moves nothing");
    refused(&stage.tell("staff:tess", "record_successor", "run", &successor("tess")), 403, "approver_needed");
    for heir in ["ada", "mel", "pam"] {
        let fields = json!({"to": heir, "case": "C-1", "approver": "theo"});
        let partner = stage.tell("staff:tess", "record_successor", "run", &fields);
        refused(&partner, 409, "illegal_transition");
    }
    let recorded = stage.tell("staff:tess", "record_successor", "run", &successor("theo")).ok().json();
    let offer = recorded["handover"]["id"].as_str().unwrap().to_owned();
    assert_eq!(stage.site("run")["content_owner"], json!(stage.who("clara")), "nor does the record");
    // Whoever holds the owner's sign-in does not undo it meanwhile.
    blocked(&stage.tell("clara", "cancel_handover", "run", &json!({"handover": offer})), "frozen");
    let digest = stage.http.digest(&offer, "recipient");
    for who in ["staff:tess", "staff:theo", "ada", "cora"] {
        let body = stage.body(who, "accept_handover", &json!({"handover": offer, "explanation_digest": digest}));
        assert_eq!(stage.send("run", &body).status, 403, "{who}");
    }
    stage.accept("tom", "run", &offer, "recipient").ok();
    let site = stage.site("run");
    assert_eq!(
        (&site["content_owner"], &site["seats"]["client"]),
        (&json!(stage.who("tom")), &json!(stage.who("tom")))
    );
    assert_eq!(site["seats"]["partner"], json!(stage.who("agency:north")));
}

/// Closing an account: not while anything is its own or paid by it.
fn closing_account(stage: &mut Stage) {
    let account = |stage: &mut Stage, who: &str, status: &str| {
        let path = format!("/v1/accounts/{}", stage.who(who));
        stage.http.put(&path, &json!({"status": status}))
    };
    let open = account(stage, "clara", "closed");
    refused(&open, 409, "owns_sites");
    let sites = open.json()["sites"].to_string();
    assert!(sites.contains(&stage.id("own")) && sites.contains(&stage.id("run")), "{sites}");
    refused(&account(stage, "agency:north", "closed"), 409, "owns_sites");
    // Closing, it gives nothing away to an agency and gets nothing; taking back stays possible.
    account(stage, "clara", "closing").ok();
    blocked(&stage.try_offer("clara", "offer_partner_role", "own", &json!({"to": "agency:north"})), "account_closing");
    blocked(&stage.try_offer("ada", "assign_client_role", "built", &json!({"to": "clara"})), "account_closing");
    stage.answers(&[("clara ReclaimSite run", "yes")]);
    account(stage, "clara", "open").ok();
    let offer = stage.offer("clara", "transfer_ownership", "own", "tom");
    stage.accept("tom", "own", &offer, "recipient").ok();
    stage.tell("clara", "reclaim_site", "run", &json!({})).ok();
    refused(&account(stage, "clara", "closed"), 409, "owns_sites");
    stage.tell("ada", "release_site", "run", &json!({})).ok();
    stage.tell("clara", "trash_site", "run", &json!({})).ok();
    refused(&account(stage, "clara", "closed"), 409, "owns_sites");
    stage.tell("clara", "purge_site", "run", &json!({})).ok();
    account(stage, "clara", "closed").ok();
    refused(&account(stage, "clara", "open"), 409, "account_closed");
    account(stage, "vic", "closed").ok();
}

/// A free site is handed over like any other; the partner buys the plan.
fn free_site(stage: &mut Stage) {
    let path = format!("/v1/sites/{}", stage.id("free"));
    let body =
        json!({"mode": "self_managed", "owner": stage.who("clara"), "plan": {"tier": "free"}, "published": true});
    stage.http.put(&path, &body).ok();
    let offer = stage.offer("clara", "offer_partner_role", "free", "agency:north");
    stage.accept("ada", "free", &offer, "partner").ok();
    let site = stage.site("free");
    assert_eq!((&site["plan_holder"], &site["plan"]["tier"]), (&json!(stage.who("agency:north")), &json!("free")));
    stage.answers(&[("ada UpgradePlan free", "yes"), ("clara UpgradePlan free", "role_lacks_action")]);
    stage.http.put(&path, &json!({"plan": {"tier": "premium"}})).ok();
    let back = stage.tell("clara", "reclaim_site", "free", &json!({})).ok().json();
    assert_eq!(back["site"]["plan"]["tier"], "free", "undone: {back}");
}

/// A domain that somebody else holds stays theirs, whoever gets the site.
fn domain_elsewhere(stage: &mut Stage) {
    let path = format!("/v1/sites/{}", stage.id("own"));
    let domains = json!([{"name": "other.example", "holder": stage.who("tom")}, {"name": "own.example", "holder": stage.who("clara")}]);
    stage.http.put(&path, &json!({ "domains": domains })).ok();
    stage.hand_over();
    assert_eq!(stage.site("own")["domains"], domains);
    stage.tell("clara", "reclaim_site", "own", &json!({})).ok();
    assert_eq!(stage.site("own")["domains"], domains);
    let foreign = json!({"to": "cora", "domains": ["other.example"]});
    refused(&stage.try_offer("clara", "transfer_ownership", "own", &foreign), 422, "unknown_domain");
    let fields = json!({"to": "cora", "domains": ["own.example"]});
    let offer = stage.try_offer("clara", "transfer_ownership", "own", &fields).ok().json();
    let offer = offer["handover"]["id"].as_str().unwrap().to_owned();
    stage.accept("cora", "own", &offer, "recipient").ok();
    let after = json!([{"name": "other.example", "holder": stage.who("tom")}, {"name": "own.example", "holder": stage.who("cora")}]);
    assert_eq!(stage.site("own")["domains"], after);
}

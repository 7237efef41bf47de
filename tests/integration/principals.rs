//! The people behind a seat, over HTTP: what may an agency's members, admins and accountants do, for how long, and who
//! reads what they did?

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    http::now_s,
    scenes,
    server::until,
    stage::{Stage, actions, fresh, notice, play, refused},
    worlds::in_seconds,
};

#[test]
fn the_people_of_an_agency() {
    let scenes = scenes![
        no_member_exceeds_the_seat,
        a_grant_ends_by_time,
        a_grant_is_given_and_taken_by_admins,
        the_client_keeps_a_member_out,
        everything_ends_with_the_membership,
        accountants_see_and_pay_the_plan,
        nothing_goes_through_a_suspended_agency,
    ];
    play(scenes, &[]);
}

/// The control: a template with one action that the seat has not, and one that a block does not stop.
#[test]
fn a_member_above_the_seat_is_noticed() {
    let members = "seats/agency-member.cedar";
    let (edit, purge) =
        ("Sites::Action::\"EditDesign\",", "Sites::Action::\"EditDesign\", Sites::Action::\"PurgeContent\",");
    notice(scenes![no_member_exceeds_the_seat], members, edit, purge);
    notice(scenes![the_client_keeps_a_member_out], members, "context.blocked ||", "");
}

/// Everything that a caller can say, so that nothing is denied for want of it: signed in, confirmed, the agency's card.
fn everything(stage: &Stage) -> Value {
    json!({"auth_time": now_s(), "operation": "order-7", "case": "c-1", "account": format!("agency:{}", stage.id("north"))})
}

/// All that somebody may do.
fn may(stage: &mut Stage, who: &str, site: &str) -> BTreeSet<String> {
    let context = everything(stage);
    actions().into_iter().filter(|action| stage.may(who, action, site, &context)).collect()
}

/// D: in this state, what the members may do the seat may too, but for giving up their own grant.
fn within_the_seat(stage: &mut Stage, state: &str, site: &str) {
    let seat = may(stage, "ada", site);
    let [builder, commerce, manager] = ["max", "min", "mel"].map(|member| may(stage, member, site));
    for (name, member) in [("builder", &builder), ("commerce", &commerce), ("manager", &manager)] {
        let beyond: Vec<&String> = member.difference(&seat).filter(|action| *action != "LeaveSite").collect();
        assert!(beyond.is_empty(), "{state}: the {name} may, the seat may not: {beyond:?}");
        let beyond: Vec<&String> = member.difference(&manager).collect();
        assert!(beyond.is_empty(), "{state}: the {name} may, the manager may not: {beyond:?}");
    }
    // The control: where the seat works, so do they, each at less.
    if ["plain", "settling", "returning"].contains(&state) {
        assert!(builder.contains("EditDesign") && !builder.contains("ManageOrders"), "{state}: {builder:?}");
        assert!(commerce.contains("ManageOrders") && !commerce.contains("EditDesign"), "{state}: {commerce:?}");
        assert!(manager.len() > builder.len() && manager.len() < seat.len(), "{state}: {manager:?}");
    }
}

/// D: whatever the template and the state of the site, no member may do what the Partner seat may not.
fn no_member_exceeds_the_seat(stage: &mut Stage) {
    stage.tell("ada", "grant_agency_access", "run", &json!({"user": "min", "template": "commerce"})).ok();
    let confirmed = json!({"action": "RefundOrder", "operation": "order-7"});
    stage.tell("clara", "confirm_partner_action", "run", &confirmed).ok();
    within_the_seat(stage, "plain", "run");
    for (lock, state) in [(false, "returning"), (true, "locked")] {
        stage.tell("clara", "reclaim_site", "run", &json!({ "lock": lock })).ok();
        within_the_seat(stage, state, "run");
        stage.tell("clara", "withdraw_reclaim", "run", &json!({})).ok();
    }
    stage.tell("clara", "trash_site", "run", &json!({})).ok();
    within_the_seat(stage, "trashed", "run");
    stage.tell("clara", "restore_site", "run", &json!({})).ok();
    stage.offer("clara", "replace_partner", "run", "agency:south");
    within_the_seat(stage, "offered", "run");
    stage.tell("staff:tess", "freeze_site", "run", &json!({"case": "c-1"})).ok();
    within_the_seat(stage, "frozen", "run");
    stage.hand_over();
    for (user, template) in [("max", "builder"), ("min", "commerce"), ("mel", "manager")] {
        stage.tell("ada", "grant_agency_access", "own", &json!({"user": user, "template": template})).ok();
    }
    within_the_seat(stage, "settling", "own");
}

/// D: a grant is over at its end, and can be given anew.
fn a_grant_ends_by_time(stage: &mut Stage) {
    let grant = |at: &str| json!({"user": "min", "template": "builder", "expires_at": at});
    refused(&stage.tell("ada", "grant_agency_access", "run", &grant(&in_seconds(-1))), 400, "out_of_range");
    stage.tell("ada", "grant_agency_access", "run", &grant(&in_seconds(3))).ok();
    stage.answers(&[("min EditDesign run", "yes")]);
    until("the grant has ended", || {
        (stage.why("min", "EditDesign", "run", &json!({})) == "grant_expired").then_some(())
    });
    let left = may(stage, "min", "run");
    assert!(left.iter().all(|action| action == "LeaveSite"), "{left:?}");
    stage.tell("ada", "grant_agency_access", "run", &grant(&in_seconds(3_600))).ok();
    stage.answers(&[("min EditDesign run", "yes")]);
}

/// D: admins of the seated agency delegate, to members and nobody else, and take back at once.
fn a_grant_is_given_and_taken_by_admins(stage: &mut Stage) {
    let grant = |user: &str| json!({"user": user, "template": "manager"});
    for who in ["clara", "cora", "mel", "pam", "fred", "sue", "tom"] {
        for (command, fields) in
            [("grant_agency_access", grant("min")), ("revoke_agency_access", json!({"user": "mel"}))]
        {
            let answer = stage.tell(who, command, "run", &fields);
            assert_eq!(answer.status, 403, "{who} {command}: {answer}");
        }
    }
    for user in ["pam", "sid", "sue", "tom", "fred"] {
        refused(&stage.tell("ada", "grant_agency_access", "run", &grant(user)), 404, "unknown_member");
    }
    for (user, code) in [("abe", "already_so"), ("mel", "already_so")] {
        refused(&stage.tell("ada", "grant_agency_access", "run", &grant(user)), 409, code);
    }
    stage.answers(&[("mel EditContent run", "yes"), ("min EditContent run", "no_role")]);
    stage.tell("abe", "revoke_agency_access", "run", &json!({"user": "mel"})).ok();
    stage.answers(&[
        ("mel EditContent run", "no_role"),
        ("mel EditContent built", "yes"),
        ("max EditContent run", "yes"),
    ]);
    refused(&stage.tell("ada", "revoke_agency_access", "run", &json!({"user": "mel"})), 404, "unknown_member");
    // A member gives up their own.
    stage.tell("max", "leave_site", "run", &json!({})).ok();
    stage.answers(&[("max EditContent run", "no_role")]);
}

/// The client keeps one member out, on that site; not an admin, who acts for the agency, and nobody else does it.
fn the_client_keeps_a_member_out(stage: &mut Stage) {
    let user = |name: &str| json!({ "user": name });
    refused(&stage.tell("clara", "block_agency_member", "run", &user("ada")), 409, "admin_acts_for_agency");
    for outsider in ["sid", "tom", "fred"] {
        refused(&stage.tell("clara", "block_agency_member", "run", &user(outsider)), 404, "unknown_member");
    }
    for who in ["cora", "ada", "max", "sue", "staff:tess"] {
        let answer = stage.tell(who, "block_agency_member", "run", &user("mel"));
        assert_eq!(answer.status, 403, "{who}: {answer}");
    }
    let [mel, pam] = ["mel", "pam"].map(|name| may(stage, name, "run"));
    for name in ["mel", "pam"] {
        stage.tell("clara", "block_agency_member", "run", &user(name)).ok();
        refused(&stage.tell("clara", "block_agency_member", "run", &user(name)), 409, "already_so");
        let left = may(stage, name, "run");
        assert!(left.iter().all(|action| action == "LeaveSite"), "{name} still may {left:?}");
    }
    stage.answers(&[
        ("mel EditContent run", "blocked_by_client"),
        ("pam ViewPlan run", "blocked_by_client"),
        ("max EditContent run", "yes"),
        ("mel EditContent built", "yes"),
    ]);
    // The agency does not get round it.
    stage.tell("ada", "grant_agency_access", "run", &json!({"user": "mel", "template": "builder"})).ok();
    stage.answers(&[("mel EditContent run", "blocked_by_client")]);
    assert_eq!(stage.tell("ada", "unblock_agency_member", "run", &user("mel")).status, 403);
    stage.tell("ada", "grant_agency_access", "run", &json!({"user": "mel", "template": "manager"})).ok();
    for name in ["mel", "pam"] {
        stage.tell("clara", "unblock_agency_member", "run", &user(name)).ok();
        refused(&stage.tell("clara", "unblock_agency_member", "run", &user(name)), 404, "unknown_member");
    }
    assert_eq!([may(stage, "mel", "run"), may(stage, "pam", "run")], [mel, pam]);
}

/// T30: whoever leaves the agency keeps nothing on any of its sites, whatever they were there.
fn everything_ends_with_the_membership(stage: &mut Stage) {
    for (who, site) in
        [("mel", "run"), ("mel", "built"), ("max", "run"), ("pam", "run"), ("abe", "run"), ("abe", "built")]
    {
        assert!(!may(stage, who, site).is_empty(), "{who} on {site}");
    }
    for who in ["mel", "max", "pam", "abe"] {
        stage.remove_member("north", who).ok();
        for site in ["run", "built"] {
            let left = may(stage, who, site);
            assert!(left.is_empty(), "{who} on {site} still may {left:?}");
            assert_eq!(stage.why(who, "ViewSite", site, &fresh()), "no_role", "{who} on {site}");
        }
    }
    refused(&stage.remove_member("north", "ada"), 409, "last_admin");
    stage.answers(&[("ada EditContent run", "yes"), ("clara EditContent run", "yes")]);
    // Another agency's people are that agency's only.
    stage.put_member("south", "mel", "admin").ok();
    stage.answers(&[("mel EditContent run", "no_role"), ("mel EditContent built", "no_role")]);
}

/// What the agency's accountants may do, and nothing else.
fn accountants_see_and_pay_the_plan(stage: &mut Stage) {
    let expected = [
        "PurchaseApp",
        "PurchaseDomain",
        "RenewDomain",
        "ViewPlan",
        "UpgradePlan",
        "ViewInvoices",
        "ManagePaymentMethods",
    ];
    let expected: BTreeSet<String> = expected.map(str::to_owned).into();
    assert_eq!(may(stage, "pam", "run"), expected);
    assert!(may(stage, "pam", "own").is_empty(), "no site of the agency's");
    stage.put_member("north", "pam", "member").ok();
    assert!(may(stage, "pam", "run").is_empty(), "a member needs a grant");
    stage.put_member("north", "mel", "billing").ok();
    let mel = may(stage, "mel", "run");
    assert!(!mel.contains("EditContent"), "a grant is work, and accountants do none: {mel:?}");
}

/// T22: through a suspended agency goes nothing but its invoices and its right to dispute; all is back with its status.
fn nothing_goes_through_a_suspended_agency(stage: &mut Stage) {
    let people = ["ada", "abe", "mel", "max", "pam", "fred"];
    let all = |stage: &mut Stage| people.map(|who| [may(stage, who, "run"), may(stage, who, "built")]);
    let before = all(stage);
    let [clara, vic] = ["clara", "vic"].map(|who| may(stage, who, "run"));
    for status in ["suspended", "dissolving"] {
        stage.put_agency("north", &json!({"verified": true, "status": status, "case": "TS-9"})).ok();
        for who in people {
            let kept: BTreeSet<String> = match who {
                "ada" | "abe" => ["ViewInvoices", "OpenDispute"].map(str::to_owned).into(),
                "pam" => ["ViewInvoices"].map(str::to_owned).into(),
                _ => BTreeSet::new(),
            };
            assert_eq!(may(stage, who, "run"), kept, "{who} while {status}");
        }
        stage.answers(&[("ada EditContent run", "agency_suspended"), ("mel EditContent run", "agency_suspended")]);
        stage.answers(&[
            ("clara EditContent run", "yes"),
            ("clara ReclaimSite run", "yes"),
            ("cora EditContent run", "yes"),
        ]);
        assert_eq!(may(stage, "vic", "run"), vic);
        let answer = stage.tell("ada", "grant_role", "run", &json!({"user": "tom", "role": "Viewer"}));
        refused(&answer, 403, "agency_suspended");
        stage.put_agency("north", &json!({"verified": true, "status": "active", "case": "TS-9"})).ok();
        assert_eq!(all(stage), before, "after {status}");
        assert_eq!(may(stage, "clara", "run"), clara, "after {status}");
    }
}

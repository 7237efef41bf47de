//! The platform's own staff over HTTP (codes V and X): does support only look, only when let in and only for a while, and
//! does trust and safety act only with a case, and where it matters with a colleague?

use serde_json::{Value, json};

use crate::{
    scenes,
    server::until,
    stage::{Stage, actions, fresh, notice, play, refused},
};

/// The control: a policy that lets support write, or trust and safety act without a case, fails these scenes.
#[test]
fn a_forgotten_limit_is_noticed() {
    let platform = "seats/platform.cedar";
    let (looks, writes) =
        ("Sites::Action::\"ViewDomain\",", "Sites::Action::\"ViewDomain\", Sites::Action::\"EditDns\",");
    notice(scenes![only_the_agent_who_was_let_in_looks], platform, looks, writes);
    let case = "context.case_given";
    notice(scenes![a_freeze_needs_a_case], platform, case, &format!("({case} || !{case})"));
}

// --- V: a support session ---------------------------------------------------------------------------------------------

#[test]
fn support_looks_when_it_is_let_in() {
    let scenes = scenes![only_the_agent_who_was_let_in_looks, a_seat_ends_the_session, who_lets_support_in];
    play(scenes, &[]);
}

#[test]
fn a_support_session_ends_by_time() {
    play(scenes![time_ends_the_session], &[("MANDATE_TIMERS__SUPPORT_SESSION", "3s")]);
}

/// What support sees in a session, and all that it may do.
const SEEN: [&str; 8] = [
    "ViewSite",
    "ViewContent",
    "ViewAnalytics",
    "ViewDomain",
    "ViewPlan",
    "ViewContributors",
    "ViewAuditLog",
    "ViewHandover",
];

/// Everything that the caller could say, so that nothing is denied for want of it.
fn everything(stage: &Stage, who: &str) -> Value {
    let mut context = fresh();
    (context["case"], context["operation"], context["account"]) =
        (json!("c-1"), json!("order-7"), json!(stage.who(who)));
    context
}

/// V: the agent that a seat let in sees what support sees, on that site, and may do nothing; another agent sees nothing.
fn only_the_agent_who_was_let_in_looks(stage: &mut Stage) {
    for action in SEEN {
        assert_eq!(stage.why("staff:sam", action, "run", &json!({})), "no_session", "{action}");
    }
    stage.tell("clara", "grant_support_session", "run", &json!({"agent": "sam"})).ok();
    let context = everything(stage, "staff:sam");
    let all = actions();
    assert!(all.len() > 76, "{all:?}");
    for action in &all {
        let expected = SEEN.contains(&action.as_str());
        assert_eq!(stage.may("staff:sam", action, "run", &context), expected, "{action}");
        assert!(!stage.may("staff:sol", action, "run", &context), "{action} by another agent");
        assert!(!stage.may("staff:sam", action, "own", &context), "{action} on another site");
        let (subject, site) = (stage.id("sam"), stage.id("run"));
        assert!(!stage.http.may(&format!("user:{subject}"), action, &site, &context), "{action} by a namesake");
    }
    let answer = stage.tell("staff:sam", "grant_role", "run", &json!({"user": "tom", "role": "Viewer"}));
    refused(&answer, 403, "role_lacks_action");
}

/// V: either seat ends a session, and at once.
fn a_seat_ends_the_session(stage: &mut Stage) {
    for (lets_in, ends) in [("clara", "ada"), ("ada", "clara"), ("clara", "clara")] {
        stage.tell(lets_in, "grant_support_session", "run", &json!({"agent": "sam", "minutes": 60})).ok();
        assert!(stage.may("staff:sam", "ViewContent", "run", &json!({})));
        for who in ["vic", "mel", "sue"] {
            let answer = stage.tell(who, "end_support_session", "run", &json!({"agent": "sam"}));
            assert_eq!(answer.status, 403, "{who}: {answer}");
        }
        refused(&stage.tell(ends, "end_support_session", "run", &json!({"agent": "sol"})), 404, "unknown_staff");
        stage.tell(ends, "end_support_session", "run", &json!({"agent": "sam"})).ok();
        assert_eq!(stage.why("staff:sam", "ViewContent", "run", &json!({})), "no_session");
        refused(&stage.tell(ends, "end_support_session", "run", &json!({"agent": "sam"})), 404, "unknown_staff");
    }
}

/// V: a seat lets support in, nobody else does; only support staff, and for an hour at most.
fn who_lets_support_in(stage: &mut Stage) {
    for who in ["cora", "fred", "mel", "pam", "sue", "tom", "staff:sam", "staff:tess"] {
        let answer = stage.tell(who, "grant_support_session", "run", &json!({"agent": "sam"}));
        assert_eq!(answer.status, 403, "{who}: {answer}");
    }
    for minutes in [0, 61, u64::MAX] {
        let answer = stage.tell("clara", "grant_support_session", "run", &json!({"agent": "sam", "minutes": minutes}));
        refused(&answer, 400, "out_of_range");
    }
    for agent in ["tess", "nobody"] {
        let answer = stage.tell("clara", "grant_support_session", "run", &json!({ "agent": agent }));
        refused(&answer, 404, "unknown_staff");
    }
    for (who, site) in [("clara", "own"), ("clara", "run"), ("ada", "built")] {
        assert!(!stage.may("staff:sam", "ViewSite", site, &json!({})));
        stage.tell(who, "grant_support_session", site, &json!({"agent": "sam"})).ok();
        assert!(stage.may("staff:sam", "ViewSite", site, &json!({})), "{who} on {site}");
    }
}

/// V: a session that nobody ends is over when its time is.
fn time_ends_the_session(stage: &mut Stage) {
    stage.tell("clara", "grant_support_session", "run", &json!({"agent": "sam"})).ok();
    assert!(stage.may("staff:sam", "ViewContent", "run", &json!({})));
    until("the session is over", || {
        (stage.why("staff:sam", "ViewContent", "run", &json!({})) == "no_session").then_some(())
    });
    stage.tell("clara", "grant_support_session", "run", &json!({"agent": "sam"})).ok();
    assert!(stage.may("staff:sam", "ViewContent", "run", &json!({})), "and can be granted again");
}

// --- X: trust and safety with a case ----------------------------------------------------------------------------------

#[test]
fn trust_and_safety_has_a_case() {
    play(scenes![a_freeze_needs_a_case, custody_and_succession_need_a_colleague], &[]);
}

#[test]
fn with_four_eyes_a_freeze_needs_a_colleague() {
    play(scenes![four_eyes_see_a_freeze], &[("MANDATE_FOUR_EYES", "true")]);
}

/// X: freezing and its end need a case and the role; no seat, no support agent, nobody else.
fn a_freeze_needs_a_case(stage: &mut Stage) {
    let case = json!({"case": "TS-1"});
    assert_eq!(stage.why("staff:tess", "FreezeSite", "run", &json!({})), "case_required");
    for none in [json!(""), json!(null), json!(7), json!(["TS-1"])] {
        assert_eq!(stage.why("staff:tess", "FreezeSite", "run", &json!({ "case": none })), "case_required", "{none}");
    }
    assert_eq!(stage.why("staff:tess", "FreezeSite", "run", &case), "");
    assert_eq!(stage.why("staff:tess", "UnfreezeSite", "run", &case), "wrong_mode");
    for (who, why) in [
        ("clara", "role_lacks_action"),
        ("ada", "role_lacks_action"),
        ("staff:sam", "role_lacks_action"),
        ("tom", "no_role"),
        ("tess", "no_role"),
    ] {
        assert_eq!(stage.why(who, "FreezeSite", "run", &case), why, "{who}");
        let answer = stage.tell(who, "freeze_site", "run", &case);
        assert_eq!(answer.status, 403, "{who}: {answer}");
    }
    let bare = stage.tell("staff:tess", "freeze_site", "run", &json!({}));
    assert_eq!(bare.status, 400, "without a case: {bare}");
    assert_eq!(stage.site("run")["frozen_until"], Value::Null);
    stage.tell("staff:tess", "freeze_site", "run", &case).ok();
    stage.answers(&[
        ("clara EditContent run", "frozen"),
        ("ada EditContent run", "frozen"),
        ("vic ViewSite run", "yes"),
    ]);
    let bare = stage.tell("staff:tess", "unfreeze_site", "run", &json!({}));
    assert_eq!(bare.status, 400, "without a case: {bare}");
    stage.tell("staff:theo", "unfreeze_site", "run", &case).ok();
    stage.answers(&[("clara EditContent run", "yes"), ("ada EditContent run", "yes")]);
    refused(&stage.tell("staff:tess", "freeze_site", "run", &case), 409, "freeze_used");
}

/// Approvers that do not count: none, oneself, somebody of support, nobody.
fn nobody_agrees(stage: &mut Stage, command: &str, site: &str, fields: &Value) {
    for approver in [None, Some("tess"), Some("sam"), Some("nobody")] {
        let mut fields = fields.clone();
        if let Some(approver) = approver {
            fields["approver"] = json!(approver);
        }
        let answer = stage.tell("staff:tess", command, site, &fields);
        assert_eq!((answer.status, answer.code().as_str()), (403, "approver_needed"), "{approver:?}: {answer}");
    }
}

/// X: custody and a successor need a colleague of trust and safety; the partner and its people never inherit.
fn custody_and_succession_need_a_colleague(stage: &mut Stage) {
    let agreed = json!({"case": "TS-2", "approver": "theo"});
    nobody_agrees(stage, "open_custody", "run", &json!({"case": "TS-2"}));
    let bare = stage.tell("staff:tess", "open_custody", "run", &json!({"approver": "theo"}));
    assert_eq!(bare.status, 400, "without a case: {bare}");
    for who in ["ada", "clara", "staff:sam"] {
        assert_eq!(stage.tell(who, "open_custody", "run", &agreed).status, 403, "{who}");
    }
    stage.tell("staff:tess", "open_custody", "run", &agreed).ok();
    stage.answers(&[("clara EditContent run", "frozen"), ("ada PublishSite run", "frozen")]);
    let to = |who: &str| json!({"to": who, "case": "TS-2", "approver": "theo"});
    nobody_agrees(stage, "record_successor", "run", &json!({"to": "tom", "case": "TS-2"}));
    for heir in ["ada", "mel", "pam"] {
        refused(&stage.tell("staff:tess", "record_successor", "run", &to(heir)), 409, "illegal_transition");
    }
    refused(&stage.tell("staff:tess", "record_successor", "own", &to("tom")), 409, "illegal_transition");
    let offer = stage.tell("staff:tess", "record_successor", "run", &to("tom")).ok().json();
    let offer = offer["handover"]["id"].as_str().unwrap().to_owned();
    assert_eq!(stage.site("run")["content_owner"], json!(stage.who("clara")), "nothing moves without tom's yes");
    stage.accept("tom", "run", &offer, "recipient").ok();
    let site = stage.site("run");
    assert_eq!(site["content_owner"], json!(stage.who("tom")), "{site}");
    assert_eq!(site["plan_holder"], json!(format!("agency:{}", stage.id("north"))), "{site}");
    stage.answers(&[("tom ReclaimSite run", "yes"), ("clara ViewSite run", "no_role"), ("ada EditContent run", "yes")]);
}

/// X: where the installation asks for four eyes, a freeze and its end need a colleague too.
fn four_eyes_see_a_freeze(stage: &mut Stage) {
    let agreed = json!({"case": "TS-3", "approver": "theo"});
    nobody_agrees(stage, "freeze_site", "run", &json!({"case": "TS-3"}));
    assert_eq!(stage.site("run")["frozen_until"], Value::Null);
    stage.tell("staff:tess", "freeze_site", "run", &agreed).ok();
    nobody_agrees(stage, "unfreeze_site", "run", &json!({"case": "TS-3"}));
    stage.answers(&[("clara EditContent run", "frozen")]);
    stage.tell("staff:tess", "unfreeze_site", "run", &agreed).ok();
    stage.answers(&[("clara EditContent run", "yes")]);
}

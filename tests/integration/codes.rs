//! The codes of the matrix that ask for more than a role, over HTTP: does each hold exactly as long as what it asks for?
//!
//! Every scene says in one line what must hold. A yes has the no beside it that differs in the one thing asked for.

use serde_json::{Value, json};

use crate::{
    http::now_s,
    scenes,
    server::until,
    stage::{Stage, fresh, notice, play, refused},
};

/// The control: a policy that forgets what a code asks for fails that code's scene.
#[test]
fn a_forgotten_condition_is_noticed() {
    let always = |fact: &str| format!("({fact} || !{fact})");
    for (scenes, file, right, wrong) in [
        (scenes![a_sign_in_has_a_window], "seats/owner.cedar", "context.fresh_sign_in", None),
        (scenes![a_confirmation_is_of_one_act], "seats/partner.cedar", "context.confirmed", None),
        (scenes![the_other_seat_is_told], "seats/partner.cedar", "@notify(\"client\")", Some("")),
        (scenes![cards_and_invoices_are_their_accounts], "seats/agency-billing.cedar", "context.own_account", None),
        (scenes![nobodys_spending_outlives_the_payer], "roles/billing-manager.cedar", "context.granted_by_payer", None),
        (
            scenes![only_the_named_agency_answers],
            "handover/parties.cedar",
            "Role::\"HandoverInitiator\"",
            Some("Role::\"HandoverAcceptor\""),
        ),
    ] {
        notice(scenes, file, right, wrong.unwrap_or(&always(right)));
    }
}

// --- S: a fresh sign-in ----------------------------------------------------------------------------------------------

#[test]
fn what_needs_a_fresh_sign_in() {
    play(scenes![a_sign_in_has_a_window, a_stale_sign_in_commands_nothing], &[]);
}

/// The reason of a deny for a sign-in exactly so many seconds from now: asked again when the clock ticked meanwhile.
fn signed_in(stage: &mut Stage, seconds: i64) -> String {
    until("a question is answered within one second of the clock", || {
        let now = now_s();
        let why = stage.why("clara", "ExportSite", "own", &json!({"auth_time": now + seconds}));
        (now_s() == now).then_some(why)
    })
}

/// S: a sign-in counts from one minute ahead of the clock until ten minutes after it, and nothing else is one.
fn a_sign_in_has_a_window(stage: &mut Stage) {
    for inside in [60, 59, 0, -300, -599, -600] {
        assert_eq!(signed_in(stage, inside), "", "{inside} s");
    }
    for outside in [61, 3_600, -601, -86_400] {
        assert_eq!(signed_in(stage, outside), "stepup_required", "{outside} s");
    }
    for never in [json!(null), json!("now"), json!(true), json!(now_s().to_string()), json!(-1), json!(i64::MAX)] {
        let why = stage.why("clara", "ExportSite", "own", &json!({ "auth_time": never }));
        assert_eq!(why, "stepup_required", "{never}");
    }
    assert_eq!(stage.why("clara", "ExportSite", "own", &json!({})), "stepup_required");
    // What needs none does not ask for one, and a sign-in gives nobody a role.
    assert!(stage.may("clara", "EditContent", "own", &json!({})));
    assert_eq!(stage.why("cora", "ExportSite", "own", &fresh()), "role_lacks_action");
    assert_eq!(stage.why("tom", "ExportSite", "own", &fresh()), "no_role");
}

/// S: a command with an old sign-in, a future one or none is refused and changes nothing.
fn a_stale_sign_in_commands_nothing(stage: &mut Stage) {
    let before = stage.site("run");
    let mut body = stage.body("clara", "reclaim_site", &json!({}));
    for auth_time in [json!(now_s() - 602), json!(now_s() + 63), Value::Null] {
        body["auth_time"] = auth_time;
        if body["auth_time"].is_null() {
            body.as_object_mut().unwrap().remove("auth_time");
        }
        refused(&stage.send("run", &body), 403, "stepup_required");
    }
    assert_eq!(stage.site("run"), before);
    stage.tell("clara", "reclaim_site", "run", &json!({})).ok();
    assert_eq!(stage.site("run")["return_pending"]["reason"], "reclaim", "the control");
}

// --- 2: the client's confirmation ------------------------------------------------------------------------------------

#[test]
fn what_needs_the_clients_confirmation() {
    let scenes = scenes![
        a_confirmation_is_of_one_act,
        a_confirmation_is_spent_once,
        the_partner_trashes_what_was_confirmed,
        a_stronger_role_takes_a_confirmation_of_it,
        only_the_client_confirms,
        a_confirmation_runs_out,
        a_confirmation_ends_with_the_engagement,
    ];
    play(scenes, &[]);
}

fn yes_to(action: &str, operation: &str) -> Value {
    json!({"action": action, "operation": operation})
}

fn about(operation: &str) -> Value {
    json!({"operation": operation, "auth_time": now_s()})
}

/// 2: while it lives, a confirmation is good for its action with its operation, and for nothing else.
fn a_confirmation_is_of_one_act(stage: &mut Stage) {
    assert_eq!(stage.why("ada", "RefundOrder", "run", &about("order-7")), "confirm_required");
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("RefundOrder", "order-7")).ok();
    assert!(stage.may("ada", "RefundOrder", "run", &about("order-7")));
    assert!(stage.may("abe", "RefundOrder", "run", &about("order-7")), "the seat's, so any admin's");
    for other in ["order-8", "Order-7", "order-7 ", "order", ""] {
        assert_eq!(stage.why("ada", "RefundOrder", "run", &about(other)), "confirm_required", "{other}");
    }
    assert_eq!(stage.why("ada", "RefundOrder", "run", &fresh()), "confirm_required");
    assert_eq!(stage.why("ada", "RefundOrder", "run", &json!({"operation": ["order-7"]})), "confirm_required");
    assert_eq!(stage.why("ada", "ViewPayouts", "run", &about("order-7")), "confirm_required");
    // It is the Partner seat's: nobody below it gains anything, and what the seat never may it still may not.
    assert_eq!(stage.why("mel", "RefundOrder", "run", &about("order-7")), "role_lacks_action");
    assert_eq!(stage.why("sue", "RefundOrder", "run", &about("order-7")), "no_role");
    for action in ["ManagePayouts", "TransferDomain", "EditContent"] {
        let answer = stage.tell("clara", "confirm_partner_action", "run", &yes_to(action, "order-7"));
        refused(&answer, 422, "not_confirmable");
    }
    refused(
        &stage.tell("clara", "confirm_partner_action", "run", &yes_to("RefundOrder", "order-7")),
        409,
        "already_so",
    );
}

/// 2: the service that did the act spends the yes; a second time, and for another act, there is none to spend.
fn a_confirmation_is_spent_once(stage: &mut Stage) {
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("RefundOrder", "order-7")).ok();
    let mut spend = |action: &str, operation: &str| {
        stage.tell("service:shop", "spend_confirmation", "run", &yes_to(action, operation))
    };
    refused(&spend("RefundOrder", "order-8"), 404, "unknown_confirmation");
    refused(&spend("ViewPayouts", "order-7"), 404, "unknown_confirmation");
    spend("RefundOrder", "order-7").ok();
    refused(&spend("RefundOrder", "order-7"), 404, "unknown_confirmation");
    assert_eq!(stage.why("ada", "RefundOrder", "run", &about("order-7")), "confirm_required");
    for who in ["ada", "clara", "staff:sam", "staff:tess"] {
        let answer = stage.tell(who, "spend_confirmation", "run", &yes_to("RefundOrder", "order-7"));
        assert_eq!(answer.status, 403, "{who}: {answer}");
    }
    let events = stage.events("run");
    assert_eq!(events.iter().filter(|kind| *kind == "ConfirmationSpent").count(), 1, "{events:?}");
}

/// 2: `trash_site` of the partner needs the operation that was confirmed, and uses it up.
fn the_partner_trashes_what_was_confirmed(stage: &mut Stage) {
    let trash = |operation: &str| json!({ "operation": operation });
    for fields in [trash("bin-1"), json!({})] {
        refused(&stage.tell("ada", "trash_site", "run", &fields), 403, "confirm_required");
    }
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("TrashSite", "bin-1")).ok();
    for fields in [trash("bin-2"), json!({})] {
        refused(&stage.tell("ada", "trash_site", "run", &fields), 403, "confirm_required");
    }
    stage.tell("ada", "trash_site", "run", &trash("bin-1")).ok();
    assert_eq!(stage.site("run")["trashed"], true);
    stage.tell("ada", "restore_site", "run", &json!({})).ok();
    refused(&stage.tell("ada", "trash_site", "run", &trash("bin-1")), 403, "confirm_required");
    // The client's own act needs none and spends none.
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("TrashSite", "bin-1")).ok();
    stage.tell("clara", "trash_site", "run", &trash("bin-1")).ok();
    stage.tell("clara", "restore_site", "run", &json!({})).ok();
    assert!(stage.may("ada", "TrashSite", "run", &about("bin-1")), "not used up");
}

/// 2: the partner gives a role stronger than its own only to the person and with the role that the client confirmed.
fn a_stronger_role_takes_a_confirmation_of_it(stage: &mut Stage) {
    let role = |user: &str, role: &str| json!({"user": user, "role": role});
    let stronger = [role("tom", "CoOwner"), role("tom", "StoreManager"), role("tom", "DomainManager")];
    for fields in &stronger {
        refused(&stage.tell("ada", "grant_role", "run", fields), 403, "confirm_required");
    }
    let operation = format!("{}:CoOwner", stage.id("tom"));
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("InviteContributor", &operation)).ok();
    for fields in [role("sid", "CoOwner"), role("tom", "StoreManager"), role("tom", "DomainManager")] {
        refused(&stage.tell("ada", "grant_role", "run", &fields), 403, "confirm_required");
    }
    // Changing somebody's role is another action.
    refused(&stage.tell("ada", "change_role", "run", &role("fred", "CoOwner")), 403, "confirm_required");
    stage.tell("ada", "grant_role", "run", &role("tom", "CoOwner")).ok();
    assert!(stage.may("tom", "RefundOrder", "run", &json!({})));
    // Spent: once the role is gone again, it takes another yes.
    stage.tell("clara", "revoke_role", "run", &json!({"user": "tom"})).ok();
    refused(&stage.tell("ada", "grant_role", "run", &role("tom", "CoOwner")), 403, "confirm_required");
    let operation = format!("{}:CoOwner", stage.id("fred"));
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("ChangeContributorRole", &operation)).ok();
    refused(&stage.tell("ada", "grant_role", "run", &role("sid", "CoOwner")), 403, "confirm_required");
    stage.tell("ada", "change_role", "run", &role("fred", "CoOwner")).ok();
    // What it may give by itself needs none; what nobody below the client may give, none helps with.
    stage.tell("ada", "grant_role", "run", &role("sid", "WebsiteManager")).ok();
    let answer = stage.tell("mel", "grant_role", "run", &role("min", "Viewer"));
    assert_eq!(answer.status, 403, "a member invites nobody: {answer}");
}

/// 2: nobody but the client confirms, and only after a fresh sign-in.
fn only_the_client_confirms(stage: &mut Stage) {
    for (who, code) in [
        ("cora", "role_lacks_action"),
        ("fred", "role_lacks_action"),
        ("ada", "role_lacks_action"),
        ("mel", "role_lacks_action"),
        ("sue", "no_role"),
        ("tom", "no_role"),
        ("staff:tess", "role_lacks_action"),
    ] {
        let answer = stage.tell(who, "confirm_partner_action", "run", &yes_to("RefundOrder", "order-7"));
        assert_eq!((answer.status, answer.code().as_str()), (403, code), "{who}: {answer}");
    }
    let mut body = stage.body("clara", "confirm_partner_action", &yes_to("RefundOrder", "order-7"));
    body["auth_time"] = json!(now_s() - 700);
    refused(&stage.send("run", &body), 403, "stepup_required");
    assert_eq!(stage.why("ada", "RefundOrder", "run", &about("order-7")), "confirm_required");
    // An owner without a partner has nothing to confirm.
    let alone = stage.tell("clara", "confirm_partner_action", "own", &yes_to("RefundOrder", "order-7"));
    refused(&alone, 403, "role_lacks_action");
}

/// 2: a confirmation ends by time, and none lives longer than a week.
fn a_confirmation_runs_out(stage: &mut Stage) {
    let fields = |seconds: u64| json!({"action": "RefundOrder", "operation": "order-7", "expires_in_s": seconds});
    for seconds in [0, 7 * 86_400 + 1] {
        refused(&stage.tell("clara", "confirm_partner_action", "run", &fields(seconds)), 400, "out_of_range");
    }
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("ViewPayouts", "order-7")).ok();
    stage.tell("clara", "confirm_partner_action", "run", &fields(2)).ok();
    until("the confirmation has run out", || {
        let why = stage.why("ada", "RefundOrder", "run", &about("order-7"));
        (why == "confirm_required").then_some(())
    });
    let spent = stage.tell("service:shop", "spend_confirmation", "run", &yes_to("RefundOrder", "order-7"));
    refused(&spent, 404, "unknown_confirmation");
    assert!(stage.may("ada", "ViewPayouts", "run", &about("order-7")), "the control lives on");
    stage.tell("clara", "confirm_partner_action", "run", &fields(7 * 86_400)).ok();
    assert!(stage.may("ada", "RefundOrder", "run", &about("order-7")), "and it can be given again");
}

/// 2: what was confirmed to one partner is not the next one's.
fn a_confirmation_ends_with_the_engagement(stage: &mut Stage) {
    stage.tell("clara", "confirm_partner_action", "run", &yes_to("RefundOrder", "order-7")).ok();
    let offer = stage.offer("clara", "replace_partner", "run", "agency:south");
    stage.accept("sue", "run", &offer, "new_partner").ok();
    assert_eq!(stage.why("ada", "RefundOrder", "run", &about("order-7")), "no_role");
    assert_eq!(stage.why("sue", "RefundOrder", "run", &about("order-7")), "confirm_required");
}

// --- N, T and G: who is told, and whose money it is -------------------------------------------------------------------

#[test]
fn who_is_told_and_whose_money_it_is() {
    let scenes = scenes![
        the_other_seat_is_told,
        cards_and_invoices_are_their_accounts,
        the_payers_people_spend,
        nobodys_spending_outlives_the_payer,
    ];
    play(scenes, &[]);
}

/// The obligations of an allow; what is denied obliges to nothing.
fn told(stage: &mut Stage, who: &str, action: &str) -> Value {
    let (subject, site) = (stage.who(who), stage.id("run"));
    let answer = stage.http.ask(&subject, action, &site, &fresh()).json();
    assert_eq!(answer["decision"], true, "{who} {action}: {answer}");
    answer["context"]["obligations"].clone()
}

/// N: the bare answer says which seat must be told; what the matrix has as plain Y obliges to nothing.
fn the_other_seat_is_told(stage: &mut Stage) {
    for action in ["UnpublishSite", "ExportSite", "ExportContacts", "ManageApiKeys", "EditDns", "DowngradePlan"] {
        assert_eq!(told(stage, "ada", action), json!([{"notify": "client", "action": action}]));
    }
    for action in ["UnpublishSite", "DuplicateSite"] {
        assert_eq!(told(stage, "clara", action), json!([{"notify": "partner", "action": action}]));
    }
    for (who, action) in [
        ("ada", "EditContent"),
        ("ada", "DuplicateSite"),
        ("clara", "ExportSite"),
        ("clara", "EditDns"),
        ("cora", "UnpublishSite"),
        ("mel", "DuplicateSite"),
    ] {
        assert_eq!(told(stage, who, action), Value::Null, "{who} {action}");
    }
    let denied = stage.explained("vic", "UnpublishSite", "run", &fresh());
    assert_eq!((&denied["decision"], &denied["context"]["obligations"]), (&json!(false), &Value::Null), "{denied}");
}

/// T: one's own cards and invoices, never another account's, and none at all when none is named.
fn cards_and_invoices_are_their_accounts(stage: &mut Stage) {
    let north = format!("agency:{}", stage.id("north"));
    let south = format!("agency:{}", stage.id("south"));
    let [clara, ada, pam] = ["clara", "ada", "pam"].map(|name| stage.who(name));
    for action in ["PurchaseApp", "PurchaseDomain", "RenewDomain", "ViewInvoices", "ManagePaymentMethods"] {
        for (who, own, others) in [
            ("clara", &clara, [&north, &ada, &south]),
            ("ada", &north, [&clara, &south, &pam]),
            ("pam", &north, [&clara, &south, &ada]),
        ] {
            let card = |account: &str| json!({"account": account});
            assert_eq!(stage.why(who, action, "run", &card(own)), "", "{who} {action}");
            for other in others {
                assert_eq!(stage.why(who, action, "run", &card(other)), "not_your_own", "{who} {action} {other}");
            }
            for none in [json!({}), json!({"account": 7}), json!({"account": "north"}), json!({"account": ""})] {
                assert_eq!(stage.why(who, action, "run", &none), "not_your_own", "{who} {action} {none}");
            }
        }
        // A card of one's own makes nobody somebody here.
        for who in ["mel", "vic"] {
            let card = json!({"account": stage.who(who)});
            assert_eq!(stage.why(who, action, "run", &card), "role_lacks_action", "{who} {action}");
        }
        assert_eq!(stage.why("sue", action, "run", &json!({ "account": south })), "no_role", "{action}");
    }
}

/// G: a billing manager or co-owner spends on the plan while whoever gave the role pays for it.
fn the_payers_people_spend(stage: &mut Stage) {
    stage.answers(&[
        ("bill UpgradePlan own", "yes"),
        ("bill DowngradePlan own", "yes"),
        ("bill PurchaseApp own", "yes"),
        ("bill ViewInvoices own", "yes"),
        ("cora UpgradePlan own", "yes"),
        // On Clara's other site North pays: her people keep the rest.
        ("bill UpgradePlan run", "not_payer"),
        ("bill ViewInvoices run", "not_payer"),
        ("cora UpgradePlan run", "not_payer"),
        ("cora PurchaseDomain run", "not_payer"),
        ("bill ViewPlan run", "yes"),
        ("clara UpgradePlan run", "role_lacks_action"),
        ("ada UpgradePlan run", "yes"),
    ]);
    // The payer's own invitation carries it.
    stage.tell("ada", "grant_role", "run", &json!({"user": "tom", "role": "BillingManager"})).ok();
    stage.tell("clara", "grant_role", "run", &json!({"user": "sid", "role": "BillingManager"})).ok();
    stage.answers(&[("tom UpgradePlan run", "yes"), ("sid UpgradePlan run", "not_payer")]);
}

/// G: a change of the payer ends what the old payer's people could spend, with no clean-up, and their return revives it.
fn nobodys_spending_outlives_the_payer(stage: &mut Stage) {
    stage.answers(&[("bill UpgradePlan own", "yes"), ("cora PurchaseApp own", "yes")]);
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    stage.answers(&[("bill UpgradePlan own", "yes")]);
    stage.accept("ada", "own", &offer, "partner").ok();
    stage.answers(&[
        ("bill UpgradePlan own", "not_payer"),
        ("bill DowngradePlan own", "not_payer"),
        ("bill ViewInvoices own", "not_payer"),
        ("cora PurchaseApp own", "not_payer"),
        ("bill ViewPlan own", "yes"),
        ("cora EditContent own", "yes"),
        ("ada UpgradePlan own", "yes"),
    ]);
    stage.tell("ada", "grant_role", "own", &json!({"user": "tom", "role": "BillingManager"})).ok();
    stage.answers(&[("tom UpgradePlan own", "yes")]);
    // Settling in, Clara undoes it at once.
    stage.tell("clara", "reclaim_site", "own", &json!({})).ok();
    stage.answers(&[
        ("bill UpgradePlan own", "yes"),
        ("cora PurchaseApp own", "yes"),
        ("tom UpgradePlan own", "no_role"),
        ("ada UpgradePlan own", "no_role"),
    ]);
}

// --- H: the named parties of a handover -------------------------------------------------------------------------------

#[test]
fn who_answers_an_offer() {
    let scenes = scenes![
        only_the_named_agency_answers,
        the_partner_proposes_and_the_client_agrees_first,
        the_partner_proposes_and_the_client_agrees_last,
        the_client_declines_the_partners_proposal,
        the_clients_proposal_asks_nobody_twice,
    ];
    play(scenes, &[]);
}

/// H: the offer's own parties answer it; every other seat, role and member may not, in a check and in a command.
fn only_the_named_agency_answers(stage: &mut Stage) {
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:south");
    for who in ["clara", "cora", "bill", "ada", "sid", "mel", "tom", "fred", "staff:tess", "staff:sam"] {
        for action in ["AcceptHandover", "DeclineHandover"] {
            assert!(!stage.may(who, action, "own", &fresh()), "{who} {action}");
        }
        let accept = json!({"handover": offer, "explanation_digest": "sha256:0"});
        for (command, fields) in [("accept_handover", accept), ("decline_handover", json!({"handover": offer}))] {
            let answer = stage.tell(who, command, "own", &fields);
            assert_eq!(answer.status, 403, "{who} {command}: {answer}");
        }
    }
    stage.answers(&[
        ("sue AcceptHandover own", "yes"),
        ("sue DeclineHandover own", "yes"),
        ("sue CancelHandover own", "not_a_party"),
        ("clara CancelHandover own", "yes"),
        ("sid AcceptHandover own", "no_role"),
        // Being asked gives nothing but the answer and a look at what is offered.
        ("sue ViewHandover own", "yes"),
        ("sue ViewSite own", "role_lacks_action"),
        ("tom ViewHandover own", "no_role"),
    ]);
    assert_eq!(stage.why("sue", "AcceptHandover", "own", &json!({"auth_time": now_s() - 700})), "stepup_required");
    assert_eq!(stage.why("sue", "AcceptHandover", "run", &fresh()), "no_role", "no offer of that site's");
    assert_eq!(stage.handover(&offer)["status"], "open");
    stage.tell("sue", "decline_handover", "own", &json!({ "handover": offer })).ok();
    refused(&stage.tell("clara", "cancel_handover", "own", &json!({ "handover": offer })), 409, "terminal:declined");
}

/// H: one yes to a replacement that the partner started moves nothing.
fn still_north(stage: &mut Stage, offer: &str, missing: &str) {
    let handover = stage.handover(offer);
    assert_eq!((&handover["status"], &handover["consents_needed"]), (&json!("open"), &json!([missing])), "{handover}");
    let north = format!("agency:{}", stage.id("north"));
    assert_eq!(stage.site("run")["seats"]["partner"], json!(north));
    stage.answers(&[("ada EditContent run", "yes"), ("sue EditContent run", "role_lacks_action")]);
}

fn now_south(stage: &mut Stage, offer: &str) {
    assert_eq!(stage.handover(offer)["status"], "accepted");
    let (site, south) = (stage.site("run"), format!("agency:{}", stage.id("south")));
    assert_eq!((&site["seats"]["partner"], &site["plan_holder"]), (&json!(south), &json!(south)), "{site}");
    assert_eq!(site["content_owner"], json!(stage.who("clara")));
    stage.answers(&[
        ("sue EditContent run", "yes"),
        ("ada ViewSite run", "no_role"),
        ("mel ViewSite run", "no_role"),
        ("fred ViewSite run", "no_role"),
        ("vic ViewSite run", "yes"),
        ("clara ReclaimSite run", "yes"),
    ]);
}

/// H: the partner's proposal of another partner takes the client's yes and the new agency's, the client's first.
fn the_partner_proposes_and_the_client_agrees_first(stage: &mut Stage) {
    let offer = stage.offer("ada", "replace_partner", "run", "agency:south");
    stage.answers(&[
        ("clara AcceptHandover run", "yes"),
        ("sue AcceptHandover run", "yes"),
        ("ada AcceptHandover run", "not_a_party"),
        ("cora AcceptHandover run", "not_a_party"),
        ("abe CancelHandover run", "yes"),
    ]);
    stage.accept("clara", "run", &offer, "client").ok();
    let south = format!("agency:{}", stage.id("south"));
    still_north(stage, &offer, &south);
    let again = stage.accept("clara", "run", &offer, "client");
    assert!(again.status >= 400, "the client does not answer for the agency: {again}");
    still_north(stage, &offer, &south);
    stage.accept("sue", "run", &offer, "new_partner").ok();
    now_south(stage, &offer);
}

/// H: the same with the new agency's yes first.
fn the_partner_proposes_and_the_client_agrees_last(stage: &mut Stage) {
    let offer = stage.offer("ada", "replace_partner", "run", "agency:south");
    stage.accept("sue", "run", &offer, "new_partner").ok();
    let clara = stage.who("clara");
    still_north(stage, &offer, &clara);
    let body = stage.yes("sue", &offer, "client");
    let again = stage.send("run", &body);
    assert!(again.status >= 400, "the agency does not answer for the client: {again}");
    still_north(stage, &offer, &clara);
    stage.accept("clara", "run", &offer, "client").ok();
    now_south(stage, &offer);
}

/// H: the client's no ends the partner's proposal, also after the new agency's yes.
fn the_client_declines_the_partners_proposal(stage: &mut Stage) {
    for first in [false, true] {
        let offer = stage.offer("ada", "replace_partner", "run", "agency:south");
        if first {
            stage.accept("sue", "run", &offer, "new_partner").ok();
        }
        stage.tell("clara", "decline_handover", "run", &json!({ "handover": offer })).ok();
        assert_eq!(stage.handover(&offer)["status"], "declined");
        let body = json!({"handover": offer, "explanation_digest": "sha256:0"});
        refused(&stage.tell("sue", "accept_handover", "run", &body), 409, "terminal:declined");
        stage.answers(&[("ada EditContent run", "yes"), ("sue AcceptHandover run", "no_role")]);
    }
}

/// H: what the client proposes needs the new agency's yes alone; the present partner is not asked.
fn the_clients_proposal_asks_nobody_twice(stage: &mut Stage) {
    let offer = stage.offer("clara", "replace_partner", "run", "agency:south");
    stage.answers(&[
        ("ada AcceptHandover run", "not_a_party"),
        ("ada DeclineHandover run", "not_a_party"),
        ("ada CancelHandover run", "not_a_party"),
        ("clara AcceptHandover run", "not_a_party"),
    ]);
    for who in ["ada", "sid", "tom"] {
        let answer = stage.tell(who, "decline_handover", "run", &json!({ "handover": offer }));
        assert_eq!(answer.status, 403, "{who}: {answer}");
    }
    stage.accept("sue", "run", &offer, "new_partner").ok();
    now_south(stage, &offer);
}

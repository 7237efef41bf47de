//! Two things at once, and things that come too late: one winner, and every loser is told how it ended.

use std::{
    sync::Barrier,
    thread::{scope, sleep},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    http::{Answer, Client},
    scenes,
    stage::{Scene, Stage, blocked, refused},
};

pub const SCENES: &[Scene] = scenes![
    double_click,
    two_admins,
    accept_cancel_decline,
    accept_and_reclaim,
    two_offers,
    offers_at_once,
    old_offer,
    trashed_with_offer,
    purged_with_offer,
    existing_partner,
];

/// Sends all at the same time, each on its own warm connection.
fn at_once(stage: &mut Stage, site: &str, calls: &[(String, Value)]) -> Vec<Answer> {
    let (id, gate) = (stage.id(site), Barrier::new(calls.len()));
    let callers: Vec<Client> = calls.iter().map(|_| stage.another()).collect();
    scope(|scope| {
        let send = |(mut http, (key, body)): (Client, &(String, Value))| {
            let (id, gate) = (&id, &gate);
            let (key, body) = (key.clone(), body.clone());
            scope.spawn(move || {
                http.get(&format!("/v1/sites/{id}")).ok();
                gate.wait();
                // Somebody who sends while the same key is being worked on is told to come again.
                loop {
                    let answer = http.command(id, &key, &body);
                    if answer.code() != "in_flight" {
                        return answer;
                    }
                    sleep(Duration::from_millis(2));
                }
            })
        };
        let running: Vec<_> = callers.into_iter().zip(calls).map(send).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn count(stage: &mut Stage, site: &str, event: &str) -> usize {
    stage.events(site).iter().filter(|kind| *kind == event).count()
}

/// The same click many times is one acceptance and one reply.
fn double_click(stage: &mut Stage) {
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    let (key, yes) = (stage.key(), stage.yes("ada", &offer, "partner"));
    let answers = at_once(stage, "own", &vec![(key.clone(), yes.clone()); 8]);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body), "{answer}");
    }
    assert_eq!(count(stage, "own", "HandoverAccepted"), 1);
    // Much later too; with other words under the same key it is a mistake, and under a new key it is over.
    let id = stage.id("own");
    assert_eq!(stage.http.command(&id, &key, &yes).body, answers[0].body);
    let mut other = yes.clone();
    other["lang"] = json!("de");
    refused(&stage.http.command(&id, &key, &other), 422, "key_reused");
    refused(&stage.send("own", &yes), 409, "terminal:accepted");
    assert_eq!(count(stage, "own", "HandoverAccepted"), 1);
}

/// Both admins say yes in the same moment: one does, the other reads that it is done, and with which handover.
fn two_admins(stage: &mut Stage) {
    for _ in 0..5 {
        let before = count(stage, "own", "HandoverAccepted");
        let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
        let calls = ["ada", "abe"].map(|who| (stage.key(), stage.yes(who, &offer, "partner")));
        let mut answers = at_once(stage, "own", &calls);
        answers.sort_by_key(|answer| answer.status);
        assert_eq!(answers[0].status, 200, "{}", answers[0]);
        refused(&answers[1], 409, "terminal:accepted");
        assert_eq!(answers[1].json()["handover"]["id"], json!(offer), "{}", answers[1]);
        assert_eq!(count(stage, "own", "HandoverAccepted"), before + 1);
        stage.tell("clara", "reclaim_site", "own", &json!({})).ok();
    }
}

/// Yes, no and never mind at once: the site and the losers' answers agree on who won.
fn accept_cancel_decline(stage: &mut Stage) {
    for _ in 0..12 {
        let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
        let calls = [
            (stage.key(), stage.yes("ada", &offer, "partner")),
            (stage.key(), stage.body("clara", "cancel_handover", &json!({"handover": offer}))),
            (stage.key(), stage.body("abe", "decline_handover", &json!({"handover": offer}))),
        ];
        let answers = at_once(stage, "own", &calls);
        let winners: Vec<usize> = (0..3).filter(|i| answers[*i].status == 200).collect();
        let [winner] = *winners else { panic!("{winners:?} of {}, {}, {}", answers[0], answers[1], answers[2]) };
        let status = ["accepted", "cancelled", "declined"][winner];
        for loser in (0..3).filter(|i| *i != winner) {
            refused(&answers[loser], 409, &format!("terminal:{status}"));
        }
        assert_eq!(stage.handover(&offer)["status"], status);
        let accepted = winner == 0;
        assert_eq!(stage.site("own")["mode"] == "partner_managed", accepted);
        if accepted {
            stage.tell("clara", "reclaim_site", "own", &json!({})).ok();
        }
    }
}

/// A replacement's yes and the client's reclaim at once: whichever comes first, nobody is left with both.
fn accept_and_reclaim(stage: &mut Stage) {
    let offer = stage.offer("clara", "replace_partner", "run", "agency:south");
    let calls = [
        (stage.key(), stage.yes("sue", &offer, "new_partner")),
        (stage.key(), stage.body("clara", "reclaim_site", &json!({}))),
    ];
    let answers = at_once(stage, "run", &calls);
    assert_eq!(answers[1].status, 200, "a reclaim always works: {}", answers[1]);
    let site = stage.site("run");
    let status = stage.handover(&offer)["status"].clone();
    if answers[0].status == 200 {
        // South came first and was settling in, so the site came back at once.
        assert_eq!((status, &site["mode"]), (json!("accepted"), &json!("self_managed")));
    } else {
        refused(&answers[0], 409, "terminal:superseded");
        assert_eq!((status, &site["seats"]["partner"]), (json!("superseded"), &json!(stage.who("agency:north"))));
        assert_eq!(site["return_pending"]["reason"], "reclaim");
    }
    assert_eq!(site["open_handover"], Value::Null);
}

/// Of two offers one is open, and it is the first. What the second would have been is not kept.
fn two_offers(stage: &mut Stage) {
    let first = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    for (command, to) in
        [("offer_partner_role", "agency:south"), ("offer_partner_role", "agency:north"), ("transfer_ownership", "tom")]
    {
        refused(&stage.try_offer("clara", command, "own", &json!({"to": to})), 409, "handover_already_open");
    }
    assert_eq!(stage.handover(&first)["status"], "open");
    stage.tell("clara", "cancel_handover", "own", &json!({"handover": first})).ok();
    stage.offer("clara", "offer_partner_role", "own", "agency:south");
}

/// Two tabs, two agencies, one moment.
fn offers_at_once(stage: &mut Stage) {
    for _ in 0..8 {
        let calls = ["agency:north", "agency:south"].map(|to| {
            let fields = json!({"to": to});
            let preview = stage.preview("clara", "offer_partner_role", "own", &fields).ok().json();
            let mut body = stage.body("clara", "offer_partner_role", &fields);
            body["preview_digest"] = preview["digest"].clone();
            (stage.key(), body)
        });
        let mut answers = at_once(stage, "own", &calls);
        answers.sort_by_key(|answer| answer.status);
        assert_eq!(answers[0].status, 200, "{}", answers[0]);
        refused(&answers[1], 409, "handover_already_open");
        let won = answers[0].json()["handover"]["id"].as_str().unwrap().to_owned();
        assert_eq!(stage.site("own")["open_handover"], json!(won));
        stage.tell("clara", "cancel_handover", "own", &json!({"handover": won})).ok();
    }
}

/// What a former owner once offered or prepared is worth nothing once the site is another's.
fn old_offer(stage: &mut Stage) {
    let prepared = stage.preview("clara", "offer_partner_role", "own", &json!({"to": "agency:south"})).ok().json();
    let old = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    let yes = stage.yes("ada", &old, "partner");
    // The only way past an open offer: trust and safety, for an owner who cannot act.
    let case = json!({"case": "C-1", "approver": "theo"});
    stage.tell("staff:tess", "open_custody", "own", &case).ok();
    assert_eq!(stage.handover(&old)["status"], "invalidated");
    let heir =
        stage.tell("staff:tess", "record_successor", "own", &json!({"to": "tom", "case": "C-1", "approver": "theo"}));
    let heir = heir.ok().json()["handover"]["id"].as_str().unwrap().to_owned();
    stage.accept("tom", "own", &heir, "recipient").ok();
    assert_eq!(stage.site("own")["content_owner"], json!(stage.who("tom")));
    refused(&stage.send("own", &yes), 409, "terminal:invalidated");
    let mut late = stage.body("clara", "offer_partner_role", &json!({"to": "agency:south"}));
    late["preview_digest"] = prepared["digest"].clone();
    assert_eq!(stage.send("own", &late).status, 403, "no owner any more");
    // The new owner cannot be made to send it either.
    late["actor"] = json!(stage.who("tom"));
    refused(&stage.send("own", &late), 409, "preview_changed");
    assert_eq!(stage.site("own")["mode"], "self_managed");
}

/// A site with an offer is not trashed, whoever wants it; one in the trash is not offered.
fn trashed_with_offer(stage: &mut Stage) {
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    refused(&stage.tell("clara", "trash_site", "own", &json!({})), 409, "handover_already_open");
    stage.answers(&[("clara TrashSite own", "handover_open"), ("clara PublishSite own", "yes")]);
    stage.tell("clara", "cancel_handover", "own", &json!({"handover": offer})).ok();
    // A request holds nothing back, and ends.
    let code = stage.tell("clara", "issue_site_code", "own", &json!({})).ok().json()["site_code"].clone();
    let asked = stage.tell("ada", "request_partner_role", "own", &json!({"site_code": code})).ok().json();
    let asked = asked["handover"]["id"].as_str().unwrap().to_owned();
    stage.tell("clara", "trash_site", "own", &json!({})).ok();
    assert_eq!(stage.handover(&asked)["status"], "superseded");
    let offered = stage.try_offer("clara", "offer_partner_role", "own", &json!({"to": "agency:north"}));
    blocked(&offered, "trashed");
}

/// A site that is gone tells a latecomer so, and nothing about what it was.
fn purged_with_offer(stage: &mut Stage) {
    let offer = stage.offer("clara", "offer_partner_role", "own", "agency:north");
    let yes = stage.yes("ada", &offer, "partner");
    stage.tell("clara", "cancel_handover", "own", &json!({"handover": offer})).ok();
    refused(&stage.tell("clara", "purge_site", "own", &json!({})), 409, "illegal_transition");
    stage.tell("clara", "trash_site", "own", &json!({})).ok();
    stage.tell("clara", "purge_site", "own", &json!({})).ok();
    let late = stage.send("own", &yes);
    refused(&late, 409, "terminal:cancelled");
    let site = stage.site("own");
    assert_eq!((&site["mode"], &site["content_owner"], &site["domains"]), (&json!("purged"), &Value::Null, &json!([])));
    assert!(!late.text().contains("own.example"), "{late}");
    stage.answers(&[
        ("clara ViewSite own", "no_role"),
        ("cora ViewSite own", "no_role"),
        ("ada ViewSite own", "no_role"),
    ]);
    // Its name is not given out again.
    let again = json!({"mode": "self_managed", "owner": stage.who("eve"), "plan": {"tier": "free"}});
    let id = stage.id("own");
    assert_eq!(stage.http.put(&format!("/v1/sites/{id}"), &again).status, 409);
}

/// A site with a partner gets another one by a replacement only, with everybody's yes.
fn existing_partner(stage: &mut Stage) {
    let second = stage.tell(
        "clara",
        "offer_partner_role",
        "run",
        &json!({"to": "agency:south", "preview_digest": "sha256:none"}),
    );
    refused(&second, 403, "role_lacks_action");
    stage.answers(&[
        ("clara OfferPartnerRole run", "role_lacks_action"),
        ("ada OfferPartnerRole run", "role_lacks_action"),
    ]);
    // The partner starts it: the new agency's yes alone moves nothing.
    let offer = stage.offer("ada", "replace_partner", "run", "agency:south");
    stage.accept("sue", "run", &offer, "new_partner").ok();
    assert_eq!(stage.site("run")["seats"]["partner"], json!(stage.who("agency:north")));
    stage.answers(&[("sue EditContent run", "role_lacks_action"), ("ada EditContent run", "yes")]);
    stage.accept("clara", "run", &offer, "client").ok();
    assert_eq!(stage.site("run")["seats"]["partner"], json!(stage.who("agency:south")));
    stage.answers(&[
        ("sue EditContent run", "yes"),
        ("ada EditContent run", "no_role"),
        ("mel EditContent run", "no_role"),
    ]);
}

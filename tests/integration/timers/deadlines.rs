//! Every duration is a setting, and sets its own deadline and no other; and how a freeze and a reinstatement move them.

use std::collections::BTreeMap;

use mandate::handover::Timers;
use serde_json::{Value, json};

use super::scene::{DAY, SECOND, Scene, micros};

const START: &str = "2027-06-01T08:00:00Z";
const KEYS: [&str; 18] = [
    "offer_ttl",
    "settle",
    "reclaim_notice",
    "resign_notice",
    "plan_bridge",
    "step_up",
    "request_ttl",
    "site_code_ttl",
    "first_reminder",
    "second_reminder",
    "freeze_max",
    "past_due_grace",
    "lapse_notice",
    "suspension_notice",
    "trash_keep",
    "support_session",
    "confirmation",
    "confirmation_max",
];

/// Measures every duration where it shows: one story, told on a site for each part.
fn measured(timers: Timers) -> BTreeMap<&'static str, i64> {
    let mut scene = Scene::at(START, timers);
    let mut found = BTreeMap::new();
    for site in ["reclaimed", "resigned", "unpaid", "stopped", "offered", "asked"] {
        scene.register(site);
    }
    let start = scene.now();
    let offer = scene.offers("offered");
    found.insert("offer_ttl", micros(&offer["expires_at"]) - start);
    let code = scene.does("asked", "user:maria", "issue_site_code", &json!({}))["site_code"].clone();
    found.insert("site_code_ttl", micros(&scene.events("asked", "SiteCodeIssued")[0]["data"]["expires_at"]) - start);
    let request = scene.does("asked", "user:ann", "request_partner_role", &json!({"site_code": code}));
    found.insert("request_ttl", micros(&request["handover"]["expires_at"]) - start);
    for site in ["reclaimed", "resigned", "unpaid", "stopped"] {
        let settling = micros(&scene.hands_over(site)["site"]["settling_until"]) - start;
        found.insert("settle", settling);
    }
    // The oldest sign-in that counts, to the second.
    let now_s = start / SECOND;
    let fresh = |scene: &mut Scene, age: i64| {
        scene.http.may("user:maria", "ExportSite", "shop", &json!({"auth_time": now_s - age}))
    };
    let (mut low, mut high) = (0, 100_000);
    while high - low > 1 {
        let middle = i64::midpoint(low, high);
        if fresh(&mut scene, middle) { low = middle } else { high = middle }
    }
    found.insert("step_up", low * SECOND);
    let trashed = scene.does("shop", "user:maria", "trash_site", &json!({}));
    assert_eq!(trashed["site"]["trashed"], true);
    found.insert("trash_keep", micros(&scene.events("shop", "SiteTrashed")[0]["data"]["purge_at"]) - start);
    scene.does("unpaid", "user:maria", "grant_support_session", &json!({"agent": "staff:sam"}));
    found.insert(
        "support_session",
        micros(&scene.events("unpaid", "SupportSessionStarted")[0]["data"]["until"]) - start,
    );
    let confirm = json!({"action": "RefundOrder", "operation": "act-1"});
    scene.does("unpaid", "user:maria", "confirm_partner_action", &confirm);
    let said = scene.events("unpaid", "PartnerActionConfirmed");
    found.insert("confirmation", micros(&said[0]["data"]["expires_at"]) - start);
    let too_long = json!({"action": "RefundOrder", "operation": "act-2", "expires_in_s": 100_000_000});
    let refused = scene.tries("unpaid", "user:maria", "confirm_partner_action", &too_long).json();
    let most = refused["detail"].as_str().unwrap().rsplit(' ').find_map(|word| word.parse::<i64>().ok()).unwrap();
    found.insert("confirmation_max", most * SECOND);
    let frozen = scene.does("offered", "staff:tess", "freeze_site", &json!({"case": "c-1"}));
    found.insert("freeze_max", micros(&frozen["site"]["frozen_until"]) - start);
    let unpaid =
        scene.does("unpaid", "service:billing", "report_plan", &json!({"status": "past_due"}))["site"]["plan"].clone();
    found.insert("past_due_grace", micros(&unpaid["lapses_at"]) - start);
    found.insert("lapse_notice", micros(&unpaid["returns_at"]) - micros(&unpaid["lapses_at"]));
    // A reminder comes exactly when it is due: found by halves, on services of their own.
    for (n, key) in ["first_reminder", "second_reminder"].into_iter().enumerate() {
        found.insert(key, reminded(&mut scene, n));
    }
    // From here on nothing settles any more.
    let settled = scene.now().max(start + found["settle"]);
    scene.set(settled);
    let back = scene.does("reclaimed", "user:maria", "reclaim_site", &json!({}))["site"]["return_pending"].clone();
    found.insert("reclaim_notice", micros(&back["effective_at"]) - settled);
    let left = scene.does("resigned", "user:ann", "resign_as_partner", &json!({}))["site"]["return_pending"].clone();
    found.insert("resign_notice", micros(&left["effective_at"]) - settled);
    let returned = scene.does("resigned", "user:ann", "release_site", &json!({}))["site"]["plan"].clone();
    found.insert("plan_bridge", micros(&returned["bridge_until"]) - settled);
    found.insert("suspension_notice", suspended(&mut scene));
    found
}

/// After how long the nth reminder of a fresh offer is written.
fn reminded(scene: &mut Scene, nth: usize) -> i64 {
    let site = format!("reminded-{nth}");
    scene.register(&site);
    let begin = scene.now();
    scene.offers(&site);
    let mut seen = 0;
    // Hours are fine enough: every setting in this file is a whole number of hours from the offer.
    for hour in 0..24 * 14 {
        scene.set(begin + hour * 3_600 * SECOND);
        scene.world.work(1);
        let told = scene.events(&site, "HandoverReminder").len();
        if told > seen {
            seen = told;
            if seen > nth {
                return scene.now() - begin;
            }
        }
    }
    0
}

/// After how long a suspended agency's site is its client's again.
fn suspended(scene: &mut Scene) -> i64 {
    let begin = scene.now();
    scene.agency("north", "suspended").ok();
    for hour in 0..24 * 31 {
        scene.set(begin + hour * 3_600 * SECOND);
        scene.world.work(1);
        if scene.doc("stopped")["mode"] == "self_managed" {
            return scene.now() - begin;
        }
    }
    0
}

fn with(key: &str, value: &str) -> Timers {
    serde_json::from_value(json!({ key: value })).unwrap()
}

#[test]
fn every_setting_sets_its_own_deadline() {
    let usual = measured(Timers::default());
    let mut keys: Vec<&str> = usual.keys().copied().collect();
    keys.sort_unstable();
    let mut all = KEYS.to_vec();
    all.sort_unstable();
    assert_eq!(keys, all, "every setting is measured");
    let hours = |hours: i64| hours * 3_600 * SECOND;
    assert_eq!(usual["offer_ttl"], 14 * DAY);
    assert_eq!((usual["first_reminder"], usual["second_reminder"]), (3 * DAY, 10 * DAY));
    assert_eq!((usual["reclaim_notice"], usual["settle"], usual["step_up"]), (5 * DAY, 7 * DAY, 600 * SECOND));
    for key in KEYS {
        // An offer that ends before its reminders has none.
        let length = match key {
            "step_up" => 3,
            "offer_ttl" => 300,
            _ => 100,
        };
        let changed = measured(with(key, &format!("{length}h")));
        for (other, was) in &usual {
            let expected = if *other == key { hours(length) } else { *was };
            assert_eq!(changed[other], expected, "{other}, with {key} = {length}h");
        }
    }
}

/// An unknown setting, or a number without a unit, is an error and not a default.
#[test]
fn a_setting_that_is_none_is_refused() {
    for (key, value) in [("offer_tll", json!("2d")), ("offer_ttl", json!(14)), ("settle", json!("7"))] {
        let read: Result<Timers, _> = serde_json::from_value(json!({ key: value }));
        assert!(read.is_err(), "{key} = {value}");
    }
}

#[test]
fn a_freeze_stops_the_clock_for_its_length_and_no_longer() {
    for (thawed_after, late) in [(Some(3 * DAY + 7), 0), (None, 0), (None, 9 * DAY)] {
        let mut scene = Scene::at(START, Timers::default());
        scene.hands_over("shop");
        scene.pass(8 * DAY);
        let due = micros(
            &scene.does("shop", "user:maria", "reclaim_site", &json!({}))["site"]["return_pending"]["effective_at"],
        );
        scene.pass(2 * DAY + 123);
        let frozen_at = scene.now();
        let frozen = scene.does("shop", "staff:tess", "freeze_site", &json!({"case": "c-1"}));
        let moved = micros(&frozen["site"]["return_pending"]["effective_at"]);
        assert_eq!(moved, due + 14 * DAY, "for as long as the freeze may last");
        let length = thawed_after.unwrap_or(14 * DAY);
        scene.set(frozen_at + length);
        match thawed_after {
            Some(_) => {
                let thawed = scene.does("shop", "staff:tess", "unfreeze_site", &json!({"case": "c-1"}));
                assert_eq!(
                    micros(&thawed["site"]["return_pending"]["effective_at"]),
                    due + length,
                    "back by what was left"
                );
            }
            None if late == 0 => scene.world.work(3),
            None => {}
        }
        let back = due + length;
        scene.set(back - 1);
        assert!(scene.may("user:ann", "PublishSite", "shop"), "{thawed_after:?}");
        scene.set(back);
        assert!(!scene.may("user:ann", "PublishSite", "shop") && !scene.may("user:bo", "ViewSite", "shop"));
        // However late it is written: as of the deadline.
        scene.set(back + late);
        scene.world.work(3);
        let returned = scene.events("shop", "SiteReturned");
        assert_eq!((returned.len(), micros(&returned[0]["data"]["at"])), (1, back), "{thawed_after:?}, {late} late");
    }
}

#[test]
fn an_agency_let_in_again_in_time_goes_on_and_too_late_does_not() {
    for (after, works) in [(14 * DAY - 1, true), (14 * DAY, false)] {
        for prompt in [true, false] {
            let mut scene = Scene::at(START, Timers::default());
            scene.hands_over("shop");
            scene.pass(8 * DAY);
            scene.agency("north", "suspended").ok();
            assert!(!scene.may("user:ann", "ViewSite", "shop"), "at once");
            scene.pass(after);
            if prompt {
                scene.world.work(2);
            }
            let reinstated = scene.agency("north", "active");
            assert_eq!(reinstated.status < 300, works || prompt, "{after} {prompt}: {reinstated}");
            assert_eq!(scene.may("user:ann", "ViewSite", "shop"), works, "{after} {prompt}");
            scene.world.work(2);
            let mode = if works { json!("partner_managed") } else { json!("self_managed") };
            assert_eq!(scene.doc("shop")["mode"], mode, "{after} {prompt}");
        }
    }
}

/// Twenty sites, each with something due, eight workers at a time, again after a restart: everything happens once.
#[test]
fn however_many_workers_there_are_it_happens_once() {
    let mut scene = Scene::at(START, Timers::default());
    let sites: Vec<String> = (0..20).map(|n| format!("site-{n}")).collect();
    for (n, site) in sites.iter().enumerate() {
        scene.register(site);
        if n % 2 == 0 {
            scene.offers(site);
        } else {
            scene.hands_over(site);
        }
    }
    scene.pass(8 * DAY);
    scene.world.work(8);
    for site in sites.iter().skip(1).step_by(2) {
        scene.does(site, "user:maria", "reclaim_site", &json!({}));
    }
    scene.pass(30 * DAY);
    for _ in 0..3 {
        scene.world.work(8);
    }
    let before: Vec<Value> = sites.iter().map(|site| scene.doc(site)).collect();
    scene.world.restart();
    scene.http = scene.world.client();
    scene.world.work(8);
    for ((n, site), before) in sites.iter().enumerate().zip(before) {
        let kinds = if n % 2 == 0 {
            [("HandoverExpired", 1), ("HandoverReminder", 1)]
        } else {
            [("SiteReturned", 1), ("PlanBridgeEnded", 1)]
        };
        for (kind, times) in kinds {
            assert_eq!(scene.events(site, kind).len(), times, "{kind} on {site}");
        }
        assert_eq!(scene.doc(site), before, "nothing after the first time");
    }
    scene.world.verify_audit();
}

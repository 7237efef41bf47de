//! The control: each check catches a document that breaks its rule, and the rules tell a right answer from a wrong one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    invariants::{Found, state, step},
    model::{Agency, Known},
    rules::{Ground, grants},
};

fn managed() -> Value {
    json!({"id": "bakery", "mode": "partner_managed", "content_owner": "user:maria", "plan_holder": "agency:north",
        "seats": {"owner": null, "client": "user:maria", "partner": "agency:north"}, "open_handover": null, "domains": [],
        "return_pending": {"reason": "reclaim", "effective_at": "2026-12-01T00:00:00Z", "locked": false},
        "settling_until": "2026-11-01T00:00:00Z", "frozen_until": null, "trashed": false, "custody": false,
        "plan": {"status": "ok", "tier": "premium", "transferable": true}, "revision": 7})
}

fn own() -> Value {
    json!({"id": "bakery", "mode": "self_managed", "content_owner": "user:maria", "plan_holder": "user:maria",
        "seats": {"owner": "user:maria", "client": null, "partner": null}, "open_handover": null, "domains": [],
        "return_pending": null, "settling_until": null, "revision": 8})
}

fn doctored(site: &Value, path: &str, value: Value) -> Value {
    let mut site = site.clone();
    *site.pointer_mut(path).unwrap() = value;
    site
}

#[test]
fn a_doctored_document_is_caught() {
    let (managed, own) = (managed(), own());
    assert_eq!((state(&managed), state(&own)), (Found::new(), Found::new()));
    for (site, path, value, invariant) in [
        (&managed, "/content_owner", json!(null), "I1"),
        (&own, "/plan_holder", json!(null), "I2"),
        (&own, "/plan_holder", json!("user:eve"), "I3"),
        (&own, "/seats/client", json!("user:maria"), "I3"),
        (&managed, "/seats/owner", json!("user:maria"), "I3"),
        (&managed, "/seats/client", json!(null), "I3"),
        (&managed, "/content_owner", json!("user:eve"), "I4"),
        (&managed, "/plan_holder", json!("user:maria"), "I4"),
        (&managed, "/open_handover", json!("h"), "I13"),
        (&managed, "/mode", json!("somehow"), "I28"),
        (&managed, "/mode", json!("purged"), "I3"),
    ] {
        let found = state(&doctored(site, path, value.clone()));
        assert!(found.iter().any(|found| found.starts_with(invariant)), "{path} = {value}: {found:?}");
    }
}

#[test]
fn a_doctored_step_is_caught() {
    let (managed, own) = (managed(), own());
    assert_eq!(step(&managed, &own, "release_site", "user:dana", None), Found::new());
    let later = |path: &str, value: Value| doctored(&doctored(&managed, path, value), "/revision", json!(8));
    let replaced = later("/seats/partner", json!("agency:south"));
    let by_partner =
        json!({"kind": "partner_replacement", "initiator": "agency:north", "to": "agency:south", "consents_given": []});
    for (after, command, actor, accepted, invariant) in [
        (doctored(&own, "/revision", json!(7)), "release_site", "user:dana", None, "I23"),
        (doctored(&own, "/content_owner", json!("agency:north")), "accept_handover", "user:dana", None, "I5"),
        (
            doctored(&own, "/domains", json!([{"name": "x", "holder": "user:eve"}])),
            "release_site",
            "user:dana",
            None,
            "I8",
        ),
        (doctored(&own, "/plan_holder", json!("user:eve")), "release_site", "user:dana", None, "I11"),
        (later("/return_pending", json!(null)), "withdraw_reclaim", "user:dana", None, "I14"),
        (later("/return_pending/effective_at", json!("2027-01-01T00:00:00Z")), "grant_role", "user:dana", None, "I14"),
        (replaced.clone(), "grant_role", "user:dana", None, "I15"),
        (replaced, "accept_handover", "user:rita", Some(&by_partner), "I15"),
    ] {
        let found = step(&managed, &after, command, actor, accepted);
        assert!(found.iter().any(|found| found.starts_with(invariant)), "{command}: {found:?}");
    }
    let seated = step(&own, &doctored(&managed, "/revision", json!(9)), "grant_role", "user:maria", None);
    assert!(seated.iter().any(|found| found.starts_with("I22")), "{seated:?}");
}

/// A server that let the partner do what this model forbids, or kept the client from it, would be contradicted.
#[test]
fn the_rules_tell_right_answers_from_wrong_ones() {
    let members = [("dana", "admin"), ("bo", "member")].map(|(user, role)| (user.to_owned(), role.to_owned()));
    let agency = Agency {
        status: "active".into(),
        since: 0,
        returns: None,
        verified: true,
        card: true,
        members: members.into(),
    };
    let mut agencies = BTreeMap::from([("north".to_owned(), agency)]);
    let at = |time: &str| time.parse::<mandate::time::Timestamp>().unwrap().as_micros();
    let due = at("2026-12-01T00:00:00Z");
    let site = Known { doc: managed(), ..Known::default() };
    let may = |agencies: &BTreeMap<String, Agency>, site: &Known, now, who, action, fresh| {
        Ground { site, named: None, open: None, agencies, now, blur: 0 }.may(who, action, fresh).unwrap()
    };
    for (who, action, fresh, expected) in [
        ("maria", "ReclaimSite", true, true),
        ("maria", "ReclaimSite", false, false),
        ("dana", "ReclaimSite", true, false),
        ("dana", "TransferDomain", true, false),
        ("maria", "TransferDomain", true, true),
        ("maria", "UpgradePlan", true, false),
        ("dana", "UpgradePlan", true, false),
        ("dana", "PublishSite", false, true),
        ("bo", "ViewSite", false, false),
        ("maria", "PurgeSite", true, false),
    ] {
        assert_eq!(may(&agencies, &site, due - 1, who, action, fresh), expected, "{who} {action}");
    }
    assert!(!may(&agencies, &site, due, "dana", "PublishSite", false), "from the deadline on, to the microsecond");
    let frozen =
        Known { doc: doctored(&managed(), "/frozen_until", json!("2026-12-02T00:00:00Z")), ..Known::default() };
    assert!(may(&agencies, &frozen, due, "dana", "ViewSite", false), "a freeze stops the clock");
    assert!(!may(&agencies, &frozen, due, "dana", "PublishSite", false), "and everybody's work");
    let kept_out = Known { blocked: ["bo".to_owned()].into(), ..Known::default() };
    for (blocked, by, expected) in [(false, "dana", true), (true, "dana", false), (true, "maria", true)] {
        let doc = doctored(&managed(), "/return_pending", json!(null));
        let site = if blocked { Known { doc, ..kept_out.clone() } } else { Known { doc, ..Known::default() } };
        let body = json!({"command": "grant_role", "actor": format!("user:{by}"), "user": "user:bo", "role": "Viewer"});
        let ground = Ground { site: &site, named: None, open: None, agencies: &agencies, now: due, blur: 0 };
        assert_eq!(ground.applies(&body, true, None), Some(expected), "{by} lets bo in, blocked: {blocked}");
    }
    agencies.get_mut("north").unwrap().status = "suspended".to_owned();
    assert!(!may(&agencies, &site, due - 1, "dana", "ViewSite", false));
    assert_eq!((grants("Partner", "CoOwner"), grants("Partner", "Viewer")), ((false, true), (true, false)));
    assert_eq!(
        (grants("CoOwner", "CoOwner"), grants("WebsiteManager", "StoreManager")),
        ((false, false), (false, false))
    );
}

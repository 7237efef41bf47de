//! Deadlines are instants, not dates on a wall: no change of the clocks, no leap day and no year's end moves one, and at
//! the end of time they stand still.

use mandate::handover::Timers;
use serde_json::json;

use super::scene::{DAY, SECOND, Scene, micros};

/// When an offer is made, when it ends 14 × 24 hours later, and the day until which the accepted one settles.
const DAYS: [(&str, &str, &str, &str); 8] = [
    ("Europe springs forward", "2027-03-27T22:30:00Z", "2027-04-10T22:30:00Z", "2027-04-03"),
    ("Europe falls back", "2027-10-30T22:30:00Z", "2027-11-13T22:30:00Z", "2027-11-06"),
    ("America springs forward", "2027-03-13T07:30:00Z", "2027-03-27T07:30:00Z", "2027-03-20"),
    ("America falls back", "2027-11-06T23:59:59Z", "2027-11-20T23:59:59Z", "2027-11-13"),
    ("a leap year", "2028-02-22T10:00:00Z", "2028-03-07T10:00:00Z", "2028-02-29"),
    ("a common century", "2100-02-22T10:00:00Z", "2100-03-08T10:00:00Z", "2100-03-01"),
    ("a leap century", "2400-02-22T10:00:00Z", "2400-03-07T10:00:00Z", "2400-02-29"),
    ("the year's end", "2027-12-25T23:00:00.000001Z", "2028-01-08T23:00:00.000001Z", "2028-01-01"),
];

/// A date as the texts write it.
fn written(text: &str, date: &str) -> bool {
    let (year, rest) = date.split_once('-').unwrap();
    let (month, day) = rest.split_once('-').unwrap();
    let months = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let month = months[month.parse::<usize>().unwrap() - 1];
    let day = day.trim_start_matches('0');
    let forms = [date.to_owned(), format!("{day} {month} {year}"), format!("{month} {day}, {year}")];
    forms.iter().any(|form| text.contains(form.as_str()))
}

#[test]
fn no_calendar_moves_a_deadline() {
    for (name, made, ends, settles) in DAYS {
        let mut scene = Scene::at(made, Timers::default());
        let offer = scene.offers("shop");
        assert_eq!((offer["offered_at"].as_str(), offer["expires_at"].as_str()), (Some(made), Some(ends)), "{name}");
        assert_eq!(micros(&offer["expires_at"]) - scene.now(), 14 * 24 * 3_600 * SECOND, "{name}");
        let id = offer["id"].as_str().unwrap();
        let text = scene.http.get(&format!("/v1/handovers/{id}/explanation?audience=partner")).ok().text();
        assert!(written(&text, settles), "{name}: {settles} in {text}");
        scene.set(micros(&json!(ends)) - 1);
        assert!(scene.may("user:ann", "AcceptHandover", "shop"), "{name}");
        scene.set(micros(&json!(ends)));
        assert!(!scene.may("user:ann", "AcceptHandover", "shop"), "{name}");
    }
}

/// The machine's own zone is nobody's business: there is no wall time in the service to be wrong.
#[test]
fn at_the_end_of_time_deadlines_stand_still() {
    let mut scene = Scene::at("9999-12-29T00:00:00Z", Timers::default());
    let offer = scene.offers("shop");
    assert_eq!(offer["expires_at"], "9999-12-30T22:00:00Z", "the last instant that can be written");
    scene.pass(DAY / 2);
    assert!(scene.may("user:ann", "AcceptHandover", "shop"));
    scene.world.work(2);
    scene.world.restart();
    scene.http = scene.world.client();
    assert!(scene.may("user:ann", "AcceptHandover", "shop"), "what was stored can be read again");
    let eternal: Timers =
        serde_json::from_value(json!({"offer_ttl": "400000years", "freeze_max": "400000years"})).unwrap();
    let mut scene = Scene::at("2027-06-01T08:00:00Z", eternal);
    assert_eq!(scene.offers("shop")["expires_at"], "9999-12-30T22:00:00Z");
    assert!(scene.may("user:ann", "AcceptHandover", "shop"));
    let frozen = scene.does("shop", "staff:tess", "freeze_site", &json!({"case": "c-1"}));
    assert_eq!(frozen["site"]["frozen_until"], "9999-12-30T22:00:00Z");
    scene.pass(400 * 365 * DAY);
    scene.world.work(2);
    assert!(!scene.may("user:maria", "PublishSite", "shop"), "still frozen");
    let thawed = scene.does("shop", "staff:tess", "unfreeze_site", &json!({"case": "c-1"}));
    assert!(thawed["site"]["frozen_until"].is_null());
}

//! What only time does: right from the deadline on, whoever has written it down, and written down exactly once.
//!
//! A decision does not wait for the worker. To see that, the worker is kept from committing: the test holds the
//! database's write lock, as a backup might. Reads and checks go on; what they answer after the deadline is the rule
//! and not the record.

//!
//! `timers/` has what a wall clock cannot show: the microsecond of a deadline, every setting, calendars, years.

mod calendar;
mod deadlines;
mod late;
mod scene;

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    http::{Client, now_s},
    server::{Installation, Server, until},
    worlds,
};

/// A few seconds, long enough for a busy machine to ask before they are over, with everything settled at once.
const SOON: [(&str, &str); 4] = [
    ("MANDATE_TIMERS__OFFER_TTL", "3s"),
    ("MANDATE_TIMERS__SETTLE", "0s"),
    ("MANDATE_TIMERS__RECLAIM_NOTICE", "3s"),
    ("MANDATE_TIMERS__RESIGN_NOTICE", "3s"),
];

fn installation(records: &[Value]) -> Installation {
    let mut installation = Installation::with(records);
    for (name, value) in SOON {
        installation.set(name, value);
    }
    installation
}

/// Keeps everybody from writing until it is dropped.
struct Held(rusqlite::Connection);

impl Held {
    fn hold(database: &Path) -> Self {
        let connection = rusqlite::Connection::open(database).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A rollback of nothing; closing the connection does the same.
        let _ = self.0.execute_batch("ROLLBACK");
    }
}

fn micros(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<mandate::time::Timestamp>().unwrap().as_micros()
}

fn now() -> i64 {
    use mandate::clock::Clock as _;
    mandate::clock::SystemClock.now().as_micros()
}

fn kinds(http: &mut Client, site: &str) -> Vec<String> {
    let events = http.get(&format!("/v1/sites/{site}/audit?limit=1000")).ok().json();
    events["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn count(http: &mut Client, site: &str, kind: &str) -> usize {
    kinds(http, site).iter().filter(|found| *found == kind).count()
}

fn offer(http: &mut Client) -> (String, i64) {
    let reply = http.offer("bakery", "offer", "user:maria", "offer_partner_role", "agency:studio-north").ok().json();
    (reply["handover"]["id"].as_str().unwrap().to_owned(), micros(&reply["handover"]["expires_at"]))
}

#[test]
fn an_offer_is_over_at_its_deadline_and_its_end_is_written_once() {
    let installation = installation(&worlds::story());
    let server = installation.start();
    let mut http = server.client();
    let (id, expires) = offer(&mut http);
    let digest = http.digest(&id, "partner");
    let held = Held::hold(&installation.database());
    let mut before = 0;
    until("the offer is over", || {
        // Asked, then looked at the clock: an allow after the deadline is a fault, a deny before it too.
        let asked = now();
        let may = http.may("user:dana", "AcceptHandover", "bakery", &json!({"auth_time": now_s()}));
        let answered = now();
        before += usize::from(may);
        assert!(!may || asked < expires, "allowed {} µs after the deadline", asked - expires);
        assert!(may || answered >= expires, "denied {} µs before the deadline", expires - answered);
        (!may).then_some(())
    });
    assert!(before > 0, "the offer was never live");
    // Not written down: the record still says open, and the decision is right all the same.
    assert_eq!(http.get(&format!("/v1/handovers/{id}")).ok().json()["status"], "open");
    assert_eq!(http.get("/v1/sites/bakery").ok().json()["open_handover"], json!(id));
    assert!(http.may("user:maria", "TransferDomain", "bakery", &json!({"auth_time": now_s()})), "nothing is on offer");
    assert!(!http.may("user:maria", "CancelHandover", "bakery", &json!({})));
    drop(held);
    // From here on the worker may write at any moment; the answer is the same before and after.
    let accept = json!({"actor": "user:dana", "auth_time": now_s(), "command": "accept_handover", "handover": id, "explanation_digest": digest});
    let late = http.command("bakery", "late", &accept);
    assert_eq!((late.status, late.code().as_str()), (409, "terminal:expired"), "{late}");
    let ended = until("the end is written", || {
        let handover = http.get(&format!("/v1/handovers/{id}")).ok().json();
        (handover["status"] != "open").then_some(handover)
    });
    assert_eq!((&ended["status"], micros(&ended["ended_at"])), (&json!("expired"), expires), "as of the deadline");
    assert_eq!(count(&mut http, "bakery", "HandoverExpired"), 1);
    assert!(http.get("/v1/sites/bakery").ok().json()["open_handover"].is_null());
    assert_eq!(http.command("bakery", "later", &accept).code(), "terminal:expired");
    installation.verify_audit();
}

/// After a return that is due nothing of the partner's side is left, and the seats move when it is written.
fn returned(http: &mut Client) {
    for (who, action) in
        [("user:dana", "ViewSite"), ("user:dana", "EditContent"), ("user:bo", "EditDesign"), ("user:kim", "ViewPlan")]
    {
        assert!(!http.may(who, action, "bakery", &json!({})), "{who} {action}");
    }
    assert!(http.may("user:maria", "EditContent", "bakery", &json!({})), "the client works on");
}

#[test]
fn a_reclaimed_site_is_back_at_its_deadline_and_that_is_written_once() {
    let installation = installation(&worlds::managed_story());
    let server = installation.start();
    let mut http = server.client();
    let reclaim = json!({"actor": "user:maria", "auth_time": now_s(), "command": "reclaim_site"});
    let reply = http.command("bakery", "reclaim", &reclaim).ok().json();
    let due = micros(&reply["site"]["return_pending"]["effective_at"]);
    let held = Held::hold(&installation.database());
    let mut before = 0;
    until("the notice is over", || {
        let asked = now();
        let may = http.may("user:dana", "EditContent", "bakery", &json!({}));
        let answered = now();
        before += usize::from(may);
        assert!(!may || asked < due, "allowed {} µs after the deadline", asked - due);
        assert!(may || answered >= due, "denied {} µs before the deadline", due - answered);
        (!may).then_some(())
    });
    assert!(before > 0, "the partner never worked");
    let stored = http.get("/v1/sites/bakery").ok().json();
    assert_eq!((&stored["mode"], &stored["return_pending"]["reason"]), (&json!("partner_managed"), &json!("reclaim")));
    returned(&mut http);
    assert!(!http.may("user:maria", "UpgradePlan", "bakery", &json!({})), "new rights come with the new seat only");
    drop(held);
    written_once(&mut http, due);
    installation.verify_audit();
}

fn written_once(http: &mut Client, due: i64) {
    let site = until("the return is written", || {
        let site = http.get("/v1/sites/bakery").ok().json();
        (site["mode"] == "self_managed").then_some(site)
    });
    assert_eq!((&site["seats"]["owner"], &site["plan_holder"]), (&json!("user:maria"), &json!("user:maria")), "{site}");
    assert!(site["return_pending"].is_null());
    returned(http);
    assert!(http.may("user:maria", "UpgradePlan", "bakery", &json!({})));
    let events = http.get("/v1/sites/bakery/audit?limit=1000").ok().json();
    let events: Vec<&Value> =
        events["items"].as_array().unwrap().iter().filter(|event| event["type"] == "SiteReturned").collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(micros(&events[0]["data"]["at"]), due, "as of the deadline");
}

/// Waits, with no server running, until a moment has passed.
fn pass(deadline: i64) {
    until("the deadline has passed", || (now() > deadline).then_some(()));
}

#[test]
fn deadlines_pass_while_the_server_is_down() {
    let mut records = worlds::managed_story();
    records
        .push(json!({"site": {"id": "shop", "mode": "self_managed", "owner": "user:lea", "plan": {"tier": "free"}}}));
    let installation = installation(&records);
    let mut server = installation.start();
    let mut http = server.client();
    let reply = http.offer("shop", "offer", "user:lea", "offer_partner_role", "agency:studio-north").ok().json();
    let offered = reply["handover"]["id"].as_str().unwrap().to_owned();
    let expires = micros(&reply["handover"]["expires_at"]);
    let resign = json!({"actor": "user:dana", "auth_time": now_s(), "command": "resign_as_partner"});
    let reply = http.command("bakery", "resign", &resign).ok().json();
    let due = micros(&reply["site"]["return_pending"]["effective_at"]);
    server.kill();
    pass(due.max(expires));
    // Shot again at once, a few times: a step that is due is taken by whoever lives long enough, and once.
    for _ in 0..3 {
        let mut server: Server = installation.start();
        server.kill();
    }
    let held = Held::hold(&installation.database());
    let server = installation.try_start();
    // With the lock held a server may not even start; where it does, its first answer is right.
    if let Ok(server) = &server {
        let mut http = server.client();
        returned(&mut http);
        assert!(!http.may("user:dana", "AcceptHandover", "shop", &json!({"auth_time": now_s()})));
    }
    drop(held);
    let server = server.unwrap_or_else(|_| installation.start());
    let mut http = server.client();
    written_once(&mut http, due);
    let ended = until("the offer's end is written", || {
        let handover = http.get(&format!("/v1/handovers/{offered}")).ok().json();
        (handover["status"] != "open").then_some(handover)
    });
    assert_eq!((&ended["status"], micros(&ended["ended_at"])), (&json!("expired"), expires));
    assert_eq!(count(&mut http, "shop", "HandoverExpired"), 1);
    installation.verify_audit();
}

/// Freshness is the service's setting, and ends by the clock.
#[test]
fn a_sign_in_is_fresh_for_as_long_as_is_set() {
    let mut installation = Installation::with(&worlds::story());
    let server = installation.set("MANDATE_TIMERS__STEP_UP", "4s").start();
    let mut http = server.client();
    let signed_in = now_s();
    let context = json!({ "auth_time": signed_in });
    assert!(http.may("user:maria", "ExportSite", "bakery", &context));
    until("the sign-in is no longer fresh", || {
        let asked = now_s();
        let may = http.may("user:maria", "ExportSite", "bakery", &context);
        assert!(!may || asked <= signed_in + 4, "{} s after the sign-in", asked - signed_in);
        assert!(may || now_s() >= signed_in + 4);
        (!may).then_some(())
    });
    assert_eq!(http.why_not("user:maria", "ExportSite", "bakery", &context), "stepup_required");
}

//! SIGKILL at any moment: what was acknowledged is there, what was in flight happened once or not at all.
//!
//! A client sends commands that each change the site in a known way. At some moment after a command was sent (nothing
//! read of its answer yet) the server is shot; the moment is drawn over the time that a command takes, so that parsing,
//! deciding, writing, syncing and answering are all hit. After the restart the site must be exactly as
//! last acknowledged, or that with the one command applied; the same key sent again must give one effect and one reply.
//!
//! The policies are a folder of these tests' own, with the few actions that its commands ask about. A start checks
//! every action for every role, which takes an unoptimised build a second with the shipped 79 actions; two hundred
//! starts should not be spent on that. `TEST_SCALE` multiplies the kills.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http::{Client, now_s, transition},
    seeded::{Seeded, scale},
    server::Installation,
};

/// Kills of one test in the default run; there are two tests.
const KILLS: u64 = 110;

const ACTIONS: [&str; 14] = [
    "ViewSite",
    "InviteContributor",
    "ChangeContributorRole",
    "RemoveContributor",
    "LeaveSite",
    "OfferPartnerRole",
    "AssignClientRole",
    "AcceptHandover",
    "DeclineHandover",
    "CancelHandover",
    "ReclaimSite",
    "WithdrawReclaim",
    "RescuePlan",
    "ReplacePartner",
];

/// A schema with few actions, and policies that let every role do all of them.
pub fn policies(installation: &mut Installation) {
    let shipped = include_str!("../../schemas/sites.cedarschema");
    let (vocabulary, _) = shipped.split_once("  // Site\n").unwrap();
    let mut schema = vocabulary.to_owned();
    for action in ACTIONS {
        let applies = "appliesTo { principal: [User, Staff], resource: Site, context: Facts }";
        writeln!(schema, "  action {action} in [\"Site\", \"Write\"] {applies};").unwrap();
    }
    schema.push_str("}\n");
    let mut rules = String::new();
    for role in ["Owner", "Client", "Partner", "CoOwner", "Viewer", "HandoverAcceptor", "HandoverInitiator"] {
        writeln!(
            rules,
            "@id(\"kill.{role}\")\n@doc(\"Whoever is here does everything.\")\n\
             permit (principal in Sites::Role::\"{role}\", action, resource);"
        )
        .unwrap();
    }
    for (folder, file, text) in [("schemas", "few.cedarschema", schema), ("policies", "all.cedar", rules)] {
        let folder = installation.folder().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }
}

/// What is known for certain: the last acknowledged state.
struct Known {
    /// `GET /v1/sites/bakery`.
    site: Value,
    /// The people with a role, by name.
    people: Vec<(String, String)>,
    /// The revision of the installation.
    head: u64,
    /// The offer that is open, and whether the site has a partner.
    offer: Option<String>,
}

fn people(http: &mut Client) -> Vec<(String, String)> {
    let access = http.get("/v1/sites/bakery/access").ok().json();
    let items = access["items"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let given = items.iter().filter(|entry| entry["via"] == "contributor");
    given.map(|entry| (text(&entry["principal"]), text(&entry["role"]))).collect()
}

fn look(http: &mut Client, head: u64) -> Known {
    let site = http.get("/v1/sites/bakery").ok().json();
    let offer = site["open_handover"].as_str().map(str::to_owned);
    Known { people: people(http), head: http.head(head), site, offer }
}

/// The next command that is possible from here, in turn; everything it needs is read first.
fn next(http: &mut Client, chance: &mut Seeded, known: &Known) -> Value {
    let managed = known.site["mode"] == "partner_managed";
    let fresh = |actor: &str, command: &str| json!({"actor": actor, "auth_time": now_s(), "command": command});
    if let Some(offer) = &known.offer {
        let mut body = match chance.below(4) {
            0 => fresh("user:maria", "cancel_handover"),
            1 => fresh("user:dana", "decline_handover"),
            _ => {
                let mut body = fresh("user:dana", "accept_handover");
                body["explanation_digest"] = json!(http.digest(offer, "partner"));
                body
            }
        };
        body["handover"] = json!(offer);
        return body;
    }
    match chance.below(4) {
        // Settling: the site comes back at once, and everything with it.
        0 if managed => fresh("user:maria", "reclaim_site"),
        0 | 1 if !managed => {
            let mut body = fresh("user:maria", "offer_partner_role");
            body["to"] = json!("agency:studio-north");
            let preview = http.preview("bakery", &body).ok().json();
            body["preview_digest"] = preview["digest"].clone();
            body
        }
        _ => {
            let user = format!("user:p{}", chance.below(5));
            let present = known.people.iter().any(|(who, _)| *who == user);
            let mut body = fresh("user:maria", if present { "revoke_role" } else { "grant_role" });
            if !present {
                body["role"] = json!("Viewer");
            }
            body["user"] = json!(user);
            body
        }
    }
}

/// What must be true of one another in any committed state: nothing is half done.
fn whole(http: &mut Client, known: &Known, trail: &str) {
    let site = &known.site;
    let handovers = http.get("/v1/sites/bakery/handovers?limit=1000").ok().json();
    let handovers = handovers["items"].as_array().unwrap().clone();
    let open: Vec<&Value> = handovers.iter().filter(|handover| handover["status"] == "open").collect();
    assert_eq!(
        open.first().map(|open| &open["id"]),
        known.offer.as_ref().map(|offer| json!(offer)).as_ref(),
        "{trail}"
    );
    assert!(open.len() <= 1, "{trail}");
    let managed = site["mode"] == "partner_managed";
    assert_eq!(site["plan_holder"] == "agency:studio-north", managed, "{trail}: {site}");
    assert_eq!(site["seats"]["partner"] == "agency:studio-north", managed, "{trail}: {site}");
    assert_eq!(site["seats"]["owner"] == "user:maria", !managed, "{trail}: {site}");
    // The last event is of the site's last revision, and there is none of a later one.
    let mut after = 0;
    let mut last = Value::Null;
    loop {
        let page = http.get(&format!("/v1/sites/bakery/audit?after={after}&limit=1000")).ok().json();
        let items = page["items"].as_array().unwrap().clone();
        for event in items {
            let seq = event["seq"].as_u64().unwrap();
            assert!(seq > after, "{trail}: {event}");
            (after, last) = (seq, event);
        }
        if page["next"].is_null() {
            break;
        }
    }
    assert_eq!(last["revision"], site["revision"], "{trail}: {last}");
}

/// The feed tells every revision once, in order, from the beginning.
fn feed_has_no_gap(http: &mut Client, head: u64, trail: &str) {
    let mut after = 0;
    loop {
        let page = http.get(&format!("/v1/changes?after={after}&limit=1000")).ok().json();
        for item in page["items"].as_array().unwrap() {
            let revision = item["revision"].as_u64().unwrap();
            assert!(revision == after || revision == after + 1, "{trail}: the feed jumps from {after} to {revision}");
            after = revision;
        }
        if page["next"].is_null() {
            break;
        }
    }
    assert_eq!(after, head, "{trail}: the feed's end");
}

#[derive(Default)]
struct Tally {
    acknowledged: u64,
    before: u64,
    after: u64,
    start: Duration,
}

fn shoot(seed: u64) {
    let mut installation = Installation::new();
    policies(&mut installation);
    installation.set("MANDATE_LOG", "warn,mandate::cli=info");
    let mut server = installation.start();
    let mut http = server.client();
    http.put(
        "/v1/agencies/studio-north",
        &json!({"name": "Studio North", "domain": "studio-north.example", "verified": true}),
    )
    .ok();
    http.put("/v1/agencies/studio-north/members/dana", &json!({"role": "admin"})).ok();
    http.put("/v1/sites/bakery", &json!({"mode": "self_managed", "owner": "user:maria", "plan": {"tier": "premium"}}))
        .ok();
    let mut chance = Seeded::new(seed);
    let mut known = look(&mut http, 0);
    let mut typical = Duration::from_millis(10);
    let mut tally = Tally::default();
    let mut keys = 0;
    for kill in 0..KILLS * scale() {
        let trail = format!("seed {seed:#x}, kill {kill}");
        // A few that are acknowledged.
        for _ in 0..chance.below(4) {
            let body = next(&mut http, &mut chance, &known);
            keys += 1;
            let began = Instant::now();
            let answer = http.command("bakery", &format!("k{keys}"), &body);
            assert_eq!(answer.status, 200, "{trail}: {body}: {answer}");
            typical = (typical * 7 + began.elapsed()) / 8;
            tally.acknowledged += 1;
            let seen = look(&mut http, known.head);
            assert_eq!(seen.site, answer.json()["site"], "{trail}");
            known = seen;
        }
        // One whose answer is not waited for.
        let body = next(&mut http, &mut chance, &known);
        keys += 1;
        let call = transition("bakery", &format!("k{keys}"), &body);
        let span = u64::try_from(typical.as_micros()).unwrap();
        let moment = Duration::from_micros(chance.below(span));
        let mut in_flight = http.send(&call).unwrap();
        let sent = Instant::now();
        // Not a wait for something to happen: the moment itself is what is drawn.
        while sent.elapsed() < moment {
            std::hint::spin_loop();
        }
        server.kill();
        let heard = in_flight.read().ok().filter(|answer| answer.status == 200);
        let began = Instant::now();
        server = installation.start();
        tally.start += began.elapsed();
        http = server.client();
        let found = look(&mut http, known.head);
        whole(&mut http, &found, &trail);
        if found.head == known.head {
            // Not at all: exactly as last acknowledged, and the answer cannot have been heard.
            assert!(heard.is_none(), "{trail}: acknowledged and lost: {body}");
            assert_eq!((&found.site, &found.people), (&known.site, &known.people), "{trail}: {body}");
            tally.before += 1;
        } else {
            assert_eq!(found.head, known.head + 1, "{trail}: one command, one revision: {body}");
            assert_ne!(found.site, known.site, "{trail}: {body}");
            tally.after += 1;
        }
        // The same key again: its effect is there once, whether it was there before or not.
        let retried = http.command("bakery", &format!("k{keys}"), &body);
        assert_eq!(retried.status, 200, "{trail}: {body}: {retried}");
        if let Some(heard) = heard {
            assert_eq!(heard.body, retried.body, "{trail}: the reply that was heard and the stored one");
        }
        let settled = look(&mut http, known.head);
        assert_eq!(settled.head, known.head + 1, "{trail}: one effect");
        assert_eq!(settled.site, retried.json()["site"], "{trail}");
        if found.head > known.head {
            assert_eq!(
                (&settled.site, &settled.people),
                (&found.site, &found.people),
                "{trail}: applied before, and as a whole"
            );
        }
        known = settled;
        if kill % 25 == 24 {
            installation.verify_audit();
        }
    }
    feed_has_no_gap(&mut http, known.head, &format!("seed {seed:#x}"));
    drop(server);
    let said = installation.verify_audit();
    let kills = KILLS * scale();
    println!(
        "{kills} kills: {} in flight were not applied, {} were; {} acknowledged; a start took {:?}; {}",
        tally.before,
        tally.after,
        tally.acknowledged + kills,
        tally.start / u32::try_from(kills).unwrap(),
        said.trim_end()
    );
    // The control: the moments hit both sides of the commit, or the test shows nothing.
    assert!(
        tally.before >= kills / 20 && tally.after >= kills / 20,
        "all kills on one side: {} {}",
        tally.before,
        tally.after
    );
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_done_twice() {
    shoot(0xDEAD_0001);
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_done_twice_again() {
    shoot(0xDEAD_0002);
}

//! Money and seats move together: the real program and the reference billing service, each killed and each failing.
//!
//! What is compared in the end are two histories that nobody wrote with the other in mind: the payers that the audit
//! log tells of, and the periods of liability in the billing service's ledger. They must be the same list.
//! `MANDATE_KILLS` sets how often something is killed (`make kills` asks for 500).

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http::{Answer, Call, Client, now_s, transition},
    kill::policies,
    program::example,
    seeded::Seeded,
    server::{Installation, Server, until},
};

const KEY: &str = "correct-horse-battery-staple";
pub const AGENCY: &str = "agency:studio-north";

/// The running billing service; killed when dropped. Its ledger outlives it.
pub struct Billing {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Billing {
    fn start(folder: &Path) -> Self {
        std::fs::write(folder.join("key"), KEY).unwrap();
        let (child, address) = Self::spawn(folder, "127.0.0.1:0").unwrap();
        Self { child, address, folder: folder.to_owned() }
    }
    fn spawn(folder: &Path, listen: &str) -> Option<(Child, SocketAddr)> {
        let mut command = Command::new(example("billing", &["billing/main.rs", "billing/ledger.rs"]));
        command.args([listen, "ledger.jsonl", "key"]).current_dir(folder);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            child.wait().unwrap();
            return None;
        };
        Some((child, address.parse().unwrap()))
    }
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    /// Again, at the same address.
    fn restart(&mut self) {
        self.child = until("the address is free", || Self::spawn(&self.folder, &self.address.to_string())).0;
    }
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let call = Call::new(method, path).header("authorization", &format!("Bearer {KEY}"));
        Client::new(self.address).call(&body.map_or(call.clone(), |body| call.clone().json(body))).ok()
    }
    pub fn card(&self, account: &str) {
        self.call("POST", "/cards", Some(&json!({"account": account})));
    }
    fn faults(&self, faults: &Value) {
        self.call("POST", "/faults", Some(faults));
    }
    pub fn ledger(&self) -> Value {
        self.call("GET", "/ledger", None).json()
    }
}

impl Drop for Billing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service with a billing service beside it, and sites of Maria's. `timeout` and `bound` are those of a reservation.
pub fn world(timeout: &str, bound: &str, more: &[(&str, &str)]) -> (Installation, Server, Billing) {
    let mut installation = Installation::new();
    policies(&mut installation);
    let billing = Billing::start(installation.folder());
    installation.set("MANDATE_BILLING__URL", format!("http://{}", billing.address));
    installation.set("MANDATE_BILLING__KEY_FILE", "key");
    installation.set("MANDATE_BILLING__TIMEOUT", timeout);
    installation.set("MANDATE_BILLING__RESERVE_BOUND", bound);
    installation.set("MANDATE_BILLING__RETRY_MAX", "300ms");
    for (name, value) in more {
        installation.set(name, *value);
    }
    let server = installation.start();
    let mut http = server.client();
    let agency = json!({"name": "Studio North", "domain": "studio-north.example", "verified": true});
    http.put("/v1/agencies/studio-north", &agency).ok();
    for admin in ["dana", "eve"] {
        http.put(&format!("/v1/agencies/studio-north/members/{admin}"), &json!({"role": "admin"})).ok();
    }
    (installation, server, billing)
}

pub fn site(http: &mut Client, name: &str) {
    let site = json!({"mode": "self_managed", "owner": "user:maria", "plan": {"tier": "premium"}});
    http.put(&format!("/v1/sites/{name}"), &site).ok();
}

/// Makes an offer; the acceptance that answers it.
pub fn offered(http: &mut Client, site: &str, key: &str) -> Value {
    let reply = http.offer(site, key, "user:maria", "offer_partner_role", AGENCY).ok().json();
    let handover = reply["handover"]["id"].as_str().unwrap().to_owned();
    let digest = http.digest(&handover, "partner");
    json!({"actor": "user:dana", "auth_time": now_s(), "command": "accept_handover", "handover": handover,
           "explanation_digest": digest})
}

pub fn reclaim() -> Value {
    json!({"actor": "user:maria", "auth_time": now_s(), "command": "reclaim_site"})
}

fn sagas(http: &mut Client, state: &str) -> Vec<Value> {
    let page = http.get(&format!("/v1/billing/sagas?limit=1000&state={state}")).ok().json();
    assert!(page["next"].is_null());
    page["items"].as_array().unwrap().clone()
}

/// Waits until nothing is left to tell billing.
fn settled(http: &mut Client) {
    until("billing was told everything", || {
        let open = ["reserving", "confirming", "releasing"].iter().map(|state| sagas(http, state).len());
        (open.sum::<usize>() == 0).then_some(())
    });
}

/// Changes of payer, in order: at which revision, from whom, to whom.
type History = Vec<(u64, Value, Value)>;

/// Who came to pay, site by site: what the audit log says.
fn payers(http: &mut Client, site: &str) -> History {
    let mut after = "0".to_owned();
    let mut found = Vec::new();
    loop {
        let page = http.get(&format!("/v1/sites/{site}/audit?limit=1000&after={after}")).ok().json();
        for event in page["items"].as_array().unwrap().iter().filter(|event| event["type"] == "PlanHolderChanged") {
            let data = &event["data"];
            found.push((event["revision"].as_u64().unwrap(), data["from"].clone(), data["to"].clone()));
        }
        let Some(next) = page["next"].as_str() else { return found };
        next.clone_into(&mut after);
    }
}

/// What both sides say of every site; the first contradiction between them.
fn compare(sites: &[(String, Value, History)], journal: &[Value], ledger: &Value) -> Result<(), String> {
    if ledger["violations"] != json!([]) {
        return Err(format!("the contract was broken: {}", ledger["violations"]));
    }
    let mut confirmed = BTreeSet::new();
    for (site, holder, history) in sites {
        let none = Vec::new();
        let periods = ledger["periods"][site].as_array().unwrap_or(&none);
        let told: History = periods
            .iter()
            .map(|p| (p["revision"].as_u64().unwrap_or(0), p["from"].clone(), p["payer"].clone()))
            .collect();
        if told != *history {
            return Err(format!("`{site}` changed its payer {history:?}, billing was told {told:?}"));
        }
        if periods.last().is_some_and(|last| last["payer"] != *holder) {
            return Err(format!("`{site}` is paid by {holder}, not so in the ledger"));
        }
        confirmed.extend(periods.iter().map(|period| period["id"].to_string()));
    }
    let kept: BTreeSet<String> =
        journal.iter().filter(|saga| saga["state"] == "confirmed").map(|saga| saga["id"].to_string()).collect();
    if kept != confirmed {
        return Err(format!("the journal has {kept:?}, the ledger {confirmed:?}"));
    }
    let held = ledger["sagas"].as_object().unwrap().iter().find(|(_, saga)| saga["state"] == "reserved");
    held.map_or(Ok(()), |(id, _)| Err(format!("`{id}` is reserved and left over")))
}

/// Waits until everything was told, then compares both histories.
#[track_caller]
pub fn agree(http: &mut Client, billing: &Billing, names: &[&str]) -> usize {
    settled(http);
    let mut sites = Vec::new();
    for name in names {
        let holder = http.get(&format!("/v1/sites/{name}")).ok().json()["plan_holder"].clone();
        sites.push(((*name).to_owned(), holder, payers(http, name)));
    }
    let journal: Vec<Value> = ["confirmed", "released"].iter().flat_map(|state| sagas(http, state)).collect();
    let ledger = billing.ledger();
    compare(&sites, &journal, &ledger).unwrap_or_else(|what| panic!("{what}\n{ledger:#}\n{journal:#?}"));
    // The control: a comparison that sees no fault here sees none anywhere.
    let changes: usize = sites.iter().map(|(_, _, history)| history.len()).sum();
    if changes > 0 {
        let (name, ..) = sites.iter().find(|(_, _, history)| !history.is_empty()).unwrap();
        let tampered = |change: &dyn Fn(&mut Value)| {
            let mut ledger = ledger.clone();
            change(&mut ledger);
            compare(&sites, &journal, &ledger).expect_err("a tampered ledger was not noticed")
        };
        tampered(&|ledger| drop(ledger["periods"][name].as_array_mut().unwrap().pop()));
        tampered(&|ledger| {
            let periods = ledger["periods"][name].as_array_mut().unwrap();
            periods.push(periods.last().unwrap().clone());
        });
        tampered(&|ledger| ledger["periods"][name][0]["payer"] = json!("user:eve"));
        tampered(&|ledger| ledger["sagas"]["h-x"] = json!({"state": "reserved"}));
        tampered(&|ledger| ledger["violations"] = json!(["x"]));
    }
    changes
}

#[test]
fn who_comes_to_pay_is_asked_first_and_told_after() {
    let more = [("MANDATE_TIMERS__SETTLE", "0s"), ("MANDATE_TIMERS__RECLAIM_NOTICE", "1s"), ("MANDATE_LOG", "trace")];
    let (installation, server, billing) = world("5s", "20s", &more);
    let mut http = server.client();
    billing.card(AGENCY);
    site(&mut http, "bakery");
    let accept = offered(&mut http, "bakery", "offer");
    let done = http.command("bakery", "accept", &accept).ok();
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 1);
    let period = billing.ledger()["periods"]["bakery"][0].clone();
    let expected = json!({"id": accept["handover"], "attempt": 1, "site": "bakery", "kind": "partner_handover",
        "payer": AGENCY, "from": "user:maria", "revision": done.revision(), "effective_at": period["effective_at"]});
    assert_eq!(period, expected);
    // Back by time alone: nobody is asked, and the agency is liable up to the deadline and not to the commit.
    let pending = http.command("bakery", "reclaim", &reclaim()).ok().json();
    let deadline = pending["site"]["return_pending"]["effective_at"].clone();
    until("the site is back", || (http.get("/v1/sites/bakery").ok().json()["mode"] == "self_managed").then_some(()));
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 2);
    let period = billing.ledger()["periods"]["bakery"][1].clone();
    assert_eq!((&period["payer"], &period["kind"]), (&json!("user:maria"), &json!("return")));
    let instant = |value: &Value| value.as_str().unwrap().parse::<mandate::time::Timestamp>().unwrap();
    assert_eq!(instant(&period["effective_at"]), instant(&deadline));
    let first = http.get("/v1/billing/sagas?limit=1").ok().json();
    let next = first["next"].as_str().unwrap();
    let second = http.get(&format!("/v1/billing/sagas?limit=1&after={next}")).ok().json();
    assert_eq!((second["items"][0]["state"].as_str(), &second["next"]), (Some("confirmed"), &Value::Null));
    assert_eq!(http.get("/v1/billing/sagas?state=stuck").status, 400);
    assert!(!server.log().contains(KEY), "the key was logged");
    drop(server);
    installation.verify_audit();
}

#[test]
fn a_refusal_leaves_the_offer_open() {
    let (_installation, server, billing) = world("5s", "20s", &[]);
    let mut http = server.client();
    site(&mut http, "bakery");
    let accept = offered(&mut http, "bakery", "offer");
    // Who may not, and who has not read: neither reaches billing.
    let mut stranger = accept.clone();
    stranger["actor"] = json!("user:mallory");
    assert_eq!(http.command("bakery", "k0", &stranger).status, 403);
    let mut unread = accept.clone();
    unread["explanation_digest"] = json!("sha256:00");
    assert_eq!(http.command("bakery", "k1", &unread).code(), "preview_changed");
    assert_eq!(billing.ledger()["sagas"], json!({}));
    assert_eq!(http.get("/v1/billing/sagas").ok().json()["items"], json!([]));

    let before = (http.get("/v1/sites/bakery").body, http.head(0));
    let refused = http.command("bakery", "accept", &accept);
    assert_eq!((refused.status, refused.code().as_str()), (402, "payment_required"), "{refused}");
    assert_eq!(refused.json()["billing_code"], "no_valid_card");
    assert_eq!((http.get("/v1/sites/bakery").body, http.head(0)), before, "nothing changed, not even a revision");
    let open = http.get(&format!("/v1/handovers/{}", accept["handover"].as_str().unwrap())).ok().json();
    assert_eq!(open["status"], "open");
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 0);
    let saga = &sagas(&mut http, "released")[0];
    assert_eq!((&saga["attempt"], &saga["last_failure"]), (&json!(1), &json!("refused:no_valid_card")), "{saga}");

    billing.card(AGENCY);
    http.command("bakery", "accept", &accept).ok();
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 1);
    assert_eq!(billing.ledger()["periods"]["bakery"][0]["attempt"], 2);
}

#[test]
fn billing_that_does_not_answer_changes_nothing() {
    let (_installation, server, billing) = world("400ms", "2s", &[]);
    let mut http = server.client();
    billing.card(AGENCY);
    for (n, (faults, status)) in [
        (json!({"fail_next": 1}), 200),
        (json!({"lose_next": 1}), 200),
        (json!({"fail_next": 1000}), 503),
        (json!({"lose_next": 1000}), 503),
        (json!({"delay_ms": 1500}), 503),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("site-{n}");
        site(&mut http, &name);
        let accept = offered(&mut http, &name, "offer");
        billing.faults(&faults);
        let began = Instant::now();
        let answer = http.command(&name, "accept", &accept);
        assert_eq!(answer.status, status, "{faults}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(10), "{faults}: it took {:?}", began.elapsed());
        if status == 503 {
            assert_eq!((answer.code().as_str(), &answer.json()["outcome"]), ("not_applied", &json!("not_applied")));
            let found = http.get(&format!("/v1/sites/{name}")).ok().json();
            assert_eq!((&found["mode"], &found["open_handover"]), (&json!("self_managed"), &accept["handover"]));
            // Other questions are answered meanwhile, and what billing may hold is released once it answers.
            billing.faults(&json!({}));
            settled(&mut http);
            let ledger = billing.ledger();
            assert_eq!(ledger["periods"][&name], Value::Null, "{faults}");
            assert_ne!(ledger["sagas"][accept["handover"].as_str().unwrap()]["state"], "reserved", "{faults}");
            http.command(&name, "accept", &accept).ok();
        }
        billing.faults(&json!({}));
        settled(&mut http);
        assert_eq!(billing.ledger()["periods"][&name].as_array().unwrap().len(), 1, "{faults}");
    }
    agree(&mut http, &billing, &["site-0", "site-1", "site-2", "site-3", "site-4"]);
}

#[test]
fn a_return_does_not_wait_for_money_and_is_told_after_restarts() {
    let (installation, mut server, mut billing) = world("1s", "4s", &[]);
    let mut http = server.client();
    billing.card(AGENCY);
    site(&mut http, "bakery");
    let accept = offered(&mut http, "bakery", "offer");
    let done = http.command("bakery", "accept", &accept).ok();
    settled(&mut http);
    billing.kill();
    // A repeat is answered from the record.
    let again = http.command("bakery", "accept", &accept).ok();
    assert_eq!(again.body, done.body);
    // Settling: back at once, and in that very commit.
    http.command("bakery", "reclaim", &reclaim()).ok();
    let stuck = until("billing was tried twice", || {
        let stuck = sagas(&mut http, "confirming");
        (stuck[0]["tries"].as_u64().unwrap() >= 2).then(|| stuck[0].clone())
    });
    assert_eq!((&stuck["last_failure"], &stuck["payer"]), (&json!("unreachable"), &json!("user:maria")), "{stuck}");
    // An offer made meanwhile cannot be accepted, and is still open.
    let accept = offered(&mut http, "bakery", "offer-2");
    assert_eq!(http.command("bakery", "accept-2", &accept).code(), "not_applied");
    server.kill();
    let server = installation.start();
    let mut http = server.client();
    assert_eq!(sagas(&mut http, "confirming").len(), 1);
    billing.restart();
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 2);
    http.command("bakery", "accept-2", &accept).ok();
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 3);
}

#[test]
fn two_who_accept_at_once_are_one_acceptance() {
    let (_installation, server, billing) = world("5s", "20s", &[]);
    let mut http = server.client();
    billing.card(AGENCY);
    let names = ["s-0", "s-1", "s-2", "s-3"];
    for (n, name) in names.into_iter().enumerate() {
        site(&mut http, name);
        let accept = offered(&mut http, name, "offer");
        billing.faults(&json!({"delay_ms": n * 100}));
        let answers: Vec<Answer> = thread::scope(|scope| {
            let send = |actor: &str, key: &str| {
                let (mut http, mut accept) = (server.client(), accept.clone());
                accept["actor"] = json!(actor);
                let key = key.to_owned();
                scope.spawn(move || http.command(name, &key, &accept))
            };
            let both = [send("user:dana", "dana"), send("user:eve", "eve"), send("user:dana", "dana")];
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert!(!won.is_empty() && won.iter().all(|one| one.body == won[0].body), "{answers:?}");
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(lost.status, 409, "{lost}");
            assert!(matches!(lost.code().as_str(), "in_flight" | "terminal:accepted"), "{lost}");
        }
    }
    billing.faults(&json!({}));
    assert_eq!(agree(&mut http, &billing, &names), 4);
    assert_eq!(sagas(&mut http, "released"), Vec::<Value>::new(), "the winner's reservation was released");
}

/// T8 gives a client the title and nobody a bill.
#[test]
fn who_paid_before_is_not_asked() {
    let (_installation, server, mut billing) = world("1s", "4s", &[]);
    let mut http = server.client();
    billing.kill();
    let built = json!({"mode": "partner_built", "owner": AGENCY, "plan": {"tier": "premium"}, "published": true});
    http.put("/v1/sites/florist", &built).ok();
    let reply = http.offer("florist", "offer", "user:dana", "assign_client_role", "user:tom").ok().json();
    let handover = reply["handover"]["id"].as_str().unwrap();
    let digest = http.digest(handover, "client");
    let accept = json!({"actor": "user:tom", "auth_time": now_s(), "command": "accept_handover", "handover": handover,
        "explanation_digest": digest});
    let done = http.command("florist", "accept", &accept).ok().json();
    assert_eq!((&done["site"]["mode"], &done["site"]["plan_holder"]), (&json!("partner_managed"), &json!(AGENCY)));
    assert_eq!(http.get("/v1/billing/sagas").ok().json()["items"], json!([]));
}

/// T21: the client's own card, so the client's own yes, and billing's.
#[test]
fn a_rescue_is_asked_about_and_a_return_is_not() {
    let (_installation, server, billing) = world("5s", "20s", &[("MANDATE_TIMERS__SETTLE", "0s")]);
    let mut http = server.client();
    billing.card(AGENCY);
    site(&mut http, "bakery");
    let accept = offered(&mut http, "bakery", "offer");
    http.command("bakery", "accept", &accept).ok();
    let past_due = json!({"actor": "service:billing", "command": "report_plan", "status": "past_due"});
    http.command("bakery", "past-due", &past_due).ok();
    let rescue = json!({"actor": "user:maria", "auth_time": now_s(), "command": "rescue_plan"});
    let refused = http.command("bakery", "rescue", &rescue);
    assert_eq!((refused.status, refused.code().as_str()), (402, "payment_required"), "{refused}");
    assert_eq!(http.get("/v1/sites/bakery").ok().json()["plan_holder"], AGENCY);
    billing.card("user:maria");
    let done = http.command("bakery", "rescue", &rescue).ok();
    assert_eq!(http.command("bakery", "rescue", &rescue).body, done.body);
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 2);
    let period = billing.ledger()["periods"]["bakery"][1].clone();
    assert_eq!(
        (&period["kind"], &period["payer"], &period["attempt"]),
        (&json!("rescue_plan"), &json!("user:maria"), &json!(2))
    );
}

/// T10: billing is asked about the agency that comes, and told who went.
#[test]
fn a_replacement_is_asked_about_the_new_agency() {
    let (_installation, server, billing) = world("5s", "20s", &[("MANDATE_TIMERS__SETTLE", "0s")]);
    let mut http = server.client();
    billing.card(AGENCY);
    let agency = json!({"name": "Harbour Web", "domain": "harbour.example", "verified": true});
    http.put("/v1/agencies/harbour-web", &agency).ok();
    http.put("/v1/agencies/harbour-web/members/hal", &json!({"role": "admin"})).ok();
    site(&mut http, "bakery");
    let accept = offered(&mut http, "bakery", "offer");
    http.command("bakery", "accept", &accept).ok();
    let offer = http.offer("bakery", "replace", "user:maria", "replace_partner", "agency:harbour-web").ok().json();
    let handover = offer["handover"]["id"].as_str().unwrap();
    let digest = http.digest(handover, "new_partner");
    let accept = json!({"actor": "user:hal", "auth_time": now_s(), "command": "accept_handover", "handover": handover,
        "explanation_digest": digest});
    assert_eq!(http.command("bakery", "hal", &accept).code(), "payment_required");
    assert_eq!(http.get("/v1/sites/bakery").ok().json()["plan_holder"], AGENCY, "the present partner stays");
    billing.card("agency:harbour-web");
    http.command("bakery", "hal", &accept).ok();
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 2);
    let period = billing.ledger()["periods"]["bakery"][1].clone();
    assert_eq!((&period["payer"], &period["from"]), (&json!("agency:harbour-web"), &json!(AGENCY)));
}

/// A caller who hangs up while billing is asked does not leave a reservation behind.
#[test]
fn a_caller_who_goes_away_does_not_stop_the_saga() {
    let (_installation, server, billing) = world("5s", "20s", &[]);
    let mut http = server.client();
    billing.card(AGENCY);
    site(&mut http, "bakery");
    let accept = offered(&mut http, "bakery", "offer");
    billing.faults(&json!({"delay_ms": 500}));
    let connection = server.client().send(&transition("bakery", "accept", &accept)).unwrap();
    until("billing is asked", || (!sagas(&mut http, "reserving").is_empty()).then_some(()));
    drop(connection);
    until("the seats moved", || (http.get("/v1/sites/bakery").ok().json()["mode"] == "partner_managed").then_some(()));
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 1);
}

/// The store fails between the reservation and the commit: nothing moved, and the reservation is given up in time.
#[test]
fn a_reservation_that_is_not_used_is_given_up() {
    let (installation, server, billing) = world("800ms", "2s", &[]);
    let mut http = server.client();
    billing.card(AGENCY);
    site(&mut http, "bakery");
    let accept = offered(&mut http, "bakery", "offer");
    billing.faults(&json!({"delay_ms": 400}));
    let mut other = server.client();
    let waiting = thread::spawn({
        let accept = accept.clone();
        move || other.command("bakery", "accept", &accept)
    });
    until("billing is asked", || (!sagas(&mut http, "reserving").is_empty()).then_some(()));
    let held = rusqlite::Connection::open(installation.database()).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = waiting.join().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_applied"), "{answer}");
    assert_eq!(billing.ledger()["sagas"][accept["handover"].as_str().unwrap()]["state"], "reserved");
    assert_eq!(http.command("bakery", "other", &accept).status, 503, "the control: nobody can write");
    held.execute_batch("ROLLBACK").unwrap();
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 0);
    assert_eq!(sagas(&mut http, "released").len(), 1);
    http.command("bakery", "accept", &accept).ok();
    assert_eq!(agree(&mut http, &billing, &["bakery"]), 1);
}

/// Sends the same command until it is carried out. What may come before that is that nothing was applied.
fn insist(http: &mut Client, site: &str, key: &str, body: &Value, trail: &str) -> Answer {
    until("the command is carried out", || {
        let answer = http.try_call(&transition(site, key, body)).ok()?;
        let code = answer.code();
        assert!(
            answer.status == 200 || matches!(code.as_str(), "in_flight" | "not_applied" | "unknown"),
            "{trail}: {body}: {answer}"
        );
        (answer.status == 200).then_some(answer)
    })
}

#[test]
fn neither_death_loses_or_doubles_a_bill() {
    let kills: u64 = std::env::var("MANDATE_KILLS").map_or(30, |text| text.parse().unwrap());
    let seed = 0xB111_0001;
    let more = [
        ("MANDATE_LOG", "warn,mandate::cli=info"),
        ("MANDATE_QUOTAS__PER_SENDER", "100000"),
        ("MANDATE_QUOTAS__PER_RECIPIENT", "100000"),
    ];
    let (installation, mut server, mut billing) = world("700ms", "3s", &more);
    let mut http = server.client();
    billing.card(AGENCY);
    let names = ["s-0", "s-1", "s-2"];
    for name in names {
        site(&mut http, name);
    }
    let mut chance = Seeded::new(seed);
    let (mut typical, mut keys) = (Duration::from_millis(30), 0_u64);
    let (mut heard_before, mut unheard) = (0, 0);
    for kill in 0..kills {
        let trail = format!("seed {seed:#x}, kill {kill}");
        let name = *chance.pick(&names);
        keys += 1;
        let found = http.get(&format!("/v1/sites/{name}")).ok().json();
        let body = match found["mode"].as_str().unwrap() {
            "self_managed" => offered(&mut http, name, &format!("offer-{keys}")),
            _ => reclaim(),
        };
        match chance.below(6) {
            0 => billing.faults(&json!({"lose_next": 1 + chance.below(2)})),
            1 => billing.faults(&json!({"fail_next": 1 + chance.below(2)})),
            2 => billing.faults(&json!({"delay_ms": chance.below(40)})),
            _ => billing.faults(&json!({})),
        }
        let key = format!("k{keys}");
        let began = Instant::now();
        // Half of the moments lie behind the commit, where billing is told.
        let span = u64::try_from((typical * 2).as_micros()).unwrap();
        let moment = Duration::from_micros(chance.below(span));
        let mut in_flight = http.send(&transition(name, &key, &body)).unwrap();
        // Not a wait for something to happen: the moment itself is what is drawn.
        while began.elapsed() < moment {
            std::hint::spin_loop();
        }
        let who = chance.below(10);
        if who < 7 {
            server.kill();
        }
        if who >= 5 {
            billing.kill();
            billing.restart();
        }
        let heard = if who < 7 { in_flight.read().ok() } else { None };
        if who < 7 {
            server = installation.start();
        }
        drop(in_flight);
        http = server.client();
        let answer = insist(&mut http, name, &key, &body, &trail);
        match heard.filter(|heard| heard.status == 200) {
            Some(heard) => {
                assert_eq!(heard.body, answer.body, "{trail}: the reply that was heard and the stored one");
                heard_before += 1;
            }
            None => unheard += 1,
        }
        if kill % 10 == 9 {
            agree(&mut http, &billing, &names);
            // What a command takes when nobody dies sets the span.
            keys += 1;
            let name = names[0];
            let found = http.get(&format!("/v1/sites/{name}")).ok().json();
            let managed = found["mode"] == "partner_managed";
            let body = if managed { reclaim() } else { offered(&mut http, name, &format!("offer-{keys}")) };
            billing.faults(&json!({}));
            let began = Instant::now();
            http.command(name, &format!("k{keys}"), &body).ok();
            typical = (typical + began.elapsed()) / 2;
        }
    }
    billing.faults(&json!({}));
    let changes = agree(&mut http, &billing, &names);
    drop(server);
    println!("{kills} kills: {changes} changes of payer, {heard_before} heard before, {unheard} not; {typical:?} each");
    println!("{}", installation.verify_audit().trim_end());
    assert_eq!(changes as u64, kills + kills / 10, "one change of payer for each command");
}

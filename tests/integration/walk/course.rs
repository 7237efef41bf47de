//! One walk: commands, checks and time, and everything that must be true after each.

mod after;
mod around;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    cast::{BY_TIME, CODES, SITES, STAFF, TEAMS},
    deeds,
    invariants::{Found, state},
    model::{Agency, Known},
    rules::Ground,
    world::World,
};
use crate::{
    http::{Answer, Client, transition},
    seeded::Seeded,
};

/// A command that was applied, to be sent again.
struct Done {
    site: String,
    key: String,
    body: Value,
    reply: Vec<u8>,
    at: i64,
}

pub struct Course {
    pub world: World,
    pub http: Client,
    pub chance: Seeded,
    first_seed: u64,
    pub step: u64,
    head: u64,
    pub agencies: BTreeMap<String, Agency>,
    pub sites: BTreeMap<String, Known>,
    pub offers: BTreeMap<String, Value>,
    done: Vec<Done>,
    ended: BTreeSet<String>,
    names: u64,
    /// How often each answer came.
    pub seen: BTreeMap<String, u64>,
}

impl Course {
    pub fn new(world: World, seed: u64) -> Self {
        let http = world.client();
        let chance = Seeded::new(seed);
        let first_seed = chance.seed();
        let mut course = Self {
            world,
            http,
            chance,
            first_seed,
            step: 0,
            head: 0,
            agencies: BTreeMap::new(),
            sites: BTreeMap::new(),
            offers: BTreeMap::new(),
            done: Vec::new(),
            ended: BTreeSet::new(),
            names: 0,
            seen: BTreeMap::new(),
        };
        for (id, role) in STAFF {
            course.http.put(&format!("/v1/staff/{id}"), &json!({ "role": role })).ok();
        }
        for (id, verified, team) in TEAMS {
            let members = team.iter().map(|(user, role)| ((*user).to_owned(), (*role).to_owned())).collect();
            let since = course.world.now();
            let agency = Agency { status: "active".to_owned(), since, returns: None, verified, card: true, members };
            course.agencies.insert(id.to_owned(), agency);
            course.put_agency(id).ok();
            for (user, role) in team {
                course.http.put(&format!("/v1/agencies/{id}/members/{user}"), &json!({ "role": role })).ok();
            }
        }
        for (id, mode, owner) in SITES {
            course.register(id, mode, owner);
        }
        course.head = course.http.head(0);
        course
    }
    fn register(&mut self, id: &str, mode: &str, owner: &str) {
        let domains = [format!("{id}.example"), format!("www-{id}.example")];
        let site =
            json!({"mode": mode, "owner": owner, "plan": {"tier": "premium"}, "published": true, "domains": domains});
        self.http.put(&format!("/v1/sites/{id}"), &site).ok();
        let seq = self.audit(id, 0).last().map_or(0, |event| event["seq"].as_u64().unwrap());
        let mut known = Known { seq, ..Known::default() };
        known.body = self.http.get(&format!("/v1/sites/{id}")).ok().body;
        known.doc = serde_json::from_slice(&known.body).unwrap();
        self.sites.insert(id.to_owned(), known);
    }
    fn put_agency(&mut self, id: &str) -> Answer {
        let agency = &self.agencies[id];
        let body = json!({"name": id, "domain": format!("{id}.example"), "verified": agency.verified, "status": agency.status, "card": agency.card});
        self.http.put(&format!("/v1/agencies/{id}"), &body)
    }
    fn audit(&mut self, site: &str, after: u64) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), after);
        loop {
            let page = self.http.get(&format!("/v1/sites/{site}/audit?after={after}&limit=1000")).ok().json();
            let items = page["items"].as_array().unwrap();
            after = items.last().map_or(after, |event| event["seq"].as_u64().unwrap());
            events.extend(items.iter().cloned());
            if page["next"].is_null() {
                return events;
            }
        }
    }
    fn count(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }
    #[track_caller]
    fn hold(&self, found: &Found) {
        let how = "repeat it with TEST_SEED";
        assert!(found.is_empty(), "seed {} ({how}), step {}: {}", self.first_seed, self.step, found.join("\n"));
    }
    #[track_caller]
    fn holds(&self, holds: bool, what: impl std::fmt::Display) {
        if !holds {
            self.hold(&vec![what.to_string()]);
        }
    }

    fn ground<'a>(&'a self, site: &str, named: Option<&'a Value>) -> Ground<'a> {
        let known = &self.sites[site];
        let open = known.doc["open_handover"].as_str().and_then(|id| self.offers.get(id));
        Ground { site: known, named, open, agencies: &self.agencies, now: self.world.now(), blur: self.world.blur() }
    }

    /// Reads what happened since, and checks that it was time's, the platform's (`by_platform`), or the command's.
    fn absorb(&mut self, mine: Option<(&str, u64)>, by_platform: bool) -> Vec<Value> {
        let mut own = Vec::new();
        loop {
            let news = self.http.get(&format!("/v1/changes?after={}&limit=1000", self.head)).ok().json();
            let items = news["items"].as_array().unwrap().clone();
            if items.is_empty() {
                break;
            }
            let revisions: Vec<u64> = items.iter().map(|item| item["revision"].as_u64().unwrap()).collect();
            self.holds(revisions.is_sorted() && revisions[0] > self.head, format!("the feed's order: {news}"));
            self.head = *revisions.last().unwrap();
            let touched: BTreeSet<&str> = items.iter().filter_map(|item| item["site"].as_str()).collect();
            for site in
                touched.into_iter().filter(|site| self.sites.contains_key(*site)).map(str::to_owned).collect::<Vec<_>>()
            {
                own.extend(self.absorb_site(&site, mine, by_platform));
            }
        }
        own
    }
    fn absorb_site(&mut self, site: &str, mine: Option<(&str, u64)>, by_platform: bool) -> Vec<Value> {
        let events = self.audit(site, self.sites[site].seq);
        let mut own = Vec::new();
        for event in &events {
            let (kind, revision) = (event["type"].as_str().unwrap(), event["revision"].as_u64().unwrap());
            if mine == Some((site, revision)) {
                own.push(event.clone());
            } else {
                let reported = by_platform && kind == "SiteReported";
                let quiet = event["actor"].is_null() && (BY_TIME.contains(&kind) || reported);
                self.holds(quiet, format!("unaccounted for: {event}"));
                self.count(format!("time {kind}"));
            }
            let end = ["Accepted", "Declined", "Cancelled", "Expired", "Superseded", "Invalidated"];
            if kind.strip_prefix("Handover").is_some_and(|what| end.contains(&what)) {
                let id = event["data"]["handover"].as_str().unwrap().to_owned();
                let once = self.ended.insert(id);
                self.holds(once, format!("a handover ended twice: {event}"));
            }
            let known = self.sites.get_mut(site).unwrap();
            known.learn(event);
            known.seq = event["seq"].as_u64().unwrap();
        }
        let read = self.http.get(&format!("/v1/sites/{site}")).ok();
        let etag = read.header("etag").unwrap_or_default().to_owned();
        let known = self.sites.get_mut(site).unwrap();
        (known.body, known.doc) = (read.body.clone(), read.json());
        let doc = known.doc.clone();
        self.holds(etag == format!("\"r{}\"", doc["revision"]), format!("{etag} of {doc}"));
        self.hold(&state(&doc));
        self.reread_offers(site, &doc);
        own
    }
    fn reread_offers(&mut self, site: &str, doc: &Value) {
        let open = doc["open_handover"].as_str().map(str::to_owned);
        let live = |offer: &Value| ["open", "requested"].contains(&offer["status"].as_str().unwrap());
        let of_site = self.offers.iter().filter(|(_, offer)| offer["site"] == *site && live(offer));
        let mut ids: BTreeSet<String> = of_site.map(|(id, _)| id.clone()).collect();
        ids.extend(open.clone());
        for id in ids {
            let offer = self.http.get(&format!("/v1/handovers/{id}")).ok().json();
            // I13: what is live is the one that the site names.
            self.holds(live(&offer) == (open.as_deref() == Some(&id)), format!("I13: {offer} on {doc}"));
            self.holds(live(&offer) == offer["ended_at"].is_null(), format!("the end of {offer}"));
            self.offers.insert(id, offer);
        }
        if let Some(offer) = open.and_then(|id| self.offers.get(&id)) {
            let seats = ["owner", "client", "partner"].map(|seat| &doc["seats"][seat]);
            let active = |account: &Value| {
                account.as_str().unwrap().strip_prefix("agency:").is_none_or(|id| self.agencies[id].active())
            };
            // An agency that asks holds no seat yet.
            let seated = offer["status"] == "requested" || seats.contains(&&offer["initiator"]);
            // Trust and safety offers a successor what a stopped agency cannot offer any more.
            let by_case = offer["terms"]["case"].is_string();
            let good = seated && (by_case || active(&offer["initiator"])) && active(&offer["to"]);
            self.holds(good, format!("I12: {offer} on {doc}"));
        }
        while self.offers.len() > 200 {
            let id = self.offers.iter().find(|(_, offer)| !live(offer)).map(|(id, _)| id.clone()).unwrap();
            self.offers.remove(&id);
        }
    }

    /// One step.
    pub fn go(&mut self) {
        self.step += 1;
        self.absorb(None, false);
        match self.chance.below(1000) {
            0..30 => self.platform(),
            30..80 if !self.done.is_empty() => self.repeat(),
            80..110 => self.malformed(),
            110..140 => self.pass(),
            140..160 => self.work(),
            160..162 => self.restart(),
            _ => {
                let sites: Vec<String> = self.sites.keys().cloned().collect();
                let site = self.chance.pick(&sites).clone();
                self.command(&site);
            }
        }
        if self.chance.chance(35) {
            self.check();
        }
    }

    fn command(&mut self, site: &str) {
        let mut body = self.deed(site);
        let command = body["command"].as_str().unwrap().to_owned();
        let now = self.world.now();
        let age = body["auth_time"].as_i64().map(|at| now.div_euclid(1_000_000) - at);
        let fresh = age.is_some_and(|age| age < 590);
        let current = self.read_first(site, &mut body);
        let code = body["site_code"].as_str().map(str::to_owned);
        let named = body["handover"].as_str().and_then(|id| self.offers.get(id)).cloned();
        let expected = self.ground(site, named.as_ref()).applies(&body, fresh, code.as_deref());
        let stale = self.chance.chance(4);
        let key = format!("k{}", self.step);
        let mut call = transition(site, &key, &body);
        if stale {
            call = call.header("if-match", "\"r0\"");
        } else if self.chance.chance(20) {
            call = call.header("if-match", &format!("\"r{}\"", self.sites[site].doc["revision"]));
        }
        let answer = self.http.call(&call);
        // A deadline between the question and the answer: nobody can say on which side of it the service was.
        let since = self.ground(site, named.as_ref()).applies(&body, fresh, code.as_deref());
        let expected = expected.filter(|_| expected == since);
        let applied = answer.status == 200;
        self.count(if applied { format!("applied {command}") } else { format!("refused {}", answer.code()) });
        self.holds(!(applied && (stale || !current)), format!("what was stale was applied: {body}"));
        if let Some(expected) = expected.filter(|_| current && !stale) {
            let doc = &self.sites[site].doc;
            let known = format!("{:?} {:?}", self.sites[site].rows, self.agencies);
            self.holds(
                applied == expected,
                format!("expected {expected} for {body} on {doc} (offer {named:?}; {known}): {answer}"),
            );
            self.count("predicted");
        }
        if applied { self.carried_out(site, &key, &body, &answer) } else { self.refused(site, &body, &answer) }
    }

    /// What people read before they offer or accept; false where the digest is not the present one on purpose.
    fn read_first(&mut self, site: &str, body: &mut Value) -> bool {
        let command = body["command"].as_str().unwrap();
        if command == "accept_handover" {
            let id = body["handover"].as_str().unwrap().to_owned();
            let actor = body["actor"].as_str().unwrap().to_owned();
            let offer = self.offers.get(&id);
            let audience = match offer.map(|offer| offer["kind"].as_str().unwrap()) {
                Some("partner_handover") => "partner",
                Some("partner_replacement") => {
                    let needed = offer.unwrap()["consents_needed"].as_array().cloned().unwrap_or_default();
                    if needed.contains(&json!(actor)) { "client" } else { "new_partner" }
                }
                Some("ownership_transfer") => "recipient",
                _ => "client",
            };
            let text = self.http.get(&format!("/v1/handovers/{id}/explanation?audience={audience}"));
            let current = self.chance.chance(92);
            body["explanation_digest"] = match text.status {
                _ if !current => json!("sha256:stale"),
                200 => text.json()["digest"].clone(),
                _ => json!(""),
            };
            return current;
        }
        if !["offer_partner_role", "assign_client_role", "replace_partner", "transfer_ownership"].contains(&command) {
            return true;
        }
        let preview = self.http.preview(site, body);
        let current = self.chance.chance(92);
        let digest = if preview.status == 200 { preview.json()["digest"].clone() } else { Value::Null };
        body["preview_digest"] = if current && digest.is_string() { digest } else { json!("sha256:stale") };
        current
    }

    /// A refusal is told in the contract's words and leaves everything as it was.
    fn refused(&mut self, site: &str, body: &Value, answer: &Answer) {
        let (code, problem) = (answer.code(), answer.json());
        let known = CODES.iter().find(|(known, _)| *known == code);
        self.holds(
            known.is_some_and(|(_, status)| *status == answer.status),
            format!("an unknown answer to {body}: {answer}"),
        );
        let kind = answer.header("content-type");
        self.holds(kind == Some("application/problem+json"), format!("{kind:?} for {answer}"));
        self.holds(problem["status"] == answer.status && !problem["detail"].as_str().unwrap().is_empty(), &problem);
        if code == "illegal_transition" {
            self.holds(problem["state"].is_string() && problem["command"] == body["command"], &problem);
        }
        if code == "blocked" {
            self.holds(problem["blockers"].as_array().is_some_and(|blockers| !blockers.is_empty()), &problem);
        }
        let before = self.sites.get(site).map(|known| known.body.clone());
        let quiet = self.head;
        self.absorb(None, false);
        if self.head == quiet && before.is_some() {
            let after = self.http.get(&format!("/v1/sites/{site}")).ok();
            let same = Some(&after.body) == before.as_ref() || matches!(self.world, World::Program { .. });
            self.holds(same, format!("refused, but changed: {body} {answer}"));
        }
    }
    /// What must have happened on a walk that got anywhere.
    pub fn applied(&self) -> BTreeMap<&str, u64> {
        let times = |command: &str| self.seen.get(&format!("applied {command}")).copied().unwrap_or(0);
        deeds::every().iter().map(|command| (*command, times(command))).collect()
    }
}

//! One walk: commands, checks and time, and everything that must be true after each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    cast::{BY_TIME, CODES, PEOPLE, SITES, STAFF, TEAMS},
    deeds,
    invariants::{Found, state, step},
    model::{Agency, Known, micros},
    rules::Ground,
    world::{DAY, World},
};
use crate::{
    http::{Answer, Client, transition},
    seeded::Seeded,
};

/// The telling actions: one of each side's own, spending, title, work, looking.
const TELLING: [&str; 9] = [
    "ReclaimSite",
    "TransferDomain",
    "UpgradePlan",
    "PublishSite",
    "ViewSite",
    "PurgeSite",
    "CancelPlan",
    "RescuePlan",
    "ReleaseSite",
];

/// From an agency's suspension to the return of its sites, in microseconds.
const NOTICE: i64 = 14 * DAY;

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

    fn carried_out(&mut self, site: &str, key: &str, body: &Value, answer: &Answer) {
        let reply = answer.json();
        let revision: u64 = reply["revision"].as_str().unwrap().parse().unwrap();
        self.holds(revision > self.head && answer.revision() == revision, format!("the revision of {reply}"));
        let before = self.sites[site].doc.clone();
        let (command, actor) = (body["command"].as_str().unwrap(), body["actor"].as_str().unwrap());
        let named = body["handover"].as_str().and_then(|id| self.offers.get(id)).cloned();
        let accepted = named.as_ref().filter(|_| command == "accept_handover");
        if let Some(offer) = accepted {
            let needed = offer["consents_needed"].as_array().unwrap();
            let person = actor.trim_start_matches("user:");
            let ground = self.ground(site, None);
            let party = needed.iter().any(|account| ground.speaks(person, account.as_str().unwrap()));
            self.holds(party && offer["status"] == "open", format!("I21: {actor} accepted {offer}"));
        }
        let own = self.absorb(Some((site, revision)), false);
        // The audit tells what the reply does: what time had done first, then the command's own, by the acting person.
        let told: Vec<&str> = own.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let events: Vec<&str> =
            reply["events"].as_array().unwrap().iter().map(|event| event.as_str().unwrap()).collect();
        self.holds(told == events && !told.is_empty(), format!("the audit tells {told:?}, the reply {events:?}"));
        let mine: Vec<&Value> = own.iter().filter(|event| !event["actor"].is_null()).collect();
        self.holds(!mine.is_empty() && mine.iter().all(|event| event["actor"] == actor), format!("I27: {own:?}"));
        let first = own.iter().position(|event| !event["actor"].is_null()).unwrap();
        let settled = &own[..first];
        let by_time = settled.iter().all(|event| BY_TIME.contains(&event["type"].as_str().unwrap()));
        self.holds(by_time && first + mine.len() == own.len(), format!("time did {settled:?}"));
        let after = reply["site"].clone();
        if settled.is_empty() {
            self.hold(&step(&before, &after, command, actor, accepted));
        }
        self.hold(&state(&after));
        if after["revision"] == self.sites[site].doc["revision"] {
            self.holds(after == self.sites[site].doc, format!("the reply shows {after}, GET {}", self.sites[site].doc));
        }
        if command == "issue_site_code" {
            let known = self.sites.get_mut(site).unwrap();
            if let Some(code) = &mut known.code {
                reply["site_code"].as_str().unwrap().clone_into(&mut code.0);
            }
        }
        self.seen_by_both(site, &own);
        self.people_are_those_told(site);
        self.no_seat_by_invitation(body);
        self.done.push(Done {
            site: site.to_owned(),
            key: key.to_owned(),
            body: body.clone(),
            reply: answer.body.clone(),
            at: self.world.now(),
        });
        if self.done.len() > 500 {
            let old = usize::try_from(self.chance.below(400)).unwrap();
            self.done.swap_remove(old);
        }
        if after["mode"] == "purged" {
            self.replace_purged(site);
        }
    }
    /// I22: an invitation gives no seat.
    fn no_seat_by_invitation(&self, body: &Value) {
        let role = body["role"].as_str().unwrap_or("Viewer");
        self.holds(super::cast::ROLES.contains(&role), format!("I22: a seat was granted: {body}"));
    }
    /// I27: both seats read the same history.
    fn seen_by_both(&mut self, site: &str, own: &[Value]) {
        let known = self.sites[site].clone();
        if !self.chance.chance(10) || known.doc["trashed"] == true || self.ground(site, None).in_motion() {
            return;
        }
        let seats = ["client", "partner", "owner"].map(|seat| self.behind(known.seat(seat)));
        let active = known.agency().is_none_or(|agency| self.agencies[agency].active());
        for reader in
            seats.iter().filter_map(|people| people.first()).filter(|who| active || known.seat("client") == Some(who))
        {
            let after = own[0]["seq"].as_u64().unwrap() - 1;
            let read = self.http.get(&format!("/v1/sites/{site}/audit?after={after}&limit=1000&actor={reader}"));
            let seen = read.json()["items"].as_array().is_some_and(|items| items.starts_with(own));
            self.holds(read.status == 200 && seen, format!("I27: {reader} is shown {read} instead of {own:?}"));
        }
    }
    /// I24 and who has access: the list is what the audit told, and nobody of a partner's that left is in it.
    fn people_are_those_told(&mut self, site: &str) {
        let known = self.sites[site].clone();
        let odd =
            known.doc["trashed"] == true || !known.doc["return_pending"].is_null() || known.doc["mode"] == "purged";
        let active = known.agency().is_none_or(|agency| self.agencies[agency].active());
        if odd || !active || !self.chance.chance(25) {
            return;
        }
        let access = self.http.get(&format!("/v1/sites/{site}/access?limit=1000")).ok().json();
        let items = access["items"].as_array().unwrap();
        let listed: BTreeMap<String, (String, String)> = items
            .iter()
            .filter(|entry| entry["via"] == "contributor")
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                (text("principal").trim_start_matches("user:").to_owned(), (text("role"), text("grantor")))
            })
            .collect();
        let told: BTreeMap<String, (String, String)> =
            known.rows.iter().map(|(user, row)| (user.clone(), (row.role.clone(), row.grantor.clone()))).collect();
        self.holds(listed == told, format!("access lists {listed:?}, the audit told {told:?}"));
        if known.mode() == "self_managed" {
            let partner = known.rows.values().any(|row| row.partner_side || row.grantor.starts_with("agency:"));
            self.holds(!partner && known.grants.is_empty(), format!("I24: {:?} {:?}", known.rows, known.grants));
        }
    }
    fn replace_purged(&mut self, site: &str) {
        self.sites.remove(site);
        self.names += 1;
        let (first, mode, owner) = *self.chance.pick(&SITES);
        let id = format!("{first}-{}", self.names);
        self.register(&id, mode, owner);
        self.head = self.http.head(self.head);
    }

    /// Decisions agree with the seats.
    fn check(&mut self) {
        let sites: Vec<String> = self.sites.keys().cloned().collect();
        let site = self.chance.pick(&sites).clone();
        for _ in 0..3 {
            let (who, action) = (*self.chance.pick(&PEOPLE), *self.chance.pick(&TELLING));
            let client = self.sites[&site].seat("client").filter(|_| self.chance.chance(30));
            let who = client.map_or(who, |client| client.trim_start_matches("user:")).to_owned();
            let fresh = self.chance.chance(80);
            let auth_time = self.world.now().div_euclid(1_000_000) - if fresh { 5 } else { 100_000 };
            let ground = self.ground(&site, None);
            if self.world.blur() > 0 && ground.in_motion() {
                return;
            }
            let expected = ground.may(&who, action, fresh);
            let answer = self.http.ask(&format!("user:{who}"), action, &site, &json!({ "auth_time": auth_time }));
            let may = answer.json()["decision"].as_bool().unwrap();
            self.count("checks");
            // Somebody may have committed in between, or a deadline passed.
            let later = self.ground(&site, None);
            let passed = self.world.blur() > 0 && (answer.revision() > self.head || later.in_motion());
            if passed || later.may(&who, action, fresh) != expected {
                return;
            }
            if let Some(expected) = expected {
                let known = &self.sites[&site];
                let what = format!(
                    "{who} {action} (fresh {fresh}) at {}: {may}, expected {expected}, on {} {:?} {:?} {:?}",
                    mandate::time::Timestamp::from_micros(self.world.now()),
                    known.doc,
                    known.rows,
                    known.grants,
                    self.agencies
                );
                self.holds(may == expected, what);
            }
        }
    }

    /// I10: the same key again gives the same bytes and no second effect; with another body it is refused.
    fn repeat(&mut self) {
        let n = usize::try_from(self.chance.below(self.done.len() as u64)).unwrap();
        let Done { site, key, body, reply, at: _ } = &self.done[n];
        let (site, key, body, mut reply) = (site.clone(), key.clone(), body.clone(), reply.clone());
        let mut again = body.clone();
        // When somebody signed in is not part of what they asked for.
        again["auth_time"] = json!(self.world.now().div_euclid(1_000_000));
        if body["command"] == "issue_site_code" {
            // The code is shown once.
            let mut shown: Value = serde_json::from_slice(&reply).unwrap();
            shown.as_object_mut().unwrap().remove("site_code");
            reply = shown.to_string().into_bytes();
        }
        let answer = self.http.command(&site, &key, &again);
        let same = if body["command"] == "issue_site_code" {
            answer.status == 200 && answer.json() == serde_json::from_slice::<Value>(&reply).unwrap()
        } else {
            answer.status == 200 && answer.body == reply
        };
        // Replies are kept for seven days.
        self.holds(same, format!("I10: {body} answered {answer}"));
        let mut other = body;
        other["actor"] = json!("user:somebody-else");
        let answer = self.http.command(&site, &key, &other);
        self.holds((answer.status, answer.code().as_str()) == (422, "key_reused"), format!("I10: {answer}"));
        self.absorb(None, false);
        self.count("replays");
    }

    /// What no caller may send.
    fn malformed(&mut self) {
        let site = self.sites.keys().next().unwrap().clone();
        let key = format!("m{}", self.step);
        let (site, body, code) = match self.chance.below(9) {
            0 => ("nowhere".to_owned(), json!({"actor": "user:maria", "command": "leave_site"}), "unknown_site"),
            1 => (site, json!({"actor": "user:maria", "command": "become_king"}), "unknown_command"),
            2 => {
                let time = *self.chance.pick(&[
                    "expire_handover",
                    "return_effective",
                    "empty_trash",
                    "end_freeze",
                    "lapse_plan",
                ]);
                (site, json!({"actor": "user:maria", "command": time}), "unknown_command")
            }
            3 => (site, json!({"actor": "maria", "command": "leave_site"}), "invalid_body"),
            4 => (site, json!({"command": "leave_site"}), "invalid_body"),
            5 => (site, json!({"actor": "user:maria", "command": "leave_site", "lock": true}), "invalid_body"),
            6 => (site, json!({"actor": "user:maria", "command": "leave_site", "crown": true}), "invalid_body"),
            7 => (
                site,
                json!({"actor": "user:maria", "command": "offer_partner_role", "to": "user:tom"}),
                "invalid_body",
            ),
            _ => (site, json!({"actor": "user:maria", "command": "report_plan", "status": "ok"}), "service_only"),
        };
        let answer = self.http.command(&site, &key, &body);
        self.holds(answer.code() == code, format!("{code} for {body}: {answer}"));
        self.count(format!("refused {code}"));
        self.refused(&site, &body, &answer);
    }

    /// The platform suspends and reinstates agencies, moves their people, and reports about sites.
    fn platform(&mut self) {
        let id = *self.chance.pick(&["north", "south", "west"]);
        let now = self.world.now();
        match self.chance.below(10) {
            0..5 => {
                let before = self.agencies[id].clone();
                let agency = self.agencies.get_mut(id).unwrap();
                let status = match agency.status.as_str() {
                    "active" if self.chance.chance(50) => *self.chance.pick(&["suspended", "dissolving"]),
                    _ => "active",
                };
                if agency.status != status {
                    (agency.status, agency.since) = (status.to_owned(), now);
                    // A suspended agency that dissolves gains no time.
                    agency.returns = (status != "active").then(|| before.returns.unwrap_or(now + NOTICE));
                }
                agency.card = self.chance.chance(95);
                let answer = self.put_agency(id);
                if answer.status >= 300 {
                    // Too late: its sites go back first.
                    let late = before.returns.is_some_and(|due| due <= self.world.now() + self.world.blur());
                    self.holds(late && status == "active" && answer.code() == "returns_due", &answer);
                    self.agencies.insert(id.to_owned(), before);
                }
            }
            5..7 => {
                let user = *self.chance.pick(&["bo", "kim", "dan", "lea", "uma"]);
                let role = *self.chance.pick(&["admin", "member", "billing"]);
                let answer = self.http.put(&format!("/v1/agencies/{id}/members/{user}"), &json!({ "role": role }));
                self.joined(id, user, Some(role), &answer);
            }
            7 => {
                let user = *self.chance.pick(&["bo", "kim", "dan", "lea", "uma"]);
                let answer = self.http.delete(&format!("/v1/agencies/{id}/members/{user}"));
                self.joined(id, user, None, &answer);
            }
            _ => {
                let sites: Vec<String> = self.sites.keys().cloned().collect();
                let site = self.chance.pick(&sites).clone();
                let tier = if self.chance.chance(85) { "premium" } else { "free" };
                let body = json!({"published": self.chance.chance(85), "plan": {"tier": tier, "transferable": self.chance.chance(90)}});
                self.http.put(&format!("/v1/sites/{site}"), &body).ok();
            }
        }
        self.absorb(None, true);
        self.count("platform");
    }
    fn joined(&mut self, id: &str, user: &str, role: Option<&str>, answer: &Answer) {
        match answer.status {
            200 | 201 => {
                let members = &mut self.agencies.get_mut(id).unwrap().members;
                match role {
                    Some(role) => drop(members.insert(user.to_owned(), role.to_owned())),
                    None => drop(members.remove(user)),
                }
            }
            _ => self.holds(["last_admin", "unknown_member"].contains(&answer.code().as_str()), answer),
        }
    }

    /// Lets time pass: to a deadline, to just before it, or for a while.
    fn pass(&mut self) {
        let now = self.world.now();
        let paths =
            ["/frozen_until", "/settling_until", "/return_pending/effective_at", "/plan/lapses_at", "/plan/returns_at"];
        let of_sites = self.sites.values().flat_map(|known| paths.iter().filter_map(|path| known.at(path)));
        let of_offers = self.offers.values().filter_map(|offer| micros(&offer["expires_at"]));
        let soon: Vec<i64> = of_sites.chain(of_offers).filter(|at| (now..now + 20 * DAY).contains(at)).collect();
        let to = match self.chance.below(10) {
            0..2 if !soon.is_empty() => *self.chance.pick(&soon),
            2..4 if !soon.is_empty() => (*self.chance.pick(&soon) - 1).max(now),
            4..7 => now + 3_600_000_000,
            7..9 => now + DAY,
            _ => now + 6 * DAY,
        };
        if !self.world.set_clock(to) {
            return;
        }
        self.count("time passed");
        // Replies are kept for seven days.
        self.done.retain(|done| to - done.at <= 7 * DAY);
        for _ in 0..4 {
            self.check();
        }
        if self.chance.chance(60) {
            self.work();
        }
    }
    /// The worker, late or not, one or several at once.
    fn work(&mut self) {
        let workers = if self.chance.chance(30) { 4 } else { 1 };
        self.world.work(workers);
        self.absorb(None, false);
        if !matches!(self.world, World::Here(_)) {
            return;
        }
        self.count("worker ran");
        let purged: Vec<String> =
            self.sites.iter().filter(|(_, known)| known.mode() == "purged").map(|(id, _)| id.clone()).collect();
        for site in purged {
            self.replace_purged(&site);
        }
        for (id, known) in &self.sites {
            self.holds(
                !self.ground(id, None).in_motion(),
                format!("not committed at {}: {} {:?}", self.world.now(), known.doc, self.agencies),
            );
            // I7: notice and one freeze, whatever the partner does.
            if let (Some("reclaim"), Some(asked)) = (known.reason(), known.reclaimed_at) {
                let bound = asked + (5 + 14) * DAY;
                let custody = known.doc["custody"] == true;
                self.holds(custody || self.world.now() < bound, format!("I7: asked at {asked}: {}", known.doc));
            }
        }
    }
    fn restart(&mut self) {
        self.world.restart();
        self.http = self.world.client();
        self.count("restarts");
        self.absorb(None, false);
    }
    /// What must have happened on a walk that got anywhere.
    pub fn applied(&self) -> BTreeMap<&str, u64> {
        let times = |command: &str| self.seen.get(&format!("applied {command}")).copied().unwrap_or(0);
        deeds::every().iter().map(|command| (*command, times(command))).collect()
    }
}

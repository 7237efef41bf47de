//! Random walks through commands, and what must be true after every step.
//!
//! Several people, two agencies and five sites of every mode; commands that fit the state, commands that do not, wrong
//! actors, stale previews, repeated and reused keys, agencies that are suspended in between. The invariants are those
//! of the domain's §6 that a caller can see. Nothing but the walk changes the installation (all deadlines are days
//! away), so that each revision is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    http::{Answer, Client, now_s, transition},
    seeded::{Seeded, scale},
    server::Installation,
};

/// Commands of one walk in the default run; there are two walks.
const STEPS: u64 = 1_500;

const PEOPLE: [&str; 10] = ["maria", "tom", "jonas", "eve", "lea", "dana", "dan", "bo", "kim", "rita"];
const AGENCIES: [&str; 3] = ["north", "south", "unverified"];
const SITES: [&str; 5] = ["bakery", "flowers", "studio", "gallery", "lab"];
const ROLES: [&str; 11] = [
    "CoOwner",
    "WebsiteManager",
    "WebsiteDesigner",
    "BillingManager",
    "DomainManager",
    "BlogEditor",
    "StoreManager",
    "MarketingManager",
    "Viewer",
    "Owner",
    "Client",
];

/// Every code with which a command may be refused (`api.md`). Another one is a change of the contract.
const CODES: [&str; 33] = [
    "agency_suspended",
    "already_so",
    "blocked",
    "confirm_required",
    "handover_already_open",
    "has_role",
    "illegal_transition",
    "invalid_body",
    "key_reused",
    "may_not_grant",
    "no_role",
    "not_a_party",
    "not_payer",
    "other_side",
    "own_account",
    "preview_changed",
    "preview_digest_missing",
    "role_lacks_action",
    "stale_if_match",
    "stepup_required",
    "terminal:accepted",
    "terminal:cancelled",
    "terminal:declined",
    "terminal:expired",
    "terminal:invalidated",
    "terminal:superseded",
    "unknown_agency",
    "unknown_contributor",
    "unknown_handover",
    "unknown_role",
    "unknown_site",
    "grant_expired",
    "wrong_mode",
];

/// An agency as the walk knows it.
#[derive(Debug, Clone)]
struct Agency {
    active: bool,
    verified: bool,
    members: BTreeMap<String, String>,
}

impl Agency {
    fn admins(&self) -> impl Iterator<Item = &String> {
        self.members.iter().filter(|(_, role)| *role == "admin").map(|(user, _)| user)
    }
}

/// A handover as the walk knows it: who may answer it, and how it stands.
#[derive(Debug, Clone)]
struct Offer {
    site: String,
    kind: String,
    initiator: String,
    to: String,
    status: String,
}

/// What the walk has seen so far.
struct Walk {
    http: Client,
    chance: Seeded,
    step: u64,
    head: u64,
    agencies: BTreeMap<String, Agency>,
    /// Each site's body as last read.
    sites: BTreeMap<String, Vec<u8>>,
    offers: BTreeMap<String, Offer>,
    /// Site and person to role, as granted.
    roles: BTreeMap<(String, String), String>,
    /// Grants whose strength was compared already.
    compared: BTreeSet<(String, String, bool)>,
    /// Applied commands with their keys and replies.
    applied: Vec<(String, String, Value, Vec<u8>)>,
    /// How often each answer came.
    seen: BTreeMap<String, u64>,
}

type Found = Vec<String>;

fn facts(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// I1 to I4, I13 and I28, in one site's document.
fn state(site: &Value) -> Found {
    let mut found = Found::new();
    let mut hold = |invariant: &str, holds: bool| {
        if !holds {
            found.push(format!("{invariant} does not hold: {site}"));
        }
    };
    let seat = |name: &str| site["seats"][name].as_str();
    let (content, plan) = (site["content_owner"].as_str(), site["plan_holder"].as_str());
    match site["mode"].as_str() {
        Some("purged") => {}
        Some(mode @ ("self_managed" | "partner_built")) => {
            hold("I1", content.is_some());
            hold("I2", plan.is_some());
            hold("I3", seat("owner").is_some() && seat("owner") == content && content == plan);
            hold("I3", seat("client").is_none() && seat("partner").is_none());
            let kind = if mode == "self_managed" { "user:" } else { "agency:" };
            hold("I3", content.is_some_and(|owner| owner.starts_with(kind)));
            hold("I3", site["return_pending"].is_null() && site["settling_until"].is_null());
        }
        Some("partner_managed") => {
            hold("I1", content.is_some());
            hold("I2", plan.is_some());
            hold("I3", seat("owner").is_none() && seat("client").is_some() && seat("partner").is_some());
            hold("I4", seat("client") == content && seat("partner") == plan && content != plan);
            hold("I4", content.is_some_and(|client| client.starts_with("user:")));
            hold("I4", plan.is_some_and(|partner| partner.starts_with("agency:")));
            let reclaimed = site["return_pending"]["reason"] == "reclaim";
            hold("I13", !(reclaimed && site["open_handover"].is_string()));
        }
        _ => hold("I28", false),
    }
    found
}

/// I5, I14, I22 and revisions, between two documents of one site with one command between them.
fn step(before: &Value, after: &Value, command: &str, actor: &str, accepted: Option<&Offer>) -> Found {
    let mut found = Found::new();
    let mut hold = |invariant: &str, holds: bool| {
        if !holds {
            found.push(format!("{invariant} does not hold after {command} by {actor}: {before} became {after}"));
        }
    };
    hold("I23", after["revision"].as_u64() > before["revision"].as_u64());
    if before["content_owner"] != after["content_owner"] {
        let granted = accepted.is_some_and(|offer| {
            offer.kind == "client_assignment" && after["content_owner"] == offer.to.as_str() && actor == offer.to
        });
        hold("I5", command == "accept_handover" && granted);
    }
    if before["domains"] != after["domains"] {
        hold("I8", accepted.is_some_and(|offer| offer.kind == "client_assignment"));
    }
    if before["plan_holder"] != after["plan_holder"] {
        let accepted = accepted.is_some_and(|offer| after["plan_holder"] == offer.to.as_str());
        hold("I11", accepted || after["plan_holder"] == after["content_owner"]);
    }
    if after["mode"] == "partner_managed" && before["mode"] != "partner_managed" {
        hold("I22", command == "accept_handover" && accepted.is_some());
    }
    let reclaim = |site: &Value| site["return_pending"]["reason"] == "reclaim";
    if reclaim(before) && !reclaim(after) {
        let completed = after["mode"] == "self_managed" && after["seats"]["owner"] == before["seats"]["client"];
        let withdrawn = command == "withdraw_reclaim" && before["seats"]["client"] == actor;
        hold("I14", completed || withdrawn);
    }
    if reclaim(before) && reclaim(after) {
        let at = |site: &Value| site["return_pending"]["effective_at"].as_str().unwrap().to_owned();
        hold("I14", at(after) <= at(before));
    }
    found
}

impl Walk {
    fn new(http: Client, seed: u64) -> Self {
        let mut walk = Self {
            http,
            chance: Seeded::new(seed),
            step: 0,
            head: 0,
            agencies: BTreeMap::new(),
            sites: BTreeMap::new(),
            offers: BTreeMap::new(),
            roles: BTreeMap::new(),
            compared: BTreeSet::new(),
            applied: Vec::new(),
            seen: BTreeMap::new(),
        };
        let people = |list: &[(&str, &str)]| {
            list.iter().map(|(user, role)| ((*user).to_owned(), (*role).to_owned())).collect::<BTreeMap<_, _>>()
        };
        for (id, verified, members) in [
            ("north", true, people(&[("dana", "admin"), ("dan", "admin"), ("bo", "member"), ("kim", "billing")])),
            ("south", true, people(&[("rita", "admin")])),
            ("unverified", false, people(&[("eve", "admin")])),
        ] {
            walk.agencies.insert(id.to_owned(), Agency { active: true, verified, members: members.clone() });
            walk.put_agency(id);
            for (user, role) in &members {
                walk.http.put(&format!("/v1/agencies/{id}/members/{user}"), &json!({ "role": role })).ok();
            }
        }
        for (id, mode, owner) in [
            ("bakery", "self_managed", "user:maria"),
            ("flowers", "self_managed", "user:tom"),
            ("studio", "partner_built", "agency:north"),
            ("gallery", "partner_built", "agency:south"),
            // Rita is also the admin of an agency: she may hand her own site to it.
            ("lab", "self_managed", "user:rita"),
        ] {
            let site = json!({"mode": mode, "owner": owner, "plan": {"tier": "premium"}, "published": true,
                "domains": [format!("{id}.example")]});
            walk.http.put(&format!("/v1/sites/{id}"), &site).ok();
            let body = walk.http.get(&format!("/v1/sites/{id}")).ok().body;
            walk.sites.insert(id.to_owned(), body);
        }
        walk.head = walk.http.head(0);
        walk
    }

    #[track_caller]
    fn hold(&self, found: &[String]) {
        assert!(found.is_empty(), "seed {}, step {}: {}", self.chance.seed(), self.step, found.join("\n"));
    }
    #[track_caller]
    fn holds(&self, holds: bool, what: impl std::fmt::Display) {
        if !holds {
            self.hold(&[what.to_string()]);
        }
    }

    fn put_agency(&mut self, id: &str) -> Answer {
        let agency = &self.agencies[id];
        let status = if agency.active { "active" } else { "suspended" };
        let body =
            json!({"name": id, "domain": format!("{id}.example"), "verified": agency.verified, "status": status});
        self.http.put(&format!("/v1/agencies/{id}"), &body).ok()
    }

    /// Somebody who could be meant to do this on this site; half of the time anybody.
    fn actor(&mut self, likely: &[String]) -> String {
        match likely {
            [] => (*self.chance.pick(&PEOPLE)).to_owned(),
            _ if self.chance.chance(25) => (*self.chance.pick(&PEOPLE)).to_owned(),
            _ => self.chance.pick(likely).clone(),
        }
    }
    /// The people behind an account.
    fn behind(&self, account: Option<&str>) -> Vec<String> {
        match account.and_then(|account| account.split_once(':')) {
            Some(("user", user)) => vec![user.to_owned()],
            Some((_, agency)) => self.agencies.get(agency).into_iter().flat_map(Agency::admins).cloned().collect(),
            None => Vec::new(),
        }
    }

    /// A command for this site: its body, and whether what it carries is what the walk was shown just now.
    #[expect(clippy::too_many_lines, reason = "one arm for each command")]
    fn command(&mut self, site: &str) -> (Value, bool) {
        let now = facts(&self.sites[site]);
        let seats: Vec<String> =
            ["owner", "client", "partner"].iter().flat_map(|seat| self.behind(now["seats"][*seat].as_str())).collect();
        let open = now["open_handover"].as_str().map(str::to_owned);
        let commands: &[&str] = match now["mode"].as_str() {
            _ if self.chance.chance(15) => &[
                "offer_partner_role",
                "assign_client_role",
                "accept_handover",
                "decline_handover",
                "cancel_handover",
                "reclaim_site",
                "withdraw_reclaim",
                "release_site",
                "resign_as_partner",
                "grant_role",
                "change_role",
                "revoke_role",
                "leave_site",
            ],
            _ if open.is_some() => &[
                "accept_handover",
                "accept_handover",
                "decline_handover",
                "cancel_handover",
                "grant_role",
                "revoke_role",
                "offer_partner_role",
            ],
            Some("self_managed") => {
                &["offer_partner_role", "offer_partner_role", "grant_role", "change_role", "revoke_role", "leave_site"]
            }
            Some("partner_built") => &["assign_client_role", "assign_client_role", "grant_role", "change_role"],
            _ => &[
                "grant_role",
                "grant_role",
                "change_role",
                "revoke_role",
                "leave_site",
                "reclaim_site",
                "withdraw_reclaim",
                "release_site",
                "resign_as_partner",
            ],
        };
        let command = *self.chance.pick(commands);
        let mut body = json!({ "command": command });
        if self.chance.chance(90) {
            body["auth_time"] = json!(now_s() - i64::try_from(self.chance.below(500)).unwrap());
        }
        let mut likely = seats;
        let mut current = true;
        match command {
            "offer_partner_role" | "assign_client_role" => {
                let to = if command == "offer_partner_role" {
                    let id = if self.chance.chance(5) { "nowhere" } else { *self.chance.pick(&AGENCIES) };
                    format!("agency:{id}")
                } else {
                    format!("user:{}", self.chance.pick(&PEOPLE))
                };
                body["to"] = json!(to);
                likely = self.behind(now["seats"]["owner"].as_str());
            }
            "accept_handover" | "decline_handover" | "cancel_handover" => {
                let known: Vec<String> = self.offers.keys().cloned().collect();
                let id = match open {
                    Some(open) if self.chance.chance(85) => open,
                    _ if known.is_empty() || self.chance.chance(10) => "nothing".to_owned(),
                    _ => self.chance.pick(&known).clone(),
                };
                if let Some(offer) = self.offers.get(&id) {
                    likely = self.behind(Some(if command == "cancel_handover" { &offer.initiator } else { &offer.to }));
                    if command == "accept_handover" {
                        let audience = if offer.to.starts_with("user:") { "client" } else { "partner" };
                        current = self.chance.chance(85);
                        body["explanation_digest"] =
                            if current { json!(self.http.digest(&id, audience)) } else { json!("sha256:stale") };
                    }
                } else if command == "accept_handover" {
                    body["explanation_digest"] = json!("sha256:none");
                }
                body["handover"] = json!(id);
            }
            "reclaim_site" => {
                likely = self.behind(now["seats"]["client"].as_str());
                if self.chance.chance(30) {
                    body["lock"] = json!(true);
                }
                if self.chance.chance(30) {
                    body["keep"] = json!([format!("user:{}", self.chance.pick(&PEOPLE))]);
                }
            }
            "withdraw_reclaim" => likely = self.behind(now["seats"]["client"].as_str()),
            "release_site" | "resign_as_partner" => likely = self.behind(now["seats"]["partner"].as_str()),
            "leave_site" => likely = self.on(site),
            _ => {
                likely.extend(self.on(site));
                let known = self.on(site);
                let user = if command == "grant_role" || known.is_empty() || self.chance.chance(20) {
                    (*self.chance.pick(&PEOPLE)).to_owned()
                } else {
                    self.chance.pick(&known).clone()
                };
                body["user"] = json!(format!("user:{user}"));
                if command != "revoke_role" {
                    body["role"] = json!(*self.chance.pick(&ROLES));
                }
            }
        }
        body["actor"] = json!(format!("user:{}", self.actor(&likely)));
        if body["to"].is_string() {
            let preview = self.http.preview(site, &body);
            current = self.chance.chance(85);
            body["preview_digest"] = match preview.status {
                200 if current => preview.json()["digest"].clone(),
                _ => json!("sha256:stale"),
            };
            if body["preview_digest"].is_null() {
                body["preview_digest"] = json!("sha256:refused");
            }
        }
        (body, current)
    }

    fn on(&self, site: &str) -> Vec<String> {
        self.roles.keys().filter(|(on, _)| on == site).map(|(_, user)| user.clone()).collect()
    }

    /// One command, and everything that must be true after it.
    fn walk(&mut self) {
        self.step += 1;
        if self.chance.chance(4) {
            return self.platform();
        }
        if self.chance.chance(6) && !self.applied.is_empty() {
            return self.repeat();
        }
        let site = if self.chance.chance(2) { "nowhere" } else { *self.chance.pick(&SITES) };
        if site == "nowhere" {
            let body = json!({"actor": "user:maria", "command": "leave_site"});
            let answer = self.http.command(site, &format!("k{}", self.step), &body);
            return self.holds((answer.status, answer.code().as_str()) == (404, "unknown_site"), answer);
        }
        let (body, current) = self.command(site);
        let key = format!("k{}", self.step);
        let mut call = transition(site, &key, &body);
        let stale = self.chance.chance(5);
        if stale {
            call = call.header("if-match", "\"r0\"");
        }
        let answer = self.http.call(&call);
        let command = body["command"].as_str().unwrap();
        *self.seen.entry(format!("{command} {} {}", answer.status, answer.code())).or_default() += 1;
        if answer.status == 200 {
            self.holds(current && !stale, format!("what was stale was applied: {body}"));
            self.carried_out(site, &key, &body, &answer);
        } else {
            self.refused(site, &body, &answer);
        }
    }

    /// A refusal is told in the contract's words and leaves everything as it was.
    fn refused(&mut self, site: &str, body: &Value, answer: &Answer) {
        self.holds(CODES.contains(&answer.code().as_str()), format!("an unknown code for {body}: {answer}"));
        self.holds([400, 403, 404, 409, 412, 422].contains(&answer.status), format!("{body}: {answer}"));
        let kind = answer.header("content-type");
        self.holds(kind == Some("application/problem+json"), format!("{kind:?} for {answer}"));
        let problem = answer.json();
        self.holds(problem["status"] == answer.status && !problem["detail"].as_str().unwrap().is_empty(), &problem);
        if answer.code() == "illegal_transition" {
            self.holds(problem["state"].is_string() && problem["command"] == body["command"], &problem);
        }
        if answer.code() == "blocked" {
            self.holds(problem["blockers"].as_array().is_some_and(|blockers| !blockers.is_empty()), &problem);
        }
        let after = self.http.get(&format!("/v1/sites/{site}")).ok();
        self.holds(after.body == self.sites[site], format!("refused, but changed: {body} {answer}"));
        self.nothing_new();
    }

    /// The feed has nothing after the revision that the walk knows.
    fn nothing_new(&mut self) {
        let news = self.http.get(&format!("/v1/changes?after={}", self.head)).ok().json();
        self.holds(news["items"] == json!([]), format!("unaccounted for: {news}"));
    }

    fn carried_out(&mut self, site: &str, key: &str, body: &Value, answer: &Answer) {
        let reply = answer.json();
        let revision: u64 = reply["revision"].as_str().unwrap().parse().unwrap();
        self.holds(revision == self.head + 1 && answer.revision() == revision, format!("the revision of {reply}"));
        let news = self.http.get(&format!("/v1/changes?after={}", self.head)).ok().json();
        let told: Vec<&str> =
            news["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
        let mut events: Vec<&str> =
            reply["events"].as_array().unwrap().iter().map(|event| event.as_str().unwrap()).collect();
        events.retain(|event| told.contains(event));
        self.holds(
            !told.is_empty() && told == events,
            format!("the feed tells {told:?}, the reply {}", reply["events"]),
        );
        let same =
            news["items"].as_array().unwrap().iter().all(|item| item["revision"] == revision && item["site"] == site);
        self.holds(same, &news);
        self.head = revision;
        let read = self.http.get(&format!("/v1/sites/{site}")).ok();
        self.holds(read.header("etag") == Some(&format!("\"r{revision}\"")), format!("{:?}", read.headers));
        let (before, after) = (facts(&self.sites[site]), facts(&read.body));
        self.holds(reply["site"] == after, format!("the reply shows {}, GET {after}", reply["site"]));
        let command = body["command"].as_str().unwrap();
        let actor = body["actor"].as_str().unwrap();
        let named = body["handover"].as_str().and_then(|id| self.offers.get(id)).cloned();
        let accepted = named.as_ref().filter(|_| command == "accept_handover");
        let mut found = state(&after);
        found.extend(step(&before, &after, command, actor, accepted));
        if let Some(offer) = accepted {
            found.extend(self.bound(offer, actor));
        }
        self.sites.insert(site.to_owned(), read.body);
        self.note_offers(site, &reply, &after);
        found.extend(self.offers_hold(site, &after));
        self.hold(&found);
        self.note_roles(site, body, &before, &after);
        self.reclaimable(site, &after);
        self.no_escalation(site, body, &after);
        self.applied.push((site.to_owned(), key.to_owned(), body.clone(), answer.body.clone()));
        if self.chance.chance(20) {
            self.repeat();
        }
    }

    /// I21: only a named party accepts, and only what is open.
    fn bound(&self, offer: &Offer, actor: &str) -> Found {
        let party = self.behind(Some(&offer.to)).iter().any(|user| format!("user:{user}") == actor);
        let good = party && offer.status == "open" && offer.initiator != offer.to;
        if good { Found::new() } else { vec![format!("I21: {actor} accepted {offer:?}")] }
    }

    fn note_offers(&mut self, site: &str, reply: &Value, after: &Value) {
        let handover = &reply["handover"];
        if let Some(id) = handover["id"].as_str() {
            let text = |name: &str| handover[name].as_str().unwrap().to_owned();
            let offer = Offer {
                site: site.to_owned(),
                kind: text("kind"),
                initiator: text("initiator"),
                to: text("to"),
                status: text("status"),
            };
            self.offers.insert(id.to_owned(), offer);
        }
        // Whatever was open here and is not named by the site any more has ended.
        let open = after["open_handover"].as_str();
        let ended: Vec<String> = self
            .offers
            .iter()
            .filter(|(id, offer)| offer.site == site && offer.status == "open" && Some(id.as_str()) != open)
            .map(|(id, _)| id.clone())
            .collect();
        for id in ended {
            let now = self.http.get(&format!("/v1/handovers/{id}")).ok().json();
            let status = now["status"].as_str().unwrap().to_owned();
            self.holds(status != "open" && now["ended_at"].is_string(), &now);
            self.offers.get_mut(&id).unwrap().status = status;
        }
    }

    /// I12 and I13: at most one open offer, from a seat that is still held, between agencies that may.
    fn offers_hold(&self, site: &str, after: &Value) -> Found {
        let open: Vec<(&String, &Offer)> =
            self.offers.iter().filter(|(_, offer)| offer.site == site && offer.status == "open").collect();
        let mut found = Found::new();
        if open.len() > 1 || open.first().map(|(id, _)| id.as_str()) != after["open_handover"].as_str() {
            found.push(format!("I13: {open:?} on {after}"));
        }
        for (_, offer) in open {
            let seats = ["owner", "client", "partner"].map(|seat| after["seats"][seat].as_str());
            let suspended = |account: &str| {
                account
                    .strip_prefix("agency:")
                    .is_some_and(|id| !self.agencies.get(id).is_some_and(|agency| agency.active))
            };
            if !seats.contains(&Some(&offer.initiator)) || suspended(&offer.initiator) || suspended(&offer.to) {
                found.push(format!("I12: {offer:?} on {after}"));
            }
        }
        found
    }

    fn note_roles(&mut self, site: &str, body: &Value, before: &Value, after: &Value) {
        if before["mode"] != after["mode"] {
            // Seats moved, and rows with them: who has a role now is asked.
            let access = self.http.get(&format!("/v1/sites/{site}/access")).ok().json();
            self.roles.retain(|(on, _), _| on != site);
            for entry in access["items"].as_array().unwrap().iter().filter(|entry| entry["via"] == "contributor") {
                let user = entry["principal"].as_str().unwrap().trim_start_matches("user:").to_owned();
                let role = entry["role"].as_str().unwrap().to_owned();
                // I24: after a return nobody is left whom the partner let in.
                if after["mode"] == "self_managed" {
                    let grantor = entry["grantor"].as_str().unwrap();
                    self.holds(!grantor.starts_with("agency:"), format!("I24: {entry}"));
                }
                self.roles.insert((site.to_owned(), user), role);
            }
            return;
        }
        let user = |member: &str| body[member].as_str().unwrap().trim_start_matches("user:").to_owned();
        match body["command"].as_str().unwrap() {
            "grant_role" | "change_role" => {
                self.roles.insert((site.to_owned(), user("user")), body["role"].as_str().unwrap().to_owned());
            }
            "revoke_role" => {
                self.roles.remove(&(site.to_owned(), user("user")));
            }
            "leave_site" => {
                self.roles.remove(&(site.to_owned(), user("actor")));
            }
            _ => {}
        }
    }

    /// I6: the client may take the site back, and nobody else may.
    fn reclaimable(&mut self, site: &str, after: &Value) {
        let client = after["seats"]["client"].as_str().unwrap_or_default().to_owned();
        let fresh = json!({"auth_time": now_s()});
        let others: Vec<&str> = (0..2).map(|_| *self.chance.pick(&PEOPLE)).collect();
        for who in
            others.into_iter().map(|who| format!("user:{who}")).chain((!client.is_empty()).then(|| client.clone()))
        {
            let may = self.http.may(&who, "ReclaimSite", site, &fresh);
            self.holds(may == (who == client), format!("I6: {who} may reclaim {after}: {may}"));
        }
    }

    /// I17: what a person was given, the giver could do; compared once for each pair of roles.
    fn no_escalation(&mut self, site: &str, body: &Value, after: &Value) {
        let command = body["command"].as_str().unwrap();
        if !["grant_role", "change_role"].contains(&command) {
            return;
        }
        let (giver, taker) = (body["actor"].as_str().unwrap().to_owned(), body["user"].as_str().unwrap().to_owned());
        let role = body["role"].as_str().unwrap().to_owned();
        self.holds(
            !["Owner", "Client", "Partner"].contains(&role.as_str()),
            format!("I22: a seat was granted: {body}"),
        );
        let as_role = self.roles.get(&(site.to_owned(), giver.trim_start_matches("user:").to_owned())).cloned();
        let seat = ["owner", "client", "partner"].into_iter().find(|seat| {
            self.behind(after["seats"][*seat].as_str()).iter().any(|user| format!("user:{user}") == giver)
        });
        let giver_is = format!("{as_role:?} {seat:?} {}", after["mode"]);
        let agency =
            after["plan_holder"].as_str().and_then(|holder| self.agencies.get(holder.strip_prefix("agency:")?));
        let taker_is_more = agency.is_some_and(|agency| agency.members.contains_key(taker.trim_start_matches("user:")));
        let payer = after["plan_holder"].as_str() == Some(giver.as_str());
        // A member of the agency has more than the invitation gave; that is not what is compared.
        if taker_is_more || !self.compared.insert((giver_is, role, payer)) {
            return;
        }
        for action in ACTIONS {
            // Confirmation is weaker than a plain right, and nothing is confirmed here.
            let all = |who: &str| json!({"auth_time": now_s(), "account": who});
            if self.http.may(&taker, action, site, &all(&taker)) {
                let may = self.http.may(&giver, action, site, &all(&giver));
                // The agency's cards are the admin's own.
                let holder = after["plan_holder"].as_str().unwrap_or_default().to_owned();
                let may = may || self.http.may(&giver, action, site, &all(&holder));
                self.holds(
                    may || action == "LeaveSite",
                    format!("I17: {taker} got {action} from {giver} by {body} on {after}"),
                );
            }
        }
    }

    /// I10: the same key again gives the same reply and no second effect; with another body it is refused.
    fn repeat(&mut self) {
        let (site, key, body, reply) = self.chance.pick(&self.applied).clone();
        let mut again = body.clone();
        // When somebody signed in is not part of what they asked for.
        again["auth_time"] = json!(now_s());
        let answer = self.http.command(&site, &key, &again);
        self.holds(answer.status == 200 && answer.body == reply, format!("I10: {body} answered {answer}"));
        let mut other = body;
        other["actor"] = json!("user:somebody-else");
        let answer = self.http.command(&site, &key, &other);
        self.holds((answer.status, answer.code().as_str()) == (422, "key_reused"), format!("I10: {answer}"));
        self.nothing_new();
    }

    /// The platform suspends and reinstates agencies and moves their people.
    fn platform(&mut self) {
        let id = *self.chance.pick(&["north", "south"]);
        let before = self.head;
        let answer = if self.chance.chance(60) {
            let agency = self.agencies.get_mut(id).unwrap();
            agency.active = !agency.active || self.chance.chance(50);
            self.put_agency(id)
        } else {
            let user = *self.chance.pick(&["bo", "kim", "dan", "lea"]);
            let role = *self.chance.pick(&["admin", "member", "billing"]);
            let answer = self.http.put(&format!("/v1/agencies/{id}/members/{user}"), &json!({ "role": role })).ok();
            self.agencies.get_mut(id).unwrap().members.insert(user.to_owned(), role.to_owned());
            answer
        };
        let revision = answer.revision();
        self.holds(revision == before || revision == before + 1, format!("one commit or none: {answer}"));
        self.head = revision;
        self.nothing_new();
        for site in SITES {
            let body = self.http.get(&format!("/v1/sites/{site}")).ok().body;
            let (was, is) = (facts(&self.sites[site]), facts(&body));
            let changed = was != is;
            let ended = was["open_handover"].is_string() && is["open_handover"].is_null();
            self.holds(!changed || ended && was["seats"] == is["seats"], format!("{was} became {is}"));
            self.sites.insert(site.to_owned(), body);
            self.note_offers(site, &json!({}), &is);
            let found = self.offers_hold(site, &is);
            self.hold(&found);
        }
    }
}

const ACTIONS: [&str; 20] = [
    "ViewSite",
    "PublishSite",
    "DuplicateSite",
    "ExportSite",
    "TrashSite",
    "EditContent",
    "PurgeContent",
    "ModerateBlog",
    "ManageStore",
    "RefundOrder",
    "ViewPayouts",
    "ExportContacts",
    "RunCampaigns",
    "PurchaseApp",
    "ManageApiKeys",
    "EditDnsCritical",
    "UpgradePlan",
    "DowngradePlan",
    "InviteContributor",
    "ViewAuditLog",
];

fn walk(seed: u64, settle: &str) {
    let mut installation = Installation::new();
    installation.set("MANDATE_TIMERS__SETTLE", settle).set("MANDATE_LOG", "warn,mandate::cli=info");
    let server = installation.start();
    let mut walk = Walk::new(server.client(), seed);
    for _ in 0..STEPS * scale() {
        walk.walk();
    }
    let applied: u64 = walk.seen.iter().filter(|(answer, _)| answer.contains(" 200 ")).map(|(_, n)| n).sum();
    let refused: u64 = walk.seen.values().sum::<u64>() - applied;
    println!("{applied} applied, {refused} refused: {:#?}", walk.seen);
    assert!(applied > STEPS / 10 && refused > STEPS / 10, "a walk that goes nowhere: {:#?}", walk.seen);
    for command in
        ["offer_partner_role", "assign_client_role", "accept_handover", "reclaim_site", "grant_role", "leave_site"]
    {
        assert!(walk.seen.contains_key(&format!("{command} 200 ")), "{command} was never applied: {:#?}", walk.seen);
    }
    let said = installation.verify_audit();
    assert!(said.starts_with("whole: "), "{said}");
}

#[test]
fn invariants_hold_along_a_walk_while_sites_settle() {
    walk(0x5EED_0001, "7d");
}

#[test]
fn invariants_hold_along_a_walk_of_settled_sites() {
    walk(0x5EED_0002, "0s");
}

/// The control: each check catches a document that breaks its rule.
#[test]
fn a_doctored_document_is_caught() {
    let managed = json!({"mode": "partner_managed", "content_owner": "user:maria", "plan_holder": "agency:north",
        "seats": {"owner": null, "client": "user:maria", "partner": "agency:north"}, "open_handover": null, "domains": [],
        "return_pending": {"reason": "reclaim", "effective_at": "2026-12-01T00:00:00Z"}, "settling_until": null, "revision": 7});
    let own = json!({"mode": "self_managed", "content_owner": "user:maria", "plan_holder": "user:maria",
        "seats": {"owner": "user:maria", "client": null, "partner": null}, "open_handover": null, "domains": [],
        "return_pending": null, "settling_until": null, "revision": 8});
    assert_eq!((state(&managed), state(&own)), (Found::new(), Found::new()));
    let doctored = |site: &Value, path: &str, value: Value| {
        let mut site = site.clone();
        *site.pointer_mut(path).unwrap() = value;
        site
    };
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
    ] {
        let found = state(&doctored(site, path, value.clone()));
        assert!(found.iter().any(|found| found.starts_with(invariant)), "{path} = {value}: {found:?}");
    }
    let release = |after: &Value| step(&managed, after, "release_site", "user:dana", None);
    assert_eq!(release(&own), Found::new());
    for (after, command, actor, invariant) in [
        (doctored(&own, "/revision", json!(7)), "release_site", "user:dana", "I23"),
        (doctored(&own, "/content_owner", json!("agency:north")), "accept_handover", "user:dana", "I5"),
        (doctored(&own, "/domains", json!(["x.example"])), "release_site", "user:dana", "I8"),
        (doctored(&own, "/plan_holder", json!("user:eve")), "release_site", "user:dana", "I11"),
        (
            doctored(&doctored(&managed, "/return_pending", json!(null)), "/revision", json!(8)),
            "withdraw_reclaim",
            "user:dana",
            "I14",
        ),
        (
            doctored(
                &doctored(&managed, "/return_pending/effective_at", json!("2027-01-01T00:00:00Z")),
                "/revision",
                json!(8),
            ),
            "grant_role",
            "user:dana",
            "I14",
        ),
    ] {
        let found = step(&managed, &after, command, actor, None);
        assert!(found.iter().any(|found| found.starts_with(invariant)), "{command}: {found:?}");
    }
    let seated = step(&own, &doctored(&managed, "/revision", json!(9)), "grant_role", "user:maria", None);
    assert!(seated.iter().any(|found| found.starts_with("I22")), "{seated:?}");
}

//! What must be true after a command: the reply, the audit, the feed, the documents, the list of people and every check
//! agree; and the same key again changes nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    super::{
        cast::{BY_TIME, PEOPLE, ROLES, SITES},
        invariants::{state, step},
    },
    Course, Done,
};
use crate::http::Answer;

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

impl Course {
    pub(super) fn carried_out(&mut self, site: &str, key: &str, body: &Value, answer: &Answer) {
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
        self.holds(ROLES.contains(&role), format!("I22: a seat was granted: {body}"));
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
    pub(super) fn replace_purged(&mut self, site: &str) {
        self.sites.remove(site);
        self.names += 1;
        let (first, mode, owner) = *self.chance.pick(&SITES);
        let id = format!("{first}-{}", self.names);
        self.register(&id, mode, owner);
        self.head = self.http.head(self.head);
    }

    /// Decisions agree with the seats.
    pub(super) fn check(&mut self) {
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
    pub(super) fn repeat(&mut self) {
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
}

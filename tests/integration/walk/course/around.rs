//! What happens around the commands: nonsense, the platform, time, the worker and crashes.

use serde_json::json;

use super::{
    super::{
        model::micros,
        world::{DAY, World},
    },
    Course,
};
use crate::http::Answer;

/// From an agency's suspension to the return of its sites, in microseconds.
const NOTICE: i64 = 14 * DAY;

impl Course {
    /// What no caller may send.
    pub(super) fn malformed(&mut self) {
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
    pub(super) fn platform(&mut self) {
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
    pub(super) fn pass(&mut self) {
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
    pub(super) fn work(&mut self) {
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
    pub(super) fn restart(&mut self) {
        self.world.restart();
        self.http = self.world.client();
        self.count("restarts");
        self.absorb(None, false);
    }
}

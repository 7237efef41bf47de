//! A site with a client and a partner, on a clock that the test moves.

use mandate::{handover::Timers, time::Timestamp};
use serde_json::{Value, json};

use crate::{
    http::{Answer, Client},
    walk::world::World,
};

pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;

/// Maria's `shop`, built for nobody yet; the agencies north (admin ann, member bo, billing kim) and south (admin sue).
pub struct Scene {
    pub world: World,
    pub http: Client,
    /// The site that the story is about: the shop unless it says otherwise.
    pub site: &'static str,
    keys: u32,
}

pub fn micros(time: &Value) -> i64 {
    time.as_str().unwrap_or_else(|| panic!("{time} is no time")).parse::<Timestamp>().unwrap().as_micros()
}

impl Scene {
    pub fn at(start: &str, timers: Timers) -> Self {
        let world = World::with_timers(start, timers);
        let http = world.client();
        let mut scene = Self { world, http, site: "shop", keys: 0 };
        for (id, role) in [("tess", "trust_safety"), ("theo", "trust_safety"), ("sam", "support")] {
            scene.http.put(&format!("/v1/staff/{id}"), &json!({ "role": role })).ok();
        }
        for (id, team) in
            [("north", &[("ann", "admin"), ("bo", "member"), ("kim", "billing")][..]), ("south", &[("sue", "admin")])]
        {
            scene.agency(id, "active").ok();
            for (user, role) in team {
                scene.http.put(&format!("/v1/agencies/{id}/members/{user}"), &json!({ "role": role })).ok();
            }
        }
        scene.register("shop");
        scene
    }
    pub fn register(&mut self, site: &str) {
        let body =
            json!({"mode": "self_managed", "owner": "user:maria", "plan": {"tier": "premium"}, "published": true});
        self.http.put(&format!("/v1/sites/{site}"), &body).ok();
    }
    /// A site that north built and assigns to Maria, for which it comes to owe before she answers.
    pub fn assigns_unpaid(&mut self, site: &'static str) -> Value {
        let body =
            json!({"mode": "partner_built", "owner": "agency:north", "plan": {"tier": "premium"}, "published": true});
        self.http.put(&format!("/v1/sites/{site}"), &body).ok();
        self.site = site;
        let offer = self.does(site, "user:ann", "assign_client_role", &json!({"to": "user:maria"}))["handover"].clone();
        self.does(site, "service:billing", "report_plan", &json!({"status": "past_due"}));
        self.pass(DAY);
        let id = offer["id"].as_str().unwrap();
        let digest = self.http.digest(id, "client");
        self.does(site, "user:maria", "accept_handover", &json!({"handover": id, "explanation_digest": digest}))
    }
    pub fn agency(&mut self, id: &str, status: &str) -> Answer {
        let body = json!({"name": format!("Studio {id}"), "domain": format!("{id}.example"), "verified": true, "status": status});
        self.http.put(&format!("/v1/agencies/{id}"), &body)
    }
    pub fn now(&self) -> i64 {
        self.world.now()
    }
    pub fn set(&self, at: i64) {
        self.world.set_clock(at);
    }
    pub fn pass(&self, micros: i64) {
        self.set(self.now() + micros);
    }
    /// Seconds of a sign-in just now.
    fn signed_in(&self) -> i64 {
        self.now().div_euclid(SECOND)
    }
    pub fn tries(&mut self, site: &str, actor: &str, command: &str, more: &Value) -> Answer {
        self.keys += 1;
        let mut body = json!({"actor": actor, "auth_time": self.signed_in(), "command": command});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        if body["to"].is_string() && command != "record_successor" {
            let preview = self.http.preview(site, &body).ok().json();
            body["preview_digest"] = preview["digest"].clone();
        }
        let key = format!("k{}", self.keys);
        self.http.command(site, &key, &body)
    }
    #[track_caller]
    pub fn does(&mut self, site: &str, actor: &str, command: &str, more: &Value) -> Value {
        self.tries(site, actor, command, more).ok().json()
    }
    pub fn offers(&mut self, site: &str) -> Value {
        self.does(site, "user:maria", "offer_partner_role", &json!({"to": "agency:north"}))["handover"].clone()
    }
    pub fn hands_over(&mut self, site: &str) -> Value {
        let id = self.offers(site)["id"].as_str().unwrap().to_owned();
        let digest = self.http.digest(&id, "partner");
        self.does(site, "user:ann", "accept_handover", &json!({"handover": id, "explanation_digest": digest}))
    }
    pub fn doc(&mut self, site: &str) -> Value {
        self.http.get(&format!("/v1/sites/{site}")).ok().json()
    }
    pub fn may(&mut self, who: &str, action: &str, site: &str) -> bool {
        let context =
            json!({"auth_time": self.signed_in(), "operation": "act-1", "account": "agency:north", "case": "c-1"});
        self.http.may(who, action, site, &context)
    }
    pub fn events(&mut self, site: &str, kind: &str) -> Vec<Value> {
        let all = self.http.get(&format!("/v1/sites/{site}/audit?limit=1000")).ok().json();
        all["items"].as_array().unwrap().iter().filter(|event| event["type"] == kind).cloned().collect()
    }
}

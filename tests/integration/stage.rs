//! A world of its own for each scene of a test, on one server that many scenes share.
//!
//! A scene called `x` finds the agencies `x.north` and `x.south` and the sites `x.own` (Clara's, run by herself),
//! `x.run` (Clara's, run by North since long ago) and `x.built` (built by North, nobody's yet), with these people:
//!
//! | name | is |
//! |---|---|
//! | `clara` | owner of `own`, client of `run` |
//! | `cora`, `bill`, `vic` | co-owner, billing manager, viewer by Clara's invitation, on `own` and `run` |
//! | `ada`, `abe` | admins of North |
//! | `mel`, `max`, `min` | members of North; on `run` and `built`, `mel` has the manager grant and `max` the builder's |
//! | `pam` | North's accountant (billing) |
//! | `sue`, `sid` | admin and member of South |
//! | `tom` | nobody |
//! | `fred` | website manager on `run` by North's invitation |
//!
//! Names of people are said without the scene's name; `staff:` and `service:` are said in full.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    http::{Answer, Client, now_s},
    matrix::copy,
    server::{Installation, Server},
    worlds::in_seconds,
};

/// A named scene.
pub type Scene = (&'static str, fn(&mut Stage));

/// Lists scenes under their functions' names.
#[macro_export]
macro_rules! scenes {
    ($($scene:ident),+ $(,)?) => { &[$((stringify!($scene), $scene as fn(&mut $crate::stage::Stage))),+] };
}

/// Plays scenes one after the other on one server, each in its own world, and fails with all that failed.
pub fn play(scenes: &[Scene], settings: &[(&str, &str)]) {
    let only = std::env::var("TEST_SCENE").ok();
    let scenes: Vec<&Scene> =
        scenes.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)).collect();
    let mut installation = Installation::new();
    for (name, value) in settings {
        installation.set(name, *value);
    }
    installation.import(&scenes.iter().flat_map(|(name, _)| world(name)).collect::<Vec<_>>());
    let server = installation.start();
    let mut failed = Vec::new();
    for (name, scene) in scenes {
        let mut stage = Stage::new(name, &server);
        if catch_unwind(AssertUnwindSafe(|| scene(&mut stage))).is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
    installation.verify_audit();
}

/// The control of scenes: under policies with one text replaced by another, everywhere in one file, each of them fails.
pub fn notice(scenes: &[Scene], file: &str, right: &str, wrong: &str) {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), folder.path());
    let file = folder.path().join(file);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(right), "{} has no {right}", file.display());
    std::fs::write(&file, text.replace(right, wrong)).unwrap();
    let settings = [("MANDATE_POLICIES", folder.path().to_str().unwrap())];
    for scene in scenes {
        let failure = catch_unwind(|| play(&[*scene], &settings)).expect_err(scene.0);
        // By the scene, not by a server that refuses the policies.
        let said = failure.downcast_ref::<String>().unwrap();
        assert_eq!(*said, format!("failed: {}", scene.0));
    }
}

/// The plan of every site.
fn plan() -> Value {
    json!({"tier": "premium", "name": "Business", "price": "29.00", "currency": "EUR",
        "next_charge_at": in_seconds(20 * 86_400)})
}

/// The records of a scene's world.
fn world(scene: &str) -> Vec<Value> {
    let id = |name: &str| format!("{scene}.{name}");
    let user = |name: &str| format!("user:{scene}.{name}");
    let agency = |name: &str, title: &str, members: &[(&str, &str)]| {
        let members: serde_json::Map<String, Value> =
            members.iter().map(|(who, role)| (id(who), json!(role))).collect();
        json!({"agency": {"id": id(name), "name": title, "domain": format!("{name}.example"), "verified": true,
            "status": "active", "members": members}})
    };
    let given = |role: &str, by: &str, side: &str| json!({"role": role, "grantor": by, "side": side});
    let mut people = json!({
        id("cora"): given("CoOwner", &user("clara"), "client"),
        id("bill"): given("BillingManager", &user("clara"), "client"),
        id("vic"): given("Viewer", &user("clara"), "client"),
    });
    let own = json!({"site": {"id": id("own"), "mode": "self_managed", "owner": user("clara"), "plan": plan(),
        "published": true, "domains": [{"name": "own.example", "holder": user("clara")}], "contributors": people}});
    people[id("fred")] = given("WebsiteManager", &format!("agency:{scene}.north"), "partner");
    let grants = json!({id("mel"): {"template": "manager"}, id("max"): {"template": "builder"}});
    let run = json!({"site": {"id": id("run"), "mode": "partner_managed", "client": id("clara"),
        "partner": id("north"), "since": in_seconds(-90 * 86_400), "settling_until": in_seconds(-83 * 86_400),
        "plan": plan(), "published": true, "domains": [{"name": "run.example", "holder": user("clara")}],
        "contributors": people, "grants": grants}});
    let built = json!({"site": {"id": id("built"), "mode": "partner_built", "owner": format!("agency:{scene}.north"),
        "plan": plan(), "published": true,
        "domains": [{"name": "built.example", "holder": format!("agency:{scene}.north")}], "grants": grants}});
    let staff = |name: &str, role: &str| json!({"staff": {"id": format!("{scene}.{name}"), "role": role}});
    vec![
        agency(
            "north",
            "Studio North",
            &[
                ("ada", "admin"),
                ("abe", "admin"),
                ("mel", "member"),
                ("max", "member"),
                ("min", "member"),
                ("pam", "billing"),
            ],
        ),
        agency("south", "Studio South", &[("sue", "admin"), ("sid", "member")]),
        staff("sam", "support"),
        staff("sol", "support"),
        staff("tess", "trust_safety"),
        staff("theo", "trust_safety"),
        own,
        run,
        built,
    ]
}

/// A scene's world and a caller of its server.
pub struct Stage {
    pub http: Client,
    address: std::net::SocketAddr,
    scene: String,
    keys: u32,
}

impl Stage {
    fn new(scene: &str, server: &Server) -> Self {
        Self { http: server.client(), address: server.address(), scene: scene.to_owned(), keys: 0 }
    }
    /// A person, an agency or a site of this scene, as identifiers write it.
    pub fn id(&self, name: &str) -> String {
        format!("{}.{name}", self.scene)
    }
    /// `ada` is `user:x.ada`, `staff:sam` is `staff:x.sam`; a service is everybody's.
    pub fn who(&self, name: &str) -> String {
        match name.split_once(':') {
            Some(("service", _)) => name.to_owned(),
            Some((kind, name)) => format!("{kind}:{}", self.id(name)),
            None => format!("user:{}", self.id(name)),
        }
    }
    /// A caller of its own, for another thread.
    pub fn another(&self) -> Client {
        Client::new(self.address)
    }

    // --- questions ----------------------------------------------------------------------------------------------

    #[track_caller]
    pub fn may(&mut self, who: &str, action: &str, site: &str, context: &Value) -> bool {
        let (who, site) = (self.who(who), self.id(site));
        self.http.may(&who, action, &site, context)
    }
    /// Why not; empty for an allow.
    #[track_caller]
    pub fn why(&mut self, who: &str, action: &str, site: &str, context: &Value) -> String {
        let (who, site) = (self.who(who), self.id(site));
        self.http.why_not(&who, action, &site, context)
    }
    /// The whole answer with its explanation.
    #[track_caller]
    pub fn explained(&mut self, who: &str, action: &str, site: &str, context: &Value) -> Value {
        let (who, site, mut context) = (self.who(who), self.id(site), context.clone());
        context["explain"] = json!(true);
        self.http.ask(&who, action, &site, &context).json()
    }
    /// Each line is `who action site` and the answer: `yes`, or the reason of a deny. Asked with a fresh sign-in.
    #[track_caller]
    pub fn answers(&mut self, table: &[(&str, &str)]) {
        let fresh = fresh();
        let mut wrong = Vec::new();
        for (question, expected) in table {
            let [who, action, site] = *question.split(' ').collect::<Vec<_>>() else { panic!("{question}") };
            let reason = self.why(who, action, site, &fresh);
            let got = if reason.is_empty() { "yes" } else { &reason };
            if got != *expected {
                wrong.push(format!("{question}: expected {expected}, got {got}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    #[track_caller]
    pub fn site(&mut self, site: &str) -> Value {
        let path = format!("/v1/sites/{}", self.id(site));
        self.http.get(&path).ok().json()
    }
    #[track_caller]
    pub fn handover(&mut self, id: &str) -> Value {
        self.http.get(&format!("/v1/handovers/{id}")).ok().json()
    }
    /// The kinds of a site's events, in order.
    #[track_caller]
    pub fn events(&mut self, site: &str) -> Vec<String> {
        let path = format!("/v1/sites/{}/audit?limit=1000", self.id(site));
        let events = self.http.get(&path).ok().json();
        events["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    // --- commands -----------------------------------------------------------------------------------------------

    pub fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.scene, self.keys)
    }
    /// The body of a command by somebody who has just signed in. Names in `to`, `user`, `agent`, `approver`, `agency`
    /// and `keep` are this scene's.
    pub fn body(&self, who: &str, command: &str, fields: &Value) -> Value {
        let mut body = json!({"actor": self.who(who), "auth_time": now_s(), "command": command});
        for (name, value) in fields.as_object().into_iter().flatten() {
            body[name] = match name.as_str() {
                "to" | "user" | "agency" => json!(self.who(value.as_str().unwrap())),
                "agent" | "approver" => json!(self.who(&format!("staff:{}", value.as_str().unwrap()))),
                "keep" => value.as_array().unwrap().iter().map(|name| self.who(name.as_str().unwrap())).collect(),
                _ => value.clone(),
            };
        }
        body
    }
    /// Gives a command.
    #[track_caller]
    pub fn tell(&mut self, who: &str, command: &str, site: &str, fields: &Value) -> Answer {
        let body = self.body(who, command, fields);
        self.send(site, &body)
    }
    #[track_caller]
    pub fn send(&mut self, site: &str, body: &Value) -> Answer {
        let (site, key) = (self.id(site), self.key());
        self.http.command(&site, &key, body)
    }
    #[track_caller]
    pub fn preview(&mut self, who: &str, command: &str, site: &str, fields: &Value) -> Answer {
        let (body, site) = (self.body(who, command, fields), self.id(site));
        self.http.preview(&site, &body)
    }
    /// Gives an offering command with the digest of its preview.
    #[track_caller]
    pub fn try_offer(&mut self, who: &str, command: &str, site: &str, fields: &Value) -> Answer {
        let mut body = self.body(who, command, fields);
        let id = self.id(site);
        let preview = self.http.preview(&id, &body);
        if preview.status != 200 {
            return preview;
        }
        // A refused preview has no digest; the command is refused before that is looked at.
        body["preview_digest"] = json!(preview.json()["digest"].as_str().unwrap_or("sha256:none"));
        self.send(site, &body)
    }
    /// The same, and it works: the offer's id.
    #[track_caller]
    pub fn offer(&mut self, who: &str, command: &str, site: &str, to: &str) -> String {
        let reply = self.try_offer(who, command, site, &json!({"to": to})).ok().json();
        reply["handover"]["id"].as_str().unwrap().to_owned()
    }
    /// The body of an acceptance, after reading as `audience`.
    #[track_caller]
    pub fn yes(&mut self, who: &str, offer: &str, audience: &str) -> Value {
        let digest = self.http.digest(offer, audience);
        self.body(who, "accept_handover", &json!({"handover": offer, "explanation_digest": digest}))
    }
    #[track_caller]
    pub fn accept(&mut self, who: &str, site: &str, offer: &str, audience: &str) -> Answer {
        let body = self.yes(who, offer, audience);
        self.send(site, &body)
    }
    /// Clara lets North run `own`.
    #[track_caller]
    pub fn hand_over(&mut self) -> String {
        let offer = self.offer("clara", "offer_partner_role", "own", "agency:north");
        self.accept("ada", "own", &offer, "partner").ok();
        offer
    }
    /// Changes an agency.
    #[track_caller]
    pub fn put_agency(&mut self, agency: &str, fields: &Value) -> Answer {
        let mut body = json!({"name": "Studio North", "domain": "north.example"});
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let path = format!("/v1/agencies/{}", self.id(agency));
        self.http.put(&path, &body)
    }
    #[track_caller]
    pub fn put_member(&mut self, agency: &str, who: &str, role: &str) -> Answer {
        let path = format!("/v1/agencies/{}/members/{}", self.id(agency), self.id(who));
        self.http.put(&path, &json!({ "role": role }))
    }
    #[track_caller]
    pub fn remove_member(&mut self, agency: &str, who: &str) -> Answer {
        let path = format!("/v1/agencies/{}/members/{}", self.id(agency), self.id(who));
        self.http.delete(&path)
    }
}

/// A sign-in of this moment.
pub fn fresh() -> Value {
    json!({"auth_time": now_s()})
}

/// Fails unless the answer is this refusal.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer}");
}

/// Fails unless exactly this stands in the way.
#[track_caller]
pub fn blocked(answer: &Answer, by: &str) {
    refused(answer, 422, "blocked");
    assert_eq!(answer.json()["blockers"], json!([by]), "{answer}");
}

/// Every action of the catalogue, those outside the matrix included.
pub fn actions() -> Vec<String> {
    let schema = include_str!("../../schemas/sites.cedarschema");
    let named = schema.lines().filter_map(|line| line.trim().strip_prefix("action "));
    let names = named.filter(|rest| !rest.starts_with('"')).filter_map(|rest| rest.split(' ').next());
    names.map(str::to_owned).collect()
}

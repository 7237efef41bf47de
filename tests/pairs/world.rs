//! Replicas of one database, each behind a proxy of its own and with a file of its own that says what goes wrong in it.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    history::History,
    http::{Answer, Call, Client, now_s, transition},
    proxy::Proxy,
    server::{Installation, Server, until},
    worlds,
};

/// A replica, and what can be done to it.
pub struct Replica {
    pub server: Server,
    pub proxy: Proxy,
    installation: Installation,
    faults: PathBuf,
    client: Client,
}

/// The schema that the program writes to.
const SCHEMA: &str = "mandate";

fn url(database: SocketAddr) -> String {
    format!("postgres://mandate@{database}/postgres?options=-csearch_path%3D{SCHEMA}")
}

/// Makes the tables, with the story in them, and leases of this length.
pub fn prepare(database: SocketAddr, lease: Duration, ask: impl Fn(&str) -> String) {
    ask(&format!("CREATE SCHEMA {SCHEMA}"));
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", url(database));
    installation.import(&worlds::story());
    let lease = lease.as_millis();
    ask(&format!("UPDATE {SCHEMA}.lease SET ttl_ms = {lease}, ttl_max_ms = {lease}"));
}

impl Replica {
    pub fn start(database: SocketAddr, settings: &[(&str, &str)]) -> Self {
        let proxy = Proxy::to(database);
        let mut installation = Installation::new();
        let faults = installation.folder().join("faults");
        fs::write(&faults, "").unwrap();
        installation.set("MANDATE_DATABASE_URL", url(proxy.address()));
        installation.set("MANDATE_FAULT_FILE", faults.to_str().unwrap());
        // A thread that a fault holds up is not the only one.
        installation.set("TOKIO_WORKER_THREADS", "4");
        for (name, value) in settings {
            installation.set(name, *value);
        }
        let server = installation.start();
        let client = server.client();
        Self { server, proxy, installation, faults, client }
    }

    /// Tries to start one right there; its log when it refuses.
    pub fn try_start(database: SocketAddr) -> Result<(), String> {
        let mut installation = Installation::new();
        installation.set("MANDATE_DATABASE_URL", url(database));
        installation.try_start().map(drop).map_err(|refused| refused.log)
    }

    /// Starts the same replica again, after it has been ended.
    pub fn start_again(&mut self) {
        self.server.kill();
        self.server = self.installation.start();
        self.client = self.server.client();
    }

    /// From now on this goes wrong, and nothing else.
    pub fn fault(&self, lines: &[&str]) {
        // In one step, so that nobody reads half of it.
        let fresh = self.faults.with_extension("new");
        fs::write(&fresh, lines.join("\n")).unwrap();
        fs::rename(&fresh, &self.faults).unwrap();
    }

    /// Whether it answers, or why not: the problem's code.
    pub fn asked(&mut self) -> Result<(u64, bool), String> {
        let answer = self.client.call(&question());
        match answer.status {
            200 => Ok((answer.revision(), answer.json()["decision"] == true)),
            503 => Err(answer.code()),
            _ => panic!("{answer}"),
        }
    }
    /// Sends a command.
    pub fn call(&mut self, call: &Call) -> Answer {
        self.client.call(call)
    }
}

/// The question whether Lea may edit the bakery's content.
pub fn question() -> Call {
    let body = json!({"subject": {"type": "user", "id": "lea"}, "action": {"name": "EditContent"},
        "resource": {"type": "site", "id": "bakery"}});
    Call::new("POST", "/access/v1/evaluation").json(&body)
}

/// Gives Lea's role on Maria's bakery, or takes it.
fn deed(gives: bool) -> Value {
    let mut body = json!({"actor": "user:maria", "auth_time": now_s(), "user": "user:lea", "command": "revoke_role"});
    if gives {
        (body["command"], body["role"]) = (json!("grant_role"), json!("WebsiteManager"));
    }
    body
}

/// One run: its replicas, what was done and what was told.
pub struct Run {
    pub replicas: Vec<Replica>,
    pub history: History,
    /// What Lea may, as far as commands were carried out.
    pub has: bool,
    sent: usize,
}

impl Run {
    pub fn of(replicas: Vec<Replica>) -> Self {
        Self { replicas, history: History::default(), has: false, sent: 0 }
    }

    /// The command that turns over what Lea may, not sent yet: always the same bytes.
    pub fn next(&mut self) -> Call {
        self.sent += 1;
        transition("bakery", &format!("turn-{}", self.sent), &deed(!self.has))
    }

    /// Turns over what Lea may, through this replica; the answer says that it is effective.
    #[track_caller]
    pub fn flip(&mut self, through: usize) -> Value {
        let call = self.next();
        self.carried_out(through, &call)
    }

    /// Sends a command, perhaps again, until it is effective.
    #[track_caller]
    pub fn carried_out(&mut self, through: usize, call: &Call) -> Value {
        let asked = Instant::now();
        let answer = self.replicas[through].call(call);
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.json()["status"], "effective", "{answer}");
        self.effective(&answer, asked)
    }

    /// Takes down that a command is effective.
    pub fn effective(&mut self, answer: &Answer, asked: Instant) -> Value {
        self.has = !self.has;
        self.history.decided_from(answer.revision(), self.has);
        self.history.effective(answer.revision(), asked);
        answer.json()
    }

    /// Asks a replica, and takes down what it says.
    pub fn ask(&mut self, replica: usize) -> Result<(u64, bool), String> {
        let sent = Instant::now();
        let said = self.replicas[replica].asked();
        match &said {
            Ok((revision, decision)) => self.history.told(replica, sent, *revision, *decision),
            Err(_) => self.history.refused(),
        }
        said
    }

    /// Asks a replica until it answers.
    #[track_caller]
    pub fn answers(&mut self, replica: usize) -> bool {
        until("the replica answers", || self.ask(replica).ok()).1
    }

    /// Asks a replica until it refuses; why.
    #[track_caller]
    pub fn refuses(&mut self, replica: usize) -> String {
        until("the replica refuses", || self.ask(replica).err())
    }
}

//! Every replica is asked, directly and at the same time; an answer is judged by its revision and by what it says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::flip::{Done, Site, code};
use crate::cli::{
    client::{Answer, Client, Reach},
    exit::Stop,
};

/// How long a replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of asking one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered from the change or later.
    Fresh,
    /// It answered from before the change.
    Stale,
    /// It could not be reached.
    Unreachable,
    /// It did not answer the question: `503`, or something that is no decision.
    Refused,
    /// Somebody else changed the site meanwhile: nothing can be told.
    Disturbed,
    /// It takes commands only.
    NotDeciding,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Disturbed => "disturbed",
            Self::NotDeciding => "not_deciding",
        }
    }
}

/// The registered replicas, and the connections to them.
pub(super) struct Replicas {
    server: Client,
    base: String,
    reach: Reach,
    /// By address.
    clients: BTreeMap<String, Client>,
    rows: Vec<Value>,
}

/// One replica's answer.
pub(super) struct Heard {
    pub outcome: Outcome,
    row: Value,
    answer: Result<Answer, String>,
    asked: Instant,
    answered: Instant,
    detail: Value,
}

impl Replicas {
    /// Those that this server knows.
    pub fn of(server: &str, reach: &Reach) -> Result<Self, Stop> {
        let base = server.trim_end_matches('/').to_owned();
        let server = Client::with(&base, reach)?;
        Ok(Self { server, base, reach: reach.clone(), clients: BTreeMap::new(), rows: Vec::new() })
    }

    /// Reads the registry. Where one process alone answers, that is the server.
    pub fn list(&mut self) -> Result<(), Stop> {
        let answer = self.server.get("/v1/replicas")?;
        let items = answer.body.get("items").and_then(Value::as_array).filter(|_| answer.status == 200);
        let Some(items) = items else {
            return Err(Stop::failed(format!(
                "the server does not list its replicas (status {}, {})",
                answer.status,
                code(&answer.body)
            )));
        };
        self.rows.clone_from(items);
        if self.rows.is_empty() {
            let (_, address) = self.base.split_once("://").unwrap_or_default();
            self.rows.push(json!({"id": "the server", "address": address}));
        }
        let addresses: Vec<String> = self.rows.iter().map(address).collect();
        self.clients.retain(|known, _| addresses.contains(known));
        for address in addresses {
            if !self.clients.contains_key(&address)
                && let Some(client) = self.client(&address)
            {
                self.clients.insert(address, client);
            }
        }
        Ok(())
    }

    /// Who answers where a replica is registered, if that can be told. Whoever else does would be counted as fresh for it.
    fn client_of(&self, row: &Value) -> Result<&Client, &'static str> {
        let (id, address) = (row.get("id"), address(row));
        let beside = |other: &Value| other.get("id") != id && self::address(other) == address;
        if self.rows.iter().any(|other| beside(other) && follows(other)) {
            return Err(
                "another replica is registered at the same address, and would answer: give each an address of its own",
            );
        }
        if address.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_unspecified()) {
            return Err(
                "it listens on every address of a machine, which does not say where that is: name one in `listen`",
            );
        }
        self.clients.get(&address).ok_or("only TCP addresses can be asked")
    }

    /// Whoever answers at a replica's address has to prove to be the server of `--server`: replicas serve one name, and a
    /// certificate with their own addresses in it is nothing that they need. A socket has no client: it is unreachable from
    /// here, and counted as that.
    fn client(&self, address: &str) -> Option<Client> {
        // One process alone is where it was asked for.
        let at = if self.base.ends_with(&format!("://{address}")) { None } else { Some(address.parse().ok()?) };
        Client::reaching(&self.base, &self.reach, PATIENCE, at).ok()
    }

    /// Asks all of them at once. `since` is the revision that no answer may be older than, `expected` what they should say.
    pub fn ask(&self, question: &Value, since: Option<u64>, expected: bool) -> Vec<Heard> {
        thread::scope(|scope| {
            let asked: Vec<_> =
                self.rows.iter().map(|row| scope.spawn(move || self.ask_one(row, question, since, expected))).collect();
            asked.into_iter().filter_map(|one| one.join().ok()).collect()
        })
    }

    fn ask_one(&self, row: &Value, question: &Value, since: Option<u64>, expected: bool) -> Heard {
        let asked = Instant::now();
        let answer = match self.client_of(row) {
            Ok(client) => client.post("/access/v1/evaluation", None, question).map_err(|stop| stop.message),
            Err(why) => Err(why.to_owned()),
        };
        let answered = Instant::now();
        let outcome = match &answer {
            Err(_) => Outcome::Unreachable,
            Ok(answer) if answer.status == 404 && code(&answer.body) == "not_served_here" => Outcome::NotDeciding,
            Ok(answer) => match answer.body.get("decision").and_then(Value::as_bool).filter(|_| answer.status == 200) {
                None => Outcome::Refused,
                // An old revision is one, even where the answer happens to be the same.
                Some(said) if said != expected || answer.revision.is_none_or(|at| Some(at) < since) => Outcome::Stale,
                Some(_) => Outcome::Fresh,
            },
        };
        Heard { outcome, row: row.clone(), answer, asked, answered, detail: Value::Null }
    }

    /// What the registry says of a replica now.
    fn row_now(&self, id: Option<&Value>) -> Value {
        let found = self.server.get("/v1/replicas").ok();
        let items = found.as_ref().and_then(|found| found.body.get("items")?.as_array());
        let row = items.and_then(|items| items.iter().find(|row| row.get("id") == id));
        row.cloned().unwrap_or(Value::Null)
    }
}

/// Whether it has polled within its lease. A process that died is registered for a while where its successor is.
fn follows(row: &Value) -> bool {
    let millis = |name: &str| row.get(name).and_then(Value::as_u64);
    millis("renewed_ms_ago").zip(millis("max_stale_ms")).is_some_and(|(ago, lease)| ago <= lease)
}

fn address(row: &Value) -> String {
    row.get("address").and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Heard {
    /// A wrong answer of a later revision is no old one if somebody else has changed the site since; whatever stays is
    /// told in full.
    pub fn judge(&mut self, site: &Site, replicas: &Replicas, done: &Done) {
        let later = self.answer.as_ref().is_ok_and(|answer| answer.revision.is_some_and(|at| at > done.revision));
        if self.outcome == Outcome::Stale && later && site.disturbed_since(done.revision) {
            self.outcome = Outcome::Disturbed;
        }
        let after = |at: Instant| u64::try_from(at.saturating_duration_since(done.at).as_micros()).unwrap_or(u64::MAX);
        self.detail = match (&self.answer, self.outcome) {
            (_, Outcome::Fresh | Outcome::NotDeciding) => Value::Null,
            (Err(message), _) => json!({ "error": message }),
            (Ok(answer), outcome) => json!({
                "status": answer.status, "answer": answer.body, "expected": done.gives, "not_before": done.revision,
                "asked_us_after_ack": after(self.asked), "answered_us_after_ack": after(self.answered),
                "registry_before": self.row,
                "registry_now": if outcome == Outcome::Stale { replicas.row_now(self.row.get("id")) } else { Value::Null },
            }),
        };
    }

    /// As it is printed.
    pub fn told(&self) -> Value {
        let mut told = json!({"id": self.row.get("id"), "address": self.row.get("address"), "outcome": self.outcome.name(),
            "revision": self.answer.as_ref().ok().and_then(|answer| answer.revision)});
        if let (Some(members), false) = (told.as_object_mut(), self.detail.is_null()) {
            members.insert("detail".to_owned(), self.detail.clone());
        }
        told
    }
}

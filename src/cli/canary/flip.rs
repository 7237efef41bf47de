//! The site that is changed: reserved names, and one role on it that somebody gets and loses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    cli::{client::Client, exit::Stop},
    clock::{self, Clock as _, SystemClock},
};

/// The site. Nobody else's may have this name.
const SITE: &str = "mandate-canary";
/// Who owns it.
const OWNER: &str = "mandate-canary-owner";
/// Who gets and loses a role on it.
const EDITOR: &str = "mandate-canary-editor";

/// The longest wait for a change to be effective: the longest lease, and what comes on top of it.
const LONGEST: Duration = Duration::from_secs(90);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);

/// The synthetic site.
pub(super) struct Site {
    server: Client,
    stopped: Arc<AtomicBool>,
    question: Value,
    /// Whether the editor has the role, as far as is known.
    given: bool,
}

/// A change that is effective.
pub(super) struct Done {
    /// Whether it gave the role.
    pub gives: bool,
    /// The change's revision.
    pub revision: u64,
    /// By what it became effective, where there are replicas.
    pub acks: Value,
    /// From the first try to the answer.
    pub took: Duration,
    /// When the answer was there.
    pub at: Instant,
}

impl Site {
    /// Registers the site, where it is not there yet.
    pub fn prepare(server: Client, stopped: Arc<AtomicBool>) -> Result<Self, Stop> {
        let (path, owner) = (format!("/v1/sites/{SITE}"), format!("user:{OWNER}"));
        let mut found = server.get(&path)?;
        if found.status == 404 && code(&found.body) == "unknown_site" {
            let facts = json!({"mode": "self_managed", "owner": owner, "plan": {"tier": "free"}});
            found = server.put(&path, &facts)?;
        }
        if !matches!(found.status, 200 | 201) {
            let detail = found.body.get("detail").and_then(Value::as_str).unwrap_or("it gave no reason").to_owned();
            return Err(Stop::failed(format!("the site `{SITE}` cannot be used (status {}): {detail}", found.status)));
        }
        if found.body.get("content_owner").and_then(Value::as_str) != Some(&owner) {
            return Err(Stop::failed(format!("the site `{SITE}` is not the canary's: it belongs to somebody else")));
        }
        let question = json!({"subject": {"type": "user", "id": EDITOR}, "action": {"name": "EditContent"},
            "resource": {"type": "site", "id": SITE}});
        let access = server.get(&format!("{path}/access"))?;
        let editor = format!("user:{EDITOR}");
        let given = access.body.get("items").and_then(Value::as_array).is_some_and(|items| {
            items.iter().any(|item| item.get("principal").and_then(Value::as_str) == Some(&editor))
        });
        Ok(Self { server, stopped, question, given })
    }

    /// What is asked: may the editor edit?
    pub const fn question(&self) -> &Value {
        &self.question
    }

    /// Gives the role or takes it, and waits until that is effective.
    pub fn flip(&mut self) -> Result<Done, Stop> {
        let gives = !self.given;
        let (key, begun) = (clock::new_uuid(), Instant::now());
        loop {
            let mut body = json!({"actor": format!("user:{OWNER}"), "auth_time": SystemClock.now().as_seconds(),
                "user": format!("user:{EDITOR}"), "command": if gives { "grant_role" } else { "revoke_role" }});
            if let (true, Some(members)) = (gives, body.as_object_mut()) {
                members.insert("role".to_owned(), "WebsiteManager".into());
            }
            // The same key: however often it is said, it is done once.
            let answer = self.server.post(&format!("/v1/sites/{SITE}/transitions"), Some(&key), &body);
            let why = match answer {
                Ok(answer) if answer.status == 200 => {
                    let at = Instant::now();
                    self.given = gives;
                    let revision = answer.revision.ok_or_else(|| Stop::failed("the answer names no revision"))?;
                    let acks = answer.body.get("acks").cloned().unwrap_or(Value::Null);
                    return Ok(Done { gives, revision, acks, took: at - begun, at });
                }
                Ok(answer) if matches!(answer.status, 202 | 503) => format!("status {}", answer.status),
                Ok(answer) => {
                    // Somebody else plays with the same site: the next one goes the other way.
                    self.given = gives;
                    return Err(Stop::failed(format!("status {}, {}", answer.status, code(&answer.body))));
                }
                Err(stop) => stop.message,
            };
            if begun.elapsed() > LONGEST || self.stopped.load(Ordering::Acquire) {
                return Err(Stop::failed(format!("not effective after {:?}: {why}", begun.elapsed())));
            }
            thread::sleep(AGAIN);
        }
    }

    /// Whether somebody else has changed the site after this revision.
    pub fn disturbed_since(&self, revision: u64) -> bool {
        let found = self.server.get(&format!("/v1/sites/{SITE}"));
        found.is_ok_and(|found| found.status == 200 && found.revision.is_some_and(|at| at > revision))
    }
}

pub(super) fn code(body: &Value) -> &str {
    body.get("code").and_then(Value::as_str).unwrap_or("without a code")
}

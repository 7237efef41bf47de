//! Was the history tampered with? The hash chain over audit events, and the check that recomputes it.
//!
//! Every event's `hash` is SHA-256 over two texts, one after the other: the previous event's hash as 64 lower-case hex
//! digits ([`GENESIS`] before the first), and the event without `hash` as canonical JSON (RFC 8785). So anybody can
//! check an export with `sha256sum` alone. The last hash is the head's `chain`, which revision tokens carry away.
//!
//! Invariant: a changed, missing, inserted or moved event breaks the chain at that place. Whoever can write the
//! database can also compute a new chain; comparing the head with a token or an anchor kept elsewhere finds that.
//! Signing each event lost: the key would lie beside the data it protects.

use crate::digest::hex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{AuditEvent, Store, StoreError};

/// What stands before the first event.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How many events are read at once.
const PAGE: usize = 512;

/// A chain without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many events there are.
    pub events: u64,
    /// The hash of the last one: the head's `chain`.
    pub head: String,
}

/// Why a chain was not found whole.
#[derive(Debug, thiserror::Error)]
pub enum AuditFault {
    /// The chain is broken.
    #[error("the audit chain is broken at event {seq}: {what}")]
    Broken {
        /// The first event that does not fit.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The hash of an event that follows the one with the hash `previous`. The event's own `hash` is not looked at.
///
/// # Errors
/// When the event has no JSON form, which the types rule out.
pub fn link(previous: &str, event: &AuditEvent) -> Result<String, serde_json::Error> {
    let mut json = serde_json::to_value(event)?;
    if let Value::Object(members) = &mut json {
        members.remove("hash");
    }
    let canonical = serde_json_canonicalizer::to_vec(&json)?;
    Ok(hex(&Sha256::new().chain_update(previous.as_bytes()).chain_update(canonical).finalize()))
}

/// A walk along the chain: as much of it as has been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    seen: Verified,
}

impl Default for Walk {
    fn default() -> Self {
        Self { seen: Verified { events: 0, head: GENESIS.to_owned() } }
    }
}

impl Walk {
    /// Takes the next event.
    ///
    /// # Errors
    /// The event does not follow the last one.
    pub fn step(&mut self, event: &AuditEvent) -> Result<(), AuditFault> {
        let expected = self.seen.events.saturating_add(1);
        if event.seq != expected {
            let what = format!("it is missing, the next one is event {}", event.seq);
            return Err(AuditFault::Broken { seq: expected, what });
        }
        match link(&self.seen.head, event) {
            Ok(hash) if hash == event.hash => {
                self.seen = Verified { events: expected, head: hash };
                Ok(())
            }
            Ok(_) => Err(self.broken("it was changed or moved, its hash does not follow from the event before it")),
            Err(error) => Err(self.broken(&error.to_string())),
        }
    }

    fn broken(&self, what: &str) -> AuditFault {
        AuditFault::Broken { seq: self.seen.events.saturating_add(1), what: what.to_owned() }
    }
}

/// Recomputes the whole chain and compares its end with the head, in constant memory and beside running commits.
///
/// # Errors
/// [`AuditFault::Broken`] names the first event that does not fit; [`AuditFault::Store`] when it could not be read.
pub async fn verify_audit<S: Store>(store: &S) -> Result<Verified, AuditFault> {
    let mut walk = Walk::default();
    loop {
        while step_page(store, &mut walk).await? {}
        // Commits go on meanwhile: the head is read between two reads of events. If the second finds none, then no
        // event was added since the first, and the head must name the last one seen.
        let head = store.head().await?;
        if head.chain == walk.seen.head {
            return Ok(walk.seen);
        }
        if !step_page(store, &mut walk).await? {
            return Err(walk.broken("it is missing, the head's hash is that of an event after it or of another one"));
        }
    }
}

/// Takes the next page of events; false when there was none.
async fn step_page<S: Store>(store: &S, walk: &mut Walk) -> Result<bool, AuditFault> {
    let page = match store.audit(None, walk.seen.events, PAGE).await {
        // Some row of the page cannot be read as an event: one at a time finds which.
        Err(StoreError::Corrupt(_)) => match store.audit(None, walk.seen.events, 1).await {
            Err(StoreError::Corrupt(what)) => return Err(walk.broken(&what)),
            other => other?,
        },
        other => other?,
    };
    for event in &page.items {
        walk.step(event)?;
    }
    Ok(!page.items.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{revision::Revision, time::Timestamp};

    #[test]
    fn a_link_is_the_digest_of_two_texts() {
        let event = AuditEvent {
            seq: 1,
            revision: Revision(7),
            at: Timestamp::from_seconds(1_795_440_000),
            site: Some("bakery".parse().unwrap()),
            kind: "SeatsChanged".into(),
            actor: Some("user:maria".parse().unwrap()),
            via: None,
            data: serde_json::json!({"b": 1, "a": "ä"}),
            evidence: None,
            hash: "not looked at".into(),
        };
        let text = r#"{"actor":"user:maria","at":"2026-11-23T13:20:00Z","data":{"a":"ä","b":1},"revision":7,"seq":1,"site":"bakery","type":"SeatsChanged","via":null}"#;
        assert_eq!(link(GENESIS, &event).unwrap(), hex(&Sha256::digest(format!("{GENESIS}{text}"))));
    }
}

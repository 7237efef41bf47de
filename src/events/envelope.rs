//! What does a subscriber receive? A `CloudEvents` 1.0 event in structured mode, and a signature over exactly its bytes.
//!
//! The signature is that of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, so that a body cannot be replayed
//! under another id or much later. The body is the same at every attempt; only the time that is signed differs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::Value;
use sha2::Sha256;

use crate::store::{AuditEvent, POLICY_KEY, delivery::event_id};

/// The media type of the body.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    datacontenttype: &'static str,
    /// The event's place in the log, of one length, so that texts sort as numbers do.
    sequence: String,
    /// The revision that the change was committed at. A text: the standard's integers have 32 bits.
    revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'a str>,
    data: &'a Value,
}

/// An event as it is sent: its identifier and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `webhook-id`, and `id` in the body.
    pub id: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Envelope {
    /// The event of one installation's log.
    ///
    /// # Errors
    /// Never for an event that was read from the log: its data is JSON.
    pub fn of(event: &AuditEvent, epoch: &str) -> Result<Self, serde_json::Error> {
        let id = event_id(epoch, event.seq);
        let body = serde_json::to_vec(&CloudEvent {
            specversion: "1.0",
            id: &id,
            source: format!("/mandate/{epoch}"),
            kind: format!("mandate.{}.v1", event.kind),
            subject: subject(event),
            time: event.at.to_string(),
            datacontenttype: "application/json",
            sequence: format!("{:020}", event.seq),
            revision: event.revision.to_string(),
            actor: event.actor.as_ref().map(ToString::to_string),
            via: event.via.as_deref(),
            data: &event.data,
        })?;
        Ok(Self { id, body })
    }

    /// `webhook-signature` for a delivery at this time.
    #[must_use]
    pub fn sign(&self, key: &[u8], timestamp: i64) -> String {
        // A key of any length is taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
        mac.update(format!("{}.{timestamp}.", self.id).as_bytes());
        mac.update(&self.body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The site's id, or the agency or member of staff as a reference, or the policies.
fn subject(event: &AuditEvent) -> Option<String> {
    if let Some(site) = &event.site {
        return Some(site.to_string());
    }
    let policies = || event.data.get("policies").map(|_| POLICY_KEY.to_owned());
    let named = ["agency", "staff", "account"].into_iter().find_map(|kind| {
        let named = event.data.get(kind)?;
        let id = named.as_str().or_else(|| named.get("id")?.as_str())?;
        let id = id.strip_prefix(kind).and_then(|id| id.strip_prefix(':')).unwrap_or(id);
        Some(format!("{kind}:{id}"))
    });
    named.or_else(policies)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> AuditEvent {
        AuditEvent {
            seq: 17,
            revision: crate::revision::Revision(12),
            at: "2026-12-01T09:00:00Z".parse().unwrap(),
            site: Some("bakery".parse().unwrap()),
            kind: "SeatsChanged".into(),
            actor: Some("user:maria".parse().unwrap()),
            via: None,
            data: json!({"to": "agency:studio-north"}),
            evidence: None,
            hash: String::new(),
        }
    }

    #[test]
    fn an_event_is_a_cloud_event() {
        let sent = Envelope::of(&event(), "e0").unwrap();
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(
            body,
            json!({"specversion": "1.0", "id": "e0-17", "source": "/mandate/e0", "type": "mandate.SeatsChanged.v1",
                "subject": "bakery", "time": "2026-12-01T09:00:00Z", "datacontenttype": "application/json",
                "sequence": "00000000000000000017", "revision": "12", "actor": "user:maria",
                "data": {"to": "agency:studio-north"}})
        );
        assert_eq!(sent.id, "e0-17");
    }

    #[test]
    fn without_a_site_the_subject_is_a_reference() {
        for (data, expected) in [
            (json!({"agency": "x"}), Some("agency:x")),
            (json!({"agency": "agency:x", "user": "y"}), Some("agency:x")),
            (json!({"staff": "sam"}), Some("staff:sam")),
            (json!({"policies": "5eed", "before": null}), Some("policy")),
            (json!({}), None),
        ] {
            let event = AuditEvent { site: None, data, ..event() };
            assert_eq!(subject(&event).as_deref(), expected);
        }
    }

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_signature_is_the_standards() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let sent = Envelope { id: "msg_p5jXN8AQM9LWM0D4loKWxJek".into(), body: br#"{"test": 2432232314}"#.to_vec() };
        assert_eq!(sent.sign(&key, 1_614_265_330), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_ne!(sent.sign(&key, 1_614_265_331), sent.sign(&key, 1_614_265_330));
    }
}

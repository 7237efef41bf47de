//! The facts of the story, as `policies/fixtures/bakery.toml` has them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::time::Timestamp;

const DAY: Duration = Duration::from_hours(24);

/// Longer than a handover takes to settle.
pub const SETTLED: Duration = Duration::from_hours(8 * 24);
/// A reclaim's notice.
pub const NOTICE: Duration = Duration::from_hours(5 * 24);
/// All the time that passes: the story begins this long ago and ends now.
pub const LENGTH: Duration = Duration::from_hours((8 + 5) * 24);

/// `PUT /v1/agencies/studio-north`.
pub fn studio_north() -> Value {
    json!({ "name": "Studio North", "domain": "studio-north.example", "verified": true, "status": "active" })
}

/// `PUT /v1/sites/bakery`: Maria's own site.
pub fn bakery(now: Timestamp) -> Value {
    json!({
        "mode": "self_managed", "owner": "user:maria", "plan": business(now), "published": true,
        "domains": [{ "name": "bakery.example", "holder": "user:maria" }],
    })
}

/// `PUT /v1/sites/florist`: built by Studio North for Tom.
pub fn florist(now: Timestamp) -> Value {
    json!({
        "mode": "partner_built", "owner": "agency:studio-north", "plan": business(now), "published": true,
        "domains": [{ "name": "florist.example", "holder": "agency:studio-north" }],
    })
}

fn business(now: Timestamp) -> Value {
    json!({
        "tier": "premium", "status": "ok", "name": "Business", "price": "29.00", "currency": "EUR",
        "next_charge_at": now.plus(DAY * 30),
    })
}

//! The host plan: what it is, whether it is paid, and what the platform told us about its price.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A site's host plan. Who holds it follows from the seats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Free or paid.
    pub tier: Tier,
    /// Whether it is paid up. Changes by commands only, once the site exists.
    #[serde(default)]
    pub status: PlanStatus,
    /// The plan's name as customers know it; a text that needs it is left out while unknown.
    #[serde(default)]
    pub name: Option<String>,
    /// The price of one period, as a decimal text in `currency`.
    #[serde(default)]
    pub price: Option<String>,
    /// ISO 4217 code of the price.
    #[serde(default)]
    pub currency: Option<String>,
    /// When the holder is charged next.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_charge_at: Option<Timestamp>,
    /// Whether another account can take the plan over.
    #[serde(default = "yes")]
    pub transferable: bool,
    /// After a return: the plan stays live until then, so that the client can add a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub bridge_until: Option<Timestamp>,
    /// While a payment is missing: when the site goes on as a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lapses_at: Option<Timestamp>,
    /// While a payment is missing on a partner's plan: when the site goes back to its client if nobody pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub returns_at: Option<Timestamp>,
}

const fn yes() -> bool {
    true
}

impl Plan {
    /// A plan of this tier, paid up, about which nothing else is known.
    #[must_use]
    pub const fn of(tier: Tier) -> Self {
        Self {
            tier,
            status: PlanStatus::Ok,
            name: None,
            price: None,
            currency: None,
            next_charge_at: None,
            transferable: true,
            bridge_until: None,
            lapses_at: None,
            returns_at: None,
        }
    }
}

/// Free or paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Tier {
    Free,
    Premium,
}

/// Whether the plan is paid up.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    /// Nothing is owed.
    #[default]
    Ok,
    /// A payment failed; the site works on.
    PastDue,
    /// The grace ended; the site went on as a free one.
    Lapsed,
}

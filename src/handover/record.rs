//! One handover: an offer, its parties, and what became of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    ids::{Account, HandoverId, Principal, SiteId, UserId},
    revision::Revision,
    time::Timestamp,
};

/// An offer of a seat, open or ended. The only way a seat changes hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// A UUIDv7 made by the service.
    pub id: HandoverId,
    /// The site offered.
    pub site: SiteId,
    /// What is offered.
    pub kind: HandoverKind,
    /// The account whose seat the offer was made from.
    pub initiator: Account,
    /// Who made the offer: a person, or trust and safety where a successor is recorded.
    #[serde(deserialize_with = "person_or_principal", serialize_with = "person_by_id")]
    pub initiated_by: Principal,
    /// The account the seat is offered to.
    pub to: Account,
    /// Where it stands.
    pub status: HandoverStatus,
    /// Whose yes is still missing.
    pub consents_needed: Vec<Account>,
    /// Whose yes was given, by whom, after reading what.
    pub consents_given: Vec<Consent>,
    /// When the offer was made.
    pub offered_at: Timestamp,
    /// When it lapses if nobody answers. From then on it counts as expired, committed or not.
    pub expires_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The site's revision that the offer was made at.
    pub revision_at_offer: Revision,
    /// Digest of the preview that the offering person saw.
    pub preview_digest: SmolStr,
    /// The admin who asked for it, where the agency asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<UserId>,
    /// When those who have not answered are reminded: what is still to come, earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reminders: Vec<Timestamp>,
    /// What moves with the title, in an ownership transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

/// What an owner gives away with the title: everything is listed, nothing moves unsaid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The domains that move too.
    #[schema(value_type = Vec<String>)]
    pub domains: BTreeSet<String>,
    /// Whether the paid plan goes on, at the recipient's cost; else the site goes on as a free one.
    pub plan: bool,
    /// Whether the former owner stays as a website manager.
    pub stay: bool,
    /// Trust and safety's case, where the successor of an owner is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub case: Option<SmolStr>,
}

/// What is offered to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoverKind {
    /// An owner lets an agency run the site.
    PartnerHandover,
    /// An agency gives a site it built to its client and stays partner.
    ClientAssignment,
    /// A client's site goes from one partner to another.
    PartnerReplacement,
    /// An owner gives everything away.
    OwnershipTransfer,
}

impl HandoverKind {
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::PartnerHandover => "partner_handover",
            Self::ClientAssignment => "client_assignment",
            Self::PartnerReplacement => "partner_replacement",
            Self::OwnershipTransfer => "ownership_transfer",
        }
    }
}

/// Where a handover stands. Everything but `Requested` and `Open` is the end and stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoverStatus {
    /// A partner asked; the client has not said yes.
    Requested,
    /// Offered, waiting for an answer.
    Open,
    /// Done.
    Accepted,
    /// The named party said no.
    Declined,
    /// The initiator took it back.
    Cancelled,
    /// Nobody answered in time.
    Expired,
    /// Another step took its place.
    Superseded,
    /// What it rested on is gone.
    Invalidated,
}

impl HandoverStatus {
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Invalidated => "invalidated",
        }
    }
    /// Whether the handover still waits for somebody.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Requested | Self::Open)
    }
}

/// One party's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The account that consented.
    pub account: Account,
    /// The person who said it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// Digest of the explanation the person read.
    pub explanation_digest: SmolStr,
    /// The language it was read in.
    pub lang: SmolStr,
    /// Names exactly the texts that the explanation was made from.
    #[serde(default)]
    pub text_version: SmolStr,
}

/// Documents write a person as `maria`.
fn person_by_id<S: serde::Serializer>(principal: &Principal, serializer: S) -> Result<S::Ok, S::Error> {
    match principal {
        Principal::User(user) => user.serialize(serializer),
        Principal::Staff(_) | Principal::Service(_) => principal.serialize(serializer),
    }
}

/// The other way, and as `user:maria`, too.
fn person_or_principal<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Principal, D::Error> {
    let text = SmolStr::deserialize(deserializer)?;
    let parsed = if text.contains(':') { text.parse() } else { text.parse().map(Principal::User) };
    parsed.map_err(serde::de::Error::custom)
}

impl Handover {
    /// Whether it waits for an answer at `now`: time alone ends an offer, before anything commits that.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status.is_live() && now < self.expires_at
    }
    /// Whether the account is a party to it: it made the offer, it is offered the seat, or its yes is or was needed.
    #[must_use]
    pub fn names(&self, account: &Account) -> bool {
        self.initiator == *account || self.answers(account)
    }
    /// Whether the offer waits for this account's answer, or had it.
    #[must_use]
    pub fn answers(&self, account: &Account) -> bool {
        self.to == *account
            || self.consents_needed.contains(account)
            || self.consents_given.iter().any(|consent| consent.account == *account)
    }
    /// Where it stands at `now`, an expiry not yet committed included.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> HandoverStatus {
        if self.status.is_live() && !self.is_live(now) { HandoverStatus::Expired } else { self.status }
    }
}

//! What a caller is told when the answer is not the one asked for: a stable code and a sentence to act on.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::{decision::Fault, handover::Refusal, store::StoreError};

/// What kind of failure it is; the HTTP edge turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request itself is wrong.
    Invalid,
    /// 402: somebody has to pay first.
    Payment,
    /// 403: the actor may not.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 409: not from this state.
    Conflict,
    /// 412: the caller's precondition does not hold.
    Precondition,
    /// 422: facts stand in the way, or a key is used twice.
    Unprocessable,
    /// 429: too much of it.
    TooMany,
    /// 503: cannot decide or commit now.
    Unavailable,
}

/// A failure, as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What kind it is.
    pub kind: Kind,
    /// The stable code.
    pub code: Cow<'static, str>,
    /// A sentence that says what to do.
    pub detail: String,
    /// Further members, for example `blockers`.
    pub more: Box<Map<String, Value>>,
}

impl Failure {
    /// A failure without further members.
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { kind, code: code.into(), detail: detail.into(), more: Box::default() }
    }
    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
    /// `404 unknown_site`.
    #[must_use]
    pub fn unknown_site(site: &str) -> Self {
        Self::new(
            Kind::NotFound,
            "unknown_site",
            format!("There is no site `{site}`. Register it with PUT /v1/sites/{site}."),
        )
    }
    /// `404 unknown_agency`.
    #[must_use]
    pub fn unknown_agency(agency: &str) -> Self {
        Self::new(
            Kind::NotFound,
            "unknown_agency",
            format!("There is no agency `{agency}`. Register it with PUT /v1/agencies/{agency}."),
        )
    }
    /// `404 unknown_handover`.
    #[must_use]
    pub fn unknown_handover() -> Self {
        Self::new(
            Kind::NotFound,
            "unknown_handover",
            "There is no such handover on this site. GET /v1/sites/{site}/handovers lists them.",
        )
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        tracing::error!(%fault, "no decision");
        Self::new(
            Kind::Unavailable,
            "evaluation_failed",
            "The policies could not be evaluated for this request. Nothing was decided; treat it as no access.",
        )
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        match error {
            StoreError::Unknown(_) => Self::new(
                Kind::Unavailable,
                "unknown",
                "The commit's outcome is not known. Send the same request with the same Idempotency-Key to learn it.",
            )
            .with("outcome", "unknown"),
            StoreError::Unavailable(_) => Self::new(
                Kind::Unavailable,
                "not_applied",
                "The store is not available. Nothing was changed; try again.",
            )
            .with("outcome", "not_applied"),
            StoreError::Corrupt(_) => Self::new(
                Kind::Unavailable,
                "store_corrupt",
                "What is stored cannot be used; the log of the service says what is wrong. Nothing was changed.",
            )
            .with("outcome", "not_applied"),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::Blocked(blockers) = &refusal {
            let codes: Vec<&str> = blockers.iter().map(|blocker| blocker.code()).collect();
            return Self::blocked(&codes);
        }
        let failure = Self::new(kind(&refusal), refusal.code().to_string(), sentence(&refusal));
        match refusal {
            Refusal::Illegal { state, command, .. } => {
                failure.with("state", state).with("command", command.wire_name())
            }
            Refusal::MayNotGrant { role } => failure.with("role", role),
            Refusal::AgencyNeeded => failure.with("field", "agency"),
            Refusal::ApproverNeeded => failure.with("field", "approver"),
            Refusal::UnknownDomain { domain } => failure.with("domain", domain),
            Refusal::ConfirmRequired { action, operation } => {
                failure.with("action", action).with("operation", operation)
            }
            Refusal::OutOfRange { field, .. } => failure.with("field", field),
            _ => failure,
        }
    }
}

/// What kind of answer a refusal is.
const fn kind(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::Illegal { .. }
        | Refusal::AlreadySo { .. }
        | Refusal::AlreadyOpen
        | Refusal::Terminal(_)
        | Refusal::HasRole
        | Refusal::AdminActsForAgency
        | Refusal::FreezeUsed => Kind::Conflict,
        Refusal::UnknownHandover
        | Refusal::UnknownContributor
        | Refusal::UnknownAgency
        | Refusal::UnknownMember
        | Refusal::UnknownStaff
        | Refusal::UnknownConfirmation => Kind::NotFound,
        Refusal::MayNotGrant { .. }
        | Refusal::OtherSide
        | Refusal::NotAParty
        | Refusal::WrongSiteCode
        | Refusal::ApproverNeeded
        | Refusal::ConfirmRequired { .. } => Kind::Forbidden,
        Refusal::UnknownRole { .. } | Refusal::AgencyNeeded | Refusal::OutOfRange { .. } => Kind::Invalid,
        Refusal::Blocked(_) | Refusal::OwnAccount | Refusal::UnknownDomain { .. } | Refusal::NotConfirmable { .. } => {
            Kind::Unprocessable
        }
    }
}

/// A refusal in words, with what to do about it.
fn sentence(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Illegal { state, command, because } => {
            format!("`{}` is not possible while the site is {state}: {because}.", command.wire_name())
        }
        Refusal::AlreadySo { what } => format!("Nothing to do: {what}."),
        Refusal::Terminal(status) => {
            format!("This handover has ended: it was {}. Make a new offer to try again.", status.wire_name())
        }
        Refusal::MayNotGrant { role } => format!(
            "You cannot give, change, keep or take the role `{role}`: it may do something that you may not, it is your \
             own, or it is more than somebody of the partner's keeps after a return (WebsiteManager)."
        ),
        Refusal::UnknownRole { role } => {
            format!("`{role}` is not a role that an invitation can give. A seat is moved by a handover.")
        }
        Refusal::UnknownDomain { domain } => format!("`{domain}` is not a domain of this site that its owner holds."),
        Refusal::ConfirmRequired { action, operation } => format!(
            "The client must confirm this first: confirm_partner_action with the action `{action}` and the operation \
             `{operation}`."
        ),
        Refusal::NotConfirmable { action } => {
            format!("`{action}` is not something that a partner may do with the client's confirmation only.")
        }
        Refusal::OutOfRange { field, allowed } => format!("`{field}` is out of its range: it is {allowed}."),
        fixed => fixed_sentence(fixed).to_owned(),
    }
}

/// The sentences that name nothing.
const fn fixed_sentence(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::AlreadyOpen => {
            "An offer is open on this site. Wait for its answer, or take it back with cancel_handover."
        }
        Refusal::UnknownHandover => {
            "There is no such handover on this site. GET /v1/sites/{site}/handovers lists them."
        }
        Refusal::HasRole => "The person has a role on this site already. Use change_role, or revoke_role first.",
        Refusal::UnknownContributor => {
            "The person has no role on this site that could be changed, kept or taken. Use grant_role to give one."
        }
        Refusal::OtherSide => "This belongs to the other side. Ask the other side to change or remove it.",
        Refusal::OwnAccount => "The offer names the account that makes it. Name somebody else in `to`.",
        Refusal::NotAParty => "Only the named party can do this: the named user, or an admin of the named agency.",
        Refusal::UnknownAgency => {
            "The agency named in `to` is not registered. Register it with PUT /v1/agencies/{agency}."
        }
        Refusal::WrongSiteCode => {
            "This is not the site's code, or it was used or has run out. Ask the owner for a new one (issue_site_code)."
        }
        Refusal::AgencyNeeded => {
            "Name the agency that asks in `agency`: an active, verified one of which you are an admin."
        }
        Refusal::UnknownMember => {
            "The person is not a member of the agency that could be meant here. Only members (not billing people) are \
             given or denied work."
        }
        Refusal::AdminActsForAgency => {
            "An admin acts as the agency itself and is not kept out alone. Ask the agency, or take the site back."
        }
        Refusal::UnknownStaff => {
            "There is no such support agent, or no live session of theirs. Register staff with PUT /v1/staff/{id}."
        }
        Refusal::ApproverNeeded => "Name in `approver` another member of trust and safety who agreed to this.",
        Refusal::UnknownConfirmation => "No such confirmation waits: it was spent, has run out, or was never given.",
        Refusal::FreezeUsed => "There is one freeze in each engagement, and this one has had it.",
        Refusal::Illegal { .. }
        | Refusal::AlreadySo { .. }
        | Refusal::Terminal(_)
        | Refusal::Blocked(_)
        | Refusal::MayNotGrant { .. }
        | Refusal::UnknownRole { .. }
        | Refusal::UnknownDomain { .. }
        | Refusal::ConfirmRequired { .. }
        | Refusal::NotConfirmable { .. }
        | Refusal::OutOfRange { .. } => "This is not possible now.",
    }
}

impl Failure {
    /// `422 blocked`, naming what stands in the way.
    #[must_use]
    pub fn blocked(codes: &[&str]) -> Self {
        Self::new(
            Kind::Unprocessable,
            "blocked",
            format!("Something about the site or the agency stands in the way: {}.", codes.join(", ")),
        )
        .with("blockers", json!(codes))
    }
}

//! What a caller is told when the answer is not the one asked for: a stable code and a sentence to act on.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::{decision::Fault, handover::Refusal, store::StoreError};

/// What kind of failure it is; the HTTP edge turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request itself is wrong.
    Invalid,
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
        let code = refusal.code();
        let fail = |kind, detail: String| Self::new(kind, code.to_string(), detail);
        match refusal {
            Refusal::Illegal { state, command, because } => fail(
                Kind::Conflict,
                format!("`{}` is not possible while the site is {state}: {because}.", command.wire_name()),
            )
            .with("state", state)
            .with("command", command.wire_name()),
            Refusal::AlreadySo { what } => fail(Kind::Conflict, format!("Nothing to do: {what}.")),
            Refusal::AlreadyOpen => fail(
                Kind::Conflict,
                "An offer is open on this site. Wait for its answer, or take it back with cancel_handover.".to_owned(),
            ),
            Refusal::Terminal(status) => fail(
                Kind::Conflict,
                format!("This handover has ended: it was {}. Make a new offer to try again.", status.wire_name()),
            ),
            Refusal::UnknownHandover => Self::unknown_handover(),
            Refusal::Blocked(blockers) => {
                let codes: Vec<&str> = blockers.iter().map(|blocker| blocker.code()).collect();
                Self::blocked(&codes)
            }
            Refusal::HasRole => fail(
                Kind::Conflict,
                "The person has a role on this site already. Use change_role, or revoke_role first.".to_owned(),
            ),
            Refusal::UnknownContributor => fail(
                Kind::NotFound,
                "The person has no role on this site that could be changed, kept or taken. Use grant_role to give one."
                    .to_owned(),
            ),
            Refusal::MayNotGrant { role } => fail(
                Kind::Forbidden,
                format!(
                    "You cannot give, change, keep or take the role `{role}`: it may do something that you may not, or \
                     it is your own."
                ),
            )
            .with("role", role),
            Refusal::UnknownRole { role } => fail(
                Kind::Invalid,
                format!("`{role}` is not a role that an invitation can give. A seat is moved by a handover."),
            ),
            Refusal::OtherSide => fail(
                Kind::Forbidden,
                "This person was invited by the client. Ask the client to change or remove them.".to_owned(),
            ),
            Refusal::OwnAccount => fail(
                Kind::Unprocessable,
                "The offer names the account that makes it. Name somebody else in `to`.".to_owned(),
            ),
            Refusal::NotAParty => fail(
                Kind::Forbidden,
                "Only the named party can do this: the named user, or an admin of the named agency.".to_owned(),
            ),
            Refusal::UnknownAgency => fail(
                Kind::NotFound,
                "The agency named in `to` is not registered. Register it with PUT /v1/agencies/{agency}.".to_owned(),
            ),
        }
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

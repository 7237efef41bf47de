//! Why a command changes nothing. A refusal is data: a stable code, and a sentence that says what to do.

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::{CommandName, HandoverStatus};

/// A command that the machine does not carry out from this state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The state does not know this command: `409 illegal_transition`.
    Illegal {
        /// The state, in words, for example `self_managed`.
        state: String,
        /// The command.
        command: CommandName,
        /// What would have to be true, as a sentence.
        because: &'static str,
    },
    /// What the command asks for holds already: `409 already_so`.
    AlreadySo {
        /// What holds already, as a sentence.
        what: &'static str,
    },
    /// Another offer is open: `409 handover_already_open`.
    AlreadyOpen,
    /// The named handover has ended: `409 terminal:<status>`.
    Terminal(HandoverStatus),
    /// The named handover is not of this site, or does not exist: `404 unknown_handover`.
    UnknownHandover,
    /// Stored facts stand in the way: `422 blocked`.
    Blocked(Vec<Blocker>),
    /// The person has a role here already: `409 has_role`.
    HasRole,
    /// The person has no role here: `404 unknown_contributor`.
    UnknownContributor,
    /// The derived grant rule (domain §4.2) does not let this actor hand out, change or take this role: `403 may_not_grant`.
    MayNotGrant {
        /// The role in question.
        role: String,
    },
    /// There is no such person-level role: `400 unknown_role`.
    UnknownRole {
        /// As given.
        role: String,
    },
    /// A partner-side actor may not touch a person of the client's: `403 other_side`.
    OtherSide,
    /// The offer names the offering account itself: `422 own_account`.
    OwnAccount,
    /// The acting person is not the party whose answer this is: `403 not_a_party`.
    NotAParty,
    /// The named agency is not registered: `404 unknown_agency`.
    UnknownAgency,
    /// The site's one-time code is another one, was used or has run out: `403 wrong_site_code`.
    WrongSiteCode,
    /// The person is an admin of several agencies, or of none that may ask: `400 agency_needed`.
    AgencyNeeded,
    /// The person is not a member of the agency whose work could be delegated or kept out: `404 unknown_member`.
    UnknownMember,
    /// An admin acts through the agency's seat and is not kept out one by one: `409 admin_acts_for_agency`.
    AdminActsForAgency,
    /// The site has no such domain of the owner's: `422 unknown_domain`.
    UnknownDomain {
        /// As given.
        domain: String,
    },
    /// There is no such member of staff in this capacity: `404 unknown_staff`.
    UnknownStaff,
    /// What trust and safety does, a colleague agrees to: `403 approver_needed`.
    ApproverNeeded,
    /// The client must confirm this act first: `403 confirm_required`.
    ConfirmRequired {
        /// The action that the confirmation must name.
        action: &'static str,
        /// The act of it that it must name.
        operation: String,
    },
    /// The partner needs no confirmation for this action, or may not do it at all: `422 not_confirmable`.
    NotConfirmable {
        /// As given.
        action: String,
    },
    /// No such confirmation waits: it was spent, has run out, or was never given: `404 unknown_confirmation`.
    UnknownConfirmation,
    /// A number or an instant outside its range: `400 out_of_range`.
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What would do.
        allowed: String,
    },
    /// This engagement had its freeze: `409 freeze_used`.
    FreezeUsed,
}

impl Refusal {
    /// The code on the wire.
    #[must_use]
    pub fn code(&self) -> SmolStr {
        match self {
            Self::Illegal { .. } => SmolStr::new_static("illegal_transition"),
            Self::AlreadySo { .. } => SmolStr::new_static("already_so"),
            Self::AlreadyOpen => SmolStr::new_static("handover_already_open"),
            Self::Terminal(status) => format_smolstr!("terminal:{}", status.wire_name()),
            Self::UnknownHandover => SmolStr::new_static("unknown_handover"),
            Self::Blocked(_) => SmolStr::new_static("blocked"),
            Self::HasRole => SmolStr::new_static("has_role"),
            Self::UnknownContributor => SmolStr::new_static("unknown_contributor"),
            Self::MayNotGrant { .. } => SmolStr::new_static("may_not_grant"),
            Self::UnknownRole { .. } => SmolStr::new_static("unknown_role"),
            Self::OtherSide => SmolStr::new_static("other_side"),
            Self::OwnAccount => SmolStr::new_static("own_account"),
            Self::NotAParty => SmolStr::new_static("not_a_party"),
            Self::UnknownAgency => SmolStr::new_static("unknown_agency"),
            Self::WrongSiteCode => SmolStr::new_static("wrong_site_code"),
            Self::AgencyNeeded => SmolStr::new_static("agency_needed"),
            Self::UnknownMember => SmolStr::new_static("unknown_member"),
            Self::AdminActsForAgency => SmolStr::new_static("admin_acts_for_agency"),
            Self::UnknownDomain { .. } => SmolStr::new_static("unknown_domain"),
            Self::UnknownStaff => SmolStr::new_static("unknown_staff"),
            Self::ApproverNeeded => SmolStr::new_static("approver_needed"),
            Self::ConfirmRequired { .. } => SmolStr::new_static("confirm_required"),
            Self::NotConfirmable { .. } => SmolStr::new_static("not_confirmable"),
            Self::UnknownConfirmation => SmolStr::new_static("unknown_confirmation"),
            Self::OutOfRange { .. } => SmolStr::new_static("out_of_range"),
            Self::FreezeUsed => SmolStr::new_static("freeze_used"),
        }
    }
}

/// A stored fact that keeps a handover from happening until somebody changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blocker {
    /// The host plan is past due or lapsed: pay it first.
    PlanPastDue,
    /// The host plan cannot change hands: move the site to another plan first.
    PlanNotTransferable,
    /// Trust and safety froze the site: wait for the end of the freeze.
    Frozen,
    /// The site is in the trash: restore it first.
    Trashed,
    /// The platform has not verified the agency.
    AgencyUnverified,
    /// The agency is suspended or dissolving.
    AgencySuspended,
    /// The site is not published: a client is given a site that visitors can see.
    NotPublished,
    /// The site is on a free plan: a client is given a site on a paid plan.
    PlanFree,
    /// Client and partner dispute: close the dispute, or wait until it runs out.
    OpenDispute,
    /// An account that the offer names is closing.
    AccountClosing,
    /// The agency has no card that could be charged.
    AgencyNoCard,
    /// A domain of the site is moving to another registrar.
    DomainTransferInFlight,
    /// The plan's holder owes the platform for it.
    UnpaidPlatformInvoice,
    /// The plan may still be refunded to its holder.
    PendingRefundWindow,
}

impl Blocker {
    /// Those that only the platform knows of, and reports.
    pub const REPORTED: [Self; 3] =
        [Self::DomainTransferInFlight, Self::UnpaidPlatformInvoice, Self::PendingRefundWindow];
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::PlanPastDue => "plan_past_due",
            Self::PlanNotTransferable => "plan_not_transferable",
            Self::Frozen => "frozen",
            Self::Trashed => "trashed",
            Self::AgencyUnverified => "agency_unverified",
            Self::AgencySuspended => "agency_suspended",
            Self::NotPublished => "not_published",
            Self::PlanFree => "plan_free",
            Self::OpenDispute => "open_dispute",
            Self::AccountClosing => "account_closing",
            Self::AgencyNoCard => "agency_no_card",
            Self::DomainTransferInFlight => "domain_transfer_in_flight",
            Self::UnpaidPlatformInvoice => "unpaid_platform_invoice",
            Self::PendingRefundWindow => "pending_refund_window",
        }
    }
}

//! What can be asked of a site: the commands of the transition endpoint and of the timers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    ids::{AgencyId, HandoverId, StaffId, UserId},
    site::Template,
    time::Timestamp,
};

/// One command with its fields, already well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// T1: an agency asks the owner for the Partner role.
    RequestPartnerRole {
        /// The agency, for a person who is an admin of several.
        agency: Option<AgencyId>,
        /// The one-time code that the owner gave to the agency.
        site_code: SmolStr,
    },
    /// Makes the one-time code with which an agency may ask; an earlier one stops working.
    IssueSiteCode,
    /// T2: the owner offers an agency the Partner seat, or says yes to its request.
    OfferPartnerRole {
        /// The agency.
        to: AgencyId,
    },
    /// T7: the building agency offers its client the Client seat.
    AssignClientRole {
        /// The client.
        to: UserId,
    },
    /// T9: the site is to go to another partner.
    ReplacePartner {
        /// The new agency.
        to: AgencyId,
    },
    /// T26: the owner gives everything away.
    TransferOwnership {
        /// The new owner.
        to: UserId,
        /// The domains that move with the site.
        domains: BTreeSet<String>,
        /// Whether the paid plan goes on at the new owner's cost.
        plan: bool,
        /// Whether the former owner stays as a website manager.
        stay: bool,
    },
    /// T3, T8, T10, T26: the named party says yes.
    AcceptHandover {
        /// Which offer.
        handover: HandoverId,
        /// Digest of the explanation that the accepting person read.
        explanation_digest: SmolStr,
        /// The language it was read in.
        lang: SmolStr,
    },
    /// T4: the named party says no.
    DeclineHandover {
        /// Which offer.
        handover: HandoverId,
    },
    /// T5: the initiator takes the offer back.
    CancelHandover {
        /// Which offer.
        handover: HandoverId,
    },
    /// T6: time ends an offer.
    ExpireHandover {
        /// Which offer.
        handover: HandoverId,
    },
    /// Time reminds those who have not answered.
    RemindHandover {
        /// Which offer.
        handover: HandoverId,
    },
    /// T11 to T13: the client takes the site back.
    ReclaimSite {
        /// Stop every partner write at once.
        lock: bool,
        /// Partner-side people the client keeps.
        keep: BTreeSet<UserId>,
    },
    /// T14: the client changes their mind.
    WithdrawReclaim,
    /// T15: the partner gives the site back without waiting.
    ReleaseSite,
    /// T16: the notice is over.
    ReturnEffective,
    /// T17: the partner leaves.
    ResignAsPartner,
    /// T21: the client takes the unpaid plan over, and the site back.
    RescuePlan,
    /// T18, T19: billing says whether the plan is paid.
    ReportPlan {
        /// What it says.
        status: Reported,
    },
    /// T20: time turns an unpaid plan into a free one.
    LapsePlan,
    /// T22, T23: the site follows its agency's suspension or dissolution, or the end of it.
    FollowAgency,
    /// T24: a seat disputes.
    OpenDispute {
        /// A reason code of the platform's.
        reason: SmolStr,
    },
    /// The seat that opened a dispute closes it.
    CloseDispute,
    /// T24: trust and safety stops everybody.
    FreezeSite(Case),
    /// T25: trust and safety lets everybody go on.
    UnfreezeSite(Case),
    /// T25: the freeze has reached its limit.
    EndFreeze,
    /// T29: the owner cannot act for good.
    OpenCustody(Case),
    /// T26 by case: the legal successor is offered what the owner had.
    RecordSuccessor {
        /// The successor.
        to: UserId,
        /// With documents.
        case: Case,
    },
    /// T27: into the trash.
    TrashSite {
        /// The act that the client confirmed, when the partner does it.
        operation: Option<SmolStr>,
    },
    /// T27: out of the trash.
    RestoreSite,
    /// T27: the owner deletes for good.
    PurgeSite,
    /// T27: time deletes for good.
    EmptyTrash,
    /// Gives a person a role.
    GrantRole {
        /// The person.
        user: UserId,
        /// A person-level role.
        role: SmolStr,
    },
    /// Gives a person another role instead.
    ChangeRole {
        /// The person.
        user: UserId,
        /// A person-level role.
        role: SmolStr,
    },
    /// Takes a person's role away.
    RevokeRole {
        /// The person.
        user: UserId,
    },
    /// The acting person gives up their own role or grant.
    LeaveSite,
    /// An agency admin delegates work on the site to a member.
    GrantAgencyAccess {
        /// The member.
        user: UserId,
        /// Which part of the work.
        template: Template,
        /// When it ends by itself.
        expires_at: Option<Timestamp>,
    },
    /// An agency admin takes a delegation back.
    RevokeAgencyAccess {
        /// The member.
        user: UserId,
    },
    /// The client keeps a member of the agency out.
    BlockAgencyMember {
        /// The member.
        user: UserId,
    },
    /// The client lets a member of the agency in again.
    UnblockAgencyMember {
        /// The member.
        user: UserId,
    },
    /// The client says yes to one act of the partner's.
    ConfirmPartnerAction {
        /// A catalogue action that the partner may do with a confirmation only.
        action: SmolStr,
        /// Which act, as the calling service names it.
        operation: SmolStr,
        /// How long the yes waits for the act, in seconds.
        expires_in_s: Option<u64>,
    },
    /// The calling service did the confirmed act.
    SpendConfirmation {
        /// The action.
        action: SmolStr,
        /// Which act.
        operation: SmolStr,
    },
    /// A seat lets platform support look.
    GrantSupportSession {
        /// The support agent.
        agent: StaffId,
        /// For how long; the longest allowed when absent.
        minutes: Option<u64>,
    },
    /// A seat ends a support session.
    EndSupportSession {
        /// The support agent.
        agent: StaffId,
    },
}

/// What trust and safety acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The case's name.
    pub case: SmolStr,
    /// The colleague who agreed.
    pub approver: Option<StaffId>,
}

/// What billing reports about a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reported {
    /// It is paid.
    Ok,
    /// A payment failed.
    PastDue,
}

/// Whose a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Whoever the policies permit this catalogue action.
    Action(&'static str),
    /// The platform's billing service.
    Billing,
    /// Any service of the platform's.
    Service,
    /// Nobody's: time does it.
    Time,
}

/// A command's name, as the API writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "explained at `Command`")]
pub enum CommandName {
    RequestPartnerRole,
    IssueSiteCode,
    OfferPartnerRole,
    AssignClientRole,
    ReplacePartner,
    TransferOwnership,
    AcceptHandover,
    DeclineHandover,
    CancelHandover,
    ExpireHandover,
    RemindHandover,
    ReclaimSite,
    WithdrawReclaim,
    ReleaseSite,
    ReturnEffective,
    ResignAsPartner,
    RescuePlan,
    ReportPlan,
    LapsePlan,
    FollowAgency,
    OpenDispute,
    CloseDispute,
    FreezeSite,
    UnfreezeSite,
    EndFreeze,
    OpenCustody,
    RecordSuccessor,
    TrashSite,
    RestoreSite,
    PurgeSite,
    EmptyTrash,
    GrantRole,
    ChangeRole,
    RevokeRole,
    LeaveSite,
    GrantAgencyAccess,
    RevokeAgencyAccess,
    BlockAgencyMember,
    UnblockAgencyMember,
    ConfirmPartnerAction,
    SpendConfirmation,
    GrantSupportSession,
    EndSupportSession,
}

impl CommandName {
    /// Every command, in the order of the domain's tables.
    pub const ALL: [Self; 43] = [
        Self::RequestPartnerRole,
        Self::IssueSiteCode,
        Self::OfferPartnerRole,
        Self::AssignClientRole,
        Self::ReplacePartner,
        Self::TransferOwnership,
        Self::AcceptHandover,
        Self::DeclineHandover,
        Self::CancelHandover,
        Self::ExpireHandover,
        Self::RemindHandover,
        Self::ReclaimSite,
        Self::WithdrawReclaim,
        Self::ReleaseSite,
        Self::ReturnEffective,
        Self::ResignAsPartner,
        Self::RescuePlan,
        Self::ReportPlan,
        Self::LapsePlan,
        Self::FollowAgency,
        Self::OpenDispute,
        Self::CloseDispute,
        Self::FreezeSite,
        Self::UnfreezeSite,
        Self::EndFreeze,
        Self::OpenCustody,
        Self::RecordSuccessor,
        Self::TrashSite,
        Self::RestoreSite,
        Self::PurgeSite,
        Self::EmptyTrash,
        Self::GrantRole,
        Self::ChangeRole,
        Self::RevokeRole,
        Self::LeaveSite,
        Self::GrantAgencyAccess,
        Self::RevokeAgencyAccess,
        Self::BlockAgencyMember,
        Self::UnblockAgencyMember,
        Self::ConfirmPartnerAction,
        Self::SpendConfirmation,
        Self::GrantSupportSession,
        Self::EndSupportSession,
    ];
    /// The name on the wire.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::RequestPartnerRole => "request_partner_role",
            Self::IssueSiteCode => "issue_site_code",
            Self::OfferPartnerRole => "offer_partner_role",
            Self::AssignClientRole => "assign_client_role",
            Self::ReplacePartner => "replace_partner",
            Self::TransferOwnership => "transfer_ownership",
            Self::AcceptHandover => "accept_handover",
            Self::DeclineHandover => "decline_handover",
            Self::CancelHandover => "cancel_handover",
            Self::ExpireHandover => "expire_handover",
            Self::RemindHandover => "remind_handover",
            Self::ReclaimSite => "reclaim_site",
            Self::WithdrawReclaim => "withdraw_reclaim",
            Self::ReleaseSite => "release_site",
            Self::ReturnEffective => "return_effective",
            Self::ResignAsPartner => "resign_as_partner",
            Self::RescuePlan => "rescue_plan",
            Self::ReportPlan => "report_plan",
            Self::LapsePlan => "lapse_plan",
            Self::FollowAgency => "follow_agency",
            Self::OpenDispute => "open_dispute",
            Self::CloseDispute => "close_dispute",
            Self::FreezeSite => "freeze_site",
            Self::UnfreezeSite => "unfreeze_site",
            Self::EndFreeze => "end_freeze",
            Self::OpenCustody => "open_custody",
            Self::RecordSuccessor => "record_successor",
            Self::TrashSite => "trash_site",
            Self::RestoreSite => "restore_site",
            Self::PurgeSite => "purge_site",
            Self::EmptyTrash => "empty_trash",
            Self::GrantRole => "grant_role",
            Self::ChangeRole => "change_role",
            Self::RevokeRole => "revoke_role",
            Self::LeaveSite => "leave_site",
            Self::GrantAgencyAccess => "grant_agency_access",
            Self::RevokeAgencyAccess => "revoke_agency_access",
            Self::BlockAgencyMember => "block_agency_member",
            Self::UnblockAgencyMember => "unblock_agency_member",
            Self::ConfirmPartnerAction => "confirm_partner_action",
            Self::SpendConfirmation => "spend_confirmation",
            Self::GrantSupportSession => "grant_support_session",
            Self::EndSupportSession => "end_support_session",
        }
    }
    /// Whose command it is.
    #[must_use]
    pub const fn authority(self) -> Authority {
        match self {
            Self::RequestPartnerRole => Authority::Action("RequestPartnerRole"),
            Self::IssueSiteCode | Self::OfferPartnerRole => Authority::Action("OfferPartnerRole"),
            Self::AssignClientRole => Authority::Action("AssignClientRole"),
            Self::ReplacePartner => Authority::Action("ReplacePartner"),
            Self::TransferOwnership => Authority::Action("TransferOwnership"),
            Self::AcceptHandover => Authority::Action("AcceptHandover"),
            Self::DeclineHandover => Authority::Action("DeclineHandover"),
            Self::CancelHandover => Authority::Action("CancelHandover"),
            Self::ExpireHandover
            | Self::RemindHandover
            | Self::ReturnEffective
            | Self::LapsePlan
            | Self::FollowAgency
            | Self::EndFreeze
            | Self::EmptyTrash => Authority::Time,
            Self::ReclaimSite => Authority::Action("ReclaimSite"),
            Self::WithdrawReclaim => Authority::Action("WithdrawReclaim"),
            Self::ReleaseSite => Authority::Action("ReleaseSite"),
            Self::ResignAsPartner => Authority::Action("ResignAsPartner"),
            Self::RescuePlan => Authority::Action("RescuePlan"),
            Self::ReportPlan => Authority::Billing,
            Self::OpenDispute | Self::CloseDispute => Authority::Action("OpenDispute"),
            Self::FreezeSite => Authority::Action("FreezeSite"),
            Self::OpenCustody => Authority::Action("OpenCustody"),
            Self::RecordSuccessor => Authority::Action("RecordSuccessor"),
            Self::UnfreezeSite => Authority::Action("UnfreezeSite"),
            Self::TrashSite => Authority::Action("TrashSite"),
            Self::RestoreSite => Authority::Action("RestoreTrashedSite"),
            Self::PurgeSite => Authority::Action("PurgeSite"),
            Self::GrantRole => Authority::Action("InviteContributor"),
            Self::ChangeRole => Authority::Action("ChangeContributorRole"),
            Self::RevokeRole => Authority::Action("RemoveContributor"),
            Self::LeaveSite => Authority::Action("LeaveSite"),
            Self::GrantAgencyAccess | Self::RevokeAgencyAccess => Authority::Action("SetAgencyGrant"),
            Self::BlockAgencyMember | Self::UnblockAgencyMember => Authority::Action("BlockAgencyMember"),
            Self::ConfirmPartnerAction => Authority::Action("ConfirmPartnerAction"),
            Self::SpendConfirmation => Authority::Service,
            Self::GrantSupportSession | Self::EndSupportSession => Authority::Action("GrantSupportSession"),
        }
    }
    /// The catalogue action that authorizes the command; none for what services report and time does.
    #[must_use]
    pub const fn action(self) -> Option<&'static str> {
        match self.authority() {
            Authority::Action(action) => Some(action),
            Authority::Billing | Authority::Service | Authority::Time => None,
        }
    }
    /// Whether it makes an offer: such a command carries the digest of the preview that its maker saw.
    #[must_use]
    pub const fn is_offer(self) -> bool {
        matches!(self, Self::OfferPartnerRole | Self::AssignClientRole | Self::ReplacePartner | Self::TransferOwnership)
    }
}

impl Command {
    /// Which command this is.
    #[must_use]
    pub const fn name(&self) -> CommandName {
        match self {
            Self::RequestPartnerRole { .. } => CommandName::RequestPartnerRole,
            Self::IssueSiteCode => CommandName::IssueSiteCode,
            Self::OfferPartnerRole { .. } => CommandName::OfferPartnerRole,
            Self::AssignClientRole { .. } => CommandName::AssignClientRole,
            Self::ReplacePartner { .. } => CommandName::ReplacePartner,
            Self::TransferOwnership { .. } => CommandName::TransferOwnership,
            Self::AcceptHandover { .. } => CommandName::AcceptHandover,
            Self::DeclineHandover { .. } => CommandName::DeclineHandover,
            Self::CancelHandover { .. } => CommandName::CancelHandover,
            Self::ExpireHandover { .. } => CommandName::ExpireHandover,
            Self::RemindHandover { .. } => CommandName::RemindHandover,
            Self::ReclaimSite { .. } => CommandName::ReclaimSite,
            Self::WithdrawReclaim => CommandName::WithdrawReclaim,
            Self::ReleaseSite => CommandName::ReleaseSite,
            Self::ReturnEffective => CommandName::ReturnEffective,
            Self::ResignAsPartner => CommandName::ResignAsPartner,
            Self::RescuePlan => CommandName::RescuePlan,
            Self::ReportPlan { .. } => CommandName::ReportPlan,
            Self::LapsePlan => CommandName::LapsePlan,
            Self::FollowAgency => CommandName::FollowAgency,
            Self::OpenDispute { .. } => CommandName::OpenDispute,
            Self::CloseDispute => CommandName::CloseDispute,
            Self::FreezeSite(_) => CommandName::FreezeSite,
            Self::UnfreezeSite(_) => CommandName::UnfreezeSite,
            Self::EndFreeze => CommandName::EndFreeze,
            Self::OpenCustody(_) => CommandName::OpenCustody,
            Self::RecordSuccessor { .. } => CommandName::RecordSuccessor,
            Self::TrashSite { .. } => CommandName::TrashSite,
            Self::RestoreSite => CommandName::RestoreSite,
            Self::PurgeSite => CommandName::PurgeSite,
            Self::EmptyTrash => CommandName::EmptyTrash,
            Self::GrantRole { .. } => CommandName::GrantRole,
            Self::ChangeRole { .. } => CommandName::ChangeRole,
            Self::RevokeRole { .. } => CommandName::RevokeRole,
            Self::LeaveSite => CommandName::LeaveSite,
            Self::GrantAgencyAccess { .. } => CommandName::GrantAgencyAccess,
            Self::RevokeAgencyAccess { .. } => CommandName::RevokeAgencyAccess,
            Self::BlockAgencyMember { .. } => CommandName::BlockAgencyMember,
            Self::UnblockAgencyMember { .. } => CommandName::UnblockAgencyMember,
            Self::ConfirmPartnerAction { .. } => CommandName::ConfirmPartnerAction,
            Self::SpendConfirmation { .. } => CommandName::SpendConfirmation,
            Self::GrantSupportSession { .. } => CommandName::GrantSupportSession,
            Self::EndSupportSession { .. } => CommandName::EndSupportSession,
        }
    }
    /// The handover that the command names.
    #[must_use]
    pub const fn handover(&self) -> Option<&HandoverId> {
        if let Self::AcceptHandover { handover, .. }
        | Self::DeclineHandover { handover }
        | Self::CancelHandover { handover }
        | Self::ExpireHandover { handover }
        | Self::RemindHandover { handover } = self
        {
            Some(handover)
        } else {
            None
        }
    }
    /// The agency that the command names.
    #[must_use]
    pub const fn agency(&self) -> Option<&AgencyId> {
        if let Self::OfferPartnerRole { to } | Self::ReplacePartner { to } = self {
            Some(to)
        } else if let Self::RequestPartnerRole { agency, .. } = self {
            agency.as_ref()
        } else {
            None
        }
    }
    /// The act that a client's confirmation must name for a partner to do this: what is granted names itself.
    #[must_use]
    pub fn operation(&self) -> Option<SmolStr> {
        if let Self::TrashSite { operation } = self {
            operation.clone()
        } else if let Self::GrantRole { user, role } | Self::ChangeRole { user, role } = self {
            Some(smol_str::format_smolstr!("{user}:{role}"))
        } else {
            None
        }
    }
    /// Trust and safety's case.
    #[must_use]
    pub const fn case(&self) -> Option<&Case> {
        if let Self::FreezeSite(case)
        | Self::UnfreezeSite(case)
        | Self::OpenCustody(case)
        | Self::RecordSuccessor { case, .. } = self
        {
            Some(case)
        } else {
            None
        }
    }
    /// The members of staff that the command names.
    pub fn staff(&self) -> impl Iterator<Item = &StaffId> {
        let agent = if let Self::GrantSupportSession { agent, .. } | Self::EndSupportSession { agent } = self {
            Some(agent)
        } else {
            None
        };
        agent.into_iter().chain(self.case().and_then(|case| case.approver.as_ref()))
    }
}

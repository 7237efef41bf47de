//! What can be asked of a site: the commands of the transition endpoint and of the timers.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::ids::{AgencyId, HandoverId, UserId};

/// One command with its fields, already well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// T2: the owner offers an agency the Partner seat.
    OfferPartnerRole {
        /// The agency.
        to: AgencyId,
    },
    /// T7: the building agency offers its client the Client seat.
    AssignClientRole {
        /// The client.
        to: UserId,
    },
    /// T3, T8: the named party says yes.
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
}

/// A command's name, as the API writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "explained at `Command`")]
pub enum CommandName {
    OfferPartnerRole,
    AssignClientRole,
    AcceptHandover,
    DeclineHandover,
    CancelHandover,
    ExpireHandover,
    ReclaimSite,
    WithdrawReclaim,
    ReleaseSite,
    ReturnEffective,
    ResignAsPartner,
    GrantRole,
    ChangeRole,
    RevokeRole,
    LeaveSite,
}

impl CommandName {
    /// Every command, in the order of the domain's tables.
    pub const ALL: [Self; 15] = [
        Self::OfferPartnerRole,
        Self::AssignClientRole,
        Self::AcceptHandover,
        Self::DeclineHandover,
        Self::CancelHandover,
        Self::ExpireHandover,
        Self::ReclaimSite,
        Self::WithdrawReclaim,
        Self::ReleaseSite,
        Self::ReturnEffective,
        Self::ResignAsPartner,
        Self::GrantRole,
        Self::ChangeRole,
        Self::RevokeRole,
        Self::LeaveSite,
    ];
    /// The name on the wire.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::OfferPartnerRole => "offer_partner_role",
            Self::AssignClientRole => "assign_client_role",
            Self::AcceptHandover => "accept_handover",
            Self::DeclineHandover => "decline_handover",
            Self::CancelHandover => "cancel_handover",
            Self::ExpireHandover => "expire_handover",
            Self::ReclaimSite => "reclaim_site",
            Self::WithdrawReclaim => "withdraw_reclaim",
            Self::ReleaseSite => "release_site",
            Self::ReturnEffective => "return_effective",
            Self::ResignAsPartner => "resign_as_partner",
            Self::GrantRole => "grant_role",
            Self::ChangeRole => "change_role",
            Self::RevokeRole => "revoke_role",
            Self::LeaveSite => "leave_site",
        }
    }
    /// The catalogue action that authorizes the command; none for what only time does.
    #[must_use]
    pub const fn action(self) -> Option<&'static str> {
        match self {
            Self::OfferPartnerRole => Some("OfferPartnerRole"),
            Self::AssignClientRole => Some("AssignClientRole"),
            Self::AcceptHandover => Some("AcceptHandover"),
            Self::DeclineHandover => Some("DeclineHandover"),
            Self::CancelHandover => Some("CancelHandover"),
            Self::ReclaimSite => Some("ReclaimSite"),
            Self::WithdrawReclaim => Some("WithdrawReclaim"),
            Self::ReleaseSite => Some("ReleaseSite"),
            Self::ResignAsPartner => Some("ResignAsPartner"),
            Self::GrantRole => Some("InviteContributor"),
            Self::ChangeRole => Some("ChangeContributorRole"),
            Self::RevokeRole => Some("RemoveContributor"),
            Self::LeaveSite => Some("LeaveSite"),
            Self::ExpireHandover | Self::ReturnEffective => None,
        }
    }
}

impl Command {
    /// Which command this is.
    #[must_use]
    pub const fn name(&self) -> CommandName {
        match self {
            Self::OfferPartnerRole { .. } => CommandName::OfferPartnerRole,
            Self::AssignClientRole { .. } => CommandName::AssignClientRole,
            Self::AcceptHandover { .. } => CommandName::AcceptHandover,
            Self::DeclineHandover { .. } => CommandName::DeclineHandover,
            Self::CancelHandover { .. } => CommandName::CancelHandover,
            Self::ExpireHandover { .. } => CommandName::ExpireHandover,
            Self::ReclaimSite { .. } => CommandName::ReclaimSite,
            Self::WithdrawReclaim => CommandName::WithdrawReclaim,
            Self::ReleaseSite => CommandName::ReleaseSite,
            Self::ReturnEffective => CommandName::ReturnEffective,
            Self::ResignAsPartner => CommandName::ResignAsPartner,
            Self::GrantRole { .. } => CommandName::GrantRole,
            Self::ChangeRole { .. } => CommandName::ChangeRole,
            Self::RevokeRole { .. } => CommandName::RevokeRole,
            Self::LeaveSite => CommandName::LeaveSite,
        }
    }
    /// The handover that the command names.
    #[must_use]
    pub const fn handover(&self) -> Option<&HandoverId> {
        match self {
            Self::AcceptHandover { handover, .. }
            | Self::DeclineHandover { handover }
            | Self::CancelHandover { handover }
            | Self::ExpireHandover { handover } => Some(handover),
            Self::OfferPartnerRole { .. }
            | Self::AssignClientRole { .. }
            | Self::ReclaimSite { .. }
            | Self::WithdrawReclaim
            | Self::ReleaseSite
            | Self::ReturnEffective
            | Self::ResignAsPartner
            | Self::GrantRole { .. }
            | Self::ChangeRole { .. }
            | Self::RevokeRole { .. }
            | Self::LeaveSite => None,
        }
    }
}

//! Which texts are there, and who reads them? Flows and audiences, as data without words.
//!
//! Every flow lists its audiences, and `tests/explanations.rs` renders every pair. A text for an audience that a flow
//! does not have lost: an explanation without sections would have a digest, and somebody could consent to nothing.

use serde::{Deserialize, Serialize};

use crate::{handover::HandoverKind, ids::Account};

/// What is about to happen, or just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// A client lets an agency run the site.
    PartnerHandover,
    /// An agency gives a site it built to its client and stays partner.
    ClientAssignment,
    /// The site goes from one partner to another.
    Replacement,
    /// The client takes the site back.
    Reclaim,
    /// The site is back.
    Returned,
    /// The partner leaves.
    Resign,
    /// A payment of the partner's failed.
    PastDue,
    /// Nobody paid in time: the site is a free one now.
    Lapsed,
    /// The client takes the unpaid plan over with their own card.
    Rescue,
    /// Client and partner do not agree, and tell trust and safety.
    Dispute,
    /// Trust and safety froze the site.
    Freeze,
    /// An owner gives everything away.
    OwnershipTransfer,
    /// An agency asks an owner to let it run the site.
    PartnerRequest,
    /// An owner invites somebody of an agency as a person, and probably means the agency.
    Nudge,
    /// While a site is in custody, the legal successor of its owner is offered what the owner had.
    Succession,
    /// The owner cannot act for good, and a successor is looked for.
    Custody,
    /// The platform suspended the agency.
    AgencySuspended,
    /// The agency is closing.
    AgencyDissolving,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The client, present or to be.
    Client,
    /// The partner, present or to be.
    Partner,
    /// The partner whom another one follows.
    OldPartner,
    /// The partner who follows.
    NewPartner,
    /// The owner who gives everything away.
    Owner,
    /// Whoever gets everything.
    Recipient,
    /// A person with a role on the client's side.
    Contributor,
}

impl Flow {
    /// Every flow.
    pub const ALL: [Self; 18] = [
        Self::PartnerHandover,
        Self::ClientAssignment,
        Self::Replacement,
        Self::Reclaim,
        Self::Returned,
        Self::Resign,
        Self::PastDue,
        Self::Lapsed,
        Self::Rescue,
        Self::Dispute,
        Self::Freeze,
        Self::OwnershipTransfer,
        Self::PartnerRequest,
        Self::Nudge,
        Self::Succession,
        Self::Custody,
        Self::AgencySuspended,
        Self::AgencyDissolving,
    ];

    /// The flow of a handover. Every kind has one.
    #[must_use]
    pub const fn of(kind: HandoverKind) -> Option<Self> {
        Some(match kind {
            HandoverKind::PartnerHandover => Self::PartnerHandover,
            HandoverKind::ClientAssignment => Self::ClientAssignment,
            HandoverKind::PartnerReplacement => Self::Replacement,
            HandoverKind::OwnershipTransfer => Self::OwnershipTransfer,
        })
    }
    /// Who has a text in this flow; the first is told first.
    #[must_use]
    pub const fn audiences(self) -> &'static [Audience] {
        match self {
            Self::Replacement => &[Audience::Client, Audience::OldPartner, Audience::NewPartner],
            Self::OwnershipTransfer => &[Audience::Owner, Audience::Recipient],
            Self::Succession => &[Audience::Recipient, Audience::Partner],
            Self::Nudge => &[Audience::Client],
            Self::Custody => &[Audience::Contributor, Audience::Partner],
            Self::PartnerHandover
            | Self::ClientAssignment
            | Self::Reclaim
            | Self::Returned
            | Self::Resign
            | Self::PastDue
            | Self::Lapsed
            | Self::Rescue
            | Self::Dispute
            | Self::Freeze
            | Self::PartnerRequest
            | Self::AgencySuspended
            | Self::AgencyDissolving => &[Audience::Client, Audience::Partner],
        }
    }
    /// Who starts it, and reads the preview. Where either side may start ([`Flow::Replacement`], [`Flow::Dispute`]) it
    /// is the client; for the account that acts, ask [`Flow::audience_of`]. What happens by itself is told to this one
    /// first.
    #[must_use]
    pub const fn starter(self) -> Audience {
        match self {
            Self::ClientAssignment | Self::Resign | Self::PartnerRequest => Audience::Partner,
            Self::OwnershipTransfer => Audience::Owner,
            Self::Succession => Audience::Recipient,
            Self::Custody => Audience::Contributor,
            Self::PartnerHandover
            | Self::Replacement
            | Self::Reclaim
            | Self::Returned
            | Self::PastDue
            | Self::Lapsed
            | Self::Rescue
            | Self::Dispute
            | Self::Freeze
            | Self::Nudge
            | Self::AgencySuspended
            | Self::AgencyDissolving => Audience::Client,
        }
    }
    /// Whose seat is offered, and who says yes after reading; none where nobody is asked. In a replacement the client or
    /// the old partner may have to say yes too: [`Flow::audience_of`].
    #[must_use]
    pub const fn acceptor(self) -> Option<Audience> {
        match self {
            Self::PartnerHandover => Some(Audience::Partner),
            Self::ClientAssignment => Some(Audience::Client),
            Self::Replacement => Some(Audience::NewPartner),
            Self::OwnershipTransfer | Self::Succession => Some(Audience::Recipient),
            Self::Reclaim
            | Self::Returned
            | Self::Resign
            | Self::PastDue
            | Self::Lapsed
            | Self::Rescue
            | Self::Dispute
            | Self::Freeze
            | Self::PartnerRequest
            | Self::Nudge
            | Self::Custody
            | Self::AgencySuspended
            | Self::AgencyDissolving => None,
        }
    }
    /// Which text a party reads: `to` is the account that the offer is made to, none where nothing is offered.
    #[must_use]
    pub fn audience_of(self, account: &Account, to: Option<&Account>) -> Option<Audience> {
        match self.acceptor() {
            Some(acceptor) if Some(account) == to => Some(acceptor),
            _ if self == Self::OwnershipTransfer => Some(Audience::Owner),
            _ => self.reader(match account {
                Account::User(_) => Audience::Client,
                Account::Agency(_) => Audience::Partner,
            }),
        }
    }
    /// The audience of this flow that is meant by a word that fits several flows: an agency that is offered a site is
    /// its partner to be and its new partner alike. None where this flow has no text for such a reader.
    #[must_use]
    pub fn reader(self, asked: Audience) -> Option<Audience> {
        let also = match (self, asked) {
            (Self::PartnerHandover, Audience::NewPartner) => Audience::Partner,
            (Self::PartnerHandover | Self::PartnerRequest | Self::Nudge, Audience::Owner)
            | (Self::ClientAssignment, Audience::Recipient) => Audience::Client,
            (Self::Replacement, Audience::Partner) => Audience::OldPartner,
            (Self::Custody, Audience::Client) => Audience::Contributor,
            _ => asked,
        };
        self.audiences().contains(&also).then_some(also)
    }
    /// Where its texts stand in the catalogue: the key starts with this and the audience's.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::PartnerHandover => "handover.partner",
            Self::ClientAssignment => "handover.client",
            Self::Replacement => "handover.replace",
            Self::Reclaim => "reclaim",
            Self::Returned => "reclaim.done",
            Self::Resign => "resign",
            Self::PastDue => "lapse",
            Self::Lapsed => "lapse.done",
            Self::Rescue => "rescue",
            Self::Dispute => "dispute",
            Self::Freeze => "freeze",
            Self::OwnershipTransfer => "transfer",
            Self::PartnerRequest => "request",
            Self::Nudge => "invite.nudge",
            Self::Succession => "succession",
            Self::Custody => "custody",
            Self::AgencySuspended => "suspended",
            Self::AgencyDissolving => "dissolving",
        }
    }
}

impl Audience {
    /// Every audience.
    pub const ALL: [Self; 7] = [
        Self::Client,
        Self::Partner,
        Self::OldPartner,
        Self::NewPartner,
        Self::Owner,
        Self::Recipient,
        Self::Contributor,
    ];
    /// The name on the wire.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Partner => "partner",
            Self::OldPartner => "old_partner",
            Self::NewPartner => "new_partner",
            Self::Owner => "owner",
            Self::Recipient => "recipient",
            Self::Contributor => "contributor",
        }
    }
    /// The audience of a name on the wire.
    #[must_use]
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|audience| audience.wire_name() == name)
    }
    /// The audience's part of a key.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::OldPartner => "old",
            Self::NewPartner => "new",
            Self::Client | Self::Partner | Self::Owner | Self::Recipient | Self::Contributor => self.wire_name(),
        }
    }
}

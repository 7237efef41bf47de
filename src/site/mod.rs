//! What is true of a site? Its mode and seats, plan, flags, deadlines, and who was given what on it.
//!
//! This is the record that commands change and the store keeps; decisions read a compact copy of it
//! (`assignment`). Everything here is a stored fact or an absolute deadline: nothing depends on the time of reading.
//!
//! Invariants I1 to I4 of the domain hold by construction: who owns the content, who pays and which seats exist
//! follow from one value, [`Seats`], so that no code path can leave a site with a partner but no client, or with two
//! payers. Five independent columns lost, because every one of them could be forgotten.

mod deadline;
mod document;
mod plan;
mod view;

pub use deadline::next_deadline;
pub use document::{DocumentError, SiteDocument};
pub use plan::{Plan, PlanStatus, Tier};
pub use view::{HandoverView, ReturnView, SiteView};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    handover::{Blocker, Handover},
    ids::{Account, AgencyId, HandoverId, SiteId, StaffId, UserId},
    revision::Revision,
    time::Timestamp,
};

/// The authorization root: a website and everything that bears on who may do what on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Chosen by the platform; never reused, not even after a purge.
    pub id: SiteId,
    /// The global revision of the last change committed to this site.
    pub revision: Revision,
    /// Mode, seats, content owner and plan holder in one value.
    pub seats: Seats,
    /// The host plan. A free site has one too.
    pub plan: Plan,
    /// Whether visitors can see the site; reported by the platform.
    pub published: bool,
    /// Domains connected to the site, with the account that holds each.
    pub domains: Vec<Domain>,
    /// Since when the site is in the trash.
    pub trashed_at: Option<Timestamp>,
    /// When time deletes a site in the trash; counts only while it has an owner.
    pub purge_at: Option<Timestamp>,
    /// A freeze by trust and safety.
    pub frozen: Option<Freeze>,
    /// A dispute between client and partner.
    pub dispute: Option<Dispute>,
    /// Trust and safety's case, while the owner cannot act for good and a successor is looked for.
    pub custody: Option<SmolStr>,
    /// The one-time code with which an agency may ask for the Partner role.
    pub site_code: Option<SiteCode>,
    /// What the platform reports to stand in the way of an offer.
    pub reported: BTreeSet<Blocker>,
    /// The open offer, at most one.
    pub open_handover: Option<Handover>,
    /// People with a role on this site, one row each. Seats are not here.
    pub contributors: BTreeMap<UserId, Contributor>,
    /// What single members of the seated agency may do here.
    pub grants: BTreeMap<UserId, AgencyGrant>,
    /// Agency members whom the client keeps out.
    pub blocked: BTreeSet<UserId>,
    /// The client's consents to single acts of the partner.
    pub confirmations: Vec<Confirmation>,
    /// Support sessions that a seat consented to.
    pub sessions: Vec<SupportSession>,
}

/// Who holds which seat. The content owner and the plan holder follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seats {
    /// A person runs and pays for their own site.
    SelfManaged {
        /// Owner, content owner and plan holder.
        owner: UserId,
    },
    /// An agency built the site and has not handed it to a client yet.
    PartnerBuilt {
        /// Owner, content owner and plan holder.
        owner: AgencyId,
    },
    /// A client owns the content, a partner runs the site and pays for it.
    PartnerManaged(Box<Engagement>),
    /// The site is gone; its identifier stays taken.
    Purged,
}

/// The mode's name, as policies, API and documents write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "explained at `Seats`")]
pub enum Mode {
    SelfManaged,
    PartnerBuilt,
    PartnerManaged,
    Purged,
}

impl Mode {
    /// The name in the Cedar schema's `Mode` enumeration.
    #[must_use]
    pub const fn policy_name(self) -> &'static str {
        match self {
            Self::SelfManaged => "SelfManaged",
            Self::PartnerBuilt => "PartnerBuilt",
            Self::PartnerManaged => "PartnerManaged",
            Self::Purged => "Purged",
        }
    }
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::SelfManaged => "self_managed",
            Self::PartnerBuilt => "partner_built",
            Self::PartnerManaged => "partner_managed",
            Self::Purged => "purged",
        }
    }
}

impl Seats {
    /// The mode these seats make.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self {
            Self::SelfManaged { .. } => Mode::SelfManaged,
            Self::PartnerBuilt { .. } => Mode::PartnerBuilt,
            Self::PartnerManaged(_) => Mode::PartnerManaged,
            Self::Purged => Mode::Purged,
        }
    }
    /// Whose content the site is; nobody's once purged.
    #[must_use]
    pub fn content_owner(&self) -> Option<Account> {
        match self {
            Self::SelfManaged { owner } => Some(owner.clone().into()),
            Self::PartnerBuilt { owner } => Some(owner.clone().into()),
            Self::PartnerManaged(engagement) => Some(engagement.client.clone().into()),
            Self::Purged => None,
        }
    }
    /// Who pays for the host plan and answers for it.
    #[must_use]
    pub fn plan_holder(&self) -> Option<Account> {
        match self {
            Self::SelfManaged { owner } => Some(owner.clone().into()),
            Self::PartnerBuilt { owner } => Some(owner.clone().into()),
            Self::PartnerManaged(engagement) => Some(engagement.partner.clone().into()),
            Self::Purged => None,
        }
    }
    /// The Owner seat's account, when there is one.
    #[must_use]
    pub fn owner(&self) -> Option<Account> {
        match self {
            Self::SelfManaged { owner } => Some(owner.clone().into()),
            Self::PartnerBuilt { owner } => Some(owner.clone().into()),
            Self::PartnerManaged(_) | Self::Purged => None,
        }
    }
    /// The agency that holds the Owner or the Partner seat.
    #[must_use]
    pub fn agency(&self) -> Option<&AgencyId> {
        match self {
            Self::PartnerBuilt { owner } => Some(owner),
            Self::PartnerManaged(engagement) => Some(&engagement.partner),
            Self::SelfManaged { .. } | Self::Purged => None,
        }
    }
    /// The engagement of a partner-managed site.
    #[must_use]
    pub fn engagement(&self) -> Option<&Engagement> {
        match self {
            Self::PartnerManaged(engagement) => Some(engagement),
            Self::SelfManaged { .. } | Self::PartnerBuilt { .. } | Self::Purged => None,
        }
    }
}

/// A client and a partner on one site. It exists exactly while the site is partner-managed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engagement {
    /// Co-owner in charge: holds the title and may end the engagement at any time.
    pub client: UserId,
    /// Runs the site, pays for the host plan.
    pub partner: AgencyId,
    /// When the partner was seated.
    pub since: Timestamp,
    /// Until then either side undoes the handover at once.
    pub settling_until: Timestamp,
    /// The handover that seated the partner; none for a site that was imported as it stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverId>,
    /// The host plan as it was before, to which an undo while settling goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_before: Option<Plan>,
    /// A freeze was used; there is one in each engagement.
    #[serde(default)]
    pub freeze_used: bool,
    /// The site is on its way back to the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_pending: Option<ReturnPending>,
}

/// Why and when a site goes back to its client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnPending {
    /// What started it.
    pub reason: ReturnReason,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When every partner-side right has ended, whether a worker has committed the return or not.
    pub effective_at: Timestamp,
    /// The client stopped all partner writes at once.
    #[serde(default)]
    pub locked: bool,
    /// Partner-side people whom the client keeps.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keep: BTreeSet<UserId>,
}

/// What started a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReturnReason {
    /// The client asked for the site back.
    Reclaim,
    /// The partner resigned.
    Resign,
    /// Trust and safety suspended the agency.
    AgencySuspended,
    /// The agency is dissolving.
    AgencyDissolved,
    /// The host plan lapsed.
    PlanLapsed,
}

/// A connected domain. Its holder decides about it, whoever pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// The domain's name, for example `bakery.example`.
    pub name: String,
    /// The registrant account.
    #[schema(value_type = String)]
    pub holder: Account,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn unknown(at: &Timestamp) -> bool {
    *at == Timestamp::default()
}

/// A freeze: nobody writes until it ends, by itself at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// When it began; the beginning of time where nobody knows.
    #[serde(default, skip_serializing_if = "unknown")]
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Trust and safety's case.
    pub case: SmolStr,
}

/// A dispute between the two sides: it keeps new offers away until it is closed or runs out, and nothing else. Only
/// trust and safety freezes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// The seat that opened it.
    pub opened_by: Account,
    /// A reason code of the platform's, for example `unpaid_work`. No free text: it is shown to the other side.
    pub reason: SmolStr,
    /// When it was opened.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// A site's one-time code, of which only the digest is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteCode {
    /// SHA-256 of the code, in lower-case hex.
    pub digest: SmolStr,
    /// When it stops working unused.
    pub expires_at: Timestamp,
}

/// A person's role on one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contributor {
    /// A person-level role of the schema, for example `WebsiteManager`. Never a seat.
    pub role: SmolStr,
    /// The account of the seat through which it was granted, or the granting person.
    pub grantor: Account,
    /// Whose side the person is on; inherited from the grantor.
    pub side: Side,
    /// The revision that granted or last changed it.
    #[serde(default)]
    pub revision: Revision,
}

/// The two sides of an engagement. Before there is one, a person's site is the client's and an agency's the partner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Side {
    Client,
    Partner,
}

/// What one member of the seated agency may do on this site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgencyGrant {
    /// Which part of the work.
    pub template: Template,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The parts of a partner's work that an agency delegates as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// Site, content, blog, marketing and apps.
    Builder,
    /// Commerce and the customers' data.
    Commerce,
    /// Everything that can be delegated.
    Manager,
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 3] = [Self::Builder, Self::Commerce, Self::Manager];
    /// The role that a holder of this template has in policies.
    #[must_use]
    pub const fn role(self) -> &'static str {
        match self {
            Self::Builder => "AgencyBuilder",
            Self::Commerce => "AgencyCommerce",
            Self::Manager => "AgencyManager",
        }
    }
}

/// The client's consent to one act of the partner: live until it is spent or expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// A catalogue action, for example `RefundOrder`.
    pub action: SmolStr,
    /// Which act of that action, named by the calling service.
    pub operation: SmolStr,
    /// When it lapses unspent.
    pub expires_at: Timestamp,
}

/// A timed, consented, read-only session of platform support.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportSession {
    /// The support agent.
    pub agent: StaffId,
    /// The seat that consented.
    pub granted_by: Account,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl Site {
    /// A site as it is registered: nobody but its owner has access.
    #[must_use]
    pub fn registered(id: SiteId, seats: Seats, plan: Plan, published: bool, domains: Vec<Domain>) -> Self {
        Self {
            id,
            revision: Revision(0),
            seats,
            plan,
            published,
            domains,
            trashed_at: None,
            purge_at: None,
            frozen: None,
            dispute: None,
            custody: None,
            site_code: None,
            reported: BTreeSet::new(),
            open_handover: None,
            contributors: BTreeMap::new(),
            grants: BTreeMap::new(),
            blocked: BTreeSet::new(),
            confirmations: Vec::new(),
            sessions: Vec::new(),
        }
    }
    /// The pending return, if the site is on its way back.
    #[must_use]
    pub fn return_pending(&self) -> Option<&ReturnPending> {
        self.seats.engagement().and_then(|engagement| engagement.return_pending.as_ref())
    }
    /// Which side a person stands on who is granted a role through the given seat account.
    #[must_use]
    pub fn side_of(&self, seat: &Account) -> Side {
        match seat {
            Account::User(_) => Side::Client,
            Account::Agency(_) => Side::Partner,
        }
    }
}

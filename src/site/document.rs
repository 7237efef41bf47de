//! A site as one JSON document: the format of import, export and policy fixtures.
//!
//! It has the shape of `GET /v1/sites/{site}` plus the people, so that what a platform reads it can also write. Facts
//! that follow from others (`content_owner`, `plan_holder`) are optional on the way in and must agree when given.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    AgencyGrant, Confirmation, Contributor, Dispute, Domain, Engagement, Freeze, Mode, Plan, ReturnPending, Seats,
    Site, SiteCode, SupportSession,
};
use crate::{
    handover::{Blocker, Handover},
    ids::{Account, AgencyId, HandoverId, SiteId, UserId},
    time::Timestamp,
};

/// A site with everything on it, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteDocument {
    /// The site's id.
    pub id: SiteId,
    /// Its mode; the fields below must fit it.
    pub mode: Mode,
    /// The Owner seat, in `self_managed` and `partner_built`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Account>,
    /// The Client seat, in `partner_managed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<UserId>,
    /// The Partner seat, in `partner_managed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<AgencyId>,
    /// When the partner was seated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when either side undoes the handover at once; absent: settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling_until: Option<Timestamp>,
    /// The handover that seated the partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverId>,
    /// The host plan before the partner was seated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_before: Option<Plan>,
    /// A freeze was used in this engagement.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freeze_used: bool,
    /// The site is on its way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_pending: Option<ReturnPending>,
    /// The host plan.
    pub plan: Plan,
    /// Whether visitors can see the site.
    #[serde(default)]
    pub published: bool,
    /// Connected domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Domain>,
    /// Since when the site is in the trash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trashed_at: Option<Timestamp>,
    /// When time deletes it from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<Timestamp>,
    /// A freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Freeze>,
    /// A dispute between the two sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<Dispute>,
    /// The case under which a successor of the owner is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<SmolStr>,
    /// The digest of the site's one-time code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_code: Option<SiteCode>,
    /// What the platform reports to stand in the way of an offer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reported: BTreeSet<Blocker>,
    /// The open offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_handover: Option<Handover>,
    /// People with a role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contributors: BTreeMap<UserId, Contributor>,
    /// Agency members' grants.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<UserId, AgencyGrant>,
    /// Agency members kept out by the client.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blocked: BTreeSet<UserId>,
    /// Live confirmations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirmations: Vec<Confirmation>,
    /// Support sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SupportSession>,
}

/// Why a document is not a site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// A field that the mode needs is absent.
    #[error("a site in mode `{mode}` needs `{field}`")]
    Missing {
        /// The mode given.
        mode: &'static str,
        /// The absent field.
        field: &'static str,
    },
    /// A field contradicts the mode.
    #[error("a site in mode `{mode}` cannot have `{field}`")]
    Unfit {
        /// The mode given.
        mode: &'static str,
        /// The field too many.
        field: &'static str,
    },
    /// The owner is of the wrong kind.
    #[error("a site in mode `{mode}` is owned by {expected}, not by `{given}`")]
    OwnerKind {
        /// The mode given.
        mode: &'static str,
        /// What would do.
        expected: &'static str,
        /// As given.
        given: Account,
    },
    /// The open handover belongs elsewhere or has ended.
    #[error("`open_handover` must be of this site and have the status `requested` or `open`")]
    Handover,
}

impl TryFrom<SiteDocument> for Site {
    type Error = DocumentError;

    fn try_from(document: SiteDocument) -> Result<Self, DocumentError> {
        let mode = document.mode.wire_name();
        let missing = |field| DocumentError::Missing { mode, field };
        let engaged = [
            ("client", document.client.is_some()),
            ("partner", document.partner.is_some()),
            ("settling_until", document.settling_until.is_some()),
            ("return_pending", document.return_pending.is_some()),
        ];
        let unfit = |fields: &[(&'static str, bool)]| match fields.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(DocumentError::Unfit { mode, field }),
            None => Ok(()),
        };
        let seats = match document.mode {
            Mode::SelfManaged => {
                unfit(&engaged)?;
                match document.owner.clone().ok_or_else(|| missing("owner"))? {
                    Account::User(owner) => Seats::SelfManaged { owner },
                    given @ Account::Agency(_) => {
                        return Err(DocumentError::OwnerKind { mode, expected: "a person, `user:ID`", given });
                    }
                }
            }
            Mode::PartnerBuilt => {
                unfit(&engaged)?;
                match document.owner.clone().ok_or_else(|| missing("owner"))? {
                    Account::Agency(owner) => Seats::PartnerBuilt { owner },
                    given @ Account::User(_) => {
                        return Err(DocumentError::OwnerKind { mode, expected: "an agency, `agency:ID`", given });
                    }
                }
            }
            Mode::PartnerManaged => {
                unfit(&[("owner", document.owner.is_some())])?;
                let since = document.since.unwrap_or_default();
                Seats::PartnerManaged(Box::new(Engagement {
                    client: document.client.clone().ok_or_else(|| missing("client"))?,
                    partner: document.partner.clone().ok_or_else(|| missing("partner"))?,
                    since,
                    settling_until: document.settling_until.unwrap_or(since),
                    handover: document.handover.clone(),
                    plan_before: document.plan_before.clone(),
                    freeze_used: document.freeze_used,
                    return_pending: document.return_pending.clone(),
                }))
            }
            Mode::Purged => {
                unfit(&engaged)?;
                unfit(&[("owner", document.owner.is_some()), ("contributors", !document.contributors.is_empty())])?;
                Seats::Purged
            }
        };
        if document.open_handover.as_ref().is_some_and(|h| h.site != document.id || !h.status.is_live()) {
            return Err(DocumentError::Handover);
        }
        let mut site = Site::registered(document.id, seats, document.plan, document.published, document.domains);
        site.trashed_at = document.trashed_at;
        site.purge_at = document.purge_at;
        site.frozen = document.frozen;
        site.dispute = document.dispute;
        site.custody = document.custody;
        site.site_code = document.site_code;
        site.reported = document.reported;
        site.open_handover = document.open_handover;
        site.contributors = document.contributors;
        site.grants = document.grants;
        site.blocked = document.blocked;
        site.confirmations = document.confirmations;
        site.sessions = document.sessions;
        Ok(site)
    }
}

impl From<&Site> for SiteDocument {
    fn from(site: &Site) -> Self {
        let engagement = site.seats.engagement();
        Self {
            id: site.id.clone(),
            mode: site.seats.mode(),
            owner: site.seats.owner(),
            client: engagement.map(|e| e.client.clone()),
            partner: engagement.map(|e| e.partner.clone()),
            since: engagement.map(|e| e.since),
            settling_until: engagement.map(|e| e.settling_until),
            handover: engagement.and_then(|e| e.handover.clone()),
            plan_before: engagement.and_then(|e| e.plan_before.clone()),
            freeze_used: engagement.is_some_and(|e| e.freeze_used),
            return_pending: engagement.and_then(|e| e.return_pending.clone()),
            plan: site.plan.clone(),
            published: site.published,
            domains: site.domains.clone(),
            trashed_at: site.trashed_at,
            purge_at: site.purge_at,
            frozen: site.frozen.clone(),
            dispute: site.dispute.clone(),
            custody: site.custody.clone(),
            site_code: site.site_code.clone(),
            reported: site.reported.clone(),
            open_handover: site.open_handover.clone(),
            contributors: site.contributors.clone(),
            grants: site.grants.clone(),
            blocked: site.blocked.clone(),
            confirmations: site.confirmations.clone(),
            sessions: site.sessions.clone(),
        }
    }
}

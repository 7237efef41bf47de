//! A site and a handover as `GET` shows them: stored facts and deadlines, nothing that depends on the time of reading.

use serde::Serialize;

use super::{Domain, Mode, Plan, ReturnReason, Site};
use crate::{
    handover::{Blocker, Handover, HandoverKind, HandoverStatus, Terms},
    ids::{Account, AgencyId, HandoverId, SiteId, UserId},
    revision::Revision,
    time::Timestamp,
};

/// `GET /v1/sites/{site}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SiteView {
    #[schema(value_type = String)]
    id: SiteId,
    #[schema(value_type = String)]
    mode: Mode,
    #[schema(value_type = Option<String>)]
    content_owner: Option<Account>,
    #[schema(value_type = Option<String>)]
    plan_holder: Option<Account>,
    seats: SeatsView,
    plan: Plan,
    published: bool,
    domains: Vec<Domain>,
    trashed: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    frozen_until: Option<Timestamp>,
    dispute: Option<DisputeView>,
    custody: bool,
    #[schema(value_type = Vec<String>)]
    blockers: Vec<Blocker>,
    #[schema(value_type = Option<String>, format = DateTime)]
    settling_until: Option<Timestamp>,
    return_pending: Option<ReturnView>,
    #[schema(value_type = Option<String>)]
    open_handover: Option<HandoverId>,
    #[schema(value_type = u64)]
    revision: Revision,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct SeatsView {
    #[schema(value_type = Option<String>)]
    owner: Option<Account>,
    #[schema(value_type = Option<String>)]
    client: Option<Account>,
    #[schema(value_type = Option<String>)]
    partner: Option<Account>,
}

/// Why and when a site goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReturnView {
    #[schema(value_type = String)]
    reason: ReturnReason,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    effective_at: Timestamp,
    locked: bool,
    #[schema(value_type = Vec<String>)]
    keep: Vec<UserId>,
}

/// A dispute: who opened it, why, and when it ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DisputeView {
    #[schema(value_type = String)]
    opened_by: Account,
    reason: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

impl From<&Site> for SiteView {
    fn from(site: &Site) -> Self {
        let engagement = site.seats.engagement();
        Self {
            id: site.id.clone(),
            mode: site.seats.mode(),
            content_owner: site.seats.content_owner(),
            plan_holder: site.seats.plan_holder(),
            seats: SeatsView {
                owner: site.seats.owner(),
                client: engagement.map(|e| e.client.clone().into()),
                partner: engagement.map(|e| AgencyId::clone(&e.partner).into()),
            },
            plan: site.plan.clone(),
            published: site.published,
            domains: site.domains.clone(),
            trashed: site.trashed_at.is_some(),
            frozen_until: site.frozen.as_ref().map(|freeze| freeze.until),
            dispute: site.dispute.as_ref().map(|dispute| DisputeView {
                opened_by: dispute.opened_by.clone(),
                reason: dispute.reason.to_string(),
                at: dispute.at,
                until: dispute.until,
            }),
            custody: site.custody.is_some(),
            blockers: site.reported.iter().copied().collect(),
            settling_until: engagement.map(|e| e.settling_until),
            return_pending: site.return_pending().map(|pending| ReturnView {
                reason: pending.reason,
                requested_at: pending.requested_at,
                effective_at: pending.effective_at,
                locked: pending.locked,
                keep: pending.keep.iter().cloned().collect(),
            }),
            open_handover: site.open_handover.as_ref().map(|handover| handover.id.clone()),
            revision: site.revision,
        }
    }
}

/// `GET /v1/handovers/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HandoverView {
    #[schema(value_type = String)]
    id: HandoverId,
    #[schema(value_type = String)]
    site: SiteId,
    kind: HandoverKind,
    #[schema(value_type = String)]
    initiator: Account,
    #[schema(value_type = String)]
    to: Account,
    status: HandoverStatus,
    #[schema(value_type = Vec<String>)]
    consents_needed: Vec<Account>,
    #[schema(value_type = Vec<String>)]
    consents_given: Vec<Account>,
    #[schema(value_type = String, format = DateTime)]
    offered_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    #[schema(value_type = u64)]
    revision_at_offer: Revision,
    /// What moves with the title, in an ownership transfer.
    terms: Option<Terms>,
}

impl From<&Handover> for HandoverView {
    fn from(handover: &Handover) -> Self {
        Self {
            id: handover.id.clone(),
            site: handover.site.clone(),
            kind: handover.kind,
            initiator: handover.initiator.clone(),
            to: handover.to.clone(),
            status: handover.status,
            consents_needed: handover.consents_needed.clone(),
            consents_given: handover.consents_given.iter().map(|consent| consent.account.clone()).collect(),
            offered_at: handover.offered_at,
            expires_at: handover.expires_at,
            ended_at: handover.ended_at,
            revision_at_offer: handover.revision_at_offer,
            terms: handover.terms.clone(),
        }
    }
}

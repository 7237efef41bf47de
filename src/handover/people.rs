//! People: granting, changing and taking roles, and what becomes of them when a site changes hands.
//!
//! Who may hand out which role is derived, never listed (domain §4.2): a role may be given by whoever holds one that
//! can do at least as much. That is why nobody launders "with the client's confirmation" into "yes" by inviting a
//! friend, and why seats, which are no person-level roles, cannot be given at all (I17, I22).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use smol_str::SmolStr;

use super::{Acting, Applied, Refusal, consent, step::Step};
use crate::{
    assignment::{Agency, MemberRole, Strengths},
    ids::{Account, AgencyId, Principal, UserId},
    revision::Revision,
    site::{AgencyGrant, Contributor, Engagement, Seats, Side, Site, Template},
};

/// The most that somebody of the partner's may do and be kept by the client after a return.
pub const KEEP_CEILING: &str = "WebsiteManager";

/// The role in whose strength a partner's people are measured once there is a client.
pub(super) const PARTNER: &str = "Partner";

/// Gives a person a role.
pub(super) fn grant(step: &Step<'_>, user: &UserId, role: &SmolStr) -> Result<Applied, Refusal> {
    known_role(step, role)?;
    let acting = acting(step, role)?;
    not_oneself(acting, user, role)?;
    not_kept_out(step, acting, user)?;
    may_grant(step, acting, role)?;
    step.not_stopped()?;
    let site = step.site();
    if site.contributors.contains_key(user) || holds_seat(&site.seats, user) {
        return Err(Refusal::HasRole);
    }
    let row = Contributor {
        role: role.clone(),
        grantor: grantor(acting, role)?,
        side: acting.side,
        revision: step.situation.revision,
    };
    let mut applied = step.begin();
    consent::spend_own(step, &mut applied);
    applied.tell("ContributorAdded", json!({"user": user, "after": row}));
    applied.site.contributors.insert(user.clone(), row);
    Ok(applied)
}

/// Gives a person another role instead: the actor must be able to give both. The changing actor answers for the row
/// from now on; whose side the person is on stays.
pub(super) fn change(step: &Step<'_>, user: &UserId, role: &SmolStr) -> Result<Applied, Refusal> {
    known_role(step, role)?;
    let old = row(step, user)?;
    let acting = acting(step, role)?;
    own_side(acting, old)?;
    not_oneself(acting, user, role)?;
    not_kept_out(step, acting, user)?;
    may_grant(step, acting, &old.role)?;
    may_grant(step, acting, role)?;
    step.not_stopped()?;
    if old.role == *role {
        return Err(Refusal::AlreadySo { what: "the person has this role already" });
    }
    let new = Contributor {
        role: role.clone(),
        grantor: grantor(acting, role)?,
        side: old.side,
        revision: step.situation.revision,
    };
    let mut applied = step.begin();
    consent::spend_own(step, &mut applied);
    applied.tell("ContributorChanged", json!({"user": user, "before": old, "after": new}));
    applied.site.contributors.insert(user.clone(), new);
    Ok(applied)
}

/// Takes a person's role away: the actor must be able to give it.
pub(super) fn revoke(step: &Step<'_>, user: &UserId) -> Result<Applied, Refusal> {
    let old = row(step, user)?;
    let acting = acting(step, &old.role)?;
    own_side(acting, old)?;
    may_grant(step, acting, &old.role)?;
    step.not_stopped()?;
    Ok(without(step, user, old))
}

/// The acting person gives up their own role, or else what their agency delegated to them. A seat is not left.
pub(super) fn leave(step: &Step<'_>) -> Result<Applied, Refusal> {
    let user = step.person()?;
    let site = step.site();
    if let Some(row) = site.contributors.get(user) {
        step.not_stopped()?;
        return Ok(without(step, user, row));
    }
    let Some(grant) = site.grants.get(user) else {
        return Err(step.illegal("a seat is not left: hand the site over, take it back or give it back"));
    };
    step.not_stopped()?;
    let mut applied = step.begin();
    applied.tell("AgencyGrantChanged", json!({"user": user, "before": grant, "after": null}));
    applied.site.grants.remove(user);
    Ok(applied)
}

fn without(step: &Step<'_>, user: &UserId, row: &Contributor) -> Applied {
    let mut applied = step.begin();
    applied.tell("ContributorRemoved", json!({"user": user, "before": row}));
    applied.site.contributors.remove(user);
    applied
}

fn known_role(step: &Step<'_>, role: &SmolStr) -> Result<(), Refusal> {
    if step.situation.strengths.is_person_role(role) {
        Ok(())
    } else {
        Err(Refusal::UnknownRole { role: role.to_string() })
    }
}

fn row<'a>(step: &Step<'a>, user: &UserId) -> Result<&'a Contributor, Refusal> {
    step.site().contributors.get(user).ok_or(Refusal::UnknownContributor)
}

fn acting<'a>(step: &Step<'a>, role: &SmolStr) -> Result<&'a Acting, Refusal> {
    step.situation.acting.ok_or_else(|| Refusal::MayNotGrant { role: role.to_string() })
}

/// The partner asks the client about the client's people.
fn own_side(acting: &Acting, row: &Contributor) -> Result<(), Refusal> {
    match (acting.side, row.side) {
        (Side::Partner, Side::Client) => Err(Refusal::OtherSide),
        (Side::Partner, Side::Partner) | (Side::Client, Side::Client | Side::Partner) => Ok(()),
    }
}

/// Whom the client keeps out, the partner does not let in by another door.
fn not_kept_out(step: &Step<'_>, acting: &Acting, user: &UserId) -> Result<(), Refusal> {
    let kept_out = acting.side == Side::Partner && step.site().blocked.contains(user);
    if kept_out { Err(Refusal::OtherSide) } else { Ok(()) }
}

/// Nobody gives themself anything.
fn not_oneself(acting: &Acting, user: &UserId, role: &SmolStr) -> Result<(), Refusal> {
    match &acting.principal {
        Principal::User(actor) if actor == user => Err(Refusal::MayNotGrant { role: role.to_string() }),
        Principal::User(_) | Principal::Staff(_) | Principal::Service(_) => Ok(()),
    }
}

/// The account that answers for what is granted.
fn grantor(acting: &Acting, role: &SmolStr) -> Result<Account, Refusal> {
    acting.through.clone().ok_or_else(|| Refusal::MayNotGrant { role: role.to_string() })
}

/// The derived grant rule, for whichever of the actor's roles carries furthest. With the client's confirmation of this
/// very grant the partner may give what it holds with a confirmation only.
fn may_grant(step: &Step<'_>, acting: &Acting, role: &SmolStr) -> Result<(), Refusal> {
    let payer = acting.through.is_some() && step.site().seats.plan_holder() == acting.through;
    let strengths = step.situation.strengths;
    if acting.roles.iter().any(|own| strengths.may_grant(own, payer, role)) {
        return Ok(());
    }
    let with_consent = acting.side == Side::Partner
        && step.site().seats.engagement().is_some()
        && acting.roles.iter().any(|own| strengths.may_grant_confirmed(own, payer, role));
    match &step.operation {
        Some(_) if with_consent && consent::is_confirmed(step) => Ok(()),
        Some(operation) if with_consent => Err(Refusal::ConfirmRequired {
            action: step.command.action().unwrap_or_default(),
            operation: operation.to_string(),
        }),
        Some(_) | None => Err(Refusal::MayNotGrant { role: role.to_string() }),
    }
}

/// Whether a person holds a seat by themself: a role beside it would add nothing and survive it.
fn holds_seat(seats: &Seats, user: &UserId) -> bool {
    match seats {
        Seats::SelfManaged { owner } => owner == user,
        Seats::PartnerManaged(engagement) => engagement.client == *user,
        Seats::PartnerBuilt { .. } | Seats::Purged => false,
    }
}

/// What became of people when seats moved, for the event to tell.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Rows that are gone, as they were.
    pub(super) removed: BTreeMap<UserId, Contributor>,
    /// Rows that became an agency's delegation.
    pub(super) granted: BTreeMap<UserId, AgencyGrant>,
    /// The partner's people who stay as the client's.
    pub(super) kept: BTreeSet<UserId>,
}

/// A partner is seated: what its people held one by one now comes through the agency, where the client can see and
/// block it. Admins act through the seat. A member's row becomes the widest delegation within the old role; where none
/// fits, the row stays rather than cost somebody rights that nobody took.
pub(super) fn subsume(site: &mut Site, client: &UserId, partner: &Agency, strengths: &Strengths, moved: &mut Moved) {
    if let Some(row) = site.contributors.remove(client) {
        moved.removed.insert(client.clone(), row);
    }
    for (user, member) in &partner.members {
        let Some(row) = site.contributors.get(user) else { continue };
        match member {
            MemberRole::Admin => {}
            MemberRole::Member => {
                let Some(template) = widest_within(strengths, &row.role) else { continue };
                let delegated = AgencyGrant { template, expires_at: None };
                // A delegation that the agency made before stands: it is what the agency wanted.
                let delegated = site.grants.entry(user.clone()).or_insert(delegated).clone();
                moved.granted.insert(user.clone(), delegated);
            }
            MemberRole::Billing => continue,
        }
        if let Some(row) = site.contributors.remove(user) {
            moved.removed.insert(user.clone(), row);
        }
    }
}

/// An owner has given everything away: what came through an agency's seat goes with it. The former owner's people stay;
/// what they could spend ended with who pays.
pub(super) fn owner_left(site: &mut Site, moved: &mut Moved) {
    let partners: Vec<UserId> =
        site.contributors.iter().filter(|(_, row)| row.side == Side::Partner).map(|(user, _)| user.clone()).collect();
    for user in partners {
        if let Some(row) = site.contributors.remove(&user) {
            moved.removed.insert(user, row);
        }
    }
    site.grants.clear();
    site.blocked.clear();
    site.confirmations.clear();
    site.sessions.clear();
}

/// A new owner or client needs no role beside the seat.
pub(super) fn owner_came(site: &mut Site, owner: &UserId, moved: &mut Moved) {
    if let Some(row) = site.contributors.remove(owner) {
        moved.removed.insert(owner.clone(), row);
    }
}

/// The offer said that the former owner stays.
pub(super) fn former_owner_stays(site: &mut Site, former: &UserId, owner: &Account, revision: Revision) {
    let row = Contributor { role: KEEP_CEILING.into(), grantor: owner.clone(), side: Side::Client, revision };
    site.contributors.insert(former.clone(), row);
}

/// A partner's people may not hold what the partner could not give them once there is a client: an agency that invited a
/// co-owner while it was the owner would otherwise have, through that person, what it now needs the client's yes for.
pub(super) fn drop_what_partner_could_not_give(
    site: &mut Site,
    partner: &AgencyId,
    strengths: &Strengths,
    moved: &mut Moved,
) {
    let payer = site.seats.plan_holder() == Some(partner.clone().into());
    let too_strong = |row: &Contributor| row.side == Side::Partner && !strengths.may_grant(PARTNER, payer, &row.role);
    let users: Vec<UserId> =
        site.contributors.iter().filter(|(_, row)| too_strong(row)).map(|(user, _)| user.clone()).collect();
    for user in users {
        if let Some(row) = site.contributors.remove(&user) {
            moved.removed.insert(user, row);
        }
    }
}

fn widest_within(strengths: &Strengths, role: &str) -> Option<Template> {
    let within = Template::ALL.into_iter().filter(|template| strengths.within(template.role(), role));
    within.max_by_key(|template| strengths.breadth(template.role()))
}

/// The partner goes: so does everybody who came with it, but for those whom the client keeps.
pub(super) fn part(
    site: &mut Site,
    engagement: &Engagement,
    keep: &BTreeSet<UserId>,
    strengths: &Strengths,
    revision: Revision,
) -> Moved {
    let mut moved = Moved::default();
    let partner = Account::from(engagement.partner.clone());
    for (user, mut row) in std::mem::take(&mut site.contributors) {
        match row.side {
            Side::Client => {}
            // Asked again: the row may have been changed since the client chose.
            Side::Partner if keep.contains(&user) && may_stay(strengths, &row.role) => {
                row = Contributor { grantor: engagement.client.clone().into(), side: Side::Client, revision, ..row };
                moved.kept.insert(user.clone());
            }
            Side::Partner => {
                moved.removed.insert(user, row);
                continue;
            }
        }
        site.contributors.insert(user, row);
    }
    site.grants.clear();
    site.blocked.clear();
    site.confirmations.clear();
    site.sessions.retain(|session| session.granted_by != partner);
    moved
}

/// Whether somebody of the partner's with this role may be kept by the client.
pub(super) fn may_stay(strengths: &Strengths, role: &str) -> bool {
    strengths.at_most(role, KEEP_CEILING)
}

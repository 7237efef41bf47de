//! What would change for whom? The policies, asked on the state before and on the state after.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use smol_str::SmolStr;

use crate::{
    assignment::{Asked, Circumstances, Directory, Held, Reach, SitePolicies, SiteRow, Standing},
    decision::Fault,
    ids::{Account, Principal, UserId},
    policy::RoleIx,
    site::Site,
    time::Timestamp,
};

/// What changes for everybody concerned; people for whom nothing changes are left out.
pub type PermissionDiff = Vec<Change>;

/// What changes for one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Change {
    /// The person.
    #[schema(value_type = String)]
    pub principal: Principal,
    /// Actions that become possible.
    #[schema(value_type = Vec<String>)]
    pub gains: Vec<SmolStr>,
    /// Actions that cease to be possible.
    #[schema(value_type = Vec<String>)]
    pub loses: Vec<SmolStr>,
    /// Actions that from then on need a fresh sign-in, a confirmation, or the person's own account.
    #[schema(value_type = Vec<String>)]
    pub now_conditional: Vec<SmolStr>,
}

/// Compares what each person concerned may do on two states of a site.
///
/// # Errors
/// [`Fault`] when the policies cannot be evaluated.
pub fn permission_diff(
    policies: &SitePolicies,
    directory: &Directory,
    before: &Site,
    after: &Site,
    now: Timestamp,
) -> Result<PermissionDiff, Fault> {
    let mut people = BTreeSet::new();
    concerned(before, directory, &mut people);
    concerned(after, directory, &mut people);
    let mut sides = [State::of(policies, directory, before, now), State::of(policies, directory, after, now)];
    let mut changes = Vec::new();
    for user in people {
        let principal = Principal::User(user);
        let [was, is] = &mut sides;
        let (was, is) = (was.reach(&principal)?, is.reach(&principal)?);
        let pick = |changed: fn(Reach, Reach) -> bool| -> Vec<SmolStr> {
            let pairs = was.iter().zip(&is).zip(policies.bundle().actions());
            pairs.filter(|((w, i), _)| changed(**w, **i)).map(|(_, (_, action))| action.name.clone()).collect()
        };
        let change = Change {
            gains: pick(|was, is| was == Reach::None && is != Reach::None),
            loses: pick(|was, is| was != Reach::None && is == Reach::None),
            now_conditional: pick(|was, is| was == Reach::Plain && is == Reach::Conditional),
            principal,
        };
        if !(change.gains.is_empty() && change.loses.is_empty() && change.now_conditional.is_empty()) {
            changes.push(change);
        }
    }
    Ok(changes)
}

/// Roles, the circumstances that follow from how they are held, and what is missing for an answer.
type Group = (Vec<RoleIx>, Circumstances, Option<&'static str>);

/// One state of a site, with what was found out about it: people who hold the same roles in the same way may do the
/// same, so each such group is asked about once.
pub(super) struct State<'a> {
    policies: &'a SitePolicies,
    directory: &'a Directory,
    row: SiteRow,
    now: Timestamp,
    known: HashMap<Group, Vec<Reach>>,
}

impl<'a> State<'a> {
    pub(super) fn of(policies: &'a SitePolicies, directory: &'a Directory, site: &Site, now: Timestamp) -> Self {
        Self { policies, directory, row: SiteRow::of(site, policies), now, known: HashMap::new() }
    }
    fn reach(&mut self, principal: &Principal) -> Result<Vec<Reach>, Fault> {
        self.held(principal).map(|(_, reach)| reach)
    }
    /// What a person holds, and how far they may do each action, in the catalogue's order.
    pub(super) fn held(&mut self, principal: &Principal) -> Result<(Held, Vec<Reach>), Fault> {
        let asked = Asked::default();
        let standing = Standing::of(self.policies, &self.row, self.directory, principal, &asked, self.now, 0);
        let held = standing.held().clone();
        let key = (standing.roles().to_vec(), held.circumstances, held.missing);
        if let Some(known) = self.known.get(&key) {
            return Ok((held, known.clone()));
        }
        let found = standing.reach()?;
        self.known.insert(key, found.clone());
        Ok((held, found))
    }
}

/// The part of the directory that a site refers to.
pub(super) fn concerning(site: &Site, directory: &Directory) -> Directory {
    let mut part = Directory::default();
    let offer =
        site.open_handover.iter().flat_map(|offer| [&offer.initiator, &offer.to]).filter_map(|account| match account {
            Account::Agency(id) => Some(id),
            Account::User(_) => None,
        });
    for agency in site.seats.agency().into_iter().chain(offer).filter_map(|id| directory.agency(id)) {
        part.put_agency(std::sync::Arc::clone(agency));
    }
    part
}

/// Everybody who is somebody on the site: seats' people, contributors, granted members, parties of an offer.
fn concerned(site: &Site, directory: &Directory, people: &mut BTreeSet<UserId>) {
    let mut accounts: Vec<Account> =
        [site.seats.content_owner(), site.seats.plan_holder()].into_iter().flatten().collect();
    if let Some(offer) = &site.open_handover {
        accounts.extend([offer.initiator.clone(), offer.to.clone()]);
    }
    for account in accounts {
        match account {
            Account::User(user) => {
                people.insert(user);
            }
            Account::Agency(id) => {
                people.extend(directory.agency(&id).into_iter().flat_map(|agency| agency.members.keys().cloned()));
            }
        }
    }
    people.extend(site.contributors.keys().cloned());
    people.extend(site.grants.keys().cloned());
}

/// Who has access to a site: everybody concerned who may do something, with what they hold.
pub(super) fn people_of(site: &Site, directory: &Directory) -> BTreeSet<UserId> {
    let mut people = BTreeSet::new();
    concerned(site, directory, &mut people);
    people
}

#[cfg(test)]
mod tests;

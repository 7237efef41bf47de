//! One change: load what is wanted, decide once, write everything, move the head on.
//!
//! All of it in one transaction that holds off every other change from its first statement on, so that the decision sees
//! exactly the state it changes, and commit order is revision order without gaps. The head is written last.
//!
//! Invariants: whatever fails before COMMIT leaves nothing behind; every site whose handover or row was written is
//! stamped with the new revision and told to the observer whole; the change's parts must agree with each other, or
//! all of it is refused. Optimistic locking lost: a handover that must be tried again looks like a refusal.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    db::{Asked, Db, Ending},
    fields::contradiction,
    handovers, log, people, policies, replies, sagas, sites,
};
use crate::{
    assignment::{Agency, Directory},
    handover::Handover,
    ids::{Account, AgencyId, HandoverId, SiteId},
    lease::Epoch,
    revision::Revision,
    site::Site,
    store::{Changes, Committed, Decide, Loaded, POLICY_KEY, StoreError, Verdict, Wanted},
};

/// The queries that a change with these wants begins with, and those that follow from nothing that it finds. A site's agencies,
/// and whatever else does, are not among them.
pub(super) fn foreseen(wanted: &Wanted, order: &str) -> Vec<Asked<'static>> {
    let always = [log::HEAD.into(), log::LAST.into(), replies::oldest_asks(order).into()];
    let always = always.map(|sql: Cow<'_, str>| (sql, Vec::new()));
    let sites = wanted.sites.iter().flat_map(sites::load_asks);
    let handover = wanted.handover.as_ref().map(handovers::load_asks);
    let accounts = wanted.accounts.iter().map(people::closing_asks);
    let agencies = wanted.agencies.iter().flat_map(people::load_agency_asks);
    let key = wanted.key.as_ref().map(replies::load_asks);
    always.into_iter().chain(sites).chain(handover).chain(accounts).chain(agencies).chain(key).collect()
}

/// Runs one change inside its transaction: the answer, what will have been committed, and how the transaction ends.
pub(super) fn run<R>(
    db: &dyn Db,
    wanted: &Wanted,
    decide: Decide<R>,
) -> Result<(R, Option<Committed>, Ending), StoreError> {
    let loaded = load(db, wanted)?;
    let verdict = catch_unwind(AssertUnwindSafe(|| decide(&loaded)))
        .map_err(|_| StoreError::Unavailable("deciding about the change failed; the log has the place".into()))?;
    Ok(match verdict {
        Verdict::Leave(answer) => (answer, None, Ending::Leave),
        Verdict::Commit(changes, answer) => {
            let committed = write(db, wanted, loaded, *changes)?;
            let ending = Ending::Change(committed.revision);
            (answer, Some(committed), ending)
        }
        Verdict::Journal(rows, answer) => {
            sagas::journal(db, &rows)?;
            (answer, None, Ending::Notes)
        }
    })
}

fn load(db: &dyn Db, wanted: &Wanted) -> Result<Loaded, StoreError> {
    let head = log::head(db)?;
    let mut ids = wanted.sites.clone();
    if let Some(agency) = &wanted.open_handovers_of {
        let with_offers = handovers::sites_with_offers_of(db, agency)?;
        ids.extend(with_offers.into_iter().filter(|id| !wanted.sites.contains(id)));
    }
    let sites = ids.iter().map(|id| sites::load(db, id)).collect::<Result<Vec<_>, _>>()?;
    let handover = wanted.handover.as_ref().map(|id| handovers::load(db, id)).transpose()?.flatten();

    let mut agencies: BTreeSet<AgencyId> = wanted.agencies.iter().chain(&wanted.open_handovers_of).cloned().collect();
    if let Some(user) = &wanted.admin {
        agencies.extend(people::agencies_of_admin(db, user)?);
    }
    for site in sites.iter().flatten() {
        agencies.extend(site.seats.agency().cloned());
        agencies.extend(site.open_handover.iter().flat_map(parties));
    }
    agencies.extend(handover.iter().flat_map(parties));

    let mut looked_up: BTreeSet<Account> = wanted.accounts.iter().cloned().collect();
    if wanted.since.is_some() {
        let first = sites.first().and_then(Option::as_ref);
        looked_up.extend(
            first.into_iter().flat_map(|site| [site.seats.content_owner(), site.seats.plan_holder()]).flatten(),
        );
        looked_up.extend(agencies.iter().cloned().map(Account::from));
        let offers = sites.iter().flatten().filter_map(|site| site.open_handover.as_ref()).chain(&handover);
        looked_up.extend(offers.flat_map(|offer| [&offer.initiator, &offer.to]).cloned());
    }
    let (mut traffic, mut accounts) = (BTreeMap::new(), BTreeMap::new());
    for account in &looked_up {
        if let Some(since) = wanted.since {
            traffic.insert(account.clone(), handovers::traffic(db, account, since)?);
        }
        if let Some(status) = people::closing(db, account)? {
            accounts.insert(account.clone(), status);
        }
    }
    let mut holdings = Vec::new();
    for account in wanted.accounts.iter().filter(|_| wanted.holdings) {
        holdings.extend(sites::held_by(db, account)?);
    }

    let engaged = wanted.engaged_by.as_ref().map(|id| sites::runs_some(db, id)).transpose()?.unwrap_or(false);

    let mut directory = Directory::default();
    for account in accounts.keys() {
        directory.put_closing(account.clone());
    }
    for id in agencies {
        if let Some(agency) = people::load_agency(db, &id)? {
            directory.put_agency(Arc::new(agency));
        }
    }
    for id in &wanted.staff {
        directory.put_staff(id.clone(), people::load_staff(db, id)?);
    }
    let stored = wanted.key.as_ref().map(|key| replies::load(db, key)).transpose()?.flatten();
    let saga = wanted.saga.as_ref().map(|id| sagas::load(db, id)).transpose()?.flatten();
    Ok(Loaded { head, sites, handover, directory, stored, traffic, accounts, holdings, engaged, saga })
}

/// The agencies among a handover's parties.
fn parties(handover: &Handover) -> impl Iterator<Item = AgencyId> {
    [&handover.initiator, &handover.to].into_iter().chain(&handover.consents_needed).filter_map(|account| match account
    {
        Account::Agency(id) => Some(id.clone()),
        Account::User(_) => None,
    })
}

fn write(db: &dyn Db, wanted: &Wanted, loaded: Loaded, mut changes: Changes) -> Result<Committed, StoreError> {
    // Asked before anything is written (`foreseen`).
    let (last, oldest) = (log::last(db)?, replies::oldest(db)?);
    let mut head = loaded.head;
    head.revision = head.revision.next();
    head.at = log::not_before(&head, changes.at);

    let agencies = write_agencies(db, &loaded.directory, changes.agencies, head.revision)?;
    for (id, role) in &changes.staff {
        people::save_staff(db, id, *role)?;
    }
    for (account, status) in &changes.accounts {
        people::save_account(db, account, *status, head.at)?;
    }
    if let Some(bundle) = &changes.policies {
        policies::keep(db, bundle, head.at)?;
        head.policy = Some(bundle.sha256.clone());
    }
    let unoffered = write_sites(db, loaded.sites, &mut changes.sites, head.revision)?;
    let handovers = one_each(changes.handovers, &changes.sites)?;
    // What ends goes first, so that a site's next offer finds the place free.
    for handover in handovers.values().filter(|h| !h.status.is_live()) {
        handovers::save(db, handover)?;
    }
    for handover in handovers.values().filter(|h| h.status.is_live()) {
        handovers::save(db, handover)?;
    }
    let mut sites = changes.sites;
    check_offers(db, &sites, &unoffered, &handovers)?;
    sites.extend(others_touched(db, &sites, &handovers, head.revision)?);

    let touched: BTreeSet<String> = sites
        .iter()
        .map(|site| format!("site:{}", site.id))
        .chain(agencies.iter().map(|agency| format!("agency:{}", agency.id)))
        .chain(changes.staff.iter().map(|(id, _)| format!("staff:{id}")))
        .chain(changes.accounts.iter().map(|(account, _)| format!("account:{account}")))
        .chain(changes.policies.iter().map(|_| POLICY_KEY.to_owned()))
        .collect();
    let placed = log::append(db, last, &mut head, changes.events, &touched)?;
    log::publish(db, &head, placed, &touched)?;
    if let (Some(key), Some(reply)) = (&wanted.key, &changes.reply) {
        replies::keep(db, key, reply, head.revision, head.at)?;
    }
    replies::prune(db, oldest, head.at)?;
    sagas::commit(db, &changes.sagas, head.revision)?;
    db.announce(head.revision)?;
    log::advance(db, &head)?;
    let epoch = Epoch { id: head.epoch.into(), timeline: db.timeline()?.into() };
    let (revision, chain, at) = (head.revision, head.chain, head.at);
    Ok(Committed { revision, epoch, chain, at, sites, agencies, staff: changes.staff })
}

fn write_agencies(
    db: &dyn Db,
    stored: &Directory,
    agencies: Vec<Agency>,
    revision: Revision,
) -> Result<Vec<Arc<Agency>>, StoreError> {
    let mut seen = BTreeSet::new();
    let mut written = Vec::with_capacity(agencies.len());
    for mut agency in agencies {
        if !seen.insert(agency.id.clone()) {
            return Err(contradiction(format_args!("agency `{}` is in it twice", agency.id)));
        }
        let old = match stored.agency(&agency.id) {
            Some(old) => Some(Arc::clone(old)),
            None => people::load_agency(db, &agency.id)?.map(Arc::new),
        };
        people::save_agency(db, old.as_deref(), &mut agency, revision)?;
        written.push(Arc::new(agency));
    }
    Ok(written)
}

/// Writes the sites; those that had no open offer until now.
fn write_sites(
    db: &dyn Db,
    stored: Vec<Option<Site>>,
    sites: &mut [Site],
    revision: Revision,
) -> Result<BTreeSet<SiteId>, StoreError> {
    let mut stored: HashMap<SiteId, Site> = stored.into_iter().flatten().map(|site| (site.id.clone(), site)).collect();
    let (mut seen, mut unoffered) = (BTreeSet::new(), BTreeSet::new());
    for site in sites {
        if !seen.insert(site.id.clone()) {
            return Err(contradiction(format_args!("site `{}` is in it twice", site.id)));
        }
        let old = match stored.remove(&site.id) {
            Some(old) => Some(old),
            None => sites::load(db, &site.id)?,
        };
        if old.as_ref().is_none_or(|old| old.open_handover.is_none()) {
            unoffered.insert(site.id.clone());
        }
        sites::save(db, old.as_ref(), site, revision)?;
    }
    Ok(unoffered)
}

/// The handovers to write: those of the change, and the sites' open ones, which must be the same where both are given.
fn one_each(handovers: Vec<Handover>, sites: &[Site]) -> Result<BTreeMap<HandoverId, Handover>, StoreError> {
    let mut each: BTreeMap<HandoverId, Handover> = BTreeMap::new();
    for handover in handovers.into_iter().chain(sites.iter().filter_map(|site| site.open_handover.clone())) {
        match each.get(&handover.id) {
            Some(other) if *other != handover => {
                return Err(contradiction(format_args!("handover `{}` is in it in two versions", handover.id)));
            }
            Some(_) => {}
            None => {
                each.insert(handover.id.clone(), handover);
            }
        }
    }
    Ok(each)
}

/// Each site's open offer must now be the stored one. Where there was none and no handover of the site was written there is
/// none, without asking.
fn check_offers(
    db: &dyn Db,
    sites: &[Site],
    unoffered: &BTreeSet<SiteId>,
    written: &BTreeMap<HandoverId, Handover>,
) -> Result<(), StoreError> {
    for site in sites {
        if site.open_handover.is_none()
            && unoffered.contains(&site.id)
            && written.values().all(|handover| handover.site != site.id)
        {
            continue;
        }
        let stored = handovers::live_of(db, &site.id)?;
        if stored != site.open_handover {
            let name = |handover: Option<&Handover>| handover.map_or("none".to_owned(), |h| format!("`{}`", h.id));
            return Err(contradiction(format_args!(
                "site `{}` says that its open handover is {}, the handovers say {}",
                site.id,
                name(site.open_handover.as_ref()),
                name(stored.as_ref())
            )));
        }
    }
    Ok(())
}

/// Sites that the change did not carry but whose handovers it wrote: stamped, with the deadline that follows.
fn others_touched(
    db: &dyn Db,
    sites: &[Site],
    handovers: &BTreeMap<HandoverId, Handover>,
    revision: Revision,
) -> Result<Vec<Site>, StoreError> {
    let carried: BTreeSet<&SiteId> = sites.iter().map(|site| &site.id).collect();
    let others: BTreeSet<&SiteId> = handovers.values().map(|h| &h.site).filter(|id| !carried.contains(id)).collect();
    let mut touched = Vec::with_capacity(others.len());
    for id in others {
        let mut site = sites::load(db, id)?
            .ok_or_else(|| contradiction(format_args!("a handover belongs to site `{id}`, which is not there")))?;
        site.revision = revision;
        sites::save_row(db, &site)?;
        touched.push(site);
    }
    Ok(touched)
}

//! Every state that can be reached, not a sample of them: the machine explored exhaustively at small scope.
//!
//! The world is one site with one domain, two clients (Maria, Tom), two agencies (Studio North with Nora, Atelier with
//! Olga), two of trust and safety, and billing. From both beginnings (a site of Maria's own, one that Studio North built)
//! every command is tried by everybody whom the matrix permits it, time moves to each next deadline, the worker comes or
//! comes late, agencies are suspended and let in again. Every duration is one day, so that deadlines meet and cross in
//! every order and the states are finite: two worlds are the same when they differ in nothing but absolute time, ids of
//! handovers and revisions. As in the service, what is due is committed before a command (`app::timers::settle`).
//!
//! All commands at once would be millions of states and a minute is all there is, so each [`Scope`] takes a part of them
//! and is explored to its end; the invariants are checked on every step (`invariants`), and that a reclaim ends in time
//! (I7) on every state. People with roles are left to the random histories (`sequences`).

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    invariants::{Violation, check_state, check_step},
    world::{DAY, HOUR, Machine, World, accept, agency, official, partner_built, permitted, self_managed, user},
};
use crate::{
    assignment::{Agency, AgencyStatus},
    handover::{Acting, Case, Command, CommandName, HandoverStatus, Reported, Timers, apply, due, invalidate},
    ids::Account,
    revision::Revision,
    site::{ReturnReason, Seats, next_deadline},
    time::Timestamp,
};

/// Which commands are tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    pub(crate) commands: &'static [CommandName],
    /// Whether agencies are suspended and let in again.
    pub(crate) agencies: bool,
}

use CommandName as C;

pub(crate) const SCOPES: [Scope; 7] = [
    Scope {
        name: "the life of a partnership",
        commands: &[
            C::OfferPartnerRole,
            C::ReplacePartner,
            C::AcceptHandover,
            C::CancelHandover,
            C::ReclaimSite,
            C::WithdrawReclaim,
            C::ReleaseSite,
            C::ResignAsPartner,
            C::ReportPlan,
            C::RescuePlan,
            C::FreezeSite,
        ],
        agencies: false,
    },
    Scope {
        name: "every kind of offer",
        commands: &[
            C::IssueSiteCode,
            C::RequestPartnerRole,
            C::OfferPartnerRole,
            C::AssignClientRole,
            C::ReplacePartner,
            C::TransferOwnership,
            C::AcceptHandover,
            C::DeclineHandover,
            C::CancelHandover,
        ],
        agencies: true,
    },
    Scope {
        name: "the ways back",
        commands: &[
            C::OfferPartnerRole,
            C::AssignClientRole,
            C::ReplacePartner,
            C::AcceptHandover,
            C::ReclaimSite,
            C::WithdrawReclaim,
            C::ReleaseSite,
            C::ResignAsPartner,
        ],
        agencies: true,
    },
    Scope {
        name: "money",
        commands: &[
            C::OfferPartnerRole,
            C::AcceptHandover,
            C::ReportPlan,
            C::RescuePlan,
            C::ReclaimSite,
            C::WithdrawReclaim,
            C::ResignAsPartner,
            C::FreezeSite,
            C::UnfreezeSite,
        ],
        agencies: false,
    },
    Scope {
        name: "freezes and disputes",
        commands: &[
            C::OfferPartnerRole,
            C::ReplacePartner,
            C::AcceptHandover,
            C::ReclaimSite,
            C::WithdrawReclaim,
            C::ReleaseSite,
            C::ResignAsPartner,
            C::OpenDispute,
            C::CloseDispute,
            C::FreezeSite,
            C::UnfreezeSite,
        ],
        agencies: false,
    },
    Scope {
        name: "custody and succession",
        commands: &[
            C::OfferPartnerRole,
            C::AcceptHandover,
            C::DeclineHandover,
            C::ReclaimSite,
            C::ResignAsPartner,
            C::OpenCustody,
            C::RecordSuccessor,
            C::FreezeSite,
            C::UnfreezeSite,
        ],
        agencies: false,
    },
    Scope {
        name: "the trash",
        commands: &[
            C::OfferPartnerRole,
            C::TransferOwnership,
            C::AcceptHandover,
            C::ReclaimSite,
            C::ResignAsPartner,
            C::TrashSite,
            C::RestoreSite,
            C::PurgeSite,
            C::ConfirmPartnerAction,
            C::SpendConfirmation,
        ],
        agencies: false,
    },
];

/// What an exploration came to.
#[derive(Debug, Default)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    pub(crate) found: Vec<Violation>,
    pub(crate) done: BTreeSet<CommandName>,
    pub(crate) ended: BTreeSet<&'static str>,
}

fn timers() -> Timers {
    Timers {
        offer_ttl: DAY,
        settle: DAY,
        reclaim_notice: DAY,
        resign_notice: DAY,
        plan_bridge: DAY,
        request_ttl: DAY,
        site_code_ttl: DAY,
        first_reminder: HOUR * 12,
        second_reminder: DAY * 2,
        freeze_max: DAY,
        past_due_grace: DAY,
        lapse_notice: DAY,
        suspension_notice: DAY,
        trash_keep: DAY,
        confirmation: DAY,
        confirmation_max: DAY,
        ..Timers::default()
    }
}

/// Explores everything that `machine` makes reachable within a scope, until `enough` violations were found.
pub(crate) fn explore(scope: &Scope, machine: Machine<'_>, enough: usize) -> Explored {
    let mut explored = Explored::default();
    let mut known: HashSet<Vec<u8>> = HashSet::new();
    let mut frontier: VecDeque<World> = VecDeque::new();
    for mut site in [self_managed(), partner_built()] {
        site.contributors.clear();
        let mut world = World::new(site);
        world.timers = timers();
        explored.found.extend(check_state(&world));
        known.insert(key(&world));
        frontier.push_back(world);
    }
    while let Some(world) = frontier.pop_front() {
        explored.found.extend(comes_back(&world, machine));
        let mut reached = |world: World, explored: &mut Explored| {
            explored.steps += 1;
            if known.insert(key(&world)) {
                frontier.push_back(world);
            }
        };
        for next in elapsed(&world).into_iter().chain(statuses(&world, scope.agencies)) {
            explored.found.extend(check_state(&next));
            explored.found.extend(overslept(&world, &next));
            reached(next, &mut explored);
        }
        let tries = match due(&world.site, &world.directory, world.now) {
            // Late or not, the worker is first.
            Some(command) => vec![(None, command)],
            None => commands(&world, scope),
        };
        for (acting, command) in tries {
            let outcome = world.try_with(machine, acting.as_ref(), &command);
            let applied = match &outcome {
                Ok(applied) => applied,
                // What is due and refused is due for ever, and nothing else gets its turn.
                Err(refusal) if acting.is_none() => {
                    explored.found.push(("I7", format!("{command:?} is due and refused: {refusal:?}")));
                    continue;
                }
                Err(_) => continue,
            };
            let mut after = world.clone();
            after.keep(applied);
            explored.found.extend(check_step(&world, &command, acting.as_ref(), &outcome, &after, machine));
            explored.found.extend(in_time(&after));
            explored.done.insert(command.name());
            explored.ended.extend(applied.handovers.iter().map(|h| h.status.wire_name()));
            forget(&mut after);
            reached(after, &mut explored);
        }
        if explored.found.len() >= enough {
            break;
        }
    }
    explored.states = known.len();
    explored
}

/// I7: a reclaim has a bound that nothing moves.
fn in_time(world: &World) -> Option<Violation> {
    let pending = world.site.return_pending().filter(|pending| pending.reason == ReturnReason::Reclaim)?;
    let bound = pending.requested_at.plus(world.timers.reclaim_notice).plus(world.timers.freeze_max);
    (pending.effective_at > bound).then(|| ("I7", format!("{pending:?} after {bound}")))
}

/// I7, to the end: whatever has happened before, at the bound the worker alone brings the site back to its client.
fn comes_back(world: &World, machine: Machine<'_>) -> Option<Violation> {
    let pending = world.site.return_pending().filter(|pending| pending.reason == ReturnReason::Reclaim)?;
    let bound = pending.requested_at.plus(world.timers.reclaim_notice).plus(world.timers.freeze_max);
    let client = world.site.seats.content_owner();
    let mut end = world.clone();
    end.now = end.now.max(bound);
    for _ in 0..16 {
        let Some(command) = due(&end.site, &end.directory, end.now) else { break };
        let Ok(applied) = end.try_with(machine, None, &command) else { break };
        end.keep(&applied);
    }
    (end.site.seats.owner() != client).then(|| ("I7", format!("not back at {bound}: {:?}", end.site.seats)))
}

/// The worker sleeps until the site's next deadline, or an agency's: nothing may become due before that.
fn overslept(before: &World, after: &World) -> Option<Violation> {
    let idle = due(&before.site, &before.directory, before.now).is_none();
    let command = due(&after.site, &after.directory, after.now).filter(|_| idle)?;
    let woken = next_deadline(&before.site).is_some_and(|at| at <= after.now);
    // An agency's deadline, and its being let in again, wake the worker by its row.
    (!woken && command != Command::FollowAgency).then(|| ("worker", format!("{command:?} is due and wakes nobody")))
}

/// What does not matter for what can happen next.
fn forget(world: &mut World) {
    world.revision = Revision(40);
    world.site.revision = Revision(40);
    for row in world.site.contributors.values_mut() {
        row.revision = Revision(40);
    }
    world.handovers.retain(|_, handover| handover.status.is_live());
    // One name for the one live offer, so that a new one has another.
    if let Some(mut open) = world.site.open_handover.take() {
        world.handovers.clear();
        open.id = "h-live".parse().unwrap();
        open.revision_at_offer = Revision(40);
        world.handovers.insert(open.id.clone(), open.clone());
        world.site.open_handover = Some(open);
    }
}

/// Time moves to the next deadline, whoever has one.
fn elapsed(world: &World) -> Option<World> {
    let next = deadlines(world).into_iter().filter(|at| *at > world.now).min()?;
    let mut later = world.clone();
    later.now = next;
    Some(later)
}

fn deadlines(world: &World) -> Vec<Timestamp> {
    let site = &world.site;
    let engagement = site.seats.engagement();
    let offer = site.open_handover.iter().flat_map(|open| open.reminders.iter().copied().chain([open.expires_at]));
    let agencies = ["studio-north", "atelier"].map(|id| world.directory.agency(&agency(id)).and_then(|a| a.returns_at));
    let mut found: Vec<Timestamp> = offer.collect();
    let others = [
        engagement.map(|engagement| engagement.settling_until),
        site.return_pending().map(|pending| pending.effective_at),
        site.plan.lapses_at,
        site.plan.returns_at,
        site.plan.bridge_until,
        site.purge_at,
        site.frozen.as_ref().map(|freeze| freeze.until),
        site.dispute.as_ref().map(|dispute| dispute.until),
        site.site_code.as_ref().map(|code| code.expires_at),
        site.confirmations.first().map(|confirmation| confirmation.expires_at),
    ];
    found.extend(others.into_iter().chain(agencies).flatten());
    found
}

/// An agency is suspended, or let in again: what `PUT /v1/agencies/{agency}` does.
fn statuses(world: &World, wanted: bool) -> Vec<World> {
    let mut found = Vec::new();
    for id in ["studio-north", "atelier"].iter().filter(|_| wanted) {
        let old = Agency::clone(world.directory.agency(&agency(id)).unwrap());
        let engaged = world.site.seats.engagement().is_some_and(|engagement| engagement.partner == old.id);
        if old.returns_at.is_some_and(|at| at <= world.now) && engaged {
            continue;
        }
        let (status, returns_at) = match old.status {
            AgencyStatus::Active => (AgencyStatus::Suspended, Some(world.now.plus(world.timers.suspension_notice))),
            AgencyStatus::Suspended | AgencyStatus::Dissolving => (AgencyStatus::Active, None),
        };
        let mut next = world.clone();
        next.directory.put_agency(Arc::new(Agency { status, status_since: world.now, returns_at, ..old }));
        let named = next.site.open_handover.as_ref().is_some_and(|open| open.names(&agency(id).into()));
        if let Some(ended) = invalidate(&next.site, next.now).filter(|_| named && status != AgencyStatus::Active) {
            next.keep(&ended);
        }
        forget(&mut next);
        found.push(next);
    }
    found
}

/// Everything that somebody may try.
fn commands(world: &World, scope: &Scope) -> Vec<(Option<Acting>, Command)> {
    let case = |approver: bool| Case { case: "C-1".into(), approver: approver.then(|| "theo".parse().unwrap()) };
    let open = world.site.open_handover.as_ref().map(|open| open.id.clone());
    let agencies = || ["studio-north", "atelier"].map(agency);
    let clients = || ["maria", "tom"].map(user);
    let mut found = Vec::new();
    for name in scope.commands {
        let tried: Vec<Command> = match name {
            C::IssueSiteCode => vec![Command::IssueSiteCode],
            C::RequestPartnerRole if world.site.site_code.is_some() => agencies()
                .map(|id| Command::RequestPartnerRole { agency: Some(id), site_code: "aaaa-bbbb-cccc".into() })
                .into(),
            C::OfferPartnerRole => agencies().map(|to| Command::OfferPartnerRole { to }).into(),
            C::AssignClientRole => clients().map(|to| Command::AssignClientRole { to }).into(),
            C::ReplacePartner => agencies().map(|to| Command::ReplacePartner { to }).into(),
            C::TransferOwnership => clients()
                .into_iter()
                .flat_map(|to| {
                    [true, false].map(|all| Command::TransferOwnership {
                        to: to.clone(),
                        domains: world.site.domains.iter().filter(|_| all).map(|domain| domain.name.clone()).collect(),
                        plan: all,
                        stay: !all,
                    })
                })
                .collect(),
            C::AcceptHandover => open.iter().map(|id| accept(id.as_str())).collect(),
            C::DeclineHandover => open.iter().map(|id| Command::DeclineHandover { handover: id.clone() }).collect(),
            C::CancelHandover => open.iter().map(|id| Command::CancelHandover { handover: id.clone() }).collect(),
            C::ReclaimSite => [false, true].map(|lock| Command::ReclaimSite { lock, keep: [].into() }).into(),
            C::WithdrawReclaim => vec![Command::WithdrawReclaim],
            C::ReleaseSite => vec![Command::ReleaseSite],
            C::ResignAsPartner => vec![Command::ResignAsPartner],
            C::RescuePlan => vec![Command::RescuePlan],
            C::ReportPlan => [Reported::Ok, Reported::PastDue].map(|status| Command::ReportPlan { status }).into(),
            C::OpenDispute => vec![Command::OpenDispute { reason: "unpaid_work".into() }],
            C::CloseDispute => vec![Command::CloseDispute],
            C::FreezeSite => vec![Command::FreezeSite(case(false))],
            C::UnfreezeSite => vec![Command::UnfreezeSite(case(true))],
            C::OpenCustody => vec![Command::OpenCustody(case(true))],
            C::RecordSuccessor => clients().map(|to| Command::RecordSuccessor { to, case: case(true) }).into(),
            C::TrashSite => vec![Command::TrashSite { operation: Some("t-1".into()) }],
            C::RestoreSite => vec![Command::RestoreSite],
            C::PurgeSite => vec![Command::PurgeSite],
            C::ConfirmPartnerAction => vec![Command::ConfirmPartnerAction {
                action: "TrashSite".into(),
                operation: "t-1".into(),
                expires_in_s: None,
            }],
            C::SpendConfirmation => {
                vec![Command::SpendConfirmation { action: "TrashSite".into(), operation: "t-1".into() }]
            }
            // Time's own steps, people with roles, and what this state has nothing for.
            C::RequestPartnerRole
            | C::ExpireHandover
            | C::RemindHandover
            | C::ReturnEffective
            | C::LapsePlan
            | C::FollowAgency
            | C::EndFreeze
            | C::EmptyTrash
            | C::GrantRole
            | C::ChangeRole
            | C::RevokeRole
            | C::LeaveSite
            | C::GrantAgencyAccess
            | C::RevokeAgencyAccess
            | C::BlockAgencyMember
            | C::UnblockAgencyMember
            | C::GrantSupportSession
            | C::EndSupportSession => Vec::new(),
        };
        for command in tried {
            for acting in actors(world, &command) {
                // A partner's act that takes a confirmation is not permitted without one.
                let unconfirmed = *name == C::TrashSite
                    && acting.roles.iter().all(|role| role == "Partner")
                    && !world.site.confirmations.iter().any(|c| world.now < c.expires_at);
                if permitted(&acting, &command) && !unconfirmed {
                    found.push((Some(acting), command.clone()));
                }
            }
        }
    }
    found
}

fn actors(world: &World, command: &Command) -> Vec<Acting> {
    if command.case().is_some() {
        return vec![official("staff:tess")];
    }
    if command.name().action().is_none() {
        return vec![official("service:billing")];
    }
    // Nothing is done through an agency that is suspended: the policies see to that before the machine is asked.
    let active = |id: &str| world.directory.agency(&agency(id)).is_some_and(|agency| agency.is_active());
    let people = [("maria", true), ("tom", true), ("nora", active("studio-north")), ("olga", active("atelier"))];
    people.into_iter().filter(|(_, may)| *may).map(|(person, _)| world.acting(person)).collect()
}

/// Two worlds with the same key have the same future: absolute time, ids and revisions left out.
fn key(world: &World) -> Vec<u8> {
    let site = &world.site;
    let hours = |at: Timestamp| u8::try_from(at.since(world.now).as_secs().div_ceil(3600)).unwrap_or(u8::MAX);
    let maybe = |at: Option<Timestamp>| at.map_or(255, hours);
    let mut key = vec![
        site.plan.tier as u8,
        site.plan.status as u8,
        maybe(site.plan.lapses_at),
        maybe(site.plan.returns_at),
        maybe(site.plan.bridge_until),
        u8::from(site.trashed_at.is_some()),
        maybe(site.purge_at),
        maybe(site.frozen.as_ref().map(|freeze| freeze.until)),
        u8::from(site.custody.is_some()),
        maybe(site.site_code.as_ref().map(|code| code.expires_at)),
        maybe(site.confirmations.first().map(|confirmation| confirmation.expires_at)),
        maybe(site.dispute.as_ref().map(|dispute| dispute.until)),
    ];
    key.push(site.dispute.as_ref().map_or(0, |dispute| name(&dispute.opened_by)));
    key.extend(site.domains.iter().map(|domain| name(&domain.holder)));
    key.extend(site.contributors.keys().map(|user| name(&user.clone().into())));
    key.push(b'|');
    match &site.seats {
        Seats::SelfManaged { owner } => key.extend([1, name(&owner.clone().into())]),
        Seats::PartnerBuilt { owner } => key.extend([2, name(&owner.clone().into())]),
        Seats::Purged => key.push(3),
        Seats::PartnerManaged(engagement) => {
            key.extend([4, name(&engagement.client.clone().into()), name(&engagement.partner.clone().into())]);
            key.extend([hours(engagement.settling_until), u8::from(engagement.freeze_used)]);
            key.push(engagement.plan_before.as_ref().map_or(9, |plan| plan.tier as u8 * 3 + plan.status as u8));
            let before = engagement.plan_before.as_ref();
            key.push(maybe(before.and_then(|plan| plan.lapses_at)));
            key.push(maybe(before.and_then(|plan| plan.bridge_until)));
            if let Some(pending) = &engagement.return_pending {
                let since = world.directory.agency(&engagement.partner).map(|agency| agency.status_since);
                let reclaim = pending.reason == ReturnReason::Reclaim;
                let bound = pending.requested_at.plus(world.timers.reclaim_notice).plus(world.timers.freeze_max);
                key.extend([pending.reason as u8, hours(pending.effective_at), u8::from(pending.locked)]);
                key.push(u8::from(since.is_some_and(|since| since < pending.effective_at)));
                key.push(if reclaim { hours_between(bound, pending.effective_at) } else { 0 });
            }
        }
    }
    key.push(b'|');
    if let Some(open) = &site.open_handover {
        key.extend([open.kind as u8, u8::from(open.status == HandoverStatus::Open), hours(open.expires_at)]);
        key.extend([name(&open.initiator), name(&open.to), u8::try_from(open.reminders.len()).unwrap()]);
        key.push(maybe(open.reminders.first().copied()));
        key.extend(open.consents_needed.iter().map(name));
        key.push(b'/');
        key.extend(open.consents_given.iter().map(|consent| name(&consent.account)));
        if let Some(terms) = &open.terms {
            let flags = [terms.plan, terms.stay, terms.case.is_some(), terms.domains.is_empty()];
            key.extend(flags.map(u8::from));
        }
    }
    key.push(b'|');
    for id in ["studio-north", "atelier"] {
        let agency: &Agency = world.directory.agency(&agency(id)).unwrap();
        key.extend([agency.status as u8, maybe(agency.returns_at)]);
    }
    key
}

fn hours_between(later: Timestamp, earlier: Timestamp) -> u8 {
    u8::try_from(later.since(earlier).as_secs() / 3600).unwrap_or(u8::MAX)
}

fn name(account: &Account) -> u8 {
    match account {
        Account::User(user) => user.as_str().as_bytes()[0],
        Account::Agency(id) => id.as_str().as_bytes()[0].to_ascii_uppercase(),
    }
}

#[test]
fn every_reachable_state_keeps_the_invariants() {
    let mut done = BTreeSet::new();
    let mut ended = BTreeSet::new();
    let mut total = (0, 0);
    for scope in &SCOPES {
        let explored = explore(scope, &apply, 20);
        println!(
            "{}: {} states, {} steps, {} violations",
            scope.name,
            explored.states,
            explored.steps,
            explored.found.len()
        );
        let shown: Vec<_> = explored.found.iter().take(3).collect();
        assert!(explored.found.is_empty(), "{}: {shown:#?}", scope.name);
        let missed: Vec<_> = scope.commands.iter().filter(|name| !explored.done.contains(name)).collect();
        assert!(missed.is_empty(), "{}: never carried out: {missed:?}", scope.name);
        done.extend(explored.done);
        ended.extend(explored.ended);
        total = (total.0 + explored.states, total.1 + explored.steps);
    }
    println!("{} states, {} steps, no violation", total.0, total.1);
    assert!(total.0 >= 30_000 && total.1 >= 130_000, "the exploration has shrunk to {total:?}");
    assert_eq!(
        ended.into_iter().collect::<Vec<_>>(),
        ["accepted", "cancelled", "declined", "expired", "invalidated", "open", "requested", "superseded"]
    );
    for name in [
        C::ExpireHandover,
        C::RemindHandover,
        C::ReturnEffective,
        C::LapsePlan,
        C::FollowAgency,
        C::EndFreeze,
        C::EmptyTrash,
    ] {
        assert!(done.contains(&name), "time never did {name:?}");
    }
}

//! Random histories of one site: several people, two agencies, time passing, freezes, suspensions. Every step is
//! checked against the invariants.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use super::{
    invariants::{Violation, check_state, check_step},
    matrix::PERSON_ROLES,
    world::{
        DAY, HOUR, Machine, NOW, World, accept, agency, managed, official, partner_built, permitted, returning, row,
        self_managed, settling, user,
    },
};
use crate::{
    assignment::{Agency, AgencyStatus},
    handover::{Acting, Authority, Case, Command, CommandName, Reported, Timers, apply, due, invalidate},
    ids::Account,
    site::{ReturnReason, Seats, Side, Site, Template},
};

/// In place of a person: whoever the command is meant for, as the site then stands.
const CONCERNED: &str = "";

const PEOPLE: [&str; 8] = ["maria", "nora", "milo", "bill", "olga", "eva", "paul", "zoe"];

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Command {
        who: &'static str,
        command: Command,
    },
    /// Like a command, about the offer that is open then.
    Answer {
        who: &'static str,
        name: CommandName,
    },
    Hours(u32),
    /// Until the next deadline, to the microsecond.
    Deadline,
    /// The worker commits what is due.
    Worker,
    Status {
        agency: &'static str,
        status: AgencyStatus,
    },
    /// By trust and safety, or by a service.
    Official {
        command: Command,
    },
    Published(bool),
    Purge,
}

fn person() -> impl Strategy<Value = &'static str> {
    select(PEOPLE.as_slice())
}

/// Of Studio North.
fn member() -> impl Strategy<Value = &'static str> {
    select(["milo", "milo", "bill"].as_slice())
}

/// Whom the partner would like to give something that takes the client's yes.
fn stranger() -> impl Strategy<Value = (&'static str, &'static str)> {
    (Just("zoe"), select(["CoOwner", "StoreManager"].as_slice()))
}

fn role() -> impl Strategy<Value = smol_str::SmolStr> {
    prop_oneof![9 => select(PERSON_ROLES.as_slice()), 2 => select(["Client", "Partner", "Emperor"].as_slice())]
        .prop_map(smol_str::SmolStr::new)
}

fn happening() -> impl Strategy<Value = Happening> {
    let command = prop_oneof![
        4 => select(["studio-north", "atelier", "studio-north", "atelier", "nobody"].as_slice())
            .prop_map(|to| Command::OfferPartnerRole { to: agency(to) }),
        2 => person().prop_map(|to| Command::AssignClientRole { to: user(to) }),
        2 => (any::<bool>(), prop::option::of(person()))
            .prop_map(|(lock, keep)| Command::ReclaimSite { lock, keep: keep.into_iter().map(user).collect() }),
        2 => Just(Command::WithdrawReclaim),
        1 => Just(Command::ReleaseSite),
        1 => Just(Command::ResignAsPartner),
        4 => (person(), role()).prop_map(|(who, role)| Command::GrantRole { user: user(who), role }),
        2 => (person(), role()).prop_map(|(who, role)| Command::ChangeRole { user: user(who), role }),
        1 => person().prop_map(|who| Command::RevokeRole { user: user(who) }),
        1 => Just(Command::LeaveSite),
        2 => select(["studio-north", "atelier"].as_slice()).prop_map(|to| Command::ReplacePartner { to: agency(to) }),
        2 => (person(), any::<bool>(), any::<bool>()).prop_map(|(to, plan, stay)| Command::TransferOwnership {
            to: user(to), domains: if plan { ["bakery.example".to_owned()].into() } else { [].into() }, plan, stay,
        }),
        2 => Just(Command::IssueSiteCode),
        2 => select(["studio-north", "atelier"].as_slice()).prop_map(|id| Command::RequestPartnerRole {
            agency: Some(agency(id)), site_code: "AAAA-BBBB-CCCC".into(),
        }),
        2 => Just(Command::RescuePlan),
        1 => Just(Command::OpenDispute { reason: "unpaid_work".into() }),
        1 => Just(Command::CloseDispute),
        2 => Just(Command::TrashSite { operation: None }),
        2 => Just(Command::RestoreSite),
        1 => Just(Command::PurgeSite),
        3 => (member(), select(Template::ALL.to_vec())).prop_map(|(who, template)| Command::GrantAgencyAccess {
            user: user(who), template, expires_at: None,
        }),
        3 => member().prop_map(|who| Command::RevokeAgencyAccess { user: user(who) }),
        3 => member().prop_map(|who| Command::BlockAgencyMember { user: user(who) }),
        3 => member().prop_map(|who| Command::UnblockAgencyMember { user: user(who) }),
        3 => stranger().prop_map(|(who, role)| Command::ConfirmPartnerAction {
            action: "InviteContributor".into(), operation: smol_str::format_smolstr!("{who}:{role}"), expires_in_s: None,
        }),
        1 => Just(Command::GrantSupportSession { agent: "sam".parse().unwrap(), minutes: None }),
        1 => Just(Command::EndSupportSession { agent: "sam".parse().unwrap() }),
    ];
    let case = || Case { case: "case-7".into(), approver: Some("theo".parse().unwrap()) };
    let official = prop_oneof![
        3 => Just(Command::FreezeSite(case())),
        3 => Just(Command::UnfreezeSite(case())),
        1 => Just(Command::OpenCustody(case())),
        2 => person().prop_map(move |to| Command::RecordSuccessor { to: user(to), case: case() }),
        4 => select(vec![Reported::PastDue, Reported::PastDue, Reported::Ok])
            .prop_map(|status| Command::ReportPlan { status }),
        3 => stranger().prop_map(|(who, role)| Command::SpendConfirmation {
            action: "InviteContributor".into(), operation: smol_str::format_smolstr!("{who}:{role}"),
        }),
    ];
    let answers = [CommandName::AcceptHandover, CommandName::AcceptHandover, CommandName::DeclineHandover];
    let answers = [answers.as_slice(), &[CommandName::CancelHandover, CommandName::ExpireHandover]].concat();
    let who = || prop_oneof![8 => Just(CONCERNED), 2 => Just("maria"), 2 => Just("nora"), 3 => person()];
    let status = select(vec![AgencyStatus::Active, AgencyStatus::Active, AgencyStatus::Suspended]);
    prop_oneof![
        40 => (who(), command).prop_map(|(who, command)| Happening::Command { who, command }),
        16 => (who(), select(answers)).prop_map(|(who, name)| Happening::Answer { who, name }),
        8 => prop_oneof![1_u32..48, 1_u32..400].prop_map(Happening::Hours),
        3 => Just(Happening::Deadline),
        4 => Just(Happening::Worker),
        3 => (select(["studio-north", "atelier"].as_slice()), status)
            .prop_map(|(agency, status)| Happening::Status { agency, status }),
        6 => official.prop_map(|command| Happening::Official { command }),
        1 => prop::bool::weighted(0.8).prop_map(Happening::Published),
    ]
}

fn beginning() -> impl Strategy<Value = Site> {
    let staffed = |mut site: Site| {
        // People of the agency as plain contributors: what a handover subsumes.
        let (grantor, side) = match site.seats.content_owner() {
            Some(Account::Agency(_)) => ("agency:studio-north", Side::Partner),
            Some(Account::User(_)) | None => ("user:maria", Side::Client),
        };
        site.contributors.insert(user("nora"), row("CoOwner", grantor, side));
        site.contributors.insert(user("milo"), row("WebsiteManager", grantor, side));
        site
    };
    select(vec![
        self_managed(),
        staffed(self_managed()),
        partner_built(),
        staffed(partner_built()),
        managed(),
        settling(),
        returning(ReturnReason::Reclaim, NOW.plus(DAY * 5)),
        returning(ReturnReason::Resign, NOW.plus(DAY * 14)),
    ])
}

/// A beginning and what happens then.
pub(crate) fn history(length: usize) -> impl Strategy<Value = (Site, Vec<Happening>)> {
    (beginning(), prop::collection::vec(happening(), 1..length))
}

/// What one history came to.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) found: Vec<Violation>,
    /// What was carried out.
    pub(crate) done: BTreeSet<CommandName>,
}

/// Plays a history. `authorized` says whether people may only do what the matrix permits, as in the service.
pub(crate) fn play(site: Site, history: &[Happening], machine: Machine<'_>, authorized: bool) -> Course {
    let mut world = World::new(site);
    let mut course = Course { found: check_state(&world), ..Course::default() };
    for happening in history {
        happens(&mut world, happening, machine, authorized, &mut course);
    }
    course
}

fn happens(world: &mut World, happening: &Happening, machine: Machine<'_>, authorized: bool, course: &mut Course) {
    match happening {
        Happening::Command { who, command } => act(world, Some(who), command, machine, authorized, course),
        Happening::Answer { who, name } => {
            if let Some((who, command)) = answer(world, who, *name) {
                act(world, who, &command, machine, authorized, course);
            }
        }
        Happening::Worker => work(world, machine, course),
        Happening::Hours(hours) => world.now = world.now.plus(HOUR * *hours),
        Happening::Deadline => {
            let site = &world.site;
            let offer = site.open_handover.as_ref().map(|open| open.expires_at);
            let back = site.return_pending().map(|pending| pending.effective_at);
            let settled = site.seats.engagement().map(|engagement| engagement.settling_until);
            let thaw = site.frozen.as_ref().map(|freeze| freeze.until);
            let (lapse, bridge, purge) = (site.plan.lapses_at, site.plan.bridge_until, site.purge_at);
            let next = [offer, back, settled, thaw, lapse, bridge, purge]
                .into_iter()
                .flatten()
                .filter(|at| *at > world.now)
                .min();
            world.now = next.unwrap_or(world.now);
        }
        Happening::Status { agency, status } => set_status(world, agency, *status),
        Happening::Official { command } => {
            // As in the service: a freeze stops a clock that runs, not one that has run out.
            work(world, machine, course);
            let who = if command.case().is_some() { "staff:tess" } else { "service:billing" };
            act_as(world, Some(&official(who)), command, machine, authorized, course);
        }
        Happening::Published(published) => world.site.published = *published,
        Happening::Purge => world.site.seats = Seats::Purged,
    }
}

/// The answer to the offer that is open now, else to the last one there was, by somebody concerned as often as not.
fn answer(world: &World, who: &'static str, name: CommandName) -> Option<(Option<&'static str>, Command)> {
    let open = world.site.open_handover.as_ref().map(|open| &open.id);
    let id = open.or_else(|| world.handovers.keys().next_back())?.clone();
    Some(if name == CommandName::DeclineHandover {
        (Some(who), Command::DeclineHandover { handover: id })
    } else if name == CommandName::CancelHandover {
        (Some(who), Command::CancelHandover { handover: id })
    } else if name == CommandName::ExpireHandover {
        (None, Command::ExpireHandover { handover: id })
    } else {
        (Some(who), accept(id.as_str()))
    })
}

/// Whose command it is: the seat's holder, the offer's party, or an admin of it.
fn concerned(world: &World, command: &Command) -> String {
    let site = &world.site;
    let owner = site.seats.owner().or_else(|| site.seats.content_owner());
    let offer = command.handover().and_then(|id| world.handovers.get(id));
    let name = command.name();
    let account = if [CommandName::AcceptHandover, CommandName::DeclineHandover].contains(&name) {
        offer.map(|offer| offer.to.clone())
    } else if name == CommandName::CancelHandover {
        offer.map(|offer| offer.initiator.clone())
    } else if let Command::RequestPartnerRole { agency, .. } = command {
        agency.clone().map(Account::from)
    } else if [
        CommandName::ReleaseSite,
        CommandName::ResignAsPartner,
        CommandName::GrantAgencyAccess,
        CommandName::RevokeAgencyAccess,
    ]
    .contains(&name)
    {
        site.seats.agency().map(|id| id.clone().into())
    } else {
        owner
    };
    match account {
        Some(Account::User(person)) => person.to_string(),
        Some(Account::Agency(id)) if id.as_str() == "atelier" => "olga".to_owned(),
        Some(Account::Agency(_)) | None => "nora".to_owned(),
    }
}

fn act(
    world: &mut World,
    who: Option<&str>,
    command: &Command,
    machine: Machine<'_>,
    authorized: bool,
    course: &mut Course,
) {
    let concerned = concerned(world, command);
    let acting = who.map(|who| world.acting(if who == CONCERNED { &concerned } else { who }));
    act_as(world, acting.as_ref(), command, machine, authorized, course);
}

fn act_as(
    world: &mut World,
    acting: Option<&Acting>,
    command: &Command,
    machine: Machine<'_>,
    authorized: bool,
    course: &mut Course,
) {
    if authorized && acting.is_some_and(|acting| !permitted(acting, command)) {
        return;
    }
    let before = world.clone();
    let outcome = world.try_with(machine, acting, command);
    if let Ok(applied) = &outcome {
        world.keep(applied);
        course.done.insert(command.name());
    }
    course.found.extend(check_step(&before, command, acting, &outcome, world, machine));
}

fn work(world: &mut World, machine: Machine<'_>, course: &mut Course) {
    // Each clock of a site runs out once: many rounds mean that something due does not become done.
    for round in 0.. {
        let Some(command) = due(&world.site, &world.directory, world.now) else { return };
        assert!(round < 12, "always due: {command:?}");
        act(world, None, &command, machine, false, course);
    }
}

/// What the service does when an agency's status changes.
fn set_status(world: &mut World, id: &str, status: AgencyStatus) {
    let changed =
        Agency { status, status_since: world.now, ..Agency::clone(world.directory.agency(&agency(id)).unwrap()) };
    let inactive = !changed.is_active();
    world.directory.put_agency(Arc::new(changed));
    let concerned = world.site.open_handover.as_ref().is_some_and(|open| open.names(&agency(id).into()));
    if let Some(ended) = invalidate(&world.site, world.now).filter(|_| inactive && concerned) {
        world.keep(&ended);
    }
}

fn report(course: &Course) -> Result<(), TestCaseError> {
    prop_assert!(course.found.is_empty(), "{:#?}", course.found);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_in_every_authorized_history((site, history) in history(80)) {
        report(&play(site, &history, &apply, true))?;
    }

    /// Without any authorization in front, the machine alone still keeps all but what authorization is for: who may
    /// reclaim, withdraw and leave.
    #[test]
    fn the_machine_alone_keeps_titles_seats_and_consents((site, history) in history(80)) {
        let mut course = play(site, &history, &apply, false);
        course.found.retain(|(invariant, what)| match *invariant {
            "I6" => what.contains("may not reclaim"),
            "I17" => !what.contains("GrantAgencyAccess"),
            "I14" => false,
            _ => true,
        });
        report(&course)?;
    }

    /// I7: whatever else happens, a reclaim that is not withdrawn is over after the notice and one freeze.
    #[test]
    fn i07_a_reclaim_ends_in_time((site, before) in history(30), (_, after) in history(40)) {
        let mut world = World::new(site);
        let mut course = Course::default();
        for happening in &before {
            happens(&mut world, happening, &apply, true, &mut course);
        }
        let reclaim = Command::ReclaimSite { lock: false, keep: [].into() };
        let Some(client) = world.site.seats.engagement().map(|engagement| engagement.client.clone()) else {
            return Ok(());
        };
        let _ = world.does(client.as_str(), &reclaim);
        let timers = Timers::default();
        let latest = world.now.plus(timers.reclaim_notice + DAY * 14);
        for happening in &after {
            let withdrawn = matches!(happening, Happening::Command { command: Command::WithdrawReclaim, .. });
            if !withdrawn && world.site.seats.engagement().is_some() {
                happens(&mut world, happening, &apply, true, &mut course);
            }
        }
        if world.site.seats.engagement().is_some() {
            world.now = world.now.max(latest);
            work(&mut world, &apply, &mut course);
        }
        prop_assert_eq!(&world.site.seats, &Seats::SelfManaged { owner: client });
        report(&course)?;
    }
}

/// The same histories on every run, and no file about them.
pub(crate) fn runner() -> TestRunner {
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A property that no history puts to the test proves nothing.
#[test]
fn histories_reach_every_command() {
    let done = RefCell::new(BTreeSet::new());
    runner()
        .run(&history(80), |(site, history)| {
            done.borrow_mut().extend(play(site, &history, &apply, true).done);
            Ok(())
        })
        .unwrap();
    let done = done.into_inner();
    // What only time does depends on the days that happen to pass; the explorer reaches all of it.
    let wanted = CommandName::ALL
        .into_iter()
        .filter(|name| name.authority() != Authority::Time && *name != CommandName::SpendConfirmation);
    let missed: Vec<_> = wanted.filter(|name| !done.contains(name)).collect();
    assert!(missed.is_empty(), "never carried out: {missed:?}");
}

#[test]
fn purged_sites_refuse_everything() {
    runner()
        .run(&history(20), |(site, mut history)| {
            history.insert(0, Happening::Purge);
            let course = play(Site { contributors: [].into(), ..site }, &history, &apply, false);
            prop_assert!(course.done.is_empty(), "{:?}", course.done);
            Ok(())
        })
        .unwrap();
}

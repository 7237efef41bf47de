//! The table that reviewers read first: every state × every command, with what becomes of it.
//!
//! `BLESS=1 cargo nextest run golden` writes it anew.

use std::fmt::Write as _;

use super::world::{
    DAY, HOUR, NOW, World, accept, acting, agency, ago, directory_with, engagement, frozen, handover, managed, offered,
    partner_built, returning, self_managed, settling, trashed, user,
};
use crate::{
    assignment::AgencyStatus,
    handover::{Applied, Command, Handover, HandoverStatus, Refusal, apply, describe_state},
    site::{PlanStatus, ReturnReason, Seats, Site, Tier},
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/transitions.txt");

const HEADER: &str = "\
# Every state and every command, and what becomes of it. Generated; `BLESS=1 cargo nextest run golden` writes it anew.
# Applied: the state after it, the events in order, the handovers it touched. Refused: the code and what it says.
# Maria is the owner or the client, Nora an admin of Studio North, Eva the client's contributor, Paul the partner's.
";

fn edited(mut site: Site, edit: impl FnOnce(&mut Site)) -> Site {
    edit(&mut site);
    site
}

/// The states, each with a title that says what `describe_state` cannot.
fn states() -> Vec<(&'static str, World)> {
    let in_two_days = NOW.plus(DAY * 2);
    let mut suspended = World::new(managed());
    suspended.directory = directory_with("studio-north", AgencyStatus::Suspended);
    let mut suspended_offer = World::new(offered(self_managed(), NOW.plus(DAY)));
    suspended_offer.directory = directory_with("studio-north", AgencyStatus::Suspended);
    let locked = edited(returning(ReturnReason::Reclaim, in_two_days), |site| {
        engagement(site).return_pending.as_mut().unwrap().locked = true;
    });
    let sites = vec![
        ("self-managed", self_managed()),
        ("self-managed, offer open", offered(self_managed(), NOW.plus(DAY))),
        ("self-managed, offer run out and not committed", offered(self_managed(), ago(HOUR))),
        ("self-managed, plan past due", edited(self_managed(), |s| s.plan.status = PlanStatus::PastDue)),
        ("self-managed, plan lapsed", edited(self_managed(), |s| s.plan.status = PlanStatus::Lapsed)),
        ("self-managed, plan not transferable", edited(self_managed(), |s| s.plan.transferable = false)),
        ("self-managed, frozen", frozen(self_managed())),
        ("self-managed, freeze run out", edited(frozen(self_managed()), |s| s.frozen.as_mut().unwrap().until = NOW)),
        ("self-managed, trashed", trashed(self_managed())),
        ("self-managed, frozen, trashed and past due", {
            edited(frozen(trashed(self_managed())), |s| s.plan.status = PlanStatus::PastDue)
        }),
        ("self-managed, offer open, frozen", frozen(offered(self_managed(), NOW.plus(DAY)))),
        ("self-managed, offer open, trashed", trashed(offered(self_managed(), NOW.plus(DAY)))),
        ("partner-built", partner_built()),
        ("partner-built, not published", edited(partner_built(), |s| s.published = false)),
        ("partner-built, free plan", edited(partner_built(), |s| s.plan.tier = Tier::Free)),
        ("partner-built, offer open", offered(partner_built(), NOW.plus(DAY))),
        ("partner-built, offer run out and not committed", offered(partner_built(), ago(HOUR))),
        ("partner-managed, settling", settling()),
        ("partner-managed, settling, frozen", frozen(settling())),
        ("partner-managed, settled", managed()),
        ("partner-managed, reclaim pending", returning(ReturnReason::Reclaim, in_two_days)),
        ("partner-managed, reclaim pending and locked", locked),
        ("partner-managed, resignation pending", returning(ReturnReason::Resign, NOW.plus(DAY * 9))),
        ("partner-managed, agency's suspension pending", returning(ReturnReason::AgencySuspended, in_two_days)),
        ("partner-managed, reclaim due and not committed", returning(ReturnReason::Reclaim, ago(HOUR))),
        ("partner-managed, resignation due and not committed", returning(ReturnReason::Resign, ago(HOUR))),
        ("partner-managed, frozen", frozen(managed())),
        ("partner-managed, frozen, reclaim pending", frozen(returning(ReturnReason::Reclaim, in_two_days))),
        ("partner-managed, frozen, reclaim's deadline past", frozen(returning(ReturnReason::Reclaim, ago(HOUR)))),
        ("partner-managed, trashed", trashed(managed())),
        ("partner-managed, trashed, reclaim pending", trashed(returning(ReturnReason::Reclaim, in_two_days))),
        ("partner-managed, plan past due", edited(managed(), |s| s.plan.status = PlanStatus::PastDue)),
        ("purged", {
            edited(self_managed(), |s| {
                s.seats = Seats::Purged;
                s.contributors.clear();
            })
        }),
    ];
    let mut states: Vec<_> = sites.into_iter().map(|(title, site)| (title, World::new(site))).collect();
    states.insert(2, ("self-managed, offer open, its agency suspended", suspended_offer));
    states.insert(states.len() - 1, ("partner-managed, agency suspended", suspended));
    for (_, world) in &mut states {
        let ended = Handover {
            id: handover("h-ended"),
            status: HandoverStatus::Declined,
            ..offered(self_managed(), NOW).open_handover.unwrap()
        };
        world.handovers.insert(ended.id.clone(), ended);
    }
    states
}

/// Who does what, with the fields shown. The person is the one whose command it is in the state.
fn commands(site: &Site) -> Vec<(Option<&'static str>, String, Command)> {
    let partner_owns = matches!(site.seats, Seats::PartnerBuilt { .. });
    let (in_charge, answering) = if partner_owns { ("nora", "maria") } else { ("maria", "nora") };
    let role = |person: &str, role: &str, command: fn(_, _) -> Command| command(user(person), role.into());
    let grant = |user, role| Command::GrantRole { user, role };
    let change = |user, role| Command::ChangeRole { user, role };
    let own = if partner_owns { "paul" } else { "eva" };
    let commands = [
        (in_charge, "to studio-north", Command::OfferPartnerRole { to: agency("studio-north") }),
        (in_charge, "to nobody-knows", Command::OfferPartnerRole { to: agency("nobody-knows") }),
        (in_charge, "to maria", Command::AssignClientRole { to: user("maria") }),
        (answering, "the offer", accept("h-open")),
        ("olga", "the offer", accept("h-open")),
        (answering, "an ended offer", accept("h-ended")),
        (answering, "an unknown offer", accept("h-unknown")),
        (answering, "the offer", Command::DeclineHandover { handover: handover("h-open") }),
        (in_charge, "the offer", Command::CancelHandover { handover: handover("h-open") }),
        ("", "the offer", Command::ExpireHandover { handover: handover("h-open") }),
        ("maria", "", Command::ReclaimSite { lock: false, keep: [].into() }),
        ("maria", "with lock", Command::ReclaimSite { lock: true, keep: [].into() }),
        ("maria", "keeping paul", Command::ReclaimSite { lock: false, keep: [user("paul")].into() }),
        ("maria", "", Command::WithdrawReclaim),
        ("nora", "", Command::ReleaseSite),
        ("", "", Command::ReturnEffective),
        ("nora", "", Command::ResignAsPartner),
        (in_charge, "Viewer to zoe", role("zoe", "Viewer", grant)),
        ("nora", "StoreManager to zoe", role("zoe", "StoreManager", grant)),
        (in_charge, "Viewer to themself", role(in_charge, "Viewer", grant)),
        ("nora", "Viewer to maria", role("maria", "Viewer", grant)),
        (in_charge, "Viewer to their contributor", role(own, "Viewer", grant)),
        (in_charge, "Client to zoe", role("zoe", "Client", grant)),
        (in_charge, "their contributor to Viewer", role(own, "Viewer", change)),
        (
            in_charge,
            "their contributor to the same",
            role(own, if partner_owns { "BlogEditor" } else { "WebsiteManager" }, change),
        ),
        ("nora", "eva to Viewer", role("eva", "Viewer", change)),
        ("paul", "themself to WebsiteManager", role("paul", "WebsiteManager", change)),
        (in_charge, "their contributor", Command::RevokeRole { user: user(own) }),
        ("maria", "paul", Command::RevokeRole { user: user("paul") }),
        (own, "", Command::LeaveSite),
        (in_charge, "", Command::LeaveSite),
    ];
    let label = |command: &Command, fields: &str| match fields {
        "" => command.name().wire_name().to_owned(),
        _ => format!("{} {fields}", command.name().wire_name()),
    };
    commands.map(|(who, fields, command)| ((!who.is_empty()).then_some(who), label(&command, fields), command)).into()
}

fn outcome(world: &World, outcome: &Result<Applied, Refusal>) -> String {
    let refused = match outcome {
        Ok(applied) => {
            let events: Vec<_> = applied.events.iter().map(|event| event.kind).collect();
            let mut text = format!("=> {} | {}", describe_state(&applied.site, world.now), events.join(" "));
            for ended in &applied.handovers {
                write!(text, " | {} {}", ended.id, ended.status.wire_name()).unwrap();
            }
            return text;
        }
        Err(refused) => refused,
    };
    let code = refused.code();
    match refused {
        Refusal::Illegal { because, .. } => format!("{code}: {because}"),
        Refusal::AlreadySo { what } => format!("{code}: {what}"),
        Refusal::Blocked(blockers) => {
            let blockers: Vec<_> = blockers.iter().map(|blocker| blocker.code()).collect();
            format!("{code}: {}", blockers.join(" "))
        }
        Refusal::MayNotGrant { role } | Refusal::UnknownRole { role } => format!("{code}: {role}"),
        Refusal::AlreadyOpen
        | Refusal::Terminal(_)
        | Refusal::UnknownHandover
        | Refusal::HasRole
        | Refusal::UnknownContributor
        | Refusal::OtherSide
        | Refusal::OwnAccount
        | Refusal::NotAParty
        | Refusal::UnknownAgency => code.to_string(),
    }
}

/// What is carried out gets a line of its own; what is refused is gathered under the refusal, so that a state reads in
/// one glance.
fn table() -> String {
    let mut table = HEADER.to_owned();
    for (title, world) in states() {
        writeln!(table, "\n## {title}\nstate: {}", describe_state(&world.site, world.now)).unwrap();
        let mut refused: Vec<(String, Vec<String>)> = Vec::new();
        for (who, label, command) in commands(&world.site) {
            let acting = who.map(|who| acting(&world.site, &world.directory, &user(who)));
            let result = world.try_with(&apply, acting.as_ref(), &command);
            let (line, outcome) = (format!("{} {label}", who.unwrap_or("time")), outcome(&world, &result));
            if result.is_ok() {
                writeln!(table, "  {line:<46}{outcome}").unwrap();
            } else if let Some((_, lines)) = refused.iter_mut().find(|(refusal, _)| *refusal == outcome) {
                lines.push(line);
            } else {
                refused.push((outcome, vec![line]));
            }
        }
        for (outcome, lines) in refused {
            writeln!(table, "  refused, {outcome}\n    {}", lines.join("\n    ")).unwrap();
        }
    }
    table
}

#[test]
fn golden_table_of_transitions() {
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(PATH, &table).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    for (number, (is, was)) in table.lines().zip(committed.lines()).enumerate() {
        assert_eq!(is, was, "tests/golden/transitions.txt:{}: run with BLESS=1 if the change is meant", number + 1);
    }
    assert_eq!(table.lines().count(), committed.lines().count(), "tests/golden/transitions.txt: run with BLESS=1");
}

#[test]
fn every_command_stands_in_the_table() {
    let named: std::collections::BTreeSet<_> =
        commands(&managed()).into_iter().map(|(_, _, command)| command.name()).collect();
    assert!(crate::handover::CommandName::ALL.iter().all(|name| named.contains(name)));
}

//! The table that reviewers read first: every state × every command, with what becomes of it.
//!
//! `BLESS=1 cargo nextest run golden` writes it anew.

use std::fmt::Write as _;

use super::world::{
    DAY, HOUR, NOW, World, accept, account, acting, agency, ago, directory_with, engagement, frozen, handover, managed,
    offered, official, partner_built, returning, self_managed, settling, trashed, user,
};
use crate::{
    assignment::AgencyStatus,
    handover::{
        Applied, Case, Command, Handover, HandoverKind, HandoverStatus, Refusal, Reported, Terms, apply, describe_state,
    },
    site::{
        AgencyGrant, Confirmation, Dispute, PlanStatus, ReturnReason, Seats, Site, SiteCode, SupportSession, Template,
        Tier,
    },
    time::Timestamp,
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

fn code() -> SiteCode {
    let digest = crate::digest::sha256(b"AAAABBBBCCCC").into();
    SiteCode { digest, expires_at: NOW.plus(DAY) }
}

/// Atelier is offered the Partner seat.
fn replaced(initiator: &str, needed: &[&str]) -> Site {
    let mut site = managed();
    let offer = offered(self_managed(), NOW.plus(DAY)).open_handover.unwrap();
    site.open_handover = Some(Handover {
        kind: HandoverKind::PartnerReplacement,
        initiator: account(initiator),
        to: account("agency:atelier"),
        consents_needed: needed.iter().map(|needed| account(needed)).collect(),
        ..offer
    });
    site
}

/// The states, each with a title that says what `describe_state` cannot.
#[expect(clippy::too_many_lines, reason = "a table")]
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
        ("self-managed, with a code", edited(self_managed(), |s| s.site_code = Some(code()))),
        (
            "self-managed, requested by atelier",
            edited(offered(self_managed(), NOW.plus(DAY)), |s| {
                let asked = s.open_handover.as_mut().unwrap();
                (asked.initiator, asked.to) = (account("agency:atelier"), account("user:maria"));
                (asked.status, asked.consents_needed) = (HandoverStatus::Requested, vec![account("user:maria")]);
            }),
        ),
        (
            "self-managed, everything offered to tom",
            edited(offered(self_managed(), NOW.plus(DAY)), |s| {
                let offer = s.open_handover.as_mut().unwrap();
                (offer.kind, offer.to) = (HandoverKind::OwnershipTransfer, account("user:tom"));
                offer.consents_needed = vec![account("user:tom")];
                offer.terms = Some(Terms { domains: [].into(), plan: false, stay: true, case: None });
            }),
        ),
        (
            "self-managed, offer to be reminded of",
            edited(offered(self_managed(), NOW.plus(DAY)), |s| {
                s.open_handover.as_mut().unwrap().reminders = vec![ago(HOUR), NOW.plus(HOUR)];
            }),
        ),
        ("self-managed, trashed and due to be deleted", edited(trashed(self_managed()), |s| s.purge_at = Some(NOW))),
        ("self-managed, bridge over", edited(self_managed(), |s| s.plan.bridge_until = Some(NOW))),
        ("self-managed, in custody", edited(self_managed(), |s| s.custody = Some("case-8".into()))),
        ("partner-managed, replacement offered by maria", replaced("user:maria", &["agency:atelier"])),
        (
            "partner-managed, replacement offered by nora",
            replaced("agency:studio-north", &["user:maria", "agency:atelier"]),
        ),
        (
            "partner-managed, disputed by nora",
            edited(managed(), |s| {
                s.dispute = Some(Dispute {
                    opened_by: account("agency:studio-north"),
                    reason: "unpaid_work".into(),
                    at: ago(DAY),
                    until: NOW.plus(DAY),
                });
            }),
        ),
        ("partner-managed, in custody", edited(managed(), |s| s.custody = Some("case-8".into()))),
        (
            "partner-managed, plan past due and the grace over",
            edited(managed(), |s| {
                s.plan.status = PlanStatus::PastDue;
                (s.plan.lapses_at, s.plan.returns_at) = (Some(ago(HOUR)), Some(NOW.plus(DAY * 14)));
            }),
        ),
        (
            "partner-managed, lapsed and on its way back",
            edited(returning(ReturnReason::PlanLapsed, in_two_days), |s| {
                (s.plan.status, s.plan.tier) = (PlanStatus::Lapsed, Tier::Free);
            }),
        ),
        ("partner-managed, a freeze used", edited(managed(), |s| engagement(s).freeze_used = true)),
        ("partner-managed, freeze run out", edited(frozen(managed()), |s| s.frozen.as_mut().unwrap().until = NOW)),
        (
            "partner-managed, with a delegation, a refund confirmed and sam looking",
            edited(managed(), |s| {
                s.grants.insert(user("milo"), AgencyGrant { template: Template::Builder, expires_at: None });
                s.blocked.insert(user("milo"));
                let (action, operation) = ("RefundOrder".into(), "refund-7".into());
                s.confirmations.push(Confirmation { action, operation, expires_at: NOW.plus(HOUR) });
                let granted_by = account("user:maria");
                s.sessions.push(SupportSession { agent: "sam".parse().unwrap(), granted_by, until: NOW.plus(HOUR) });
            }),
        ),
        ("purged", {
            edited(self_managed(), |s| {
                s.seats = Seats::Purged;
                s.contributors.clear();
            })
        }),
    ];
    let mut states: Vec<_> = sites.into_iter().map(|(title, site)| (title, World::new(site))).collect();
    states.insert(2, ("self-managed, offer open, its agency suspended", suspended_offer));
    let mut over = World::new(managed());
    over.directory = directory_with("studio-north", AgencyStatus::Suspended);
    let agency = crate::assignment::Agency {
        returns_at: Some(ago(HOUR)),
        ..crate::assignment::Agency::clone(over.directory.agency(&agency("studio-north")).unwrap())
    };
    over.directory.put_agency(std::sync::Arc::new(agency));
    states.insert(states.len() - 1, ("partner-managed, agency suspended", suspended));
    states.insert(states.len() - 1, ("partner-managed, agency suspended and the notice over", over));
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
        ("olga", "with the code", Command::RequestPartnerRole { agency: None, site_code: "AAAA-BBBB-CCCC".into() }),
        ("olga", "with another", Command::RequestPartnerRole { agency: None, site_code: "0000".into() }),
        ("maria", "", Command::IssueSiteCode),
        ("maria", "by atelier", Command::ReplacePartner { to: agency("atelier") }),
        ("nora", "by atelier", Command::ReplacePartner { to: agency("atelier") }),
        ("nora", "by themself", Command::ReplacePartner { to: agency("studio-north") }),
        (in_charge, "to tom with the domain", transfer(&["bakery.example"])),
        (in_charge, "to tom with a foreign domain", transfer(&["elsewhere.example"])),
        ("olga", "the replacement", accept("h-open")),
        ("", "the offer", Command::RemindHandover { handover: handover("h-open") }),
        ("maria", "", Command::RescuePlan),
        ("service:billing", "past due", Command::ReportPlan { status: Reported::PastDue }),
        ("service:billing", "ok", Command::ReportPlan { status: Reported::Ok }),
        ("", "", Command::LapsePlan),
        ("", "", Command::FollowAgency),
        ("nora", "", Command::OpenDispute { reason: "unpaid_work".into() }),
        ("maria", "", Command::CloseDispute),
        ("staff:tess", "", Command::FreezeSite(case("case-8", false))),
        ("staff:tess", "", Command::UnfreezeSite(case("case-8", true))),
        ("", "", Command::EndFreeze),
        ("staff:tess", "alone", Command::OpenCustody(case("case-8", false))),
        ("staff:tess", "with theo", Command::OpenCustody(case("case-8", true))),
        ("staff:tess", "tom", Command::RecordSuccessor { to: user("tom"), case: case("case-8", true) }),
        ("staff:tess", "milo", Command::RecordSuccessor { to: user("milo"), case: case("case-8", true) }),
        ("maria", "", Command::TrashSite { operation: None }),
        ("maria", "", Command::RestoreSite),
        (in_charge, "", Command::PurgeSite),
        ("", "", Command::EmptyTrash),
        ("nora", "milo as builder", delegated("milo", None)),
        ("nora", "milo until yesterday", delegated("milo", Some(ago(DAY)))),
        ("nora", "zoe as builder", delegated("zoe", None)),
        ("nora", "milo", Command::RevokeAgencyAccess { user: user("milo") }),
        ("maria", "milo", Command::BlockAgencyMember { user: user("milo") }),
        ("maria", "nora", Command::BlockAgencyMember { user: user("nora") }),
        ("maria", "milo", Command::UnblockAgencyMember { user: user("milo") }),
        ("maria", "a refund", confirm("RefundOrder")),
        ("maria", "an edit", confirm("EditContent")),
        ("service:shop", "a refund", spend("RefundOrder")),
        ("maria", "to sam", Command::GrantSupportSession { agent: "sam".parse().unwrap(), minutes: Some(30) }),
        (
            "maria",
            "to sam for a day",
            Command::GrantSupportSession { agent: "sam".parse().unwrap(), minutes: Some(1440) },
        ),
        ("maria", "of sam", Command::EndSupportSession { agent: "sam".parse().unwrap() }),
    ];
    let label = |command: &Command, fields: &str| match fields {
        "" => command.name().wire_name().to_owned(),
        _ => format!("{} {fields}", command.name().wire_name()),
    };
    commands.map(|(who, fields, command)| ((!who.is_empty()).then_some(who), label(&command, fields), command)).into()
}

fn transfer(domains: &[&str]) -> Command {
    let domains = domains.iter().map(ToString::to_string).collect();
    Command::TransferOwnership { to: user("tom"), domains, plan: true, stay: true }
}
fn case(case: &str, approver: bool) -> Case {
    Case { case: case.into(), approver: approver.then(|| "theo".parse().unwrap()) }
}
fn delegated(member: &str, expires_at: Option<Timestamp>) -> Command {
    Command::GrantAgencyAccess { user: user(member), template: Template::Builder, expires_at }
}
fn confirm(action: &str) -> Command {
    Command::ConfirmPartnerAction { action: action.into(), operation: "refund-7".into(), expires_in_s: None }
}
fn spend(action: &str) -> Command {
    Command::SpendConfirmation { action: action.into(), operation: "refund-7".into() }
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
        Refusal::NotConfirmable { action: what }
        | Refusal::UnknownDomain { domain: what }
        | Refusal::ConfirmRequired { operation: what, .. } => format!("{code}: {what}"),
        Refusal::OutOfRange { field, .. } => format!("{code}: {field}"),
        Refusal::WrongSiteCode
        | Refusal::AgencyNeeded
        | Refusal::UnknownMember
        | Refusal::AdminActsForAgency
        | Refusal::UnknownStaff
        | Refusal::ApproverNeeded
        | Refusal::UnknownConfirmation
        | Refusal::FreezeUsed
        | Refusal::AlreadyOpen
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
            let acting = who.map(|who| {
                if who.contains(':') { official(who) } else { acting(&world.site, &world.directory, &user(who)) }
            });
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

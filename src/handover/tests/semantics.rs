//! What the golden table cannot show: amounts, deadlines, and what becomes of people.

use super::{
    matrix::strengths,
    world::{
        DAY, HOUR, NOW, World, accept, account, agency, ago, directory, directory_with, engagement, events, frozen,
        handover, managed, offered, partner_built, returning, row, self_managed, settling, trashed, user,
    },
};
use crate::{
    assignment::AgencyStatus,
    handover::{Blocker, Command, HandoverStatus, Refusal, apply, due, invalidate},
    revision::Revision,
    site::{
        AgencyGrant, Confirmation, Domain, Plan, PlanStatus, ReturnReason, Seats, Side, Site, SupportSession, Template,
        Tier,
    },
};

fn reclaim() -> Command {
    Command::ReclaimSite { lock: false, keep: [].into() }
}
fn keeping(people: &[&str]) -> Command {
    Command::ReclaimSite { lock: false, keep: people.iter().map(|id| user(id)).collect() }
}
fn data(applied: &crate::handover::Applied, kind: &str) -> serde_json::Value {
    applied.events.iter().find(|event| event.kind == kind).unwrap().data.clone()
}

#[test]
fn an_offer_says_who_offers_what_to_whom_until_when() {
    let mut world = World::new(self_managed());
    world.does("maria", &Command::OfferPartnerRole { to: agency("studio-north") }).unwrap();
    let offer = world.site.open_handover.clone().unwrap();
    assert_eq!((offer.initiator, offer.initiated_by), (account("user:maria"), user("maria").into()));
    assert_eq!(offer.consents_needed, [account("agency:studio-north")]);
    assert_eq!((offer.offered_at, offer.expires_at), (NOW, NOW.plus(DAY * 14)));
    assert_eq!((offer.revision_at_offer, offer.preview_digest.as_str()), (Revision(40), "sha256:preview"));
    assert_eq!(world.site.seats, self_managed().seats);
    assert_eq!(world.site.revision, Revision(41));
}

#[test]
fn accepting_moves_the_plan_and_nothing_of_the_clients() {
    let mut world = World::new(offered(self_managed(), NOW.plus(DAY)));
    let applied = world.does("nora", &accept("h-open")).unwrap();
    let seated = engagement(&mut world.site).clone();
    assert_eq!((seated.client, seated.partner), (user("maria"), agency("studio-north")));
    assert_eq!((seated.since, seated.settling_until), (NOW, NOW.plus(DAY * 7)));
    assert_eq!((seated.handover, seated.plan_before), (Some(handover("h-open")), Some(Plan::of(Tier::Premium))));
    assert_eq!(world.site.domains, self_managed().domains);
    assert_eq!(world.site.contributors, self_managed().contributors);
    assert_eq!(world.site.open_handover, None);
    let accepted = &applied.handovers[0];
    assert!(accepted.consents_needed.is_empty());
    let consent = &accepted.consents_given[0];
    assert_eq!((&consent.account, &consent.by), (&account("agency:studio-north"), &user("nora")));
    assert_eq!((consent.at, consent.explanation_digest.as_str(), consent.lang.as_str()), (NOW, "sha256:read", "en"));
    let seats = data(&applied, "SeatsChanged");
    assert_eq!(seats["before"]["owner"], "user:maria");
    assert_eq!(
        (&seats["after"]["client"], &seats["after"]["partner"]),
        (&"user:maria".into(), &"agency:studio-north".into())
    );
    let plan = data(&applied, "PlanHolderChanged");
    assert_eq!((&plan["from"], &plan["to"]), (&"user:maria".into(), &"agency:studio-north".into()));
}

#[test]
fn accepting_an_assignment_gives_the_client_content_and_the_agencys_domains() {
    let mut site = offered(partner_built(), NOW.plus(DAY));
    site.domains.push(Domain { name: "other.example".to_owned(), holder: account("user:zoe") });
    site.contributors.insert(user("maria"), row("Viewer", "agency:studio-north", Side::Partner));
    let mut world = World::new(site);
    let applied = world.does("maria", &accept("h-open")).unwrap();
    assert_eq!(events(&applied), ["HandoverAccepted", "TitleGranted", "SeatsChanged"]);
    assert_eq!(data(&applied, "TitleGranted")["domains"], serde_json::json!(["bakery.example"]));
    let holders: Vec<_> = world.site.domains.iter().map(|domain| domain.holder.to_string()).collect();
    assert_eq!(holders, ["user:maria", "user:zoe"]);
    assert!(!world.site.contributors.contains_key(&user("maria")), "the seat subsumes the row");
    assert_eq!(world.site.seats.plan_holder(), Some(account("agency:studio-north")));
    assert_eq!(engagement(&mut world.site).plan_before, None);
}

#[test]
fn the_agencys_people_come_through_the_agency_from_now_on() {
    let mut site = offered(self_managed(), NOW.plus(DAY));
    for (who, role) in [("nora", "CoOwner"), ("milo", "WebsiteManager"), ("bill", "BillingManager")] {
        site.contributors.insert(user(who), row(role, "user:maria", Side::Client));
    }
    let mut world = World::new(site);
    let applied = world.does("nora", &accept("h-open")).unwrap();
    let left: Vec<_> = world.site.contributors.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["bill", "eva"], "who handles invoices had a role of their own and keeps it");
    let milo = &world.site.grants[&user("milo")];
    assert_eq!(milo.template, Template::Manager, "the widest within a website manager's rights");
    assert!(strengths().within(milo.template.role(), "WebsiteManager"));
    let seats = data(&applied, "SeatsChanged");
    assert_eq!(seats["removed"]["nora"]["role"], "CoOwner");
    assert_eq!(seats["granted"]["milo"]["template"], "manager");
}

#[test]
fn a_row_that_no_delegation_fits_stays() {
    let mut site = offered(self_managed(), NOW.plus(DAY));
    site.contributors.insert(user("milo"), row("BlogEditor", "user:maria", Side::Client));
    let mut world = World::new(site);
    world.does("nora", &accept("h-open")).unwrap();
    assert_eq!(world.site.contributors[&user("milo")].role, "BlogEditor");
    assert!(world.site.grants.is_empty());
}

#[test]
fn a_delegation_that_the_agency_made_before_stands() {
    let mut site = offered(partner_built(), NOW.plus(DAY));
    let builder = AgencyGrant { template: Template::Builder, expires_at: Some(NOW.plus(DAY)) };
    site.grants.insert(user("milo"), builder.clone());
    site.contributors.insert(user("milo"), row("CoOwner", "agency:studio-north", Side::Partner));
    let mut world = World::new(site);
    world.does("maria", &accept("h-open")).unwrap();
    assert_eq!(world.site.grants[&user("milo")], builder);
    assert!(!world.site.contributors.contains_key(&user("milo")));
}

#[test]
fn acceptance_asks_again_whatever_the_offer_rested_on() {
    let refused = |site: Site, status| {
        let mut world = World::new(site);
        world.directory = directory_with("studio-north", status);
        world.does("nora", &accept("h-open")).unwrap_err()
    };
    let open = || offered(self_managed(), NOW.plus(DAY));
    assert_eq!(refused(open(), AgencyStatus::Dissolving), Refusal::Blocked(vec![Blocker::AgencySuspended]));
    let stopped = frozen(trashed(open()));
    assert_eq!(refused(stopped, AgencyStatus::Active), Refusal::Blocked(vec![Blocker::Frozen, Blocker::Trashed]));
    let mut stuck = open();
    stuck.plan.transferable = false;
    assert_eq!(refused(stuck, AgencyStatus::Active), Refusal::Blocked(vec![Blocker::PlanNotTransferable]));
    let mut sold = open();
    sold.seats = Seats::SelfManaged { owner: user("zoe") };
    assert_eq!(refused(sold, AgencyStatus::Active), Refusal::Terminal(HandoverStatus::Invalidated));
}

#[test]
fn a_member_of_the_agency_never_accepts() {
    for who in ["milo", "bill", "maria"] {
        let mut world = World::new(offered(self_managed(), NOW.plus(DAY)));
        assert_eq!(world.does(who, &accept("h-open")), Err(Refusal::NotAParty), "{who}");
    }
}

#[test]
fn an_answer_after_the_end_says_how_it_ended() {
    let mut world = World::new(offered(self_managed(), NOW.plus(DAY)));
    world.does("nora", &accept("h-open")).unwrap();
    assert_eq!(world.does("nora", &accept("h-open")), Err(Refusal::Terminal(HandoverStatus::Accepted)));
    let cancel = Command::CancelHandover { handover: handover("h-open") };
    assert_eq!(world.does("maria", &cancel), Err(Refusal::Terminal(HandoverStatus::Accepted)));
}

#[test]
fn an_offer_runs_out_at_its_deadline_to_the_microsecond() {
    let mut world = World::new(offered(self_managed(), NOW));
    assert_eq!(world.does("nora", &accept("h-open")), Err(Refusal::Terminal(HandoverStatus::Expired)));
    world.now = NOW.plus(DAY);
    let applied = world.time_does(&due(&world.site, &world.directory, world.now).unwrap()).unwrap();
    assert_eq!(applied.handovers[0].ended_at, Some(NOW), "as of the deadline, however late the worker");
    assert_eq!(due(&world.site, &world.directory, world.now), None);
}

#[test]
fn undoing_while_settling_is_as_if_nothing_had_been() {
    let mut world = World::new(offered(self_managed(), NOW.plus(DAY)));
    world.does("nora", &accept("h-open")).unwrap();
    world.site.plan.tier = Tier::Free;
    world.now = NOW.plus(DAY * 6);
    world.does("maria", &reclaim()).unwrap();
    assert_eq!(world.site, Site { revision: Revision(42), ..self_managed() });
    let mut world = World::new(settling());
    world.does("nora", &Command::ResignAsPartner).unwrap();
    assert_eq!(world.site.plan, Plan::of(Tier::Free), "the partner undoes it as well");
}

#[test]
fn undoing_an_assignment_gives_a_bridge_and_no_bill() {
    let mut world = World::new(offered(partner_built(), NOW.plus(DAY)));
    world.does("maria", &accept("h-open")).unwrap();
    world.does("maria", &reclaim()).unwrap();
    assert_eq!(world.site.seats, Seats::SelfManaged { owner: user("maria") });
    assert_eq!(world.site.plan.bridge_until, Some(NOW.plus(DAY * 14)));
}

#[test]
fn what_an_agency_owes_when_the_client_comes_ends_in_a_return() {
    let owing = |status, lapses_at| {
        let mut site = offered(partner_built(), NOW.plus(DAY));
        (site.plan.status, site.plan.lapses_at) = (status, lapses_at);
        let mut world = World::new(site);
        let applied = world.does("maria", &accept("h-open")).unwrap();
        (world, applied)
    };
    let lapses_at = NOW.plus(DAY * 3);
    let (mut world, applied) = owing(PlanStatus::PastDue, Some(lapses_at));
    assert_eq!(world.site.plan.returns_at, Some(lapses_at.plus(DAY * 14)));
    let told = data(&applied, "PlanPastDue");
    assert_eq!((&told["holder"], &told["client"]), (&"agency:studio-north".into(), &"user:maria".into()));
    assert_eq!(told["returns_at"], serde_json::json!(lapses_at.plus(DAY * 14)));
    assert_eq!(engagement(&mut world.site).return_pending, None);
    let (mut world, applied) = owing(PlanStatus::Lapsed, None);
    let pending = engagement(&mut world.site).return_pending.clone().unwrap();
    assert_eq!((pending.reason, pending.effective_at), (ReturnReason::PlanLapsed, NOW.plus(DAY * 14)));
    assert_eq!(data(&applied, "ReturnScheduled")["reason"], "plan_lapsed");
    // The control: a paid plan owes nobody anything.
    let (mut world, _) = owing(PlanStatus::Ok, None);
    assert_eq!((world.site.plan.returns_at, &engagement(&mut world.site).return_pending), (None, &None));
}

#[test]
fn a_reclaim_takes_the_shorter_of_two_notices() {
    for (resigned, expected) in [(DAY * 9, DAY * 5), (DAY * 2, DAY * 2)] {
        let mut world = World::new(returning(ReturnReason::Resign, NOW.plus(resigned)));
        world.does("maria", &reclaim()).unwrap();
        let pending = world.site.return_pending().unwrap();
        assert_eq!((pending.reason, pending.effective_at), (ReturnReason::Reclaim, NOW.plus(expected)));
        world.does("maria", &Command::WithdrawReclaim).unwrap();
        assert_eq!(world.site.return_pending(), None, "the resignation does not revive");
    }
}

#[test]
fn under_a_freeze_a_reclaim_is_recorded_and_its_clock_waits() {
    let mut world = World::new(frozen(settling()));
    world.does("maria", &reclaim()).unwrap();
    assert_eq!(world.site.return_pending().unwrap().effective_at, NOW.plus(DAY * 8));
    // The freeze is over while the sides still settle: asking again needs no notice any more.
    world.now = NOW.plus(DAY * 4);
    world.does("maria", &reclaim()).unwrap();
    assert_eq!(world.site.seats, Seats::SelfManaged { owner: user("maria") });
}

#[test]
fn a_return_takes_effect_as_of_its_deadline_and_leaves_nothing_behind() {
    let mut site = returning(ReturnReason::Reclaim, ago(DAY * 2));
    site.contributors.insert(user("zoe"), row("WebsiteDesigner", "agency:studio-north", Side::Partner));
    site.grants.insert(user("milo"), AgencyGrant { template: Template::Manager, expires_at: None });
    site.blocked.insert(user("bill"));
    site.confirmations.push(Confirmation { action: "RefundOrder".into(), operation: "1".into(), expires_at: NOW });
    for by in ["agency:studio-north", "user:maria"] {
        site.sessions.push(SupportSession { agent: "sam".parse().unwrap(), granted_by: account(by), until: NOW });
    }
    let mut world = World::new(site);
    assert_eq!(due(&world.site, &world.directory, NOW), Some(Command::ReturnEffective));
    let applied = world.time_does(&Command::ReturnEffective).unwrap();
    let site = &world.site;
    assert_eq!(site.plan.bridge_until, Some(ago(DAY * 2).plus(DAY * 14)));
    assert_eq!(data(&applied, "SiteReturned")["at"], serde_json::json!(ago(DAY * 2)));
    assert_eq!(site.contributors.keys().map(ToString::to_string).collect::<Vec<_>>(), ["eva", "paul"]);
    let paul = &site.contributors[&user("paul")];
    assert_eq!((&paul.grantor, paul.side, paul.revision), (&account("user:maria"), Side::Client, Revision(41)));
    assert!(site.grants.is_empty() && site.blocked.is_empty() && site.confirmations.is_empty());
    assert_eq!(site.sessions.len(), 1);
    assert_eq!(site.domains, managed().domains);
    assert_eq!(due(site, &world.directory, NOW), None);
}

#[test]
fn a_person_who_rose_above_the_ceiling_since_is_not_kept() {
    let mut site = returning(ReturnReason::Reclaim, ago(HOUR));
    site.contributors.insert(user("paul"), row("BillingManager", "agency:studio-north", Side::Partner));
    let mut world = World::new(site);
    world.time_does(&Command::ReturnEffective).unwrap();
    assert!(!world.site.contributors.contains_key(&user("paul")));
}

#[test]
fn only_people_of_the_partners_below_the_ceiling_are_kept() {
    let mut site = managed();
    site.contributors.insert(user("zoe"), row("BillingManager", "agency:studio-north", Side::Partner));
    let mut world = World::new(site);
    let may_not = |role: &str| Err(Refusal::MayNotGrant { role: role.to_owned() });
    assert_eq!(world.does("maria", &keeping(&["zoe"])), may_not("BillingManager"));
    assert_eq!(world.does("maria", &keeping(&["eva"])), may_not("WebsiteManager"));
    assert_eq!(world.does("maria", &keeping(&["milo"])), Err(Refusal::UnknownContributor));
    world.does("maria", &keeping(&["paul"])).unwrap();
    assert!(world.site.return_pending().unwrap().keep.contains(&user("paul")));
}

#[test]
fn a_freeze_stops_the_clock_of_a_return_and_not_that_of_an_offer() {
    assert_eq!(due(&frozen(returning(ReturnReason::Reclaim, ago(HOUR))), &directory(), NOW), None);
    let expired = frozen(offered(self_managed(), ago(HOUR)));
    assert_eq!(due(&expired, &directory(), NOW), Some(Command::ExpireHandover { handover: handover("h-open") }));
}

#[test]
fn what_is_due_cannot_be_withdrawn() {
    let mut world = World::new(returning(ReturnReason::Reclaim, NOW));
    assert!(matches!(world.does("maria", &Command::WithdrawReclaim), Err(Refusal::Illegal { .. })));
}

#[test]
fn invalidating_ends_the_open_offer_and_only_that() {
    let site = offered(self_managed(), NOW.plus(DAY));
    let ended = invalidate(&site, NOW).unwrap();
    assert_eq!(events(&ended), ["HandoverInvalidated"]);
    assert_eq!(ended.handovers[0].status, HandoverStatus::Invalidated);
    assert_eq!(ended.site, self_managed());
    let expired = invalidate(&site, NOW.plus(DAY)).unwrap();
    assert_eq!(expired.handovers[0].status, HandoverStatus::Expired, "it had run out before");
    assert_eq!(invalidate(&self_managed(), NOW), None);
    assert!(site.open_handover.unwrap().names(&account("agency:studio-north")));
}

#[test]
fn the_changing_actor_answers_for_the_row_and_the_side_stays() {
    let mut world = World::new(managed());
    world.does("maria", &Command::ChangeRole { user: user("paul"), role: "Viewer".into() }).unwrap();
    let paul = &world.site.contributors[&user("paul")];
    assert_eq!((&paul.grantor, paul.side, paul.role.as_str()), (&account("user:maria"), Side::Partner, "Viewer"));
}

#[test]
fn who_has_no_row_leaves_the_delegation_and_nobody_leaves_a_seat() {
    let mut site = managed();
    site.grants.insert(user("milo"), AgencyGrant { template: Template::Builder, expires_at: None });
    let mut world = World::new(site);
    let applied = world.does("milo", &Command::LeaveSite).unwrap();
    assert_eq!(events(&applied), ["AgencyGrantChanged"]);
    assert!(world.site.grants.is_empty());
    assert!(matches!(world.does("milo", &Command::LeaveSite), Err(Refusal::Illegal { .. })));
}

#[test]
fn time_alone_grants_nothing() {
    let world = World::new(managed());
    let grant = Command::GrantRole { user: user("zoe"), role: "Viewer".into() };
    assert_eq!(world.try_with(&apply, None, &grant), Err(Refusal::MayNotGrant { role: "Viewer".to_owned() }));
    assert_eq!(world.try_with(&apply, None, &Command::LeaveSite), Err(Refusal::NotAParty));
}

//! What only the service as a whole can get wrong: who acts by which route, what a registration keeps, who may look.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use smol_str::SmolStr;

use super::*;
use crate::{
    assignment::{AgencyStatus, Asked, MemberRole, SHIPPED},
    clock::SettableClock,
    explanation::Audience,
    handover::Command,
    ids::{HandoverId, Principal, SiteId, UserId},
    site::{Mode, Seats, Side, Site, Tier},
    store::Store,
};

/// A service on a file of its own, with a clock that stands.
struct Desk {
    app: Arc<App>,
    clock: Arc<SettableClock>,
    keys: std::cell::Cell<u32>,
    folder: tempfile::TempDir,
}

impl Desk {
    /// Maria's shop, and the agencies north (admin ann) and south (admin sue).
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SettableClock::at("2026-11-10T09:00:00Z".parse().unwrap()));
        let shared: Arc<dyn crate::clock::Clock> = Arc::<SettableClock>::clone(&clock);
        let app = App::open(&folder.path().join("mandate.db"), Arc::clone(&SHIPPED), Rules::default(), shared).await;
        let desk = Self { app: app.unwrap(), clock, keys: std::cell::Cell::new(0), folder };
        for (agency, admin) in [("north", "ann"), ("south", "sue")] {
            desk.agency(agency, Some(true), Some(AgencyStatus::Active)).await;
            desk.member(agency, admin, MemberRole::Admin).await;
        }
        desk.site("shop", Mode::SelfManaged, "user:maria").await;
        desk
    }
    async fn agency(&self, id: &str, verified: Option<bool>, status: Option<AgencyStatus>) {
        let update = AgencyUpdate {
            name: format!("Studio {id}"),
            domain: format!("{id}.example"),
            verified,
            status,
            card: None,
            case: None,
        };
        self.app.put_agency(id.parse().unwrap(), update).await.unwrap();
    }
    async fn member(&self, agency: &str, user: &str, role: MemberRole) {
        self.app.put_member(agency.parse().unwrap(), user.parse().unwrap(), Some(role)).await.unwrap();
    }
    async fn site(&self, id: &str, mode: Mode, owner: &str) {
        let update = SiteUpdate {
            mode: Some(mode),
            owner: Some(owner.parse().unwrap()),
            plan: Some(PlanUpdate { tier: Some(Tier::Premium), ..PlanUpdate::default() }),
            published: Some(true),
            domains: None,
            blockers: None,
        };
        self.app.put_site(id.parse().unwrap(), update).await.unwrap();
    }
    fn request(&self, site: &str, actor: &str, command: Command, preview_digest: Option<&str>) -> CommandRequest {
        self.keys.set(self.keys.get() + 1);
        CommandRequest {
            site: site.parse().unwrap(),
            caller: "test".to_owned(),
            path: String::new(),
            key: Some(self.keys.get().to_string()),
            fingerprint: String::new(),
            actor: Principal::User(actor.parse().unwrap()),
            auth_time: Some(self.app.now().as_seconds()),
            command,
            if_match: None,
            preview_digest: preview_digest.map(SmolStr::new),
            lang: "en".into(),
        }
    }
    async fn does(&self, site: &str, actor: &str, command: Command) -> Result<Reply, Failure> {
        self.app.command(self.request(site, actor, command, None)).await
    }
    async fn offer(&self, site: &str, actor: &str, command: Command) -> HandoverId {
        let preview = self.app.preview(self.request(site, actor, command.clone(), None)).await.unwrap();
        let digest = serde_json::to_value(&preview).unwrap()["digest"].as_str().unwrap().to_owned();
        let reply = self.app.command(self.request(site, actor, command, Some(&digest))).await.unwrap();
        reply.body["handover"]["id"].as_str().unwrap().parse().unwrap()
    }
    async fn accept(&self, site: &str, actor: &str, handover: &HandoverId, audience: Audience) -> Reply {
        let digest = self.app.explanation(handover, audience, "en").await.unwrap().digest;
        let command = Command::AcceptHandover {
            handover: handover.clone(),
            explanation_digest: digest.into(),
            lang: SmolStr::new_static("en"),
        };
        self.does(site, actor, command).await.unwrap()
    }
    async fn hand_over(&self) {
        let to = "north".parse().unwrap();
        let offer = self.offer("shop", "maria", Command::OfferPartnerRole { to }).await;
        self.accept("shop", "ann", &offer, Audience::Partner).await;
    }
    async fn stored(&self, site: &str) -> Site {
        self.app.site(&site.parse::<SiteId>().unwrap()).await.unwrap()
    }
    async fn allows(&self, user: &str, action: &str, site: &str) -> bool {
        let question = Question {
            principal: Some(Principal::User(user.parse().unwrap())),
            action,
            site: Some(site.parse().unwrap()),
            asked: Asked::default(),
            detail: Detail::Bare,
        };
        self.app.check(&question).await.unwrap().outcome.allowed
    }
}

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

fn grant(id: &str, role: &str) -> Command {
    Command::GrantRole { user: user(id), role: SmolStr::new(role) }
}

#[tokio::test]
async fn who_holds_a_right_twice_grants_by_one_route_and_is_booked_to_its_side() {
    let desk = Desk::open().await;
    desk.hand_over().await;
    desk.does("shop", "maria", grant("wil", "WebsiteManager")).await.unwrap();
    let refused = desk.does("shop", "wil", grant("mole", "BillingManager")).await.unwrap_err();
    assert_eq!(refused.code, "may_not_grant", "the control: a website manager alone may not");
    desk.member("north", "wil", MemberRole::Admin).await;
    desk.does("shop", "wil", grant("mole", "BillingManager")).await.unwrap();
    desk.does("shop", "wil", grant("pete", "Viewer")).await.unwrap();
    let site = desk.stored("shop").await;
    let mole = &site.contributors[&user("mole")];
    assert_eq!(
        (mole.grantor.to_string().as_str(), mole.side),
        ("agency:north", Side::Partner),
        "as the partner's admin"
    );
    let pete = &site.contributors[&user("pete")];
    assert_eq!((pete.grantor.to_string().as_str(), pete.side), ("user:wil", Side::Client), "as the client's manager");
    // I24: nothing that came through the partner outlives it.
    desk.does("shop", "maria", Command::ReclaimSite { lock: false, keep: BTreeSet::new() }).await.unwrap();
    let left: Vec<String> = desk.stored("shop").await.contributors.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["pete", "wil"]);
}

#[tokio::test]
async fn the_bonus_flow_leaves_the_partner_nobody_stronger_than_itself() {
    let desk = Desk::open().await;
    desk.site("florist", Mode::PartnerBuilt, "agency:north").await;
    desk.does("florist", "ann", grant("friend", "CoOwner")).await.unwrap();
    desk.does("florist", "ann", grant("bert", "BlogEditor")).await.unwrap();
    assert!(desk.allows("friend", "RefundOrder", "florist").await);
    let offer = desk.offer("florist", "ann", Command::AssignClientRole { to: user("tom") }).await;
    desk.accept("florist", "tom", &offer, Audience::Client).await;
    let site = desk.stored("florist").await;
    assert!(matches!(site.seats, Seats::PartnerManaged(_)));
    assert_eq!(site.contributors.keys().map(ToString::to_string).collect::<Vec<_>>(), ["bert"]);
    assert!(!desk.allows("friend", "RefundOrder", "florist").await);
}

#[tokio::test]
async fn a_put_that_leaves_out_the_status_lifts_no_suspension() {
    let desk = Desk::open().await;
    desk.hand_over().await;
    assert!(desk.allows("ann", "EditContent", "shop").await);
    desk.agency("north", None, Some(AgencyStatus::Suspended)).await;
    desk.agency("north", None, None).await;
    assert!(!desk.allows("ann", "EditContent", "shop").await);
    let agency = desk.app.agency(&"north".parse().unwrap()).await.unwrap();
    assert_eq!((agency.status, agency.verified), (AgencyStatus::Suspended, true));
}

#[tokio::test]
async fn a_handover_is_shown_to_its_own_parties() {
    let desk = Desk::open().await;
    let first = desk.offer("shop", "maria", Command::OfferPartnerRole { to: "north".parse().unwrap() }).await;
    desk.does("shop", "ann", Command::DeclineHandover { handover: first.clone() }).await.unwrap();
    let second = desk.offer("shop", "maria", Command::OfferPartnerRole { to: "south".parse().unwrap() }).await;
    let (first, second) = (desk.app.handover(&first).await.unwrap(), desk.app.handover(&second).await.unwrap());
    for (who, sees) in
        [("ann", [true, false]), ("sue", [false, true]), ("maria", [true, true]), ("eve", [false, false])]
    {
        let viewer = desk.app.viewer(&Principal::User(user(who)), &"shop".parse().unwrap()).await.unwrap();
        assert_eq!([viewer.sees(&first), viewer.sees(&second)], sees, "{who}");
    }
}

#[tokio::test]
async fn a_second_reclaim_adds_whom_to_keep() {
    let desk = Desk::open().await;
    desk.hand_over().await;
    desk.does("shop", "ann", grant("p1", "BlogEditor")).await.unwrap();
    desk.clock.advance(std::time::Duration::from_hours(8 * 24));
    let reclaim = |lock, keep: &[&str]| Command::ReclaimSite { lock, keep: keep.iter().map(|id| user(id)).collect() };
    desk.does("shop", "maria", reclaim(false, &[])).await.unwrap();
    assert_eq!(desk.does("shop", "maria", reclaim(false, &[])).await.unwrap_err().code, "already_so");
    desk.does("shop", "maria", reclaim(true, &["p1"])).await.unwrap();
    let site = desk.stored("shop").await;
    let pending = site.return_pending().unwrap();
    assert!(pending.locked && pending.keep.contains(&user("p1")), "{pending:?}");
}

#[tokio::test]
async fn one_unreadable_site_does_not_hold_up_the_timers_of_others() {
    let desk = Desk::open().await;
    desk.site("second", Mode::SelfManaged, "user:maria").await;
    for site in ["shop", "second"] {
        desk.offer(site, "maria", Command::OfferPartnerRole { to: "north".parse().unwrap() }).await;
    }
    let file = desk.folder.path().join("mandate.db");
    let raw = rusqlite::Connection::open(file).unwrap();
    raw.execute("UPDATE site SET plan = '{}' WHERE id = 'second'", []).unwrap();
    desk.clock.advance(std::time::Duration::from_hours(15 * 24));
    desk.app.commit_due().await.unwrap();
    assert_eq!(desk.stored("shop").await.open_handover, None);
    assert!(desk.app.store().site(&"second".parse().unwrap()).await.is_err(), "the control: it is unreadable");
}

#[tokio::test]
async fn the_list_of_access_is_paged_and_whole() {
    let desk = Desk::open().await;
    for n in 0..25 {
        desk.does("shop", "maria", grant(&format!("u{n:02}"), "Viewer")).await.unwrap();
    }
    let site: SiteId = "shop".parse().unwrap();
    let (mut people, mut after) = (Vec::new(), None);
    loop {
        let (_, page) = desk.app.access(&site, after.as_ref(), 10).await.unwrap();
        people.extend(page.items.iter().map(|entry| entry.principal.id().to_owned()));
        after = page.items.last().map(|entry| user(entry.principal.id()));
        if !page.more {
            break;
        }
    }
    assert_eq!(people.len(), 26, "{people:?}");
    assert_eq!(people.first().map(String::as_str), Some("maria"));
    let body: Value = json!(people);
    assert!(body.as_array().unwrap().is_sorted_by_key(|id| id.as_str().unwrap().to_owned()));
}

//! The cases, each a promise of the port. Named people as in the domain's examples.

use std::{collections::BTreeSet, fmt::Debug, str::FromStr, sync::mpsc, time::Duration};

use serde_json::json;

use super::Bench;
use crate::{
    assignment::{Agency, AgencyStatus, MemberRole, StaffRole},
    handover::{Consent, Handover, HandoverKind, HandoverStatus},
    ids::{Account, SiteId},
    revision::Revision,
    site::{
        AgencyGrant, Confirmation, Contributor, Domain, Engagement, Freeze, Plan, ReturnPending, ReturnReason, Seats,
        Side, Site, SupportSession, Template, Tier, next_deadline,
    },
    store::{Changes, GENESIS, IdempotencyKey, Loaded, NewEvent, Store, StoreError, Verdict, Wanted, verify_audit},
    time::Timestamp,
};

// ---- the examples

fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_000_000 + seconds)
}

fn site(name: &str) -> Site {
    let seats = Seats::SelfManaged { owner: id("maria") };
    Site::registered(id(name), seats, Plan::of(Tier::Premium), true, Vec::new())
}

fn agency(name: &str, members: &[(&str, MemberRole)]) -> Agency {
    Agency {
        id: id(name),
        name: "Studio".into(),
        domain: "studio.example".into(),
        verified: true,
        status: AgencyStatus::Active,
        members: members.iter().map(|(user, role)| (id(user), *role)).collect(),
        revision: Revision(0),
    }
}

fn offer(name: &str, site: &str, offered: i64) -> Handover {
    Handover {
        id: id(name),
        site: id(site),
        kind: HandoverKind::PartnerHandover,
        initiator: id("user:maria"),
        initiated_by: id("maria"),
        to: id("agency:studio-north"),
        status: HandoverStatus::Open,
        consents_needed: vec![id("agency:studio-north")],
        consents_given: Vec::new(),
        offered_at: at(offered),
        expires_at: at(offered + 1000),
        ended_at: None,
        revision_at_offer: Revision(1),
        preview_digest: "sha256:00".into(),
    }
}

fn ended(mut handover: Handover, status: HandoverStatus) -> Handover {
    handover.status = status;
    handover.ended_at = Some(handover.offered_at.plus(Duration::from_secs(1)));
    handover
}

fn contributor(role: &str) -> Contributor {
    Contributor { role: role.into(), grantor: id("user:maria"), side: Side::Client, revision: Revision(0) }
}

fn event(site: Option<&str>, kind: &str) -> NewEvent {
    NewEvent {
        site: site.map(id),
        kind: kind.into(),
        actor: Some(id("user:maria")),
        via: Some("user:maria".into()),
        data: json!({"role": "WebsiteManager", "n": 1.5, "ü": null}),
    }
}

fn key(caller: &str, path: &str, key: &str) -> IdempotencyKey {
    IdempotencyKey { caller: caller.into(), path: path.into(), key: key.into() }
}

// ---- the two ways to use the port

async fn commit<S: Store>(store: &S, wanted: Wanted, changes: Changes) -> Result<Revision, StoreError> {
    let decide = Box::new(move |loaded: &Loaded| Verdict::Commit(Box::new(changes), loaded.head.revision.next()));
    store.change(wanted, decide).await
}

async fn put<S: Store>(store: &S, changes: Changes) -> Revision {
    commit(store, Wanted::default(), changes).await.unwrap()
}

async fn put_site<S: Store>(store: &S, site: Site) -> Revision {
    put(store, Changes { sites: vec![site], ..Changes::default() }).await
}

async fn peek<S: Store>(store: &S, wanted: Wanted) -> Loaded {
    store.change(wanted, Box::new(|loaded: &Loaded| Verdict::Leave(loaded.clone()))).await.unwrap()
}

async fn get<S: Store>(store: &S, name: &str) -> Site {
    store.site(&id(name)).await.unwrap().value.unwrap()
}

fn want(sites: &[&str]) -> Wanted {
    Wanted { sites: sites.iter().map(|name| id(name)).collect(), ..Wanted::default() }
}

/// All that the port shows, as text: equal before and after means that nothing was written.
async fn everything<S: Store>(store: &S) -> String {
    let mut sites = Vec::new();
    for name in store.sites(None, 1000).await.unwrap().items {
        sites.push((store.site(&name).await.unwrap(), store.handovers(&name, None, 1000).await.unwrap()));
    }
    let directory = store.directory().await.unwrap();
    let mut agencies: Vec<_> = directory.value.agencies().collect();
    agencies.sort_by(|a, b| a.id.cmp(&b.id));
    let mut staff: Vec<_> = directory.value.staff().collect();
    staff.sort();
    format!(
        "{:?}\n{sites:?}\n{agencies:?}\n{staff:?}\n{:?}\n{:?}",
        store.head().await.unwrap(),
        store.audit(None, 0, 1000).await.unwrap(),
        store.changes(Revision(0), 1000).await.unwrap(),
    )
}

// ---- the promises

pub(super) async fn an_empty_store_is_at_revision_zero<S: Store>(Bench { store, .. }: Bench<S>) {
    let head = store.head().await.unwrap();
    assert_eq!((head.revision, head.chain.as_str()), (Revision(0), GENESIS));
    assert!(!head.epoch.is_empty());
    assert_eq!(store.site(&id("bakery")).await.unwrap().value, None);
    assert_eq!(store.handover(&id("h-1")).await.unwrap(), None);
    assert!(store.sites(None, 10).await.unwrap().items.is_empty());
    assert!(store.changes(Revision(0), 10).await.unwrap().items.is_empty());
    assert!(store.audit(None, 0, 10).await.unwrap().items.is_empty());
    assert_eq!(store.due(at(0), 10).await.unwrap(), (Vec::new(), None));
    assert_eq!(store.directory().await.unwrap().value.agencies().count(), 0);
    assert_eq!(verify_audit(&*store).await.unwrap().events, 0);
}

pub(super) async fn every_commit_is_the_next_revision<S: Store>(Bench { store, seen }: Bench<S>) {
    for n in 1..=12 {
        let changes = match n % 3 {
            // With a row, without an event; with both; with neither.
            0 => Changes { sites: vec![site("bakery")], ..Changes::default() },
            1 => Changes {
                sites: vec![site("bakery")],
                events: vec![event(Some("bakery"), "SiteRegistered"), event(Some("bakery"), "PlanHolderChanged")],
                ..Changes::default()
            },
            _ => Changes::default(),
        };
        let touched = !changes.sites.is_empty();
        assert_eq!(put(&*store, changes).await, Revision(n));
        assert_eq!(store.head().await.unwrap().revision, Revision(n));
        if touched {
            let found = store.site(&id("bakery")).await.unwrap();
            assert_eq!((found.revision, found.value.unwrap().revision), (Revision(n), Revision(n)));
        }
    }
    let told: Vec<u64> = seen.lock().iter().map(|committed| committed.revision.0).collect();
    assert_eq!(told, (1..=12).collect::<Vec<_>>());
}

pub(super) async fn leaving_writes_nothing<S: Store>(Bench { store, seen }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let before = everything(&*store).await;
    let loaded = peek(&*store, want(&["bakery", "unknown"])).await;
    assert_eq!(loaded.sites, [Some(get(&*store, "bakery").await), None]);
    assert_eq!(loaded.head, store.head().await.unwrap());
    assert_eq!(everything(&*store).await, before);
    assert_eq!(seen.lock().len(), 1);
}

pub(super) async fn a_decision_sees_exactly_the_committed_state<S: Store>(Bench { store, .. }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    for n in 0..8 {
        let before = get(&*store, "bakery").await;
        let (head, name) = (store.head().await.unwrap(), format!("user-{n}"));
        let decide = Box::new(move |loaded: &Loaded| {
            let mut site = loaded.sites[0].clone().unwrap();
            let same = loaded.head == head && site == before;
            site.contributors.insert(id(&name), contributor("BackOfficeManager"));
            Verdict::Commit(Box::new(Changes { sites: vec![site], ..Changes::default() }), same)
        });
        assert!(store.change(want(&["bakery"]), decide).await.unwrap(), "the decision saw another state");
    }
    assert_eq!(get(&*store, "bakery").await.contributors.len(), 8);
}

pub(super) async fn concurrent_changes_follow_each_other<S: Store>(Bench { store, seen }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let decide = Box::new(|loaded: &Loaded| {
                    let mut site = loaded.sites[0].clone().unwrap();
                    let before = (loaded.head.revision, site.revision);
                    // The next number: two that saw the same state would choose the same.
                    let name = format!("user-{}", site.contributors.len());
                    site.contributors.insert(id(&name), contributor("BackOfficeManager"));
                    let events = vec![event(Some("bakery"), "ContributorAdded")];
                    Verdict::Commit(Box::new(Changes { sites: vec![site], events, ..Changes::default() }), before)
                });
                store.change(want(&["bakery"]), decide).await.unwrap()
            })
        })
        .collect();
    let mut seen_at = BTreeSet::new();
    for task in tasks {
        let (head, site) = task.await.unwrap();
        assert_eq!(head, site, "every change is to this site, so its revision is the head's");
        assert!(seen_at.insert(head), "two changes saw revision {head}");
    }
    assert_eq!(get(&*store, "bakery").await.contributors.len(), 40);
    assert_eq!(store.head().await.unwrap().revision, Revision(41));
    let told: Vec<u64> = seen.lock().iter().map(|committed| committed.revision.0).collect();
    assert_eq!(told, (1..=41).collect::<Vec<_>>());
    assert_eq!(verify_audit(&*store).await.unwrap().events, 40);
}

pub(super) async fn a_refused_change_leaves_no_part_behind<S: Store>(Bench { store, seen }: Bench<S>) {
    let mut held = site("bakery");
    held.open_handover = Some(offer("h-1", "bakery", 0));
    put_site(&*store, held).await;
    let before = everything(&*store).await;
    let wanted = Wanted { key: Some(key("cms", "/p", "k-1")), ..want(&["bakery"]) };
    // Everything here is fine but the last part: a second live handover on one site.
    let changes = Changes {
        sites: vec![site("florist")],
        agencies: vec![agency("studio-north", &[("ada", MemberRole::Admin)])],
        staff: vec![(id("sam"), Some(StaffRole::Support))],
        events: vec![event(Some("florist"), "SiteRegistered")],
        reply: Some(("print".into(), json!({}))),
        handovers: vec![offer("h-2", "bakery", 5)],
        ..Changes::default()
    };
    let refused = commit(&*store, wanted.clone(), changes).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(everything(&*store).await, before);
    assert_eq!(peek(&*store, wanted).await.stored, None);
    assert_eq!(seen.lock().len(), 1);
    assert_eq!(put_site(&*store, site("florist")).await, Revision(2), "the next change finds the store usable");
}

pub(super) async fn a_decision_that_panics_writes_nothing<S: Store>(Bench { store, seen }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let before = everything(&*store).await;
    let panicked: Result<(), _> = store.change(want(&["bakery"]), Box::new(|_| panic!("on purpose"))).await;
    assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
    assert_eq!(everything(&*store).await, before);
    assert_eq!(put_site(&*store, site("bakery")).await, Revision(2));
    assert_eq!(seen.lock().len(), 2);
}

/// A site with something in every field.
fn full_site() -> Site {
    let mut plan = Plan::of(Tier::Premium);
    plan.name = Some("Business".into());
    plan.next_charge_at = Some(at(77));
    let seats = Seats::PartnerManaged(Box::new(Engagement {
        client: id("maria"),
        partner: id("studio-north"),
        since: at(1),
        settling_until: at(2),
        handover: Some(id("h-0")),
        plan_before: Some(Plan::of(Tier::Free)),
        freeze_used: true,
        return_pending: Some(ReturnPending {
            reason: ReturnReason::Reclaim,
            requested_at: at(3),
            effective_at: at(4),
            locked: true,
            keep: BTreeSet::from([id("tom")]),
        }),
    }));
    let domains = vec![Domain { name: "bakery.example".into(), holder: id("user:maria") }];
    let mut site = Site::registered(id("bakery"), seats, plan, false, domains);
    site.trashed_at = Some(at(5));
    site.frozen = Some(Freeze { until: at(6), case: "case \"7\"".into() });
    site.contributors.insert(id("tom"), contributor("WebsiteManager"));
    let partner_side =
        Contributor { grantor: id("agency:studio-north"), side: Side::Partner, ..contributor("CoOwner") };
    site.contributors.insert(id("uma"), partner_side);
    site.grants.insert(id("ben"), AgencyGrant { template: Template::Builder, expires_at: Some(at(9)) });
    site.grants.insert(id("eve"), AgencyGrant { template: Template::Manager, expires_at: None });
    site.blocked.insert(id("mallory"));
    for operation in ["refund-2", "refund-1", "refund-1"] {
        let operation = operation.into();
        site.confirmations.push(Confirmation { action: "RefundOrder".into(), operation, expires_at: at(10) });
    }
    site.sessions.push(SupportSession { agent: id("sam"), granted_by: id("user:maria"), until: at(11) });
    site
}

pub(super) async fn everything_on_a_site_comes_back<S: Store>(Bench { store, seen }: Bench<S>) {
    put(&*store, Changes { agencies: vec![agency("studio-north", &[])], ..Changes::default() }).await;
    let mut offered = offer("h-1", "bakery", 20);
    offered.status = HandoverStatus::Requested;
    offered.kind = HandoverKind::PartnerReplacement;
    offered.consents_given = vec![Consent {
        account: id("user:maria"),
        by: id("maria"),
        at: at(21),
        explanation_digest: "sha256:01".into(),
        lang: "en".into(),
    }];
    let mut expected = full_site();
    expected.open_handover = Some(offered.clone());
    put_site(&*store, expected.clone()).await;
    expected.revision = Revision(2);
    expected.contributors.values_mut().for_each(|c| c.revision = Revision(2));
    assert_eq!(get(&*store, "bakery").await, expected);
    assert_eq!(seen.lock()[1].sites, [expected.clone()]);
    assert_eq!(peek(&*store, want(&["bakery"])).await.sites, [Some(expected.clone())]);
    assert_eq!(store.handover(&id("h-1")).await.unwrap(), Some(offered.clone()));

    // And all of it goes again.
    let mut emptied = site("bakery");
    put(
        &*store,
        Changes {
            sites: vec![emptied.clone()],
            handovers: vec![ended(offered, HandoverStatus::Superseded)],
            ..Changes::default()
        },
    )
    .await;
    emptied.revision = Revision(3);
    assert_eq!(get(&*store, "bakery").await, emptied);
    assert_eq!(next_deadline(&emptied), None);
    assert_eq!(store.due(at(1_000_000), 10).await.unwrap(), (Vec::new(), None));
}

pub(super) async fn one_person_in_a_thousand_costs_one_row<S: Store>(Bench { store, .. }: Bench<S>) {
    let mut crowd = site("bakery");
    for n in 0..1000 {
        crowd.contributors.insert(id(&format!("user-{n}")), contributor("BackOfficeManager"));
    }
    put_site(&*store, crowd.clone()).await;
    let mut changed = get(&*store, "bakery").await;
    changed.contributors.get_mut("user-500").unwrap().role = "WebsiteManager".into();
    changed.contributors.remove("user-501");
    changed.contributors.insert(id("user-new"), contributor("WebsiteDesigner"));
    // Whatever revision the caller left on an unchanged row does not count.
    changed.contributors.get_mut("user-502").unwrap().revision = Revision(77);
    put_site(&*store, changed.clone()).await;
    let found = get(&*store, "bakery").await;
    assert_eq!(found.contributors.len(), 1000);
    assert!(!found.contributors.contains_key("user-501"));
    for (user, row) in &found.contributors {
        let new = matches!(user.as_str(), "user-500" | "user-new");
        assert_eq!(row.revision, Revision(if new { 2 } else { 1 }), "{user}");
    }
    // An import that knows no revisions and carries the same people changes no row.
    found.contributors.keys().for_each(|user| assert!(changed.contributors.contains_key(user)));
    changed.contributors.values_mut().for_each(|row| row.revision = Revision(0));
    put_site(&*store, changed).await;
    assert_eq!(get(&*store, "bakery").await.contributors, found.contributors);
}

pub(super) async fn a_purged_site_keeps_its_id<S: Store>(Bench { store, .. }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let mut purged = site("bakery");
    purged.seats = Seats::Purged;
    put_site(&*store, purged).await;
    assert_eq!(get(&*store, "bakery").await.seats, Seats::Purged);
    let again = commit(&*store, Wanted::default(), Changes { sites: vec![site("bakery")], ..Changes::default() }).await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))), "a purged site came back: {again:?}");
    assert_eq!(store.sites(None, 10).await.unwrap().items, [id("bakery")]);
}

pub(super) async fn a_site_has_one_live_handover<S: Store>(Bench { store, .. }: Bench<S>) {
    let mut offered = site("bakery");
    offered.open_handover = Some(offer("h-1", "bakery", 0));
    put_site(&*store, offered.clone()).await;
    assert_eq!(get(&*store, "bakery").await.open_handover, Some(offer("h-1", "bakery", 0)));

    // A second one beside it, a site that forgets its offer, one that names an ended one: all contradict themselves.
    let mut second = offered.clone();
    second.open_handover = Some(offer("h-2", "bakery", 1));
    let mut stale = offered.clone();
    stale.open_handover = Some(ended(offer("h-1", "bakery", 0), HandoverStatus::Declined));
    for wrong in [second.clone(), site("bakery"), stale] {
        let refused = commit(&*store, Wanted::default(), Changes { sites: vec![wrong], ..Changes::default() }).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    // In one change the first may end and the second open.
    let handovers = vec![offer("h-2", "bakery", 1), ended(offer("h-1", "bakery", 0), HandoverStatus::Superseded)];
    put(&*store, Changes { sites: vec![second], handovers, ..Changes::default() }).await;
    let loaded = peek(&*store, Wanted { handover: Some(id("h-1")), ..want(&["bakery"]) }).await;
    assert_eq!(loaded.handover.unwrap().status, HandoverStatus::Superseded);
    assert_eq!(loaded.sites[0].as_ref().unwrap().open_handover, Some(offer("h-2", "bakery", 1)));
    // What has ended stays as it ended.
    let revived =
        Changes { handovers: vec![ended(offer("h-1", "bakery", 0), HandoverStatus::Accepted)], ..Changes::default() };
    assert!(commit(&*store, Wanted::default(), revived).await.is_err());
}

pub(super) async fn handovers_are_kept_oldest_first<S: Store>(Bench { store, .. }: Bench<S>) {
    put(&*store, Changes { sites: vec![site("bakery"), site("florist")], ..Changes::default() }).await;
    for (name, of, offered) in [("h-b", "bakery", 1), ("h-z", "florist", 2), ("h-a", "bakery", 3), ("h-c", "bakery", 3)]
    {
        let handovers = vec![ended(offer(name, of, offered), HandoverStatus::Cancelled)];
        put(&*store, Changes { handovers, ..Changes::default() }).await;
    }
    let first = store.handovers(&id("bakery"), None, 2).await.unwrap();
    assert_eq!(first.items.iter().map(|h| h.id.as_str()).collect::<Vec<_>>(), ["h-b", "h-a"]);
    assert!(first.more);
    let rest = store.handovers(&id("bakery"), Some(&id("h-a")), 2).await.unwrap();
    assert_eq!(rest.items.iter().map(|h| h.id.as_str()).collect::<Vec<_>>(), ["h-c"]);
    assert!(!rest.more);
    let none = store.handovers(&id("bakery"), Some(&id("h-z")), 2).await.unwrap();
    assert!(none.items.is_empty(), "another site's handover is no place to go on from");
}

pub(super) async fn a_handover_alone_touches_its_site<S: Store>(Bench { store, seen }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    put(&*store, Changes { handovers: vec![offer("h-1", "bakery", 0)], ..Changes::default() }).await;
    let found = get(&*store, "bakery").await;
    assert_eq!((found.revision, found.open_handover.as_ref()), (Revision(2), Some(&offer("h-1", "bakery", 0))));
    assert_eq!(seen.lock()[1].sites, [found], "whoever keeps a copy is told of the site");
    assert_eq!(store.due(at(5000), 10).await.unwrap().0, [id("bakery")]);
    assert_eq!(store.changes(Revision(1), 10).await.unwrap().items[0].key, "site:bakery");
    let orphan = Changes { handovers: vec![offer("h-2", "unknown", 0)], ..Changes::default() };
    assert!(commit(&*store, Wanted::default(), orphan).await.is_err());
}

pub(super) async fn open_handovers_of_an_agency_bring_their_sites<S: Store>(Bench { store, .. }: Bench<S>) {
    let mut bakery = site("bakery");
    bakery.open_handover = Some(offer("h-1", "bakery", 0));
    let mut florist = site("florist");
    let mut from_agency = offer("h-2", "florist", 0);
    (from_agency.initiator, from_agency.to) = (id("agency:studio-north"), id("user:maria"));
    florist.open_handover = Some(from_agency);
    let done = vec![ended(offer("h-3", "garage", 0), HandoverStatus::Expired)];
    let agencies = vec![agency("studio-north", &[])];
    let sites = vec![bakery, florist, site("garage")];
    put(&*store, Changes { sites, agencies, handovers: done, ..Changes::default() }).await;
    let wanted = Wanted { open_handovers_of: Some(id("studio-north")), ..want(&["garage", "florist"]) };
    let names: Vec<SiteId> = peek(&*store, wanted).await.sites.into_iter().flatten().map(|site| site.id).collect();
    assert_eq!(names, [id("garage"), id("florist"), id("bakery")], "as wanted, then the others, none twice");
}

pub(super) async fn a_reply_is_found_under_its_key_only<S: Store>(Bench { store, .. }: Bench<S>) {
    let wanted = |caller, path, name| Wanted { key: Some(key(caller, path, name)), ..Wanted::default() };
    let reply = ("print".to_owned(), json!({"status": "effective", "n": [1, null]}));
    let changes = Changes { sites: vec![site("bakery")], reply: Some(reply.clone()), at: at(0), ..Changes::default() };
    let revision = commit(&*store, wanted("cms", "/a", "k"), changes.clone()).await.unwrap();
    let stored = peek(&*store, wanted("cms", "/a", "k")).await.stored.unwrap();
    assert_eq!((stored.fingerprint, stored.body, stored.revision), (reply.0, reply.1, revision));
    for (caller, path, name) in [("app", "/a", "k"), ("cms", "/b", "k"), ("cms", "/a", "K"), ("cms", "/ak", "")] {
        assert_eq!(peek(&*store, wanted(caller, path, name)).await.stored, None, "{caller} {path} {name}");
    }
    // One key makes one revision at most.
    assert!(commit(&*store, wanted("cms", "/a", "k"), changes).await.is_err());
    assert_eq!(store.head().await.unwrap().revision, revision);
    let days = |n: i64| Changes { at: at(n * 86_400), ..Changes::default() };
    put(&*store, days(6)).await;
    assert!(peek(&*store, wanted("cms", "/a", "k")).await.stored.is_some(), "kept for seven days");
}

pub(super) async fn audit_events_form_one_chain<S: Store>(Bench { store, .. }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    for n in 0..5 {
        let name = if n % 2 == 0 { "bakery" } else { "florist" };
        let events = vec![event(Some(name), "A"), event(None, "B")];
        put(&*store, Changes { events, at: at(n), ..Changes::default() }).await;
    }
    let all = store.audit(None, 0, 100).await.unwrap();
    assert_eq!(all.items.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert_eq!(all.items.iter().map(|e| e.revision.0).collect::<Vec<_>>(), [2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
    let (first, given) = (&all.items[0], event(Some("bakery"), "A"));
    assert_eq!((&first.site, &first.kind, &first.actor), (&given.site, &given.kind, &given.actor));
    assert_eq!((&first.via, &first.data, first.at), (&given.via, &given.data, at(0)));
    let verified = verify_audit(&*store).await.unwrap();
    assert_eq!((verified.events, &verified.head), (10, &store.head().await.unwrap().chain));
    assert_eq!(all.items.last().unwrap().hash, verified.head);
    let page = store.audit(Some(&id("bakery")), 1, 1).await.unwrap();
    assert_eq!((page.items.iter().map(|e| e.seq).collect::<Vec<_>>(), page.more), (vec![5], true));
    let page = store.audit(Some(&id("bakery")), 5, 1).await.unwrap();
    assert_eq!((page.items.iter().map(|e| e.seq).collect::<Vec<_>>(), page.more), (vec![9], false));
    put_site(&*store, site("bakery")).await;
    assert_eq!(store.head().await.unwrap().chain, verified.head, "no event, no link");
}

pub(super) async fn the_feed_never_splits_a_revision<S: Store>(Bench { store, .. }: Bench<S>) {
    for size in [1, 5, 2, 1, 7] {
        let sites = (0..size).map(|n| site(&format!("site-{n}"))).collect();
        put(&*store, Changes { sites, ..Changes::default() }).await;
    }
    for limit in [0, 1, 2, 3, 6, 7, 16, 100] {
        let (mut after, mut keys, mut told) = (Revision(0), 0, Vec::new());
        loop {
            let page = store.changes(after, limit).await.unwrap();
            let Some(last) = page.items.last() else { break };
            assert!(page.items.is_sorted_by_key(|change| change.revision));
            assert!(page.items[0].revision > after);
            let revisions: BTreeSet<_> = page.items.iter().map(|change| change.revision).collect();
            assert!(page.items.len() <= limit || revisions.len() == 1, "more than {limit} of several revisions");
            after = last.revision;
            keys += page.items.len();
            told.extend(revisions);
            assert_eq!(page.more, after < Revision(5));
        }
        assert_eq!(told, (1..=5).map(Revision).collect::<Vec<_>>(), "limit {limit}: a revision came in two pages");
        assert_eq!(keys, 16, "limit {limit}");
    }
}

pub(super) async fn the_feed_names_every_key<S: Store>(Bench { store, .. }: Bench<S>) {
    let changes = Changes {
        sites: vec![site("bakery"), site("florist")],
        agencies: vec![agency("studio-north", &[]), agency("studio-south", &[])],
        staff: vec![(id("sam"), Some(StaffRole::Support))],
        events: vec![
            event(Some("bakery"), "HandoverAccepted"),
            event(Some("bakery"), "SeatsChanged"),
            NewEvent { data: json!({"agency": "studio-south"}), ..event(None, "AgencyChanged") },
        ],
        at: at(9),
        ..Changes::default()
    };
    put(&*store, changes).await;
    let page = store.changes(Revision(0), 100).await.unwrap();
    let told: Vec<_> = page.items.iter().map(|change| (change.key.as_str(), change.kind.as_str())).collect();
    let expected = [
        ("site:bakery", "HandoverAccepted"),
        ("site:bakery", "SeatsChanged"),
        ("agency:studio-south", "AgencyChanged"),
        ("agency:studio-north", "Changed"),
        ("site:florist", "Changed"),
        ("staff:sam", "Changed"),
    ];
    assert_eq!(told, expected);
    assert_eq!(page.items[0].site, Some(id("bakery")));
    assert_eq!(page.items[0].data, event(None, "").data);
    assert_eq!((page.items[3].site.as_ref(), &page.items[3].data), (None, &json!({})));
    assert!(page.items.iter().all(|change| change.at == at(9) && change.revision == Revision(1)));
}

pub(super) async fn a_begun_change_outlives_its_caller<S: Store>(Bench { store, seen }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let caller = {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move {
            let decide = Box::new(move |loaded: &Loaded| {
                let _ = begun.send(());
                let _ = may_go_on.recv_timeout(Duration::from_secs(20));
                let mut site = loaded.sites[0].clone().unwrap();
                site.published = false;
                Verdict::Commit(Box::new(Changes { sites: vec![site], ..Changes::default() }), ())
            });
            store.change(want(&["bakery"]), decide).await
        })
    };
    has_begun.await.unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    // The next change waits its turn, so it finds what the abandoned one wrote.
    let loaded = peek(&*store, want(&["bakery"])).await;
    assert_eq!(loaded.head.revision, Revision(2), "the change was lost with its caller");
    assert!(!loaded.sites[0].as_ref().unwrap().published);
    assert_eq!(seen.lock().len(), 2, "the observer was not told");
}

pub(super) async fn the_observer_is_told_before_the_caller<S: Store>(Bench { store, seen }: Bench<S>) {
    for n in 0..20 {
        let changes = Changes {
            sites: vec![site("bakery")],
            agencies: vec![agency("studio-north", &[("ada", MemberRole::Admin)])],
            staff: vec![(id("sam"), (n % 2 == 0).then_some(StaffRole::TrustSafety))],
            at: at(n),
            ..Changes::default()
        };
        let revision = put(&*store, changes).await;
        let told = seen.lock().last().cloned();
        let told = told.filter(|told| told.revision == revision);
        let told = told.unwrap_or_else(|| panic!("{revision} was answered before the observer knew"));
        assert_eq!(told.at, at(n));
        assert_eq!(told.sites, [get(&*store, "bakery").await]);
        let directory = store.directory().await.unwrap();
        assert_eq!((directory.revision, told.agencies[0].revision), (revision, revision));
        assert_eq!(Some(&told.agencies[0]), directory.value.agency(&id("studio-north")));
        assert_eq!(told.staff[0].1, directory.value.staff_role(&id("sam")));
    }
}

pub(super) async fn deadlines_come_due<S: Store>(Bench { store, .. }: Bench<S>) {
    put(&*store, Changes { agencies: vec![agency("studio-north", &[])], ..Changes::default() }).await;
    let mut offered = site("offered");
    offered.open_handover = Some(offer("h-1", "offered", 0)); // until 1000
    let mut returning = full_site(); // back at 4, frozen until 6
    returning.frozen = None;
    let mut frozen = full_site();
    (frozen.id, frozen.frozen) = (id("frozen"), Some(Freeze { until: at(50), case: "c".into() }));
    put(&*store, Changes { sites: vec![offered, returning, frozen, site("quiet")], ..Changes::default() }).await;
    assert_eq!(store.due(at(3), 10).await.unwrap(), (vec![], Some(at(4))));
    assert_eq!(store.due(at(4), 10).await.unwrap(), (vec![id("bakery")], Some(at(50))));
    assert_eq!(store.due(at(50), 10).await.unwrap(), (vec![id("bakery"), id("frozen")], Some(at(1000))));
    assert_eq!(store.due(at(5000), 1).await.unwrap(), (vec![id("bakery")], None));
    let handovers = vec![ended(offer("h-1", "offered", 0), HandoverStatus::Expired)];
    put(&*store, Changes { sites: vec![site("bakery")], handovers, ..Changes::default() }).await;
    assert_eq!(store.due(at(5000), 10).await.unwrap(), (vec![id("frozen")], None));
}

pub(super) async fn time_never_goes_back<S: Store>(Bench { store, seen }: Bench<S>) {
    for (given, kept) in [(10, 10), (5, 10), (11, 11)] {
        let events = vec![event(None, "Tick")];
        put(&*store, Changes { sites: vec![site("bakery")], events, at: at(given), ..Changes::default() }).await;
        assert_eq!(store.head().await.unwrap().at, at(kept));
        assert_eq!(seen.lock().last().unwrap().at, at(kept));
        assert_eq!(store.audit(None, 0, 10).await.unwrap().items.last().unwrap().at, at(kept));
        assert_eq!(store.changes(Revision(0), 10).await.unwrap().items.last().unwrap().at, at(kept));
    }
}

pub(super) async fn the_directory_is_everybody<S: Store>(Bench { store, .. }: Bench<S>) {
    let north = agency("studio-north", &[("ada", MemberRole::Admin), ("ben", MemberRole::Member)]);
    let staff = vec![(id("sam"), Some(StaffRole::Support)), (id("tess"), Some(StaffRole::TrustSafety))];
    let agencies = vec![north.clone(), agency("studio-south", &[("ada", MemberRole::Billing)])];
    put(&*store, Changes { agencies, staff, ..Changes::default() }).await;
    let directory = store.directory().await.unwrap().value;
    let expected = Agency { revision: Revision(1), ..north };
    assert_eq!(**directory.agency(&expected.id).unwrap(), expected);
    assert!(directory.is_verified_admin(&id("ada")));
    assert_eq!(directory.staff_role(&id("tess")), Some(StaffRole::TrustSafety));

    let mut smaller = agency("studio-north", &[("ada", MemberRole::Member), ("cleo", MemberRole::Admin)]);
    (smaller.status, smaller.verified) = (AgencyStatus::Suspended, false);
    (smaller.name, smaller.domain) = ("Näme".into(), "north.example".into());
    let staff = vec![(id("sam"), None), (id("tess"), Some(StaffRole::Support))];
    put(&*store, Changes { agencies: vec![smaller.clone()], staff, ..Changes::default() }).await;
    let found = store.directory().await.unwrap();
    assert_eq!(found.revision, Revision(2));
    assert_eq!(**found.value.agency(&smaller.id).unwrap(), Agency { revision: Revision(2), ..smaller });
    assert_eq!(found.value.agency(&id("studio-south")).unwrap().revision, Revision(1));
    assert_eq!(found.value.staff().collect::<Vec<_>>(), [(&id("tess"), StaffRole::Support)]);
}

pub(super) async fn a_change_is_given_the_agencies_it_needs<S: Store>(Bench { store, .. }: Bench<S>) {
    let names = ["seated", "offered", "asked", "admins", "parts", "other"];
    let mut agencies: Vec<Agency> = names.iter().map(|name| agency(name, &[("zoe", MemberRole::Member)])).collect();
    agencies[3].members.insert(id("ada"), MemberRole::Admin);
    agencies[5].members.insert(id("ada"), MemberRole::Billing);
    let mut built = site("bakery");
    built.seats = Seats::PartnerBuilt { owner: id("seated") };
    let party = |name: &str, handover: Handover| Handover { to: Account::Agency(id(name)), ..handover };
    built.open_handover = Some(party("offered", offer("h-1", "bakery", 0)));
    let handovers = vec![party("parts", ended(offer("h-0", "bakery", 0), HandoverStatus::Declined))];
    let staff = vec![(id("sam"), Some(StaffRole::Support)), (id("tess"), Some(StaffRole::Support))];
    put(&*store, Changes { sites: vec![built], handovers, agencies, staff, ..Changes::default() }).await;
    let wanted = Wanted {
        handover: Some(id("h-0")),
        agencies: vec![id("asked"), id("unknown")],
        admin: Some(id("ada")),
        staff: Some(id("sam")),
        ..want(&["bakery"])
    };
    let directory = peek(&*store, wanted).await.directory;
    let given: BTreeSet<_> = directory.agencies().map(|agency| agency.id.as_str()).collect();
    assert_eq!(given, BTreeSet::from(["seated", "offered", "asked", "admins", "parts"]));
    assert!(directory.agencies().all(|agency| agency.member(&id("zoe")) == Some(MemberRole::Member)));
    assert!(directory.is_verified_admin(&id("ada")));
    assert_eq!(directory.staff().collect::<Vec<_>>(), [(&id("sam"), StaffRole::Support)]);
}

pub(super) async fn site_ids_are_paged_in_order<S: Store>(Bench { store, .. }: Bench<S>) {
    let sites = ["b", "a", "C", "c", "0"].map(site).to_vec();
    put(&*store, Changes { sites, ..Changes::default() }).await;
    let mut after = None;
    let mut names: Vec<SiteId> = Vec::new();
    loop {
        let page = store.sites(after.as_ref(), 2).await.unwrap();
        assert_eq!(page.more, page.items.len() == 2 && names.len() < 3);
        names.extend(page.items);
        if !page.more {
            break;
        }
        after = names.last().cloned();
    }
    assert_eq!(names.iter().map(SiteId::as_str).collect::<Vec<_>>(), ["0", "C", "a", "b", "c"]);
}

//! What is kept: sites with everything on them, people, deadlines.

use super::*;

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
    site.frozen = Some(Freeze { since: at(1), until: at(6), case: "case \"7\"".into() });
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

pub(in crate::store::conformance) async fn everything_on_a_site_comes_back<S: Store>(Bench { store, seen }: Bench<S>) {
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
        text_version: "en-1".into(),
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

pub(in crate::store::conformance) async fn one_person_in_a_thousand_costs_one_row<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn a_purged_site_keeps_its_id<S: Store>(Bench { store, .. }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let mut purged = site("bakery");
    purged.seats = Seats::Purged;
    put_site(&*store, purged).await;
    assert_eq!(get(&*store, "bakery").await.seats, Seats::Purged);
    let again = commit(&*store, Wanted::default(), Changes { sites: vec![site("bakery")], ..Changes::default() }).await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))), "a purged site came back: {again:?}");
    assert_eq!(store.sites(None, 10).await.unwrap().items, [id("bakery")]);
}

pub(in crate::store::conformance) async fn deadlines_come_due<S: Store>(Bench { store, .. }: Bench<S>) {
    put(&*store, Changes { agencies: vec![agency("studio-north", &[])], ..Changes::default() }).await;
    let mut offered = site("offered");
    offered.open_handover = Some(offer("h-1", "offered", 0)); // until 1000
    let mut returning = full_site(); // back at 4, frozen until 6
    returning.frozen = None;
    let mut frozen = full_site();
    (frozen.id, frozen.frozen) = (id("frozen"), Some(Freeze { since: at(1), until: at(50), case: "c".into() }));
    put(&*store, Changes { sites: vec![offered, returning, frozen, site("quiet")], ..Changes::default() }).await;
    assert_eq!(store.due(at(3), 10).await.unwrap(), (vec![], Some(at(4))));
    assert_eq!(store.due(at(4), 10).await.unwrap(), (vec![id("bakery")], Some(at(50))));
    assert_eq!(store.due(at(50), 10).await.unwrap(), (vec![id("bakery"), id("frozen")], Some(at(1000))));
    assert_eq!(store.due(at(5000), 1).await.unwrap(), (vec![id("bakery")], None));
    let handovers = vec![ended(offer("h-1", "offered", 0), HandoverStatus::Expired)];
    put(&*store, Changes { sites: vec![site("bakery")], handovers, ..Changes::default() }).await;
    assert_eq!(store.due(at(5000), 10).await.unwrap(), (vec![id("frozen")], None));
}

pub(in crate::store::conformance) async fn the_directory_is_everybody<S: Store>(Bench { store, .. }: Bench<S>) {
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

pub(in crate::store::conformance) async fn a_change_is_given_the_agencies_it_needs<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
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
        staff: vec![id("sam")],
        ..want(&["bakery"])
    };
    let directory = peek(&*store, wanted).await.directory;
    let given: BTreeSet<_> = directory.agencies().map(|agency| agency.id.as_str()).collect();
    assert_eq!(given, BTreeSet::from(["seated", "offered", "asked", "admins", "parts"]));
    assert!(directory.agencies().all(|agency| agency.member(&id("zoe")) == Some(MemberRole::Member)));
    assert!(directory.is_verified_admin(&id("ada")));
    assert_eq!(directory.staff().collect::<Vec<_>>(), [(&id("sam"), StaffRole::Support)]);
}

pub(in crate::store::conformance) async fn site_ids_are_paged_in_order<S: Store>(Bench { store, .. }: Bench<S>) {
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

pub(in crate::store::conformance) async fn somebodys_sites_are_found_by_every_way<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
    let members = [("dana", MemberRole::Admin), ("bill", MemberRole::Billing), ("bo", MemberRole::Member)];
    put(&*store, Changes { agencies: vec![agency("studio-north", &members)], ..Changes::default() }).await;
    let of_tom = |name: &str| Site { seats: Seats::SelfManaged { owner: id("tom") }, ..site(name) };
    let mut invited = of_tom("B");
    invited.contributors.insert(id("maria"), contributor("Viewer"));
    // Maria's as a client, the agency's as its partner; Bo has a grant on it, and Sam a session.
    let mut managed = Site { id: id("c"), ..full_site() };
    managed.contributors.clear();
    managed.grants = [(id("bo"), AgencyGrant { template: Template::Builder, expires_at: None })].into();
    let (mut offered, mut given) = (of_tom("d"), of_tom("e"));
    let by_tom = Handover { initiator: id("user:tom"), initiated_by: id("user:tom"), ..offer("h-d", "d", 1) };
    offered.open_handover = Some(by_tom.clone());
    let to_maria = Handover { id: id("h-e"), site: id("e"), to: id("user:maria"), ..by_tom };
    given.open_handover = Some(Handover { consents_needed: vec![id("user:maria")], ..to_maria.clone() });
    for one in [site("a"), invited, managed, offered, given.clone(), of_tom("f")] {
        put_site(&*store, one).await;
    }
    let found = async |of: &SitesOf, limit: usize| -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let read = store.sites_of(of, after.as_ref(), limit).await.unwrap();
            assert_eq!(read.revision, store.head().await.unwrap().revision);
            assert!(read.value.items.len() <= limit && (!read.value.items.is_empty() || !read.value.more));
            after = read.value.items.last().cloned();
            all.extend(read.value.items.iter().map(|site| site.as_str().to_owned()));
            if !read.value.more {
                return all;
            }
        }
    };
    let person = |name: &str| SitesOf::Person(id(name));
    for (of, sites) in [
        (person("maria"), vec!["B", "a", "c", "e"]),
        (person("tom"), vec!["B", "d", "e", "f"]),
        (person("dana"), vec!["c", "d"]),
        (person("bill"), vec!["c", "d"]),
        (person("bo"), vec!["c"]),
        (person("eve"), vec![]),
        (SitesOf::Agent(id("sam")), vec!["c"]),
        (SitesOf::Agent(id("tess")), vec![]),
        (SitesOf::All, vec!["B", "a", "c", "d", "e", "f"]),
    ] {
        for limit in [1, 2, 3, 100] {
            assert_eq!(found(&of, limit).await, sites, "{of:?}, pages of {limit}");
        }
    }
    // What has ended is no way any more.
    given.open_handover = None;
    let over = Changes {
        handovers: vec![ended(to_maria, HandoverStatus::Declined)],
        sites: vec![given],
        ..Changes::default()
    };
    commit(&*store, want(&["e"]), over).await.unwrap();
    assert_eq!(found(&person("maria"), 100).await, ["B", "a", "c"]);
}

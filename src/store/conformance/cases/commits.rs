//! Changes: one after the other, whole or not at all, and told to the observer first.

use super::*;

pub(in crate::store::conformance) async fn an_empty_store_is_at_revision_zero<S: Store>(Bench { store, .. }: Bench<S>) {
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

pub(in crate::store::conformance) async fn every_commit_is_the_next_revision<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn leaving_writes_nothing<S: Store>(Bench { store, seen }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let before = everything(&*store).await;
    let loaded = peek(&*store, want(&["bakery", "unknown"])).await;
    assert_eq!(loaded.sites, [Some(get(&*store, "bakery").await), None]);
    assert_eq!(loaded.head, store.head().await.unwrap());
    assert_eq!(everything(&*store).await, before);
    assert_eq!(seen.lock().len(), 1);
}

pub(in crate::store::conformance) async fn a_decision_sees_exactly_the_committed_state<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn concurrent_changes_follow_each_other<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn a_refused_change_leaves_no_part_behind<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn a_decision_that_panics_writes_nothing<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
    put_site(&*store, site("bakery")).await;
    let before = everything(&*store).await;
    let panicked: Result<(), _> = store.change(want(&["bakery"]), Box::new(|_| panic!("on purpose"))).await;
    assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
    assert_eq!(everything(&*store).await, before);
    assert_eq!(put_site(&*store, site("bakery")).await, Revision(2));
    assert_eq!(seen.lock().len(), 2);
}

pub(in crate::store::conformance) async fn a_begun_change_outlives_its_caller<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn the_observer_is_told_before_the_caller<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn a_read_is_one_snapshot<S: Store>(Bench { store, .. }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let writing = std::sync::Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for _ in 0..60 {
            put_site(&*writing, site("bakery")).await;
        }
    });
    while !writer.is_finished() {
        // Every commit is to this site, so in any one snapshot its revision is the snapshot's.
        let found = store.site(&id("bakery")).await.unwrap();
        assert_eq!(found.value.unwrap().revision, found.revision);
    }
    writer.await.unwrap();
}

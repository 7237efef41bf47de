//! What is remembered: replies, audit events, the change feed, time.

use super::*;

pub(in crate::store::conformance) async fn a_reply_is_found_under_its_key_only<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn audit_events_form_one_chain<S: Store>(Bench { store, .. }: Bench<S>) {
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

pub(in crate::store::conformance) async fn the_feed_never_splits_a_revision<S: Store>(Bench { store, .. }: Bench<S>) {
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

pub(in crate::store::conformance) async fn the_feed_names_every_key<S: Store>(Bench { store, .. }: Bench<S>) {
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

/// Policies under their names; their content is nothing to the store.
pub(in crate::store::conformance) fn two_bundles() -> (PolicyBundle, PolicyBundle) {
    let bundle = |letter: &str| {
        let schema = Source { path: "schemas/x".into(), text: format!("{letter} \u{0} ü") };
        let policies = vec![Source { path: "policies/x".into(), text: letter.repeat(100_000) }];
        PolicyBundle { sha256: letter.repeat(64), sources: Sources { schema, policies } }
    };
    (bundle("a"), bundle("b"))
}

pub(in crate::store::conformance) async fn policies_stay_in_force_until_others_are<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
    let policy = async || store.head().await.unwrap().policy;
    assert_eq!(policy().await, None);
    let (a, b) = two_bundles();
    for bundle in [&a, &b, &a] {
        let events = vec![event(None, "PoliciesActivated")];
        let revision = put(&*store, Changes { policies: Some(bundle.clone()), events, ..Changes::default() }).await;
        let told = store.changes(Revision(revision.0 - 1), 10).await.unwrap().items;
        let told: Vec<_> = told.iter().map(|change| (change.key.as_str(), change.kind.as_str())).collect();
        assert_eq!(told, [(POLICY_KEY, "PoliciesActivated")]);
        put_site(&*store, site("bakery")).await;
        assert_eq!(policy().await.as_ref(), Some(&bundle.sha256), "another change leaves them in force");
        assert_eq!(peek(&*store, Wanted::default()).await.head.policy.as_ref(), Some(&bundle.sha256));
    }
    for bundle in [a, b] {
        assert_eq!(store.policies(&bundle.sha256).await.unwrap(), Some(bundle.sources), "kept as they were");
    }
    assert_eq!(store.policies(&"c".repeat(64)).await.unwrap(), None);
}

pub(in crate::store::conformance) async fn time_never_goes_back<S: Store>(Bench { store, seen }: Bench<S>) {
    for (given, kept) in [(10, 10), (5, 10), (11, 11)] {
        let events = vec![event(None, "Tick")];
        put(&*store, Changes { sites: vec![site("bakery")], events, at: at(given), ..Changes::default() }).await;
        assert_eq!(store.head().await.unwrap().at, at(kept));
        assert_eq!(seen.lock().last().unwrap().at, at(kept));
        assert_eq!(store.audit(None, 0, 10).await.unwrap().items.last().unwrap().at, at(kept));
        assert_eq!(store.changes(Revision(0), 10).await.unwrap().items.last().unwrap().at, at(kept));
    }
}

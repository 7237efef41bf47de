//! Handovers: one live on a site, the ended ones kept.

use super::*;

pub(in crate::store::conformance) async fn a_site_has_one_live_handover<S: Store>(Bench { store, .. }: Bench<S>) {
    let mut offered = site("bakery");
    offered.open_handover = Some(offer("h-1", "bakery", 0));
    put_site(&*store, offered.clone()).await;
    assert_eq!(get(&*store, "bakery").await.open_handover, Some(offer("h-1", "bakery", 0)));

    // A second one beside it, a site that forgets its offer, one that names an ended one: all contradict themselves.
    let mut second = offered.clone();
    second.open_handover = Some(offer("a-2", "bakery", 1));
    let mut stale = offered.clone();
    stale.open_handover = Some(ended(offer("h-1", "bakery", 0), HandoverStatus::Declined));
    for wrong in [second.clone(), site("bakery"), stale] {
        let refused = commit(&*store, Wanted::default(), Changes { sites: vec![wrong], ..Changes::default() }).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    // In one change the first may end and the second open, whichever name sorts first.
    let handovers = vec![offer("a-2", "bakery", 1), ended(offer("h-1", "bakery", 0), HandoverStatus::Superseded)];
    put(&*store, Changes { sites: vec![second], handovers, ..Changes::default() }).await;
    let loaded = peek(&*store, Wanted { handover: Some(id("h-1")), ..want(&["bakery"]) }).await;
    assert_eq!(loaded.handover.unwrap().status, HandoverStatus::Superseded);
    assert_eq!(loaded.sites[0].as_ref().unwrap().open_handover, Some(offer("a-2", "bakery", 1)));
    // What has ended stays as it ended.
    let revived =
        Changes { handovers: vec![ended(offer("h-1", "bakery", 0), HandoverStatus::Accepted)], ..Changes::default() };
    assert!(commit(&*store, Wanted::default(), revived).await.is_err());
    // A site without an offer names none of another site's.
    put(&*store, Changes { sites: vec![site("florist"), site("garage")], ..Changes::default() }).await;
    let mut borrowed = site("florist");
    borrowed.open_handover = Some(offer("h-3", "garage", 2));
    let refused = commit(&*store, want(&["florist"]), Changes { sites: vec![borrowed], ..Changes::default() }).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

pub(in crate::store::conformance) async fn handovers_are_kept_oldest_first<S: Store>(Bench { store, .. }: Bench<S>) {
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

pub(in crate::store::conformance) async fn offers_of_an_account_are_counted<S: Store>(Bench { store, .. }: Bench<S>) {
    put(&*store, Changes { sites: vec![site("bakery"), site("florist")], ..Changes::default() }).await;
    for (name, of, offered) in [("h-1", "bakery", 1), ("h-2", "bakery", 5), ("h-3", "bakery", 6), ("h-4", "florist", 7)]
    {
        let handovers = vec![ended(offer(name, of, offered), HandoverStatus::Cancelled)];
        put(&*store, Changes { handovers, ..Changes::default() }).await;
    }
    let Handover { initiator, to, offered_at, .. } = offer("h-1", "bakery", 1);
    let accounts = vec![initiator.clone(), to.clone()];
    let loaded = peek(&*store, Wanted { accounts, since: Some(offered_at), ..Wanted::default() }).await;
    assert_eq!(loaded.traffic[&initiator].made, 3, "those after the instant");
    assert_eq!(loaded.traffic[&to].got, 2, "many offers of one site are one to whoever gets them");
}

pub(in crate::store::conformance) async fn a_handover_alone_touches_its_site<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
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

pub(in crate::store::conformance) async fn open_handovers_of_an_agency_bring_their_sites<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
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

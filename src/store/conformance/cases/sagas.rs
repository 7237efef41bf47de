//! Billing sagas: bookkeeping beside the revisions, but confirmed by a commit and by nothing else.

use super::*;
use crate::store::{Saga, SagaState};

fn saga(name: &str, site: &str) -> Saga {
    Saga {
        id: name.into(),
        attempt: 1,
        site: id(site),
        kind: "partner_handover".into(),
        payer: Some(id("agency:studio-north")),
        from: Some(id("user:maria")),
        plan: Plan::of(Tier::Premium),
        state: SagaState::Reserving,
        revision: None,
        effective_at: None,
        since: at(0),
        due_at: Some(at(10)),
        tries: 0,
        failure: None,
    }
}

async fn journal<S: Store>(store: &S, saga: Saga) -> Result<(), StoreError> {
    store.change(Wanted::default(), Box::new(|_: &Loaded| Verdict::Journal(vec![saga], ()))).await
}

async fn stored<S: Store>(store: &S, name: &str) -> Option<Saga> {
    peek(store, Wanted { saga: Some(name.into()), ..Wanted::default() }).await.saga
}

async fn confirm<S: Store>(store: &S, saga: Saga, revision: Revision) -> Result<Revision, StoreError> {
    let saga = saga.committed(revision, at(3), at(4));
    commit(store, Wanted::default(), Changes { sagas: vec![saga], ..Changes::default() }).await
}

pub(in crate::store::conformance) async fn a_saga_is_journalled_without_a_revision<S: Store>(
    Bench { store, seen }: Bench<S>,
) {
    put_site(&*store, site("bakery")).await;
    let before = everything(&*store).await;
    let mut now = saga("h-1", "bakery");
    journal(&*store, now.clone()).await.unwrap();
    assert_eq!(stored(&*store, "h-1").await, Some(now.clone()));
    for step in [
        |saga: Saga| saga.give_up(at(11)),
        |saga: Saga| saga.failed("timeout".into(), at(12)),
        |saga: Saga| saga.acknowledged(at(13)),
        |saga: Saga| Saga { attempt: 2, state: SagaState::Reserving, due_at: Some(at(20)), ..saga },
    ] {
        now = step(now);
        journal(&*store, now.clone()).await.unwrap();
        assert_eq!(stored(&*store, "h-1").await, Some(now.clone()));
    }
    assert_eq!((now.tries, now.failure.as_deref()), (0, Some("timeout")));
    assert_eq!(everything(&*store).await, before, "no revision, no event, nothing in the feed");
    assert_eq!(seen.lock().len(), 1);
    assert!(journal(&*store, saga("h-2", "unknown")).await.is_err(), "a saga is about a site");
    assert_eq!(stored(&*store, "h-2").await, None);
}

pub(in crate::store::conformance) async fn a_saga_is_confirmed_by_its_commit<S: Store>(Bench { store, .. }: Bench<S>) {
    put_site(&*store, site("bakery")).await;
    let reserving = saga("h-1", "bakery");
    journal(&*store, reserving.clone()).await.unwrap();
    let early = reserving.clone().committed(Revision(1), at(3), at(4));
    assert!(journal(&*store, early).await.is_err(), "without a commit");
    assert!(confirm(&*store, reserving.clone(), Revision(9)).await.is_err(), "with another commit");
    assert_eq!(store.head().await.unwrap().revision, Revision(1), "the commit was refused as a whole");
    let stale = Changes { sagas: vec![Saga { attempt: 2, ..reserving.clone() }.give_up(at(4))], ..Changes::default() };
    assert!(commit(&*store, Wanted::default(), stale).await.is_err(), "another attempt");
    confirm(&*store, reserving.clone(), Revision(2)).await.unwrap();
    let confirming = stored(&*store, "h-1").await.unwrap();
    assert_eq!(confirming, reserving.clone().committed(Revision(2), at(3), at(4)));
    // What is committed is never released, and what is acknowledged stays so.
    assert!(
        journal(&*store, Saga { revision: None, effective_at: None, ..confirming.clone() }.give_up(at(5)))
            .await
            .is_err()
    );
    assert!(journal(&*store, reserving).await.is_err());
    journal(&*store, confirming.clone().failed("http_500".into(), at(9))).await.unwrap();
    let confirmed = confirming.clone().acknowledged(at(6));
    journal(&*store, confirmed.clone()).await.unwrap();
    assert!(journal(&*store, confirming).await.is_err());
    assert_eq!(stored(&*store, "h-1").await, Some(confirmed));
}

pub(in crate::store::conformance) async fn sagas_come_due_in_the_order_of_a_sites_commits<S: Store>(
    Bench { store, .. }: Bench<S>,
) {
    put(&*store, Changes { sites: vec![site("bakery"), site("florist")], ..Changes::default() }).await;
    for (name, of, revision) in [("b-2", "bakery", 2), ("a-3", "bakery", 3), ("c-4", "florist", 4)] {
        confirm(&*store, saga(name, of), Revision(revision)).await.unwrap();
    }
    journal(&*store, saga("d-5", "florist")).await.unwrap();
    let due = async |seconds| {
        let (sagas, next) = store.sagas_due(at(seconds), 10).await.unwrap();
        (sagas.into_iter().map(|saga| saga.id.to_string()).collect::<Vec<_>>(), next)
    };
    assert_eq!(due(3).await, (vec![], Some(at(4))));
    assert_eq!(due(4).await, (vec!["b-2".into(), "c-4".into()], Some(at(10))), "a deadline itself is due");
    assert_eq!(due(10).await.0, ["b-2", "c-4", "d-5"]);
    journal(&*store, stored(&*store, "b-2").await.unwrap().failed("timeout".into(), at(50))).await.unwrap();
    assert_eq!(due(10).await.0, ["c-4", "d-5"], "the later commit waits for the earlier one");
    journal(&*store, stored(&*store, "b-2").await.unwrap().acknowledged(at(11))).await.unwrap();
    assert_eq!(due(10).await, (vec!["a-3".into(), "c-4".into(), "d-5".into()], None));

    let first = store.sagas(None, None, 2).await.unwrap();
    assert_eq!(
        (first.items.iter().map(|saga| saga.id.as_str()).collect::<Vec<_>>(), first.more),
        (vec!["a-3", "b-2"], true)
    );
    let rest = store.sagas(None, Some("b-2"), 2).await.unwrap();
    assert_eq!(
        (rest.items.iter().map(|saga| saga.id.as_str()).collect::<Vec<_>>(), rest.more),
        (vec!["c-4", "d-5"], false)
    );
    for state in SagaState::ALL {
        let found = store.sagas(Some(state), None, 10).await.unwrap().items;
        let names: Vec<&str> = found.iter().map(|saga| saga.id.as_str()).collect();
        let expected: &[&str] = match state {
            SagaState::Reserving => &["d-5"],
            SagaState::Confirming => &["a-3", "c-4"],
            SagaState::Confirmed => &["b-2"],
            SagaState::Releasing | SagaState::Released => &[],
        };
        assert_eq!(names, expected);
    }
}

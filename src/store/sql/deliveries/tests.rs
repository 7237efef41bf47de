use super::*;
use crate::store::{Changes, Store as _, Verdict, Wanted, delivery::Failed, sqlite};

const AT: Timestamp = Timestamp::from_micros(7);

async fn store() -> (tempfile::TempDir, SqlStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::open(&folder.path().join("mandate.db"), None).unwrap();
    store.name_sinks(vec![("a".into(), SinkKind::Webhook), ("b".into(), SinkKind::Redis)]).await.unwrap();
    (folder, store)
}

/// Writes events of these sites, `-` for none.
async fn tell(store: &SqlStore, sites: &[&str]) {
    let event = |site: &&str| crate::store::NewEvent {
        site: (*site != "-").then(|| site.parse().unwrap()),
        kind: "Tick".into(),
        actor: None,
        via: None,
        data: serde_json::json!({}),
        evidence: None,
    };
    let changes = Changes { events: sites.iter().map(event).collect(), at: AT, ..Changes::default() };
    let decide = Box::new(move |_: &crate::store::Loaded| Verdict::Commit(Box::new(changes), ()));
    store.change(Wanted::default(), decide).await.unwrap();
}

fn lane(site: Option<&str>, seq: u64, attempts: u32) -> LaneRow {
    LaneRow { key: site.map(|site| site.parse().unwrap()), seq, attempts, due: AT }
}

#[tokio::test]
async fn what_is_noted_is_found_again_and_moves_no_revision() {
    let (_folder, store) = store().await;
    tell(&store, &["x", "y", "-", "x", "-", "y"]).await;
    let before = store.head().await.unwrap();
    let lanes = vec![lane(None, 3, 0), lane(Some("x"), 4, 2)];
    let note = Note { sink: "a".into(), cursor: 5, lanes: lanes.clone(), ..Note::default() };
    store.save_note(note).await.unwrap();
    assert_eq!(store.standing("a").await.unwrap(), Standing { cursor: 5, lanes: lanes.clone() });
    assert_eq!(store.standing("b").await.unwrap(), Standing::default(), "each sink has its own");
    let reports = store.sinks().await.unwrap();
    // One after the cursor, two of no site, one of x.
    assert_eq!(reports.iter().map(|r| (r.name.as_str(), r.pending)).collect::<Vec<_>>(), [("a", 4), ("b", 6)]);
    let note = Note { sink: "a".into(), cursor: 6, level: vec![None], ..Note::default() };
    store.save_note(note).await.unwrap();
    assert_eq!(store.standing("a").await.unwrap(), Standing { cursor: 6, lanes: vec![lane(Some("x"), 4, 2)] });
    assert_eq!(store.head().await.unwrap(), before, "no revision, no event");
    // Another start without `b`.
    store.name_sinks(vec![("a".into(), SinkKind::Webhook)]).await.unwrap();
    let reports = store.sinks().await.unwrap();
    assert_eq!(reports.iter().map(|r| (r.active, r.cursor)).collect::<Vec<_>>(), [(true, 6), (false, 0)]);
    assert!(store.save_note(Note { sink: "c".into(), ..Note::default() }).await.is_err(), "no such sink");
}

#[tokio::test]
async fn a_lane_gives_its_own_events() {
    let (_folder, store) = store().await;
    tell(&store, &["x", "y", "-", "x", "-", "y"]).await;
    let x: LaneKey = Some("x".parse().unwrap());
    let found = async |key: &LaneKey, from, to| store.event_of_lane(key, from, to).await.unwrap().map(|e| e.seq);
    assert_eq!(found(&x, 1, 6).await, Some(1));
    assert_eq!(found(&x, 2, 6).await, Some(4));
    assert_eq!((found(&x, 2, 3).await, found(&x, 5, 6).await), (None, None));
    assert_eq!((found(&None, 1, 6).await, found(&None, 4, 6).await), (Some(3), Some(5)));
}

#[tokio::test]
async fn a_dead_letter_is_put_back_once_and_kept() {
    let (_folder, store) = store().await;
    tell(&store, &["x", "-"]).await;
    let failed = Failed { kind: "status", status: Some(400) };
    let note = |letters| Note { sink: "a".into(), cursor: 2, letters, ..Note::default() };
    let dead = |seq, attempts| LetterNote::Dead { seq, attempts, failed, at: AT };
    store.save_note(note(vec![dead(1, 1), dead(2, 9)])).await.unwrap();
    let page = store.dead_letters(0, 1).await.unwrap();
    assert!(page.more);
    let first = &page.items[0];
    let epoch = store.head().await.unwrap().epoch;
    assert_eq!((first.event.clone(), first.status, first.state), (format!("{epoch}-1"), Some(400), LetterState::Dead));
    let rest = store.dead_letters(first.id, 10).await.unwrap();
    assert_eq!((rest.items.len(), rest.items[0].attempts, rest.more), (1, 9, false));

    assert_eq!(store.retry_letter(99, AT).await.unwrap(), None);
    assert!(store.queued_letters("a", 9).await.unwrap().is_empty());
    for _ in 0..2 {
        let queued = store.retry_letter(first.id, AT).await.unwrap().unwrap();
        assert_eq!((queued.state, queued.attempts), (LetterState::Queued, 0));
    }
    let letter = QueuedLetter { seq: 1, attempts: 0, due: AT };
    assert_eq!(store.queued_letters("a", 9).await.unwrap(), std::slice::from_ref(&letter));
    let waits = QueuedLetter { attempts: 1, ..letter };
    store.save_note(note(vec![LetterNote::Waiting { letter: waits.clone(), failed }])).await.unwrap();
    assert_eq!(store.queued_letters("a", 9).await.unwrap(), [waits]);
    let again = store.retry_letter(first.id, AT).await.unwrap().unwrap();
    assert_eq!(again.attempts, 1, "a queued one is left alone");
    store.save_note(note(vec![LetterNote::Delivered(1)])).await.unwrap();
    assert_eq!(store.retry_letter(first.id, AT).await.unwrap().unwrap().state, LetterState::Delivered);
    assert!(store.queued_letters("a", 9).await.unwrap().is_empty());
    let left = store.dead_letters(0, 10).await.unwrap().items;
    assert_eq!(left.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [2]);
    let report = &store.sinks().await.unwrap()[0];
    assert_eq!((report.pending, report.dead), (0, 1));
}

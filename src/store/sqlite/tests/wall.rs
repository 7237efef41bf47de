//! The second wall: what the tables refuse even when the program does not.

use super::*;

#[tokio::test]
async fn the_tables_refuse_what_must_never_be() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    drop(store);
    let db = Connection::open(folder.db()).unwrap();
    db.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    let refused = [
        // I1, I2: content owner and plan holder are one, and are the seats'.
        "UPDATE site SET content_owner = NULL WHERE id = 'bakery'",
        "UPDATE site SET plan_holder = NULL WHERE id = 'managed'",
        "UPDATE site SET content_owner = partner WHERE id = 'managed'",
        "UPDATE site SET plan_holder = client WHERE id = 'managed'",
        // I3: one owner, or a client and a partner.
        "UPDATE site SET owner = NULL WHERE id = 'bakery'",
        "UPDATE site SET owner = 'agency:studio-north', content_owner = 'agency:studio-north',
             plan_holder = 'agency:studio-north' WHERE id = 'bakery'",
        "UPDATE site SET client = 'user:eve' WHERE id = 'bakery'",
        "UPDATE site SET owner = 'user:maria' WHERE id = 'managed'",
        // I4: client and partner exist together, a person and an agency that is registered.
        "UPDATE site SET client = NULL, content_owner = NULL WHERE id = 'managed'",
        "UPDATE site SET partner = NULL, plan_holder = NULL, agency = NULL WHERE id = 'managed'",
        "UPDATE site SET partner = 'user:maria', plan_holder = 'user:maria', agency = NULL WHERE id = 'managed'",
        "UPDATE site SET partner = 'agency:ghost', plan_holder = 'agency:ghost', agency = 'ghost' WHERE id = 'managed'",
        "UPDATE site SET agency = NULL WHERE id = 'managed'",
        "UPDATE site SET mode = 'shared' WHERE id = 'bakery'",
        "UPDATE site SET since = 5 WHERE id = 'bakery'",
        "UPDATE site SET return_effective_at = 5 WHERE id = 'managed'",
        "UPDATE site SET frozen_until = 5 WHERE id = 'managed'",
        // I13: one live handover.
        "INSERT INTO handover SELECT 'h-2', site, kind, initiator, initiated_by, recipient, status, consents_needed,
             consents_given, offered_at, expires_at, ended_at, revision_at_offer, preview_digest FROM handover",
        "UPDATE handover SET ended_at = 5 WHERE id = 'h-1'",
        // What is kept is kept.
        "DELETE FROM site WHERE id = 'florist'",
        "UPDATE audit SET kind = 'Other'",
        "DELETE FROM audit",
        "INSERT INTO contributor VALUES ('ghost', 'tom', 'CoOwner', 'user:maria', 'client', 1)",
        "DELETE FROM agency",
        "INSERT INTO head VALUES (2, '00000000000000000000000000000000', 0, '', 0, NULL)",
        "UPDATE head SET revision = 'many'",
    ];
    for sql in refused {
        let outcome = db.execute_batch(sql);
        assert!(outcome.is_err(), "accepted: {sql}");
    }
}

#[tokio::test]
async fn a_change_the_tables_refuse_says_what_is_wrong() {
    let folder = Folder::new();
    let store = folder.open();
    let mut built = site("bakery");
    built.seats = Seats::PartnerBuilt { owner: id("ghost") };
    let refused = commit(&store, Wanted::default(), Changes { sites: vec![built], ..Changes::default() }).await;
    let Err(StoreError::Unavailable(message)) = refused else { panic!("{refused:?}") };
    assert!(message.contains("site `bakery`") && message.contains("must be registered"), "{message}");
    let twice = Changes { sites: vec![site("bakery"), site("bakery")], ..Changes::default() };
    let refused = commit(&store, Wanted::default(), twice).await.unwrap_err().to_string();
    assert!(refused.contains("site `bakery` is in it twice"), "{refused}");
    assert_eq!(store.head().await.unwrap().revision, Revision(0));
}

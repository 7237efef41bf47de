//! What one commit does to the journal, in every situation that it can meet.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    app::Kind,
    assignment::Directory,
    handover::CommandName,
    ids::SiteId,
    revision::Revision,
    site::{Engagement, Plan, Seats, Site, Tier},
    store::{Changes, Head, NewEvent},
};

const KEPT: Books = Books { kept: true };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn site(seats: Seats) -> Site {
    Site::registered("bakery".parse::<SiteId>().unwrap(), seats, Plan::of(Tier::Premium), true, Vec::new())
}

fn own() -> Site {
    site(Seats::SelfManaged { owner: "maria".parse().unwrap() })
}

fn managed() -> Site {
    site(Seats::PartnerManaged(Box::new(Engagement {
        client: "maria".parse().unwrap(),
        partner: "north".parse().unwrap(),
        since: at(1),
        settling_until: at(2),
        handover: None,
        plan_before: None,
        freeze_used: false,
        return_pending: None,
    })))
}

fn loaded(before: Site, saga: Option<Saga>) -> Loaded {
    let head = Head { epoch: String::new(), revision: Revision(6), chain: String::new(), at: at(5), policy: None };
    let sites = vec![Some(before)];
    Loaded {
        head,
        sites,
        handover: None,
        directory: Directory::default(),
        stored: None,
        traffic: BTreeMap::new(),
        accounts: BTreeMap::new(),
        holdings: Vec::new(),
        engaged: false,
        saga,
    }
}

fn changes(after: Site) -> Changes {
    Changes { sites: vec![after], at: at(10), ..Changes::default() }
}

/// Maria's bakery about to be paid for by the agency.
fn reserving() -> Saga {
    let (loaded, changes) = (loaded(own(), None), changes(managed()));
    let payment = Payment::of(Some(CommandName::AcceptHandover), &loaded, &changes).unwrap();
    assert!(payment.asked);
    payment.saga("h-1".into(), 3, at(7), at(17))
}

fn follow(command: CommandName, before: Site, after: Site, row: Option<Saga>) -> Result<Vec<Saga>, Failure> {
    let mut changes = changes(after);
    let reservation = Reservation { attempt: 3 };
    KEPT.follow(&loaded(before, row), Some(&reservation), Some(command), &mut changes)?;
    Ok(changes.sagas)
}

#[test]
fn seats_and_row_move_in_one_commit() {
    let row = reserving();
    let moved = follow(CommandName::AcceptHandover, own(), managed(), Some(row.clone())).unwrap();
    assert_eq!(moved, [row.committed(Revision(7), at(10), at(10))]);
}

#[test]
fn a_reservation_that_is_gone_moves_nothing() {
    let row = reserving();
    let gone = [
        None,
        Some(row.clone().give_up(at(9))),
        Some(row.clone().give_up(at(9)).acknowledged(at(9))),
        Some(row.clone().committed(Revision(5), at(4), at(4))),
        Some(Saga { attempt: 4, ..row.clone() }),
        Some(Saga { payer: Some("agency:south".parse().unwrap()), ..row.clone() }),
        Some(Saga { from: Some("user:eve".parse().unwrap()), ..row.clone() }),
    ];
    for row in gone {
        let failure = follow(CommandName::AcceptHandover, own(), managed(), row.clone()).unwrap_err();
        assert_eq!((failure.kind, &*failure.code), (Kind::Unavailable, "not_applied"), "{row:?}");
    }
    // Nobody was asked at all, and then whether anybody keeps books.
    let mut written = changes(managed());
    assert!(KEPT.follow(&loaded(own(), None), None, Some(CommandName::AcceptHandover), &mut written).is_err());
    let without = Books { kept: false };
    assert!(without.follow(&loaded(own(), None), None, Some(CommandName::AcceptHandover), &mut written).is_ok());
    assert!(written.sagas.is_empty());
}

#[test]
fn a_refused_command_gives_its_own_reservation_up_and_no_other() {
    let refused = || Err(Failure::blocked(&["frozen"]));
    let conclude = |row: Saga| {
        let loaded = loaded(own(), Some(row));
        KEPT.conclude(&loaded, Some(&Reservation { attempt: 3 }), CommandName::AcceptHandover, refused(), at(11))
    };
    match conclude(reserving()) {
        Verdict::Journal(rows, Err(failure)) => {
            assert_eq!(rows, [reserving().give_up(at(11))]);
            assert_eq!(failure.code, "blocked");
        }
        other => panic!("{other:?}"),
    }
    for other in [Saga { attempt: 4, ..reserving() }, reserving().committed(Revision(5), at(4), at(4))] {
        assert!(matches!(conclude(other), Verdict::Leave(Err(_))));
    }
    // Carried out, and the payer did not change after all.
    let kept = follow(CommandName::AcceptHandover, managed(), managed(), Some(reserving())).unwrap();
    assert_eq!(kept, [reserving().give_up(at(10))]);
}

#[test]
fn a_return_needs_nobody_and_takes_effect_at_its_deadline() {
    let mut written = changes(own());
    let event = |data: Value| NewEvent {
        site: None,
        kind: "SiteReturned".into(),
        actor: None,
        via: None,
        data,
        evidence: None,
    };
    written.events = vec![event(json!({"at": at(8)}))];
    let written = KEPT.settled(&loaded(managed(), None), written);
    let [saga] = &*written.sagas else { panic!("{:?}", written.sagas) };
    assert_eq!((saga.id.as_str(), saga.state, saga.attempt), ("return:bakery:7", SagaState::Confirming, 1));
    assert_eq!((saga.revision, saga.effective_at, saga.due_at), (Some(Revision(7)), Some(at(8)), Some(at(10))));
    assert_eq!(saga.payer, Some("user:maria".parse().unwrap()));
    assert_eq!((saga.from.clone(), saga.kind.as_str()), (Some("agency:north".parse().unwrap()), "return"));
    // The client's own yes to paying is asked about, and nobody but the content owner pays without one (I11).
    let rescued = follow(CommandName::RescuePlan, managed(), own(), None).unwrap_err();
    assert_eq!(rescued.code, "not_applied");
    assert!(follow(CommandName::GrantRole, own(), managed(), None).is_err());
    // A site that is gone has nobody who pays, and nobody has to say yes to that.
    let gone = follow(CommandName::PurgeSite, own(), site(Seats::Purged), None).unwrap();
    assert_eq!((gone[0].payer.as_ref(), gone[0].kind.as_str()), (None, "purge"));
}

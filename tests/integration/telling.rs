//! Many replicas, one of which tells billing and the subscribers of events what happened; when it dies, another one does.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    billing::{self, AGENCY},
    events::{audit, change, seqs, sink, telling},
    receiver::{Received, Receiver},
    replicas::postgres::Postgres,
    server::{Server, until},
};

/// What the process says that has just been given the turn.
const ITS_TURN: &str = "it is this process that tells";

/// The one that has the turn; waits until somebody has.
fn teller(replicas: &[Server]) -> usize {
    until("one of them tells", || replicas.iter().position(|replica| replica.log().contains(ITS_TURN)))
}

/// Whoever was killed is waited for, here not for long.
fn short_leases(database: &Postgres) {
    assert!(database.ask("UPDATE mandate.lease SET ttl_ms = 400, ttl_max_ms = 400").is_some());
}

#[test]
fn one_of_many_tells_every_event_and_another_goes_on_when_it_dies() {
    let database = Postgres::start();
    let receiver = Receiver::glad();
    let mut installation = telling(&receiver.url());
    installation.set("MANDATE_DATABASE_URL", database.url("mandate"));
    let mut replicas = vec![installation.start()];
    short_leases(&database);
    replicas.extend((1..3).map(|_| installation.start()));
    let mut n = 0;
    let mut changes = |replicas: &[Server], many: u64| {
        for _ in 0..many {
            n += 1;
            let through = usize::try_from(n).unwrap() % replicas.len();
            change(&mut replicas[through].client(), ["a", "b", "c"][through], n);
        }
        n
    };
    // The first process put its policies in force, which is an event too.
    let made = 1 + changes(&replicas, 30);
    until("all are there", || (receiver.all().len() as u64 >= made).then_some(()));
    assert_eq!(receiver.all().len() as u64, made, "three processes, and none of the events is told twice");
    for _ in 0..3 {
        let teller = teller(&replicas);
        changes(&replicas, 9);
        replicas.remove(teller).kill();
        replicas.push(installation.start());
        changes(&replicas, 9);
    }
    let mut http = replicas[0].client();
    until("nothing is pending", || (sink(&mut http, "webhook")["pending"] == 0).then_some(()));
    let mut seen = BTreeSet::new();
    let all = receiver.all();
    let first: Vec<&Received> = all.iter().filter(|received| seen.insert(received.id().to_owned())).collect();
    let mut written = 0;
    for site in ["a", "b", "c"] {
        let arrived: Vec<u64> =
            first.iter().filter(|received| received.subject() == site).map(|received| received.seq()).collect();
        assert_eq!(arrived, seqs(&audit(&mut http, site)), "{site}");
        written += arrived.len();
    }
    assert_eq!(first.len(), 1 + written, "nothing that was never written");
    // One that is asked to stop gives its turn away.
    let leaving = teller(&replicas);
    assert_eq!(replicas.remove(leaving).stop(), Some(0));
    teller(&replicas);
}

#[test]
fn billing_is_asked_by_whoever_takes_the_command_and_told_by_one() {
    let database = Postgres::start();
    let url = database.url("mandate");
    let (installation, first, billing) = billing::world("500ms", "2s", &[("MANDATE_DATABASE_URL", &url)]);
    billing.card(AGENCY);
    short_leases(&database);
    let mut replicas = vec![first, installation.start()];
    let names = ["bakery", "brewery", "butchery", "bookshop"];
    for name in names {
        let mut http = replicas[1].client();
        billing::site(&mut http, name);
        let accept = billing::offered(&mut http, name, &format!("offer-{name}"));
        http.command(name, &format!("accept-{name}"), &accept).ok();
        // Whoever tells dies before, while or after it does.
        let teller = teller(&replicas);
        replicas.remove(teller).kill();
        replicas.push(installation.start());
        let mut http = replicas[0].client();
        http.command(name, &format!("back-{name}"), &billing::reclaim()).ok();
    }
    let mut http = replicas[0].client();
    assert_eq!(billing::agree(&mut http, &billing, &names), 2 * names.len());
    // What a process was reserving when it died is given up, by another one.
    assert_eq!(billing.ledger()["violations"], json!([]));
    installation.verify_audit();
}

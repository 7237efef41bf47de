//! Policies in force on many replicas: activated like a handover, taken by everybody or by nobody.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::{
    http::Client,
    policy_folders::{activate, policies_in, rewrite, strict_in},
    replicas::{World, deed, flip, lea_may, postgres::Postgres},
    server::{Installation, until},
    worlds,
};

fn activated(installation: &Installation, place: &Path) -> Value {
    let run = activate(installation, place);
    assert_eq!(run.code, Some(0), "{run:?}");
    serde_json::from_str(&run.out).unwrap()
}

fn fingerprint(client: &mut Client) -> String {
    client.get("/v1/policies").json()["fingerprint"].as_str().unwrap().to_owned()
}

fn named(said: &Value, member: &str) -> String {
    format!("sha256:{}", &said[member].as_str().unwrap()[..16])
}

/// Raised at the latest when whoever would raise it panics.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn after_an_activation_every_replica_answers_by_it() {
    let world = World::new(3);
    let folder = world.installation.folder();
    let (usual, strict) = (policies_in(folder, "usual"), strict_in(folder));
    let mut clients: Vec<Client> = world.replicas.iter().map(crate::server::Server::client).collect();
    // A program that is not optimized takes seconds to build policies.
    assert!(world.database.ask("UPDATE mandate.lease SET ttl_ms = 60000, ttl_max_ms = 60000").is_some());
    flip(&mut clients[0], 0);
    let first = activated(&world.installation, &usual);
    assert_eq!(first["before"], first["policies"], "the first process put the same files in force: {first}");

    // Somebody asks all the time, so that every cache is warm whenever the policies change.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = Raised(&done);
        for replica in &world.replicas {
            let mut client = replica.client();
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    assert!(lea_may(&mut client).is_some());
                    thread::sleep(std::time::Duration::from_millis(5));
                }
            });
        }
        for round in 0..3 {
            let (place, may) = if round % 2 == 0 { (&strict, false) } else { (&usual, true) };
            let said = activated(&world.installation, place);
            assert_eq!((&said["status"], &said["acks"]), (&json!("effective"), &json!("all")), "{said}");
            for client in &mut clients {
                assert_eq!(lea_may(client), Some(may), "round {round}: {said}");
                assert_eq!(fingerprint(client), named(&said, "policies"));
            }
            // Roles and policies are of one revision: a command that follows is decided by them too.
            let n = u64::try_from(round).unwrap() * 2 + 1;
            flip(&mut clients[round % 3], n);
            assert_eq!(lea_may(&mut clients[2]), Some(false));
            flip(&mut clients[round % 3], n + 1);
        }
    });

    let told = clients[0].get("/v1/changes?limit=1000").json();
    let kinds: Vec<&Value> = told["items"].as_array().unwrap().iter().filter(|c| c["key"] == "policy").collect();
    assert_eq!(kinds.len(), 4, "{told}");
    assert!(kinds.iter().all(|change| change["type"] == "PoliciesActivated" && change["site"].is_null()), "{kinds:?}");
    world.installation.verify_audit();
}

#[test]
fn what_is_not_right_is_not_activated() {
    let world = World::new(1);
    let folder = world.installation.folder();
    let mut client = world.replicas[0].client();
    let before = (fingerprint(&mut client), client.get("/v1/changes").json());

    let broken = policies_in(folder, "broken");
    rewrite(&broken.join("policies/roles/viewer.cedar"), "permit", "pemit");
    let run = activate(&world.installation, &broken);
    assert!(run.code == Some(3) && run.err.contains("policies/roles/viewer.cedar:"), "{run:?}");

    let untested = policies_in(folder, "untested");
    rewrite(&untested.join("policies/roles/website-manager.cedar"), "Sites::Action::\"EditContent\",", "");
    let run = activate(&world.installation, &untested);
    assert!(run.code == Some(2) && run.err.contains("nothing was activated"), "{run:?}");
    assert!(run.err.contains("website-manager.tests.toml") && run.out.is_empty(), "{run:?}");

    let nobody = Installation::new();
    let run = activate(&nobody, &strict_in(nobody.folder()));
    assert!(run.code == Some(64) || run.code == Some(2) || run.code == Some(1), "{run:?}");
    assert!(run.err.contains("embedded database") && run.err.contains("start `mandate serve` again"), "{run:?}");

    assert_eq!((fingerprint(&mut client), client.get("/v1/changes").json()), before, "nothing has changed");
}

#[test]
fn a_replica_is_not_asked_what_policies_it_was_started_with() {
    let mut world = World::new(1);
    let strict = strict_in(world.installation.folder());
    let said = activated(&world.installation, &strict);
    // Its own are the copies compiled in, which are others by now.
    let late = world.installation.start();
    assert_eq!(fingerprint(&mut late.client()), named(&said, "policies"));
    assert!(late.log().contains("mandate policy activate"), "{}", late.log());
    flip(&mut late.client(), 0);
    assert_eq!(lea_may(&mut late.client()), Some(false));
    // Without a server too, the database says which they are.
    let asked = world.installation.run(&["check", "lea", "EditContent", "bakery"]);
    assert_eq!((asked.code, asked.out.trim()), (Some(2), "deny"), "{asked:?}");
    world.replicas[0].stop();

    // A stopped replica is waited for, and answers by the new ones or not at all when it goes on.
    let pid = late.pid().to_string();
    let signal = |name: &str| std::process::Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(signal("-STOP").success());
    let usual = policies_in(world.installation.folder(), "usual");
    let said = activated(&world.installation, &usual);
    assert_eq!(said["acks"], "lease_expiry", "{said}");
    assert!(signal("-CONT").success());
    assert!(until("it answers", || lea_may(&mut late.client())));
}

#[test]
fn of_two_that_start_first_one_wins() {
    let database = Postgres::start();
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", database.url("mandate"));
    let mut other = Installation::new();
    let strict = strict_in(other.folder());
    other.set("MANDATE_DATABASE_URL", database.url("mandate"));
    other.set("MANDATE_POLICIES", strict.join("policies").to_str().unwrap());
    other.set("MANDATE_SCHEMAS", strict.join("schemas").to_str().unwrap());

    installation.import(&worlds::story());
    let mut decides = Installation::new();
    decides.set("MANDATE_DATABASE_URL", database.url("mandate")).set("MANDATE_ROLE", "pdp");
    let refused = decides.try_start().err().expect("there are no policies yet").log;
    assert!(refused.contains("no policies are in force"), "{refused}");

    let (one, two) = thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| installation.start()), scope.spawn(|| other.start()));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(fingerprint(&mut one.client()), fingerprint(&mut two.client()));
    let activations = database.ask("SELECT count(*) FROM mandate.audit WHERE kind = 'PoliciesActivated'").unwrap();
    assert_eq!(activations, "1");
    assert_eq!(fingerprint(&mut decides.start().client()), fingerprint(&mut one.client()));
}

#[test]
fn a_replica_that_cannot_use_the_policies_answers_nothing() {
    let world = World::new(1);
    let database = &world.database;
    let folder = world.installation.folder();
    let (usual, strict) = (policies_in(folder, "usual"), strict_in(folder));
    // Its rights are from before there was such a table.
    assert!(database.ask("CREATE ROLE sidecar LOGIN; GRANT USAGE ON SCHEMA mandate TO sidecar").is_some());
    let grants = world.installation.run(&["grants", "--to", "sidecar"]).out;
    assert!(database.ask(&format!("SET search_path = mandate; {grants}")).is_some());
    assert!(database.ask("REVOKE SELECT ON mandate.policy_bundle FROM sidecar").is_some());
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", database.url("mandate").replace("mandate@", "sidecar@"));
    installation.set("MANDATE_ROLE", "pdp");
    let poor = installation.start();
    let (mut rich, mut asked) = (world.replicas[0].client(), poor.client());
    flip(&mut rich, 0);
    assert!(until("it answers", || lea_may(&mut asked)));

    let said = activated(&world.installation, &strict);
    assert_eq!(said["acks"], "lease_expiry", "it is waited for: {said}");
    assert_eq!(lea_may(&mut asked), None, "{}", poor.log());
    assert!(!until("it answers", || lea_may(&mut rich)));
    assert!(poor.log().contains("policy_bundle"), "{}", poor.log());
    assert!(database.ask("GRANT SELECT ON mandate.policy_bundle TO sidecar").is_some());
    assert!(!until("it answers by the new ones", || lea_may(&mut asked)));

    // What is kept was changed by hand, or comes from a version that means something else by it.
    let strict_hash = said["policies"].as_str().unwrap();
    let others = format!("SELECT sha256 FROM mandate.policy_bundle WHERE sha256 <> '{strict_hash}'");
    let forged =
        format!("UPDATE mandate.policy_bundle SET files = replace(files, 'unless', 'when') WHERE sha256 IN ({others})");
    assert!(database.ask(&forged).is_some());
    assert!(database.ask(&format!("UPDATE mandate.head SET policy = ({others})")).is_some());
    for client in [&mut rich, &mut asked] {
        until("its lease is over", || refused(client).filter(|code| code == "policies_unusable"));
    }
    assert!(poor.log().contains("has the hash"), "{}", poor.log());
    let command = rich.call(&crate::http::transition("bakery", "unusable", &deed(1)));
    assert_eq!((command.status, command.code().as_str()), (503, "policies_changed"), "{command}");
    let metrics = world.replicas[0].admin().get("/metrics").text();
    assert!(metrics.contains("cause=\"policies_unusable\""), "{metrics}");
    // Activating them again heals what is kept.
    let (usual, strict) = (activated(&world.installation, &usual), activated(&world.installation, &strict));
    assert!(usual["before"] == usual["policies"] && strict["before"] == usual["policies"], "{usual} {strict}");
}

/// Why a replica does not say whether Lea may edit; none while it does.
fn refused(client: &mut Client) -> Option<String> {
    let question = json!({"subject": {"type": "user", "id": "lea"}, "action": {"name": "EditContent"},
        "resource": {"type": "site", "id": "bakery"}});
    let answer = client.post("/access/v1/evaluation", &question);
    (answer.status == 503).then(|| answer.code())
}

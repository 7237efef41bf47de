//! Many replicas on one PostgreSQL: after the answer that says so, nobody answers from the old roles.
//!
//! Real servers of the built program on a real database, which are stopped and killed. What is measured is what a caller
//! can: when the answer to a command was read, when a question was sent afterwards, and what it was answered.

#[path = "../servers/postgres.rs"]
#[expect(dead_code, reason = "one server for many kinds of test")]
pub mod postgres;

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::postgres::Postgres;
use crate::{
    http::{Client, now_s, transition},
    receiver::Redis,
    server::{Installation, Server, until},
    worlds,
};

/// How long a lease is here, in milliseconds.
const LEASE: u64 = 1_500;

/// A database with the story in it, and replicas that answer from it.
pub struct World {
    pub database: Postgres,
    pub installation: Installation,
    pub replicas: Vec<Server>,
}

impl World {
    pub fn new(replicas: usize) -> Self {
        Self::with(replicas, &[])
    }
    pub fn with(replicas: usize, settings: &[(&str, &str)]) -> Self {
        let database = Postgres::start();
        let mut installation = Installation::new();
        for (name, value) in settings {
            installation.set(name, *value);
        }
        installation.set("MANDATE_DATABASE_URL", database.url("mandate"));
        installation.import(&worlds::story());
        let term = format!("UPDATE mandate.lease SET ttl_ms = {LEASE}, ttl_max_ms = {LEASE}");
        assert!(database.ask(&term).is_some());
        let replicas = (0..replicas).map(|_| installation.start()).collect();
        Self { database, installation, replicas }
    }
    fn clients(&self) -> Vec<Client> {
        self.replicas.iter().map(Server::client).collect()
    }
    fn signal(&self, replica: usize, signal: &str) {
        let pid = self.replicas[replica].pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

/// Gives (even) or takes (odd) Lea's role on Maria's bakery.
pub fn deed(n: u64) -> Value {
    let body = json!({"actor": "user:maria", "auth_time": now_s(), "user": "user:lea", "command": "revoke_role"});
    if !n.is_multiple_of(2) {
        return body;
    }
    let mut body = body;
    (body["command"], body["role"]) = (json!("grant_role"), json!("WebsiteManager"));
    body
}

/// Does it; the answer.
pub fn flip(client: &mut Client, n: u64) -> Value {
    let answer = client.call(&transition("bakery", &format!("flip-{n}"), &deed(n)));
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()
}

/// What a replica says about Lea: none when it says that it cannot say.
pub fn lea_may(client: &mut Client) -> Option<bool> {
    let question = json!({"subject": {"type": "user", "id": "lea"}, "action": {"name": "EditContent"},
        "resource": {"type": "site", "id": "bakery"}});
    let answer = client.post("/access/v1/evaluation", &question);
    match answer.status {
        200 => Some(answer.json()["decision"] == true),
        503 => {
            assert_eq!(answer.code(), "stale_lease", "{answer}");
            None
        }
        _ => panic!("{answer}"),
    }
}

#[test]
fn after_the_answer_every_replica_answers_from_the_new_roles() {
    let world = World::new(3);
    let mut clients = world.clients();
    let (stop, warm) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut by_acks = 0;
    thread::scope(|scope| {
        // Others ask all the time, so that every replica holds the site in its cache when it changes.
        for replica in &world.replicas {
            let (stop, warm) = (&stop, &warm);
            let mut client = replica.client();
            scope.spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    lea_may(&mut client);
                    warm.fetch_add(1, Ordering::AcqRel);
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        for n in 0..40 {
            let from = usize::try_from(n).unwrap() % clients.len();
            let told = flip(&mut clients[from], n);
            assert_eq!(told["status"], "effective", "{told}");
            by_acks += u64::from(told["acks"] == "all");
            for (which, client) in clients.iter_mut().enumerate() {
                // On a busy machine a replica may have no lease for a moment; it says so, and is asked again.
                let said = until("it answers", || lea_may(client));
                assert_eq!(said, n.is_multiple_of(2), "step {n}, changed through {from}, asked of {which}");
            }
        }
        stop.store(true, Ordering::Release);
    });
    assert!(warm.load(Ordering::Acquire) > 100, "nobody asked in between");
    assert!(by_acks > 20, "{by_acks} of 40 changes were effective before the leases ran out");
    world.installation.verify_audit();
    assert_eq!(world.database.ask("SELECT count(*) FROM mandate.replica").unwrap(), "3");
}

#[test]
fn a_stopped_replica_is_waited_for_and_never_answers_from_before() {
    let world = World::new(2);
    let mut clients = world.clients();
    flip(&mut clients[0], 0);
    assert_eq!(lea_may(&mut clients[1]), Some(true));
    world.signal(1, "-STOP");
    // A caller with little patience is told that it is not effective yet, and until when at the latest.
    let body = deed(1);
    let call = transition("bakery", "impatient", &body).header("prefer", "wait=0");
    let told = clients[0].call(&call);
    assert_eq!((told.status, &told.json()["status"]), (202, &json!("committed")), "{told}");
    assert!(told.json()["effective_no_later_than_ms"].as_u64().unwrap() <= LEASE * 11 / 10 + 100, "{told}");
    assert!(!told.json()["pending"].as_array().unwrap().is_empty(), "{told}");
    let begin = Instant::now();
    let told = clients[0].call(&transition("bakery", "impatient", &body));
    assert_eq!((told.status, &told.json()["acks"]), (200, &json!("lease_expiry")), "{told}");
    assert!(begin.elapsed() <= Duration::from_millis(LEASE * 11 / 10 + 100) + Duration::from_secs(2));
    world.signal(1, "-CONT");
    // Whatever it remembers, it asks first.
    assert_ne!(lea_may(&mut clients[1]), Some(true), "the resumed replica answered from before");
    assert!(!until("the resumed replica answers", || lea_may(&mut clients[1])));
    let again = flip(&mut clients[0], 2);
    assert_eq!(again["acks"], "all", "it is counted again");
}

#[test]
fn a_replica_without_its_database_refuses_and_comes_back() {
    let mut world = World::new(2);
    let mut clients = world.clients();
    flip(&mut clients[0], 0);
    for client in &mut clients {
        assert_eq!(lea_may(client), Some(true));
    }
    world.database.stop();
    let stopped = Instant::now();
    for client in &mut clients {
        until("it refuses", || lea_may(client).is_none().then_some(()));
    }
    let begin = stopped.elapsed();
    assert!(begin <= Duration::from_millis(LEASE) + Duration::from_secs(3), "it answered for {begin:?}");
    assert_eq!(world.replicas[0].admin().get("/readyz").status, 503);
    let body = deed(1);
    let refused = clients[0].call(&transition("bakery", "lost", &body));
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_applied"), "{refused}");
    world.database.start_again();
    for client in &mut clients {
        assert!(until("it answers again", || lea_may(client)));
    }
    let told = clients[0].call(&transition("bakery", "lost", &body));
    assert_eq!(told.status, 200, "{told}");
    assert_eq!(lea_may(&mut clients[1]), Some(false));
}

#[test]
fn a_replica_that_leaves_is_not_waited_for() {
    let mut world = World::new(3);
    let mut clients = world.clients();
    assert_eq!(world.replicas[2].stop(), Some(0));
    let told = flip(&mut clients[0], 0);
    assert_eq!(told["acks"], "all", "{told}");
    assert_eq!(world.database.ask("SELECT count(*) FROM mandate.replica").unwrap(), "2");
    // Killed, it is waited for until its lease has run out for certain.
    world.replicas[1].kill();
    let told = flip(&mut clients[0], 1);
    assert_eq!(told["acks"], "lease_expiry", "{told}");
    // One that joins begins with what is there.
    let joined = world.installation.start();
    assert_eq!(lea_may(&mut joined.client()), Some(false));
}

#[test]
fn an_agency_that_is_suspended_is_suspended_everywhere() {
    let world = World::new(2);
    let mut clients = world.clients();
    let agency =
        |status: &str| json!({"name": "Studio North", "domain": "north.example", "verified": true, "status": status});
    for status in ["suspended", "active", "suspended", "active"] {
        clients[0].put("/v1/agencies/studio-north", &agency(status)).ok();
        let found = clients[1].get("/v1/agencies/studio-north").json();
        assert_eq!(found["status"], status);
    }
}

/// Every copy that replicas share, by its name.
pub fn copies(redis: &Redis) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut connection = redis.connection();
    let names: Vec<Vec<u8>> = redis::cmd("KEYS").arg("mandate*").query(&mut connection).unwrap();
    let read = |name: Vec<u8>| {
        let value: Vec<u8> = redis::cmd("GET").arg(&name).query(&mut connection).ok()?;
        Some((name, value))
    };
    names.into_iter().filter_map(read).collect()
}

pub fn write(redis: &Redis, copies: &[(Vec<u8>, Vec<u8>)]) {
    let mut connection = redis.connection();
    for (name, value) in copies {
        redis::cmd("SET").arg(name).arg(value).exec(&mut connection).unwrap();
    }
}

#[test]
fn whatever_redis_holds_the_answers_are_right() {
    let mut redis = Redis::start();
    let key = "5eed".repeat(16);
    let world = World::with(2, &[("MANDATE_REDIS_URL", &redis.url()), ("MANDATE_CACHE_MAC_KEY", &key)]);
    let mut clients = world.clients();
    let mut old = Vec::new();
    for n in 0..30 {
        let told = flip(&mut clients[usize::try_from(n).unwrap() % 2], n);
        assert_eq!(told["status"], "effective", "{told}");
        match n % 5 {
            // Copies from before this change, authentic ones.
            0 => write(&redis, &old),
            // Whatever somebody else would write there.
            1 => write(
                &redis,
                &copies(&redis).into_iter().map(|(name, value)| (name, vec![0xA5; value.len()])).collect::<Vec<_>>(),
            ),
            2 => redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap(),
            // One bit of each.
            3 => {
                let flipped = copies(&redis).into_iter().map(|(name, mut value)| {
                    let last = value.len() - 1;
                    value[last] ^= 1;
                    (name, value)
                });
                write(&redis, &flipped.collect::<Vec<_>>());
            }
            _ => {}
        }
        for client in &mut clients {
            let said = until("it answers", || lea_may(client));
            assert_eq!(said, n.is_multiple_of(2), "step {n}");
        }
        if n % 5 == 4 {
            old = until("copies are shared", || Some(copies(&redis)).filter(|found| !found.is_empty()));
        }
    }
    // Without it everything goes on.
    redis.down();
    for n in 30..34 {
        flip(&mut clients[0], n);
        for client in &mut clients {
            assert_eq!(until("it answers", || lea_may(client)), n.is_multiple_of(2), "step {n}");
        }
    }
    world.installation.verify_audit();
}

#[test]
fn what_cannot_be_used_is_refused_with_what_to_do() {
    let database = Postgres::start();
    let refused = |url: &str| {
        let mut installation = Installation::new();
        installation.set("MANDATE_DATABASE_URL", url);
        installation.try_start().err().expect(url).log
    };
    let nobody = refused("postgres://mandate@127.0.0.1:1/postgres");
    assert!(nobody.contains("cannot be reached") && nobody.contains("127.0.0.1:1/postgres"), "{nobody}");
    let missing = refused(&database.server().replace("/postgres", "/nothing"));
    assert!(missing.contains("createdb"), "{missing}");
    let wrong = refused("postgres://maria:hunter2@127.0.0.1:x/db");
    assert!(wrong.contains("postgres://ROLE:PASSWORD@HOST:PORT/DATABASE") && !wrong.contains("hunter2"), "{wrong}");
    database.url("other");
    assert!(database.ask("CREATE TABLE other.theirs (id int)").is_some());
    let foreign = refused(&database.url("other"));
    assert!(foreign.contains("not mandate's"), "{foreign}");
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", database.url("newer"));
    installation.import(&worlds::story());
    assert!(database.ask("UPDATE newer.refinery_schema_history SET version = version + 97").is_some());
    let newer = refused(&database.url("newer"));
    assert!(newer.contains("newer version of mandate"), "{newer}");
    let mut alone = Installation::new();
    alone.set("MANDATE_REDIS_URL", "redis://127.0.0.1:1/").set("MANDATE_CACHE_MAC_KEY", "5eed".repeat(16));
    let needless = alone.try_start().err().expect("refused").log;
    assert!(needless.contains("the embedded database has one process"), "{needless}");
}

#[test]
fn what_was_embedded_moves_to_a_server_and_back() {
    let embedded = Installation::with(&worlds::managed_story());
    let before = embedded.run(&["export"]);
    let database = Postgres::start();
    let mut served = Installation::new();
    served.set("MANDATE_DATABASE_URL", database.url("moved"));
    let file = embedded.folder().join("all.jsonl");
    std::fs::write(&file, &before.out).unwrap();
    let moved = served.run(&["import", file.to_str().unwrap()]);
    assert_eq!(moved.code, Some(0), "{}", moved.err);
    assert_eq!(served.run(&["export"]).out, before.out);
    served.verify_audit();
}

#[test]
fn callers_that_go_away_leave_no_transaction_open() {
    let world = World::new(1);
    let address = world.replicas[0].address();
    for n in 0..300 {
        let bytes = transition("bakery", &format!("gone-{n}"), &deed(n)).bytes();
        let cut = bytes.len() * (usize::try_from(n).unwrap() % 7 + 1) / 7;
        let mut connection = crate::http::Connection::open(address).unwrap();
        connection.send(&bytes[..cut]).unwrap();
        drop(connection);
    }
    // What was left open just now has been so for more than two seconds then; after five the server ends it.
    thread::sleep(Duration::from_millis(2_500));
    let idle = "SELECT count(*) FROM pg_stat_activity
        WHERE state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '2 seconds'";
    assert_eq!(world.database.ask(idle).unwrap(), "0", "a transaction was left open");
    let mut client = world.replicas[0].client();
    let has_it = lea_may(&mut client) == Some(true);
    let told = flip(&mut client, 1_000 + u64::from(has_it));
    assert_eq!(told["status"], "effective");
    world.installation.verify_audit();
}

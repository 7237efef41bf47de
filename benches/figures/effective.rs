//! How long until a transition is effective on three replicas, healthy and with one of them stopped?
//!
//! Three real processes on a PostgreSQL that syncs, and Redis. A caller gives roles and takes them, over HTTP, from before
//! the request is written to the answer that says `effective`; in turns with a bare client of the same server that inserts
//! one small row and commits. Once on this machine's disk, and once with a sync that takes 4 ms longer for all (the
//! server's `commit_delay`), because the faster the disk, the more the rest weighs. Then, with a lease of a second, one of the other two replicas is stopped (SIGSTOP), and
//! the target is lease · (1 + ρ) + ε. The writer waits that long after the commit and not less, so the caller, whose clock
//! runs from the request to the answer and has the command in it as well, sees more by what the command takes.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use mandate::{
    app::import::{Line, Record, import_batch},
    clock::{Clock as _, SystemClock},
    lease::Margin,
    site::SiteDocument,
    store::postgres,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    Effort,
    data::{self, AGENCIES, Ids},
    postgres::Postgres,
    servers::{Mandate, Redis},
    table::{Row, median, quantile},
    transition::{micros, owner_of},
};

const REPLICAS: usize = 3;
const SITES: usize = 200;
/// Pairs of a bare commit and a transition in one round.
const PAIRS: usize = 50;
/// Transitions in one round while a replica is stopped.
const STOPPED: usize = 2;
/// The lease while one is.
const LEASE: Duration = Duration::from_secs(1);

/// A database of its own, replicas on it, and who talks to them.
struct Scene {
    database: Postgres,
    _redis: Redis,
    replicas: Vec<Mandate>,
    agent: ureq::Agent,
    done: usize,
}

pub fn measure(effort: Effort) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut rows = healthy(effort, &runtime, "", &[]);
    let slowly = healthy(effort, &runtime, ", each sync 4 ms longer", &["commit_delay=4000", "commit_siblings=0"]);
    // The target is for the disk as it is.
    rows.extend(slowly.into_iter().map(Row::without_target));
    rows.extend(one_stopped(effort));
    rows
}

/// `settings` are the server's, and `under` says what they do.
fn healthy(effort: Effort, runtime: &Runtime, under: &str, settings: &[&str]) -> Vec<Row> {
    let mut scene = Scene::new(None, settings);
    let (client, connection) =
        runtime.block_on(tokio_postgres::connect(&scene.database.server(), tokio_postgres::NoTls)).unwrap();
    runtime.spawn(connection);
    let table = "CREATE TABLE bare (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT NOT NULL)";
    runtime.block_on(client.batch_execute(table)).unwrap();
    let insert = runtime.block_on(client.prepare("INSERT INTO bare (text) VALUES ('one small row')")).unwrap();
    let (mut bare, mut ours, mut by_all) = (Vec::new(), Vec::new(), 0);
    for _ in 0..effort.rounds * PAIRS {
        bare.push(micros(|| {
            runtime.block_on(client.execute(&insert, &[])).unwrap();
        }));
        let (took, told) = scene.transition();
        ours.push(took);
        by_all += usize::from(told["acks"] == "all");
    }
    let count = ours.len();
    let (base, transition) = (median(&mut bare), median(&mut ours));
    let ratio = transition / base;
    vec![
        Row::told(
            format!("bare durable PostgreSQL commit{under}"),
            format!("{base:.0} µs (p99 {:.0})", quantile(&mut bare, 0.99)),
        ),
        Row::aimed(
            format!("a transition effective on three replicas, by the bare commit{under}"),
            format!("{ratio:.2} × ({transition:.0} µs, p99 {:.0})", quantile(&mut ours, 0.99)),
            "≤ 5 ×",
            ratio <= 5.0,
        ),
        Row::told("· effective because all replicas said so", format!("{by_all} of {count}")),
    ]
}

fn one_stopped(effort: Effort) -> Vec<Row> {
    let mut scene = Scene::new(Some(LEASE), &[]);
    // The command's own share, while all are well.
    let mut healthy: Vec<f64> = (0..20).map(|_| scene.transition().0).collect();
    let process = scene.replicas[REPLICAS - 1].process().to_string();
    assert!(Command::new("kill").args(["-STOP", &process]).status().unwrap().success());
    let (mut times, mut waited) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds * STOPPED {
        let (took, told) = scene.transition();
        assert_eq!(told["acks"], "lease_expiry", "{told}: a stopped replica said something");
        times.push(took);
        waited.push(told["waited_ms"].as_f64().expect("how long was waited after the commit"));
    }
    let bound = Margin::STANDARD.bound(LEASE).as_secs_f64() * 1e3;
    let count = times.len();
    let [worst, middle, best] = [1.0, 0.5, 0.0].map(|share| quantile(&mut times, share) / 1e3);
    let (waited, healthy) = (quantile(&mut waited, 1.0), median(&mut healthy) / 1e3);
    vec![
        Row::aimed(
            format!("one of three replicas stopped, lease of 1 s: worst of {count} transitions, by the caller's clock"),
            format!("{worst:.0} ms (median {middle:.0}, best {best:.0})"),
            &format!("≤ {bound:.0} ms"),
            worst <= bound,
        ),
        Row::told("· the worst wait after the commit, by the writer's clock", format!("{waited:.0} ms")),
        Row::told("· a whole transition with all three well", format!("{healthy:.0} ms")),
    ]
}

impl Scene {
    fn new(lease: Option<Duration>, settings: &[&str]) -> Self {
        let database = Postgres::start_with(&[&["fsync=on", "shared_buffers=64MB"], settings].concat());
        let url = database.url("mandate");
        import(&url);
        if let Some(lease) = lease {
            let ms = lease.as_millis();
            let term = format!("UPDATE mandate.lease SET ttl_ms = {ms}, ttl_max_ms = {ms}");
            assert!(database.ask(&term).is_some());
        }
        let redis = Redis::start();
        let replicas = (0..REPLICAS).map(|_| Mandate::start(&url, Some(&redis), None)).collect();
        redis.wait_for(REPLICAS);
        Self { database, _redis: redis, replicas, agent: ureq::Agent::new_with_defaults(), done: 0 }
    }

    /// Gives a role to somebody, or takes it again: microseconds until it was effective, and the answer.
    fn transition(&mut self) -> (f64, Value) {
        let n = self.done;
        self.done += 1;
        // Self-managed ones.
        let site = n / 2 * 5 % SITES;
        let (id, owner) = (Ids::Short.site(site), owner_of(site));
        let user = format!("user:{}", Ids::Short.user(data::SITES - 1 - n / 2));
        let mut body = json!({"actor": format!("user:{owner}"), "auth_time": SystemClock.now().as_seconds() - 5,
            "user": user, "command": "revoke_role"});
        if n.is_multiple_of(2) {
            (body["command"], body["role"]) = (json!("grant_role"), json!("Viewer"));
        }
        let body = body.to_string();
        let url = format!("http://{}/v1/sites/{id}/transitions", self.replicas[0].helper.address);
        let request = self.agent.post(url).header("content-type", "application/json");
        let request = request.header("idempotency-key", format!("\"bench-{n}\""));
        let started = Instant::now();
        let mut answer = request.send(&body).unwrap();
        let told: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        let took = started.elapsed().as_nanos() as f64 / 1_000.0;
        assert_eq!(told["status"], "effective", "{told}");
        (took, told)
    }
}

/// Imports the first sites.
fn import(url: &str) {
    let store = postgres::open(url, None).unwrap();
    let agencies = (0..AGENCIES).map(|n| Record::Agency(data::agency(n, Ids::Short)));
    let sites = (0..SITES).map(|n| Record::Site(Box::new(SiteDocument::from(&data::site(n, Ids::Short)))));
    let lines = (1..).zip(agencies.chain(sites)).map(|(number, record)| Line { number, record }).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let policies = Arc::clone(&data::policies());
    runtime.block_on(import_batch(&store, &policies, lines, SystemClock.now())).unwrap();
}

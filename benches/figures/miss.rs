//! What does a miss cost: a check about a site that this process does not hold yet?
//!
//! Whole requests over TCP, every one about another of a million sites: against a replica that finds each copy in Redis,
//! against one that has no Redis and reads PostgreSQL, and against a bare axum handler that reads the same question, gets
//! the very same entry from the same Redis through the same client library, and answers. At saturation, and with one
//! connection. Then in process, by the store: embedded, PostgreSQL, PostgreSQL with Redis, each with a thousand and with a
//! million sites in the store, the view made to forget all of them before each round.

use crate::{
    Effort, data,
    in_process::{Opened, Place, share},
    load::Asks,
    postgres::Postgres,
    rounds::Rounds,
    servers::{CONNECTIONS, Mandate, Redis, SERVER_CORE, yardstick},
    stores::{self, FEW, MANY, schema},
    table::{Row, median, quantile},
};

/// Misses in one round at saturation, with one connection, and of PostgreSQL.
const FULL: usize = 20_000;
const ALONE: usize = 2_000;
const SLOW: usize = 2_000;
/// Misses in one round in process.
const IN_PROCESS: usize = 300;

pub fn measure(effort: Effort) -> Vec<Row> {
    let database = stores::postgres(&["shared_buffers=256MB"], &data::policies());
    let mut rows = whole_requests(effort, &database);
    rows.extend(in_process(effort, &database));
    rows
}

fn whole_requests(effort: Effort, database: &Postgres) -> Vec<Row> {
    let url = database.url(&schema(MANY));
    let redis = Redis::start();
    let alone = effort.rounds * FULL;
    let asked = alone + effort.rounds * ALONE;
    let prefix = share(&url, &redis, 0..asked);
    let bare = yardstick(&["as-lookup", &redis.url(), &prefix]);
    let (ours, without) =
        (Mandate::start(&url, Some(&redis), Some(SERVER_CORE)), Mandate::start(&url, None, Some(SERVER_CORE)));
    redis.wait_for(1);
    let servers = [&bare, &ours.helper];
    let once = |from| move |n: usize, count: usize| Asks::Once { from: from + n * count, count };
    let full = Rounds::take(effort.rounds, &servers, CONNECTIONS, |n, _| once(0)(n, FULL));
    let single = Rounds::take(effort.rounds, &servers, 1, |n, _| once(alone)(n, ALONE));
    let read = ours.read_from_store();
    // Whatever comes of it is not the time of a miss that Redis fills.
    assert!(read < asked as f64 / 100.0, "{read} of {asked} sites were read from PostgreSQL and not from Redis");
    let slow = Rounds::take(effort.rounds, &[&without.helper], CONNECTIONS, |n, _| once(0)(n, SLOW));
    let [time, p50, latency] =
        [1.0 / full.by(1, 0, |r| r.per_second), full.by(1, 0, |r| r.p50), single.by(1, 0, |r| r.p50)];
    let target = |what: &str, ratio: f64| Row::aimed(what, format!("{ratio:.2} ×"), "≤ 1.3 ×", ratio <= 1.3);
    vec![
        Row::told("bare axum handler with one Redis GET, 32 connections", full.absolute(0)),
        Row::told("a miss filled from Redis, 32 connections", full.absolute(1)),
        target("· time for each request at saturation, by the bare handler", time),
        target("· p50 at saturation, by the bare handler", p50),
        Row::told("· processor time, by the bare handler", format!("{:.2} ×", full.by(1, 0, |r| r.processor))),
        Row::told("· misses that were filled from PostgreSQL all the same", format!("{read} of {asked}")),
        Row::told("bare axum handler with one Redis GET, one connection", single.absolute(0)),
        Row::told("a miss filled from Redis, one connection", single.absolute(1)),
        target("· p50, by the bare handler", latency),
        Row::told("a miss filled from PostgreSQL, 32 connections", slow.absolute(0)),
    ]
}

fn in_process(effort: Effort, database: &Postgres) -> Vec<Row> {
    let place = Place::new();
    let redis = Redis::start();
    let urls = [FEW, MANY].map(|sites| database.url(&schema(sites)));
    let drawn = |sites: usize, round: usize| (0..IN_PROCESS).map(move |n| site(sites, round * IN_PROCESS + n));
    share(&urls[0], &redis, 0..FEW);
    share(&urls[1], &redis, (0..effort.rounds).flat_map(|round| drawn(MANY, round)));
    let kinds = ["SQLite", "PostgreSQL", "Redis"];
    let opened: Vec<(usize, Opened)> = [FEW, MANY]
        .into_iter()
        .zip(&urls)
        .flat_map(|(sites, url)| {
            [place.embedded(sites), place.replica(url, None), place.replica(url, Some(&redis))]
                .map(|opened| (sites, opened))
        })
        .collect();
    redis.wait_for(2);
    let mut times: Vec<Vec<f64>> = opened.iter().map(|_| Vec::new()).collect();
    for round in 0..effort.rounds {
        for at in (0..opened.len()).map(|n| (n + round) % opened.len()) {
            let (sites, opened) = &opened[at];
            place.forget(opened);
            times[at].extend(place.times(opened, &place.questions(drawn(*sites, round))));
        }
    }
    let mut told = |at: usize| format!("{:.0} µs (p99 {:.0})", median(&mut times[at]), quantile(&mut times[at], 0.99));
    kinds
        .iter()
        .enumerate()
        .map(|(at, kind)| {
            let what = format!("a miss in process filled from {kind}, 1,000 sites in the store; 1,000,000");
            Row::told(what, format!("{}; {}", told(at), told(at + kinds.len())))
        })
        .collect()
}

/// Which site is asked about: all of few in turn, any of many but never one twice.
fn site(sites: usize, n: usize) -> usize {
    /// Has no divisor in common with the number of sites.
    const STRIDE: usize = 617_633;
    n * STRIDE % sites
}

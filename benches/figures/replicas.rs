//! What does a check cost that one of many replicas answers from its memory, by an embedded one that does?
//!
//! Whole requests over TCP against three servers of the real program in turns: two embedded ones, whose ratio shows what
//! the measurement is worth, and one with PostgreSQL and Redis behind it. All hold the sites they are asked about. Then the
//! same in process, through `App::check`, with a thousand and a million sites in the view; and the lease check alone:
//! both readings of the clock, the pin and the second look.

use std::{hint::black_box, time::Instant};

use mandate::{
    clock::{BootClock as _, SystemBootClock},
    lease::Pinned,
};

use crate::{
    Effort, data,
    in_process::{Opened, Place},
    load::Asks,
    rounds::Rounds,
    servers::{CONNECTIONS, Mandate, Redis},
    stores::{self, FEW, MANY, schema},
    table::{Row, median},
};

/// Sites that are asked about over TCP.
const WARM: usize = 20_000;
/// Questions in one go in process, and goes in one round.
const CHUNK: usize = 1_000;
const CHUNKS: usize = 30;
/// Lease checks in one go.
const LEASES: u32 = 100_000;

pub fn measure(effort: Effort) -> Vec<Row> {
    let policies = data::policies();
    let database = stores::postgres(&[], &policies);
    let redis = Redis::start();
    let mut rows = whole_requests(effort, &database.url(&schema(MANY)), &redis);
    rows.extend(in_process(effort, [FEW, MANY].map(|sites| database.url(&schema(sites)))));
    rows
}

fn whole_requests(effort: Effort, url: &str, redis: &Redis) -> Vec<Row> {
    let (one, two) = (Mandate::embedded("replicas"), Mandate::embedded("replicas-2"));
    let replica = Mandate::start(url, Some(redis), Some(crate::servers::SERVER_CORE));
    for server in [&one, &two, &replica] {
        server.ask_about(WARM);
    }
    let servers = [&one.helper, &two.helper, &replica.helper];
    let asks = Asks::Any { sites: WARM, seconds: effort.load.as_secs_f64() };
    let rounds = Rounds::take(effort.rounds, &servers, CONNECTIONS, |_, _| asks);
    let told = |server| {
        let (processor, rate) = (rounds.by(server, 0, |r| r.processor), rounds.by(server, 0, |r| r.per_second));
        let p50 = rounds.by(server, 0, |r| r.p50);
        (processor, format!("{processor:.3} × (requests/s {rate:.3}, p50 {p50:.3})"))
    };
    let (same, (processor, figure)) = (told(1).1, told(2));
    vec![
        Row::told("evaluation over TCP from memory, embedded", rounds.absolute(0)),
        Row::told("· from memory, PostgreSQL and Redis behind it", rounds.absolute(2)),
        Row::told("· processor time, a second embedded one by the first", same),
        Row::aimed("· processor time, a replica by embedded", figure, "≤ 1.05 ×", processor <= 1.05),
    ]
}

fn in_process(effort: Effort, urls: [String; 2]) -> Vec<Row> {
    let place = Place::new();
    let opened: Vec<(usize, Opened)> = [FEW, MANY]
        .into_iter()
        .zip(urls)
        .flat_map(|(sites, url)| [(sites, place.embedded(sites)), (sites, place.replica(&url, None))])
        .collect();
    for (sites, opened) in &opened {
        place.fill(opened, *sites);
    }
    let mut times = [const { Vec::new() }; 4];
    let mut leases = Vec::new();
    for chunk in 0..effort.rounds * CHUNKS {
        for at in (0..4).map(|n| (n + chunk) % 4) {
            let (sites, opened) = &opened[at];
            let site = |n: usize| data::draw((chunk * CHUNK + n) as u64, *sites);
            let questions = place.questions((0..CHUNK).map(site));
            times[at].push(place.time(opened, &questions));
        }
        leases.push(lease_check(&place, &opened[1].1));
    }
    let ratio = |of: usize, by: usize| -> f64 {
        median(&mut times[of].iter().zip(&times[by]).map(|(of, by)| of / by).collect::<Vec<_>>())
    };
    let ratios = [ratio(1, 0), ratio(3, 2), ratio(2, 0), ratio(3, 1)];
    let micros = times.each_mut().map(|times| median(times));
    let lease = median(&mut leases);
    vec![
        Row::told(
            "a check in process from memory, 1,000 sites: embedded; replica",
            format!("{:.2} µs; {:.2} µs ({:.2} ×)", micros[0], micros[1], ratios[0]),
        ),
        Row::told(
            "· the same with 1,000,000 sites",
            format!("{:.2} µs; {:.2} µs ({:.2} ×)", micros[2], micros[3], ratios[1]),
        ),
        Row::told("· 1,000,000 sites by 1,000: embedded; replica", format!("{:.2} ×; {:.2} ×", ratios[2], ratios[3])),
        Row::aimed("the lease check alone", format!("{lease:.3} µs"), "≤ 0.2 µs", lease <= 0.2),
    ]
}

/// In microseconds.
fn lease_check(place: &Place, replica: &Opened) -> f64 {
    place.runtime.block_on(replica.app.newly_asked()).unwrap();
    let lease = replica.app.view().lease().unwrap();
    let started = Instant::now();
    for _ in 0..LEASES {
        let pinned = Pinned::pin(black_box(&lease), SystemBootClock.boottime()).unwrap();
        black_box(pinned.reply(SystemBootClock.boottime(), ()).unwrap());
    }
    started.elapsed().as_nanos() as f64 / 1_000.0 / f64::from(LEASES)
}

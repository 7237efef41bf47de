//! A decision over HTTP, against the yardstick: requests for each second, latency, processor time.
//!
//! Three servers run at once and are loaded in turns, round by round: the bare echo, the same echo behind our own
//! accept loop and edge, and the program itself on the store with 100,000 sites, every one of them asked about before.
//! 32 keep-alive connections, the server on one core and the load on the other.

use crate::{
    Effort,
    data::SITES,
    load::Asks,
    rounds::Rounds,
    servers::{CONNECTIONS, Mandate, yardstick},
    table::Row,
};

pub fn measure(effort: Effort) -> Vec<Row> {
    let mandate = Mandate::embedded("http");
    mandate.ask_about(SITES);
    let servers = [&yardstick(&["as-echo", "bare"]), &yardstick(&["as-echo", "edge"]), &mandate.helper];
    let asks = Asks::Any { sites: SITES, seconds: effort.load.as_secs_f64() };
    let rounds = Rounds::take(effort.rounds, &servers, CONNECTIONS, |_, _| asks);
    let (rate, p99) = (rounds.by(2, 0, |r| r.per_second), rounds.by(2, 0, |r| r.p99));
    vec![
        Row::told("bare axum echo over TCP, one core, 32 connections", rounds.absolute(0)),
        Row::told("the same echo behind our accept loop and edge", rounds.absolute(1)),
        Row::told("evaluation over TCP", rounds.absolute(2)),
        Row::aimed("evaluation, requests/s by the bare echo", format!("{rate:.2} ×"), "≥ 0.45 ×", rate >= 0.45),
        Row::told("· of which the edge alone would leave", format!("{:.2} ×", rounds.by(1, 0, |r| r.per_second))),
        Row::told(
            "evaluation, requests for each second of processor time, by the bare echo",
            format!("{:.2} ×", 1.0 / rounds.by(2, 0, |r| r.processor)),
        ),
        Row::told("evaluation, p50 by the bare echo", format!("{:.2} ×", rounds.by(2, 0, |r| r.p50))),
        Row::aimed("evaluation, p99 by the bare echo", format!("{p99:.2} ×"), "≤ 2 ×", p99 <= 2.0),
    ]
}

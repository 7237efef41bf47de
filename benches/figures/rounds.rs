//! Servers that are loaded in turns: what each round saw, and how the servers compare.
//!
//! Ratios are medians of the rounds' ratios, so that whatever else the machine did for a while touches both sides. Of the
//! figures, the kernel's count of a process's time is the one that other work disturbs least.

use crate::{
    load::{self, Asks, Seen},
    machine,
    servers::{Helper, LOAD_CORE},
    table::median,
};

/// One round on one server.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    /// Processor time of the server for each request, in microseconds.
    pub processor: f64,
}

/// All rounds, by server.
pub struct Rounds(Vec<Vec<Round>>);

impl Rounds {
    /// So many rounds of so many connections. What a server is asked in a round says `asks`.
    pub fn take(count: usize, servers: &[&Helper], connections: usize, asks: impl Fn(usize, usize) -> Asks) -> Self {
        let mut rounds: Vec<Vec<Round>> = servers.iter().map(|_| Vec::new()).collect();
        for n in 0..count {
            // Nobody is always the first.
            for server in (0..servers.len()).map(|at| (at + n) % servers.len()) {
                rounds[server].push(round(servers[server], connections, asks(n, server)));
            }
            let rates: Vec<f64> = rounds.iter().map(|rounds| rounds[n].per_second).collect();
            eprintln!("round {}: {rates:.0?}", n + 1);
        }
        Self(rounds)
    }
    /// A server's median.
    pub fn of(&self, server: usize, value: fn(&Round) -> f64) -> f64 {
        median(&mut self.0[server].iter().map(value).collect::<Vec<_>>())
    }
    /// A server's median by another one's, round by round.
    pub fn by(&self, server: usize, base: usize, value: fn(&Round) -> f64) -> f64 {
        let pairs = self.0[server].iter().zip(&self.0[base]);
        median(&mut pairs.map(|(own, base)| value(own) / value(base)).collect::<Vec<_>>())
    }
    /// A server's medians, to show the scale.
    pub fn absolute(&self, server: usize) -> String {
        format!(
            "{:.0}/s, p50 {:.0} µs, p99 {:.0} µs, processor {:.1} µs",
            self.of(server, |r| r.per_second),
            self.of(server, |r| r.p50),
            self.of(server, |r| r.p99),
            self.of(server, |r| r.processor)
        )
    }
}

fn round(server: &Helper, connections: usize, asks: Asks) -> Round {
    let run = |asks: Asks| -> Seen { load::on(LOAD_CORE, &server.address, connections, asks) };
    if let Asks::Any { sites, .. } = asks {
        run(Asks::Any { sites, seconds: 0.2 });
    }
    let before = machine::processor_time(server.process());
    let seen = run(asks);
    let processor = machine::processor_time(server.process()) - before;
    let share = seen.allowed / seen.requests;
    assert!(
        (0.1..=1.0).contains(&share),
        "{share} of the answers were allows: the questions are not the intended ones"
    );
    Round {
        per_second: seen.requests / seen.seconds,
        p50: seen.p50,
        p99: seen.p99,
        processor: processor / seen.requests * 1e6,
    }
}

//! What does it cost? The figures of the README, measured in one run and printed as one table.
//!
//! `cargo bench --bench figures` measures everything; names of parts after `--` (the list in [`PARTS`]) measure those, and
//! `quick` shortens the rounds. Every target but those that a person or a lease waits for is a ratio between two things
//! that are measured in turns in the same run, because absolute times do not travel from machine to machine.
//! What a part does, its module's header says; `benches/README.md` has the results and what they cannot show.
//!
//! The program is also its own helpers, under words that begin with `as-`: the yardstick server, the load generator,
//! and the process whose memory is weighed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that goes wrong must stop")]
#![expect(clippy::indexing_slicing, reason = "a measurement that goes wrong must stop")]
#![expect(clippy::cast_precision_loss, reason = "three digits of every number are read")]

mod data;
mod decide;
mod echo;
mod effective;
mod http;
mod in_process;
mod load;
mod machine;
mod memory;
mod million;
mod miss;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../tests/servers/postgres.rs"]
mod postgres;
mod preview;
mod replicas;
mod rounds;
mod search;
mod servers;
mod stores;
mod table;
mod transition;

use std::time::Duration;

/// As in the program: what is compared must not differ in its allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
struct Effort {
    rounds: usize,
    /// Of load in each round, on each server.
    load: Duration,
}

impl Effort {
    fn is_quick(self) -> bool {
        self.rounds < 15
    }
}

type Part = fn(Effort) -> Vec<table::Row>;

/// What there is to measure, in this order.
const PARTS: [(&str, Part); 10] = [
    ("decide", decide::measure),
    ("transition", transition::measure),
    ("preview", preview::measure),
    ("memory", memory::measure),
    ("http", http::measure),
    ("search", search::measure),
    ("replicas", replicas::measure),
    ("miss", miss::measure),
    ("million", million::measure),
    ("effective", effective::measure),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["as-echo", kind] => echo::serve(kind),
        ["as-load", rest @ ..] => load::run(rest),
        ["as-memory", ids, sites] => memory::weigh(ids, sites),
        ["as-lookup", redis, prefix] => echo::look_up(redis, prefix),
        parts => measure(parts),
    }
}

fn measure(parts: &[&str]) {
    let effort = if parts.contains(&"quick") {
        Effort { rounds: 3, load: Duration::from_secs(1) }
    } else {
        Effort { rounds: 15, load: Duration::from_secs(1) }
    };
    let known = |part: &&str| *part == "quick" || PARTS.iter().any(|(name, _)| name == part);
    if let Some(unknown) = parts.iter().find(|part| !known(part)) {
        panic!("there is no part `{unknown}`: {:?}, and `quick`", PARTS.map(|(name, _)| name));
    }
    let all = parts.iter().all(|part| *part == "quick");
    let mut rows = Vec::new();
    for (name, part) in PARTS {
        if all || parts.contains(&name) {
            eprintln!("measuring {name} …");
            rows.extend(part(effort));
        }
    }
    table::print(&rows);
}

//! A million sites in the store: how soon is the program ready, and what does each site that it holds weigh?
//!
//! From the start of the process to the first `200` of `/readyz`, embedded and on PostgreSQL in turns, the worst of the
//! rounds; the store's pages are in the system's cache from the second start on, the first one is told as well. A held
//! site is weighed as in `memory`; unless the run is a quick one, also by asking the real program about all of them.

use crate::{
    Effort,
    data::{self, Ids},
    machine, memory,
    servers::Mandate,
    stores::{self, MANY, schema},
    table::{Row, quantile},
};

/// Seconds from start to ready.
const ENOUGH: f64 = 2.0;

pub fn measure(effort: Effort) -> Vec<Row> {
    let policies = data::policies();
    let file = format!("sqlite:{}", stores::kept(MANY, &policies).display());
    let database = stores::postgres(&[], &policies);
    let urls = [file.clone(), database.url(&schema(MANY))];
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..effort.rounds {
        for (url, times) in urls.iter().zip(&mut times) {
            times.push(Mandate::start(url, None, None).took.as_secs_f64());
        }
    }
    let mut rows = Vec::new();
    for (what, times) in ["embedded", "PostgreSQL"].into_iter().zip(&mut times) {
        let first = times[0];
        let (median, worst) = (quantile(times, 0.5), quantile(times, 1.0));
        rows.push(Row::aimed(
            format!("from start to ready, 1,000,000 sites in the store, {what}: worst of {}", times.len()),
            format!("{worst:.2} s (median {median:.2}, the first {first:.2})"),
            "< 2 s",
            worst < ENOUGH,
        ));
    }
    rows.push(memory::weighed("a cached site of 1,000,000, identifiers of 12 bytes", Ids::Short, MANY));
    if !effort.is_quick() {
        let mandate = Mandate::start(&file, None, Some(crate::servers::SERVER_CORE));
        let empty = machine::resident(mandate.process());
        mandate.ask_about(MANY);
        let grown = (machine::resident(mandate.process()) as f64 - empty as f64) / MANY as f64;
        rows.push(Row::told(
            "the program's growth for each site, by asking about all 1,000,000",
            format!("{grown:.0} bytes"),
        ));
    }
    rows
}

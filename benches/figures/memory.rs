//! What a cached site weighs, and what the program weighs and takes to start.
//!
//! Twice: rows put into a `View` in a process of their own, by the growth of its resident memory, with short and with
//! long identifiers; and the real program on the store with 100,000 sites, before and after every site has been asked
//! about once. The first is the cache with its tables and the allocator's rounding and nothing else.

use mandate::{
    cache::{Fill, View},
    lease::{Boot, Epoch},
    revision::Revision,
    store::At,
};

use crate::{
    Effort,
    data::{self, Ids, SITES},
    machine,
    servers::Mandate,
    table::Row,
};

/// The target, in bytes for each site.
const TARGET: f64 = 400.0;

pub fn measure(_: Effort) -> Vec<Row> {
    let mut rows = vec![
        weighed("a cached site with five assignments, identifiers of 12 bytes", Ids::Short, SITES),
        weighed("a cached site with five assignments, UUIDs", Ids::Uuid, SITES),
    ];
    let mandate = Mandate::embedded("memory");
    let empty = machine::resident(mandate.process());
    mandate.ask_about(SITES);
    let full = machine::resident(mandate.process());
    rows.push(Row::told(
        "from the start of the program to ready, 100,000 sites in the store",
        format!("{:.2} s", mandate.took.as_secs_f64()),
    ));
    let mebibytes = empty as f64 / f64::from(1 << 20);
    rows.push(Row::aimed("the program, no site cached", format!("{mebibytes:.0} MiB"), "≤ 30 MiB", mebibytes <= 30.0));
    rows.push(Row::told(
        "the program's growth for each site, by asking about all 100,000",
        format!("{:.0} bytes", (full as f64 - empty as f64) / SITES as f64),
    ));
    rows
}

/// What each of so many cached sites weighs.
pub fn weighed(what: &str, ids: Ids, sites: usize) -> Row {
    let program = std::env::current_exe().unwrap();
    let words = ["as-memory", ids.name(), &sites.to_string()];
    let output = std::process::Command::new(program).args(words).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (grown, counted) = said.trim().split_once(' ').expect("two numbers");
    let [grown, counted] = [grown, counted].map(|bytes| bytes.parse::<f64>().unwrap() / sites as f64);
    Row::aimed(what, format!("{grown:.0} bytes (its row {counted:.0})"), "≤ 400 bytes", grown <= TARGET)
}

/// In a process of its own: prints how many bytes the process grew by, and how many the rows hold by their own count.
pub fn weigh(ids: &str, sites: &str) {
    let (ids, sites): (_, usize) = (Ids::parse(ids), sites.parse().unwrap());
    let policies = data::policies();
    let view = View::new(policies.clone(), usize::MAX);
    // What making a site takes is taken before.
    let counted: usize =
        (0..1_000).map(|n| mandate::assignment::SiteRow::of(&data::site(n, ids), &policies).size()).sum();
    let epoch = Epoch { id: "bench".into(), timeline: String::new().into() };
    let before = machine::resident(std::process::id());
    for n in 0..sites {
        let site = data::site(n, ids);
        let (id, read) = (site.id.clone(), At { revision: Revision(0), epoch: epoch.clone(), value: Some(site) });
        assert_eq!(view.fill(&id, &read, Boot::default()), Fill::Done);
    }
    let after = machine::resident(std::process::id());
    println!("{} {}", after - before, counted * sites / 1_000);
}

//! What is told of a run: a fragment for each scenario, and `docs/faults.md` made of them.
//!
//! Every scenario writes its fragment below the build folder when it ends. With `TEST_REPORT` (a file) the page is written
//! anew from all fragments each time, so that it is whole after the last one.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::history::{History, Violation};

/// Whether this is the long form.
pub fn long() -> bool {
    std::env::var("TEST_FAULTS").is_ok_and(|form| form == "long")
}

/// How much longer than by the protocol something may take. The short form runs beside anything, and there whoever calls may
/// wait for a turn for longer than for any lease.
pub fn busy() -> Duration {
    if long() { Duration::ZERO } else { Duration::from_secs(10) }
}

/// Leaves a mark where a promise was broken: that is never forgiven, while what took too long may have had a busy machine
/// (`.ci/faults` runs that once more).
pub fn mark(violations: &[Violation]) {
    if violations.iter().any(|violation| violation.rule.starts_with('S')) {
        std::fs::write(folder().join("broken-promise"), format!("{violations:#?}")).unwrap();
    }
}

/// What is said of one scenario.
pub struct Told<'a> {
    /// As in the list of faults; zero for a planted mistake.
    pub number: u32,
    pub title: &'a str,
    pub notes: Vec<String>,
}

fn folder() -> PathBuf {
    // This binary is `<target>/<profile>/deps/faults-…`.
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let folder = target.join(if long() { "faults-long" } else { "faults-short" });
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn keep(name: &str, fragment: &Value) {
    std::fs::write(folder().join(format!("{name}.json")), fragment.to_string()).unwrap();
    if let Some(page) = std::env::var_os("TEST_REPORT") {
        write_page(Path::new(&page));
    }
}

/// Keeps what a scenario did.
pub fn scenario(told: &Told<'_>, history: &History, violations: &[Violation]) {
    let fragment = json!({
        "number": told.number, "title": told.title, "checks": history.checks.len(), "answered": history.answered(),
        "transitions": history.effective(), "violations": violations.len(),
        "slowest_ms": u64::try_from(history.slowest().as_millis()).unwrap(), "notes": told.notes,
    });
    println!("{fragment}");
    // The servers' suite has a part of this number of its own.
    let own = if told.number == 23 { "-pool" } else { "" };
    keep(&format!("scenario-{:02}{own}", told.number), &fragment);
}

/// Keeps how a planted mistake was noticed.
pub fn mutant(name: &str, control: usize, caught: &[Violation], tries: usize) {
    let rules: std::collections::BTreeSet<&str> = caught.iter().map(|violation| violation.rule).collect();
    let first = caught.first().map(|violation| violation.what.clone());
    let fragment = json!({"mutant": name, "control": control, "caught": caught.len(), "rules": rules, "first": first, "tries": tries});
    println!("{fragment}");
    keep(&format!("mutant-{name}"), &fragment);
}

fn fragments(prefix: &str) -> Vec<Value> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .collect();
    files.sort();
    files.iter().map(|file| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}

const HEAD: &str = "# The promise under fire

Written by `make faults`; do not edit. After a change was called effective, no replica answers from before it: here real
replicas on a real PostgreSQL and a real Redis are stopped, killed, cut off, slowed down and lied to while callers ask and
change. Everything that they were told is judged afterwards against the log in the database. The numbers of the scenarios
are those of the project's list of faults; [`tests/faults/`](../tests/faults/main.rs) says what each one does and expects, and
[docs/consistency.md](consistency.md) what is promised.

";

fn write_page(page: &Path) {
    let scenarios = fragments("scenario-");
    let sum = |field: &str| scenarios.iter().map(|told| told[field].as_u64().unwrap()).sum::<u64>();
    let mut text = HEAD.to_owned();
    writeln!(
        text,
        "**{} scenarios: {} checks, {} of them answered, {} changes called effective, {} violations.**\n",
        scenarios.len(),
        sum("checks"),
        sum("answered"),
        sum("transitions"),
        sum("violations")
    )
    .unwrap();
    text.push_str("| # | scenario | checks | answered | changes | violations | slowest effective | |\n|---|---|---|---|---|---|---|---|\n");
    for told in &scenarios {
        let notes: Vec<&str> = told["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} ms | {} |",
            told["number"],
            told["title"].as_str().unwrap(),
            told["checks"],
            told["answered"],
            told["transitions"],
            told["violations"],
            told["slowest_ms"],
            notes.join("; ")
        )
        .unwrap();
    }
    let mutants = fragments("mutant-");
    text.push_str("\n## Planted mistakes\n\nThe same judge, the same kind of adversity, and the program with one known mistake in it (`src/fault.rs`). Without\nthe mistake there must be no violation, with it there must be one.\n\n| mistake | violations without | with | by | the first |\n|---|---|---|---|---|\n");
    for told in &mutants {
        let rules: Vec<&str> = told["rules"].as_array().unwrap().iter().map(|rule| rule.as_str().unwrap()).collect();
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            told["mutant"].as_str().unwrap(),
            told["control"],
            told["caught"],
            rules.join(", "),
            told["first"].as_str().unwrap_or("")
        )
        .unwrap();
    }
    std::fs::write(page, text).unwrap();
}

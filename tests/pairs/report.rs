//! What came of each scenario, for the page that `tests/faults` makes of all of them.

use std::path::PathBuf;

use serde_json::json;

use crate::history::History;

/// Keeps what happened in one scenario, where those of `tests/faults` are kept.
pub fn scenario(number: u32, title: &str, what: &str, history: &History) {
    let told = json!({
        "number": number,
        "title": title,
        "checks": history.checks(),
        "answered": history.checks() - history.refusals(),
        "transitions": history.changes(),
        "violations": history.violations().len(),
        "slowest_ms": u64::try_from(history.slowest().as_millis()).unwrap_or(u64::MAX),
        "notes": [what],
    });
    println!("{told}");
    std::fs::write(folder().join(format!("scenario-{number:02}.json")), told.to_string()).unwrap();
}

/// Leaves the mark of a broken promise, which `.ci/faults` never forgives.
pub fn mark(violations: &[String]) {
    std::fs::write(folder().join("broken-promise"), violations.join("\n")).unwrap();
}

fn folder() -> PathBuf {
    // This binary is `<target>/<profile>/deps/pairs-…`.
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let long = std::env::var("TEST_FAULTS").is_ok_and(|form| form == "long");
    let folder = target.join(if long { "faults-long" } else { "faults-short" });
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

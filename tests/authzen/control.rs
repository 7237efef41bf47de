//! Would the suite notice? Faults planted in a copy of the fixture, and the cases that must fail for each, all of them and
//! no others.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    cases::{Merge, Outcome, TABLES, table},
    pdp::{CERT, DOMAINS, Discovered, Pdp, Variant, folder},
    server::Installation,
};

/// A mistake that somebody could make.
struct Fault {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The cases that it breaks.
    breaks: &'static [u32],
}

const FAULTS: [Fault; 5] = [
    Fault { what: "nothing is changed", file: "policies/write.cedar", from: "", to: "", breaks: &[] },
    Fault {
        what: "an administrator writes everything",
        file: "policies/write.cedar",
        from: r#" && resource.status == "archived" };"#,
        to: " };",
        breaks: &[2, 29, 33, 37, 38, 40, 44, 45, 47, 60, 61, 80, 81, 82],
    },
    Fault {
        what: "what is archived is open",
        file: "policies/write.cedar",
        from: r#"unless { resource.status == "archived" }"#,
        to: r#"unless { resource.status == "lost" }"#,
        breaks: &[32, 56, 57, 58, 59, 80, 81],
    },
    Fault {
        what: "a hard delete is as good as a soft one",
        file: "policies/delete.cedar",
        from: "when { context has action.soft && context.action.soft }",
        to: "when { context has action.soft }",
        breaks: &[35],
    },
    Fault {
        what: "nobody stored that bob is an administrator",
        file: "entities.json",
        from: r#"{"role": "admin"}"#,
        to: "{}",
        breaks: &[40, 80],
    },
];

/// The fixture with a fault in it, as a folder in `at`.
fn planted(fault: &Fault, at: &Path) {
    fs::create_dir_all(at.join("policies")).unwrap();
    let mut done = fault.from.is_empty();
    for part in [".", "policies"] {
        for entry in fs::read_dir(folder(CERT).join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let name = Path::new(part).join(path.file_name().unwrap());
            let mut text = fs::read_to_string(&path).unwrap();
            if path.ends_with(fault.file) && text.contains(fault.from) {
                text = text.replacen(fault.from, fault.to, 1);
                done = true;
            }
            fs::write(at.join(name), text).unwrap();
        }
    }
    assert!(done, "{}: {} does not say `{}`", fault.what, fault.file, fault.from);
}

#[test]
fn a_planted_fault_fails_the_cases_that_it_breaks() {
    let tables = TABLES.map(table);
    for fault in &FAULTS {
        let installation = Installation::new();
        let copy = installation.folder().join("copy");
        planted(fault, &copy);
        let domains = DOMAINS.map(|name| {
            let folder = if name == CERT { copy.clone() } else { folder(name) };
            format!("{name}={}", folder.display())
        });
        let pdp = Pdp::start_with(Variant::Open, installation, &[("MANDATE_DOMAINS", &domains.join(","))]);
        let at = Discovered::of(&pdp, &pdp.identifier(CERT));
        let mut outcome = Outcome::default();
        for rows in &tables {
            outcome.ask(rows, &at, &mut pdp.caller(), Merge::Strict);
        }
        let failed: BTreeSet<u32> = outcome.failed.iter().map(|(case, _)| *case).collect();
        let expected: BTreeSet<u32> = fault.breaks.iter().copied().collect();
        assert_eq!(failed, expected, "{}: {:#?}", fault.what, outcome.failed);
    }
}

//! Every text with a fixed cast, in every language, as committed.

use std::fmt::Write as _;

use mandate::{
    assignment::REASONS,
    explanation::{Explanation, Facts, Flow, denial_in, explain},
};

use super::{
    catalogues::file,
    story::{LANGS, facts, pairs},
};

fn write(all: &mut String, title: &str, explanation: &Explanation) {
    writeln!(all, "\n== {title}\n   {} {}", explanation.text_version, explanation.digest).unwrap();
    for section in &explanation.sections {
        writeln!(all, "{}\n    {}", section.key, section.text).unwrap();
    }
}

fn bare() -> Facts {
    let some = |text: &str| Some(text.to_owned());
    Facts { site: some("bakery"), agency: some("Studio North"), new_agency: some("Studio South"), ..Facts::default() }
}

#[test]
fn every_flow_reads_as_committed() {
    let mut all = String::from("# Every flow's text with the facts of the bakery story. BLESS=1 rewrites this file.\n");
    for lang in LANGS {
        for (flow, audience) in pairs() {
            let title = format!("{lang}: {flow:?}, for the {}", audience.wire_name());
            write(&mut all, &title, &explain(flow, audience, lang, &facts(flow)).unwrap());
        }
        for flow in Flow::ALL {
            let audience = flow.audiences()[0];
            let title = format!("{lang}: {flow:?}, for the {}, when little is known", audience.wire_name());
            write(&mut all, &title, &explain(flow, audience, lang, &bare()).unwrap());
        }
        writeln!(all, "\n== {lang}: Denials and refusals").unwrap();
        let file = file(lang);
        let others = file["denial"].as_table().unwrap().keys().map(String::as_str);
        let others = others.filter(|code| !REASONS.contains(code));
        for reason in REASONS.iter().copied().chain(others) {
            let (sentence, remedy) = denial_in(lang, reason).unwrap().unwrap();
            writeln!(all, "{reason}\n    {sentence} {remedy}").unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/explanations.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &all).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == all, "the texts differ from tests/golden/explanations.txt; `make bless`, then read the diff");
}

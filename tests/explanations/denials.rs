//! Why something was denied or refused: every published code has one sentence and a remedy, in every language.

use std::collections::BTreeSet;

use mandate::{
    assignment::REASONS,
    explanation::{denial, denial_in},
};

use super::{catalogues::file, story::LANGS};

const REFUSALS: &str = include_str!("../../src/handover/refusal.rs");
const FAILURES: &str = include_str!("../../src/app/failure.rs");

/// Codes that neither file lists: the preview's, and the blockers of the domain (§8) that the platform reports.
const FURTHER: [&str; 9] = [
    "preview_changed",
    "preview_digest_missing",
    "agency_no_card",
    "payment_required",
    "open_dispute",
    "domain_transfer_in_flight",
    "account_closing",
    "unpaid_platform_invoice",
    "pending_refund_window",
];

fn literal_after(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split_once('"').map(|(code, _)| code)
}

/// The codes in the sources themselves, so that a new one is missed here and not by a reader.
fn coded() -> BTreeSet<&'static str> {
    let refusals = REFUSALS
        .split("SmolStr::new_static(")
        .skip(1)
        .chain(REFUSALS.split("=> ").skip(1))
        .filter_map(literal_after)
        .chain(REFUSALS.contains("\"terminal:{}\"").then_some("terminal"));
    let failures = FAILURES
        .split("Kind::")
        .skip(1)
        .filter_map(|rest| rest.split_once(',').and_then(|(_, rest)| literal_after(rest)))
        .filter(|code| !code.contains(' '));
    refusals.chain(failures).collect()
}

#[test]
fn the_sources_are_read_for_their_codes() {
    let coded = coded();
    for code in ["illegal_transition", "terminal", "may_not_grant", "plan_free", "store_corrupt", "unknown", "blocked"]
    {
        assert!(coded.contains(code), "{code} is not found in {coded:?}");
    }
}

#[test]
fn every_code_has_one_sentence_and_a_remedy_in_every_language() {
    let expected: BTreeSet<&str> = REASONS.iter().copied().chain(coded()).chain(FURTHER).collect();
    for lang in LANGS {
        let file = file(lang);
        let listed: BTreeSet<&str> = file["denial"].as_table().unwrap().keys().map(String::as_str).collect();
        let missing: Vec<_> = expected.difference(&listed).collect();
        assert!(missing.is_empty(), "{lang} has no sentence for {missing:?}: add [denial.<code>]");
        let idle: Vec<_> = listed.difference(&expected).collect();
        assert!(idle.is_empty(), "{lang} has a sentence for {idle:?}, which nothing answers");
        for code in &expected {
            let (sentence, remedy) = denial_in(lang, code).unwrap().unwrap();
            for text in [sentence, remedy] {
                assert!(text.ends_with('.') && text.matches(". ").count() == 0, "{code} in {lang}: {text}");
                assert!(text.split_whitespace().count() <= 25, "{code} in {lang}: {text}");
                let words = ["ownership", "eigentum", "eigentüm", "besitz", "transition", "blocker", "illegal"];
                let frightens = words.iter().find(|word| text.to_lowercase().contains(**word));
                assert_eq!(frightens, None, "{code} in {lang}: {text}");
            }
        }
    }
}

#[test]
fn a_denial_is_english_unless_asked_for() {
    assert_eq!(denial("no_role"), denial_in("en", "no_role").unwrap());
    assert_ne!(denial("no_role"), denial_in("de", "no_role").unwrap());
    assert_eq!(denial("terminal:declined"), denial("terminal"), "what stands behind a colon is the caller's");
    assert_eq!(denial("no_such_reason"), None);
    assert_eq!(denial_in("de", "no_such_reason").unwrap(), None);
    denial_in("xx", "no_role").unwrap_err();
}

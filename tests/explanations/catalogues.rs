//! The committed files: the same structure in every language, and no variant that nobody ever reads.

use std::collections::{BTreeMap, BTreeSet};

use mandate::explanation::{Audience, Flow};

use super::{
    every_fact::{FACTS, everything},
    story::{LANGS, pairs, read},
};

/// What the catalogue files say, read once more by the test's own eyes: key, and its variants.
pub fn entries(lang: &str) -> Vec<(String, Vec<String>)> {
    file(lang)["text"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let variants = entry["variants"].as_array().unwrap();
            let variants = variants.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
            (entry["key"].as_str().unwrap().to_owned(), variants)
        })
        .collect()
}

pub fn file(lang: &str) -> toml::Table {
    let text = match lang {
        "en" => include_str!("../../src/explanation/en.toml"),
        "de" => include_str!("../../src/explanation/de.toml"),
        other => panic!("{other}"),
    };
    text.parse().unwrap()
}

/// The facts that a variant names.
pub fn needs(variant: &str) -> BTreeSet<String> {
    let environment = minijinja::Environment::new();
    environment.template_from_str(variant).unwrap().undeclared_variables(false).into_iter().collect()
}

/// Whose text each key is.
pub fn readers() -> BTreeMap<String, (Flow, Audience)> {
    let mut readers = BTreeMap::new();
    for (flow, audience) in pairs() {
        for section in read(flow, audience, &everything(false)).sections {
            let before = readers.insert(section.key.clone(), (flow, audience));
            assert_eq!(before, None, "{} is shown to two readers", section.key);
        }
    }
    readers
}

#[test]
fn every_language_has_the_same_keys_and_the_same_facts_in_the_same_variants() {
    let shape = |lang: &str| -> Vec<(String, Vec<BTreeSet<String>>)> {
        let shape_of =
            |(key, variants): (String, Vec<String>)| (key, variants.iter().map(|text| needs(text)).collect());
        entries(lang).into_iter().map(shape_of).collect()
    };
    let english = shape("en");
    for lang in LANGS {
        let other = shape(lang);
        let keys =
            |shape: &[(String, Vec<BTreeSet<String>>)]| shape.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&english), keys(&other), "the keys of {lang}");
        for ((key, facts), (_, theirs)) in english.iter().zip(&other) {
            assert_eq!(facts, theirs, "{key} in {lang}");
        }
    }
}

#[test]
fn every_text_is_somebodys_and_every_fact_is_named_somewhere() {
    let keys: Vec<String> = entries("en").into_iter().map(|(key, _)| key).collect();
    let shown = readers();
    assert_eq!(keys.len(), shown.len(), "a key twice");
    for key in keys {
        assert!(shown.contains_key(&key), "nobody ever reads {key}");
    }
    let named: BTreeSet<String> =
        entries("en").iter().flat_map(|(_, variants)| variants.iter().flat_map(|text| needs(text))).collect();
    let known: BTreeSet<String> = FACTS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(named, known);
}

#[test]
fn no_section_comes_or_goes_by_waiting() {
    let times: BTreeSet<&str> = FACTS.iter().filter(|(_, time, _)| *time).map(|(name, ..)| *name).collect();
    for (key, variants) in entries("en") {
        for (at, variant) in variants.iter().enumerate() {
            let lasting: BTreeSet<String> =
                needs(variant).into_iter().filter(|fact| !times.contains(fact.as_str())).collect();
            let instead = variants[at..].iter().map(|later| needs(later)).any(|needs| needs.is_subset(&lasting));
            assert!(instead, "{key}: variant {at} has no successor without times");
        }
    }
}

#[test]
fn no_variant_is_out_of_reach() {
    for (key, variants) in entries("en") {
        for (at, variant) in variants.iter().enumerate() {
            let hidden = variants[..at].iter().any(|earlier| needs(earlier).is_subset(&needs(variant)));
            assert!(!hidden, "{key}: variant {at} can never be shown");
        }
    }
}

#[test]
fn german_days_stand_where_their_form_is_right() {
    let wrong = |text: &str| {
        let before = text.match_indices("|days").filter_map(|(at, _)| text[..at].rsplit_once(" {{"));
        let words = before.filter_map(|(before, _)| before.rsplit(' ').next().map(str::to_lowercase));
        words.into_iter().find(|word| !["nach", "von", "ersten", "weiteren"].contains(&word.as_str()))
    };
    assert_eq!(wrong("Noch {{ notice_days|days }} lang."), Some("noch".to_owned()), "the control");
    for (key, variants) in entries("de") {
        for text in variants.iter().filter(|text| text.contains("|days")) {
            assert_eq!(wrong(text), None, "{key}: {text}");
        }
    }
}

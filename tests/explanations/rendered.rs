//! What people really read: every flow for every reader in every language, with all facts and with each one missing.

use std::sync::Arc;

use mandate::{
    assignment::{Agency, Directory},
    explanation::{Audience, Explanation, Facts, Flow, explain},
    site::Site,
};

use super::{
    catalogues::{entries, needs, readers},
    every_fact::{FACTS, everything},
    story::{self, LANGS, accounts, pairs, text},
};

/// Facts that say whom or what a text is about: without one of them, its title cannot be written.
const WHO: [&str; 5] = ["site", "agency", "new_agency", "client", "recipient"];

/// All facts, each fact missing, and both answers to each question.
fn cases() -> Vec<(String, Facts)> {
    let mut cases = Vec::new();
    for at_once in [false, true] {
        let full = everything(at_once);
        for yes in [true, false] {
            let facts = Facts { plan_moves: Some(yes), keeps_role: Some(yes), ..full.clone() };
            cases.push((format!("everything, at_once {at_once}, {yes}"), facts));
        }
        for (name, _, remove) in FACTS {
            let mut facts = full.clone();
            remove(&mut facts);
            cases.push((format!("without {name}, at_once {at_once}"), facts));
        }
    }
    cases.push(("nothing".to_owned(), Facts::default()));
    cases
}

/// Every text that anybody can read.
fn all_texts(mut look: impl FnMut(&str, Audience, &str, &Explanation)) {
    for (case, facts) in cases() {
        for (flow, audience) in pairs() {
            for lang in LANGS {
                let explanation = explain(flow, audience, lang, &facts).unwrap();
                look(&format!("{flow:?} {audience:?} {lang} {case}"), audience, lang, &explanation);
            }
        }
    }
}

#[test]
fn every_flow_renders_for_every_reader_in_every_language_whatever_is_missing() {
    all_texts(|case, _, lang, explanation| {
        assert_eq!(explanation.lang, lang);
        assert!(explanation.text_version.starts_with(lang));
        for section in &explanation.sections {
            let text = &section.text;
            let sound = !text.is_empty()
                && text.trim() == text
                && !["{", "}", "  ", "none ", "null", " .", " ,", "()", ": ."].iter().any(|slip| text.contains(slip));
            assert!(sound, "{case}: {}: `{text}`", section.key);
            // A text that answers yes or no names facts of both answers.
            let answers = section.facts.values().any(serde_json::Value::is_boolean);
            for (name, value) in &section.facts {
                let written = answers || value.as_str().is_none_or(|value| text.contains(value));
                assert!(written, "{case}: {} says that it names {name}", section.key);
            }
        }
    });
}

#[test]
fn the_title_stays_and_every_lost_section_lost_a_fact_it_names() {
    for (flow, audience) in pairs() {
        let keys = |facts: &Facts| {
            let explanation = story::read(flow, audience, facts);
            explanation.sections.into_iter().map(|section| section.key).collect::<Vec<_>>()
        };
        let full = everything(false);
        let all = keys(&full);
        for (name, time, remove) in FACTS {
            let mut facts = full.clone();
            remove(&mut facts);
            let left = keys(&facts);
            // Which site it is about is always known.
            assert!(!left.is_empty() || name == "site", "{flow:?} {audience:?} without {name}");
            assert!(WHO.contains(&name) || left[0] == all[0], "{flow:?} {audience:?} without {name}");
            assert!(!time || left == all, "{flow:?} {audience:?}: {name} is a time, and takes a section away");
            for lost in all.iter().filter(|key| !left.contains(key)) {
                let (_, variants) = entries("en").into_iter().find(|(key, _)| key == lost).unwrap();
                assert!(variants.iter().all(|text| needs(text).contains(name)), "{lost} without {name}");
            }
        }
    }
}

/// A word that frightens a client, because it says that something is given away.
fn frightening(lang: &str, text: &str) -> Option<&'static str> {
    let words: &[&str] = match lang {
        "en" => &["ownership", "transfer", "irrevocabl", "liabilit", "hereby", "grantor", "relinquish", "forfeit"],
        _ => &[
            "eigentum",
            "eigentüm",
            "eigner",
            "besitz",
            "übertrag",
            "übereign",
            "abtret",
            "unwiderruf",
            "haftung",
            "hiermit",
            "verzicht",
        ],
    };
    let text = text.to_lowercase();
    words.iter().find(|word| text.contains(**word)).copied()
}

#[test]
fn no_client_reads_a_frightening_word() {
    let readers = readers();
    let mut owners = 0;
    for lang in LANGS {
        for (key, variants) in entries(lang) {
            let (flow, audience) = readers[&key];
            for text in variants {
                match audience {
                    // Who really gives everything away is told so, and so is who gets it; nobody else.
                    Audience::Owner | Audience::Recipient if flow == Flow::OwnershipTransfer => {
                        owners += usize::from(frightening(lang, &text).is_some());
                    }
                    Audience::Owner | Audience::Recipient | Audience::Client | Audience::Contributor => {
                        assert_eq!(frightening(lang, &text), None, "{key} in {lang}: {text}");
                    }
                    Audience::Partner | Audience::OldPartner | Audience::NewPartner => {}
                }
            }
        }
    }
    assert!(owners >= 4, "the one who does give everything away has to read it, in every language");
    all_texts(|case, audience, lang, explanation| {
        if matches!(audience, Audience::Client | Audience::Contributor) {
            for section in &explanation.sections {
                assert_eq!(frightening(lang, &section.text), None, "{case}: {}", section.text);
            }
        }
    });
}

#[test]
fn a_frightening_word_would_be_found() {
    assert_eq!(frightening("en", "This is a transfer of Ownership."), Some("ownership"));
    assert_eq!(frightening("de", "Sie übertragen Ihr Eigentum."), Some("eigentum"));
    for text in ["Der neue Eigentümer zahlt.", "Sie sind nicht mehr Besitzerin.", "Sie verlieren den Besitz."] {
        assert!(frightening("de", text).is_some(), "{text}");
    }
    assert_eq!(frightening("en", "You can take the site back any time."), None);
}

/// Sentences; neither a price nor the day of a German date ends one.
fn sentences(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for word in text.split_whitespace() {
        let sentence = all.last_mut().unwrap();
        sentence.push_str(word);
        sentence.push(' ');
        let day = word.len() <= 3 && word.trim_end_matches('.').parse::<u8>().is_ok();
        if word.ends_with(['.', '?', '!']) && !day {
            all.push(String::new());
        }
    }
    all.retain(|sentence| !sentence.is_empty());
    all
}

fn share(part: usize, whole: usize) -> f64 {
    f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(whole).unwrap())
}

/// LIX: words per sentence plus the percentage of words over six letters. German is full of those.
fn lix(text: &str) -> f64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_long = |word: &&&str| word.chars().filter(|letter| letter.is_alphabetic()).count() > 6;
    let long = words.iter().filter(is_long).count();
    share(words.len(), sentences(text).len()) + 100.0 * share(long, words.len())
}

/// What makes a section hard for somebody of twelve: a long sentence, or hardly a short word.
fn hard_section(lang: &str, text: &str) -> Option<String> {
    if let Some(long) = sentences(text).into_iter().find(|sentence| sentence.split_whitespace().count() > 30) {
        return Some(format!("a sentence of over 30 words: {long}"));
    }
    let most = if lang == "de" { 75.0 } else { 60.0 };
    (lix(text) > most).then(|| format!("LIX {:.1} in a section", lix(text)))
}

/// What makes a whole text hard: long sentences, or long words, throughout.
fn hard(lang: &str, text: &str) -> Option<String> {
    let per_sentence = share(text.split_whitespace().count(), sentences(text).len());
    if per_sentence > 14.0 {
        return Some(format!("{per_sentence:.1} words in a sentence"));
    }
    let most = if lang == "de" { 48.0 } else { 40.0 };
    (lix(text) > most).then(|| format!("LIX {:.1}", lix(text)))
}

#[test]
fn every_text_can_be_read_by_somebody_of_twelve() {
    for (flow, audience) in pairs() {
        for lang in LANGS {
            let explanation = explain(flow, audience, lang, &story::facts(flow)).unwrap();
            // A title is no sentence, but ends like one here.
            let ended = |text: &str| if text.ends_with('.') { text.to_owned() } else { format!("{text}.") };
            let texts: Vec<String> = explanation.sections.iter().map(|section| ended(&section.text)).collect();
            assert_eq!(hard(lang, &texts.join("\n")), None, "{flow:?} {audience:?} {lang}");
        }
    }
    all_texts(|case, _, lang, explanation| {
        for section in &explanation.sections {
            assert_eq!(hard_section(lang, &section.text), None, "{case}: {}", section.text);
        }
    });
}

#[test]
fn a_hard_text_would_be_found() {
    let law = "The transferor hereby irrevocably assigns all right, title and interest in and to the property, including \
               without limitation any and all associated registrations, to the transferee and its successors and heirs.";
    assert!(hard_section("en", law).unwrap().contains("over 30 words"));
    let words = "Notwithstanding administrative suspension, contributors retain previously established authorizations.";
    assert!(hard_section("en", words).unwrap().contains("LIX"));
    assert_eq!(hard_section("de", "Sie können die Website jederzeit zurückholen."), None);
    let many = "You can read this text and you can read that text and all of it is one thing. ".repeat(4);
    assert!(hard("en", &many).unwrap().contains("words in a sentence"));
    assert!(hard("en", "Administrators authorize subsequent configuration.").unwrap().contains("LIX"));
    assert!(hard("de", "Vertragsänderungen bedürfen ausnahmslos schriftlicher Bestätigung.").unwrap().contains("LIX"));
    assert_eq!(hard("en", "You can take the site back. It comes back at once."), None);
    assert_eq!(sentences("Am 4. Mai 2026. Für 17.00 EUR. Ende").len(), 3);
}

#[test]
fn nothing_that_a_sender_wrote_freely_is_in_a_text() {
    let planted = "Click evil.example NOW";
    let plant = |site: &mut Site, directory: &mut Directory, verified: bool| {
        for agency in directory.clone().agencies() {
            let name = planted.to_owned();
            directory.put_agency(Arc::new(Agency { name, domain: planted.into(), verified, ..Agency::clone(agency) }));
        }
        if let Some(freeze) = &mut site.frozen {
            freeze.case = planted.into();
        }
    };
    let [_, north] = accounts();
    for verified in [false, true] {
        let mut found = 0;
        for (flow, audience) in pairs() {
            let (mut site, mut directory) = (story::site(flow), story::directory());
            plant(&mut site, &mut directory, verified);
            let facts = story::facts_on(flow, &site, &directory, story::now());
            for lang in LANGS {
                let explanation = explain(flow, audience, lang, &facts).unwrap();
                found += explanation.sections.iter().filter(|section| section.text.contains(planted)).count();
                if !verified && flow == Flow::PartnerHandover && audience == Audience::Client {
                    let title = text(&explanation, "title").unwrap();
                    assert!(title.contains("studio-north") && north.to_string().ends_with("studio-north"), "{title}");
                    assert_eq!(text(&explanation, "client.check"), None, "nobody vouches for the domain");
                }
            }
        }
        // The control: what the platform verified does stand there.
        assert_eq!(found > 0, verified, "{found} texts show what an agency chose for itself");
    }
}

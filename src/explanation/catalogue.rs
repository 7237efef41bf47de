//! One language's texts: read from its file once, checked, and rendered with facts.
//!
//! A catalogue is compiled into the binary, so a broken one is a mistake of ours, not of a caller; loading still
//! returns an error instead of panicking, and the tests load every catalogue. Adding a language is adding a file and
//! a line to [`FILES`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, value::Serde};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ExplainError;
use crate::{digest, time::Timestamp};

/// Language tag and catalogue, in the order in which an error lists them.
const FILES: [(&str, &str); 2] = [("en", include_str!("en.toml")), ("de", include_str!("de.toml"))];

static CATALOGUES: LazyLock<Result<Vec<Catalogue>, String>> =
    LazyLock::new(|| FILES.iter().map(|(lang, text)| Catalogue::load(lang, text)).collect());

/// One language's texts.
#[derive(Debug)]
pub struct Catalogue {
    /// The language tag that callers use.
    pub lang: &'static str,
    /// Names exactly these texts: the tag and the start of a hash over them, so that nobody can forget to raise it.
    pub version: String,
    /// What facts are written with.
    pub words: Words,
    sections: Vec<Section>,
    denials: BTreeMap<String, Denial>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    words: Words,
    text: Vec<Entry>,
    denial: BTreeMap<String, Denial>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    variants: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Denial {
    sentence: String,
    remedy: String,
}

/// How this language writes dates, counts and lists.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    months: [String; 12],
    date: String,
    days: String,
    /// Between the whole and the rest of a price.
    pub decimal: String,
    comma: String,
    and: String,
    /// Instead of a date, when nothing has to be waited for.
    pub at_once: String,
    /// Behind a person who loses the right to spend money.
    pub mark: String,
    /// Instead of a list, when it is known to be empty.
    pub none: String,
    /// A free plan whose name nobody told us.
    pub free_plan: String,
    /// A paid plan whose name nobody told us.
    pub premium_plan: String,
}

#[derive(Debug)]
struct Section {
    key: String,
    variants: Vec<Variant>,
}

#[derive(Debug)]
struct Variant {
    template: String,
    needs: BTreeSet<String>,
}

/// One section as it is shown: its key, its text, and the names of the facts in it.
pub struct Shown<'a> {
    pub key: &'a str,
    pub text: String,
    pub facts: &'a BTreeSet<String>,
}

/// The catalogue of a language.
///
/// # Errors
/// [`ExplainError::UnknownLanguage`] lists the languages that there are.
pub fn of(lang: &str) -> Result<&'static Catalogue, ExplainError> {
    let catalogues = CATALOGUES.as_ref().map_err(|error| ExplainError::Broken(error.clone()))?;
    catalogues.iter().find(|catalogue| catalogue.lang == lang).ok_or_else(|| ExplainError::UnknownLanguage {
        given: lang.chars().take(48).collect(),
        known: FILES.iter().map(|(lang, _)| *lang).collect(),
    })
}

impl Catalogue {
    fn load(lang: &'static str, text: &str) -> Result<Self, String> {
        let broken = |error: &dyn std::fmt::Display| format!("the texts of `{lang}` are broken: {error}");
        let file: File = toml::from_str(text).map_err(|error| broken(&error))?;
        let canonical = serde_json_canonicalizer::to_vec(&(&file.words, &file.text)).map_err(|error| broken(&error))?;
        let mut sections = Vec::with_capacity(file.text.len());
        for entry in file.text {
            let mut variants = Vec::with_capacity(entry.variants.len());
            for template in entry.variants {
                let needs = needs(&template).map_err(|error| broken(&format_args!("{}: {error}", entry.key)))?;
                variants.push(Variant { template, needs });
            }
            sections.push(Section { key: entry.key, variants });
        }
        let hash: String = digest::sha256(&canonical).chars().take(12).collect();
        Ok(Self { lang, version: format!("{lang}-{hash}"), words: file.words, sections, denials: file.denial })
    }

    /// The sections whose key starts with `prefix`, each in its first variant all of whose facts are known.
    ///
    /// # Errors
    /// [`ExplainError::Broken`] when a template cannot be rendered.
    pub fn show(&self, prefix: &str, facts: &BTreeMap<String, Value>) -> Result<Vec<Shown<'_>>, ExplainError> {
        let environment = self.environment();
        let mut shown = Vec::new();
        for section in self.sections.iter().filter(|section| section.key.starts_with(prefix)) {
            let known = |variant: &&Variant| variant.needs.iter().all(|fact| facts.contains_key(fact));
            let Some(variant) = section.variants.iter().find(known) else { continue };
            let text = environment
                .render_str(&variant.template, Serde(facts))
                .map_err(|error| ExplainError::Broken(format!("{}: {error}", section.key)))?;
            shown.push(Shown { key: &section.key, text, facts: &variant.needs });
        }
        Ok(shown)
    }

    /// The sentence and the remedy for a reason code.
    pub fn denial(&self, reason: &str) -> Option<(&str, &str)> {
        self.denials.get(reason).map(|denial| (denial.sentence.as_str(), denial.remedy.as_str()))
    }

    fn environment(&self) -> Environment<'_> {
        let mut environment = strict();
        let days = self.words.days.clone();
        environment.add_filter("days", move |count: u64| strict().render_str(&days, minijinja::context! { count }));
        environment
    }
}

impl Words {
    /// A day, in UTC: `1 December 2026`. None outside the years that calendars know.
    pub fn date(&self, at: Timestamp) -> Option<String> {
        let instant = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
        let day = jiff::tz::TimeZone::UTC.to_datetime(instant).date();
        let month = self.months.get(usize::try_from(day.month()).ok()?.checked_sub(1)?)?;
        let parts = minijinja::context! { day => day.day(), month => month, year => day.year() };
        strict().render_str(&self.date, parts).ok()
    }
    /// `a`, `a and b`, `a, b and c`. None for nothing.
    pub fn list(&self, items: &[String]) -> Option<String> {
        let (last, others) = items.split_last()?;
        if others.is_empty() { Some(last.clone()) } else { Some(others.join(&self.comma) + &self.and + last) }
    }
}

/// A fact that is missing is an error, never an empty place in a sentence that somebody consents to.
fn strict<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

/// The facts that a template reads.
fn needs(template: &str) -> Result<BTreeSet<String>, minijinja::Error> {
    if template.trim().is_empty() {
        return Err(minijinja::Error::new(ErrorKind::SyntaxError, "a variant without text"));
    }
    Ok(strict().template_from_str(template)?.undeclared_variables(false).into_iter().collect())
}

//! What does this mean for me? Plain-language texts before consent, and sentences for denials.
//!
//! Nobody consents to a state machine. Before an offer is made or accepted, each side reads what stays, what changes
//! and how it ends ([`explain`]); the consent stores the digest of what was read. A denied person reads one sentence
//! and who can change it ([`denial`]).
//!
//! The texts are committed, one file for each language (`en.toml`, `de.toml`), and reviewed like code; this module only chooses
//! variants and fills in facts. Texts written by a model on the fly lost: what somebody consented to must be findable
//! again, word for word.
//!
//! Invariants: the same facts give the same text; the digest covers everything in it that does not change by waiting,
//! so a digest that was read yesterday is valid today unless something about the site or the parties changed. The
//! texts are plain text, not HTML; names of agencies and sites in them come from outside, so who renders them escapes. No
//! text contains what a sender wrote freely: an agency's name and domain stand in it only once they are verified.

mod catalogue;
mod facts;
mod flow;
mod gather;
mod parties;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

pub use facts::{Facts, Person, PlanName};
pub use flow::{Audience, Flow};
pub use gather::{Extra, facts_of, facts_with};
pub use parties::Parties;

/// What one side reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Explanation {
    /// `sha256:` and the hash of everything in the text that does not change by waiting.
    pub digest: String,
    /// Names the committed texts that were used.
    pub text_version: String,
    /// The language.
    pub lang: String,
    /// In reading order.
    pub sections: Vec<Section>,
}

/// One paragraph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Section {
    /// The catalogue's key, for example `handover.partner.client.stays.content`.
    pub key: String,
    /// Plain text.
    pub text: String,
    /// The facts that this text names, as it writes them.
    #[schema(value_type = Object)]
    pub facts: BTreeMap<String, Value>,
}

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// There are no texts in this language.
    #[error("there are no texts in the language `{given}`; there are: {}", known.join(", "))]
    UnknownLanguage {
        /// As given.
        given: String,
        /// The languages that there are.
        known: Vec<&'static str>,
    },
    /// This flow says nothing to this reader.
    #[error("there is no text for `{}` here; there are texts for: {}", asked.wire_name(), names(known))]
    UnknownAudience {
        /// As asked.
        asked: Audience,
        /// Those that this flow has a text for.
        known: &'static [Audience],
    },
    /// A committed catalogue cannot be used: a mistake of ours.
    #[error("{0}")]
    Broken(String),
}

/// The text of a flow for one side.
///
/// # Errors
/// [`ExplainError::UnknownLanguage`] when there are no texts in `lang`, [`ExplainError::UnknownAudience`] when this flow
/// says nothing to `audience`.
pub fn explain(flow: Flow, audience: Audience, lang: &str, facts: &Facts) -> Result<Explanation, ExplainError> {
    let catalogue = catalogue::of(lang)?;
    let audience = flow
        .reader(audience)
        .ok_or_else(|| ExplainError::UnknownAudience { asked: audience, known: flow.audiences() })?;
    let lasting = facts.lasting(&catalogue.words);
    let mut all = lasting.clone();
    all.extend(facts.passing(&catalogue.words));
    let prefix = format!("{}.{}.", flow.key(), audience.key());
    let sections: Vec<Section> = catalogue
        .show(&prefix, &all)?
        .into_iter()
        .map(|shown| Section {
            key: shown.key.to_owned(),
            text: shown.text,
            facts: all
                .iter()
                .filter(|(name, _)| shown.facts.contains(*name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        })
        .collect();
    let digested = json!({
        "text_version": catalogue.version,
        "lang": catalogue.lang,
        "flow": flow.key(),
        "audience": audience.wire_name(),
        "sections": sections.iter().map(|section| &section.key).collect::<Vec<_>>(),
        "facts": lasting,
    });
    let canonical =
        serde_json_canonicalizer::to_vec(&digested).map_err(|error| ExplainError::Broken(error.to_string()))?;
    Ok(Explanation {
        digest: format!("sha256:{}", crate::digest::sha256(&canonical)),
        text_version: catalogue.version.clone(),
        lang: catalogue.lang.to_owned(),
        sections,
    })
}

fn names(audiences: &[Audience]) -> String {
    audiences.iter().map(|audience| audience.wire_name()).collect::<Vec<_>>().join(", ")
}

/// Why a check was denied or a command refused, in English: [`denial_in`].
#[must_use]
pub fn denial(code: &str) -> Option<(&'static str, &'static str)> {
    denial_in("en", code).ok().flatten()
}

/// Why a check was denied or a command refused: one sentence, and who can change that. None for a code that is not
/// published. What a code says behind a colon (`terminal:expired`) is left to the caller.
///
/// # Errors
/// [`ExplainError::UnknownLanguage`] when there are no texts in `lang`.
pub fn denial_in(lang: &str, code: &str) -> Result<Option<(&'static str, &'static str)>, ExplainError> {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    Ok(catalogue::of(lang)?.denial(code))
}

/// Names exactly the texts of a language; none where there is no such language.
#[must_use]
pub fn text_version(lang: &str) -> Option<smol_str::SmolStr> {
    catalogue::of(lang).ok().map(|catalogue| smol_str::SmolStr::new(&catalogue.version))
}

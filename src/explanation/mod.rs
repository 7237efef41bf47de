//! What does this mean for me? Plain-language texts before consent, and sentences for denials.
//!
//! Nobody consents to a state machine. Before an offer is made or accepted, each side reads what stays, what changes
//! and how it ends ([`explain`]); the consent stores the digest of what was read. A denied person reads one sentence
//! and who can change it ([`denial`]).
//!
//! The texts are committed, one file for each language (`en.toml`), and reviewed like code; this module only chooses
//! variants and fills in facts. Texts written by a model on the fly lost: what somebody consented to must be findable
//! again, word for word.
//!
//! Invariants: the same facts give the same text; the digest covers everything in it that does not change by waiting,
//! so a digest that was read yesterday is valid today unless something about the site or the parties changed. The
//! texts are plain text, not HTML; names of agencies and sites in them come from outside, so who renders them escapes.

mod catalogue;
mod facts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use facts::{Facts, Parties, Person, PlanName, facts_of};

use crate::handover::HandoverKind;

/// What is about to happen, or just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// A client lets an agency run the site.
    PartnerHandover,
    /// An agency gives a site it built to its client and stays partner.
    ClientAssignment,
    /// The client takes the site back.
    Reclaim,
    /// The site is back.
    Returned,
    /// The partner leaves.
    Resign,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The client, present or to be.
    Client,
    /// The partner, present or to be.
    Partner,
}

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
    /// A committed catalogue cannot be used: a mistake of ours.
    #[error("{0}")]
    Broken(String),
}

impl Flow {
    /// The flow of a handover; none for kinds that have no texts yet.
    #[must_use]
    pub const fn of(kind: HandoverKind) -> Option<Self> {
        match kind {
            HandoverKind::PartnerHandover => Some(Self::PartnerHandover),
            HandoverKind::ClientAssignment => Some(Self::ClientAssignment),
            HandoverKind::PartnerReplacement | HandoverKind::OwnershipTransfer => None,
        }
    }
    /// Who starts it, and reads the preview.
    #[must_use]
    pub const fn starter(self) -> Audience {
        match self {
            Self::PartnerHandover | Self::Reclaim | Self::Returned => Audience::Client,
            Self::ClientAssignment | Self::Resign => Audience::Partner,
        }
    }
    /// Whose yes is asked for, after reading; none where nobody is asked.
    #[must_use]
    pub const fn acceptor(self) -> Option<Audience> {
        match self {
            Self::PartnerHandover => Some(Audience::Partner),
            Self::ClientAssignment => Some(Audience::Client),
            Self::Reclaim | Self::Returned | Self::Resign => None,
        }
    }
    const fn key(self) -> &'static str {
        match self {
            Self::PartnerHandover => "handover.partner",
            Self::ClientAssignment => "handover.client",
            Self::Reclaim => "reclaim",
            Self::Returned => "reclaim.done",
            Self::Resign => "resign",
        }
    }
}

impl Audience {
    /// The name on the wire.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Partner => "partner",
        }
    }
}

/// The text of a flow for one side.
///
/// # Errors
/// [`ExplainError::UnknownLanguage`] when there are no texts in `lang`.
pub fn explain(flow: Flow, audience: Audience, lang: &str, facts: &Facts) -> Result<Explanation, ExplainError> {
    let catalogue = catalogue::of(lang)?;
    let lasting = facts.lasting(&catalogue.words);
    let mut all = lasting.clone();
    all.extend(facts.passing(&catalogue.words));
    let prefix = format!("{}.{}.", flow.key(), audience.wire_name());
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

/// Why a check was denied, in English: one sentence, and who can change that. None for a code that is not in the
/// published list of reasons.
#[must_use]
pub fn denial(reason_code: &str) -> Option<(&'static str, &'static str)> {
    catalogue::of("en").ok()?.denial(reason_code)
}

//! Which rules are there? The rule index of `policies/README.md`: id, one English sentence, file.
//!
//! The README is written by hand but for the part between two marks, which is generated from the policies and checked,
//! so that the list of rules can be read where the rules are and cannot go stale.

use std::fmt::Write as _;

use crate::{
    assignment::SitePolicies,
    policy::{Effect, Source},
};

/// The line before the generated part.
pub const RULES_BEGIN: &str = "<!-- rules: generated from the policies, do not edit; `make bless` writes them -->";
/// The line after it.
pub const RULES_END: &str = "<!-- end of the rules -->";

/// Every rule, in Markdown, by file.
#[must_use]
pub fn rules(policies: &SitePolicies) -> String {
    let all = policies.bundle().policies();
    let mut text = format!("{} rules.\n", all.len());
    let mut path = "";
    for policy in all {
        if policy.path != path {
            path = &policy.path;
            let file = path.split_once("policies/").map_or(path, |(_, file)| file);
            let _ = write!(text, "\n### [{file}]({file})\n\n| rule | |\n|---|---|\n");
        }
        let sentence = policy.doc.replace('|', "\\|");
        let effect = if policy.effect == Effect::Forbid { "**forbid** " } else { "" };
        let _ = writeln!(text, "| `{}` | {effect}{sentence} |", policy.id);
    }
    text
}

/// The README with its generated part renewed; the marks are added at the end if they are missing.
#[must_use]
pub fn readme(policies: &SitePolicies, current: Option<&Source>) -> String {
    let rules = rules(policies);
    let current = current.map_or("", |file| file.text.as_str());
    match (current.find(RULES_BEGIN), current.find(RULES_END)) {
        (Some(begin), Some(end)) if begin < end => {
            let (head, _) = current.split_at(begin);
            let (_, tail) = current.split_at(end);
            format!("{head}{RULES_BEGIN}\n\n{rules}\n{tail}")
        }
        _ => format!("{current}{RULES_BEGIN}\n\n{rules}\n{RULES_END}\n"),
    }
}

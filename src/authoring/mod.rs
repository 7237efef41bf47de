//! Is this policy folder right? The author's workbench: validate, test, matrix, decisions and the rule index.
//!
//! It stands above `decision`: it asks the policies the very questions that a running service asks, with stored facts
//! from fixtures ([`World`]), and writes the answers down where a reviewer reads them. It reads no file: the command
//! line hands it `(path, text)` pairs ([`PolicyFolder`]) and prints what comes back.
//!
//! Invariants: nothing here decides anything by itself; a test goes through [`crate::assignment::Standing`] like a
//! check; whatever is generated (the rule index, `DECISIONS.txt`) is a function of the folder, so that a difference is
//! always a changed rule, fixture or text. Cedar's own `run-tests` lost: it takes ready-made entities, so that it can
//! show neither a deadline nor a suspended agency, and its list of policies is only "at least these".

mod decisions;
mod fixtures;
mod index;
mod matrix;
mod suite;
mod validate;

pub use decisions::decisions;
pub use fixtures::{FixtureSite, Person, World};
pub use index::{RULES_BEGIN, RULES_END, readme, rules};
pub use matrix::{Difference, HEADINGS, LEGEND, Matrix, Row};
pub use suite::{Failure, Report, Suite, test};
pub use validate::{drift, validate, worlds};

use crate::policy::Source;

/// The files of a policy folder and its schema, by what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFolder {
    /// The vocabulary.
    pub schema: Source,
    /// `*.cedar`.
    pub policies: Vec<Source>,
    /// `*.tests.toml`.
    pub suites: Vec<Source>,
    /// `fixtures/*.toml`.
    pub fixtures: Vec<Source>,
    /// `README.md`, which contains the rule index.
    pub readme: Option<Source>,
    /// `DECISIONS.txt`.
    pub decisions: Option<Source>,
}

impl PolicyFolder {
    /// Sorts files by their names. Files that are none of the folder's business are left out. The result does not
    /// depend on the order given.
    #[must_use]
    pub fn of(schema: Source, files: impl IntoIterator<Item = Source>) -> Self {
        let mut files: Vec<Source> = files.into_iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut folder = Self {
            schema,
            policies: Vec::new(),
            suites: Vec::new(),
            fixtures: Vec::new(),
            readme: None,
            decisions: None,
        };
        for file in files {
            let (parents, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            let in_fixtures = parents.rsplit('/').next() == Some("fixtures");
            if has_ending(name, ".cedar") {
                folder.policies.push(file);
            } else if has_ending(name, ".tests.toml") {
                folder.suites.push(file);
            } else if in_fixtures && has_ending(name, ".toml") {
                folder.fixtures.push(file);
            } else if name == "README.md" && !parents.contains('/') {
                folder.readme = Some(file);
            } else if name == "DECISIONS.txt" && !parents.contains('/') {
                folder.decisions = Some(file);
            }
        }
        folder
    }
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.len() > ending.len() && name.ends_with(ending)
}

/// The line of a byte offset, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// A TOML error as a problem of its file.
fn toml_problem(file: &Source, error: &toml::de::Error) -> crate::policy::Problem {
    crate::policy::Problem {
        path: file.path.clone(),
        line: error.span().map_or(0, |span| line_at(&file.text, span.start)),
        reason: error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests;

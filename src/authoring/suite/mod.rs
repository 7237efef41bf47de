//! Do the policies answer as their authors expect? Suites of questions beside the policy files.
//!
//! A suite (`x.tests.toml` beside `x.cedar`) names a fixture and holds tests; a test is a matrix principals × actions ×
//! sites with the expected answers: decision, exactly the determining policies, and the reason of a denial. What a test
//! asks and does not list must be denied, so that a right that was given too much fails a test that never heard of it.
//! The format is described for authors in `policies/README.md`, its reading in [`format`], the asking in [`run`].

mod format;
mod run;

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use smol_str::SmolStr;

pub use format::Suite;
pub(super) use run::STEP_UP_S;

use super::{PolicyFolder, World};
use crate::{
    assignment::SitePolicies,
    policy::{Problem, Problems},
};

/// What came of running suites.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many suites were run.
    pub suites: usize,
    /// How many tests.
    pub tests: usize,
    /// How many questions they asked.
    pub questions: usize,
    /// Answers that were not the expected ones, in the files' order.
    pub failures: Vec<Failure>,
    /// Policies that no test determines, each as `file:line: reason`. Empty when a filter was given.
    pub untested: Vec<String>,
    /// The policies that a passing expectation names.
    #[serde(skip)]
    pub determined: BTreeSet<SmolStr>,
}

/// One answer that was not the expected one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The suite's path.
    pub path: String,
    /// The line of the expectation, or of the test for a question that it does not list.
    pub line: usize,
    /// The test's name.
    pub test: String,
    /// The question, in words.
    pub question: String,
    /// What the test expects.
    pub expected: String,
    /// What the policies answer.
    pub got: String,
    /// Where the policies stand that are named on either side, as `file:line id`.
    pub policies: Vec<String>,
}

impl Report {
    /// Whether everything was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.untested.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}: {}", self.path, self.line, self.test)?;
        writeln!(f, "  question: {}", self.question)?;
        writeln!(f, "  expected: {}", self.expected)?;
        write!(f, "  got:      {}", self.got)?;
        for policy in &self.policies {
            write!(f, "\n    {policy}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "{failure}\n")?;
        }
        for untested in &self.untested {
            writeln!(f, "{untested}")?;
        }
        write!(f, "{} tests in {} suites asked {} questions: ", self.tests, self.suites, self.questions)?;
        match (self.failures.len(), self.untested.len()) {
            (0, 0) => f.write_str("all answered as expected"),
            (failed, 0) => write!(f, "{failed} not answered as expected"),
            (failed, untested) => write!(f, "{failed} not answered as expected, {untested} policies untested"),
        }
    }
}

/// Runs every test whose `suite path: name` contains `filter`.
///
/// # Errors
/// What is wrong with suites or fixtures themselves: syntax, names that nobody declares, questions listed twice.
pub fn test(
    policies: &SitePolicies,
    folder: &PolicyFolder,
    worlds: &[World],
    filter: Option<&str>,
) -> Result<Report, Problems> {
    let mut problems = Vec::new();
    let mut suites = Vec::new();
    for file in &folder.suites {
        match Suite::parse(file, policies, worlds) {
            Ok(suite) => suites.push(suite),
            Err(found) => problems.extend(found.0),
        }
    }
    let mut report = Report::default();
    for suite in &suites {
        run::run(policies, suite, filter, &mut report, &mut problems);
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    if filter.is_none() {
        report.untested = policies
            .bundle()
            .policies()
            .iter()
            .filter(|policy| !report.determined.contains(&policy.id))
            .map(|policy| Problem {
                path: policy.path.clone(),
                line: policy.line,
                reason: format!("no test determines an answer by `{}`", policy.id),
            })
            .map(|problem| problem.to_string())
            .collect();
    }
    Ok(report)
}

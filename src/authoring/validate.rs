//! Is the folder whole? Everything about it that is wrong, without asking a single question.
//!
//! The bundle itself is checked where it is loaded ([`SitePolicies::load`]), because a server must refuse a bad bundle
//! too. What is added here concerns the author: fixtures and suites, a suite beside every policy file in which every
//! policy is expected to decide something, and the generated part of the README.

use std::sync::Arc;

use super::{PolicyFolder, Suite, World, decisions, readme};
use crate::{
    assignment::SitePolicies,
    decision::Fault,
    policy::{Problem, Problems},
};

/// Checks a policy folder, and returns its policies ready for use.
///
/// # Errors
/// Everything wrong, with file and line.
pub fn validate(folder: &PolicyFolder) -> Result<Arc<SitePolicies>, Problems> {
    let policies = SitePolicies::load(&folder.schema, &folder.policies)?;
    let mut problems = Vec::new();
    match worlds(folder) {
        Ok(worlds) => {
            problems.extend(worlds.iter().flat_map(|world| world.unknown_to(&policies)));
            problems.extend(suites(folder, &policies, &worlds));
        }
        Err(found) => problems.extend(found.0),
    }
    problems.extend(readme_drift(folder, &policies));
    problems.sort();
    if problems.is_empty() { Ok(policies) } else { Err(Problems(problems)) }
}

/// Reads every fixture.
///
/// # Errors
/// What is wrong with them, with file and line.
pub fn worlds(folder: &PolicyFolder) -> Result<Vec<World>, Problems> {
    let mut worlds = Vec::new();
    let mut problems = Vec::new();
    for file in &folder.fixtures {
        match World::parse(file) {
            Ok(world) => worlds.push(world),
            Err(found) => problems.extend(found.0),
        }
    }
    if problems.is_empty() { Ok(worlds) } else { Err(Problems(problems)) }
}

/// What is committed and generated, and no longer what would be generated.
///
/// # Errors
/// [`Fault`] when a policy cannot be evaluated.
pub fn drift(folder: &PolicyFolder, policies: &SitePolicies, worlds: &[World]) -> Result<Vec<Problem>, Fault> {
    let mut problems: Vec<Problem> = readme_drift(folder, policies).into_iter().collect();
    let fresh = decisions(policies, worlds)?;
    let (path, text) = folder.decisions.as_ref().map_or(("policies/DECISIONS.txt", ""), |f| (&f.path, &f.text));
    problems.extend(stale(path, text, &fresh));
    Ok(problems)
}

fn readme_drift(folder: &PolicyFolder, policies: &SitePolicies) -> Option<Problem> {
    let fresh = readme(policies, folder.readme.as_ref());
    let (path, text) = folder.readme.as_ref().map_or(("policies/README.md", ""), |f| (&f.path, &f.text));
    stale(path, text, &fresh)
}

/// The first line in which a committed text differs from what it should be.
fn stale(path: &str, committed: &str, fresh: &str) -> Option<Problem> {
    if committed == fresh {
        return None;
    }
    let line = committed.lines().zip(fresh.lines()).take_while(|(a, b)| a == b).count() + 1;
    let now = fresh.lines().nth(line - 1).unwrap_or("the end of the file");
    let reason = format!("out of date: this line should now be `{now}`; write the file again with `make bless`");
    Some(Problem { path: path.to_owned(), line, reason })
}

/// Suites that are missing or wrong, and policies that no suite expects to decide anything.
fn suites(folder: &PolicyFolder, policies: &SitePolicies, worlds: &[World]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut expected = std::collections::BTreeSet::new();
    for file in &folder.suites {
        match Suite::parse(file, policies, worlds) {
            Ok(suite) => expected.extend(suite.policies().cloned()),
            Err(found) => problems.extend(found.0),
        }
    }
    for file in &folder.policies {
        let beside = file.path.trim_end_matches(".cedar").to_owned() + ".tests.toml";
        if !folder.suites.iter().any(|suite| suite.path == beside) {
            problems.push(Problem::of_file(&file.path, format!("there is no suite beside it: write `{beside}`")));
        }
    }
    for policy in policies.bundle().policies().iter().filter(|policy| !expected.contains(&policy.id)) {
        problems.push(Problem {
            path: policy.path.clone(),
            line: policy.line,
            reason: format!("no test expects `{}` to determine an answer", policy.id),
        });
    }
    problems
}

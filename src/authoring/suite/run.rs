//! Asks a suite's questions the way a service is asked: stored facts, a pinned moment, and [`Standing`].

use std::collections::BTreeSet;

use smol_str::SmolStr;

use super::{
    Failure, Report, Suite,
    format::{Expectation, Test},
};
use crate::{
    assignment::{SitePolicies, SiteRow, Standing},
    authoring::FixtureSite,
    decision::Fault,
    ids::Principal,
    policy::{ActionIx, Problem},
};

/// How many seconds a sign-in counts as fresh in tests: the service's default.
pub(crate) const STEP_UP_S: i64 = 600;

/// What the policies answered, as far as a test looks at it.
struct Got {
    allowed: bool,
    policies: BTreeSet<SmolStr>,
    reason: Option<SmolStr>,
    notify: BTreeSet<SmolStr>,
}

pub(super) fn run(
    policies: &SitePolicies,
    suite: &Suite<'_>,
    filter: Option<&str>,
    report: &mut Report,
    problems: &mut Vec<Problem>,
) {
    let wanted = |test: &&Test| filter.is_none_or(|filter| format!("{}: {}", suite.path, test.name).contains(filter));
    let mut any = false;
    for test in suite.tests.iter().filter(wanted) {
        any = true;
        report.tests += 1;
        for n in &test.sites {
            let Some(fixture) = suite.world.sites.get(*n) else { continue };
            let row = SiteRow::of(&fixture.site, policies);
            for principal in &test.principals {
                let asked = test.with.asked(principal, test.now);
                let directory = suite.world.directory_of(fixture);
                let standing = Standing::of(policies, &row, directory, principal, &asked, test.now, STEP_UP_S);
                for action in &test.actions {
                    report.questions += 1;
                    let question = Question { suite, test, fixture, principal, site: *n, action: *action };
                    question.ask(policies, &standing, report, problems);
                }
            }
        }
    }
    report.suites += usize::from(any);
}

struct Question<'a> {
    suite: &'a Suite<'a>,
    test: &'a Test,
    fixture: &'a FixtureSite,
    principal: &'a Principal,
    site: usize,
    action: ActionIx,
}

impl Question<'_> {
    fn ask(&self, policies: &SitePolicies, standing: &Standing<'_>, report: &mut Report, problems: &mut Vec<Problem>) {
        let mut listed = self.test.expectations.iter().filter(|part| {
            part.principals.contains(self.principal)
                && part.actions.contains(&self.action)
                && part.sites.contains(&self.site)
        });
        let expected = listed.next();
        if let (Some(first), Some(second)) = (expected, listed.next()) {
            problems.push(Problem {
                path: self.suite.path.clone(),
                line: second.line,
                reason: format!("this and line {} both list: {}", first.line, self.words(policies)),
            });
            return;
        }
        let got = match answer(standing, self.action, expected.is_some(), policies) {
            Ok(got) => got,
            Err(fault) => {
                report.failures.push(self.failure(policies, expected, &fault.to_string(), &BTreeSet::new()));
                return;
            }
        };
        if as_expected(&got, expected) {
            if expected.is_some() {
                report.determined.extend(got.policies);
            }
        } else {
            // A denial that the test does not list is not asked for its reason: it cannot fail.
            let words = words(got.allowed, &got.policies, got.reason.as_ref(), &got.notify);
            report.failures.push(self.failure(policies, expected, &words, &got.policies));
        }
    }
    fn words(&self, policies: &SitePolicies) -> String {
        format!(
            "may {} {} on {} ({}){}?",
            self.principal,
            policies.bundle().action_name(self.action),
            self.fixture.site.id,
            self.fixture.is,
            self.test.with.words()
        )
    }
    fn failure(
        &self,
        policies: &SitePolicies,
        expected: Option<&Expectation>,
        got: &str,
        determining: &BTreeSet<SmolStr>,
    ) -> Failure {
        let named: BTreeSet<&SmolStr> =
            expected.into_iter().flat_map(|part| &part.policies).chain(determining).collect();
        Failure {
            path: self.suite.path.clone(),
            line: expected.map_or(self.test.line, |part| part.line),
            test: self.test.name.clone(),
            question: self.words(policies),
            expected: expected.map_or_else(
                || "deny, because the test does not list it".to_owned(),
                |part| {
                    let notify = part.notify.clone().unwrap_or_default();
                    words(part.allowed, &part.policies, part.reason.as_ref(), &notify)
                },
            ),
            got: got.to_owned(),
            policies: policies
                .bundle()
                .policies()
                .iter()
                .filter(|policy| named.contains(&policy.id))
                .map(|policy| format!("{}:{} {}", policy.path, policy.line, policy.id))
                .collect(),
        }
    }
}

/// The answer; its reason only when it is looked at, because finding it asks the policies many times.
fn answer(standing: &Standing<'_>, action: ActionIx, in_full: bool, policies: &SitePolicies) -> Result<Got, Fault> {
    let evaluation = standing.evaluate(action)?;
    let reason = if in_full && !evaluation.allowed { standing.decide(action)?.reason } else { None };
    Ok(Got {
        allowed: evaluation.allowed,
        policies: evaluation.determining.iter().map(|policy| policy.id.clone()).collect(),
        reason,
        notify: evaluation
            .obligations(policies.bundle().action_name(action))
            .into_iter()
            .map(|obligation| obligation.notify)
            .collect(),
    })
}

fn as_expected(got: &Got, expected: Option<&Expectation>) -> bool {
    let Some(part) = expected else { return !got.allowed };
    got.allowed == part.allowed
        && got.policies == part.policies
        && got.reason == part.reason
        && part.notify.as_ref().is_none_or(|notify| got.notify == *notify)
}

fn words(allowed: bool, policies: &BTreeSet<SmolStr>, reason: Option<&SmolStr>, notify: &BTreeSet<SmolStr>) -> String {
    let list = |items: &BTreeSet<SmolStr>| items.iter().map(SmolStr::as_str).collect::<Vec<_>>().join(", ");
    let mut text = if allowed { "allow".to_owned() } else { "deny".to_owned() };
    if let Some(reason) = reason {
        text.push_str(" (");
        text.push_str(reason);
        text.push(')');
    }
    text.push_str(" by ");
    text.push_str(&if policies.is_empty() { "no policy".to_owned() } else { list(policies) });
    if !notify.is_empty() {
        text.push_str(", telling the ");
        text.push_str(&list(notify));
    }
    text
}

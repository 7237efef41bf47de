//! The runner: it passes on the shipped folder, and fails where it should, saying where.

use super::*;
use crate::assignment::{SHIPPED, SitePolicies};

fn run(policies: &SitePolicies, folder: &PolicyFolder, filter: Option<&str>) -> Report {
    match test(policies, folder, &WORLDS, filter) {
        Ok(report) => report,
        Err(problems) => panic!("{problems}"),
    }
}

/// The shipped policies with one file edited.
fn edited(path: &str, from: &str, to: &str) -> std::sync::Arc<SitePolicies> {
    let mut policies = FOLDER.policies.clone();
    let file = policies.iter_mut().find(|file| file.path == path).unwrap();
    assert!(file.text.contains(from));
    file.text = file.text.replacen(from, to, 1);
    SitePolicies::load(&FOLDER.schema, &policies).unwrap()
}

#[test]
fn the_shipped_suites_pass_and_determine_every_policy() {
    let report = run(&SHIPPED, &FOLDER, None);
    assert!(report.passed(), "{report}");
    assert_eq!(report.determined.len(), SHIPPED.bundle().policies().len());
    assert_eq!(report.suites, FOLDER.suites.len());
}

#[test]
fn a_filter_runs_only_what_it_names() {
    let report = run(&SHIPPED, &FOLDER, Some("viewer.tests.toml: a lock"));
    assert_eq!((report.suites, report.tests), (0, 0));
    let report = run(&SHIPPED, &FOLDER, Some("viewer.tests.toml: a viewer invited by the client"));
    assert_eq!((report.suites, report.tests, report.questions), (1, 1, 2 * 81));
    assert!(report.passed(), "what a filter leaves out is not called untested");
}

/// A right too many fails a test that never mentions it; the failure says where everything stands.
#[test]
fn a_right_too_many_is_found_and_told() {
    let line = "    Sites::Action::\"ViewAnalytics\",\n";
    let faulty = edited("policies/roles/viewer.cedar", line, &format!("{line}    Sites::Action::\"ManageSeo\",\n"));
    let report = run(&faulty, &FOLDER, Some("viewer.tests.toml: a viewer invited by the client"));
    assert_eq!(report.failures.len(), 2, "{report}");
    assert_eq!(
        report.failures[0].to_string(),
        "policies/roles/viewer.tests.toml:6: a viewer invited by the client\n  \
         question: may user:viewer ManageSeo on self (self-managed, nothing special)?\n  \
         expected: deny, because the test does not list it\n  \
         got:      allow by roles.viewer\n    \
         policies/roles/viewer.cedar:4 roles.viewer"
    );
}

#[test]
fn a_right_too_few_another_policy_and_another_reason_are_found() {
    let faulty = edited("policies/roles/viewer.cedar", "    Sites::Action::\"ViewContent\",\n", "");
    let report = run(&faulty, &FOLDER, Some("viewer.tests.toml: a viewer invited by the client"));
    assert_eq!(report.failures.len(), 2);
    assert_eq!(report.failures[0].expected, "allow by roles.viewer");
    assert_eq!(report.failures[0].got, "deny (role_lacks_action) by no policy");
    // The same answer by a second policy is another answer.
    let faulty = edited(
        "policies/roles/viewer.cedar",
        "@id(\"roles.viewer\")",
        "@id(\"roles.viewer.again\")\n@doc(\"A viewer looks again.\")\npermit (principal in Sites::Role::\"Viewer\", \
         action == Sites::Action::\"ViewSite\", resource);\n\n@id(\"roles.viewer\")",
    );
    let report = run(&faulty, &FOLDER, None);
    assert!(report.failures.iter().any(|failure| failure.got == "allow by roles.viewer, roles.viewer.again"));
    assert_eq!(
        report.untested,
        ["policies/roles/viewer.cedar:4: no test determines an answer by `roles.viewer.again`"]
    );
    let faulty = edited("policies/guardrails/frozen.cedar", "@reason(\"frozen\")", "@reason(\"locked\")");
    let report = run(&faulty, &FOLDER, Some("frozen.tests.toml"));
    let wrong = report.failures.iter().find(|failure| failure.got == "deny (locked) by guardrails.frozen").unwrap();
    assert_eq!(wrong.expected, "deny (frozen) by guardrails.frozen");
}

#[test]
fn a_lost_notice_is_found() {
    let faulty = edited("policies/seats/partner.cedar", "@notify(\"client\")\n", "");
    let report = run(&faulty, &FOLDER, Some("partner.tests.toml: a partner does all the work"));
    assert_eq!(report.failures[0].expected, "allow by seats.partner.told, telling the client");
    assert_eq!(report.failures[0].got, "allow by seats.partner.told");
}

#[test]
fn a_question_listed_twice_is_refused() {
    let mut folder = FOLDER.clone();
    let suite = folder.suites.iter_mut().find(|suite| suite.path.ends_with("viewer.tests.toml")).unwrap();
    suite.text.push_str(
        "\n[[test]]\nname = \"twice\"\nprincipals = [\"viewer\"]\nsites = [\"self\"]\nactions = [\"ViewSite\"]\n\
         allow = [{ policies = [\"roles.viewer\"] }]\ndeny = [{ reason = \"no_role\" }]\n",
    );
    let problems = test(&SHIPPED, &folder, &WORLDS, Some("twice")).unwrap_err();
    assert!(problems.to_string().contains("both list: may user:viewer ViewSite on self"), "{problems}");
}

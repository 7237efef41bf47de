//! What an author's slip of the pen leads to: the file, the line and the reason.

use super::*;
use crate::assignment::SHIPPED;

/// Validates the shipped folder with one file edited; every problem as it is printed.
fn problems(path: &str, edit: impl Fn(&str) -> String) -> Vec<String> {
    let mut folder = FOLDER.clone();
    let files = folder.policies.iter_mut().chain(&mut folder.suites).chain(&mut folder.fixtures);
    let files = files.chain([&mut folder.schema]).chain(&mut folder.readme);
    for file in files.filter(|file| file.path == path) {
        let edited = edit(&file.text);
        assert_ne!(edited, file.text, "the edit must change something");
        file.text = edited;
    }
    match validate(&folder) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

const VIEWER: &str = "policies/roles/viewer.cedar";
const SCHEMA: &str = "schemas/sites.cedarschema";

type Edit = Box<dyn Fn(&str) -> String>;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of slips")]
fn every_slip_is_told_with_file_line_and_reason() {
    let replaced = |from: &'static str, to: &'static str| move |text: &str| text.replacen(from, to, 1);
    let extra = |policy: &'static str| -> Edit { Box::new(move |text| format!("{text}\n{policy}\n")) };
    let cases: Vec<(&str, &str, Edit, &str)> = vec![
        (
            "a typo in a role",
            VIEWER,
            Box::new(replaced("Role::\"Viewer\"", "Role::\"Veiwer\"")),
            "policies/roles/viewer.cedar:4: `roles.viewer`: the scope names `Sites::Role::\"Veiwer\"`, which is not a role",
        ),
        (
            "an unknown action",
            VIEWER,
            Box::new(replaced("\"ViewContent\"", "\"ViewConten\"")),
            "policies/roles/viewer.cedar:12: for policy `roles.viewer`, unrecognized action",
        ),
        (
            "a duplicate id",
            VIEWER,
            Box::new(replaced("@id(\"roles.viewer\")", "@id(\"roles.store-manager\")")),
            "policies/roles/viewer.cedar:4: `@id(\"roles.store-manager\")` is taken by policies/roles/store-manager.cedar:4",
        ),
        (
            "a duplicate id in one file",
            VIEWER,
            extra(
                "@id(\"roles.viewer\")\n@doc(\"A viewer looks again.\")\npermit (principal, action == Sites::Action::\"ViewPlan\", resource);",
            ),
            "policies/roles/viewer.cedar:28: `@id(\"roles.viewer\")` is taken by policies/roles/viewer.cedar:4",
        ),
        (
            "no id",
            VIEWER,
            Box::new(replaced("@id(\"roles.viewer\")\n", "")),
            "policies/roles/viewer.cedar:4: a policy has no `@id`",
        ),
        (
            "no doc",
            VIEWER,
            Box::new(replaced("@doc(\"A viewer looks and changes nothing.\")\n", "")),
            "policies/roles/viewer.cedar:4: `roles.viewer` needs a `@doc` of one English sentence",
        ),
        (
            "two sentences",
            VIEWER,
            Box::new(replaced("looks and changes nothing.\")", "looks. They change nothing.\")")),
            "policies/roles/viewer.cedar:4: `roles.viewer` needs a `@doc` of one English sentence",
        ),
        (
            "an annotation that nobody reads",
            "policies/seats/partner.cedar",
            Box::new(replaced("@notify(", "@notfy(")),
            "policies/seats/partner.cedar:72: `seats.partner.told` has the annotation `@notfy`",
        ),
        (
            "a side that there is not",
            "policies/seats/partner.cedar",
            Box::new(replaced("@notify(\"client\")", "@notify(\"cleint\")")),
            "policies/seats/partner.cedar:72: `@notify(\"cleint\")` of `seats.partner.told` is none of: client, partner",
        ),
        (
            "a reason that there is not",
            "policies/guardrails/handover-open.cedar",
            Box::new(replaced("@reason(\"handover_open\")", "@reason(\"open_handover\")")),
            "policies/guardrails/handover-open.cedar:3: `@reason(\"open_handover\")` of `guardrails.handover-open` is none of",
        ),
        (
            "a permit in the guardrails",
            "policies/guardrails/handover-open.cedar",
            Box::new(replaced("\nforbid (", "\npermit (")),
            "policies/guardrails/handover-open.cedar:3: `guardrails.handover-open` is a permit: `guardrails/` holds forbids only",
        ),
        (
            "a forbid outside",
            VIEWER,
            Box::new(replaced("\npermit (", "\nforbid (")),
            "policies/roles/viewer.cedar:4: `roles.viewer` is a forbid: forbids belong in `guardrails/`",
        ),
        (
            "a single person",
            VIEWER,
            Box::new(replaced("unless {", "when { principal == Sites::User::\"maria\" }\nunless {")),
            "policies/roles/viewer.cedar:4: `roles.viewer` names `Sites::User::\"maria\"`",
        ),
        (
            "an uncovered action",
            SCHEMA,
            Box::new(replaced(
                "  // Content\n",
                "  action PaintSite in [\"Site\", \"Write\"]\n    appliesTo { principal: [User, Staff], resource: Site, context: Facts };\n  // Content\n",
            )),
            "schemas/sites.cedarschema:107: action `PaintSite` is not covered: no policy permits it to anybody",
        ),
        (
            "a number in the schema",
            SCHEMA,
            Box::new(replaced("    \"trashed\": Bool,", "    \"trashed\": Bool,\n    \"visits\": Long,")),
            "schemas/sites.cedarschema:38: `Long` may not be used in a schema",
        ),
        (
            "an optional attribute",
            SCHEMA,
            Box::new(replaced("\"trashed\": Bool", "\"trashed\"?: Bool")),
            "schemas/sites.cedarschema:37: `an optional attribute` may not be used in a schema",
        ),
        (
            "a syntax error in a policy",
            VIEWER,
            Box::new(replaced("  resource\n)", "  resource\n")),
            "policies/roles/viewer.cedar:20: ",
        ),
        (
            "a syntax error in the schema",
            SCHEMA,
            Box::new(replaced("  entity Staff in [Role];", "  entity Staff in [Role;")),
            "schemas/sites.cedarschema:29: the schema does not parse",
        ),
        (
            "arithmetic",
            VIEWER,
            Box::new(replaced("unless {", "when { 1 + 1 == 2 }\nunless {")),
            "policies/roles/viewer.cedar:4: `roles.viewer` contains arithmetic: a condition may not be able to fail",
        ),
        (
            "an extension function",
            VIEWER,
            Box::new(replaced("unless {", "when { ip(\"10.0.0.1\").isIpv4() }\nunless {")),
            "policies/roles/viewer.cedar:4: `roles.viewer` contains the extension function",
        ),
        (
            "a condition that nobody meets",
            VIEWER,
            Box::new(replaced("unless {", "when { false }\nunless {")),
            "policies/roles/viewer.cedar:4: for policy `roles.viewer`, policy is impossible",
        ),
        (
            "a fact that there is not",
            VIEWER,
            Box::new(replaced("resource.settling", "resource.setling")),
            "policies/roles/viewer.cedar:23: for policy `roles.viewer`, attribute `setling`",
        ),
        (
            "a rule without a test",
            VIEWER,
            extra(
                "@id(\"roles.viewer.plan\")\n@doc(\"A viewer sees the plan.\")\npermit (principal in Sites::Role::\"Viewer\", action == Sites::Action::\"ViewPlan\", resource);",
            ),
            "policies/roles/viewer.cedar:28: no test expects `roles.viewer.plan` to determine an answer",
        ),
        (
            "a sentence that the rule index does not know",
            VIEWER,
            Box::new(replaced("looks and changes nothing.\")", "looks and alters nothing.\")")),
            "out of date: this line should now be `| `roles.viewer` | A viewer looks and alters nothing. |`",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, path, edit, expected) in cases {
        let found = problems(path, edit);
        let lines = found.iter().all(|problem| !problem.contains(".cedar: ") && !problem.contains(".cedarschema: "));
        if !lines || !found.iter().any(|problem| problem.contains(expected)) {
            wrong.push(format!("{what}: expected\n  {expected}\ngot\n  {}", found.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_slip_in_a_suite_is_told_with_file_line_and_reason() {
    let suite = "policies/roles/viewer.tests.toml";
    for (from, to, expected) in [
        ("fixture = \"cast\"", "fixture = \"crew\"", ":3: there is no fixture `fixtures/crew.toml`"),
        ("principals = [\"viewer\"]", "principals = [\"veiwer\"]", ":7: fixture `cast` declares no person `veiwer`"),
        (
            "sites = [\"self\", \"managed\"]",
            "sites = [\"self\", \"manged\"]",
            ":8: fixture `cast` has no site `manged`",
        ),
        ("\"ViewContent\"", "\"ViewContents\"", ":11: the schema has no action or group `ViewContents`"),
        ("policies = [\"roles.viewer\"]", "policies = [\"roles.veiwer\"]", ":12: there is no policy `roles.veiwer`"),
        (
            "policies = [\"roles.viewer\"]",
            "policies = [\"guardrails.frozen\"]",
            ":12: `guardrails.frozen` is not a permit",
        ),
        ("policies = [\"roles.viewer\"]", "policies = []", ":12: an allow is always determined by some policy"),
        ("reason = \"settling_in\"", "reason = \"settling\"", "`settling` is not a reason code"),
        ("name = \"a viewer invited by the client\"", "nmae = \"x\"", ":6: unknown field `nmae`"),
    ] {
        let suite = if expected.contains("settling") { "policies/roles/co-owner.tests.toml" } else { suite };
        let mut file = FOLDER.suites.iter().find(|file| file.path == suite).unwrap().clone();
        file.text = file.text.replacen(from, to, 1);
        let found = Suite::parse(&file, &SHIPPED, &WORLDS).map(|_| ()).unwrap_err().to_string();
        let expected = if expected.starts_with(':') { format!("{suite}{expected}") } else { expected.to_owned() };
        assert!(found.contains(&expected), "expected\n{expected}\ngot\n{found}");
    }
}

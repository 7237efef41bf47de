//! The table computed from the policies against the specification's, cell by cell.

use super::*;
use crate::assignment::{SHIPPED, SitePolicies};

const SPECIFICATION: &str = include_str!("../../../tests/golden/role_action_matrix.csv");

#[test]
fn every_cell_of_the_matrix_is_as_specified() {
    let matrix = Matrix::of(&SHIPPED).unwrap();
    assert_eq!((matrix.rows.len(), matrix.columns.len()), (76, 16));
    let differences: Vec<String> = matrix.differences(SPECIFICATION).iter().map(ToString::to_string).collect();
    assert_eq!(differences, [] as [&str; 0]);
    assert_eq!(matrix.to_csv(), SPECIFICATION);
}

#[test]
fn some_actions_exist_only_in_some_state() {
    let matrix = Matrix::of(&SHIPPED).unwrap();
    let found: Vec<(&str, &str)> =
        matrix.rows.iter().filter_map(|row| Some((row.action.as_str(), row.state?))).collect();
    assert_eq!(
        found,
        [
            ("RestoreTrashedSite", "trashed"),
            ("PurgeSite", "trashed"),
            ("WithdrawReclaim", "on its way back"),
            ("ReleaseSite", "on its way back"),
            ("RescuePlan", "past due"),
            ("UnfreezeSite", "frozen"),
        ]
    );
}

#[test]
fn text_and_markdown_tell_the_same() {
    let matrix = Matrix::of(&SHIPPED).unwrap();
    let markdown = matrix.to_markdown();
    assert!(
        markdown.contains("\n| EditDnsCritical | S | – | 2 | S | – | – | – | Y | – | – | – | – | 2 | – | – | – |\n")
    );
    let line = matrix.to_string().lines().find(|line| line.contains("EditDnsCritical")).unwrap().to_owned();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>().join(" "),
        "EditDnsCritical S . 2 S . . . Y . . . . 2 . . ."
    );
}

/// What changes in the table when one file of the folder is edited.
pub(super) fn after(path: &str, edit: impl Fn(&str) -> String) -> Vec<String> {
    let mut policies = FOLDER.policies.clone();
    let file = policies.iter_mut().find(|file| file.path == path).unwrap();
    let edited = edit(&file.text);
    assert_ne!(edited, file.text, "the edit must change something");
    file.text = edited;
    let policies = match SitePolicies::load(&FOLDER.schema, &policies) {
        Ok(policies) => policies,
        Err(problems) => panic!("{problems}"),
    };
    let matrix = Matrix::of(&policies).unwrap();
    matrix.differences(SPECIFICATION).iter().map(ToString::to_string).collect()
}

/// The negative control: the comparison can fail, and it says where.
#[test]
fn removing_one_line_changes_exactly_one_cell() {
    let line = "    Sites::Action::\"EditDnsCritical\",\n";
    assert_eq!(
        after("policies/roles/domain-manager.cedar", |text| text.replace(line, "")),
        ["EditDnsCritical for DomainManager: the specification says `Y`, the policies make it `.`"]
    );
}

#[test]
fn adding_one_line_changes_exactly_one_cell() {
    assert_eq!(
        after("policies/roles/viewer.cedar", |text| {
            text.replace("    // Marketing\n", "    // Marketing\n    Sites::Action::\"ManageSeo\",\n")
        }),
        ["ManageSeo for Viewer: the specification says `.`, the policies make it `Y`"]
    );
}

#[test]
fn a_lost_condition_a_lost_notice_and_a_swapped_fact_show() {
    let client = "policies/seats/client.cedar";
    let found = after(client, |text| text.replacen("\nwhen { context.fresh_sign_in };", ";", 1));
    assert!(found.iter().any(|line| line.starts_with("ReclaimSite for Client") && line.ends_with("make it `Y`")));
    let found = after(client, |text| text.replace("@notify(\"partner\")\n", ""));
    assert_eq!(found.len(), 2, "{found:?}");
    let found = after("policies/roles/co-owner.cedar", |text| text.replace("granted_by_payer", "own_account"));
    assert_eq!(found.len(), 5, "{found:?}");
}

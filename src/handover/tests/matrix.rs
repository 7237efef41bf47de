//! The role matrix of the domain as strengths, without policies: the specification's own data.

use std::sync::{Arc, LazyLock};

use smol_str::SmolStr;

use crate::{
    assignment::{Strength, Strengths},
    site::Template,
};

const CSV: &str = include_str!("../../../tests/golden/role_action_matrix.csv");

/// The person-level roles, in the order of the domain's columns.
pub(crate) const PERSON_ROLES: [&str; 9] = [
    "CoOwner",
    "WebsiteManager",
    "WebsiteDesigner",
    "BillingManager",
    "DomainManager",
    "BlogEditor",
    "StoreManager",
    "MarketingManager",
    "Viewer",
];

/// One row of the matrix for each action, `LeaveSite` included.
struct Row {
    group: &'static str,
    action: &'static str,
    cells: Vec<&'static str>,
}

static ROWS: LazyLock<(Vec<&'static str>, Vec<Row>)> = LazyLock::new(|| {
    let mut lines = CSV.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let roles = lines.next().unwrap().split_off(2);
    let rows = lines.map(|mut line| Row { cells: line.split_off(2), group: line[0], action: line[1] }).collect();
    (roles, rows)
});

static STRENGTHS: LazyLock<Arc<Strengths>> = LazyLock::new(|| Arc::new(build()));

/// The strengths that the policies must come to as well.
pub(crate) fn strengths() -> &'static Strengths {
    &STRENGTHS
}

/// How far `role` may do `action`, straight from the matrix: what the invariants compare with.
pub(crate) fn strength(role: &str, payer: bool, action: &str) -> Strength {
    let row = ROWS.1.iter().find(|row| row.action == action);
    row.map_or(Strength::Denied, |row| cell(row, role, payer))
}

/// Every action but `LeaveSite`.
pub(crate) fn actions() -> Vec<&'static str> {
    ROWS.1.iter().map(|row| row.action).filter(|action| *action != "LeaveSite").collect()
}

fn cell(row: &Row, role: &str, payer: bool) -> Strength {
    let template = Template::ALL.into_iter().find(|template| template.role() == role);
    let column = if template.is_some() { "agency member" } else { role };
    let delegated = match template {
        Some(Template::Builder) => matches!(row.group, "Site" | "Content" | "Blog" | "Marketing" | "Apps"),
        Some(Template::Commerce) => matches!(row.group, "Commerce" | "PeopleData"),
        Some(Template::Manager) | None => true,
    };
    match ROWS.0.iter().position(|name| *name == column).map(|at| row.cells[at]) {
        None | Some(".") => Strength::Denied,
        Some(_) if !delegated => Strength::Denied,
        Some("2") => Strength::Confirmed,
        Some("G") if !payer => Strength::Denied,
        Some(_) => Strength::Allowed,
    }
}

fn build() -> Strengths {
    let actions = actions();
    let roles = ROWS.0.iter().copied().chain(Template::ALL.map(Template::role));
    let rows = roles.map(|role| {
        let row = |payer| actions.iter().map(|action| strength(role, payer, action)).collect();
        (SmolStr::new(role), [row(true), row(false)])
    });
    Strengths::from_rows(&actions, PERSON_ROLES.map(SmolStr::new).to_vec(), rows)
}

#[test]
fn the_grant_rule_comes_to_the_table_of_the_domain() {
    let partner =
        ["WebsiteManager", "WebsiteDesigner", "BillingManager", "BlogEditor", "MarketingManager", "Viewer"].as_slice();
    let co_owner = [
        "WebsiteManager",
        "WebsiteDesigner",
        "BillingManager",
        "BlogEditor",
        "StoreManager",
        "MarketingManager",
        "Viewer",
    ];
    let manager = ["WebsiteDesigner", "BlogEditor", "MarketingManager", "Viewer"];
    let table: [(&str, bool, &[&str]); 9] = [
        ("Owner", true, &PERSON_ROLES),
        ("Client", false, &PERSON_ROLES),
        ("Partner", true, partner),
        ("agency admin", true, partner),
        ("CoOwner", false, &co_owner),
        ("WebsiteManager", false, &manager),
        ("WebsiteDesigner", false, &[]),
        ("AgencyManager", false, &[]),
        ("nobody", true, &[]),
    ];
    for (grantor, payer, expected) in table {
        let mut may = strengths().person_roles().to_vec();
        may.retain(|role| strengths().may_grant(grantor, payer, role));
        assert_eq!(may, expected, "{grantor}");
    }
}

#[test]
fn seats_and_delegations_are_never_granted() {
    for role in ["Owner", "Client", "Partner", "agency admin", "AgencyBuilder", "SupportAgent", ""] {
        assert!(!strengths().may_grant("Owner", true, role), "{role}");
    }
}

#[test]
fn only_some_roles_may_be_kept_after_a_return() {
    let mut kept = PERSON_ROLES.to_vec();
    kept.retain(|role| crate::handover::people::may_stay(strengths(), role));
    assert_eq!(kept, ["WebsiteManager", "WebsiteDesigner", "BlogEditor", "MarketingManager", "Viewer"]);
}

#[test]
fn a_row_that_is_too_short_grants_nothing_it_leaves_out() {
    let rows = [("strong", vec![Strength::Allowed]), ("weak", vec![Strength::Allowed, Strength::Allowed])];
    let rows = rows.map(|(role, row)| (SmolStr::new(role), [row.clone(), row]));
    let table = Strengths::from_rows(&["InviteContributor", "EditDns"], vec!["weak".into()], rows);
    assert!(!table.may_grant("strong", true, "weak"));
    assert!(!table.at_most("weak", "strong"));
}

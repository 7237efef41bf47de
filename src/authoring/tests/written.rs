//! What is generated and committed is what would be generated now.

use super::*;
use crate::assignment::SHIPPED;

#[test]
fn the_rule_index_is_up_to_date() {
    let fresh = readme(&SHIPPED, FOLDER.readme.as_ref());
    if bless("policies/README.md", &fresh) {
        return;
    }
    let committed = FOLDER.readme.as_ref().map_or("", |file| file.text.as_str());
    assert!(committed == fresh, "policies/README.md is out of date; run the tests with BLESS=1");
}

#[test]
fn the_decisions_are_up_to_date() {
    let fresh = decisions(&SHIPPED, &WORLDS).unwrap();
    if bless("policies/DECISIONS.txt", &fresh) {
        return;
    }
    let drift = drift(&FOLDER, &SHIPPED, &WORLDS).unwrap();
    assert!(drift.is_empty(), "{drift:?}; run the tests with BLESS=1 and review the difference");
}

#[test]
fn the_decisions_are_for_people_to_read() {
    let text = &FOLDER.decisions.as_ref().unwrap().text;
    assert!(text.lines().count() < 2_500, "{}", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() <= 130));
    for world in WORLDS.iter() {
        for site in &world.sites {
            assert!(text.contains(&format!("== {}: {}", world.name, site.site.id)), "{}", site.site.id);
        }
    }
}

#[test]
fn the_shipped_folder_is_valid() {
    if let Err(problems) = validate(&FOLDER) {
        panic!("{problems}");
    }
}

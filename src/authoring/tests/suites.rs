use super::*;
use crate::assignment::SHIPPED;

#[test]
fn the_shipped_suites_pass_and_determine_every_policy() {
    match test(&SHIPPED, &FOLDER, &WORLDS, None) {
        Ok(report) => assert!(report.passed(), "{report}"),
        Err(problems) => panic!("{problems}"),
    }
}

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Plays the story with the `planted`th expectation made wrong.
fn played(planted: Option<usize>) -> (bool, String) {
    let mut stage = Stage::open(Listen::loopback(0)).unwrap();
    let page = Page::default();
    let verdict = stage.play(Teller::new(Box::new(page.clone()), false, planted)).unwrap();
    stage.close().unwrap();
    let told = page.0.lock().unwrap().clone();
    (verdict, String::from_utf8(told).unwrap())
}

#[test]
fn the_story_goes_as_it_is_told() {
    let (verdict, told) = played(None);
    assert!(verdict, "{told}");
    assert!(told.contains("answers were as expected."), "{told}");
    assert!(!told.contains('\x1b'), "colour without a terminal");
}

#[test]
fn the_facts_are_those_of_the_fixture() {
    let files = PolicyFiles::compiled_in().files;
    let file = files.iter().find(|file| file.path == "policies/fixtures/bakery.toml").unwrap();
    let fixture: serde_json::Value = toml::from_str(&file.text).unwrap();
    let agency = facts::studio_north();
    for field in ["name", "domain", "verified"] {
        assert_eq!(agency[field], fixture["agencies"]["studio-north"][field]);
    }
    let now = crate::time::Timestamp::default();
    for (name, site) in [("bakery", facts::bakery(now)), ("florist", facts::florist(now))] {
        let told = &fixture["sites"][name];
        for field in ["mode", "owner", "published", "domains"] {
            assert_eq!(site[field], told[field], "{name}: {field}");
        }
        for field in ["tier", "name", "price", "currency"] {
            assert_eq!(site["plan"][field], told["plan"][field], "{name}: plan.{field}");
        }
    }
}

/// Without this, a comparison that never fails would pass for ever.
#[test]
fn a_wrong_expectation_is_noticed() {
    for planted in [1, 20] {
        let (verdict, told) = played(Some(planted));
        assert!(!verdict && told.contains("EXPECTED") && told.contains("\n1 of "), "{told}");
    }
}

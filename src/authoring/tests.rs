//! The shipped policy folder, held to what it says of itself.

use std::{path::Path, sync::LazyLock};

use super::*;

mod ceiling;
mod edits;
mod fixtures;
mod matrix;
mod reasons;
mod suites;
mod written;

/// The shipped folder, read once for all tests.
pub(crate) static FOLDER: LazyLock<PolicyFolder> = LazyLock::new(|| {
    fn walk(folder: &Path, files: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(read(&path)) }
        }
    }
    let mut files = Vec::new();
    walk(&root().join("policies"), &mut files);
    PolicyFolder::of(read(&root().join("schemas/sites.cedarschema")), files)
});

/// The shipped fixtures.
pub(crate) static WORLDS: LazyLock<Vec<World>> = LazyLock::new(|| match worlds(&FOLDER) {
    Ok(worlds) => worlds,
    Err(problems) => panic!("{problems}"),
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Source {
    Source {
        path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    }
}

/// Writes a generated file when the tests are run with `BLESS=1`.
fn bless(path: &str, text: &str) -> bool {
    let asked = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    if asked {
        std::fs::write(root().join(path), text).unwrap();
    }
    asked
}

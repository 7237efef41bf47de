//! Folders of policies, as an author has them, and their activation.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{program::Run, server::Installation};

/// A copy of the policies and their schema.
pub fn policies_in(folder: &Path, name: &str) -> PathBuf {
    let place = folder.join(name);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), &place.join("policies"));
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas"), &place.join("schemas"));
    place
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::write(&place, fs::read(&path).unwrap()).unwrap();
        }
    }
}

pub fn rewrite(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no `{from}`", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

/// The same policies, but that a website manager, such as Lea, may not edit content; with their tests.
pub fn strict_in(folder: &Path) -> PathBuf {
    let place = policies_in(folder, "strict");
    rewrite(&place.join("policies/roles/website-manager.cedar"), "Sites::Action::\"EditContent\",", "");
    let tests = place.join("policies/roles/website-manager.tests.toml");
    rewrite(&tests, "\"-PurgeContent\"", "\"-PurgeContent\", \"-EditContent\"");
    place
}

pub fn activate(installation: &Installation, place: &Path) -> Run {
    let (policies, schemas) = (place.join("policies"), place.join("schemas"));
    let words =
        ["policy", "activate", "--policies", policies.to_str().unwrap(), "--schemas", schemas.to_str().unwrap()];
    installation.run(&words)
}

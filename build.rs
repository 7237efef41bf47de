//! Which policies does the program carry with it? Lists every file of `policies/` and `schemas/` for
//! `src/cli/bundled.rs`, so that a new policy file is compiled in without a line of Rust.
//!
//! A crate that embeds folders lost: this is twenty lines, and it says which files count.

use std::{env, fmt::Write as _, fs, io, path::Path};

/// Folders that are compiled in, from the manifest's folder.
const FOLDERS: [&str; 2] = ["policies", "schemas"];
/// Endings of the files that mean something there.
const ENDINGS: [&str; 5] = ["cedar", "cedarschema", "toml", "md", "txt"];

fn main() -> io::Result<()> {
    let root = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let mut files = Vec::new();
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        collect(Path::new(&root), folder, &mut files)?;
    }
    files.sort();
    let mut list = String::from("/// Path and text of every file, by path.\npub const FILES: &[(&str, &str)] = &[\n");
    for path in files {
        let _ = writeln!(list, "    ({path:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {path:?}))),");
    }
    list.push_str("];\n");
    fs::write(Path::new(&out).join("bundled.rs"), list)
}

/// Paths relative to `root`, with forward slashes.
fn collect(root: &Path, folder: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = format!("{folder}/{name}");
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else if Path::new(name).extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            files.push(path);
        }
    }
    Ok(())
}

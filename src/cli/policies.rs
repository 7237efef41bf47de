//! Which policies are in force? The files of the folders in use, or the copies compiled in.
//!
//! Whoever is configured wins; else `./policies` and `./schemas` where they exist, so that a checkout is served as it
//! stands; else the program's own copies, so that the binary alone runs. A file is named `policies/…` or `schemas/…`
//! wherever its folder lies: the bundle's fingerprint covers names and texts, and must not change by moving a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    bundled,
    exit::{Exit, Stop},
};
use crate::{
    assignment::SitePolicies,
    config::{Config, Database},
    policy::Source,
};

/// The files of a policy folder and its schema.
#[derive(Debug, Clone)]
pub struct PolicyFiles {
    /// The schema.
    pub schema: Source,
    /// Everything in the policy folder, by path: policies, their tests, fixtures, documents.
    pub files: Vec<Source>,
    /// The folder they were read from; none for the copies compiled in.
    pub folder: Option<PathBuf>,
    /// Where the policies come from, in words.
    pub origin: String,
}

/// What a policy folder consists of.
const POLICY_FILES: &[&str] = &["cedar", "cedarschema", "toml", "md", "txt"];

/// Most folders in folders.
const DEEPEST: usize = 16;

/// Largest file that is read, in bytes: what lies in a policy folder by mistake is not loaded into memory.
const MAX_FILE: u64 = 4 * 1024 * 1024;

impl PolicyFiles {
    /// The files that the settings name.
    ///
    /// # Errors
    /// A configured folder, or a file in a folder, that cannot be read.
    pub fn of(config: &Config) -> Result<Self, Stop> {
        let place = folder(config.policies.as_deref(), "policies");
        let (files, origin) = match &place {
            Some(folder) => {
                (read_folder(folder, "policies", POLICY_FILES)?, format!("the folder `{}`", folder.display()))
            }
            None => (compiled("policies/"), "the copies compiled in".to_owned()),
        };
        let schemas = match folder(config.schemas.as_deref(), "schemas") {
            Some(folder) => read_folder(&folder, "schemas", POLICY_FILES)?,
            None => compiled("schemas/"),
        };
        let mut schemas = schemas.into_iter().filter(|file| has_ending(&file.path, "cedarschema"));
        let (Some(schema), None) = (schemas.next(), schemas.next()) else {
            return Err(Stop::failed("the schema folder must hold exactly one `*.cedarschema` file"));
        };
        Ok(Self { schema, files, folder: place, origin })
    }

    /// The configured policies, for a command that works on a database; none where the database says which are in force,
    /// which it is asked when it is open. Before that, so that nothing is made for a command that cannot go on.
    ///
    /// # Errors
    /// As [`PolicyFiles::of`] and [`PolicyFiles::load`].
    pub fn of_embedded(config: &Config) -> Result<Option<Arc<SitePolicies>>, Stop> {
        match config.database_url {
            Database::Sqlite(_) => Self::of(config)?.load().map(Some),
            Database::Postgres(_) => Ok(None),
        }
    }

    /// The copies compiled in.
    #[must_use]
    pub fn compiled_in() -> Self {
        let schema = compiled("schemas/").into_iter().find(|file| has_ending(&file.path, "cedarschema"));
        Self {
            schema: schema.unwrap_or(Source { path: "schemas".to_owned(), text: String::new() }),
            files: compiled("policies/"),
            folder: None,
            origin: "the copies compiled in".to_owned(),
        }
    }

    /// Builds and checks the bundle.
    ///
    /// # Errors
    /// [`Exit::InvalidPolicies`] with every problem's file, line and reason.
    pub fn load(&self) -> Result<Arc<SitePolicies>, Stop> {
        let policies: Vec<Source> = self.files.iter().filter(|file| is_policy(&file.path)).cloned().collect();
        SitePolicies::load(&self.schema, &policies).map_err(|problems| Stop {
            exit: Exit::InvalidPolicies,
            message: format!("the policies of {} cannot be used:\n{problems}", self.origin),
        })
    }
}

/// Fixtures are stories for tests; nothing in them is in force.
fn is_policy(path: &str) -> bool {
    has_ending(path, "cedar") && !path.split('/').any(|part| part == "fixtures")
}

fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == ending)
}

/// The folder to read; none: the copies compiled in.
fn folder(configured: Option<&Path>, default: &str) -> Option<PathBuf> {
    configured.map(Path::to_owned).or_else(|| Some(PathBuf::from(default)).filter(|folder| folder.is_dir()))
}

fn compiled(prefix: &str) -> Vec<Source> {
    let files = bundled::FILES.iter().filter(|(path, _)| path.starts_with(prefix));
    files.map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() }).collect()
}

/// The files of a folder whose names end with one of `endings`, under `name`, by path.
pub(super) fn read_folder(folder: &Path, name: &str, endings: &[&str]) -> Result<Vec<Source>, Stop> {
    let mut files = Vec::new();
    collect(folder, name, endings, DEEPEST, &mut files)?;
    files.sort_by(|a: &Source, b: &Source| a.path.cmp(&b.path));
    Ok(files)
}

/// Reads the files below `folder` that such a folder consists of. Names that begin with a dot are an editor's or a
/// container platform's: its `..data` would show every file twice.
/// Links are followed: a folder that is left out unread would be rules that are left out.
fn collect(folder: &Path, name: &str, endings: &[&str], deeper: usize, files: &mut Vec<Source>) -> Result<(), Stop> {
    let unreadable =
        |path: &Path, error: std::io::Error| Stop::failed(format!("cannot read `{}`: {error}", path.display()));
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        let path = entry.path();
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let named = format!("{name}/{file_name}");
        let about = fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
        if about.is_dir() {
            let Some(deeper) = deeper.checked_sub(1) else {
                return Err(Stop::failed(format!("`{}` is too deep: does a link lead back?", path.display())));
            };
            collect(&path, &named, endings, deeper, files)?;
        } else if endings.iter().any(|ending| has_ending(file_name, ending)) {
            if !about.is_file() {
                return Err(Stop::failed(format!("`{}` is not a file", path.display())));
            }
            let size = about.len();
            if size > MAX_FILE {
                return Err(Stop::failed(format!("`{}` is larger than {MAX_FILE} bytes", path.display())));
            }
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            files.push(Source { path: named, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copies_compiled_in_are_the_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let config =
            Config { policies: Some(root.join("policies")), schemas: Some(root.join("schemas")), ..Config::default() };
        let folder = PolicyFiles::of(&config).unwrap();
        let compiled = PolicyFiles::compiled_in();
        assert_eq!(folder.schema, compiled.schema);
        assert_eq!(folder.files, compiled.files);
        assert_eq!(
            folder.load().unwrap().bundle().fingerprint(),
            compiled.load().unwrap().bundle().fingerprint(),
            "wherever the files come from, the rules are the same"
        );
    }

    /// A guardrail behind a link counts; one that leads back is told.
    #[test]
    fn links_are_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("kept/deep")).unwrap();
        fs::create_dir_all(at("policies")).unwrap();
        fs::write(at("kept/deep/x.cedar"), "a").unwrap();
        fs::write(at("y.cedar"), "b").unwrap();
        symlink(at("kept"), at("policies/kept")).unwrap();
        symlink(at("y.cedar"), at("policies/y.cedar")).unwrap();
        let read = || read_folder(&at("policies"), "p", &["cedar"]);
        let paths: Vec<String> = read().unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["p/kept/deep/x.cedar", "p/y.cedar"]);
        symlink(at("policies"), at("policies/again")).unwrap();
        assert!(read().unwrap_err().message.contains("lead back"));
        fs::remove_file(at("policies/again")).unwrap();
        symlink(at("nothing"), at("policies/gone")).unwrap();
        assert!(read().unwrap_err().message.contains("gone"));
    }

    #[test]
    fn a_folder_that_is_named_must_be_there() {
        let config = Config { policies: Some("nowhere/policies".into()), ..Config::default() };
        let stop = PolicyFiles::of(&config).unwrap_err();
        assert!(stop.exit == Exit::Failed && stop.message.contains("`nowhere/policies`"), "{stop:?}");
    }

    #[test]
    fn a_broken_policy_is_named_with_its_line() {
        let mut files = PolicyFiles::compiled_in();
        files.files.push(Source { path: "policies/roles/zz.cedar".to_owned(), text: "\npermit(".to_owned() });
        let stop = files.load().unwrap_err();
        assert_eq!(stop.exit, Exit::InvalidPolicies);
        assert!(stop.message.contains("policies/roles/zz.cedar:"), "{}", stop.message);
        files.files.pop();
        files.files.push(Source { path: "policies/fixtures/zz.cedar".to_owned(), text: "permit(".to_owned() });
        assert!(files.load().is_ok(), "a fixture is not a policy");
    }
}

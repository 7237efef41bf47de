//! `mandate policy`: the policy author's workbench on the command line.
//!
//! Reads the files and prints; what is checked and how is `authoring`'s. Nothing here but `activate` opens a database:
//! policies are judged by their fixtures, so that an author needs a folder and this program.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand, ValueEnum};

use super::{
    activate::Activate,
    exit::{Exit, Stop},
    policies::PolicyFiles,
    settings::Places,
};
use crate::{
    assignment::SitePolicies,
    authoring::{self, Difference, Matrix, PolicyFolder},
    decision::Fault,
    policy::Problems,
};

/// The domain's table of roles and actions, which the policies must make.
const SPECIFICATION: &str = include_str!("../../tests/golden/role_action_matrix.csv");

/// Validates, tests and shows policies. Exit 0 fine, 1 could not run, 2 a test failed or a difference, 3 invalid.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  mandate policy validate
  mandate policy test --policies ./policies
  mandate policy matrix --format markdown")]
pub enum Policy {
    Validate(Validate),
    Test(Test),
    Matrix(Table),
    Decisions(Decisions),
    Activate(Activate),
}

/// Checks schema, policies, fixtures, tests and the rule index; says everything that is wrong, with file and line.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate policy validate
  mandate policy validate --policies ./policies --schemas ./schemas")]
pub struct Validate {
    #[command(flatten)]
    places: Places,
}

/// Runs the tests beside the policies.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate policy test
  mandate policy test partner")]
pub struct Test {
    /// Run only tests whose `file: name` contains this
    filter: Option<String>,
    #[command(flatten)]
    places: Places,
}

/// Shows which role may do what, as the policies make it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate policy matrix
  mandate policy matrix --format csv > matrix.csv
  mandate policy matrix --check
  mandate policy matrix --check --specification matrix.csv")]
pub struct Table {
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Compare with the domain's own table and print only differences
    #[arg(long)]
    check: bool,
    /// Compare with this table, as `--format csv` writes it, instead
    #[arg(long, value_name = "FILE", requires = "check")]
    specification: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
}

/// Shows what everybody in the fixtures may do: the text of DECISIONS.txt.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate policy decisions
  mandate policy decisions --check
  mandate policy decisions --bless      then read the diff")]
pub struct Decisions {
    /// Compare DECISIONS.txt and the rule index of README.md with what they should be
    #[arg(long, conflicts_with = "bless")]
    check: bool,
    /// Write both files again
    #[arg(long)]
    bless: bool,
    #[command(flatten)]
    places: Places,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Markdown,
    Csv,
}

impl Policy {
    /// Runs the command.
    ///
    /// # Errors
    /// The files cannot be read, or are invalid.
    pub fn run(self) -> Result<Exit, Stop> {
        match self {
            Self::Validate(command) => command.run(),
            Self::Test(command) => command.run(),
            Self::Matrix(command) => command.run(),
            Self::Decisions(command) => command.run(),
            Self::Activate(command) => command.run(),
        }
    }
}

/// The folder that the settings name, and its policies.
struct Opened {
    files: PolicyFiles,
    folder: PolicyFolder,
    policies: Arc<SitePolicies>,
}

fn open(places: &Places) -> Result<Opened, Stop> {
    let files = PolicyFiles::of(&places.load()?)?;
    let policies = files.load()?;
    let folder = PolicyFolder::of(files.schema.clone(), files.files.clone());
    Ok(Opened { files, folder, policies })
}

pub(super) fn invalid(problems: &Problems) -> Stop {
    Stop { exit: Exit::InvalidPolicies, message: format!("the policy folder is not right:\n{problems}") }
}

fn faulty(fault: &Fault) -> Stop {
    Stop::failed(format!("the policies could not be evaluated: {fault}"))
}

impl Validate {
    fn run(&self) -> Result<Exit, Stop> {
        let files = PolicyFiles::of(&self.places.load()?)?;
        let folder = PolicyFolder::of(files.schema.clone(), files.files.clone());
        let policies = authoring::validate(&folder).map_err(|problems| invalid(&problems))?;
        writeln!(
            std::io::stdout(),
            "{}: {} policies, {} suites, fingerprint {}",
            files.origin,
            policies.bundle().policies().len(),
            folder.suites.len(),
            policies.bundle().fingerprint()
        )?;
        Ok(Exit::Done)
    }
}

impl Test {
    fn run(&self) -> Result<Exit, Stop> {
        let Opened { folder, policies, .. } = open(&self.places)?;
        let worlds = authoring::worlds(&folder).map_err(|problems| invalid(&problems))?;
        let report = authoring::test(&policies, &folder, &worlds, self.filter.as_deref());
        let report = report.map_err(|problems| invalid(&problems))?;
        writeln!(std::io::stdout(), "{report}")?;
        if report.tests == 0 {
            return Err(Stop::failed(match &self.filter {
                Some(filter) => format!("no test's `file: name` contains `{filter}`"),
                None => "there are no tests (`*.tests.toml`)".to_owned(),
            }));
        }
        Ok(if report.passed() { Exit::Done } else { Exit::Negative })
    }
}

impl Table {
    fn run(&self) -> Result<Exit, Stop> {
        let Opened { policies, .. } = open(&self.places)?;
        let matrix = Matrix::of(&policies).map_err(|fault| faulty(&fault))?;
        let mut out = std::io::stdout().lock();
        if self.check {
            let differences = differences(&matrix, self.specification.as_deref())?;
            for difference in &differences {
                writeln!(out, "{difference}")?;
            }
            let rows = matrix.rows.len();
            if differences.is_empty() {
                writeln!(out, "{rows} actions are as specified")?;
                return Ok(Exit::Done);
            }
            writeln!(out, "{} cells are not as specified", differences.len())?;
            return Ok(Exit::Negative);
        }
        match self.format {
            Format::Text => write!(out, "{matrix}")?,
            Format::Markdown => write!(out, "{}", matrix.to_markdown())?,
            Format::Csv => write!(out, "{}", matrix.to_csv())?,
        }
        Ok(Exit::Done)
    }
}

fn differences(matrix: &Matrix, specification: Option<&Path>) -> Result<Vec<Difference>, Stop> {
    let Some(file) = specification else { return Ok(matrix.differences(SPECIFICATION)) };
    let text =
        fs::read_to_string(file).map_err(|error| Stop::failed(format!("cannot read `{}`: {error}", file.display())))?;
    Ok(matrix.differences(&text))
}

impl Decisions {
    fn run(&self) -> Result<Exit, Stop> {
        let Opened { files, folder, policies } = open(&self.places)?;
        let worlds = authoring::worlds(&folder).map_err(|problems| invalid(&problems))?;
        let mut out = std::io::stdout().lock();
        if self.check {
            let problems = authoring::drift(&folder, &policies, &worlds).map_err(|fault| faulty(&fault))?;
            for problem in &problems {
                writeln!(out, "{problem}")?;
            }
            return Ok(if problems.is_empty() { Exit::Done } else { Exit::Negative });
        }
        let decisions = authoring::decisions(&policies, &worlds).map_err(|fault| faulty(&fault))?;
        if !self.bless {
            write!(out, "{decisions}")?;
            return Ok(Exit::Done);
        }
        let Some(place) = &files.folder else {
            return Err(Stop::failed("there is no policy folder to write to: name one with --policies"));
        };
        let readme = authoring::readme(&policies, folder.readme.as_ref());
        for (name, text) in [("DECISIONS.txt", decisions), ("README.md", readme)] {
            let path = place.join(name);
            fs::write(&path, text)
                .map_err(|error| Stop::failed(format!("cannot write `{}`: {error}", path.display())))?;
            writeln!(out, "wrote {}", path.display())?;
        }
        Ok(Exit::Done)
    }
}

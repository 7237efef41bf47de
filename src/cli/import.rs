//! `mandate import`: sites, agencies and staff from JSON Lines.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    block_on,
    exit::{Exit, Stop},
    lines::Lines,
    policies::PolicyFiles,
    settings::Places,
};
use crate::{
    app::{
        import::{ImportError, Imported, Line, LineError, import_batch},
        policies,
    },
    assignment::SitePolicies,
    clock::{Clock as _, SystemClock},
    config::Database,
    store::sql::SqlStore,
};

/// Lines that are imported in one transaction.
const BATCH: usize = 500;
/// Most lines that are complained about in one go.
const MAX_COMPLAINTS: usize = 20;
/// Without a terminal, a word after this many lines.
const WORD_EVERY: u64 = 10_000;

/// Imports sites, agencies and staff from JSON Lines.
///
/// Each line is one object: {"agency":{…}}, {"staff":{"id":…,"role":…}} or {"site":{…}}, as `mandate export` writes
/// them; an agency stands before the sites that name it. Lines are imported in batches of 500, each as a whole or not
/// at all, at one revision. A line that says what is there already is passed over; one that says something else about
/// it is an error. Works on the database itself, so the server must not be running.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate import sites.jsonl
  mandate export --database-url sqlite:old.db | mandate import - --database-url sqlite:new.db")]
pub struct Import {
    /// The file; `-` reads stdin
    file: PathBuf,
    #[command(flatten)]
    places: Places,
}

impl Import {
    /// Runs the command.
    ///
    /// # Errors
    /// The file, the policies or the database cannot be used, or a line is wrong.
    pub fn run(self) -> Result<Exit, Stop> {
        let config = self.places.load()?;
        let mut lines = Lines::open(&self.file)?;
        let configured = PolicyFiles::of_embedded(&config)?;
        let store = open(&config.database_url)?;
        let in_force = block_on(policies::in_force(&store))??;
        let policies = in_force.or(configured).map_or_else(|| PolicyFiles::of(&config)?.load(), Ok)?;
        let imported = block_on(import(&store, &policies, &mut lines))??;
        writeln!(
            std::io::stdout(),
            "imported: agencies {}, staff {}, sites {}; already there: lines {}",
            imported.agencies,
            imported.staff,
            imported.sites,
            imported.present
        )?;
        Ok(Exit::Done)
    }
}

fn open(database: &Database) -> Result<SqlStore, Stop> {
    super::database::open(database).map_err(|error| match database {
        Database::Sqlite(_) => Stop::failed(format!(
            "{error}\nan import writes to the database itself: stop the server that uses it, import, and start it again"
        )),
        Database::Postgres(_) => error.into(),
    })
}

async fn import(store: &SqlStore, policies: &Arc<SitePolicies>, lines: &mut Lines) -> Result<Imported, Stop> {
    let progress = Progress::new(lines.size());
    let mut imported = Imported::default();
    let mut before = 0;
    loop {
        let (batch, wrong, last) = read_batch(lines);
        if batch.is_empty() && wrong.is_empty() {
            return Ok(imported);
        }
        if !wrong.is_empty() {
            return Err(refused(&wrong, before, last));
        }
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        match import_batch(store, policies, batch, SystemClock.now()).await {
            Ok(done) => imported.add(done),
            Err(ImportError::Lines(wrong)) => return Err(refused(&wrong, before, last)),
            Err(ImportError::Store(error)) => {
                return Err(Stop::failed(format!("lines {} to {last} were not imported: {error}", before + 1)));
            }
        }
        progress.at(lines.read(), last, count);
        before = last;
    }
}

/// The next lines, what is wrong with any of them, and the number of the last one.
fn read_batch(lines: &mut Lines) -> (Vec<Line>, Vec<LineError>, u64) {
    let (mut batch, mut wrong, mut last) = (Vec::new(), Vec::new(), 0);
    while batch.len() + wrong.len() < BATCH {
        match lines.next() {
            None => break,
            Some(Ok(line)) => {
                last = line.number;
                batch.push(line);
            }
            Some(Err(error)) => {
                last = error.line;
                wrong.push(error);
                // A line that cannot be read at all would come again and again.
                if wrong.len() >= MAX_COMPLAINTS {
                    break;
                }
            }
        }
    }
    (batch, wrong, last)
}

fn refused(wrong: &[LineError], before: u64, last: u64) -> Stop {
    let mut message = vec!["the file cannot be imported as it is:".to_owned()];
    message.extend(wrong.iter().take(MAX_COMPLAINTS).map(ToString::to_string));
    if let Some(more) = wrong.len().checked_sub(MAX_COMPLAINTS).filter(|more| *more > 0) {
        message.push(format!("and {more} more"));
    }
    message.push(match before {
        0 => "nothing was imported".to_owned(),
        _ => format!(
            "lines 1 to {before} are imported, nothing from line {} to {last} is; correct the file and import all of \
             it again: what is there already is passed over",
            before + 1
        ),
    });
    Stop::failed(message.join("\n"))
}

/// How far it is: a bar on a terminal, now and then a line elsewhere.
struct Progress {
    bar: ProgressBar,
    told: std::cell::Cell<u64>,
    plain: bool,
}

impl Progress {
    fn new(size: Option<u64>) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = match size {
            _ if plain => ProgressBar::hidden(),
            Some(size) => ProgressBar::new(size),
            None => ProgressBar::new_spinner(),
        };
        // A template that does not parse leaves the plain style.
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} line {msg} {eta}") {
            bar.set_style(style);
        }
        Self { bar, told: std::cell::Cell::new(0), plain }
    }

    fn at(&self, read: u64, line: u64, count: u64) {
        self.bar.set_position(read);
        self.bar.set_message(line.to_string());
        self.told.set(self.told.get() + count);
        if self.plain && self.told.get() >= WORD_EVERY {
            self.told.set(0);
            eprintln!("imported up to line {line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

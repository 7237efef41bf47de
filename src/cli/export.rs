//! `mandate export`: agencies, staff and sites as JSON Lines.
//!
//! Sites are read page by page, so that an export of any size needs the memory of one page. It reads beside a running
//! server; each line is then true at its own moment, and an agency that was registered meanwhile still comes before
//! the first site that names it. Audit and ended handovers are history and stay: they prove something only where they
//! happened.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    block_on, database,
    exit::{Exit, Stop},
    settings::Places,
};
use crate::{
    app::import::{Record, StaffRecord, named_agencies},
    assignment::{Agency, Directory},
    ids::AgencyId,
    site::SiteDocument,
    store::{Store as _, sql::SqlStore},
};

/// Sites read at once.
const PAGE: usize = 500;

/// Exports agencies, staff and sites as JSON Lines, for `mandate import`.
///
/// Works beside a running server. Audit events and ended handovers are not exported.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate export sites.jsonl
  mandate export --database-url sqlite:/var/lib/mandate/mandate.db | gzip > backup.jsonl.gz")]
pub struct Export {
    /// The file, replaced when all of it is written; stdout when absent
    file: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
}

impl Export {
    /// Runs the command.
    ///
    /// # Errors
    /// The database cannot be read or the file cannot be written.
    pub fn run(self) -> Result<Exit, Stop> {
        let config = self.places.load()?;
        let store = database::open_read_only(&config.database_url)?;
        match &self.file {
            None => block_on(export(&store, BufWriter::new(std::io::stdout())))??,
            Some(file) => to_file(&store, file)?,
        }
        Ok(Exit::Done)
    }
}

/// Writes beside the file and renames at the end: half an export under its final name would be taken for a whole one.
fn to_file(store: &SqlStore, file: &Path) -> Result<(), Stop> {
    let cannot = |error: std::io::Error| Stop::failed(format!("cannot write `{}`: {error}", file.display()));
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let out = File::create(&beside).map_err(cannot)?;
    let written = block_on(export(store, BufWriter::new(&out))).and_then(|done| done);
    match written.and_then(|()| out.sync_all().map_err(cannot)).and_then(|()| fs::rename(&beside, file).map_err(cannot))
    {
        Ok(()) => Ok(()),
        Err(stop) => {
            // Whatever is wrong with the disk was said already.
            let _ = fs::remove_file(&beside);
            Err(stop)
        }
    }
}

async fn export(store: &SqlStore, out: impl Write) -> Result<(), Stop> {
    let before = store.head().await?.revision;
    let directory = store.directory().await?.value;
    let mut writer = Writer { out, agencies: BTreeSet::new() };
    let mut agencies: Vec<_> = directory.agencies().collect();
    agencies.sort_by(|a, b| a.id.cmp(&b.id));
    for agency in agencies {
        writer.agency(agency)?;
    }
    let mut staff: Vec<_> = directory.staff().collect();
    staff.sort();
    for (id, role) in staff {
        writer.line(&Record::Staff(StaffRecord { id: id.clone(), role }))?;
    }
    let mut after = None;
    loop {
        let page = store.sites(after.as_ref(), PAGE).await?;
        for id in &page.items {
            let Some(site) = store.site(id).await?.value else { continue };
            let document = SiteDocument::from(&site);
            if !named_agencies(&document).all(|(_, id)| writer.agencies.contains(id)) {
                writer.missing(&document, &store.directory().await?.value)?;
            }
            writer.line(&Record::Site(Box::new(document)))?;
        }
        after = page.items.last().cloned();
        if !page.more {
            break;
        }
    }
    writer.out.flush()?;
    let now = store.head().await?.revision;
    if now != before {
        eprintln!(
            "mandate: the data changed during the export (revision {before} to {now}): each line is as it was read"
        );
    }
    Ok(())
}

struct Writer<W> {
    out: W,
    agencies: BTreeSet<AgencyId>,
}

impl<W: Write> Writer<W> {
    fn line(&mut self, record: &Record) -> Result<(), Stop> {
        let line = record.to_line().map_err(|error| Stop::failed(format!("a record has no JSON form: {error}")))?;
        Ok(writeln!(self.out, "{line}")?)
    }

    fn agency(&mut self, agency: &Agency) -> Result<(), Stop> {
        self.agencies.insert(agency.id.clone());
        self.line(&Record::Agency(agency.clone()))
    }

    /// Agencies that were registered since the export began.
    fn missing(&mut self, document: &SiteDocument, directory: &Directory) -> Result<(), Stop> {
        for (_, id) in named_agencies(document) {
            if let Some(agency) = directory.agency(id).filter(|_| !self.agencies.contains(id)) {
                self.agency(agency)?;
            }
        }
        Ok(())
    }
}

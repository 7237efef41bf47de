//! `mandate restore`: a restored backup becomes a history of its own.

use std::io::Write as _;

use clap::Args;
use serde_json::json;

use super::{
    block_on, database,
    exit::{Exit, Stop},
    settings::Places,
};
use crate::clock;

/// Says that the database was restored from a backup: it gets a new epoch.
///
/// Revisions after the backup are given out again, for other changes. With the new epoch every replica drops what it
/// remembers from before, and callers' revision tokens are refused (`409 other_history`) instead of taken for the new
/// history's. Run it after the restore and before the service is started on the database; a server that is running on
/// PostgreSQL then goes on with the new history, and the embedded database must not be in use.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate restore
  mandate restore --database-url postgres://mandate@db.example/mandate")]
pub struct Restore {
    #[command(flatten)]
    places: Places,
}

impl Restore {
    /// Runs the command.
    ///
    /// # Errors
    /// The database is in use, or cannot be written.
    pub fn run(self) -> Result<Exit, Stop> {
        let config = self.places.load()?;
        let store = database::open(&config.database_url)?;
        let (before, now) = block_on(store.begin_history(clock::new_uuid().replace('-', "")))??;
        let said = json!({"epoch_before": before.epoch, "epoch": now, "revision": before.revision});
        writeln!(std::io::stdout(), "{said}")?;
        Ok(Exit::Done)
    }
}

//! `mandate audit`: is the history whole?

use std::io::Write as _;

use clap::{Args, Subcommand};

use super::{
    block_on, database,
    exit::{Exit, Stop},
    settings::Places,
};
use crate::store::{AuditFault, verify_audit};

/// Checks the audit log.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  mandate audit verify
  mandate audit verify --database-url sqlite:/var/lib/mandate/mandate.db")]
pub enum Audit {
    Verify(Verify),
}

/// Recomputes the hash chain over all audit events: exit 0 if it is whole, 2 if it is broken.
///
/// Works beside a running server. Whoever can write the database can compute a new chain: compare the head that is
/// printed with one that was kept elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate audit verify
  mandate audit verify --database-url sqlite:/var/lib/mandate/mandate.db")]
pub struct Verify {
    #[command(flatten)]
    places: Places,
}

impl Audit {
    /// Runs the command.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn run(self) -> Result<Exit, Stop> {
        let Self::Verify(Verify { places }) = self;
        let config = places.load()?;
        let store = database::open_read_only(&config.database_url)?;
        match block_on(verify_audit(&store))? {
            Ok(verified) => {
                writeln!(std::io::stdout(), "whole: {} events, head {}", verified.events, verified.head)?;
                Ok(Exit::Done)
            }
            Err(AuditFault::Store(error)) => Err(error.into()),
            Err(broken @ AuditFault::Broken { .. }) => {
                writeln!(std::io::stdout(), "{broken}")?;
                Ok(Exit::Negative)
            }
        }
    }
}

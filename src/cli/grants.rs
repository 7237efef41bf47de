//! `mandate grants`: the database rights of a process that only decides.

use std::io::Write as _;

use clap::Args;

use super::exit::{Exit, Stop};
use crate::store::postgres::grants;

/// Prints the SQL that gives a PostgreSQL role what `role = pdp` needs, and nothing more.
///
/// That role can read what decisions depend on and keep its own row in the registry of replicas. Whoever takes over such a
/// process cannot make roles. Run it as the owner of the tables, after `mandate serve` has made them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate grants --to mandate_pdp | psql \"$DATABASE_URL\"
  mandate serve --role pdp --database-url postgres://mandate_pdp:PASSWORD@db.example/mandate")]
pub struct Grants {
    /// The PostgreSQL role that is given the rights; it has to exist
    #[arg(long, value_name = "ROLE")]
    to: String,
}

impl Grants {
    /// Runs the command.
    ///
    /// # Errors
    /// The name of the role is not a plain one.
    pub fn run(self) -> Result<Exit, Stop> {
        let sql = grants::for_decisions(&self.to).map_err(Stop::usage)?;
        std::io::stdout().write_all(sql.as_bytes())?;
        Ok(Exit::Done)
    }
}

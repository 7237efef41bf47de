//! `mandate policy activate`: puts policies in force on every replica.

use std::{io::Write as _, sync::Arc};

use clap::Args;
use serde_json::json;

use super::{
    block_on, database,
    exit::{Exit, Stop},
    policies::PolicyFiles,
    policy::invalid,
    settings::Places,
};
use crate::{
    app::{
        Effective,
        policies::{self, Replacing},
    },
    authoring::{self, PolicyFolder},
    config::Database,
};

/// Puts the policies of the folder in force on every replica, and waits until no one answers by others.
///
/// They are validated and their tests are run first; nothing is activated when either fails. The change is one of the
/// database like a handover: it has a revision and an audit event, and replicas take it with the roles of that revision.
/// A replica whose version does not accept the policies stops answering. Going back is activating the older files. Run it
/// again when it was interrupted: it waits for what is in force already. For PostgreSQL; one process on the embedded
/// database serves its own files. Exit 0 effective, 1 could not run, 2 a test failed, 3 invalid.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate policy activate --policies ./policies --schemas ./schemas --database-url postgres://mandate@db.example/mandate
  MANDATE_DATABASE_URL=postgres://mandate@db.example/mandate mandate policy activate")]
pub struct Activate {
    #[command(flatten)]
    places: Places,
}

impl Activate {
    /// Runs the command.
    ///
    /// # Errors
    /// The files cannot be read or are invalid, or the database cannot be written.
    pub fn run(&self) -> Result<Exit, Stop> {
        let config = self.places.load()?;
        if let Database::Sqlite(_) = config.database_url {
            return Err(Stop::usage(
                "nothing is activated in the embedded database: the one process that uses it serves the files it was started \
                 with; start `mandate serve` again with these, or name a `postgres://` database with --database-url",
            ));
        }
        let files = PolicyFiles::of(&config)?;
        let folder = PolicyFolder::of(files.schema.clone(), files.files.clone());
        let policies = authoring::validate(&folder).map_err(|problems| invalid(&problems))?;
        let worlds = authoring::worlds(&folder).map_err(|problems| invalid(&problems))?;
        let report = authoring::test(&policies, &folder, &worlds, None).map_err(|problems| invalid(&problems))?;
        if !report.passed() {
            writeln!(std::io::stderr(), "{report}\nnothing was activated: the tests beside the policies fail")?;
            return Ok(Exit::Negative);
        }
        let store = Arc::new(database::open(&config.database_url)?);
        let done = block_on(policies::activate(&store, &policies, Replacing::Any))??;
        let effective = block_on(policies::effective(Arc::clone(&store), done.revision))?.map_err(|failure| {
            Stop::failed(format!(
                "revision {} puts the policies in force, but it is not known to be effective: {}; run the command again",
                done.revision, failure.detail
            ))
        })?;
        let Effective::Yes { waited, .. } = effective else {
            return Err(Stop::failed("the policies are in force and not effective yet: run the command again"));
        };
        let said = json!({
            "policies": done.now,
            "before": done.before,
            "revision": done.revision,
            "tests": report.tests,
            "status": "effective",
            "waited_ms": u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            "acks": effective.acks(),
        });
        writeln!(std::io::stdout(), "{said}")?;
        Ok(Exit::Done)
    }
}

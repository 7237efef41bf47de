//! `mandate health`: is a server ready? For containers' health checks.

use std::{io::Write as _, path::PathBuf};

use clap::Args;

use super::{
    client::Client,
    exit::{Exit, Stop},
};
use crate::config::{Config, Listen};

/// Asks a server whether it is ready: exit 0 if so, else 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate health
  mandate health http://127.0.0.1:8081")]
pub struct Health {
    /// The admin listener's address [default: `admin_listen` of the settings]
    url: Option<String>,
    /// Settings as TOML
    #[arg(long, value_name = "FILE", env = "MANDATE_CONFIG")]
    config: Option<PathBuf>,
}

impl Health {
    /// Runs the command.
    ///
    /// # Errors
    /// Nobody answers, or not that it is ready.
    pub fn run(self) -> Result<Exit, Stop> {
        let url = match self.url {
            Some(url) => url,
            None => match Config::load(self.config.as_deref(), &[])?.admin_listen {
                Listen::Tcp(address) => format!("http://{address}"),
                listen @ Listen::Unix(_) => {
                    return Err(Stop::usage(format!("`{listen}` is a socket: health asks TCP addresses only")));
                }
            },
        };
        let answer = Client::new(&url)?.get("/readyz")?;
        if answer.status == 200 {
            writeln!(std::io::stdout(), "ready")?;
            return Ok(Exit::Done);
        }
        let detail = answer.body.get("detail").and_then(|detail| detail.as_str()).unwrap_or("no reason was given");
        Err(Stop::failed(format!("not ready ({}): {detail}", answer.status)))
    }
}

//! `mandate demo`: the story of Maria's bakery, played against the real server through its own API.
//!
//! The server is the one that `serve` runs, on an empty store in a folder that is gone afterwards, with the policies
//! compiled in. The story speaks HTTP like any caller and expects every answer ([`teller`]): what the README says about
//! the product is what this prints. One thing no caller can do: let time pass. The service's clock begins some days in
//! the past and is moved on by the story, so that its deadlines are the real ones, nobody waits for them, and what is
//! served at the end is served now. Timers of a second lost: the texts would promise one second too.

mod chapters;
mod facts;
mod story;
mod teller;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::IsTerminal as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use tokio::sync::oneshot;

use self::{
    story::{Story, Time},
    teller::Teller,
};
use super::{
    client::Client,
    exit::{Exit, Stop},
    policies::PolicyFiles,
    service::Service,
};
use crate::{
    clock::{self, ShiftedClock},
    config::{Config, Database, Listen},
    http::server,
    telemetry,
};

/// Plays the story of Maria's bakery against a real server, then keeps serving.
///
/// The server runs on an empty store in a temporary folder and on free ports. Every answer is compared with the
/// expected one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate demo
  mandate demo --listen 127.0.0.1:8080
  mandate demo --exit        ends after the story; exit 2 if any answer is not the expected one")]
pub struct Demo {
    /// Where the API is served [default: a free port on 127.0.0.1]
    #[arg(long, value_name = "ADDR", env = "MANDATE_LISTEN")]
    listen: Option<Listen>,
    /// End after the story
    #[arg(long, env = "MANDATE_EXIT", value_parser = clap::builder::BoolishValueParser::new())]
    exit: bool,
}

impl Demo {
    /// Runs the command.
    ///
    /// # Errors
    /// The server cannot be started, or the story cannot go on.
    pub fn run(self) -> Result<Exit, Stop> {
        let listen = self.listen.unwrap_or(Listen::loopback(0));
        match &listen {
            Listen::Unix(_) => {
                return Err(Stop::usage("the demo calls its server over TCP: write --listen 127.0.0.1:0"));
            }
            Listen::Tcp(_) if !listen.is_local() => {
                return Err(Stop::usage(format!(
                    "`{listen}` can be reached from other machines, and the demo's server has no authentication: use \
                     a loopback address such as `127.0.0.1:8080`"
                )));
            }
            Listen::Tcp(_) => {}
        }
        telemetry::init("warn").map_err(Stop::failed)?;
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let mut stage = Stage::open(listen)?;
        let teller = Teller::new(Box::new(std::io::stdout()), colour, None);
        let verdict = stage.play(teller)?;
        if self.exit {
            stage.close()?;
        } else {
            stage.keep_serving()?;
        }
        Ok(if verdict { Exit::Done } else { Exit::Negative })
    }
}

/// A running server and what the story needs of it.
struct Stage {
    runtime: tokio::runtime::Runtime,
    served: tokio::task::JoinHandle<()>,
    end: oneshot::Sender<()>,
    base: String,
    admin: String,
    time: Time,
    /// Goes last: the store is closed by then.
    _folder: Folder,
}

impl Stage {
    fn open(listen: Listen) -> Result<Self, Stop> {
        let policies = PolicyFiles::compiled_in().load()?;
        let folder = Folder::make()?;
        let config = Config {
            listen,
            admin_listen: Listen::loopback(0),
            database_url: Database::Sqlite(folder.path.join("mandate.db")),
            ..Config::default()
        };
        let clock = Arc::new(ShiftedClock::set_back(facts::LENGTH));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Stop::failed(format!("cannot start threads: {error}")))?;
        let (end, ended) = oneshot::channel::<()>();
        let service = runtime.block_on(Service::open(config, policies, Arc::clone(&clock) as _))?;
        let base = format!("http://{}", service.control_address());
        let admin = format!("http://{}", service.admin_address());
        let time = Time::new(clock, Arc::clone(service.app()), runtime.handle().clone());
        let signal = runtime
            .block_on(async { server::stop_signal() })
            .map_err(|error| Stop::failed(format!("cannot take signals: {error}")))?;
        let served = runtime.spawn(service.run(async move {
            tokio::select! {
                () = signal => {}
                _ = ended => {}
            }
        }));
        Ok(Self { runtime, served, end, base, admin, time, _folder: folder })
    }

    /// Plays the story; whether every answer was the expected one.
    fn play(&mut self, teller: Teller) -> Result<bool, Stop> {
        let mut story = Story::new(Client::new(&self.base)?, teller, &self.time);
        story.play()?;
        story.finish(&self.base)
    }

    fn keep_serving(self) -> Result<(), Stop> {
        teller::invite(&mut std::io::stdout(), &self.base, &self.admin)?;
        let Self { runtime, served, end, .. } = self;
        let _ = runtime.block_on(served);
        drop(end);
        Ok(())
    }

    fn close(self) -> Result<(), Stop> {
        drop(self.end);
        self.runtime.block_on(self.served).map_err(|error| Stop::failed(format!("the server did not end: {error}")))
    }
}

/// A folder of ours alone, removed with everything in it.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn make() -> Result<Self, Stop> {
        let path: PathBuf = std::env::temp_dir().join(format!("mandate-demo-{}", clock::new_uuid()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Stop::failed(format!("cannot make the folder `{}`: {error}", Path::display(&path))))?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It lies in the system's own place for what nobody misses.
        let _ = fs::remove_dir_all(&self.path);
    }
}

//! `mandate canary`: is the promise kept here and now? It changes who may do what on a site of its own, and asks every
//! replica directly as soon as the change is said to be effective.
//!
//! It works over HTTP alone and on nothing but reserved names (`flip`), so that it may run beside the real thing for
//! ever. What cannot be asked is counted apart and never as fresh. A canary inside of the server lost: it would share
//! the process, and with it the mistake, of what it watches.

mod ask;
mod counts;
mod flip;

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde_json::json;

use self::{ask::Replicas, counts::Counts, flip::Site};
use super::{
    client::{Client, Reach},
    exit::{Exit, Stop},
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Listen,
    http::server,
};

/// Changes a synthetic site and asks every replica whether it knows: exit 0 all fresh, 2 something was stale, 1 could not tell.
///
/// Prints one line of JSON for each change. Without --once or --flips it goes on until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate canary --once
  mandate canary --server http://127.0.0.1:8080 --flips 100
  MANDATE_KEY=KEY mandate canary --server https://pdp.example.com --once
  mandate canary --every 30s --listen 127.0.0.1:9464      metrics for Prometheus at /metrics")]
pub struct Canary {
    /// A server that takes commands; it knows the other replicas
    #[arg(long, value_name = "URL", env = "MANDATE_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    #[command(flatten)]
    reach: Reach,
    /// One change, then end
    #[arg(long, conflicts_with = "flips")]
    once: bool,
    /// So many changes, then end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    flips: Option<u64>,
    /// Between two changes [default: 30s, with --flips none]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
    /// Where /metrics is served, on this machine
    #[arg(long, value_name = "ADDR")]
    listen: Option<Listen>,
}

impl Canary {
    /// Runs the command.
    ///
    /// # Errors
    /// Nobody answers, the reserved site is somebody's, or an address cannot be used.
    pub fn run(self) -> Result<Exit, Stop> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Stop::failed(format!("cannot start: {error}")))?;
        let stop = runtime.block_on(async { server::stop_signal() });
        let stop = stop.map_err(|error| Stop::failed(format!("cannot take signals: {error}")))?;
        let (stopped, rest) = (Arc::new(AtomicBool::new(false)), std::sync::mpsc::channel::<()>());
        let (wake, woken) = rest;
        let noted = Arc::clone(&stopped);
        runtime.spawn(async move {
            stop.await;
            noted.store(true, Ordering::Release);
            // Dropped, it ends the pause.
            drop(wake);
        });
        let counts = Arc::new(Counts::default());
        if let Some(listen) = &self.listen {
            runtime.block_on(counts::serve(listen, Arc::clone(&counts)))?;
        }
        let last = if self.once { Some(1) } else { self.flips };
        let pause = self.every.unwrap_or(if last.is_some() { Duration::ZERO } else { Duration::from_secs(30) });
        let mut round = Round::begin(&self.server, &self.reach, Arc::clone(&stopped), Arc::clone(&counts))?;
        let mut out = std::io::stdout().lock();
        for n in 1.. {
            writeln!(out, "{}", round.flip(n))?;
            if last.is_some_and(|last| n >= last) || stopped.load(Ordering::Acquire) {
                break;
            }
            let _ = woken.recv_timeout(pause);
            if stopped.load(Ordering::Acquire) {
                break;
            }
        }
        writeln!(out, "{}", json!({ "summary": counts.summary() }))?;
        runtime.shutdown_background();
        Ok(counts.exit())
    }
}

/// What one change after the other needs.
struct Round {
    site: Site,
    replicas: Replicas,
    counts: Arc<Counts>,
}

impl Round {
    fn begin(server: &str, reach: &Reach, stopped: Arc<AtomicBool>, counts: Arc<Counts>) -> Result<Self, Stop> {
        let mut replicas = Replicas::of(server, reach)?;
        let site = Site::prepare(Client::with(server, reach)?, stopped)?;
        // From here on everybody has something to be stale with.
        replicas.list()?;
        replicas.ask(site.question(), None, false);
        Ok(Self { site, replicas, counts })
    }

    /// One change, what everybody said after it, as a line.
    fn flip(&mut self, n: u64) -> serde_json::Value {
        let at = SystemClock.now();
        // Before, so that nothing is between the answer to the change and the questions.
        let listed = self.replicas.list();
        let done = listed.and_then(|()| self.site.flip());
        let done = match done {
            Ok(done) => done,
            Err(stop) => {
                self.counts.failed.add();
                return json!({"at": at, "flip": n, "failed": stop.message});
            }
        };
        let mut heard = self.replicas.ask(self.site.question(), Some(done.revision), done.gives);
        for one in &mut heard {
            one.judge(&self.site, &self.replicas, &done);
            self.counts.count(one.outcome);
        }
        self.counts.effective.add(done.took);
        self.counts.flips.add();
        let lines: Vec<_> = heard.iter().map(ask::Heard::told).collect();
        json!({"at": at, "flip": n, "allowed": done.gives, "revision": done.revision, "acks": done.acks,
            "effective_ms": u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX), "replicas": lines})
    }
}

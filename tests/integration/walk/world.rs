//! Where the walk takes place: the built program with the wall clock, or the same service in this process with a clock
//! that the walk moves, so that weeks pass in a moment and a late worker is as late as the walk wants.
//!
//! Both are called over a real socket; the walk sees nothing but HTTP.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mandate::{
    app::{App, Rules},
    assignment::SitePolicies,
    clock::{Clock, SettableClock, SystemClock},
    config::{Auth, Config, Listen},
    handover::{Quotas, Timers},
    http::{
        edge::{Edge, Hosts},
        listener::Listener,
        routes, server,
    },
    policy::Source,
    time::Timestamp,
};
use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    http::Client,
    server::{Installation, Server},
};

pub const DAY: i64 = 86_400_000_000;

/// A place to walk in.
pub enum World {
    /// The built program; time passes by itself.
    Program { installation: Installation, server: Server },
    /// The service in this process.
    Here(Box<Here>),
}

pub struct Here {
    folder: tempfile::TempDir,
    clock: Arc<SettableClock>,
    rules: Rules,
    runtime: Runtime,
    running: Option<Running>,
}

struct Running {
    app: Arc<App>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

impl World {
    /// The built program with every limit on offers out of the way.
    pub fn program(timers: &[(&str, &str)]) -> Self {
        let mut installation = Installation::new();
        for (name, value) in
            [("MANDATE_QUOTAS__PER_SENDER", "100000000"), ("MANDATE_QUOTAS__PER_RECIPIENT", "100000000")]
        {
            installation.set(name, value);
        }
        installation.set("MANDATE_LOG", "warn,mandate::cli=info");
        for (name, value) in timers {
            installation.set(name, *value);
        }
        let server = installation.start();
        Self::Program { installation, server }
    }
    /// In this process, with the default timers.
    pub fn here(start: &str) -> Self {
        Self::with_timers(start, Timers::default())
    }
    /// In this process, with these timers.
    pub fn with_timers(start: &str, timers: Timers) -> Self {
        let quotas = Quotas { per_sender: u64::MAX, per_recipient: u64::MAX, ..Quotas::default() };
        let rules = Rules { timers, quotas, ..Rules::default() };
        let mut here = Here {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(SettableClock::at(start.parse().unwrap())),
            rules,
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            running: None,
        };
        here.start();
        Self::Here(Box::new(here))
    }
    pub fn client(&self) -> Client {
        match self {
            Self::Program { server, .. } => server.client(),
            Self::Here(here) => Client::new(here.running.as_ref().unwrap().address),
        }
    }
    pub fn now(&self) -> i64 {
        match self {
            Self::Program { .. } => SystemClock.now().as_micros(),
            Self::Here(here) => here.clock.now().as_micros(),
        }
    }
    /// How close to a deadline nobody can say on which side of it an answer was given.
    pub fn blur(&self) -> i64 {
        match self {
            Self::Program { .. } => 1_500_000,
            Self::Here(_) => 0,
        }
    }
    /// Stops the server as a crash does, and starts it again on the same store.
    pub fn restart(&mut self) {
        match self {
            Self::Program { installation, server } => {
                server.kill();
                *server = installation.start();
            }
            Self::Here(here) => {
                here.stop();
                here.start();
            }
        }
    }
    /// Moves the clock where it can be moved; false elsewhere.
    pub fn set_clock(&self, at: i64) -> bool {
        let Self::Here(here) = self else { return false };
        here.clock.set(Timestamp::from_micros(at));
        true
    }
    /// Lets the worker commit what is due, by so many tasks at once.
    pub fn work(&self, workers: usize) {
        let Self::Here(here) = self else { return };
        let app = &here.running.as_ref().unwrap().app;
        here.runtime.block_on(async {
            let tasks: Vec<_> = (0..workers)
                .map(|_| {
                    let app = Arc::clone(app);
                    tokio::spawn(async move { app.commit_due().await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
        });
    }
    /// Checks the chain of the audit log.
    pub fn verify_audit(&mut self) {
        match self {
            Self::Program { installation, .. } => drop(installation.verify_audit()),
            Self::Here(here) => {
                let app = &here.running.as_ref().unwrap().app;
                here.runtime.block_on(mandate::store::verify_audit(app.store())).unwrap();
            }
        }
    }
}

impl Here {
    fn start(&mut self) {
        let path: PathBuf = self.folder.path().join("mandate.db");
        let clock: Arc<dyn Clock> = Arc::<SettableClock>::clone(&self.clock);
        let rules = self.rules.clone();
        let running = self.runtime.block_on(async {
            let app = App::open(&path, shipped(), rules, clock).await.unwrap();
            let listener = Listener::bind(&Listen::loopback(0)).await.unwrap();
            let address = listener.address().to_string().parse().unwrap();
            let config = Config::default();
            let router = routes::control(Arc::clone(&app), &config, &routes::Beside::default());
            let edge = Edge::new(router, Hosts::of(listener.address(), Auth::None));
            let (stop, stopped) = oneshot::channel::<()>();
            let served = tokio::spawn(async move {
                let _ = server::serve(listener, edge, &config.limits, async { drop(stopped.await) }).await;
            });
            Running { app, address, stop, served }
        });
        self.running = Some(running);
    }
    fn stop(&mut self) {
        let Some(Running { app, stop, served, .. }) = self.running.take() else { return };
        drop(stop);
        let _ = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), served).await });
        // The store's lock is let go with the last hold on it; a connection's task may still have one.
        let last = Arc::downgrade(&app);
        drop(app);
        crate::server::until("the service has let the store go", || (last.strong_count() == 0).then_some(()));
    }
}

/// The policies of the repository, as the program has them compiled in.
pub fn shipped() -> Arc<SitePolicies> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root).unwrap().to_string_lossy().into_owned(),
    };
    let mut files = Vec::new();
    for folder in ["roles", "seats", "handover", "guardrails"] {
        for entry in std::fs::read_dir(root.join("policies").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "cedar") {
                files.push(read(path));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let schema = read(root.join("schemas/sites.cedarschema"));
    SitePolicies::load(&schema, &files).map_err(|problems| problems.to_string()).unwrap()
}

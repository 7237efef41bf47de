//! The running service: store, policies, two listeners, timers, delivery of events; opened as one, ended as one.
//!
//! `serve` and `demo` start the same thing; they differ in settings and clock only. Everything that can fail at start
//! fails in [`Service::open`], before the first request is taken. At the end the control listener drains first and the
//! admin listener last, so that whoever watches sees the service until it is gone.

use std::{future::Future, sync::Arc};

use tokio::sync::oneshot;

use super::{
    domains,
    exit::Stop,
    telling::{self, Telling},
};
use crate::{
    app::{App, Replication, Rules},
    assignment::SitePolicies,
    clock::Clock,
    config::{Auth, Config, Database, Events, Listen},
    events::Delivery,
    http::{
        callers::Callers,
        edge::{Edge, Hosts},
        listener::Listener,
        routes::{self, Beside},
        server,
        signing::Signer,
        tls::Tls,
    },
};

/// A service that is ready to answer.
pub struct Service {
    app: Arc<App>,
    config: Config,
    control: Listener,
    admin: Listener,
    /// None where nothing is written.
    delivery: Option<Delivery>,
    tls: Option<Arc<Tls>>,
    beside: Beside,
}

impl Service {
    /// Opens the store and both listeners.
    ///
    /// # Errors
    /// The database is in use or cannot be used, or an address cannot be listened on.
    pub async fn open(config: Config, policies: Arc<SitePolicies>, clock: Arc<dyn Clock>) -> Result<Self, Stop> {
        let rules = Rules { timers: config.timers.clone(), quotas: config.quotas.clone(), four_eyes: config.four_eyes };
        let signer = config.metadata_key.as_deref().map(Signer::open).transpose().map_err(Stop::usage)?.map(Arc::new);
        if let Some(signer) = &signer {
            tracing::info!(public_key = %signer.public_key(), "metadata is signed");
        }
        let beside = Beside { domains: domains::load(&config)?, signer };
        let tls = config.tls().map(Tls::open).transpose().map_err(Stop::usage)?.map(Arc::new);
        let control = Listener::bind(&config.listen).await.map_err(Stop::failed)?.with_tls(tls.clone());
        let admin = Listener::bind(&config.admin_listen).await.map_err(Stop::failed)?;
        let app = match &config.database_url {
            Database::Sqlite(_) if config.redis_url.is_some() => {
                return Err(Stop::usage(
                    "`redis_url` is where replicas share copies, and the embedded database has one process, which needs none: \
                     take `redis_url` and its key out, or set `database_url` to a `postgres://` URL",
                ));
            }
            Database::Sqlite(path) => App::open_with_billing(path, policies, rules, clock, &config.billing).await?,
            Database::Postgres(url) => {
                let how = Replication {
                    role: config.role,
                    reads: config.reads,
                    require_replicated: config.require_replicated,
                    shared: config.shared_cache(),
                    billing: config.billing.clone(),
                    events: config.events != Events::default(),
                };
                App::open_replica(url, control.address().to_string(), policies, rules, how).await?
            }
        };
        app.view().bound(config.limits.cache);
        let delivery = if config.role.writes() {
            Some(telling::prepare(&app, &config.events).await.map_err(Stop::failed)?)
        } else {
            None
        };
        Ok(Self { app, config, control, admin, delivery, tls, beside })
    }

    /// The service itself, for what does not pass through its listeners.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }
    /// Where decisions and the control API are served.
    #[must_use]
    pub fn control_address(&self) -> &Listen {
        self.control.address()
    }
    /// Where health is served.
    #[must_use]
    pub fn admin_address(&self) -> &Listen {
        self.admin.address()
    }

    /// Serves until `stop` is ready, then lets running requests end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { app, config, control, admin, delivery, tls, beside } = self;
        let telling = delivery.map(|prepared| Telling::start(Arc::clone(&app), config.events.clone(), prepared));
        let writes = config.role.writes();
        let timed = Arc::clone(&app);
        let timers = tokio::spawn(async move {
            if writes {
                timed.run_timers().await;
            }
        });
        // Nobody is asked who they are here: a name that is somebody else's is not answered where a browser may be.
        let near = admin.address().is_local();
        let admin_hosts = if near { Hosts::of(admin.address(), Auth::None) } else { Hosts::Any };
        let admin_edge = Edge::new(routes::admin(Arc::clone(&app)), admin_hosts);
        let control_edge =
            Edge::new(routes::control(Arc::clone(&app), &config, &beside), Hosts::of(control.address(), config.auth))
                .for_callers(Callers::of(&config));
        let renewal = tls.map(|tls| tokio::spawn(async move { tls.watch().await }));
        let (end, ended) = oneshot::channel::<()>();
        let limits = config.limits.clone();
        let admin = tokio::spawn(async move {
            // Dropping the other half is the signal.
            server::serve(admin, admin_edge, &limits, async { drop(ended.await) }).await
        });
        let ending = Arc::clone(&app);
        let stop = async move {
            stop.await;
            // Streams have no end of their own, and would be waited for.
            ending.end_feeds();
        };
        server::serve(control, control_edge, &config.limits, stop).await;
        // Nothing is answered any more: writers need not wait for this replica.
        let leaving = Arc::clone(&app);
        drop(tokio::task::spawn_blocking(move || leaving.leave()).await);
        // A commit that has begun is not stopped by this: it runs on the store's own thread.
        timers.abort();
        if let Some(renewal) = renewal {
            renewal.abort();
        }
        if let Some(telling) = telling {
            telling.stop().await;
        }
        drop(end);
        drop(admin.await);
    }
}

//! The running service: store, policies, two listeners, timers, delivery of events; opened as one, ended as one.
//!
//! `serve` and `demo` start the same thing; they differ in settings and clock only. Everything that can fail at start
//! fails in [`Service::open`], before the first request is taken. At the end the control listener drains first and the
//! admin listener last, so that whoever watches sees the service until it is gone.

use std::{future::Future, sync::Arc};

use tokio::sync::oneshot;

use super::{
    exit::Stop,
    telling::{self, Telling},
};
use crate::{
    app::{App, Replication, Rules},
    assignment::SitePolicies,
    clock::Clock,
    config::{Config, Database, Events, Listen},
    events::Delivery,
    http::{
        edge::{Edge, Hosts},
        listener::Listener,
        routes, server,
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
}

impl Service {
    /// Opens the store and both listeners.
    ///
    /// # Errors
    /// The database is in use or cannot be used, or an address cannot be listened on.
    pub async fn open(config: Config, policies: Arc<SitePolicies>, clock: Arc<dyn Clock>) -> Result<Self, Stop> {
        let rules = Rules { timers: config.timers.clone(), quotas: config.quotas.clone(), four_eyes: config.four_eyes };
        let control = Listener::bind(&config.listen).await.map_err(Stop::failed)?;
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
        Ok(Self { app, config, control, admin, delivery })
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
        let Self { app, config, control, admin, delivery } = self;
        let telling = delivery.map(|prepared| Telling::start(Arc::clone(&app), config.events.clone(), prepared));
        let writes = config.role.writes();
        let timed = Arc::clone(&app);
        let timers = tokio::spawn(async move {
            if writes {
                timed.run_timers().await;
            }
        });
        let edge = |listener: &Listener, router| Edge::new(router, Hosts::of(listener.address(), config.auth));
        let admin_edge = edge(&admin, routes::admin(Arc::clone(&app)));
        let control_edge = edge(&control, routes::control(Arc::clone(&app), &config));
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
        if let Some(telling) = telling {
            telling.stop().await;
        }
        drop(end);
        drop(admin.await);
    }
}

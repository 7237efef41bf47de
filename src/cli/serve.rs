//! `mandate serve`: runs the service.

use std::sync::Arc;

use clap::Args;

use super::{
    exit::{Exit, Stop},
    policies::PolicyFiles,
    service::Service,
    settings::Settings,
};
use crate::{clock::SystemClock, config::Auth, http::server, telemetry};

/// Runs the service until SIGTERM or SIGINT.
///
/// No configuration is needed: SQLite under ./data, policies from ./policies and ./schemas or the copies compiled in,
/// listening on 127.0.0.1:8080. Later places win: defaults, file, environment, options.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate serve
  mandate serve --config mandate.toml
  mandate serve --listen unix:/run/mandate/api.sock --database-url sqlite:/var/lib/mandate/mandate.db
  MANDATE_TIMERS__OFFER_TTL=2d mandate serve --log warn")]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    /// Runs the command.
    ///
    /// # Errors
    /// The settings, the policies, the database or an address cannot be used.
    pub fn run(self) -> Result<Exit, Stop> {
        let config = self.settings.load()?;
        telemetry::init(&config.log).map_err(Stop::usage)?;
        let files = PolicyFiles::of(&config)?;
        let policies = files.load()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Stop::failed(format!("cannot start threads: {error}")))?;
        runtime.block_on(async move {
            let stop = server::stop_signal().map_err(|error| Stop::failed(format!("cannot take signals: {error}")))?;
            let database = config.database_url.clone();
            let auth = config.auth;
            let encrypted = config.tls().is_some() || config.listen.is_local();
            if config.billing.leaves_this_machine() {
                tracing::warn!("`billing.url` names another machine: the key for it travels there in plain text");
            }
            let service = Service::open(config, Arc::clone(&policies), Arc::new(SystemClock)).await?;
            let in_force = service.app().view().policies();
            let own = in_force.bundle().sha256() == policies.bundle().sha256();
            if auth == Auth::None {
                tracing::warn!(
                    "no authentication: whoever reaches the listener on this machine may ask about everybody and \
                     command as anybody"
                );
            }
            if matches!(auth, Auth::Basic | Auth::ApiKey) && !encrypted {
                tracing::warn!(
                    "keys without TLS: whoever sees the callers' traffic has their keys; set `tls_cert` and `tls_key`, or \
                     let a proxy on this machine speak TLS"
                );
            }
            // One line that says everything a starter waits for; each listener logs its own beside it.
            tracing::info!(
                control = %service.control_address(),
                admin = %service.admin_address(),
                %database,
                policies = if own { files.origin.as_str() } else { "the database" },
                fingerprint = %in_force.bundle().fingerprint(),
                "serving"
            );
            service.run(stop).await;
            tracing::info!("stopped");
            Ok(Exit::Done)
        })
    }
}

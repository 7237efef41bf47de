//! How is this process set up? One [`Config`], from four places: built-in defaults, then a TOML file, then the
//! environment (`MANDATE_…`, nested keys with a double underscore), then the command line; the later place wins.
//!
//! Every key is known or an error that names it, in the file and in the environment alike: a misspelt
//! `timers.offer_tll` must not leave an offer open for the default fortnight. Values are parsed here into types that
//! cannot hold nonsense ([`Listen`], [`Database`], [`Auth`]), and [`Config::load`] refuses what would be unsafe
//! together: a listener beyond this machine without authentication.
//!
//! Read once, at start, by `main`; nothing below reads a file or a variable of its own. A settings object that is
//! looked up by string keys lost: a setting that nobody reads any more would be accepted for ever.

pub mod address;
mod billing;
mod callers;
mod domains;
mod events;
mod listen;
mod public_url;
mod shared_cache;
mod values;

use std::{ffi::OsString, path::Path, path::PathBuf, time::Duration};

use config::{Environment, File, FileFormat};
use serde::Deserialize;

pub use billing::{Billing, Secret};
pub use callers::{ApiKey, ApiKeys, TlsFiles};
pub use domains::Domains;
pub use events::{Events, RedisUrl, SigningSecret, THE_STREAM, THE_WEBHOOK, Webhook, WebhookUrl};
pub use listen::Listen;
pub use public_url::PublicUrl;
pub use shared_cache::{CacheUrl, MacKeys, Place, SharedCacheSettings};
pub use values::{Auth, BatchMerge, Database, PostgresUrl, Reads, Role};

use crate::handover::{Quotas, Timers};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where decisions and the control API are served.
    pub listen: Listen,
    /// Where `/livez`, `/readyz` and `/metrics` are served; never a caller's data.
    pub admin_listen: Listen,
    /// The system of record.
    pub database_url: Database,
    /// What this process does.
    pub role: Role,
    /// On what a replica rests when it answers from memory.
    pub reads: Reads,
    /// Whether a change that is on one server only is refused its `200`.
    pub require_replicated: bool,
    /// The folder of policies. None: `./policies` where there is one, else the copy compiled in.
    pub policies: Option<PathBuf>,
    /// The folder of schemas. None: `./schemas` where there is one, else the copy compiled in.
    pub schemas: Option<PathBuf>,
    /// How callers prove who they are.
    pub auth: Auth,
    /// The keys that callers hold.
    pub api_key: Option<ApiKeys>,
    /// The file that holds them.
    pub api_key_file: Option<PathBuf>,
    /// The certificate of the control listener.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Who signs callers' certificates.
    pub tls_client_ca: Option<PathBuf>,
    /// How an item of a batch and what stands beside the items become one question.
    pub batch_default_merge: BatchMerge,
    /// What documents call this service; none: there are no such documents.
    pub public_url: Option<PublicUrl>,
    /// The key that signs those documents.
    pub metadata_key: Option<PathBuf>,
    /// What else is decided about than sites.
    pub domains: Option<Domains>,
    /// The durations of the handover machine.
    pub timers: Timers,
    /// How many offers and requests an account may make and get.
    pub quotas: Quotas,
    /// Whether a freeze needs the agreement of a second member of trust and safety, as custody always does.
    pub four_eyes: bool,
    /// What is logged, for example `info` or `warn,mandate=debug`.
    pub log: String,
    /// What one caller may take.
    pub limits: Limits,
    /// Who is asked before an account comes to pay.
    pub billing: Billing,
    /// Who is told what happened.
    pub events: Events,
    /// The Redis in which replicas share copies of sites.
    pub redis_url: Option<CacheUrl>,
    /// What every key there begins with.
    pub redis_namespace: String,
    /// What authenticates those copies; there is one once the settings are read.
    pub cache_mac_key: Option<MacKeys>,
    /// The file that holds it.
    pub cache_mac_key_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::loopback(8080),
            admin_listen: Listen::loopback(8081),
            database_url: Database::Sqlite("data/mandate.db".into()),
            role: Role::default(),
            reads: Reads::default(),
            require_replicated: false,
            policies: None,
            schemas: None,
            auth: Auth::None,
            api_key: None,
            api_key_file: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            batch_default_merge: BatchMerge::default(),
            public_url: None,
            metadata_key: None,
            domains: None,
            timers: Timers::default(),
            quotas: Quotas::default(),
            four_eyes: false,
            log: "info".to_owned(),
            limits: Limits::default(),
            billing: Billing::default(),
            events: Events::default(),
            redis_url: None,
            redis_namespace: "mandate".to_owned(),
            cache_mac_key: None,
            cache_mac_key_file: None,
        }
    }
}

/// What one caller may take. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest body: 64 KiB.
    pub body: usize,
    /// Largest body of a batch of questions: 256 KiB.
    pub batch_body: usize,
    /// Most questions in a batch: 50.
    pub batch_items: usize,
    /// Largest request line and header block together: 16 KiB.
    pub header_block: usize,
    /// Connections open at once on a listener; more wait in the system's queue: 10,000.
    pub connections: usize,
    /// From a request's first byte to the end of its header block: 5 s.
    #[serde(with = "values::duration")]
    pub header_timeout: Duration,
    /// From the first wait for a request's body to its end: 10 s.
    #[serde(with = "values::duration")]
    pub body_timeout: Duration,
    /// How long a connection stays open without a request, or while the caller does not take its answer: 60 s.
    #[serde(with = "values::duration")]
    pub idle: Duration,
    /// How long running requests may take to end after a signal to stop: 10 s.
    #[serde(with = "values::duration")]
    pub drain: Duration,
    /// Bytes that remembered sites take at most: 1 GiB, about three million sites.
    pub cache: usize,
    /// Items of a page, unless asked for fewer or more: 100.
    pub page: usize,
    /// Most items of a page: 1,000.
    pub page_max: usize,
    /// Streams of the change feed open at once: 1,000.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 * 1024,
            batch_body: 256 * 1024,
            batch_items: 50,
            header_block: 16 * 1024,
            connections: 10_000,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            drain: Duration::from_secs(10),
            cache: 1 << 30,
            page: 100,
            page_max: 1_000,
            streams: 1_000,
        }
    }
}

/// The least room for remembered sites: 1 MiB, or too many would push each other out.
const LEAST_CACHE: usize = 1 << 20;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key is unknown, or a value is not what its key takes.
    #[error("{place}: {source}")]
    Invalid {
        /// Which of the four places.
        place: String,
        /// Names the key.
        source: Box<config::ConfigError>,
    },
    /// An environment variable of ours is not text.
    #[error("the environment variable `{0}` is not valid UTF-8")]
    NotText(String),
    /// Settings that are well formed, but not together or not in this range.
    #[error("{0}")]
    Unusable(String),
}

/// Variables that begin with `MANDATE_` and are options of single commands, not settings.
const OPTIONS_OF_COMMANDS: [&str; 9] = [
    "MANDATE_CONFIG",
    "MANDATE_SERVER",
    "MANDATE_CA",
    "MANDATE_KEY",
    "MANDATE_CLIENT_CERT",
    "MANDATE_CLIENT_KEY",
    "MANDATE_DATA",
    "MANDATE_EXPLAIN",
    "MANDATE_EXIT",
];

impl Config {
    /// Reads the settings: `file` if there is one, then the process's environment, then `options`, the command
    /// line's pairs of key (nested with a dot) and value.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value that its key does not take, or an unsafe combination.
    pub fn load(file: Option<&Path>, options: &[(&str, String)]) -> Result<Self, ConfigError> {
        Self::from_places(file, std::env::vars_os(), options)
    }

    fn from_places(
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        options: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut places = config::Config::builder();
        let mut last = "the defaults".to_owned();
        // After each place the whole is checked, so that an error names the place that brought it in.
        let mut settled = Self::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            last = format!("configuration file `{}`", path.display());
            places = places.add_source(File::from_str(&text, FileFormat::Toml));
            settled = Self::settle(&places, &last)?;
        }
        let variables = ours(environment)?;
        if !variables.is_empty() {
            "environment (MANDATE_…)".clone_into(&mut last);
            let source = Environment::with_prefix("MANDATE").prefix_separator("_").separator("__");
            places = places.add_source(source.source(Some(variables)));
            settled = Self::settle(&places, &last)?;
        }
        for (key, value) in options {
            last = format!("option --{}", key.replace(['.', '_'], "-"));
            places = places
                .set_override(*key, value.as_str())
                .map_err(|source| ConfigError::Invalid { place: last.clone(), source: Box::new(source) })?;
            settled = Self::settle(&places, &last)?;
        }
        settled.check()?;
        settled.billing.settle()?;
        settled.events.settle().map_err(ConfigError::Unusable)?;
        settled.settle_shared_cache().map_err(ConfigError::Unusable)?;
        settled.settle_callers().map_err(ConfigError::Unusable)?;
        Ok(settled)
    }

    fn settle(places: &config::ConfigBuilder<config::builder::DefaultState>, last: &str) -> Result<Self, ConfigError> {
        places
            .build_cloned()
            .and_then(config::Config::try_deserialize)
            .map_err(|source| ConfigError::Invalid { place: last.to_owned(), source: Box::new(source) })
    }

    /// What no single value can tell.
    fn check(&self) -> Result<(), ConfigError> {
        for (key, listen) in [("listen", &self.listen), ("admin_listen", &self.admin_listen)] {
            if self.auth == Auth::None && !listen.is_local() {
                return Err(ConfigError::Unusable(format!(
                    "`{key}` = `{listen}` can be reached from other machines and `auth` is `none`: without \
                     authentication only loopback addresses such as `127.0.0.1:8080` and `unix:/path` are served"
                )));
            }
        }
        if self.metadata_key.is_some() && self.public_url.is_none() {
            return Err(ConfigError::Unusable(
                "`metadata_key` is set and there is no document that it could sign: set `public_url`".to_owned(),
            ));
        }
        if matches!(self.database_url, Database::Sqlite(_)) {
            let only_many = [
                ("role", self.role != Role::All),
                ("reads", self.reads != Reads::Lease),
                ("require_replicated", self.require_replicated),
            ];
            if let Some((key, _)) = only_many.into_iter().find(|(_, set)| *set) {
                return Err(ConfigError::Unusable(format!(
                    "`{key}` is for many replicas on one PostgreSQL, and the embedded database has one process that does \
                     everything: take it out, or set `database_url` to a `postgres://` URL"
                )));
            }
        }
        let limits = &self.limits;
        let at_least = |key: &str, value: usize, least: usize| {
            if value >= least {
                return Ok(());
            }
            Err(ConfigError::Unusable(format!("`limits.{key}` = {value} is too small: use at least {least}")))
        };
        at_least("body", limits.body, 1024)?;
        at_least("batch_body", limits.batch_body, 1024)?;
        at_least("batch_items", limits.batch_items, 1)?;
        at_least("header_block", limits.header_block, 1024)?;
        at_least("connections", limits.connections, 1)?;
        at_least("cache", limits.cache, LEAST_CACHE)?;
        at_least("page", limits.page, 1)?;
        at_least("page_max", limits.page_max, limits.page)?;
        at_least("streams", limits.streams, 1)?;
        let times =
            [("header_timeout", limits.header_timeout), ("body_timeout", limits.body_timeout), ("idle", limits.idle)];
        match times.into_iter().find(|(_, time)| time.is_zero()) {
            Some((key, _)) => Err(ConfigError::Unusable(format!("`limits.{key}` is zero: no request could be read"))),
            None => Ok(()),
        }
    }
}

/// The variables that are settings, as text.
fn ours(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<config::Map<String, String>, ConfigError> {
    let mut found = config::Map::new();
    for (name, value) in environment {
        // A name that is not text does not begin with our prefix in any way that somebody meant.
        let Ok(name) = name.into_string() else { continue };
        // The fault suite's own program is told of faults by one more variable.
        let of_faults = cfg!(feature = "faults") && name == "MANDATE_FAULT_FILE";
        if !name.starts_with("MANDATE_") || OPTIONS_OF_COMMANDS.contains(&name.as_str()) || of_faults {
            continue;
        }
        match value.into_string() {
            Ok(value) => found.insert(name, value),
            Err(_) => return Err(ConfigError::NotText(name)),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

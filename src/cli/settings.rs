//! Which settings can be given on the command line? All of them, from one list, but those that are secret (every user
//! of the machine can read a command line) and the list of webhooks.
//!
//! An option is only a way to write a key of [`Config`] down: it has no default and no type of its own here, so that
//! the file, the environment and the command line cannot come to mean different things. A clap field for each setting
//! lost: it would be a second `Config`, and the two would drift.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, error::Error};

use super::exit::Stop;
use crate::config::Config;

/// One setting as an option.
struct Setting {
    /// The key of the TOML file; nested keys with a dot.
    key: &'static str,
    /// The option's name.
    option: &'static str,
    /// What stands for the value in the help.
    value: &'static str,
    help: &'static str,
}

const fn setting(key: &'static str, option: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting { key, option, value, help }
}

const SETTINGS: &[Setting] = &[
    setting("listen", "listen", "ADDR", "Decisions and control API: IP:PORT or unix:/path [default: 127.0.0.1:8080]"),
    setting("admin_listen", "admin-listen", "ADDR", "/livez, /readyz and /metrics [default: 127.0.0.1:8081]"),
    setting("database_url", "database-url", "URL", "The system of record [default: sqlite:data/mandate.db]"),
    setting("role", "role", "ROLE", "all, pdp (decisions only) or control; on PostgreSQL [default: all]"),
    setting("reads", "reads", "HOW", "lease, or verify: each check asks the database [default: lease]"),
    setting(
        "require_replicated",
        "require-replicated",
        "BOOL",
        "No 200 for a change that no synchronous standby has [default: false]",
    ),
    setting("policies", "policies", "FOLDER", "Policy files [default: ./policies, else the copy compiled in]"),
    setting("schemas", "schemas", "FOLDER", "The schema [default: ./schemas, else the copy compiled in]"),
    setting("auth", "auth", "KIND", "How callers prove who they are: none, basic, api_key or mtls [default: none]"),
    // The keys themselves are no option.
    setting("api_key_file", "api-key-file", "FILE", "Holds callers' keys: NAME=KEY pairs, or one bare key"),
    setting(
        "tls_cert",
        "tls-cert",
        "FILE",
        "The certificate for decisions and control API, PEM; read again when it changes",
    ),
    setting("tls_key", "tls-key", "FILE", "Its key, PEM"),
    setting("tls_client_ca", "tls-client-ca", "FILE", "Who signs callers' certificates, PEM; for mtls"),
    setting(
        "batch_default_merge",
        "batch-default-merge",
        "HOW",
        "entity, or lenient: an item's entity gets what it lacks of its name [default: entity]",
    ),
    setting("public_url", "public-url", "URL", "What discovery calls this service, such as https://pdp.example.com"),
    setting(
        "metadata_key",
        "metadata-key",
        "FILE",
        "Signs what discovery tells: a P-256 or Ed25519 key, PKCS #8 in PEM",
    ),
    setting("domains", "domains", "LIST", "Further policy domains, NAME=FOLDER separated by commas, each under /NAME"),
    setting("log", "log", "FILTER", "What is logged, such as `warn,mandate=debug` [default: info]"),
    setting(
        "four_eyes",
        "four-eyes",
        "BOOL",
        "A freeze too needs a second member of trust and safety [default: false]",
    ),
    // The keys themselves are no option.
    setting("redis_url", "redis-url", "URL", "The Redis in which replicas share copies of sites; needs a key"),
    setting("redis_namespace", "redis-namespace", "NAME", "What every key there begins with [default: mandate]"),
    setting("cache_mac_key_file", "cache-mac-key-file", "FILE", "Holds the key that authenticates those copies"),
    setting("timers.offer_ttl", "timers-offer-ttl", "TIME", "How long an offer waits for an answer [default: 14d]"),
    setting("timers.settle", "timers-settle", "TIME", "How long a handover is undone at once [default: 7d]"),
    setting("timers.reclaim_notice", "timers-reclaim-notice", "TIME", "From a reclaim to the return [default: 5d]"),
    setting("timers.resign_notice", "timers-resign-notice", "TIME", "From a resignation to the return [default: 14d]"),
    setting("timers.plan_bridge", "timers-plan-bridge", "TIME", "How long a returned plan stays live [default: 14d]"),
    setting("timers.step_up", "timers-step-up", "TIME", "How long a sign-in counts as fresh [default: 10m]"),
    setting(
        "timers.first_reminder",
        "timers-first-reminder",
        "TIME",
        "After an offer, when it is reminded of first [default: 3d]",
    ),
    setting(
        "timers.second_reminder",
        "timers-second-reminder",
        "TIME",
        "After an offer, when it is reminded of again [default: 10d]",
    ),
    setting("timers.request_ttl", "timers-request-ttl", "TIME", "How long an agency's request waits [default: 14d]"),
    setting(
        "timers.site_code_ttl",
        "timers-site-code-ttl",
        "TIME",
        "How long a site's one-time code works [default: 7d]",
    ),
    setting(
        "timers.freeze_max",
        "timers-freeze-max",
        "TIME",
        "The longest freeze, and the longest dispute [default: 14d]",
    ),
    setting(
        "timers.past_due_grace",
        "timers-past-due-grace",
        "TIME",
        "From a missed payment to the free plan [default: 14d]",
    ),
    setting(
        "timers.lapse_notice",
        "timers-lapse-notice",
        "TIME",
        "From there to the return to the client [default: 14d]",
    ),
    setting(
        "timers.suspension_notice",
        "timers-suspension-notice",
        "TIME",
        "From an agency's suspension to the return [default: 14d]",
    ),
    setting("timers.trash_keep", "timers-trash-keep", "TIME", "How long a site stays in the trash [default: 30d]"),
    setting("timers.support_session", "timers-support-session", "TIME", "The longest support session [default: 60m]"),
    setting(
        "timers.confirmation",
        "timers-confirmation",
        "TIME",
        "How long a confirmation lives unless said [default: 1d]",
    ),
    setting(
        "timers.confirmation_max",
        "timers-confirmation-max",
        "TIME",
        "The longest life of a confirmation [default: 7d]",
    ),
    setting("quotas.window", "quotas-window", "TIME", "Within how long offers are counted [default: 1d]"),
    setting("quotas.per_sender", "quotas-per-sender", "N", "Most offers and requests of one account [default: 100]"),
    setting(
        "quotas.per_recipient",
        "quotas-per-recipient",
        "N",
        "Most offers and requests to one account [default: 200]",
    ),
    setting("limits.body", "limits-body", "BYTES", "Largest body [default: 65536]"),
    setting("limits.batch_body", "limits-batch-body", "BYTES", "Largest body of a batch [default: 262144]"),
    setting("limits.batch_items", "limits-batch-items", "N", "Most questions in a batch [default: 50]"),
    setting("limits.header_block", "limits-header-block", "BYTES", "Largest request head [default: 16384]"),
    setting("limits.connections", "limits-connections", "N", "Connections open at once [default: 10000]"),
    setting("limits.header_timeout", "limits-header-timeout", "TIME", "For a request's head [default: 5s]"),
    setting("limits.body_timeout", "limits-body-timeout", "TIME", "For a request's body [default: 10s]"),
    setting("limits.idle", "limits-idle", "TIME", "How long an idle connection stays open [default: 60s]"),
    setting("limits.drain", "limits-drain", "TIME", "For running requests after a signal to stop [default: 10s]"),
    setting("limits.cache", "limits-cache", "BYTES", "Memory for remembered sites [default: 1073741824]"),
    setting("limits.page", "limits-page", "N", "Items of a page [default: 100]"),
    setting("limits.page_max", "limits-page-max", "N", "Most items of a page [default: 1000]"),
    setting("limits.streams", "limits-streams", "N", "Streams of the change feed open at once [default: 1000]"),
    setting("billing.url", "billing-url", "URL", "Who is asked before an account comes to pay [default: nobody]"),
    // The key itself is no option: a command line is read by everybody on the machine.
    setting("billing.key_file", "billing-key-file", "FILE", "A file with the key for it, not on the command line"),
    setting("billing.timeout", "billing-timeout", "TIME", "For one call to it [default: 3s]"),
    setting("billing.reserve_bound", "billing-reserve-bound", "TIME", "From reservation to commit [default: 10s]"),
    setting("billing.retry_max", "billing-retry-max", "TIME", "Longest pause between two tries [default: 1m]"),
    setting("events.webhook_url", "events-webhook-url", "URL", "Who is told what happened, over HTTP"),
    setting("events.webhook_secret_file", "events-webhook-secret-file", "FILE", "Holds the secret that signs it"),
    setting(
        "events.allow_private",
        "events-allow-private",
        "BOOL",
        "Whether a subscriber may be nearby [default: false]",
    ),
    setting("events.timeout", "events-timeout", "TIME", "For one attempt to tell somebody [default: 10s]"),
    setting("events.max_attempts", "events-max-attempts", "N", "Until an event is a dead letter [default: 100]"),
    setting("events.backoff_min", "events-backoff-min", "TIME", "Before the second attempt [default: 1s]"),
    setting("events.backoff_max", "events-backoff-max", "TIME", "Between two attempts at most [default: 10m]"),
    setting("events.redis_url", "events-redis-url", "URL", "The Redis with the stream of events"),
    setting("events.redis_stream", "events-redis-stream", "KEY", "The stream [default: mandate:events]"),
    setting("events.redis_maxlen", "events-redis-maxlen", "N", "About how many entries it keeps; all when absent"),
];

/// The options of `mandate serve`: every setting.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    config: Option<PathBuf>,
    given: Vec<(&'static str, String)>,
}

impl Settings {
    /// The settings from all four places.
    ///
    /// # Errors
    /// A setting that is unknown, unreadable or unsafe.
    pub fn load(&self) -> Result<Config, Stop> {
        Ok(Config::load(self.config.as_deref(), &self.given)?)
    }
}

fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("MANDATE_CONFIG")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Settings as TOML; an unknown key is an error")
}

/// Adds the options of the settings whose key is `wanted`.
fn augment(command: Command, wanted: impl Fn(&str) -> bool) -> Command {
    SETTINGS.iter().filter(|setting| wanted(setting.key)).fold(command.arg(config_arg()), |command, setting| {
        let variable = setting.key.to_uppercase().replace('.', "__");
        let heading = match setting.key.split_once('.') {
            Some(("timers", _)) => "Timers",
            Some(("quotas", _)) => "Quotas",
            Some(("billing", _)) => "Billing",
            Some(("events", _)) => "Events",
            Some(_) => "Limits",
            None => "Settings",
        };
        command.arg(
            Arg::new(setting.key)
                .long(setting.option)
                .value_name(setting.value)
                .help(format!("{} [env: MANDATE_{variable}]", setting.help))
                .help_heading(heading),
        )
    })
}

fn read(matches: &ArgMatches) -> Settings {
    let value = |key: &str| matches.try_get_one::<String>(key).ok().flatten().cloned();
    Settings {
        config: matches.get_one::<PathBuf>("config").cloned(),
        given: SETTINGS.iter().filter_map(|setting| Some((setting.key, value(setting.key)?))).collect(),
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(read(matches))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = read(matches);
        Ok(())
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        augment(command, |_| true)
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The settings that commands beside the server need: where the data and the policies are.
#[derive(Debug, Clone, Default)]
pub struct Places(Settings);

impl Places {
    /// The settings from all four places.
    ///
    /// # Errors
    /// A setting that is unknown, unreadable or unsafe.
    pub fn load(&self) -> Result<Config, Stop> {
        self.0.load()
    }
}

impl FromArgMatches for Places {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(read(matches)))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = read(matches);
        Ok(())
    }
}

impl Args for Places {
    fn augment_args(command: Command) -> Command {
        augment(command, |key| matches!(key, "database_url" | "policies" | "schemas"))
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_its_key() {
        for setting in SETTINGS {
            assert_eq!(setting.option, setting.key.replace(['.', '_'], "-"));
        }
    }

    /// The list of known keys that an unknown one is answered with is the truth about `Config`.
    #[test]
    fn every_setting_is_an_option() {
        const SECTIONS: [&str; 5] = ["timers", "quotas", "limits", "billing", "events"];
        const NOT_OPTIONS: [&str; 5] =
            ["billing.key", "events.webhook_secret", "events.webhooks", "cache_mac_key", "api_key"];
        for section in ["", "timers.", "quotas.", "limits.", "billing.", "events."] {
            let unknown = format!("{section}nonsense");
            let error = Config::load(None, &[(unknown.as_str(), "1".to_owned())]).unwrap_err().to_string();
            let known: Vec<String> = error
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|word| !word.contains("nonsense") && !SECTIONS.contains(word))
                .map(|word| format!("{section}{word}"))
                .filter(|key| !NOT_OPTIONS.contains(&key.as_str()))
                .collect();
            assert!(known.len() > 2, "{error}");
            for key in known {
                assert!(SETTINGS.iter().any(|setting| setting.key == key), "`{key}` is not an option");
            }
        }
    }

    #[test]
    fn the_help_tells_the_default() {
        const ABSENT: [&str; 17] = [
            "metadata_key",
            "domains",
            "api_key_file",
            "tls_cert",
            "tls_key",
            "tls_client_ca",
            "policies",
            "schemas",
            "public_url",
            "redis_url",
            "cache_mac_key_file",
            "billing.url",
            "billing.key_file",
            "events.webhook_url",
            "events.webhook_secret_file",
            "events.redis_url",
            "events.redis_maxlen",
        ];
        let defaults = Config::default();
        for setting in SETTINGS.iter().filter(|setting| !ABSENT.contains(&setting.key)) {
            let default = setting.help.rsplit_once("[default: ").unwrap().1.trim_end_matches(']');
            let config = Config::load(None, &[(setting.key, default.to_owned())]).unwrap();
            assert_eq!(config, defaults, "{}", setting.key);
        }
    }
}

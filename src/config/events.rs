//! Who is told what happened? Webhooks and a Redis stream, with how patiently they are tried.
//!
//! One webhook can be set by `webhook_url` and its secret (so that the environment is enough), several by `webhooks`;
//! after [`Events::settle`] there is one list, and every secret has been read. What is secret has no `Debug` of its
//! content, and no error repeats a URL: both may hold a password.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::Uri;
use serde::Deserialize;

use super::values;

/// The section `events`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Where the one webhook is; its name is `webhook`.
    pub webhook_url: Option<WebhookUrl>,
    /// Its secret.
    pub webhook_secret: Option<SigningSecret>,
    /// The file that holds its secret.
    pub webhook_secret_file: Option<PathBuf>,
    /// Several webhooks, each with a name.
    pub webhooks: Vec<Webhook>,
    /// Whether subscribers may have addresses that only machines nearby can reach.
    pub allow_private: bool,
    /// For one attempt, from the name's resolution to the status: 10 s.
    #[serde(with = "values::duration")]
    pub timeout: Duration,
    /// Attempts until an event is a dead letter: 100.
    pub max_attempts: u32,
    /// Before the second attempt: 1 s.
    #[serde(with = "values::duration")]
    pub backoff_min: Duration,
    /// Between two attempts at most: 10 min.
    #[serde(with = "values::duration")]
    pub backoff_max: Duration,
    /// The Redis that holds the stream.
    pub redis_url: Option<RedisUrl>,
    /// The stream's key.
    pub redis_stream: String,
    /// About how many entries the stream keeps; all when absent.
    pub redis_maxlen: Option<u64>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            webhook_url: None,
            webhook_secret: None,
            webhook_secret_file: None,
            webhooks: Vec::new(),
            allow_private: false,
            timeout: Duration::from_secs(10),
            max_attempts: 100,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_mins(10),
            redis_url: None,
            redis_stream: "mandate:events".to_owned(),
            redis_maxlen: None,
        }
    }
}

/// One webhook.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// What it is called in logs and in the API; its place in the log is kept under this name.
    pub name: String,
    /// Where it is.
    pub url: WebhookUrl,
    /// What its deliveries are signed with; there is one once the settings are read.
    #[serde(default)]
    pub secret: Option<SigningSecret>,
    /// The file that holds it.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
}

/// The name of the webhook that `webhook_url` sets.
pub const THE_WEBHOOK: &str = "webhook";
/// The name of the Redis stream among the sinks.
pub const THE_STREAM: &str = "redis";

/// Sentences about a secret that cannot be used end with this.
const MAKE_ONE: &str = "write `whsec_` and the base64 form of 24 to 64 random bytes, such as `echo whsec_$(openssl rand -base64 32)` makes";

impl Events {
    /// Reads the secrets and gathers the webhooks into one list.
    ///
    /// # Errors
    /// A sentence that names the key and says what to do.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        match (self.webhook_url.take(), self.webhook_secret.take(), self.webhook_secret_file.take()) {
            (Some(url), secret, secret_file) => {
                self.webhooks.insert(0, Webhook { name: THE_WEBHOOK.to_owned(), url, secret, secret_file });
            }
            (None, None, None) => {}
            (None, _, _) => {
                return Err(
                    "`events.webhook_secret` is set and `events.webhook_url` is not: set where to deliver, or \
                            remove the secret"
                        .to_owned(),
                );
            }
        }
        let mut names = std::collections::BTreeSet::from([THE_STREAM.to_owned()]);
        for webhook in &mut self.webhooks {
            check_name(&webhook.name)?;
            if !names.insert(webhook.name.clone()) {
                return Err(format!("the webhook name `{}` is taken: give each webhook its own", webhook.name));
            }
            webhook.settle()?;
            if let (Some(ip), false) = (webhook.url.literal(), self.allow_private)
                && let Some(why) = super::address::refused(ip)
            {
                return Err(format!(
                    "webhook `{}`: its address is {why}, and events are delivered to public addresses only; set \
                     `events.allow_private = true` if this is meant",
                    webhook.name
                ));
            }
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        if self.timeout.is_zero() || self.timeout > Duration::from_mins(5) {
            return Err(
                "`events.timeout` is not between 1ms and 5m: no delivery could succeed, or one that hangs would \
                        hold its site up"
                    .to_owned(),
            );
        }
        if self.max_attempts == 0 {
            return Err("`events.max_attempts` is zero: nothing would be delivered; use at least 1".to_owned());
        }
        if self.backoff_min.is_zero() || self.backoff_min > self.backoff_max {
            return Err(
                "`events.backoff_min` is zero or above `events.backoff_max`: use for example `1s` and `10m`".to_owned()
            );
        }
        if self.backoff_max > Duration::from_hours(24) {
            return Err("`events.backoff_max` is above a day: an event would seem lost; use at most `24h`".to_owned());
        }
        if self.redis_stream.is_empty() || self.redis_stream.len() > 256 {
            return Err("`events.redis_stream` is the key of a stream: 1 to 256 characters".to_owned());
        }
        if self.redis_maxlen == Some(0) {
            return Err(
                "`events.redis_maxlen` is zero: the stream would hold nothing; leave it out to keep all".to_owned()
            );
        }
        Ok(())
    }

    /// Whether anybody is told.
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        !self.webhooks.is_empty() || self.redis_url.is_some()
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(fits) {
        return Ok(());
    }
    Err("a webhook's name is 1 to 64 of the characters a-z 0-9 -; choose one such as `platform`".to_owned())
}

impl Webhook {
    fn settle(&mut self) -> Result<(), String> {
        let name = &self.name;
        match (&self.secret, self.secret_file.take()) {
            (Some(_), None) => {}
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("webhook `{name}`: the secret's file `{}`: {error}", path.display()))?;
                self.secret =
                    Some(SigningSecret::try_from(text.trim().to_owned()).map_err(|error| {
                        format!("webhook `{name}`: the secret's file `{}`: {error}", path.display())
                    })?);
            }
            (Some(_), Some(_)) => {
                return Err(format!("webhook `{name}` has a secret and a secret's file: keep one of them"));
            }
            (None, None) => {
                return Err(format!(
                    "webhook `{name}` has no secret, and whoever is told must be able to tell that it is us: set its \
                     secret or its secret's file; {MAKE_ONE}"
                ));
            }
        }
        Ok(())
    }
}

/// What deliveries are signed with.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// The key of the signature.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for SigningSecret {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let Some(encoded) = text.strip_prefix("whsec_") else {
            return Err(format!("the webhook's secret does not begin with `whsec_`: {MAKE_ONE}"));
        };
        match STANDARD.decode(encoded) {
            Ok(key) if (24..=64).contains(&key.len()) => Ok(Self(key)),
            Ok(key) => Err(format!("the webhook's secret has {} bytes: {MAKE_ONE}", key.len())),
            Err(_) => Err(format!("the webhook's secret is not base64 behind `whsec_`: {MAKE_ONE}")),
        }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// Where a webhook is.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebhookUrl {
    uri: Uri,
    host: String,
    tls: bool,
}

impl WebhookUrl {
    /// The whole of it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
    /// The host, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port, 80 or 443 where none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }
    /// Whether it is `https`.
    #[must_use]
    pub const fn tls(&self) -> bool {
        self.tls
    }
    /// The address, where the host is one.
    fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // It may hold a token: it is not repeated.
        let refused = |what: &str| format!("the webhook's URL {what}: write `https://host/path`, or `http://…`");
        let uri: Uri = text.parse().map_err(|_| refused("cannot be read"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(refused("is neither https nor http")),
            None => return Err(refused("has no scheme")),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| refused("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("has a user name in it, which would be sent nowhere"));
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        Ok(Self { uri, host, tls })
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}, …)", self.host)
    }
}

/// Which Redis. It may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RedisUrl(String);

impl RedisUrl {
    /// The whole of it, password included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RedisUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let known = ["redis://", "rediss://"].iter().any(|scheme| text.starts_with(scheme));
        // `#insecure` would turn the check of the certificate off.
        if known && !text.contains('#') && redis::Client::open(text.as_str()).is_ok() {
            return Ok(Self(text));
        }
        Err("this is not the URL of a Redis: write `redis://host:6379`, `rediss://…` with TLS, and a password as \
             `redis://:password@host`"
            .to_owned())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

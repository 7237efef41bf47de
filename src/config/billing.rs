//! Is somebody asked before an account comes to pay? The billing endpoint, its key, and how long it may take.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{ConfigError, values};

/// The billing service. Without a URL nobody is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    /// Where it is, for example `http://127.0.0.1:9000/mandate`.
    pub url: Option<String>,
    /// What proves to it who we are.
    pub key: Secret,
    /// A file with the key, instead of the key.
    pub key_file: Option<PathBuf>,
    /// How long one call may take: 3 s.
    #[serde(with = "values::duration")]
    pub timeout: Duration,
    /// How long a reservation may take from its first call to its commit: 10 s. Three quarters of it are for calls.
    #[serde(with = "values::duration")]
    pub reserve_bound: Duration,
    /// Longest pause between two tries to tell billing what was committed or given up: 1 min.
    #[serde(with = "values::duration")]
    pub retry_max: Duration,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            url: None,
            key: Secret::default(),
            key_file: None,
            timeout: Duration::from_secs(3),
            reserve_bound: Duration::from_secs(10),
            retry_max: Duration::from_mins(1),
        }
    }
}

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text, for whoever it is meant for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

impl Billing {
    /// Refuses what does not go together, and reads the key's file.
    pub(super) fn settle(&mut self) -> Result<(), ConfigError> {
        let unusable = |what: &str| Err(ConfigError::Unusable(format!("`billing.{what}")));
        let Some(url) = &self.url else {
            if !self.key.0.is_empty() || self.key_file.is_some() {
                return unusable("key` or `billing.key_file` is set, but not `billing.url`: nobody would be asked");
            }
            return Ok(());
        };
        if url.starts_with("https://") {
            return unusable(
                "url` begins with `https://`, which this build does not speak: name a proxy on this machine by \
                 `http://`, and let it speak TLS to the billing service",
            );
        }
        // A name and a password would be shown wherever the address is.
        let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        if host.is_none_or(|host| host.is_empty() || host.contains('@')) || url.contains(['?', '#', ' ']) {
            return unusable("url` is not an address such as `http://127.0.0.1:9000`, without a user, `?` or `#`");
        }
        if !self.key.0.is_empty() && self.key_file.is_some() {
            return unusable("key` and `billing.key_file` are both set: use one of them");
        }
        if let Some(path) = &self.key_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                ConfigError::Unusable(format!("`billing.key_file` = `{}` cannot be read: {error}", path.display()))
            })?;
            self.key = Secret(text.trim().to_owned());
        }
        if self.key.0.is_empty() {
            return unusable("url` is set without a key: set `billing.key_file` or `billing.key`");
        }
        if !self.key.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return unusable("key` must be printable ASCII without spaces");
        }
        if self.timeout.is_zero() || self.retry_max.is_zero() {
            return unusable("timeout` and `billing.retry_max` must be longer than zero");
        }
        if self.timeout > self.reserve_bound.mul_f32(0.75) {
            return unusable("reserve_bound` leaves no room for one call: make it twice `billing.timeout` or more");
        }
        Ok(())
    }

    /// Whether the key travels in plain text to another machine.
    #[must_use]
    pub fn leaves_this_machine(&self) -> bool {
        let host = self.url.as_deref().and_then(|url| url.strip_prefix("http://")).unwrap_or("localhost");
        let host = host.split('/').next().unwrap_or_default();
        let local = ["localhost", "127.", "[::1]"];
        !local.iter().any(|start| host.starts_with(start))
    }
}

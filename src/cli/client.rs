//! A caller of the HTTP API, for `check`, `canary`, `health` and `demo`: the client library's way to a server
//! ([`Transport`]), with every call of ours on it and no opinion about statuses.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use serde_json::Value;
use ureq::http::Method;

use super::exit::Stop;
use crate::client::{
    Error,
    transport::{Credentials, Reply, Route, Transport},
};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How the server of `--server` is reached, and how it knows us.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "With --server")]
pub struct Reach {
    /// Trust the authorities of this PEM file instead of the system's
    #[arg(long, value_name = "FILE", env = "MANDATE_CA")]
    ca: Option<PathBuf>,
    /// Prove who asks: KEY is sent as Bearer, NAME:KEY as Basic. The variable keeps it out of the list of processes
    #[arg(long, value_name = "KEY", env = "MANDATE_KEY", hide_env_values = true)]
    key: Option<Key>,
    /// Show this certificate (PEM)
    #[arg(long, value_name = "FILE", env = "MANDATE_CLIENT_CERT", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "MANDATE_CLIENT_KEY", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

/// A key as it is written on the command line.
#[derive(Clone)]
struct Key(Credentials);

impl FromStr for Key {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text.is_empty() => Err("it is empty".to_owned()),
            None => Ok(Self(Credentials::Bearer(text.to_owned()))),
            Some(("", _) | (_, "")) => Err("write KEY or NAME:KEY".to_owned()),
            Some((name, key)) => Ok(Self(Credentials::Basic { name: name.to_owned(), key: key.to_owned() })),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One server.
pub struct Client {
    transport: Transport,
}

/// What it answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; null when there was none or it was not JSON.
    pub body: Value,
    /// The revision that it is true at, where that was said.
    pub revision: Option<u64>,
}

impl Client {
    /// A client without credentials of the server at `base`, for example `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(base: &str) -> Result<Self, Stop> {
        Self::reaching(base, &Reach::default(), TIMEOUT, None)
    }

    /// A client with what the command line says of the server.
    ///
    /// # Errors
    /// The address is none, or a file cannot be used.
    pub fn with(base: &str, reach: &Reach) -> Result<Self, Stop> {
        Self::reaching(base, reach, TIMEOUT, None)
    }

    /// The same, for calls that may take so long, which are sent to `at`, wherever the name of `base` leads.
    ///
    /// # Errors
    /// The address is none, or a file cannot be used.
    pub fn reaching(base: &str, reach: &Reach, timeout: Duration, at: Option<SocketAddr>) -> Result<Self, Stop> {
        let route = Route {
            credentials: reach.key.as_ref().map_or(Credentials::None, |key| key.0.clone()),
            ca: reach.ca.as_deref(),
            certificate: reach.client_cert.as_deref().zip(reach.client_key.as_deref()),
            timeout,
            at,
        };
        let transport = Transport::open(base, &route)?;
        // Said and not refused: something else may encrypt the way, and whoever types this is there to know.
        if transport.shows_key() && at.is_none() {
            eprintln!("mandate: the key travels to `{base}` in plain text: use an address with `https://`");
        }
        Ok(Self { transport })
    }

    /// Asks.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn get(&self, path: &str) -> Result<Answer, Stop> {
        self.call(Method::GET, path, &[], None)
    }

    /// Registers.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn put(&self, path: &str, body: &Value) -> Result<Answer, Stop> {
        self.call(Method::PUT, path, &[], Some(body))
    }

    /// Asks or commands; a command carries its idempotency key.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Result<Answer, Stop> {
        let quoted = key.map(|key| format!("\"{key}\""));
        let headers: Vec<_> = quoted.iter().map(|key| ("idempotency-key", key.as_str())).collect();
        self.call(Method::POST, path, &headers, Some(body))
    }

    fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Result<Answer, Stop> {
        Ok(self.transport.call(method, &self.transport.url(path), headers, body)?.into())
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let revision = reply.header("revision").and_then(|text| text.parse().ok());
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        Self { status: reply.status, body, revision }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Setup(_) => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_name_is_basic() {
        let read = |text: &str| text.parse::<Key>().map(|key| key.0);
        assert_eq!(read("correct-horse"), Ok(Credentials::Bearer("correct-horse".into())));
        let basic = Credentials::Basic { name: "shop".into(), key: "correct:horse".into() };
        assert_eq!(read("shop:correct:horse"), Ok(basic));
        for wrong in ["", ":x", "x:"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", "shop:correct-horse".parse::<Key>()).contains("horse"));
    }
}

//! A caller of the HTTP API, for `check`, `canary`, `health` and `demo`: blocking, small, plain HTTP on this machine or nearby.

use std::time::Duration;

use serde_json::Value;

use super::exit::Stop;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One server.
pub struct Client {
    base: String,
    agent: ureq::Agent,
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
    /// A client of the server at `base`, for example `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// The address is not one of plain HTTP.
    pub fn new(base: &str) -> Result<Self, Stop> {
        Self::within(base, TIMEOUT)
    }

    /// The same, for calls that may take so long.
    ///
    /// # Errors
    /// The address is not one of plain HTTP.
    pub fn within(base: &str, timeout: Duration) -> Result<Self, Stop> {
        let base = base.trim_end_matches('/');
        let host = base.strip_prefix("http://").filter(|host| !host.is_empty());
        if host.is_none() {
            return Err(Stop::usage(format!(
                "`{base}` is not the address of a server: write it as `http://127.0.0.1:8080`"
            )));
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // A proxy of the environment is for the internet, not for the service beside us.
            .proxy(None)
            .build();
        Ok(Self { base: base.to_owned(), agent: config.into() })
    }

    /// Asks.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn get(&self, path: &str) -> Result<Answer, Stop> {
        self.answer(self.agent.get(self.url(path)).call())
    }

    /// Registers.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn put(&self, path: &str, body: &Value) -> Result<Answer, Stop> {
        self.answer(self.agent.put(self.url(path)).send_json(body))
    }

    /// Asks or commands; a command carries its idempotency key.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Result<Answer, Stop> {
        let mut request = self.agent.post(self.url(path));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", format!("\"{key}\""));
        }
        self.answer(request.send_json(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn answer(&self, answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Stop> {
        let mut response =
            answered.map_err(|error| Stop::failed(format!("no answer from `{}`: {error}", self.base)))?;
        let status = response.status().as_u16();
        let revision = response.headers().get("revision").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.body_mut().read_json().unwrap_or(Value::Null);
        Ok(Answer { status, body, revision })
    }
}

//! One call to the billing service, and what its answer means.

use std::{io::Read as _, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    config::Billing,
    ids::{Account, SiteId},
    revision::Revision,
    site::Plan,
    store::Saga,
    time::Timestamp,
};

/// Calls open at once. They wait on threads that reads of the store need too.
const CALLS: usize = 16;
/// Longest answer that is looked at, in bytes.
const MAX_ANSWER: u64 = 16 * 1024;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// May this account come to pay?
    Reserve,
    /// It does, from `effective_at` on.
    Confirm,
    /// It does not: nothing was committed.
    Release,
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Confirm => "confirm",
            Self::Release => "release",
        }
    }
}

/// Why there was no yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum No {
    /// Billing says no, with its own code when it gives one that is a plain word.
    Refused(Option<String>),
    /// Nobody knows: for example `timeout`, `unreachable`, `http_503`. Trying again may tell.
    Unclear(String),
    /// The call itself is wrong, for example `http_401`. Trying again at once will not help.
    Wrong(String),
}

/// What is told. Members that a call does not carry are left out.
#[derive(Debug, Default, Serialize)]
struct Told<'a> {
    id: &'a str,
    attempt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a SiteId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Revision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<Payer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Plan>,
}

/// Null when nobody pays any more.
#[derive(Debug, Serialize)]
struct Payer<'a>(Option<&'a Account>);

impl<'a> Told<'a> {
    fn by(call: Call, saga: &'a Saga) -> Self {
        let whose = Self { id: &saga.id, attempt: saga.attempt, ..Self::default() };
        let from = saga.from.as_ref();
        match call {
            Call::Reserve => Self {
                site: Some(&saga.site),
                kind: Some(&saga.kind),
                payer: Some(Payer(saga.payer.as_ref())),
                from,
                plan: Some(&saga.plan),
                ..whose
            },
            Call::Confirm => Self {
                site: Some(&saga.site),
                kind: Some(&saga.kind),
                revision: saga.revision,
                effective_at: saga.effective_at,
                payer: Some(Payer(saga.payer.as_ref())),
                from,
                ..whose
            },
            Call::Release => whose,
        }
    }
}

/// The billing service, as a caller sees it.
pub struct Calls {
    base: String,
    bearer: String,
    agent: ureq::Agent,
    timeout: Duration,
    permits: Arc<Semaphore>,
}

impl Calls {
    /// Calls to the service that these settings name; none without a URL.
    #[must_use]
    pub fn new(settings: &Billing, url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections(CALLS)
            .max_idle_connections_per_host(CALLS)
            .build();
        Self {
            base: url.trim_end_matches('/').to_owned(),
            bearer: format!("Bearer {}", settings.key.reveal()),
            agent: config.into(),
            timeout: settings.timeout,
            permits: Arc::new(Semaphore::new(CALLS)),
        }
    }

    /// Makes one call, on a thread that may wait.
    ///
    /// # Errors
    /// Billing said no, or nobody knows what it said.
    pub async fn make(&self, call: Call, saga: &Saga) -> Result<(), No> {
        let body = serde_json::to_value(Told::by(call, saga)).map_err(|error| No::Wrong(error.to_string()))?;
        // Whoever waits longer than a call may take, behind calls that hang, has not been answered either.
        let waited = tokio::time::timeout(self.timeout, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = waited else { return Err(No::Unclear("busy".to_owned())) };
        let request = self
            .agent
            .post(format!("{}/{}", self.base, call.name()))
            .header("authorization", &self.bearer)
            .header("content-type", "application/json");
        let made = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            answer(request.send(body.to_string()))
        });
        made.await.unwrap_or_else(|_| Err(No::Unclear("failed".to_owned())))
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn answer(answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(), No> {
    let mut response = answered.map_err(|error| No::Unclear(kind_of(&error).to_owned()))?;
    let status = response.status().as_u16();
    let mut text = String::new();
    // Read to the end, so that the connection can be used again; what it says only matters for a refusal.
    let read = response.body_mut().as_reader().take(MAX_ANSWER).read_to_string(&mut text);
    match status {
        200 => Ok(()),
        402 | 409 | 422 => Err(No::Refused(read.ok().and_then(|_| code_of(&text)))),
        408 | 425 | 429 | 500.. => Err(No::Unclear(format!("http_{status}"))),
        _ => Err(No::Wrong(format!("http_{status}"))),
    }
}

fn kind_of(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "timeout",
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => "unreachable",
        _ => "no_answer",
    }
}

/// The `code` of a problem document, if it is a word that can be passed on.
fn code_of(text: &str) -> Option<String> {
    let body: Value = serde_json::from_str(text).ok()?;
    let code = body.get("code")?.as_str()?;
    let word = !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    word.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_passed_on_only_as_a_word() {
        assert_eq!(code_of(r#"{"code":"card_expired","detail":"x"}"#).as_deref(), Some("card_expired"));
        for other in ["", "{}", r#"{"code":"<b>"}"#, r#"{"code":""}"#, r#"{"code":7}"#, r#"["code"]"#] {
            assert_eq!(code_of(other), None, "{other}");
        }
        assert_eq!(code_of(&format!(r#"{{"code":"{}"}}"#, "x".repeat(65))), None);
    }
}

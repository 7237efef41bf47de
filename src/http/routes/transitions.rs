//! `POST /v1/sites/{site}/transitions`: every change of seats and roles, and its preview.

use std::time::Duration;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{Service, command::TransitionBody, reply};
use crate::{
    app::{CommandRequest, Effective, Preview},
    digest,
    fault::{self, Point},
    http::{callers::Caller, json as body_json, problem::Problem},
    ids::SiteId,
};

/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 255;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TransitionQuery {
    dry_run: bool,
    lang: Option<SmolStr>,
}

/// Carries out a command on a site, or previews it.
#[utoipa::path(post, path = "/v1/sites/{site}/transitions", tag = "transitions", request_body = TransitionBody,
    params(
        ("site" = String, Path, description = "The site."),
        ("dry_run" = Option<bool>, Query, description = "Preview without changing anything."),
        ("lang" = Option<String>, Query, description = "The language of the preview's explanation; `en` when absent."),
        ("Idempotency-Key" = Option<String>, Header, description = "A new one for each command, the same when trying again."),
        ("If-Match" = Option<String>, Header, description = "Refuse if the site changed since."),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: how many seconds to wait for every replica; as long as it takes when absent."),
    ),
    responses(
        (status = 202, description = "Committed, and not effective on every replica before `Prefer: wait=N` ran out: `effective_no_later_than_ms` and `pending` say more."),
        (status = 200, body = crate::app::ReplyBody, description = "Effective: no check from now on is answered from before. With dry_run: a Preview."),
        (status = 400, description = "The request is malformed, or the key is missing."),
        (status = 402, description = "The billing service does not let the account pay; nothing has changed."),
        (status = 403, description = "The actor lacks something; `code` says what."),
        (status = 404, description = "No such site or handover."),
        (status = 409, description = "Not from this state."),
        (status = 412, description = "The site changed since."),
        (status = 422, description = "Facts stand in the way (`blockers`), or the key was used for something else."),
        (status = 503, description = "Not applied, or the outcome is unknown; `outcome` says which."),
    ))]
pub(super) async fn transition(
    State(service): State<Service>,
    Path(site): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse()?;
    let TransitionQuery { dry_run, lang } = reply::query(request.uri())?;
    let key = key(request.headers())?;
    let patience = patience(request.headers());
    let if_match = text(request.headers(), header::IF_MATCH.as_str())?;
    let caller = Caller::of(&request).into();
    // The scope of the key: the site, however the caller encoded it.
    let path = format!("/v1/sites/{site}/transitions");
    let body = body_json::read(request, service.limits().body).await?;
    let fingerprint = fingerprint(&body)?;
    let body: TransitionBody = body_json::typed(body)?;
    let auth_time = body.auth_time;
    let (actor, command, preview_digest) = body.read()?;
    let request = CommandRequest {
        site,
        caller,
        path,
        key,
        fingerprint,
        actor,
        auth_time,
        command,
        if_match,
        preview_digest,
        lang: lang.unwrap_or(SmolStr::new_static("en")),
    };
    if dry_run {
        let preview: Preview = service.app().preview(request).await?;
        return reply::json(StatusCode::OK, &preview);
    }
    // A caller who goes away leaves no reservation with billing behind that nobody uses.
    let app = service.shared_app();
    let command = tokio::spawn(async move { app.command(request).await });
    let carried = match command.await.map_err(|_| Problem::internal())? {
        Ok(done) => service.app().effective(done.revision, patience).await.map(|effective| (done, effective)),
        Err(failure) => Err(failure),
    };
    service.app().meter().transition(carried.as_ref().map(|(_, effective)| effective));
    let (done, effective) = carried?;
    fault::point(Point::BeforeReply);
    let (status, body) = told(done.body, effective);
    let response = reply::stamped(reply::json(status, &body)?, done.revision, Some(done.revision));
    // It is done: an answer without the token is better than one that says it is not.
    Ok(match service.app().token(done.revision).await {
        Ok(token) => reply::tokened(response, &token),
        Err(_) => response,
    })
}

/// The answer, with what is known about other replicas.
fn told(mut body: Value, effective: Effective) -> (StatusCode, Value) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (status, news) = match effective {
        Effective::Yes { acks: None, .. } => return (StatusCode::OK, body),
        Effective::Yes { waited, acks: Some(acks), durability } => {
            let (acks, durability) = (acks.wire_name(), durability.wire_name());
            (StatusCode::OK, json!({"waited_ms": millis(waited), "acks": acks, "durability": durability}))
        }
        Effective::NotYet { no_later_than, pending } => {
            let bound = millis(no_later_than);
            let news = json!({"status": "committed", "effective": false, "effective_no_later_than_ms": bound,
                "pending": pending});
            (StatusCode::ACCEPTED, news)
        }
    };
    if let (Value::Object(body), Value::Object(news)) = (&mut body, news) {
        body.extend(news);
    }
    (status, body)
}

/// How long the caller wants to wait for every replica: `Prefer: wait=N` (RFC 7240), in seconds. Preferences that are not
/// understood are ignored, as that says.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut wait = preferences
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.trim().strip_prefix("wait=")?.trim_matches('"').parse().ok());
    wait.next().map(Duration::from_secs)
}

/// What makes two requests the same one: everything but when the person signed in.
fn fingerprint(body: &Value) -> Result<String, Problem> {
    let mut body = body.clone();
    if let Value::Object(members) = &mut body {
        members.remove("auth_time");
    }
    digest::sha256_of_json(&body)
        .map_err(|error| Problem::bad_request("invalid_json", format!("the body has no canonical form: {error}")))
}

/// The idempotency key, with or without the quotes that the header's draft standard puts around it.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(text) = text(headers, "idempotency-key")? else { return Ok(None) };
    let key = text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(&text);
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        let detail = format!("`Idempotency-Key` is 1 to {MAX_KEY} printable ASCII characters");
        return Err(Problem::bad_request("invalid_header", detail));
    }
    Ok(Some(key.to_owned()))
}

/// One header as text; given twice it is refused, because nobody knows which one counts.
fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let wrong = || Problem::bad_request("invalid_header", format!("`{name}` must be there once, in plain ASCII"));
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong());
    }
    Ok(Some(first.to_str().map_err(|_| wrong())?.to_owned()))
}

//! What holds for every request, whatever its route? The outermost layer.
//!
//! In order: the request gets an id; what no handler should see is refused (two lengths, foreign `Host`, a caller that
//! nobody knows, before its body is read); the routes answer; a panic becomes `503 internal`; an error that is not a problem yet becomes one; and every answer, that of
//! an unknown path included, carries `X-Request-ID` and, unless the route knows better, `Cache-Control: no-store`.
//! Handlers find the id in the request's own `x-request-id` header: it is always there and well formed.
//!
//! Not in reach of this layer: bytes that are not HTTP, which hyper answers with an empty 400 or 431.
//! A stack of tower layers lost: five boxed futures for each decision, and an order that nobody can read.

use std::{
    any::Any,
    convert::Infallible,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tower::Service;

pub use super::host::Hosts;
use super::{
    callers::Callers,
    problem::{MEDIA_TYPE, Problem},
};
use crate::clock;

/// The header that names a request in logs on both sides.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken from a caller, in bytes.
const REQUEST_ID_MAX: usize = 128;

/// Longest text of a framework's own error that becomes a problem's detail, in bytes.
const DETAIL_MAX: u64 = 1024;

/// Routes, and what stands before them.
#[derive(Debug, Clone)]
pub struct Edge {
    router: Router,
    hosts: Hosts,
    callers: Callers,
    /// How many strangers were refused.
    strangers: Arc<AtomicU64>,
}

impl Edge {
    /// Puts the outermost layer before `router`.
    #[must_use]
    pub fn new(router: Router, hosts: Hosts) -> Self {
        Self { router, hosts, callers: Callers::Anybody, strangers: Arc::default() }
    }

    /// The same, for known callers only.
    #[must_use]
    pub fn for_callers(self, callers: Callers) -> Self {
        Self { callers, ..self }
    }

    /// Answers one request; never fails and never panics.
    pub async fn call(&self, request: Request) -> Response {
        self.answer(request, false).await
    }

    /// As [`Edge::call`]; `ambiguous` says that the request gave its length in two ways.
    pub(super) async fn answer(&self, mut request: Request, ambiguous: bool) -> Response {
        let id = request_id(request.headers_mut());
        let mut response = match self.admit(&mut request, ambiguous) {
            Ok(()) => self.route(request).await,
            Err(problem) => problem.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    fn admit(&self, request: &mut Request, ambiguous: bool) -> Result<(), Problem> {
        if ambiguous {
            let detail = "the request has both Content-Length and Transfer-Encoding";
            return Err(Problem::bad_request("ambiguous_length", detail)
                .header(header::CONNECTION, HeaderValue::from_static("close")));
        }
        self.hosts.check(request.version(), request.uri(), request.headers())?;
        let certificate = request.extensions().get();
        let admitted = self.callers.admit(request.uri().path(), request.headers(), certificate);
        if let Some(caller) = admitted.inspect_err(|_| self.refused())? {
            request.extensions_mut().insert(caller);
        }
        Ok(())
    }

    /// Somebody may be guessing: told at the first, the second, the fourth, so that a flood is a few lines.
    fn refused(&self) {
        let strangers = self.strangers.fetch_add(1, Ordering::Relaxed) + 1;
        if strangers.is_power_of_two() {
            tracing::warn!(strangers, "refused callers that nobody knows");
        }
    }

    async fn route(&self, request: Request) -> Response {
        let method = request.method().clone();
        let mut router = self.router.clone();
        match caught(async move { router.call(request).await }).await {
            Ok(Ok(response)) if is_bare_error(&response) => as_problem(&method, response).await,
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            // The panic hook has logged it, with its place.
            Err(_) => Problem::internal().into_response(),
        }
    }
}

/// Runs `work`, and hands back the panic if it panics.
async fn caught<T>(
    work: impl Future<Output = Result<T, Infallible>>,
) -> Result<Result<T, Infallible>, Box<dyn Any + Send>> {
    let mut work = pin!(work);
    // Whatever the panic left half done was owned by this request, or is behind a lock that is not poisoned silently.
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(panic)),
    })
    .await
}

/// The caller's id when it is usable, else a new one; afterwards the request carries exactly that.
fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    let mut said = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (said.next(), said.next()) {
        let bytes = id.as_bytes();
        if (1..=REQUEST_ID_MAX).contains(&bytes.len()) && bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return id.clone();
        }
    }
    // A UUID is ASCII; a service that cannot say so still has to answer.
    let id = HeaderValue::try_from(clock::new_uuid()).unwrap_or(HeaderValue::from_static("unknown"));
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// An error that the framework made, not we.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    (status.is_client_error() || status.is_server_error())
        && response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != MEDIA_TYPE)
}

/// The same status and headers, as a problem.
async fn as_problem(method: &Method, response: Response) -> Response {
    let (head, body) = response.into_parts();
    let (code, detail) = match head.status {
        StatusCode::NOT_FOUND => ("not_found", "there is nothing at this path".to_owned()),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", format!("this path does not take {method}: see `Allow`"))
        }
        status if status.is_server_error() => {
            ("internal", "the service failed while it worked on this request".to_owned())
        }
        _ => ("bad_request", text(body).await),
    };
    let mut problem = Problem::new(head.status, code, detail).into_response();
    for (name, value) in &head.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}

/// What the framework said, if that is short.
async fn text(body: Body) -> String {
    let said = match body.size_hint().upper() {
        Some(upper) if upper <= DETAIL_MAX => axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default(),
        _ => bytes::Bytes::new(),
    };
    match std::str::from_utf8(&said) {
        Ok(said) if !said.is_empty() => said.to_owned(),
        _ => "the request cannot be understood".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{extract::Query, routing::get};
    use serde_json::Value;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Limit {
        limit: u8,
    }

    async fn boom() -> Response {
        tokio::task::yield_now().await;
        panic!("a bug")
    }

    fn edge() -> Edge {
        let router =
            Router::new()
                .route("/ok", get(|| async { "ok" }))
                .route("/cached", get(|| async { ([(header::CACHE_CONTROL, "public, max-age=300")], "ok") }))
                .route(
                    "/id",
                    get(|request: Request| async move {
                        request.headers()[REQUEST_ID].clone().to_str().unwrap().to_owned()
                    }),
                )
                .route("/query", get(|query: Query<Limit>| async move { query.limit.to_string() }))
                .route("/problem", get(|| async { Problem::conflict("has_role", "x").with("a", 1) }))
                .route("/panic", get(boom));
        Edge::new(router, Hosts::Any)
    }

    async fn ask(method: &str, path: &str, id: Option<&[u8]>) -> (Response, Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(id) = id {
            request = request.header(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        }
        let response = edge().call(request.body(Body::empty()).unwrap()).await;
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::String(String::from_utf8(bytes.to_vec()).unwrap()));
        (Response::from_parts(head, Body::empty()), json)
    }

    #[tokio::test]
    async fn every_answer_carries_the_request_id_and_every_error_is_a_problem() {
        for (method, path, status, code) in [
            ("GET", "/ok", 200, None),
            ("GET", "/nowhere", 404, Some("not_found")),
            ("POST", "/ok", 405, Some("method_not_allowed")),
            ("GET", "/query?limit=999", 400, Some("bad_request")),
            ("GET", "/problem", 409, Some("has_role")),
            ("GET", "/panic", 503, Some("internal")),
        ] {
            let (response, body) = ask(method, path, Some(b"call-17 of maria")).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()["x-request-id"], "call-17 of maria", "{path}");
            assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
            let Some(code) = code else { continue };
            assert_eq!(response.headers()["content-type"], MEDIA_TYPE, "{path}");
            assert_eq!((body["status"].as_u64(), body["code"].as_str()), (Some(status.into()), Some(code)), "{path}");
        }
        let (response, _) = ask("POST", "/ok", None).await;
        assert_eq!(response.headers()["allow"], "GET,HEAD");
        let (_, body) = ask("GET", "/query?limit=999", None).await;
        assert!(body["detail"].as_str().unwrap().contains("limit"), "what the framework said is kept: {body}");
        let (_, body) = ask("GET", "/problem", None).await;
        assert_eq!(body["a"], 1, "a problem is left as it is");
        let (response, _) = ask("GET", "/cached", None).await;
        assert_eq!(response.headers()["cache-control"], "public, max-age=300", "a route may know better");
    }

    #[tokio::test]
    async fn ids_that_cannot_be_echoed_are_replaced() {
        let long = [b'x'; 129];
        for bad in [None, Some(&b""[..]), Some(b"a\tb"), Some(b"\xc3\xa4"), Some(&long)] {
            let (response, body) = ask("GET", "/id", bad).await;
            let id = response.headers()["x-request-id"].to_str().unwrap();
            assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "{id}");
            assert_eq!(body, id, "the handler sees the id that the caller gets");
        }
        for good in [&b"x"[..], b"undefined", &long[..128]] {
            let (response, body) = ask("GET", "/id", Some(good)).await;
            assert_eq!(response.headers()["x-request-id"].as_bytes(), good);
            assert_eq!(body, std::str::from_utf8(good).unwrap());
        }
    }

    #[tokio::test]
    async fn a_request_with_two_lengths_is_refused_and_its_connection_closed() {
        let request = || Request::builder().uri("/ok").header("host", "localhost").body(Body::empty()).unwrap();
        let response = edge().answer(request(), true).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["connection"]),
            (400, &HeaderValue::from_static("close"))
        );
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(edge().answer(request(), false).await.status(), 200, "the control");
    }
}

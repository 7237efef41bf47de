//! The edge as a caller meets it: bytes on real sockets.

mod framing;
mod life;
mod time;

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    Router,
    body::{Bytes, HttpBody},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::{
    config::{Auth, Listen},
    http::{edge::Hosts, json, problem::Problem},
};

const SHORT: Duration = Duration::from_millis(250);
/// Longer than anything that should happen, shorter than a default that was left in place.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than the buffers of both sides hold.
const LARGE: usize = 64 * 1024 * 1024;
const PIECE: usize = 16 * 1024;

/// A body of so many pieces, of unknown length.
struct Pieces(usize);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&[b'x'; PIECE])))))
    }
}

async fn boom() -> &'static str {
    panic!("a bug")
}

fn router(limit: usize) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/slow",
            get(|| async {
                sleep(SHORT * 3).await;
                "slow"
            }),
        )
        .route("/never", get(std::future::pending::<&'static str>))
        .route("/panic", get(boom))
        .route("/large", get(|| async { "x".repeat(LARGE) }))
        .route("/stream", get(|| async { Response::new(Body::new(Pieces(LARGE / PIECE))) }))
        .route("/unread", post(|| async { Problem::conflict("busy", "the body was not read") }))
        .route(
            "/echo",
            post(move |request: Request| async move { json::read(request, limit).await.map(|v| v.to_string()) }),
        )
}

struct Running {
    address: Listen,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Drained>,
}

impl Running {
    async fn start(change: impl FnOnce(&mut Limits)) -> Self {
        Self::on(Listen::loopback(0), change).await
    }
    async fn on(listen: Listen, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let listener = Listener::bind(&listen).await.unwrap();
        let address = listener.address().clone();
        let edge = Edge::new(router(limits.body), Hosts::of(&address, Auth::None));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            serve(listener, edge, &limits, async {
                stopped.await.ok();
            })
            .await
        });
        Self { address, stop, served }
    }
    async fn connect(&self) -> TcpStream {
        let Listen::Tcp(address) = &self.address else { panic!("not TCP") };
        TcpStream::connect(address).await.unwrap()
    }
    /// Sends bytes, reads until the server closes.
    async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        to_end(&mut stream).await
    }
    async fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.served).await.unwrap().unwrap()
    }
}

async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes").unwrap();
    String::from_utf8(bytes).unwrap()
}

/// One answer with a Content-Length, leaving the connection open.
async fn one_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        timeout(PATIENCE, stream.read_exact(&mut byte)).await.expect("an answer").unwrap();
        bytes.push(byte[0]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return text;
        }
    }
}

/// Whether the server closes within `PATIENCE`; how long it took.
async fn closes(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let started = Instant::now();
    let mut rest = Vec::new();
    // A reset is a way to close, too.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server closes").ok();
    started.elapsed()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

/// Status and code; every error answer also has what every error answer has.
fn problem(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("x-request-id: "), "{answer}");
    assert!(head.contains("cache-control: no-store"), "{answer}");
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["status"], status(answer));
    (status(answer), body["code"].as_str().unwrap().to_owned())
}

fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

fn post_request(headers: &str, body: &str) -> String {
    format!(
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-Request-ID: from-the-test\r\n{headers}\r\n{body}"
    )
}

fn with_length(body: &str) -> String {
    post_request(&format!("Content-Length: {}\r\n", body.len()), body)
}

fn chunked(body: &str) -> String {
    post_request("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
}

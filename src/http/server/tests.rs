//! The edge as a caller meets it: bytes on real sockets.

use std::{
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use axum::{
    Router,
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::{
    config::{Auth, Listen},
    http::{edge::Hosts, json, problem::Problem},
};

const SHORT: Duration = Duration::from_millis(150);
/// Longer than anything that should happen, shorter than a default that was left in place.
const PATIENCE: Duration = Duration::from_secs(4);

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
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("a bug")
                }
            }),
        )
        .route("/large", get(|| async { "x".repeat(64 * 1024 * 1024) }))
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

#[tokio::test]
async fn errors_of_every_kind_are_problems_with_an_id() {
    let server = Running::start(|_| {}).await;
    let answer = server.exchange(get_request("/")).await;
    assert_eq!(status(&answer), 200, "the control");
    assert!(answer.contains("x-request-id: "), "{answer}");
    let deep = "[".repeat(60_000);
    for (request, expected) in [
        (get_request("/nowhere"), (404, "not_found")),
        (get_request("/echo"), (405, "method_not_allowed")),
        (get_request("/panic"), (503, "internal")),
        (with_length(""), (400, "empty_body")),
        (with_length("{"), (400, "invalid_json")),
        (with_length("{} x"), (400, "invalid_json")),
        (with_length(&deep), (400, "too_deep")),
        (chunked(r#"{"a":{"b":[{"k":1,"k":1}]}}"#), (400, "duplicate_key")),
        (with_length("{}").replace("application/json", "text/plain"), (400, "unsupported_media_type")),
        (get_request("/").replace("localhost", "evil.example"), (421, "host_not_allowed")),
        (get_request("/").replace("Host: localhost\r\n", ""), (400, "invalid_host")),
    ] {
        let answer = server.exchange(&request).await;
        let (status, code) = problem(&answer);
        assert_eq!((status, code.as_str()), expected, "{}", &request[..request.len().min(200)]);
        if request.contains("from-the-test") {
            assert!(answer.contains("x-request-id: from-the-test\r\n"), "{answer}");
        }
    }
    assert!(server.exchange(get_request("/echo")).await.contains("allow: POST\r\n"));
    assert_eq!(status(&server.exchange(get_request("/")).await), 200, "a panic ends its own request only");
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_and_without_a_length() {
    let server = Running::start(|limits| limits.body = 1024).await;
    let of = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    for fits in [with_length(&of(1024)), chunked(&of(1024))] {
        assert_eq!(status(&server.exchange(fits).await), 200, "the control");
    }
    for over in [with_length(&of(1025)), chunked(&of(1025)), with_length(&of(900_000)), chunked(&of(900_000))] {
        assert_eq!(problem(&server.exchange(over).await), (413, "body_too_large".into()));
    }
    // Announced, never sent: answered without waiting for it.
    let announced = server.exchange(post_request("Content-Length: 9999999999\r\n", "")).await;
    assert_eq!(problem(&announced), (413, "body_too_large".into()));
    // A deep one that is far over the limit costs its bytes and no more.
    let started = Instant::now();
    assert_eq!(problem(&server.exchange(with_length(&"[".repeat(100_000))).await).0, 413);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn two_lengths_are_refused_wherever_they_stand() {
    let server = Running::start(|_| {}).await;
    let body = "2\r\n{}\r\n0\r\n\r\n";
    for headers in [
        "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 12\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\ncOnTeNt-LeNgTh: 0\r\n",
        "Content-Length: 12\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = post_request(headers, body).replace("Connection: close\r\n", "");
        let answer = server.exchange(&request).await;
        assert_eq!(problem(&answer), (400, "ambiguous_length".into()), "{headers}");
        assert!(answer.contains("connection: close\r\n"), "and the connection ends: {answer}");
        // The same, byte by byte: the line is found across reads.
        let mut stream = server.connect().await;
        stream.set_nodelay(true).unwrap();
        for byte in request.split_inclusive("\r\n\r\n").next().unwrap().as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(problem(&to_end(&mut stream).await).0, 400, "{headers}");
    }
    for fine in [with_length("{}"), chunked("{}"), with_length(r#""\ncontent-length: 3""#)] {
        assert_eq!(status(&server.exchange(fine).await), 200, "the control");
    }
    // On one connection: lengths of earlier requests do not count against a later one, hidden ones do.
    let mut stream = server.connect().await;
    let stay = |request: String| request.replace("Connection: close\r\n", "");
    for request in [with_length("{}"), chunked("{}"), with_length("[]"), chunked("[]")] {
        stream.write_all(stay(request).as_bytes()).await.unwrap();
        assert_eq!(status(&one_answer(&mut stream).await), 200);
    }
    let both = stay(post_request("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", body));
    stream.write_all((stay(with_length("{}")) + &both).as_bytes()).await.unwrap();
    assert_eq!(status(&one_answer(&mut stream).await), 200, "the first of two in one write");
    assert_eq!(problem(&to_end(&mut stream).await).1, "ambiguous_length", "the second, read together with the first");
}

#[tokio::test]
async fn other_ill_framed_requests_do_not_reach_a_handler() {
    let server = Running::start(|_| {}).await;
    for request in [
        post_request("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
        post_request("Content-Length: +2\r\n", "{}"),
        post_request("Content-Length: 2, 2\r\n", "{}"),
        post_request("Transfer-Encoding: chunked, identity\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        post_request("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        post_request("X: a\r\n folded\r\nContent-Length: 2\r\n", "{}"),
        chunked("{}").replace("HTTP/1.1", "HTTP/1.0"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".to_owned() + &"\0".repeat(40),
    ] {
        let answer = server.exchange(&request).await;
        assert!(answer.is_empty() || status(&answer) == 400, "{request:?}: {answer}");
    }
    assert_eq!(problem(&server.exchange(post_request("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n")).await).0, 400);
}

#[tokio::test]
async fn the_header_block_is_limited() {
    let server = Running::start(|limits| limits.header_block = 16 * 1024).await;
    let with = |length: usize| get_request("/").replace("Host", &format!("X: {}\r\nHost", "x".repeat(length)));
    assert_eq!(status(&server.exchange(with(15_000)).await), 200, "the control");
    let mut stream = server.connect().await;
    stream.write_all(with(17_000).as_bytes()).await.unwrap();
    assert!(one_or_none(&mut stream).await.starts_with("HTTP/1.1 431"), "over the limit");
}

/// What came before the connection closed or was reset.
async fn one_or_none(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes").ok();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_slow_header_is_cut_and_an_idle_connection_is_not() {
    let server = Running::start(|limits| {
        limits.header_timeout = SHORT;
        limits.idle = SHORT * 6;
    })
    .await;
    // One byte at a time, each well within the limit: the whole counts.
    let mut dribbling = server.connect().await;
    let started = Instant::now();
    let mut sent = 0;
    for byte in get_request("/").bytes().cycle().filter(|byte| *byte != b'\n') {
        if dribbling.write_all(&[byte]).await.is_err() || started.elapsed() > PATIENCE {
            break;
        }
        sent += 1;
        sleep(SHORT / 10).await;
    }
    assert!(started.elapsed() < SHORT * 5 && sent > 3, "cut after {:?} and {sent} bytes", started.elapsed());
    // The control: silent for longer than a header may take, before and between requests.
    let mut idle = server.connect().await;
    for _ in 0..3 {
        sleep(SHORT * 2).await;
        idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(status(&one_answer(&mut idle).await), 200);
    }
    // A second header on the same connection has the short time again.
    idle.write_all(b"GET / HT").await.unwrap();
    let took = closes(&mut idle).await;
    assert!((SHORT / 2..SHORT * 4).contains(&took), "{took:?}");
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_working_handler_is_not_idle() {
    let server = Running::start(|limits| limits.idle = SHORT).await;
    let mut never_spoke = server.connect().await;
    let took = closes(&mut never_spoke).await;
    assert!((SHORT / 2..SHORT * 6).contains(&took), "{took:?}");
    let mut spoke = server.connect().await;
    spoke.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    one_answer(&mut spoke).await;
    let took = closes(&mut spoke).await;
    assert!((SHORT / 2..SHORT * 6).contains(&took), "{took:?}");
    let answer = server.exchange(get_request("/slow")).await;
    assert_eq!(status(&answer), 200, "a handler that works three times as long");
}

#[tokio::test]
async fn a_slow_body_is_408_in_total_time() {
    let server = Running::start(|limits| limits.body_timeout = SHORT).await;
    let mut stream = server.connect().await;
    stream.write_all(post_request("Content-Length: 1000\r\n", "").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let dribble = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    });
    let started = Instant::now();
    assert_eq!(problem(&one_answer(&mut reading).await), (408, "body_timeout".into()));
    assert!(started.elapsed() < SHORT * 5, "{:?}", started.elapsed());
    dribble.abort();
    let mut stream = server.connect().await;
    stream.write_all(post_request("Content-Length: 2\r\n", "").as_bytes()).await.unwrap();
    sleep(SHORT / 3).await;
    stream.write_all(b"{}").await.unwrap();
    assert_eq!(status(&to_end(&mut stream).await), 200, "the control: late, but in time");
}

#[tokio::test]
async fn a_caller_that_takes_no_answer_is_cut() {
    let server = Running::start(|limits| limits.idle = SHORT).await;
    let mut stream = server.connect().await;
    stream.write_all(get_request("/large").as_bytes()).await.unwrap();
    sleep(SHORT * 8).await;
    let mut taken = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut taken)).await.expect("the server closes").ok();
    assert!(taken.len() < 60 * 1024 * 1024, "cut in the middle: {} bytes", taken.len());
    let mut stream = server.connect().await;
    stream.write_all(get_request("/large").as_bytes()).await.unwrap();
    assert!(to_end(&mut stream).await.len() > 64 * 1024 * 1024, "the control: a caller that reads gets all");
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_leaves_no_remains() {
    let server = Running::start(|_| {}).await;
    let mut stream = server.connect().await;
    let request =
        with_length(r#"{"GET / HTTP/1.1":0}"#).replace("/echo", "/unread").replace("Connection: close\r\n", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(problem(&one_answer(&mut stream).await), (409, "busy".into()));
    stream.write_all(get_request("/").as_bytes()).await.unwrap();
    assert_eq!(status(&to_end(&mut stream).await), 200);
}

#[tokio::test]
async fn connections_over_the_limit_wait_outside() {
    let server = Running::start(|limits| limits.connections = 2).await;
    let mut first = server.connect().await;
    let second = server.connect().await;
    for stream in [&mut first] {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(status(&one_answer(stream).await), 200, "the control: below the limit");
    }
    let mut third = server.connect().await;
    third.write_all(get_request("/").as_bytes()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(SHORT, third.read(&mut byte)).await.is_err(), "no answer while both places are taken");
    drop(second);
    assert_eq!(status(&to_end(&mut third).await), 200, "a place is free");
}

#[tokio::test]
async fn a_flood_of_dribbling_connections_does_not_keep_others_out() {
    let server = Running::start(|limits| limits.header_timeout = SHORT).await;
    let mut flood = Vec::new();
    for _ in 0..300 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET").await.unwrap();
        flood.push(stream);
    }
    let started = Instant::now();
    assert_eq!(status(&server.exchange(get_request("/")).await), 200);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    for stream in &mut flood {
        closes(stream).await;
    }
}

#[tokio::test]
async fn a_drain_lets_running_requests_end_and_takes_no_new_ones() {
    let server = Running::start(|_| {}).await;
    let (mut fresh, mut idle, mut busy) = (server.connect().await, server.connect().await, server.connect().await);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    one_answer(&mut idle).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    sleep(SHORT).await;
    let Listen::Tcp(address) = server.address.clone() else { panic!("not TCP") };
    let stopping = tokio::spawn(server.stop());
    let answer = to_end(&mut busy).await;
    assert_eq!(status(&answer), 200, "the running request got its answer, and its connection ended");
    assert!(answer.ends_with("slow"), "{answer}");
    assert!(closes(&mut idle).await < SHORT * 4);
    assert!(closes(&mut fresh).await < SHORT * 4);
    assert_eq!(stopping.await.unwrap(), Drained { cut: 0 });
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_drain_is_bounded() {
    let server = Running::start(|limits| limits.drain = SHORT).await;
    let mut stuck = server.connect().await;
    stuck.write_all(get_request("/never").as_bytes()).await.unwrap();
    sleep(SHORT / 2).await;
    let started = Instant::now();
    assert_eq!(server.stop().await, Drained { cut: 1 });
    assert!(started.elapsed() < SHORT * 5, "{:?}", started.elapsed());
    closes(&mut stuck).await;
}

async fn over(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> u16 {
    stream.write_all(get_request("/").as_bytes()).await.unwrap();
    status(&to_end(&mut stream).await)
}

#[tokio::test]
async fn a_unix_socket_is_for_owner_and_group_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mandate.sock");
    let listen = Listen::Unix(path.clone());
    let server = Running::on(listen.clone(), |_| {}).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left in the folder");
    assert_eq!(over(UnixStream::connect(&path).await.unwrap()).await, 200);
    // In use: the second one is refused, the first one lives on.
    let error = Listener::bind(&listen).await.unwrap_err().to_string();
    assert!(error.contains("somebody answers on this socket") && error.contains("mandate.sock"), "{error}");
    assert_eq!(over(UnixStream::connect(&path).await.unwrap()).await, 200);
    assert_eq!(server.stop().await, Drained { cut: 0 });
    assert!(!path.exists(), "removed with the server");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mandate.sock");
    // Left behind: std's listener does not remove its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Running::on(Listen::Unix(path.clone()), |_| {}).await;
    assert_eq!(over(UnixStream::connect(&path).await.unwrap()).await, 200);
    // Somebody put another file in its place meanwhile: it is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    server.stop().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let error = Listener::bind(&Listen::Unix(path.clone())).await.unwrap_err().to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = Running::start(|_| {}).await;
    let error = Listener::bind(&server.address).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on `{}`", server.address)), "{error}");
}

#[tokio::test]
async fn many_requests_at_once_all_get_their_own_answer() {
    let server = std::sync::Arc::new(Running::start(|_| {}).await);
    let answered = std::sync::Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let (server, answered) = (std::sync::Arc::clone(&server), std::sync::Arc::clone(&answered));
        callers.spawn(async move {
            let mut stream = server.connect().await;
            for number in 0..20 {
                let body = format!("[{caller},{number}]");
                let request = if number % 2 == 0 { with_length(&body) } else { chunked(&body) };
                stream.write_all(request.replace("Connection: close\r\n", "").as_bytes()).await.unwrap();
                assert!(one_answer(&mut stream).await.ends_with(&body));
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    callers.join_all().await;
    assert_eq!(answered.load(Ordering::Relaxed), 400);
}

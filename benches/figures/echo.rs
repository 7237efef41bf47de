//! The yardstick: a server that reads the same request and answers the same bytes, and decides nothing.
//!
//! axum's router on hyper's HTTP/1.1 with the settings of ours; the body is read into structs with serde, and the
//! answer is `{"decision":true}`. `bare` is that and no more. `edge` is the same route behind our own accept loop and
//! outermost layer (connection timers, request ids, host check), which shows how much of the difference is theirs.
//! [`look_up`] is the bare one, and gets the asked site's entry from a Redis before it answers.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
    routing::post,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use mandate::{
    config::{Auth, Limits, Listen},
    http::{
        edge::{Edge, Hosts},
        listener::Listener,
        server,
    },
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::Service as _;

#[derive(Deserialize)]
struct Question {
    subject: Entity,
    action: Action,
    resource: Entity,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

#[derive(Deserialize)]
struct Action {
    name: String,
}

#[derive(Deserialize)]
struct Context {
    auth_time: Option<i64>,
    operation: Option<String>,
}

async fn answer(body: Bytes) -> Response {
    answered(serde_json::from_slice(&body).unwrap())
}

fn answered(question: Question) -> Response {
    std::hint::black_box((
        (question.subject.kind, question.subject.id),
        question.action.name,
        (question.resource.kind, question.resource.id),
        question.context.map(|context| (context.auth_time, context.operation)),
    ));
    let mut response = Response::new(Body::from(Bytes::from_static(br#"{"decision":true}"#)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Serves until it is killed; prints the address it listens on.
pub fn serve(kind: &str) {
    let router = Router::new().route("/access/v1/evaluation", post(answer));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match kind {
        "bare" => runtime.block_on(bare(router)),
        "edge" => runtime.block_on(behind_our_edge(router)),
        other => panic!("there is no echo `{other}`"),
    }
}

/// Reads the question, and one entry of a Redis: whatever it is kept for, that is the least that a miss costs.
pub fn look_up(redis: &str, prefix: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = redis::Client::open(redis).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let prefix: Arc<str> = prefix.into();
        let answer = move |body: Bytes| {
            let (mut connection, prefix) = (connection.clone(), Arc::clone(&prefix));
            async move {
                let question: Question = serde_json::from_slice(&body).unwrap();
                let mut get = redis::cmd("GET");
                get.arg(format!("{prefix}{}", question.resource.id));
                let entry: Vec<u8> = get.query_async(&mut connection).await.unwrap();
                assert!(!entry.is_empty(), "there is no entry for {}", question.resource.id);
                answered(question)
            }
        };
        bare(Router::new().route("/access/v1/evaluation", post(answer))).await;
    });
}

async fn bare(router: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                router.clone().call(request.map(Body::new))
            });
            let mut http = http1::Builder::new();
            http.header_read_timeout(None).max_header_size(16 * 1024).max_buf_size(64 * 1024);
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn behind_our_edge(router: Router) {
    let listener = Listener::bind(&Listen::loopback(0)).await.unwrap();
    println!("{}", listener.address());
    let hosts = Hosts::of(listener.address(), Auth::None);
    server::serve(listener, Edge::new(router, hosts), &Limits::default(), std::future::pending()).await;
}

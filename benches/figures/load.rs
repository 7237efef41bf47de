//! The load: as many connections as wanted, each asking again as soon as it is answered.
//!
//! A process of its own with one thread. It writes and reads HTTP/1.1 by hand, because a client library would take
//! longer than the server it measures. Latency is from the first byte written to the last one read.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{data, table::quantile};

/// Different requests that are asked in turn.
const POOL: usize = 50_000;

/// What a run of load saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub requests: f64,
    pub seconds: f64,
    pub p50: f64,
    pub p99: f64,
    pub allowed: f64,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum Asks {
    /// About any of so many sites, for so many seconds.
    Any { sites: usize, seconds: f64 },
    /// About each of these sites once.
    Once { from: usize, count: usize },
}

/// Runs the load in a process of its own on `core`.
pub fn on(core: usize, address: &str, connections: usize, asks: Asks) -> Seen {
    let program = std::env::current_exe().unwrap();
    let words = match asks {
        Asks::Any { sites, seconds } => ["any".to_owned(), sites.to_string(), seconds.to_string()],
        Asks::Once { from, count } => ["once".to_owned(), from.to_string(), count.to_string()],
    };
    let output = crate::machine::pinned(Some(core), program.to_str().unwrap())
        .args(["as-load", address, &connections.to_string()])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [requests, seconds, p50, p99, allowed] = numbers[..] else { panic!("the load said `{said}`") };
    Seen { requests, seconds, p50, p99, allowed }
}

struct Shared {
    requests: Vec<Vec<u8>>,
    next: Cell<usize>,
    end: Option<Instant>,
    latencies: RefCell<Vec<f64>>,
    allowed: Cell<usize>,
}

/// In the process of its own.
pub fn run(arguments: &[&str]) {
    let [address, connections, asks @ ..] = arguments else { panic!("an address and a number are wanted") };
    let address: SocketAddr = address.parse().unwrap();
    let asks = match asks {
        ["any", sites, seconds] => Asks::Any { sites: sites.parse().unwrap(), seconds: seconds.parse().unwrap() },
        ["once", from, count] => Asks::Once { from: from.parse().unwrap(), count: count.parse().unwrap() },
        other => panic!("there is nothing to ask in {other:?}"),
    };
    let actions = data::actions(&data::policies());
    let asked = |seed: usize, site: usize| request(address, &data::question(seed as u64, site, &actions));
    let (requests, seconds): (Vec<_>, _) = match asks {
        Asks::Any { sites, seconds } => {
            let site = |n: usize| data::draw(n as u64 ^ 0xBEEF, sites);
            ((0..POOL).map(|n| asked(n, site(n))).collect(), Some(seconds))
        }
        Asks::Once { from, count } => ((from..from + count).map(|n| asked(n, n)).collect(), None),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started = Instant::now();
    let shared = Rc::new(Shared {
        requests,
        next: Cell::new(0),
        end: seconds.map(|seconds| started + Duration::from_secs_f64(seconds)),
        latencies: RefCell::new(Vec::with_capacity(1 << 20)),
        allowed: Cell::new(0),
    });
    let local = tokio::task::LocalSet::new();
    for _ in 0..connections.parse::<usize>().unwrap() {
        local.spawn_local(connection(address, Rc::clone(&shared)));
    }
    runtime.block_on(local);
    let took = started.elapsed().as_secs_f64();
    let mut latencies = shared.latencies.take();
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut latencies, share));
    println!("{} {took} {p50} {p99} {}", latencies.len(), shared.allowed.get());
}

fn request(address: SocketAddr, body: &str) -> Vec<u8> {
    format!(
        "POST /access/v1/evaluation HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nX-Request-ID: 0193a6c1-7b5e-7c3a-9f00-5d2c8e4b1a70\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn connection(address: SocketAddr, shared: Rc<Shared>) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = shared.next.get();
        shared.next.set(n + 1);
        let over = match shared.end {
            Some(end) => Instant::now() >= end,
            None => n >= shared.requests.len(),
        };
        if over {
            return;
        }
        let started = Instant::now();
        socket.write_all(&shared.requests[n % shared.requests.len()]).await.unwrap();
        let mut filled = 0;
        let answer = loop {
            let read = socket.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server closed a connection");
            filled += read;
            if let Some(answer) = whole(&buffer[..filled]) {
                break answer;
            }
        };
        shared.latencies.borrow_mut().push(started.elapsed().as_nanos() as f64 / 1_000.0);
        if answer {
            shared.allowed.set(shared.allowed.get() + 1);
        }
    }
}

/// Whether the decision is an allow, once the answer is whole.
fn whole(bytes: &[u8]) -> Option<bool> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}{}", String::from_utf8_lossy(&bytes[head..]));
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
    (bytes.len() >= head + length).then(|| bytes[head..].starts_with(br#"{"decision":true"#))
}

//! A decision over HTTP, against the yardstick: requests for each second, latency, processor time.
//!
//! Three servers run at once and are loaded in turns, round by round: the bare echo, the same echo behind our own
//! accept loop and edge, and the program itself on the store with 100,000 sites, every one of them asked about before.
//! 32 keep-alive connections, the server on one core and the load on the other. Ratios are medians of the rounds'
//! ratios. Processor time is the kernel's count for the server's process; of the ratios it is the one that other work on
//! the machine disturbs least.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Effort, data, load,
    load::Seen,
    machine,
    table::{Row, median},
};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const CONNECTIONS: usize = 32;

/// A helper process that ends with us.
struct Helper {
    child: Child,
    address: String,
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, serving the store with 100,000 sites.
pub struct Mandate(Helper);

impl Mandate {
    /// Starts it and waits until it is ready.
    pub fn start(name: &str) -> Self {
        let folder = data::scratch(name);
        let path = data::store(&folder, &data::policies());
        let [control, admin] = [(); 2].map(|()| {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().to_string()
        });
        let child = machine::pinned(SERVER_CORE, env!("CARGO_BIN_EXE_mandate"))
            .args(["serve", "--log", "warn", "--listen", &control, "--admin-listen", &admin, "--database-url"])
            .arg(format!("sqlite:{}", path.display()))
            .current_dir(folder)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let helper = Helper { child, address: control };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !is_ready(&admin) {
            assert!(Instant::now() < deadline, "the program did not become ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        Self(helper)
    }
    pub fn process(&self) -> u32 {
        self.0.child.id()
    }
    pub fn ask_about_every_site(&self) {
        load::on(LOAD_CORE, &self.0.address, CONNECTIONS, 0.0);
    }
}

fn is_ready(admin: &str) -> bool {
    let Ok(mut socket) = TcpStream::connect(admin) else { return false };
    let mut answer = String::new();
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
        && socket.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

fn echo(kind: &str) -> Helper {
    let program = std::env::current_exe().unwrap();
    let mut child = machine::pinned(SERVER_CORE, program.to_str().unwrap())
        .args(["as-echo", kind])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    Helper { child, address: address.trim().to_owned() }
}

/// One round on one server.
#[derive(Debug, Clone, Copy)]
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Processor time of the server for each request, in microseconds.
    processor: f64,
}

fn round(helper: &Helper, effort: Effort) -> Round {
    let run = |seconds: f64| -> Seen { load::on(LOAD_CORE, &helper.address, CONNECTIONS, seconds) };
    run(0.2);
    let before = machine::processor_time(helper.child.id());
    let seen = run(effort.load.as_secs_f64());
    let processor = machine::processor_time(helper.child.id()) - before;
    let share = seen.allowed / seen.requests;
    assert!(
        (0.1..=1.0).contains(&share),
        "{share} of the answers were allows: the questions are not the intended ones"
    );
    Round {
        per_second: seen.requests / seen.seconds,
        p50: seen.p50,
        p99: seen.p99,
        processor: processor / seen.requests * 1e6,
    }
}

pub fn measure(effort: Effort) -> Vec<Row> {
    let mandate = Mandate::start("http");
    mandate.ask_about_every_site();
    let servers = [&echo("bare"), &echo("edge"), &mandate.0];
    let mut rounds: [Vec<Round>; 3] = [const { Vec::new() }; 3];
    for n in 0..effort.rounds {
        // Nobody is always the first.
        for server in (0..servers.len()).map(|at| (at + n) % servers.len()) {
            rounds[server].push(round(servers[server], effort));
        }
        eprintln!("round {}: {:.0?}", n + 1, rounds.each_ref().map(|rounds| rounds[n].per_second));
    }
    let of =
        |server: usize, value: fn(&Round) -> f64| median(&mut rounds[server].iter().map(value).collect::<Vec<_>>());
    let by = |server: usize, value: fn(&Round) -> f64| {
        median(
            &mut rounds[server].iter().zip(&rounds[0]).map(|(own, bare)| value(own) / value(bare)).collect::<Vec<_>>(),
        )
    };
    let absolute = |server: usize| {
        format!(
            "{:.0}/s, p50 {:.0} µs, p99 {:.0} µs, processor {:.1} µs",
            of(server, |r| r.per_second),
            of(server, |r| r.p50),
            of(server, |r| r.p99),
            of(server, |r| r.processor)
        )
    };
    let (rate, p99) = (by(2, |r| r.per_second), by(2, |r| r.p99));
    vec![
        Row::told("bare axum echo over TCP, one core, 32 connections", absolute(0)),
        Row::told("the same echo behind our accept loop and edge", absolute(1)),
        Row::told("evaluation over TCP", absolute(2)),
        Row::aimed("evaluation, requests/s by the bare echo", format!("{rate:.2} ×"), "≥ 0.45 ×", rate >= 0.45),
        Row::told("· of which the edge alone would leave", format!("{:.2} ×", by(1, |r| r.per_second))),
        Row::told(
            "evaluation, requests for each second of processor time, by the bare echo",
            format!("{:.2} ×", 1.0 / by(2, |r| r.processor)),
        ),
        Row::told("evaluation, p50 by the bare echo", format!("{:.2} ×", by(2, |r| r.p50))),
        Row::aimed("evaluation, p99 by the bare echo", format!("{p99:.2} ×"), "≤ 2 ×", p99 <= 2.0),
    ]
}

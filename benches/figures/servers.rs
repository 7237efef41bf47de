//! The processes that are measured: the program, the yardsticks, a Redis; each ends with its value.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{data, load, load::Asks, machine, stores};

/// Where servers run that are loaded.
pub const SERVER_CORE: usize = 0;
/// Where the load runs, and what else is not measured.
pub const LOAD_CORE: usize = 1;
/// Connections of the load, each waiting for its answer.
pub const CONNECTIONS: usize = 32;
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(2);
/// What copies in the shared cache are authenticated with.
pub const MAC_KEY: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";

/// A process that ends with us.
pub struct Helper {
    child: Child,
    pub address: String,
}

impl Helper {
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The program.
pub struct Mandate {
    pub helper: Helper,
    /// From its start until it was ready.
    pub took: Duration,
    admin: String,
}

impl Mandate {
    /// Serves a copy of the embedded store with [`data::SITES`] sites.
    pub fn embedded(name: &str) -> Self {
        let path = stores::copy(&data::scratch(name), data::SITES, &data::policies());
        Self::start(&format!("sqlite:{}", path.display()), None, Some(SERVER_CORE))
    }
    /// Serves this database, and waits until it is ready.
    pub fn start(database: &str, redis: Option<&Redis>, core: Option<usize>) -> Self {
        let [control, admin] = [free_address(), free_address()];
        let mut command = machine::pinned(core, env!("CARGO_BIN_EXE_mandate"));
        command
            .args(["serve", "--log", "warn", "--listen", &control, "--admin-listen", &admin])
            .env("MANDATE_DATABASE_URL", database)
            .current_dir(data::scratch("serving"))
            .stderr(Stdio::null());
        if let Some(redis) = redis {
            command.env("MANDATE_REDIS_URL", redis.url()).env("MANDATE_CACHE_MAC_KEY", MAC_KEY);
        }
        let started = Instant::now();
        let helper = Helper { child: command.spawn().unwrap(), address: control };
        while !is_ready(&admin) {
            assert!(started.elapsed() < PATIENCE, "the program did not become ready");
            std::thread::sleep(LOOK);
        }
        Self { helper, took: started.elapsed(), admin }
    }
    pub fn process(&self) -> u32 {
        self.helper.process()
    }
    /// How many sites it has read from the database, by its own count.
    pub fn read_from_store(&self) -> f64 {
        let page =
            ureq::get(format!("http://{}/metrics", self.admin)).call().unwrap().body_mut().read_to_string().unwrap();
        let lines = page.lines().filter(|line| line.starts_with("mandate_cache_requests_total{layer=\"store\""));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
    /// Asks about each of the first sites once, so that it holds them.
    pub fn ask_about(&self, sites: usize) {
        load::on(LOAD_CORE, &self.helper.address, CONNECTIONS, Asks::Once { from: 0, count: sites });
    }
}

fn is_ready(admin: &str) -> bool {
    let Ok(mut socket) = TcpStream::connect(admin) else { return false };
    let mut answer = String::new();
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
        && socket.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// A yardstick: this program under another word.
pub fn yardstick(words: &[&str]) -> Helper {
    let program = std::env::current_exe().unwrap();
    let mut child = machine::pinned(Some(SERVER_CORE), program.to_str().unwrap())
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    Helper { child, address: address.trim().to_owned() }
}

/// A redis-server that keeps nothing.
pub struct Redis(Helper);

impl Redis {
    /// Starts it beside the load: the server's core is the server's alone.
    pub fn start() -> Self {
        let address = free_address();
        let port = address.rsplit_once(':').unwrap().1.to_owned();
        let child = machine::pinned(Some(LOAD_CORE), "redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(data::scratch("serving"))
            .stdout(Stdio::null())
            .spawn()
            .expect("`redis-server` is installed (`.ci/tools` does it)");
        let redis = Self(Helper { child, address });
        let started = Instant::now();
        while redis.try_ask::<String>(&["PING"]).is_err() {
            assert!(started.elapsed() < PATIENCE, "Redis did not start");
            std::thread::sleep(LOOK);
        }
        redis
    }
    pub fn url(&self) -> String {
        format!("redis://{}", self.0.address)
    }
    fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut redis::Client::open(self.url())?.get_connection()?)
    }
    /// One command.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap()
    }
    /// Waits until this many listen to hints: they look copies up from then on.
    pub fn wait_for(&self, replicas: usize) {
        let started = Instant::now();
        loop {
            let (_, listeners): (String, usize) = self.ask(&["PUBSUB", "NUMSUB", "mandate:hint"]);
            if listeners >= replicas {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{listeners} replicas use Redis, not {replicas}");
            std::thread::sleep(LOOK);
        }
    }
}

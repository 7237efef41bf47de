//! A subscriber and a Redis, both real: an HTTP server on a socket, and a `redis-server` process.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::server::until;

/// A delivery as it came in.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: BTreeMap<String, String>,
    pub raw: Vec<u8>,
    pub body: Value,
    pub at: Instant,
    /// The status that it was answered with.
    pub answered: u16,
}

impl Received {
    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap()
    }
    pub fn seq(&self) -> u64 {
        self.body["sequence"].as_str().unwrap().parse().unwrap()
    }
    pub fn subject(&self) -> &str {
        self.body["subject"].as_str().unwrap()
    }
}

/// What the subscriber answers: a status and further header lines.
pub type Mood = Arc<dyn Fn(&Value) -> (u16, String) + Send + Sync>;

/// An HTTP server that keeps what it is sent.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Receiver {
    pub fn start(mood: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), mood)
    }
    /// One that takes everything.
    pub fn glad() -> Self {
        Self::start(|_| (204, String::new()))
    }
    pub fn on(address: SocketAddr, mood: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::with(address, None, mood)
    }
    /// One that speaks TLS, with the certificate and key of these files.
    pub fn behind_tls(certificate: &Path, key: &Path) -> Self {
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::with("127.0.0.1:0".parse().unwrap(), Some(Arc::new(config)), |_| (204, String::new()))
    }
    fn with(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        mood: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mood: Mood = Arc::new(mood);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (connections, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (all, count, end) = (Arc::clone(&seen), Arc::clone(&connections), Arc::clone(&ended));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let (mood, all) = (Arc::clone(&mood), Arc::clone(&all));
                // A sender that is shot breaks off anywhere.
                let (stream, tls) = (stream.unwrap(), tls.clone());
                thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
                    let _ = match tls {
                        None => serve(stream, &mood, &all),
                        Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &mood, &all),
                    };
                });
            }
        });
        Self { address, seen, connections, ended, accepting: Some(accepting) }
    }
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    pub fn url(&self) -> String {
        format!("http://{}/hook?token=hunter2", self.address)
    }
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
    /// Everything that came in, in order.
    pub fn all(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }
    /// What was taken, by subject.
    pub fn taken(&self, subject: &str) -> Vec<u64> {
        let all = self.all();
        all.iter().filter(|r| r.answered < 300 && r.subject() == subject).map(Received::seq).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: impl Read + Write, mood: &Mood, all: &Mutex<Vec<Received>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.starts_with("POST /hook?token=hunter2 HTTP/1.1") {
        return Ok(());
    }
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut raw = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut raw)?;
    let body: Value = serde_json::from_slice(&raw).unwrap();
    let at = Instant::now();
    let (status, more) = mood(&body);
    // Before the answer: what the sender knows to be taken is in the list.
    all.lock().unwrap().push(Received { headers, raw, body, at, answered: status });
    // A body that must turn up nowhere.
    let text = "the-subscribers-own-words";
    let mut stream = reader.into_inner();
    write!(stream, "HTTP/1.1 {status} X\r\n{more}content-length: {}\r\n\r\n{text}", text.len())?;
    stream.flush()
}

/// A `redis-server` in a folder of its own.
pub struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Redis {
    pub fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut redis = Self { port, folder: tempfile::tempdir().unwrap(), process: None };
        redis.up();
        redis
    }
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
    /// Starts it, with what it had on its disk.
    pub fn up(&mut self) {
        let port = self.port.to_string();
        let words =
            ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"];
        let folder = self.folder.path().to_str().unwrap();
        let process = Command::new("redis-server")
            .args(words)
            .args(["--dir", folder])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`redis-server` is needed for this test: `make tools` installs it");
        self.process = Some(process);
        until("redis answers", || {
            let mut connection = redis::Client::open(self.url()).unwrap().get_connection().ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        });
    }
    /// SIGKILL.
    pub fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
    /// Removes what it had on its disk.
    pub fn forget(&self) {
        assert!(self.process.is_none());
        let kept: &Path = self.folder.path();
        std::fs::remove_dir_all(kept.join("appendonlydir")).unwrap();
    }
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }
    /// The stream: each entry's id with the event in it.
    pub fn entries(&self, stream: &str) -> Vec<(String, Value)> {
        let found: Vec<(String, BTreeMap<String, String>)> =
            redis::cmd("XRANGE").arg(stream).arg("-").arg("+").query(&mut self.connection()).unwrap();
        let entry = |(id, fields): (String, BTreeMap<String, String>)| {
            let event: Value = serde_json::from_str(&fields["event"]).unwrap();
            assert_eq!(event["id"], fields["id"].as_str());
            (id, event)
        };
        found.into_iter().map(entry).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.down();
    }
}

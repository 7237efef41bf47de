//! Redis processes, and caches that use them.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mandate::{
    cache::shared::{Found, Lookup, SharedCache},
    config::{CacheUrl, MacKeys, SharedCacheSettings},
    ids::SiteId,
    revision::Revision,
    site::{Plan, Seats, Site, Tier},
};

pub const EPOCH: &str = "e-1/1";
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `holds` answers something.
pub async fn until<T, L: Future<Output = Option<T>>>(what: &str, mut holds: impl FnMut() -> L) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = holds().await {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A port that nobody listens on. Ten thousand more is free as well: the bus of a cluster.
pub fn free_port() -> u16 {
    loop {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let bus = port.checked_add(10_000);
        if bus.is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}

/// A process in a folder of its own.
pub struct Redis {
    pub port: u16,
    pub folder: tempfile::TempDir,
    words: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    pub async fn start(words: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = Self::prepared(free_port(), folder, words);
        redis.started().await
    }
    /// Not started.
    pub fn prepared(port: u16, folder: tempfile::TempDir, words: &[&str]) -> Self {
        Self { port, folder, words: words.iter().map(|word| (*word).to_owned()).collect(), process: None }
    }
    pub async fn started(mut self) -> Self {
        self.up().await;
        self
    }
    /// A Sentinel that watches `master` under the name `main`.
    pub async fn sentinel(master: &Self) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let conf: PathBuf = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            master.port
        );
        std::fs::write(&conf, text).unwrap();
        let mut redis = Self::prepared(port, folder, &[]);
        redis.run(&[conf.to_str().unwrap(), "--sentinel"]).await;
        redis
    }
    /// Starts it, with what it had on its disk.
    pub async fn up(&mut self) {
        let (port, folder) = (self.port.to_string(), self.folder.path().to_str().unwrap().to_owned());
        let mut words = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--save", ""];
        let more = self.words.clone();
        words.extend(more.iter().map(String::as_str));
        self.run(&words).await;
    }
    async fn run(&mut self, words: &[&str]) {
        let process = Command::new("redis-server")
            .args(words)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`redis-server` is needed for this test: `make tools` installs it");
        self.process = Some(process);
        until("redis answers", || async { self.try_ask(&["PING"]) }).await;
    }
    fn signal(&self, name: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }
    pub fn stop(&self) {
        self.signal("-STOP");
    }
    pub fn go_on(&self) {
        self.signal("-CONT");
    }
    /// SIGKILL.
    pub fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }
    fn try_ask(&self, words: &[&str]) -> Option<redis::Value> {
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().ok()?;
        command(words).query(&mut connection).ok()
    }
    /// One command. A server that takes on another role ends its connections; then it is asked again.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let ask = || command(words).query(&mut redis::Client::open(self.url())?.get_connection()?);
        let begin = Instant::now();
        loop {
            match ask() {
                Err(error) if error.is_io_error() && begin.elapsed() < PATIENCE => std::thread::sleep(LOOK),
                answer => return answer.unwrap(),
            }
        }
    }
    /// The names of all keys.
    pub fn names(&self) -> Vec<String> {
        self.ask(&["KEYS", "*"])
    }
    pub fn value(&self, name: &str) -> Vec<u8> {
        self.ask(&["GET", name])
    }
    pub fn overwrite(&self, name: &str, value: &[u8]) {
        redis::cmd("SET").arg(name).arg(value).exec(&mut self.connection()).unwrap();
    }
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.down();
    }
}

pub fn settings(url: &str) -> SharedCacheSettings {
    SharedCacheSettings {
        url: CacheUrl::try_from(url.to_owned()).unwrap(),
        keys: keys("5e"),
        namespace: "mandate".to_owned(),
    }
}
/// A key of one repeated byte.
pub fn keys(byte: &str) -> MacKeys {
    MacKeys::try_from(byte.repeat(32)).unwrap()
}

/// One replica's cache, and the hints that it got.
pub struct Replica {
    pub cache: SharedCache,
    hints: Arc<Mutex<Vec<Revision>>>,
}

impl Replica {
    pub fn of(settings: &SharedCacheSettings) -> Self {
        let hints = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&hints);
        let cache = SharedCache::start(settings, move |revision| told.lock().unwrap().push(revision)).unwrap();
        Self { cache, hints }
    }
    /// Connected to `url`.
    pub async fn at(url: &str) -> Self {
        Self::of(&settings(url)).ready().await
    }
    pub async fn ready(self) -> Self {
        self.until_available().await;
        self
    }
    pub async fn until_available(&self) {
        until("the cache is connected", || async { self.cache.is_available().then_some(()) }).await;
    }
    /// One lookup, whatever becomes of it.
    pub async fn look(&self, site: &str) -> Lookup {
        self.cache.get(EPOCH, &id(site)).await
    }
    /// What is there. On a busy machine a lookup is late now and then; the next one is not.
    pub async fn get(&self, site: &str) -> Lookup {
        self.get_in(EPOCH, site).await
    }
    pub async fn get_in(&self, epoch: &str, site: &str) -> Lookup {
        until("a lookup is answered", || async {
            Some(self.cache.get(epoch, &id(site)).await).filter(|lookup| *lookup != Lookup::Unavailable)
        })
        .await
    }
    /// Shares it, and waits until it is there.
    pub async fn share(&self, tag: u64, site: &Site) {
        let expected = hit(tag, site);
        until("a copy is shared", || async {
            self.cache.put(EPOCH, Revision(tag), Arc::new(site.clone()));
            tokio::time::sleep(LOOK).await;
            (self.look(site.id.as_str()).await == expected).then_some(())
        })
        .await;
    }
    pub async fn until_found(&self, tag: u64, site: &Site) {
        let expected = hit(tag, site);
        until("a copy is found", || async { (self.look(site.id.as_str()).await == expected).then_some(()) }).await;
    }
    pub fn heard(&self, revision: u64) -> bool {
        self.hints.lock().unwrap().contains(&Revision(revision))
    }
    /// Whether a hint of this replica reaches the other.
    pub async fn until_heard_by(&self, other: &Self, revision: u64) {
        until("a hint arrives", || async {
            self.cache.hint(Revision(revision));
            tokio::time::sleep(LOOK).await;
            other.heard(revision).then_some(())
        })
        .await;
    }
}

pub fn hit(tag: u64, site: &Site) -> Lookup {
    Lookup::Hit(Found { tag: Revision(tag), site: Box::new(site.clone()) })
}

pub fn id(text: &str) -> SiteId {
    text.parse().unwrap()
}

pub fn site(name: &str, revision: u64) -> Site {
    let seats = Seats::SelfManaged { owner: "maria".parse().unwrap() };
    let mut site = Site::registered(id(name), seats, Plan::of(Tier::Premium), true, Vec::new());
    site.revision = Revision(revision);
    site
}

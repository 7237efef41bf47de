//! Two PostgreSQL servers of a test's own: a primary, and a standby that streams from it, synchronous or not.
//!
//! The standby reaches the primary at an address that the test names, so that a proxy in between can cut them apart. Both
//! are whole servers in folders of their own: either can be stopped in the middle, ended, or promoted.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::postgres::{program, programs, run};

/// How the standby is called where the primary names those it waits for.
const NAME: &str = "second";

/// Whether the primary waits for the standby before it says that a change is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    ForTheStandby,
    ForNobody,
}

/// A server of the two.
pub struct Node {
    _folder: tempfile::TempDir,
    port: u16,
    child: Child,
    /// Whether its processes are stopped.
    stopped: bool,
}

/// A primary, and the standby that follows it.
pub struct Pair {
    pub primary: Node,
    pub standby: Node,
}

impl Pair {
    /// Starts both and waits until the standby streams. `link` is given the primary's address and answers the one that
    /// the standby is to use.
    pub fn start(waits: Waits, link: impl FnOnce(SocketAddr) -> SocketAddr) -> Self {
        let primary = Node::primary();
        let standby = Node::standby_of(&primary, link(primary.address()));
        if waits == Waits::ForTheStandby {
            primary.ask(&format!("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ({NAME})'"));
            primary.ask("SELECT pg_reload_conf()");
        }
        let state = if waits == Waits::ForTheStandby { "sync" } else { "async" };
        let streams =
            format!("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{state}'");
        wait("the standby streams", || primary.ask(&streams) == "1");
        Self { primary, standby }
    }

    /// Waits until the standby shows everything that the primary has committed.
    pub fn caught_up(&self) {
        let end = self.primary.ask("SELECT pg_current_wal_lsn()");
        let there = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'::pg_lsn");
        wait("the standby has caught up", || self.standby.ask(&there) == "t");
    }
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(1), "waited a minute in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("mandate-pair").tempdir().unwrap();
    // Whoever the server runs as makes its own folder in it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn made(mut command: Command) {
    let done = command.current_dir("/").output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Node {
    /// A server of its own.
    pub fn primary() -> Self {
        let folder = folder();
        let mut initdb = program("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=mandate", "--encoding=UTF8", "--locale=C.UTF-8", "-D"]);
        initdb.arg(folder.path().join("data"));
        made(initdb);
        Self::started(folder)
    }

    fn standby_of(primary: &Self, link: SocketAddr) -> Self {
        let folder = folder();
        let mut copy = program("pg_basebackup");
        copy.args(["--host=127.0.0.1", "--username=mandate", "--checkpoint=fast", "--no-sync", "--wal-method=stream"]);
        copy.args(["--create-slot", "--slot", NAME, "--port", &primary.port.to_string(), "-D"]);
        copy.arg(folder.path().join("data"));
        made(copy);
        let conf = format!(
            "primary_conninfo = 'host={} port={} user=mandate application_name={NAME}'\nprimary_slot_name = '{NAME}'\n\
             wal_receiver_timeout = '60s'\nwal_retrieve_retry_interval = '200ms'\n",
            link.ip(),
            link.port()
        );
        // Read after `postgresql.conf`; the folder is the server's own.
        let data = folder.path().join("data");
        let before = fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
        fs::write(data.join("postgresql.auto.conf"), before + &conf).unwrap();
        fs::write(data.join("standby.signal"), "").unwrap();
        let _ = Command::new("chown").arg("postgres").arg(data.join("standby.signal")).stderr(Stdio::null()).status();
        Self::started(folder)
    }

    fn started(folder: tempfile::TempDir) -> Self {
        let port = free_port();
        // A change that waits for a standby is ended by nobody but the test.
        let settings = ["fsync=off", "wal_sender_timeout=0", "hot_standby_feedback=off"];
        let child = run(&folder.path().join("data"), port, &settings);
        let node = Self { _folder: folder, port, child, stopped: false };
        wait("the server answers", || node.try_ask("SELECT 1").is_some());
        node
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What `psql` prints for a statement; none when it fails.
    pub fn try_ask(&self, sql: &str) -> Option<String> {
        let server = format!("postgres://mandate@127.0.0.1:{}/postgres", self.port);
        let done = Command::new(programs().join("psql"))
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, &server])
            .stderr(Stdio::null())
            .output()
            .unwrap();
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap().trim().to_owned())
    }

    #[track_caller]
    pub fn ask(&self, sql: &str) -> String {
        self.try_ask(sql).unwrap_or_else(|| panic!("it was refused: {sql}"))
    }

    /// Makes a primary of a standby, and waits until it takes changes.
    pub fn promote(&self) {
        assert_eq!(self.ask("SELECT pg_promote()"), "t");
        wait("the standby is a primary", || self.ask("SELECT pg_is_in_recovery()") == "f");
    }

    /// The server's processes: the first one, and those that it has started.
    fn processes(&self) -> Vec<u32> {
        let own = self.child.id();
        let of_own = |folder: PathBuf| {
            let stat = fs::read_to_string(folder.join("stat")).ok()?;
            // The name in parentheses may hold anything; state and parent follow it.
            let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            (parent == own).then(|| folder.file_name()?.to_str()?.parse().ok()).flatten()
        };
        let others = fs::read_dir("/proc").unwrap().filter_map(|entry| of_own(entry.ok()?.path()));
        std::iter::once(own).chain(others).collect()
    }

    fn signal(&self, signal: &str) {
        for process in self.processes() {
            // One that ends in between is just as well.
            let _ = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Stops the server in the middle of whatever it does: SIGSTOP to all its processes.
    pub fn freeze(&mut self) {
        self.signal("-STOP");
        self.stopped = true;
    }

    /// Lets a stopped server go on.
    pub fn go_on(&mut self) {
        self.signal("-CONT");
        self.stopped = false;
    }

    /// Ends the server at once.
    pub fn end(&mut self) {
        if self.stopped {
            self.go_on();
        }
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

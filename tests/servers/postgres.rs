//! A PostgreSQL server of a test's own: a fresh cluster in a temporary folder, on a free port, gone with the test.
//!
//! Shared by the tests of the library, those of the program and the measurements (`#[path]`). The server refuses to run as
//! root, so it runs as `postgres` where the tests run as root.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A running server.
pub struct Postgres {
    folder: PathBuf,
    /// Removed with the server; none where what is in the folder is kept.
    temporary: Option<tempfile::TempDir>,
    port: u16,
    child: Child,
}

/// The folder of the server's programs: the newest installed one's, or the one that `MANDATE_TEST_POSTGRES` names.
pub fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("MANDATE_TEST_POSTGRES") {
        return folder.into();
    }
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed (`.ci/tools` does it)")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL's server is installed (`.ci/tools` does it)").1
}

/// A program of the server's, run as somebody whom it accepts, and ended with this process.
pub fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() == 0 {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command.arg(programs().join(name));
    command
}

impl Postgres {
    /// Starts a server that may lose what it wrote when the machine stops: for tests that do not stop it.
    pub fn start() -> Self {
        Self::start_with(&["fsync=off"])
    }

    /// Starts a server with these settings.
    pub fn start_with(settings: &[&str]) -> Self {
        let temporary = tempfile::Builder::new().prefix("mandate-postgres").tempdir().unwrap();
        Self::start_in(temporary.path().to_owned(), Some(temporary), settings)
    }

    /// Starts a server on the cluster in `folder`, made where there is none; kept, unless the folder is a temporary one.
    pub fn start_in(folder: PathBuf, temporary: Option<tempfile::TempDir>, settings: &[&str]) -> Self {
        // Whoever the server runs as makes its own folder in it.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let data = folder.join("data");
        if !data.exists() {
            let made = program("initdb")
                .args(["--no-sync", "--auth=trust", "--username=mandate", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
                .arg(&data)
                .current_dir("/")
                .output()
                .unwrap();
            assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = run(&data, port, settings);
        let mut server = Self { folder, temporary, port, child };
        server.wait();
        server
    }

    /// Starts a server that also speaks TLS, with this certificate and key.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        let settings: Vec<String> = [("ssl_cert_file", certificate), ("ssl_key_file", key)]
            .into_iter()
            .map(|(name, file)| {
                fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
                // The server reads a key of its own user only; without root it runs as whoever made the key.
                let _ = Command::new("chown").arg("postgres").arg(file).stderr(Stdio::null()).status();
                format!("{name}={}", file.display())
            })
            .collect();
        let settings: Vec<&str> =
            ["fsync=off", "ssl=on"].into_iter().chain(settings.iter().map(String::as_str)).collect();
        Self::start_with(&settings)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn wait(&mut self) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the PostgreSQL server ended at once: {status}");
            }
            // The port answers before the server does: only an answered question counts.
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.ask("SELECT 1").is_some() {
                return;
            }
            assert!(started.elapsed() < Duration::from_mins(1), "the PostgreSQL server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the server is: a database of its own for this URL's holder is its schema `name`, made when it is not there.
    pub fn url(&self, name: &str) -> String {
        assert!(self.ask(&format!("CREATE SCHEMA IF NOT EXISTS \"{name}\"")).is_some());
        format!("{}?options=-csearch_path%3D{name}", self.server())
    }

    /// The server itself.
    pub fn server(&self) -> String {
        format!("postgres://mandate@127.0.0.1:{}/postgres", self.port)
    }

    /// What `psql` prints for a statement; none when it fails.
    pub fn ask(&self, sql: &str) -> Option<String> {
        let own = programs().join("psql");
        let done = Command::new(if own.exists() { own } else { "psql".into() })
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.server()])
            .stderr(Stdio::null())
            .output()
            .unwrap();
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap().trim().to_owned())
    }

    /// Stops the server at once, as `pg_ctl stop -m immediate` does: what was committed is recovered at the next start.
    pub fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-QUIT", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
    }

    /// Starts a server that was stopped.
    pub fn start_again(&mut self) {
        self.child = run(&self.data(), self.port, &[]);
        self.wait();
    }
}

pub fn run(data: &Path, port: u16, settings: &[&str]) -> Child {
    let mut command = program("postgres");
    command.arg("-D").arg(data).args(["-p", &port.to_string()]);
    let own = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=16MB", "max_connections=200"];
    for setting in own.iter().chain(settings) {
        command.args(["-c", setting]);
    }
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.temporary.is_some() {
            let _ = self.child.kill();
        } else {
            // What is kept is left in order: a fast shutdown.
            let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        }
        let _ = self.child.wait();
    }
}

/// Servers that follow others, and that are killed.
impl Postgres {
    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// A copy of the server behind `port` of this machine that follows it, under this name.
    pub fn standby_of(port: u16, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("mandate-standby").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let made = program("pg_basebackup")
            .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "-R", "-D"])
            .arg(folder.path().join("data"))
            .args(["-d", &format!("host=127.0.0.1 port={port} user=mandate application_name={name}")])
            .current_dir("/")
            .output()
            .unwrap();
        assert!(made.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&made.stderr));
        Self::start_in(folder.path().to_owned(), Some(folder), &["fsync=off"])
    }

    /// The server's processes: the first one, and those that it has started.
    fn processes(&self) -> Vec<String> {
        let own = self.child.id();
        let started_by_it = |folder: PathBuf| {
            let stat = fs::read_to_string(folder.join("stat")).ok()?;
            // The name in parentheses may hold anything; state and parent follow it.
            let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            (parent == own).then(|| folder.file_name()?.to_str().map(str::to_owned)).flatten()
        };
        let others = fs::read_dir("/proc").unwrap().filter_map(|entry| started_by_it(entry.ok()?.path()));
        others.chain([own.to_string()]).collect()
    }

    /// Sends a signal to every process of the server.
    pub fn signal(&self, signal: &str) {
        let _ = Command::new("kill").arg(signal).args(self.processes()).stderr(Stdio::null()).status();
    }

    /// SIGKILL to all of it.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.child.wait().unwrap();
    }
}

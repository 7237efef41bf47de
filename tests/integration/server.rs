//! An installation in a folder of its own, and the server that runs on it.
//!
//! The program runs in the installation's folder, so that it finds no `./policies` and uses the copies compiled in, on
//! ports that the system chose and its log names.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http::Client,
    program::{Run, program},
};

/// Longer than any condition takes to come true on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `holds` answers something; fails when that takes too long.
#[track_caller]
pub fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        thread::sleep(LOOK);
    }
}

/// A folder with a database, and the settings that its servers start with.
pub struct Installation {
    folder: TempDir,
    settings: Vec<(String, String)>,
    /// A command that is given the program and its arguments, for example a shell that sets a limit first.
    wrapper: Vec<String>,
}

/// A server that did not start.
#[derive(Debug)]
pub struct NotStarted {
    pub status: ExitStatus,
    pub log: String,
}

impl Installation {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), settings: Vec::new(), wrapper: Vec::new() }
    }
    /// One with these records in it.
    pub fn with(records: &[Value]) -> Self {
        let installation = Self::new();
        installation.import(records);
        installation
    }
    /// Sets a variable for everything that is started from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.into()));
        self
    }
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    pub fn database(&self) -> PathBuf {
        self.folder().join("data/mandate.db")
    }

    /// The program under this installation's settings.
    fn program(&self, wrapper: &[String]) -> Command {
        let plain = program(self.folder());
        let mut command = match wrapper {
            [] => plain,
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(plain.get_program()).current_dir(self.folder());
                for (name, value) in plain.get_envs() {
                    match value {
                        Some(value) => command.env(name, value),
                        None => command.env_remove(name),
                    };
                }
                command
            }
        };
        command.envs(self.settings.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }
    /// Runs the command line to its end.
    pub fn run(&self, words: &[&str]) -> Run {
        Run::of(&self.program(&[]).args(words).output().unwrap())
    }
    /// Imports records, one a line.
    #[track_caller]
    pub fn import(&self, records: &[Value]) {
        let lines: Vec<String> = records.iter().map(Value::to_string).collect();
        let file = self.folder().join("import.jsonl");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let done = self.run(&["import", file.to_str().unwrap()]);
        assert_eq!(done.code, Some(0), "{}", done.err);
    }
    /// Checks the audit log and answers what the check says.
    #[track_caller]
    pub fn verify_audit(&self) -> String {
        let done = self.run(&["audit", "verify"]);
        assert!(done.code == Some(0) && done.out.starts_with("whole: "), "{done:?}");
        done.out
    }

    #[track_caller]
    pub fn start(&self) -> Server {
        self.try_start()
            .unwrap_or_else(|failed| panic!("the server did not start ({}):\n{}", failed.status, failed.log))
    }
    /// Starts a server and waits until it says that it serves.
    pub fn try_start(&self) -> Result<Server, NotStarted> {
        let mut command = self.program(&self.wrapper);
        command.arg("serve");
        for name in ["MANDATE_LISTEN", "MANDATE_ADMIN_LISTEN"] {
            if self.settings.iter().all(|(known, _)| known != name) {
                command.env(name, "127.0.0.1:0");
            }
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        loop {
            let begin = log.len();
            if lines.read_line(&mut log).unwrap() == 0 {
                return Err(NotStarted { status: child.wait().unwrap(), log });
            }
            let Ok(line) = serde_json::from_str::<Value>(&log[begin..]) else { continue };
            if line["message"] != "serving" {
                continue;
            }
            let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
            let (control, admin) = (address("control"), address("admin"));
            let log = Arc::new(Mutex::new(log));
            // Somebody has to read on, or the server would stand still once the pipe is full.
            let more = Arc::clone(&log);
            let reader = thread::spawn(move || {
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                    more.lock().unwrap().push_str(&line);
                    line.clear();
                }
            });
            return Ok(Server { child, control, admin, log, reader: Some(reader) });
        }
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    control: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub fn client(&self) -> Client {
        Client::new(self.control)
    }
    pub fn admin(&self) -> Client {
        Client::new(self.admin)
    }
    pub fn address(&self) -> SocketAddr {
        self.control
    }
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
    /// Memory that the process has, in kilobytes.
    pub fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
    /// SIGTERM, and waits for the end; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().code()
    }
    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed already is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
    }
}

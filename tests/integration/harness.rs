//! A server of one's own: the built binary on a temporary folder and free ports.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a start may take: under a debugger or a loaded machine it is not quick.
const START: Duration = Duration::from_mins(1);

/// Status, headers and body.
pub type Answer = (u16, ureq::http::HeaderMap, Value);

/// A running server. It is killed when it is dropped.
pub struct Server {
    folder: Arc<TempDir>,
    settings: Vec<(String, String)>,
    process: Child,
    /// `http://127.0.0.1:PORT`
    pub base: String,
    /// The same of the admin listener.
    pub admin: String,
    agent: ureq::Agent,
}

impl Server {
    /// Starts a server with these environment variables and waits until it is ready.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::spawn(Arc::new(TempDir::new().unwrap()), settings)
    }

    fn spawn(folder: Arc<TempDir>, settings: Vec<(String, String)>) -> Self {
        let mut process = program(folder.path())
            .arg("serve")
            .env("MANDATE_LISTEN", "127.0.0.1:0")
            .env("MANDATE_ADMIN_LISTEN", "127.0.0.1:0")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = log_of(&mut process);
        let serving = loop {
            let line = log.recv_timeout(START).expect("the server ends or hangs instead of serving; its log is above");
            match serde_json::from_str::<Value>(&line) {
                Ok(line) if line["message"] == "serving" => break line,
                _ => {}
            }
        };
        let address = |name: &str| format!("http://{}", serving[name].as_str().unwrap());
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let server =
            Self { base: address("control"), admin: address("admin"), folder, settings, process, agent: config.into() };
        let ready = server.agent.get(format!("{}/readyz", server.admin)).call().unwrap();
        assert_eq!(ready.status(), 200);
        server
    }

    /// The folder it runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    /// Its database.
    pub fn database(&self) -> PathBuf {
        self.folder().join("data/mandate.db")
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        taken(self.agent.get(format!("{}{path}", self.base)).call().unwrap())
    }
    /// `PUT` with a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        taken(self.agent.put(format!("{}{path}", self.base)).send_json(body).unwrap())
    }
    /// `POST` with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body)
    }
    /// `POST` with headers and a JSON body.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        taken(request.send_json(body).unwrap())
    }
    /// May `user` do `action` on `site`?
    pub fn allows(&self, user: &str, action: &str, site: &str) -> bool {
        let question = json!({
            "subject": {"type": "user", "id": user},
            "action": {"name": action},
            "resource": {"type": "site", "id": site},
        });
        let (status, _, body) = self.post("/access/v1/evaluation", &question);
        assert_eq!(status, 200, "{body}");
        body["decision"].as_bool().unwrap()
    }

    /// Kills it without a warning, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
    /// Asks it to stop, and waits for the end; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
    /// Starts it again on the same data, after [`Self::kill`] or [`Self::stop`]; its ports are new.
    pub fn restart(&mut self) {
        self.kill();
        let again = Self::spawn(Arc::clone(&self.folder), self.settings.clone());
        drop(std::mem::replace(self, again));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The built program, in `folder`, without any setting of the environment that runs the tests. The variable of the
/// same name as cargo's own lets the same tests judge another binary, a packaged one for example.
pub fn program(folder: &Path) -> Command {
    let named = std::env::var_os("CARGO_BIN_EXE_mandate");
    let mut command = Command::new(named.as_deref().unwrap_or(OsStr::new(env!("CARGO_BIN_EXE_mandate"))));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MANDATE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// Runs a command to its end.
pub fn run<S: AsRef<OsStr>>(folder: &Path, words: &[S]) -> Run {
    Run::of(&program(folder).args(words).stdin(Stdio::null()).output().unwrap())
}

/// The same with something to read.
pub fn run_reading<S: AsRef<OsStr>>(folder: &Path, words: &[S], input: &str) -> Run {
    let mut command = program(folder);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // A command that refuses before it reads closes the pipe.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    Run::of(&process.wait_with_output().unwrap())
}

/// How a command ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its answer.
    pub out: String,
    /// Everything else.
    pub err: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// The lines of a process's log, echoed for whoever reads a failed test.
fn log_of(process: &mut Child) -> Receiver<String> {
    let (tell, log) = channel();
    let reader = BufReader::new(process.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            eprintln!("server: {line}");
            // After the start nobody listens any more; the pipe must be emptied all the same.
            let _ = tell.send(line);
        }
    });
    log
}

fn taken(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let body = response.body_mut().read_json().unwrap_or(Value::Null);
    (response.status().as_u16(), response.headers().clone(), body)
}

//! A `redis-server` process that can be stopped, killed and brought back with what it had on its disk.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use crate::server::until;

/// A running server.
pub struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Redis {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut redis = Self { port, folder: tempfile::tempdir().unwrap(), process: None };
        redis.up();
        redis
    }
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
    /// Starts it, with what it had on its disk.
    pub fn up(&mut self) {
        let words = ["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"].map(str::to_owned);
        let process = Command::new("redis-server")
            .args(words)
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`redis-server` is needed for this test: `make tools` installs it");
        self.process = Some(process);
        until("redis answers", || self.try_ask::<String>(&["PING"]));
    }
    /// SIGKILL.
    pub fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
    pub fn signal(&self, signal: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }
    fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        let mut connection = client.get_connection().ok()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).ok()
    }
    /// One command.
    #[track_caller]
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap_or_else(|| panic!("redis refused {words:?}"))
    }
    /// Every copy that replicas share, by its name.
    pub fn copies(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let names: Vec<Vec<u8>> = redis::cmd("KEYS").arg("mandate*").query(&mut connection).unwrap();
        let read = |name: Vec<u8>| {
            let value: Vec<u8> = redis::cmd("GET").arg(&name).query(&mut connection).ok()?;
            Some((name, value))
        };
        names.into_iter().filter_map(read).collect()
    }
    /// Writes copies, as anybody could who may.
    pub fn write(&self, copies: &[(Vec<u8>, Vec<u8>)]) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut all = redis::pipe();
        for (name, value) in copies {
            all.set(name, value).ignore();
        }
        // The client refuses to send nothing.
        if !copies.is_empty() {
            all.exec(&mut connection).unwrap();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.down();
    }
}

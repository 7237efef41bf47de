//! A real `PgBouncer` in front of the database, which gives a connection to whoever has a transaction, and to others after it.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
};

use crate::server::until;

/// A running pooler.
pub struct PgBouncer {
    port: u16,
    process: Child,
    _folder: tempfile::TempDir,
}

fn program() -> Option<&'static str> {
    ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
}

impl PgBouncer {
    /// One that pools transactions; none where it is not installed. `ignore` are parameters of a connection's start that it
    /// is to leave out, without which it refuses the schema that the URL names.
    pub fn in_front_of(database: SocketAddr, ignore: &str) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::Builder::new().prefix("mandate-pgbouncer").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (users, settings) = (folder.path().join("users"), folder.path().join("settings"));
        fs::write(&users, "\"mandate\" \"\"\n").unwrap();
        let lines = [
            "[databases]".to_owned(),
            format!(
                "postgres = host={} port={} dbname=postgres connect_query='SET search_path TO mandate'",
                database.ip(),
                database.port()
            ),
            "[pgbouncer]".into(),
            format!("listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust"),
            format!("auth_file = {}", users.display()),
            "pool_mode = transaction\ndefault_pool_size = 3".into(),
            format!("ignore_startup_parameters = {ignore}"),
        ];
        fs::write(&settings, lines.join("\n")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        // It refuses to run as root.
        if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() == 0 {
            command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
        }
        let process = command
            .arg(program)
            .arg(&settings)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pooler = Self { port, process, _folder: folder };
        until("PgBouncer listens", || TcpStream::connect(pooler.address()).ok());
        Some(pooler)
    }
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

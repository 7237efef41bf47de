//! HTTP/1.1 as a caller speaks it: one kept connection, exact bytes in, status, headers and bytes out.
//!
//! By hand on a socket, because half of these tests send what no client library would: two lengths, a body that breaks
//! off, a request whose answer is never read because the server is shot in the meantime.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

/// Longer than anything that works takes; a server that hangs fails its test instead of the whole run.
const PATIENCE: Duration = Duration::from_mins(1);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self}"))
    }
    /// The problem's code; empty for what is not a problem.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        body["code"].as_str().unwrap_or_default().to_owned()
    }
    /// The revision that the answer was given at.
    pub fn revision(&self) -> u64 {
        let text = self.header("revision").unwrap_or_else(|| panic!("no revision in {self}"));
        text.parse().unwrap_or_else(|_| panic!("the revision `{text}` is not a number"))
    }
    /// Fails unless the answer is a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status < 300, "not carried out: {self}");
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.text())
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Call {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: None }
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").raw(body.to_string())
    }
    /// A body as it is, without a content type.
    pub fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }
    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if let Some(body) = &self.body {
            write!(head, "content-length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// One connection.
pub struct Connection<S = TcpStream>(BufReader<S>);

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // A request is one write; waiting to send it would only make everything slower.
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }
    /// Says that nothing more will come.
    pub fn end(&mut self) -> io::Result<()> {
        self.0.get_ref().shutdown(std::net::Shutdown::Write)
    }
}

impl<S: Read + Write> Connection<S> {
    /// One over a stream that is open.
    pub fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }
    /// Reads one answer.
    pub fn read(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("`{line}` is not a status line")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("header `{line}`")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        assert!(answer.header("transfer-encoding").is_none(), "a chunked answer: {answer:?}");
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.0.read_exact(&mut answer.body)?;
        Ok(answer)
    }
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// A caller: opens a connection when it needs one and keeps it.
pub struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }
    /// Sends bytes without waiting for the answer, and hands the connection over.
    pub fn send(&mut self, call: &Call) -> io::Result<Connection> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address)?,
        };
        connection.send(&call.bytes())?;
        Ok(connection)
    }
    pub fn try_call(&mut self, call: &Call) -> io::Result<Answer> {
        let mut connection = self.send(call)?;
        let answer = connection.read()?;
        if answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
    #[track_caller]
    pub fn call(&mut self, call: &Call) -> Answer {
        match self.try_call(call) {
            Ok(answer) => answer,
            Err(error) => panic!("{} {}: {error}", call.method, call.path),
        }
    }
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.call(&Call::new("GET", path))
    }
    #[track_caller]
    pub fn put(&mut self, path: &str, body: &Value) -> Answer {
        self.call(&Call::new("PUT", path).json(body))
    }
    #[track_caller]
    pub fn delete(&mut self, path: &str) -> Answer {
        self.call(&Call::new("DELETE", path))
    }
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.call(&Call::new("POST", path).json(body))
    }

    /// Asks the standard's question; the subject is `user:maria` or `staff:sam`.
    #[track_caller]
    pub fn ask(&mut self, subject: &str, action: &str, site: &str, context: &Value) -> Answer {
        let (kind, id) = subject.split_once(':').expect("a subject is `kind:id`");
        let answer = self.post(
            "/access/v1/evaluation",
            &json!({"subject": {"type": kind, "id": id}, "action": {"name": action},
                    "resource": {"type": "site", "id": site}, "context": context}),
        );
        assert_eq!(answer.status, 200, "{subject} {action} {site} {context}: {answer}");
        answer
    }
    /// The answer of a check.
    #[track_caller]
    pub fn may(&mut self, subject: &str, action: &str, site: &str, context: &Value) -> bool {
        self.ask(subject, action, site, context).json()["decision"].as_bool().unwrap()
    }
    /// Why not; empty for an allow.
    #[track_caller]
    pub fn why_not(&mut self, subject: &str, action: &str, site: &str, context: &Value) -> String {
        let mut context = context.clone();
        context["explain"] = json!(true);
        self.ask(subject, action, site, &context).json()["context"]["reason"].as_str().unwrap_or_default().to_owned()
    }
    /// Sends a command.
    #[track_caller]
    pub fn command(&mut self, site: &str, key: &str, body: &Value) -> Answer {
        self.call(&transition(site, key, body))
    }
    /// Previews a command.
    #[track_caller]
    pub fn preview(&mut self, site: &str, body: &Value) -> Answer {
        self.post(&format!("/v1/sites/{site}/transitions?dry_run=true"), body)
    }
    /// Makes an offer as its maker does: preview, then the offer with the preview's digest. Answers the reply.
    #[track_caller]
    pub fn offer(&mut self, site: &str, key: &str, actor: &str, command: &str, to: &str) -> Answer {
        let mut body = json!({"actor": actor, "auth_time": now_s(), "command": command, "to": to});
        let preview = self.preview(site, &body).ok().json();
        assert_eq!(preview["would"], "apply", "{preview}");
        body["preview_digest"] = preview["digest"].clone();
        self.command(site, key, &body)
    }
    /// The digest of the text that an acceptor has read.
    #[track_caller]
    pub fn digest(&mut self, handover: &str, audience: &str) -> String {
        let text = self.get(&format!("/v1/handovers/{handover}/explanation?audience={audience}")).ok().json();
        text["digest"].as_str().unwrap().to_owned()
    }
    /// The last revision of the installation, from the change feed alone: the pages after `from` to their end.
    #[track_caller]
    pub fn head(&mut self, from: u64) -> u64 {
        let mut head = from;
        loop {
            let page = self.get(&format!("/v1/changes?after={head}&limit=1000")).ok().json();
            if let Some(last) = page["items"].as_array().unwrap().last() {
                head = last["revision"].as_u64().unwrap();
            }
            if page["next"].is_null() {
                return head;
            }
        }
    }
}

/// A command as a request.
pub fn transition(site: &str, key: &str, body: &Value) -> Call {
    Call::new("POST", &format!("/v1/sites/{site}/transitions"))
        .header("idempotency-key", &format!("\"{key}\""))
        .json(body)
}

/// Now, in seconds: a fresh sign-in.
pub fn now_s() -> i64 {
    use mandate::clock::Clock as _;
    mandate::clock::SystemClock.now().as_seconds()
}

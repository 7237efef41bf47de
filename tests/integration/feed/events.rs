//! A follower of the change feed: reads what a browser's `EventSource` would, and how the stream ended.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Longer than any event takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// An event, or a comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Empty for a comment.
    pub kind: String,
    pub id: u64,
    pub data: Value,
}

/// What was answered instead of a stream.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub head: String,
    pub code: String,
}

/// An open stream.
pub struct Stream {
    lines: BufReader<Chunks>,
    pub head: String,
}

impl Stream {
    /// Follows after the events that `headers` or the path name.
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Result<Self, Refused>> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut text = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n");
        for (name, value) in headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !headers.iter().any(|(name, _)| *name == "accept") {
            text.push_str("accept: text/event-stream\r\n");
        }
        (&socket).write_all(format!("{text}\r\n").as_bytes())?;
        let mut socket = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        head.make_ascii_lowercase();
        let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        if !head.contains("content-type: text/event-stream") {
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            socket.read_exact(&mut body)?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            let code = body["code"].as_str().unwrap_or_default().to_owned();
            return Ok(Err(Refused { status, head, code }));
        }
        assert_eq!(status, 200, "{head}");
        let chunks = Chunks { socket, left: 0, ended: false };
        Ok(Ok(Self { lines: BufReader::new(chunks), head }))
    }

    /// The port on this side.
    pub fn port(&self) -> u16 {
        self.lines.get_ref().socket.get_ref().local_addr().unwrap().port()
    }

    /// Lets the system hold back no more than a few kilobytes for this side.
    pub fn take_little(&self) {
        rustix::net::sockopt::set_socket_recv_buffer_size(self.lines.get_ref().socket.get_ref(), 2_048).unwrap();
    }

    /// The next event or comment; none when the stream has ended as the server meant it to.
    pub fn next(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event { kind: String::new(), id: 0, data: Value::Null };
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end_matches('\n').split_once(": ").or_else(|| line.trim_end().split_once(':')) {
                Some(("event", kind)) => kind.clone_into(&mut event.kind),
                Some(("id", id)) => event.id = id.parse().unwrap(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                Some(("retry", millis)) => assert_eq!(millis, "2000"),
                None if event.kind.is_empty() => {}
                Some(("", "")) | None => return Ok(Some(event)),
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    /// The next event of this type.
    #[track_caller]
    pub fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().unwrap().expect("the stream goes on");
            if event.kind == kind {
                return event;
            }
        }
    }

    /// Every change up to a revision.
    #[track_caller]
    pub fn changes_to(&mut self, revision: u64) -> Vec<Value> {
        let mut found = Vec::new();
        loop {
            let event = self.next().unwrap().expect("the stream goes on");
            if event.kind == "change" {
                assert_eq!(event.data["revision"], event.id);
                found.extend(event.data["changes"].as_array().unwrap().iter().cloned());
            }
            if event.id >= revision {
                return found;
            }
        }
    }
}

/// A chunked body. Its end is told apart from a connection that broke.
struct Chunks {
    socket: BufReader<TcpStream>,
    left: usize,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        if self.left == 0 {
            let mut size = String::new();
            if self.socket.read_line(&mut size)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.left = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            if self.left == 0 {
                self.ended = true;
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.left);
        let read = self.socket.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read;
        if self.left == 0 {
            self.socket.read_exact(&mut [0; 2])?;
        }
        Ok(read)
    }
}

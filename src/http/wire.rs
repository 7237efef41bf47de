//! What happens on one connection's bytes? Time, and framing that two readers would read differently.
//!
//! [`Wire`] sits between the socket and hyper; a [`Line`] is what it shares with the requests of its connection.
//!
//! Time. hyper has one timer for a header block, and it starts when the previous answer ends: five seconds there would
//! close every idle connection after five seconds, sixty would give a slow attacker sixty. So hyper's is off and there
//! are three here: *idle* while nothing of a request has come, *header* from its first byte on, and *idle* again while
//! the caller does not take an answer. A handler at work is not timed here. Bodies have their own: [`TimedBody`].
//!
//! Framing. hyper drops `Content-Length` when `Transfer-Encoding` is there too, before anybody can see that both were.
//! A proxy in front that believed the other one has been desynchronised (request smuggling), so RFC 9112 §6.1 wants the
//! connection closed. [`Wire`] counts the lines that begin with `content-length`, each request takes back the one that
//! hyper showed it, and a request with `Transfer-Encoding` that finds any left is refused ([`Line::ambiguous`]). The
//! count errs on the refusing side only: a chunked request with another one pipelined right behind it is refused too.
//! Parsing the head a second time lost: a second parser that disagrees with the first is how smuggling works.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, header},
};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::config::Limits;

/// What a connection's bytes and its requests tell each other; atomics because the task may change threads.
#[derive(Debug)]
pub(super) struct Line {
    opened: Instant,
    /// Since when the next request is waited for, in microseconds after `opened`; [`SERVING`] while one is answered.
    waiting: AtomicU64,
    /// How many requests have been read.
    requests: AtomicUsize,
    /// Lines beginning with `content-length` that no request has accounted for.
    lengths: AtomicUsize,
}

/// Not a time: a request has been read, and its answer is not finished.
const SERVING: u64 = u64::MAX;

impl Line {
    pub(super) fn new() -> Self {
        let (waiting, requests, lengths) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { opened: Instant::now(), waiting, requests, lengths }
    }

    /// A request's head has been read.
    pub(super) fn begin(&self) {
        self.waiting.store(SERVING, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer is through.
    fn finish(&self) {
        let micros = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(SERVING - 1);
        self.waiting.store(micros, Ordering::Relaxed);
    }

    /// Since when the next request is waited for; none while one is answered.
    fn waiting(&self) -> Option<Instant> {
        let micros = self.waiting.load(Ordering::Relaxed);
        (micros != SERVING).then(|| self.opened + Duration::from_micros(micros))
    }

    /// Whether the request just read says its length in two ways.
    pub(super) fn ambiguous(&self, headers: &HeaderMap) -> bool {
        let shown = usize::from(headers.contains_key(header::CONTENT_LENGTH));
        let left = self.lengths.load(Ordering::Relaxed).saturating_sub(shown);
        // One task reads and serves a connection: nothing is counted in between.
        self.lengths.store(left, Ordering::Relaxed);
        left > 0 && headers.contains_key(header::TRANSFER_ENCODING)
    }
}

/// An answer on its way: when it is through, the connection waits for the next request.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) line: Arc<Line>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.line.finish();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive within {0:?}")]
pub(super) struct BodyTimeout(Duration);

/// A request's body, which has to be there within a time from when it was first waited for.
pub(super) struct TimedBody {
    body: Incoming,
    limit: Duration,
    since: Option<Instant>,
    timer: Timer,
}

impl TimedBody {
    pub(super) fn new(body: Incoming, limit: Duration) -> Self {
        Self { body, limit, since: None, timer: Timer::default() }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let limit = self.limit;
        let deadline = *self.since.get_or_insert_with(Instant::now) + limit;
        self.timer.poll_at(deadline, cx).map(|()| Some(Err(BodyTimeout(limit).into())))
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A timer that costs nothing until something has to be waited for, and next to nothing when deadlines only move back.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it will ring: not after the deadline that was last asked for.
    set: Option<Instant>,
}

impl Timer {
    /// Ready from `deadline` on, which may differ from call to call; until then the task is woken in time to ask again.
    fn poll_at(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if self.set.is_none_or(|set| set > deadline) {
                sleep.as_mut().reset(deadline);
                self.set = Some(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if self.set.take() >= Some(deadline) {
                return Poll::Ready(());
            }
        }
    }
}

/// A socket whose bytes are watched.
pub(super) struct Wire<S> {
    socket: S,
    line: Arc<Line>,
    header_timeout: Duration,
    idle: Duration,
    /// How many requests have been read out of these bytes.
    requests: usize,
    /// Something of the next request has come.
    begun: bool,
    /// Since when the rest of it is waited for.
    partial: Option<Instant>,
    /// Since when the caller takes nothing.
    stalled: Option<Instant>,
    /// When the caller last took something after it had taken nothing: an answer may be through for the routes and
    /// wait in hyper's buffer.
    took: Option<Instant>,
    reading: Timer,
    writing: Timer,
    /// How much of [`LENGTH_LINE`] the bytes so far end with.
    matched: usize,
}

const LENGTH_LINE: &[u8] = b"\ncontent-length";

impl<S> Wire<S> {
    pub(super) fn new(socket: S, line: Arc<Line>, limits: &Limits) -> Self {
        Self {
            socket,
            line,
            header_timeout: limits.header_timeout,
            idle: limits.idle,
            requests: 0,
            begun: false,
            partial: None,
            stalled: None,
            took: None,
            reading: Timer::default(),
            writing: Timer::default(),
            matched: 0,
        }
    }

    /// Counts the lines that begin with `content-length`, across reads.
    fn count(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            match LENGTH_LINE.get(self.matched) {
                Some(wanted) if byte.eq_ignore_ascii_case(wanted) => self.matched += 1,
                // No other place of the pattern holds its first byte, so a mismatch starts anew.
                _ => self.matched = usize::from(*byte == b'\n'),
            }
            bytes = rest;
            if self.matched == LENGTH_LINE.len() {
                self.line.lengths.fetch_add(1, Ordering::Relaxed);
                self.matched = 0;
            } else if self.matched == 0 {
                bytes = bytes.iter().position(|byte| *byte == b'\n').and_then(|at| bytes.get(at..)).unwrap_or_default();
            }
        }
    }

    /// Nothing to read at the moment: may it stay that way?
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let deadline = match self.line.waiting() {
            // A handler at work: the answer may end without another read, so somebody has to look again.
            None => Instant::now() + self.idle,
            Some(_) if self.begun => *self.partial.get_or_insert_with(Instant::now) + self.header_timeout,
            Some(since) => self.stalled.or(self.took).map_or(since, |took| took.max(since)) + self.idle,
        };
        self.reading.poll_at(deadline, cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// The caller takes nothing at the moment: may it stay that way?
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            let deadline = *self.stalled.get_or_insert_with(Instant::now) + self.idle;
            return self.writing.poll_at(deadline, cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        if self.stalled.take().is_some() {
            self.took = Some(Instant::now());
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let requests = this.line.requests.load(Ordering::Relaxed);
        if this.requests != requests {
            (this.requests, this.begun, this.partial) = (requests, false, None);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                this.count(buffer.filled().get(before..).unwrap_or_default());
                this.begun |= this.line.waiting().is_some();
                Poll::Ready(read)
            }
            Poll::Pending => this.poll_patience(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.written(written, cx)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        this.written(written, cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        this.written(flushed, cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_lines_are_counted_however_they_are_cut() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 1),
            ("GET / HTTP/1.1\ncontent-length: 1\ncONTENT-lENGTH:1\n\n", 2),
            ("a\n\ncontent-length", 1),
            ("a\ncontent-type: content-length\r\nx-content-length: 1\r\n content-length: 1\r\n", 0),
            ("content-length", 0),
            ("\ncontent-\ncontent-length\ncontent-lengt", 1),
        ] {
            for cut in 1..=text.len() {
                let line = Arc::new(Line::new());
                let mut wire = Wire::new(tokio::io::empty(), Arc::clone(&line), &Limits::default());
                text.as_bytes().chunks(cut).for_each(|piece| wire.count(piece));
                assert_eq!(line.lengths.load(Ordering::Relaxed), expected, "{text:?} in pieces of {cut}");
            }
        }
    }
}

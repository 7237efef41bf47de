//! How are connections accepted, served and ended? Our own loop around hyper's HTTP/1.1.
//!
//! [`serve`] takes a connection only when there is a place for it: at the limit it stops accepting, and the system's
//! bounded queue, not our memory, holds the rest. Each connection is one task over a `Wire`, which keeps its time.
//! At the stop signal the listener closes first, idle connections end, running requests get `limits.drain`, and what
//! is left then is cut. HTTP/2 and upgrades are not spoken.
//!
//! `axum::serve` lost: it has no header timer, no connection limit and no bound on its drain.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    edge::Edge,
    listener::{Connection, Listener},
    tls::{Shown, Tls},
    wire::{Answer, Line, TimedBody, Wire},
};
use crate::config::Limits;

/// hyper's buffer for one connection, in bytes; a head must fit, a body passes through in pieces.
const BUFFER: usize = 64 * 1024;

/// How long to wait when the system has no more sockets for us.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their requests did not end in time.
    pub cut: usize,
}

/// Serves `edge` on `listener` until `stop` is ready, then lets running requests end within `limits.drain`.
pub async fn serve(listener: Listener, edge: Edge, limits: &Limits, stop: impl Future<Output = ()>) -> Drained {
    let mut stop = std::pin::pin!(stop);
    let tls = listener.tls().cloned();
    let served = Arc::new(Served { edge, tls, limits: limits.clone(), http: http(limits) });
    // More places than the semaphore can count are as good as none taken.
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tracing::info!(address = %listener.address(), tls = listener.tls().is_some(), "listening");
    loop {
        let (connection, place) = tokio::select! {
            biased;
            () = &mut stop => break,
            // Ended tasks are let go here; a panic outside of a handler ends its own connection only.
            Some(_) = connections.join_next() => continue,
            next = next(&listener, &places) => next,
        };
        connections.spawn(Arc::clone(&served).connection(connection, place, graceful.watcher()));
    }
    let address = listener.address().clone();
    drop(listener);
    tracing::info!(%address, connections = graceful.count(), "no longer accepting, letting running requests end");
    let cut = drain(graceful, &mut connections, limits.drain).await;
    if cut > 0 {
        tracing::warn!(%address, cut, within = ?limits.drain, "cut connections whose requests did not end in time");
    }
    Drained { cut }
}

/// Ready at SIGTERM or SIGINT. From the call on the process no longer dies of them.
///
/// # Errors
/// The system does not let us handle signals.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to stop");
    })
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Time is `Wire`'s business: hyper's one timer would end idle connections after the header's five seconds.
    http.header_read_timeout(None).max_header_size(limits.header_block).max_buf_size(BUFFER.max(limits.header_block));
    http
}

/// The next connection, with its place; waits for a place first, so that nothing is accepted without one.
async fn next(listener: &Listener, places: &Arc<Semaphore>) -> (Connection, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; if it were, every connection would count as placed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    let mut complained = false;
    loop {
        match listener.accept().await {
            Ok(connection) => return (connection, place),
            // The caller went away again before it was its turn.
            Err(error) if is_the_callers(&error) => {}
            Err(error) => {
                if !complained {
                    tracing::error!(%error, "cannot accept connections, trying on");
                    complained = true;
                }
                sleep(OUT_OF_SOCKETS).await;
            }
        }
    }
}

fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected)
}

async fn drain(graceful: GracefulShutdown, connections: &mut JoinSet<()>, limit: Duration) -> usize {
    if timeout(limit, graceful.shutdown()).await.is_ok() {
        // Every watched connection has ended; their tasks are at their last instruction.
        while connections.join_next().await.is_some() {}
        return 0;
    }
    while connections.try_join_next().is_some() {}
    let cut = connections.len();
    connections.shutdown().await;
    cut
}

/// What all connections of a listener share.
struct Served {
    edge: Edge,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    http: http1::Builder,
}

impl Served {
    async fn connection(
        self: Arc<Self>,
        connection: Connection,
        place: Option<OwnedSemaphorePermit>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let greeted = connection.greeted(self.tls.as_deref(), self.limits.header_timeout).await;
        let connection = match greeted.and_then(|it| it.give_up_after(self.limits.idle).map(|()| it)) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%error, "a connection broke off");
                return;
            }
        };
        let shown = connection.shown();
        let line = Arc::new(Line::new());
        let wire = TokioIo::new(Wire::new(connection, Arc::clone(&line), &self.limits));
        let service = service_fn(|mut request: Request<Incoming>| {
            if let Some(caller) = shown.as_ref().and_then(Shown::caller) {
                request.extensions_mut().insert(caller.clone());
            }
            // Now, and not when the answer is first worked on: hyper reads on in between.
            line.begin();
            self.request(request, Arc::clone(&line))
        });
        let ended = watcher.watch(self.http.serve_connection(wire, service)).await;
        // Whatever a caller does to its own connection is its business, and happens a thousand times a second under
        // attack.
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke off");
        }
        drop(place);
    }

    async fn request(&self, request: Request<Incoming>, line: Arc<Line>) -> Result<Response<Answer>, Infallible> {
        let ambiguous = line.ambiguous(request.headers());
        let request = request.map(|body| Body::new(TimedBody::new(body, self.limits.body_timeout)));
        let response = self.edge.answer(request, ambiguous).await;
        Ok(response.map(|body| Answer { body, line }))
    }
}

#[cfg(test)]
mod tests;

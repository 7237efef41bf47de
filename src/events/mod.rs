//! Who is told what happened, and how is it certain that they are? The audit log, delivered to webhooks and to Redis.
//!
//! The log is the outbox: an event is committed with the change it tells about, so nothing has to be published when a
//! change is made, and nothing can be forgotten. Each sink reads on from its own cursor: `webhook` keeps the order of
//! every site and lets the sites go their own pace (`lanes` decides, `post` sends, `envelope` says what, `backoff` when
//! again); `stream` appends to Redis in the one order of the log.
//!
//! Invariants: at least once, and in order for each site; a note of what was delivered is written after the delivery,
//! so a crash repeats and never skips; memory does not grow with what waits. Publishing at commit lost: whoever is told
//! before the commit may be told of what did not happen, and whoever is told after it may be forgotten.

pub mod backoff;
pub mod envelope;
mod lanes;
mod post;
mod stream;
mod webhook;

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};

use crate::{
    clock::Clock,
    config::{Events, THE_STREAM},
    store::{Store as _, StoreError, delivery::SinkKind, sql::SqlStore},
};

/// What has happened that a sink may have to look at: numbers that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wake {
    /// Commits.
    pub commits: u64,
    /// Dead letters that were put back.
    pub letters: u64,
}

/// What every sink works with.
#[derive(Clone)]
struct Outbox {
    store: Arc<SqlStore>,
    clock: Arc<dyn Clock>,
    /// Identifies this history.
    epoch: Arc<str>,
    wake: watch::Receiver<Wake>,
    /// Closed when it is time to end.
    stop: watch::Receiver<()>,
}

/// Why events cannot be delivered with these settings.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// What the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is missing, and what to do.
    #[error("{0}")]
    Unusable(String),
}

/// Delivery, ready to run.
pub struct Delivery {
    outbox: Outbox,
    stop: watch::Sender<()>,
    webhooks: Vec<webhook::Webhook>,
    stream: Option<stream::Stream>,
}

impl Delivery {
    /// Names the sinks in the store, and prepares what they need.
    ///
    /// # Errors
    /// The store cannot be written, or there are no certificates to check a subscriber's with.
    pub async fn open(
        settings: &Events,
        store: Arc<SqlStore>,
        clock: Arc<dyn Clock>,
        wake: watch::Receiver<Wake>,
    ) -> Result<Self, EventsError> {
        let webhooks = webhook::Webhook::of(settings).map_err(EventsError::Unusable)?;
        let stream = stream::Stream::of(settings).map_err(EventsError::Unusable)?;
        let mut sinks: Vec<(String, SinkKind)> =
            webhooks.iter().map(|webhook| (webhook.name().to_owned(), SinkKind::Webhook)).collect();
        sinks.extend(stream.iter().map(|_| (THE_STREAM.to_owned(), SinkKind::Redis)));
        store.name_sinks(sinks).await?;
        let epoch = store.head().await?.epoch.into();
        let (stop, stopped) = watch::channel(());
        Ok(Self { outbox: Outbox { store, clock, epoch, wake, stop: stopped }, stop, webhooks, stream })
    }

    /// Begins to deliver.
    #[must_use]
    pub fn start(self) -> Running {
        let mut tasks = JoinSet::new();
        for webhook in self.webhooks {
            tasks.spawn(webhook.run(self.outbox.clone()));
        }
        if let Some(stream) = self.stream {
            tasks.spawn(stream.run(self.outbox));
        }
        Running { stop: self.stop, tasks }
    }
}

/// Delivery at work.
pub struct Running {
    stop: watch::Sender<()>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Lets attempts that have begun end, for a moment, and notes what was delivered.
    pub async fn stop(mut self) {
        drop(self.stop);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a sink of events ended early; its events wait for the next start");
            }
        }
    }
}

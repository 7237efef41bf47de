//! Which of many processes tells billing and the subscribers of events what happened? One at a time.
//!
//! The one process of an embedded installation always does. On PostgreSQL it is the one whose turn it is: the turn goes
//! with a lock of the connection that follows the database, so that another process has it soon after one has died or was
//! cut off. What was told without that being noted is told again by the next one, as after a crash.

use std::sync::Arc;

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    app::App,
    config::Events,
    events::{Delivery, EventsError},
};

/// How long a process whose turn it is waits after it could not begin.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Prepares delivery to everybody whom the settings name.
pub(super) async fn prepare(app: &App, events: &Events) -> Result<Delivery, EventsError> {
    let (store, wake, clock) = app.outbox();
    Delivery::open(events, store, clock, wake).await
}

/// Telling, under way; ended by [`Telling::stop`].
pub(super) struct Telling {
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Telling {
    /// Begins, or waits for the turn. `delivery` is what was prepared at start.
    pub(super) fn start(app: Arc<App>, events: Events, delivery: Delivery) -> Self {
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(async move {
            match app.turn() {
                None => tell(&app, delivery, until_closed(stopped)).await,
                Some(turn) => {
                    // Prepared again at each turn: the history may be another one by then.
                    drop(delivery);
                    in_turns(&app, &events, turn, stopped).await;
                }
            }
        });
        Self { stop, task }
    }

    /// Lets what has begun end, and notes it.
    pub(super) async fn stop(self) {
        drop(self.stop);
        drop(self.task.await);
    }
}

async fn until_closed(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

async fn in_turns(app: &Arc<App>, events: &Events, mut turn: watch::Receiver<bool>, stopped: watch::Receiver<()>) {
    loop {
        tokio::select! {
            begun = turn.wait_for(|turn| *turn) => if begun.is_err() { return },
            () = until_closed(stopped.clone()) => return,
        }
        let history = app.view().epoch();
        match prepare(app, events).await {
            Ok(delivery) => {
                tracing::info!("it is this process that tells billing and subscribers what happens");
                let (mut turn, mut moved) = (turn.clone(), app.outbox().1);
                let over = async {
                    tokio::select! {
                        _ = turn.wait_for(|turn| !*turn) => {}
                        // Events are named by their history.
                        _ = moved.wait_for(|_| app.view().epoch() != history) => {}
                        () = until_closed(stopped.clone()) => {}
                    }
                };
                tell(app, delivery, over).await;
                tracing::info!("this process does not tell billing and subscribers any more");
            }
            Err(error) => {
                tracing::warn!(%error, "billing and subscribers cannot be told yet, trying on");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Tells until it is over.
async fn tell(app: &Arc<App>, delivery: Delivery, over: impl Future<Output = ()>) {
    let mut billing = JoinSet::new();
    billing.spawn(Arc::clone(app).run_billing());
    let delivery = delivery.start();
    over.await;
    // What billing was told without that being written down is told again by whoever is next.
    billing.abort_all();
    delivery.stop().await;
}

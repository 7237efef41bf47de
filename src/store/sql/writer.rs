//! The writer: one thread, one connection, one change after the other.
//!
//! Changes wait in a bounded queue and run on a thread of their own, so that a caller who goes away aborts nothing: a
//! change that was queued runs to its end, and only its answer finds nobody. The observer is called here, after COMMIT
//! and before the answer is sent, and therefore in the order of revisions.
//!
//! Running the transaction inside the caller's future lost: dropped at the wrong place it would leave the lock taken.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    change,
    db::{Connection, Db, Ending},
};
use crate::store::{Decide, Observer, StoreError, Wanted};

/// How many changes wait at most.
const QUEUE: usize = 256;

/// How long a change waits for a place in the queue.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// What the thread works with.
struct Desk {
    connection: Box<dyn Connection>,
    observer: Option<Observer>,
    /// The observer did not survive a commit: copies in memory are behind, so no further change is taken.
    blind: bool,
}

/// The writing thread, seen from outside.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(connection: Box<dyn Connection>, observer: Option<Observer>) -> Result<Self, StoreError> {
        let (queue, mut jobs) = mpsc::channel::<Job>(QUEUE);
        let mut desk = Desk { connection, observer, blind: false };
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                while let Some(job) = jobs.blocking_recv() {
                    // A panic costs its own caller the answer and nobody else: the transaction was rolled back on the
                    // way here.
                    if catch_unwind(AssertUnwindSafe(|| job(&mut desk))).is_err() {
                        tracing::error!("a change panicked outside its decision; it was rolled back");
                    }
                }
            })
            .map_err(|error| StoreError::Unavailable(format!("the writing thread did not start: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues one change and waits for its answer.
    pub async fn change<R: Send + 'static>(&self, wanted: Wanted, decide: Decide<R>) -> Result<R, StoreError> {
        self.job(move |desk| desk.change(&wanted, decide)).await?
    }

    /// Writes notes that are no change: they move no revision and nobody is told. All of them or none.
    pub async fn note<T: Send + 'static>(
        &self,
        write: impl FnOnce(&dyn Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.job(|desk| {
            let (mut write, mut answer) = (Some(write), None);
            desk.connection.write(&|_| Vec::new(), &mut |db| {
                answer = write.take().map(|write| write(db)).transpose()?;
                Ok(Ending::Notes)
            })?;
            answer.ok_or_else(not_run)
        })
        .await?
    }

    /// Runs something on the writing connection, for tests that break something.
    #[cfg(test)]
    pub async fn with<C: 'static, T: Send + 'static>(&self, run: impl FnOnce(&mut C) -> T + Send + 'static) -> T {
        self.job(|desk| run(desk.connection.raw().downcast_mut().unwrap())).await.unwrap()
    }

    /// Runs something on the writing thread, between two changes.
    async fn job<T: Send + 'static>(&self, run: impl FnOnce(&mut Desk) -> T + Send + 'static) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            let _ = reply.send(run(desk));
        });
        let Some(queue) = &self.queue else {
            return Err(StoreError::Unavailable("the store is shutting down".into()));
        };
        queue.send_timeout(job, QUEUE_WAIT).await.map_err(|error| {
            StoreError::Unavailable(match error {
                mpsc::error::SendTimeoutError::Timeout(_) => format!("{QUEUE} changes are waiting already"),
                mpsc::error::SendTimeoutError::Closed(_) => "the writing thread has stopped".into(),
            })
        })?;
        answer.await.map_err(|_| StoreError::Unknown("the writing thread stopped before it answered".into()))
    }
}

impl Drop for Writer {
    /// Finishes what is queued, closes the database and lets go of the lock.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn change<R>(&mut self, wanted: &Wanted, decide: Decide<R>) -> Result<R, StoreError> {
        if self.blind {
            return Err(StoreError::Unavailable(
                "an earlier commit could not be told to the running service; restart it".into(),
            ));
        }
        let (mut decide, mut done) = (Some(decide), None);
        let foreseen = |order: &'static str| change::foreseen(wanted, order);
        self.connection.write(&foreseen, &mut |db| {
            let Some(decide) = decide.take() else { return Err(not_run()) };
            let (answer, committed, ending) = change::run(db, wanted, decide)?;
            done = Some((answer, committed));
            Ok(ending)
        })?;
        let (answer, committed) = done.ok_or_else(not_run)?;
        if let (Some(observer), Some(committed)) = (&self.observer, &committed)
            && catch_unwind(AssertUnwindSafe(|| observer(committed))).is_err()
        {
            self.blind = true;
            return Err(StoreError::Unknown(format!(
                "revision {} is committed, but the running service could not be told",
                committed.revision
            )));
        }
        Ok(answer)
    }
}

/// A transaction that did not call what it was given.
fn not_run() -> StoreError {
    StoreError::Unavailable("the change was not run".into())
}

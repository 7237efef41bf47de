//! One webhook: reads the log on, sends for many sites at once, and notes what became of it.
//!
//! One task decides (with `lanes`), and an attempt is a task of its own, so that a subscriber that hangs holds up one
//! site. Notes are written a few times in a second at most: a delivery costs the store a read, not a write.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Outbox,
    backoff::{Backoff, asked},
    envelope::Envelope,
    lanes::{Bounds, Key, Lanes, Outcome, Turn},
    post::{Post, Trouble},
};
use crate::{
    config::Events,
    store::{AuditEvent, Store as _, StoreError},
};

/// Lanes with something to deliver, in memory.
const LANES: usize = 1_024;
/// Attempts at once.
const IN_FLIGHT: usize = 16;
/// How far is read ahead of the cursor: what a crash repeats at most, twice.
const AHEAD: u64 = 1_024;
/// Events read at once.
const PAGE: usize = 256;
/// Between two notes: what a crash repeats, against what changes wait for the disk.
const NOTE_EVERY: Duration = Duration::from_millis(100);
/// After the store failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// For attempts in flight when the service ends.
const GRACE: Duration = Duration::from_secs(2);
/// Letters taken back into the queue at once; more are taken as these are done.
const LETTERS: usize = 256;

/// A webhook, ready to run.
pub struct Webhook {
    name: String,
    courier: Courier,
    max_wait: Duration,
}

/// What an attempt needs.
struct Courier {
    post: Post,
    backoff: Backoff,
    max_attempts: u32,
}

impl Webhook {
    /// The webhooks of the settings.
    pub fn of(settings: &Events) -> Result<Vec<Self>, String> {
        let of = |webhook: &crate::config::Webhook| {
            let secret = webhook.secret.clone().ok_or_else(|| format!("webhook `{}` has no secret", webhook.name))?;
            let post = Post::new(webhook.url.clone(), secret, settings.allow_private, settings.timeout)?;
            let backoff = Backoff { min: settings.backoff_min, max: settings.backoff_max };
            let courier = Courier { post, backoff, max_attempts: settings.max_attempts };
            Ok(Self { name: webhook.name.clone(), courier, max_wait: settings.backoff_max })
        };
        settings.webhooks.iter().map(of).collect()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Delivers until it is told to stop.
    pub async fn run(self, mut outbox: Outbox) {
        let standing = loop {
            match outbox.store.standing(&self.name).await {
                Ok(standing) => break standing,
                Err(error) => {
                    tracing::warn!(sink = %self.name, %error, "where delivery stands cannot be read, trying on");
                }
            }
            tokio::select! {
                () = sleep(AFTER_FAILURE) => {}
                _ = outbox.stop.changed() => return,
            }
        };
        let bounds = Bounds { lanes: LANES, in_flight: IN_FLIGHT, ahead: AHEAD, wait: self.max_wait };
        let lanes = Lanes::resume(&self.name, standing, bounds);
        let work = Work {
            name: self.name,
            courier: Arc::new(self.courier),
            lanes,
            attempts: JoinSet::new(),
            more: true,
            letters: true,
            retry_at: None,
            failing: false,
            note_at: Instant::now(),
            outbox,
        };
        work.run().await;
    }
}

/// The task that decides.
struct Work {
    name: String,
    outbox: Outbox,
    courier: Arc<Courier>,
    lanes: Lanes,
    attempts: JoinSet<(Turn, Outcome)>,
    /// There may be events that were not read, and letters.
    more: bool,
    letters: bool,
    /// The store failed; when to ask it again.
    retry_at: Option<Instant>,
    /// The last attempt failed: said once, not for every event.
    failing: bool,
    /// Not before this is the next note written.
    note_at: Instant,
}

impl Work {
    async fn run(mut self) {
        let mut letters = self.outbox.wake.borrow().letters;
        loop {
            if self.retry_at.is_none_or(|at| at <= Instant::now()) {
                self.retry_at = None;
                if let Err(error) = self.look().await {
                    tracing::warn!(sink = %self.name, %error, "events cannot be read or noted, trying on");
                    self.retry_at = Some(Instant::now() + AFTER_FAILURE);
                }
            }
            self.begin();
            let until = self.until();
            tokio::select! {
                Some(ended) = self.attempts.join_next() => self.end(ended),
                changed = self.outbox.wake.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let now = *self.outbox.wake.borrow_and_update();
                    self.more = true;
                    self.letters |= now.letters != letters;
                    letters = now.letters;
                }
                () = sleep_until(until) => {}
                _ = self.outbox.stop.changed() => break,
            }
        }
        self.finish().await;
    }

    /// Notes what is due to be noted, and reads on where there is room.
    async fn look(&mut self) -> Result<(), StoreError> {
        if self.letters || (self.note_at <= Instant::now() && self.lanes.is_news()) {
            self.note().await?;
        }
        if self.letters {
            let queued = self.outbox.store.queued_letters(&self.name, LETTERS).await?;
            // When these are done, the rest is asked for.
            self.letters = false;
            self.lanes.queue(queued);
        }
        while let (true, Some(after)) = (self.more, self.lanes.wants()) {
            let page = self.outbox.store.audit(None, after, PAGE).await?;
            let now = self.outbox.clock.now();
            for event in &page.items {
                self.lanes.read(event.seq, event.site.as_ref(), now);
            }
            self.more = page.more;
        }
        Ok(())
    }

    async fn note(&mut self) -> Result<(), StoreError> {
        self.note_at = Instant::now() + NOTE_EVERY;
        if !self.lanes.is_news() {
            return Ok(());
        }
        let note = self.lanes.note();
        match self.outbox.store.save_note(note.clone()).await {
            Ok(()) => {
                self.lanes.saved(&note);
                Ok(())
            }
            Err(error) => {
                self.lanes.not_saved(note);
                Err(error)
            }
        }
    }

    /// Begins every attempt that is due and has a place.
    fn begin(&mut self) {
        let now = self.outbox.clock.now();
        while let Some(turn) = self.lanes.next(now) {
            let (courier, outbox) = (Arc::clone(&self.courier), self.outbox.clone());
            self.attempts.spawn(async move {
                let outcome = courier.attempt(&turn, &outbox).await;
                (turn, outcome)
            });
        }
    }

    fn end(&mut self, ended: Result<(Turn, Outcome), tokio::task::JoinError>) {
        let Ok((turn, outcome)) = ended else {
            // Its lane stays busy: nothing of it is lost, and the next start tries again.
            tracing::error!(sink = %self.name, "an attempt ended early; its site waits for the next start");
            return;
        };
        match &outcome {
            Outcome::Delivered(_) if self.failing => {
                self.failing = false;
                tracing::info!(sink = %self.name, "events are taken again");
            }
            Outcome::Again { failed, .. } if !self.failing => {
                self.failing = true;
                tracing::warn!(
                    sink = %self.name, failure = failed.kind, status = failed.status,
                    "an event was not taken and will be tried again; so will others, silently"
                );
            }
            Outcome::Dead { seq, failed } => tracing::warn!(
                sink = %self.name, seq, failure = failed.kind, status = failed.status,
                "an event was given up; GET /v1/events/dead-letters lists it"
            ),
            _ => {}
        }
        self.letters |= matches!(turn.key, Key::Letter(_)) && !matches!(outcome, Outcome::Again { .. });
        self.lanes.settle(&turn, outcome, self.outbox.clock.now());
    }

    /// When to look again, whatever happens before.
    fn until(&self) -> Instant {
        let now = Instant::now();
        let due = self.lanes.wait(self.outbox.clock.now()).map(|wait| now + wait);
        let note = self.lanes.is_news().then_some(self.note_at);
        // A store that failed is not asked before its time, whatever is due.
        let store = self.retry_at.into_iter().chain(note.filter(|_| self.retry_at.is_none())).min();
        due.into_iter().chain(store).min().unwrap_or(now + Duration::from_mins(1)).max(now + Duration::from_millis(1))
    }

    /// Lets attempts in flight end for a moment, so that a restart does not repeat them.
    async fn finish(mut self) {
        let ended = timeout(GRACE, async {
            while let Some(ended) = self.attempts.join_next().await {
                self.end(ended);
            }
        });
        let _ = ended.await;
        self.attempts.shutdown().await;
        if let Err(error) = self.note().await {
            tracing::warn!(sink = %self.name, %error, "the last deliveries could not be noted and will be repeated");
        }
    }
}

impl Courier {
    async fn attempt(&self, turn: &Turn, outbox: &Outbox) -> Outcome {
        let event = match find(turn, outbox).await {
            Ok(Some(event)) => event,
            Ok(None) => return Outcome::Nothing,
            Err(error) => {
                tracing::warn!(%error, "an event cannot be read, trying on");
                return Outcome::NotTried { due: outbox.clock.now().plus(AFTER_FAILURE) };
            }
        };
        let seq = event.seq;
        let envelope = match Envelope::of(&event, &outbox.epoch) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(%error, seq, "an event cannot be written as JSON");
                return Outcome::NotTried { due: outbox.clock.now().plus(self.backoff.max) };
            }
        };
        match self.post.send(&envelope, outbox.clock.now().as_seconds()).await {
            Ok(()) => Outcome::Delivered(seq),
            Err(Trouble { failed, again, retry_after }) => {
                let attempts = turn.attempts.saturating_add(1);
                if !again || attempts >= self.max_attempts {
                    return Outcome::Dead { seq, failed };
                }
                let now = outbox.clock.now();
                let wanted = retry_after.and_then(|text| asked(&text, now));
                Outcome::Again { seq, due: now.plus(self.backoff.after(&envelope.id, attempts, wanted)), failed }
            }
        }
    }
}

async fn find(turn: &Turn, outbox: &Outbox) -> Result<Option<AuditEvent>, StoreError> {
    match &turn.key {
        Key::Lane(key) => outbox.store.event_of_lane(key, turn.from, turn.to).await,
        Key::Letter(seq) => {
            let page = outbox.store.audit(None, seq.saturating_sub(1), 1).await?;
            Ok(page.items.into_iter().find(|event| event.seq == *seq))
        }
    }
}

//! The Redis stream: a copy of the log in which every event stands exactly once, at the id `<seq>-0`.
//!
//! Redis refuses an id that is not above the last one, so an entry that was added before a crash cannot be added again;
//! and the stream itself says what its last one was, so after every new connection the work goes on from there. That is
//! right as well when Redis comes back with less than it had: what it lost is added again.
//!
//! Invariant: entries are added one after the other, each after the one before was confirmed. A pipeline lost: when Redis
//! refuses one entry for want of memory and takes the next one, the gap can never be filled.

use std::time::Duration;

use redis::{Client, Commands as _, Connection, ErrorKind, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep_until};

use super::{Outbox, backoff::Backoff, envelope::Envelope};
use crate::{
    config::{Events, THE_STREAM},
    store::{AuditEvent, Store as _, StoreError, delivery::Note, delivery::event_id},
};

/// Events read at once.
const PAGE: usize = 256;
/// Between two notes; the stream itself is what counts.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// The longest wait between two attempts, however long webhooks wait: there is only one to ask.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After the store failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The stream, ready to run.
pub struct Stream {
    client: Client,
    adding: Adding,
    backoff: Backoff,
    timeout: Duration,
}

/// How entries are added.
#[derive(Clone)]
struct Adding {
    key: String,
    maxlen: Option<u64>,
}

/// Why nothing could be added.
enum Trouble {
    Redis(RedisError),
    /// The stream holds another installation's events, or other things.
    OtherHistory,
    Store(StoreError),
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}
impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How far it is.
#[derive(Default)]
struct Position {
    /// The last event in the stream, once it is known.
    added: u64,
    /// The cursor as it is noted.
    noted: u64,
    note_at: Option<Instant>,
    note: Note,
    attempts: u32,
}

impl Stream {
    /// The stream of the settings.
    pub fn of(settings: &Events) -> Result<Option<Self>, String> {
        let Some(url) = &settings.redis_url else { return Ok(None) };
        // What it says about the URL could repeat its password.
        let client = Client::open(url.as_str()).map_err(|_| "`events.redis_url` cannot be used".to_owned())?;
        Ok(Some(Self {
            client,
            adding: Adding { key: settings.redis_stream.clone(), maxlen: settings.redis_maxlen },
            backoff: Backoff { min: settings.backoff_min, max: settings.backoff_max.min(LONGEST_WAIT) },
            timeout: settings.timeout,
        }))
    }

    /// Adds until it is told to stop.
    pub async fn run(self, mut outbox: Outbox) {
        let mut position = Position { note: empty_note(), ..Position::default() };
        let mut connection = None;
        loop {
            let (kept, ended) = self.round(connection, &outbox, &mut position).await;
            connection = kept;
            let wait = match ended {
                // There may be more at once.
                Ok(true) => Duration::ZERO,
                Ok(false) => Duration::from_mins(1),
                Err(trouble) => self.complain(&trouble, &outbox, &mut position),
            };
            note(&outbox, &mut position).await;
            if wait.is_zero() && !stopped(&outbox) {
                continue;
            }
            let wake = Instant::now() + wait;
            let note_at = position.note_at.filter(|_| position.is_news());
            tokio::select! {
                () = sleep_until(note_at.map_or(wake, |at| at.min(wake))) => {}
                // A commit is no reason to ask a Redis that failed sooner.
                changed = outbox.wake.changed(), if position.attempts == 0 => {
                    if changed.is_err() {
                        break;
                    }
                }
                _ = outbox.stop.changed() => break,
            }
        }
        note(&outbox, &mut position).await;
    }

    /// Adds one page; the connection when it is still good, and whether there may be more.
    async fn round(
        &self,
        connection: Option<Connection>,
        outbox: &Outbox,
        position: &mut Position,
    ) -> (Option<Connection>, Result<bool, Trouble>) {
        let connection = match connection {
            Some(connection) => connection,
            None => match self.connect(outbox).await {
                Ok((connection, last)) => {
                    if last < position.noted {
                        tracing::warn!(sink = THE_STREAM, last, "the stream has lost entries; they are added again");
                    }
                    position.added = last;
                    connection
                }
                Err(trouble) => return (None, Err(trouble)),
            },
        };
        let page = match outbox.store.audit(None, position.added, PAGE).await {
            Ok(page) => page,
            Err(error) => return (Some(connection), Err(error.into())),
        };
        if page.items.is_empty() {
            return (Some(connection), Ok(false));
        }
        let (adding, epoch) = (self.adding.clone(), outbox.epoch.clone());
        let added = blocking(move || adding.add(connection, &page.items, &epoch)).await;
        let (connection, last, ended) = match added {
            Ok(added) => added,
            Err(trouble) => return (None, Err(trouble)),
        };
        if let Some(last) = last {
            position.added = last;
            position.note.succeeded_at = Some(outbox.clock.now());
        }
        match ended {
            Ok(()) => {
                if position.attempts > 0 {
                    tracing::info!(sink = THE_STREAM, "events are taken again");
                }
                position.attempts = 0;
                (Some(connection), Ok(true))
            }
            // What the answer would have been is not known: the next connection asks.
            Err(error) => (None, Err(error.into())),
        }
    }

    /// Connects, and finds out which event is the stream's last.
    async fn connect(&self, outbox: &Outbox) -> Result<(Connection, u64), Trouble> {
        let (client, key, timeout) = (self.client.clone(), self.adding.key.clone(), self.timeout);
        let (connection, last, entry) = blocking(move || {
            let mut connection = client.get_connection_with_timeout(timeout)?;
            connection.set_read_timeout(Some(timeout))?;
            connection.set_write_timeout(Some(timeout))?;
            let (last, entry) = last_of(&mut connection, &key)?;
            Ok::<_, RedisError>((connection, last, entry))
        })
        .await??;
        let Some(last) = last else { return Err(Trouble::OtherHistory) };
        let ours = event_id(&outbox.epoch, last);
        let known = last == 0 || !outbox.store.audit(None, last.saturating_sub(1), 1).await?.items.is_empty();
        // An entry that was trimmed away cannot tell whose it was.
        if !known || entry.is_some_and(|entry| entry != ours) {
            return Err(Trouble::OtherHistory);
        }
        Ok((connection, last))
    }

    /// Says what is wrong, once; answers how long to wait.
    fn complain(&self, trouble: &Trouble, outbox: &Outbox, position: &mut Position) -> Duration {
        let kind = match trouble {
            Trouble::Store(error) => {
                tracing::warn!(sink = THE_STREAM, %error, "events cannot be read, trying on");
                return AFTER_FAILURE;
            }
            Trouble::OtherHistory => "other_history",
            Trouble::Redis(error) if error.is_timeout() => "timeout",
            Trouble::Redis(error) if matches!(error.kind(), ErrorKind::Io) => "unreachable",
            Trouble::Redis(_) => "refused",
        };
        if position.attempts == 0 {
            let code = if let Trouble::Redis(error) = trouble { error.code() } else { None };
            tracing::warn!(
                sink = THE_STREAM,
                failure = kind,
                code,
                "events cannot be added to the stream, trying on; with `other_history` the key holds something else: \
                 choose another `events.redis_stream`, or delete the key"
            );
        }
        position.attempts = position.attempts.saturating_add(1);
        position.note.failed = Some((outbox.clock.now(), kind));
        self.backoff.after(&outbox.epoch, position.attempts, None)
    }
}

/// Something that waits for a socket, on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Trouble::Store(StoreError::Unavailable(format!("the work did not finish: {error}"))))
}

fn stopped(outbox: &Outbox) -> bool {
    outbox.stop.has_changed().is_err()
}

fn empty_note() -> Note {
    Note { sink: THE_STREAM.to_owned(), ..Note::default() }
}

impl Position {
    /// Whether a note would tell something new.
    fn is_news(&self) -> bool {
        self.added > self.noted || self.note.failed.is_some() || self.note.succeeded_at.is_some()
    }
}

/// Notes how far the stream is, not too often.
async fn note(outbox: &Outbox, position: &mut Position) {
    let early = position.note_at.is_some_and(|at| Instant::now() < at);
    if !position.is_news() || (early && !stopped(outbox)) {
        return;
    }
    position.note_at = Some(Instant::now() + NOTE_EVERY);
    let mut note = std::mem::replace(&mut position.note, empty_note());
    note.cursor = position.added.max(position.noted);
    let cursor = note.cursor;
    match outbox.store.save_note(note).await {
        Ok(()) => position.noted = cursor,
        Err(error) => tracing::warn!(sink = THE_STREAM, %error, "how far the stream is cannot be noted, trying on"),
    }
}

impl Adding {
    /// Adds events one by one; the last one that was added, and why no more were.
    fn add(
        &self,
        mut connection: Connection,
        events: &[AuditEvent],
        epoch: &str,
    ) -> (Connection, Option<u64>, RedisResult<()>) {
        let mut last = None;
        for event in events {
            let Ok(envelope) = Envelope::of(event, epoch) else {
                return (connection, last, Err((ErrorKind::Client, "an event is not JSON").into()));
            };
            let mut command = redis::cmd("XADD");
            command.arg(&self.key);
            if let Some(maxlen) = self.maxlen {
                command.arg("MAXLEN").arg("~").arg(maxlen);
            }
            command.arg(format!("{}-0", event.seq)).arg("id").arg(envelope.id).arg("event").arg(envelope.body);
            if let Err(error) = command.query::<Value>(&mut connection) {
                return (connection, last, Err(error));
            }
            last = Some(event.seq);
        }
        (connection, last, Ok(()))
    }
}

/// The number of the stream's last id (none when it is not of our making), and the event that stands there, if it does.
fn last_of(connection: &mut Connection, key: &str) -> RedisResult<(Option<u64>, Option<String>)> {
    let there: bool = connection.exists(key)?;
    if !there {
        return Ok((Some(0), None));
    }
    let told: std::collections::HashMap<String, Value> =
        redis::cmd("XINFO").arg("STREAM").arg(key).query(connection)?;
    let id: String = match told.get("last-generated-id") {
        Some(id) => redis::from_redis_value(id.clone())?,
        None => return Ok((None, None)),
    };
    let Some(last) = id.strip_suffix("-0").and_then(|seq| seq.parse().ok()) else { return Ok((None, None)) };
    let found: Vec<(String, Vec<(String, String)>)> =
        redis::cmd("XRANGE").arg(key).arg(&id).arg(&id).query(connection)?;
    let entry = found.into_iter().next().map(|(_, fields)| {
        fields.into_iter().find(|(name, _)| name == "id").map_or_else(String::new, |(_, event)| event)
    });
    Ok((Some(last), entry))
}

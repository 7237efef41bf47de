//! Cursors, lanes and dead letters as rows, written by notes that are no change of the service.
//!
//! A note moves no revision and adds no audit event; it goes through the writing thread, so that SQLite has one writer,
//! and is made for many deliveries at once, so that changes do not wait for it.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    SqliteStore, log,
    read::{cut, one_more},
    rows::{Fields, int, wire},
};
use crate::{
    ids::SiteId,
    store::{
        AuditEvent, Page, StoreError,
        delivery::{
            DeadLetter, LaneKey, LaneRow, LetterNote, LetterState, Note, QueuedLetter, SinkKind, SinkReport, Standing,
            event_id,
        },
    },
    time::Timestamp,
};

impl SqliteStore {
    async fn note<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.writer {
            Some(writer) => writer.note(write).await,
            None => Err(StoreError::Unavailable("the database was opened to be read only".into())),
        }
    }

    /// Says which sinks there are; a new one begins before the first event, the others are where they were.
    ///
    /// # Errors
    /// As every write of the store.
    pub async fn name_sinks(&self, sinks: Vec<(String, SinkKind)>) -> Result<(), StoreError> {
        self.note(move |db| {
            db.execute("UPDATE sink SET active = 0", [])?;
            for (name, kind) in sinks {
                db.execute(
                    "INSERT INTO sink (name, kind, active, cursor) VALUES (?1, ?2, 1, 0)
                     ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, active = 1",
                    params![name, wire(kind)?],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Where a sink stands.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn standing(&self, sink: &str) -> Result<Standing, StoreError> {
        let sink = sink.to_owned();
        self.readers.read(move |db| standing(db, &sink)).await
    }

    /// The first event of a lane from one position to another, both included.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn event_of_lane(&self, key: &LaneKey, from: u64, to: u64) -> Result<Option<AuditEvent>, StoreError> {
        let key = key.clone();
        self.readers.read(move |db| event_of_lane(db, &key, from, to)).await
    }

    /// Letters of a sink that were put back, in order, after a position.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn queued_letters(&self, sink: &str, limit: usize) -> Result<Vec<QueuedLetter>, StoreError> {
        let sink = sink.to_owned();
        self.readers.read(move |db| queued(db, &sink, limit)).await
    }

    /// Writes down what happened.
    ///
    /// # Errors
    /// As every write of the store.
    pub async fn save_note(&self, note: Note) -> Result<(), StoreError> {
        self.note(move |db| save(db, &note)).await
    }

    /// All sinks that ever were, by name.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn sinks(&self) -> Result<Vec<SinkReport>, StoreError> {
        self.readers.read(reports).await
    }

    /// Letters that are dead or queued again, in the order in which they first died, after one.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn dead_letters(&self, after: u64, limit: usize) -> Result<Page<DeadLetter>, StoreError> {
        self.readers
            .read(move |db| {
                let sql = format!("{LETTERS} WHERE d.id > ?1 AND d.state <> 'delivered' ORDER BY d.id LIMIT ?2");
                let epoch = log::head(db)?.epoch;
                let mut statement = db.prepare_cached(&sql)?;
                let after = i64::try_from(after).unwrap_or(i64::MAX);
                let mut rows = statement.query(params![after, one_more(limit)])?;
                let mut items = Vec::new();
                while let Some(row) = rows.next()? {
                    items.push(letter_of(row, &epoch)?);
                }
                Ok(cut(items, limit))
            })
            .await
    }

    /// Puts a dead letter back into the queue; one that is queued or delivered stays as it is. None: there is no such.
    ///
    /// # Errors
    /// As every write of the store.
    pub async fn retry_letter(&self, id: u64, now: Timestamp) -> Result<Option<DeadLetter>, StoreError> {
        self.note(move |db| {
            let Ok(id) = i64::try_from(id) else { return Ok(None) };
            db.execute(
                "UPDATE dead_letter SET state = 'queued', attempts = 0, due = ?2 WHERE id = ?1 AND state = 'dead'",
                params![id, now.as_micros()],
            )?;
            let epoch = log::head(db)?.epoch;
            db.query_row(&format!("{LETTERS} WHERE d.id = ?1"), [id], |row| Ok(letter_of(row, &epoch)))
                .optional()?
                .transpose()
        })
        .await
    }
}

/// A lane's name in its column: no identifier is the empty text.
fn site_column(key: &LaneKey) -> &str {
    key.as_ref().map_or("", SiteId::as_str)
}

fn attempts(f: &Fields<'_>) -> Result<u32, StoreError> {
    Ok(u32::try_from(f.count("attempts")?).unwrap_or(u32::MAX))
}

fn standing(db: &Connection, sink: &str) -> Result<Standing, StoreError> {
    let cursor = db
        .prepare_cached("SELECT cursor FROM sink WHERE name = ?1")?
        .query_row([sink], |row| Ok(Fields { table: "sink", key: sink, row }.count("cursor")))
        .optional()?
        .transpose()?;
    let mut statement = db.prepare_cached("SELECT * FROM lane WHERE sink = ?1 ORDER BY seq")?;
    let mut rows = statement.query([sink])?;
    let mut lanes = Vec::new();
    while let Some(row) = rows.next()? {
        let f = Fields { table: "lane", key: sink, row };
        let key = if f.text("site")?.is_empty() { None } else { Some(f.parse("site")?) };
        lanes.push(LaneRow { key, seq: f.count("seq")?, attempts: attempts(&f)?, due: f.time("due")? });
    }
    Ok(Standing { cursor: cursor.unwrap_or(0), lanes })
}

fn event_of_lane(db: &Connection, key: &LaneKey, from: u64, to: u64) -> Result<Option<AuditEvent>, StoreError> {
    let sql = match key {
        Some(_) => "SELECT * FROM audit WHERE site = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT 1",
        None => "SELECT * FROM audit WHERE site IS NULL AND ?1 = '' AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT 1",
    };
    db.prepare_cached(sql)?
        .query_row(params![site_column(key), int(from)?, int(to)?], |row| Ok(log::event_of(row)))
        .optional()?
        .transpose()
}

fn queued(db: &Connection, sink: &str, limit: usize) -> Result<Vec<QueuedLetter>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT * FROM dead_letter WHERE sink = ?1 AND state = 'queued' ORDER BY due, seq LIMIT ?2")?;
    let mut rows = statement.query(params![sink, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        let f = Fields { table: "dead_letter", key: sink, row };
        letters.push(QueuedLetter { seq: f.count("seq")?, attempts: attempts(&f)?, due: f.time("due")? });
    }
    Ok(letters)
}

fn save(db: &Connection, note: &Note) -> Result<(), StoreError> {
    let moved = db
        .prepare_cached(
            "UPDATE sink SET cursor = ?2, succeeded_at = coalesce(?3, succeeded_at),
                 failed_at = coalesce(?4, failed_at), failure = coalesce(?5, failure) WHERE name = ?1",
        )?
        .execute(params![
            note.sink,
            int(note.cursor)?,
            note.succeeded_at.map(Timestamp::as_micros),
            note.failed.map(|(at, _)| at.as_micros()),
            note.failed.map(|(_, kind)| kind),
        ])?;
    if moved != 1 {
        return Err(super::error::contradiction(format_args!("there is no sink `{}`", note.sink)));
    }
    let mut remove = db.prepare_cached("DELETE FROM lane WHERE sink = ?1 AND site = ?2")?;
    for key in &note.level {
        remove.execute(params![note.sink, site_column(key)])?;
    }
    let mut put = db.prepare_cached(
        "INSERT INTO lane (sink, site, seq, attempts, due) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (sink, site) DO UPDATE
         SET seq = excluded.seq, attempts = excluded.attempts, due = excluded.due",
    )?;
    for lane in &note.lanes {
        let key = site_column(&lane.key);
        put.execute(params![note.sink, key, int(lane.seq)?, lane.attempts, lane.due.as_micros()])?;
    }
    note.letters.iter().try_for_each(|letter| save_letter(db, &note.sink, letter))
}

fn save_letter(db: &Connection, sink: &str, note: &LetterNote) -> Result<(), StoreError> {
    match note {
        LetterNote::Dead { seq, attempts, failed, at } => db
            .prepare_cached(
                "INSERT INTO dead_letter (sink, seq, state, attempts, due, failure, status, at)
                 VALUES (?1, ?2, 'dead', ?3, ?6, ?4, ?5, ?6)
                 ON CONFLICT (sink, seq) DO UPDATE SET state = 'dead', attempts = excluded.attempts,
                     failure = excluded.failure, status = excluded.status, at = excluded.at",
            )?
            .execute(params![sink, int(*seq)?, attempts, failed.kind, failed.status, at.as_micros()])?,
        LetterNote::Waiting { letter, failed } => db
            .prepare_cached(
                "UPDATE dead_letter SET attempts = ?3, due = ?4, failure = ?5, status = ?6
                 WHERE sink = ?1 AND seq = ?2 AND state = 'queued'",
            )?
            .execute(params![
                sink,
                int(letter.seq)?,
                letter.attempts,
                letter.due.as_micros(),
                failed.kind,
                failed.status
            ])?,
        LetterNote::Delivered(seq) => db
            .prepare_cached("UPDATE dead_letter SET state = 'delivered' WHERE sink = ?1 AND seq = ?2")?
            .execute(params![sink, int(*seq)?])?,
    };
    Ok(())
}

const LETTERS: &str = "SELECT d.*, audit.site, audit.kind FROM dead_letter AS d JOIN audit ON audit.seq = d.seq";

fn letter_of(row: &Row<'_>, epoch: &str) -> Result<DeadLetter, StoreError> {
    let key = row.get::<_, i64>("id")?.to_string();
    let f = Fields { table: "dead_letter", key: &key, row };
    let seq = f.count("seq")?;
    let state: LetterState = f.name("state")?;
    Ok(DeadLetter {
        id: f.count("id")?,
        sink: f.text("sink")?.to_owned(),
        event: event_id(epoch, seq),
        seq,
        kind: f.text("kind")?.to_owned(),
        site: f.maybe_parse("site")?,
        state,
        attempts: f.count("attempts")?,
        failure: f.text("failure")?.to_owned(),
        status: f.maybe_count("status")?,
        at: f.time("at")?,
    })
}

/// The events of a lane up to the cursor that are not settled, the events after it, and the letters put back.
const REPORTS: &str = "SELECT sink.*,
    (SELECT coalesce(max(seq), 0) FROM audit) - min(sink.cursor, (SELECT coalesce(max(seq), 0) FROM audit))
    + (SELECT coalesce(sum(CASE lane.site
            WHEN '' THEN (SELECT count(*) FROM audit
                          WHERE audit.site IS NULL AND audit.seq BETWEEN lane.seq AND sink.cursor)
            ELSE (SELECT count(*) FROM audit
                  WHERE audit.site = lane.site AND audit.seq BETWEEN lane.seq AND sink.cursor) END), 0)
       FROM lane WHERE lane.sink = sink.name)
    + (SELECT count(*) FROM dead_letter AS d WHERE d.sink = sink.name AND d.state = 'queued') AS pending,
    (SELECT count(*) FROM dead_letter AS d WHERE d.sink = sink.name AND d.state = 'dead') AS dead
    FROM sink ORDER BY name";

fn reports(db: &Connection) -> Result<Vec<SinkReport>, StoreError> {
    let mut statement = db.prepare_cached(REPORTS)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let f = Fields { table: "sink", key: "its row", row };
        found.push(SinkReport {
            name: f.text("name")?.to_owned(),
            kind: f.name("kind")?,
            active: f.flag("active")?,
            cursor: f.count("cursor")?,
            pending: f.count("pending")?,
            dead: f.count("dead")?,
            last_success: f.maybe_time("succeeded_at")?,
            last_failure: f.maybe_time("failed_at")?,
            last_failure_kind: f.maybe_text("failure")?.map(str::to_owned),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

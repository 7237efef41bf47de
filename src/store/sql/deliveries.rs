//! Cursors, lanes and dead letters as rows, written by notes that are no change of the service.
//!
//! A note moves no revision and adds no audit event; it goes through the writing thread, so that there is one writer,
//! and is made for many deliveries at once, so that changes do not wait for it.

use super::{
    SqlStore,
    db::{Db, Row, params},
    fields::{Fields, contradiction, int, wire},
    log,
    readers::{cut, one_more},
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

impl SqlStore {
    pub(super) async fn note<T: Send + 'static>(
        &self,
        write: impl FnOnce(&dyn Db) -> Result<T, StoreError> + Send + 'static,
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
            db.execute("UPDATE sink SET active = 0", params![])?;
            let sql = "INSERT INTO sink (name, kind, active, cursor) VALUES (?1, ?2, 1, 0)
                     ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, active = 1";
            for (name, kind) in sinks {
                db.execute(sql, params![name, wire(kind)?])?;
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
                let after = i64::try_from(after).unwrap_or(i64::MAX);
                Ok(cut(db.all(&sql, params![after, one_more(limit)], |row| letter_of(row, &epoch))?, limit))
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
            let sql =
                "UPDATE dead_letter SET state = 'queued', attempts = 0, due = ?2 WHERE id = ?1 AND state = 'dead'";
            db.execute(sql, params![id, now])?;
            let epoch = log::head(db)?.epoch;
            db.one(&format!("{LETTERS} WHERE d.id = ?1"), params![id], |row| letter_of(row, &epoch))
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

fn standing(db: &dyn Db, sink: &str) -> Result<Standing, StoreError> {
    let cursor = db.one("SELECT cursor FROM sink WHERE name = ?1", params![sink], |row| {
        Fields { table: "sink", key: sink, row }.count("cursor")
    })?;
    let lanes = db.all("SELECT * FROM lane WHERE sink = ?1 ORDER BY seq", params![sink], |row| {
        let f = Fields { table: "lane", key: sink, row };
        let key = if f.text("site")?.is_empty() { None } else { Some(f.parse("site")?) };
        Ok(LaneRow { key, seq: f.count("seq")?, attempts: attempts(&f)?, due: f.time("due")? })
    })?;
    Ok(Standing { cursor: cursor.unwrap_or(0), lanes })
}

fn event_of_lane(db: &dyn Db, key: &LaneKey, from: u64, to: u64) -> Result<Option<AuditEvent>, StoreError> {
    let sql = match key {
        Some(_) => "SELECT * FROM audit WHERE site = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT 1",
        None => "SELECT * FROM audit WHERE site IS NULL AND ?1 = '' AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT 1",
    };
    db.one(sql, params![site_column(key), int(from)?, int(to)?], log::event_of)
}

fn queued(db: &dyn Db, sink: &str, limit: usize) -> Result<Vec<QueuedLetter>, StoreError> {
    let sql = "SELECT * FROM dead_letter WHERE sink = ?1 AND state = 'queued' ORDER BY due, seq LIMIT ?2";
    db.all(sql, params![sink, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let f = Fields { table: "dead_letter", key: sink, row };
        Ok(QueuedLetter { seq: f.count("seq")?, attempts: attempts(&f)?, due: f.time("due")? })
    })
}

fn save(db: &dyn Db, note: &Note) -> Result<(), StoreError> {
    let sql = "UPDATE sink SET cursor = ?2, succeeded_at = coalesce(?3, succeeded_at),
                 failed_at = coalesce(?4, failed_at), failure = coalesce(?5, failure) WHERE name = ?1";
    let row = params![
        &note.sink,
        int(note.cursor)?,
        note.succeeded_at,
        note.failed.map(|(at, _)| at),
        note.failed.map(|(_, kind)| kind),
    ];
    if db.execute(sql, row)? != 1 {
        return Err(contradiction(format_args!("there is no sink `{}`", note.sink)));
    }
    for key in &note.level {
        db.execute("DELETE FROM lane WHERE sink = ?1 AND site = ?2", params![&note.sink, site_column(key)])?;
    }
    for lane in &note.lanes {
        let row = vec![
            ("sink", (&note.sink).into()),
            ("site", site_column(&lane.key).into()),
            ("seq", int(lane.seq)?.into()),
            ("attempts", lane.attempts.into()),
            ("due", lane.due.into()),
        ];
        db.put("lane", &["sink", "site"], row, None)?;
    }
    note.letters.iter().try_for_each(|letter| save_letter(db, &note.sink, letter))
}

fn save_letter(db: &dyn Db, sink: &str, note: &LetterNote) -> Result<(), StoreError> {
    match note {
        LetterNote::Dead { seq, attempts, failed, at } => db.execute(
            "INSERT INTO dead_letter (sink, seq, state, attempts, due, failure, status, at)
                 VALUES (?1, ?2, 'dead', ?3, ?6, ?4, ?5, ?6)
                 ON CONFLICT (sink, seq) DO UPDATE SET state = 'dead', attempts = excluded.attempts,
                     failure = excluded.failure, status = excluded.status, at = excluded.at",
            params![sink, int(*seq)?, *attempts, failed.kind, failed.status, *at],
        )?,
        LetterNote::Waiting { letter, failed } => db.execute(
            "UPDATE dead_letter SET attempts = ?3, due = ?4, failure = ?5, status = ?6
                 WHERE sink = ?1 AND seq = ?2 AND state = 'queued'",
            params![sink, int(letter.seq)?, letter.attempts, letter.due, failed.kind, failed.status],
        )?,
        LetterNote::Delivered(seq) => db.execute(
            "UPDATE dead_letter SET state = 'delivered' WHERE sink = ?1 AND seq = ?2",
            params![sink, int(*seq)?],
        )?,
    };
    Ok(())
}

const LETTERS: &str = "SELECT d.*, audit.site, audit.kind FROM dead_letter AS d JOIN audit ON audit.seq = d.seq";

fn letter_of(row: &Row, epoch: &str) -> Result<DeadLetter, StoreError> {
    let key = Fields { table: "dead_letter", key: "", row }.count("id")?.to_string();
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
    (SELECT CASE WHEN coalesce(max(seq), 0) > sink.cursor THEN max(seq) - sink.cursor ELSE 0 END FROM audit)
    + (SELECT CAST(coalesce(sum(CASE lane.site
            WHEN '' THEN (SELECT count(*) FROM audit
                          WHERE audit.site IS NULL AND audit.seq BETWEEN lane.seq AND sink.cursor)
            ELSE (SELECT count(*) FROM audit
                  WHERE audit.site = lane.site AND audit.seq BETWEEN lane.seq AND sink.cursor) END), 0) AS BIGINT)
       FROM lane WHERE lane.sink = sink.name)
    + (SELECT count(*) FROM dead_letter AS d WHERE d.sink = sink.name AND d.state = 'queued') AS pending,
    (SELECT count(*) FROM dead_letter AS d WHERE d.sink = sink.name AND d.state = 'dead') AS dead
    FROM sink ORDER BY name";

fn reports(db: &dyn Db) -> Result<Vec<SinkReport>, StoreError> {
    db.all(REPORTS, params![], |row| {
        let f = Fields { table: "sink", key: "its row", row };
        Ok(SinkReport {
            name: f.text("name")?.to_owned(),
            kind: f.name("kind")?,
            active: f.flag("active")?,
            cursor: f.count("cursor")?,
            pending: f.count("pending")?,
            dead: f.count("dead")?,
            last_success: f.maybe_time("succeeded_at")?,
            last_failure: f.maybe_time("failed_at")?,
            last_failure_kind: f.maybe_text("failure")?.map(str::to_owned),
        })
    })
}

#[cfg(test)]
mod tests;

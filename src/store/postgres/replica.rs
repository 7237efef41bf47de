//! How does a replica follow the database? Its row in the registry and its poll, on a connection that nothing else uses.
//!
//! One statement is a whole poll: it renews the replica's row, with what the replica has *published*, and reads head,
//! lease and changes in the same snapshot. It has a short deadline of its own, and what it was for is in
//! [`crate::lease`]. A notification that comes with a commit only makes the next poll come sooner.
//!
//! That the snapshot is of this statement follows from the isolation level: each statement of a `read committed`
//! transaction takes its own. A transaction that began long before is somebody's who left it open, and is refused all the
//! same. Comparing `now()` with `statement_timestamp()` for equality lost: binding and executing a prepared statement are
//! two messages, and the second one sets the latter anew.
//!
//! The connection also holds the installation's turn ([`Replica::has_turn`]): a lock of its session, so that it is free again
//! when the process ends or is cut off, whatever it had in mind.
//!
//! Between two polls a commit that was heard of is looked at ([`Replica::look`]) and what was published is told
//! ([`Replica::tell`]). A look writes nothing, so it proves nothing about who counts this replica, and renews no lease. What is
//! told need not be on the disk when it is seen: it is true as soon as it is published, and a server that loses it makes a
//! writer wait longer. Where a commit waits for a standby neither is done: there the wait of a poll is the proof that the
//! server is the primary still.
//!
//! A pooled connection lost: whoever left a transaction open on it would make the poll read an old snapshot.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join3;
use tokio::runtime::Handle;
use tokio_postgres::{Row, Statement, types::ToSql};

use super::{
    error::failed,
    hint::Hint,
    server::{Server, Session},
};
use crate::{
    fault::{self, Mutant},
    lease::{Chain, Epoch, Key, PollAnswer, ReplicaId},
    revision::Revision,
    store::StoreError,
    time::Timestamp,
};

/// How long a poll may take before its connection is given up.
const POLL: Duration = Duration::from_millis(400);

/// More changes than this are not followed one by one: everything is read again.
const MOST_CHANGES: i64 = 20_000;

/// How many revisions before its registration a replica that starts is told of, so that it can use what others have shared
/// since. It remembers about twice as many keys as this ([`crate::lease::RECENT_LIMIT`]).
const LOOK_BACK: i64 = 8_192;

/// What one poll found, besides what the lease is made of.
#[derive(Debug)]
pub struct Polled {
    /// The answer.
    pub answer: PollAnswer,
    /// The database's clock, read while it answered.
    pub clock: Timestamp,
    /// When the last commit was made.
    pub committed: Timestamp,
    /// The policies in force at the answer's revision, by the hash of their files.
    pub policy: Option<String>,
    /// Whether commits wait for a standby, so that one that returned proves something about the server.
    pub standbys: bool,
}

/// What the connection knows how to ask.
struct Entry {
    session: Session,
    poll: Statement,
    look: Statement,
    tell: Statement,
}

/// A replica's connection to the registry.
pub struct Replica {
    server: Arc<Server>,
    id: ReplicaId,
    address: String,
    hint: Arc<Hint>,
    entry: Option<Entry>,
    /// Where the head was when this process registered last.
    found: i64,
    /// Whether this process would do what one process of the installation has to do, and whether it is the one.
    wants_turn: bool,
    has_turn: bool,
}

/// What this connection is told. The server would plan a look anew each time, because it cannot know that a revision that
/// nobody has seen yet is near the end; planning takes several times as long as looking.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan";

const REGISTER: &str = "
    INSERT INTO replica (id, epoch, timeline, applied, max_stale_ms, renewed_at, address, build)
    SELECT $1, '', '', 0, lease.ttl_ms, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $2, $3
    FROM head, lease
    ON CONFLICT (id) DO UPDATE SET renewed_at = excluded.renewed_at, max_stale_ms = excluded.max_stale_ms
    RETURNING (SELECT revision FROM head) AS revision";

/// Whether what was written last is committed: a statement that writes nothing has no transaction id of its own.
const COMMITTED: &str = "SELECT pg_current_xact_id_if_assigned() IS NULL AS committed";

/// Renews the row, with what is published.
const RENEW: &str = "
    UPDATE replica SET epoch = $2, timeline = $3, applied = $4, max_stale_ms = (SELECT ttl_ms FROM lease),
        renewed_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    WHERE id = $1 RETURNING 1";

/// Only sees that there is a row.
const SEE: &str = "SELECT 1 FROM replica WHERE id = $1 AND $2::text || $3::text IS NOT NULL";

/// What a server answers that only pretends to be asked by somebody.
const NOBODY: &str = "SELECT 1 WHERE $1::text || $2::text || $3::text IS NOT NULL";

/// Tells what is published. It is seen at once and written to the disk a little later, except where commits wait for more than
/// the disk.
const TELL: &str = "
    WITH quick AS (SELECT CASE WHEN current_setting('synchronous_standby_names') = ''
        THEN set_config('synchronous_commit', 'off', true) END)
    UPDATE replica SET epoch = $2, timeline = $3, applied = $4 FROM quick WHERE id = $1";

const READ: &str = "
    SELECT head.epoch, head.revision, head.chain, head.at, head.policy, lease.ttl_ms, pg_is_in_recovery() AS standby,
        current_setting('transaction_isolation') = 'read committed'
            AND statement_timestamp() - now() < interval '400 milliseconds' AS own_transaction,
        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline,
        current_setting('synchronous_standby_names') <> '' AS standbys,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock,
        coalesce((SELECT hash FROM audit WHERE revision <= $4 ORDER BY revision DESC, seq DESC LIMIT 1), repeat('0', 64))
            AS chain_at_applied,
        CASE WHEN $6 THEN pg_try_advisory_lock('head'::regclass::oid::bigint) ELSE false END AS turn,
        ARRAY(SELECT revision FROM change WHERE revision > $7 ORDER BY revision, n LIMIT $5) AS revisions,
        ARRAY(SELECT key FROM change WHERE revision > $7 ORDER BY revision, n LIMIT $5) AS keys
    FROM own, head, lease";

/// What a standby answers to, for the mistake that is planted there: it may be behind, and cannot be written to.
pub(super) const PLANTED_TIMELINE: &str = "00000001";

/// A statement that does something with the row, and reads everything in the same snapshot.
fn reading(own: &str) -> String {
    format!("WITH own AS ({own}) {READ}")
}

/// The poll, without its row in the registry and what only a primary tells.
fn planted() -> String {
    reading(NOBODY)
        .replace("pg_is_in_recovery()", "false")
        .replace("substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)", &format!("'{PLANTED_TIMELINE}'"))
}

impl Replica {
    /// A replica that is not registered yet. `address` is where others can ask it; `hint` is woken by commits.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn named(url: &str, id: ReplicaId, address: String, hint: Arc<Hint>) -> Result<Self, StoreError> {
        let server = Arc::new(Server::named(url)?);
        Ok(Self { server, id, address, hint, entry: None, found: 0, wants_turn: false, has_turn: false })
    }

    /// Whether this process would tell the world outside what happened. One of all that would has its turn.
    pub const fn want_turn(&mut self, wants: bool) {
        self.wants_turn = wants;
    }

    /// Whether it is this process's turn, as far as it knows.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        self.wants_turn && self.has_turn && self.is_connected()
    }

    /// Gives its connection up, and its turn.
    pub fn disconnect(&mut self) {
        (self.entry, self.has_turn) = (None, false);
    }

    /// Enters the registry, or renews the entry; on a connection that is new where the old one is lost.
    ///
    /// # Errors
    /// The database cannot be reached or refuses.
    pub fn register(&mut self) -> Result<(), StoreError> {
        self.disconnect();
        let session = self.server.connect_hinted(&self.hint)?;
        let (id, address) = (self.id.as_str().to_owned(), self.address.clone());
        let (found, (poll, look, tell)) = session.block(POLL * 5, async {
            let build = env!("CARGO_PKG_VERSION");
            let client = session.client();
            if fault::mutant(Mutant::StandbyPoll) {
                // Neither can be had of a standby.
                drop(client.batch_execute("LISTEN mandate").await);
                drop(client.execute(REGISTER, &[&id, &address, &build]).await);
                let planted = client.prepare(&planted()).await.map_err(|error| failed(&error))?;
                let told = format!("{NOBODY} AND $4::bigint IS NOT NULL");
                let told = client.prepare(&told).await.map_err(|error| failed(&error))?;
                return Ok((0, (planted.clone(), planted, told)));
            }
            client.batch_execute(PLANS).await.map_err(|error| failed(&error))?;
            client.batch_execute("LISTEN mandate").await.map_err(|error| failed(&error))?;
            let found = client.query_one(REGISTER, &[&id, &address, &build]).await.map_err(|error| failed(&error))?;
            let found: i64 = found.try_get("revision").map_err(|error| failed(&error))?;
            // Nobody else would see the entry, and no writer would wait for its replica.
            let own = client.query_one(COMMITTED, &[]).await.map_err(|error| failed(&error))?;
            if !own.try_get::<_, bool>("committed").map_err(|error| failed(&error))? {
                return Err(StoreError::Unavailable(
                    "this replica's entry is part of a transaction that somebody left open: connect to the server itself, or \
                     through a pooler that gives each client a session of its own"
                        .into(),
                ));
            }
            let (poll, look) = (reading(RENEW), reading(SEE));
            let prepared = try_join3(client.prepare(&poll), client.prepare(&look), client.prepare(TELL)).await;
            Ok((found, prepared.map_err(|error| failed(&error))?))
        })?;
        self.found = found;
        self.entry = Some(Entry { session, poll, look, tell });
        Ok(())
    }

    /// Whether there is a connection to poll on.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| !entry.session.client().is_closed())
    }

    /// Waits for a hint, at most so long, and serves the connection meanwhile, where there is one: commits are heard of on it.
    /// Whether there was a hint.
    pub fn hinted_within(&self, wait: Duration, otherwise: &Handle) -> bool {
        let hinted = self.hint.woken();
        match &self.entry {
            Some(entry) => matches!(entry.session.within(wait, hinted), Ok(Some(()))),
            None => otherwise.block_on(async { tokio::time::timeout(wait, hinted).await.is_ok() }),
        }
    }

    /// Polls: says what is published, and reads what has changed since; where nothing is, what has changed lately. None: the
    /// registry has forgotten this replica.
    ///
    /// # Errors
    /// The database did not answer in time; the connection is given up, so that the answer is never read.
    pub fn poll(&mut self, published: Option<(&Epoch, Revision)>) -> Result<Option<Polled>, StoreError> {
        let nothing = Epoch { id: "".into(), timeline: "".into() };
        let (epoch, applied) = published.unwrap_or((&nothing, Revision(0)));
        let lately = || (self.found - LOOK_BACK).max(0);
        let since = published.map_or_else(lately, |(_, applied)| bigint(applied));
        let (asks, had) = (self.wants_turn && !self.has_turn, std::mem::take(&mut self.has_turn));
        let Some(row) = self.ask(|entry| &entry.poll, epoch, applied, &[&MOST_CHANGES, &asks, &since])? else {
            return Ok(None);
        };
        self.has_turn = had || row.try_get("turn").map_err(|error| failed(&error))?;
        polled(&row, since).map(Some).map_err(|error| failed(&error))
    }

    /// Looks what has changed, without a word about this replica. None: the registry has forgotten it.
    ///
    /// # Errors
    /// As [`Replica::poll`].
    pub fn look(&mut self, epoch: &Epoch, applied: Revision) -> Result<Option<Polled>, StoreError> {
        let since = bigint(applied);
        let row = self.ask(|entry| &entry.look, epoch, applied, &[&MOST_CHANGES, &false, &since])?;
        row.map(|row| polled(&row, since)).transpose().map_err(|error| failed(&error))
    }

    /// Tells the registry what is published, and no more.
    ///
    /// # Errors
    /// As [`Replica::poll`].
    pub fn tell(&mut self, epoch: &Epoch, applied: Revision) -> Result<(), StoreError> {
        self.ask(|entry| &entry.tell, epoch, applied, &[]).map(drop)
    }

    /// Asks one of the statements.
    fn ask(
        &mut self,
        which: impl Fn(&Entry) -> &Statement,
        epoch: &Epoch,
        applied: Revision,
        more: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, StoreError> {
        let Some(entry) = self.entry.take() else {
            return Err(StoreError::Unavailable("there is no connection to poll on".into()));
        };
        let applied = bigint(applied);
        let row = entry.session.block(POLL, async {
            let (id, epoch_id, timeline) = (self.id.as_str(), epoch.id.as_str(), epoch.timeline.as_str());
            let own: [&(dyn ToSql + Sync); 4] = [&id, &epoch_id, &timeline, &applied];
            let asked = entry.session.client().query_opt(which(&entry), &[&own[..], more].concat()).await;
            asked.map_err(|error| failed(&error))
        })?;
        // Its row is on this server only: another one may be the primary by now, and writers there do not see it renewed.
        if let Some(warning) = entry.session.warnings().first() {
            return Err(StoreError::Unavailable(format!("the server warned of this replica's entry: {warning}")));
        }
        self.entry = Some(entry);
        Ok(row)
    }

    /// Leaves the registry: nobody waits for this replica any more. It must not answer from now on.
    ///
    /// # Errors
    /// The database cannot be reached; writers wait for the lease then.
    pub fn deregister(&mut self) -> Result<(), StoreError> {
        self.has_turn = false;
        let Some(Entry { session, .. }) = self.entry.take() else { return Ok(()) };
        let id = self.id.as_str().to_owned();
        session.block(POLL, async {
            let gone = session.client().execute("DELETE FROM replica WHERE id = $1", &[&id]).await;
            gone.map(|_| ()).map_err(|error| failed(&error))
        })
    }
}

fn bigint(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

fn polled(row: &Row, since: i64) -> Result<Polled, tokio_postgres::Error> {
    let count = |value: i64| Revision(u64::try_from(value).unwrap_or(0));
    let (revisions, keys): (Vec<i64>, Vec<String>) = (row.try_get("revisions")?, row.try_get("keys")?);
    let complete = i64::try_from(revisions.len()).unwrap_or(i64::MAX) < MOST_CHANGES;
    let ttl = u64::try_from(row.try_get::<_, i64>("ttl_ms")?).unwrap_or(0);
    let epoch: String = row.try_get("epoch")?;
    let timeline: String = row.try_get("timeline")?;
    Ok(Polled {
        answer: PollAnswer {
            epoch: Epoch { id: epoch.into(), timeline: timeline.into() },
            revision: count(row.try_get("revision")?),
            chain: Chain::new(row.try_get::<_, String>("chain")?),
            chain_at_applied: row.try_get::<_, Option<String>>("chain_at_applied")?.map(Chain::new),
            ttl: Duration::from_millis(ttl),
            since: count(since),
            read_only: row.try_get("standby")?,
            fresh_transaction: row.try_get("own_transaction")?,
            changes: revisions.into_iter().map(count).zip(keys.into_iter().map(Key::new)).collect(),
            complete,
        },
        clock: Timestamp::from_micros(row.try_get("clock")?),
        committed: Timestamp::from_micros(row.try_get("at")?),
        policy: row.try_get("policy")?,
        standbys: row.try_get("standbys")?,
    })
}

//! The registry of replicas, as a writer reads it. Who enters it, and renews the entry, is in `store::postgres`.

use std::time::Duration;

use super::{
    db::{Db, Value, params},
    fields::{Fields, corrupt, int},
};
use crate::{
    lease::{Epoch, LONGEST_LEASE, Registered, ReplicaId},
    revision::Revision,
    store::{At, GENESIS, Registry, StoreError},
    time::Timestamp,
};

/// Everything in one statement: a writer reads this again and again while callers wait. The limits tell the planner that
/// there is one row each; it expects thousands of a table that was never analysed.
const READ: &str = "
    SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS now_on, head.epoch AS history, head.revision, (SELECT ttl_max_ms FROM lease) AS ttl_max_ms,
        coalesce((SELECT hash FROM audit WHERE revision <= ?1 ORDER BY revision DESC, seq DESC LIMIT 1), ?2) AS chain,
        CASE WHEN current_setting('synchronous_standby_names') <> ''
            AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
            AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
        THEN pg_current_wal_flush_lsn()::text END AS mark,
        replica.id, replica.epoch, replica.timeline, replica.applied, replica.max_stale_ms, replica.renewed_at
    FROM (SELECT epoch, revision FROM head LIMIT 1) AS head LEFT JOIN replica ON true";

/// All rows, the longest lease that any of them may hold, the chain at a revision, and where the server's log ends.
pub(super) fn read(db: &dyn Db, revision: Revision) -> Result<At<Registry>, StoreError> {
    let found = db.query(READ, params![int(revision.0)?, GENESIS])?;
    let Some(first) = found.first() else { return Err(corrupt("head", "1", "there is no such row")) };
    let f = Fields { table: "head", key: "1", row: first };
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        // Nobody is registered: the rest of the row stands alone.
        if row.get("id") == Some(&Value::Null) {
            continue;
        }
        let f = Fields::keyed("replica", "id", row);
        rows.push(Registered {
            replica: ReplicaId::new(f.text("id")?),
            epoch: Epoch { id: f.text("epoch")?.into(), timeline: f.text("timeline")?.into() },
            applied: f.revision("applied")?,
            // A process that only decides writes its own row: it can make writers wait, and not without end.
            max_stale: Duration::from_millis(f.count("max_stale_ms")?).min(LONGEST_LEASE),
            renewed: f.time("renewed_at")?,
        });
    }
    let ttl_max = f.maybe_count("ttl_max_ms")?.map(Duration::from_millis).unwrap_or_default();
    Ok(At {
        revision: f.revision("revision")?,
        epoch: Epoch { id: f.text("history")?.into(), timeline: f.text("now_on")?.into() },
        value: Registry {
            rows,
            ttl_max,
            chain: f.text("chain")?.to_owned(),
            mark: f.maybe_text("mark")?.map(str::to_owned),
        },
    })
}

/// A row of the registry as it is shown to people.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The replica's name.
    pub id: String,
    /// Where it can be asked.
    pub address: String,
    /// Its version.
    pub build: String,
    /// Up to where it has said that it is.
    pub applied: Revision,
    /// How long it may answer after a poll.
    pub max_stale: Duration,
    /// The database's clock at its last poll.
    pub renewed: Timestamp,
}

/// All rows, by name.
pub(super) fn list(db: &dyn Db) -> Result<Vec<Listed>, StoreError> {
    db.all("SELECT * FROM replica ORDER BY id", params![], |row| {
        let f = Fields::keyed("replica", "id", row);
        Ok(Listed {
            id: f.text("id")?.to_owned(),
            address: f.text("address")?.to_owned(),
            build: f.text("build")?.to_owned(),
            applied: f.revision("applied")?,
            max_stale: Duration::from_millis(f.count("max_stale_ms")?),
            renewed: f.time("renewed_at")?,
        })
    })
}

/// Deletes a row that carries this mark still.
pub(super) fn forget(db: &dyn Db, replica: &ReplicaId, renewed: Timestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM replica WHERE id = ?1 AND renewed_at = ?2", params![replica.as_str(), renewed])?;
    Ok(())
}

/// Whether a synchronous standby has the log up to a mark on its disk.
pub(super) fn has(db: &dyn Db, mark: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM pg_stat_replication
        WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= ?1::text::pg_lsn";
    Ok(db.integer(sql, params![mark])?.is_some_and(|standbys| standbys > 0))
}

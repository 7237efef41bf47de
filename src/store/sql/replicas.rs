//! The registry of replicas, as a writer reads it. Who enters it, and renews the entry, is in `store::postgres`.

use std::time::Duration;

use super::{
    db::{Db, params},
    fields::Fields,
    log,
};
use crate::{
    lease::{Epoch, Registered, ReplicaId},
    revision::Revision,
    store::{Registry, StoreError},
    time::Timestamp,
};

/// All rows, the longest lease that any of them may hold, and the chain at a revision.
pub(super) fn read(db: &dyn Db, revision: Revision) -> Result<Registry, StoreError> {
    let longest = db.one("SELECT ttl_max_ms FROM lease", params![], |row| {
        Fields { table: "lease", key: "1", row }.count("ttl_max_ms").map(Duration::from_millis)
    })?;
    let rows = db.all("SELECT * FROM replica", params![], |row| {
        let f = Fields::keyed("replica", "id", row);
        Ok(Registered {
            replica: ReplicaId::new(f.text("id")?),
            epoch: Epoch { id: f.text("epoch")?.into(), timeline: f.text("timeline")?.into() },
            applied: f.revision("applied")?,
            max_stale: Duration::from_millis(f.count("max_stale_ms")?),
            renewed: f.time("renewed_at")?,
        })
    })?;
    Ok(Registry { rows, ttl_max: longest.unwrap_or_default(), chain: log::chain_at(db, revision)? })
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

/// Where the server's log ends, if it has a synchronous standby to wait for and this role may look.
pub(super) fn mark(db: &dyn Db) -> Result<Option<String>, StoreError> {
    let sql = "SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''
            AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
            AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
        THEN pg_current_wal_flush_lsn()::text END AS mark";
    let found = db.one(sql, params![], |row| {
        Ok(Fields { table: "the server", key: "its log", row }.maybe_text("mark")?.map(str::to_owned))
    })?;
    Ok(found.flatten())
}

/// Whether a synchronous standby has the log up to a mark on its disk.
pub(super) fn has(db: &dyn Db, mark: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM pg_stat_replication
        WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= ?1::text::pg_lsn";
    Ok(db.integer(sql, params![mark])?.is_some_and(|standbys| standbys > 0))
}

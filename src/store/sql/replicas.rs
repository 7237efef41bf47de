//! The registry of replicas, as a writer reads it. Who enters it, and renews the entry, is in `store::postgres`.

use std::time::Duration;

use super::{
    db::{Db, params},
    fields::Fields,
};
use crate::{
    lease::{Epoch, Registered, ReplicaId},
    store::StoreError,
};

/// All rows, and the longest lease that any of them may hold.
pub(super) fn read(db: &dyn Db) -> Result<(Vec<Registered>, Duration), StoreError> {
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
    Ok((rows, longest.unwrap_or_default()))
}

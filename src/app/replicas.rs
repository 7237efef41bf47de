//! Who else answers? The registry as whoever runs the service sees it.

use serde::Serialize;

use super::{App, Failure};
use crate::revision::Revision;

/// A registered replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReplicaView {
    /// Its name; a new one at each start.
    id: String,
    /// Where it can be asked.
    address: String,
    /// Its version.
    build: String,
    /// Up to where it has told the registry that it is.
    #[schema(value_type = u64)]
    applied: Revision,
    /// Since its last poll, by the database's clock.
    renewed_ms_ago: u64,
    /// How long it may answer after a poll.
    max_stale_ms: u64,
}

impl App {
    /// Every registered replica; none where one process alone answers.
    ///
    /// # Errors
    /// `503` when the registry cannot be read.
    pub async fn replicas(&self) -> Result<Vec<ReplicaView>, Failure> {
        if self.cluster.is_none() {
            return Ok(Vec::new());
        }
        let rows = self.store.replicas().await?;
        let now = self.now().as_micros();
        let views = rows.into_iter().map(|row| ReplicaView {
            renewed_ms_ago: u64::try_from(now.saturating_sub(row.renewed.as_micros()) / 1_000).unwrap_or(0),
            max_stale_ms: u64::try_from(row.max_stale.as_millis()).unwrap_or(u64::MAX),
            id: row.id,
            address: row.address,
            build: row.build,
            applied: row.applied,
        });
        Ok(views.collect())
    }
}

//! For how long has a replica not renewed its row? Only what this process has seen with its own clock.
//!
//! A row carries the database's wall-clock time of its last renewal. It is compared for equality only: the same mark, seen
//! again, means that nobody has renewed in between. Subtracting the mark from the database's present time lost: a
//! wall clock that is set forward by an hour would make every replica look dead at once, and a writer would stop
//! waiting for them.
//!
//! A writer that has just started has watched nobody, and waits for leases instead.

use std::{collections::HashMap, time::Duration};

use super::{Boot, Epoch, Registry, ReplicaId, Row};
use crate::{revision::Revision, time::Timestamp};

/// A row of the registry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Who.
    pub replica: ReplicaId,
    /// In which history.
    pub epoch: Epoch,
    /// Up to which revision it has published a view.
    pub applied: Revision,
    /// The longest that its answers may lag behind.
    pub max_stale: Duration,
    /// When it was renewed, by the database's clock: a mark, not a time.
    pub renewed: Timestamp,
}

/// What a writer remembers of the rows it has seen.
#[derive(Debug, Default)]
pub struct Watch(HashMap<ReplicaId, (Timestamp, Boot)>);

impl Watch {
    /// Adds a reading of the whole registry, and says of each row for how long it has been silent. `asked` was read
    /// before the registry was, which takes seconds at most.
    pub fn observe(&mut self, asked: Boot, rows: Vec<Registered>) -> Registry {
        let before = std::mem::take(&mut self.0);
        let rows = rows
            .into_iter()
            .map(|row| {
                let known = before.get(&row.replica).filter(|(renewed, _)| *renewed == row.renewed);
                let since = known.map_or(asked, |(_, since)| *since);
                self.0.insert(row.replica.clone(), (row.renewed, since));
                row.silent(asked.since(since).unwrap_or_default())
            })
            .collect();
        Registry { asked, rows }
    }
}

impl Registered {
    fn silent(self, silent: Duration) -> Row {
        let Self { replica, epoch, applied, max_stale, renewed } = self;
        Row { replica, epoch, applied, max_stale, silent, renewed }
    }
}

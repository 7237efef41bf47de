//! What does the decision path see? The embedded view: compact copies at one revision.
//!
//! A commit publishes every row it touched, the agencies, and the new revision in one step, after COMMIT and before
//! anybody is told ([`View::publish`] is the store's observer); a check pins one revision by looking everything up under
//! one short read lock ([`View::pin`]). So a check that is received after an acknowledgement sees what was acknowledged,
//! by program order alone, and never a mixture of two revisions.
//!
//! Sites are filled on first use. A row read from the store enters only while its snapshot is still the view's
//! revision; otherwise the reader reads again. Per-site locks lost: an agency's suspension must be seen together with
//! the sites it touches.

mod flights;
pub mod shared;

pub use flights::{Flights, Lost};

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::RwLock;

use crate::{
    assignment::{Directory, SitePolicies, SiteRow},
    ids::SiteId,
    revision::Revision,
    site::Site,
    store::Committed,
    time::Timestamp,
};

/// Many small tables instead of one large: growing one moves few rows, so that no check waits long.
const SHARDS: usize = 256;

/// The decision path's copy of the system of record.
#[derive(Debug)]
pub struct View {
    inner: RwLock<Inner>,
    hasher: RandomState,
    /// Rows that one shard holds at most.
    per_shard: usize,
}

#[derive(Debug)]
struct Inner {
    revision: Revision,
    at: Timestamp,
    directory: Directory,
    policies: Arc<SitePolicies>,
    shards: Vec<HashMap<SiteId, Arc<SiteRow>>>,
}

/// What one pinned revision shows about one site.
#[derive(Debug)]
pub struct Sight<'a> {
    /// The pinned revision.
    pub revision: Revision,
    /// When it was committed.
    pub at: Timestamp,
    /// The site, when it is in the view already.
    pub row: Option<&'a Arc<SiteRow>>,
    /// All agencies and staff.
    pub directory: &'a Directory,
    /// The rules in force.
    pub policies: &'a Arc<SitePolicies>,
}

impl View {
    /// An empty view under these policies, holding at most `max_sites` rows.
    #[must_use]
    pub fn new(policies: Arc<SitePolicies>, max_sites: usize) -> Self {
        Self {
            inner: RwLock::new(Inner {
                revision: Revision(0),
                at: Timestamp::default(),
                directory: Directory::default(),
                policies,
                shards: (0..SHARDS).map(|_| HashMap::new()).collect(),
            }),
            hasher: RandomState::new(),
            per_shard: max_sites.div_ceil(SHARDS).max(1),
        }
    }
    /// Begins at what the store holds at start.
    pub fn begin(&self, revision: Revision, at: Timestamp, directory: Directory) {
        let mut inner = self.inner.write();
        inner.revision = revision;
        inner.at = at;
        inner.directory = directory;
        inner.shards.iter_mut().for_each(HashMap::clear);
    }
    /// Looks at one revision. Keep `look` short: commits wait for it.
    pub fn pin<R>(&self, site: &SiteId, look: impl FnOnce(Sight<'_>) -> R) -> R {
        let shard = self.shard(site);
        let inner = self.inner.read();
        look(Sight {
            revision: inner.revision,
            at: inner.at,
            row: inner.shards.get(shard).and_then(|rows| rows.get(site)),
            directory: &inner.directory,
            policies: &inner.policies,
        })
    }
    /// The present revision and when it was committed.
    #[must_use]
    pub fn head(&self) -> (Revision, Timestamp) {
        let inner = self.inner.read();
        (inner.revision, inner.at)
    }
    /// The rules in force.
    #[must_use]
    pub fn policies(&self) -> Arc<SitePolicies> {
        Arc::clone(&self.inner.read().policies)
    }
    /// Agencies and staff, by a short look.
    pub fn directory<R>(&self, look: impl FnOnce(&Directory) -> R) -> R {
        look(&self.inner.read().directory)
    }
    /// Adds a site read from the store at `revision`. False when the view has moved on or is not there yet: read again.
    pub fn fill(&self, revision: Revision, site: &Site) -> bool {
        let row = Arc::new(SiteRow::of(site, &self.policies()));
        let shard = self.shard(&site.id);
        let mut inner = self.inner.write();
        if inner.revision != revision {
            return false;
        }
        inner.put(shard, &site.id, row, self.per_shard);
        true
    }
    /// Shows a commit: its rows, agencies and revision in one step.
    pub fn publish(&self, committed: &Committed) {
        let policies = self.policies();
        let rows: Vec<_> = committed
            .sites
            .iter()
            .map(|site| (self.shard(&site.id), &site.id, Arc::new(SiteRow::of(site, &policies))))
            .collect();
        let mut inner = self.inner.write();
        for agency in &committed.agencies {
            inner.directory.put_agency(Arc::clone(agency));
        }
        for (staff, role) in &committed.staff {
            inner.directory.put_staff(staff.clone(), *role);
        }
        for (shard, id, row) in rows {
            inner.put(shard, id, row, self.per_shard);
        }
        inner.revision = committed.revision;
        inner.at = committed.at;
    }
    /// How many sites the view holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.read().shards.iter().map(HashMap::len).sum()
    }
    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn shard(&self, site: &SiteId) -> usize {
        usize::try_from(self.hasher.hash_one(site.as_str()) >> 32).unwrap_or(0) % SHARDS
    }
}

impl Inner {
    /// Adds a row; a full shard gives up any other, which is filled again when it is asked for.
    fn put(&mut self, shard: usize, id: &SiteId, row: Arc<SiteRow>, most: usize) {
        let Some(rows) = self.shards.get_mut(shard) else { return };
        if rows.len() >= most
            && !rows.contains_key(id)
            && let Some(victim) = rows.keys().next().cloned()
        {
            rows.remove(&victim);
        }
        rows.insert(id.clone(), row);
    }
}

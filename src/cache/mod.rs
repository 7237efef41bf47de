//! What does the decision path see? Compact copies of the system of record, all of one revision.
//!
//! A check pins one revision by looking everything up under one short read lock ([`View::pin`]), so that it never sees a
//! mixture of two. How the revision moves on depends on who else writes:
//!
//! - Nobody (SQLite): a commit publishes every row it touched, the agencies, and the new revision in one step, after
//!   COMMIT and before anybody is told ([`View::publish`] is the store's observer). A check that is received after an
//!   acknowledgement sees what was acknowledged, by program order alone.
//! - Other replicas (PostgreSQL): a poll drops what has changed and publishes the revision with its lease, and with other
//!   policies where some came into force, in one step ([`View::follow`]). Who pins gets the lease that belongs to the
//!   rows, and has to see whether it holds ([`crate::lease`]).
//!
//! Invariant: every row here is what the system of record held at the view's revision. So sites are filled on first use,
//! the unknown ones too, and what was read enters only if no change lies between its snapshot and the view; otherwise the
//! reader reads again. Tags on every row lost, because of that: a check would compare what this keeps true anyway.
//! Per-site locks lost: an agency's suspension must be seen together with the sites it touches.
//!
//! "There is no such site" is remembered under the site's key and dropped by it, like a row; "no role here" needs no entry
//! of its own, because it is a row that does not name the person. Both have room in bytes ([`View::bound`]).

mod flights;
pub mod shared;
mod shelf;

pub use flights::{Flights, Lost};

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;
use smol_str::SmolStr;

use self::shelf::Shelf;
use crate::{
    assignment::{Directory, SitePolicies, SiteRow},
    ids::{Packed, SiteId},
    lease::{self, Boot, Key, Pinned, Tag, Use},
    revision::{Revision, RevisionToken},
    site::Site,
    store::{At, Committed, Head},
    time::Timestamp,
};

/// Many small tables instead of one large: growing one moves few rows, so that no check waits long.
const SHARDS: usize = 256;

/// Which part of the room is for names of sites that there are not. They cost whoever invents them nothing, so that they
/// must not take the sites' room.
const ABSENT: usize = 16;

/// The decision path's copy of the system of record.
#[derive(Debug)]
pub struct View {
    inner: RwLock<Inner>,
    hasher: RandomState,
    /// Bytes that all entries may take.
    most: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    /// The history, and the revision of it as callers keep it.
    epoch: SmolStr,
    token: SmolStr,
    revision: Revision,
    at: Timestamp,
    directory: Directory,
    policies: Arc<SitePolicies>,
    /// Until when all of this may be believed; none where nobody else writes.
    lease: Option<Arc<lease::View>>,
    shards: Vec<Shard>,
}

/// One table of many.
#[derive(Debug, Default)]
struct Shard {
    sites: Shelf<Arc<SiteRow>>,
    /// Sites that there are not.
    absent: Shelf<Box<[u8]>>,
}

/// How many entries there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entries {
    /// Sites.
    pub sites: u64,
    /// Names of sites that there are not.
    pub absent: u64,
}

/// What came of adding a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// It is in the view.
    Done,
    /// The site has changed since it was read: read again.
    Again,
    /// It was read before everything that changes are remembered of: read again.
    BelowFloor,
    /// It is newer than the view: wait for the view to move on.
    Ahead,
}

/// What one pinned revision shows about one site.
#[derive(Debug)]
pub struct Sight<'a> {
    /// The pinned revision.
    pub revision: Revision,
    /// The same as a token, for callers to keep.
    pub token: &'a SmolStr,
    /// When it was committed.
    pub at: Timestamp,
    /// The site, when it is in the view already.
    pub row: Option<&'a Arc<SiteRow>>,
    /// Whether there is no such site.
    pub absent: bool,
    /// The lease that belongs to all of this, where others write.
    pub lease: Option<&'a Arc<lease::View>>,
    /// All agencies and staff.
    pub directory: &'a Directory,
    /// The rules in force.
    pub policies: &'a Arc<SitePolicies>,
}

/// What one pinned revision shows, site by site.
#[derive(Debug, Clone, Copy)]
pub struct Sights<'a> {
    view: &'a View,
    inner: &'a Inner,
}

impl<'a> Sights<'a> {
    /// What it shows about this site.
    #[must_use]
    pub fn of(self, site: &SiteId) -> Sight<'a> {
        let Self { view, inner } = self;
        let key = Packed::of(site.as_str());
        let shard = inner.shards.get(view.shard(&key));
        let row = shard.and_then(|shard| shard.sites.get(key.as_bytes()));
        Sight {
            revision: inner.revision,
            token: &inner.token,
            at: inner.at,
            row,
            absent: row.is_none() && shard.is_some_and(|shard| shard.absent.get(key.as_bytes()).is_some()),
            lease: inner.lease.as_ref(),
            directory: &inner.directory,
            policies: &inner.policies,
        }
    }
    /// The pinned revision.
    #[must_use]
    pub const fn revision(self) -> Revision {
        self.inner.revision
    }
    /// The same as a token.
    #[must_use]
    pub const fn token(self) -> &'a SmolStr {
        &self.inner.token
    }
    /// The lease that belongs to all of this, where others write.
    #[must_use]
    pub const fn lease(self) -> Option<&'a Arc<lease::View>> {
        self.inner.lease.as_ref()
    }
    /// The rules in force.
    #[must_use]
    pub const fn policies(self) -> &'a Arc<SitePolicies> {
        &self.inner.policies
    }
}

impl View {
    /// An empty view under these policies, whose entries take at most `most` bytes.
    #[must_use]
    pub fn new(policies: Arc<SitePolicies>, most: usize) -> Self {
        Self {
            inner: RwLock::new(Inner {
                epoch: SmolStr::default(),
                token: SmolStr::default(),
                revision: Revision(0),
                at: Timestamp::default(),
                directory: Directory::default(),
                policies,
                lease: None,
                shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            }),
            hasher: RandomState::new(),
            most: AtomicUsize::new(most),
        }
    }
    /// From now on entries take at most that many bytes.
    pub fn bound(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }
    /// Begins at what the store holds at start.
    pub fn begin(&self, head: &Head, directory: Directory) {
        let mut inner = self.inner.write();
        inner.moved(head.epoch.as_str().into(), head.revision, &head.chain, head.at);
        inner.directory = directory;
        inner.clear();
    }
    /// Looks at one revision. Keep `look` short: commits wait for it.
    pub fn pin<R>(&self, site: &SiteId, look: impl FnOnce(Sight<'_>) -> R) -> R {
        self.pin_each(|sights| look(sights.of(site)))
    }
    /// Looks at several sites at one revision. Keep `look` short: commits wait for it.
    pub fn pin_each<R>(&self, look: impl FnOnce(Sights<'_>) -> R) -> R {
        let inner = self.inner.read();
        look(Sights { view: self, inner: &inner })
    }
    /// The present revision and when it was committed.
    #[must_use]
    pub fn head(&self) -> (Revision, Timestamp) {
        let inner = self.inner.read();
        (inner.revision, inner.at)
    }
    /// The history, by its id.
    #[must_use]
    pub fn epoch(&self) -> SmolStr {
        self.inner.read().epoch.clone()
    }
    /// The present revision as a token.
    #[must_use]
    pub fn token(&self) -> SmolStr {
        self.inner.read().token.clone()
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
    /// Adds what was read from the store about a site, if it still is so at the view's revision. `now` was read after that:
    /// an earlier reading is from before the lease that a poll has brought meanwhile, and holds under none.
    pub fn fill(&self, site: &SiteId, read: &At<Option<Site>>, now: Boot) -> Fill {
        let policies = self.policies();
        let row = read.value.as_ref().map(|found| SiteRow::of(found, &policies));
        let key = Packed::of(site.as_str());
        let (shard, most) = (self.shard(&key), self.per_shard());
        let mut inner = self.inner.write();
        // A row names roles by their places in the policies that it was made with.
        let still = Arc::ptr_eq(&policies, &inner.policies);
        let verdict = if still { inner.admits(site, read, now) } else { Fill::Again };
        match row {
            Some(row) if verdict == Fill::Done => inner.put(shard, row, most),
            None if verdict == Fill::Done => inner.miss(shard, &key, most),
            Some(_) | None => {}
        }
        verdict
    }
    /// Moves on to what a poll has found: forgets what has changed, takes the agencies and staff of that revision where
    /// some of them have, and the policies where others are in force, and shows revision and lease, in one step.
    pub fn follow(
        &self,
        step: &lease::Step,
        directory: Option<Directory>,
        policies: Option<Arc<SitePolicies>>,
        at: Timestamp,
    ) {
        let Some(view) = step.view() else { return };
        let mut inner = self.inner.write();
        match step {
            lease::Step::Advance { drop, .. } => {
                for site in drop.iter().filter_map(|key| key.as_str().strip_prefix("site:")) {
                    let key = Packed::of(site);
                    let shard = self.shard(&key);
                    inner.forget(shard, &key);
                }
            }
            lease::Step::Resync { .. } | lease::Step::Ignored => inner.clear(),
        }
        if let Some(directory) = directory {
            inner.directory = directory;
        }
        if let Some(policies) = policies {
            inner.clear();
            inner.policies = policies;
        }
        inner.moved(view.epoch().id.clone(), view.revision(), view.chain().as_str(), at);
        inner.lease = Some(Arc::clone(view));
    }
    /// Forgets everything, and answers nothing more, until a poll is followed again.
    pub fn withdraw(&self) {
        let mut inner = self.inner.write();
        inner.lease = None;
        inner.clear();
    }
    /// The lease, where others write.
    #[must_use]
    pub fn lease(&self) -> Option<Arc<lease::View>> {
        self.inner.read().lease.clone()
    }
    /// Shows a commit: its rows, agencies and revision in one step.
    pub fn publish(&self, committed: &Committed) {
        let policies = self.policies();
        let rows: Vec<_> = committed
            .sites
            .iter()
            .map(|site| (self.shard(&Packed::of(site.id.as_str())), SiteRow::of(site, &policies)))
            .collect();
        let most = self.per_shard();
        let mut inner = self.inner.write();
        for agency in &committed.agencies {
            inner.directory.put_agency(Arc::clone(agency));
        }
        for (staff, role) in &committed.staff {
            inner.directory.put_staff(staff.clone(), *role);
        }
        for (shard, row) in rows {
            inner.put(shard, row, most);
        }
        inner.moved(committed.epoch.id.clone(), committed.revision, &committed.chain, committed.at);
    }
    /// How many sites the view holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.read().shards.iter().map(|shard| shard.sites.weight().0).sum()
    }
    /// How many entries there are, and how many bytes they take.
    #[must_use]
    pub fn weight(&self) -> (Entries, u64) {
        let inner = self.inner.read();
        let number = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        let (mut entries, mut bytes) = (Entries { sites: 0, absent: 0 }, 0);
        for shard in &inner.shards {
            let ((sites, rows), (absent, names)) = (shard.sites.weight(), shard.absent.weight());
            entries.sites += number(sites);
            entries.absent += number(absent);
            bytes += number(rows + names);
        }
        (entries, bytes)
    }
    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn shard(&self, key: &Packed<'_>) -> usize {
        usize::try_from(self.hasher.hash_one(key.as_bytes()) >> 32).unwrap_or(0) % SHARDS
    }
    fn per_shard(&self) -> usize {
        self.most.load(Ordering::Relaxed) / SHARDS
    }
}

impl Inner {
    fn moved(&mut self, epoch: SmolStr, revision: Revision, chain: &str, at: Timestamp) {
        if revision != self.revision || epoch != self.epoch {
            let token = RevisionToken::of(&epoch, revision, chain);
            self.token = token.map(|token| token.to_string().into()).unwrap_or_default();
        }
        (self.epoch, self.revision, self.at) = (epoch, revision, at);
    }
    fn clear(&mut self) {
        for shard in &mut self.shards {
            shard.sites.clear();
            shard.absent.clear();
        }
    }
    fn forget(&mut self, shard: usize, key: &Packed<'_>) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.sites.drop(key.as_bytes());
            shard.absent.drop(key.as_bytes());
        }
    }
    /// Remembers that there is no such site.
    fn miss(&mut self, shard: usize, key: &Packed<'_>, most: usize) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.absent.put(key.as_bytes().into(), most / ABSENT);
        }
    }
    /// Whether what was read about a site is what the system of record held at this revision.
    fn admits(&self, site: &SiteId, read: &At<Option<Site>>, now: Boot) -> Fill {
        let Some(lease) = &self.lease else {
            return if self.revision == read.revision { Fill::Done } else { Fill::Again };
        };
        let Some(pinned) = Pinned::pin(lease, now) else { return Fill::Ahead };
        let tag = Tag { epoch: read.epoch.clone(), revision: read.revision };
        match pinned.usable(&Key::new(format!("site:{site}")), &tag) {
            Use::Ok => Fill::Done,
            Use::Ahead | Use::OtherEpoch => Fill::Ahead,
            Use::Stale => Fill::Again,
            Use::BelowFloor => Fill::BelowFloor,
        }
    }
    /// Adds a row. What goes for it is filled again when it is asked for.
    fn put(&mut self, shard: usize, mut row: SiteRow, most: usize) {
        row.share(&self.directory);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.absent.drop(row.key());
            shard.sites.put(Arc::new(row), most - most / ABSENT);
        }
    }
}

//! What have other replicas read already? Copies of sites in a Redis that nobody has to trust.
//!
//! Redis is a byte store that may be away, slow, empty, restored from last week or written to by somebody else: all of
//! that costs time, never a wrong answer. A copy is authenticated (`entry`), and it carries the revision of the snapshot
//! it was read from; whoever looks it up judges that tag against the view it pinned (consistency §1, `usable`), so that
//! an old copy is recognised, wherever it comes from.
//!
//! Invariants: a lookup ends within [`COMMAND`], and at once while Redis is known to be away (`breaker`); nothing that
//! writes makes its caller wait ([`SharedCache::put`]); no lookup makes a connection, a task of its own does (`keeper`).
//! Comparing revisions inside Redis lost: it saves a few copies and guarantees nothing after a failover.
//!
//! Commands: GETRANGE, SET PX, UNLINK, PUBLISH, SUBSCRIBE, PING, and HELLO to sign in: Redis 6.2, or Valkey.

mod breaker;
mod counts;
mod entry;
mod keeper;
mod link;
mod payload;
#[cfg(test)]
mod tests;

pub use breaker::{FAILURES, FIRST_PAUSE, LONGEST_PAUSE};
pub use counts::SharedCounts;
pub use entry::{Entry, MOST, Sealer, Unusable};
pub use link::{COMMAND, CONNECT};

use std::{sync::Arc, time::Duration};

use redis::{Cmd, RedisResult, Value};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, spawn_blocking},
};

use self::{
    keeper::{Desk, Keeper},
    link::{Dialer, Went},
};
use crate::{config::SharedCacheSettings, ids::SiteId, revision::Revision, site::Site};

/// How long Redis keeps a copy that nobody replaces: 1 h.
const LIFE: Duration = Duration::from_hours(1);
/// Writes that wait or run at once; more are dropped.
const WRITES: usize = 64;
/// Longest payload that is read on the thread that serves checks: 64 KiB.
const INLINE: usize = 64 * 1024;

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// An authentic copy. Its tag may be too old: judge it.
    Hit(Found),
    /// Nothing.
    Miss,
    /// Something that cannot be used.
    Unusable(Unusable),
    /// No answer: Redis is away, or too slow.
    Unavailable,
}

/// An authentic copy of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The revision of the snapshot that it was read from.
    pub tag: Revision,
    /// The site as it was there.
    pub site: Box<Site>,
}

/// The shared cache. Dropping it ends its task.
pub struct SharedCache {
    sealer: Arc<Sealer>,
    desk: Arc<Desk>,
    writes: Arc<Semaphore>,
    runtime: Handle,
    keeper: AbortHandle,
}

impl SharedCache {
    /// Begins to connect, and answers at once: a Redis that is away is no error. `hint` is called whenever somebody
    /// says that there is a new revision; it must not block. Anybody who can publish in that Redis can call it, as often
    /// as they like and with any number: let it do no more than ask the store sooner, and not without end.
    ///
    /// # Errors
    /// A sentence about a URL that cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        settings: &SharedCacheSettings,
        hint: impl Fn(Revision) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let sealer = Arc::new(Sealer::new(&settings.namespace, &settings.keys));
        // What the client says about the URL could repeat its password.
        let dialer = Dialer::new(settings.url.place()).map_err(|_| "`redis_url` cannot be used".to_owned())?;
        let desk = Arc::new(Desk::new());
        let hint = move |text: &[u8]| {
            if let Some(revision) = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
                hint(revision);
            }
        };
        let keeper =
            Keeper { desk: Arc::clone(&desk), dialer, channel: sealer.channel(), hint: Arc::new(hint), said: false };
        let runtime = Handle::current();
        let keeper = runtime.spawn(keeper.run()).abort_handle();
        Ok(Self { sealer, desk, writes: Arc::new(Semaphore::new(WRITES)), runtime, keeper })
    }

    /// Looks a site of this history up.
    pub async fn get(&self, epoch: &str, site: &SiteId) -> Lookup {
        let key = key_of(site);
        let name = self.sealer.name(epoch, &key);
        let found = match self.fetch(&name).await {
            None => {
                self.desk.counts.unavailable.add();
                return Lookup::Unavailable;
            }
            Some(Err(unusable)) => Err(unusable),
            Some(Ok(value)) if value.is_empty() => {
                self.desk.counts.misses.add();
                return Lookup::Miss;
            }
            Some(Ok(value)) => self.read(value, epoch, key, site).await,
        };
        self.told(found, site)
    }

    /// Shares a site that was read at revision `tag` of this history. Returns at once; a copy that cannot be shared is
    /// counted and forgotten.
    pub fn put(&self, epoch: &str, tag: Revision, site: Arc<Site>) {
        let (sealer, epoch) = (Arc::clone(&self.sealer), epoch.to_owned());
        self.write(move || {
            let key = key_of(&site.id);
            let payload = payload::write(&site)?;
            let value = sealer.seal(&Entry { epoch: &epoch, key: &key, tag, payload: &payload })?;
            let life = u64::try_from(LIFE.as_millis()).ok()?;
            let mut set = redis::cmd("SET");
            set.arg(sealer.name(&epoch, &key)).arg(value).arg("PX").arg(life);
            Some(set)
        });
    }

    /// Removes a copy. It only saves somebody a lookup: an old copy does no harm.
    pub fn forget(&self, epoch: &str, site: &SiteId) {
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(self.sealer.name(epoch, &key_of(site)));
        self.write(move || Some(unlink));
    }

    /// Tells the other replicas that there is a new revision.
    pub fn hint(&self, revision: Revision) {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.sealer.channel()).arg(revision.to_string());
        self.write(move || Some(publish));
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> &SharedCounts {
        &self.desk.counts
    }

    /// Whether lookups are tried at the moment.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.desk.pass().is_some()
    }

    /// The value under a name, empty when there is none; none when nobody answered.
    async fn fetch(&self, name: &str) -> Option<Result<Vec<u8>, Unusable>> {
        // GETRANGE and not GET: whoever can write to Redis must not fill our memory. One byte more tells that it is too
        // long.
        let mut get = redis::cmd("GETRANGE");
        get.arg(name).arg(0).arg(MOST);
        match self.ask::<Vec<u8>>(&get).await? {
            Ok(value) => Some(Ok(value)),
            Err(error) if error.code() == Some("WRONGTYPE") => Some(Err(Unusable::NotASite)),
            Err(_) => None,
        }
    }

    /// One command, reported; none while the breaker is open.
    async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> Option<RedisResult<T>> {
        let mut pass = self.desk.pass()?;
        let answer = pass.connection.ask(command).await;
        let went = match &answer {
            Ok(_) => Went::Well,
            Err(error) if error.code() == Some("WRONGTYPE") => Went::Well,
            Err(error) => pass.connection.went(error),
        };
        self.desk.report(pass.number, went);
        Some(answer)
    }

    async fn read(&self, value: Vec<u8>, epoch: &str, key: String, site: &SiteId) -> Result<Found, Unusable> {
        if value.len() <= INLINE {
            return found(&self.sealer, &value, epoch, &key, site);
        }
        let (sealer, epoch, site) = (Arc::clone(&self.sealer), epoch.to_owned(), site.clone());
        let read = spawn_blocking(move || found(&sealer, &value, &epoch, &key, &site));
        read.await.unwrap_or(Err(Unusable::NotASite))
    }

    fn told(&self, found: Result<Found, Unusable>, site: &SiteId) -> Lookup {
        let counts = &self.desk.counts;
        match found {
            Ok(found) => {
                counts.hits.add();
                Lookup::Hit(found)
            }
            Err(why) => {
                let count = if why == Unusable::BadMac { &counts.mac_failures } else { &counts.unusable };
                // Somebody may go on with it for hours: said ever less often.
                if count.add().is_power_of_two() {
                    tracing::warn!(%site, %why, "a copy in the shared cache cannot be used; the store is read instead");
                }
                Lookup::Unusable(why)
            }
        }
    }

    /// Sends the command that `make` makes, some time, without an answer.
    fn write(&self, make: impl FnOnce() -> Option<Cmd> + Send + 'static) {
        let turn = Arc::clone(&self.writes).try_acquire_owned().ok().filter(|_| self.is_available());
        let Some(turn) = turn else {
            self.desk.counts.dropped_puts.add();
            return;
        };
        self.runtime.spawn(send(Arc::clone(&self.desk), turn, make));
    }
}

impl Drop for SharedCache {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// What the copy of a site is called, as in the change log.
fn key_of(site: &SiteId) -> String {
    format!("site:{site}")
}

fn found(sealer: &Sealer, value: &[u8], epoch: &str, key: &str, site: &SiteId) -> Result<Found, Unusable> {
    let entry = sealer.open(value, epoch, key)?;
    Ok(Found { tag: entry.tag, site: Box::new(payload::read(entry.payload, site)?) })
}

async fn send(desk: Arc<Desk>, turn: OwnedSemaphorePermit, make: impl FnOnce() -> Option<Cmd> + Send + 'static) {
    // A large site takes a while to write down, and this thread serves checks.
    let command = spawn_blocking(make).await.ok().flatten();
    if !sent(&desk, command).await {
        desk.counts.dropped_puts.add();
    }
    drop(turn);
}

async fn sent(desk: &Desk, command: Option<Cmd>) -> bool {
    let (Some(command), Some(mut pass)) = (command, desk.pass()) else { return false };
    let answer = pass.connection.ask::<Value>(&command).await;
    match &answer {
        Ok(_) => desk.report(pass.number, Went::Well),
        Err(error) => match pass.connection.went(error) {
            // A server that takes no writes, for want of memory or of permission, may still be read.
            Went::Badly if !error.is_io_error() => {}
            went => desk.report(pass.number, went),
        },
    }
    answer.is_ok()
}

//! The service in this process, asked through `App::check`: what a check costs without a socket.
//!
//! Rows can be put into the view without reading a store, as memory is weighed, and the view can be made to forget them.

use std::{sync::Arc, time::Instant};

use mandate::{
    app::{self, App, Detail, Replication, Rules},
    assignment::{Asked, SitePolicies},
    cache::{Fill, View, shared::SharedCache},
    clock::{BootClock as _, SystemBootClock, SystemClock},
    config::{CacheUrl, Database, MacKeys, SharedCacheSettings},
    ids::{Principal, SiteId},
    lease::Epoch,
    revision::Revision,
    site::Site,
    store::{At, Store as _, postgres},
};
use smol_str::SmolStr;
use tokio::runtime::Runtime;

use crate::{
    data::{self, Ids},
    servers::{MAC_KEY, Redis},
    stores,
};

/// Copies that are on their way at once; the cache drops more than twice as many.
const AT_ONCE: usize = 32;

/// What all of them are opened with.
pub struct Place {
    pub runtime: Runtime,
    pub policies: Arc<SitePolicies>,
    actions: Vec<SmolStr>,
}

/// A question, ready to be asked.
pub struct Question {
    principal: Principal,
    action: SmolStr,
    site: SiteId,
    asked: Asked,
}

/// One process of the service.
pub struct Opened {
    pub app: Arc<App>,
    epoch: Option<Epoch>,
}

impl Place {
    pub fn new() -> Self {
        let policies = data::policies();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, actions: data::actions(&policies), policies }
    }
    /// On the file of this many sites.
    pub fn embedded(&self, sites: usize) -> Opened {
        let path = stores::kept(sites, &self.policies);
        let opening = App::open(&path, Arc::clone(&self.policies), Rules::default(), Arc::new(SystemClock));
        Opened { app: self.runtime.block_on(opening).unwrap(), epoch: None }
    }
    /// On a database that others may use as well.
    pub fn replica(&self, url: &str, redis: Option<&Redis>) -> Opened {
        let how = Replication { shared: redis.map(shared), ..Replication::default() };
        let Ok(Database::Postgres(url)) = Database::try_from(url.to_owned()) else { panic!("not PostgreSQL: {url}") };
        let policies = Arc::clone(&self.policies);
        let opening = App::open_replica(&url, "nowhere".to_owned(), policies, Rules::default(), how);
        let app = self.runtime.block_on(opening).unwrap();
        let epoch = app.view().lease().unwrap().epoch().clone();
        Opened { app, epoch: Some(epoch) }
    }
    /// One question about each of these sites.
    pub fn questions(&self, sites: impl Iterator<Item = usize>) -> Vec<Question> {
        let auth_time = Some(data::auth_time());
        sites
            .enumerate()
            .map(|(n, site)| {
                let (asker, action) = data::asker((site ^ n << 32) as u64, site, self.actions.len());
                let asked = Asked { auth_time, ..Asked::default() };
                let (principal, action) = (Principal::User(asker), self.actions[action].clone());
                Question { principal, action, site: Ids::Short.site(site), asked }
            })
            .collect()
    }
    /// How long each takes, in microseconds.
    pub fn times(&self, opened: &Opened, questions: &[Question]) -> Vec<f64> {
        self.runtime.block_on(async {
            let mut times = Vec::with_capacity(questions.len());
            for question in questions {
                let started = Instant::now();
                opened.ask(question).await;
                times.push(started.elapsed().as_nanos() as f64 / 1_000.0);
            }
            times
        })
    }
    /// How long each takes on average, in microseconds.
    pub fn time(&self, opened: &Opened, questions: &[Question]) -> f64 {
        self.runtime.block_on(async {
            let started = Instant::now();
            for question in questions {
                opened.ask(question).await;
            }
            started.elapsed().as_nanos() as f64 / 1_000.0 / questions.len() as f64
        })
    }
    /// Makes the view hold the first sites, without reading them from the store.
    pub fn fill(&self, opened: &Opened, sites: usize) {
        for n in 0..sites {
            let site = data::site(n, Ids::Short);
            let id = site.id.clone();
            while opened.fill(&id, &site) != Fill::Done {
                self.runtime.block_on(opened.app.newly_asked()).unwrap();
            }
        }
    }
    /// Makes the view forget all sites.
    pub fn forget(&self, opened: &Opened) {
        let app = &opened.app;
        self.runtime.block_on(async {
            if opened.epoch.is_some() {
                app.view().withdraw();
                app.newly_asked().await.unwrap();
            } else {
                let directory = app.store().directory().await.unwrap().value;
                app.view().begin(&app.store().head().await.unwrap(), directory);
            }
        });
        assert!(app.view().is_empty());
    }
}

impl Opened {
    async fn ask(&self, question: &Question) {
        let Question { principal, action, site, asked } = question;
        let (principal, site, asked) = (Some(principal.clone()), Some(site.clone()), asked.clone());
        let checked = self.app.check(&app::Question { principal, action, site, asked, detail: Detail::Bare }).await;
        std::hint::black_box(checked.unwrap().outcome.allowed);
    }
    fn fill(&self, id: &SiteId, site: &Site) -> Fill {
        let view: &View = self.app.view();
        let epoch = self.epoch.clone().unwrap_or_else(|| Epoch { id: "".into(), timeline: "".into() });
        let read = At { revision: view.head().0, epoch, value: Some(site.clone()) };
        view.fill(id, &read, SystemBootClock.boottime())
    }
}

fn shared(redis: &Redis) -> SharedCacheSettings {
    SharedCacheSettings {
        url: CacheUrl::try_from(redis.url()).unwrap(),
        keys: MacKeys::try_from(MAC_KEY.to_owned()).unwrap(),
        namespace: "mandate".to_owned(),
    }
}

/// Shares copies of these sites in Redis, as a replica that has read them does; what their names begin with.
pub fn share(url: &str, redis: &Redis, sites: impl Iterator<Item = usize>) -> String {
    let store = postgres::open_read_only(url).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = shared(redis);
    let name = runtime.block_on(async {
        let At { revision, epoch, .. } = store.position().await.unwrap();
        let epoch = format!("{}.{}", epoch.id, epoch.timeline);
        let cache = SharedCache::start(&settings, |_: Revision| {}).unwrap();
        while !cache.is_available() {
            tokio::task::yield_now().await;
        }
        let mut connection =
            redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut there: usize = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
        let sites: Vec<usize> = sites.collect();
        for some in sites.chunks(AT_ONCE) {
            there += some.len();
            // On a busy machine Redis may be late, and what it was late for is dropped: those are shared again.
            while redis::cmd("DBSIZE").query_async::<usize>(&mut connection).await.unwrap() < there {
                let dropped = cache.counts().dropped_puts.get();
                for n in some {
                    let mut site = data::site(*n, Ids::Short);
                    site.revision = revision;
                    cache.put(&epoch, revision, Arc::new(site));
                }
                while redis::cmd("DBSIZE").query_async::<usize>(&mut connection).await.unwrap() < there
                    && cache.counts().dropped_puts.get() == dropped
                {}
                while !cache.is_available() {
                    tokio::task::yield_now().await;
                }
            }
        }
        mandate::cache::shared::Sealer::new(&settings.namespace, &settings.keys)
            .name(&epoch, &format!("site:{}", Ids::Short.site(0)))
    });
    name.strip_suffix(Ids::Short.site(0).as_str()).unwrap().to_owned()
}

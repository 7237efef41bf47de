//! An installation to be hurt: a database, a Redis, and replicas, each with proxies and a file of faults of its own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::json;

use crate::{
    history::{Change, Durable, Subject},
    http::{Call, Client, now_s, transition},
    postgres::Postgres,
    proxy::Proxy,
    redis_server::Redis,
    server::{Installation, Server, until},
};

/// Sites of Maria's on which Lea is given a role and loses it.
pub const SITES: usize = 6;
/// The one of them on which only a scenario itself makes changes.
pub const OWN: usize = SITES - 1;
/// The database's role of a process that only decides.
pub const DECIDES: &str = "sidecar";
const MAC_KEY: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";

/// How the installation is made.
#[derive(Debug, Clone)]
pub struct Plan {
    pub replicas: usize,
    /// How long a lease is.
    pub ttl: Duration,
    pub redis: bool,
    /// Whether the database survives being killed.
    pub durable: bool,
    /// A replica that only decides, as a role of the database with no more rights than that takes.
    pub decides: Option<usize>,
    /// Further settings of every replica.
    pub settings: Vec<(&'static str, String)>,
}

impl Default for Plan {
    fn default() -> Self {
        let ttl = Duration::from_millis(1_500);
        Self { replicas: 3, ttl, redis: true, durable: false, decides: None, settings: Vec::new() }
    }
}

/// One replica, alive or not.
pub struct Replica {
    installation: Installation,
    /// Its database, through its proxy.
    url: String,
    server: Mutex<Option<Server>>,
    /// Where it is reached; the one before, while it is down.
    address: Mutex<SocketAddr>,
    pub database: Proxy,
    pub redis: Option<Proxy>,
    faults: PathBuf,
    /// What is planted whatever else is: mistakes.
    planted: Mutex<String>,
}

pub struct World {
    pub plan: Plan,
    /// The server that the replicas were started on.
    pub database: Mutex<Postgres>,
    pub redis: Option<Mutex<Redis>>,
    pub replicas: Vec<Replica>,
    /// Reaches the database without a proxy.
    pub direct: Installation,
}

/// The longest wait until a change is effective, by the protocol: T(1+ρ)+ε.
pub fn bound(ttl: Duration) -> Duration {
    ttl + ttl / 10 + Duration::from_millis(100)
}

/// What callers measure on a machine that is busy: the bound, and time to get a turn.
pub fn within(ttl: Duration) -> Duration {
    bound(ttl) + Duration::from_secs(2) + crate::report::busy()
}

pub fn site(n: usize) -> String {
    format!("site-{n}")
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let database = copied(if plan.durable { &[] } else { &["fsync=off"] });
        let mut direct = Installation::new();
        direct.set("MANDATE_DATABASE_URL", database.url("mandate"));
        let term = plan.ttl.as_millis();
        assert!(database.ask(&format!("UPDATE mandate.lease SET ttl_ms = {term}, ttl_max_ms = {term}")).is_some());
        let redis = plan.redis.then(Redis::start);
        let mut replicas: Vec<_> = (0..plan.replicas).map(|_| Replica::new(&plan, &database, redis.as_ref())).collect();
        if let Some(n) = plan.decides {
            let grants = direct.run(&["grants", "--to", DECIDES]).out;
            let role = format!("CREATE ROLE {DECIDES} LOGIN; GRANT USAGE ON SCHEMA mandate TO {DECIDES}");
            assert!(database.ask(&format!("{role}; SET search_path = mandate; {grants}")).is_some(), "{grants}");
            replicas[n].only_decides();
        }
        let world = Self { plan, database: Mutex::new(database), redis: redis.map(Mutex::new), replicas, direct };
        std::thread::scope(|scope| {
            for (_, replica) in world.replicas.iter().enumerate().filter(|(n, _)| Some(*n) != world.plan.decides) {
                scope.spawn(|| replica.start());
            }
        });
        // It finds the policies that the others have put in force.
        if let Some(n) = world.plan.decides {
            world.replicas[n].start();
        }
        world
    }

    pub fn ttl(&self) -> Duration {
        self.plan.ttl
    }

    /// What `psql` prints for a statement, on the server that is the database now.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.database.lock().ask(sql).unwrap_or_else(|| panic!("the database refused: {sql}"))
    }

    /// Starts another process that finds the database there; its log, when it refuses to start.
    pub fn another_at(&self, address: SocketAddr) -> Result<Server, String> {
        let database = self.database.lock();
        let url = database.url("mandate").replace(&database.address().to_string(), &address.to_string());
        let mut other = Installation::new();
        other.set("MANDATE_DATABASE_URL", url);
        other.try_start().map_err(|refused| refused.log)
    }

    /// Everything as at first; waits until every replica answers.
    pub fn heal(&self) {
        for replica in &self.replicas {
            replica.faults("");
            replica.database.heal();
            if let Some(redis) = &replica.redis {
                redis.heal();
            }
            replica.signal("-CONT");
            if !replica.is_alive() {
                replica.start();
            }
        }
        for replica in &self.replicas {
            replica.until_it_answers();
        }
    }

    /// What the database holds.
    pub fn durable(&self) -> Durable {
        let rows = self.sql(
            "SELECT revision, kind, coalesce(site, ''), coalesce(data::json->>'user', ''), coalesce(data::json->>'status', data::json->>'policies', '')
             FROM mandate.audit ORDER BY seq",
        );
        let mut usual = None;
        let changes = rows.lines().filter_map(|row| {
            let [revision, kind, site, user, status] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
            let change = match (kind, user) {
                ("ContributorAdded" | "ContributorRemoved", "lea") => {
                    Change::Lea(site.strip_prefix("site-")?.parse().ok()?, kind == "ContributorAdded")
                }
                ("PoliciesActivated", _) => {
                    let usual = usual.get_or_insert_with(|| status.to_owned());
                    Change::Strict(status != usual)
                }
                ("MemberBlocked" | "MemberUnblocked", "bo") => Change::BoBlocked(kind == "MemberBlocked"),
                _ if kind.starts_with("Agency") && !status.is_empty() => Change::AgencyActive(status == "active"),
                _ => return None,
            };
            Some((revision.parse().unwrap(), change))
        });
        let changes = changes.collect();
        let keys = self.sql("SELECT revision, key FROM mandate.transition");
        let key = |row: &str| {
            let (revision, key) = row.split_once('|').unwrap();
            (key.trim_matches('"').to_owned(), revision.parse().unwrap())
        };
        let keys = keys.lines().map(key).collect();
        Durable { changes, keys, head: self.sql("SELECT revision FROM mandate.head").parse().unwrap() }
    }

    /// What the replicas found in the shared cache so far that ended like this.
    pub fn shared_lookups(&self, result: &str) -> f64 {
        let labels = format!("layer=\"redis\",result=\"{result}\"");
        self.replicas.iter().map(|replica| replica.counted("mandate_cache_requests_total", &labels)).sum()
    }

    /// The longest wait until a change is effective, under the longest lease that was given out.
    pub fn longest_wait(&self) -> Duration {
        within(Duration::from_millis(self.sql("SELECT ttl_max_ms FROM mandate.lease").parse().unwrap()))
    }

    /// Transactions that were left open.
    /// Transactions in which nothing was asked for two seconds; after five the server ends them.
    pub fn open_transactions(&self) -> u64 {
        let idle = "SELECT count(*) FROM pg_stat_activity
            WHERE state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '2 seconds'";
        self.sql(idle).parse().unwrap()
    }
}

/// A server with the story in it, copied from one that is made once: making it takes longer than many a scenario.
fn copied(settings: &[&str]) -> Postgres {
    static ORIGINAL: OnceLock<PathBuf> = OnceLock::new();
    let original = ORIGINAL.get_or_init(|| {
        let name = |pid: &str| format!("mandate-faults-original-{pid}");
        // Nothing runs when this process ends, so that the next one clears away what is left of those that have ended.
        for old in std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok) {
            let pid = old.file_name().to_string_lossy().strip_prefix(&name("")).map(str::to_owned);
            if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        let folder = std::env::temp_dir().join(name(&std::process::id().to_string()));
        std::fs::create_dir_all(&folder).unwrap();
        let database = Postgres::start_in(folder.clone(), None, &["fsync=off"]);
        let mut direct = Installation::new();
        direct.set("MANDATE_DATABASE_URL", database.url("mandate"));
        direct.import(&records());
        folder
    });
    let temporary = tempfile::Builder::new().prefix("mandate-postgres").tempdir().unwrap();
    let done = Command::new("cp").arg("-a").arg(original.join("data")).arg(temporary.path()).status().unwrap();
    assert!(done.success(), "the database could not be copied");
    Postgres::start_in(temporary.path().to_owned(), Some(temporary), settings)
}

fn records() -> Vec<serde_json::Value> {
    let plan = json!({"tier": "premium", "status": "ok", "transferable": true});
    let own = |n: usize| json!({"site": {"id": site(n), "mode": "self_managed", "owner": "user:maria", "plan": plan.clone()}});
    let agency = json!({"agency": {"id": "studio-north", "name": "Studio North", "domain": "studio-north.example",
        "verified": true, "status": "active", "members": {"dana": "admin", "bo": "member"}}});
    let managed = json!({"site": {"id": "managed", "mode": "partner_managed", "client": "maria", "partner": "studio-north",
        "since": "2025-01-01T00:00:00Z", "settling_until": "2025-01-08T00:00:00Z", "plan": plan,
        "grants": {"bo": {"template": "builder"}}}});
    [agency, managed].into_iter().chain((0..SITES).map(own)).collect()
}

impl Replica {
    fn new(plan: &Plan, database: &Postgres, redis: Option<&Redis>) -> Self {
        let proxy = Proxy::to(database.address());
        let mut installation = Installation::new();
        let url = database
            .url("mandate")
            .replace(&format!(":{}/", database.address().port()), &format!(":{}/", proxy.port()));
        installation.set("MANDATE_DATABASE_URL", url.as_str());
        let redis = redis.map(|redis| Proxy::to(redis.address()));
        if let Some(redis) = &redis {
            installation.set("MANDATE_REDIS_URL", format!("redis://127.0.0.1:{}", redis.port()));
            installation.set("MANDATE_CACHE_MAC_KEY", MAC_KEY);
        }
        for (name, value) in &plan.settings {
            installation.set(name, value);
        }
        let faults = installation.folder().join("faults");
        installation.set("MANDATE_FAULT_FILE", faults.to_str().unwrap());
        let address = Mutex::new(([127, 0, 0, 1], 1).into());
        Self {
            installation,
            url,
            server: Mutex::new(None),
            address,
            database: proxy,
            redis,
            faults,
            planted: Mutex::default(),
        }
    }
    fn only_decides(&mut self) {
        let url = self.url.replace("mandate@", &format!("{DECIDES}@"));
        self.installation.set("MANDATE_DATABASE_URL", url).set("MANDATE_ROLE", "pdp");
    }
    pub fn start(&self) {
        let server = self.installation.start();
        *self.address.lock() = server.address();
        *self.server.lock() = Some(server);
    }
    pub fn is_alive(&self) -> bool {
        self.server.lock().as_mut().is_some_and(Server::is_alive)
    }
    pub fn address(&self) -> SocketAddr {
        *self.address.lock()
    }
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }
    /// The status of its health page; none when it does not answer.
    pub fn ready(&self) -> Option<u16> {
        let mut admin = self.server.lock().as_ref()?.admin();
        admin.try_call(&Call::new("GET", "/readyz")).ok().map(|answer| answer.status)
    }
    /// The sum of what the program counts under this name, over all labels of which these are a part.
    pub fn counted(&self, name: &str, labels: &str) -> f64 {
        let page = self.server.lock().as_ref().unwrap().admin().get("/metrics").text();
        let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
        let wanted = lines.filter(|(key, _)| key.starts_with(name) && key.contains(labels));
        wanted.map(|(_, number)| number.parse::<f64>().unwrap()).sum()
    }
    pub fn log(&self) -> String {
        self.server.lock().as_ref().map(Server::log).unwrap_or_default()
    }
    pub fn signal(&self, signal: &str) {
        if let Some(server) = self.server.lock().as_ref() {
            let _ = Command::new("kill").args([signal, &server.pid().to_string()]).status();
        }
    }
    /// Whether it stands still.
    pub fn is_stopped(&self) -> bool {
        let Some(pid) = self.server.lock().as_ref().map(Server::pid) else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    }
    pub fn kill(&self) {
        if let Some(mut server) = self.server.lock().take() {
            server.kill();
        }
    }
    pub fn stop(&self) -> Option<i32> {
        self.server.lock().take().unwrap().stop()
    }
    /// What is planted from now on besides whatever else is, until it is taken away.
    pub fn plant(&self, lines: &str) {
        lines.clone_into(&mut self.planted.lock());
        self.faults("");
    }
    /// What is planted from now on (`src/fault.rs`).
    pub fn faults(&self, lines: &str) {
        let next = self.faults.with_extension("next");
        std::fs::write(&next, format!("{}\n{lines}", self.planted.lock())).unwrap();
        std::fs::rename(next, &self.faults).unwrap();
    }
    pub fn until_it_answers(&self) {
        until("a replica answers again", || {
            let answer = self.client().try_call(&question(Subject::Lea(0), None)).ok()?;
            (answer.status == 200).then_some(())
        });
    }
}

/// A question as a request.
pub fn question(subject: Subject, floor: Option<&str>) -> Call {
    let (person, on) = match subject {
        Subject::Lea(n) => ("lea", site(n)),
        Subject::Bo => ("bo", "managed".to_owned()),
    };
    let body = json!({"subject": {"type": "user", "id": person}, "action": {"name": "EditContent"},
        "resource": {"type": "site", "id": on}});
    let call = Call::new("POST", "/access/v1/evaluation").json(&body);
    match floor {
        Some(token) => call.header("at-least-as-fresh", token),
        None => call,
    }
}

/// A change as a request.
pub fn change(change: Change, key: &str) -> Call {
    let command = |on: &str, name: &str, user: &str, more: serde_json::Value| {
        let mut body = json!({"actor": "user:maria", "auth_time": now_s(), "user": user, "command": name});
        if let Some(role) = more.as_str() {
            body["role"] = json!(role);
        }
        transition(on, key, &body)
    };
    match change {
        Change::Strict(_) => unreachable!("it is made by the command line"),
        Change::Lea(n, true) => command(&site(n), "grant_role", "lea", json!("WebsiteManager")),
        Change::Lea(n, false) => command(&site(n), "revoke_role", "lea", json!(null)),
        Change::BoBlocked(true) => command("managed", "block_agency_member", "bo", json!(null)),
        Change::BoBlocked(false) => command("managed", "unblock_agency_member", "bo", json!(null)),
        Change::AgencyActive(active) => {
            let status = if active { "active" } else { "suspended" };
            let body =
                json!({"name": "Studio North", "domain": "studio-north.example", "verified": true, "status": status});
            Call::new("PUT", "/v1/agencies/studio-north").json(&body)
        }
    }
}

/// Waits until `holds`, at most so long; whether it came to be.
pub fn comes_true(most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < most {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

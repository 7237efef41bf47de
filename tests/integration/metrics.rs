//! What the program counts about itself, and what that shows about its memory: a transition on one site costs no other
//! site its entry, on no replica, and what is remembered of a site that there is not goes with the site's coming.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    http::Client,
    receiver::Redis,
    replicas::{World, copies, flip, write},
    server::{Installation, Server, until},
    worlds,
};

/// Sites beside those of the story.
const OTHERS: u32 = 200;

/// The numbers of one page, by name with labels.
#[derive(Debug, Clone)]
struct Page(BTreeMap<String, f64>);

impl Page {
    fn of(server: &Server) -> Self {
        let answer = server.admin().get("/metrics");
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let text = answer.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, n)| (name.into(), number(n))).collect())
    }
    #[track_caller]
    fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no `{name}` in {:#?}", self.0.keys()))
    }
    /// The sum over all labels of which these are a part.
    fn sum(&self, name: &str, labels: &str) -> f64 {
        self.0.iter().filter(|(key, _)| key.starts_with(name) && key.contains(labels)).map(|(_, n)| n).sum()
    }
    fn memory(&self, result: &str) -> f64 {
        self.get(&format!("mandate_cache_requests_total{{layer=\"l1\",result=\"{result}\"}}"))
    }
    fn store_lookups(&self) -> f64 {
        self.sum("mandate_cache_requests_total", "layer=\"store\"")
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

/// A site that has nothing to do with the story.
fn other(n: u32) -> Value {
    let (id, owner) = (format!("other-{n}"), format!("user:owner-{n}"));
    json!({"site": {"id": id, "mode": "self_managed", "owner": owner, "plan": plan()}})
}

fn plan() -> Value {
    json!({"tier": "premium", "status": "ok"})
}

/// Many of them.
fn many_sites() -> Vec<Value> {
    (0..OTHERS).map(other).collect()
}

/// Asks about every one of them. Nothing is said about the answers of a replica that has no lease for a moment: it is
/// asked again.
fn ask_about_all(client: &mut Client) {
    for n in 0..OTHERS {
        assert!(ask(client, &format!("owner-{n}"), &format!("other-{n}")), "other-{n}");
    }
}

fn ask(client: &mut Client, user: &str, site: &str) -> bool {
    let question = json!({"subject": {"type": "user", "id": user}, "action": {"name": "EditContent"},
        "resource": {"type": "site", "id": site}});
    until("it answers", || {
        let answer = client.post("/access/v1/evaluation", &question);
        (answer.status == 200).then(|| answer.json()["decision"] == true)
    })
}

#[test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
fn a_transition_on_one_site_costs_no_other_its_entry() {
    let installation = Installation::with(&worlds::story());
    installation.import(&many_sites());
    let server = installation.start();
    let mut client = server.client();
    let empty = Page::of(&server);
    assert_eq!(empty.get("mandate_cache_entries{kind=\"site\"}"), 0.0, "filled on first use");
    ask_about_all(&mut client);
    ask(&mut client, "lea", "bakery");
    let warm = Page::of(&server);
    assert_eq!(warm.memory("miss"), f64::from(OTHERS) + 1.0);
    assert_eq!(warm.get("mandate_cache_entries{kind=\"site\"}"), f64::from(OTHERS) + 1.0);
    let each = warm.get("mandate_cache_bytes") / (f64::from(OTHERS) + 1.0);
    assert!((100.0..600.0).contains(&each), "{each} bytes each");
    for n in 0..6 {
        assert_eq!(flip(&mut client, n)["status"], "effective");
        assert_eq!(ask(&mut client, "lea", "bakery"), n % 2 == 0);
        ask_about_all(&mut client);
    }
    let after = Page::of(&server);
    assert_eq!(after.memory("miss"), warm.memory("miss"), "nobody has lost an entry, the site itself neither");
    assert_eq!(after.memory("hit") - warm.memory("hit"), 6.0 * (f64::from(OTHERS) + 1.0));
    assert_eq!(after.get("mandate_handover_total{outcome=\"effective\"}"), 6.0);
    assert_eq!(after.get("mandate_watermark_revision"), warm.get("mandate_watermark_revision") + 6.0);
    assert_eq!(after.sum("mandate_decisions_total", "source=\"store\""), warm.memory("miss"));
    assert_eq!(after.sum("mandate_policy_info", "fingerprint=\"sha256:"), 1.0);
    assert_eq!(after.sum("mandate_decision_errors_total", ""), 0.0, "a deny is not an error");
    assert!(!after.0.keys().any(|name| name.contains("owner-") || name.contains("bakery") || name.contains("lea\"")));
}

#[test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
fn a_site_that_there_is_not_is_remembered_until_there_is() {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    let mut client = server.client();
    for _ in 0..3 {
        assert!(!ask(&mut client, "maria", "nowhere") && !ask(&mut client, "maria", "nothing"));
    }
    let before = Page::of(&server);
    assert_eq!((before.memory("miss"), before.memory("hit")), (2.0, 4.0));
    assert_eq!(before.get("mandate_cache_requests_total{layer=\"store\",result=\"miss\"}"), 2.0);
    assert_eq!(before.get("mandate_cache_entries{kind=\"absent\"}"), 2.0);
    client.put("/v1/sites/nowhere", &json!({"mode": "self_managed", "owner": "user:maria", "plan": plan()})).ok();
    assert!(ask(&mut client, "maria", "nowhere") && !ask(&mut client, "maria", "nothing"));
    let after = Page::of(&server);
    assert_eq!(after.memory("miss"), 2.0, "the other one is still remembered");
    assert_eq!(after.get("mandate_cache_entries{kind=\"absent\"}"), 1.0);
}

#[test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
fn with_little_room_what_went_is_read_again_and_right() {
    let mut installation = Installation::with(&worlds::story());
    // As many as do not fit: 1 MiB, in 256 tables, holds fewer than five thousand of them.
    installation.import(&(0..6_000).map(other).collect::<Vec<_>>());
    installation.set("MANDATE_LIMITS__CACHE", "1048576");
    let server = installation.start();
    let mut client = server.client();
    for _ in 0..2 {
        for n in 0..6_000 {
            assert!(ask(&mut client, &format!("owner-{n}"), &format!("other-{n}")), "other-{n}");
        }
    }
    let page = Page::of(&server);
    let (entries, bytes) = (page.get("mandate_cache_entries{kind=\"site\"}"), page.get("mandate_cache_bytes"));
    assert!(entries < 6_000.0 && bytes <= 1_048_576.0, "{entries} entries, {bytes} bytes");
    assert!(page.memory("miss") > 6_000.0, "the control: some were read twice");
    assert_eq!(page.store_lookups(), page.memory("miss"));
}

#[test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
fn no_replica_loses_another_sites_entry_and_a_new_history_loses_all() {
    let world = World::with(2, &[]);
    world.installation.import(&many_sites());
    let mut clients: Vec<Client> = world.replicas.iter().map(Server::client).collect();
    for client in &mut clients {
        // After an import every replica reads anew; the second round finds everything.
        ask_about_all(client);
        ask_about_all(client);
        assert!(!ask(client, "maria", "nowhere") && !ask(client, "maria", "nothing"));
    }
    let pages = || world.replicas.iter().map(Page::of).collect::<Vec<_>>();
    let warm = pages();
    for n in 0..6 {
        assert_eq!(flip(&mut clients[0], n)["status"], "effective");
        for client in &mut clients {
            assert_eq!(ask(client, "lea", "bakery"), n % 2 == 0);
            ask_about_all(client);
        }
    }
    for (warm, after) in warm.iter().zip(pages()) {
        assert_eq!(after.memory("miss") - warm.memory("miss"), 6.0, "the site that changed, once for each change");
        assert_eq!(after.memory("hit") - warm.memory("hit"), 6.0 * f64::from(OTHERS));
        assert!(after.get("mandate_lease_remaining_seconds") > 0.0);
        assert_eq!(after.get("mandate_replicas_registered"), 2.0);
        assert_eq!(after.get("mandate_revision_regressions_total"), 0.0);
        assert!(after.get("mandate_poll_duration_seconds_count") > 0.0);
    }
    let ended = pages()[0].sum("mandate_handover_effective_seconds_count", "");
    assert_eq!(ended, 6.0, "by acks or by expiry");

    // What there is not, everywhere.
    let put =
        clients[0].put("/v1/sites/nowhere", &json!({"mode": "self_managed", "owner": "user:maria", "plan": plan()}));
    assert!(put.status < 300, "{put}");
    let warm = pages();
    for client in &mut clients {
        assert!(until("it is seen", || ask(client, "maria", "nowhere").then_some(true)));
        assert!(!ask(client, "maria", "nothing"));
    }
    for (warm, after) in warm.iter().zip(pages()) {
        let missed = after.memory("miss") - warm.memory("miss");
        assert!(missed <= 1.0, "only the one that came was read: {missed}");
    }

    // The control: a new history drops everything, and that shows.
    let warm = pages();
    let history = "UPDATE mandate.head SET epoch = replace(gen_random_uuid()::text, '-', '')";
    assert!(world.database.ask(history).is_some());
    for (replica, server) in world.replicas.iter().enumerate() {
        until("everything is dropped", || {
            (Page::of(server).get("mandate_cache_entries{kind=\"site\"}") == 0.0).then_some(())
        });
        ask_about_all(&mut clients[replica]);
        let missed = Page::of(server).memory("miss") - warm[replica].memory("miss");
        assert!(missed >= f64::from(OTHERS), "{missed}");
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
fn a_replica_that_starts_uses_what_others_have_shared_and_nothing_older() {
    let (redis, key) = (Redis::start(), "5eed".repeat(16));
    let world = World::with(1, &[("MANDATE_REDIS_URL", &redis.url()), ("MANDATE_CACHE_MAC_KEY", &key)]);
    world.installation.import(&many_sites());
    let mut client = world.replicas[0].client();
    ask_about_all(&mut client);
    let bakery = || copies(&redis).into_iter().find(|(name, _)| name.ends_with(b"site:bakery"));
    flip(&mut client, 0);
    let given = until("it is shared", bakery);
    flip(&mut client, 1);
    until("the next is shared", || bakery().filter(|found| *found != given));
    until("all others are", || (copies(&redis).len() > OTHERS as usize).then_some(()));
    // What held before the last change, authentic, and from before the next replica starts like all the others.
    write(&redis, &[given]);

    let late = world.installation.start();
    until("it asks Redis", || (Page::of(&late).get("mandate_redis_breaker_open") == 0.0).then_some(()));
    let mut client = late.client();
    ask_about_all(&mut client);
    assert!(!ask(&mut client, "lea", "bakery"), "an old copy was believed");
    let page = Page::of(&late);
    let redis = |result| page.get(&format!("mandate_cache_requests_total{{layer=\"redis\",result=\"{result}\"}}"));
    let found = ["hit", "stale_tag", "below_floor", "miss"].map(redis);
    assert_eq!(found, [f64::from(OTHERS), 1.0, 0.0, 0.0]);
    assert_eq!(page.store_lookups(), 1.0, "the one that has changed");
}

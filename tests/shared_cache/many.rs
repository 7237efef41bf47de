//! More servers than one: Sentinels that name another, and a cluster.

use mandate::cache::shared::Lookup;

use crate::servers::{Redis, Replica, hit, site, until};

/// What the document says that a user may do, with the rights that follow the marked words.
fn documented(server: &Redis, more: &str) {
    let text = include_str!("../../docs/shared-cache.md");
    let line = text.lines().find_map(|line| line.strip_prefix("user ")).unwrap();
    assert!(more.is_empty() || text.contains(&format!("`{more}`")), "`{more}` is not documented");
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(line.split(' ')).chain(more.split(' ')).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let _: String = server.ask(&words);
}

/// The whole work of two replicas.
async fn work(url: &str) {
    let (one, two) = (Replica::at(url).await, Replica::at(url).await);
    let bakery = site("bakery", 1);
    one.share(1, &bakery).await;
    two.until_found(1, &bakery).await;
    one.until_heard_by(&two, 1).await;
    one.cache.forget(crate::servers::EPOCH, &bakery.id);
    until("it is forgotten", || async { (two.look("bakery").await == Lookup::Miss).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_rights_are_enough_and_not_too_many() {
    let server = Redis::start(&[]).await;
    documented(&server, "");
    let url = format!("redis://mandate:password@127.0.0.1:{}", server.port);
    work(&url).await;
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    for words in
        [&["FLUSHALL"][..], &["KEYS", "*"], &["GETRANGE", "other:x", "0", "1"], &["PUBLISH", "other:hint", "1"]]
    {
        let refused = redis::Cmd::new().arg(words).query::<redis::Value>(&mut connection).unwrap_err();
        assert_eq!(refused.code(), Some("NOPERM"), "{words:?}");
    }

    documented(&server, "+role");
    let sentinel = Redis::sentinel(&server).await;
    work(&format!("redis-sentinel://mandate:password@127.0.0.1:{}/main", sentinel.port)).await;

    let nodes = cluster().await;
    for node in &nodes {
        documented(node, "+cluster|slots +asking");
    }
    work(&format!("redis-cluster://mandate:password@127.0.0.1:{}", nodes[1].port)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_to_the_server_that_took_over() {
    let mut first = Redis::start(&[]).await;
    let port = first.port.to_string();
    let second = Redis::start(&["--replicaof", "127.0.0.1", &port]).await;
    until("the replica follows", || async {
        let info: String = second.ask(&["INFO", "replication"]);
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    let sentinel = Redis::sentinel(&first).await;
    until("the sentinel knows both", || async {
        let info: String = sentinel.ask(&["INFO", "sentinel"]);
        info.contains("status=ok").then_some(())?;
        info.contains("slaves=1").then_some(())
    })
    .await;
    // One that nobody has started is in the list too.
    let url = format!("redis-sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port);
    let (one, two) = (Replica::at(&url).await, Replica::at(&url).await);
    let bakery = site("bakery", 1);
    one.share(1, &bakery).await;
    one.until_heard_by(&two, 1).await;
    until("it was copied", || async { (!second.names().is_empty()).then_some(()) }).await;

    first.down();
    one.until_found(1, &bakery).await;
    let brewery = site("brewery", 2);
    one.share(2, &brewery).await;
    assert_eq!(second.names().len(), 2, "the other server has it");
    two.until_found(2, &brewery).await;
    one.until_heard_by(&two, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_became_a_replica_is_left() {
    let first = Redis::start(&[]).await;
    let port = first.port.to_string();
    let second = Redis::start(&["--replicaof", "127.0.0.1", &port]).await;
    let sentinel = Redis::sentinel(&first).await;
    until("the sentinel knows both", || async {
        let info: String = sentinel.ask(&["INFO", "sentinel"]);
        info.contains("slaves=1").then_some(())
    })
    .await;
    let replica = Replica::at(&format!("redis-sentinel://127.0.0.1:{}/main", sentinel.port)).await;
    replica.share(1, &site("bakery", 1)).await;
    until("the sentinel begins", || async {
        let mut connection = sentinel.connection();
        redis::cmd("SENTINEL").arg("FAILOVER").arg("main").exec(&mut connection).ok()
    })
    .await;
    until("the other one rules", || async {
        let info: String = second.ask(&["INFO", "replication"]);
        info.contains("role:master").then_some(())
    })
    .await;
    // What the first one still took is lost when it follows the second.
    until("copies are written there", || async {
        replica.share(2, &site("brewery", 1)).await;
        second.names().iter().any(|name| name.contains("brewery")).then_some(())
    })
    .await;
}

/// Three nodes, each with a third of the slots.
async fn cluster() -> Vec<Redis> {
    let words = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"];
    let mut nodes = Vec::new();
    for slots in [0..5461, 5461..10923, 10923..16384] {
        let node = Redis::start(&words).await;
        // One by one: Redis 6.2 knows no ranges.
        let slots: Vec<String> = slots.map(|slot: u16| slot.to_string()).collect();
        let add: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
        let _: String = node.ask(&add);
        nodes.push(node);
    }
    for node in &nodes[1..] {
        let port = node.port.to_string();
        let _: String = nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    }
    for node in &nodes {
        until("the cluster is whole", || async {
            let info: String = node.ask(&["CLUSTER", "INFO"]);
            (info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")).then_some(())
        })
        .await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_one_cache() {
    let mut nodes = cluster().await;
    // One that nobody has started is in the list too.
    let url = format!("redis-cluster://127.0.0.1:1,127.0.0.1:{}", nodes[0].port);
    let (one, two) = (Replica::at(&url).await, Replica::at(&url).await);
    let sites: Vec<_> = (0..30).map(|n| site(&format!("site-{n}"), n)).collect();
    for (tag, site) in (100..).zip(&sites) {
        one.share(tag, site).await;
        assert_eq!(two.get(site.id.as_str()).await, hit(tag, site));
    }
    let spread: Vec<usize> = nodes.iter().map(|node| node.names().len()).collect();
    assert!(spread.iter().all(|names| *names > 0) && spread.iter().sum::<usize>() == 30, "{spread:?}");
    one.until_heard_by(&two, 1).await;

    // A third goes away: the rest is found, always again.
    let gone = nodes[2].names();
    let is_gone = |site: &str| gone.iter().any(|name| name.ends_with(&format!(":site:{site}")));
    nodes[2].down();
    for (tag, site) in (100..).zip(&sites) {
        if is_gone(site.id.as_str()) {
            assert!(!matches!(one.look(site.id.as_str()).await, Lookup::Hit(_)), "{}", site.id);
        } else {
            one.until_found(tag, site).await;
        }
    }
    nodes[2].up().await;
    let back = sites.iter().find(|site| is_gone(site.id.as_str())).unwrap();
    one.share(200, back).await;
    two.until_found(200, back).await;
}

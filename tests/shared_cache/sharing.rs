//! One replica reads, the others find.

use std::{sync::Arc, time::Instant};

use mandate::{
    cache::shared::{Lookup, MOST},
    ids::UserId,
    revision::Revision,
    site::{Contributor, Side},
};

use crate::servers::{EPOCH, Redis, Replica, hit, id, keys, settings, site, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_read_another_finds() {
    let redis = Redis::start(&[]).await;
    let (one, two) = (Replica::at(&redis.url()).await, Replica::at(&redis.url()).await);
    assert_eq!(two.get("bakery").await, Lookup::Miss);
    let bakery = site("bakery", 41);
    one.share(44, &bakery).await;
    assert_eq!(two.get("bakery").await, hit(44, &bakery));
    assert_eq!(two.get("brewery").await, Lookup::Miss);
    assert_eq!(two.get_in("e-1/2", "bakery").await, Lookup::Miss, "another history");
    let counts = two.cache.counts();
    assert_eq!((counts.hits.get(), counts.misses.get()), (1, 3));

    let name = &redis.names()[0];
    assert!(name.starts_with("mandate:"), "{name}");
    let life: i64 = redis.ask(&["PTTL", name]);
    assert!((1..=3_600_000).contains(&life), "{life}");

    let mut other = settings(&redis.url());
    other.namespace = "other".to_owned();
    assert_eq!(Replica::of(&other).ready().await.get("bakery").await, Lookup::Miss, "another installation");

    two.cache.forget(EPOCH, &id("bakery"));
    until("it is forgotten", || async { (one.look("bakery").await == Lookup::Miss).then_some(()) }).await;
    assert_eq!(redis.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_shared_up_to_a_limit() {
    let redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    let mut crowd = site("crowd", 1);
    let mut add = |people: std::ops::Range<u32>| {
        for n in people {
            let grantor = "user:maria".parse().unwrap();
            let person = Contributor { role: "Writer".into(), grantor, side: Side::Client, revision: Revision(1) };
            crowd.contributors.insert(format!("person-{n}").parse::<UserId>().unwrap(), person);
        }
        crowd.clone()
    };
    replica.share(1, &add(0..5_000)).await;
    let length = redis.value(&redis.names()[0]).len();
    assert!(length > 64 * 1024 && length < MOST, "{length} bytes: read aside, and within the limit");
    let dropped = replica.cache.counts().dropped_puts.get();
    replica.cache.put(EPOCH, Revision(2), Arc::new(add(5_000..40_000)));
    until("it is given up", || async { (replica.cache.counts().dropped_puts.get() > dropped).then_some(()) }).await;
    assert!(matches!(replica.get("crowd").await, Lookup::Hit(found) if found.tag == Revision(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_while_replicas_run() {
    let redis = Redis::start(&[]).await;
    let with = |bytes: &[&str]| {
        let mut settings = settings(&redis.url());
        let keys: Vec<String> = bytes.iter().map(|byte| byte.repeat(32)).collect();
        settings.keys = keys.join(",").try_into().unwrap();
        settings
    };
    let old = Replica::of(&with(&["5e"])).ready().await;
    let both = Replica::of(&with(&["6f", "5e"])).ready().await;
    let new = Replica::of(&with(&["6f"])).ready().await;
    let (bakery, brewery) = (site("bakery", 1), site("brewery", 1));
    old.share(1, &bakery).await;
    both.share(1, &brewery).await;
    assert_eq!(both.get("bakery").await, hit(1, &bakery));
    assert_eq!(new.get("brewery").await, hit(1, &brewery));
    assert!(matches!(new.get("bakery").await, Lookup::Unusable(_)), "the control");
    assert!(keys("5e") != keys("6f"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_reach_the_others_and_only_those_of_the_same_installation() {
    let redis = Redis::start(&[]).await;
    let (one, two) = (Replica::at(&redis.url()).await, Replica::at(&redis.url()).await);
    let mut other = settings(&redis.url());
    other.namespace = "other".to_owned();
    let other = Replica::of(&other).ready().await;
    for nonsense in ["", "-1", "x", "99999999999999999999"] {
        let _: i64 = redis.ask(&["PUBLISH", "mandate:hint", nonsense]);
    }
    one.until_heard_by(&two, 7).await;
    one.until_heard_by(&two, 8).await;
    assert!(!other.heard(7));
    other.until_heard_by(&other, 9).await;
}

/// `cargo test --release --test shared_cache -- --ignored --nocapture what_a_lookup_costs`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_a_lookup_costs() {
    let redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    let bakery = site("bakery", 1);
    replica.share(1, &bakery).await;
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let began = Instant::now();
        replica.look("bakery").await;
        times.push(began.elapsed());
    }
    times.sort();
    let late = replica.cache.counts().unavailable.get();
    println!("one after the other: p50 {:?}, p99 {:?}, {late} unavailable", times[10_000], times[19_800]);
    let mut plain = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let name = redis.names().remove(0);
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let began = Instant::now();
        let _: Vec<u8> = redis::cmd("GET").arg(&name).query_async(&mut plain).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    println!("a bare GET beside it: p50 {:?}, p99 {:?}", times[10_000], times[19_800]);
}

//! Redis away, stopped, killed, emptied: lookups end, soon at once, and come back by themselves.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use mandate::{
    cache::shared::{COMMAND, FAILURES, Lookup},
    revision::Revision,
};

use crate::servers::{EPOCH, Redis, Replica, free_port, hit, settings, site, until};

/// What a lookup may take on a machine that does ten other things: many times its deadline.
const BOUND: Duration = Duration::from_secs(1);

/// Looks up until the breaker opens; fails when a lookup took too long.
async fn until_it_opens(replica: &Replica) {
    until("the breaker opens", || async {
        let began = Instant::now();
        replica.look("bakery").await;
        assert!(began.elapsed() < BOUND, "a lookup took {:?}", began.elapsed());
        (!replica.cache.is_available()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_redis_costs_a_few_deadlines_and_then_nothing() {
    let redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    let bakery = site("bakery", 1);
    replica.share(1, &bakery).await;
    let mut plain = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    redis.stop();
    let opened = replica.cache.counts().breaker_open.get();
    until_it_opens(&replica).await;
    assert_eq!(replica.cache.counts().breaker_open.get(), opened + 1);
    assert!(replica.cache.counts().unavailable.get() >= u64::from(FAILURES));

    // While it is open lookups do not try, and copies to share are dropped.
    let began = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(replica.look("bakery").await, Lookup::Unavailable);
    }
    assert!(began.elapsed() < COMMAND * 100, "10,000 lookups took {:?}", began.elapsed());
    let dropped = replica.cache.counts().dropped_puts.get();
    replica.cache.put(EPOCH, Revision(2), Arc::new(bakery.clone()));
    assert_eq!(replica.cache.counts().dropped_puts.get(), dropped + 1);
    // The control: who asks without a deadline waits on.
    plain.set_read_timeout(Some(BOUND)).unwrap();
    assert!(redis::cmd("PING").query::<String>(&mut plain).unwrap_err().is_timeout());

    redis.go_on();
    replica.until_found(1, &bakery).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_copies_does_not_wait_for_a_stopped_redis() {
    let redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    redis.stop();
    let bakery = Arc::new(site("bakery", 1));
    let began = Instant::now();
    for _ in 0..1_000 {
        replica.cache.put(EPOCH, Revision(1), Arc::clone(&bakery));
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    until("all were given up", || async { (replica.cache.counts().dropped_puts.get() == 1_000).then_some(()) }).await;
    redis.go_on();
    replica.share(2, &bakery).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_found_again_with_what_it_remembers() {
    let mut redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    let (old, new) = (site("bakery", 1), site("bakery", 2));
    replica.share(1, &old).await;
    let _: String = redis.ask(&["SAVE"]);
    replica.share(2, &new).await;
    redis.down();
    until_it_opens(&replica).await;
    redis.up().await;
    // It forgot the newer copy: what it has is as old as it says.
    replica.until_found(1, &old).await;

    redis.down();
    std::fs::remove_file(redis.folder.path().join("dump.rdb")).unwrap();
    redis.up().await;
    until("it is empty", || async { (replica.look("bakery").await == Lookup::Miss).then_some(()) }).await;
    replica.share(2, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_has_misses_and_no_outage() {
    let redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    replica.share(1, &site("bakery", 1)).await;
    let _: String = redis.ask(&["FLUSHALL"]);
    assert_eq!(replica.get("bakery").await, Lookup::Miss);
    assert_eq!(replica.cache.counts().breaker_open.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_takes_no_copies_and_is_read_on() {
    let redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    let bakery = site("bakery", 1);
    replica.share(1, &bakery).await;
    let _: String = redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..u64::from(FAILURES) * 3 {
        let dropped = replica.cache.counts().dropped_puts.get();
        replica.cache.put(EPOCH, Revision(2), Arc::new(site("brewery", 1)));
        until("it is refused", || async { (replica.cache.counts().dropped_puts.get() > dropped).then_some(()) }).await;
    }
    assert_eq!(replica.get("bakery").await, hit(1, &bakery));
    assert_eq!(replica.cache.counts().breaker_open.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_at_the_start_is_used_when_it_comes() {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let replica = Replica::of(&settings(&format!("redis://127.0.0.1:{port}")));
    assert_eq!(replica.look("bakery").await, Lookup::Unavailable);
    let _redis = Redis::prepared(port, folder, &[]).started().await;
    replica.share(1, &site("bakery", 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_connections_and_never_answers_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let accepting = std::thread::spawn(move || silent.incoming().take(3).collect::<Vec<_>>());
    let replica = Replica::of(&settings(&url));
    // Three attempts to connect come and go; lookups meanwhile end at once.
    until("it was tried three times", || async {
        let began = Instant::now();
        assert_eq!(replica.look("bakery").await, Lookup::Unavailable);
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
        accepting.is_finished().then_some(())
    })
    .await;
    assert!(!replica.cache.is_available());
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_go_on_after_redis_was_away() {
    let mut redis = Redis::start(&[]).await;
    let (one, two) = (Replica::at(&redis.url()).await, Replica::at(&redis.url()).await);
    one.until_heard_by(&two, 1).await;
    redis.down();
    // Nobody looks anything up: the end of the connection is noticed by itself.
    until("both noticed", || async { (!one.cache.is_available() && !two.cache.is_available()).then_some(()) }).await;
    redis.up().await;
    one.until_available().await;
    one.until_heard_by(&two, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_falls_silent_is_noticed_without_a_lookup() {
    let redis = Redis::start(&[]).await;
    let (one, two) = (Replica::at(&redis.url()).await, Replica::at(&redis.url()).await);
    redis.stop();
    until("both noticed", || async { (!one.cache.is_available() && !two.cache.is_available()).then_some(()) }).await;
    assert_eq!(one.cache.counts().unavailable.get(), 0, "nobody asked");
    redis.go_on();
    one.until_available().await;
    one.until_heard_by(&two, 1).await;
}

//! Whoever can write to Redis can make lookups useless, and nothing else.

use mandate::{
    cache::shared::{Lookup, MOST, Unusable},
    revision::Revision,
};

use crate::servers::{Redis, Replica, hit, keys, settings, site};

/// A Redis in which replicas share the bakery at revision 41; its name and value there.
async fn shared() -> (Redis, Replica, String, Vec<u8>) {
    let redis = Redis::start(&[]).await;
    let replica = Replica::at(&redis.url()).await;
    replica.share(41, &site("bakery", 40)).await;
    let name = redis.names().remove(0);
    let value = redis.value(&name);
    (redis, replica, name, value)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_is_believed() {
    let (redis, replica, name, value) = shared().await;
    let payload = value.windows(5).position(|bytes| bytes == b"{\"id\"").unwrap();
    let mut readable_without_a_mac = 0;
    for at in 0..value.len() {
        let mut flipped = value.clone();
        flipped[at] ^= 1;
        redis.overwrite(&name, &flipped);
        let Lookup::Unusable(why) = replica.get("bakery").await else { panic!("byte {at} was believed") };
        let expected = match at {
            32 => Unusable::UnknownFormat,
            33 => Unusable::UnknownKeyId,
            _ => Unusable::BadMac,
        };
        assert_eq!(why, expected, "byte {at}");
        let mut document = serde_json::Deserializer::from_slice(&flipped[payload..]).into_iter::<serde_json::Value>();
        let readable = at >= payload && document.next().is_some_and(|read| read.is_ok());
        readable_without_a_mac += usize::from(readable);
    }
    assert!(readable_without_a_mac > 20, "the control: without the MAC some would be read as a site");
    assert_eq!(replica.cache.counts().mac_failures.get(), u64::try_from(value.len() - 2).unwrap());
    assert_eq!(replica.cache.counts().unusable.get(), 2);
    redis.overwrite(&name, &value);
    assert_eq!(replica.get("bakery").await, hit(41, &site("bakery", 40)), "the control: unchanged, it is");
    assert_eq!(replica.cache.counts().breaker_open.get(), 0, "poison is no outage");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_written_here_is_not_believed() {
    let (redis, replica, name, value) = shared().await;
    for length in (1..value.len()).step_by(7) {
        redis.overwrite(&name, &value[..length]);
        assert!(matches!(replica.get("bakery").await, Lookup::Unusable(_)), "cut to {length} bytes");
    }
    redis.overwrite(&name, b"");
    assert_eq!(replica.get("bakery").await, Lookup::Miss);
    let noise: Vec<u8> = (0..500_u32).map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    redis.overwrite(&name, &noise);
    assert!(matches!(replica.get("bakery").await, Lookup::Unusable(_)));
    redis.overwrite(&name, &vec![b'x'; 2 * MOST]);
    assert_eq!(replica.get("bakery").await, Lookup::Unusable(Unusable::TooLong));
    let _: i64 = redis.ask(&["UNLINK", &name]);
    let _: i64 = redis.ask(&["HSET", &name, "a", "b"]);
    assert_eq!(replica.get("bakery").await, Lookup::Unusable(Unusable::NotASite));
    assert_eq!(replica.cache.counts().breaker_open.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_good_under_its_own_name_only() {
    let (redis, replica, name, value) = shared().await;
    let elsewhere = name.replace("11:site:bakery", "12:site:brewery");
    assert_ne!(name, elsewhere);
    redis.overwrite(&elsewhere, &value);
    assert_eq!(replica.get("brewery").await, Lookup::Unusable(Unusable::OtherKey));
    redis.overwrite(&name.replace("5:e-1/1", "5:e-1/2"), &value);
    assert_eq!(replica.get_in("e-1/2", "bakery").await, Lookup::Unusable(Unusable::OtherEpoch));
    redis.overwrite(&name.replacen("mandate", "other", 1), &value);
    let mut other = settings(&redis.url());
    other.namespace = "other".to_owned();
    let other = Replica::of(&other).ready().await;
    assert_eq!(other.get("bakery").await, Lookup::Unusable(Unusable::BadMac), "the same key in another installation");
    assert_eq!(replica.get("bakery").await, hit(41, &site("bakery", 40)), "the control: it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_comes_back_as_old_as_it_is() {
    let (redis, replica, name, old) = shared().await;
    let newer = site("bakery", 42);
    replica.share(42, &newer).await;
    assert_eq!(replica.get("bakery").await, hit(42, &newer));
    redis.overwrite(&name, &old);
    // Authentic, so it is a hit; whoever judges tags sees that a change came after it.
    assert_eq!(replica.get("bakery").await, hit(41, &site("bakery", 40)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_opens_nothing() {
    let (redis, replica, name, value) = shared().await;
    let mut other = settings(&redis.url());
    other.keys = keys("6f");
    let other = Replica::of(&other).ready().await;
    assert_eq!(other.get("bakery").await, Lookup::Unusable(Unusable::UnknownKeyId));
    // With its key's id on it, the MAC is what tells.
    other.share(41, &site("brewery", 40)).await;
    let theirs = redis.names().into_iter().find(|other| *other != name).unwrap();
    let mut relabelled = value;
    relabelled[33] = redis.value(&theirs)[33];
    redis.overwrite(&name, &relabelled);
    assert_eq!(other.get("bakery").await, Lookup::Unusable(Unusable::BadMac));
    assert!(matches!(replica.get("bakery").await, Lookup::Unusable(_)));
    assert!(matches!(other.get("brewery").await, Lookup::Hit(found) if found.tag == Revision(41)), "the control");
}

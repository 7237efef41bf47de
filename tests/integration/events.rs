//! Events reach a webhook and a Redis stream: at least once, in order for each site, whatever fails on the way.
//!
//! The subscriber is a real HTTP server in this process and Redis a real process; both are slow, absent or hostile where
//! a test says so, and the service is shot while it delivers. What must have arrived is read from the audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
    process::Command,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    http::{Call, Client, now_s},
    kill,
    receiver::{Received, Receiver, Redis},
    seeded::Seeded,
    server::{Installation, until},
};

const KEY: &[u8; 32] = b"an-integration-test-signs-this..";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

/// An installation that tells this URL, and is quick to try again.
pub fn telling(url: &str) -> Installation {
    let mut installation = Installation::new();
    kill::policies(&mut installation);
    installation
        .set("MANDATE_EVENTS__WEBHOOK_URL", url)
        .set("MANDATE_EVENTS__WEBHOOK_SECRET", secret())
        .set("MANDATE_EVENTS__ALLOW_PRIVATE", "true")
        .set("MANDATE_EVENTS__BACKOFF_MIN", "20ms")
        .set("MANDATE_EVENTS__BACKOFF_MAX", "2s");
    installation
}

/// Changes a site (or registers it): one event.
pub fn change(http: &mut Client, site: &str, n: u64) {
    http.call(&change_of(site, n)).ok();
}

fn change_of(site: &str, n: u64) -> Call {
    let body =
        json!({"mode": "self_managed", "owner": "user:maria", "plan": {"tier": "premium", "name": format!("p{n}")}});
    Call::new("PUT", &format!("/v1/sites/{site}")).json(&body)
}

/// A site's audit events.
pub fn audit(http: &mut Client, site: &str) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let after = found.last().map_or(0, |event| event["seq"].as_u64().unwrap());
        let answer = http.get(&format!("/v1/sites/{site}/audit?after={after}&limit=1000"));
        if answer.code() == "unknown_site" {
            return found;
        }
        let page = answer.ok().json();
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        if page["next"].is_null() {
            return found;
        }
    }
}

pub fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

pub fn sink(http: &mut Client, name: &str) -> Value {
    let sinks = http.get("/v1/events/sinks").ok().json();
    sinks["items"].as_array().unwrap().iter().find(|sink| sink["name"] == name).unwrap().clone()
}

fn dead_letters(http: &mut Client) -> Vec<Value> {
    http.get("/v1/events/dead-letters").ok().json()["items"].as_array().unwrap().clone()
}

/// HMAC-SHA256 from its definition (RFC 2104), so that the service's own is not asked about itself.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |pad: u8| -> Vec<u8> { (0..64).map(|n| key.get(n).unwrap_or(&0) ^ pad).collect() };
    let inner = Sha256::digest([padded(0x36), message.to_vec()].concat());
    Sha256::digest([padded(0x5c), inner.to_vec()].concat()).to_vec()
}

fn is_signed(received: &Received, raw: &[u8]) -> bool {
    let header = |name: &str| received.headers[name].as_str();
    let signed = [format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(), raw].concat();
    header("webhook-signature") == format!("v1,{}", STANDARD.encode(hmac(KEY, &signed)))
}

#[test]
fn every_event_arrives_in_its_sites_order_signed_and_as_it_was_written() {
    let receiver = Receiver::glad();
    let installation = telling(&receiver.url());
    let mut server = installation.start();
    let mut http = server.client();
    for n in 0..20 {
        for site in ["a", "b", "c"] {
            change(&mut http, site, n);
        }
    }
    http.put("/v1/agencies/studio-north", &json!({"name": "Studio North", "domain": "s.example", "verified": true}))
        .ok();
    until("all are there", || (receiver.all().len() >= 61).then_some(()));
    let all = receiver.all();
    assert_eq!(all.len(), 61, "and none of them twice");
    for site in ["a", "b", "c"] {
        let written = audit(&mut http, site);
        assert_eq!(written.len(), 20);
        assert_eq!(receiver.taken(site), seqs(&written), "{site}");
        let arrived = all.iter().filter(|received| received.subject() == site);
        for (event, received) in written.iter().zip(arrived) {
            let (body, kind) = (&received.body, event["type"].as_str().unwrap());
            assert_eq!(body["type"], format!("mandate.{kind}.v1"));
            assert_eq!((&body["data"], &body["time"]), (&event["data"], &event["at"]));
            assert_eq!(body["revision"], event["revision"].to_string());
            let source = body["source"].as_str().unwrap().strip_prefix("/mandate/").unwrap();
            assert_eq!(body["id"], format!("{source}-{}", event["seq"]));
        }
    }
    assert_eq!(receiver.taken("agency:studio-north"), [61]);
    for received in &all {
        assert_eq!(received.headers["content-type"], "application/cloudevents+json");
        assert_eq!(received.headers["webhook-id"], received.id());
        assert_eq!(received.body["specversion"], "1.0");
        let signed_at: i64 = received.headers["webhook-timestamp"].parse().unwrap();
        assert!((now_s() - signed_at).abs() < 60);
        assert!(is_signed(received, &received.raw));
        let mut other = received.raw.clone();
        other[10] ^= 1;
        assert!(!is_signed(received, &other), "the control: one bit");
    }
    until("it is noted", || (sink(&mut http, "webhook")["pending"] == 0).then_some(()));
    let report = sink(&mut http, "webhook");
    assert_eq!((&report["kind"], &report["cursor"], &report["dead"]), (&json!("webhook"), &json!(61), &json!(0)));
    assert_eq!(server.stop(), Some(0));
    // Noted is noted: another start repeats nothing.
    let server = installation.start();
    change(&mut server.client(), "a", 99);
    until("the next one is there", || receiver.taken("a").contains(&62).then_some(()));
    assert_eq!(receiver.all().len(), 62);
}

/// A gate that deliveries wait at.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn pass(&self) {
        let open = self.0.lock().unwrap();
        drop(self.1.wait_timeout_while(open, Duration::from_mins(1), |open| !*open).unwrap());
    }
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

#[test]
fn a_slow_site_and_a_failing_one_hold_up_no_other() {
    let gate = Arc::new(Gate::default());
    let (at_gate, broken) = (Arc::clone(&gate), Arc::clone(&gate));
    let receiver = Receiver::start(move |event| match event["subject"].as_str() {
        Some("slow") => {
            at_gate.pass();
            (204, String::new())
        }
        Some("broken") if !*broken.0.lock().unwrap() => (503, String::new()),
        _ => (204, String::new()),
    });
    let mut installation = telling(&receiver.url());
    installation.set("MANDATE_EVENTS__TIMEOUT", "1m");
    let server = installation.start();
    let mut http = server.client();
    for n in 0..30 {
        for site in ["slow", "broken", "quick"] {
            change(&mut http, site, n);
        }
    }
    let quick = seqs(&audit(&mut http, "quick"));
    until("the quick site is through", || (receiver.taken("quick") == quick).then_some(()));
    assert!(receiver.taken("slow").is_empty() && receiver.taken("broken").is_empty(), "the control");
    let report = sink(&mut http, "webhook");
    assert!(report["pending"].as_u64().unwrap() >= 60, "{report}");
    assert_eq!(report["last_failure_kind"], "status");
    gate.open();
    for site in ["slow", "broken"] {
        let written = seqs(&audit(&mut http, site));
        until("it is through", || (receiver.taken(site) == written).then_some(()));
    }
    assert!(!server.log().contains("hunter2") && !server.log().contains("own-words"), "{}", server.log());
    assert!(!server.log().contains(&secret()));
}

#[test]
fn a_subscriber_says_when_to_come_again() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let receiver = Receiver::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => (429, "retry-after: 1\r\n".to_owned()),
        1 => (503, String::new()),
        // Longer than the service ever waits.
        2 => (503, "retry-after: 86400\r\n".to_owned()),
        _ => (200, String::new()),
    });
    let installation = telling(&receiver.url());
    let server = installation.start();
    let mut http = server.client();
    change(&mut http, "a", 0);
    change(&mut http, "a", 1);
    until("both are taken", || (receiver.taken("a") == [1, 2]).then_some(()));
    let all = receiver.all();
    assert_eq!(all.iter().map(Received::seq).collect::<Vec<_>>(), [1, 1, 1, 1, 2], "the second one waited");
    let after = |n: usize| all[n].at - all[n - 1].at;
    assert!(after(1) >= Duration::from_secs(1), "asked for: {:?}", after(1));
    assert!(after(2) < Duration::from_secs(1), "the control: not asked for: {:?}", after(2));
    assert!(after(3) >= Duration::from_secs(2), "as long as the service waits: {:?}", after(3));
    assert!(all.iter().all(|received| received.raw == all[usize::from(received.seq() == 2) * 4].raw), "the same bytes");
}

#[test]
fn what_is_given_up_is_listed_and_can_be_put_back() {
    let refuses = Arc::new(Mutex::new(true));
    let moody = Arc::clone(&refuses);
    let receiver = Receiver::start(move |event| match (event["subject"].as_str(), event["type"].as_str()) {
        (Some("never"), Some("mandate.SiteRegistered.v1")) if *moody.lock().unwrap() => (410, String::new()),
        (Some("down"), Some("mandate.SiteRegistered.v1")) if *moody.lock().unwrap() => (503, String::new()),
        _ => (200, String::new()),
    });
    let mut installation = telling(&receiver.url());
    installation.set("MANDATE_EVENTS__MAX_ATTEMPTS", "3");
    let mut server = installation.start();
    let mut http = server.client();
    for n in 0..2 {
        change(&mut http, "never", n);
        change(&mut http, "down", n);
    }
    let letters = until("both are given up", || Some(dead_letters(&mut http)).filter(|letters| letters.len() == 2));
    // The sites' later events go on.
    until("the later ones arrive", || (receiver.taken("never") == [3] && receiver.taken("down") == [4]).then_some(()));
    let told: BTreeMap<&str, (&Value, &Value, &Value)> = letters
        .iter()
        .map(|letter| (letter["site"].as_str().unwrap(), (&letter["attempts"], &letter["status"], &letter["seq"])))
        .collect();
    assert_eq!(told["never"], (&json!(1), &json!(410), &json!(1)));
    assert_eq!(told["down"], (&json!(3), &json!(503), &json!(2)));
    for letter in &letters {
        assert_eq!(
            (&letter["sink"], &letter["failure"], &letter["state"]),
            (&json!("webhook"), &json!("status"), &json!("dead"))
        );
        assert_eq!(letter["type"], "SiteRegistered");
        let sent = receiver.all().into_iter().find(|received| letter["seq"] == received.seq()).unwrap();
        assert_eq!(letter["event"], sent.id());
    }
    assert!(!json!(letters).to_string().contains("own-words"));
    until("it is noted", || (sink(&mut http, "webhook")["dead"] == 2).then_some(()));

    // Put back while the subscriber still refuses: dead again. Afterwards: delivered, once.
    let retry = |http: &mut Client, letter: &Value| {
        http.call(&Call::new("POST", &format!("/v1/events/dead-letters/{}/retry", letter["id"])))
    };
    let never = letters.iter().find(|letter| letter["site"] == "never").unwrap();
    let answer = retry(&mut http, never);
    assert_eq!((answer.status, &answer.json()["state"]), (202, &json!("queued")), "{answer}");
    until("it is tried again", || {
        (receiver.all().iter().filter(|received| received.seq() == 1).count() == 2).then_some(())
    });
    until("it is dead again", || dead_letters(&mut http).iter().all(|letter| letter["state"] == "dead").then_some(()));
    *refuses.lock().unwrap() = false;
    for letter in &letters {
        retry(&mut http, letter).ok();
        retry(&mut http, letter).ok();
    }
    until("none is left", || dead_letters(&mut http).is_empty().then_some(()));
    assert_eq!((receiver.taken("never"), receiver.taken("down")), (vec![3, 1], vec![4, 2]));
    assert_eq!(retry(&mut http, never).json()["state"], "delivered", "again, and nothing happens");
    assert_eq!(http.post("/v1/events/dead-letters/99/retry", &json!({})).code(), "unknown_dead_letter");
    assert_eq!(http.post("/v1/events/dead-letters/x/retry", &json!({})).code(), "invalid_id");
    assert_eq!(http.get("/v1/events/dead-letters?after=x").code(), "invalid_query");
    assert_eq!(http.get("/v1/events/sinks?x=1").code(), "invalid_query");
    // None of it was a change.
    assert_eq!(http.head(0), 4);
    assert_eq!(server.stop(), Some(0));
    installation.verify_audit();
}

#[test]
fn nothing_is_sent_to_an_address_nearby_unless_that_is_meant() {
    let receiver = Receiver::glad();
    let port = receiver.address().port();
    for literal in [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[2002:7f00:1::1]",
    ] {
        let mut installation = telling(&format!("http://{literal}:{port}/hook?token=hunter2"));
        installation.set("MANDATE_EVENTS__ALLOW_PRIVATE", "false");
        let Err(refused) = installation.try_start() else { panic!("{literal} is taken") };
        assert!(refused.log.contains("allow_private"), "{literal}: {}", refused.log);
        assert!(!refused.log.contains("hunter2"));
    }
    // Names are judged by what they resolve to, at every attempt.
    for name in ["localhost", "2130706433", "127.1", "0x7f.1"] {
        let mut installation = telling(&format!("http://{name}:{port}/hook?token=hunter2"));
        installation.set("MANDATE_EVENTS__ALLOW_PRIVATE", "false");
        let server = installation.start();
        let mut http = server.client();
        change(&mut http, "a", 0);
        let kind =
            until("it was tried", || sink(&mut http, "webhook")["last_failure_kind"].as_str().map(str::to_owned));
        assert_eq!(kind, "address_refused", "{name}");
        assert_eq!(sink(&mut http, "webhook")["pending"], 1, "and waits");
    }
    assert_eq!(receiver.connections(), 0, "nobody came");
    let installation = telling(&format!("http://localhost:{port}/hook?token=hunter2"));
    let server = installation.start();
    change(&mut server.client(), "a", 0);
    until("the control: it is meant", || (receiver.taken("a") == [1]).then_some(()));
}

#[test]
fn a_redirect_is_not_followed() {
    let inside = Receiver::glad();
    let elsewhere = inside.url();
    let receiver = Receiver::start(move |_| (302, format!("location: {elsewhere}\r\n")));
    let installation = telling(&receiver.url());
    let server = installation.start();
    let mut http = server.client();
    change(&mut http, "a", 0);
    let letters = until("it is given up", || Some(dead_letters(&mut http)).filter(|letters| !letters.is_empty()));
    assert_eq!(letters[0]["status"], 302);
    assert_eq!((receiver.connections(), inside.connections()), (1, 0));
}

/// Makes a certificate for `localhost`.
fn self_signed(certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args([OsStr::new("-keyout"), key.as_os_str(), OsStr::new("-out"), certificate.as_os_str()])
        .output()
        .expect("`openssl` is needed for this test: `make tools` installs it");
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn https_believes_the_machines_certificates_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    self_signed(&certificate, &key);
    let receiver = Receiver::behind_tls(&certificate, &key);
    let port = receiver.address().port();
    let trusting = |host: &str, file: &Path| {
        let mut installation = telling(&format!("https://{host}:{port}/hook?token=hunter2"));
        installation.set("SSL_CERT_FILE", file.to_str().unwrap());
        installation.set("SSL_CERT_DIR", folder.path().join("none").to_str().unwrap());
        installation
    };
    let installation = trusting("localhost", &certificate);
    let server = installation.start();
    change(&mut server.client(), "a", 0);
    until("it arrives", || (receiver.taken("a") == [1]).then_some(()));
    // Another name than the certificate's, and another authority than its.
    let other = folder.path().join("other.pem");
    self_signed(&other, &folder.path().join("other-key.pem"));
    for installation in [trusting("127.0.0.1", &certificate), trusting("localhost", &other)] {
        let server = installation.start();
        let mut http = server.client();
        change(&mut http, "a", 0);
        until("it is refused", || (sink(&mut http, "webhook")["last_failure_kind"] == "tls").then_some(()));
    }
    std::fs::write(&other, "").unwrap();
    let refused = trusting("localhost", &other).try_start().err().expect("without any certificate it does not start");
    assert!(refused.log.contains("ca-certificates"), "{}", refused.log);
    assert_eq!(receiver.all().len(), 1);
}

/// The documents' way to verify a signature, as it is written there.
#[test]
fn the_documents_shell_lines_verify_a_delivery() {
    let text = include_str!("../../docs/events.md");
    let lines = text.split("```sh\n").find(|part| part.contains("openssl dgst")).unwrap();
    let lines = lines.split("```").next().unwrap();
    let receiver = Receiver::glad();
    let installation = telling(&receiver.url());
    let server = installation.start();
    change(&mut server.client(), "a", 0);
    let received = until("it arrives", || receiver.all().into_iter().next());
    let folder = tempfile::tempdir().unwrap();
    let said = |body: &[u8]| {
        std::fs::write(folder.path().join("body.json"), body).unwrap();
        let header = |name: &str| received.headers[name].clone();
        let output = Command::new("sh")
            .args(["-c", lines])
            .current_dir(folder.path())
            .env("SECRET", secret())
            .env("ID", header("webhook-id"))
            .env("TIMESTAMP", header("webhook-timestamp"))
            .env("SIGNATURE", header("webhook-signature"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&received.raw), "genuine\n");
    assert_eq!(said(&[&received.raw[..], b" "].concat()), "", "the control: one more byte");
}

#[test]
fn an_absent_subscriber_finds_everything_when_it_comes() {
    let receiver = Receiver::glad();
    let (address, url) = (receiver.address(), receiver.url());
    drop(receiver);
    let installation = telling(&url);
    for round in 0..2 {
        let mut server = installation.start();
        let mut http = server.client();
        for n in 0..10 {
            change(&mut http, "a", round * 10 + n);
            change(&mut http, "b", round * 10 + n);
        }
        until("it was tried", || (sink(&mut http, "webhook")["last_failure_kind"] == "unreachable").then_some(()));
        assert_eq!(server.stop(), Some(0));
    }
    let receiver = Receiver::on(address, |_| (200, String::new()));
    let server = installation.start();
    let mut http = server.client();
    for site in ["a", "b"] {
        let written = seqs(&audit(&mut http, site));
        assert_eq!(written.len(), 20);
        until("all are there", || (receiver.taken(site) == written).then_some(()));
    }
    until("none is pending", || (sink(&mut http, "webhook")["pending"] == 0).then_some(()));
    assert_eq!(receiver.all().len(), 40, "each once");
}

const STREAM: &str = "mandate:events";

/// The stream holds exactly the events up to this one.
#[track_caller]
fn stream_is_whole(redis: &Redis, last: u64) {
    let ids: Vec<String> = redis.entries(STREAM).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, (1..=last).map(|seq| format!("{seq}-0")).collect::<Vec<_>>());
}

fn streaming(redis: &Redis) -> Installation {
    let mut installation = Installation::new();
    kill::policies(&mut installation);
    installation
        .set("MANDATE_EVENTS__REDIS_URL", redis.url())
        .set("MANDATE_EVENTS__BACKOFF_MIN", "20ms")
        .set("MANDATE_EVENTS__BACKOFF_MAX", "100ms")
        .set("MANDATE_EVENTS__TIMEOUT", "2s");
    installation
}

#[track_caller]
fn streamed_up_to(http: &mut Client, seq: u64) {
    until("the stream is that far", || (sink(http, "redis")["cursor"] == seq).then_some(()));
}

#[test]
fn the_stream_holds_every_event_once_whatever_becomes_of_redis() {
    let mut redis = Redis::start();
    let installation = streaming(&redis);
    let mut server = installation.start();
    let mut http = server.client();
    (0..10).for_each(|n| change(&mut http, "a", n));
    streamed_up_to(&mut http, 10);
    stream_is_whole(&redis, 10);
    let (_, event) = redis.entries(STREAM).remove(3);
    assert_eq!((&event["sequence"], &event["subject"]), (&json!("00000000000000000004"), &json!("a")));

    redis.down();
    (0..10).for_each(|n| change(&mut http, "b", n));
    until("it was tried", || (sink(&mut http, "redis")["last_failure_kind"] == "unreachable").then_some(()));
    assert_eq!(sink(&mut http, "redis")["pending"], 10);
    redis.up();
    streamed_up_to(&mut http, 20);
    stream_is_whole(&redis, 20);

    // Redis comes back without what it had: it is filled again.
    redis.down();
    redis.forget();
    redis.up();
    change(&mut http, "a", 99);
    streamed_up_to(&mut http, 21);
    stream_is_whole(&redis, 21);

    // A service that has forgotten how far it was repeats nothing: the stream knows.
    assert_eq!(server.stop(), Some(0));
    redis.down();
    redis.up();
    let server = installation.start();
    let mut http = server.client();
    change(&mut http, "a", 100);
    streamed_up_to(&mut http, 22);
    stream_is_whole(&redis, 22);
}

#[test]
fn a_stream_of_somebody_else_is_left_alone() {
    let redis = Redis::start();
    let other = streaming(&redis);
    let mut server = other.start();
    change(&mut server.client(), "a", 0);
    streamed_up_to(&mut server.client(), 1);
    assert_eq!(server.stop(), Some(0));
    let mut installation = streaming(&redis);
    installation.set("MANDATE_EVENTS__REDIS_MAXLEN", "5000");
    let server = installation.start();
    let mut http = server.client();
    (0..3).for_each(|n| change(&mut http, "b", n));
    until("it is seen", || (sink(&mut http, "redis")["last_failure_kind"] == "other_history").then_some(()));
    stream_is_whole(&redis, 1);
    assert_eq!(redis.entries(STREAM)[0].1["subject"], "a");
    let _: () = redis::cmd("DEL").arg(STREAM).query(&mut redis.connection()).unwrap();
    streamed_up_to(&mut http, 3);
    stream_is_whole(&redis, 3);
}

/// SIGKILL while events are delivered: none is lost, and whoever drops repeats by `id` has the audit log of each site.
#[test]
fn no_event_is_lost_and_none_is_doubled_by_kills_at_any_moment() {
    let kills: u64 = std::env::var("MANDATE_KILLS").map_or(40, |text| text.parse().unwrap());
    let seed = 0xE0E0_0001;
    let redis = Redis::start();
    let mood = Mutex::new(Seeded::new(seed + 1));
    let receiver = Receiver::start(move |_| match mood.lock().unwrap().below(20) {
        0 => (503, String::new()),
        1 => (429, "retry-after: 0\r\n".to_owned()),
        _ => (204, String::new()),
    });
    let mut installation = telling(&receiver.url());
    installation
        .set("MANDATE_EVENTS__REDIS_URL", redis.url())
        .set("MANDATE_EVENTS__BACKOFF_MAX", "100ms")
        .set("MANDATE_LOG", "warn,mandate::cli=info");
    let sites = ["a", "b", "c", "d", "e"];
    let mut chance = Seeded::new(seed);
    let (mut n, mut waiting) = (0, 0);
    for _ in 0..kills {
        let mut server = installation.start();
        let mut http = server.client();
        for _ in 0..chance.below(12) {
            n += 1;
            let site: &str = chance.pick::<&str>(&sites);
            change(&mut http, site, n);
        }
        n += 1;
        let site: &str = chance.pick::<&str>(&sites);
        let in_flight = http.send(&change_of(site, n)).unwrap();
        // Not a wait for something to happen: the moment itself is what is drawn.
        let longest = if chance.chance(25) { 400_000 } else { 40_000 };
        let moment = Duration::from_micros(chance.below(longest));
        let sent = Instant::now();
        while sent.elapsed() < moment {
            std::hint::spin_loop();
        }
        server.kill();
        drop(in_flight);
    }
    let mut server = installation.start();
    let mut http = server.client();
    for sink_name in ["webhook", "redis"] {
        waiting += sink(&mut http, sink_name)["pending"].as_u64().unwrap();
        until("nothing is pending", || (sink(&mut http, sink_name)["pending"] == 0).then_some(()));
    }
    assert!(dead_letters(&mut http).is_empty());
    let taken: Vec<Received> = receiver.all().into_iter().filter(|received| received.answered < 300).collect();
    let mut seen = BTreeSet::new();
    let first: Vec<&Received> = taken.iter().filter(|received| seen.insert(received.id().to_owned())).collect();
    let mut last = 0;
    for site in sites {
        let written = audit(&mut http, site);
        let arrived: Vec<&&Received> = first.iter().filter(|received| received.subject() == site).collect();
        assert_eq!(
            arrived.iter().map(|received| received.seq()).collect::<Vec<_>>(),
            seqs(&written),
            "seed {seed:#x}: {site}"
        );
        for (event, received) in written.iter().zip(arrived) {
            assert_eq!(received.body["data"], event["data"]);
        }
        last = last.max(seqs(&written).last().copied().unwrap_or(0));
    }
    assert_eq!(first.len() as u64, last, "nothing that was never written");
    stream_is_whole(&redis, last);
    assert_eq!(server.stop(), Some(0));
    println!("{kills} kills: {last} events, {} repeats, {waiting} waited at the last start", taken.len() - first.len());
    // The control: the kills hit deliveries that were not noted yet, or the test shows nothing.
    assert!(taken.len() > first.len(), "no delivery was repeated: the kills hit nothing");
    installation.verify_audit();
}

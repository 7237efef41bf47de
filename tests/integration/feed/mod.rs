//! The change feed as server-sent events: what a caller's own cache must drop, with nothing missing, twice or out of order.
//!
//! What was streamed is compared with the pages of the same feed, which tests of their own compare with the log.

mod events;

use std::{
    io,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::events::{Refused, Stream};
use crate::{
    http::{Call, Client},
    replicas::{World, deed, flip},
    server::{Installation, Server, until},
    worlds,
};

/// The whole feed, page by page.
fn pages(client: &mut Client) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let page = client.get(&format!("/v1/changes?after={after}&limit=1000")).ok().json();
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return found,
        }
    }
}

fn revisions(changes: &[Value]) -> Vec<u64> {
    changes.iter().map(|change| change["revision"].as_u64().unwrap()).collect()
}

#[track_caller]
fn stream(server: &Server, path: &str, headers: &[(&str, &str)]) -> Stream {
    Stream::open(server.address(), path, headers).unwrap().unwrap_or_else(|refused| panic!("{refused:?}"))
}

#[track_caller]
fn refused(server: &Server, path: &str, headers: &[(&str, &str)]) -> Refused {
    Stream::open(server.address(), path, headers).unwrap().err().expect("refused")
}

#[test]
fn a_follower_is_told_of_everything_once_in_order_and_soon() {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    let mut client = server.client();
    let mut follower = stream(&server, "/v1/changes", &[]);
    for header in ["content-type: text/event-stream\r\n", "cache-control: no-store", "vary: accept", "x-request-id: "] {
        assert!(follower.head.contains(header), "{header}: {}", follower.head);
    }
    let head = client.head(0);
    assert_eq!(follower.changes_to(head), pages(&mut client), "what was before");
    let position = follower.until("position");
    assert_eq!((position.id, &position.data["revision"]), (head, &json!(head)));
    // A command; facts that no command is for; an account: each is told, and nothing else has happened.
    flip(&mut client, 0);
    client.put("/v1/sites/bakery", &json!({"domains": ["one.example"]})).ok();
    client.put("/v1/agencies/studio-north/members/zoe", &json!({"role": "member"})).ok();
    client.put("/v1/accounts/user:zoe", &json!({"status": "closing"})).ok();
    let end = client.head(head);
    assert!(end >= head + 3, "{end} after {head}");
    let told = follower.changes_to(end);
    let paged = client.get(&format!("/v1/changes?after={head}")).json();
    assert_eq!(json!(told), paged["items"]);
    for key in ["site:bakery", "agency:studio-north"] {
        assert!(told.iter().any(|change| change["key"] == key), "{key}: {told:?}");
    }
    // Resumed anywhere, the rest comes, by header, by query and by token; the header wins.
    let token = follower.until("position").data["token"].as_str().unwrap().to_owned();
    let old = position.data["token"].as_str().unwrap();
    let rest = revisions(&told);
    for (path, headers) in [
        (format!("/v1/changes?after={head}"), vec![]),
        (format!("/v1/changes?after={old}"), vec![]),
        ("/v1/changes".to_owned(), vec![("last-event-id", head.to_string())]),
        ("/v1/changes?after=0".to_owned(), vec![("last-event-id", old.to_owned())]),
        (format!("/v1/changes?after={token}"), vec![("last-event-id", head.to_string())]),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut again = stream(&server, &path, &headers);
        assert_eq!(revisions(&again.changes_to(end)), rest, "{path} {headers:?}");
    }
    let mut nothing_new = stream(&server, &format!("/v1/changes?after={token}"), &[]);
    assert_eq!(nothing_new.next().unwrap().unwrap().kind, "position", "who has everything hears that at once");
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    let mut client = server.client();
    let head = client.head(0);
    let future = (head + 1).to_string();
    let position = stream(&server, "/v1/changes", &[]).until("position");
    let token = position.data["token"].as_str().unwrap().to_owned();
    let another = Installation::with(&worlds::managed_story());
    let other = stream(&another.start(), "/v1/changes", &[]).until("position");
    let other = other.data["token"].as_str().unwrap().to_owned();
    for (path, headers, status, code) in [
        ("/v1/changes", vec![("last-event-id", "x")], 400, "invalid_header"),
        ("/v1/changes", vec![("last-event-id", "-1")], 400, "invalid_header"),
        ("/v1/changes", vec![("last-event-id", "1.0")], 400, "invalid_header"),
        ("/v1/changes", vec![("last-event-id", "99999999999999999999")], 400, "invalid_header"),
        ("/v1/changes", vec![("last-event-id", "1"), ("last-event-id", "2")], 400, "invalid_header"),
        ("/v1/changes", vec![("last-event-id", &token[..42])], 400, "invalid_header"),
        ("/v1/changes?after=x", vec![], 400, "invalid_query"),
        ("/v1/changes?after=%2B1", vec![], 400, "invalid_query"),
        ("/v1/changes?limit=5", vec![], 400, "invalid_query"),
        ("/v1/changes", vec![("accept", "text/html")], 406, "not_acceptable"),
        ("/v1/changes", vec![("last-event-id", future.as_str())], 409, "future_revision"),
        ("/v1/changes", vec![("last-event-id", other.as_str())], 409, "other_history"),
        (&format!("/v1/changes?after={future}"), vec![], 409, "future_revision"),
        (&format!("/v1/changes?after={other}"), vec![("last-event-id", "1")], 409, "other_history"),
        // A page is asked in the same words.
        (&format!("/v1/changes?after={future}"), vec![("accept", "application/json")], 409, "future_revision"),
        (&format!("/v1/changes?after={other}"), vec![("accept", "*/*")], 409, "other_history"),
    ] {
        let refused = refused(&server, path, &headers);
        assert_eq!((refused.status, refused.code.as_str()), (status, code), "{path} {headers:?}: {refused:?}");
    }
    // The controls: what differs in the one thing is served.
    for id in ["", "0", &head.to_string(), &token] {
        stream(&server, "/v1/changes", &[("last-event-id", id)]).until("position");
    }
    client.get(&format!("/v1/changes?after={token}")).ok();
    let head = client.call(&Call::new("HEAD", "/v1/changes").header("accept", "text/event-stream"));
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
    let page = client.get("/v1/changes").ok();
    assert_eq!(page.header("content-type"), Some("application/json"), "nobody gets a stream unasked");
    let api = client.get("/openapi.json").json();
    assert!(api["paths"]["/v1/changes"]["get"]["responses"]["200"]["content"]["text/event-stream"].is_object());
}

/// Follows wherever a server is, and resumes after the last id, until it has seen the revision `last`.
fn follow(address: &Mutex<Option<SocketAddr>>, last: &Mutex<Option<u64>>) -> (Vec<Value>, u32) {
    let (mut found, mut id, mut resumed) = (Vec::new(), None::<u64>, 0);
    loop {
        let Some(there) = *address.lock().unwrap() else { continue };
        let said = id.map(|id| id.to_string());
        let headers: Vec<(&str, &str)> = said.iter().map(|id| ("last-event-id", id.as_str())).collect();
        let Ok(opened) = Stream::open(there, "/v1/changes", &headers) else { continue };
        let mut stream = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
        resumed += 1;
        while let Ok(Some(event)) = stream.next() {
            if event.kind == "change" {
                found.extend(event.data["changes"].as_array().unwrap().iter().cloned());
            }
            if !event.kind.is_empty() {
                id = Some(event.id);
            }
            if last.lock().unwrap().is_some_and(|last| Some(last) <= id) {
                return (found, resumed);
            }
        }
    }
}

#[test]
fn after_a_crash_a_follower_goes_on_without_a_gap() {
    let installation = Installation::with(&worlds::story());
    let mut server = installation.start();
    let (address, last) = (Mutex::new(Some(server.address())), Mutex::new(None));
    let (found, resumed) = thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&address, &last));
        for round in 0..5 {
            // Somebody commits while the server is killed.
            let (mut client, done) = (server.client(), AtomicU64::new(0));
            thread::scope(|scope| {
                scope.spawn(|| {
                    for n in 0.. {
                        let call = crate::http::transition("bakery", &format!("crash-{round}-{n}"), &deed(n));
                        if client.try_call(&call).is_err() {
                            break;
                        }
                        done.store(n, Ordering::Release);
                    }
                });
                until("some commits", || (done.load(Ordering::Acquire) > 20 + round * 7).then_some(()));
                *address.lock().unwrap() = None;
                server.kill();
            });
            server = installation.start();
            *address.lock().unwrap() = Some(server.address());
        }
        let mut client = server.client();
        client.put("/v1/sites/bakery", &json!({"published": true})).ok();
        client.put("/v1/sites/bakery", &json!({"published": false})).ok();
        *last.lock().unwrap() = Some(client.head(0));
        // One more, so that a follower that had everything already looks again.
        client.put("/v1/sites/bakery", &json!({"published": true})).ok();
        follower.join().unwrap()
    });
    let whole = pages(&mut server.client());
    assert!(resumed >= 3 && found.len() > 100, "resumed {resumed} times, {} changes", found.len());
    assert_eq!(found, whole[..found.len()], "a gap, a repetition, or another order");
    assert!(found.len() + 1 >= whole.len(), "the follower ended early");
}

#[test]
fn every_replica_tells_what_it_shows() {
    let mut world = World::new(2);
    let database = &world.database;
    assert!(database.ask("CREATE ROLE sidecar LOGIN; GRANT USAGE ON SCHEMA mandate TO sidecar").is_some());
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", database.url("mandate").replace("mandate@", "sidecar@"));
    installation.set("MANDATE_ROLE", "pdp");
    let grants = installation.run(&["grants", "--to", "sidecar"]);
    assert!(database.ask(&format!("SET search_path = mandate; {}", grants.out)).is_some());
    world.replicas.push(installation.start());
    let mut writer = world.replicas[0].client();
    let head = writer.head(0);
    let from = head.to_string();
    let open = |server: &Server| stream(server, "/v1/changes", &[("last-event-id", from.as_str())]);
    let mut followers: Vec<Stream> = world.replicas.iter().map(open).collect();
    for follower in &mut followers {
        assert_eq!(follower.until("position").id, head);
    }
    for n in 0..12 {
        let told = flip(&mut writer, n);
        let revision = told["revision"].as_u64().or_else(|| told["revision"].as_str()?.parse().ok()).unwrap();
        let begin = Instant::now();
        for (which, follower) in followers.iter_mut().enumerate() {
            let changes = follower.changes_to(revision);
            assert_eq!(changes.last().unwrap()["revision"], revision, "step {n}, replica {which}");
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "step {n}: told after {:?}", begin.elapsed());
    }
    // An agency that changes is told by a replica that did not change it.
    writer.put("/v1/agencies/studio-north/members/zoe", &json!({"role": "member"})).ok();
    let end = writer.head(head);
    for follower in &mut followers {
        assert!(follower.changes_to(end).iter().any(|change| change["key"] == "agency:studio-north"));
    }
    // One goes on at another replica with what the first one told.
    let mut elsewhere = stream(&world.replicas[1], "/v1/changes", &[("last-event-id", &(head + 5).to_string())]);
    assert_eq!(revisions(&elsewhere.changes_to(end)).first(), Some(&(head + 6)));
    // A replica that hears nothing from its database ends its streams rather than be silent, and refuses new ones.
    world.database.stop();
    for follower in &mut followers {
        let begin = Instant::now();
        while follower.next().unwrap().is_some() {}
        assert!(begin.elapsed() < Duration::from_secs(40));
    }
    let refused = refused(&world.replicas[1], "/v1/changes", &[("last-event-id", from.as_str())]);
    assert_eq!((refused.status, refused.code.as_str()), (503, "stale_lease"), "{refused:?}");
    assert!(refused.head.contains("retry-after: "));
    world.database.start_again();
    until("it streams again", || Stream::open(world.replicas[1].address(), "/v1/changes", &[]).unwrap().ok());
}

#[test]
fn a_thousand_quick_changes_reach_everybody() {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    let mut client = server.client();
    let begin = client.head(0);
    let mut followers: Vec<Stream> = (0..4).map(|_| stream(&server, "/v1/changes", &[])).collect();
    let end = thread::scope(|scope| {
        let mut late = followers.split_off(1);
        let quick = followers.remove(0);
        let reader = scope.spawn(move || {
            let mut quick = quick;
            quick.changes_to(begin + 1_000)
        });
        for n in 0..1_000 {
            flip(&mut client, n);
        }
        let whole = pages(&mut client);
        assert_eq!(reader.join().unwrap(), whole, "who reads at once");
        for follower in &mut late {
            assert_eq!(follower.changes_to(begin + 1_000), whole, "who reads when all is over");
        }
        client.head(begin)
    });
    assert_eq!(end, begin + 1_000);
}

/// Streams that nobody reads, on a log that is larger than all of a connection's buffers.
const BLOCKED: usize = 60;

#[test]
fn who_reads_nothing_costs_one_page_and_is_cut_and_resumes() {
    let mut installation = Installation::with(&worlds::story());
    installation.set("MANDATE_LIMITS__IDLE", "3s").set("MANDATE_LIMITS__PAGE", "10");
    let server = installation.start();
    let mut client = server.client();
    for n in 0..800 {
        let names: Vec<String> = (n..n + 95).map(|n| format!("{}{n}.example", "d".repeat(50))).collect();
        client.put("/v1/sites/bakery", &json!({ "domains": names })).ok();
    }
    let (head, before) = (client.head(0), server.resident_kb());
    let mut whole = stream(&server, "/v1/changes", &[]);
    let size: usize = whole.changes_to(head).iter().map(|change| change.to_string().len()).sum();
    assert!(size > 4_000_000, "the log is {size} bytes: too small to tell");
    let mut blocked: Vec<Stream> = (0..BLOCKED).map(|_| stream(&server, "/v1/changes", &[])).collect();
    blocked.iter().for_each(Stream::take_little);
    let mut most = 0;
    until("they are cut", || {
        most = most.max(server.resident_kb());
        let port = server.address().port();
        blocked.iter().all(|stream| !established(port, stream.port())).then_some(())
    });
    // Each holds a page and what the connection buffers; the log for each of them would be four times the bound.
    assert!(most < before + 60_000, "{before} KiB before, {most} KiB with {BLOCKED} streams");
    let mut id = 0;
    let broken = loop {
        match blocked[0].next() {
            Ok(Some(event)) => id = id.max(event.id),
            Ok(None) => break None,
            Err(error) => break Some(error.kind()),
        }
    };
    assert!(broken.is_some() && id < head, "it was told that this is all, at {id} of {head}");
    let mut resumed = stream(&server, "/v1/changes", &[("last-event-id", &id.to_string())]);
    let rest = revisions(&resumed.changes_to(head));
    let all: Vec<u64> = revisions(&pages(&mut server.client())).into_iter().filter(|revision| *revision > id).collect();
    assert_eq!(rest, all, "after {id}");
    assert_eq!(whole.until("position").id, head, "who reads was never cut");
}

/// Whether the server still holds its end of a connection.
fn established(server: u16, client: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        cells[1].ends_with(&format!(":{server:04X}"))
            && cells[2].ends_with(&format!(":{client:04X}"))
            && cells[3] == "01"
    })
}

#[test]
fn a_quiet_stream_stays_open() {
    let mut installation = Installation::with(&worlds::story());
    installation.set("MANDATE_LIMITS__IDLE", "2s");
    let server = installation.start();
    let mut follower = stream(&server, "/v1/changes", &[]);
    follower.until("position");
    let begin = Instant::now();
    assert_eq!(follower.next().unwrap().unwrap().kind, "", "a comment");
    let waited = begin.elapsed();
    assert!(waited > Duration::from_secs(10) && waited < Duration::from_secs(25), "{waited:?}");
    flip(&mut server.client(), 0);
    assert_eq!(follower.next().unwrap().unwrap().kind, "change", "it is as good as new");
}

#[test]
fn only_so_many_follow_at_once() {
    let mut installation = Installation::with(&worlds::story());
    installation.set("MANDATE_LIMITS__STREAMS", "40");
    let server = installation.start();
    let mut open: Vec<Stream> = (0..40).map(|_| stream(&server, "/v1/changes", &[])).collect();
    let refused = refused(&server, "/v1/changes", &[]);
    assert_eq!((refused.status, refused.code.as_str()), (503, "too_many_streams"), "{refused:?}");
    assert!(refused.head.contains("retry-after: 5"), "{refused:?}");
    // Pages and commands go on, and a HEAD takes no place.
    let mut client = server.client();
    client.get("/v1/changes").ok();
    flip(&mut client, 0);
    for follower in &mut open {
        assert_eq!(follower.until("change").kind, "change");
    }
    // Whoever goes makes room.
    drop(open.pop());
    let back = until("there is room", || Stream::open(server.address(), "/v1/changes", &[]).unwrap().ok());
    drop(back);
}

#[test]
fn the_end_of_the_server_is_the_end_of_its_streams() {
    let installation = Installation::with(&worlds::story());
    let mut server = installation.start();
    let mut open: Vec<Stream> = (0..10).map(|_| stream(&server, "/v1/changes", &[])).collect();
    for follower in &mut open {
        follower.until("position");
    }
    let begin = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "the drain waited for streams: {:?}", begin.elapsed());
    for follower in &mut open {
        let end = follower.next();
        assert!(matches!(&end, Ok(None)), "ended as it should: {end:?}");
    }
    assert!(!server.log().contains("cut connections"), "{}", server.log());
}

/// `examples/follow-changes.sh` is what a caller begins with.
#[test]
fn the_example_follows() {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    let mut client = server.client();
    let head = client.head(0);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/follow-changes.sh");
    let mut child = std::process::Command::new("sh")
        .args([script, &format!("http://{}", server.address()), &head.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = io::BufRead::lines(io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), format!("at {head}"));
    flip(&mut client, 0);
    assert_eq!(lines.next().unwrap().unwrap(), "drop site:bakery");
    client.put("/v1/agencies/studio-north/members/zoe", &json!({"role": "member"})).ok();
    let dropped = lines.find(|line| line.as_ref().unwrap().starts_with("drop agency")).unwrap().unwrap();
    assert_eq!(dropped, "drop agency:studio-north");
    child.kill().unwrap();
    child.wait().unwrap();
}

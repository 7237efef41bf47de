//! `mandate canary` against real replicas, and against one that answers from before: does it notice?

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use crate::{
    http::{Call, Client},
    program::{Run, program},
    replicas::World,
    server::{Installation, Server, until},
    worlds,
};

/// Runs it to its end.
fn canary(installation: &Installation, server: &Server, words: &[&str]) -> (Run, Vec<Value>, Value) {
    let url = format!("http://{}", server.address());
    let done = installation.run(&[&["canary", "--server", &url], words].concat());
    let mut lines: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap_or_default()["summary"].clone();
    (done, lines, summary)
}

fn outcomes(line: &Value) -> Vec<&str> {
    line["replicas"].as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect()
}

/// Enters a replica that nobody runs into the registry.
fn register(world: &World, address: SocketAddr) {
    let sql = format!(
        "INSERT INTO mandate.replica (id, epoch, timeline, applied, max_stale_ms, renewed_at, address, build)
         VALUES ('planted', '', '', 0, 1500, 0, '{address}', '0')"
    );
    assert!(world.database.ask(&sql).is_some());
}

/// Answers everything with the same.
pub fn answering(status: &'static str, revision: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while connection.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = said.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = connection.read_exact(&mut vec![0; length]);
            let _ = connection.get_mut().write_all(
                format!(
                    "HTTP/1.1 {status}\r\nrevision: {revision}\r\ncontent-type: application/json\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            );
        }
    });
    address
}

#[test]
fn three_healthy_replicas_are_fresh_and_nobody_else_is_touched() {
    let world = World::new(3);
    let before = world.replicas[0].client().get("/v1/sites/bakery").json();
    let (done, lines, summary) = canary(&world.installation, &world.replicas[0], &["--flips", "12"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(lines.len(), 12);
    for (n, line) in lines.iter().enumerate() {
        // On a busy machine one may have no lease for a moment.
        assert!(outcomes(line).iter().all(|outcome| matches!(*outcome, "fresh" | "refused")), "{line}");
        assert_eq!((outcomes(line).len(), &line["allowed"]), (3, &json!(n % 2 == 0)), "{line}");
    }
    assert!(summary["fresh"].as_u64().unwrap() > 24 && summary["stale"] == 0, "{summary}");
    assert_eq!(world.replicas[1].client().get("/v1/sites/bakery").json(), before);
    // It goes on where it was, from another server, and while another one runs.
    let two: Vec<Run> = thread::scope(|scope| {
        let run = |which: usize| canary(&world.installation, &world.replicas[which], &["--flips", "8"]).0;
        let (one, other) = (scope.spawn(move || run(1)), scope.spawn(move || run(2)));
        vec![one.join().unwrap(), other.join().unwrap()]
    });
    for done in two {
        assert!(done.code == Some(0) || done.code == Some(1), "never stale because of each other: {done:?}");
    }
}

#[test]
fn a_replica_that_answers_from_before_is_noticed() {
    let world = World::new(2);
    register(&world, answering("200 OK", "1", "{\"decision\":true}"));
    let (done, lines, summary) = canary(&world.installation, &world.replicas[0], &["--flips", "2"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    for line in &lines {
        let old = line["replicas"].as_array().unwrap().iter().find(|one| one["id"] == "planted").unwrap();
        assert_eq!((&old["outcome"], &old["revision"]), (&json!("stale"), &json!(1)), "{line}");
        assert_eq!(old["detail"]["not_before"], line["revision"], "{line}");
        assert_eq!(old["detail"]["answer"]["decision"], true, "{line}");
        assert!(old["detail"]["registry_now"]["renewed_ms_ago"].is_u64(), "{line}");
    }
    assert_eq!(summary["stale"], 2, "whether what it says happens to be right or not: {summary}");
}

#[test]
fn an_answer_that_is_wrong_is_stale_whatever_its_revision() {
    let world = World::new(1);
    register(&world, answering("200 OK", "999999", "{\"decision\":true}"));
    let (done, lines, summary) = canary(&world.installation, &world.replicas[0], &["--flips", "2"]);
    assert_eq!((done.code, &summary["stale"]), (Some(2), &json!(1)), "{done:?}");
    assert!(outcomes(&lines[1]).contains(&"stale") && !outcomes(&lines[0]).contains(&"stale"), "{lines:?}");
}

#[test]
fn who_cannot_be_asked_is_never_fresh() {
    let mut world = World::new(3);
    register(&world, answering("503 Service Unavailable", "1", "{\"code\":\"stale_lease\"}"));
    world.replicas[2].kill();
    let pid = world.replicas[1].pid().to_string();
    assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    let (done, lines, summary) = canary(&world.installation, &world.replicas[0], &["--once"]);
    assert!(Command::new("kill").args(["-CONT", &pid]).status().unwrap().success());
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut found = outcomes(&lines[0]);
    found.sort_unstable();
    assert_eq!(found, ["fresh", "refused", "unreachable", "unreachable"], "{lines:?}");
    assert_eq!((&summary["unreachable"], &summary["refused"]), (&json!(2), &json!(1)), "{summary}");
    // When nobody can be asked, that is no success.
    let nobody = world.installation.run(&["canary", "--server", "http://127.0.0.1:1", "--once"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("no answer"), "{nobody:?}");
}

#[test]
fn whoever_might_answer_for_another_is_not_asked() {
    let world = World::new(2);
    let register = |id: &str, address: &str, renewed: &str| {
        let sql = format!(
            "INSERT INTO mandate.replica (id, epoch, timeline, applied, max_stale_ms, renewed_at, address, build)
             VALUES ('{id}', '', '', 0, 1500, {renewed}, '{address}', '0')"
        );
        assert!(world.database.ask(&sql).is_some());
    };
    let now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    register("everywhere", "0.0.0.0:8443", now);
    register("beside", &world.replicas[1].address().to_string(), now);
    // One that died long ago where another one has begun since.
    register("before", &world.replicas[0].address().to_string(), "0");
    let (done, lines, _) = canary(&world.installation, &world.replicas[0], &["--once"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let of = |id: &str| lines[0]["replicas"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone();
    for (id, why) in [("everywhere", "every address"), ("before", "another replica")] {
        let told = of(id);
        assert!(told["outcome"] == "unreachable" && told["detail"]["error"].as_str().unwrap().contains(why), "{told}");
    }
    let mut found = outcomes(&lines[0]);
    found.sort_unstable();
    assert_eq!(found.len(), 5, "{lines:?}");
    assert!(found.contains(&"fresh"), "{lines:?}");
}

#[test]
fn one_process_alone_is_asked_as_well() {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    let (done, lines, _) = canary(&installation, &server, &["--flips", "5", "--every", "1ms"]);
    assert_eq!((done.code, lines.len()), (Some(0), 5), "{done:?}");
    assert!(lines.iter().all(|line| outcomes(line) == ["fresh"]), "{lines:?}");
    assert_eq!(server.client().get("/v1/replicas").ok().json()["items"], json!([]));
    for wrong in [vec!["--flips", "0"], vec!["--once", "--flips", "2"], vec!["--every", "soon"]] {
        assert_eq!(canary(&installation, &server, &wrong).0.code, Some(64), "{wrong:?}");
    }
    // A site of that name that is somebody's is left alone.
    let theirs = Installation::with(&worlds::story());
    let server = theirs.start();
    let facts = json!({"mode": "self_managed", "owner": "user:maria", "plan": {"tier": "free"}});
    server.client().put("/v1/sites/mandate-canary", &facts).ok();
    let refused = canary(&theirs, &server, &["--once"]).0;
    assert!(refused.code == Some(1) && refused.err.contains("somebody else"), "{refused:?}");
}

#[test]
fn it_goes_on_until_it_is_stopped_and_shows_metrics() {
    let installation = Installation::with(&worlds::story());
    let server = installation.start();
    let url = format!("http://{}", server.address());
    let mut child = program(installation.folder())
        .args(["canary", "--server", &url, "--every", "20ms", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address =
        said.trim().strip_prefix("metrics at http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap();
    let mut metrics = Client::new(address.parse().unwrap());
    let page = until("five changes are counted", || {
        let page = metrics.call(&Call::new("GET", "/metrics")).ok().text();
        let count = page.lines().find_map(|line| line.strip_prefix("mandate_canary_checks_total ")).unwrap();
        (count.parse::<u64>().unwrap() >= 5).then_some(page)
    });
    for line in [
        "mandate_canary_stale_total 0",
        "mandate_canary_unreachable_total{outcome=\"unreachable\"} 0",
        "mandate_canary_effective_seconds_count ",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(lines.len() > 5 && lines.last().unwrap().contains("summary"), "{lines:?}");
}

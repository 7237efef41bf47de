//! Revision tokens: a caller who keeps one notices when the system of record has lost what it was told.

use serde_json::json;

use crate::{
    http::{Answer, Call, Client, now_s, transition},
    replicas::{World, lea_may},
    server::{Installation, until},
    worlds,
};

fn ask(client: &mut Client, token: &str) -> Answer {
    let question = json!({"subject": {"type": "user", "id": "maria"}, "action": {"name": "ViewSite"},
        "resource": {"type": "site", "id": "bakery"}});
    let call = Call::new("POST", "/access/v1/evaluation").json(&question);
    client.call(&if token.is_empty() { call } else { call.header("at-least-as-fresh", token) })
}

fn token(answer: &Answer) -> String {
    answer.header("revision-token").unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
}

/// Gives (even) or takes (odd) Lea's role on Maria's bakery.
fn change(client: &mut Client, n: u64) -> Answer {
    let (command, mut body) = match n % 2 {
        0 => ("grant_role", json!({"role": "WebsiteManager"})),
        _ => ("revoke_role", json!({})),
    };
    for (name, value) in [("actor", json!("user:maria")), ("auth_time", json!(now_s())), ("user", json!("user:lea"))] {
        body[name] = value;
    }
    body["command"] = json!(command);
    client.call(&transition("bakery", &format!("change-{n}"), &body)).ok()
}

#[test]
fn a_token_is_as_good_as_the_history_it_is_of() {
    let installation = Installation::with(&worlds::story());
    let mut server = installation.start();
    let mut client = server.client();
    let before = token(&ask(&mut client, ""));
    let told = token(&change(&mut client, 0));
    assert_ne!(before, told);
    assert_eq!(token(&ask(&mut client, &told)), told, "a check and the change before it are at one revision");
    assert_eq!(ask(&mut client, &before).status, 200, "an older one is reached as well");
    assert_eq!(ask(&mut client, &told[..42]).code(), "invalid_header");
    // Another chain at that revision: what a failover that lost commits leaves.
    let other = format!("{}{}", &told[..34], if &told[34..] == "AAAAAAAAA" { "BBBBBBBBA" } else { "AAAAAAAAA" });
    let lost = ask(&mut client, &other);
    assert_eq!((lost.status, lost.code().as_str()), (409, "lost_commits"), "{lost}");
    assert!(server.log().contains("lost_commits"), "an operator is told");

    // A backup of now, then one more change, then the backup again: the change is gone.
    assert_eq!(server.stop(), Some(0));
    let (database, copy) = (installation.database(), installation.folder().join("copy.db"));
    std::fs::copy(&database, &copy).unwrap();
    let mut server = installation.start();
    let mut client = server.client();
    let gone = token(&change(&mut client, 1));
    assert_eq!(server.stop(), Some(0));
    for left in ["mandate.db-wal", "mandate.db-shm"] {
        let _ = std::fs::remove_file(database.with_file_name(left));
    }
    std::fs::copy(&copy, &database).unwrap();
    // Somebody forgot to say so: the token tells, at once and after another change has taken the revision.
    let mut server = installation.start();
    let mut client = server.client();
    assert_eq!(ask(&mut client, &told).status, 200, "what the backup has is there");
    assert_eq!(ask(&mut client, &gone).code(), "lost_commits");
    change(&mut client, 3);
    assert_eq!(ask(&mut client, &gone).code(), "lost_commits");
    // Said as it should be: tokens from before are of another history.
    let refused = installation.run(&["restore"]);
    assert_ne!(refused.code, Some(0), "not beside a running server");
    assert_eq!(server.stop(), Some(0));
    let done = installation.run(&["restore"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let said: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_ne!(said["epoch"], said["epoch_before"]);
    let server = installation.start();
    let mut client = server.client();
    for token in [&told, &gone, &before] {
        let answer = ask(&mut client, token);
        assert_eq!((answer.status, answer.code().as_str()), (409, "other_history"), "{answer}");
    }
    let now = token(&change(&mut client, 4));
    assert_eq!(ask(&mut client, &now).status, 200);
    installation.verify_audit();
}

#[test]
fn replicas_go_on_in_the_history_that_a_restore_begins() {
    let world = World::new(2);
    let mut clients = [world.replicas[0].client(), world.replicas[1].client()];
    let before = token(&change(&mut clients[0], 0));
    assert_eq!(ask(&mut clients[1], &before).status, 200);
    let done = world.installation.run(&["restore"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    for client in &mut clients {
        // With its next poll.
        let refused = until("it knows of the new history", || Some(ask(client, &before)).filter(|it| it.status != 200));
        assert_eq!((refused.status, refused.code().as_str()), (409, "other_history"), "{refused}");
        until("it answers in the new history", || (ask(client, "").status == 200).then_some(()));
    }
    let told = change(&mut clients[1], 1);
    assert_eq!(told.json()["status"], "effective", "{told}");
    for client in &mut clients {
        assert!(!until("it answers", || lea_may(client)));
        assert_eq!(ask(client, &token(&told)).status, 200);
    }
    world.installation.verify_audit();
}

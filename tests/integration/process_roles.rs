//! A process that only decides: no route and no right in the database to change who may do what. And how replicas read.

use serde_json::{Value, json};

use crate::{
    http::Client,
    replicas::{World, deed, flip, lea_may, postgres::Postgres},
    server::{Installation, Server, until},
    worlds,
};

/// What a statement as another role than the owner says: none when it is refused.
fn ask_as(database: &Postgres, role: &str, sql: &str) -> Option<String> {
    database.ask(&format!("SET ROLE {role}; SET search_path = mandate; {sql}"))
}

#[test]
fn a_process_that_decides_cannot_make_roles() {
    let world = World::new(1);
    let database = &world.database;
    assert!(database.ask("CREATE ROLE sidecar LOGIN; GRANT USAGE ON SCHEMA mandate TO sidecar").is_some());
    let mut installation = Installation::new();
    let url = database.url("mandate").replace("mandate@", "sidecar@");
    installation.set("MANDATE_DATABASE_URL", url).set("MANDATE_ROLE", "pdp");
    let early = installation.try_start().err().expect("without rights").log;
    assert!(early.contains("mandate grants"), "{early}");
    let grants = installation.run(&["grants", "--to", "sidecar"]);
    assert!(database.ask(&format!("SET search_path = mandate; {}", grants.out)).is_some(), "{}", grants.out);
    let decides = installation.start();

    let (mut control, mut pdp) = (world.replicas[0].client(), decides.client());
    for n in 0..6 {
        let told = flip(&mut control, n);
        assert_eq!(told["acks"], "all", "it is registered and waited for: {told}");
        assert_eq!(until("it answers", || lea_may(&mut pdp)), n.is_multiple_of(2));
    }
    for (method, path) in [
        ("POST", "/v1/sites/bakery/transitions"),
        ("PUT", "/v1/sites/bakery"),
        ("PUT", "/v1/agencies/studio-north"),
        ("DELETE", "/v1/agencies/studio-north/members/bo"),
        ("GET", "/v1/sites/bakery/access"),
    ] {
        let refused = pdp.call(&crate::http::Call::new(method, path).json(&deed(7)));
        assert_eq!((refused.status, refused.code().as_str()), (404, "not_served_here"), "{method} {path}: {refused}");
    }
    assert_eq!(pdp.get("/v1/changes").status, 200, "callers' caches are told");

    // Whoever has the process has its password: the database is the wall.
    let theft = [
        "INSERT INTO contributor VALUES ('bakery', 'eve', 'CoOwner', 'user:maria', 'client', 1)",
        "UPDATE site SET owner = 'user:eve'",
        "UPDATE head SET revision = revision + 1",
        "DELETE FROM audit",
        "UPDATE lease SET ttl_ms = 60000, ttl_max_ms = 60000",
        "SELECT * FROM transition",
        "CREATE TABLE mandate.mine (id int)",
        "SELECT nextval('transition_n_seq')",
        "INSERT INTO replica (id, epoch, timeline, applied, max_stale_ms, renewed_at, address, build, owner)
            VALUES ('x', '', '', 0, 1, 0, '', '', 'mandate')",
    ];
    for sql in theft {
        assert_eq!(ask_as(database, "sidecar", sql), None, "{sql}");
        assert!(
            sql.contains("INSERT")
                || database.ask(&format!("BEGIN; SET LOCAL search_path = mandate; EXPLAIN {sql}")).is_some()
                || sql.contains("CREATE"),
            "the control: the owner could: {sql}"
        );
    }
    assert_eq!(ask_as(database, "sidecar", "SELECT count(*) FROM replica").unwrap(), "2", "it sees them all");
    let others = "WITH moved AS (UPDATE replica SET applied = 999 RETURNING 1) SELECT count(*) FROM moved";
    assert_eq!(ask_as(database, "sidecar", others).unwrap(), "1", "and changes its own only");
    // A process that takes commands decides nothing.
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", database.url("mandate")).set("MANDATE_ROLE", "control");
    let commands = installation.start();
    let refused = commands.client().post("/access/v1/evaluation", &json!({}));
    assert_eq!((refused.status, refused.code().as_str()), (404, "not_served_here"), "{refused}");
    flip(&mut commands.client(), 8);
    let mut alone = Installation::new();
    alone.set("MANDATE_ROLE", "pdp");
    assert!(alone.try_start().err().expect("refused").log.contains("`role` is for many replicas"));
}

#[test]
fn a_replica_that_verifies_asks_for_each_answer() {
    let mut world = World::with(1, &[]);
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", world.database.url("mandate")).set("MANDATE_READS", "verify");
    let verifies: Server = installation.start();
    let (mut writer, mut reader) = (world.replicas[0].client(), verifies.client());
    for n in 0..20 {
        // Nobody waits for it: what is committed is seen all the same.
        let body = deed(n);
        let call = crate::http::transition("bakery", &format!("verify-{n}"), &body).header("prefer", "wait=0");
        assert!(writer.call(&call).status < 300);
        assert_eq!(until("it answers", || lea_may(&mut reader)), n.is_multiple_of(2), "step {n}");
    }
    world.database.stop();
    // No lease is waited for: the first question that cannot be verified is refused.
    let refused = ask(&mut reader);
    assert_eq!(refused.0, 503, "{refused:?}");
    world.database.start_again();
    until("it answers again", || (ask(&mut reader).0 == 200).then_some(()));
}

fn ask(client: &mut Client) -> (u16, Value) {
    let question = json!({"subject": {"type": "user", "id": "lea"}, "action": {"name": "EditContent"},
        "resource": {"type": "site", "id": "bakery"}});
    let answer = client.post("/access/v1/evaluation", &question);
    (answer.status, answer.json())
}

#[test]
fn a_change_on_one_server_is_said_to_be_that() {
    let world = World::new(1);
    let told = flip(&mut world.replicas[0].client(), 0);
    assert_eq!(told["durability"], "local", "{told}");
    let mut installation = Installation::new();
    installation.set("MANDATE_DATABASE_URL", world.database.url("mandate")).set("MANDATE_REQUIRE_REPLICATED", "true");
    let strict = installation.start();
    let refused = strict.client().call(&crate::http::transition("bakery", "strict", &deed(1)));
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_replicated"), "{refused}");
    assert_eq!(refused.json()["outcome"], "unknown", "{refused}");
    // It is committed all the same, and the key says so to whoever is content with one server.
    let again = world.replicas[0].client().call(&crate::http::transition("bakery", "strict", &deed(1))).ok();
    assert_eq!(again.json()["status"], "effective", "{again}");
    assert!(!until("it answers", || lea_may(&mut world.replicas[0].client())));
}

#[test]
fn tls_to_the_database_believes_the_systems_authorities_and_no_others() {
    let [folder, other] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    for folder in [&folder, &other] {
        crate::certificates::make(folder.path());
        // The server runs as somebody else.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let database = Postgres::start_with_tls(&folder.path().join("server.pem"), &folder.path().join("server.key"));
    let plain = database.url("mandate");
    let url = format!("{}&sslmode=require", plain.replace("127.0.0.1", "localhost"));
    let start = |url: &str, authority: &std::path::Path| {
        let mut installation = Installation::new();
        installation.set("MANDATE_DATABASE_URL", url).set("SSL_CERT_FILE", authority.join("ca.pem").to_str().unwrap());
        installation.set("SSL_CERT_DIR", "/nowhere");
        installation.import(&worlds::story());
        (installation.start(), installation)
    };
    let (server, _installation) = start(&url, folder.path());
    assert_eq!(server.client().get("/v1/sites/bakery").status, 200);
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'mandate'";
    assert_eq!(database.ask(encrypted).unwrap(), "t");
    for (url, authority) in [(url.clone(), other.path()), (url.replace("localhost", "127.0.0.1"), folder.path())] {
        let mut installation = Installation::new();
        installation.set("MANDATE_DATABASE_URL", &url).set("SSL_CERT_DIR", "/nowhere");
        installation.set("SSL_CERT_FILE", authority.join("ca.pem").to_str().unwrap());
        let refused = installation.try_start().err().expect("refused").log;
        assert!(refused.contains("certificate") && refused.contains("?sslmode=disable"), "{url}: {refused}");
    }
}

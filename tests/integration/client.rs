//! The client module against the real server: every kind of answer, and everything that is none.

use std::{net::TcpListener, time::Duration};

use authzen_rs::{EvaluationRequest, client::AuthZenClient};
use mandate::client::{Builder, Client, Entity, Error, Question, Semantic};

use crate::{
    canary::answering,
    replicas::World,
    secured::{KEY, KEYS, OFFICE, Secured, marias},
    server::{Installation, Server, until},
    worlds,
};

fn maria() -> Entity {
    Entity::user("maria")
}
fn asked(who: &str, action: &str) -> Question {
    Question::new(Entity::user(who), action, Entity::site("bakery"))
}
fn may_publish() -> Question {
    asked("maria", "PublishSite")
}
fn plain(server: &Server) -> Client {
    Client::builder(format!("http://{}", server.address())).build().unwrap()
}

#[track_caller]
fn refused(error: &Error, status: u16, code: &str) {
    assert!(matches!(error, Error::Refused(_)) && !error.may_pass(), "{error:?}");
    assert_eq!((error.status(), error.code()), (Some(status), Some(code)), "{error}");
    assert!(error.problem().unwrap().request_id.is_some(), "{error:?}");
}

#[test]
fn decisions_with_what_is_beside_them() {
    let installation = Installation::with(&worlds::managed_story());
    let server = installation.start();
    let client = plain(&server);
    let allow = client.evaluate(&may_publish()).unwrap();
    assert!(allow.is_allowed() && allow.explanation().is_none() && allow.obligations().is_empty());
    assert!(allow.revision().is_some_and(|revision| revision > 0));
    let stamp = allow.stamp();
    assert!(stamp.token.is_some() && stamp.decision_id.is_some() && stamp.request_id.is_some(), "{stamp:?}");
    assert!(stamp.policy_fingerprint.as_deref().is_some_and(|text| text.starts_with("sha256:")), "{stamp:?}");
    let why = client.evaluate(&may_publish().explained()).unwrap();
    let why = why.explanation().unwrap();
    assert_eq!((why.via.as_deref(), why.reason.as_deref()), (Some("seat"), None));
    assert!(why.policies.iter().all(|(id, doc)| !id.is_empty() && doc.ends_with('.')), "{why:?}");

    let deny = client.evaluate(&asked("eve", "PublishSite").explained()).unwrap();
    assert!(!deny.is_allowed());
    let why = deny.explanation().unwrap();
    assert_eq!(why.reason.as_deref(), Some("no_role"));
    assert!(why.missing.contains(&"role:Owner".to_owned()), "{why:?}");
    assert!(why.remedy.as_deref().is_some_and(|remedy| remedy.starts_with("You have no role")), "{why:?}");
    assert!(
        !client.evaluate(&Question::new(Entity::new("ship", "a b"), "Sail", Entity::site(""))).unwrap().is_allowed()
    );

    // What has to be done along with an allow comes unasked.
    let obliged = client.evaluate(&asked("dana", "UnpublishSite")).unwrap();
    assert!(obliged.is_allowed());
    let told: Vec<_> = obliged.obligations().iter().map(|one| (one.notify.as_str(), one.action.as_str())).collect();
    assert_eq!(told, [("client", "UnpublishSite")]);

    // A fresh sign-in makes the difference.
    let reclaim = asked("maria", "ReclaimSite");
    assert!(!client.evaluate(&reclaim).unwrap().is_allowed());
    let now = crate::http::now_s();
    assert!(client.evaluate(&reclaim.signed_in_at(now)).unwrap().is_allowed());
}

#[test]
fn a_batch_is_answered_at_one_revision_and_ends_as_it_was_told() {
    let installation = Installation::with(&marias());
    let server = installation.start();
    let client = plain(&server);
    let questions = [asked("maria", "EditContent"), asked("eve", "EditContent"), asked("maria", "PublishSite")];
    for (semantic, expected) in [
        (Semantic::ExecuteAll, &[true, false, true][..]),
        (Semantic::DenyOnFirstDeny, &[true, false]),
        (Semantic::PermitOnFirstPermit, &[true]),
    ] {
        let answers = client.evaluate_each(&questions, semantic).unwrap();
        let said: Vec<bool> = answers.each().iter().map(|one| one.as_ref().unwrap().is_allowed()).collect();
        assert_eq!(said, expected, "{semantic:?}");
        assert!(answers.stamp().revision.is_some());
        assert_eq!(answers.is_allowed(2), semantic == Semantic::ExecuteAll, "what was not asked is not allowed");
    }
    assert!(matches!(client.evaluate_each(&[], Semantic::ExecuteAll), Err(Error::Setup(_))));
    let many = vec![may_publish(); 51];
    refused(&client.evaluate_each(&many, Semantic::ExecuteAll).unwrap_err(), 413, "too_many_items");
}

#[test]
fn searches_page_by_page() {
    let installation = Installation::with(&marias());
    let mut server = installation.start();
    let client = plain(&server);
    let all = ["bakery", "brewery", "butchery"];
    for limit in [1, 2, 3, 100] {
        let sites: Result<Vec<_>, _> =
            client.search_resources(&maria(), "EditContent", "site").of(limit).results().collect();
        let sites = sites.unwrap();
        assert_eq!(sites.iter().map(|site| site.id.as_str()).collect::<Vec<_>>(), all, "{limit}");
        assert!(sites.iter().all(|site| site.kind == "site"));
    }
    let pages: Vec<_> = client.search_resources(&maria(), "EditContent", "site").of(1).map(Result::unwrap).collect();
    assert!(pages.len() >= 3 && pages.iter().all(|page| page.results.len() <= 1 && page.stamp.revision.is_some()));
    let people: Vec<_> = client.search_subjects("user", "EditContent", &Entity::site("bakery")).results().collect();
    assert_eq!(people, [Ok(Entity::user("jonas")), Ok(maria())]);
    let actions = |search: mandate::client::Pages<mandate::client::Action>| -> Vec<String> {
        search.results().map(|action| action.unwrap().name).collect()
    };
    let may = actions(client.search_actions(&maria(), &Entity::site("bakery")).of(7));
    assert!(may.contains(&"PublishSite".to_owned()) && !may.contains(&"TransferDomain".to_owned()), "{may:?}");
    let now = crate::http::now_s();
    let signed_in = actions(client.search_actions(&maria(), &Entity::site("bakery")).with("auth_time", now));
    assert!(signed_in.contains(&"TransferDomain".to_owned()), "{signed_in:?}");
    assert_eq!(client.search_resources(&maria(), "Sail", "ship").results().count(), 0);

    // What breaks off is not everything, and says so.
    let mut search = client.search_resources(&maria(), "EditContent", "site").of(1);
    assert!(search.next().unwrap().is_ok());
    server.kill();
    assert!(matches!(search.next(), Some(Err(Error::Unreachable { .. }))));
    assert!(search.next().is_none(), "an error is the last one");
}

#[test]
fn how_fresh_an_answer_is() {
    let installation = Installation::with(&marias());
    let server = installation.start();
    let client = plain(&server);
    let stamp = client.evaluate(&may_publish()).unwrap().stamp().clone();
    for client in [
        client.at_least_as_fresh(stamp.revision.unwrap()),
        client.at_least_as_fresh(stamp.token.as_deref().unwrap()),
        client.at_least_as_fresh(&stamp),
        client.fully_consistent(),
        client.fully_consistent().at_least_as_fresh(1),
    ] {
        assert!(client.evaluate(&may_publish()).unwrap().is_allowed());
        assert!(client.evaluate_each(&[may_publish()], Semantic::ExecuteAll).unwrap().is_allowed(0));
        assert_eq!(client.search_resources(&maria(), "EditContent", "site").results().count(), 3);
    }
    let nonsense = client.at_least_as_fresh("yesterday");
    refused(&nonsense.evaluate(&may_publish()).unwrap_err(), 400, "invalid_header");
    let future = client.at_least_as_fresh(999_999).evaluate(&may_publish()).unwrap_err();
    assert!(future.code().is_some(), "{future:?}");
    assert!(client.at_least_as_fresh("a\nb").evaluate(&may_publish()).is_err());
    // The one that was asked for is left as it was.
    assert!(client.evaluate(&may_publish()).unwrap().is_allowed());
}

#[test]
fn a_replica_that_cannot_decide_now_says_so() {
    let world = World::new(1);
    let client = plain(&world.replicas[0]);
    let first = until("it has its lease", || client.evaluate(&may_publish()).ok());
    assert!(first.is_allowed());
    let World { database, replicas, installation } = world;
    drop(database);
    let error = until("its lease is over", || client.evaluate(&may_publish()).err());
    assert!(matches!(error, Error::Unavailable(_)) && error.may_pass(), "{error:?}");
    assert_eq!(error.status(), Some(503));
    assert!(error.code().is_some() && !error.problem().unwrap().detail.is_empty(), "{error:?}");
    assert!(matches!(client.evaluate_each(&[may_publish()], Semantic::ExecuteAll), Err(Error::Unavailable(_))));
    drop((replicas, installation));
}

#[test]
fn what_is_no_answer_is_an_error() {
    let installation = Installation::with(&marias());
    let server = installation.start();
    let elsewhere = Client::builder(format!("http://{}/nowhere", server.address())).build().unwrap();
    refused(&elsewhere.evaluate(&may_publish()).unwrap_err(), 404, "not_found");
    refused(&plain(&server).metadata().unwrap_err(), 404, "not_configured");

    let nobody = Client::builder("http://127.0.0.1:1").build().unwrap();
    let error = nobody.evaluate(&may_publish()).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.may_pass() && error.status().is_none(), "{error:?}");
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let patient = Client::builder(silent).timeout(Duration::from_millis(50)).build().unwrap();
    assert!(matches!(patient.evaluate(&may_publish()), Err(Error::Unreachable { .. })));

    for (status, body, kind) in [
        ("200 OK", "<html>", "NotAnAnswer"),
        ("200 OK", "[true]", "NotAnAnswer"),
        ("200 OK", r#"{"decision":"true"}"#, "NotAnAnswer"),
        ("200 OK", "", "NotAnAnswer"),
        ("201 Created", r#"{"decision":true}"#, "Refused"),
        ("302 Found", r#"{"decision":true}"#, "Refused"),
        ("403 Forbidden", r#"{"decision":true}"#, "Refused"),
        ("429 Too Many Requests", "", "Unavailable"),
        ("500 Internal Server Error", r#"{"decision":true}"#, "Unavailable"),
        ("503 Service Unavailable", r#"{"code":"stale_lease"}"#, "Unavailable"),
    ] {
        let planted = Client::builder(format!("http://{}", answering(status, "1", body))).build().unwrap();
        let error = planted.evaluate(&may_publish()).unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{status} {body}: {error:?}");
    }
}

fn secured(settings: &[(&str, &str)]) -> (Secured, Builder) {
    let secured = Secured::start(settings);
    let builder = Client::builder(secured.url()).ca_file(secured.file("ca.pem"));
    (secured, builder)
}
fn ask(builder: Builder) -> Result<bool, Error> {
    Ok(builder.build()?.evaluate(&may_publish())?.is_allowed())
}

#[test]
fn a_key_over_tls() {
    let (server, builder) = secured(&[("MANDATE_AUTH", "api_key"), ("MANDATE_API_KEY", KEYS)]);
    assert_eq!(ask(builder.clone().bearer(KEY)), Ok(true));
    assert_eq!(ask(builder.clone().bearer(OFFICE.1)), Ok(true));
    for wrong in [builder.clone(), builder.clone().bearer("nobodys-key-at-all"), builder.clone().basic("shop", KEY)] {
        refused(&ask(wrong).unwrap_err(), 401, "unauthenticated");
    }
    // Whoever cannot prove to be the server is told nothing.
    let another = tempfile::tempdir().unwrap();
    crate::certificates::make(another.path());
    for wrong in [
        Client::builder(server.url()).bearer(KEY),
        Client::builder(server.url()).bearer(KEY).ca_file(another.path().join("ca.pem")),
        Client::builder(server.url().replace("localhost", "127.0.0.1")).bearer(KEY).ca_file(server.file("ca.pem")),
        Client::builder(server.url().replace("https", "http")).bearer(KEY),
    ] {
        let error = ask(wrong).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
    assert!(ask(Client::builder(server.url()).ca_file(server.file("ca.pem"))).unwrap_err().to_string().contains("401"));
    // Searches and batches go the same way.
    let client = builder.bearer(KEY).build().unwrap();
    assert_eq!(client.search_resources(&maria(), "EditContent", "site").of(1).results().count(), 3);
    assert!(client.evaluate_each(&[may_publish()], Semantic::ExecuteAll).unwrap().is_allowed(0));
}

#[test]
fn a_name_with_its_key() {
    let (_server, builder) = secured(&[("MANDATE_AUTH", "basic"), ("MANDATE_API_KEY", KEYS)]);
    assert_eq!(ask(builder.clone().basic("shop", KEY)), Ok(true));
    assert_eq!(ask(builder.clone().basic(OFFICE.0, OFFICE.1)), Ok(true));
    for wrong in [builder.clone().basic("shop", OFFICE.1), builder.clone().bearer(KEY), builder.clone()] {
        refused(&ask(wrong).unwrap_err(), 401, "unauthenticated");
    }
}

#[test]
fn a_client_certificate() {
    let (server, builder) = secured(&[("MANDATE_AUTH", "mtls"), ("MANDATE_TLS_CLIENT_CA", "CA_FILE")]);
    let shown = |folder: &std::path::Path| {
        builder.clone().client_certificate(folder.join("client.pem"), folder.join("client.key"))
    };
    let own = server.file("ca.pem").parent().unwrap().to_owned();
    assert_eq!(ask(shown(&own)), Ok(true));
    refused(&ask(builder.clone()).unwrap_err(), 401, "unauthenticated");
    let another = tempfile::tempdir().unwrap();
    crate::certificates::make(another.path());
    crate::certificates::sign(another.path(), "client", "URI:spiffe://tests/shop");
    let error = ask(shown(another.path())).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(matches!(ask(shown(std::path::Path::new("/nowhere"))), Err(Error::Setup(_))));
}

#[test]
fn discovery_believes_nobody_but_whom_it_asked_for() {
    let (server, builder) = secured(&[("MANDATE_AUTH", "api_key"), ("MANDATE_API_KEY", KEYS)]);
    let client = builder.clone().bearer(KEY).discover().unwrap();
    assert!(client.evaluate(&may_publish()).unwrap().is_allowed());
    assert_eq!(client.search_resources(&maria(), "EditContent", "site").results().count(), 3);
    let metadata = client.metadata().unwrap();
    assert_eq!(metadata.identifier, server.url());
    let expected = format!("{}/access/v1/evaluation", server.url());
    assert_eq!(metadata.endpoint(mandate::client::Endpoint::Evaluation), Some(expected.as_str()));
    // The same server under another name is another decision point.
    let other = Client::builder(format!("{}/", server.url())).ca_file(server.file("ca.pem"));
    assert!(matches!(other.discover(), Err(Error::OtherIdentity { .. })));
    let elsewhere = Client::builder(format!("{}/nowhere", server.url())).ca_file(server.file("ca.pem"));
    refused(&elsewhere.discover().unwrap_err(), 404, "not_found");
}

/// A policy domain is a decision point of its own: its base URL ends with its name.
#[test]
fn a_domain_is_asked_below_its_name() {
    let folder = tempfile::tempdir().unwrap();
    crate::domains::library(folder.path());
    let domains = format!("books={}", folder.path().display());
    let (server, builder) =
        secured(&[("MANDATE_DOMAINS", &domains), ("MANDATE_AUTH", "api_key"), ("MANDATE_API_KEY", KEYS)]);
    let at =
        |name: &str| Client::builder(format!("{}/{name}", server.url())).ca_file(server.file("ca.pem")).bearer(KEY);
    for books in [at("books").build().unwrap(), at("books").discover().unwrap()] {
        let read = |book: &str| Question::new(Entity::user("ann"), "read", Entity::new("book", book));
        assert!(books.evaluate(&read("b49")).unwrap().is_allowed());
        let denied = books.evaluate(&read("b50").explained()).unwrap();
        assert!(!denied.is_allowed() && denied.explanation().is_some(), "{denied:?}");
        assert_eq!(books.search_resources(&Entity::user("ann"), "read", "book").of(7).results().count(), 50);
        assert!(!books.evaluate(&may_publish()).unwrap().is_allowed(), "it knows no sites");
    }
    assert!(at("books").build().unwrap().metadata().unwrap().identifier.ends_with("/books"));
    assert!(at("films").discover().is_err());
    assert_eq!(ask(builder.bearer(KEY)), Ok(true));
}

/// Somebody else's client finds us by our own document, too.
#[test]
fn another_client_discovers_us() {
    let server = Secured::start(&[("MANDATE_AUTH", "api_key"), ("MANDATE_API_KEY", KEYS)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(server.file("ca.pem")).unwrap()).unwrap();
    let http = reqwest::Client::builder().add_root_certificate(ca).build().unwrap();
    runtime.block_on(async {
        let client = AuthZenClient::builder(server.url()).http_client(http).bearer_token(KEY).discover().build();
        let client = client.await.unwrap();
        let question = |who: &str| {
            EvaluationRequest::new(
                authzen_rs::Subject::new("user", who),
                authzen_rs::Action::new("PublishSite"),
                authzen_rs::Resource::new("site", "bakery"),
            )
        };
        assert!(client.evaluate(question("maria")).await.unwrap().allowed());
        assert!(!client.evaluate(question("eve")).await.unwrap().allowed());
    });
}

/// `check` and `canary` over TLS, with a key in the environment or on the command line.
#[test]
fn the_command_line_reaches_a_secured_server_as_a_client_does() {
    let mut server = Secured::start(&[("MANDATE_AUTH", "basic"), ("MANDATE_API_KEY", KEYS)]);
    let (url, ca) = (server.url(), server.file("ca.pem").to_str().unwrap().to_owned());
    let key = format!("{}:{}", OFFICE.0, OFFICE.1);
    let check = |installation: &Installation, who: &str, more: &[&str]| {
        installation.run(&[&["check", who, "PublishSite", "bakery", "--server", &url][..], more].concat())
    };
    let reach = ["--ca", &ca, "--key", &key];
    assert_eq!(check(&server.installation, "maria", &reach).code, Some(0));
    assert_eq!(check(&server.installation, "eve", &reach).code, Some(2));
    for (more, code, why) in [
        (&["--ca", &ca][..], 1, "401"),
        (&["--ca", &ca, "--key", "shop:no-key-of-the-shop"], 1, "401"),
        (&["--key", &key], 1, "no answer"),
        (&["--ca", "/nowhere", "--key", &key], 64, "/nowhere"),
        (&["--client-cert", &ca], 64, "--client-key"),
        (&["--ca", &ca, "--key", ":"], 64, "NAME:KEY"),
    ] {
        let done = check(&server.installation, "maria", more);
        assert!(done.code == Some(code) && done.err.contains(why), "{more:?}: {done:?}");
        assert!(!done.err.contains(OFFICE.1), "a key is never shown: {done:?}");
    }
    server.installation.set("MANDATE_KEY", &key).set("MANDATE_CA", &ca);
    assert_eq!(check(&server.installation, "maria", &[]).code, Some(0));
    let done = server.installation.run(&["canary", "--server", &url, "--flips", "2"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    // A server takes none of that for a setting.
    server.server.kill();
    server.server = server.installation.start();
    assert_eq!(check(&server.installation, "maria", &[]).code, Some(0));
}

/// The canary asks every replica at its own address, and each has to prove that it is the server.
#[test]
fn the_canary_asks_replicas_behind_tls() {
    let folder = tempfile::tempdir().unwrap();
    crate::certificates::make(folder.path());
    // Good for the name, and for no address: what replicas of one service have.
    crate::certificates::sign(folder.path(), "named", "DNS:localhost");
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let world = World::with(
        3,
        &[
            ("MANDATE_TLS_CERT", &file("named.pem")),
            ("MANDATE_TLS_KEY", &file("named.key")),
            ("MANDATE_AUTH", "api_key"),
            ("MANDATE_API_KEY", KEYS),
        ],
    );
    let url = format!("https://localhost:{}", world.replicas[0].address().port());
    let ca = file("ca.pem");
    let canary = |more: &[&str]| {
        let words = [&["canary", "--server", &url, "--key", KEY, "--flips", "4"][..], more].concat();
        world.installation.run(&words)
    };
    let done = canary(&["--ca", &ca]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.lines().last().unwrap().contains("\"unreachable\":0"), "{}", done.out);
    let outcomes =
        done.out.matches("\"outcome\":\"fresh\"").count() + done.out.matches("\"outcome\":\"refused\"").count();
    assert_eq!(outcomes, 12, "{}", done.out);
    assert_eq!(canary(&[]).code, Some(1), "nobody is believed without the authority");
}

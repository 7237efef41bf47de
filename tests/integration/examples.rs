//! The callers of `examples/callers`, each as its reader would run it, against the real server: plain, and over TLS with a
//! key. All of them say the same lines, and none of them says a deny where there was no answer.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    canary::answering,
    program::{Run, example},
    secured::{KEY, KEYS, OFFICE, Secured, marias},
    server::Installation,
};

/// The callers that ask over http, too.
const CALLERS: [&str; 4] = ["caller.sh", "caller.py", "caller.mjs", "caller"];
/// The caller with somebody else's client, which asks over https only.
const THIRD_PARTY: &str = "caller-authzen-rs";

const MARIAS: &str = "\
maria PublishSite bakery: allow
maria EditContent bakery: allow
maria InviteContributor bakery: allow
maria ManagePayouts bakery: deny
maria may edit bakery
maria may edit brewery
maria may edit butchery
maria may edit 3 sites
";
const EVES: &str = "\
eve PublishSite bakery: deny (no_role)
eve EditContent bakery: deny
eve InviteContributor bakery: deny
eve ManagePayouts bakery: deny
eve may edit 0 sites
";

/// A program that an example is written for.
fn needed(program: &str) -> Command {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    assert!(
        found.is_ok_and(|found| found.status.success()),
        "`{program}` is needed for this test: `make tools` installs it"
    );
    Command::new(program)
}

fn command(caller: &str) -> Command {
    let source = || Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/callers").join(caller);
    let script = |program: &str| {
        let mut command = needed(program);
        command.arg(source());
        command
    };
    match caller {
        "caller.sh" => {
            needed("curl");
            needed("jq");
            script("bash")
        }
        "caller.py" => script("python3"),
        "caller.mjs" => {
            let mut node = needed("node");
            let has_fetch = node.args(["--eval", "process.exit(typeof fetch === 'function' ? 0 : 1)"]).status();
            assert!(has_fetch.unwrap().success(), "a node with `fetch` is needed for this test: version 18 or newer");
            script("node")
        }
        "caller" => Command::new(example(caller, &["callers/caller.rs"])),
        THIRD_PARTY => Command::new(example(caller, &["callers/authzen_rs.rs"])),
        other => panic!("there is no caller {other}"),
    }
}

/// Runs a caller for this person, with this server, authority and key.
fn run(caller: &str, person: Option<&str>, server: &str, ca: Option<&PathBuf>, key: Option<&str>) -> Run {
    let mut command = command(caller);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MANDATE_")) {
        command.env_remove(name);
    }
    command.args(person).env("MANDATE_SERVER", server).stdin(Stdio::null());
    if let Some(ca) = ca {
        command.env("MANDATE_CA", ca).env("NODE_EXTRA_CA_CERTS", ca);
    }
    if let Some(key) = key {
        command.env("MANDATE_KEY", key);
    }
    Run::of(&command.output().unwrap())
}

#[track_caller]
fn says(run: &Run, code: i32, out: &str) {
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (Some(code), out, ""));
}

/// No decision was printed and none was concluded.
#[track_caller]
fn has_none(run: &Run, caller: &str, why: &str) {
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{caller}: {run:?}");
    assert!(
        run.err.starts_with("no answer, so no access: ") || run.err.contains("\nno answer, so no access: "),
        "{run:?}"
    );
    assert!(run.err.contains(why), "{caller}: {run:?}");
}

#[test]
fn every_caller_says_the_same_about_the_same() {
    let installation = Installation::with(&marias());
    let server = installation.start();
    let url = format!("http://{}", server.address());
    for caller in CALLERS {
        says(&run(caller, None, &url, None, None), 0, MARIAS);
        says(&run(caller, Some("eve"), &url, None, None), 2, EVES);
    }
}

#[test]
fn no_answer_is_never_a_deny() {
    let planted = |status: &'static str, body: &'static str| format!("http://{}", answering(status, "1", body));
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let servers = [
        (format!("http://{nobody}"), ""),
        (planted("503 Service Unavailable", r#"{"code":"stale_lease","detail":"no lease"}"#), "stale_lease"),
        (planted("401 Unauthorized", r#"{"code":"unauthenticated","detail":"who?"}"#), "unauthenticated"),
        (planted("502 Bad Gateway", "<html>a proxy</html>"), "502"),
        (planted("200 OK", "<html>a sign-in page</html>"), ""),
        (planted("200 OK", r#"{"decision":"false"}"#), ""),
        (planted("200 OK", r#"{"decision":1}"#), ""),
        (planted("200 OK", "{}"), ""),
        (planted("200 OK", "[true]"), ""),
        (planted("302 Found", r#"{"decision":true}"#), ""),
    ];
    for caller in CALLERS {
        for (server, why) in &servers {
            has_none(&run(caller, None, server, None, None), caller, why);
        }
    }
}

#[test]
fn over_tls_with_a_key() {
    let secured = Secured::start(&[("MANDATE_AUTH", "api_key"), ("MANDATE_API_KEY", KEYS)]);
    let (url, ca) = (secured.url(), secured.file("ca.pem"));
    for caller in CALLERS.into_iter().chain([THIRD_PARTY]) {
        says(&run(caller, None, &url, Some(&ca), Some(KEY)), 0, MARIAS);
        says(&run(caller, Some("eve"), &url, Some(&ca), Some(KEY)), 2, EVES);
        has_none(&run(caller, None, &url, Some(&ca), None), caller, "unauthenticated");
        has_none(&run(caller, None, &url, Some(&ca), Some("not-the-key-of-anybody")), caller, "unauthenticated");
        // An authority that nobody here knows.
        has_none(&run(caller, None, &url, None, Some(KEY)), caller, "");
    }
}

#[test]
fn with_a_name_and_a_key() {
    let secured = Secured::start(&[("MANDATE_AUTH", "basic"), ("MANDATE_API_KEY", KEYS)]);
    let (url, ca, (name, key)) = (secured.url(), secured.file("ca.pem"), OFFICE);
    for caller in CALLERS {
        says(&run(caller, None, &url, Some(&ca), Some(&format!("{name}:{key}"))), 0, MARIAS);
        has_none(&run(caller, None, &url, Some(&ca), Some(&format!("{name}:{KEY}"))), caller, "unauthenticated");
    }
}

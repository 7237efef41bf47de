//! A disk that takes nothing more, and a folder that never did.
//!
//! "Full" is a limit on the size of files that the running server may write (`RLIMIT_FSIZE`, set and lifted from
//! outside with `prlimit`): every write beyond it fails as on a full disk, and only for this process. What was
//! acknowledged stays, what is refused says so, checks go on, and when there is room again so do commands.

use std::process::Command;

use serde_json::json;

use crate::{
    http::now_s,
    server::{Installation, Server, until},
    worlds,
};

/// Lets no file of the server grow beyond so many bytes; false where the system has no `prlimit`.
fn limit(server: &Server, bytes: &str) -> bool {
    let done = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), &format!("--fsize={bytes}:unlimited")])
        .status();
    match done {
        Ok(status) => {
            assert!(status.success());
            true
        }
        Err(error) => {
            eprintln!("skipped: no `prlimit` here ({error})");
            false
        }
    }
}

#[test]
fn a_full_disk_refuses_commands_loses_nothing_and_is_recovered_from() {
    let mut installation = Installation::with(&worlds::managed_story());
    // The signal that comes with the limit would end the process; a full disk sends none.
    installation.wrap(&["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    let mut server = installation.start();
    let mut http = server.client();
    let grant = |user: &str| json!({"actor": "user:maria", "command": "grant_role", "user": user, "role": "Viewer"});
    http.command("bakery", "before", &grant("user:one")).ok();
    let acknowledged = http.get("/v1/sites/bakery").ok();
    let head = http.head(0);
    if !limit(&server, "1024") {
        return;
    }
    for attempt in 0..20 {
        let key = format!("during{attempt}");
        let refused = http.command("bakery", &key, &grant("user:two"));
        assert_eq!((refused.status, refused.code().as_str()), (503, "not_applied"), "{refused}");
        assert_eq!(refused.json()["outcome"], "not_applied");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert!(refused.header("retry-after").is_some());
        let put = http
            .put("/v1/sites/other", &json!({"mode": "self_managed", "owner": "user:tom", "plan": {"tier": "free"}}));
        assert_eq!((put.status, put.code().as_str()), (503, "not_applied"), "{put}");
        // Checks and reads go on, and see what was acknowledged.
        assert!(http.may("user:maria", "EditContent", "bakery", &json!({})));
        assert!(http.may("user:one", "ViewSite", "bakery", &json!({})));
        assert!(!http.may("user:two", "ViewSite", "bakery", &json!({})));
        let read = http.get("/v1/sites/bakery").ok();
        assert_eq!(read.body, acknowledged.body);
    }
    assert_eq!(http.head(0), head, "nothing was applied");
    assert_eq!(server.admin().get("/livez").status, 200);
    assert!(server.is_alive());
    // The refusal names the disk in the log, for whoever runs the service.
    let log = server.log();
    assert!(log.contains("disk"), "{log}");
    assert!(limit(&server, "unlimited"));
    // The same key that was refused is now carried out.
    let done = http.command("bakery", "during0", &grant("user:two")).ok();
    assert_eq!(done.revision(), head + 1);
    assert!(http.may("user:two", "ViewSite", "bakery", &json!({})));
    // Full again, and shot: the acknowledged is there after the restart.
    assert!(limit(&server, "1024"));
    assert_eq!(http.command("bakery", "last", &grant("user:three")).status, 503);
    server.kill();
    let server = installation.start();
    let mut http = server.client();
    assert_eq!(http.head(0), head + 1);
    assert!(http.may("user:two", "ViewSite", "bakery", &json!({})));
    assert!(!http.may("user:three", "ViewSite", "bakery", &json!({})));
    http.command("bakery", "last", &grant("user:three")).ok();
    installation.verify_audit();
}

/// Due steps of time are not lost when the disk is full at their deadline.
#[test]
fn what_time_does_waits_for_room() {
    let mut installation = Installation::with(&worlds::managed_story());
    installation.wrap(&["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    installation.set("MANDATE_TIMERS__RECLAIM_NOTICE", "1s");
    let server = installation.start();
    let mut http = server.client();
    let reclaim = json!({"actor": "user:maria", "auth_time": now_s(), "command": "reclaim_site"});
    http.command("bakery", "reclaim", &reclaim).ok();
    if !limit(&server, "1024") {
        return;
    }
    until("the partner's rights have ended", || {
        (!http.may("user:dana", "ViewSite", "bakery", &json!({}))).then_some(())
    });
    until("the worker has failed to write that", || server.log().contains("could not be committed").then_some(()));
    assert_eq!(http.get("/v1/sites/bakery").ok().json()["mode"], "partner_managed");
    assert!(limit(&server, "unlimited"));
    let room = std::time::Instant::now();
    until("it is written", || (http.get("/v1/sites/bakery").ok().json()["mode"] == "self_managed").then_some(()));
    assert!(room.elapsed().as_secs() < 15, "tried again only {:?} after there was room", room.elapsed());
    installation.verify_audit();
}

/// A database that cannot be is said at start, with the place, and the process ends.
#[test]
fn a_place_that_cannot_be_written_is_named_at_start() {
    let mut installation = Installation::new();
    std::fs::write(installation.folder().join("file"), "not a folder").unwrap();
    std::fs::write(installation.folder().join("text.db"), "not a database, but longer than a header of one is")
        .unwrap();
    std::fs::create_dir(installation.folder().join("folder.db")).unwrap();
    for (place, said) in [
        ("file/mandate.db", "file"),
        ("/proc/mandate/mandate.db", "/proc/mandate"),
        ("folder.db", "folder.db"),
        ("text.db", "text.db"),
    ] {
        installation.set("MANDATE_DATABASE_URL", format!("sqlite:{place}"));
        let Err(failed) = installation.try_start() else { panic!("`{place}` was accepted") };
        assert_eq!(failed.status.code(), Some(1), "{place}: {}", failed.log);
        assert!(failed.log.contains(said), "{place}: {}", failed.log);
        assert!(!failed.log.contains("panicked"), "{}", failed.log);
    }
}

/// A folder of somebody else's. Root may write anywhere, so root becomes nobody first, where it can.
#[test]
fn a_folder_without_permission_is_named_at_start() {
    let mut installation = Installation::new();
    let folder = installation.folder().join("closed");
    std::fs::create_dir(&folder).unwrap();
    let open = |path: &std::path::Path, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(installation.folder(), 0o755);
    open(&folder, 0o555);
    let root = std::fs::write(folder.join("probe"), "").is_ok();
    if root {
        let become_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let can = Command::new(become_nobody[0])
            .args(&become_nobody[1..])
            .arg(env!("CARGO_BIN_EXE_mandate"))
            .arg("--version")
            .output();
        if !can.is_ok_and(|done| done.status.success()) {
            eprintln!("skipped: this is root, and root cannot become somebody else here");
            return;
        }
        installation.wrap(&become_nobody);
    }
    installation.set("MANDATE_DATABASE_URL", "sqlite:closed/mandate.db");
    let Err(failed) = installation.try_start() else { panic!("a closed folder was accepted") };
    assert_eq!(failed.status.code(), Some(1), "{}", failed.log);
    assert!(failed.log.contains("closed/mandate.db") && failed.log.contains("written"), "{}", failed.log);
}

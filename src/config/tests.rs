use std::io::Write;

use super::*;

fn load(toml: &str, environment: &[(&str, &str)], options: &[(&str, &str)]) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let options: Vec<(&str, String)> = options.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Config::from_places(Some(file.path()), environment, &options).map_err(|error| error.to_string())
}

#[test]
fn nothing_set_is_the_documented_default() {
    assert_eq!(load("", &[("PATH", "/bin"), ("MANDATE_CONFIG", "x.toml")], &[]), Ok(Config::default()));
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.limits.body, 65_536);
}

#[test]
fn the_later_place_wins() {
    let toml = "listen = '127.0.0.1:1'\nlog = 'warn'\n[timers]\noffer_ttl = '1d'\nsettle = '2d'\n[limits]\npage = 7\n";
    let environment =
        [("MANDATE_LISTEN", "[::1]:2"), ("MANDATE_TIMERS__OFFER_TTL", "2s"), ("MANDATE_LIMITS__CONNECTIONS", "5")];
    let config = load(toml, &environment, &[("listen", "unix:/run/mandate.sock")]).unwrap();
    assert_eq!(config.listen, Listen::Unix("/run/mandate.sock".into()), "command line over environment");
    assert_eq!(config.timers.offer_ttl, Duration::from_secs(2), "environment over file");
    assert_eq!(config.timers.settle, Duration::from_hours(48), "file over default, beside a variable");
    assert_eq!(config.timers.step_up, Timers::default().step_up);
    assert_eq!((config.limits.page, config.limits.connections), (7, 5));
    assert_eq!(load(toml, &environment, &[]).unwrap().listen.to_string(), "[::1]:2");
    assert_eq!(load(toml, &[], &[]).unwrap().listen.to_string(), "127.0.0.1:1");
}

#[test]
fn unknown_keys_are_errors_that_name_key_and_place() {
    for (toml, environment, key, place) in [
        ("lisen = '127.0.0.1:1'", &[][..], "`lisen`", "configuration file"),
        ("[timers]\noffer_tll = '1d'", &[], "`offer_tll`", "configuration file"),
        ("[limits]\nbodies = 1", &[], "`bodies`", "configuration file"),
        ("redis_url = 'redis://x'", &[], "`redis_url`", "configuration file"),
        ("", &[("MANDATE_LISEN", "x")], "`lisen`", "environment"),
        ("", &[("MANDATE_TIMERS__OFFER_TLL", "1d")], "`offer_tll`", "environment"),
        ("", &[("MANDATE_TIMERS_OFFER_TTL", "1d")], "`timers_offer_ttl`", "environment"),
    ] {
        let error = load(toml, environment, &[]).unwrap_err();
        assert!(error.contains(key) && error.starts_with(place), "{error}");
        assert!(error.contains("unknown"), "{error}");
    }
    assert!(load("", &[], &[("nonsense", "1")]).unwrap_err().contains("`nonsense`"));
}

#[test]
fn values_that_do_not_fit_name_their_key() {
    for (toml, words) in [
        ("listen = 'localhost:80'", &["`listen`", "`localhost:80`", "IP:PORT"][..]),
        ("listen = 'unix:relative'", &["`listen`", "absolute"]),
        ("database_url = 'postgres://u:hunter2@h/d'", &["`database_url`", "embedded store only"]),
        ("database_url = 'sqlite:'", &["`database_url`", "sqlite:PATH"]),
        ("auth = 'jwt'", &["`auth`", "`jwt`", "only `none`"]),
        ("[timers]\noffer_ttl = 'soon'", &["`timers.offer_ttl`", "`soon`"]),
        ("[timers]\noffer_ttl = 14", &["`timers.offer_ttl`", "`14`"]),
        ("[limits]\nbody = 'big'", &["`limits.body`"]),
        ("[limits]\nbody = -1", &["`limits.body`"]),
        ("[limits]\npage = 2000", &["`limits.page_max`", "at least 2000"]),
        ("[limits]\nconnections = 0", &["`limits.connections`"]),
        ("[limits]\nidle = '0s'", &["`limits.idle`"]),
        ("listen = ", &["configuration file"]),
    ] {
        let error = load(toml, &[], &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{toml}: {error}");
        assert!(!error.contains("hunter2"), "a password in an error: {error}");
    }
}

#[test]
fn without_authentication_only_this_machine_is_served() {
    for open in ["0.0.0.0:8080", "192.0.2.1:80", "[::]:1", "[2001:db8::1]:1"] {
        for key in ["listen", "admin_listen"] {
            let error = load("", &[], &[(key, open)]).unwrap_err();
            assert!(error.contains(&format!("`{key}`")) && error.contains("without authentication"), "{error}");
        }
    }
    for local in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/tmp/x"] {
        assert!(load("", &[], &[("listen", local)]).is_ok(), "{local}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nowhere/mandate.toml")), &[]).unwrap_err().to_string();
    assert!(error.contains("/nowhere/mandate.toml"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let environment = [(OsString::from("MANDATE_LOG"), OsString::from_vec(vec![0xff]))];
    let error = Config::from_places(None, environment.into_iter(), &[]).unwrap_err().to_string();
    assert!(error.contains("`MANDATE_LOG`"), "{error}");
}

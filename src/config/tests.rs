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
        ("rediss_url = 'redis://x'", &[], "`rediss_url`", "configuration file"),
        ("[billing]\nurl = 'http://h'\nkye = 'x'", &[], "`kye`", "configuration file"),
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
        ("database_url = 'mysql://u:hunter2@h/d'", &["`database_url`", "postgres://"]),
        ("database_url = 'sqlite:'", &["`database_url`", "sqlite:PATH"]),
        ("auth = 'jwt'", &["`auth`", "`jwt`", "`none`", "`mtls`"]),
        ("[timers]\noffer_ttl = 'soon'", &["`timers.offer_ttl`", "`soon`"]),
        ("[timers]\noffer_ttl = 14", &["`timers.offer_ttl`", "`14`"]),
        ("[limits]\nbody = 'big'", &["`limits.body`"]),
        ("[limits]\nbody = -1", &["`limits.body`"]),
        ("[limits]\npage = 2000", &["`limits.page_max`", "at least 2000"]),
        ("[limits]\nconnections = 0", &["`limits.connections`"]),
        ("[limits]\nidle = '0s'", &["`limits.idle`"]),
        ("[billing]\nkey = 'hunter2'", &["`billing.key`", "not `billing.url`"]),
        ("[billing]\nurl = 'http://127.0.0.1:9'", &["`billing.url`", "without a key"]),
        ("[billing]\nurl = 'https://b.example'\nkey = 'hunter2'", &["`billing.url`", "https", "proxy"]),
        ("[billing]\nurl = 'http://u:hunter2@h'\nkey = 'k'", &["`billing.url`", "without a user"]),
        ("[billing]\nurl = 'billing:9'\nkey = 'hunter2'", &["`billing.url`", "http://"]),
        ("[billing]\nurl = 'http://h'\nkey = 'hunter2'\nkey_file = 'x'", &["`billing.key_file`", "one of them"]),
        ("[billing]\nurl = 'http://h'\nkey_file = '/nowhere/key'", &["`billing.key_file`", "/nowhere/key"]),
        ("[billing]\nurl = 'http://h'\nkey = 'hunter2 x'", &["`billing.key`", "ASCII"]),
        ("[billing]\nurl = 'http://h'\nkey = 'k'\ntimeout = '9s'", &["`billing.reserve_bound`", "room"]),
        ("[billing]\nurl = 'http://h'\nkey = 'k'\nretry_max = '0s'", &["`billing.retry_max`", "zero"]),
        ("listen = ", &["configuration file"]),
    ] {
        let error = load(toml, &[], &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{toml}: {error}");
        assert!(!error.contains("hunter2"), "a password in an error: {error}");
    }
}

#[test]
fn a_database_is_shown_without_its_password() {
    let config = load("database_url = 'postgres://maria:hunter2@db.example:5433/d?sslmode=require'", &[], &[]).unwrap();
    assert_eq!(config.database_url.to_string(), "postgres://db.example:5433/d");
    assert!(!format!("{config:?}").contains("hunter2"));
    let Database::Postgres(url) = config.database_url else { panic!("not PostgreSQL") };
    assert!(url.secret().contains("hunter2"), "the control: it is there");
}

#[test]
fn a_key_is_read_from_its_file_and_never_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hunter2\n").unwrap();
    let variables = [("MANDATE_BILLING__URL", "http://127.0.0.1:9000")];
    let path = file.path().to_str().unwrap();
    let config = load(&format!("[billing]\nkey_file = '{path}'"), &variables, &[]).unwrap();
    assert_eq!(config.billing.key.reveal(), "hunter2");
    assert!(!config.billing.leaves_this_machine());
    let shown = format!("{config:?}");
    assert!(shown.contains("key: hidden") && !shown.contains("hunter2"), "{shown}");
    let remote = load("", &[("MANDATE_BILLING__URL", "http://b.example:9"), ("MANDATE_BILLING__KEY", "k")], &[]);
    assert!(remote.unwrap().billing.leaves_this_machine());
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

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

#[test]
fn one_webhook_is_set_by_the_environment_alone() {
    let set = [
        ("MANDATE_EVENTS__WEBHOOK_URL", "https://events.example/hook?token=hunter2"),
        ("MANDATE_EVENTS__WEBHOOK_SECRET", SECRET),
        ("MANDATE_EVENTS__MAX_ATTEMPTS", "5"),
        ("MANDATE_EVENTS__REDIS_URL", "rediss://:hunter2@redis.example"),
        ("MANDATE_EVENTS__REDIS_MAXLEN", "1000"),
    ];
    let events = load("", &set, &[]).unwrap().events;
    assert!(events.are_wanted() && !Config::default().events.are_wanted());
    let webhook = &events.webhooks[0];
    assert_eq!((webhook.name.as_str(), webhook.url.host(), webhook.url.port()), ("webhook", "events.example", 443));
    assert_eq!(webhook.secret.as_ref().unwrap().key(), b"01234567890123456789012345678901");
    assert_eq!(
        (events.max_attempts, events.redis_maxlen, events.redis_stream.as_str()),
        (5, Some(1000), "mandate:events")
    );
    let told = format!("{events:?}");
    assert!(!told.contains("hunter2") && !told.contains("MDEy") && !told.contains("48, 49"), "{told}");
}

#[test]
fn a_secret_may_be_in_a_file_and_webhooks_may_be_several() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{SECRET}").unwrap();
    let path = file.path().display();
    let toml = format!(
        "[[events.webhooks]]\nname = 'a'\nurl = 'http://a.example:81/'\nsecret_file = '{path}'\n\
         [[events.webhooks]]\nname = 'b'\nurl = 'https://[2606:4700::1]/'\nsecret = '{SECRET}'\n"
    );
    let events = load(&toml, &[], &[]).unwrap().events;
    assert_eq!(events.webhooks[0].secret, events.webhooks[1].secret);
    assert_eq!((events.webhooks[0].url.port(), events.webhooks[1].url.host()), (81, "2606:4700::1"));
}

#[test]
fn events_that_cannot_be_delivered_refuse_the_start() {
    let webhook = |url: &str| format!("[events]\nwebhook_url = '{url}'\nwebhook_secret = '{SECRET}'");
    for (toml, words) in [
        ("[events]\nwebhook_url = 'https://a.example'".to_owned(), &["has no secret", "openssl rand"][..]),
        (format!("[events]\nwebhook_secret = '{SECRET}'"), &["`events.webhook_url` is not"]),
        ("[events]\nwebhook_secret = 'hunter2'".to_owned(), &["does not begin with `whsec_`", "openssl"]),
        ("[events]\nwebhook_secret = 'whsec_aHVudGVyMg=='".to_owned(), &["has 7 bytes", "24 to 64"]),
        ("[events]\nwebhook_secret = 'whsec_hunter2!'".to_owned(), &["not base64"]),
        ("[events]\nwebhook_url = 'https://a.example'\nwebhook_secret_file = '/nowhere'".to_owned(), &["/nowhere"]),
        (webhook("ftp://hunter2.example"), &["`events.webhook_url`", "neither https nor http"]),
        (webhook("a.example/hunter2"), &["the webhook's URL"]),
        (webhook("https://u:hunter2@a.example"), &["user name"]),
        (webhook("http://127.0.0.1:1/"), &["a loopback address", "events.allow_private"]),
        (webhook("http://[::ffff:169.254.169.254]/"), &["a link-local address"]),
        ("[events]\nredis_url = 'http://hunter2'".to_owned(), &["`events.redis_url`", "redis://host:6379"]),
        ("[events]\nredis_maxlen = 0".to_owned(), &["`events.redis_maxlen`"]),
        ("[events]\nmax_attempts = 0".to_owned(), &["`events.max_attempts`"]),
        ("[events]\ntimeout = '0s'".to_owned(), &["`events.timeout`"]),
        ("[events]\nbackoff_min = '1h'".to_owned(), &["`events.backoff_max`"]),
        (format!("[[events.webhooks]]\nname = 'redis'\nurl = 'https://a.example'\nsecret = '{SECRET}'"), &["taken"]),
        (format!("[[events.webhooks]]\nname = 'A b'\nurl = 'https://a.example'\nsecret = '{SECRET}'"), &["a-z 0-9"]),
        (format!("[[events.webhooks]]\nname = 'a'\nurl = 'https://a.example'\nsecrets = '{SECRET}'"), &["`secrets`"]),
    ] {
        let error = load(&toml, &[], &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{toml}: {error}");
        assert!(!error.contains("hunter2"), "a secret in an error: {error}");
    }
    let nearby = format!("{}\nallow_private = true", webhook("http://127.0.0.1:1/"));
    assert!(load(&nearby, &[], &[]).is_ok(), "the control");
}

#[test]
fn the_shared_cache_needs_a_key_that_is_never_shown() {
    let key = "5e".repeat(32);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{key}").unwrap();
    let path = file.path().display();
    let toml = format!("redis_url = 'rediss://:hunter2@r.example'\ncache_mac_key_file = '{path}'");
    let config = load(&toml, &[], &[]).unwrap();
    let shared = config.shared_cache().unwrap();
    assert_eq!((shared.keys.reveal(), shared.namespace.as_str()), (&[[0x5e; 32]][..], "mandate"));
    let told = format!("{config:?} {shared:?}");
    assert!(!told.contains("hunter2") && !told.contains("5e5e") && !told.contains("94, 94"), "{told}");
    assert_eq!(Config::default().shared_cache(), None);
    let set = [("MANDATE_REDIS_URL", "redis://r"), ("MANDATE_CACHE_MAC_KEY", key.as_str())];
    assert_eq!(load("", &set, &[("redis_namespace", "other")]).unwrap().shared_cache().unwrap().namespace, "other");

    let url = "redis_url = 'redis://r'\n";
    for (toml, words) in [
        (url.to_owned(), &["`redis_url` is set without a key", "`cache_mac_key_file`", "openssl rand -hex 32"][..]),
        (format!("cache_mac_key = '{key}'"), &["`redis_url` is not", "remove the key"]),
        (format!("cache_mac_key_file = '{path}'"), &["`redis_url` is not"]),
        (format!("{url}cache_mac_key = '{key}'\ncache_mac_key_file = '{path}'"), &["keep one of them"]),
        (format!("{url}cache_mac_key = '5e5e'"), &["`cache_mac_key`", "64 digits of hex"]),
        (format!("{url}cache_mac_key_file = '/nowhere'"), &["`cache_mac_key_file`", "/nowhere"]),
        (format!("{url}cache_mac_key = '{key}'\nredis_namespace = 'a:b'"), &["`redis_namespace`", "a-z 0-9 -"]),
        ("redis_url = 'redis://:5e5e@r:x'".to_owned(), &["`redis_url`", "redis-cluster://"]),
    ] {
        let error = load(&toml, &[], &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{toml}: {error}");
        assert!(!error.contains("5e5e"), "a secret in an error: {error}");
    }
}

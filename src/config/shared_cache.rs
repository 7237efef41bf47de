//! Which Redis do the replicas share copies in, and what proves that a copy is ours? Its URL and the keys of the MAC.
//!
//! It is another setting than the Redis of the event stream (`events.redis_url`): the stream must not lose entries, the
//! cache should forget. Its content is not trusted, so a URL without a key is refused: without one, whoever writes to that
//! Redis would decide who may do what.
//!
//! One text names a server, Sentinels or a cluster; separate keys for each lost, because half of them would contradict
//! the others. What may hold a password has no `Debug` of its content, and no error repeats it.

use std::{collections::BTreeSet, fmt, path::Path};

use serde::Deserialize;

use super::Config;

/// Keys that are believed at once: the newest writes, the others are on their way out.
const MOST_KEYS: usize = 8;
/// Sentences about a key that cannot be used end with this.
const MAKE_ONE: &str = "write 32 random bytes in hex, such as `openssl rand -hex 32` makes; to change the key, put the \
                        new one first and the old one behind a comma";
/// The port of a Sentinel where none is written.
const SENTINEL_PORT: u16 = 26_379;
/// Longest namespace.
const NAMESPACE: usize = 64;

/// The shared cache as it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedCacheSettings {
    /// Where it is.
    pub url: CacheUrl,
    /// What entries are authenticated with.
    pub keys: MacKeys,
    /// What every key begins with, and what tells two installations in one Redis apart.
    pub namespace: String,
}

impl Config {
    /// The shared cache, where there is one.
    #[must_use]
    pub fn shared_cache(&self) -> Option<SharedCacheSettings> {
        let (url, keys) = (self.redis_url.clone()?, self.cache_mac_key.clone()?);
        Some(SharedCacheSettings { url, keys, namespace: self.redis_namespace.clone() })
    }

    /// Reads the keys' file, and refuses what does not go together.
    pub(super) fn settle_shared_cache(&mut self) -> Result<(), String> {
        let namespace = &self.redis_namespace;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if namespace.is_empty() || namespace.len() > NAMESPACE || !namespace.bytes().all(fits) {
            return Err(
                "`redis_namespace` is 1 to 64 of the characters a-z 0-9 -; leave it out for `mandate`".to_owned()
            );
        }
        match (&self.cache_mac_key, self.cache_mac_key_file.take()) {
            (Some(_), Some(_)) => {
                return Err("`cache_mac_key` and `cache_mac_key_file` are both set: keep one of them".to_owned());
            }
            (None, Some(path)) => self.cache_mac_key = Some(keys_of(&path)?),
            (Some(_) | None, None) => {}
        }
        match (&self.redis_url, &self.cache_mac_key) {
            (Some(_), None) => Err(format!(
                "`redis_url` is set without a key, and whoever can write to that Redis could forge what decisions read: \
                 set `cache_mac_key_file` or `cache_mac_key`, the same for every replica; {MAKE_ONE}"
            )),
            (None, Some(_)) => Err("`cache_mac_key` or `cache_mac_key_file` is set and `redis_url` is not: set where \
                                    the shared cache is, or remove the key"
                .to_owned()),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }
}

fn keys_of(path: &Path) -> Result<MacKeys, String> {
    let wrong = |what: &dyn fmt::Display| format!("`cache_mac_key_file` = `{}`: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    MacKeys::try_from(text.trim().to_owned()).map_err(|error| wrong(&error))
}

/// The keys of the entries' MAC, the one that writes first.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MacKeys(Vec<[u8; 32]>);

impl MacKeys {
    /// The keys, the one that writes first. There is at least one.
    #[must_use]
    pub fn reveal(&self) -> &[[u8; 32]] {
        &self.0
    }
}

impl TryFrom<String> for MacKeys {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let keys: Option<Vec<[u8; 32]>> = text.split(',').map(|key| unhex(key.trim())).collect();
        // What was given is not repeated: it is nearly a key.
        let keys = keys.ok_or_else(|| format!("a key of the shared cache is not 64 digits of hex: {MAKE_ONE}"))?;
        if keys.len() > MOST_KEYS {
            return Err(format!(
                "the shared cache has more than {MOST_KEYS} keys: remove those that no replica writes with"
            ));
        }
        if keys.iter().collect::<BTreeSet<_>>().len() < keys.len() {
            return Err("the shared cache has a key twice: remove one of them".to_owned());
        }
        Ok(Self(keys))
    }
}

impl fmt::Debug for MacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKeys({} hidden)", self.0.len())
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(key)
}

/// Where the shared cache is. It may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CacheUrl(Place);

/// What one URL names. Each text inside is the URL of one machine, `redis://` or `rediss://`, password included.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// One server.
    Single(String),
    /// The server that Sentinels name.
    Sentinel {
        /// The Sentinels.
        sentinels: Vec<String>,
        /// What the server is called among them.
        name: String,
        /// A URL without a meaningful host: the credentials, the database and whether TLS is spoken to the server.
        server: String,
    },
    /// Nodes of a cluster; one that answers is enough.
    Cluster(Vec<String>),
}

impl CacheUrl {
    /// What it names.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.0
    }
}

impl fmt::Debug for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Place::Single(_) => "CacheUrl(one server, …)",
            Place::Sentinel { .. } => "CacheUrl(Sentinels, …)",
            Place::Cluster(_) => "CacheUrl(a cluster, …)",
        })
    }
}

impl TryFrom<String> for CacheUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // `#insecure` would turn the check of the certificate off.
        let place = if text.contains('#') { None } else { place(&text) };
        place.map(Self).ok_or_else(|| {
            "this names no Redis: write `redis://host:6379` for one server, \
             `redis-sentinel://host:26379,host:26379/NAME` for the server that Sentinels call NAME, or \
             `redis-cluster://host:6379,host:6379` for a cluster; `rediss` instead of `redis` for TLS, and a password \
             as `//:password@host`"
                .to_owned()
        })
    }
}

fn place(text: &str) -> Option<Place> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme {
        "redis" | "rediss" => readable(text.to_owned()).map(Place::Single),
        "redis-sentinel" => sentinels("redis", rest),
        "rediss-sentinel" => sentinels("rediss", rest),
        "redis-cluster" => cluster("redis", rest),
        "rediss-cluster" => cluster("rediss", rest),
        _ => None,
    }
}

/// Hosts behind one name and password.
struct Authority<'a> {
    /// `user:password@`, or nothing.
    credentials: &'a str,
    hosts: Vec<&'a str>,
    /// Behind the first slash.
    path: &'a str,
}

fn authority(rest: &str) -> Authority<'_> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let hosts_at = authority.rfind('@').map_or(0, |at| at + 1);
    let (credentials, hosts) = authority.split_at(hosts_at);
    Authority { credentials, hosts: hosts.split(',').collect(), path }
}

fn cluster(scheme: &str, rest: &str) -> Option<Place> {
    let given = authority(rest);
    if !given.path.is_empty() {
        return None;
    }
    let node = |host: &&str| readable(format!("{scheme}://{}{host}", given.credentials));
    given.hosts.iter().map(node).collect::<Option<_>>().map(Place::Cluster)
}

/// `/NAME`, `/NAME/DB`, and `?sentinel_password=…` where the Sentinels have one of their own.
fn sentinels(scheme: &str, rest: &str) -> Option<Place> {
    let given = authority(rest);
    let (path, query) = given.path.split_once('?').unwrap_or((given.path, ""));
    let theirs = match query {
        "" => String::new(),
        query => {
            format!(":{}@", query.strip_prefix("sentinel_password=").filter(|rest| !rest.contains(['&', '@', ':']))?)
        }
    };
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return None;
    }
    let sentinel = |host: &&str| {
        let written = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = if written { String::new() } else { format!(":{SENTINEL_PORT}") };
        readable(format!("{scheme}://{theirs}{host}{port}"))
    };
    let sentinels = given.hosts.iter().map(sentinel).collect::<Option<_>>()?;
    let server = readable(format!("{scheme}://{}server/{database}", given.credentials))?;
    Some(Place::Sentinel { sentinels, name: name.to_owned(), server })
}

/// The URL, if the client can read it.
fn readable(url: String) -> Option<String> {
    redis::Client::open(url.as_str()).is_ok().then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Place> {
        CacheUrl::try_from(text.to_owned()).ok().map(|url| url.0)
    }
    fn texts(given: &[&str]) -> Vec<String> {
        given.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn one_text_names_each_kind() {
        let url = "rediss://u:p@cache.example:7000/2";
        assert!(parsed(url) == Some(Place::Single(url.to_owned())));
        let cluster = parsed("redis-cluster://:p@a:1,b:2,[::1]:3").unwrap();
        assert!(cluster == Place::Cluster(texts(&["redis://:p@a:1", "redis://:p@b:2", "redis://:p@[::1]:3"])));
        let watched = parsed("rediss-sentinel://u:p@a,[::1],b:5/main/3?sentinel_password=q").unwrap();
        let expected = Place::Sentinel {
            sentinels: texts(&["rediss://:q@a:26379", "rediss://:q@[::1]:26379", "rediss://:q@b:5"]),
            name: "main".to_owned(),
            server: "rediss://u:p@server/3".to_owned(),
        };
        assert!(watched == expected);
    }

    #[test]
    fn what_names_nothing_is_refused_without_being_repeated() {
        for text in [
            "hunter2",
            "http://hunter2@a",
            "redis://",
            "rediss://a#insecure",
            "redis://a:hunter2",
            "redis-sentinel://a,b",
            "redis-sentinel://a/",
            "redis-sentinel://a/main?password=hunter2",
            "redis-sentinel://a/main?sentinel_password=hunter2&x=1",
            "redis-sentinel://a/main/hunter2",
            "redis-cluster://",
            "redis-cluster://a,,b",
            "redis-cluster://a/1",
            "rediss-cluster://a#insecure",
        ] {
            let error = CacheUrl::try_from(text.to_owned()).map(|_| text).unwrap_err();
            assert!(error.contains("redis-sentinel://") && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn keys_are_hex_and_never_shown() {
        let (one, two) = ("0f".repeat(32), "A0".repeat(32));
        let keys = MacKeys::try_from(format!("{one}, {two}")).unwrap();
        assert_eq!(keys.reveal(), [[0x0f; 32], [0xa0; 32]]);
        assert_eq!(format!("{keys:?}"), "MacKeys(2 hidden)");
        for wrong in ["", "0f", &"0g".repeat(32), &"+f".repeat(32), &format!("{one},"), &format!("{one}{two}")] {
            let error = MacKeys::try_from(wrong.to_owned()).unwrap_err();
            assert!(error.contains("openssl rand -hex 32") && !error.contains("0f0f"), "{error}");
        }
        assert!(MacKeys::try_from(format!("{one},{one}")).unwrap_err().contains("twice"));
        let many: Vec<String> = (0..9).map(|n| format!("{n:02x}").repeat(32)).collect();
        assert!(MacKeys::try_from(many.join(",")).unwrap_err().contains("more than 8"));
        assert!(MacKeys::try_from(many[1..].join(",")).is_ok(), "the control: eight");
    }
}

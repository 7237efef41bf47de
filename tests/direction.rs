//! Which module may name which? The direction of the whole library, lowest first, kept by one test.
//!
//! A module may name another of the library only where [`MODULES`] says so, and a pure module may not mention a crate
//! that reads, writes, waits or asks the clock ([`IMPURE`]). Separate packages would keep the same promise at the
//! price of a build graph; one list that is read in a minute does it here.
//!
//! The test reads paths, not meaning: `crate::…`, `super::…` up to the root, and whole use trees, without comments,
//! strings and test code. What a macro of another crate writes, it does not see.

/// A module of the library and what it may name of the library.
struct Module {
    name: &'static str,
    /// No input or output, no clock, no async.
    pure: bool,
    may_name: &'static [&'static str],
}

const fn pure(name: &'static str, may_name: &'static [&'static str]) -> Module {
    Module { name, pure: true, may_name }
}
const fn edge(name: &'static str, may_name: &'static [&'static str]) -> Module {
    Module { name, pure: false, may_name }
}

/// Lowest first. `policy` and `decision` know a policy domain only as values, so they stand below everything that is
/// about sites. `site`, `assignment` and `handover` know each other: a site carries its open offer, a handover changes
/// a site and asks the directory. They are one band, and nothing above may enter it.
const MODULES: &[Module] = &[
    pure("digest", &[]),
    pure("ids", &[]),
    pure("revision", &[]),
    pure("time", &[]),
    pure("lease", &["digest", "ids", "revision", "time"]),
    pure("policy", &["digest"]),
    pure("decision", &["policy"]),
    pure("domains", &["digest", "policy"]),
    pure("site", &["ids", "revision", "time", "assignment", "handover"]),
    pure("assignment", &["ids", "revision", "time", "policy", "decision", "site", "handover"]),
    pure("handover", &["digest", "ids", "revision", "time", "site", "assignment"]),
    pure("explanation", &["digest", "ids", "revision", "time", "site", "assignment", "handover"]),
    pure("authoring", PURE),
    edge("fault", &[]),
    edge("metrics", &[]),
    edge("client", &[]),
    edge("clock", &["fault", "ids", "time", "lease"]),
    edge("store", &["digest", "ids", "revision", "time", "lease", "policy", "site", "assignment", "handover", "fault"]),
    edge("config", &["ids", "time", "handover"]),
    edge("cache", &["ids", "revision", "time", "lease", "metrics", "site", "assignment", "store", "config"]),
    edge("telemetry", &["config"]),
    edge("billing", &["ids", "revision", "time", "site", "store", "config"]),
    edge("events", &["digest", "ids", "time", "clock", "config", "store"]),
    edge("app", BELOW_APP),
    edge("http", BELOW_HTTP),
    edge("cli", BELOW_CLI),
];

const PURE: &[&str] =
    &["digest", "ids", "revision", "time", "policy", "decision", "site", "assignment", "handover", "explanation"];
const BELOW_APP: &[&str] = &[
    "digest",
    "ids",
    "revision",
    "time",
    "lease",
    "policy",
    "decision",
    "site",
    "assignment",
    "handover",
    "explanation",
    "fault",
    "metrics",
    "clock",
    "store",
    "cache",
    "config",
    "telemetry",
    "billing",
    "events",
];
const BELOW_HTTP: &[&str] = &[
    "digest",
    "domains",
    "ids",
    "revision",
    "time",
    "policy",
    "decision",
    "site",
    "assignment",
    "handover",
    "explanation",
    "fault",
    "metrics",
    "clock",
    "store",
    "cache",
    "config",
    "telemetry",
    "events",
    "app",
];
const BELOW_CLI: &[&str] = &[
    "digest",
    "domains",
    "ids",
    "revision",
    "time",
    "policy",
    "decision",
    "site",
    "assignment",
    "handover",
    "explanation",
    "authoring",
    "metrics",
    "client",
    "clock",
    "store",
    "cache",
    "config",
    "telemetry",
    "events",
    "app",
    "http",
];

/// What a pure module may not mention, by the first words of the path. A policy or a text reaches a pure module as a
/// `(path, text)` pair; whoever reads the file is at the edge.
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["axum"],
    &["hyper"],
    &["hyper_util"],
    &["tower"],
    &["tower_http"],
    &["rusqlite"],
    &["tokio_postgres"],
    &["tokio_postgres_rustls"],
    &["refinery"],
    &["ureq"],
    &["redis"],
    &["tokio_rustls"],
    &["rustls_native_certs"],
    &["clap"],
    &["config"],
    &["tracing_subscriber"],
    &["prometheus_client"],
    &["indicatif"],
    &["fs4"],
    &["rustix"],
    &["std", "net"],
    &["std", "fs"],
    &["std", "process"],
    &["std", "env"],
    &["std", "thread"],
];

#[cfg(test)]
mod reading {
    //! Rust source as far as paths go: words, and the punctuation that joins them.

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Token {
        Word(String),
        Joint,
        Other(char),
    }

    /// The tokens of a source text without comments, strings, characters and lifetimes.
    pub fn tokens(source: &str) -> Vec<Token> {
        let chars: Vec<char> = source.chars().collect();
        let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
        let mut tokens = Vec::new();
        let mut i = 0;
        while i < chars.len() {
            let c = at(i);
            if c == '/' && at(i + 1) == '/' {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            } else if c == '/' && at(i + 1) == '*' {
                i = after_block_comment(&chars, i);
            } else if c == '"' {
                i = after_string(&chars, i);
            } else if c == '\'' {
                // A character or a lifetime: only a character closes with a second quote at once.
                if at(i + 1) == '\\' {
                    i += 3;
                    while i < chars.len() && at(i) != '\'' {
                        i += 1;
                    }
                    i += 1;
                } else {
                    i += if at(i + 2) == '\'' { 3 } else { 1 };
                }
            } else if c.is_alphabetic() || c == '_' {
                let start = i;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                let raw = matches!(word.as_str(), "r" | "br" | "cr") && matches!(at(i), '"' | '#');
                if raw {
                    i = after_raw_string(&chars, i);
                } else {
                    tokens.push(Token::Word(word));
                }
            } else if c == ':' && at(i + 1) == ':' {
                tokens.push(Token::Joint);
                i += 2;
            } else {
                if !c.is_whitespace() {
                    tokens.push(Token::Other(c));
                }
                i += 1;
            }
        }
        tokens
    }

    fn after_block_comment(chars: &[char], start: usize) -> usize {
        let mut depth = 0_usize;
        let mut i = start;
        while i < chars.len() {
            match (chars[i], chars.get(i + 1)) {
                ('/', Some('*')) => {
                    depth += 1;
                    i += 2;
                }
                ('*', Some('/')) => {
                    depth -= 1;
                    i += 2;
                    if depth == 0 {
                        return i;
                    }
                }
                _ => i += 1,
            }
        }
        i
    }

    fn after_string(chars: &[char], start: usize) -> usize {
        let mut i = start + 1;
        while i < chars.len() && chars[i] != '"' {
            i += if chars[i] == '\\' { 2 } else { 1 };
        }
        i + 1
    }

    /// From the hashes or the quote of a raw string. A raw identifier (`r#type`) ends where its hash ends.
    fn after_raw_string(chars: &[char], start: usize) -> usize {
        let hashes = chars[start..].iter().take_while(|c| **c == '#').count();
        let mut i = start + hashes;
        if chars.get(i) != Some(&'"') {
            return i;
        }
        i += 1;
        while i < chars.len() {
            if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
                return i + 1 + hashes;
            }
            i += 1;
        }
        i
    }

    /// The tokens outside items that carry exactly `#[cfg(test)]`.
    pub fn without_tests(tokens: &[Token]) -> Vec<Token> {
        let mark: Vec<Token> = tokens_of_mark();
        let mut kept = Vec::new();
        let mut i = 0;
        while i < tokens.len() {
            if !tokens[i..].starts_with(&mark) {
                kept.push(tokens[i].clone());
                i += 1;
                continue;
            }
            // To the end of the item: a semicolon, or the brace that closes the first one opened.
            let mut depth = 0_usize;
            i += mark.len();
            while i < tokens.len() {
                match tokens[i] {
                    Token::Other('{') => depth += 1,
                    Token::Other('}') => depth = depth.saturating_sub(1),
                    _ => {}
                }
                let ends = depth == 0 && matches!(tokens[i], Token::Other(';' | '}'));
                i += 1;
                if ends {
                    break;
                }
            }
        }
        kept
    }

    fn tokens_of_mark() -> Vec<Token> {
        tokens("#[cfg(test)]")
    }

    /// Every path of a text, use trees spread out: `use a::{b, c::d}` gives `a b` and `a c d`.
    pub fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let mut i = 0;
        while i < tokens.len() {
            match tokens[i] {
                Token::Word(_) => i = path(tokens, i, &[], &mut found),
                _ => i += 1,
            }
        }
        found
    }

    /// Reads the path that starts at `i`, behind `prefix`, and answers where it ends.
    fn path(tokens: &[Token], mut i: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
        let mut words = prefix.to_vec();
        while let Some(Token::Word(word)) = tokens.get(i) {
            words.push(word.clone());
            i += 1;
            if tokens.get(i) != Some(&Token::Joint) {
                break;
            }
            i += 1;
            if tokens.get(i) == Some(&Token::Other('{')) {
                return group(tokens, i + 1, &words, found);
            }
        }
        found.push(words);
        i
    }

    fn group(tokens: &[Token], mut i: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
        while let Some(token) = tokens.get(i) {
            match token {
                Token::Other('}') => return i + 1,
                Token::Word(_) => i = path(tokens, i, prefix, found),
                Token::Other('*') => {
                    found.push(prefix.to_vec());
                    i += 1;
                }
                Token::Joint | Token::Other(_) => i += 1,
            }
        }
        i
    }
}

#[cfg(test)]
mod direction {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::{IMPURE, MODULES, Module, reading};

    fn module(name: &str) -> Option<&'static Module> {
        MODULES.iter().find(|module| module.name == name)
    }

    /// What is wrong with one file of `module`; `depth` is how many `super` reach the root of the library.
    fn offences(module: &Module, depth: usize, source: &str) -> Vec<String> {
        let tokens = reading::without_tests(&reading::tokens(source));
        let mut wrong = Vec::new();
        for path in reading::paths(&tokens) {
            let climbs = path.iter().take_while(|word| *word == "super").count();
            let from_root = match path.first().map(String::as_str) {
                Some("crate") => path.get(1),
                Some("super") if climbs >= depth => path.get(climbs),
                _ => None,
            };
            if let Some(named) = from_root
                && super::MODULES.iter().any(|other| other.name == named)
                && named != module.name
                && !module.may_name.contains(&named.as_str())
            {
                wrong.push(format!("`{}` may not name `{named}`: {}", module.name, path.join("::")));
            }
            let impure = |start: &&&[&str]| path.len() >= start.len() && path.iter().zip(**start).all(|(a, b)| a == b);
            // A single word is a name of its own; it is the crate only at the head of a path.
            let single = path.len() == 1;
            if module.pure
                && !single
                && let Some(start) = IMPURE.iter().find(impure)
            {
                wrong.push(format!("`{}` is pure and may not mention `{}`", module.name, start.join("::")));
            }
        }
        wrong
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn every_module_names_only_what_it_may() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut wrong = Vec::new();
        let mut read = 0;
        for file in files(&src) {
            let within = file.strip_prefix(&src).unwrap();
            let parts: Vec<&str> = within.iter().map(|part| part.to_str().unwrap()).collect();
            let name = parts[0].trim_end_matches(".rs");
            let is_test = parts.iter().any(|part| matches!(*part, "tests.rs" | "tests"));
            if matches!(parts.as_slice(), ["lib.rs" | "main.rs"]) || is_test {
                continue;
            }
            let Some(module) = module(name) else {
                wrong.push(format!("`{name}` has no place in MODULES: say what it may name"));
                continue;
            };
            let depth = if parts.last() == Some(&"mod.rs") { parts.len() - 1 } else { parts.len() };
            let source = fs::read_to_string(&file).unwrap();
            wrong.extend(
                offences(module, depth, &source).into_iter().map(|text| format!("{}: {text}", within.display())),
            );
            read += 1;
        }
        assert!(read > 10, "only {read} files were read: is this the right folder?");
        assert!(wrong.is_empty(), "the direction is broken:\n{}", wrong.join("\n"));
    }

    #[test]
    fn the_list_itself_points_downwards() {
        const BAND: [&str; 3] = ["site", "assignment", "handover"];
        for (at, module) in MODULES.iter().enumerate() {
            for named in module.may_name {
                let lower = MODULES[..at].iter().any(|lower| lower.name == *named);
                let in_band = BAND.contains(&module.name) && BAND.contains(named);
                assert!(lower || in_band, "`{}` may name `{named}`, which stands above it", module.name);
                assert!(!module.pure || super::MODULES.iter().any(|m| m.name == *named && m.pure), "{}", module.name);
            }
        }
    }

    /// Without this, a scanner that sees nothing would pass for ever.
    #[test]
    fn planted_offences_are_caught() {
        let ids = module("ids").unwrap();
        let policy = module("policy").unwrap();
        let http = module("http").unwrap();
        let caught: [(&Module, usize, &str); 13] = [
            (ids, 1, "use crate::store::Store;"),
            (ids, 1, "use crate::{revision::Revision};"),
            (ids, 1, "fn f() -> crate::time::Timestamp { todo!() }"),
            (ids, 1, "use super::{time, site::Site};"),
            (policy, 2, "use super::super::http;"),
            (policy, 1, "use crate::{digest, decision::{self, Outcome}};"),
            (policy, 1, "use std::{collections::HashMap, fs, path::Path};"),
            (policy, 1, "fn f() { let _ = std::fs::read(\"x\"); }"),
            (policy, 1, "use tokio::sync::Mutex;"),
            (policy, 1, "/* use nothing */ use {rusqlite::Connection};"),
            (policy, 1, "#[cfg(test)] mod tests { fn a() {} } fn f(c: char) { if c == '\"' { axum::serve() } }"),
            (policy, 1, "#[derive(clap::Parser)] struct Options;"),
            (http, 1, "use crate::cli::Options;"),
        ];
        for (module, depth, source) in caught {
            assert!(!offences(module, depth, source).is_empty(), "not caught in `{}`: {source}", module.name);
        }
        let fine: [(&Module, usize, &str); 10] = [
            (ids, 1, "// use crate::store::Store;"),
            (ids, 1, "/// See [`crate::clock`].\nfn f() {}"),
            (ids, 1, "const TEXT: &str = \"use crate::store; \\\" tokio::spawn\";"),
            (ids, 1, "const TEXT: &str = r#\"crate::store \" tokio::spawn\"#;"),
            (
                ids,
                1,
                "#[cfg(test)]\nmod tests { use super::*; use crate::store::Store; fn f() { std::fs::read(\"\"); } }",
            ),
            (policy, 2, "use super::{catalogue, http};"),
            (http, 1, "use crate::{ids::SiteId, assignment::Strengths};"),
            (policy, 1, "fn f<'a>(config: &'a str) -> &'a str { config }"),
            (policy, 1, "use std::{collections::BTreeMap, time::Duration};"),
            (http, 1, "use axum::Router; use crate::{app::App, store::Store};"),
        ];
        for (module, depth, source) in fine {
            assert_eq!(offences(module, depth, source), Vec::<String>::new(), "in `{}`: {source}", module.name);
        }
    }
}

//! Every numbered case, for every way in which callers say who they are.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    client::{Answer, Call, Caller},
    credentials, discovery,
    judge::{Expected, page},
    pdp::{CERT, Discovered, Pdp, Variant},
    server::Installation,
    table::{code, rows},
};

/// Which tables there are.
pub const TABLES: [&str; 3] = ["basic", "batch", "search"];
/// How the server takes an item of a batch that has half an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    Strict,
    Lenient,
}

/// One request of the tables.
#[derive(Debug, Clone)]
pub struct Row {
    pub case: u32,
    source: String,
    what: String,
    place: String,
    method: &'static str,
    endpoint: String,
    media: Option<String>,
    chunked: bool,
    only: Option<Merge>,
    body: Option<String>,
    expected: Expected,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case {} ({}: {}), {}", self.case, self.source, self.what, self.place)
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/authzen/cases/{name}.md"))
}

/// The rows of a table in `cases/`, with the names in their bodies replaced as `cases/README.md` says.
pub fn table(name: &str) -> Vec<Row> {
    let names = rows(&file("README"), ["name in a body", "stands for"]);
    let names: Vec<(&str, &str)> = names.iter().map(|(_, [name, text])| (code(name), code(text))).collect();
    let rows = rows(&file(name), ["case", "source", "what", "call", "body", "expected"]);
    rows.into_iter().map(|(line, cells)| row(&names, format!("cases/{name}.md:{line}"), &cells)).collect()
}

fn row(names: &[(&str, &str)], place: String, [case, source, what, call, body, expected]: &[String; 6]) -> Row {
    let (call, options) = call.split_once("; ").unwrap_or((call, ""));
    let (method, endpoint) = call.split_once(' ').unwrap_or_else(|| panic!("{place}: {call}"));
    let method = ["GET", "PUT", "POST"].into_iter().find(|known| *known == method);
    let (media, only) = match options {
        "" | "chunked" => (Some("application/json"), None),
        "no type" => (None, None),
        "strict" => (Some("application/json"), Some(Merge::Strict)),
        "lenient" => (Some("application/json"), Some(Merge::Lenient)),
        media => (Some(media), None),
    };
    let mut text = code(body).to_owned();
    for (name, value) in names {
        text = text.replace(name, value);
    }
    assert!(!text.contains('$'), "{place}: a name without a meaning in {text}");
    Row {
        case: case.parse().unwrap(),
        source: source.clone(),
        what: what.clone(),
        method: method.unwrap_or_else(|| panic!("{place}: {call}")),
        endpoint: endpoint.to_owned(),
        media: media.map(str::to_owned),
        chunked: options == "chunked",
        only,
        body: (method != Some("GET")).then_some(text),
        expected: Expected::read(expected).unwrap_or_else(|| panic!("{place}: `{expected}`")),
        place,
    }
}

/// What was asked, and what came out wrong.
#[derive(Debug, Default)]
pub struct Outcome {
    pub cases: BTreeSet<u32>,
    pub checks: usize,
    pub failed: Vec<(u32, String)>,
}

impl Outcome {
    /// Fails with everything that came out wrong.
    #[track_caller]
    pub fn passed(&self, of: &str) {
        let failed: Vec<&str> = self.failed.iter().map(|(_, why)| why.as_str()).collect();
        assert!(failed.is_empty(), "{of}: {} of {} wrong\n{}", failed.len(), self.checks, failed.join("\n"));
        println!("{of}: {} cases, {} checks", self.cases.len(), self.checks);
    }
    /// Notes a check that is no row.
    pub fn note(&mut self, case: u32, what: &str, found: Result<(), String>) {
        self.cases.insert(case);
        self.checks += 1;
        if let Err(why) = found {
            self.failed.push((case, format!("case {case} ({what}): {why}")));
        }
    }
    /// Asks these rows of a server that merges like this.
    pub fn ask(&mut self, rows: &[Row], at: &Discovered, caller: &mut Caller, merge: Merge) {
        for row in rows.iter().filter(|row| row.only.is_none_or(|only| only == merge)) {
            self.cases.insert(row.case);
            self.checks += 1;
            if let Err(why) = row.ask(at, caller) {
                self.failed
                    .push((row.case, format!("{row}\n    {} {} {}\n    {why}", row.method, row.endpoint, row.text())));
            }
        }
    }
}

impl Row {
    fn text(&self) -> &str {
        self.body.as_deref().unwrap_or_default()
    }
    fn call(&self, at: &Discovered) -> Call {
        let mut call = Call::new(self.method, at.url(&self.endpoint));
        if let Some(body) = &self.body {
            call = call.body(body.as_str());
            if let Some(media) = &self.media {
                call = call.header("content-type", media.as_str());
            }
        }
        if self.chunked { call.in_chunks() } else { call }
    }
    fn ask(&self, at: &Discovered, caller: &mut Caller) -> Result<(), String> {
        if let Expected::Pages(results) = &self.expected {
            return self.follow(at, caller, results);
        }
        let first = thrice(caller, &self.call(at))?;
        self.expected.judge(&first).map_err(|why| format!("{why}: {first}"))
    }
    /// Follows the pages to their end.
    fn follow(&self, at: &Discovered, caller: &mut Caller, expected: &[Value]) -> Result<(), String> {
        let mut body: Value = serde_json::from_str(self.text()).map_err(|error| error.to_string())?;
        let limit = body["page"]["limit"].as_u64();
        let mut found = Vec::new();
        for _ in 0..100 {
            let answer = thrice(caller, &Call::post(at.url(&self.endpoint), &body))?;
            let token = page(&answer).map_err(|why| format!("{why}: {answer}"))?;
            let token = token.ok_or_else(|| format!("no `page`: {answer}"))?;
            let results = answer.json()["results"].as_array().cloned().unwrap_or_default();
            if limit.is_some_and(|limit| results.len() as u64 > limit) {
                return Err(format!("more than {limit:?}: {answer}"));
            }
            found.extend(results);
            if token.is_empty() {
                // As texts: the order of members counts.
                let (found, expected) = (Value::from(found).to_string(), Value::from(expected).to_string());
                return if found == expected { Ok(()) } else { Err(format!("all pages: {found}, not {expected}")) };
            }
            body["page"]["token"] = token.into();
        }
        Err("a hundred pages, and no end".into())
    }
}

/// Asks three times. What has to be the same is, and ids come back.
pub fn thrice(caller: &mut Caller, call: &Call) -> Result<Answer, String> {
    let mut first: Option<Answer> = None;
    for id in [Some("first of three"), Some("7f1c-2"), None] {
        let call = id.map_or_else(|| call.clone(), |id| call.clone().header("x-request-id", id));
        let answer = caller.try_call(&call)?;
        let echoed = answer.header("x-request-id");
        if echoed.is_none() || id.is_some() && echoed != id {
            return Err(format!("X-Request-ID is {echoed:?}, not {id:?}: {answer}"));
        }
        match &first {
            None => first = Some(answer),
            Some(first) if (first.status, &first.body) == (answer.status, &answer.body) => {}
            Some(first) => return Err(format!("asked again: {answer}, and before: {first}")),
        }
    }
    first.ok_or_else(|| "nothing was asked".into())
}

/// Case 27 where no table goes: ids come back with what is not there and with what is too long.
fn echoes(outcome: &mut Outcome, pdp: &Pdp, at: &Discovered, caller: &mut Caller) {
    let nowhere = Call::new("GET", &format!("{}/nowhere", pdp.identifier(CERT)));
    let long = vec![b' '; 300_000];
    let long = Call::new("POST", at.url("evaluation")).header("content-type", "application/json").body(long);
    for (status, call) in [(404, nowhere), (413, long)] {
        let found = thrice(caller, &call).and_then(|answer| Expected::Refused(status).judge(&answer));
        outcome.note(27, &format!("X-Request-ID comes back with {status}"), found);
    }
}

/// Cases 1 to 89 with callers of one kind.
fn every_case(variant: Variant) {
    let mut outcome = Outcome::default();
    let pdp = Pdp::start_with(variant, discovery::with_key(variant), &discovery::SETTINGS);
    let at = Discovered::of(&pdp, &pdp.identifier(CERT));
    let mut caller = pdp.caller();
    for name in TABLES {
        outcome.ask(&table(name), &at, &mut caller, Merge::Strict);
    }
    echoes(&mut outcome, &pdp, &at, &mut caller);
    credentials::ask(&mut outcome, &pdp, &at);
    discovery::ask(&mut outcome, &pdp);

    let lenient = [("MANDATE_BATCH_DEFAULT_MERGE", "lenient")];
    let pdp = Pdp::start_with(variant, Installation::new(), &lenient);
    let at = Discovered::of(&pdp, &pdp.identifier(CERT));
    outcome.ask(&table("batch"), &at, &mut pdp.caller(), Merge::Lenient);
    discovery::ask_unsigned(&mut outcome, &pdp);

    outcome.passed(variant.name());
    let all: BTreeSet<u32> = (1..=89).collect();
    let left: Vec<&u32> = all.symmetric_difference(&outcome.cases).collect();
    assert!(left.is_empty(), "these cases were not asked, or there are none: {left:?}");
    documented(variant, &outcome);
}

/// The document says how much is asked, and so it has to be true.
#[track_caller]
fn documented(variant: Variant, outcome: &Outcome) {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    let rows = rows(&document, ["way (`auth`)", "the suite's `pdp_auth_type`", "cases", "checks"]);
    let (_, [.., cases, checks]) = rows.iter().find(|(_, [way, ..])| code(way) == variant.name()).unwrap();
    let asked = (outcome.cases.len().to_string(), outcome.checks.to_string());
    assert_eq!((cases, checks), (&asked.0, &asked.1), "docs/conformance.md says otherwise of {}", variant.name());
}

#[test]
fn every_case_without_credentials() {
    every_case(Variant::Open);
}
#[test]
fn every_case_with_basic() {
    every_case(Variant::Basic);
}
#[test]
fn every_case_with_an_api_key() {
    every_case(Variant::ApiKey);
}
#[test]
fn every_case_with_a_certificate() {
    every_case(Variant::Mtls);
}

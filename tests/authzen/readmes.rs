//! Do the domains decide as their READMEs say? Every row of their tables is asked; and none of it means anything to another
//! domain, or to sites.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    cases::thrice,
    client::{Answer, Call, Caller},
    judge::{Expected, page, result},
    pdp::{DOMAINS, Discovered, Pdp, Variant, folder},
    server::Installation,
    table::{code, rows},
    worlds,
};

/// One row: a question, or a search where one of its three parts is `?`.
pub struct Row {
    pub place: String,
    pub endpoint: &'static str,
    pub body: Value,
    answer: String,
}

/// The rows of a domain's README.
pub fn table(domain: &str) -> Vec<Row> {
    let rows = rows(&folder(domain).join("README.md"), ["who", "may", "on what", "sent along", "answer"]);
    let read = |(line, [who, may, what, sent, answer]): (usize, [String; 5])| {
        let (who, may, what, sent) = (code(&who), code(&may), code(&what), code(&sent));
        let sent: Map<String, Value> = if sent.is_empty() { Map::new() } else { serde_json::from_str(sent).unwrap() };
        let with = |part: Value, name: &str| {
            let mut part = part;
            if let Some(properties) = sent.get(name) {
                part["properties"] = properties.clone();
            }
            part
        };
        let mut body = json!({
            "subject": with(result(who), "subject"),
            "action": with(json!({ "name": may }), "action"),
            "resource": with(result(what), "resource"),
        });
        if let Some(context) = sent.get("context") {
            body["context"] = context.clone();
        }
        let endpoint = match (who.ends_with(":?"), may == "?", what.ends_with(":?")) {
            (false, false, false) => "evaluation",
            (true, false, false) => "subject",
            (false, true, false) => "action",
            (false, false, true) => "resource",
            _ => panic!("{domain}, line {line}: two parts are left open"),
        };
        Row { place: format!("examples/{domain}/README.md:{line}"), endpoint, body, answer }
    };
    rows.into_iter().map(read).collect()
}

impl Row {
    pub fn is_allow(&self) -> bool {
        self.answer == "allow"
    }
    #[track_caller]
    pub fn ask(&self, at: &Discovered, caller: &mut Caller) -> Answer {
        let call = Call::post(at.url(self.endpoint), &self.body);
        thrice(caller, &call).unwrap_or_else(|why| panic!("{} {}: {why}", self.place, self.body))
    }
    fn judge(&self, answer: &Answer) -> Result<(), String> {
        if self.endpoint == "evaluation" {
            let expected = Expected::read(&self.answer).ok_or_else(|| format!("`{}` is no answer", self.answer))?;
            return expected.judge(answer);
        }
        let expected: BTreeSet<String> = self
            .answer
            .split_whitespace()
            .filter(|word| *word != "nothing")
            .map(|word| result(code(word)).to_string())
            .collect();
        page(answer)?;
        let found = answer.json()["results"].as_array().cloned().unwrap_or_default();
        let texts: BTreeSet<String> = found.iter().map(Value::to_string).collect();
        let right = answer.status == 200 && texts == expected && texts.len() == found.len();
        if right { Ok(()) } else { Err(format!("found {texts:?}, not {expected:?}")) }
    }
}

#[test]
fn every_domain_decides_as_its_readme_says() {
    let pdp = Pdp::start(Variant::Open);
    let mut caller = pdp.caller();
    let mut wrong = Vec::new();
    for domain in DOMAINS {
        let at = Discovered::of(&pdp, &pdp.identifier(domain));
        let rows = table(domain);
        for row in &rows {
            let answer = row.ask(&at, &mut caller);
            if let Err(why) = row.judge(&answer) {
                wrong.push(format!("{} {} {}\n    {why}: {answer}", row.place, row.endpoint, row.body));
            }
        }
        println!("{domain}: {} rows", rows.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The call that each README shows, and the answer below it.
#[test]
fn every_readme_shows_an_answer_that_is_given() {
    let pdp = Pdp::start(Variant::Open);
    let mut caller = pdp.caller();
    for domain in DOMAINS {
        let text = std::fs::read_to_string(folder(domain).join("README.md")).unwrap();
        let blocks: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
        let (_, call) = blocks[0].split_once("curl -sS http://127.0.0.1:8080").unwrap();
        let (path, rest) = call.split_once(' ').unwrap();
        let (_, body) = rest.split_once("-d '").unwrap();
        let body = body.trim_end().strip_suffix('\'').unwrap();
        let call =
            Call::new("POST", &format!("{}{path}", pdp.url)).header("content-type", "application/json").body(body);
        assert_eq!(caller.call(&call).text(), blocks[1].trim(), "{domain}");
    }
}

/// What is found is what is allowed when it is asked for.
#[test]
fn every_result_is_an_allow() {
    let pdp = Pdp::start(Variant::Open);
    let mut caller = pdp.caller();
    let mut asked = 0;
    for domain in DOMAINS {
        let at = Discovered::of(&pdp, &pdp.identifier(domain));
        for row in table(domain).iter().filter(|row| row.endpoint != "evaluation") {
            for found in row.ask(&at, &mut caller).json()["results"].as_array().unwrap() {
                let mut body = row.body.clone();
                for (name, value) in found.as_object().unwrap() {
                    body[row.endpoint][name] = value.clone();
                }
                if row.endpoint == "action" {
                    body["action"].as_object_mut().unwrap().swap_remove("properties");
                } else if row.endpoint == "subject" || row.endpoint == "resource" {
                    body[row.endpoint].as_object_mut().unwrap().swap_remove("properties");
                }
                let answer = caller.call(&Call::post(at.url("evaluation"), &body));
                assert_eq!(answer.text(), r#"{"decision":true}"#, "{}: {body}", row.place);
                asked += 1;
            }
        }
    }
    assert!(asked > 25, "only {asked} results");
}

/// Nobody's rights leave the domain that they are of, nor get into it from sites.
#[test]
fn no_domain_knows_anything_of_another() {
    let installation = Installation::with(&worlds::managed_story());
    let pdp = Pdp::start_with(Variant::Open, installation, &[]);
    let mut caller = pdp.caller();
    let sites = Discovered::of(&pdp, &pdp.url);
    let at = DOMAINS.map(|domain| Discovered::of(&pdp, &pdp.identifier(domain)));
    let nothing = |row: &Row, elsewhere: &Discovered, caller: &mut Caller| {
        let answer = row.ask(elsewhere, caller);
        let empty = if row.endpoint == "evaluation" { r#"{"decision":false}"# } else { r#"{"results":[]}"# };
        let place = elsewhere.url(row.endpoint);
        assert_eq!((answer.status, answer.text().as_str()), (200, empty), "{} at {place}: {}", row.place, row.body);
    };
    for (domain, own) in DOMAINS.iter().zip(&at) {
        let rows = table(domain);
        assert!(rows.iter().any(Row::is_allow));
        for row in &rows {
            for elsewhere in at.iter().chain([&sites]).filter(|other| other.url("action") != own.url("action")) {
                nothing(row, elsewhere, &mut caller);
            }
        }
    }
    // Maria's bakery, and what she may there, in every domain; and each domain's people on her site.
    for action in ["EditContent", "ViewSite", "PublishSite"] {
        let body = json!({"subject": {"type": "user", "id": "maria"}, "action": {"name": action},
            "resource": {"type": "site", "id": "bakery"}});
        let row = |endpoint, body: &Value| Row {
            place: "a question about sites".into(),
            endpoint,
            body: body.clone(),
            answer: String::new(),
        };
        assert_eq!(row("evaluation", &body).ask(&sites, &mut caller).text(), r#"{"decision":true}"#, "the control");
        for elsewhere in &at {
            for endpoint in ["evaluation", "subject", "resource", "action"] {
                nothing(&row(endpoint, &body), elsewhere, &mut caller);
            }
        }
        for (kind, id) in [("user", "alice"), ("user", "bob"), ("person", "ana"), ("service", "checkout")] {
            let mut body = body.clone();
            body["subject"] = json!({"type": kind, "id": id, "properties": {"role": "admin"}});
            nothing(&row("evaluation", &body), &sites, &mut caller);
        }
        for (kind, id) in [("record", "record-1"), ("document", "release"), ("route", "/status")] {
            let mut body = body.clone();
            body["resource"] = json!({"type": kind, "id": id});
            nothing(&row("evaluation", &body), &sites, &mut caller);
            for elsewhere in &at {
                nothing(&row("evaluation", &body), elsewhere, &mut caller);
            }
        }
    }
}

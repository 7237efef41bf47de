//! Asks Mandate with the client of this library: `cargo run --example caller -- [PERSON]`
//!
//! `MANDATE_SERVER`, `MANDATE_CA` and `MANDATE_KEY` say whom to ask and how: see `examples/README.md`. Ends with 0 if the
//! person may publish, 2 if not, 1 if nobody could say.

use std::{env, process::ExitCode};

use mandate::client::{Client, Decision, Entity, Error, Question, Semantic};

fn main() -> ExitCode {
    match run(&env::args().nth(1).unwrap_or_else(|| "maria".to_owned())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        // There is no decision. That is no access, and no deny either.
        Err(error) => {
            eprintln!("no answer, so no access: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(person: &str) -> Result<bool, Error> {
    let client = client()?;
    let subject = Entity::user(person);
    let asked = |action: &str| Question::new(subject.clone(), action, Entity::site("bakery"));

    // One question, with the reason for a deny.
    let decision = client.evaluate(&asked("PublishSite").explained())?;
    let reason = decision.explanation().and_then(|why| why.reason.as_deref());
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    println!("{person} PublishSite bakery: {}{reason}", word(&decision));

    // Several questions, answered at one revision.
    let questions = ["EditContent", "InviteContributor", "ManagePayouts"].map(asked);
    let answers = client.evaluate_each(&questions, Semantic::ExecuteAll)?;
    for (question, answer) in questions.iter().zip(answers.each()) {
        // A question that was none is an error in its place.
        let answer = answer.as_ref().map_err(Clone::clone)?;
        println!("{person} {} bakery: {}", question.action.name, word(answer));
    }

    // A search, page by page.
    let mut found = 0;
    for site in client.search_resources(&subject, "EditContent", "site").of(2).results() {
        println!("{person} may edit {}", site?.id);
        found += 1;
    }
    println!("{person} may edit {found} sites");
    Ok(decision.is_allowed())
}

fn client() -> Result<Client, Error> {
    let mut builder = Client::builder(said("MANDATE_SERVER").unwrap_or_else(|| "http://127.0.0.1:8080".to_owned()));
    if let Some(file) = said("MANDATE_CA") {
        builder = builder.ca_file(file);
    }
    if let Some(key) = said("MANDATE_KEY") {
        builder = match key.split_once(':') {
            Some((name, key)) => builder.basic(name, key),
            None => builder.bearer(key),
        };
    }
    builder.build()
}

fn said(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn word(decision: &Decision) -> &'static str {
    if decision.is_allowed() { "allow" } else { "deny" }
}

//! Asks Mandate with somebody else's client, the `authzen-rs` crate: `cargo run --example caller-authzen-rs -- [PERSON]`
//!
//! `MANDATE_SERVER`, `MANDATE_CA` and `MANDATE_KEY` say whom to ask and how: see `examples/README.md`. This crate asks over
//! https only. Ends with 0 if the person may publish, 2 if not, 1 if nobody could say.

use std::{env, error::Error, process::ExitCode};

use authzen_rs::{
    Action, Context, Decision, EvaluationRequest, EvaluationsRequest, PageRequest, Resource, ResourceSearchRequest,
    Subject, client::AuthZenClient,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&env::args().nth(1).unwrap_or_else(|| "maria".to_owned())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        // There is no decision. That is no access, and no deny either.
        Err(error) => {
            eprintln!("no answer, so no access: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(person: &str) -> Result<bool, Box<dyn Error>> {
    let client = client().await?;
    let subject = || Subject::new("user", person);
    let asked = |action: &str| EvaluationRequest::new(subject(), Action::new(action), Resource::new("site", "bakery"));

    // One question, with the reason for a deny.
    let explain: Context = [("explain".to_owned(), true.into())].into_iter().collect();
    let decision = client.evaluate(asked("PublishSite").with_context(explain)).await?;
    let reason = decision.context().and_then(|context| context.get("reason")?.as_str());
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    println!("{person} PublishSite bakery: {}{reason}", word(&decision));

    // Several questions, answered at one revision.
    let actions = ["EditContent", "InviteContributor", "ManagePayouts"];
    let answers = client.evaluations(EvaluationsRequest::new(actions.map(asked).to_vec())).await?;
    for (action, answer) in actions.iter().zip(answers.evaluations()) {
        // A question that was none is an error in its place, which this crate shows as a deny.
        if let Some(error) = answer.context().and_then(|context| context.get("error")) {
            return Err(format!("{action}: {error}").into());
        }
        println!("{person} {action} bakery: {}", word(answer));
    }

    // A search, page by page.
    let search = ResourceSearchRequest::new(subject(), Action::new("EditContent"), Resource::query("site"));
    let mut pages = client.paginate_resources(search.with_page(PageRequest::new().with_limit(2)))?;
    let mut found = 0;
    while let Some(page) = pages.next_page().await? {
        for site in page.results() {
            println!("{person} may edit {}", site.id().unwrap_or_default());
            found += 1;
        }
    }
    println!("{person} may edit {found} sites");
    Ok(decision.allowed())
}

async fn client() -> Result<AuthZenClient, Box<dyn Error>> {
    let server = said("MANDATE_SERVER").ok_or("set MANDATE_SERVER to an address with https://")?;
    let mut builder = AuthZenClient::builder(server);
    if let Some(file) = said("MANDATE_CA") {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(file)?)?;
        builder = builder.http_client(reqwest::Client::builder().add_root_certificate(ca).build()?);
    }
    if let Some(key) = said("MANDATE_KEY") {
        builder = builder.bearer_token(key);
    }
    Ok(builder.build().await?)
}

fn said(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn word(decision: &Decision) -> &'static str {
    if decision.allowed() { "allow" } else { "deny" }
}

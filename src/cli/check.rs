//! `mandate check`: one question, answered from a file, by a server, or from the database beside it.
//!
//! Offline it asks the code that the server asks ([`Standing`]), on the same kind of rows, so that the three ways
//! cannot differ in more than their data and their clock. An answer that is a deny exits 2; whatever kept it from
//! being an answer exits 1; neither is ever 0.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use super::{
    block_on,
    client::{Client, Reach},
    database,
    exit::{Exit, Stop},
    lines::Lines,
    policies::PolicyFiles,
    settings::Places,
};
use crate::{
    app::{import::Record, policies},
    assignment::{Asked, Circumstances, Directory, Facts, Flags, Outcome, SitePolicies, SiteRow, Standing},
    clock::{Clock as _, SystemClock},
    config::Config,
    explanation,
    ids::{Account, Principal, SiteId},
    site::Site,
    store::Store as _,
    time::Timestamp,
};

/// Asks one question: may SUBJECT do ACTION on SITE? Exit 0 allow, 2 deny, 1 could not decide.
///
/// Answered from a data file, by a server, or else from the configured database, beside a server that runs on it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mandate check maria PublishSite bakery
  mandate check user:dana ReclaimSite bakery --explain --auth-time now
  mandate check maria PublishSite bakery --data sites.jsonl --now 2026-11-24T09:00:00Z
  mandate check maria PublishSite bakery --server http://127.0.0.1:8080
  MANDATE_KEY=shop:KEY mandate check maria PublishSite bakery --server https://pdp.example.com --ca ca.pem")]
pub struct Check {
    /// Who would act: `maria`, `user:maria`, `staff:sam`, `service:billing`
    #[arg(value_parser = subject)]
    subject: Principal,
    /// What they would do, such as `PublishSite`
    action: String,
    /// Where: `bakery` or `site:bakery`
    #[arg(value_parser = site)]
    site: SiteId,
    /// Say why, and who could change that
    #[arg(long, env = "MANDATE_EXPLAIN", value_parser = clap::builder::BoolishValueParser::new())]
    explain: bool,
    /// When the person last signed in: `now`, or seconds since 1970
    #[arg(long, value_name = "now|SECONDS", value_parser = auth_time)]
    auth_time: Option<AuthTime>,
    /// Whose card or invoice it is about, such as `user:maria`
    #[arg(long)]
    account: Option<Account>,
    /// Which act, for one that the client confirms
    #[arg(long)]
    operation: Option<SmolStr>,
    /// Trust and safety's case
    #[arg(long)]
    case: Option<SmolStr>,
    /// Answer as of this moment (RFC 3339); not with --server
    #[arg(long, value_name = "TIME", conflicts_with = "server")]
    now: Option<Timestamp>,
    /// Answer from a file of JSON Lines, as `mandate export` writes them
    #[arg(long, value_name = "FILE", env = "MANDATE_DATA", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// Ask a server
    #[arg(long, value_name = "URL", env = "MANDATE_SERVER")]
    server: Option<String>,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    places: Places,
}

#[derive(Debug, Clone, Copy)]
enum AuthTime {
    Now,
    At(i64),
}

fn subject(text: &str) -> Result<Principal, String> {
    let whole = if text.contains(':') { text.to_owned() } else { format!("user:{text}") };
    whole.parse().map_err(|error: crate::ids::IdError| error.to_string())
}

fn site(text: &str) -> Result<SiteId, String> {
    text.strip_prefix("site:").unwrap_or(text).parse().map_err(|error: crate::ids::IdError| error.to_string())
}

fn auth_time(text: &str) -> Result<AuthTime, String> {
    match text {
        "now" => Ok(AuthTime::Now),
        _ => text.parse().map(AuthTime::At).map_err(|_| "write `now`, or seconds since 1970".to_owned()),
    }
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// There is no answer: nobody answers, data or policies cannot be used.
    pub fn run(self) -> Result<Exit, Stop> {
        let answer = match &self.server {
            Some(server) => self.by_server(&Client::with(server, &self.reach)?)?,
            None => self.offline(&self.places.load()?)?,
        };
        answer.print(self.explain)?;
        Ok(if answer.allowed { Exit::Done } else { Exit::Negative })
    }

    fn asked(&self, now: Timestamp) -> Asked {
        Asked {
            auth_time: self.auth_time.map(|at| match at {
                AuthTime::Now => now.as_seconds(),
                AuthTime::At(seconds) => seconds,
            }),
            account: self.account.clone(),
            operation: self.operation.clone(),
            case: self.case.clone(),
        }
    }

    fn offline(&self, config: &Config) -> Result<Answer, Stop> {
        let own = || PolicyFiles::of(config)?.load();
        let (directory, site, floor, policies) = if let Some(file) = &self.data {
            let policies = own()?;
            let (directory, site) = from_file(file, &self.site)?;
            (directory, site, Timestamp::default(), policies)
        } else {
            let configured = PolicyFiles::of_embedded(config)?;
            let (directory, site, floor, in_force) = from_database(config, &self.site)?;
            (directory, site, floor, in_force.or(configured).map_or_else(own, Ok)?)
        };
        let now = self.now.unwrap_or_else(|| SystemClock.now().max(floor));
        let outcome = self.decide(config, &policies, &directory, site.as_ref(), now)?;
        Ok(Answer::of(&outcome, &policies))
    }

    fn decide(
        &self,
        config: &Config,
        policies: &Arc<SitePolicies>,
        directory: &Directory,
        site: Option<&Site>,
        now: Timestamp,
    ) -> Result<Outcome, Stop> {
        let Some(site) = site else { return Ok(Outcome::denied("unknown_site")) };
        let Some(action) = policies.bundle().action(&self.action) else { return Ok(Outcome::denied("unknown_action")) };
        let row = SiteRow::of(site, policies);
        let asked = self.asked(now);
        let step_up_s = i64::try_from(config.timers.step_up.as_secs()).unwrap_or(i64::MAX);
        let standing = Standing::of(policies, &row, directory, &self.subject, &asked, now, step_up_s);
        standing.decide(action).map_err(|fault| Stop::failed(format!("the policies could not be evaluated: {fault}")))
    }

    fn by_server(&self, client: &Client) -> Result<Answer, Stop> {
        let asked = self.asked(SystemClock.now());
        let mut context = Map::new();
        context.insert("explain".to_owned(), Value::Bool(true));
        let mut say = |name: &str, value: Option<Value>| value.and_then(|value| context.insert(name.to_owned(), value));
        say("auth_time", asked.auth_time.map(Value::from));
        say("account", asked.account.map(|account| account.to_string().into()));
        say("operation", asked.operation.map(|operation| operation.to_string().into()));
        say("case", asked.case.map(|case| case.to_string().into()));
        let question = json!({
            "subject": { "type": self.subject.kind(), "id": self.subject.id() },
            "action": { "name": self.action },
            "resource": { "type": "site", "id": self.site },
            "context": context,
        });
        let answer = client.post("/access/v1/evaluation", None, &question)?;
        let decision = answer.body.get("decision").and_then(Value::as_bool);
        if let Some(allowed) = decision.filter(|_| answer.status == 200) {
            return Ok(Answer::told(allowed, answer.body.get("context").unwrap_or(&Value::Null)));
        }
        let detail = answer.body.get("detail").and_then(Value::as_str).unwrap_or("it gave no reason");
        Err(Stop::failed(format!("the server did not decide (status {}): {detail}", answer.status)))
    }
}

/// Agencies and staff of a file, and the one site in question.
fn from_file(file: &Path, wanted: &SiteId) -> Result<(Directory, Option<Site>), Stop> {
    let mut lines = Lines::open(file)?;
    let mut directory = Directory::default();
    let mut site = None;
    while let Some(line) = lines.next() {
        let at = |error: &dyn std::fmt::Display| Stop::failed(format!("{}: {error}", file.display()));
        let line = line.map_err(|error| at(&error))?;
        match line.record {
            Record::Agency(agency) => directory.put_agency(Arc::new(agency)),
            Record::Staff(staff) => directory.put_staff(staff.id, Some(staff.role)),
            Record::Site(document) if document.id == *wanted => {
                let read = Site::try_from(*document);
                site = Some(read.map_err(|error| at(&format_args!("line {}: {error}", line.number)))?);
            }
            Record::Site(_) => {}
        }
    }
    Ok((directory, site))
}

/// What the database holds of a site, when it was changed last, and the policies that it says are in force.
type Stored = (Directory, Option<Site>, Timestamp, Option<Arc<SitePolicies>>);

fn from_database(config: &Config, wanted: &SiteId) -> Result<Stored, Stop> {
    let store = database::open_read_only(&config.database_url).map_err(|error| {
        Stop::failed(format!("{error}\nname a file of data with --data, a server with --server, or a --database-url"))
    })?;
    block_on(async {
        let head = store.head().await?;
        let directory = store.directory().await?.value;
        let site = store.site(wanted).await?.value;
        Ok((directory, site, head.at, policies::in_force(&store).await?))
    })?
}

/// An answer as it is printed.
struct Answer {
    allowed: bool,
    reason: Option<String>,
    via: Option<String>,
    roles: Vec<String>,
    /// Id and sentence.
    policies: Vec<(String, String)>,
    facts: Vec<String>,
    obligations: Vec<String>,
}

impl Answer {
    fn of(outcome: &Outcome, policies: &SitePolicies) -> Self {
        let sentences = policies.bundle().policies().iter().filter(|policy| outcome.policies.contains(&policy.id));
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        Self {
            allowed: outcome.allowed,
            reason: outcome.reason.as_ref().map(ToString::to_string),
            via: text(outcome.via.and_then(|via| serde_json::to_value(via).ok())),
            roles: outcome.roles.iter().map(ToString::to_string).collect(),
            policies: sentences.map(|policy| (policy.id.to_string(), policy.doc.clone())).collect(),
            facts: outcome.facts.as_ref().map(holding).unwrap_or_default(),
            obligations: outcome.obligations.iter().map(|o| format!("tell the {} ({})", o.notify, o.action)).collect(),
        }
    }

    fn told(allowed: bool, context: &Value) -> Self {
        let text = |name: &str| context.get(name).and_then(Value::as_str).map(str::to_owned);
        let list = |name: &str| context.get(name).and_then(Value::as_array).into_iter().flatten();
        let docs = |id: &str| context.pointer(&format!("/docs/{id}")).and_then(Value::as_str).unwrap_or_default();
        let word = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            allowed,
            reason: text("reason"),
            via: text("via"),
            roles: Vec::new(),
            policies: list("policies")
                .filter_map(|id| Some((id.as_str()?.to_owned(), docs(id.as_str()?).to_owned())))
                .collect(),
            facts: Vec::new(),
            obligations: list("obligations")
                .map(|o| format!("tell the {} ({})", word(o, "notify"), word(o, "action")))
                .collect(),
        }
    }

    fn print(&self, explain: bool) -> Result<(), Stop> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", if self.allowed { "allow" } else { "deny" })?;
        if !explain {
            return Ok(());
        }
        if let Some(reason) = &self.reason {
            writeln!(out, "reason    {reason}")?;
            if let Some((sentence, remedy)) = explanation::denial(reason) {
                writeln!(out, "          {sentence}")?;
                writeln!(out, "remedy    {remedy}")?;
            }
        }
        if let Some(via) = &self.via {
            writeln!(out, "via       {via}")?;
        }
        for (label, words) in [("roles", &self.roles), ("facts", &self.facts), ("then", &self.obligations)] {
            if !words.is_empty() {
                writeln!(out, "{label:<9} {}", words.join(", "))?;
            }
        }
        for (n, (id, doc)) in self.policies.iter().enumerate() {
            writeln!(out, "{:<9} {id}  {doc}", if n == 0 { "policies" } else { "" })?;
        }
        Ok(())
    }
}

/// The facts that hold, by name, the mode first.
fn holding(facts: &Facts) -> Vec<String> {
    let flags = Flags::NAMES.iter().zip(facts.flags.values());
    let circumstances = Circumstances::NAMES.iter().zip(facts.circumstances.values());
    let held = flags.chain(circumstances).filter(|(_, holds)| *holds).map(|(name, _)| (*name).to_owned());
    std::iter::once(facts.mode.wire_name().to_owned()).chain(held).collect()
}

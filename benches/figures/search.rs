//! Many questions at once: batches, and the three searches.
//!
//! A batch of 50 questions about 50 sites against the same questions one by one, whole requests over one connection, in
//! turns; then, in process, what somebody may do on a site (the whole catalogue), and the first page of 100 of the sites
//! of an agency that has 100,000, for an admin of it: from a store that nothing was read from yet, and once more.

use std::{sync::Arc, time::Instant};

use mandate::{
    app::{
        App, Rules, Span,
        import::{Line, Record, import_batch},
    },
    assignment::{Asked, MemberRole},
    clock::{Clock as _, SystemClock},
    ids::Principal,
    site::{Engagement, Plan, Seats, Site, SiteDocument, Tier},
};
use serde_json::{Value, json};

use crate::{
    Effort,
    data::{self, Ids, SITES},
    servers::Mandate,
    table::{Row, median, quantile},
};

/// Questions of a batch.
const ITEMS: usize = 50;
/// Pairs of a batch and its questions in each round.
const PAIRS: usize = 20;
/// Sites of the large agency, and of a page of them.
const MANY: usize = 100_000;
const PAGE: usize = 100;

pub fn measure(effort: Effort) -> Vec<Row> {
    let mut rows = batches(effort);
    rows.extend(searches(effort));
    rows
}

fn question(n: usize) -> Value {
    let site = data::draw(n as u64, SITES);
    let (asker, _) = data::asker(n as u64, site, 1);
    json!({"subject": {"type": "user", "id": asker.as_str()}, "action": {"name": "EditContent"},
        "resource": {"type": "site", "id": Ids::Short.site(site).as_str()}})
}

fn batches(effort: Effort) -> Vec<Row> {
    let mandate = Mandate::embedded("search");
    mandate.ask_about(SITES);
    let agent = ureq::Agent::new_with_defaults();
    let ask = |path: &str, body: &str| {
        let url = format!("http://{}/access/v1/{path}", mandate.helper.address);
        let started = Instant::now();
        let mut answer = agent.post(url).header("content-type", "application/json").send(body).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (started.elapsed().as_nanos() as f64 / 1_000.0, text)
    };
    let (mut single, mut batch) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds * PAIRS {
        let questions: Vec<Value> = (0..ITEMS).map(|n| question(round * ITEMS + n)).collect();
        let texts: Vec<String> = questions.iter().map(Value::to_string).collect();
        let answers: Vec<(f64, String)> = texts.iter().map(|text| ask("evaluation", text)).collect();
        single.push(answers.iter().map(|(took, _)| took).sum::<f64>() / ITEMS as f64);
        let (took, text) = ask("evaluations", &json!({ "evaluations": questions }).to_string());
        let wanted: Vec<&str> = answers.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(text, format!(r#"{{"evaluations":[{}]}}"#, wanted.join(",")));
        batch.push(took);
    }
    let (one, all) = (median(&mut single), median(&mut batch));
    let ratio = all / ITEMS as f64 / one;
    vec![Row::aimed(
        format!("a batch of {ITEMS}, for each question by a request of its own"),
        format!("{ratio:.3} × ({all:.0} µs; {one:.0} µs)"),
        "≤ 0.35 ×",
        ratio <= 0.35,
    )]
}

fn searches(effort: Effort) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search.db");
    let open = || {
        let opening = App::open(&path, Arc::clone(&data::policies()), Rules::default(), Arc::new(SystemClock));
        runtime.block_on(opening).unwrap()
    };
    let app = open();
    fill(&runtime, &app);
    let (admin, asked) = (Principal::User("admin".parse().unwrap()), Asked::default());
    let all = Span { after: None, limit: 1_000 };
    let mut actions = Vec::new();
    for n in 0..effort.rounds * 100 {
        let site = Ids::Short.site(data::draw(n as u64, 1_000));
        let ask = || runtime.block_on(app.actions(Some(&admin), Some(&site), &asked, &all)).unwrap();
        // The first time reads the site, which costs more than all the questions.
        ask();
        let started = Instant::now();
        let found = ask();
        actions.push(started.elapsed().as_nanos() as f64 / 1_000.0);
        assert!(found.results.len() > 20);
    }
    drop(app);
    let page = |app: &App, after: Option<String>| {
        let started = Instant::now();
        let span = Span { after, limit: PAGE };
        let found = runtime.block_on(app.resources(Some(&admin), "EditContent", &asked, &span)).unwrap();
        assert_eq!(found.results.len(), PAGE);
        (started.elapsed().as_nanos() as f64 / 1e6, found.next)
    };
    let (mut first, mut again, mut later) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let app = open();
        let (took, next) = page(&app, None);
        first.push(took);
        again.push(page(&app, None).0);
        later.push(page(&app, next).0);
    }
    let (catalogue, cold, warm, next) =
        (median(&mut actions), median(&mut first), median(&mut again), median(&mut later));
    vec![
        Row::aimed(
            "what somebody may do on a site, the whole catalogue, in process",
            format!("{catalogue:.0} µs (p99 {:.0})", quantile(&mut actions, 0.99)),
            "≤ 300 µs",
            catalogue <= 300.0,
        ),
        Row::aimed(
            format!("the first {PAGE} of an agency's {MANY} sites, none read before, in process"),
            format!("{cold:.1} ms (worst {:.1})", quantile(&mut first, 1.0)),
            "≤ 10 ms",
            cold <= 10.0,
        ),
        Row::told("· the same page once more; the next one", format!("{warm:.2} ms; {next:.1} ms")),
    ]
}

/// One agency that runs all the sites.
fn fill(runtime: &tokio::runtime::Runtime, app: &App) {
    let mut agency = data::agency(0, Ids::Short);
    agency.members = [("admin".parse().unwrap(), MemberRole::Admin)].into();
    let managed = |n: usize| {
        let plain = data::site(n, Ids::Short);
        let settled = mandate::time::Timestamp::from_seconds(1_700_000_000);
        let seats = Seats::PartnerManaged(Box::new(Engagement {
            client: Ids::Short.user(n),
            partner: agency.id.clone(),
            since: settled,
            settling_until: settled,
            handover: None,
            plan_before: None,
            freeze_used: false,
            return_pending: None,
        }));
        Site::registered(plain.id, seats, Plan::of(Tier::Premium), true, Vec::new())
    };
    let records = std::iter::once(Record::Agency(agency.clone()))
        .chain((0..MANY).map(|n| Record::Site(Box::new(SiteDocument::from(&managed(n))))));
    let mut lines: Vec<Line> = (1..).zip(records).map(|(number, record)| Line { number, record }).collect();
    while !lines.is_empty() {
        let rest = lines.split_off(lines.len().min(5_000));
        runtime.block_on(import_batch(app.store(), &data::policies(), lines, SystemClock.now())).unwrap();
        lines = rest;
    }
}

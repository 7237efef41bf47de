//! A decision in process: from a site's row, a principal and an action to allow or deny, nothing remembered.
//!
//! Measured call by call, as `App::check` does it: `Standing::of` and `Standing::answer`. The questions are every
//! action of the catalogue, asked by one holder of each role and by a stranger, with and without a fresh sign-in; those
//! that are allowed and those that are denied are told apart. The variants (a site with 10 people, one with 10,000, ten
//! times as many policies) answer the same questions in turns, round by round.
//!
//! Ten times as many policies: nine more roles for each role, each with copies of its policies under other `@id`s.
//! Guardrails are not copied: they are read for everybody, and nobody has ten times as many.

use std::{fmt::Write as _, hint::black_box, sync::Arc, time::Instant};

use mandate::{
    assignment::{Asked, Directory, SitePolicies, SiteRow, Standing},
    ids::{Account, Principal},
    policy::{ActionIx, Source},
    site::{Plan, Seats, Side, Site, Tier},
    time::Timestamp,
};

use crate::{
    Effort,
    data::{self, Ids, PERSON_ROLES},
    table::{Row, median, quantile},
};

/// How long a sign-in counts as fresh, in seconds.
const STEP_UP: i64 = 600;
/// Copies of each role's policies in the large set.
const COPIES: usize = 9;

/// A set of policies and one site under it.
struct Variant {
    policies: Arc<SitePolicies>,
    row: SiteRow,
}

struct Question {
    principal: Principal,
    action: ActionIx,
    asked: Asked,
}

pub fn measure(effort: Effort) -> Vec<Row> {
    let started = Instant::now();
    let shipped = data::policies();
    let load = started.elapsed();
    let (schema, files) = multiplied();
    let started = Instant::now();
    let large = SitePolicies::load(&schema, &files).map_err(|problems| problems.to_string()).unwrap();
    let load_large = started.elapsed();
    let count = [shipped.bundle().policies().len(), large.bundle().policies().len()];

    let now = Timestamp::from_seconds(1_800_000_000);
    let variants = [
        Variant { row: SiteRow::of(&site(10), &shipped), policies: Arc::clone(&shipped) },
        Variant { row: SiteRow::of(&site(10_000), &shipped), policies: Arc::clone(&shipped) },
        Variant { row: SiteRow::of(&site(10), &large), policies: large },
    ];
    let (allowed, denied): (Vec<Question>, Vec<Question>) =
        questions(&shipped, now).into_iter().partition(|question| answer(&variants[0], question, now));
    let mut allow = [const { Vec::new() }; 3];
    let mut deny = [const { Vec::new() }; 3];
    let mut deny_with_reason = Vec::new();
    for _ in 0..effort.rounds {
        for (n, variant) in variants.iter().enumerate() {
            time(&allowed, &mut allow[n], |question| answer(variant, question, now));
            time(&denied, &mut deny[n], |question| answer(variant, question, now));
        }
        time(&denied, &mut deny_with_reason, |question| explained(&variants[0], question, now));
    }
    let mix = [0, 1, 2].map(|n| median(&mut [allow[n].as_slice(), deny[n].as_slice()].concat()));
    let micros = |samples: &mut Vec<f64>| format!("{:.1} µs (p99 {:.1})", median(samples), quantile(samples, 0.99));
    let growth = |n: usize| format!("{:+.0} %", (mix[n] / mix[0] - 1.0) * 100.0);
    vec![
        Row::aimed("decide, in process, median", format!("{:.1} µs", mix[0]), "≤ 8 µs", mix[0] <= 8.0),
        Row::told(format!("· the {} questions that are allowed", allowed.len()), micros(&mut allow[0])),
        Row::told(format!("· the {} that are denied", denied.len()), micros(&mut deny[0])),
        Row::told("· a deny with its reason", micros(&mut deny_with_reason)),
        Row::aimed("decide, 10,000 people on the site instead of 10", growth(1), "≤ 10 %", mix[1] <= mix[0] * 1.1),
        Row::aimed(
            format!("decide, {} policies instead of {}", count[1], count[0]),
            growth(2),
            "≤ 10 %",
            mix[2] <= mix[0] * 1.1,
        ),
        Row::told(
            format!("loading, checking and indexing {} policies; {}", count[0], count[1]),
            format!("{:.2} s; {:.2} s", load.as_secs_f64(), load_large.as_secs_f64()),
        ),
    ]
}

/// Calls one by one, in microseconds.
fn time(questions: &[Question], samples: &mut Vec<f64>, call: impl Fn(&Question) -> bool) {
    for question in questions {
        let started = Instant::now();
        black_box(call(black_box(question)));
        samples.push(started.elapsed().as_nanos() as f64 / 1_000.0);
    }
}

fn answer(variant: &Variant, question: &Question, now: Timestamp) -> bool {
    standing(variant, question, now).answer(question.action).unwrap().allowed
}

fn explained(variant: &Variant, question: &Question, now: Timestamp) -> bool {
    standing(variant, question, now).decide(question.action).unwrap().allowed
}

fn standing<'a>(variant: &'a Variant, question: &'a Question, now: Timestamp) -> Standing<'a> {
    let Question { principal, asked, .. } = question;
    Standing::of(&variant.policies, &variant.row, &Directory::default(), principal, asked, now, STEP_UP)
}

/// A self-managed site with this many assignments: an owner, one person for each role, and more of the same.
fn site(people: usize) -> Site {
    let owner = Ids::Short.user(0);
    let seats = Seats::SelfManaged { owner: owner.clone() };
    let mut site = Site::registered(Ids::Short.site(0), seats, Plan::of(Tier::Premium), true, Vec::new());
    site.contributors = (1..people)
        .map(|n| {
            let role = PERSON_ROLES[(n - 1) % PERSON_ROLES.len()];
            (Ids::Short.user(n), data::contributor(role, Account::from(owner.clone()), Side::Client))
        })
        .collect();
    site
}

fn questions(policies: &SitePolicies, now: Timestamp) -> Vec<Question> {
    let people = (0..10).map(|n| Ids::Short.user(n)).chain([Ids::Short.user(50_000)]);
    people
        .flat_map(|user| {
            policies.bundle().actions().flat_map(move |(action, _)| {
                let user = user.clone();
                [None, Some(now.as_seconds() - 60)].map(move |auth_time| Question {
                    principal: Principal::User(user.clone()),
                    action,
                    asked: Asked { auth_time, account: Some(Account::User(user.clone())), ..Asked::default() },
                })
            })
        })
        .collect()
}

/// The shipped schema and policies, with [`COPIES`] further roles for each role and copies of its policies.
fn multiplied() -> (Source, Vec<Source>) {
    let (mut schema, mut files) = data::shipped();
    let declared = schema.text.split_once("entity Role enum [").unwrap().1.split_once(']').unwrap().0.to_owned();
    let names: Vec<&str> = declared
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .collect();
    let copied: Vec<&Source> = files.iter().filter(|file| !file.path.contains("/guardrails/")).collect();
    let mut copies = Vec::new();
    let mut more = declared.trim_end().to_owned();
    for n in 1..=COPIES {
        for name in &names {
            let _ = write!(more, ", \"{name}X{n}\"");
        }
        for file in &copied {
            let mut text = file.text.replace("@id(\"", &format!("@id(\"x{n}."));
            for name in &names {
                text = text.replace(&format!("Role::\"{name}\""), &format!("Role::\"{name}X{n}\""));
            }
            copies.push(Source { path: file.path.replace(".cedar", &format!("-x{n}.cedar")), text });
        }
    }
    schema.text = schema.text.replace(&declared, &more);
    files.extend(copies);
    (schema, files)
}

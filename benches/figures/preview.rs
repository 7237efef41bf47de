//! What would change for whom? Previews, and who has access, on sites with fifty people who differ as much as people do.
//!
//! Through `App::preview` and `App::access`, on a store that holds nothing else. An offer's preview plays the acceptance
//! through as well and compares what each of the fifty may do before and after, for every action of the catalogue.
//! People who hold the same roles in the same way are asked about once, so a crowd in which everybody is a Viewer would
//! cost what one Viewer costs. Here all nine roles are held, given by the payer and by somebody else, on both sides where
//! there are two; the agency has admins, billing people, and members with every template, whose grants have partly ended.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use mandate::{
    app::{
        App, CommandRequest, Rules,
        import::{Line, Record, import_batch},
    },
    assignment::{Agency, MemberRole},
    clock::{Clock as _, SystemClock},
    handover::{Command, Handover, HandoverKind, HandoverStatus, Timers},
    ids::{Account, AgencyId, UserId},
    revision::Revision,
    site::{AgencyGrant, Contributor, Plan, Seats, Side, Site, SiteDocument, Template, Tier},
    time::Timestamp,
};
use smol_str::SmolStr;

use crate::{
    Effort,
    data::{self, Ids, PERSON_ROLES},
    table::{Row, median, quantile},
    transition::request,
};

/// People on each site: one in a seat, the agency's, and the rest invited.
pub const PEOPLE: usize = 50;
/// Of them, in the agency: two admins, two who handle its invoices, eight members.
const STUDIO: usize = 12;
/// Milliseconds that a preview may take.
const ENOUGH: f64 = 5.0;
/// Of each kind in one round.
const TIMES: usize = 20;

/// A site that its owner is about to hand over.
pub const SELF_MANAGED: &str = "crowded";
/// A site that the agency built, with an offer to its client that waits.
const PARTNER_BUILT: &str = "built";

pub fn measure(effort: Effort) -> Vec<Row> {
    let folder = data::scratch("preview");
    let path = folder.join("mandate.db");
    for ending in ["db", "db-wal", "db-shm"] {
        let _ = std::fs::remove_file(path.with_extension(ending));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let clock = Arc::new(SystemClock);
    let app = runtime.block_on(App::open(&path, data::policies(), Rules::default(), clock)).unwrap();
    crowd(&runtime, &app);
    let (mut offering, mut accepting, mut listing) = (Vec::new(), Vec::new(), Vec::new());
    let lists = PARTNER_BUILT.parse().unwrap();
    for _ in 0..effort.rounds * TIMES {
        offering.push(preview(&runtime, &app, offer()));
        accepting.push(preview(&runtime, &app, accept()));
        listing.push(millis(|| {
            let (_, page) = runtime.block_on(app.access(&lists, None, PEOPLE)).unwrap();
            assert!(page.items.len() > PEOPLE / 2, "{}", page.items.len());
        }));
    }
    let row = |what: &str, mut times: Vec<f64>| {
        let (typical, rare) = (median(&mut times), quantile(&mut times, 0.99));
        Row::aimed(what, format!("{typical:.2} ms (p99 {rare:.2})"), "≤ 5 ms", typical <= ENOUGH)
    };
    vec![
        row(&format!("a preview with {PEOPLE} people: offering the site to an agency"), offering),
        row(&format!("a preview with {PEOPLE} people: accepting it from an agency"), accepting),
        row(&format!("who has access, {PEOPLE} people"), listing),
    ]
}

fn millis(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_nanos() as f64 / 1_000_000.0
}

/// Times one preview, and looks whether it found what changes.
fn preview(runtime: &tokio::runtime::Runtime, app: &App, request: CommandRequest) -> f64 {
    let mut seen = None;
    let took = millis(|| seen = Some(runtime.block_on(app.preview(request)).unwrap()));
    let seen = serde_json::to_value(seen.unwrap()).unwrap();
    let changes = seen["permission_diff"].as_array().unwrap().len();
    assert!(seen["would"] == "apply" && changes > 5, "{}, {changes} changes", seen["would"]);
    took
}

/// The owner offers the Partner seat.
pub fn offer() -> CommandRequest {
    request(SELF_MANAGED.parse().unwrap(), seat(), Command::OfferPartnerRole { to: studio() }, None)
}

/// The client takes the site that was built for them.
fn accept() -> CommandRequest {
    let command = Command::AcceptHandover {
        handover: "waiting".parse().unwrap(),
        explanation_digest: SmolStr::default(),
        lang: SmolStr::new_static("en"),
    };
    request(PARTNER_BUILT.parse().unwrap(), seat(), command, None)
}

/// Owner of the one site, client to be of the other.
pub fn seat() -> UserId {
    Ids::Short.user(0)
}
fn studio() -> AgencyId {
    "crowd-studio".parse().unwrap()
}
fn invited() -> impl Iterator<Item = usize> {
    1..PEOPLE - STUDIO
}
fn members() -> impl Iterator<Item = usize> {
    PEOPLE - STUDIO..PEOPLE
}

/// Registers the agency and both sites.
pub fn crowd(runtime: &tokio::runtime::Runtime, app: &App) {
    let agency = Agency {
        id: studio(),
        name: "Crowd".to_owned(),
        domain: "crowd.example".to_owned(),
        members: members().map(|n| (Ids::Short.user(n), member(n))).collect(),
        ..data::agency(0, Ids::Short)
    };
    let sites = [self_managed(), partner_built()].map(|site| Record::Site(Box::new(SiteDocument::from(&site))));
    let records = [Record::Agency(agency)].into_iter().chain(sites);
    let lines = (1..).zip(records).map(|(number, record)| Line { number, record }).collect();
    let policies = app.view().policies();
    runtime.block_on(import_batch(app.store(), &policies, lines, SystemClock.now())).unwrap();
}

fn member(n: usize) -> MemberRole {
    match PEOPLE - n {
        1 | 2 => MemberRole::Admin,
        3 | 4 => MemberRole::Billing,
        _ => MemberRole::Member,
    }
}

/// Every role four times: half of the people invited by whoever pays, half by the site's first manager.
fn people(payer: &Account, side: fn(usize) -> Side) -> BTreeMap<UserId, Contributor> {
    let grantor = |n: usize| if n.is_multiple_of(2) { payer.clone() } else { Ids::Short.user(1).into() };
    let role = |n: usize| PERSON_ROLES[n % PERSON_ROLES.len()];
    invited().map(|n| (Ids::Short.user(n), data::contributor(role(n), grantor(n), side(n)))).collect()
}

fn self_managed() -> Site {
    let seats = Seats::SelfManaged { owner: seat() };
    let mut site = Site::registered(SELF_MANAGED.parse().unwrap(), seats, Plan::of(Tier::Premium), true, Vec::new());
    site.contributors = people(&seat().into(), |_| Side::Client);
    site
}

fn partner_built() -> Site {
    let seats = Seats::PartnerBuilt { owner: studio() };
    let mut site = Site::registered(PARTNER_BUILT.parse().unwrap(), seats, Plan::of(Tier::Premium), true, Vec::new());
    site.contributors = people(&studio().into(), |n| if n % 4 < 2 { Side::Client } else { Side::Partner });
    let members = members().filter(|n| member(*n) == MemberRole::Member);
    let ended = |n: usize| n.is_multiple_of(2).then_some(Timestamp::from_micros(1_700_000_000_000_000));
    let grant = |n: usize| AgencyGrant { template: Template::ALL[n % Template::ALL.len()], expires_at: ended(n) };
    site.grants = members.map(|n| (Ids::Short.user(n), grant(n))).collect();
    site.open_handover = Some(Handover {
        id: "waiting".parse().unwrap(),
        site: site.id.clone(),
        kind: HandoverKind::ClientAssignment,
        initiator: studio().into(),
        initiated_by: Ids::Short.user(PEOPLE - 1).into(),
        to: seat().into(),
        status: HandoverStatus::Open,
        consents_needed: vec![seat().into()],
        consents_given: Vec::new(),
        offered_at: SystemClock.now(),
        expires_at: SystemClock.now().plus(Timers::default().offer_ttl),
        ended_at: None,
        revision_at_offer: Revision(0),
        preview_digest: SmolStr::default(),
        requested_by: None,
        reminders: Vec::new(),
        terms: None,
    });
    site
}

//! The policy tests' cast, as an import: the same people, agencies and sites, with their deadlines moved to today.
//!
//! A fixture stands at a moment of its own; a server has the real clock. Every time in a record is moved by the
//! difference, so that what ends in an hour there ends in an hour here.

use mandate::{
    app::import::{Record, StaffRecord},
    authoring::World,
    clock::{Clock as _, SystemClock},
    policy::Source,
    site::SiteDocument,
    time::Timestamp,
};
use serde_json::{Value, json};

/// A fixture of the policy folder.
pub fn fixture(name: &str) -> World {
    let path = format!("{}/policies/fixtures/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    World::parse(&Source { path: format!("policies/fixtures/{name}.toml"), text }).unwrap()
}

/// The records of a fixture, agencies and staff first.
///
/// A site that the fixture asks about as if its agency were suspended gets an agency of its own that is: the same
/// people, named `<agency>-<status>`.
pub fn records(world: &World) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    let mut line = |record: Record| records.push(serde_json::from_str(&record.to_line().unwrap()).unwrap());
    for agency in world.directory.agencies() {
        line(Record::Agency(mandate::assignment::Agency::clone(agency)));
    }
    for (id, role) in world.directory.staff() {
        line(Record::Staff(StaffRecord { id: id.clone(), role }));
    }
    for fixture in &world.sites {
        line(Record::Site(Box::new(SiteDocument::from(&fixture.site))));
    }
    let mut made: Vec<String> = Vec::new();
    for fixture in &world.sites {
        let Some(agency) = fixture.site.seats.agency().and_then(|id| world.directory_of(fixture).agency(id)) else {
            continue;
        };
        if world.directory.agency(&agency.id).is_some_and(|usual| usual.status == agency.status) {
            continue;
        }
        let mut other = serde_json::to_value(agency.as_ref()).unwrap();
        let name = format!("{}-{}", agency.id, other["status"].as_str().unwrap());
        let site = records.iter_mut().find(|record| record["site"]["id"] == fixture.site.id.as_str()).unwrap();
        rename(site, agency.id.as_str(), &name);
        if !made.contains(&name) {
            other["id"] = json!(name);
            other.as_object_mut().unwrap().remove("revision");
            made.push(name);
            records.insert(0, json!({ "agency": other }));
        }
    }
    let shift = SystemClock.now().as_micros() - world.now.as_micros();
    for record in &mut records {
        move_times(record, shift);
    }
    records
}

/// Gives an agency another name wherever a site names it.
fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| rename(value, from, to)),
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, from, to)),
        Value::String(text) if text == from => to.clone_into(text),
        Value::String(text) if *text == format!("agency:{from}") => *text = format!("agency:{to}"),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn move_times(value: &mut Value, micros: i64) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| move_times(value, micros)),
        Value::Array(items) => items.iter_mut().for_each(|value| move_times(value, micros)),
        Value::String(text) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                *text = Timestamp::from_micros(time.as_micros() + micros).to_string();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The time so many seconds from now; negative: ago.
pub fn in_seconds(seconds: i64) -> String {
    Timestamp::from_micros(SystemClock.now().as_micros() + seconds * 1_000_000).to_string()
}

/// The story's people, agencies and sites: Maria's bakery, and the florist's that Studio North built.
pub fn story() -> Vec<Value> {
    records(&fixture("bakery"))
}

/// The story with Studio North as Maria's partner since long ago.
pub fn managed_story() -> Vec<Value> {
    let mut records = story();
    let bakery = records.iter_mut().find(|record| record["site"]["id"] == "bakery").unwrap();
    let site = bakery["site"].as_object_mut().unwrap();
    site.remove("owner");
    for (name, value) in [
        ("mode", json!("partner_managed")),
        ("client", json!("maria")),
        ("partner", json!("studio-north")),
        ("since", json!(in_seconds(-90 * 86_400))),
        ("settling_until", json!(in_seconds(-83 * 86_400))),
        ("grants", json!({"bo": {"template": "builder"}})),
    ] {
        site.insert(name.to_owned(), value);
    }
    records
}

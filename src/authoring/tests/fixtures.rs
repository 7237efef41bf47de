//! Fixtures: inheritance, what is filled in, and what is refused.

use super::*;
use crate::{assignment::AgencyStatus, handover::HandoverStatus, ids::Principal, site::Mode};

fn world(sites: &str) -> Result<World, String> {
    let text = format!(
        "now = \"2026-11-24T09:00:00Z\"\n[people]\nzoe = \"owner\"\nann = \"admin\"\n\
         [agencies.a]\nname = \"A\"\ndomain = \"a.example\"\nverified = true\nmembers = {{ ann = \"admin\" }}\n\
         [staff.sam]\nrole = \"support\"\nis = \"support\"\n{sites}"
    );
    World::parse(&Source { path: "policies/fixtures/small.toml".to_owned(), text }).map_err(|e| e.to_string())
}

const PLAIN: &str =
    "[sites.plain]\nis = \"plain\"\nmode = \"self_managed\"\nowner = \"user:zoe\"\nplan = { tier = \"free\" }\n";

#[test]
fn a_site_takes_after_another() {
    let sites = format!(
        "{PLAIN}[sites.late]\nlike = \"plain\"\nis = \"late\"\nplan = {{ status = \"past_due\" }}\n\
         [sites.latest]\nlike = \"late\"\nis = \"latest\"\ntrashed_at = \"2026-11-01T00:00:00Z\"\n"
    );
    let world = world(&sites).unwrap();
    assert_eq!(world.name, "small");
    let ids: Vec<&str> = world.sites.iter().map(|site| site.site.id.as_str()).collect();
    assert_eq!(ids, ["plain", "late", "latest"], "in the file's order");
    let latest = &world.site("latest").unwrap().site;
    assert_eq!(latest.plan.status, crate::site::PlanStatus::PastDue, "tables are merged");
    assert_eq!(latest.plan.tier, crate::site::Tier::Free);
    assert!(latest.trashed_at.is_some());
    let people: Vec<&str> = world.people.iter().map(|person| person.principal.id()).collect();
    assert_eq!(people, ["zoe", "ann", "sam"]);
    assert!(matches!(world.principal("sam"), Some(Principal::Staff(_))));
    assert!(matches!(world.principal("service:billing"), Some(Principal::Service(_))));
    assert_eq!(world.principal("user:sam"), None);
}

#[test]
fn an_offer_is_completed_and_an_agency_status_is_for_one_site() {
    let sites = format!(
        "{PLAIN}[sites.offered]\nlike = \"plain\"\nis = \"offered\"\n\
         open_handover = {{ kind = \"partner_handover\", initiator = \"user:zoe\", initiated_by = \"zoe\", to = \"agency:a\", \
         expires_at = \"2026-12-01T00:00:00Z\" }}\n\
         [sites.built]\nis = \"built\"\nmode = \"partner_built\"\nowner = \"agency:a\"\nplan = {{ tier = \"free\" }}\n\
         agency_status = \"suspended\"\n[sites.fine]\nlike = \"built\"\nis = \"fine\"\n"
    );
    let world = world(&sites).unwrap();
    let offer = world.site("offered").unwrap().site.open_handover.clone().unwrap();
    assert_eq!((offer.site.as_str(), offer.status), ("offered", HandoverStatus::Open));
    assert_eq!(offer.consents_needed, std::slice::from_ref(&offer.to));
    let status = |id: &str| {
        let site = world.site(id).unwrap();
        world.directory_of(site).agency(site.site.seats.agency().unwrap()).unwrap().status
    };
    assert_eq!(status("built"), AgencyStatus::Suspended);
    assert_eq!(status("fine"), AgencyStatus::Active, "what a site shows is not inherited");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (sites, expected) in [
        ("[sites.x]\nlike = \"y\"\nis = \"x\"\n", ":13: site `x`: `like` names `y`"),
        (
            "[sites.x]\nlike = \"y\"\nis = \"x\"\n[sites.y]\nlike = \"x\"\nis = \"y\"\n",
            ":13: site `x`: `like` goes round in a circle at `x`",
        ),
        (&PLAIN.replace("is = \"plain\"\n", ""), ":13: site `plain`: `is` is missing"),
        (&PLAIN.replace("zoe", "zoey"), ":13: site `plain` names `user:zoey`, which the fixture does not declare"),
        (&PLAIN.replace("owner =", "owned ="), ":13: site `plain`: unknown field `owned`"),
        (
            &PLAIN.replace("user:zoe", "agency:a"),
            ":13: site `plain`: a site in mode `self_managed` is owned by a person",
        ),
        (
            &format!("{PLAIN}agency_status = \"suspended\"\n"),
            ":13: site `plain`: `agency_status` is for a site on which",
        ),
        (&PLAIN.replace("mode = \"self_managed\"", "mode = self"), ":15: "),
    ] {
        let found = world(sites).unwrap_err();
        assert!(found.contains(&format!("policies/fixtures/small.toml{expected}")), "{found}");
    }
}

#[test]
fn a_role_that_no_invitation_gives_is_refused() {
    let sites = format!(
        "{PLAIN}contributors = {{ ann = {{ role = \"Partner\", grantor = \"user:zoe\", side = \"client\" }} }}\n"
    );
    let found = world(&sites).unwrap().unknown_to(&crate::assignment::SHIPPED);
    assert_eq!(
        found.first().map(ToString::to_string).as_deref(),
        Some("policies/fixtures/small.toml:13: `ann` has the role `Partner`, which no invitation can give")
    );
}

#[test]
fn the_story_begins_as_it_is_told() {
    let bakery = WORLDS.iter().find(|world| world.name == "bakery").unwrap();
    let site = &bakery.site("bakery").unwrap().site;
    assert_eq!(site.seats.owner().unwrap().to_string(), "user:maria");
    assert!(site.published && site.plan.name.is_some() && site.plan.price.is_some());
    assert_eq!(bakery.site("florist").unwrap().site.seats.mode(), Mode::PartnerBuilt);
    let cast = WORLDS.iter().find(|world| world.name == "cast").unwrap();
    let modes: std::collections::BTreeSet<Mode> = cast.sites.iter().map(|site| site.site.seats.mode()).collect();
    assert_eq!(modes.len(), 4);
}

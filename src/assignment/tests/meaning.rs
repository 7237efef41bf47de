//! What an answer may hang on, and what it may not.

use proptest::{prelude::*, sample::select, test_runner::TestRunner};

use super::sites::{NOW, World, world};
use crate::{
    assignment::{Agency, AgencyStatus, Asked, Directory, MemberRole, Outcome, REASONS, SHIPPED, SiteRow, Standing},
    decision::Fault,
    ids::{Principal, UserId},
    policy::ActionIx,
    revision::Revision,
    site::{Contributor, Mode, Side, Site, SiteDocument},
};

fn action() -> impl Strategy<Value = ActionIx> {
    select(SHIPPED.bundle().actions().map(|(action, _)| action).collect::<Vec<_>>())
}

fn decide(world: &World, action: ActionIx) -> Outcome {
    let row = SiteRow::of(&world.site, &SHIPPED);
    let directory = world.directory();
    Standing::of(&SHIPPED, &row, &directory, &world.principal, &world.asked, NOW, 600).decide(action).unwrap()
}

/// The same world under other names, in another order.
fn renamed(world: &World) -> World {
    const NAMES: [(&str, &str); 11] = [
        ("p0", "zoe"),
        ("p1", "b@example.org"),
        ("p2", "A-2"),
        ("p3", "0"),
        ("g0", "zz"),
        ("g1", "g"),
        ("g2", "nowhere"),
        ("s0", "t"),
        ("s1", "a"),
        ("s2", "Z"),
        ("x", "another.site"),
    ];
    fn under<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        let mut text = serde_json::to_string(value).unwrap();
        for (old, new) in NAMES {
            for before in ['"', ':'] {
                text = text.replace(&format!("{before}{old}\""), &format!("{before}{new}\""));
            }
        }
        serde_json::from_str(&text).unwrap()
    }
    let asked = Asked { account: world.asked.account.as_ref().map(under), ..world.asked.clone() };
    World {
        site: Site::try_from(under(&SiteDocument::from(&world.site))).unwrap(),
        agencies: world.agencies.iter().rev().map(under).collect(),
        staff: world.staff.iter().map(|(id, role)| (under(id), *role)).collect(),
        principal: under(&world.principal),
        asked,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn names_mean_nothing(world in world(), action in action()) {
        prop_assert_eq!(decide(&renamed(&world), action), decide(&world, action));
    }

    #[test]
    fn the_unrelated_means_nothing(world in world(), action in action(), role in select(SHIPPED.strengths().person_roles().to_vec())) {
        let before = decide(&world, action);
        let mut more = world.clone();
        let unrelated: UserId = "unrelated".parse().unwrap();
        if more.site.seats.mode() != Mode::Purged {
            let grantor = "user:p0".parse().unwrap();
            let row = Contributor { role, grantor, side: Side::Client, revision: Revision(9) };
            more.site.contributors.insert(unrelated.clone(), row);
            more.site.blocked.insert(unrelated.clone());
        }
        more.site.revision = Revision(99);
        more.agencies.push(Agency {
            id: "unrelated".parse().unwrap(),
            name: String::new(),
            domain: String::new(),
            verified: true,
            status: AgencyStatus::Suspended,
            status_since: crate::time::Timestamp::default(),
            returns_at: None,
            card: true,
            members: [(unrelated, MemberRole::Admin)].into(),
            revision: Revision(9),
        });
        prop_assert_eq!(decide(&more, action), before);
    }

    /// I25: a denial has its reason, an answer that lets somebody in says how they come to have access.
    #[test]
    fn every_answer_is_explained(world in world(), action in action()) {
        let outcome = decide(&world, action);
        prop_assert_eq!(outcome.reason.is_some(), !outcome.allowed);
        prop_assert!(outcome.reason.as_ref().is_none_or(|reason| REASONS.contains(&reason.as_str())));
        prop_assert!(!outcome.allowed || outcome.via.is_some() && !outcome.policies.is_empty());
        prop_assert!(outcome.allowed || outcome.obligations.is_empty());
        prop_assert!(outcome.reason.as_deref() != Some("no_role") || outcome.via.is_none());
    }

    /// I28: nobody may anything on a site that is gone, and services hold no role.
    #[test]
    fn nothing_is_left_of_a_purged_site(world in world(), action in action()) {
        let nothing = world.site.seats.mode() == Mode::Purged || matches!(world.principal, Principal::Service(_));
        prop_assert!(!nothing || !decide(&world, action).allowed);
    }

    /// A command's 403 names what the actor lacks, and says nothing where a check would say yes.
    #[test]
    fn what_is_allowed_is_allowed_but_for_state(world in world(), action in action()) {
        let row = SiteRow::of(&world.site, &SHIPPED);
        let directory = world.directory();
        let standing = Standing::of(&SHIPPED, &row, &directory, &world.principal, &world.asked, NOW, 600);
        let but_for_state = standing.may_but_for_state(action).unwrap();
        prop_assert!(!standing.decide(action).unwrap().allowed || but_for_state.is_ok());
    }
}

/// What a site refers to and is not there is no deny: nobody gets an answer from half a picture.
#[test]
fn what_is_missing_is_a_fault_and_not_a_deny() {
    let document = |text: &str| Site::try_from(serde_json::from_str::<SiteDocument>(text).unwrap()).unwrap();
    let plan = r#""plan":{"tier":"free"}"#;
    let seat = document(&format!(r#"{{"id":"s","mode":"partner_built","owner":"agency:gone",{plan}}}"#));
    let role = document(&format!(
        r#"{{"id":"s","mode":"self_managed","owner":"user:p0",{plan},
            "contributors":{{"p1":{{"role":"NoSuchRole","grantor":"user:p0","side":"client"}}}}}}"#
    ));
    let action = SHIPPED.bundle().action("ViewSite").unwrap();
    let decide = |site: &Site, who: &str| {
        let row = SiteRow::of(site, &SHIPPED);
        let principal = Principal::User(who.parse().unwrap());
        Standing::of(&SHIPPED, &row, &Directory::default(), &principal, &Asked::default(), NOW, 600).decide(action)
    };
    assert!(matches!(decide(&seat, "p0"), Err(Fault::Missing(_))));
    assert!(matches!(decide(&role, "p1"), Err(Fault::Missing(_))));
    assert!(decide(&role, "p0").unwrap().allowed, "the control: the owner is not concerned");
    assert!(!decide(&role, "p2").unwrap().allowed, "the control: neither is a stranger");
}

/// A related change is noticed by the very comparison that ignores unrelated ones.
#[test]
fn the_related_means_something() {
    let found = TestRunner::deterministic().run(&(world(), action()), |(world, action)| {
        let before = decide(&world, action);
        let mut more = world;
        for agency in &mut more.agencies {
            agency.status = AgencyStatus::Suspended;
        }
        prop_assert_eq!(decide(&more, action), before);
        Ok(())
    });
    assert!(found.is_err());
}

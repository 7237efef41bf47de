//! Maria's bakery, Studio North and Studio South: the story that tests and documents share.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mandate::{
    assignment::{Agency, AgencyStatus, Directory, MemberRole},
    explanation::{Audience, Explanation, Extra, Facts, Flow, Parties, explain, facts_with},
    handover::Timers,
    ids::{Account, AgencyId, UserId},
    revision::Revision,
    site::{Contributor, Domain, Engagement, Plan, PlanStatus, ReturnPending, ReturnReason, Seats, Side, Site, Tier},
    time::Timestamp,
};

pub const LANGS: [&str; 2] = ["en", "de"];
pub const DAY: Duration = Duration::from_hours(24);

pub fn now() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

pub fn agency(id: &str, name: &str, people: &[(&str, MemberRole)]) -> Agency {
    Agency {
        id: id.parse().unwrap(),
        name: name.to_owned(),
        domain: format!("{id}.example"),
        verified: true,
        status: AgencyStatus::Active,
        status_since: Timestamp::default(),
        returns_at: None,
        card: true,
        members: people.iter().map(|(user, role)| (user.parse().unwrap(), *role)).collect(),
        revision: Revision::default(),
    }
}

pub fn directory() -> Directory {
    let mut directory = Directory::default();
    let north = [("nora", MemberRole::Admin), ("otto", MemberRole::Member)];
    directory.put_agency(Arc::new(agency("studio-north", "Studio North", &north)));
    directory.put_agency(Arc::new(agency("studio-south", "Studio South", &[("sara", MemberRole::Admin)])));
    directory
}

pub fn accounts() -> [Account; 2] {
    ["user:maria".parse().unwrap(), "agency:studio-north".parse().unwrap()]
}

pub fn south() -> AgencyId {
    "studio-south".parse().unwrap()
}

pub fn tom() -> UserId {
    "tom".parse().unwrap()
}

fn plan() -> Plan {
    Plan {
        name: Some("Business".to_owned()),
        price: Some("17.00".to_owned()),
        currency: Some("EUR".to_owned()),
        next_charge_at: Some("2026-12-15T00:00:00Z".parse().unwrap()),
        ..Plan::of(Tier::Premium)
    }
}

pub fn row(role: &str, grantor: &str, side: Side) -> Contributor {
    Contributor { role: role.into(), grantor: grantor.parse().unwrap(), side, revision: Revision::default() }
}

fn seats(flow: Flow) -> Seats {
    let maria = "maria".parse().unwrap();
    let north = "studio-north".parse().unwrap();
    match flow {
        Flow::PartnerHandover | Flow::Returned | Flow::OwnershipTransfer | Flow::PartnerRequest | Flow::Nudge => {
            Seats::SelfManaged { owner: maria }
        }
        Flow::ClientAssignment => Seats::PartnerBuilt { owner: north },
        _ => {
            let since: Timestamp = "2026-06-01T09:00:00Z".parse().unwrap();
            let reason = match flow {
                Flow::Lapsed => Some(ReturnReason::PlanLapsed),
                Flow::AgencySuspended => Some(ReturnReason::AgencySuspended),
                Flow::AgencyDissolving => Some(ReturnReason::AgencyDissolved),
                _ => None,
            };
            Seats::PartnerManaged(Box::new(Engagement {
                client: maria,
                partner: north,
                since,
                settling_until: since.plus(DAY * 7),
                handover: None,
                plan_before: None,
                freeze_used: false,
                return_pending: reason.map(|reason| pending(reason, now().plus(DAY * 14))),
            }))
        }
    }
}

pub fn pending(reason: ReturnReason, effective_at: Timestamp) -> ReturnPending {
    ReturnPending { reason, requested_at: now(), effective_at, locked: false, keep: BTreeSet::new() }
}

/// Freezes the site for ten days, as it is stored.
pub fn frozen(mut site: Site) -> Site {
    let freeze = serde_json::json!({ "until": now().plus(DAY * 10), "case": "case-1" });
    site.frozen = Some(serde_json::from_value(freeze).unwrap());
    site
}

/// The bakery as this flow finds it.
pub fn site(flow: Flow) -> Site {
    let seats = seats(flow);
    let holder = seats.content_owner().unwrap();
    let domains = vec![
        Domain { name: "bakery.example".to_owned(), holder: holder.clone() },
        Domain { name: "cake.example".to_owned(), holder },
    ];
    let partner_managed = seats.engagement().is_some();
    let mut site = Site::registered("bakery".parse().unwrap(), seats, plan(), true, domains);
    let lena = ("lena", row("BlogEditor", "user:maria", Side::Client));
    let pia = ("pia", row("BillingManager", "agency:studio-north", Side::Partner));
    let rows = match flow {
        Flow::PartnerHandover | Flow::OwnershipTransfer => vec![
            ("ben", row("BillingManager", "user:maria", Side::Client)),
            lena,
            ("otto", row("WebsiteDesigner", "user:maria", Side::Client)),
        ],
        Flow::ClientAssignment => vec![pia],
        Flow::Replacement => vec![lena, pia, ("sara", row("WebsiteDesigner", "user:maria", Side::Client))],
        _ if partner_managed => vec![lena, pia],
        _ => vec![],
    };
    site.contributors = rows.into_iter().map(|(user, row)| (user.parse().unwrap(), row)).collect();
    match flow {
        Flow::Returned => site.plan.bridge_until = Some(now().plus(DAY * 14)),
        Flow::PastDue | Flow::Rescue => site.plan.status = PlanStatus::PastDue,
        Flow::Lapsed => site.plan = Plan { status: PlanStatus::Lapsed, ..Plan::of(Tier::Free) },
        Flow::Freeze | Flow::Custody => site = frozen(site),
        _ => {}
    }
    site
}

pub fn extra(flow: Flow) -> Extra {
    let base = Extra {
        freeze_max: Some(DAY * 14),
        past_due_grace: Some(DAY * 14),
        lapse_notice: Some(DAY * 14),
        suspension_notice: Some(DAY * 14),
        last4: Some("4242".to_owned()),
        ..Extra::default()
    };
    match flow {
        Flow::PastDue => Extra {
            failed_on: Some(now()),
            lapses_at: Some(now().plus(DAY * 14)),
            returns_at: Some(now().plus(DAY * 28)),
            ..base
        },
        Flow::OwnershipTransfer | Flow::Succession => Extra {
            transfer_domains: Some(vec!["bakery.example".to_owned()]),
            plan_moves: Some(true),
            keeps_role: Some(false),
            ..base
        },
        Flow::Nudge => Extra { email: Some("nora@studio-north.example".to_owned()), ..base },
        Flow::Custody => Extra { successor: Some("tom".to_owned()), ..base },
        _ => base,
    }
}

pub fn facts_on(flow: Flow, site: &Site, directory: &Directory, now: Timestamp) -> Facts {
    let [client, partner] = accounts();
    let (south, tom) = (south(), tom());
    let parties = match flow {
        Flow::Replacement => Parties::of_replacement(site, &south, directory),
        Flow::OwnershipTransfer | Flow::Succession => Parties::of_transfer(site, &tom, directory),
        _ => Parties::of_accounts([&client, &partner], directory),
    };
    let spends = |role: &str| role == "BillingManager";
    facts_with(flow, site, &parties, &Timers::default(), &spends, now, &extra(flow))
}

pub fn facts(flow: Flow) -> Facts {
    facts_on(flow, &site(flow), &directory(), now())
}

pub fn pairs() -> impl Iterator<Item = (Flow, Audience)> {
    Flow::ALL.into_iter().flat_map(|flow| flow.audiences().iter().map(move |audience| (flow, *audience)))
}

pub fn read(flow: Flow, audience: Audience, facts: &Facts) -> Explanation {
    explain(flow, audience, "en", facts).unwrap()
}

pub fn text(explanation: &Explanation, key: &str) -> Option<String> {
    explanation.sections.iter().find(|section| section.key.ends_with(key)).map(|section| section.text.clone())
}

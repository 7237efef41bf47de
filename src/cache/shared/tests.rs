//! Sites of every kind go through an entry and come back the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection, option, prelude::*};

use super::*;
use crate::{
    config::MacKeys,
    handover::{Blocker, Consent, Handover, HandoverKind, HandoverStatus, Terms},
    ids::{Account, Principal},
    site::{
        AgencyGrant, Confirmation, Contributor, Dispute, Domain, Engagement, Freeze, Plan, PlanStatus, ReturnPending,
        ReturnReason, Seats, Side, SiteCode, SupportSession, Template, Tier,
    },
    time::Timestamp,
};

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9][A-Za-z0-9_.@-]{0,12}"
}
/// What may be in a free text, the characters that JSON has to escape included.
fn text() -> impl Strategy<Value = String> {
    "[ -~äß\u{0}-\u{1f}\u{2028}😀]{0,12}"
}
fn id<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    name().prop_map(|name| name.parse().unwrap())
}
fn account() -> impl Strategy<Value = Account> {
    prop_oneof![id().prop_map(Account::User), id().prop_map(Account::Agency)]
}
/// Everything that has a text, to the microsecond.
fn at() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::default()),
        (-62_135_596_800_000_000_i64..253_402_207_200_000_000).prop_map(Timestamp::from_micros)
    ]
}

prop_compose! {
    fn plan()(
        tier in prop_oneof![Just(Tier::Free), Just(Tier::Premium)],
        status in prop_oneof![Just(PlanStatus::Ok), Just(PlanStatus::PastDue), Just(PlanStatus::Lapsed)],
        texts in [option::of(text()), option::of(text()), option::of(text())],
        times in [option::of(at()), option::of(at()), option::of(at()), option::of(at())],
        transferable: bool,
    ) -> Plan {
        let ([name, price, currency], [next_charge_at, bridge_until, lapses_at, returns_at]) = (texts, times);
        Plan { tier, status, name, price, currency, next_charge_at, transferable, bridge_until, lapses_at, returns_at }
    }
}

prop_compose! {
    fn pending()(
        reason in prop_oneof![
            Just(ReturnReason::Reclaim),
            Just(ReturnReason::Resign),
            Just(ReturnReason::AgencySuspended),
            Just(ReturnReason::AgencyDissolved),
            Just(ReturnReason::PlanLapsed),
        ],
        requested_at in at(),
        effective_at in at(),
        locked: bool,
        keep in collection::btree_set(id(), 0..3),
    ) -> ReturnPending {
        ReturnPending { reason, requested_at, effective_at, locked, keep }
    }
}

prop_compose! {
    fn engagement()(
        seats in (id(), id()),
        since in at(),
        settling_until in at(),
        handover in option::of(id()),
        plan_before in option::of(plan().boxed()),
        freeze_used: bool,
        return_pending in option::of(pending().boxed()),
    ) -> Engagement {
        let (client, partner) = seats;
        Engagement { client, partner, since, settling_until, handover, plan_before, freeze_used, return_pending }
    }
}

fn seats() -> impl Strategy<Value = Seats> {
    prop_oneof![
        1 => id().prop_map(|owner| Seats::SelfManaged { owner }),
        1 => id().prop_map(|owner| Seats::PartnerBuilt { owner }),
        4 => engagement().boxed().prop_map(|engaged| Seats::PartnerManaged(Box::new(engaged))),
    ]
}

prop_compose! {
    fn consent()(account in account(), by in id(), at in at(), texts in [text(), text(), text()]) -> Consent {
        let [digest, lang, version] = texts.map(Into::into);
        Consent { account, by, at, explanation_digest: digest, lang, text_version: version }
    }
}

prop_compose! {
    fn terms()(
        domains in collection::btree_set(text(), 0..3),
        plan: bool,
        stay: bool,
        case in option::of(text()),
    ) -> Terms {
        Terms { domains, plan, stay, case: case.map(Into::into) }
    }
}

prop_compose! {
    fn offer()(
        ids in (id(), option::of(id())),
        kind in prop_oneof![
            Just(HandoverKind::PartnerHandover),
            Just(HandoverKind::ClientAssignment),
            Just(HandoverKind::PartnerReplacement),
            Just(HandoverKind::OwnershipTransfer),
        ],
        accounts in (account(), account(), collection::vec(account(), 0..3)),
        by in prop_oneof![id().prop_map(Principal::User), id().prop_map(Principal::Staff)],
        open: bool,
        consents_given in collection::vec(consent().boxed(), 0..3),
        times in (at(), at(), option::of(at()), collection::vec(at(), 0..3)),
        revision: u64,
        preview in text(),
        terms in option::of(terms().boxed()),
    ) -> Handover {
        let ((id, requested_by), (initiator, to, consents_needed)) = (ids, accounts);
        let (offered_at, expires_at, ended_at, reminders) = times;
        let status = if open { HandoverStatus::Open } else { HandoverStatus::Requested };
        Handover {
            id, site: "x".parse().unwrap(), kind, initiator, initiated_by: by, to, status, consents_needed, consents_given,
            offered_at, expires_at, ended_at, revision_at_offer: Revision(revision), preview_digest: preview.into(),
            requested_by, reminders, terms,
        }
    }
}

prop_compose! {
    fn contributor()(role in text(), grantor in account(), client: bool, revision: u64) -> Contributor {
        let side = if client { Side::Client } else { Side::Partner };
        Contributor { role: role.into(), grantor, side, revision: Revision(revision) }
    }
}

prop_compose! {
    fn grant()(at_ in 0..Template::ALL.len(), expires_at in option::of(at())) -> AgencyGrant {
        AgencyGrant { template: Template::ALL[at_], expires_at }
    }
}

/// What stands on a site beside its seats and people.
type Marks =
    (Option<Freeze>, Option<Dispute>, Option<String>, Option<SiteCode>, BTreeSet<Blocker>, [Option<Timestamp>; 2]);

fn marks() -> impl Strategy<Value = Marks> {
    let freeze = (at(), at(), text()).prop_map(|(since, until, case)| Freeze { since, until, case: case.into() });
    let dispute = (account(), text(), at(), at());
    let dispute =
        dispute.prop_map(|(opened_by, reason, at, until)| Dispute { opened_by, reason: reason.into(), at, until });
    let code = (text(), at()).prop_map(|(digest, expires_at)| SiteCode { digest: digest.into(), expires_at });
    let reported = collection::btree_set((0..Blocker::REPORTED.len()).prop_map(|at| Blocker::REPORTED[at]), 0..3);
    (
        option::of(freeze),
        option::of(dispute),
        option::of(text()),
        option::of(code),
        reported,
        [option::of(at()), option::of(at())],
    )
}

fn acts() -> impl Strategy<Value = (Vec<Confirmation>, Vec<SupportSession>)> {
    let confirmation = (text(), text(), at()).prop_map(|(action, operation, expires_at)| Confirmation {
        action: action.into(),
        operation: operation.into(),
        expires_at,
    });
    let session = (id(), account(), at());
    let session = session.prop_map(|(agent, granted_by, until)| SupportSession { agent, granted_by, until });
    (collection::vec(confirmation, 0..3), collection::vec(session, 0..3))
}

prop_compose! {
    /// A site with anything that a site may have.
    fn sites()(
        revision: u64,
        seats in seats().boxed(),
        plan in plan().boxed(),
        published: bool,
        domains in collection::vec((text(), account()).prop_map(|(name, holder)| Domain { name, holder }), 0..3),
        marks in marks().boxed(),
        open_handover in option::of(offer().boxed()),
        contributors in collection::btree_map(id(), contributor(), 0..4),
        grants in collection::btree_map(id(), grant(), 0..3),
        blocked in collection::btree_set(id(), 0..3),
        acts in acts().boxed(),
    ) -> Site {
        let (frozen, dispute, custody, site_code, reported, [trashed_at, purge_at]) = marks;
        let (confirmations, sessions) = acts;
        Site {
            id: "x".parse().unwrap(), revision: Revision(revision), seats, plan, published, domains, trashed_at,
            purge_at, frozen, dispute, custody: custody.map(Into::into), site_code, reported, open_handover, contributors,
            grants, blocked, confirmations, sessions,
        }
    }
}

proptest! {
    #[test]
    fn every_site_comes_back_the_same(site in sites()) {
        let bytes = payload::write(&site).expect("every site of the store can be shared");
        prop_assert_eq!(payload::read(&bytes, &site.id), Ok(site.clone()));
        prop_assert_eq!(payload::read(&bytes, &"y".parse().unwrap()), Err(Unusable::NotASite));
        // The control: without the revision beside it, the document alone loses one.
        let document = serde_json::to_vec(&crate::site::SiteDocument::from(&site)).unwrap();
        let document: crate::site::SiteDocument = serde_json::from_slice(&document).unwrap();
        let lossy = Site::try_from(document).unwrap();
        prop_assert_eq!(lossy == site, site.revision == Revision(0));
    }
}

/// The paths of all members, identifiers aside.
fn members(value: &serde_json::Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                let by_person = path.ends_with(".contributors") || path.ends_with(".grants");
                let path = format!("{path}.{}", if by_person { "*" } else { name });
                members(value, &path, all);
                all.insert(path);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| members(item, path, all)),
        _ => {}
    }
}

/// A copy that was written before a site had a certain field must not be read as a site without it.
#[test]
fn another_document_needs_another_format() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut all = BTreeSet::new();
    for _ in 0..1_000 {
        let site = proptest::strategy::ValueTree::current(&sites().new_tree(&mut runner).unwrap());
        let document = serde_json::to_value(crate::site::SiteDocument::from(&site)).unwrap();
        let written = serde_json::json!({ "revision": site.revision, "site": document });
        members(&written, "", &mut all);
    }
    let all: Vec<String> = all.into_iter().collect();
    let digest = crate::digest::sha256(all.join("\n").as_bytes());
    assert_eq!(
        digest.get(..16),
        Some("bf7ef4417d9ce9df"),
        "the document of a site has changed: raise `FORMAT` in `entry.rs`, then write the new digest here.\n{all:#?}"
    );
}

fn bakery() -> Site {
    let seats = Seats::SelfManaged { owner: "maria".parse().unwrap() };
    Site::registered("bakery".parse().unwrap(), seats, Plan::of(Tier::Free), true, Vec::new())
}

#[test]
fn what_would_not_come_back_the_same_is_not_shared() {
    assert!(payload::write(&Site { seats: Seats::Purged, ..bakery() }).is_some());
    // After the last instant that has a text.
    assert_eq!(payload::write(&Site { purge_at: Some(Timestamp::from_micros(i64::MAX)), ..bakery() }), None);
    let person = Contributor {
        role: "WebsiteManager".into(),
        grantor: "user:maria".parse().unwrap(),
        side: Side::Client,
        revision: Revision(1),
    };
    let contributors = BTreeMap::from([("tom".parse().unwrap(), person)]);
    assert_eq!(payload::write(&Site { seats: Seats::Purged, contributors, ..bakery() }), None);
}

/// A field that a later version adds must not be dropped on the way through an older one.
#[test]
fn what_another_version_wrote_is_not_half_understood() {
    let id = "bakery".parse().unwrap();
    let person = r#""tom":{"role":"Viewer","grantor":"user:maria","side":"client"}"#;
    let document = serde_json::to_string(&crate::site::SiteDocument::from(&bakery())).unwrap();
    let written = |document: &str, people: &[u8]| {
        let length = u32::try_from(document.len()).unwrap();
        [&7_u64.to_be_bytes()[..], &length.to_be_bytes(), document.as_bytes(), people].concat()
    };
    let with = |member: &str| document.replacen('{', &format!("{{{member},"), 1);
    let nobody = [0; 4];
    let refused = [
        written(&with(r#""new":1"#), &nobody),
        written(&with(&format!(r#""contributors":{{{person}}}"#)), &nobody),
        written(&document, &[0; 5]),
        written(&document, &[0; 3]),
        written(&document, &[0, 0, 0, 1]),
        written(&document, &[255; 4]),
    ];
    for bytes in refused {
        assert_eq!(payload::read(&bytes, &id), Err(Unusable::NotASite), "{}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(payload::read(&written(&document, &nobody), &id).map(|site| site.revision), Ok(Revision(7)));
}

/// Somebody who is said in another way, or twice, is nobody that this program knows.
#[test]
fn people_are_read_whole_or_not_at_all() {
    let person = |side| Contributor {
        role: "WebsiteManager".into(),
        grantor: "user:maria".parse().unwrap(),
        side,
        revision: Revision(5),
    };
    let of = |side| Site { contributors: [("tom".parse().unwrap(), person(side))].into(), ..bakery() };
    let (client, partner) = (of(Side::Client), of(Side::Partner));
    let (bytes, other) = (payload::write(&client).unwrap(), payload::write(&partner).unwrap());
    assert_eq!(payload::read(&bytes, &client.id), Ok(client.clone()));
    let sides: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != other[*at]).collect();
    assert_eq!(sides.len(), 1, "one byte says whose side somebody is on");
    let third = |at: usize| [&bytes[..at], &[2], &bytes[at + 1..]].concat();
    assert_eq!(payload::read(&third(sides[0]), &client.id), Err(Unusable::NotASite));
    for end in 0..bytes.len() {
        assert_eq!(payload::read(&bytes[..end], &client.id), Err(Unusable::NotASite), "cut off at {end}");
    }
    let people = bytes.len() - ("tomWebsiteManageruser:maria".len() + 3 * 2 + 1 + 8);
    let twice = [&bytes[..people - 4], &[0, 0, 0, 2], &bytes[people..], &bytes[people..]].concat();
    assert_eq!(payload::read(&twice, &client.id), Err(Unusable::NotASite));
}

/// `cargo test --release -- --ignored --nocapture cost_of`: what a copy costs beside a lookup.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_copy() {
    let key = MacKeys::try_from("5e".repeat(32)).unwrap();
    let sealer = Sealer::new("mandate", &key);
    for people in [5, 100, 5_000] {
        let mut site = bakery();
        for n in 0..people {
            let person = Contributor {
                role: "WebsiteManager".into(),
                grantor: "user:maria".parse().unwrap(),
                side: Side::Client,
                revision: Revision(n),
            };
            site.contributors.insert(format!("person-{n}").parse().unwrap(), person);
        }
        let payload = payload::write(&site).unwrap();
        let entry = Entry { epoch: "e", key: "site:bakery", tag: Revision(1), payload: &payload };
        let value = sealer.seal(&entry).unwrap();
        let each = |what: &dyn Fn()| {
            let began = std::time::Instant::now();
            (0..200).for_each(|_| what());
            began.elapsed() / 200
        };
        println!(
            "{people} people, {} bytes: write {:?}, seal {:?}, open {:?}, read {:?}",
            value.len(),
            each(&|| drop(payload::write(&site))),
            each(&|| drop(sealer.seal(&entry))),
            each(&|| assert!(sealer.open(&value, "e", "site:bakery").is_ok())),
            each(&|| drop(payload::read(&payload, &site.id))),
        );
    }
}

//! A digest names what somebody read: it changes with every fact, and never by waiting.

use std::collections::BTreeSet;

use mandate::explanation::{Facts, Flow, PlanName, explain};

use super::{
    every_fact::{FACTS, everything},
    story::{DAY, LANGS, directory, facts_on, now, pairs, read, site},
};

#[test]
fn waiting_changes_no_digest() {
    for (flow, audience) in pairs() {
        let site = site(flow);
        let digest = |days: u32| {
            let facts = facts_on(flow, &site, &directory(), now().plus(DAY * days));
            read(flow, audience, &facts).digest
        };
        let first = digest(0);
        assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
        for days in [1, 13, 40, 4000] {
            assert_eq!(digest(days), first, "{flow:?} {audience:?} after {days} days");
        }
    }
}

#[test]
fn every_fact_but_a_time_changes_every_digest() {
    for (flow, audience) in pairs() {
        for lang in LANGS {
            let digest = |facts: &Facts| explain(flow, audience, lang, facts).unwrap().digest;
            let full = digest(&everything(true));
            let mut digests = BTreeSet::from([full.clone()]);
            for (name, time, remove) in FACTS {
                let mut facts = everything(true);
                remove(&mut facts);
                let less = digest(&facts);
                if time {
                    assert_eq!(less, full, "{flow:?} {audience:?} {lang}: {name} is a time");
                } else {
                    assert!(digests.insert(less), "{flow:?} {audience:?} {lang}: {name} does not show in the digest");
                }
            }
        }
    }
}

#[test]
fn another_value_another_reader_another_language_is_another_digest() {
    let full = everything(false);
    let changes: [&dyn Fn(&mut Facts); 9] = [
        &|_| {},
        &|facts| facts.agency = Some("Studio Nord".to_owned()),
        &|facts| facts.price = Some("18.00 EUR".to_owned()),
        &|facts| facts.plan = Some(PlanName::Named("Pro".to_owned())),
        &|facts| facts.domains.push("more.example".to_owned()),
        &|facts| facts.transfer_domains = Some(vec![]),
        &|facts| facts.notice_days = Some(6),
        &|facts| facts.plan_moves = Some(false),
        &|facts| facts.contributors.truncate(1),
    ];
    let mut digests = BTreeSet::new();
    for (flow, audience) in pairs() {
        for lang in LANGS {
            for change in changes {
                let mut facts = full.clone();
                change(&mut facts);
                assert!(digests.insert(explain(flow, audience, lang, &facts).unwrap().digest), "{flow:?} {audience:?}");
            }
        }
    }
    assert!(Flow::ALL.len() * changes.len() < digests.len());
}

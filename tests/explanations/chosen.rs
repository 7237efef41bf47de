//! Which text is chosen, for whom, with which facts: from stored rows to words.

use std::{collections::BTreeMap, sync::Arc};

use mandate::{
    assignment::{Agency, AgencyStatus, Directory},
    explanation::{Audience, ExplainError, Facts, Flow, Parties, PlanName, explain, facts_of},
    handover::{Handover, HandoverKind, Timers},
    ids::Account,
    site::{Domain, Engagement, ReturnReason, Seats, Side, Site, Tier},
};
use serde_json::json;

use super::{
    every_fact::everything,
    story::{DAY, accounts, directory, facts, facts_on, frozen, now, pending, read, row, site, south, text, tom},
};

#[test]
fn the_first_variant_whose_facts_are_known_is_used() {
    let full = facts(Flow::PartnerHandover);
    let cost = |facts: &Facts| text(&read(Flow::PartnerHandover, Audience::Client, facts), "changes.cost");
    assert!(cost(&full).unwrap().contains("Business, 17.00 EUR"));
    assert!(cost(&full).unwrap().contains("15 December 2026"));
    let no_price = Facts { price: None, ..full.clone() };
    assert!(!cost(&no_price).unwrap().contains("EUR"));
    assert!(cost(&no_price).unwrap().contains("15 December 2026"));
    let no_plan = Facts { plan: None, ..full.clone() };
    assert_eq!(cost(&no_plan), None, "a section without a satisfied variant is left out");
    let german = explain(Flow::PartnerHandover, Audience::Client, "de", &full).unwrap();
    assert!(text(&german, "changes.cost").unwrap().contains("17,00 EUR"), "as prices are written there");
    let tier_only = Facts { plan: Some(PlanName::Of(Tier::Premium)), ..full };
    assert!(cost(&tier_only).unwrap().contains("premium plan"));
}

#[test]
fn a_section_says_which_facts_it_names() {
    let explanation = read(Flow::PartnerHandover, Audience::Client, &facts(Flow::PartnerHandover));
    let title = &explanation.sections[0];
    assert_eq!(title.text, "Let Studio North run bakery for you");
    assert_eq!(title.facts.keys().collect::<Vec<_>>(), ["agency", "site"]);
}

#[test]
fn those_who_lose_spending_are_marked_and_only_those() {
    let full = facts(Flow::PartnerHandover);
    let explanation = read(Flow::PartnerHandover, Audience::Client, &full);
    assert_eq!(
        text(&explanation, "people").unwrap(),
        "These people keep their access: ben € and lena. Those marked € lose the right to spend money: ben."
    );
    assert!(text(&explanation, "staff").unwrap().contains("otto"), "the agency's own people stand apart");
    // The payer stays, so nobody loses anything.
    let assignment = read(Flow::ClientAssignment, Audience::Client, &facts(Flow::ClientAssignment));
    assert!(!text(&assignment, "people").unwrap().contains('€'));
    // Money that the present payer never gave is not lost.
    let mut site = site(Flow::PartnerHandover);
    site.contributors = BTreeMap::from([("ben".parse().unwrap(), row("BillingManager", "user:lena", Side::Client))]);
    let facts = facts_on(Flow::PartnerHandover, &site, &directory(), now());
    assert!(!facts.contributors[0].loses_spending);
}

#[test]
fn only_the_clients_own_domains_are_promised() {
    let mut site = site(Flow::PartnerHandover);
    site.domains.push(Domain { name: "shop.example".to_owned(), holder: "user:ben".parse().unwrap() });
    let facts = facts_on(Flow::PartnerHandover, &site, &directory(), now());
    assert_eq!(facts.domains, ["bakery.example", "cake.example"]);
}

fn engaged(site: &Site, change: impl Fn(&mut Engagement)) -> Site {
    let mut site = site.clone();
    match &mut site.seats {
        Seats::PartnerManaged(engagement) => change(engagement),
        other => panic!("{other:?}"),
    }
    site
}

#[test]
fn a_return_says_when() {
    let confirm = |site: &Site, directory: &Directory| {
        let facts = facts_on(Flow::Reclaim, site, directory, now());
        text(&read(Flow::Reclaim, Audience::Client, &facts), "confirm").unwrap()
    };
    let (site, directory) = (site(Flow::Reclaim), directory());
    assert!(confirm(&site, &directory).contains("29 November 2026"), "five days from now");
    let settling = engaged(&site, |engagement| engagement.settling_until = now().plus(DAY));
    assert!(confirm(&settling, &directory).contains("at once"));
    let resigned = engaged(&site, |engagement| {
        engagement.return_pending = Some(pending(ReturnReason::Resign, now().plus(DAY * 2)));
    });
    assert!(confirm(&resigned, &directory).contains("26 November 2026"), "an older return is not delayed");
    assert!(confirm(&frozen(site.clone()), &directory).contains("9 December 2026"), "the clock waits for the freeze");
    assert!(confirm(&frozen(resigned), &directory).contains("4 December 2026"), "every clock waits for it");

    let mut suspended = Directory::default();
    for agency in directory.agencies() {
        suspended.put_agency(Arc::new(Agency { status: AgencyStatus::Suspended, ..Agency::clone(agency) }));
    }
    assert!(confirm(&site, &suspended).contains("at once"));
}

#[test]
fn a_return_from_a_frozen_site_says_that_the_clock_waits() {
    let said = |site: &Site, audience: Audience, lang: &str| {
        let facts = facts_on(Flow::Reclaim, site, &directory(), now());
        text(&explain(Flow::Reclaim, audience, lang, &facts).unwrap(), "freeze").unwrap()
    };
    let site = site(Flow::Reclaim);
    for audience in [Audience::Client, Audience::Partner] {
        let frozen = frozen(site.clone());
        let english = "The site is frozen until 4 December 2026. The clock waits while the site is frozen.";
        assert_eq!(said(&frozen, audience, "en"), english);
        assert!(said(&frozen, audience, "de").contains("bis zum 4. Dezember 2026 gesperrt"));
        assert!(said(&site, audience, "en").starts_with("If the platform's trust and safety team freezes"));
    }
}

#[test]
fn a_replacement_speaks_of_both_agencies() {
    let full = facts(Flow::Replacement);
    let client = read(Flow::Replacement, Audience::Client, &full);
    assert_eq!(client.sections[0].text, "Let Studio South run bakery instead of Studio North");
    assert!(text(&client, "check").unwrap().contains("Studio South (studio-south.example)"));
    assert!(text(&client, "people").unwrap().contains("pia"), "who came with the old partner goes with it");
    let new = read(Flow::Replacement, Audience::NewPartner, &full);
    assert!(text(&new, "staff").unwrap().contains("sara"), "the new agency's people go on through it");

    // Whoever made the offer, and before or after its acceptance.
    let [maria, north] = accounts();
    let directory = directory();
    for initiator in [maria.clone(), north.clone()] {
        let handover = handover(HandoverKind::PartnerReplacement, &initiator, &south().into());
        let mut site = site(Flow::Replacement);
        let names = |parties: Parties<'_>| {
            let name = |agency: Option<&Agency>| agency.map(|agency| agency.name.clone());
            (name(parties.agency), name(parties.new_agency), parties.client.map(ToString::to_string))
        };
        let both = (Some("Studio North".into()), Some("Studio South".into()), Some("maria".into()));
        assert_eq!(names(Parties::of_handover(&handover, &directory).seated_on(&site, &directory)), both);
        site = engaged(&site, |engagement| engagement.partner = south());
        let after = names(Parties::of_handover(&handover, &directory).seated_on(&site, &directory));
        let old = (initiator == north).then(|| "Studio North".to_owned());
        assert_eq!(after, (old, both.1, both.2), "a partner does not replace itself");
    }
}

fn handover(kind: HandoverKind, initiator: &Account, to: &Account) -> Handover {
    // Who made the offer is no fact of a text; a record names them as a person or as a principal.
    let written = ["user:maria", "maria"].map(|by| {
        json!({
            "id": "01939b2e-0000-7000-8000-000000000000", "site": "bakery", "kind": kind, "initiator": initiator,
            "initiated_by": by, "to": to, "status": "open", "consents_needed": [], "consents_given": [],
            "offered_at": now(), "expires_at": now(), "revision_at_offer": 1, "preview_digest": "sha256:01",
        })
    });
    written.into_iter().find_map(|handover| serde_json::from_value(handover).ok()).unwrap()
}

#[test]
fn a_transfer_says_exactly_what_goes() {
    let full = facts(Flow::OwnershipTransfer);
    let owner = |facts: &Facts, key: &str| text(&read(Flow::OwnershipTransfer, Audience::Owner, facts), key).unwrap();
    assert!(owner(&full, "everything").contains("tom gets the ownership of the whole site"));
    assert_eq!(
        owner(&full, "domains"),
        "Web addresses that move with the site: bakery.example. Web addresses that stay with you: cake.example."
    );
    assert!(owner(&full, "plan").contains("moves too: Business, 17.00 EUR"));
    assert_eq!(owner(&full, "role"), "You lose all access to the site.");
    let less =
        Facts { transfer_domains: Some(vec![]), plan_moves: Some(false), keeps_role: Some(true), ..full.clone() };
    assert!(owner(&less, "domains").starts_with("Web addresses that move with the site: none."));
    assert!(owner(&less, "plan").contains("does not move"));
    assert!(owner(&less, "role").contains("website manager"));
    let recipient = read(Flow::OwnershipTransfer, Audience::Recipient, &full);
    assert_eq!(recipient.sections[0].text, "maria wants to give you bakery for good");

    let tom = tom().into();
    let [maria, _] = accounts();
    let (directory, handover) = (directory(), handover(HandoverKind::OwnershipTransfer, &maria, &tom));
    let parties = Parties::of_handover(&handover, &directory);
    assert_eq!(parties.recipient.map(ToString::to_string), Some("tom".to_owned()));
}

#[test]
fn an_unpaid_plan_says_until_when() {
    let read_in = |lang: &str| explain(Flow::PastDue, Audience::Client, lang, &facts(Flow::PastDue)).unwrap();
    let english = read_in("en");
    assert!(text(&english, "failed").unwrap().contains("failed on 24 November 2026"));
    assert!(text(&english, "stays").unwrap().contains("until 8 December 2026"));
    assert!(text(&english, "then").unwrap().contains("on 22 December 2026"));
    assert!(text(&read_in("de"), "stays").unwrap().contains("bis zum 8. Dezember 2026"));
    // Nobody said when: days instead of dates, and neither where nobody said that.
    let [maria, north] = accounts();
    let (site, directory) = (site(Flow::PastDue), directory());
    let parties = Parties::of_accounts([&maria, &north], &directory);
    let plain = facts_of(Flow::PastDue, &site, &parties, &Timers::default(), &|_| false, now());
    let stays = |facts: &Facts| text(&read(Flow::PastDue, Audience::Client, facts), "stays").unwrap();
    assert_eq!(stays(&plain), "The site stays up. Nothing is deleted.");
    let days = Facts { grace_days: Some(14), ..plain };
    assert!(stays(&days).contains("for 14 days after the failed payment"));
}

#[test]
fn every_party_of_a_handover_reads_its_own_text() {
    let [maria, north] = accounts();
    let (south, tom): (Account, Account) = (south().into(), tom().into());
    for (flow, account, to, audience) in [
        (Flow::PartnerHandover, &maria, Some(&north), Audience::Client),
        (Flow::PartnerHandover, &north, Some(&north), Audience::Partner),
        (Flow::ClientAssignment, &maria, Some(&maria), Audience::Client),
        (Flow::ClientAssignment, &north, Some(&maria), Audience::Partner),
        (Flow::Replacement, &maria, Some(&south), Audience::Client),
        (Flow::Replacement, &north, Some(&south), Audience::OldPartner),
        (Flow::Replacement, &south, Some(&south), Audience::NewPartner),
        (Flow::OwnershipTransfer, &maria, Some(&tom), Audience::Owner),
        (Flow::OwnershipTransfer, &north, Some(&tom), Audience::Owner),
        (Flow::OwnershipTransfer, &tom, Some(&tom), Audience::Recipient),
        (Flow::Dispute, &maria, None, Audience::Client),
        (Flow::Dispute, &north, None, Audience::Partner),
        (Flow::PartnerRequest, &north, None, Audience::Partner),
    ] {
        assert_eq!(flow.audience_of(account, to), Some(audience), "{flow:?} {account}");
    }
    assert_eq!(Flow::Nudge.audience_of(&north, None), None);
    for kind in [
        HandoverKind::PartnerHandover,
        HandoverKind::ClientAssignment,
        HandoverKind::PartnerReplacement,
        HandoverKind::OwnershipTransfer,
    ] {
        let flow = Flow::of(kind).unwrap();
        assert!(flow.audiences().contains(&flow.acceptor().unwrap()) && flow.audiences().contains(&flow.starter()));
    }
}

#[test]
fn a_reader_without_a_text_is_refused_and_never_shown_nothing() {
    let error = explain(Flow::OwnershipTransfer, Audience::Partner, "en", &everything(false)).unwrap_err();
    assert_eq!(error.to_string(), "there is no text for `partner` here; there are texts for: owner, recipient");
    for audience in Audience::ALL {
        assert_eq!(Audience::from_wire(audience.wire_name()), Some(audience));
        for flow in Flow::ALL {
            match explain(flow, audience, "en", &everything(false)) {
                Ok(explanation) => assert!(!explanation.sections.is_empty(), "{flow:?} {audience:?}"),
                Err(ExplainError::UnknownAudience { asked, known }) => {
                    assert!(asked == audience && known == flow.audiences() && !known.contains(&asked));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(Audience::from_wire("eve"), None);
    // A word that fits several flows is understood in each.
    assert_eq!(Flow::PartnerHandover.reader(Audience::NewPartner), Some(Audience::Partner));
    assert_eq!(Flow::ClientAssignment.reader(Audience::Recipient), Some(Audience::Client));
    assert_eq!(Flow::OwnershipTransfer.reader(Audience::Client), None, "a client gives nothing away");
}

#[test]
fn an_unknown_language_is_refused_with_the_known_ones() {
    for lang in ["fr", "de-DE", "EN", ""] {
        let error = explain(Flow::Reclaim, Audience::Client, lang, &Facts::default()).unwrap_err();
        assert_eq!(error, ExplainError::UnknownLanguage { given: lang.to_owned(), known: vec!["en", "de"] });
        assert_eq!(error.to_string(), format!("there are no texts in the language `{lang}`; there are: en, de"));
    }
}

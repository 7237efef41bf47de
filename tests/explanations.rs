//! The texts that people consent to: every flow word for word, and the rules that hold for all of them.
//!
//! `BLESS=1 cargo test --test explanations` (or `make bless`) rewrites `tests/golden/explanations.txt`; reviewers
//! read its diff first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use mandate::{
    assignment::{Agency, AgencyStatus, Directory, MemberRole},
    explanation::{Audience, ExplainError, Explanation, Facts, Flow, Parties, denial, explain, facts_of},
    handover::Timers,
    ids::Account,
    revision::Revision,
    site::{Contributor, Domain, Engagement, Plan, ReturnPending, ReturnReason, Seats, Side, Site, Tier},
    time::Timestamp,
};

const CATALOGUE: &str = include_str!("../src/explanation/en.toml");
const FLOWS: [Flow; 5] = [Flow::PartnerHandover, Flow::ClientAssignment, Flow::Reclaim, Flow::Returned, Flow::Resign];
const AUDIENCES: [Audience; 2] = [Audience::Client, Audience::Partner];
const DAY: Duration = Duration::from_hours(24);
/// The name of a fact, and how to change it.
type Change = (&'static str, &'static dyn Fn(&mut Facts));

const REASONS: [&str; 21] = [
    "unknown_site",
    "unknown_action",
    "no_role",
    "role_lacks_action",
    "agency_suspended",
    "blocked_by_client",
    "grant_expired",
    "no_session",
    "frozen",
    "trashed",
    "return_pending",
    "locked",
    "settling_in",
    "handover_open",
    "past_due",
    "wrong_mode",
    "not_payer",
    "not_your_own",
    "not_a_party",
    "confirm_required",
    "stepup_required",
];

#[cfg(test)]
mod bakery {
    //! Maria's bakery and Studio North: the story that tests and documents share.
    use super::*;

    pub fn now() -> Timestamp {
        "2026-11-24T09:00:00Z".parse().unwrap()
    }

    pub fn directory() -> Directory {
        let mut directory = Directory::default();
        directory.put_agency(Arc::new(Agency {
            id: "studio-north".parse().unwrap(),
            name: "Studio North".to_owned(),
            domain: "studio-north.example".to_owned(),
            verified: true,
            status: AgencyStatus::Active,
            members: BTreeMap::from([
                ("nora".parse().unwrap(), MemberRole::Admin),
                ("otto".parse().unwrap(), MemberRole::Member),
            ]),
            revision: Revision::default(),
        }));
        directory
    }

    pub fn accounts() -> [Account; 2] {
        ["user:maria".parse().unwrap(), "agency:studio-north".parse().unwrap()]
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

    /// The bakery as this flow finds it.
    pub fn site(flow: Flow) -> Site {
        let (client, partner): (Account, Account) = accounts().into();
        let maria = "maria".parse().unwrap();
        let north = "studio-north".parse().unwrap();
        let (seats, holder) = match flow {
            Flow::PartnerHandover | Flow::Returned => (Seats::SelfManaged { owner: maria }, client),
            Flow::ClientAssignment => (Seats::PartnerBuilt { owner: north }, partner),
            Flow::Reclaim | Flow::Resign => {
                let since = "2026-06-01T09:00:00Z".parse().unwrap();
                let engagement = Engagement {
                    client: maria,
                    partner: north,
                    since,
                    settling_until: since.plus(DAY * 7),
                    handover: None,
                    plan_before: None,
                    freeze_used: false,
                    return_pending: None,
                };
                (Seats::PartnerManaged(Box::new(engagement)), client)
            }
        };
        let domain = Domain { name: "bakery.example".to_owned(), holder };
        let mut site = Site::registered("bakery".parse().unwrap(), seats, plan(), true, vec![domain]);
        let rows = match flow {
            Flow::PartnerHandover => vec![
                ("ben", row("BillingManager", "user:maria", Side::Client)),
                ("lena", row("BlogEditor", "user:maria", Side::Client)),
                ("otto", row("WebsiteDesigner", "user:maria", Side::Client)),
            ],
            Flow::ClientAssignment => vec![("pia", row("BillingManager", "agency:studio-north", Side::Partner))],
            Flow::Reclaim | Flow::Resign => vec![
                ("lena", row("BlogEditor", "user:maria", Side::Client)),
                ("pia", row("BillingManager", "agency:studio-north", Side::Partner)),
            ],
            Flow::Returned => vec![],
        };
        site.contributors = rows.into_iter().map(|(user, row)| (user.parse().unwrap(), row)).collect();
        if flow == Flow::Returned {
            site.plan.bridge_until = Some(now().plus(DAY * 14));
        }
        site
    }

    pub fn facts_on(flow: Flow, site: &Site, directory: &Directory, now: Timestamp) -> Facts {
        let [client, partner] = accounts();
        let parties = Parties::of_accounts([&client, &partner], directory);
        let spends = |role: &str| role == "BillingManager";
        facts_of(flow, site, &parties, &Timers::default(), &spends, now)
    }

    pub fn facts(flow: Flow) -> Facts {
        facts_on(flow, &site(flow), &directory(), now())
    }
}

#[cfg(test)]
mod texts {
    use super::*;

    /// What the catalogue file says, read once more by the test's own eyes.
    fn entries() -> Vec<(String, Vec<String>)> {
        let file: toml::Table = CATALOGUE.parse().unwrap();
        file["text"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                let variants = entry["variants"].as_array().unwrap();
                let variants = variants.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
                (entry["key"].as_str().unwrap().to_owned(), variants)
            })
            .collect()
    }

    fn needs(variant: &str) -> BTreeSet<String> {
        minijinja::Environment::new()
            .template_from_str(variant)
            .unwrap()
            .undeclared_variables(false)
            .into_iter()
            .collect()
    }

    const TIMES: [&str; 6] = ["next_charge_date", "settle_until", "effective_at", "date", "bridge_until", "at_once"];
    const LASTING: [&str; 14] = [
        "site",
        "agency",
        "agency_domain",
        "client",
        "plan",
        "price",
        "domains",
        "contributors",
        "spenders",
        "staff",
        "notice_days",
        "settle_days",
        "resign_days",
        "plan_bridge_days",
    ];

    fn read(flow: Flow, audience: Audience, facts: &Facts) -> Explanation {
        explain(flow, audience, "en", facts).unwrap()
    }

    fn text(explanation: &Explanation, key: &str) -> Option<String> {
        explanation.sections.iter().find(|section| section.key.ends_with(key)).map(|section| section.text.clone())
    }

    #[test]
    fn every_flow_reads_as_committed() {
        let mut all =
            String::from("# Every flow's text with the facts of the bakery story. BLESS=1 rewrites this file.\n");
        let mut write = |title: String, explanation: &Explanation| {
            writeln!(all, "\n== {title}\n   {} {}", explanation.text_version, explanation.digest).unwrap();
            for section in &explanation.sections {
                writeln!(all, "{}\n    {}", section.key, section.text).unwrap();
            }
        };
        for flow in FLOWS {
            for audience in AUDIENCES {
                write(
                    format!("{flow:?}, for the {}", audience.wire_name()),
                    &read(flow, audience, &bakery::facts(flow)),
                );
            }
        }
        let bare =
            Facts { site: Some("bakery".to_owned()), agency: Some("Studio North".to_owned()), ..Facts::default() };
        for flow in FLOWS {
            write(format!("{flow:?}, for the client, when little is known"), &read(flow, Audience::Client, &bare));
        }
        all.push_str("\n== Denials\n");
        for reason in REASONS {
            let (sentence, remedy) = denial(reason).unwrap();
            writeln!(all, "{reason}\n    {sentence} {remedy}").unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/explanations.txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &all).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == all,
            "the texts differ from tests/golden/explanations.txt; `make bless`, then read the diff"
        );
    }

    #[test]
    fn the_first_variant_whose_facts_are_known_is_used() {
        let full = bakery::facts(Flow::PartnerHandover);
        let cost = |facts: &Facts| text(&read(Flow::PartnerHandover, Audience::Client, facts), "changes.cost");
        assert!(cost(&full).unwrap().contains("Business, 17.00 EUR"));
        assert!(cost(&full).unwrap().contains("15 December 2026"));
        let no_price = Facts { price: None, ..full.clone() };
        assert!(!cost(&no_price).unwrap().contains("EUR"));
        assert!(cost(&no_price).unwrap().contains("15 December 2026"));
        let no_plan = Facts { plan: None, ..full.clone() };
        assert_eq!(cost(&no_plan), None, "a section without a satisfied variant is left out");
        let tier_only = Facts { plan: Some(mandate::explanation::PlanName::Of(Tier::Premium)), ..full };
        assert!(cost(&tier_only).unwrap().contains("premium plan"));
    }

    #[test]
    fn those_who_lose_spending_are_marked_and_only_those() {
        let full = bakery::facts(Flow::PartnerHandover);
        let explanation = read(Flow::PartnerHandover, Audience::Client, &full);
        let people = text(&explanation, "people").unwrap();
        assert_eq!(
            people,
            "These people keep their access: ben € and lena. Those marked € lose the right to spend money: ben."
        );
        assert!(text(&explanation, "staff").unwrap().contains("otto"), "the agency's own people stand apart");
        // The payer stays, so nobody loses anything.
        let assignment = read(Flow::ClientAssignment, Audience::Client, &bakery::facts(Flow::ClientAssignment));
        assert!(!text(&assignment, "people").unwrap().contains('€'));
        // Money that the present payer never gave is not lost.
        let mut site = bakery::site(Flow::PartnerHandover);
        site.contributors =
            BTreeMap::from([("ben".parse().unwrap(), bakery::row("BillingManager", "user:lena", Side::Client))]);
        let facts = bakery::facts_on(Flow::PartnerHandover, &site, &bakery::directory(), bakery::now());
        assert!(!facts.contributors[0].loses_spending);
    }

    #[test]
    fn only_the_clients_own_domains_are_promised() {
        let mut site = bakery::site(Flow::PartnerHandover);
        site.domains.push(Domain { name: "shop.example".to_owned(), holder: "user:ben".parse().unwrap() });
        let facts = bakery::facts_on(Flow::PartnerHandover, &site, &bakery::directory(), bakery::now());
        assert_eq!(facts.domains, ["bakery.example"]);
    }

    #[test]
    fn a_return_says_when() {
        let confirm = |site: &Site, directory: &Directory| {
            let facts = bakery::facts_on(Flow::Reclaim, site, directory, bakery::now());
            text(&read(Flow::Reclaim, Audience::Client, &facts), "confirm").unwrap()
        };
        let site = bakery::site(Flow::Reclaim);
        let directory = bakery::directory();
        assert!(confirm(&site, &directory).contains("29 November 2026"), "five days from now");

        let engaged = |change: &dyn Fn(&mut Engagement)| {
            let mut site = site.clone();
            match &mut site.seats {
                Seats::PartnerManaged(engagement) => change(engagement),
                other => panic!("{other:?}"),
            }
            site
        };
        let settling = engaged(&|engagement| engagement.settling_until = bakery::now().plus(DAY));
        assert!(confirm(&settling, &directory).contains("at once"));
        let resigned = engaged(&|engagement| {
            engagement.return_pending = Some(ReturnPending {
                reason: ReturnReason::Resign,
                requested_at: bakery::now(),
                effective_at: bakery::now().plus(DAY * 2),
                locked: false,
                keep: BTreeSet::new(),
            });
        });
        assert!(confirm(&resigned, &directory).contains("26 November 2026"), "an older return is not delayed");
        let mut frozen = site.clone();
        frozen.frozen = Some(mandate::site::Freeze { until: bakery::now().plus(DAY * 10), case: "case-1".into() });
        assert!(confirm(&frozen, &directory).contains("9 December 2026"), "the clock waits for the freeze");

        let mut suspended = Directory::default();
        for agency in directory.agencies() {
            suspended.put_agency(Arc::new(Agency { status: AgencyStatus::Suspended, ..Agency::clone(agency) }));
        }
        assert!(confirm(&site, &suspended).contains("at once"));
    }

    #[test]
    fn waiting_changes_no_digest() {
        for flow in FLOWS {
            let site = bakery::site(flow);
            for audience in AUDIENCES {
                let digest = |days: u32| {
                    let now = bakery::now().plus(DAY * days);
                    let facts = bakery::facts_on(flow, &site, &bakery::directory(), now);
                    read(flow, audience, &facts).digest
                };
                let first = digest(0);
                assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
                for days in [1, 13, 40, 4000] {
                    assert_eq!(digest(days), first, "{flow:?} {audience:?} after {days} days");
                }
                let timeless = Facts {
                    next_charge_date: None,
                    settle_until: None,
                    effective_at: None,
                    date: None,
                    bridge_until: None,
                    at_once: false,
                    ..bakery::facts(flow)
                };
                assert_eq!(read(flow, audience, &timeless).digest, first, "{flow:?} {audience:?} without any time");
            }
        }
    }

    #[test]
    fn every_other_fact_changes_the_digest() {
        let full = bakery::facts(Flow::PartnerHandover);
        let changes: [Change; 14] = [
            ("site", &|facts| facts.site = Some("bakery2".to_owned())),
            ("agency", &|facts| facts.agency = Some("Studio Nord".to_owned())),
            ("agency_domain", &|facts| facts.agency_domain = Some("studio.example".to_owned())),
            ("client", &|facts| facts.client = Some("mario".to_owned())),
            ("plan", &|facts| facts.plan = None),
            ("price", &|facts| facts.price = Some("18.00 EUR".to_owned())),
            ("domains", &|facts| facts.domains.clear()),
            ("contributors", &|facts| facts.contributors.truncate(1)),
            ("spending", &|facts| facts.contributors[0].loses_spending = false),
            ("staff", &|facts| facts.staff.clear()),
            ("notice_days", &|facts| facts.notice_days = Some(6)),
            ("settle_days", &|facts| facts.settle_days = Some(1)),
            ("resign_days", &|facts| facts.resign_days = None),
            ("plan_bridge_days", &|facts| facts.plan_bridge_days = Some(1)),
        ];
        let mut digests = BTreeSet::from([read(Flow::PartnerHandover, Audience::Client, &full).digest]);
        for (name, change) in changes {
            let mut facts = full.clone();
            change(&mut facts);
            let digest = read(Flow::PartnerHandover, Audience::Client, &facts).digest;
            assert!(digests.insert(digest), "{name} does not show in the digest");
        }
        for (flow, audience) in [(Flow::PartnerHandover, Audience::Partner), (Flow::ClientAssignment, Audience::Client)]
        {
            assert!(digests.insert(read(flow, audience, &full).digest), "{flow:?} {audience:?}");
        }
    }

    #[test]
    fn an_unknown_language_is_refused_with_the_known_ones() {
        let error = explain(Flow::Reclaim, Audience::Client, "de", &Facts::default()).unwrap_err();
        assert_eq!(error, ExplainError::UnknownLanguage { given: "de".to_owned(), known: vec!["en"] });
        assert_eq!(error.to_string(), "there are no texts in the language `de`; there are: en");
    }

    #[test]
    fn a_text_names_only_known_facts_and_says_which() {
        for (key, variants) in entries() {
            for variant in &variants {
                for fact in needs(variant) {
                    assert!(TIMES.contains(&fact.as_str()) || LASTING.contains(&fact.as_str()), "{key}: {fact}");
                }
            }
        }
        let explanation = read(Flow::PartnerHandover, Audience::Client, &bakery::facts(Flow::PartnerHandover));
        let title = &explanation.sections[0];
        assert_eq!(title.text, "Let Studio North run bakery for you");
        assert_eq!(title.facts.keys().collect::<Vec<_>>(), ["agency", "site"]);
    }

    #[test]
    fn no_section_comes_or_goes_by_waiting() {
        for (key, variants) in entries() {
            for (at, variant) in variants.iter().enumerate() {
                let lasting: BTreeSet<String> =
                    needs(variant).into_iter().filter(|fact| !TIMES.contains(&fact.as_str())).collect();
                let instead = variants[at..].iter().map(|later| needs(later)).any(|needs| needs.is_subset(&lasting));
                assert!(instead, "{key}: variant {at} has no successor without times");
            }
        }
    }

    #[test]
    fn no_variant_is_out_of_reach() {
        for (key, variants) in entries() {
            for (at, variant) in variants.iter().enumerate() {
                let hidden = variants[..at].iter().any(|earlier| needs(earlier).is_subset(&needs(variant)));
                assert!(!hidden, "{key}: variant {at} can never be shown");
            }
        }
    }

    #[test]
    fn the_client_reads_nothing_frightening_and_nobody_reads_long_sentences() {
        let denials = REASONS.iter().map(|reason| {
            let (sentence, remedy) = denial(reason).unwrap();
            ((*reason).to_owned(), vec![sentence.to_owned(), remedy.to_owned()])
        });
        for (key, variants) in entries().into_iter().chain(denials) {
            for text in variants {
                let for_partner = key.contains(".partner.") && !key.starts_with("handover.partner.client");
                if !for_partner {
                    for word in ["ownership", "transfer", "irrevocabl", "liabilit", "hereby", "grantor"] {
                        assert!(!text.to_lowercase().contains(word), "{key}: `{word}` in {text}");
                    }
                }
                // A placeholder reads as one word.
                let plain =
                    text.split("{{").enumerate().fold(String::new(), |plain, (at, part)| match part.split_once("}}") {
                        Some((_, rest)) if at > 0 => plain + "X" + rest,
                        _ => plain + part,
                    });
                for sentence in plain.split(['.', '?', '!']) {
                    let words = sentence.split_whitespace().count();
                    assert!(words <= 30, "{key}: {words} words in `{sentence}`");
                }
            }
        }
    }

    #[test]
    fn every_reason_has_one_sentence_and_a_remedy() {
        let file: toml::Table = CATALOGUE.parse().unwrap();
        let listed: BTreeSet<&str> = file["denial"].as_table().unwrap().keys().map(String::as_str).collect();
        assert_eq!(listed, REASONS.into_iter().collect(), "the catalogue has the published reasons, no more, no less");
        for reason in REASONS {
            let (sentence, remedy) = denial(reason).unwrap();
            for text in [sentence, remedy] {
                assert!(text.ends_with('.') && text.matches(". ").count() == 0, "{reason}: {text}");
            }
        }
        assert_eq!(denial("no_such_reason"), None);
    }
}

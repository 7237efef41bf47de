//! Every fact at once, and how to take each away.

use mandate::explanation::{Facts, Person, PlanName};

use super::story::{DAY, now};

/// Every fact that there is; nothing has to be waited for, or something has.
pub fn everything(at_once: bool) -> Facts {
    let some = |text: &str| Some(text.to_owned());
    let time = |days: u32| Some(now().plus(DAY * days));
    Facts {
        site: some("bakery"),
        agency: some("Studio North"),
        agency_domain: some("studio-north.example"),
        old_agency: some("Studio North"),
        new_agency: some("Studio South"),
        new_agency_domain: some("studio-south.example"),
        client: some("maria"),
        owner: some("maria"),
        recipient: some("tom"),
        successor: some("tom"),
        email: some("nora@studio-north.example"),
        plan: Some(PlanName::Named("Business".to_owned())),
        price: some("17.00 EUR"),
        last4: some("4242"),
        domains: vec!["bakery.example".to_owned()],
        transfer_domains: Some(vec!["bakery.example".to_owned()]),
        kept_domains: Some(vec![]),
        plan_moves: Some(true),
        keeps_role: Some(true),
        contributors: vec![
            Person { name: "ben".to_owned(), loses_spending: true },
            Person { name: "lena".to_owned(), loses_spending: false },
        ],
        staff: vec!["otto".to_owned()],
        notice_days: Some(5),
        settle_days: Some(7),
        resign_days: Some(14),
        plan_bridge_days: Some(14),
        freeze_days: Some(14),
        grace_days: Some(14),
        lapse_days: Some(14),
        suspension_days: Some(1),
        next_charge_date: time(21),
        settle_until: time(7),
        effective_at: time(0),
        date: time(5),
        bridge_until: time(19),
        until: time(10),
        failed_on: time(0),
        grace: time(14),
        at_once,
    }
}

/// The name of a fact, whether it is a time, and how to take it away.
pub type Without = (&'static str, bool, fn(&mut Facts));

pub const FACTS: [Without; 39] = [
    ("site", false, |facts| facts.site = None),
    ("agency", false, |facts| facts.agency = None),
    ("agency_domain", false, |facts| facts.agency_domain = None),
    ("old_agency", false, |facts| facts.old_agency = None),
    ("new_agency", false, |facts| facts.new_agency = None),
    ("new_agency_domain", false, |facts| facts.new_agency_domain = None),
    ("client", false, |facts| facts.client = None),
    ("owner", false, |facts| facts.owner = None),
    ("recipient", false, |facts| facts.recipient = None),
    ("successor", false, |facts| facts.successor = None),
    ("email", false, |facts| facts.email = None),
    ("plan", false, |facts| facts.plan = None),
    ("price", false, |facts| facts.price = None),
    ("last4", false, |facts| facts.last4 = None),
    ("domains", false, |facts| facts.domains.clear()),
    ("transfer_domains", false, |facts| facts.transfer_domains = None),
    ("kept_domains", false, |facts| facts.kept_domains = None),
    ("plan_moves", false, |facts| facts.plan_moves = None),
    ("keeps_role", false, |facts| facts.keeps_role = None),
    ("contributors", false, |facts| facts.contributors.clear()),
    ("spenders", false, |facts| facts.contributors[0].loses_spending = false),
    ("staff", false, |facts| facts.staff.clear()),
    ("notice_days", false, |facts| facts.notice_days = None),
    ("settle_days", false, |facts| facts.settle_days = None),
    ("resign_days", false, |facts| facts.resign_days = None),
    ("plan_bridge_days", false, |facts| facts.plan_bridge_days = None),
    ("freeze_days", false, |facts| facts.freeze_days = None),
    ("grace_days", false, |facts| facts.grace_days = None),
    ("lapse_days", false, |facts| facts.lapse_days = None),
    ("suspension_days", false, |facts| facts.suspension_days = None),
    ("next_charge_date", true, |facts| facts.next_charge_date = None),
    ("settle_until", true, |facts| facts.settle_until = None),
    ("effective_at", true, |facts| facts.effective_at = None),
    ("date", true, |facts| facts.date = None),
    ("bridge_until", true, |facts| facts.bridge_until = None),
    ("until", true, |facts| facts.until = None),
    ("failed_on", true, |facts| facts.failed_on = None),
    ("grace", true, |facts| facts.grace = None),
    ("at_once", true, |facts| facts.at_once = false),
];

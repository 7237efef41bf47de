//! Which facts may a text name, and how is each written in a language's words?
//!
//! Every fact is optional: what nobody told us is left out, and a text that needs it has a variant without it. Facts
//! are kept as data and written in words only when a language is chosen. A fact that changes by waiting is a time; the
//! digest of a text covers all others.

use std::collections::BTreeMap;

use serde_json::Value;

use super::catalogue::Words;
use crate::{site::Tier, time::Timestamp};

/// The facts that a text may name, under the names that the catalogue uses for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The site.
    pub site: Option<String>,
    /// The agency's verified name.
    pub agency: Option<String>,
    /// The agency's verified domain.
    pub agency_domain: Option<String>,
    /// In a replacement, the present partner's verified name.
    pub old_agency: Option<String>,
    /// In a replacement, the next partner's verified name.
    pub new_agency: Option<String>,
    /// In a replacement, the next partner's verified domain.
    pub new_agency_domain: Option<String>,
    /// The client.
    pub client: Option<String>,
    /// Who holds the Owner seat.
    pub owner: Option<String>,
    /// Who gets everything in an ownership transfer.
    pub recipient: Option<String>,
    /// Who follows an owner that cannot act for good.
    pub successor: Option<String>,
    /// The address that the reader is about to invite, as the reader wrote it.
    pub email: Option<String>,
    /// The host plan.
    pub plan: Option<PlanName>,
    /// The plan's price with its currency, for example `17.00 EUR`.
    pub price: Option<String>,
    /// The end of the number of the card that pays.
    pub last4: Option<String>,
    /// The domains that stay with the client, or become theirs.
    pub domains: Vec<String>,
    /// In an ownership transfer, the domains that go with the site; known to be none is not the same as unknown.
    pub transfer_domains: Option<Vec<String>>,
    /// In an ownership transfer, the owner's domains that do not.
    pub kept_domains: Option<Vec<String>>,
    /// In an ownership transfer, whether the paid plan goes on at the recipient's cost.
    pub plan_moves: Option<bool>,
    /// In an ownership transfer, whether the old owner stays as a website manager.
    pub keeps_role: Option<bool>,
    /// The people concerned. In a handover those who keep access, in a return those who came with the partner.
    pub contributors: Vec<Person>,
    /// Contributors who work for the agency and go on through it.
    pub staff: Vec<String>,
    /// From a reclaim to the return, in days, rounded up.
    pub notice_days: Option<u64>,
    /// From a handover to its settling, in days, rounded up.
    pub settle_days: Option<u64>,
    /// From a resignation to the return, in days, rounded up.
    pub resign_days: Option<u64>,
    /// How long prepaid hosting runs on after a return at most, in days, rounded up.
    pub plan_bridge_days: Option<u64>,
    /// The longest freeze, in days, rounded up.
    pub freeze_days: Option<u64>,
    /// From a failed payment to the free plan, in days, rounded up.
    pub grace_days: Option<u64>,
    /// From the free plan to the return, in days, rounded up.
    pub lapse_days: Option<u64>,
    /// From an agency's suspension to the return, in days, rounded up.
    pub suspension_days: Option<u64>,
    /// When the plan's holder is charged next. A time.
    pub next_charge_date: Option<Timestamp>,
    /// Until when either side undoes the handover at once. A time.
    pub settle_until: Option<Timestamp>,
    /// When the seats change if everybody agrees now. A time.
    pub effective_at: Option<Timestamp>,
    /// When the site is back at the latest. A time.
    pub date: Option<Timestamp>,
    /// Until when hosting is paid after a return. A time.
    pub bridge_until: Option<Timestamp>,
    /// When the freeze ends by itself. A time.
    pub until: Option<Timestamp>,
    /// When the payment failed. A time.
    pub failed_on: Option<Timestamp>,
    /// Until when the unpaid site goes on as it is. A time.
    pub grace: Option<Timestamp>,
    /// The site is back as soon as the request is made. It depends on the time, so it is one.
    pub at_once: bool,
}

/// What a plan is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanName {
    /// By the platform.
    Named(String),
    /// By nobody: its tier says what it is.
    Of(Tier),
}

/// A person with a role on the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// How the platform identifies them.
    pub name: String,
    /// Marked with €: this step takes their right to spend money.
    pub loses_spending: bool,
}

impl Facts {
    /// The known facts that do not change by waiting, in this language's words.
    pub(super) fn lasting(&self, words: &Words) -> BTreeMap<String, Value> {
        let mut all = self.named();
        all.extend(self.counted());
        all.extend(self.listed(words));
        all
    }
    fn named(&self) -> BTreeMap<String, Value> {
        let text = |fact: &Option<String>| fact.clone().map(Value::from);
        known([
            ("site", text(&self.site)),
            ("agency", text(&self.agency)),
            ("agency_domain", text(&self.agency_domain)),
            ("old_agency", text(&self.old_agency)),
            ("new_agency", text(&self.new_agency)),
            ("new_agency_domain", text(&self.new_agency_domain)),
            ("client", text(&self.client)),
            ("owner", text(&self.owner)),
            ("recipient", text(&self.recipient)),
            ("successor", text(&self.successor)),
            ("email", text(&self.email)),
            ("last4", text(&self.last4)),
            ("plan_moves", self.plan_moves.map(Value::from)),
            ("keeps_role", self.keeps_role.map(Value::from)),
        ])
    }
    fn counted(&self) -> BTreeMap<String, Value> {
        known([
            ("notice_days", self.notice_days.map(Value::from)),
            ("settle_days", self.settle_days.map(Value::from)),
            ("resign_days", self.resign_days.map(Value::from)),
            ("plan_bridge_days", self.plan_bridge_days.map(Value::from)),
            ("freeze_days", self.freeze_days.map(Value::from)),
            ("grace_days", self.grace_days.map(Value::from)),
            ("lapse_days", self.lapse_days.map(Value::from)),
            ("suspension_days", self.suspension_days.map(Value::from)),
        ])
    }
    fn listed(&self, words: &Words) -> BTreeMap<String, Value> {
        let list = |items: &[String]| words.list(items).map(Value::from);
        let or_none = |items: &Option<Vec<String>>| {
            items.as_ref().map(|items| Value::from(words.list(items).unwrap_or_else(|| words.none.clone())))
        };
        let marked = |person: &Person| {
            if person.loses_spending { format!("{}{}", person.name, words.mark) } else { person.name.clone() }
        };
        let people: Vec<String> = self.contributors.iter().map(marked).collect();
        let spenders: Vec<String> =
            self.contributors.iter().filter(|person| person.loses_spending).map(|person| person.name.clone()).collect();
        let plan = self.plan.as_ref().map(|plan| match plan {
            PlanName::Named(name) => name.clone(),
            PlanName::Of(Tier::Free) => words.free_plan.clone(),
            PlanName::Of(Tier::Premium) => words.premium_plan.clone(),
        });
        known([
            ("plan", plan.map(Value::from)),
            ("price", self.price.as_ref().map(|price| Value::from(price.replace('.', &words.decimal)))),
            ("domains", list(&self.domains)),
            ("transfer_domains", or_none(&self.transfer_domains)),
            ("kept_domains", or_none(&self.kept_domains)),
            ("contributors", list(&people)),
            ("spenders", list(&spenders)),
            ("staff", list(&self.staff)),
        ])
    }
    /// The known facts that change by waiting, in this language's words.
    pub(super) fn passing(&self, words: &Words) -> BTreeMap<String, Value> {
        let date = |at: Option<Timestamp>| at.and_then(|at| words.date(at)).map(Value::from);
        known([
            ("next_charge_date", date(self.next_charge_date)),
            ("settle_until", date(self.settle_until)),
            ("effective_at", date(self.effective_at)),
            ("date", date(self.date)),
            ("bridge_until", date(self.bridge_until)),
            ("until", date(self.until)),
            ("failed_on", date(self.failed_on)),
            ("grace", date(self.grace)),
            ("at_once", self.at_once.then(|| Value::from(words.at_once.clone()))),
        ])
    }
}

fn known<const N: usize>(facts: [(&str, Option<Value>); N]) -> BTreeMap<String, Value> {
    facts.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect()
}

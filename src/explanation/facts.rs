//! What do the texts say about this site and these people? From stored rows to named facts.
//!
//! Every fact is optional: what nobody told us is left out, and a text that needs it has a variant without it. Facts
//! are kept as data and written in words only when a language is chosen.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{Flow, catalogue::Words};
use crate::{
    assignment::{Agency, Directory},
    handover::{Handover, Timers},
    ids::{Account, AgencyId, UserId},
    site::{PlanStatus, Side, Site, Tier},
    time::Timestamp,
};

/// The facts that a text may name, under the names that the catalogue uses for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The site.
    pub site: Option<String>,
    /// The agency's verified name.
    pub agency: Option<String>,
    /// The agency's verified domain.
    pub agency_domain: Option<String>,
    /// The client.
    pub client: Option<String>,
    /// The host plan.
    pub plan: Option<PlanName>,
    /// The plan's price with its currency, for example `17.00 EUR`.
    pub price: Option<String>,
    /// The domains that stay with the client, or become theirs.
    pub domains: Vec<String>,
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

/// The two sides that a text speaks of, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parties<'a> {
    /// The partner, present or to be.
    pub agency: Option<&'a Agency>,
    /// The client, present or to be.
    pub client: Option<&'a UserId>,
}

impl<'a> Parties<'a> {
    /// The parties of a handover, whichever of them made the offer.
    #[must_use]
    pub fn of_handover(handover: &'a Handover, directory: &'a Directory) -> Self {
        Self::of_accounts([&handover.initiator, &handover.to], directory)
    }
    /// The parties that are seated on a site.
    #[must_use]
    pub fn of_site(site: &'a Site, directory: &'a Directory) -> Self {
        match site.seats.engagement() {
            Some(engagement) => {
                Self { agency: agency(directory, &engagement.partner), client: Some(&engagement.client) }
            }
            None => Self::default(),
        }
    }
    /// The person and the agency among two accounts.
    #[must_use]
    pub fn of_accounts(accounts: [&'a Account; 2], directory: &'a Directory) -> Self {
        accounts.into_iter().fold(Self::default(), |parties, account| match account {
            Account::User(user) => Self { client: Some(user), ..parties },
            Account::Agency(id) => Self { agency: agency(directory, id), ..parties },
        })
    }
}

fn agency<'a>(directory: &'a Directory, id: &AgencyId) -> Option<&'a Agency> {
    directory.agency(id).map(AsRef::as_ref)
}

/// The facts of one flow on one site.
///
/// `spends` says whether a role may spend money while its grantor pays; the policies know that, so the caller asks
/// them (`assignment::Strengths`). For a finished return, `site` is the site as it is now and `parties` are those of
/// the engagement that ended.
#[must_use]
pub fn facts_of(
    flow: Flow,
    site: &Site,
    parties: &Parties<'_>,
    timers: &Timers,
    spends: &dyn Fn(&str) -> bool,
    now: Timestamp,
) -> Facts {
    let timing = timing(flow, site, parties, timers, now);
    Facts {
        site: Some(site.id.to_string()),
        agency: parties.agency.map(|agency| agency.name.clone()),
        agency_domain: parties.agency.map(|agency| agency.domain.clone()),
        client: parties.client.map(ToString::to_string),
        plan: Some(site.plan.name.clone().map_or(PlanName::Of(site.plan.tier), PlanName::Named)),
        price: price(site),
        domains: domains(site),
        contributors: contributors(flow, site, parties, spends),
        staff: staff(site, parties),
        notice_days: Some(days(timers.reclaim_notice)),
        settle_days: Some(days(timers.settle)),
        resign_days: Some(days(timers.resign_notice)),
        plan_bridge_days: Some(days(timers.plan_bridge)),
        ..timing
    }
}

/// The facts that change by waiting. All others must not.
fn timing(flow: Flow, site: &Site, parties: &Parties<'_>, timers: &Timers, now: Timestamp) -> Facts {
    let charged = site.plan.next_charge_at.filter(|at| *at > now);
    match flow {
        Flow::PartnerHandover | Flow::ClientAssignment => Facts {
            next_charge_date: charged,
            effective_at: Some(now),
            settle_until: Some(now.plus(timers.settle)),
            ..Facts::default()
        },
        Flow::Reclaim | Flow::Resign => {
            let date = return_date(flow, site, parties, timers, now);
            let paid = site.plan.tier == Tier::Premium && site.plan.status == PlanStatus::Ok;
            let bridge = date.unwrap_or(now).plus(timers.plan_bridge);
            Facts {
                next_charge_date: charged,
                at_once: date.is_none(),
                date,
                bridge_until: paid.then(|| charged.map_or(bridge, |at| at.min(bridge))),
                ..Facts::default()
            }
        }
        Flow::Returned => Facts { bridge_until: site.plan.bridge_until.filter(|at| *at > now), ..Facts::default() },
    }
}

/// When the site is back at the latest; none when nothing has to be waited for. The rules are the machine's (T11 to
/// T17); only the wording of a notice depends on them here, never a right.
fn return_date(flow: Flow, site: &Site, parties: &Parties<'_>, timers: &Timers, now: Timestamp) -> Option<Timestamp> {
    let frozen = site.frozen.as_ref().map(|freeze| freeze.until).filter(|until| *until > now);
    let pending = site.return_pending();
    // A clock waits for the end of a freeze.
    let start = frozen.unwrap_or(now);
    let notice = match flow {
        Flow::Resign => timers.resign_notice,
        Flow::PartnerHandover | Flow::ClientAssignment | Flow::Reclaim | Flow::Returned => timers.reclaim_notice,
    };
    let settling = site.seats.engagement().is_some_and(|engagement| now < engagement.settling_until);
    let inactive = flow == Flow::Reclaim && parties.agency.is_some_and(|agency| !agency.is_active());
    match pending {
        Some(pending) if pending.reason == reason(flow) => Some(pending.effective_at),
        _ if frozen.is_none() && (settling || inactive) => None,
        Some(pending) => Some(pending.effective_at.min(start.plus(notice))),
        None => Some(start.plus(notice)),
    }
}

fn reason(flow: Flow) -> crate::site::ReturnReason {
    match flow {
        Flow::Resign => crate::site::ReturnReason::Resign,
        Flow::PartnerHandover | Flow::ClientAssignment | Flow::Reclaim | Flow::Returned => {
            crate::site::ReturnReason::Reclaim
        }
    }
}

fn price(site: &Site) -> Option<String> {
    let price = site.plan.price.as_deref()?;
    Some(site.plan.currency.as_deref().map_or_else(|| price.to_owned(), |currency| format!("{price} {currency}")))
}

/// Those of the content owner: they stay with a client, and go to one with the content. A domain of somebody else's
/// is connected to the site, and nothing that happens to the site touches it.
fn domains(site: &Site) -> Vec<String> {
    let owner = site.seats.content_owner();
    site.domains
        .iter()
        .filter(|domain| Some(&domain.holder) == owner.as_ref())
        .map(|domain| domain.name.clone())
        .collect()
}

fn contributors(flow: Flow, site: &Site, parties: &Parties<'_>, spends: &dyn Fn(&str) -> bool) -> Vec<Person> {
    let payer = site.seats.plan_holder();
    let next_payer = parties.agency.map(|agency| Account::from(agency.id.clone()));
    let payer_changes = flow == Flow::PartnerHandover && payer != next_payer;
    let leaves = matches!(flow, Flow::Reclaim | Flow::Resign);
    site.contributors
        .iter()
        .filter(|(user, row)| if leaves { row.side == Side::Partner } else { !is_staff(parties, user) })
        .map(|(user, row)| Person {
            name: user.to_string(),
            loses_spending: payer_changes && Some(&row.grantor) == payer.as_ref() && spends(&row.role),
        })
        .collect()
}

fn staff(site: &Site, parties: &Parties<'_>) -> Vec<String> {
    site.contributors.keys().filter(|user| is_staff(parties, user)).map(ToString::to_string).collect()
}

fn is_staff(parties: &Parties<'_>, user: &UserId) -> bool {
    parties.agency.is_some_and(|agency| agency.member(user).is_some())
}

/// Rounded up: a promise of time to somebody is never longer than what they are told.
fn days(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(24 * 60 * 60).max(1)
}

impl Facts {
    /// The known facts that do not change by waiting, in this language's words.
    pub(super) fn lasting(&self, words: &Words) -> BTreeMap<String, Value> {
        let marked: Vec<String> = self
            .contributors
            .iter()
            .map(
                |person| {
                    if person.loses_spending { format!("{}{}", person.name, words.mark) } else { person.name.clone() }
                },
            )
            .collect();
        let spenders: Vec<String> =
            self.contributors.iter().filter(|person| person.loses_spending).map(|person| person.name.clone()).collect();
        let plan = self.plan.as_ref().map(|plan| match plan {
            PlanName::Named(name) => name.clone(),
            PlanName::Of(Tier::Free) => words.free_plan.clone(),
            PlanName::Of(Tier::Premium) => words.premium_plan.clone(),
        });
        known([
            ("site", self.site.clone().map(Value::from)),
            ("agency", self.agency.clone().map(Value::from)),
            ("agency_domain", self.agency_domain.clone().map(Value::from)),
            ("client", self.client.clone().map(Value::from)),
            ("plan", plan.map(Value::from)),
            ("price", self.price.clone().map(Value::from)),
            ("domains", words.list(&self.domains).map(Value::from)),
            ("contributors", words.list(&marked).map(Value::from)),
            ("spenders", words.list(&spenders).map(Value::from)),
            ("staff", words.list(&self.staff).map(Value::from)),
            ("notice_days", self.notice_days.map(Value::from)),
            ("settle_days", self.settle_days.map(Value::from)),
            ("resign_days", self.resign_days.map(Value::from)),
            ("plan_bridge_days", self.plan_bridge_days.map(Value::from)),
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
            ("at_once", self.at_once.then(|| Value::from(words.at_once.clone()))),
        ])
    }
}

fn known<const N: usize>(facts: [(&str, Option<Value>); N]) -> BTreeMap<String, Value> {
    facts.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect()
}

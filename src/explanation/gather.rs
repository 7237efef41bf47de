//! What is so on this site, for these people? From stored rows to named facts.
//!
//! The rules of returns are the machine's (T11 to T23); only the wording of a notice depends on them here, never a
//! right. What neither the site nor the timers say comes as [`Extra`], and stays out of the text when it does not.

use std::time::Duration;

use super::{
    Facts, Flow, Parties, Person, PlanName,
    parties::{domain_of, name_of},
};
use crate::{
    handover::Timers,
    ids::{Account, UserId},
    site::{PlanStatus, ReturnReason, Side, Site, Tier},
    time::Timestamp,
};

/// What a flow tells beyond the site and its parties. Every part is optional.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// When the plan's payment failed.
    pub failed_on: Option<Timestamp>,
    /// When the unpaid plan turns into a free one.
    pub lapses_at: Option<Timestamp>,
    /// When the site of a partner who does not pay is back.
    pub returns_at: Option<Timestamp>,
    /// The longest freeze.
    pub freeze_max: Option<Duration>,
    /// From a failed payment to the free plan.
    pub past_due_grace: Option<Duration>,
    /// From the free plan to the return.
    pub lapse_notice: Option<Duration>,
    /// From an agency's suspension or dissolution to the return.
    pub suspension_notice: Option<Duration>,
    /// In an ownership transfer, the domains that move.
    pub transfer_domains: Option<Vec<String>>,
    /// In an ownership transfer, whether the paid plan goes on at the recipient's cost.
    pub plan_moves: Option<bool>,
    /// In an ownership transfer, whether the old owner stays as a website manager.
    pub keeps_role: Option<bool>,
    /// The address that the reader is about to invite. Shown to nobody but the reader who wrote it.
    pub email: Option<String>,
    /// Who follows an owner that cannot act for good.
    pub successor: Option<String>,
    /// The end of the number of the card that pays.
    pub last4: Option<String>,
}

/// The facts of one flow on one site, when there is nothing beyond that to tell: [`facts_with`].
#[must_use]
pub fn facts_of(
    flow: Flow,
    site: &Site,
    parties: &Parties<'_>,
    timers: &Timers,
    spends: &dyn Fn(&str) -> bool,
    now: Timestamp,
) -> Facts {
    facts_with(flow, site, parties, timers, spends, now, &Extra::default())
}

/// The facts of one flow on one site.
///
/// `spends` says whether a role may spend money while its grantor pays; the policies know that, so the caller asks
/// them (`assignment::Strengths`). For a finished return, `site` is the site as it is now and `parties` are those of
/// the engagement that ended.
#[must_use]
pub fn facts_with(
    flow: Flow,
    site: &Site,
    parties: &Parties<'_>,
    timers: &Timers,
    spends: &dyn Fn(&str) -> bool,
    now: Timestamp,
    extra: &Extra,
) -> Facts {
    let agency = parties.agency.map(name_of);
    Facts {
        site: Some(site.id.to_string()),
        old_agency: agency.clone().filter(|_| flow == Flow::Replacement),
        agency,
        agency_domain: parties.agency.and_then(domain_of),
        new_agency: parties.new_agency.map(name_of),
        new_agency_domain: parties.new_agency.and_then(domain_of),
        client: parties.client.map(ToString::to_string),
        owner: owner(site, parties),
        recipient: parties.recipient.map(ToString::to_string),
        successor: extra.successor.clone(),
        email: extra.email.clone(),
        plan: Some(site.plan.name.clone().map_or(PlanName::Of(site.plan.tier), PlanName::Named)),
        price: price(site),
        last4: extra.last4.clone(),
        domains: domains(site),
        transfer_domains: extra.transfer_domains.clone(),
        kept_domains: extra
            .transfer_domains
            .as_ref()
            .map(|moved| domains(site).into_iter().filter(|domain| !moved.contains(domain)).collect()),
        plan_moves: extra.plan_moves,
        keeps_role: extra.keeps_role,
        contributors: contributors(flow, site, parties, spends),
        staff: staff(flow, site, parties),
        notice_days: Some(days(timers.reclaim_notice)),
        settle_days: Some(days(timers.settle)),
        resign_days: Some(days(timers.resign_notice)),
        plan_bridge_days: Some(days(timers.plan_bridge)),
        freeze_days: extra.freeze_max.map(days),
        grace_days: extra.past_due_grace.map(days),
        lapse_days: extra.lapse_notice.map(days),
        suspension_days: extra.suspension_notice.map(days),
        ..timing(flow, site, parties, timers, now, extra)
    }
}

/// The facts that change by waiting. All others must not.
fn timing(flow: Flow, site: &Site, parties: &Parties<'_>, timers: &Timers, now: Timestamp, extra: &Extra) -> Facts {
    let charged = site.plan.next_charge_at.filter(|at| *at > now);
    let common = Facts { until: frozen_until(site, now), ..Facts::default() };
    match flow {
        Flow::PartnerHandover
        | Flow::ClientAssignment
        | Flow::Replacement
        | Flow::OwnershipTransfer
        | Flow::Succession => Facts {
            next_charge_date: charged,
            effective_at: Some(now),
            settle_until: Some(now.plus(timers.settle)),
            ..common
        },
        Flow::Reclaim | Flow::Resign => {
            let date = return_date(flow, site, parties, timers, now);
            let bridge_until = bridge(site, date.unwrap_or(now), timers, charged);
            Facts { next_charge_date: charged, at_once: date.is_none(), date, bridge_until, ..common }
        }
        Flow::AgencySuspended | Flow::AgencyDissolving => {
            let date = site.return_pending().map(|pending| waits(pending.effective_at, common.until));
            Facts { date, bridge_until: date.and_then(|date| bridge(site, date, timers, charged)), ..common }
        }
        Flow::PastDue | Flow::Lapsed => {
            let pending = site.return_pending().map(|pending| waits(pending.effective_at, common.until));
            let date = extra.returns_at.or(pending.filter(|_| flow == Flow::Lapsed));
            Facts { failed_on: extra.failed_on, grace: extra.lapses_at.filter(|at| *at > now), date, ..common }
        }
        Flow::Returned => Facts { bridge_until: site.plan.bridge_until.filter(|at| *at > now), ..common },
        Flow::Rescue => Facts { next_charge_date: charged, ..common },
        Flow::Dispute | Flow::Freeze | Flow::PartnerRequest | Flow::Nudge | Flow::Custody => common,
    }
}

fn frozen_until(site: &Site, now: Timestamp) -> Option<Timestamp> {
    site.frozen.as_ref().map(|freeze| freeze.until).filter(|until| *until > now)
}

/// A clock waits for the end of a freeze.
fn waits(at: Timestamp, frozen_until: Option<Timestamp>) -> Timestamp {
    frozen_until.map_or(at, |until| at.max(until))
}

/// Until when hosting is paid if the site is back at `date`.
fn bridge(site: &Site, date: Timestamp, timers: &Timers, charged: Option<Timestamp>) -> Option<Timestamp> {
    let paid = site.plan.tier == Tier::Premium && site.plan.status == PlanStatus::Ok;
    let bridge = date.plus(timers.plan_bridge);
    paid.then(|| charged.map_or(bridge, |at| at.min(bridge)))
}

/// When the site is back at the latest; none when nothing has to be waited for.
fn return_date(flow: Flow, site: &Site, parties: &Parties<'_>, timers: &Timers, now: Timestamp) -> Option<Timestamp> {
    let frozen = frozen_until(site, now);
    let (reason, notice) = match flow {
        Flow::Resign => (ReturnReason::Resign, timers.resign_notice),
        _ => (ReturnReason::Reclaim, timers.reclaim_notice),
    };
    let asked = waits(now, frozen).plus(notice);
    let settling = site.seats.engagement().is_some_and(|engagement| now < engagement.settling_until);
    let inactive = flow == Flow::Reclaim && parties.agency.is_some_and(|agency| !agency.is_active());
    match site.return_pending() {
        Some(pending) if pending.reason == reason => Some(waits(pending.effective_at, frozen)),
        _ if frozen.is_none() && (settling || inactive) => None,
        Some(pending) => Some(waits(pending.effective_at, frozen).min(asked)),
        None => Some(asked),
    }
}

fn owner(site: &Site, parties: &Parties<'_>) -> Option<String> {
    match site.seats.owner()? {
        Account::User(user) => Some(user.to_string()),
        Account::Agency(id) => parties.agency.filter(|agency| agency.id == id).map(name_of),
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
    let next_payer = match flow {
        Flow::PartnerHandover => parties.agency.map(|agency| Account::from(agency.id.clone())),
        Flow::OwnershipTransfer => parties.recipient.map(|user| Account::from(user.clone())),
        _ => payer.clone(),
    };
    let staff = staff(flow, site, parties);
    site.contributors
        .iter()
        .filter(|(user, row)| if leaves(flow) { row.side == Side::Partner } else { !staff.contains(&user.to_string()) })
        .map(|(user, row)| Person {
            name: user.to_string(),
            loses_spending: payer != next_payer && Some(&row.grantor) == payer.as_ref() && spends(&row.role),
        })
        .collect()
}

/// Whether the present partner goes, and those who came with it.
const fn leaves(flow: Flow) -> bool {
    match flow {
        Flow::Replacement
        | Flow::Reclaim
        | Flow::Resign
        | Flow::PastDue
        | Flow::Lapsed
        | Flow::Rescue
        | Flow::AgencySuspended
        | Flow::AgencyDissolving => true,
        Flow::PartnerHandover
        | Flow::ClientAssignment
        | Flow::Returned
        | Flow::Dispute
        | Flow::Freeze
        | Flow::OwnershipTransfer
        | Flow::Succession
        | Flow::PartnerRequest
        | Flow::Nudge
        | Flow::Custody => false,
    }
}

/// Those who work for the agency that is about to run the site, or runs it.
fn staff(flow: Flow, site: &Site, parties: &Parties<'_>) -> Vec<String> {
    let agency = if flow == Flow::Replacement { parties.new_agency } else { parties.agency };
    let works_there = |user: &&UserId| agency.is_some_and(|agency| agency.member(user).is_some());
    site.contributors.keys().filter(works_there).map(ToString::to_string).collect()
}

/// Rounded up: a promise of time to somebody is never longer than what they are told.
fn days(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(24 * 60 * 60).max(1)
}

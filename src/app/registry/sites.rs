//! Sites: a new one is registered whole, a known one keeps what is not said again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::json;

use super::{Decided, Registered, event, is_hostname, is_line};
use crate::{
    app::{App, Failure, Kind},
    handover::{Blocker, Timers},
    ids::{Account, SiteId},
    site::{Domain, Mode, Plan, PlanStatus, Seats, Site, Tier},
    store::{AccountStatus, Changes, Loaded, Store, Verdict, Wanted},
    time::Timestamp,
};

/// Most domains of one site.
const MAX_DOMAINS: usize = 100;
/// Longest plan name, in characters.
const MAX_PLAN_NAME: usize = 60;

/// `PUT /v1/sites/{site}`. A new site needs `mode`, `owner` and `plan.tier`; later, what is absent stays as it is.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteUpdate {
    /// `self_managed` or `partner_built` for a new site.
    #[schema(value_type = Option<String>)]
    pub mode: Option<Mode>,
    /// `user:ID` for a self-managed site, `agency:ID` for a partner-built one.
    #[schema(value_type = Option<String>)]
    pub owner: Option<Account>,
    /// The host plan.
    pub plan: Option<PlanUpdate>,
    /// Whether visitors can see the site.
    pub published: Option<bool>,
    /// Connected domains: names, or names with their holders.
    #[schema(value_type = Option<Vec<Domain>>)]
    pub domains: Option<Vec<DomainUpdate>>,
    /// What stands in the way of an offer and only the platform knows: `domain_transfer_in_flight`,
    /// `unpaid_platform_invoice`, `pending_refund_window`. An empty list takes all of them back.
    pub blockers: Option<BTreeSet<Blocker>>,
}

/// The host plan as the platform reports it.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanUpdate {
    /// Free or paid.
    pub tier: Option<Tier>,
    /// Whether it is paid up; for a registered site it changes by commands only.
    pub status: Option<PlanStatus>,
    /// The plan's name as customers know it.
    pub name: Option<String>,
    /// The price of one period, as a decimal text in `currency`.
    pub price: Option<String>,
    /// ISO 4217 code of the price.
    pub currency: Option<String>,
    /// When the holder is charged next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_charge_at: Option<Timestamp>,
    /// Whether another account can take the plan over.
    pub transferable: Option<bool>,
}

impl PlanUpdate {
    /// The plan with what is reported about it.
    fn onto(self, plan: Plan) -> Plan {
        Plan {
            tier: self.tier.unwrap_or(plan.tier),
            status: self.status.unwrap_or(plan.status),
            name: self.name.or(plan.name),
            price: self.price.or(plan.price),
            currency: self.currency.or(plan.currency),
            next_charge_at: self.next_charge_at.or(plan.next_charge_at),
            transferable: self.transferable.unwrap_or(plan.transferable),
            ..plan
        }
    }
}

/// A domain by name, held by the owner, or with another holder.
#[derive(Debug, Clone)]
pub enum DomainUpdate {
    /// `"bakery.example"`.
    Name(String),
    /// `{"name":"bakery.example","holder":"user:maria"}`.
    Held(Domain),
}

/// By hand: an untagged enumeration would also take an array for a domain.
impl<'de> Deserialize<'de> for DomainUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = DomainUpdate;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a domain's name, or an object with `name` and `holder`")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<DomainUpdate, E> {
                Ok(DomainUpdate::Name(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<DomainUpdate, A::Error> {
                Domain::deserialize(MapAccessDeserializer::new(members)).map(DomainUpdate::Held)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl App {
    /// Registers a site, or changes what the platform reports about it.
    ///
    /// # Errors
    /// `400` for an owner or domain that does not fit; `404` for an unknown agency; `409` for a change that only
    /// commands make.
    pub async fn put_site(&self, id: SiteId, update: SiteUpdate) -> Result<Registered<Site>, Failure> {
        let agency = match &update.owner {
            Some(Account::Agency(agency)) => Some(agency.clone()),
            Some(Account::User(_)) | None => None,
        };
        let wanted = Wanted {
            sites: vec![id.clone()],
            agencies: agency.iter().cloned().collect(),
            accounts: update.owner.iter().cloned().collect(),
            ..Wanted::default()
        };
        let clock = std::sync::Arc::clone(&self.clock);
        let timers = self.rules.timers.clone();
        let decide = move |loaded: &Loaded| -> Decided<Site> {
            let at = clock.now().max(loaded.head.at);
            let old = loaded.sites.first().and_then(Option::as_ref);
            let site = match old {
                None if !loaded.accounts.is_empty() => Err(account_closing(&loaded.accounts)),
                None => match &agency {
                    Some(agency) if loaded.directory.agency(agency).is_none() => {
                        Err(Failure::unknown_agency(agency.as_str()))
                    }
                    Some(_) | None => registered(id, update).map(|site| with_clocks(site, &timers, at)),
                },
                Some(old) => reported(old, update),
            };
            match (site, old) {
                (Err(failure), _) => Verdict::Leave(Err(failure)),
                (Ok(site), Some(old)) if site == *old => {
                    Verdict::Leave(Ok(Registered { created: false, revision: loaded.head.revision, value: site }))
                }
                (Ok(site), Some(_)) => commit(loaded, site, "SiteReported", at, false),
                (Ok(site), None) => commit(loaded, site, "SiteRegistered", at, true),
            }
        };
        self.store.change(wanted, Box::new(decide)).await?
    }
}

fn commit(loaded: &Loaded, mut site: Site, kind: &str, at: Timestamp, created: bool) -> Decided<Site> {
    let data = json!({
        "mode": site.seats.mode(), "owner": site.seats.owner(), "plan": site.plan, "published": site.published, "domains": site.domains,
    });
    let events = vec![event(Some(site.id.clone()), kind, data)];
    let changes = Changes { sites: vec![site.clone()], events, at, ..Changes::default() };
    site.revision = loaded.head.revision.next();
    Verdict::Commit(Box::new(changes), Ok(Registered { created, revision: site.revision, value: site }))
}

/// A site that is registered with an unpaid plan: its grace begins now.
fn with_clocks(mut site: Site, timers: &Timers, at: Timestamp) -> Site {
    let unpaid = site.plan.status == PlanStatus::PastDue && site.plan.tier == Tier::Premium;
    site.plan.lapses_at = unpaid.then(|| at.plus(timers.past_due_grace));
    site
}

/// What the platform reports to stand in the way: only what nobody else could know.
fn reportable(reported: &BTreeSet<Blocker>) -> Result<(), Failure> {
    let Some(other) = reported.iter().find(|blocker| !Blocker::REPORTED.contains(blocker)) else { return Ok(()) };
    let known: Vec<&str> = Blocker::REPORTED.iter().map(|blocker| blocker.code()).collect();
    let detail = format!("`{}` is found out here; `blockers` takes {}.", other.code(), known.join(", "));
    Err(Failure::new(Kind::Invalid, "invalid_body", detail))
}

/// `422`: nothing new for an account that is being closed.
fn account_closing(accounts: &BTreeMap<Account, AccountStatus>) -> Failure {
    let names: Vec<String> = accounts.keys().map(ToString::to_string).collect();
    Failure::blocked(&[Blocker::AccountClosing.code()]).with("accounts", json!(names))
}

/// A new site.
fn registered(id: SiteId, update: SiteUpdate) -> Result<Site, Failure> {
    let wrong = |detail: &str| Failure::new(Kind::Invalid, "invalid_body", detail);
    let mode = update.mode.ok_or_else(|| wrong("A new site needs `mode`: self_managed or partner_built."))?;
    let owner = update.owner.ok_or_else(|| wrong("A new site needs `owner`, such as `user:maria`."))?;
    let seats = match (mode, &owner) {
        (Mode::SelfManaged, Account::User(owner)) => Seats::SelfManaged { owner: owner.clone() },
        (Mode::PartnerBuilt, Account::Agency(owner)) => Seats::PartnerBuilt { owner: owner.clone() },
        (Mode::SelfManaged, Account::Agency(_)) => {
            return Err(wrong(
                "A self_managed site is owned by a person: write `owner` as `user:ID`, or use the mode partner_built.",
            ));
        }
        (Mode::PartnerBuilt, Account::User(_)) => {
            return Err(wrong(
                "A partner_built site is owned by an agency: write `owner` as `agency:ID`, or use the mode self_managed.",
            ));
        }
        (Mode::PartnerManaged | Mode::Purged, _) => {
            return Err(wrong("A new site is self_managed or partner_built; the other modes are reached by commands."));
        }
    };
    let plan = update.plan.unwrap_or_default();
    let tier = plan.tier.ok_or_else(|| wrong("A new site needs `plan.tier`: free or premium."))?;
    let domains = domains(update.domains.unwrap_or_default(), &[], &owner)?;
    let plan = plan.onto(Plan::of(tier));
    plan_texts(&plan)?;
    let mut site = Site::registered(id, seats, plan, update.published.unwrap_or(false), domains);
    site.reported = update.blockers.unwrap_or_default();
    reportable(&site.reported)?;
    Ok(site)
}

/// A registered site with what the platform reports about it.
fn reported(old: &Site, update: SiteUpdate) -> Result<Site, Failure> {
    let by_command = |what: &str, how: &str| {
        Failure::new(
            Kind::Conflict,
            "changes_by_command",
            format!("`{what}` of a registered site changes by commands only: {how}."),
        )
    };
    let Some(holder) = old.seats.content_owner() else {
        return Err(Failure::new(
            Kind::Conflict,
            "purged",
            "This site was deleted for good, and its id is not used again. Register the new site under another id.",
        ));
    };
    if update.mode.is_some_and(|mode| mode != old.seats.mode()) {
        return Err(by_command("mode", "use the transitions endpoint"));
    }
    if update.owner.is_some() && update.owner != old.seats.owner() {
        return Err(by_command("owner", "use the transitions endpoint"));
    }
    let plan = update.plan.unwrap_or_default();
    if plan.status.is_some_and(|status| status != old.plan.status) {
        return Err(by_command("plan.status", "the billing service reports it"));
    }
    let mut site = old.clone();
    site.plan = plan.onto(old.plan.clone());
    plan_texts(&site.plan)?;
    site.published = update.published.unwrap_or(old.published);
    if let Some(reported) = update.blockers {
        reportable(&reported)?;
        site.reported = reported;
    }
    if let Some(listed) = update.domains {
        site.domains = domains(listed, &old.domains, &holder)?;
    }
    Ok(site)
}

/// A plan's name and price stand in the texts that people consent to, so they may carry nothing else.
pub(in crate::app) fn plan_texts(plan: &Plan) -> Result<(), Failure> {
    let wrong = |detail: String| Err(Failure::new(Kind::Invalid, "invalid_body", detail));
    if plan.name.as_ref().is_some_and(|name| !is_line(name, MAX_PLAN_NAME)) {
        return wrong(format!("`plan.name` is 1 to {MAX_PLAN_NAME} visible characters on one line."));
    }
    let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let amount = |text: &str| match text.split_once('.') {
        Some((whole, part)) => digits(whole, 9) && digits(part, 4),
        None => digits(text, 9),
    };
    if plan.price.as_ref().is_some_and(|price| !amount(price)) {
        return wrong("`plan.price` is a decimal number such as `29.00`.".to_owned());
    }
    let code = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    if plan.currency.as_ref().is_some_and(|currency| !code(currency)) {
        return wrong("`plan.currency` is an ISO 4217 code such as `EUR`.".to_owned());
    }
    Ok(())
}

/// The domains listed. One given by name alone keeps its holder, and is the content owner's when it is new.
fn domains(listed: Vec<DomainUpdate>, known: &[Domain], owner: &Account) -> Result<Vec<Domain>, Failure> {
    let wrong = |detail: String| Failure::new(Kind::Invalid, "invalid_body", detail);
    if listed.len() > MAX_DOMAINS {
        return Err(wrong(format!("A site has at most {MAX_DOMAINS} domains.")));
    }
    let mut found: BTreeMap<String, Domain> = BTreeMap::new();
    for domain in listed {
        let domain = match domain {
            DomainUpdate::Held(domain) => domain,
            DomainUpdate::Name(name) => known
                .iter()
                .find(|domain| domain.name == name)
                .cloned()
                .unwrap_or_else(|| Domain { name, holder: owner.clone() }),
        };
        if !is_hostname(&domain.name) {
            return Err(wrong("A domain is a host name in lower case such as `bakery.example`.".to_owned()));
        }
        if found.insert(domain.name.clone(), domain).is_some() {
            return Err(wrong("A domain is listed twice.".to_owned()));
        }
    }
    Ok(found.into_values().collect())
}

//! What must come of a command or a check, by the domain's tables: its §4 who may, §4.3 what a state switches off, §5.3
//! from where.

mod commands;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    cast::ROLES,
    model::{Agency, Known, Row},
};

/// What the rules look at.
pub struct Ground<'a> {
    pub site: &'a Known,
    /// The handover that the command names, as last read.
    pub named: Option<&'a Value>,
    /// The site's open offer or request.
    pub open: Option<&'a Value>,
    pub agencies: &'a BTreeMap<String, Agency>,
    pub now: i64,
    pub blur: i64,
}

/// Off while settling, for the partner's side.
const SETTLING: [&str; 7] = [
    "EditDnsCritical",
    "DowngradePlan",
    "ManageApiKeys",
    "ExportContacts",
    "RemoveContributor",
    "ChangeContributorRole",
    "ReplacePartner",
];
/// Off while the site is on its way back, for the partner's side.
const RETURNING: [&str; 15] = [
    "DuplicateSite",
    "ExportSite",
    "ExportContacts",
    "EditDns",
    "EditDnsCritical",
    "ManageApiKeys",
    "ManageApps",
    "PurchaseDomain",
    "InviteContributor",
    "ChangeContributorRole",
    "RemoveContributor",
    "RefundOrder",
    "DowngradePlan",
    "UpgradePlan",
    "TrashSite",
];

/// Whether a role may hand out another (domain §4.2), and whether only with the client's confirmation.
pub fn grants(role: &str, other: &str) -> (bool, bool) {
    let plain = match role {
        "Owner" | "Client" => ROLES.contains(&other),
        "Partner" => ROLES.contains(&other) && !["CoOwner", "StoreManager", "DomainManager"].contains(&other),
        "CoOwner" => ROLES.contains(&other) && !["CoOwner", "DomainManager"].contains(&other),
        "WebsiteManager" => ["WebsiteDesigner", "BlogEditor", "MarketingManager", "Viewer"].contains(&other),
        _ => false,
    };
    (plain, !plain && role == "Partner" && ROLES.contains(&other))
}

impl<'a> Ground<'a> {
    fn frozen(&self) -> bool {
        self.site.at("/frozen_until").is_some_and(|until| self.now < until)
    }
    /// Nobody changes anything: trust and safety froze the site, or looks for its owner's successor.
    fn held(&self) -> bool {
        self.frozen() || self.site.doc["custody"] == true
    }
    fn trashed(&self) -> bool {
        self.site.doc["trashed"] == true
    }
    fn settling(&self) -> bool {
        self.site.at("/settling_until").is_some_and(|until| self.now < until)
    }
    fn status(&self) -> &str {
        self.site.doc["plan"]["status"].as_str().unwrap_or_default()
    }
    fn disputed(&self) -> bool {
        self.site.at("/dispute/until").is_some_and(|until| self.now < until)
    }
    fn live(&self, status: &str) -> bool {
        self.open.is_some_and(|open| {
            open["status"] == status && super::model::micros(&open["expires_at"]).unwrap() > self.now
        })
    }
    fn agency(&self, account: &str) -> Option<&'a Agency> {
        self.agencies.get(account.strip_prefix("agency:")?)
    }
    /// The seated agency's admin, active or not.
    fn admin_here(&self, actor: &str) -> Option<&'a Agency> {
        let agency = self.agencies.get(self.site.agency()?)?;
        agency.is_admin(actor).then_some(agency)
    }
    pub fn speaks(&self, actor: &str, account: &str) -> bool {
        let own = account.strip_prefix("user:") == Some(actor);
        own || self.agency(account).is_some_and(|agency| agency.active() && agency.is_admin(actor))
    }
    /// Something has run out that nobody has committed, or runs out about now.
    pub fn in_motion(&self) -> bool {
        let over = |at: Option<i64>| at.is_some_and(|at| at <= self.now + self.blur);
        let near = |at: Option<i64>| at.is_some_and(|at| (at - self.now).abs() < self.blur);
        let site = self.site;
        let stays = self.frozen() && !over(site.at("/frozen_until"));
        let managed = site.mode() == "partner_managed";
        let agency = self.agencies.get(site.agency().unwrap_or_default());
        let stopped = agency.is_some_and(|agency| !agency.active());
        let by_agency = site.reason().is_some_and(|reason| reason.starts_with("agency_"));
        // A site follows its agency's suspension when that notice is over, and its reinstatement at once.
        let over_for_agency = stopped && site.reason().is_none() && over(agency.and_then(|agency| agency.returns));
        let follows = managed && (over_for_agency || by_agency && !stopped);
        let offer = self.open.and_then(|open| super::model::micros(&open["expires_at"]));
        // The bridge is for whoever has to add a card; a missed payment has a grace of its own.
        let bridge = site.at("/plan/bridge_until").filter(|_| self.status() == "ok");
        let waits = [site.at("/return_pending/effective_at"), site.at("/plan/lapses_at"), bridge];
        over(offer)
            || over(site.at("/frozen_until"))
            || !stays && (waits.into_iter().any(over) || follows)
            || !stays && over(site.purge_at) && site.doc["custody"] != true
            || near(site.at("/settling_until"))
            || near(site.at("/dispute/until"))
            || near(site.code.as_ref().map(|code| code.1))
            || site.confirmations.iter().any(|(_, _, end)| near(Some(*end)))
            || site.sessions.iter().any(|(_, _, end)| near(Some(*end)))
            || site.grants.values().any(|(_, end)| near(*end))
    }
    /// The notice is over, committed or not: the partner's side has nothing left.
    fn returned(&self) -> bool {
        let over = |at: Option<i64>| at.is_some_and(|at| at <= self.now);
        let lapsed = self.status() == "past_due"
            && self.site.reason().is_none()
            && self.site.mode() == "partner_managed"
            && over(self.site.at("/plan/returns_at"));
        !self.frozen() && (lapsed || self.pending() && over(self.site.at("/return_pending/effective_at")))
    }
    /// On its way back; not for an agency that was let in again in time.
    fn pending(&self) -> bool {
        let Some(reason) = self.site.reason() else {
            // A lapse that nobody has committed brings its return along.
            let lapsed = self.site.at("/plan/lapses_at").is_some_and(|at| at <= self.now);
            return self.site.mode() == "partner_managed" && lapsed && !self.frozen();
        };
        let agency = self.agencies.get(self.site.agency().unwrap_or_default());
        let due = self.site.at("/return_pending/effective_at").unwrap();
        !(reason.starts_with("agency_") && agency.is_some_and(|agency| agency.active() && agency.since < due))
    }
    /// What the state leaves of an action to the partner's side.
    fn left_to_partner(&self, action: &str) -> bool {
        let active = self.agencies.get(self.site.agency().unwrap_or_default()).is_some_and(Agency::active);
        let locked = self.site.doc["return_pending"]["locked"] == true && self.pending();
        let past_lock = action.starts_with("View") || ["OpenDispute", "ReleaseSite"].contains(&action);
        active
            && !(self.settling() && SETTLING.contains(&action))
            && !(self.pending() && RETURNING.contains(&action))
            && (past_lock || !locked)
            && !self.returned()
    }
    fn owns(&self, actor: &str) -> bool {
        let own = self.site.seat("owner") == Some(&format!("user:{actor}"));
        own || self.site.mode() == "partner_built" && self.admin_here(actor).is_some_and(Agency::active)
    }
    fn is_client(&self, actor: &str) -> bool {
        self.site.seat("client") == Some(&format!("user:{actor}"))
    }
    fn is_partner(&self, actor: &str, action: &str) -> bool {
        self.site.mode() == "partner_managed" && self.admin_here(actor).is_some() && self.left_to_partner(action)
    }
    fn row(&self, actor: &str, action: &str) -> Option<&'a Row> {
        let row = self.site.rows.get(actor)?;
        // What an agency gave before there was a client ends with its suspension only.
        let built = self.site.mode() == "partner_built";
        let active = self.agencies.get(self.site.agency().unwrap_or_default()).is_none_or(Agency::active);
        let left = if built { active } else { self.left_to_partner(action) };
        (!row.partner_side || left).then_some(row)
    }
    fn grant(&self, actor: &str, action: &str) -> Option<&'a str> {
        let member = self.agencies.get(self.site.agency()?)?.members.get(actor)?;
        let (template, end) = self.site.grants.get(actor)?;
        let live = end.is_none_or(|end| self.now < end) && !self.site.blocked.contains(actor);
        (member == "member" && live && self.left_in_mode(action)).then_some(template.as_str())
    }
    fn left_in_mode(&self, action: &str) -> bool {
        let active = self.agencies.get(self.site.agency().unwrap_or_default()).is_some_and(Agency::active);
        if self.site.mode() == "partner_built" { active } else { self.left_to_partner(action) }
    }

    /// Whether a check must be answered with yes; none where the walk does not know.
    pub fn may(&self, actor: &str, action: &str, fresh: bool) -> Option<bool> {
        let offered = self.live("open");
        let stopped = self.held() || self.trashed();
        let unpaid = self.status() != "ok";
        Some(match action {
            "ReclaimSite" => self.is_client(actor) && fresh,
            "TransferDomain" => (self.owns(actor) || self.is_client(actor)) && fresh && !stopped && !offered,
            "CancelPlan" => self.owns(actor) && fresh && !stopped && !offered,
            "PurgeSite" => self.owns(actor) && fresh && self.trashed() && !self.held() && !offered,
            "RescuePlan" => self.is_client(actor) && fresh && unpaid && !self.held(),
            "ReleaseSite" => self.is_partner(actor, action) && self.pending() && fresh && !self.held(),
            "UpgradePlan" => {
                let holder = self.site.doc["plan_holder"].as_str().unwrap_or_default();
                let paid = |row: &&Row| row.grantor == holder && ["CoOwner", "BillingManager"].contains(&&*row.role);
                let member =
                    self.agencies.get(self.site.agency().unwrap_or_default()).and_then(|a| a.members.get(actor));
                let billing = member.is_some_and(|role| role == "billing")
                    && !self.site.blocked.contains(actor)
                    && self.left_in_mode(action);
                let row = self.row(actor, action).is_some_and(|row| paid(&row));
                (self.owns(actor) || self.is_partner(actor, action) || row || billing) && !stopped
            }
            "PublishSite" => {
                let works = ["CoOwner", "WebsiteManager", "WebsiteDesigner"];
                let row = self.row(actor, action).is_some_and(|row| works.contains(&&*row.role));
                let grant = self.grant(actor, action).is_some_and(|template| template != "commerce");
                let seat = self.owns(actor) || self.is_client(actor) || self.is_partner(actor, action);
                (seat || row || grant) && !stopped
            }
            "ViewSite" => {
                let member =
                    self.agencies.get(self.site.agency().unwrap_or_default()).and_then(|a| a.members.get(actor));
                let billing = member.is_some_and(|role| role == "billing") && self.site.grants.contains_key(actor);
                if billing {
                    return None;
                }
                let grant = self.grant(actor, action).is_some_and(|template| template != "commerce");
                let seat = self.owns(actor) || self.is_client(actor) || self.is_partner(actor, action);
                seat || self.row(actor, action).is_some() || grant
            }
            _ => return None,
        })
    }
}

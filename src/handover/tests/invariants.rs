//! The invariants of the domain, §6, as a check of one step. It shares no code with the machine: what the machine
//! derives, this derives again from the written state and the matrix.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    matrix::{PERSON_ROLES, actions, strength},
    world::{Machine, World, events},
};
use crate::{
    assignment::{MemberRole, Strength},
    handover::{Acting, Applied, Authority, Command, HandoverKind, HandoverStatus, Refusal},
    ids::{Account, AgencyId, Principal, UserId},
    site::{Contributor, Mode, ReturnReason, Seats, Side, Site, SiteView, Tier},
    time::Timestamp,
};

/// A broken invariant: its number in the domain, and what was seen.
pub(crate) type Violation = (&'static str, String);

/// Checks one step: `command`, tried by `actor` in `before`, came to `outcome`, which `after` has kept. `after` may
/// have been kept by something else than the machine under test; `machine` is asked again where an invariant speaks
/// of what would be possible.
pub(crate) fn check_step(
    before: &World,
    command: &Command,
    actor: Option<&Acting>,
    outcome: &Result<Applied, Refusal>,
    after: &World,
    machine: Machine<'_>,
) -> Vec<Violation> {
    let mut found = check_state(after);
    let mut broken = |invariant, what: String| found.push((invariant, what));
    reclaim_is_open_to_the_client(after, machine, &mut broken);
    let Ok(applied) = outcome else {
        if before.site != after.site || before.handovers != after.handovers {
            broken("I9", format!("a refused {:?} changed something", command.name()));
        }
        return found;
    };
    let step = Step { before, command, actor, applied, after };
    step.title(&mut broken);
    step.reclaim_only_by_the_client(&mut broken);
    step.all_or_nothing(&mut broken);
    step.once(machine, &mut broken);
    step.offers_rest_on_seats(&mut broken);
    step.reclaim_stays(&mut broken);
    step.no_escalation(&mut broken);
    step.offers_bind(&mut broken);
    step.one_way_in(&mut broken);
    step.nothing_left(&mut broken);
    step.unknown_is_denied(&mut broken);
    step.nothing_is_lost(&mut broken);
    step.nobody_pays_unasked(&mut broken);
    step.replaced_with_consent(&mut broken);
    step.freezes(&mut broken);
    step.told(&mut broken);
    found
}

type Broken<'a> = &'a mut dyn FnMut(&'static str, String);

/// I1 to I4, I12 and I13: what must hold in every state. Read from the site's document, where seats, content owner
/// and plan holder are five separate fields.
pub(crate) fn check_state(world: &World) -> Vec<Violation> {
    check_facts(world, &serde_json::to_value(SiteView::from(&world.site)).unwrap())
}

/// The same for a given document.
pub(crate) fn check_facts(world: &World, facts: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut broken = |invariant, holds: bool, what: &str| {
        if !holds {
            found.push((invariant, format!("{what}: {facts}")));
        }
    };
    let seat = |name: &str| facts["seats"][name].as_str();
    let (content, plan) = (facts["content_owner"].as_str(), facts["plan_holder"].as_str());
    let exists = |account: Option<&str>| match account.map(str::parse::<Account>) {
        Some(Ok(Account::Agency(id))) => world.directory.agency(&id).is_some(),
        Some(Ok(Account::User(_))) => true,
        Some(Err(_)) | None => false,
    };
    match facts["mode"].as_str() {
        Some("purged") => {}
        Some("self_managed" | "partner_built") => {
            broken("I1", exists(content), "no content owner");
            broken("I2", exists(plan), "no plan holder");
            let one = seat("owner").is_some() && seat("owner") == content && content == plan;
            broken("I3", one && seat("client").is_none() && seat("partner").is_none(), "not one owner");
        }
        Some("partner_managed") => {
            broken("I1", exists(content), "no content owner");
            broken("I2", exists(plan), "no plan holder");
            let two = seat("client").is_some() && seat("partner").is_some();
            broken("I3", two && seat("owner").is_none(), "not one client and one partner");
            let apart = seat("client") == content && seat("partner") == plan && seat("client") != seat("partner");
            broken("I4", apart, "client and partner are not owner and payer");
        }
        _ => broken("I28", false, "an unknown mode"),
    }
    let live: Vec<_> = world.handovers.values().filter(|handover| handover.status.is_live()).collect();
    let open = world.site.open_handover.as_ref();
    broken("I13", live.len() <= 1 && live.first().copied() == open, "the open offers are not the site's one");
    let reclaimed = world.site.return_pending().is_some_and(|pending| pending.reason == ReturnReason::Reclaim);
    broken("I13", !(reclaimed && open.is_some()), "an open offer beside a reclaim");
    if let Some(open) = open.filter(|open| open.is_live(world.now)) {
        let engagement = world.site.seats.engagement();
        let seats = [
            world.site.seats.owner(),
            engagement.map(|e| e.client.clone().into()),
            engagement.map(|e| e.partner.clone().into()),
        ];
        let seat = if open.status == HandoverStatus::Requested { &open.to } else { &open.initiator };
        broken("I12", seats.contains(&Some(seat.clone())), "an offer from a lost seat");
        let suspended = |account: &Account| match account {
            Account::Agency(id) => !world.directory.agency(id).is_some_and(|agency| agency.is_active()),
            Account::User(_) => false,
        };
        // Whoever's successor is recorded offers nothing: trust and safety does, whatever became of them.
        let by_case = open.terms.as_ref().is_some_and(|terms| terms.case.is_some());
        let sound = (by_case || !suspended(&open.initiator)) && !suspended(&open.to);
        broken("I12", sound, "an offer with a suspended agency");
    }
    found
}

/// I6, first half: whatever else is true of a partner-managed site, its client may take it back.
fn reclaim_is_open_to_the_client(world: &World, machine: Machine<'_>, broken: Broken<'_>) {
    let Some(engagement) = world.site.seats.engagement() else { return };
    if world.site.return_pending().is_some_and(|pending| pending.reason == ReturnReason::Reclaim) {
        return;
    }
    let client = world.acting(engagement.client.as_str());
    let reclaim = Command::ReclaimSite { lock: false, keep: [].into() };
    if let Err(refused) = world.try_with(machine, Some(&client), &reclaim) {
        broken("I6", format!("the client may not reclaim: {refused:?}"));
    }
}

/// A step that was carried out.
struct Step<'a> {
    before: &'a World,
    command: &'a Command,
    actor: Option<&'a Acting>,
    applied: &'a Applied,
    after: &'a World,
}

impl Step<'_> {
    fn person(&self) -> Option<&UserId> {
        match self.actor.map(|actor| &actor.principal) {
            Some(Principal::User(user)) => Some(user),
            Some(Principal::Staff(_) | Principal::Service(_)) | None => None,
        }
    }
    /// The handover that this step accepted.
    fn accepted(&self) -> Option<&crate::handover::Handover> {
        self.applied.handovers.iter().find(|handover| handover.status == HandoverStatus::Accepted)
    }
    fn is_client(&self) -> bool {
        self.before.site.seats.engagement().is_some_and(|engagement| Some(&engagement.client) == self.person())
    }

    /// I5: the title moves only to somebody who accepted it; and I8: so do domains, and only those that were listed.
    fn title(&self, broken: Broken<'_>) {
        let (before, after) = (&self.before.site, &self.after.site);
        if self.purged() {
            return;
        }
        let granted = self.accepted().filter(|handover| {
            let title = [HandoverKind::ClientAssignment, HandoverKind::OwnershipTransfer].contains(&handover.kind);
            title
                && after.seats.content_owner().as_ref() == Some(&handover.to)
                && handover.consents_given.iter().any(|consent| consent.account == handover.to)
        });
        if before.seats.content_owner() != after.seats.content_owner() && granted.is_none() {
            broken("I5", format!("{:?} moved the title", self.command.name()));
        }
        for (old, new) in before.domains.iter().zip(&after.domains).filter(|(old, new)| old.holder != new.holder) {
            let listed = granted.is_some_and(|handover| match &handover.terms {
                Some(terms) => terms.domains.contains(&old.name) && old.holder == handover.initiator,
                None => old.holder == handover.initiator,
            });
            if !listed || granted.is_some_and(|handover| new.holder != handover.to) {
                broken("I8", format!("{:?} moved {}", self.command.name(), old.name));
            }
        }
    }

    /// I26: nothing but a purge deletes anything, and only an owner's site in the trash is purged.
    fn nothing_is_lost(&self, broken: Broken<'_>) {
        let (before, after) = (&self.before.site, &self.after.site);
        if self.purged() {
            if before.trashed_at.is_none() || before.seats.owner().is_none() {
                broken("I26", format!("{:?} deleted a site that is in use", self.command.name()));
            }
            return;
        }
        let names = |site: &Site| site.domains.iter().map(|domain| domain.name.clone()).collect::<Vec<_>>();
        if names(before) != names(after) || before.published != after.published {
            broken("I26", format!("{:?} lost something", self.command.name()));
        }
        // The client finds a site that comes back from a partner in the trash, and time to decide.
        let came_back = before.seats.engagement().is_some() && after.seats.owner().is_some();
        if came_back && after.trashed_at.is_some() && after.purge_at.is_some_and(|at| at <= self.after.now) {
            broken("I26", "a returned site is deleted at once".to_owned());
        }
    }

    fn purged(&self) -> bool {
        self.before.site.seats != Seats::Purged && self.after.site.seats == Seats::Purged
    }

    /// I11: whoever comes to pay has said so, or gets their own site back.
    fn nobody_pays_unasked(&self, broken: Broken<'_>) {
        let (before, after) = (&self.before.site.seats, &self.after.site.seats);
        let Some(payer) = after.plan_holder().filter(|payer| before.plan_holder().as_ref() != Some(payer)) else {
            return;
        };
        let said = self.accepted().is_some_and(|h| h.consents_given.iter().any(|consent| consent.account == payer));
        let returned = before.engagement().is_some() && after.content_owner() == Some(payer.clone());
        if !said && !returned {
            broken("I11", format!("{payer} pays by {:?}", self.command.name()));
        }
        // A return charges nobody: the paid plan goes on for a while at most, but for who rescues it.
        let plan = &self.after.site.plan;
        let own = self.before.site.seats.engagement().is_some_and(|e| e.plan_before.as_ref() == Some(plan));
        let rescued = matches!(self.command, Command::RescuePlan);
        if returned && !said && plan.tier == Tier::Premium && plan.bridge_until.is_none() && !own && !rescued {
            broken("I11", format!("{payer} is left with a paid plan by {:?}", self.command.name()));
        }
    }

    /// I15: a partner is replaced with the client's yes and the new partner's.
    fn replaced_with_consent(&self, broken: Broken<'_>) {
        let (Some(old), Some(new)) = (self.before.site.seats.engagement(), self.after.site.seats.engagement()) else {
            return;
        };
        if old.partner == new.partner {
            return;
        }
        let client = Account::from(old.client.clone());
        let agreed = self.accepted().is_some_and(|handover| {
            let said = |account: &Account| handover.consents_given.iter().any(|consent| consent.account == *account);
            (handover.initiator == client || said(&client)) && said(&new.partner.clone().into())
        });
        if !agreed {
            broken("I15", format!("{:?} replaced {} by {}", self.command.name(), old.partner, new.partner));
        }
    }

    /// I16: a freeze moves nothing, is bounded, and there is one in each engagement; it shifts clocks by its length.
    fn freezes(&self, broken: Broken<'_>) {
        let (before, after) = (&self.before.site, &self.after.site);
        let now = self.before.now;
        let bound = now.plus(self.before.timers.freeze_max);
        if after.frozen.as_ref().is_some_and(|freeze| freeze.until > bound) {
            broken("I16", "a freeze without end".to_owned());
        }
        let begins = before.frozen.is_none() && after.frozen.is_some();
        let ends = before.frozen.is_some() && after.frozen.is_none();
        if self.purged() || (!begins && !ends) {
            return;
        }
        if begins && matches!(self.command, Command::FreezeSite(_)) {
            let used = |site: &Site| site.seats.engagement().map(|engagement| engagement.freeze_used);
            if used(before) == Some(true) || used(after) == Some(false) {
                broken("I16", "a second freeze in one engagement".to_owned());
            }
        }
        let moved = before.seats.content_owner() != after.seats.content_owner()
            || before.seats.plan_holder() != after.seats.plan_holder()
            || before.domains != after.domains;
        if moved {
            broken("I16", format!("{:?} moved something", self.command.name()));
        }
        let left = |site: &Site, at: Timestamp| site.frozen.as_ref().map_or(now, |f| f.until.max(now)).max(now).max(at);
        let clocks = |site: &Site| {
            [site.return_pending().map(|pending| pending.effective_at), site.plan.lapses_at, site.plan.returns_at]
        };
        for (old, new) in clocks(before).into_iter().zip(clocks(after)) {
            let (Some(old), Some(new)) = (old, new) else { continue };
            // What is left after the freeze is what was left before it.
            let old_left = old.since(left(before, Timestamp::from_micros(i64::MIN)));
            let new_left = new.since(left(after, Timestamp::from_micros(i64::MIN)));
            if old_left != new_left {
                broken("I16", format!("{:?} changed a clock from {old_left:?} to {new_left:?}", self.command.name()));
            }
        }
    }

    /// I27: what is done is told.
    fn told(&self, broken: Broken<'_>) {
        if self.applied.events.is_empty() {
            broken("I27", format!("{:?} is told to nobody", self.command.name()));
        }
    }

    /// I6, second half.
    fn reclaim_only_by_the_client(&self, broken: Broken<'_>) {
        if matches!(self.command, Command::ReclaimSite { .. }) && !self.is_client() {
            broken("I6", format!("{:?} reclaimed", self.actor));
        }
    }

    /// I9, as far as one value can show it: what changed together is told together.
    fn all_or_nothing(&self, broken: Broken<'_>) {
        let (before, after) = (&self.before.site, &self.after.site);
        let told = |kind| events(self.applied).contains(&kind);
        let mut same = |kind, changed: bool| {
            if changed != told(kind) {
                broken("I9", format!("{kind} told: {}, changed: {changed}", told(kind)));
            }
        };
        same("SitePurged", self.purged());
        if self.purged() {
            return;
        }
        same("SeatsChanged", accounts(&before.seats) != accounts(&after.seats));
        same("PlanHolderChanged", before.seats.plan_holder() != after.seats.plan_holder());
        let title = if told("TitleGranted") { "TitleGranted" } else { "TitleTransferred" };
        same(title, before.seats.content_owner() != after.seats.content_owner());
        same("HandoverAccepted", self.accepted().is_some());
        let still = after.open_handover.as_ref().map(|open| &open.id);
        if let Some(gone) = before.open_handover.as_ref().filter(|open| still != Some(&open.id)) {
            let ended = self.applied.handovers.iter().any(|handover| handover.id == gone.id);
            if !ended {
                broken("I9", "an offer left the site and is not among the handovers".to_owned());
            }
        }
    }

    /// I10: the second time nothing happens, and the answer says how it ended.
    fn once(&self, machine: Machine<'_>, broken: Broken<'_>) {
        let Some(id) = self.command.handover() else { return };
        let ended = self.after.handovers.get(id).map(|handover| handover.status);
        match (self.after.try_with(machine, self.actor, self.command), ended) {
            (Err(Refusal::Terminal(status)), Some(ended)) if status == ended => {}
            // One of several yeses, and a reminder, leave the offer open.
            (Err(Refusal::AlreadySo { .. } | Refusal::Illegal { .. }), Some(open)) if open.is_live() => {}
            (again, _) => broken("I10", format!("{:?} again: {again:?}", self.command.name())),
        }
    }

    /// I12 when an offer is accepted: it still rests on the seat it was made from, and whoever is seated may be.
    fn offers_rest_on_seats(&self, broken: Broken<'_>) {
        let Some(accepted) = self.accepted() else { return };
        let seats = &self.before.site.seats;
        let engagement = seats.engagement();
        let held =
            [seats.owner(), seats.content_owner(), engagement.map(|engagement| engagement.partner.clone().into())];
        if !held.contains(&Some(accepted.initiator.clone())) {
            broken("I12", "an offer from a lost seat was accepted".to_owned());
        }
        let seated = self.after.site.seats.agency().filter(|id| seats.agency() != Some(id));
        let fit = |id: &AgencyId| self.before.directory.agency(id).is_some_and(|a| a.is_active() && a.verified);
        if seated.is_some_and(|id| !fit(id)) {
            broken("I12", "an agency that may not was seated".to_owned());
        }
    }

    /// I14: a pending reclaim ends by completion or by the client's own withdrawal.
    fn reclaim_stays(&self, broken: Broken<'_>) {
        let reclaim = |site: &Site| {
            site.return_pending().filter(|p| p.reason == ReturnReason::Reclaim).map(|pending| pending.effective_at)
        };
        let Some(deadline) = reclaim(&self.before.site) else { return };
        let client = self.before.site.seats.content_owner();
        let completed = self.after.site.seats.mode() == Mode::SelfManaged && self.after.site.seats.owner() == client;
        let withdrawn = *self.command == Command::WithdrawReclaim && self.is_client();
        // A freeze stops this clock: by its own length, and once.
        let length = match (&self.before.site.frozen, &self.after.site.frozen) {
            (None, Some(freeze)) => freeze.until.since(self.before.now),
            _ => std::time::Duration::ZERO,
        };
        match reclaim(&self.after.site) {
            Some(after) if after <= deadline.plus(length) => {}
            None if completed || withdrawn => {}
            after => broken("I14", format!("{:?} by {:?} made a reclaim {after:?}", self.command.name(), self.actor)),
        }
    }

    /// I17: nobody gains more than whoever gave it to them can do.
    fn no_escalation(&self, broken: Broken<'_>) {
        let (before, after) = (&self.before.site, &self.after.site);
        let reach = |action: &str| {
            let Some(actor) = self.actor else { return Strength::Denied };
            let payer = after.seats.plan_holder().as_ref() == actor.through.as_ref();
            let most = actor.roles.iter().map(|role| strength(role, payer, action)).max().unwrap_or_default();
            // With the client's confirmation of this grant, what takes a confirmation counts as allowed.
            if most == Strength::Confirmed && self.confirmed() { Strength::Allowed } else { most }
        };
        let mut within = |who: &UserId, role: &str, payer, reach: &dyn Fn(&str) -> Strength| {
            if let Some(action) = actions().into_iter().find(|action| strength(role, payer, action) > reach(action)) {
                broken("I17", format!("{who} got {action} as {role} by {:?}", self.command.name()));
            }
        };
        let pays = |row: &Contributor| after.seats.plan_holder().as_ref() == Some(&row.grantor);
        for (who, row) in &after.contributors {
            match before.contributors.get(who) {
                Some(old) if old == row => {}
                // Kept after a return: never more than before, and never more than the ceiling.
                Some(old) if before.seats.mode() != after.seats.mode() => {
                    within(who, &row.role, false, &|action| strength(&old.role, false, action));
                    within(who, &row.role, false, &|action| strength("WebsiteManager", false, action));
                }
                // The offer said that the former owner stays.
                None if self.accepted().is_some_and(|h| h.initiator == who.clone().into() && h.terms.is_some()) => {
                    within(who, &row.role, false, &|action| strength("WebsiteManager", false, action));
                }
                Some(_) | None => within(who, &row.role, pays(row), &reach),
            }
        }
        for (who, grant) in &after.grants {
            if before.grants.get(who) != Some(grant) {
                if matches!(self.command, Command::GrantAgencyAccess { .. }) {
                    within(who, grant.template.role(), false, &reach);
                    continue;
                }
                let old = before.contributors.get(who).map_or("", |row| row.role.as_str());
                // The old role, and what no invitation can give but the agency may delegate anyway (DuplicateSite).
                within(who, grant.template.role(), false, &|action| match action {
                    "DuplicateSite" => strength("Partner", false, action),
                    _ => strength(old, false, action),
                });
            }
        }
    }

    fn confirmed(&self) -> bool {
        let (before, after) = (&self.before.site.confirmations, &self.after.site.confirmations);
        before.len() > after.len()
    }

    /// I21: each yes comes from the account that it is needed of, while the offer is live, and not from who offered.
    fn offers_bind(&self, broken: Broken<'_>) {
        let speaks = |account: &Account| {
            self.person().is_some_and(|person| match account {
                Account::User(user) => user == person,
                Account::Agency(id) => {
                    self.before.directory.agency(id).and_then(|a| a.member(person)) == Some(MemberRole::Admin)
                }
            })
        };
        for handover in &self.applied.handovers {
            let old = self.before.handovers.get(&handover.id);
            let given = old.map_or(0, |old| old.consents_given.len());
            let Some(new) = handover.consents_given.get(given) else {
                if handover.status == HandoverStatus::Accepted && old.is_none_or(|old| old.status.is_live()) {
                    broken("I21", format!("{:?} accepted {handover:?} without a yes", self.actor));
                }
                continue;
            };
            let open = self.before.site.open_handover.as_ref().filter(|open| open.id == handover.id);
            let asked = open.is_some_and(|open| {
                open.is_live(self.before.now)
                    && open.status == HandoverStatus::Open
                    && open.consents_needed.contains(&new.account)
            });
            if !asked || !speaks(&new.account) || new.account == handover.initiator {
                broken("I21", format!("{:?} said yes to {handover:?}", self.actor));
            }
            if handover.status == HandoverStatus::Accepted && !handover.consents_needed.is_empty() {
                broken("I21", "accepted before everybody said yes".to_owned());
            }
        }
    }

    /// I22: a site becomes partner-managed by an accepted handover only, and no row of a person is a seat.
    fn one_way_in(&self, broken: Broken<'_>) {
        let (before, after) = (&self.before.site.seats, &self.after.site.seats);
        let accepted = self.accepted().map(|handover| handover.kind);
        let offered = matches!(accepted, Some(HandoverKind::PartnerHandover | HandoverKind::ClientAssignment));
        if before.mode() != Mode::PartnerManaged && after.mode() == Mode::PartnerManaged && !offered {
            broken("I22", format!("{:?} seated a partner", self.command.name()));
        }
        let seat = |row: &Contributor| ["Owner", "Client", "Partner"].contains(&row.role.as_str());
        if self.after.site.contributors.values().any(seat) {
            broken("I22", format!("{:?} gave a seat away", self.command.name()));
        }
    }

    /// I24: after a return, and after a replacement, nothing through the former partner is left.
    fn nothing_left(&self, broken: Broken<'_>) {
        let Some(engagement) = self.before.site.seats.engagement() else { return };
        let site = &self.after.site;
        let partner = Account::from(engagement.partner.clone());
        if self.purged() || site.seats.plan_holder() == Some(partner.clone()) {
            return;
        }
        let rows = site.contributors.values().any(|row| row.side == Side::Partner || row.grantor == partner);
        let sessions = site.sessions.iter().any(|session| session.granted_by == partner);
        let members = self.before.directory.agency(&engagement.partner);
        let grants = match site.seats.engagement() {
            None => !site.grants.is_empty(),
            Some(_) => site.grants.keys().any(|user| members.is_some_and(|agency| agency.member(user).is_some())),
        };
        if rows || sessions || grants || !site.confirmations.is_empty() || !site.blocked.is_empty() {
            broken("I24", format!("left after {:?}: {:?} {:?}", self.command.name(), site.contributors, site.grants));
        }
        if site.seats.engagement().is_some_and(|engagement| engagement.return_pending.is_some()) {
            broken("I24", "a return that concerned the former partner".to_owned());
        }
    }

    /// I28: what nobody has heard of is refused, and nothing is granted by nobody.
    fn unknown_is_denied(&self, broken: Broken<'_>) {
        let known = |row: &Contributor| PERSON_ROLES.contains(&row.role.as_str());
        if !self.after.site.contributors.values().all(known) {
            broken("I28", format!("{:?} gave an unknown role", self.command.name()));
        }
        if self.before.site.seats == Seats::Purged {
            broken("I28", format!("{:?} on a purged site", self.command.name()));
        }
        let by_time = self.command.name().authority() == Authority::Time;
        if self.actor.is_none() && !by_time {
            broken("I28", format!("{:?} by nobody", self.command.name()));
        }
    }
}

fn accounts(seats: &Seats) -> Value {
    let engagement = seats.engagement();
    json!([seats.mode(), seats.owner(), engagement.map(|e| &e.client), engagement.map(|e| &e.partner)])
}

/// How often each invariant was broken.
pub(crate) fn tally(found: &[Violation]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for (invariant, _) in found {
        *tally.entry(*invariant).or_default() += 1;
    }
    tally
}

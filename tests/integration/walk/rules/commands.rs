//! Of each command, whether it must be applied.

use serde_json::Value;

use super::{
    super::{
        cast::{CONFIRMED, STAFF},
        model::{Agency, micros},
    },
    Ground, grants,
};

impl<'a> Ground<'a> {
    /// Whether this command must be applied; none where the walk does not know. What the caller knows to be stale is not
    /// the rules' business.
    #[expect(clippy::too_many_lines, reason = "one arm for each command")]
    pub fn applies(&self, body: &Value, fresh: bool, code: Option<&str>) -> Option<bool> {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let (kind, actor) = text("actor").split_once(':').unwrap_or_default();
        let to = text("to");
        let mode = self.site.mode();
        let managed = mode == "partner_managed";
        if self.in_motion() {
            return None;
        }
        let stopped = self.held() || self.trashed();
        let paid = self.status() == "ok";
        let moves = self.site.doc["plan"]["transferable"] == true;
        let offered = self.live("open");
        let user = text("user").trim_start_matches("user:");
        let person = kind == "user";
        let colleague = |name: &str| STAFF.iter().any(|(id, role)| *id == name && *role == "trust_safety");
        let approver = text("approver").trim_start_matches("staff:");
        let approved = colleague(approver) && approver != actor;
        let safety = kind == "staff" && colleague(actor) && !text("case").is_empty() && mode != "purged";
        let takes = |agency: Option<&Agency>| agency.is_some_and(|a| a.verified && a.active() && a.card);
        let confirmed = |action: &str, operation: &str| {
            self.site.confirmations.iter().any(|(a, o, end)| a == action && o == operation && self.now < *end)
        };
        Some(match text("command") {
            "issue_site_code" => {
                person && mode == "self_managed" && self.owns(actor) && fresh && !stopped && !offered && paid
            }
            "request_partner_role" => {
                let admin = |a: &Agency| a.verified && a.active() && a.is_admin(actor);
                let asks = match body["agency"].as_str() {
                    Some(agency) => self.agency(agency).is_some_and(admin),
                    None => self.agencies.values().filter(|a| admin(a)).count() == 1,
                };
                let known = self.site.code.as_ref().filter(|known| self.now < known.1 && !known.0.is_empty());
                let fits = known.is_some_and(|known| Some(known.0.as_str()) == code);
                person && mode == "self_managed" && asks && fits && !offered && !self.live("requested") && !stopped
            }
            "offer_partner_role" => {
                let good = takes(self.agency(to)) && paid && moves && !stopped && !offered;
                person && mode == "self_managed" && self.owns(actor) && fresh && good
            }
            "assign_client_role" => {
                let shown = self.site.doc["published"] == true && self.site.doc["plan"]["tier"] == "premium";
                let verified = self.agencies.get(self.site.agency().unwrap_or_default()).is_some_and(|a| a.verified);
                let good = shown && paid && moves && verified && !stopped && !offered;
                person && mode == "partner_built" && self.owns(actor) && fresh && good
            }
            "replace_partner" => {
                let new = takes(self.agency(to)) && to.strip_prefix("agency:") != self.site.agency();
                let good = managed && new && !stopped && !offered && self.site.reason() != Some("reclaim");
                // A dispute keeps the partner from it, not the client.
                let partner = self.is_partner(actor, "ReplacePartner") && self.site.reason().is_none();
                person && fresh && good && (self.is_client(actor) || partner && !self.disputed())
            }
            "transfer_ownership" => {
                let owner = self.site.seat("owner").unwrap_or_default();
                let held = |name: &Value| {
                    let domains = self.site.doc["domains"].as_array().unwrap();
                    domains.iter().any(|domain| domain["name"] == *name && domain["holder"] == owner)
                };
                let listed = body["domains"].as_array().is_none_or(|names| names.iter().all(held));
                let stays = body["stay"] == true && owner.starts_with("agency:");
                let plan = body["plan"] == false || paid && moves;
                let good = to != owner && listed && !stays && plan && !stopped && !offered;
                person && mode != "partner_managed" && self.owns(actor) && fresh && good
            }
            "accept_handover" => self.accepts(actor, person && fresh && !self.frozen() && !self.trashed()),
            "decline_handover" => {
                let asked = |offer: &Value| {
                    let list = |name: &str| offer[name].as_array().cloned().unwrap_or_default();
                    let all = [list("consents_needed"), list("consents_given")].concat();
                    all.iter().any(|account| self.speaks(actor, account.as_str().unwrap()))
                };
                person && self.named_live().is_some_and(asked) && !self.frozen()
            }
            "cancel_handover" => {
                let made = |offer: &Value| self.speaks(actor, offer["initiator"].as_str().unwrap());
                person && self.named_live().is_some_and(made) && !self.held()
            }
            "reclaim_site" => {
                if !(person && managed && self.is_client(actor) && fresh) {
                    return Some(false);
                }
                let pending = self.site.reason() == Some("reclaim");
                let active = self.agencies.get(self.site.agency().unwrap_or_default()).is_some_and(Agency::active);
                let custody = self.site.doc["custody"] == true;
                let at_once = !self.frozen() && !custody && (self.settling() || !active);
                if body["keep"].is_array() || pending && !at_once {
                    return None;
                }
                true
            }
            "withdraw_reclaim" => {
                person && self.is_client(actor) && fresh && self.site.reason() == Some("reclaim") && !self.held()
            }
            "release_site" => {
                person && fresh && self.is_partner(actor, "ReleaseSite") && self.pending() && !self.held()
            }
            "resign_as_partner" => {
                let none = self.site.reason().is_none();
                person && fresh && self.is_partner(actor, "ResignAsPartner") && none && !self.held()
            }
            "rescue_plan" => person && managed && self.is_client(actor) && fresh && !paid && !self.held(),
            "report_plan" => {
                let billing = kind == "service" && actor == "billing" && mode != "purged";
                let news = match text("status") {
                    "past_due" => paid && self.site.doc["plan"]["tier"] == "premium",
                    _ => !paid || self.site.at("/plan/bridge_until").is_some(),
                };
                billing && news
            }
            "open_dispute" => {
                let admin = managed && self.admin_here(actor).is_some() && !self.returned();
                person && managed && (self.is_client(actor) || admin) && !self.disputed() && !self.trashed()
            }
            "close_dispute" => {
                let by = self.site.doc["dispute"]["opened_by"].as_str().unwrap_or_default();
                let own = if by.starts_with("user:") {
                    self.is_client(actor)
                } else {
                    // Whoever is the client too speaks as the client.
                    self.admin_here(actor).is_some() && !self.is_client(actor) && !self.returned()
                };
                if self.is_client(actor) && self.admin_here(actor).is_some() {
                    return None;
                }
                person && managed && self.disputed() && own && !self.trashed()
            }
            "freeze_site" => {
                safety && (approver.is_empty() || approved) && !stopped && !(managed && self.site.freeze_used)
            }
            "unfreeze_site" => {
                let custody = self.site.doc["custody"] == true;
                let agreed = if custody {
                    approved && self.site.case.as_deref() == Some(text("case"))
                } else {
                    approver.is_empty() || approved
                };
                safety && agreed && (self.frozen() || custody) && !self.trashed()
            }
            "open_custody" => safety && approved && self.site.doc["custody"] != true,
            "record_successor" => {
                let owner = self.site.doc["content_owner"].as_str().unwrap_or_default();
                let theirs = self.is_theirs(to.trim_start_matches("user:"));
                let theirs = theirs || self.site.reason() == Some("reclaim");
                let fit = to != owner
                    && !theirs
                    && self.site.doc["custody"] == true
                    && self.site.case.as_deref() == Some(text("case"));
                safety && approved && fit && !offered
            }
            "trash_site" => {
                let sure = self.owns(actor) || self.is_client(actor);
                let partner = self.is_partner(actor, "TrashSite") && confirmed("TrashSite", text("operation"));
                person && !stopped && !offered && (sure && fresh || partner)
            }
            "restore_site" => {
                let seat = self.owns(actor) || self.is_client(actor) || self.is_partner(actor, "RestoreTrashedSite");
                // In custody too: a successor can only accept what is out of the trash.
                person && seat && self.trashed() && !self.frozen()
            }
            "purge_site" => person && self.owns(actor) && fresh && self.trashed() && !self.held() && !offered,
            "grant_role" => {
                let free = !self.site.rows.contains_key(user)
                    && self.site.seat("owner") != Some(text("user"))
                    && self.site.seat("client") != Some(text("user"));
                let gives = self.gives(actor, "InviteContributor", &[text("role")], body);
                person && free && gives && actor != user && !stopped
            }
            "change_role" | "revoke_role" => {
                let Some(row) = self.site.rows.get(user) else { return Some(false) };
                let (action, roles) = match text("command") {
                    "change_role" => ("ChangeContributorRole", vec![row.role.as_str(), text("role")]),
                    _ => ("RemoveContributor", vec![row.role.as_str()]),
                };
                let change = action == "ChangeContributorRole";
                let other = !change || row.role != text("role") && actor != user;
                let kept_out = change && self.site.blocked.contains(user);
                let sides = |route_is_partner: bool| !route_is_partner || row.partner_side && !kept_out;
                let gives = self.routes(actor, action).into_iter().any(|(role, partner)| {
                    sides(partner)
                        && roles.iter().all(|wanted| self.hands_out(&role, partner, wanted, body, action, change))
                });
                person && gives && other && !stopped
            }
            "leave_site" => {
                let row = self.row(actor, "LeaveSite").is_some();
                let delegated = self.site.grants.contains_key(actor);
                if !row && (delegated || self.site.rows.contains_key(actor)) {
                    return None;
                }
                person && row && !stopped
            }
            "grant_agency_access" => {
                let agency = self.agencies.get(self.site.agency().unwrap_or_default());
                let member = agency.is_some_and(|a| a.members.get(user).is_some_and(|role| role == "member"));
                let end = micros(&body["expires_at"]);
                let same = self.site.grants.get(user) == Some(&(text("template").to_owned(), end));
                person && self.delegates(actor) && member && end.is_none_or(|end| end > self.now) && !same && !stopped
            }
            "revoke_agency_access" => {
                person && self.delegates(actor) && self.site.grants.contains_key(user) && !stopped
            }
            "block_agency_member" => {
                let member =
                    self.agencies.get(self.site.agency().unwrap_or_default()).and_then(|a| a.members.get(user));
                let fit = member.is_some_and(|role| role != "admin") && !self.site.blocked.contains(user);
                person && managed && self.is_client(actor) && fit && !stopped
            }
            "unblock_agency_member" => {
                person && managed && self.is_client(actor) && self.site.blocked.contains(user) && !stopped
            }
            "confirm_partner_action" => {
                let action = text("action");
                let known =
                    CONFIRMED.contains(&action) || ["InviteContributor", "ChangeContributorRole"].contains(&action);
                let long = body["expires_in_s"].as_u64().is_none_or(|s| (1..=7 * 86_400).contains(&s));
                let fit = known && long && !confirmed(action, text("operation"));
                person && managed && self.is_client(actor) && fresh && fit && !stopped
            }
            "spend_confirmation" => kind == "service" && managed && confirmed(text("action"), text("operation")),
            "grant_support_session" => {
                let agent = text("agent").trim_start_matches("staff:");
                let known = STAFF.iter().any(|(id, role)| *id == agent && *role == "support");
                let long = body["minutes"].as_u64().is_none_or(|m| (1..=60).contains(&m));
                person && self.lets_look(actor) && known && long && !stopped
            }
            "end_support_session" => {
                let agent = text("agent").trim_start_matches("staff:");
                let runs = self.site.sessions.iter().any(|(known, _, until)| known == agent && self.now < *until);
                person && self.lets_look(actor) && runs && !stopped
            }
            _ => false,
        })
    }
    fn named_live(&self) -> Option<&'a Value> {
        let live = |offer: &&Value| ["open", "requested"].contains(&offer["status"].as_str().unwrap());
        self.named.filter(live).filter(|offer| offer["site"] == self.site.doc["id"])
    }
    fn lets_look(&self, actor: &str) -> bool {
        self.owns(actor) || self.is_client(actor) || self.is_partner(actor, "GrantSupportSession")
    }
    /// Somebody of the partner's side, who never inherits a client's site.
    fn is_theirs(&self, user: &str) -> bool {
        let agency = self.agencies.get(self.site.agency().unwrap_or_default());
        let member = agency.is_some_and(|agency| agency.members.contains_key(user));
        let invited = self.site.rows.get(user).is_some_and(|row| row.partner_side);
        self.site.mode() == "partner_managed" && (member || invited)
    }
    fn delegates(&self, actor: &str) -> bool {
        let built = self.site.mode() == "partner_built" && self.owns(actor);
        built || self.is_partner(actor, "SetAgencyGrant")
    }
    fn accepts(&self, actor: &str, able: bool) -> bool {
        let Some(offer) = self.named_live().filter(|offer| offer["status"] == "open") else { return false };
        let needed = offer["consents_needed"].as_array().unwrap();
        let party = needed.iter().any(|account| self.speaks(actor, account.as_str().unwrap()));
        let takes = |account: &Value| {
            let agency = self.agency(account.as_str().unwrap());
            agency.is_some_and(|a| a.verified && a.active() && a.card)
        };
        let good = match offer["kind"].as_str().unwrap() {
            "partner_handover" => takes(&offer["to"]) && self.site.doc["plan"]["transferable"] == true,
            "client_assignment" => {
                self.agency(offer["initiator"].as_str().unwrap()).is_some_and(|a| a.verified && a.active())
            }
            "partner_replacement" => takes(&offer["to"]),
            _ => {
                let holds = |name: &Value| {
                    let domains = self.site.doc["domains"].as_array().unwrap();
                    domains.iter().any(|domain| domain["name"] == *name && domain["holder"] == offer["initiator"])
                };
                let by_case = offer["terms"]["case"].is_string();
                offer["terms"]["domains"].as_array().unwrap().iter().all(holds) && !(by_case && self.is_theirs(actor))
            }
        };
        able && party && good
    }
    /// The roles by which somebody may do this, and whether for the partner's side.
    fn routes(&self, actor: &str, action: &str) -> Vec<(String, bool)> {
        let mut routes = Vec::new();
        if self.site.seat("owner") == Some(&format!("user:{actor}")) {
            routes.push(("Owner".to_owned(), false));
        } else if self.owns(actor) {
            routes.push(("Owner".to_owned(), true));
        }
        if self.is_client(actor) {
            routes.push(("Client".to_owned(), false));
        }
        if self.is_partner(actor, action) {
            routes.push(("Partner".to_owned(), true));
        }
        if let Some(row) = self.row(actor, action) {
            let able = match action {
                "InviteContributor" => ["CoOwner", "WebsiteManager"].contains(&&*row.role),
                _ => row.role == "CoOwner",
            };
            if able {
                routes.push((row.role.clone(), row.partner_side));
            }
        }
        routes
    }
    fn hands_out(&self, role: &str, partner: bool, wanted: &str, body: &Value, action: &str, operates: bool) -> bool {
        let (plain, with_consent) = grants(role, wanted);
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let operation = format!("{}:{}", text("user").trim_start_matches("user:"), text("role"));
        let managed = self.site.mode() == "partner_managed";
        let consented =
            self.site.confirmations.iter().any(|(a, o, end)| a == action && *o == operation && self.now < *end);
        plain || with_consent && partner && managed && operates && consented
    }
    fn gives(&self, actor: &str, action: &str, roles: &[&str], body: &Value) -> bool {
        // Whom the client keeps out, the partner does not let in by another door.
        let user = body["user"].as_str().unwrap_or_default().trim_start_matches("user:");
        let kept_out = self.site.blocked.contains(user);
        let mut routes = self.routes(actor, action);
        routes.retain(|(_, partner)| !(*partner && kept_out));
        let all = |(role, partner): &(String, bool)| {
            roles.iter().all(|wanted| self.hands_out(role, *partner, wanted, body, action, true))
        };
        routes.iter().any(all)
    }
}

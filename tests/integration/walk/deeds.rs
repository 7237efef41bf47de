//! What somebody might want of a site: a command that often fits the state, and sometimes does not.

use serde_json::{Value, json};

use super::{
    cast::{AGENCIES, CONFIRMED, NO_ROLES, PEOPLE, ROLES, STAFF},
    course::Course,
};

const ALWAYS: [&str; 36] = [
    "request_partner_role",
    "issue_site_code",
    "offer_partner_role",
    "assign_client_role",
    "replace_partner",
    "transfer_ownership",
    "accept_handover",
    "decline_handover",
    "cancel_handover",
    "reclaim_site",
    "withdraw_reclaim",
    "release_site",
    "resign_as_partner",
    "rescue_plan",
    "report_plan",
    "open_dispute",
    "close_dispute",
    "freeze_site",
    "unfreeze_site",
    "open_custody",
    "record_successor",
    "trash_site",
    "restore_site",
    "purge_site",
    "grant_role",
    "change_role",
    "revoke_role",
    "leave_site",
    "grant_agency_access",
    "revoke_agency_access",
    "block_agency_member",
    "unblock_agency_member",
    "confirm_partner_action",
    "spend_confirmation",
    "grant_support_session",
    "end_support_session",
];
/// Every command that somebody gives; the others are time's.
pub fn every() -> &'static [&'static str] {
    &ALWAYS
}

fn fitting(site: &super::model::Known, offered: bool) -> &'static [&'static str] {
    if site.doc["trashed"] == true {
        return &["restore_site", "restore_site", "restore_site", "reclaim_site", "purge_site", "release_site"];
    }
    if site.doc["custody"] == true && !offered {
        return &["record_successor", "record_successor", "unfreeze_site", "reclaim_site", "grant_role", "report_plan"];
    }
    if site.doc["frozen_until"].is_string() {
        return &["unfreeze_site", "unfreeze_site", "record_successor", "reclaim_site", "open_custody", "grant_role"];
    }
    if offered {
        return &[
            "accept_handover",
            "accept_handover",
            "accept_handover",
            "decline_handover",
            "cancel_handover",
            "report_plan",
        ];
    }
    match site.mode() {
        "self_managed" => &[
            "issue_site_code",
            "request_partner_role",
            "request_partner_role",
            "offer_partner_role",
            "offer_partner_role",
            "offer_partner_role",
            "transfer_ownership",
            "grant_role",
            "change_role",
            "revoke_role",
            "trash_site",
            "grant_support_session",
            "report_plan",
        ],
        "partner_built" => &[
            "assign_client_role",
            "assign_client_role",
            "assign_client_role",
            "grant_role",
            "grant_agency_access",
            "transfer_ownership",
            "change_role",
            "report_plan",
        ],
        _ => &[
            "grant_role",
            "grant_role",
            "change_role",
            "revoke_role",
            "leave_site",
            "replace_partner",
            "replace_partner",
            "reclaim_site",
            "withdraw_reclaim",
            "release_site",
            "resign_as_partner",
            "rescue_plan",
            "report_plan",
            "open_dispute",
            "close_dispute",
            "freeze_site",
            "grant_agency_access",
            "revoke_agency_access",
            "block_agency_member",
            "unblock_agency_member",
            "confirm_partner_action",
            "spend_confirmation",
            "trash_site",
            "grant_support_session",
            "end_support_session",
        ],
    }
}

impl Course {
    fn someone(&mut self) -> String {
        format!("user:{}", self.chance.pick(&PEOPLE))
    }
    fn either(&mut self, likely: &[String]) -> String {
        if likely.is_empty() || self.chance.chance(15) { self.someone() } else { self.chance.pick(likely).clone() }
    }
    fn staff(&mut self, role: &str) -> String {
        let fit: Vec<&str> = STAFF.iter().filter(|(_, is)| *is == role).map(|(id, _)| *id).collect();
        let id = if self.chance.chance(10) { STAFF[0].0 } else { *self.chance.pick(&fit) };
        format!("staff:{id}")
    }
    fn team(&mut self) -> String {
        let id = if self.chance.chance(4) { "nowhere" } else { *self.chance.pick(&AGENCIES) };
        format!("agency:{id}")
    }
    /// The people who answer for an account.
    pub fn behind(&self, account: Option<&str>) -> Vec<String> {
        match account.and_then(|account| account.split_once(':')) {
            Some(("user", user)) => vec![format!("user:{user}")],
            Some((_, agency)) => {
                let agency = self.agencies.get(agency);
                let members = agency.into_iter().flat_map(|agency| &agency.members);
                members.filter(|(_, role)| *role == "admin").map(|(user, _)| format!("user:{user}")).collect()
            }
            None => Vec::new(),
        }
    }
    fn member(&mut self, site: &str) -> String {
        let agency = self.sites[site].agency().and_then(|id| self.agencies.get(id)).cloned();
        let people: Vec<String> = agency.iter().flat_map(|agency| agency.members.keys()).cloned().collect();
        if people.is_empty() || self.chance.chance(15) {
            self.someone()
        } else {
            format!("user:{}", self.chance.pick(&people))
        }
    }

    /// A command for this site. The digests that it must carry are not in it yet.
    #[expect(clippy::too_many_lines, reason = "one arm for each command")]
    pub fn deed(&mut self, site: &str) -> Value {
        let known = self.sites[site].clone();
        let open = known.doc["open_handover"].as_str().map(str::to_owned);
        let fits = fitting(&known, open.is_some());
        let command = if self.chance.chance(20) { *self.chance.pick(&ALWAYS) } else { *self.chance.pick(fits) };
        let mut body = json!({ "command": command });
        let now_s = self.world.now().div_euclid(1_000_000);
        match self.chance.below(100) {
            0..4 => {}
            4..8 => body["auth_time"] = json!(now_s - 700 - i64::try_from(self.chance.below(90_000)).unwrap()),
            _ => body["auth_time"] = json!(now_s - i64::try_from(self.chance.below(500)).unwrap()),
        }
        let client = self.behind(known.seat("client"));
        let partner = self.behind(known.seat("partner"));
        let owner = self.behind(known.seat("owner"));
        let all: Vec<String> = [&owner[..], &client, &partner].concat();
        let rows: Vec<String> = known.rows.keys().map(|user| format!("user:{user}")).collect();
        let mut likely = all.clone();
        let mut actor = None;
        match command {
            "request_partner_role" => {
                body["site_code"] = match &known.code {
                    Some((code, _)) if !code.is_empty() && self.chance.chance(85) => json!(code),
                    _ => json!("0000-0000-0000"),
                };
                let agency = self.team();
                likely = self.behind(Some(&agency));
                if self.chance.chance(70) {
                    body["agency"] = json!(agency);
                }
            }
            "offer_partner_role" | "replace_partner" => {
                body["to"] = json!(self.team());
                if self.chance.chance(40) {
                    // Often the one that asked.
                    let asked =
                        open.as_ref().and_then(|id| self.offers.get(id)).map(|offer| offer["initiator"].clone());
                    if let Some(asked) = asked.filter(|asked| asked.as_str().unwrap().starts_with("agency:")) {
                        body["to"] = asked;
                    }
                }
            }
            "assign_client_role" => body["to"] = json!(self.someone()),
            "transfer_ownership" => {
                body["to"] = json!(self.someone());
                if self.chance.chance(50) {
                    let name = known.doc["domains"][0]["name"].clone();
                    let name = if self.chance.chance(90) && name.is_string() { name } else { json!("other.example") };
                    body["domains"] = json!([name]);
                }
                if self.chance.chance(50) {
                    body["plan"] = json!(self.chance.chance(50));
                }
                if self.chance.chance(40) {
                    body["stay"] = json!(self.chance.chance(70));
                }
            }
            "accept_handover" | "decline_handover" | "cancel_handover" => {
                let ids: Vec<String> = self.offers.keys().cloned().collect();
                let id = match &open {
                    Some(open) if self.chance.chance(90) => open.clone(),
                    _ if ids.is_empty() || self.chance.chance(10) => "nothing".to_owned(),
                    _ => self.chance.pick(&ids).clone(),
                };
                if let Some(offer) = self.offers.get(&id) {
                    let needed = offer["consents_needed"].as_array().cloned().unwrap_or_default();
                    let from = offer["initiator"].clone();
                    likely = if command == "cancel_handover" {
                        self.behind(from.as_str())
                    } else {
                        needed.iter().flat_map(|account| self.behind(account.as_str())).collect()
                    };
                }
                body["handover"] = json!(id);
            }
            "reclaim_site" => {
                likely = client;
                if self.chance.chance(30) {
                    body["lock"] = json!(true);
                }
                if self.chance.chance(15) {
                    body["keep"] = json!([self.either(&rows)]);
                }
            }
            "withdraw_reclaim" | "rescue_plan" => likely = client,
            "release_site" | "resign_as_partner" => likely = partner,
            "report_plan" => {
                let past = known.doc["plan"]["status"] == "ok";
                body["status"] = json!(if past == self.chance.chance(85) { "past_due" } else { "ok" });
                actor = Some(if self.chance.chance(92) { "service:billing" } else { "service:shop" }.to_owned());
            }
            "open_dispute" => body["reason"] = json!("unpaid_work"),
            "freeze_site" | "unfreeze_site" | "open_custody" | "record_successor" => {
                body["case"] = json!(format!("TS-{}", self.step));
                let needed = ["open_custody", "record_successor"].contains(&command);
                if self.chance.chance(if needed { 92 } else { 20 }) {
                    body["approver"] = json!("staff:theo");
                }
                if known.doc["custody"] == true
                    && command != "open_custody"
                    && let Some(case) = known.case.as_ref().filter(|_| self.chance.chance(90))
                {
                    (body["case"], body["approver"]) = (json!(case), json!("staff:theo"));
                }
                if command == "record_successor" {
                    body["to"] = json!(self.someone());
                }
                actor = Some(if self.chance.chance(90) { "staff:tess".to_owned() } else { self.staff("trust_safety") });
            }
            "trash_site" if self.chance.chance(50) => body["operation"] = json!("trash-1"),
            "grant_role" | "change_role" | "revoke_role" => {
                likely.extend(rows.clone());
                let user = if command == "grant_role" { self.someone() } else { self.either(&rows) };
                body["user"] = json!(user);
                if command != "revoke_role" {
                    let role =
                        if self.chance.chance(4) { *self.chance.pick(&NO_ROLES) } else { *self.chance.pick(&ROLES) };
                    body["role"] = json!(role);
                }
                let action = if command == "grant_role" { "InviteContributor" } else { "ChangeContributorRole" };
                // Often what the client has said yes to.
                let said = known.confirmations.iter().find(|(known, _, _)| known == action).cloned();
                if let Some((_, operation, _)) = said.filter(|_| command != "revoke_role" && self.chance.chance(50)) {
                    let (user, role) = operation.split_once(':').unwrap();
                    (body["user"], body["role"]) = (json!(format!("user:{user}")), json!(role));
                }
            }
            "leave_site" => {
                likely = rows;
                likely.extend(known.grants.keys().map(|user| format!("user:{user}")));
            }
            "grant_agency_access" | "revoke_agency_access" | "block_agency_member" | "unblock_agency_member" => {
                let listed: Vec<String> = match command {
                    "revoke_agency_access" => known.grants.keys().map(|user| format!("user:{user}")).collect(),
                    "unblock_agency_member" => known.blocked.iter().map(|user| format!("user:{user}")).collect(),
                    _ => Vec::new(),
                };
                let user = if listed.is_empty() { self.member(site) } else { self.either(&listed) };
                body["user"] = json!(user);
                if command == "grant_agency_access" {
                    body["template"] = json!(*self.chance.pick(&["builder", "commerce", "manager"]));
                    if self.chance.chance(40) {
                        let days = i64::try_from(self.chance.below(20)).unwrap() - 2;
                        let end = now_s * 1_000_000 + days * super::world::DAY + 3_600_000_000;
                        body["expires_at"] = json!(mandate::time::Timestamp::from_micros(end));
                    }
                }
            }
            "confirm_partner_action" | "spend_confirmation" => {
                let grant = self.chance.chance(40);
                if grant {
                    body["action"] = json!(*self.chance.pick(&["InviteContributor", "ChangeContributorRole"]));
                    let role = *self.chance.pick(&["CoOwner", "StoreManager", "DomainManager"]);
                    body["operation"] = json!(format!("{}:{role}", self.chance.pick(&PEOPLE)));
                } else {
                    let odd = self.chance.chance(8);
                    body["action"] = json!(if odd { "EditContent" } else { *self.chance.pick(&CONFIRMED) });
                    body["operation"] = json!(if body["action"] == "TrashSite" { "trash-1" } else { "act-1" });
                }
                if command == "spend_confirmation" {
                    actor = Some("service:shop".to_owned());
                    let waiting = known.confirmations.first().cloned();
                    if let Some((action, operation, _)) = waiting.filter(|_| self.chance.chance(80)) {
                        (body["action"], body["operation"]) = (json!(action), json!(operation));
                    }
                } else if self.chance.chance(30) {
                    body["expires_in_s"] = json!(self.chance.below(900_000));
                }
            }
            "grant_support_session" | "end_support_session" => {
                body["agent"] = json!(self.staff("support"));
                if command == "grant_support_session" && self.chance.chance(50) {
                    body["minutes"] = json!(self.chance.below(70));
                }
            }
            _ => {}
        }
        let actor = match actor {
            Some(actor) if self.chance.chance(97) => actor,
            _ => self.either(&likely),
        };
        body["actor"] = json!(actor);
        body
    }
}

//! What the walk knows: agencies and their people, and of each site its document as last read and who has what on it,
//! learned from the audit alone. Shares nothing with `src/`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// An agency as the platform registered it.
#[derive(Debug, Clone)]
pub struct Agency {
    pub status: String,
    pub since: i64,
    /// While it is stopped: when its sites go back.
    pub returns: Option<i64>,
    pub verified: bool,
    pub card: bool,
    pub members: BTreeMap<String, String>,
}

impl Agency {
    pub fn active(&self) -> bool {
        self.status == "active"
    }
    pub fn is_admin(&self, user: &str) -> bool {
        self.members.get(user).is_some_and(|role| role == "admin")
    }
}

/// A person's role on a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub role: String,
    pub grantor: String,
    pub partner_side: bool,
}

/// A site.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// `GET`, byte for byte.
    pub body: Vec<u8>,
    pub doc: Value,
    pub rows: BTreeMap<String, Row>,
    /// Template and end.
    pub grants: BTreeMap<String, (String, Option<i64>)>,
    pub blocked: BTreeSet<String>,
    /// Action, operation, end.
    pub confirmations: Vec<(String, String, i64)>,
    /// Agent, who let them in, end.
    pub sessions: Vec<(String, String, i64)>,
    pub code: Option<(String, i64)>,
    pub freeze_used: bool,
    /// The case under which the site is in custody.
    pub case: Option<String>,
    pub reclaimed_at: Option<i64>,
    pub trashed: bool,
    pub purge_at: Option<i64>,
    pub seq: u64,
}

/// How long a site stays in the trash, in microseconds.
const TRASH_KEEP: i64 = 30 * super::world::DAY;

/// Microseconds of an instant on the wire.
pub fn micros(time: &Value) -> Option<i64> {
    Some(time.as_str()?.parse::<mandate::time::Timestamp>().unwrap().as_micros())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn row(value: &Value) -> Row {
    Row { role: text(&value["role"]), grantor: text(&value["grantor"]), partner_side: value["side"] == "partner" }
}

impl Known {
    pub fn seat(&self, name: &str) -> Option<&str> {
        self.doc["seats"][name].as_str()
    }
    pub fn mode(&self) -> &str {
        self.doc["mode"].as_str().unwrap_or_default()
    }
    pub fn agency(&self) -> Option<&str> {
        self.seat("partner").or(self.seat("owner"))?.strip_prefix("agency:")
    }
    pub fn at(&self, path: &str) -> Option<i64> {
        micros(self.doc.pointer(path)?)
    }
    pub fn reason(&self) -> Option<&str> {
        self.doc["return_pending"]["reason"].as_str()
    }

    /// Takes in one event of the audit.
    pub fn learn(&mut self, event: &Value) {
        let (data, at) = (&event["data"], micros(&event["at"]).unwrap());
        let user = text(&data["user"]);
        match event["type"].as_str().unwrap() {
            "ContributorAdded" | "ContributorChanged" => drop(self.rows.insert(user, row(&data["after"]))),
            "ContributorRemoved" => drop(self.rows.remove(&user)),
            "AgencyGrantChanged" => self.grant(user, &data["after"]),
            "MemberBlocked" => drop(self.blocked.insert(user)),
            "MemberUnblocked" => drop(self.blocked.remove(&user)),
            "PartnerActionConfirmed" | "CriticalDnsConfirmed" => {
                let end = micros(&data["expires_at"]).unwrap();
                self.confirmations.push((text(&data["action"]), text(&data["operation"]), end));
            }
            "ConfirmationSpent" => self
                .confirmations
                .retain(|(action, operation, _)| data["action"] != *action || data["operation"] != *operation),
            "SupportSessionStarted" => {
                let agent = text(&data["agent"]);
                self.sessions.retain(|(known, _, _)| *known != agent);
                self.sessions.push((agent, text(&data["granted_by"]), micros(&data["until"]).unwrap()));
            }
            "SupportSessionEnded" => self.sessions.retain(|(agent, _, _)| data["agent"] != *agent),
            "SiteCodeIssued" => self.code = Some((String::new(), micros(&data["expires_at"]).unwrap())),
            "HandoverRequested" | "HandoverOffered" => self.code = None,
            "SiteFrozen" => self.freeze_used |= self.mode() == "partner_managed",
            "CustodyOpened" => self.case = Some(text(&data["case"])),
            "CustodyClosed" => self.case = None,
            "ReclaimRequested" => self.reclaimed_at = Some(at),
            "ReclaimWithdrawn" => self.reclaimed_at = None,
            "TitleTransferred" => self.stayed(data),
            "SeatsChanged" => self.reseated(data),
            "SiteTrashed" => (self.trashed, self.purge_at) = (true, micros(&data["purge_at"])),
            "SiteRestored" => (self.trashed, self.purge_at) = (false, None),
            // The client decides anew about what came back in the trash.
            "SiteReturned" => self.purge_at = self.trashed.then_some(at + TRASH_KEEP),
            "SitePurged" => {
                *self = Self {
                    body: std::mem::take(&mut self.body),
                    doc: self.doc.take(),
                    seq: self.seq,
                    ..Self::default()
                };
            }
            _ => {}
        }
    }
    fn grant(&mut self, user: String, after: &Value) {
        if after.is_null() {
            self.grants.remove(&user);
        } else {
            self.grants.insert(user, (text(&after["template"]), micros(&after["expires_at"])));
        }
    }
    fn stayed(&mut self, data: &Value) {
        if data["stay"] == true {
            let former = text(&data["from"]).trim_start_matches("user:").to_owned();
            let kept = Row { role: "WebsiteManager".to_owned(), grantor: text(&data["to"]), partner_side: false };
            self.rows.insert(former, kept);
        }
    }
    fn reseated(&mut self, data: &Value) {
        let (before, after) = (&data["before"], &data["after"]);
        let was_managed = before["mode"] == "partner_managed";
        let partner_left = was_managed && before["partner"] != after["partner"];
        let given_away = !was_managed && after["mode"] == "self_managed";
        if was_managed && !partner_left && before["client"] != after["client"] {
            // A successor sits where the client sat, and has said yes to nothing yet.
            self.confirmations.clear();
            self.sessions.retain(|(_, by, _)| before["client"] != *by);
        }
        if partner_left || given_away {
            self.grants.clear();
            self.blocked.clear();
            self.confirmations.clear();
            let partner = text(&before["partner"]);
            self.sessions.retain(|(_, by, _)| was_managed && *by != partner);
        }
        if after["mode"] != "partner_managed" || !was_managed || partner_left {
            self.freeze_used = false;
            self.reclaimed_at = None;
        }
        for (user, _) in data["removed"].as_object().into_iter().flatten() {
            // Who gave everything away and stays was given the role in the same step.
            self.rows.remove(user);
        }
        for (user, grant) in data["granted"].as_object().into_iter().flatten() {
            self.grant(user.clone(), grant);
        }
        let client = text(&before["client"]);
        for user in data["kept"].as_array().into_iter().flatten() {
            if let Some(row) = self.rows.get_mut(user.as_str().unwrap()) {
                (row.partner_side, row.grantor) = (false, client.clone());
            }
        }
        if let Some(seated) = after["owner"].as_str().or(after["client"].as_str()) {
            self.rows.remove(seated.trim_start_matches("user:"));
        }
    }
}

//! The domain's invariants (§6) that two documents of a site show.

use serde_json::Value;

pub type Found = Vec<String>;

/// I1 to I4, I13 and I28, in one site's document.
pub fn state(site: &Value) -> Found {
    let mut found = Found::new();
    let mut hold = |invariant: &str, holds: bool| {
        if !holds {
            found.push(format!("{invariant} does not hold: {site}"));
        }
    };
    let seat = |name: &str| site["seats"][name].as_str();
    let (content, plan) = (site["content_owner"].as_str(), site["plan_holder"].as_str());
    match site["mode"].as_str() {
        Some("purged") => {
            hold("I3", ["owner", "client", "partner"].iter().all(|name| seat(name).is_none()));
        }
        Some(mode @ ("self_managed" | "partner_built")) => {
            hold("I1", content.is_some());
            hold("I2", plan.is_some());
            hold("I3", seat("owner").is_some() && seat("owner") == content && content == plan);
            hold("I3", seat("client").is_none() && seat("partner").is_none());
            let kind = if mode == "self_managed" { "user:" } else { "agency:" };
            hold("I3", content.is_some_and(|owner| owner.starts_with(kind)));
            hold("I3", site["return_pending"].is_null() && site["settling_until"].is_null());
        }
        Some("partner_managed") => {
            hold("I1", content.is_some());
            hold("I2", plan.is_some());
            hold("I3", seat("owner").is_none() && seat("client").is_some() && seat("partner").is_some());
            hold("I4", seat("client") == content && seat("partner") == plan && content != plan);
            hold("I4", content.is_some_and(|client| client.starts_with("user:")));
            hold("I4", plan.is_some_and(|partner| partner.starts_with("agency:")));
            let reclaimed = site["return_pending"]["reason"] == "reclaim";
            hold("I13", !(reclaimed && site["open_handover"].is_string() && site["custody"] != true));
        }
        _ => hold("I28", false),
    }
    found
}

/// I5, I8, I11, I14, I15, I22 and I23, between two documents of one site with one command between them. `accepted` is
/// the offer that an acceptance named, as it was before.
pub fn step(before: &Value, after: &Value, command: &str, actor: &str, accepted: Option<&Value>) -> Found {
    let mut found = Found::new();
    let mut hold = |invariant: &str, holds: bool| {
        if !holds {
            found.push(format!("{invariant} does not hold after {command} by {actor}: {before} became {after}"));
        }
    };
    let kind = accepted.and_then(|offer| offer["kind"].as_str()).unwrap_or_default();
    let to = accepted.map(|offer| &offer["to"]);
    let title = ["client_assignment", "ownership_transfer"].contains(&kind);
    hold("I23", after["revision"].as_u64() > before["revision"].as_u64());
    let purged = after["mode"] == "purged";
    if before["content_owner"] != after["content_owner"] && !purged {
        let consented = to == Some(&after["content_owner"]) && after["content_owner"] == actor;
        hold("I5", command == "accept_handover" && title && consented);
    }
    if before["domains"] != after["domains"] && !purged {
        let names = |site: &Value| -> Vec<Value> {
            site["domains"].as_array().into_iter().flatten().map(|domain| domain["name"].clone()).collect()
        };
        hold("I8", title && names(before) == names(after));
    }
    if before["plan_holder"] != after["plan_holder"] && !purged {
        hold(
            "I11",
            to == Some(&after["plan_holder"])
                || after["plan_holder"] == after["content_owner"]
                || kind == "client_assignment",
        );
    }
    let managed = |site: &Value| site["mode"] == "partner_managed";
    if managed(after) && !managed(before) {
        let seats = ["partner_handover", "client_assignment"].contains(&kind);
        hold("I22", command == "accept_handover" && seats);
    }
    if managed(before) && managed(after) && before["seats"]["partner"] != after["seats"]["partner"] {
        let client = &before["seats"]["client"];
        let asked = accepted.is_some_and(|offer| {
            let given = offer["consents_given"].as_array().is_some_and(|given| given.contains(client));
            offer["initiator"] == *client || given || client == actor
        });
        hold("I15", kind == "partner_replacement" && to == Some(&after["seats"]["partner"]) && asked);
    }
    let reclaim = |site: &Value| site["return_pending"]["reason"] == "reclaim";
    if reclaim(before) && !reclaim(after) {
        let completed = after["mode"] == "self_managed" && after["seats"]["owner"] == before["seats"]["client"];
        let withdrawn = command == "withdraw_reclaim" && before["seats"]["client"] == actor;
        hold("I14", completed || withdrawn);
    }
    if reclaim(before) && reclaim(after) && !["freeze_site", "open_custody"].contains(&command) {
        let at = |site: &Value| super::model::micros(&site["return_pending"]["effective_at"]);
        hold("I14", at(after) <= at(before));
    }
    found
}

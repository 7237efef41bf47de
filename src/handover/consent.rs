//! Single yeses: the client's to one act of the partner (code 2), a seat's to a support session (code V).
//!
//! A confirmation names an action and an operation, lives for a while, and is spent by the act: by the transition that
//! does it here, or by the service that did it elsewhere. A standing permission lost: it would be "yes" under another
//! name.

use std::time::Duration;

use serde_json::json;
use smol_str::SmolStr;

use super::{Acting, Applied, Refusal, people::PARTNER, step::Step};
use crate::{
    assignment::StaffRole,
    ids::{Account, StaffId},
    site::{Confirmation, Side, SupportSession},
};

/// The action whose confirmation says which stronger role the partner may give.
const INVITE: &str = "InviteContributor";
const CHANGE: &str = "ChangeContributorRole";

/// The client says yes to one act.
pub(super) fn confirm(
    step: &Step<'_>,
    action: &SmolStr,
    operation: &SmolStr,
    expires_in_s: Option<u64>,
) -> Result<Applied, Refusal> {
    let grants = action == INVITE || action == CHANGE;
    if !grants && !step.situation.strengths.needs_confirmation(PARTNER, action) {
        return Err(Refusal::NotConfirmable { action: action.to_string() });
    }
    // A grant is named by the person's id, however the caller wrote it.
    let plain = operation.strip_prefix("user:").filter(|_| grants).map(SmolStr::new);
    let operation = plain.as_ref().unwrap_or(operation);
    let timers = step.situation.timers;
    let life = expires_in_s.map_or(timers.confirmation, Duration::from_secs);
    if life.is_zero() || life > timers.confirmation_max {
        let allowed = format!("1 to {} seconds", timers.confirmation_max.as_secs());
        return Err(Refusal::OutOfRange { field: "expires_in_s", allowed });
    }
    step.not_stopped()?;
    let mut applied = step.begin();
    let confirmations = &mut applied.site.confirmations;
    confirmations.retain(|old| step.now < old.expires_at);
    if confirmations.iter().any(|old| old.action == *action && old.operation == *operation) {
        return Err(Refusal::AlreadySo { what: "this act is confirmed" });
    }
    if confirmations.len() >= MOST {
        let allowed = format!("at most {MOST} confirmations that wait at once");
        return Err(Refusal::OutOfRange { field: "operation", allowed });
    }
    let expires_at = step.now.plus(life);
    confirmations.push(Confirmation { action: action.clone(), operation: operation.clone(), expires_at });
    let kind = if action == "EditDnsCritical" { "CriticalDnsConfirmed" } else { "PartnerActionConfirmed" };
    applied.tell(kind, json!({"action": action, "operation": operation, "expires_at": expires_at}));
    Ok(applied)
}

/// Confirmations that wait at once on one site: a row must stay small.
const MOST: usize = 100;

/// A service did the confirmed act.
pub(super) fn spend(step: &Step<'_>, action: &SmolStr, operation: &SmolStr) -> Result<Applied, Refusal> {
    let mut applied = step.begin();
    if !take(step, &mut applied, action, operation) {
        return Err(Refusal::UnknownConfirmation);
    }
    Ok(applied)
}

fn take(step: &Step<'_>, applied: &mut Applied, action: &str, operation: &str) -> bool {
    let confirmations = &mut applied.site.confirmations;
    let live = |old: &Confirmation| old.action == action && old.operation == operation && step.now < old.expires_at;
    let Some(at) = confirmations.iter().position(live) else { return false };
    confirmations.remove(at);
    applied.tell("ConfirmationSpent", json!({"action": action, "operation": operation}));
    true
}

/// Whether the client confirmed what this command does.
pub(super) fn is_confirmed(step: &Step<'_>) -> bool {
    let (Some(action), Some(operation)) = (step.command.action(), &step.operation) else { return false };
    let live = |old: &Confirmation| old.action == action && old.operation == *operation && step.now < old.expires_at;
    step.site().confirmations.iter().any(live)
}

/// The partner did what the client had confirmed: that yes is used up. The client's own acts use none.
pub(super) fn spend_own(step: &Step<'_>, applied: &mut Applied) {
    let partner = step.situation.acting.is_some_and(|acting| acting.side == Side::Partner);
    if let (true, Some(action), Some(operation)) = (partner, step.command.action(), &step.operation) {
        take(step, applied, action, operation);
    }
}

/// A seat lets a support agent look, for a while.
pub(super) fn support(step: &Step<'_>, agent: &StaffId, minutes: Option<u64>) -> Result<Applied, Refusal> {
    if step.situation.directory.staff_role(agent) != Some(StaffRole::Support) {
        return Err(Refusal::UnknownStaff);
    }
    let longest = step.situation.timers.support_session;
    let length = minutes.map_or(longest, |minutes| Duration::from_secs(minutes.saturating_mul(60)));
    if length.is_zero() || length > longest {
        let allowed = format!("1 to {} minutes", longest.as_secs() / 60);
        return Err(Refusal::OutOfRange { field: "minutes", allowed });
    }
    step.not_stopped()?;
    let granted_by = granting_seat(step)?;
    let until = step.now.plus(length);
    let mut applied = step.begin();
    let sessions = &mut applied.site.sessions;
    sessions.retain(|old| step.now < old.until && old.agent != *agent);
    if sessions.len() >= MOST {
        return Err(Refusal::OutOfRange { field: "agent", allowed: format!("at most {MOST} sessions at once") });
    }
    sessions.push(SupportSession { agent: agent.clone(), granted_by: granted_by.clone(), until });
    applied.tell("SupportSessionStarted", json!({"agent": agent, "granted_by": granted_by, "until": until}));
    Ok(applied)
}

/// A seat ends a session before its time.
pub(super) fn end_support(step: &Step<'_>, agent: &StaffId) -> Result<Applied, Refusal> {
    let mut applied = step.begin();
    let sessions = &mut applied.site.sessions;
    let before = sessions.len();
    sessions.retain(|old| !(old.agent == *agent && step.now < old.until));
    if sessions.len() == before {
        return Err(Refusal::UnknownStaff);
    }
    applied.tell("SupportSessionEnded", json!({"agent": agent}));
    Ok(applied)
}

fn granting_seat(step: &Step<'_>) -> Result<Account, Refusal> {
    let Some(Acting { through: Some(account), .. }) = step.situation.acting else { return Err(Refusal::NotAParty) };
    Ok(account.clone())
}

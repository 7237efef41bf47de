//! An agency asks for the Partner role (T1). A request gives nobody anything and holds nothing back: it only tells the
//! owner who would like to run the site. What says that the owner wants to hear it is the site's one-time code.
//!
//! The code is kept as a digest, works once and for a while, and a new one replaces it. A request without a code lost:
//! whoever knows a site's name could have mailed its owner in the platform's name.

use serde_json::json;
use smol_str::SmolStr;

use super::{
    Applied, Blocker, Handover, HandoverKind, HandoverStatus, Refusal,
    ending::{self, Ending},
    offer::none_open,
    step::{Step, agency_blockers, unblocked},
};
use crate::{
    assignment::Agency,
    digest,
    ids::{AgencyId, Principal, UserId},
    site::SiteCode,
};

/// A code as it is compared, whatever people make of it: `abcd-23lo` is `ABCD2310`, because the letters that look like
/// digits are not in the alphabet.
#[must_use]
pub fn normal_code(typed: &str) -> String {
    let plain = typed.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    plain
        .map(|c| match c {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect()
}

/// Makes the site's code; an earlier one stops working.
pub(super) fn issue_code(step: &Step<'_>) -> Result<Applied, Refusal> {
    step.not_stopped()?;
    let expires_at = step.now.plus(step.situation.timers.site_code_ttl);
    let mut applied = step.begin();
    let digest = SmolStr::new(digest::sha256(normal_code(step.situation.new_code).as_bytes()));
    applied.site.site_code = Some(SiteCode { digest, expires_at });
    applied.tell("SiteCodeIssued", json!({"expires_at": expires_at}));
    Ok(applied)
}

/// T1: an agency asks.
pub(super) fn ask(
    step: &Step<'_>,
    owner: &UserId,
    agency: Option<&AgencyId>,
    code: &SmolStr,
) -> Result<Applied, Refusal> {
    let agency = asking(step, agency)?;
    let known = step.site().site_code.as_ref().filter(|known| step.now < known.expires_at);
    let given = digest::sha256(normal_code(code).as_bytes());
    if known.is_none_or(|known| known.digest != given) {
        return Err(Refusal::WrongSiteCode);
    }
    none_open(step)?;
    if step.site().open_handover.as_ref().is_some_and(|open| open.is_live(step.now)) {
        return Err(Refusal::AlreadyOpen);
    }
    let closing = step.is_closing(&owner.clone().into()).then_some(Blocker::AccountClosing);
    unblocked(step.stops().into_iter().chain(agency_blockers(agency)).chain(closing).collect())?;
    let person = step.person()?.clone();
    let mut applied = step.begin();
    ending::close(&mut applied, step.now, Ending::Expired);
    applied.site.site_code = None;
    let request = Handover {
        id: step.situation.new_handover.clone(),
        site: step.site().id.clone(),
        kind: HandoverKind::PartnerHandover,
        initiator: agency.id.clone().into(),
        initiated_by: Principal::User(person.clone()),
        consents_needed: vec![owner.clone().into()],
        to: owner.clone().into(),
        status: HandoverStatus::Requested,
        consents_given: Vec::new(),
        offered_at: step.now,
        expires_at: step.now.plus(step.situation.timers.request_ttl),
        ended_at: None,
        revision_at_offer: step.site().revision,
        preview_digest: SmolStr::default(),
        requested_by: Some(person),
        reminders: Vec::new(),
        terms: None,
    };
    applied.tell(
        "HandoverRequested",
        json!({"handover": request.id, "agency": agency.id, "to": request.to, "expires_at": request.expires_at}),
    );
    applied.site.open_handover = Some(request.clone());
    applied.handovers.push(request);
    Ok(applied)
}

/// The agency that asks: the one named, or the only one that the person speaks for.
fn asking<'a>(step: &Step<'a>, named: Option<&AgencyId>) -> Result<&'a Agency, Refusal> {
    let person = step.person()?;
    let directory = step.situation.directory;
    if let Some(id) = named {
        let agency = directory.agency(id).ok_or(Refusal::UnknownAgency)?;
        step.party(&id.clone().into())?;
        return Ok(agency);
    }
    let mut own = directory.agencies_of_admin(person).filter(|agency| agency.verified && agency.is_active());
    match (own.next(), own.next()) {
        (Some(agency), None) => Ok(agency),
        _ => Err(Refusal::AgencyNeeded),
    }
}

//! Which reason comes first? The published order of denials, and the facts that each code stands for.
//!
//! A table beside `ask`, which walks it: every denial names the first code of this order that holds. The codes of
//! forbids (`@reason`) are of the same list, which is checked when a bundle is loaded.

use super::{Facts, Flags};
use crate::{decision::Restore, site::Mode};

pub(super) const MODES: [Mode; 3] = [Mode::SelfManaged, Mode::PartnerBuilt, Mode::PartnerManaged];

/// Every reason code of a denial, in the order in which the first that holds is named. The first two are the caller's
/// to give: a site or an action that does not exist never gets here.
pub const REASONS: &[&str] = &[
    "unknown_site",
    "unknown_action",
    "no_role",
    "role_lacks_action",
    "agency_suspended",
    "blocked_by_client",
    "grant_expired",
    "no_session",
    "frozen",
    "trashed",
    "return_pending",
    "locked",
    "settling_in",
    "handover_open",
    "past_due",
    "wrong_mode",
    "not_payer",
    "not_your_own",
    "not_a_party",
    "confirm_required",
    "case_required",
    "stepup_required",
];

/// Reasons that are the state's, not the actor's.
pub const STATE_REASONS: &[&str] =
    &["frozen", "trashed", "return_pending", "locked", "settling_in", "handover_open", "past_due", "wrong_mode"];

/// States in which most is allowed: the plain one, and each of those in which something is possible that otherwise is
/// not (taking a site out of the trash, ending a freeze, rescuing a plan, giving a site back). What the state in
/// question must be comes first among equals.
pub(super) fn baselines(actual: &Facts) -> impl Iterator<Item = Flags> + use<> {
    let plain = Flags::default();
    let returning = Flags { return_pending: true, reclaim_pending: true, ..plain };
    let returning_otherwise = Flags { return_pending: true, ..plain };
    let pending =
        if actual.flags.reclaim_pending { [returning, returning_otherwise] } else { [returning_otherwise, returning] };
    let [first, second] = pending;
    [
        plain,
        Flags { trashed: true, ..plain },
        Flags { frozen: true, ..plain },
        Flags { past_due: true, ..plain },
        first,
        second,
    ]
    .into_iter()
}

/// What is put back step by step: the facts, and whether the asker counts as a party of the offer without being one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) facts: Facts,
    pub(super) party: bool,
}

/// The order of reasons, each with the facts it stands for. A state's own step only raises its flag; flags that the
/// baseline raised because they *enable* something are lowered under `wrong_mode`: a site that is not in the trash
/// cannot be restored.
pub(super) const STEPS: &[Restore<Case>] = &[
    step("agency_suspended", |to, from| to.facts.flags.agency_suspended = from.facts.flags.agency_suspended),
    step("blocked_by_client", |to, from| to.facts.circumstances.blocked = from.facts.circumstances.blocked),
    step("grant_expired", |to, from| to.facts.circumstances.grant_live = from.facts.circumstances.grant_live),
    step("no_session", |to, from| {
        to.facts.circumstances.support_session_live = from.facts.circumstances.support_session_live;
    }),
    step("frozen", |to, from| {
        to.facts.flags.frozen |= from.facts.flags.frozen;
        to.facts.flags.custody |= from.facts.flags.custody;
    }),
    step("trashed", |to, from| to.facts.flags.trashed |= from.facts.flags.trashed),
    step("return_pending", |to, from| {
        to.facts.flags.return_pending |= from.facts.flags.return_pending;
        to.facts.flags.reclaim_pending |= from.facts.flags.reclaim_pending;
    }),
    step("locked", |to, from| to.facts.flags.locked = from.facts.flags.locked),
    step("settling_in", |to, from| to.facts.flags.settling = from.facts.flags.settling),
    step("handover_open", |to, from| to.facts.flags.handover_open = from.facts.flags.handover_open),
    step("past_due", |to, from| {
        to.facts.flags.past_due |= from.facts.flags.past_due;
        to.facts.flags.lapsed |= from.facts.flags.lapsed;
    }),
    step("wrong_mode", |to, from| only_lower(&mut to.facts.flags, from.facts.flags)),
    step("not_payer", |to, from| {
        to.facts.circumstances.granted_by_payer = from.facts.circumstances.granted_by_payer;
    }),
    step("not_your_own", |to, from| to.facts.circumstances.own_account = from.facts.circumstances.own_account),
    step("not_a_party", |to, from| to.party = from.party),
    step("confirm_required", |to, from| to.facts.circumstances.confirmed = from.facts.circumstances.confirmed),
    step("case_required", |to, from| to.facts.circumstances.case_given = from.facts.circumstances.case_given),
    step("stepup_required", |to, from| to.facts.circumstances.fresh_sign_in = from.facts.circumstances.fresh_sign_in),
];

const fn step(reason: &'static str, restore: fn(&mut Case, &Case)) -> Restore<Case> {
    Restore { reason, restore }
}

/// Takes away the flags that the baseline has and the site has not.
fn only_lower(to: &mut Flags, from: Flags) {
    to.frozen &= from.frozen;
    to.trashed &= from.trashed;
    to.past_due &= from.past_due;
    to.return_pending &= from.return_pending;
    to.reclaim_pending &= from.reclaim_pending;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_put_back_in_the_published_order() {
        let steps: Vec<&str> = STEPS.iter().map(|step| step.reason).collect();
        assert_eq!(steps, REASONS[4..], "after the two unknowns, `no_role` and `role_lacks_action`");
    }
}

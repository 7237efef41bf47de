//! Can this principal do this on this site? The question of a check, answered with everything there is to say.

use smol_str::SmolStr;

use super::{Circumstances, Directory, Facts, Flags, Held, Kind, SitePolicies, SiteRow, Via};
use crate::{
    decision::{self, Evaluation, Fault, Obligation, Restore},
    ids::{Account, Principal},
    policy::{ActionIx, RoleIx},
    time::Timestamp,
};

/// What the caller says about the request, besides who, what and where. Absent means "not so".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// When the person last proved who they are, in seconds since 1970 (OpenID Connect's `auth_time`).
    pub auth_time: Option<i64>,
    /// Whose card or invoice it is about.
    pub account: Option<Account>,
    /// Which act, for one that the client confirms.
    pub operation: Option<SmolStr>,
    /// Trust and safety's case.
    pub case: Option<SmolStr>,
}

/// An answer: allow or deny, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Allow or deny.
    pub allowed: bool,
    /// The most direct way in which the deciding access is had; for a deny, in which any access is had.
    pub via: Option<Via>,
    /// Why not.
    pub reason: Option<SmolStr>,
    /// The policies that determined the answer, by file and line.
    pub policies: Vec<SmolStr>,
    /// What must be done when the request is let through.
    pub obligations: Vec<Obligation>,
    /// The roles held, by name.
    pub roles: Vec<SmolStr>,
    /// What the policies were told.
    pub facts: Option<Facts>,
}

/// What the directory says about a principal and a site at one instant.
#[derive(Debug, Clone)]
pub struct Moment {
    /// What the principal holds.
    pub held: Held,
    /// The site's flags.
    pub flags: Flags,
    /// The instant.
    pub now: Timestamp,
}

impl SiteRow {
    /// Takes from the directory what a decision needs.
    #[must_use]
    pub fn moment(
        &self,
        principal: &Principal,
        policies: &SitePolicies,
        directory: &Directory,
        now: Timestamp,
    ) -> Moment {
        Moment { held: self.held(principal, policies, directory, now), flags: self.flags(directory, now), now }
    }
}

/// How far somebody may do an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Not at all.
    None,
    /// With a fresh sign-in, a confirmation, a case, or for their own account.
    Conditional,
    /// As they stand.
    Plain,
}

/// How long a sign-in may lie ahead of `now`: clocks differ.
const AHEAD_S: i64 = 60;

/// A principal on a site at a moment: everything that does not depend on the action.
#[derive(Debug, Clone)]
pub struct Standing<'a> {
    policies: &'a SitePolicies,
    row: &'a SiteRow,
    site: &'a str,
    principal: &'a Principal,
    held: Held,
    roles: Vec<RoleIx>,
    flags: Flags,
    asked: &'a Asked,
    now: Timestamp,
    step_up_s: i64,
}

impl<'a> Standing<'a> {
    /// Looks up who the principal is on this site now. `step_up_s` is how many seconds a sign-in counts as fresh.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is one part of the question, and no two belong together")]
    pub fn of(
        policies: &'a SitePolicies,
        row: &'a SiteRow,
        directory: &Directory,
        site: &'a str,
        principal: &'a Principal,
        asked: &'a Asked,
        now: Timestamp,
        step_up_s: i64,
    ) -> Self {
        Self::at(policies, row, site, principal, row.moment(principal, policies, directory, now), asked, step_up_s)
    }
    /// The same from a [`Moment`], for callers that hold the directory only for a short look.
    #[must_use]
    pub fn at(
        policies: &'a SitePolicies,
        row: &'a SiteRow,
        site: &'a str,
        principal: &'a Principal,
        moment: Moment,
        asked: &'a Asked,
        step_up_s: i64,
    ) -> Self {
        let Moment { held, flags, now } = moment;
        let mut roles: Vec<RoleIx> = held.roles.iter().map(|held| held.role).collect();
        roles.sort_unstable();
        roles.dedup();
        Self { policies, row, site, principal, held, roles, flags, asked, now, step_up_s }
    }
    /// What the principal holds.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }
    /// The names of the roles held.
    #[must_use]
    pub fn role_names(&self) -> Vec<SmolStr> {
        self.roles.iter().map(|role| SmolStr::new(self.policies.bundle().role_name(*role))).collect()
    }
    /// The facts that the policies are told about an action.
    #[must_use]
    pub fn facts(&self, action: ActionIx) -> Facts {
        let asked = self.asked;
        let now_s = self.now.as_seconds();
        let own_account = match (self.principal, &asked.account) {
            (Principal::User(user), Some(account)) => self.held.owns(user, account),
            _ => false,
        };
        let confirmed = match (&self.row.rare, &asked.operation) {
            (Some(rare), Some(operation)) => {
                rare.confirmed(self.policies.bundle().action_name(action), operation, self.now)
            }
            _ => false,
        };
        Facts {
            mode: self.row.mode(),
            flags: self.flags,
            circumstances: Circumstances {
                fresh_sign_in: asked.auth_time.is_some_and(|at| {
                    let age = now_s.saturating_sub(at);
                    (-AHEAD_S..=self.step_up_s).contains(&age)
                }),
                confirmed,
                own_account,
                case_given: asked.case.as_ref().is_some_and(|case| !case.is_empty()),
                ..self.held.circumstances
            },
        }
    }
    /// Evaluates one action under the actual facts.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer.
    pub fn evaluate(&self, action: ActionIx) -> Result<Evaluation<'a>, Fault> {
        self.evaluate_under(action, &self.facts(action))
    }
    fn evaluate_under(&self, action: ActionIx, facts: &Facts) -> Result<Evaluation<'a>, Fault> {
        let Some(who) = self.who() else { return Ok(Evaluation { allowed: false, determining: Vec::new() }) };
        decision::evaluate(self.policies.bundle(), &self.policies.slice(who, self.site, action, &self.roles, facts))
    }
    /// Services ask and report; they hold no role.
    fn who(&self) -> Option<(Kind, &str)> {
        match self.principal {
            Principal::User(user) => Some((Kind::User, user.as_str())),
            Principal::Staff(staff) => Some((Kind::Staff, staff.as_str())),
            Principal::Service(_) => None,
        }
    }
    /// The full answer.
    ///
    /// # Errors
    /// [`Fault`] when there is none.
    pub fn decide(&self, action: ActionIx) -> Result<Outcome, Fault> {
        let mut outcome = self.decide_without_reason(action)?;
        if !outcome.allowed {
            outcome.reason = Some(self.why_denied(action, &self.facts(action))?);
        }
        Ok(outcome)
    }
    /// The answer without the reason of a deny, which takes several times as long to find as the answer.
    ///
    /// # Errors
    /// [`Fault`] when there is none.
    pub fn decide_without_reason(&self, action: ActionIx) -> Result<Outcome, Fault> {
        let facts = self.facts(action);
        let evaluation = self.evaluate_under(action, &facts)?;
        let via = if evaluation.allowed {
            self.held.via(|role| evaluation.determining.iter().any(|policy| policy.role == Some(role)))
        } else {
            self.held.via(|_| true)
        };
        Ok(Outcome {
            allowed: evaluation.allowed,
            via,
            reason: None,
            policies: evaluation.determining.iter().map(|policy| policy.id.clone()).collect(),
            obligations: evaluation.obligations(self.policies.bundle().action_name(action)),
            roles: self.role_names(),
            facts: Some(facts),
        })
    }
    /// How far the principal may do an action: as they stand, after doing something about it, or not at all.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer.
    pub fn reach(&self, action: ActionIx) -> Result<Reach, Fault> {
        let facts = self.facts(action);
        if self.evaluate_under(action, &facts)?.allowed {
            return Ok(Reach::Plain);
        }
        let circumstances = Circumstances {
            fresh_sign_in: true,
            confirmed: true,
            own_account: true,
            case_given: true,
            ..facts.circumstances
        };
        let allowed = self.evaluate_under(action, &Facts { circumstances, ..facts })?.allowed;
        Ok(if allowed { Reach::Conditional } else { Reach::None })
    }
    /// The roles held, in order and without repetition.
    #[must_use]
    pub fn roles(&self) -> &[RoleIx] {
        &self.roles
    }
    /// Whether seat, role, named party and sign-in would do if the site's state stood in nobody's way. A command asks
    /// this first: what is missing then is the actor's to bring (403), what is missing besides is the state's (409, 422).
    ///
    /// # Errors
    /// [`Fault`] when there is no answer; the inner error is the reason code.
    pub fn may_but_for_state(&self, action: ActionIx) -> Result<Result<(), SmolStr>, Fault> {
        let facts = self.facts(action);
        for flags in baselines(&facts) {
            let lifted = Facts { flags: Flags { agency_suspended: facts.flags.agency_suspended, ..flags }, ..facts };
            for mode in MODES {
                if self.evaluate_under(action, &Facts { mode, ..lifted })?.allowed {
                    return Ok(Ok(()));
                }
            }
        }
        // Nothing the state could be would help: name what the actor lacks.
        let clear =
            Facts { flags: Flags { agency_suspended: facts.flags.agency_suspended, ..Flags::default() }, ..facts };
        let mut reason = self.why_denied(action, &clear)?;
        if reason == "wrong_mode" {
            for flags in baselines(&facts) {
                let lifted =
                    Facts { flags: Flags { agency_suspended: facts.flags.agency_suspended, ..flags }, ..facts };
                let found = self.why_denied(action, &lifted)?;
                if found != "wrong_mode" && !STATE_REASONS.contains(&found.as_str()) {
                    reason = found;
                    break;
                }
            }
        }
        Ok(Err(reason))
    }

    fn why_denied(&self, action: ActionIx, actual: &Facts) -> Result<SmolStr, Fault> {
        let bundle = self.policies.bundle();
        if !self.held.is_somebody() && !self.permitted_by_scope(action) {
            return Ok(SmolStr::new_static("no_role"));
        }
        if !self.permitted_by_scope(action) {
            let parties = self.policies.given().parties();
            let for_parties =
                bundle.bucket(action).is_some_and(|bucket| bucket.roles().all(|role| parties.contains(&role)));
            return Ok(SmolStr::new_static(if for_parties { "not_a_party" } else { "role_lacks_action" }));
        }
        let Some(who) = self.who() else { return Ok(SmolStr::new_static("no_role")) };
        let favourable = baselines(actual).map(|flags| Facts {
            flags,
            // Which side gave the role is no obstacle by itself; it says which obstacles count.
            circumstances: Circumstances {
                partner_side: actual.circumstances.partner_side,
                ..Circumstances::favourable()
            },
            mode: actual.mode,
        });
        decision::why_denied(bundle, actual, favourable, STEPS, "wrong_mode", |facts| {
            self.policies.slice(who, self.site, action, &self.roles, facts)
        })
    }
    fn permitted_by_scope(&self, action: ActionIx) -> bool {
        self.policies.bundle().bucket(action).is_some_and(|bucket| {
            bucket.permits_everybody() || self.roles.iter().any(|role| bucket.permits_some(*role))
        })
    }
}

const MODES: [crate::site::Mode; 3] =
    [crate::site::Mode::SelfManaged, crate::site::Mode::PartnerBuilt, crate::site::Mode::PartnerManaged];

/// Reasons that are the state's, not the actor's.
pub const STATE_REASONS: &[&str] =
    &["frozen", "trashed", "return_pending", "locked", "settling_in", "handover_open", "past_due", "wrong_mode"];

/// States in which most is allowed: the plain one, and each of those in which something is possible that otherwise is
/// not (taking a site out of the trash, ending a freeze, rescuing a plan, giving a site back). What the state in
/// question must be comes first among equals.
fn baselines(actual: &Facts) -> impl Iterator<Item = Flags> + use<> {
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

/// The order of reasons, each with the facts it stands for. A state's own step only raises its flag; flags that the
/// baseline raised because they *enable* something are lowered under `wrong_mode`: a site that is not in the trash
/// cannot be restored.
const STEPS: &[Restore<Facts>] = &[
    Restore { reason: "agency_suspended", restore: |to, from| to.flags.agency_suspended = from.flags.agency_suspended },
    Restore { reason: "blocked_by_client", restore: |to, from| to.circumstances.blocked = from.circumstances.blocked },
    Restore {
        reason: "grant_expired",
        restore: |to, from| to.circumstances.grant_live = from.circumstances.grant_live,
    },
    Restore {
        reason: "no_session",
        restore: |to, from| to.circumstances.support_session_live = from.circumstances.support_session_live,
    },
    Restore { reason: "frozen", restore: |to, from| to.flags.frozen |= from.flags.frozen },
    Restore { reason: "trashed", restore: |to, from| to.flags.trashed |= from.flags.trashed },
    Restore {
        reason: "return_pending",
        restore: |to, from| {
            to.flags.return_pending |= from.flags.return_pending;
            to.flags.reclaim_pending |= from.flags.reclaim_pending;
        },
    },
    Restore { reason: "locked", restore: |to, from| to.flags.locked = from.flags.locked },
    Restore { reason: "settling_in", restore: |to, from| to.flags.settling = from.flags.settling },
    Restore { reason: "handover_open", restore: |to, from| to.flags.handover_open = from.flags.handover_open },
    Restore {
        reason: "past_due",
        restore: |to, from| {
            to.flags.past_due |= from.flags.past_due;
            to.flags.lapsed |= from.flags.lapsed;
        },
    },
    Restore { reason: "wrong_mode", restore: |to, from| only_lower(&mut to.flags, from.flags) },
    Restore {
        reason: "not_payer",
        restore: |to, from| to.circumstances.granted_by_payer = from.circumstances.granted_by_payer,
    },
    Restore {
        reason: "not_your_own",
        restore: |to, from| to.circumstances.own_account = from.circumstances.own_account,
    },
    Restore {
        reason: "confirm_required",
        restore: |to, from| to.circumstances.confirmed = from.circumstances.confirmed,
    },
    Restore {
        reason: "case_required",
        restore: |to, from| to.circumstances.case_given = from.circumstances.case_given,
    },
    Restore {
        reason: "stepup_required",
        restore: |to, from| to.circumstances.fresh_sign_in = from.circumstances.fresh_sign_in,
    },
];

/// Takes away the flags that the baseline has and the site has not.
fn only_lower(to: &mut Flags, from: Flags) {
    to.frozen &= from.frozen;
    to.trashed &= from.trashed;
    to.past_due &= from.past_due;
    to.return_pending &= from.return_pending;
    to.reclaim_pending &= from.reclaim_pending;
}

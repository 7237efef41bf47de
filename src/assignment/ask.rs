//! Can this principal do this on this site? The question of a check, answered with everything there is to say.

use smol_str::SmolStr;

use super::{
    Circumstances, Directory, Facts, Flags, Held, Kind, SitePolicies, SiteRow, Via,
    order::{Case, MODES, STATE_REASONS, STEPS, baselines},
};
use crate::{
    decision::{self, Evaluation, Fault, Obligation, Roles},
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

/// Allow or deny, and what must be done: all that an application needs in order to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Allow or deny.
    pub allowed: bool,
    /// What must be done when the request is let through.
    pub obligations: Vec<Obligation>,
}

/// An answer and why. Made from a bare [`Answer`], it has nothing to say beyond that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

impl From<Answer> for Outcome {
    fn from(Answer { allowed, obligations }: Answer) -> Self {
        Self { allowed, obligations, ..Self::default() }
    }
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

/// How long a sign-in may lie ahead of `now`: clocks differ.
const AHEAD_S: i64 = 60;

/// A principal on a site at a moment: everything that does not depend on the action.
#[derive(Debug, Clone)]
pub struct Standing<'a> {
    pub(super) policies: &'a SitePolicies,
    row: &'a SiteRow,
    principal: &'a Principal,
    held: Held,
    roles: Roles,
    flags: Flags,
    asked: &'a Asked,
    now: Timestamp,
    step_up_s: i64,
}

impl<'a> Standing<'a> {
    /// Looks up who the principal is on this site now. `step_up_s` is how many seconds a sign-in counts as fresh.
    #[must_use]
    pub fn of(
        policies: &'a SitePolicies,
        row: &'a SiteRow,
        directory: &Directory,
        principal: &'a Principal,
        asked: &'a Asked,
        now: Timestamp,
        step_up_s: i64,
    ) -> Self {
        Self::at(policies, row, principal, row.moment(principal, policies, directory, now), asked, step_up_s)
    }
    /// The same from a [`Moment`], for callers that hold the directory only for a short look.
    #[must_use]
    pub fn at(
        policies: &'a SitePolicies,
        row: &'a SiteRow,
        principal: &'a Principal,
        moment: Moment,
        asked: &'a Asked,
        step_up_s: i64,
    ) -> Self {
        let Moment { held, flags, now } = moment;
        let mut roles: Roles = held.roles.iter().map(|held| held.role).collect();
        roles.sort_unstable();
        roles.dedup();
        Self { policies, row, principal, held, roles, flags, asked, now, step_up_s }
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
    /// Evaluates one action under other facts than the actual ones, for telling what an answer hangs on.
    pub(crate) fn evaluate_under(&self, action: ActionIx, facts: &Facts) -> Result<Evaluation<'a>, Fault> {
        if let Some(what) = self.held.missing {
            return Err(Fault::Missing(what));
        }
        let Some(kind) = self.kind() else { return Ok(Evaluation { allowed: false, determining: Vec::new() }) };
        decision::evaluate(self.policies.bundle(), &self.policies.slice(kind, action, &self.roles, facts))
    }
    /// Services ask and report; they hold no role.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.principal {
            Principal::User(_) => Some(Kind::User),
            Principal::Staff(_) => Some(Kind::Staff),
            Principal::Service(_) => None,
        }
    }
    /// Allow or deny, and what must be done.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer.
    pub fn answer(&self, action: ActionIx) -> Result<Answer, Fault> {
        let evaluation = self.evaluate(action)?;
        let obligations = evaluation.obligations(self.policies.bundle().action_name(action));
        Ok(Answer { allowed: evaluation.allowed, obligations })
    }
    /// The answer with all that there is to say about it. The reason of a deny takes several times as long to find as
    /// the answer.
    ///
    /// # Errors
    /// [`Fault`] when there is none.
    pub fn decide(&self, action: ActionIx) -> Result<Outcome, Fault> {
        let facts = self.facts(action);
        let evaluation = self.evaluate_under(action, &facts)?;
        let via = if evaluation.allowed {
            self.held.via(|role| evaluation.determining.iter().any(|policy| policy.role == Some(role)))
        } else {
            self.held.via_here()
        };
        let reason = if evaluation.allowed { None } else { Some(self.why_denied(action, &facts)?) };
        Ok(Outcome {
            allowed: evaluation.allowed,
            via,
            reason,
            policies: evaluation.determining.iter().map(|policy| policy.id.clone()).collect(),
            obligations: evaluation.obligations(self.policies.bundle().action_name(action)),
            roles: self.role_names(),
            facts: Some(facts),
        })
    }
    /// The routes by which some policy's scope reaches this action, most direct first.
    #[must_use]
    pub fn routes(&self, action: ActionIx) -> Vec<Via> {
        let Some(bucket) = self.policies.bundle().bucket(action) else { return Vec::new() };
        let mut routes: Vec<Via> =
            self.held.roles.iter().filter(|held| bucket.permits_some(held.role)).map(|held| held.via).collect();
        routes.sort_unstable();
        routes.dedup();
        routes
    }
    /// Whether the policies permit an action to somebody who has come by this route alone.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer.
    pub fn allows_by(&self, via: Via, action: ActionIx) -> Result<bool, Fault> {
        let Some(kind) = self.kind() else { return Ok(false) };
        let held = self.held.roles.iter().filter(|held| held.via == via);
        let mut roles: Roles = held.map(|held| held.role).collect();
        roles.sort_unstable();
        roles.dedup();
        let slice = self.policies.slice(kind, action, &roles, &self.facts(action));
        Ok(decision::evaluate(self.policies.bundle(), &slice)?.allowed)
    }
    /// The names of the roles held by one route.
    #[must_use]
    pub fn roles_by(&self, via: Via) -> Vec<SmolStr> {
        let bundle = self.policies.bundle();
        let held = self.held.roles.iter().filter(|held| held.via == via);
        held.map(|held| SmolStr::new(bundle.role_name(held.role))).collect()
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
        // Nothing the state could be would help: name what the actor lacks, in the first state where that is not hidden
        // behind a reason of the state's.
        let mut first = None;
        for mode in [facts.mode].into_iter().chain(MODES) {
            for flags in baselines(&facts) {
                let flags = Flags { agency_suspended: facts.flags.agency_suspended, ..flags };
                let reason = self.why_denied(action, &Facts { mode, flags, ..facts })?;
                if !STATE_REASONS.contains(&reason.as_str()) {
                    return Ok(Err(reason));
                }
                first.get_or_insert(reason);
            }
        }
        Ok(Err(first.unwrap_or_else(|| SmolStr::new_static("wrong_mode"))))
    }

    fn why_denied(&self, action: ActionIx, actual: &Facts) -> Result<SmolStr, Fault> {
        let bundle = self.policies.bundle();
        if !self.held.is_somebody() && !self.permitted_by_scope(action) {
            return Ok(SmolStr::new_static("no_role"));
        }
        let in_scope = self.permitted_by_scope(action);
        let parties = self.policies.given().parties();
        let for_parties =
            bundle.bucket(action).is_some_and(|bucket| bucket.roles().all(|role| parties.contains(&role)));
        if !in_scope && !for_parties {
            return Ok(SmolStr::new_static("role_lacks_action"));
        }
        let Some(kind) = self.kind() else { return Ok(SmolStr::new_static("no_role")) };
        let favourable = baselines(actual).map(|flags| Case {
            facts: Facts {
                flags,
                // Which side gave the role is no obstacle by itself; it says which obstacles count.
                circumstances: Circumstances {
                    partner_side: actual.circumstances.partner_side,
                    ..Circumstances::favourable()
                },
                mode: actual.mode,
            },
            party: !in_scope,
        });
        let mut as_party = self.roles.clone();
        as_party.extend(parties.into_iter().filter(|party| !self.roles.contains(party)));
        let actual = Case { facts: *actual, party: false };
        decision::why_denied(bundle, &actual, favourable, STEPS, "wrong_mode", |case| {
            let roles = if case.party { &as_party } else { &self.roles };
            self.policies.slice(kind, action, roles, &case.facts)
        })
    }
    fn permitted_by_scope(&self, action: ActionIx) -> bool {
        self.policies.bundle().bucket(action).is_some_and(|bucket| {
            bucket.permits_everybody() || self.roles.iter().any(|role| bucket.permits_some(*role))
        })
    }
}

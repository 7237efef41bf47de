//! How far may somebody do each action? As they stand, after doing something about it, or not at all.
//!
//! The question of previews, access lists and searches for actions, which ask about every action of the catalogue for everybody on a site.
//! Facts hardly differ between actions (only whether the client confirmed the act does), so every action is asked
//! about in one [`Sweep`] for each set of facts. Evaluating each action by itself lost: fifty people took 8 ms.

use super::{Circumstances, Facts, Standing};
use crate::{
    decision::{Fault, Sweep},
    policy::ActionIx,
};

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

impl Standing<'_> {
    /// How far the principal may do each action, in the catalogue's order.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer about some action.
    pub fn reach(&self) -> Result<Vec<Reach>, Fault> {
        let mut sweeps = self.sweeps()?;
        let reach = |(action, _)| {
            let facts = self.facts(action);
            if sweeps.allows(facts, action)? {
                return Ok(Reach::Plain);
            }
            let prepared = Facts { circumstances: prepared(facts.circumstances), ..facts };
            Ok(if sweeps.allows(prepared, action)? { Reach::Conditional } else { Reach::None })
        };
        self.policies.bundle().actions().map(reach).collect()
    }

    /// Whether the principal may do each action as they stand, in the catalogue's order: what [`Standing::answer`] says.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer about some action.
    pub fn allowed(&self) -> Result<Vec<bool>, Fault> {
        let mut sweeps = self.sweeps()?;
        self.policies.bundle().actions().map(|(action, _)| sweeps.allows(self.facts(action), action)).collect()
    }

    fn sweeps(&self) -> Result<Sweeps<'_>, Fault> {
        match self.held().missing {
            Some(what) => Err(Fault::Missing(what)),
            None => Ok(Sweeps { standing: self, begun: Vec::new() }),
        }
    }
}

/// One sweep for each set of facts.
struct Sweeps<'a> {
    standing: &'a Standing<'a>,
    begun: Vec<(Facts, Sweep<'a>)>,
}

impl Sweeps<'_> {
    fn allows(&mut self, facts: Facts, action: ActionIx) -> Result<bool, Fault> {
        // Who is nobody for the policies may nothing.
        let Some(kind) = self.standing.kind() else { return Ok(false) };
        if let Some((_, sweep)) = self.begun.iter_mut().find(|(of, _)| *of == facts) {
            return Ok(sweep.evaluate(action)?.allowed);
        }
        let policies = self.standing.policies;
        let mut sweep = Sweep::of(policies.bundle(), policies.slice(kind, action, self.standing.roles(), &facts))?;
        let allowed = sweep.evaluate(action)?.allowed;
        self.begun.push((facts, sweep));
        Ok(allowed)
    }
}

/// The same person after doing all that they can do about it.
const fn prepared(circumstances: Circumstances) -> Circumstances {
    Circumstances { fresh_sign_in: true, confirmed: true, own_account: true, case_given: true, ..circumstances }
}

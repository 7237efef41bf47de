//! How far may somebody do each action? As they stand, after doing something about it, or not at all.
//!
//! The question of previews and access lists, which ask about every action of the catalogue for everybody on a site.
//! Facts hardly differ between actions (only whether the client confirmed the act does), so every action is asked
//! about in one [`Sweep`] for each set of facts. Evaluating each action by itself lost: fifty people took 8 ms.

use super::{Circumstances, Facts, Standing};
use crate::decision::{Fault, Sweep};

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
        if let Some(what) = self.held().missing {
            return Err(Fault::Missing(what));
        }
        let bundle = self.policies.bundle();
        let Some(kind) = self.kind() else { return Ok(bundle.actions().map(|_| Reach::None).collect()) };
        let mut sweeps: Vec<(Facts, Sweep<'_>)> = Vec::new();
        let mut allows = |facts: Facts, action| -> Result<bool, Fault> {
            if let Some((_, sweep)) = sweeps.iter_mut().find(|(of, _)| *of == facts) {
                return Ok(sweep.evaluate(action)?.allowed);
            }
            let mut sweep = Sweep::of(bundle, self.policies.slice(kind, action, self.roles(), &facts))?;
            let allowed = sweep.evaluate(action)?.allowed;
            sweeps.push((facts, sweep));
            Ok(allowed)
        };
        let reach = |(action, _)| {
            let facts = self.facts(action);
            if allows(facts, action)? {
                return Ok(Reach::Plain);
            }
            let allowed = allows(Facts { circumstances: prepared(facts.circumstances), ..facts }, action)?;
            Ok(if allowed { Reach::Conditional } else { Reach::None })
        };
        bundle.actions().map(reach).collect()
    }
}

/// The same person after doing all that they can do about it.
const fn prepared(circumstances: Circumstances) -> Circumstances {
    Circumstances { fresh_sign_in: true, confirmed: true, own_account: true, case_given: true, ..circumstances }
}

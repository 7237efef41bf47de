//! Why not? The one reason code of a denial.
//!
//! Several conditions may fail at once. Starting from facts under which the request would be allowed, the facts are put
//! back to what they are, one group after the other in a fixed order of importance; the group that turns the answer
//! into a deny names the reason. So the code is always there, always the first in the order that suffices together with
//! those before it, and found by the policies themselves: no table repeats what they say.
//! Flipping single facts from the actual state lost: with two failing conditions no single flip changes anything.

use smol_str::SmolStr;

use super::{Evaluation, Fault, Slice, evaluate};
use crate::policy::{Bundle, Effect};

/// One step back to the actual facts: the code it stands for, and what it puts back into the first argument from the
/// second.
#[derive(Debug, Clone, Copy)]
pub struct Restore<F> {
    /// The reason code that this group of facts stands for.
    pub reason: &'static str,
    /// Copies the group from the actual facts.
    pub restore: fn(&mut F, &F),
}

/// Finds the reason for a denial under `actual`.
///
/// `baselines` are favourable facts to start from, tried in turn; `last` is the code when none of them is enough.
///
/// # Errors
/// [`Fault`] as in [`evaluate`].
pub fn why_denied<F: Clone>(
    bundle: &Bundle,
    actual: &F,
    baselines: impl IntoIterator<Item = F>,
    steps: &[Restore<F>],
    last: &'static str,
    slice: impl Fn(&F) -> Slice,
) -> Result<SmolStr, Fault> {
    for baseline in baselines {
        if !evaluate(bundle, &slice(&baseline))?.allowed {
            continue;
        }
        let mut facts = baseline;
        for step in steps {
            (step.restore)(&mut facts, actual);
            let evaluation = evaluate(bundle, &slice(&facts))?;
            if !evaluation.allowed {
                return Ok(forbidden_because(&evaluation).unwrap_or_else(|| SmolStr::new_static(step.reason)));
            }
        }
    }
    let evaluation = evaluate(bundle, &slice(actual))?;
    Ok(forbidden_because(&evaluation).unwrap_or_else(|| SmolStr::new_static(last)))
}

/// The `@reason` of the forbid that denied, if one did.
fn forbidden_because(evaluation: &Evaluation<'_>) -> Option<SmolStr> {
    evaluation
        .determining
        .iter()
        .filter(|policy| policy.effect == Effect::Forbid)
        .find_map(|policy| policy.reason.clone())
}

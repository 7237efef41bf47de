//! May they, action after action? One principal on one resource under the same facts, asked about many actions.
//!
//! A policy's condition reads principal, resource and context, and those are the same for every action of a sweep; so
//! each condition is evaluated at most once, when the first action needs it, and remembered. Which policies bear on an
//! action and in which order they are asked is [`evaluate`](super::evaluate)'s own walk: a sweep answers what `evaluate`
//! would, faults included. A condition that still mentions an action in the index is evaluated anew for each.
//!
//! Remembering beyond one sweep lost: a table needs a bound and somebody who empties it, to save a few microseconds for
//! each group of people. Leaving out the actions that no permit of a held role covers lost too: what their forbids say
//! is mostly known already, and one that errs would go unnoticed.

use cedar_policy_core::{ast, entities::Entities, evaluator::Evaluator, extensions::Extensions};

use super::{Evaluation, Fault, Slice, holds, walk};
use crate::policy::{ActionIx, Bundle, PolicyMeta, Rule};

/// One principal, resource and context, to be asked about any number of actions.
#[derive(Debug)]
pub struct Sweep<'a> {
    bundle: &'a Bundle,
    slice: Slice,
    request: ast::Request,
    entities: Entities,
    /// Whether a condition holds, as far as an action needed it; by the condition's number.
    known: Vec<Option<bool>>,
}

impl<'a> Sweep<'a> {
    /// Of everything in the slice but its action.
    ///
    /// # Errors
    /// [`Fault`] when the slice is of another bundle.
    pub fn of(bundle: &'a Bundle, slice: Slice) -> Result<Self, Fault> {
        let (request, entities) = slice.prepare(bundle)?;
        Ok(Self { bundle, slice, request, entities, known: Vec::new() })
    }

    /// What [`evaluate`](super::evaluate) says of the slice with this action.
    ///
    /// # Errors
    /// [`Fault`] when a policy errs or the action is of another bundle.
    pub fn evaluate(&mut self, action: ActionIx) -> Result<Evaluation<'a>, Fault> {
        self.slice.action = action;
        let Self { bundle, slice, request, entities, known } = self;
        walk(bundle, slice, |rule, policy| {
            let Some(number) = rule.number else {
                let (request, entities) = slice.prepare(bundle)?;
                return interpret(request, &entities, rule, policy);
            };
            if let Some(known) = known.get(number).copied().flatten() {
                return Ok(known);
            }
            let found = interpret(request.clone(), entities, rule, policy)?;
            if known.len() <= number {
                known.resize(number + 1, None);
            }
            if let Some(place) = known.get_mut(number) {
                *place = Some(found);
            }
            Ok(found)
        })
    }
}

fn interpret(request: ast::Request, entities: &Entities, rule: &Rule, policy: &PolicyMeta) -> Result<bool, Fault> {
    holds(&Evaluator::new(request, entities, Extensions::all_available()), rule, policy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cedar_policy_core::ast::{Context, EntityType, EntityUID, Value};
    use smol_str::SmolStr;

    use super::*;
    use crate::{
        decision::{Part, entity_uid, evaluate},
        policy::{Names, Source},
    };

    const DOORS: Names = Names { namespace: "Doors", role_type: "Role", literal_types: &["Role"] };

    const SCHEMA: &str = "namespace Doors {
      entity Role enum [\"Guest\", \"Host\"];
      entity Person in [Role];
      entity Door { \"open\": Bool, \"alarmed\": Bool };
      action Pass;
      action Enter, Leave in [Pass] appliesTo { principal: [Person], resource: Door, context: {} };
      action Knock appliesTo { principal: [Person], resource: Door, context: {} };
    }";

    /// Guests leave by any door and enter by an open one; hosts pass, and knock at open doors.
    const PERMITS: &str = "
    @id(\"roles.guest\")
    @doc(\"A guest enters by an open door and leaves by any.\")
    permit (principal in Doors::Role::\"Guest\", action in [Doors::Action::\"Enter\", Doors::Action::\"Leave\"], resource)
    when { action == Doors::Action::\"Leave\" || resource.open };
    @id(\"roles.host\")
    @doc(\"A host passes by any door and knocks at open ones.\")
    permit (principal in Doors::Role::\"Host\", action, resource)
    when { Doors::Action::\"Knock\" != action || resource.open };
    ";

    const FORBIDS: &str = "
    @id(\"guardrails.alarmed\")
    @doc(\"Nobody passes an alarmed door.\")
    @reason(\"alarmed\")
    forbid (principal, action in [Doors::Action::\"Pass\", Doors::Action::\"Knock\"], resource)
    when { resource.alarmed && action in Doors::Action::\"Pass\" };
    @id(\"guardrails.shut\")
    @doc(\"Nobody knocks at a shut and alarmed door.\")
    @reason(\"shut\")
    forbid (principal, action in [Doors::Action::\"Knock\", Doors::Action::\"Leave\"], resource)
    when { resource.alarmed && !resource.open };
    ";

    fn bundle() -> Bundle {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let policies = [source("roles/people.cedar", PERMITS), source("guardrails/doors.cedar", FORBIDS)];
        match Bundle::build(&source("doors.cedarschema", SCHEMA), &policies, &DOORS) {
            Ok(bundle) => bundle,
            Err(problems) => panic!("{problems}"),
        }
    }

    fn slice(bundle: &Bundle, role: &str, attributes: &[(&'static str, bool)]) -> Slice {
        let entity_type = |name: &str| EntityType::from_normalized_str(name).unwrap();
        let parent = EntityUID::clone(&entity_uid(&entity_type("Doors::Role"), role));
        let attributes = attributes.iter().map(|(name, value)| (SmolStr::new_static(name), Value::from(*value)));
        Slice {
            principal: Part::new(&entity_uid(&entity_type("Doors::Person"), "p"), [parent], []),
            roles: [bundle.role(role).unwrap()].into_iter().collect(),
            action: ActionIx(0),
            resource: Part::new(&entity_uid(&entity_type("Doors::Door"), "d"), [], attributes),
            context: Context::empty(),
        }
    }

    type Said = Result<(bool, Vec<SmolStr>), Fault>;

    fn said(evaluation: Result<Evaluation<'_>, Fault>) -> Said {
        evaluation.map(|found| (found.allowed, found.determining.iter().map(|policy| policy.id.clone()).collect()))
    }

    /// Each action by itself, and all of them in one sweep, in either order.
    fn both(bundle: &Bundle, slice: &Slice) -> [Vec<Said>; 3] {
        let actions: Vec<ActionIx> = bundle.actions().map(|(action, _)| action).collect();
        let alone = actions.iter().map(|action| said(evaluate(bundle, &Slice { action: *action, ..slice.clone() })));
        let mut sweep = Sweep::of(bundle, slice.clone()).unwrap();
        let forth = actions.iter().map(|action| said(sweep.evaluate(*action))).collect();
        let mut sweep = Sweep::of(bundle, slice.clone()).unwrap();
        let mut back: Vec<Said> = actions.iter().rev().map(|action| said(sweep.evaluate(*action))).collect();
        back.reverse();
        [alone.collect(), forth, back]
    }

    #[test]
    fn a_sweep_says_what_each_action_alone_is_told() {
        let bundle = bundle();
        for role in ["Guest", "Host"] {
            for bits in 0..4 {
                let slice = slice(&bundle, role, &[("open", bits & 1 == 1), ("alarmed", bits & 2 == 2)]);
                let [alone, forth, back] = both(&bundle, &slice);
                assert_eq!(forth, alone, "{role} {bits}");
                assert_eq!(back, alone, "{role} {bits}");
            }
        }
    }

    /// The control: these conditions hold for one action and not for another, so remembering one of them would show.
    #[test]
    fn conditions_that_mention_an_action_are_told_apart() {
        let bundle = bundle();
        let numbers = |id: &str| -> BTreeSet<Option<usize>> {
            let rules = bundle.actions().filter_map(|(action, _)| bundle.bucket(action)).flat_map(|bucket| {
                bucket.forbids.iter().chain(&bucket.unscoped).chain(bucket.by_role.values().flatten())
            });
            rules.filter(|rule| bundle.policies()[rule.policy].id == id).map(|rule| rule.number).collect()
        };
        assert_eq!(numbers("roles.host"), [None].into(), "its condition is not in a form that the index decides");
        assert_eq!(numbers("guardrails.shut").len(), 1, "the same for both actions");
        for id in ["roles.guest", "guardrails.alarmed"] {
            assert!(numbers(id).len() == 2 && !numbers(id).contains(&None), "{id}: one condition for each answer");
        }
        let [shut, ..] = both(&bundle, &slice(&bundle, "Guest", &[("open", false), ("alarmed", false)]));
        let allowed: Vec<bool> = shut.into_iter().map(|said| said.unwrap().0).collect();
        assert!(allowed.contains(&true) && allowed.contains(&false), "one policy, two answers: {allowed:?}");
    }

    /// What errs is a fault for each action that needs it, and for no other.
    #[test]
    fn a_fault_is_neither_lost_nor_spread() {
        let bundle = bundle();
        let [alone, forth, back] = both(&bundle, &slice(&bundle, "Guest", &[("alarmed", false)]));
        assert!(alone.iter().any(Result::is_err) && alone.iter().any(Result::is_ok), "{alone:?}");
        assert_eq!(forth, alone);
        assert_eq!(back, alone);
    }

    #[test]
    fn an_action_of_another_bundle_is_a_fault() {
        let bundle = bundle();
        let mut sweep = Sweep::of(&bundle, slice(&bundle, "Host", &[("open", true), ("alarmed", false)])).unwrap();
        assert!(matches!(sweep.evaluate(ActionIx(7)), Err(Fault::Missing(_))));
        assert!(sweep.evaluate(ActionIx(0)).is_ok(), "the control");
    }
}

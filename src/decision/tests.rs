//! A fault is not a decision: when a policy errs, nothing is allowed and nothing is denied.

use cedar_policy_core::ast::{self, Context};

use super::*;
use crate::policy::{Names, Source};

const DOORS: Names = Names { namespace: "Doors", role_type: "Role", literal_types: &["Role"] };

const SCHEMA: &str = "namespace Doors {
  entity Role enum [\"Guest\", \"Host\"];
  entity Person in [Role];
  entity Door { \"open\": Bool, \"alarmed\": Bool };
  action Enter appliesTo { principal: [Person], resource: Door, context: {} };
}";

const PERMITS: &str = "
@id(\"roles.guest\")
@doc(\"A guest enters by an open door.\")
permit (principal in Doors::Role::\"Guest\", action == Doors::Action::\"Enter\", resource) when { resource.open };
@id(\"roles.host\")
@doc(\"A host enters by any door.\")
permit (principal in Doors::Role::\"Host\", action == Doors::Action::\"Enter\", resource);
";

const FORBIDS: &str = "
@id(\"guardrails.alarmed\")
@doc(\"Nobody enters by an alarmed door.\")
@reason(\"alarmed\")
forbid (principal, action == Doors::Action::\"Enter\", resource) when { resource.alarmed };
";

fn bundle() -> Bundle {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let policies = [source("roles/people.cedar", PERMITS), source("guardrails/alarmed.cedar", FORBIDS)];
    match Bundle::build(&source("doors.cedarschema", SCHEMA), &policies, &DOORS) {
        Ok(bundle) => bundle,
        Err(problems) => panic!("{problems}"),
    }
}

fn slice(bundle: &Bundle, role: &str, attributes: &[(&'static str, bool)]) -> Slice {
    let entity_type = |name: &str| ast::EntityType::from_normalized_str(name).unwrap();
    let role_uid = entity_uid(&entity_type("Doors::Role"), role);
    let attributes = attributes
        .iter()
        .map(|(name, value)| (SmolStr::new_static(name), ast::Value::from(*value)))
        .collect::<Vec<_>>();
    Slice {
        principal: Part::new(&entity_uid(&entity_type("Doors::Person"), "p"), [ast::EntityUID::clone(&role_uid)], []),
        roles: [bundle.role(role).unwrap()].into_iter().collect(),
        action: bundle.action("Enter").unwrap(),
        resource: Part::new(&entity_uid(&entity_type("Doors::Door"), "d"), [], attributes),
        context: Context::empty(),
    }
}

type Evaluate = for<'a> fn(&'a Bundle, &Slice) -> Result<Evaluation<'a>, Fault>;

const BOTH: [Evaluate; 2] = [evaluate, evaluate_plainly];

#[test]
fn a_complete_slice_is_decided() {
    let bundle = bundle();
    for evaluate in BOTH {
        for (role, open, alarmed, expected) in [
            ("Guest", true, false, Some("roles.guest")),
            ("Guest", false, false, None),
            ("Host", false, false, Some("roles.host")),
            ("Host", true, true, Some("guardrails.alarmed")),
        ] {
            let slice = slice(&bundle, role, &[("open", open), ("alarmed", alarmed)]);
            slice.conforms(&bundle).unwrap();
            let evaluation = evaluate(&bundle, &slice).unwrap();
            assert_eq!(evaluation.allowed, expected.is_some_and(|id| id.starts_with("roles.")));
            assert_eq!(evaluation.determining.first().map(|policy| policy.id.as_str()), expected);
        }
    }
}

/// Cedar skips a policy that errs, and says so beside its answer: without the forbid, a host would be let in.
#[test]
fn a_forbid_that_errs_refuses_instead_of_letting_in() {
    let bundle = bundle();
    for evaluate in BOTH {
        let slice = slice(&bundle, "Host", &[("open", true)]);
        assert!(slice.conforms(&bundle).unwrap_err().contains("alarmed"));
        match evaluate(&bundle, &slice) {
            Err(Fault::Evaluation(reason)) => assert!(reason.contains("alarmed"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_permit_that_errs_is_not_told_as_a_denial() {
    let bundle = bundle();
    for evaluate in BOTH {
        let slice = slice(&bundle, "Guest", &[("alarmed", false)]);
        assert!(matches!(evaluate(&bundle, &slice), Err(Fault::Evaluation(_))));
    }
}

#[test]
fn an_action_of_another_bundle_is_not_told_as_a_denial() {
    let bundle = bundle();
    for evaluate in BOTH {
        let mut slice = slice(&bundle, "Host", &[("open", true), ("alarmed", false)]);
        slice.action = crate::policy::ActionIx(7);
        assert!(matches!(evaluate(&bundle, &slice), Err(Fault::Missing(_))));
    }
}

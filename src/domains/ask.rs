//! One question of a policy domain, and its answer.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityUid, EvalResult, Request, RestrictedExpression,
};
use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::{Act, Kind, PolicyDomain, Unlisted, shape};

/// A subject or a resource, as the caller calls it.
#[derive(Debug, Clone, Copy)]
pub struct Thing<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
    /// What the caller says about it.
    pub properties: &'a Map<String, Value>,
}

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who would act.
    pub subject: Thing<'a>,
    /// What they would do.
    pub action: &'a str,
    /// To what.
    pub resource: Thing<'a>,
    /// The circumstances; what the caller says about the action is its member `action`.
    pub context: &'a Map<String, Value>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// Allow or deny.
    pub allowed: bool,
    /// For a deny: `unknown_subject`, `unknown_action`, `unknown_resource`, `not_applicable`, `incomplete`, `forbidden`
    /// or `not_permitted`.
    pub reason: Option<&'static str>,
    /// The policies that determined it, in order.
    pub policies: Vec<SmolStr>,
    /// For `incomplete`: what the schema wants and nobody said.
    pub missing: Vec<String>,
}

/// Why there is no answer: a policy failed, which is neither a yes nor a no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

/// A side of the question, as Cedar knows it.
struct Side {
    uid: EntityUid,
    /// Where it is not as it is stored.
    changed: Option<Entity>,
}

impl PolicyDomain {
    /// Answers.
    ///
    /// # Errors
    /// A policy could not be evaluated, as when a number overflows: to leave it out could turn a deny into an allow.
    pub fn decide(&self, ask: &Ask<'_>) -> Result<Decided, Fault> {
        let Some(act) = self.actions.get(ask.action) else { return Ok(denied("unknown_action")) };
        let Some((subject_kind, subject)) = self.side(&ask.subject) else { return Ok(denied("unknown_subject")) };
        let Some((resource_kind, resource)) = self.side(&ask.resource) else { return Ok(denied("unknown_resource")) };
        if !act.principals.contains(&subject_kind.entity) || !act.resources.contains(&resource_kind.entity) {
            return Ok(denied("not_applicable"));
        }
        let context = match context(act, ask.context) {
            Ok(context) => context,
            Err(missing) => return Ok(Decided { missing, ..denied("incomplete") }),
        };
        let (principal, object) = (subject.uid.clone(), resource.uid.clone());
        let slice = match self.slice([subject, resource]) {
            Ok(slice) => slice,
            // What is stored conforms to the schema: an admitted entity lacks what the caller did not say.
            Err(why) => return Ok(Decided { missing: vec![why], ..denied("incomplete") }),
        };
        let fault = |error: &dyn std::fmt::Display| Fault(error.to_string());
        let request = Request::new(principal, act.uid.clone(), object, context, Some(&self.schema))
            .map_err(|error| fault(&error))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "errors that Cedar reports beside an answer are refused right below"
        )]
        let response =
            Authorizer::new().is_authorized(&request, &self.policies, slice.as_ref().unwrap_or(&self.entities));
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(fault(error));
        }
        let mut policies: Vec<SmolStr> =
            response.diagnostics().reason().map(|id| SmolStr::from(id.to_string())).collect();
        policies.sort_unstable();
        Ok(match response.decision() {
            Decision::Allow => Decided { allowed: true, policies, ..Decided::default() },
            Decision::Deny if policies.is_empty() => denied("not_permitted"),
            Decision::Deny => Decided { policies, ..denied("forbidden") },
        })
    }

    /// Who or what is meant; none where that is nobody.
    fn side(&self, thing: &Thing<'_>) -> Option<(&Kind, Side)> {
        let kind = self.kinds.get(thing.kind)?;
        let uid = EntityUid::from_type_name_and_id(kind.entity.clone(), EntityId::new(thing.id));
        let listed = kind.listed.contains(thing.id);
        if !listed && kind.unlisted == Unlisted::Deny {
            return None;
        }
        let said = |(name, shape): (&SmolStr, &shape::Shape)| {
            let value = thing.properties.get(name.as_str()).and_then(|value| shape.read(value))?;
            Some((name.to_string(), value))
        };
        let said: Vec<(String, RestrictedExpression)> = kind.trusted.iter().filter_map(said).collect();
        if listed && said.is_empty() {
            return Some((kind, Side { uid, changed: None }));
        }
        let (mut attributes, parents) = match self.entities.get(&uid) {
            Some(stored) => {
                let (_, attributes, parents) = stored.clone().into_inner();
                (attributes, parents)
            }
            None => (HashMap::new(), HashSet::new()),
        };
        attributes.extend(said);
        // A value that cannot be evaluated has not been read.
        let changed = Entity::new(uid.clone(), attributes, parents).ok()?;
        Some((kind, Side { uid, changed: Some(changed) }))
    }

    /// Both sides as they are asked about, and everything stored that can be reached from them; none where both are as they
    /// are stored. A copy of all entities for every question would make their number its price.
    fn slice(&self, sides: [Side; 2]) -> Result<Option<Entities>, String> {
        if sides.iter().all(|side| side.changed.is_none()) {
            return Ok(None);
        }
        let mut taken: HashSet<EntityUid> = sides.iter().map(|side| side.uid.clone()).collect();
        let [one, two] = sides;
        // Somebody who asks about themselves is one entity, with what is said about both sides of it.
        let two = (one.uid != two.uid || one.changed.is_none()).then_some(two);
        let entity = |side: Side| side.changed.or_else(|| self.entities.get(&side.uid).cloned());
        let mut whole: Vec<Entity> = two.into_iter().chain([one]).filter_map(entity).collect();
        whole.dedup_by_key(|entity| entity.uid());
        let mut next = 0;
        while let Some(entity) = whole.get(next) {
            next += 1;
            let (_, attributes, parents) = entity.clone().into_inner();
            let mut reached: Vec<EntityUid> = parents.into_iter().collect();
            for value in attributes.keys().filter_map(|name| entity.attr(name)?.ok()) {
                referred(&value, &mut reached);
            }
            for uid in reached {
                if taken.insert(uid.clone())
                    && let Some(stored) = self.entities.get(&uid)
                {
                    whole.push(stored.clone());
                }
            }
        }
        Entities::from_entities(whole, Some(&self.schema)).map(Some).map_err(|error| error.to_string())
    }
}

/// The circumstances that the action takes, or the names of those that are missing.
fn context(act: &Act, said: &Map<String, Value>) -> Result<Context, Vec<String>> {
    let (found, missing) = shape::read(&act.context, said);
    if !missing.is_empty() {
        return Err(missing.iter().map(|name| format!("context.{name}")).collect());
    }
    Context::from_pairs(found).map_err(|error| vec![error.to_string()])
}

/// The entities that a value names.
fn referred(value: &EvalResult, found: &mut Vec<EntityUid>) {
    match value {
        EvalResult::EntityUid(uid) => found.push(uid.clone()),
        EvalResult::Set(values) => values.iter().for_each(|value| referred(value, found)),
        EvalResult::Record(members) => members.iter().for_each(|(_, value)| referred(value, found)),
        EvalResult::Bool(_) | EvalResult::Long(_) | EvalResult::String(_) | EvalResult::ExtensionValue(_) => {}
    }
}

fn denied(reason: &'static str) -> Decided {
    Decided { reason: Some(reason), ..Decided::default() }
}

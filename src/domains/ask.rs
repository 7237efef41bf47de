//! One question of a policy domain, and its answer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityUid, Request, RestrictedExpression,
};
use cedar_policy_core::{
    ast,
    entities::{self, NoEntitiesSchema, TCComputation},
    extensions::Extensions,
};
use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::{
    Act, Kind, PolicyDomain, Unlisted,
    shape::{self, Shape},
};

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
struct Side<'a> {
    uid: EntityUid,
    listed: bool,
    /// What is laid over what is stored, as it was said.
    said: Vec<(&'a SmolStr, &'a Shape, &'a Value)>,
}

/// All entities with something laid over them, kept for the next question that lays the same over them: all candidates of a
/// search, or items of a batch about one person.
#[derive(Debug, Default)]
pub struct Overlay(Option<(Laid, Entities)>);

/// What is laid over whom.
type Laid = Vec<(EntityUid, Vec<(SmolStr, Value)>)>;

impl PolicyDomain {
    /// Answers. What was laid over the entities for the question before is taken again where it is the same.
    ///
    /// # Errors
    /// A policy could not be evaluated, as when a number overflows: to leave it out could turn a deny into an allow.
    pub fn decide(&self, ask: &Ask<'_>, overlay: &mut Overlay) -> Result<Decided, Fault> {
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
        let entities = match self.with(&[&subject, &resource], overlay) {
            Ok(entities) => entities,
            // What is stored conforms to the schema: an admitted entity lacks what the caller did not say.
            Err(why) => return Ok(Decided { missing: vec![why], ..denied("incomplete") }),
        };
        let fault = |error: &dyn std::fmt::Display| Fault(error.to_string());
        let request = Request::new(subject.uid, act.uid.clone(), resource.uid, context, Some(&self.schema))
            .map_err(|error| fault(&error))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "errors that Cedar reports beside an answer are refused right below"
        )]
        let response = Authorizer::new().is_authorized(&request, &self.policies, entities);
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
    fn side<'a>(&'a self, thing: &Thing<'a>) -> Option<(&'a Kind, Side<'a>)> {
        let kind = self.kinds.get(thing.kind)?;
        let listed = kind.listed.contains(thing.id);
        if !listed && kind.unlisted == Unlisted::Deny {
            return None;
        }
        let uid = EntityUid::from_type_name_and_id(kind.entity.clone(), EntityId::new(thing.id));
        let said = |(name, shape): (&'a SmolStr, &'a Shape)| {
            let value = thing.properties.get(name.as_str())?;
            shape.read(value).map(|_| (name, shape, value))
        };
        let said = kind.trusted.iter().filter_map(said).collect();
        Some((kind, Side { uid, listed, said }))
    }

    /// All entities, with what is said laid over those that it is said of. All, because a policy may reach any of them from
    /// the context or by its name, and one that is missing is in no group that a policy forbids.
    fn with<'e>(&'e self, sides: &[&Side<'_>], overlay: &'e mut Overlay) -> Result<&'e Entities, String> {
        let mut laid = Laid::new();
        for side in sides.iter().filter(|side| !side.listed || !side.said.is_empty()) {
            let said = side.said.iter().map(|(name, _, value)| (SmolStr::clone(name), Value::clone(value)));
            match laid.iter_mut().find(|(uid, _)| *uid == side.uid) {
                // Somebody who asks about themselves is one entity, with what is said of both sides; the resource's counts.
                Some((_, before)) => before.extend(said),
                None => laid.push((side.uid.clone(), said.collect())),
            }
        }
        if laid.is_empty() {
            return Ok(&self.entities);
        }
        if overlay.0.as_ref().is_none_or(|(before, _)| *before != laid) {
            let mut changed = Vec::with_capacity(laid.len());
            for (uid, _) in &laid {
                let of = sides.iter().filter(|side| side.uid == *uid);
                let said = of.flat_map(|side| &side.said);
                let said = said.filter_map(|(name, shape, value)| Some((name.to_string(), shape.read(value)?)));
                changed.push(self.changed(uid, said)?);
            }
            overlay.0 = Some((laid, self.laid_over(&changed)?));
        }
        Ok(overlay.0.as_ref().map_or(&self.entities, |(_, entities)| entities))
    }

    /// An entity as it is asked about.
    fn changed(
        &self,
        uid: &EntityUid,
        said: impl Iterator<Item = (String, RestrictedExpression)>,
    ) -> Result<Arc<ast::Entity>, String> {
        let (mut attributes, ancestors) = match self.entities.get(uid) {
            Some(stored) => {
                let (_, attributes, ancestors) = stored.clone().into_inner();
                (attributes, ancestors)
            }
            None => (HashMap::new(), HashSet::new()),
        };
        attributes.extend(said);
        let entity = Entity::new(uid.clone(), attributes, ancestors).map_err(|error| error.to_string())?;
        // By itself: all others have been looked at.
        let alone = Entities::from_entities([entity.clone()], Some(&self.schema));
        alone.map_err(|error| error.to_string())?;
        Ok(Arc::new(AsRef::<ast::Entity>::as_ref(&entity).clone()))
    }

    /// All entities, some of them changed. Ancestors do not change, and each entity names all of its own.
    fn laid_over(&self, changed: &[Arc<ast::Entity>]) -> Result<Entities, String> {
        let kept = self.stored.iter().filter(|entity| changed.iter().all(|other| other.uid() != entity.uid())).cloned();
        let all: Vec<_> = kept.chain(changed.iter().cloned()).collect();
        entities::Entities::new()
            .add_entities(
                all,
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map(Entities::from)
            .map_err(|error| error.to_string())
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

fn denied(reason: &'static str) -> Decided {
    Decided { reason: Some(reason), ..Decided::default() }
}

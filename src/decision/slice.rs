//! The entities of one request, and nothing more.

use std::{collections::HashSet, sync::Arc};

use cedar_policy::{EntityUid, Request};
use cedar_policy_core::{
    ast::{self, Context, EntityUID, EntityUIDEntry, PartialValue},
    entities::{Entities, NoEntitiesSchema, TCComputation},
    extensions::Extensions,
};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::Fault;
use crate::policy::{Action, ActionIx, Bundle, RoleIx};

/// All that the policies may read for one request.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Who asks, below the roles that they hold on this resource.
    pub principal: Part,
    /// The same roles, as numbers of the bundle.
    pub roles: Roles,
    /// What is asked.
    pub action: ActionIx,
    /// What it is asked on.
    pub resource: Part,
    /// Facts of this request.
    pub context: Context,
}

/// Roles held; most people hold one or two.
pub type Roles = SmallVec<[RoleIx; 8]>;

/// An entity of a slice, ready to be used again.
#[derive(Debug, Clone)]
pub struct Part {
    entity: Arc<ast::Entity>,
    /// Its name as a request carries it.
    uid: Arc<EntityUID>,
}

impl Part {
    /// An entity with its direct parents and its attributes. Parents must not have parents themselves: enumerated
    /// roles have none, so the hierarchy is closed as it stands and Cedar need not compute that again for each request.
    #[must_use]
    pub fn new(
        uid: &Arc<EntityUID>,
        parents: impl IntoIterator<Item = EntityUID>,
        attributes: impl IntoIterator<Item = (SmolStr, ast::Value)>,
    ) -> Self {
        let entity = ast::Entity::new_with_attr_partial_value(
            EntityUID::clone(uid),
            attributes.into_iter().map(|(name, value)| (name, PartialValue::Value(value))),
            HashSet::new(),
            parents.into_iter().collect(),
            [],
        );
        Self { entity: Arc::new(entity), uid: Arc::clone(uid) }
    }

    fn named(&self) -> EntityUIDEntry {
        EntityUIDEntry::Known { euid: Arc::clone(&self.uid), loc: None }
    }
}

/// The entity of this type and id.
#[must_use]
pub fn entity_uid(entity_type: &ast::EntityType, id: &str) -> Arc<EntityUID> {
    Arc::new(EntityUID::from_components(entity_type.clone(), ast::Eid::new(id), None))
}

impl Slice {
    /// The request and its entity store.
    ///
    /// The request is not validated against the schema here: principal and resource types and the attributes come from
    /// one place each (the domain's adapter), which is checked against the schema when a bundle is loaded.
    pub(super) fn prepare(&self, bundle: &Bundle) -> Result<(ast::Request, Entities), Fault> {
        let action = self.action_of(bundle).ok_or(Fault::Missing("the action is not of this bundle"))?;
        let named = EntityUIDEntry::Known { euid: Arc::clone(&action.uid), loc: None };
        let request = ast::Request::new_unchecked(
            self.principal.named(),
            named,
            self.resource.named(),
            Some(self.context.clone()),
        );
        let entities = Entities::new()
            .add_entities(
                [&self.principal.entity, &self.resource.entity, &action.entity].map(Arc::clone),
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map_err(|error| Fault::Evaluation(error.to_string()))?;
        Ok((request, entities))
    }

    fn action_of<'a>(&self, bundle: &'a Bundle) -> Option<&'a Action> {
        bundle.vocabulary.actions.get(usize::from(self.action.0))
    }

    /// Checks this slice against the bundle's schema as Cedar itself would: entity types, attributes, parents, context.
    /// Dear; for loading and for tests.
    ///
    /// # Errors
    /// A sentence of Cedar's about the first thing that does not conform.
    pub fn conforms(&self, bundle: &Bundle) -> Result<(), String> {
        let public =
            [&self.principal, &self.resource].map(|part| cedar_policy::Entity::from(ast::Entity::clone(&part.entity)));
        cedar_policy::Entities::from_entities(public, Some(bundle.schema())).map_err(|error| full(&error))?;
        let action = self.action_of(bundle).ok_or("the action is not of this bundle")?;
        Request::new(
            EntityUid::from(EntityUID::clone(&self.principal.uid)),
            EntityUid::from(EntityUID::clone(&action.uid)),
            EntityUid::from(EntityUID::clone(&self.resource.uid)),
            self.context.clone().into(),
            Some(bundle.schema()),
        )
        .map_err(|error| full(&error))?;
        Ok(())
    }
}

/// An error with its causes, which Cedar tells one by one.
fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

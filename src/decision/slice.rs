//! The entities of one request, and nothing more.

use std::{collections::HashSet, sync::Arc};

use cedar_policy::{Context, Entities, EntityUid, Request};
use cedar_policy_core::{
    ast::{self, EntityUID, PartialValue},
    entities::{NoEntitiesSchema, TCComputation},
    extensions::Extensions,
};
use smol_str::SmolStr;

use super::Fault;
use crate::policy::{ActionIx, Bundle, RoleIx};

/// All that the policies may read for one request.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Who asks, below the roles that they hold on this resource.
    pub principal: Arc<ast::Entity>,
    /// The same roles, as numbers of the bundle.
    pub roles: Vec<RoleIx>,
    /// What is asked.
    pub action: ActionIx,
    /// What it is asked on.
    pub resource: Arc<ast::Entity>,
    /// Facts of this request.
    pub context: Context,
}

/// An entity with its direct parents and its attributes. Parents must not have parents themselves: enumerated roles
/// have none, so the hierarchy is closed as it stands and Cedar need not compute that again for each request.
#[must_use]
pub fn entity(
    uid: EntityUID,
    parents: impl IntoIterator<Item = EntityUID>,
    attributes: impl IntoIterator<Item = (SmolStr, ast::Value)>,
) -> Arc<ast::Entity> {
    Arc::new(ast::Entity::new_with_attr_partial_value(
        uid,
        attributes.into_iter().map(|(name, value)| (name, PartialValue::Value(value))),
        HashSet::new(),
        parents.into_iter().collect(),
        [],
    ))
}

/// The entity of this type and id.
#[must_use]
pub fn entity_uid(entity_type: &ast::EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(entity_type.clone(), ast::Eid::new(id), None)
}

impl Slice {
    /// The request and its entity store.
    ///
    /// The request is not validated against the schema here: principal and resource types and the attributes come from
    /// one place each (the domain's adapter), which is checked against the schema when a bundle is loaded.
    pub(super) fn prepare(&self, bundle: &Bundle) -> Result<(Request, Entities), Fault> {
        let action = bundle
            .vocabulary
            .actions
            .get(usize::from(self.action.0))
            .ok_or(Fault::Missing("the action is not of this bundle"))?;
        let request = Request::new(
            EntityUid::from(self.principal.uid().clone()),
            action.uid.clone(),
            EntityUid::from(self.resource.uid().clone()),
            self.context.clone(),
            None,
        )
        .map_err(|error| Fault::Evaluation(error.to_string()))?;
        let entities = cedar_policy_core::entities::Entities::new()
            .add_entities(
                [Arc::clone(&self.principal), Arc::clone(&self.resource), Arc::clone(&action.entity)],
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map_err(|error| Fault::Evaluation(error.to_string()))?;
        Ok((request, Entities::from(entities)))
    }

    /// Checks this slice against the bundle's schema as Cedar itself would: entity types, attributes, parents, context.
    /// Dear; for loading and for tests.
    ///
    /// # Errors
    /// A sentence of Cedar's about the first thing that does not conform.
    pub fn conforms(&self, bundle: &Bundle) -> Result<(), String> {
        let public =
            [&self.principal, &self.resource].map(|entity| cedar_policy::Entity::from(ast::Entity::clone(entity)));
        Entities::from_entities(public, Some(bundle.schema())).map_err(|error| full(&error))?;
        let action =
            bundle.vocabulary.actions.get(usize::from(self.action.0)).ok_or("the action is not of this bundle")?;
        Request::new(
            EntityUid::from(self.principal.uid().clone()),
            action.uid.clone(),
            EntityUid::from(self.resource.uid().clone()),
            self.context.clone(),
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

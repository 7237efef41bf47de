//! What is a slice put together from? Entities and contexts that are made once and used again.
//!
//! Policies cannot tell one person or site from another: the house rules refuse literals of either, and no attribute is
//! an entity but the mode. So the principal is "somebody who holds these roles", the site "a site of this mode with
//! these flags", and what a decision is made from is exactly what policies can read. There are few of each. Making them
//! for each request, with identifiers that nothing reads, lost: it took longer than evaluating the policies.
//!
//! What the parts must be for the schema is checked when a bundle is loaded ([`super::SitePolicies`]).

use std::sync::{Arc, OnceLock};

use cedar_policy_core::{
    ast::{Context, EntityType, EntityUID, RestrictedExpr, Value},
    extensions::Extensions,
};
use smol_str::SmolStr;

use super::{Circumstances, Facts, Flags, Kind, SITES};
use crate::{
    decision::{Part, entity_uid},
    policy::{Bundle, RoleIx},
    site::Mode,
};

const MODES: [Mode; 4] = [Mode::SelfManaged, Mode::PartnerBuilt, Mode::PartnerManaged, Mode::Purged];

/// The parts of slices.
#[derive(Debug)]
pub(super) struct Parts {
    users: Principals,
    staff: Principals,
    site: Arc<EntityUID>,
    /// By [`MODES`].
    modes: [Sites; 4],
    /// By [`Circumstances::bits`].
    contexts: Vec<Context>,
}

/// Principals of one kind.
#[derive(Debug)]
struct Principals {
    uid: Arc<EntityUID>,
    /// Those who hold one role, by the role's number.
    of_one_role: Vec<OnceLock<Part>>,
}

/// Sites of one mode.
#[derive(Debug)]
struct Sites {
    mode: Arc<EntityUID>,
    /// By [`Flags::bits`].
    by_flags: Vec<OnceLock<Part>>,
}

impl Parts {
    pub fn of(bundle: &Bundle) -> Result<Self, String> {
        let entity_type = |name: &str| {
            EntityType::from_normalized_str(&format!("{}::{name}", SITES.namespace)).map_err(|error| error.to_string())
        };
        let principals = |kind: &EntityType| Principals {
            uid: entity_uid(kind, "p"),
            of_one_role: bundle.roles().map(|_| OnceLock::new()).collect(),
        };
        let mode = entity_type("Mode")?;
        let modes = MODES.map(|name| Sites {
            mode: entity_uid(&mode, name.policy_name()),
            by_flags: (0..Flags::COUNT).map(|_| OnceLock::new()).collect(),
        });
        let contexts =
            (0..Circumstances::COUNT).map(|bits| context(&Circumstances::from_bits(bits))).collect::<Result<_, _>>()?;
        Ok(Self {
            users: principals(&entity_type("User")?),
            staff: principals(&entity_type("Staff")?),
            site: entity_uid(&entity_type("Site")?, "s"),
            modes,
            contexts,
        })
    }

    /// Somebody who holds these roles.
    pub fn principal(&self, bundle: &Bundle, kind: Kind, roles: &[RoleIx]) -> Part {
        let Principals { uid, of_one_role } = match kind {
            Kind::User => &self.users,
            Kind::Staff => &self.staff,
        };
        let make = || Part::new(uid, roles.iter().filter_map(|role| bundle.role_uid(*role)), []);
        match roles {
            [role] => of_one_role.get(usize::from(role.0)).map_or_else(make, |part| part.get_or_init(make).clone()),
            _ => make(),
        }
    }

    /// A site of this mode with these flags.
    pub fn site(&self, facts: &Facts) -> Part {
        let [self_managed, partner_built, partner_managed, purged] = &self.modes;
        let Sites { mode, by_flags } = match facts.mode {
            Mode::SelfManaged => self_managed,
            Mode::PartnerBuilt => partner_built,
            Mode::PartnerManaged => partner_managed,
            Mode::Purged => purged,
        };
        let make = || Part::new(&self.site, [], attributes(&facts.flags, mode));
        by_flags.get(usize::from(facts.flags.bits())).map_or_else(make, |part| part.get_or_init(make).clone())
    }

    /// The context of these circumstances.
    pub fn context(&self, circumstances: &Circumstances) -> Context {
        self.contexts.get(usize::from(circumstances.bits())).cloned().unwrap_or_else(Context::empty)
    }
}

/// A site's attributes: its mode's entity and one boolean for each flag.
fn attributes(flags: &Flags, mode: &Arc<EntityUID>) -> impl Iterator<Item = (SmolStr, Value)> {
    Flags::NAMES
        .iter()
        .zip(flags.values())
        .map(|(name, value)| (SmolStr::new_static(name), Value::from(value)))
        .chain([(SmolStr::new_static("mode"), Value::from(EntityUID::clone(mode)))])
}

fn context(circumstances: &Circumstances) -> Result<Context, String> {
    let facts = Circumstances::NAMES.iter().zip(circumstances.values());
    let pairs = facts.map(|(name, value)| (SmolStr::new_static(name), RestrictedExpr::val(value)));
    Context::from_pairs(pairs, Extensions::all_available()).map_err(|error| error.to_string())
}

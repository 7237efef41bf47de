//! The sites domain on top of a policy bundle: the roles that the service itself gives, and the slice of a request.
//!
//! A bundle becomes usable for sites here, and only if three things hold: the schema declares every role that the
//! service gives; the slices that this module builds conform to the schema; and the index answers like the full policy
//! set on a differential run over every action and role.

use std::sync::Arc;

use super::{Circumstances, Facts, Flags, REASONS, Strengths, parts::Parts};
use crate::{
    decision::{self, Roles, Slice},
    policy::{ActionIx, Bundle, Names, Problem, Problems, RoleIx, Source},
    site::{Mode, Template},
};

/// The names of the sites domain's schema.
pub const SITES: Names = Names { namespace: "Sites", role_type: "Role", literal_types: &["Role", "Mode"] };

/// The roles that the service gives by itself; every other role of the schema is a person-level one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the schema explains each role")]
pub struct GivenRoles {
    pub owner: RoleIx,
    pub client: RoleIx,
    pub partner: RoleIx,
    pub builder: RoleIx,
    pub commerce: RoleIx,
    pub manager: RoleIx,
    pub billing: RoleIx,
    pub acceptor: RoleIx,
    pub initiator: RoleIx,
    pub asked: RoleIx,
    pub verified_admin: RoleIx,
    pub support: RoleIx,
    pub trust_safety: RoleIx,
}

impl GivenRoles {
    fn of(bundle: &Bundle) -> Result<Self, String> {
        let find = |name: &str| {
            bundle
                .role(name)
                .ok_or_else(|| format!("the schema's `Role` lacks `{name}`, which the service gives by itself"))
        };
        Ok(Self {
            owner: find("Owner")?,
            client: find("Client")?,
            partner: find("Partner")?,
            builder: find(Template::Builder.role())?,
            commerce: find(Template::Commerce.role())?,
            manager: find(Template::Manager.role())?,
            billing: find("AgencyBilling")?,
            acceptor: find("HandoverAcceptor")?,
            initiator: find("HandoverInitiator")?,
            asked: find("HandoverAsked")?,
            verified_admin: find("VerifiedAgencyAdmin")?,
            support: find("SupportAgent")?,
            trust_safety: find("TrustSafety")?,
        })
    }
    /// The role of a template's holders.
    #[must_use]
    pub const fn template(&self, template: Template) -> RoleIx {
        match template {
            Template::Builder => self.builder,
            Template::Commerce => self.commerce,
            Template::Manager => self.manager,
        }
    }
    /// The parties of an offer, and of a request.
    #[must_use]
    pub const fn parties(&self) -> [RoleIx; 3] {
        [self.acceptor, self.initiator, self.asked]
    }
    /// Whether the service gives this role by itself, so that no invitation can.
    #[must_use]
    pub fn contains(&self, role: RoleIx) -> bool {
        [
            self.owner,
            self.client,
            self.partner,
            self.builder,
            self.commerce,
            self.manager,
            self.billing,
            self.acceptor,
            self.initiator,
            self.asked,
            self.verified_admin,
            self.support,
            self.trust_safety,
        ]
        .contains(&role)
    }
}

/// A bundle, ready to decide about sites.
#[derive(Debug)]
pub struct SitePolicies {
    bundle: Bundle,
    given: GivenRoles,
    parts: Parts,
    strengths: Strengths,
}

/// Which kind of principal a slice is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    User,
    Staff,
}

impl SitePolicies {
    /// Builds and checks a bundle for the sites domain.
    ///
    /// # Errors
    /// Everything wrong with the files (see [`Bundle::build`]), or what the sites domain misses in them.
    pub fn load(schema: &Source, policies: &[Source]) -> Result<Arc<Self>, Problems> {
        let bundle = Bundle::build(schema, policies, &SITES)?;
        let unknown = unknown_names(&bundle);
        if !unknown.is_empty() {
            return Err(Problems(unknown));
        }
        Self::of(bundle).map(Arc::new).map_err(|reason| Problems(vec![Problem::of_file(&schema.path, reason)]))
    }

    fn of(bundle: Bundle) -> Result<Self, String> {
        let given = GivenRoles::of(&bundle)?;
        let parts = Parts::of(&bundle)?;
        let mut policies = Self { bundle, given, parts, strengths: Strengths::default() };
        policies.check()?;
        policies.strengths = Strengths::of(&policies).map_err(|fault| fault.to_string())?;
        Ok(policies)
    }

    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
    /// The roles that the service gives by itself.
    #[must_use]
    pub fn given(&self) -> &GivenRoles {
        &self.given
    }
    /// What each role may do at most.
    #[must_use]
    pub fn strengths(&self) -> &Strengths {
        &self.strengths
    }

    /// The slice of one request: all that policies can read, and so neither the principal's identifier nor the site's.
    #[must_use]
    pub fn slice(&self, kind: Kind, action: ActionIx, roles: &[RoleIx], facts: &Facts) -> Slice {
        Slice {
            principal: self.parts.principal(&self.bundle, kind, roles),
            roles: Roles::from_slice(roles),
            action,
            resource: self.parts.site(facts),
            context: self.parts.context(&facts.circumstances),
        }
    }

    /// Conformance of what [`Self::slice`] builds, and equality of the index with the full set.
    fn check(&self) -> Result<(), String> {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let modes = [Mode::SelfManaged, Mode::PartnerBuilt, Mode::PartnerManaged, Mode::Purged];
        let roles: Vec<RoleIx> = self.bundle.roles().map(|(role, _)| role).collect();
        for (n, (action, _)) in self.bundle.actions().enumerate() {
            for (m, role) in roles.iter().enumerate() {
                seed = next(seed);
                let facts = Facts {
                    mode: modes.get(usize::try_from(seed >> 60 & 3).unwrap_or(0)).copied().unwrap_or(Mode::Purged),
                    flags: Flags::from_bits(low_bits(seed >> 16) & low_bits(seed >> 32)),
                    circumstances: Circumstances::from_bits(low_bits(seed) % Circumstances::COUNT),
                };
                let other = roles.get((n + m) % roles.len()).copied().unwrap_or(*role);
                let held = if m % 3 == 0 && other != *role { vec![*role, other] } else { vec![*role] };
                let kind = if m % 5 == 0 { Kind::Staff } else { Kind::User };
                let slice = self.slice(kind, action, &held, &facts);
                if m == 0 {
                    slice
                        .conforms(&self.bundle)
                        .map_err(|error| format!("the schema does not fit the service: {error}"))?;
                }
                let indexed = decision::evaluate(&self.bundle, &slice).map_err(|fault| fault.to_string())?;
                let plain = decision::evaluate_plainly(&self.bundle, &slice).map_err(|fault| fault.to_string())?;
                if indexed.allowed != plain.allowed
                    || !indexed.determining.iter().map(|p| &p.id).eq(plain.determining.iter().map(|p| &p.id))
                {
                    return Err(format!(
                        "the index and the full policy set disagree about `{}` for `{}`: this is a defect of the service",
                        self.bundle.action_name(action),
                        self.bundle.role_name(*role),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The sides that `@notify` can name.
const SIDES: &[&str] = &["client", "partner"];

/// Annotations that reach callers as codes, and are none: a misspelt reason would also turn a command's `409` to `403`.
fn unknown_names(bundle: &Bundle) -> Vec<Problem> {
    let mut problems = Vec::new();
    for policy in bundle.policies() {
        for (annotation, value, known) in [("reason", &policy.reason, REASONS), ("notify", &policy.notify, SIDES)] {
            if let Some(value) = value.as_ref().filter(|value| !known.contains(&value.as_str())) {
                problems.push(Problem {
                    path: policy.path.clone(),
                    line: policy.line,
                    reason: format!("`@{annotation}(\"{value}\")` of `{}` is none of: {}", policy.id, known.join(", ")),
                });
            }
        }
    }
    problems
}

/// A step of Marsaglia's xorshift64: the differential run must be the same at every start.
const fn next(mut seed: u64) -> u64 {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^ seed << 17
}

fn low_bits(seed: u64) -> u16 {
    u16::try_from(seed & 0xffff).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// The shipped schema and policies, as files.
    pub(crate) fn shipped_files() -> (Source, Vec<Source>) {
        let read = |path: &std::path::Path| Source {
            path: path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap().to_owned(),
            text: std::fs::read_to_string(path).unwrap(),
        };
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in ["roles", "seats", "handover", "guardrails"] {
            for entry in std::fs::read_dir(root.join("policies").join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "cedar") {
                    files.push(read(&path));
                }
            }
        }
        (read(&root.join("schemas/sites.cedarschema")), files)
    }

    /// The shipped bundle, loaded once for all tests.
    pub(crate) static SHIPPED: LazyLock<Arc<SitePolicies>> = LazyLock::new(|| {
        let (schema, files) = shipped_files();
        match SitePolicies::load(&schema, &files) {
            Ok(policies) => policies,
            Err(problems) => panic!("{problems}"),
        }
    });

    #[test]
    fn the_shipped_bundle_loads() {
        assert_eq!(SHIPPED.bundle().actions().count(), 81);
        assert_eq!(SHIPPED.strengths().person_roles().len(), 9);
    }

    #[test]
    fn the_grant_rule_gives_the_table_of_the_domain() {
        let strengths = SHIPPED.strengths();
        let grants = |grantor: &str, payer: bool| -> Vec<&str> {
            strengths
                .person_roles()
                .iter()
                .map(smol_str::SmolStr::as_str)
                .filter(|role| strengths.may_grant(grantor, payer, role))
                .collect()
        };
        let all: Vec<&str> = strengths.person_roles().iter().map(smol_str::SmolStr::as_str).collect();
        assert_eq!(grants("Owner", true), all);
        assert_eq!(grants("Client", false), all);
        assert_eq!(
            grants("Partner", true),
            ["WebsiteManager", "WebsiteDesigner", "BillingManager", "BlogEditor", "MarketingManager", "Viewer"]
        );
        assert_eq!(
            grants("CoOwner", false),
            [
                "WebsiteManager",
                "WebsiteDesigner",
                "BillingManager",
                "BlogEditor",
                "StoreManager",
                "MarketingManager",
                "Viewer"
            ]
        );
        assert_eq!(grants("WebsiteManager", false), ["WebsiteDesigner", "BlogEditor", "MarketingManager", "Viewer"]);
        assert_eq!(grants("WebsiteDesigner", false), [] as [&str; 0]);
    }
}

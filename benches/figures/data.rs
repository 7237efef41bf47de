//! The world that is measured: sites, people, agencies and questions, made by arithmetic and the same in every run.
//!
//! A site has five assignments. Three of five sites are self-managed (an owner and four invited people), two are
//! partner-managed (a client, an agency's Partner seat, three invited people). Every agency has two admins and four
//! members. People are drawn from as many as there are sites and so are on several. A question is asked by somebody of
//! the site four times of five, by a stranger otherwise, about any action of the catalogue. Where there are more than
//! [`SITES`] sites, there are no more people: each is on more of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use mandate::{
    assignment::{Agency, AgencyStatus, MemberRole, SitePolicies},
    ids::{Account, AgencyId, SiteId, UserId},
    policy::Source,
    revision::Revision,
    site::{Contributor, Engagement, Plan, Seats, Side, Site, Tier},
    time::Timestamp,
};
use smol_str::SmolStr;

/// Sites in the store, unless said, and people.
pub const SITES: usize = 100_000;
/// Agencies.
pub const AGENCIES: usize = 500;
/// Roles that an invitation can give.
pub const PERSON_ROLES: [&str; 9] = [
    "WebsiteManager",
    "Viewer",
    "WebsiteDesigner",
    "BlogEditor",
    "StoreManager",
    "CoOwner",
    "MarketingManager",
    "BillingManager",
    "DomainManager",
];

/// How identifiers look; they take up most of a site's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// `site-0000017`: within the 23 bytes that a short string holds in place.
    Short,
    /// A UUID: 36 bytes.
    Uuid,
}

impl Ids {
    pub fn parse(name: &str) -> Self {
        if name == "uuid" { Self::Uuid } else { Self::Short }
    }
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Uuid => "uuid",
        }
    }
    fn make(self, kind: &str, n: usize) -> String {
        match self {
            Self::Short => format!("{kind}-{n:07}"),
            Self::Uuid => {
                let bits = scatter(n as u64 ^ u64::from(kind.as_bytes()[0]) << 56);
                format!(
                    "{:08x}-{:04x}-7{:03x}-8{:03x}-{n:012x}",
                    bits >> 32,
                    bits >> 16 & 0xffff,
                    bits & 0xfff,
                    bits >> 12 & 0xfff
                )
            }
        }
    }
    pub fn site(self, n: usize) -> SiteId {
        self.make("site", n).parse().unwrap()
    }
    pub fn user(self, n: usize) -> UserId {
        self.make("user", n).parse().unwrap()
    }
    pub fn agency(self, n: usize) -> AgencyId {
        self.make("agency", n).parse().unwrap()
    }
}

/// Spreads neighbouring numbers (the finaliser of `SplitMix64`).
pub const fn scatter(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// A number below `end` that looks random and belongs to `seed`.
pub fn draw(seed: u64, end: usize) -> usize {
    usize::try_from(scatter(seed) % end as u64).unwrap()
}

/// The person on a site's place: 0 is the owner or client, the others are invited.
fn person(site: usize, place: usize) -> usize {
    // A stride keeps the people of one site apart from each other.
    (draw(site as u64, SITES) + place * 17) % SITES
}

fn is_partner_managed(site: usize) -> bool {
    site % 5 >= 3
}

fn invited(site: usize) -> usize {
    if is_partner_managed(site) { 3 } else { 4 }
}

/// An invited person, given their role by `grantor`.
pub fn contributor(role: &str, grantor: Account, side: Side) -> Contributor {
    Contributor { role: SmolStr::new(role), grantor, side, revision: Revision(0) }
}

/// The site of this number.
pub fn site(n: usize, ids: Ids) -> Site {
    let first = ids.user(person(n, 0));
    let (seats, grantor, side) = if is_partner_managed(n) {
        let partner = ids.agency(draw(n as u64 ^ 0xA6E, AGENCIES));
        let settled = Timestamp::from_micros(1_700_000_000_000_000);
        let seats = Seats::PartnerManaged(Box::new(Engagement {
            client: first,
            partner: partner.clone(),
            since: settled,
            settling_until: settled,
            handover: None,
            plan_before: None,
            freeze_used: false,
            return_pending: None,
        }));
        (seats, Account::from(partner), Side::Partner)
    } else {
        (Seats::SelfManaged { owner: first.clone() }, Account::from(first), Side::Client)
    };
    let mut site = Site::registered(ids.site(n), seats, Plan::of(Tier::Premium), true, Vec::new());
    site.contributors = (1..=invited(n))
        .map(|place| (ids.user(person(n, place)), contributor(PERSON_ROLES[(n + place) % 6], grantor.clone(), side)))
        .collect();
    site
}

/// The agency of this number.
pub fn agency(n: usize, ids: Ids) -> Agency {
    let members: BTreeMap<UserId, MemberRole> = (0..6)
        .map(|m| (ids.user(SITES + n * 6 + m), if m < 2 { MemberRole::Admin } else { MemberRole::Member }))
        .collect();
    Agency {
        id: ids.agency(n),
        name: format!("Studio {n}"),
        domain: format!("studio-{n}.example"),
        verified: true,
        status: AgencyStatus::Active,
        status_since: Timestamp::default(),
        returns_at: None,
        card: true,
        members,
        revision: Revision(0),
    }
}

/// Who asks, and which of so many actions they ask for.
pub fn asker(seed: u64, site: usize, actions: usize) -> (UserId, usize) {
    let ids = Ids::Short;
    let asker = match draw(seed ^ 1, 5) {
        0 => ids.user(draw(seed ^ 2, SITES)),
        1 if is_partner_managed(site) => ids.user(SITES + draw(site as u64 ^ 0xA6E, AGENCIES) * 6),
        place => ids.user(person(site, place % (invited(site) + 1))),
    };
    (asker, draw(seed ^ 3, actions))
}

/// When whoever asks has signed in.
pub fn auth_time() -> i64 {
    mandate::clock::Clock::now(&mandate::clock::SystemClock).as_seconds() - 30
}

/// Who asks what, where, as a body of the standard.
pub fn question(seed: u64, site: usize, actions: &[SmolStr]) -> String {
    let (asker, action) = asker(seed, site, actions.len());
    let action = &actions[action];
    let site = Ids::Short.site(site);
    let auth_time = auth_time();
    format!(
        r#"{{"subject":{{"type":"user","id":"{asker}"}},"action":{{"name":"{action}"}},"resource":{{"type":"site","id":"{site}"}},"context":{{"auth_time":{auth_time},"operation":"op-{n:04}"}}}}"#,
        n = seed % 10_000,
    )
}

/// The schema and the policies of this checkout, which the program has compiled in.
pub fn shipped() -> (Source, Vec<Source>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| Source {
        path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    };
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

/// The shipped policies, ready.
pub fn policies() -> Arc<SitePolicies> {
    let (schema, files) = shipped();
    SitePolicies::load(&schema, &files).map_err(|problems| problems.to_string()).unwrap()
}

/// The names of all actions.
pub fn actions(policies: &SitePolicies) -> Vec<SmolStr> {
    policies.bundle().actions().map(|(_, action)| action.name.clone()).collect()
}

/// A folder of this run's own, below the build's.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

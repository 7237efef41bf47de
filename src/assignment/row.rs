//! A site as decisions see it: small enough that millions fit, complete enough that nothing else is read.
//!
//! Everybody who is named stands in one block of bytes: the site itself, whoever holds the seat, and the people, sorted
//! and searched by halves: a site with ten thousand people costs a check what one with ten does, and a person costs their
//! identifier and seven bytes, a UUID sixteen and one of them. An agency is named by all of its sites, so its identifier
//! is shared ([`SiteRow::share`]). Cedar entities for every person lost: they are
//! thirty times larger and twenty times slower to build.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{Directory, SitePolicies};
use crate::{
    handover::{Handover, HandoverStatus},
    ids::{Account, AgencyId, Packed, StaffId, UserId},
    policy::RoleIx,
    revision::Revision,
    site::{AgencyGrant, Confirmation, Contributor, Mode, PlanStatus, ReturnReason, Seats, Side, Site, SupportSession},
    time::Timestamp,
};

/// One site, compactly, with roles numbered as in the bundle it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRow {
    /// The revision of the last change to the site.
    pub revision: Revision,
    pub(super) frozen_until: Option<Deadline>,
    pub(super) settling_until: Option<Deadline>,
    pub(super) return_at: Option<Deadline>,
    /// The agency that is owner or partner.
    pub(super) agency: Option<AgencyId>,
    pub(super) offer: Option<Box<Offer>>,
    pub(super) rare: Option<Box<Rare>>,
    names: Names,
    pub(super) mode: Mode,
    pub(super) trashed: bool,
    pub(super) custody: bool,
    pub(super) plan: PlanStatus,
    /// Why the site is on its way back, if it is.
    pub(super) returning: Option<ReturnReason>,
    pub(super) locked: bool,
}

/// An instant that is never zero, so that its absence takes no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(std::num::NonZeroI64);

impl Deadline {
    fn of(at: Timestamp) -> Self {
        Self(std::num::NonZeroI64::new(at.as_micros()).unwrap_or(std::num::NonZeroI64::MIN))
    }
    pub(super) fn is_after(self, now: Timestamp) -> bool {
        self.0.get() > now.as_micros()
    }
    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_micros(self.0.get())
    }
}

/// The open offer's parties and life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// Whose answer it waits for, or had.
    pub answering: SmallVec<[Account; 1]>,
    pub initiator: Account,
    pub expires_at: Timestamp,
    /// It can be accepted; else it is only a request.
    pub open: bool,
}

/// What few sites have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rare {
    pub grants: BTreeMap<UserId, AgencyGrant>,
    pub blocked: BTreeSet<UserId>,
    pub confirmations: Vec<Confirmation>,
    pub sessions: Vec<(StaffId, Timestamp)>,
    pub unpaid: Option<Unpaid>,
}

/// What time does about an unpaid plan, whether it was committed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unpaid {
    /// From then on the plan counts as lapsed.
    pub lapses_at: Timestamp,
    /// On a partner's site that is not on its way back already: from the lapse on it is, and from then on it is back.
    pub returns_at: Option<Timestamp>,
}

impl Unpaid {
    fn of(site: &Site) -> Option<Self> {
        let plan = Some(&site.plan).filter(|plan| plan.status == PlanStatus::PastDue)?;
        let running = site.seats.engagement().is_some_and(|engagement| engagement.return_pending.is_none());
        Some(Self { lapses_at: plan.lapses_at?, returns_at: plan.returns_at.filter(|_| running) })
    }
}

/// A person's role on the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Assignment {
    /// None when the role is not in the bundle's schema any more: the person may nothing.
    pub role: Option<RoleIx>,
    pub partner_side: bool,
    pub granted_by_payer: bool,
}

impl SiteRow {
    /// The compact copy of a site.
    #[must_use]
    pub fn of(site: &Site, policies: &SitePolicies) -> Self {
        let payer = site.seats.plan_holder();
        let pending = site.return_pending();
        let (person, agency) = match &site.seats {
            Seats::SelfManaged { owner } => (Some(owner), None),
            Seats::PartnerBuilt { owner } => (None, Some(owner.clone())),
            Seats::PartnerManaged(engagement) => (Some(&engagement.client), Some(engagement.partner.clone())),
            Seats::Purged => (None, None),
        };
        Self {
            revision: site.revision,
            frozen_until: site.frozen.as_ref().map(|freeze| Deadline::of(freeze.until)),
            settling_until: site.seats.engagement().map(|engagement| Deadline::of(engagement.settling_until)),
            return_at: pending.map(|pending| Deadline::of(pending.effective_at)),
            agency,
            offer: site.open_handover.as_ref().map(|offer| Box::new(Offer::of(offer))),
            rare: Rare::of(site),
            names: Names::of(site, person, payer.as_ref(), policies),
            mode: site.seats.mode(),
            trashed: site.trashed_at.is_some(),
            custody: site.custody.is_some(),
            plan: site.plan.status,
            returning: pending.map(|pending| pending.reason),
            locked: pending.is_some_and(|pending| pending.locked),
        }
    }
    /// Names the agency by the very text that the directory has, so that there is one for all of its sites.
    pub fn share(&mut self, directory: &Directory) {
        if let Some(agency) = self.agency.as_ref().and_then(|id| directory.agency(id)) {
            self.agency = Some(agency.id.clone());
        }
    }
    /// Which site it is, as [`Packed`] has it.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.names.key()
    }
    /// Whether this user is owner or client.
    pub(super) fn is_seated(&self, user: &str) -> bool {
        self.names.person() == Some(Packed::of(user).as_bytes())
    }
    /// What the person was given by invitation.
    pub(super) fn contributor(&self, user: &str) -> Option<Assignment> {
        self.names.people().find(Packed::of(user).as_bytes())
    }
    /// When a denial for this reason ends by itself; none where time alone ends nothing.
    #[must_use]
    pub fn until(&self, reason: &str) -> Option<Timestamp> {
        let at = |deadline: Option<Deadline>| deadline.map(|Deadline(micros)| Timestamp::from_micros(micros.get()));
        match reason {
            "frozen" => at(self.frozen_until),
            "settling_in" => at(self.settling_until),
            "handover_open" => self.offer.as_ref().filter(|offer| offer.open).map(|offer| offer.expires_at),
            _ => None,
        }
    }
    /// How many people have a role here by invitation.
    #[must_use]
    pub fn people(&self) -> usize {
        self.names.people().len()
    }
    /// Bytes on the heap and in place, allocator overhead and shared texts aside.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.names.0.len()
            + self.offer.as_ref().map_or(0, |_| size_of::<Offer>())
            + self.rare.as_ref().map_or(0, |rare| {
                size_of::<Rare>()
                    + (rare.grants.len() + rare.blocked.len() + rare.sessions.len()) * 64
                    + rare.confirmations.len() * size_of::<Confirmation>()
            })
    }
}

impl Offer {
    fn of(offer: &Handover) -> Self {
        let mut answering: SmallVec<[Account; 1]> = SmallVec::new();
        let given = offer.consents_given.iter().map(|consent| &consent.account);
        for account in offer.consents_needed.iter().chain(given) {
            if !answering.contains(account) {
                answering.push(account.clone());
            }
        }
        let open = offer.status == HandoverStatus::Open;
        Self { answering, initiator: offer.initiator.clone(), expires_at: offer.expires_at, open }
    }
}

impl Rare {
    fn of(site: &Site) -> Option<Box<Self>> {
        let rare = Self {
            grants: site.grants.clone(),
            blocked: site.blocked.clone(),
            confirmations: site.confirmations.clone(),
            sessions: site.sessions.iter().map(|SupportSession { agent, until, .. }| (agent.clone(), *until)).collect(),
            unpaid: Unpaid::of(site),
        };
        (rare != Self::default()).then(|| Box::new(rare))
    }
    /// Whether the client confirmed this act and the confirmation is live.
    pub(super) fn confirmed(&self, action: &str, operation: &SmolStr, now: Timestamp) -> bool {
        self.confirmations.iter().any(|c| c.action == action && c.operation == *operation && now < c.expires_at)
    }
}

/// Everybody who is named, packed. Layout: the length (1 byte) and identifier of the site; the same of the user who holds
/// the seat, of length 0 where none does; then the [`People`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names(Box<[u8]>);

impl Names {
    fn of(site: &Site, person: Option<&UserId>, payer: Option<&Account>, policies: &SitePolicies) -> Self {
        let mut bytes = Vec::new();
        for name in [Some(site.id.as_str()), person.map(UserId::as_str)] {
            let name = name.map(Packed::of);
            let name = name.as_ref().map_or(&[][..], Packed::as_bytes);
            // An identifier has 128 bytes at most.
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(name);
        }
        People::write(&mut bytes, &site.contributors, payer, policies);
        Self(bytes.into_boxed_slice())
    }
    /// A text and what comes after it.
    fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
        let split = bytes.split_first().and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)));
        split.unwrap_or_default()
    }
    fn key(&self) -> &[u8] {
        Self::split(&self.0).0
    }
    fn person(&self) -> Option<&[u8]> {
        let (person, _) = Self::split(Self::split(&self.0).1);
        (!person.is_empty()).then_some(person)
    }
    fn people(&self) -> People<'_> {
        People(Self::split(Self::split(&self.0).1).1)
    }
}

/// Layout: how many, then one end offset for each person, all `u32` and little-endian; then each person's flags (1 byte),
/// role (2 bytes, little-endian, `0xffff` unknown) and identifier, in the packed identifiers' byte order.
#[derive(Clone, Copy)]
struct People<'a>(&'a [u8]);

const PARTNER_SIDE: u8 = 1;
const GRANTED_BY_PAYER: u8 = 2;
const HEAD: usize = 3;

impl<'a> People<'a> {
    fn write(
        bytes: &mut Vec<u8>,
        contributors: &BTreeMap<UserId, Contributor>,
        payer: Option<&Account>,
        policies: &SitePolicies,
    ) {
        let mut people: Vec<_> =
            contributors.iter().map(|(user, contributor)| (Packed::of(user.as_str()), contributor)).collect();
        people.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        let mut ends = Vec::with_capacity(contributors.len() * 4);
        let mut entries = Vec::new();
        for (user, contributor) in &people {
            let side = if contributor.side == Side::Partner { PARTNER_SIDE } else { 0 };
            let paid = if Some(&contributor.grantor) == payer { GRANTED_BY_PAYER } else { 0 };
            let role = policies.bundle().role(&contributor.role).map_or(u16::MAX, |role| role.0);
            entries.push(side | paid);
            entries.extend_from_slice(&role.to_le_bytes());
            entries.extend_from_slice(user.as_bytes());
            ends.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        // What is written down is kept: no byte more than needed.
        bytes.reserve_exact(4 + ends.len() + entries.len());
        bytes.extend_from_slice(&u32::try_from(contributors.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.append(&mut ends);
        bytes.append(&mut entries);
    }
    fn word(self, n: usize) -> usize {
        let word = self.0.get(n * 4..n * 4 + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        word.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    }
    fn len(self) -> usize {
        self.word(0)
    }
    fn entry(self, n: usize) -> Option<&'a [u8]> {
        let base = 4 + self.len() * 4;
        let start = if n == 0 { 0 } else { self.word(n) };
        self.0.get(base + start..base + self.word(n + 1))
    }
    fn find(self, user: &[u8]) -> Option<Assignment> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let entry = self.entry(middle)?;
            match entry.get(HEAD..)?.cmp(user) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let flags = entry.first()?;
                    let role = u16::from_le_bytes(entry.get(1..HEAD)?.try_into().ok()?);
                    return Some(Assignment {
                        role: (role != u16::MAX).then_some(RoleIx(role)),
                        partner_side: flags & PARTNER_SIDE != 0,
                        granted_by_payer: flags & GRANTED_BY_PAYER != 0,
                    });
                }
            }
        }
        None
    }
}

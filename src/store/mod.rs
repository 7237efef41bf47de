//! Where is the truth kept? The port of the system of record, and what every implementation must do.
//!
//! One transaction carries a whole change: the rows of the sites, agencies and handovers it touches, one audit event
//! for each thing that happened, the change log, the reply for the idempotency key and, last, the one global
//! revision (consistency §1). The decision inside the transaction is a pure function that the caller passes in, so
//! that it reads exactly the state it will change; it may be called at most once and never blocks.
//!
//! Every implementation runs the suite in `conformance`. SQLite is the embedded one; PostgreSQL serves many replicas. Both
//! are spoken to in the same statements (`sql`).

mod audit;
#[cfg(test)]
pub mod conformance;
pub mod delivery;
pub mod postgres;
mod saga;
pub mod sql;
pub mod sqlite;

pub use audit::{AuditFault, GENESIS, Verified, Walk, link, verify_audit};
pub use saga::{Saga, SagaState};

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::{
    assignment::{Agency, Directory, StaffRole},
    handover::Handover,
    ids::{Account, AgencyId, HandoverId, Principal, SiteId, StaffId, UserId},
    lease::{Epoch, Registered},
    policy::Sources,
    revision::Revision,
    site::Site,
    time::Timestamp,
};

/// The head of the log: one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Identifies this history; a restored backup gets a new one.
    pub epoch: String,
    /// The revision of the last commit.
    pub revision: Revision,
    /// Head of the audit events' hash chain, lower-case hex of SHA-256.
    pub chain: String,
    /// When the last commit was made: `now` never goes back behind it.
    pub at: Timestamp,
    /// The policies in force, by the SHA-256 of their files in lower-case hex; none where each process serves its own.
    pub policy: Option<String>,
}

/// The key under which the change log tells that other policies are in force.
pub const POLICY_KEY: &str = "policy";

/// Policies as files, under the hash of their names and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyBundle {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// What it is the hash of.
    pub sources: Sources,
}

/// What a change needs to read before it decides.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Sites to load, in this order.
    pub sites: Vec<SiteId>,
    /// A handover to load, open or ended.
    pub handover: Option<HandoverId>,
    /// Agencies to load besides those that the loaded sites and handover name.
    pub agencies: Vec<AgencyId>,
    /// A person whose agencies (as an admin) are loaded too.
    pub admin: Option<UserId>,
    /// Members of staff to load.
    pub staff: Vec<StaffId>,
    /// Accounts to look up beside those seated on the first site: whether they are being closed, and how many offers
    /// they made and got since [`Wanted::since`].
    pub accounts: Vec<Account>,
    /// From when offers are counted; none counts none.
    pub since: Option<Timestamp>,
    /// Whether the sites are listed whose content one of `accounts` owns, or whose plan it holds (at most a page).
    pub holdings: bool,
    /// Open handovers whose initiator or named party is this agency are loaded with their sites
    /// (appended to `sites`).
    pub open_handovers_of: Option<AgencyId>,
    /// An agency of which it is told whether it runs any client's site.
    pub engaged_by: Option<AgencyId>,
    /// The idempotency key, with its scope.
    pub key: Option<IdempotencyKey>,
    /// A billing saga to load.
    pub saga: Option<SmolStr>,
}

/// A key within its scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The authenticated caller.
    pub caller: String,
    /// The path called.
    pub path: String,
    /// The key as the caller chose it.
    pub key: String,
}

/// What the change found, inside its transaction.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The head before this change; the change will be revision `head.revision.next()`.
    pub head: Head,
    /// The wanted sites, in order, then those of `open_handovers_of`.
    pub sites: Vec<Option<Site>>,
    /// The wanted handover.
    pub handover: Option<Handover>,
    /// The agencies and staff concerned.
    pub directory: Directory,
    /// The reply stored under the key.
    pub stored: Option<StoredReply>,
    /// What the looked-up accounts did lately.
    pub traffic: BTreeMap<Account, Traffic>,
    /// What becomes of the looked-up accounts that are not open.
    pub accounts: BTreeMap<Account, AccountStatus>,
    /// Sites that the looked-up accounts own or pay for, in order.
    pub holdings: Vec<SiteId>,
    /// Whether the agency asked about runs any client's site.
    pub engaged: bool,
    /// The wanted billing saga.
    pub saga: Option<Saga>,
}

/// How many offers and requests an account made and got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Made.
    pub made: u64,
    /// Got.
    pub got: u64,
}

/// What becomes of an account that is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Its holder wants to leave: nothing is offered to it or by it.
    Closing,
    /// It is gone; it owns nothing.
    Closed,
}

/// A reply that was given once and is given again for the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// SHA-256 of the canonical request, lower-case hex.
    pub fingerprint: String,
    /// The revision the request was committed at.
    pub revision: Revision,
    /// The reply's body.
    pub body: Value,
}

/// What a change writes, all or nothing.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Sites as they will be. The store stamps their `revision`, and that of contributor rows that differ from
    /// the stored ones, with the new revision.
    pub sites: Vec<Site>,
    /// Handovers as they will be, open or ended.
    pub handovers: Vec<Handover>,
    /// Agencies as they will be, members included; stamped like sites.
    pub agencies: Vec<Agency>,
    /// Staff as they will be; `None` removes.
    pub staff: Vec<(StaffId, Option<StaffRole>)>,
    /// Accounts as they will be; `None` opens one again.
    pub accounts: Vec<(Account, Option<AccountStatus>)>,
    /// What happened: one audit event each, chained in this order.
    pub events: Vec<NewEvent>,
    /// The reply to keep under the wanted key, with the request's fingerprint. The body's `revision` is the new one.
    pub reply: Option<(String, Value)>,
    /// The policies that are in force from here on.
    pub policies: Option<PolicyBundle>,
    /// Billing sagas as they will be. One that this commit confirms carries its revision.
    pub sagas: Vec<Saga>,
    /// When it happened. Not before `head.at`.
    pub at: Timestamp,
}

/// An audit event about to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The site concerned; none for agencies and staff.
    pub site: Option<SiteId>,
    /// For example `SeatsChanged`.
    pub kind: String,
    /// Who did it; none when time did.
    pub actor: Option<Principal>,
    /// The seat or role the actor acted through, for example `agency:studio-north`.
    pub via: Option<String>,
    /// What changed, as a JSON object.
    pub data: Value,
    /// On what evidence: sign-in, confirmation, case, text read.
    pub evidence: Option<Value>,
}

/// An audit event as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEvent {
    /// Position in the one chain, from 1, without gaps.
    pub seq: u64,
    /// The revision that committed it.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The site concerned.
    #[schema(value_type = Option<String>)]
    pub site: Option<SiteId>,
    /// For example `SeatsChanged`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who did it; none when time did.
    #[schema(value_type = Option<String>)]
    pub actor: Option<Principal>,
    /// The seat or role the actor acted through.
    pub via: Option<String>,
    /// What changed.
    #[schema(value_type = Object)]
    pub data: Value,
    /// On what evidence: when the person signed in, what they had read, which confirmation or case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<Value>,
    /// SHA-256 over the previous event's hash and the RFC 8785 form of this event without `hash`, in lower-case hex.
    pub hash: String,
}

/// One entry of the change feed: what a caller's own cache must drop.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Change {
    /// The revision that committed it.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The site concerned; none when it is an agency or staff (see `key`).
    #[schema(value_type = Option<String>)]
    pub site: Option<SiteId>,
    /// What changed: `site:bakery`, `agency:studio-north`, `staff:sam`, `policy`.
    pub key: String,
    /// For example `SeatsChanged`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What changed in it.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// What a commit did, for whoever keeps a copy.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The new revision.
    pub revision: Revision,
    /// The history that it belongs to.
    pub epoch: Epoch,
    /// The hash over everything up to here, hexadecimal.
    pub chain: String,
    /// When.
    pub at: Timestamp,
    /// The sites, stamped.
    pub sites: Vec<Site>,
    /// The agencies, stamped.
    pub agencies: Vec<Arc<Agency>>,
    /// Staff.
    pub staff: Vec<(StaffId, Option<StaffRole>)>,
}

/// Called after COMMIT and before anybody is told: by the time it returns, the decision path sees the change.
pub type Observer = Arc<dyn Fn(&Committed) + Send + Sync>;

/// What a change decided, inside its transaction.
#[derive(Debug)]
pub enum Verdict<R> {
    /// Commit these changes; then answer `R`.
    Commit(Box<Changes>, R),
    /// Write these billing sagas and nothing else, without a revision: no decision reads them. Then answer `R`.
    Journal(Vec<Saga>, R),
    /// Change nothing; answer `R`.
    Leave(R),
}

/// The decision inside a transaction.
pub type Decide<R> = Box<dyn FnOnce(&Loaded) -> Verdict<R> + Send>;

/// Why the system of record did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written, and the caller may try again: disk full, locked, unreachable, shutting down.
    #[error("the store is not available and nothing was written: {0}")]
    Unavailable(String),
    /// COMMIT may or may not have taken effect; the idempotency key tells.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
    /// What is stored contradicts itself or is from a newer version.
    #[error("the store's content cannot be used: {0}")]
    Corrupt(String),
}

/// A page of something: its items, and whether more follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items, in the order of their keys.
    pub items: Vec<T>,
    /// Whether more follow after the last one.
    pub more: bool,
}

/// A site with the revision of the snapshot it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The snapshot's revision.
    pub revision: Revision,
    /// The history that it is a revision of.
    pub epoch: Epoch,
    /// What was read.
    pub value: T,
}

/// On which sites somebody may be anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SitesOf {
    /// A person: by their own seats, invitations, grants and offers, and by those of agencies that they act or pay for.
    Person(UserId),
    /// A member of support: the sites that they have or had a session on.
    Agent(StaffId),
    /// Every site.
    All,
}

/// Who is registered as a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Every row.
    pub rows: Vec<Registered>,
    /// The longest lease that any of them may hold.
    pub ttl_max: Duration,
    /// The chain at the revision that was asked about.
    pub chain: String,
    /// Where the log of a server ends that waits for a synchronous standby; none where it does not, or may not be asked.
    pub mark: Option<String>,
}

/// Where a committed change is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk of the server that committed it.
    Local,
    /// On a second server's as well.
    Replicated,
}

impl Durability {
    /// As it is told to callers.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Replicated => "replicated",
        }
    }
}

/// The system of record.
pub trait Store: Send + Sync + 'static {
    /// The head.
    fn head(&self) -> impl Future<Output = Result<Head, StoreError>> + Send;
    /// One site, with everything on it, in one snapshot.
    fn site(&self, id: &SiteId) -> impl Future<Output = Result<At<Option<Site>>, StoreError>> + Send;
    /// All agencies and staff, in one snapshot.
    fn directory(&self) -> impl Future<Output = Result<At<Directory>, StoreError>> + Send;
    /// One handover, open or ended.
    fn handover(&self, id: &HandoverId) -> impl Future<Output = Result<Option<Handover>, StoreError>> + Send;
    /// A site's handovers, oldest first, after the one named.
    fn handovers(
        &self,
        site: &SiteId,
        after: Option<&HandoverId>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Handover>, StoreError>> + Send;
    /// Audit events in order, of one site or of all, after a position.
    fn audit(
        &self,
        site: Option<&SiteId>,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Page<AuditEvent>, StoreError>> + Send;
    /// Changes of whole revisions, after one; a page never splits a revision.
    fn changes(&self, after: Revision, limit: usize) -> impl Future<Output = Result<Page<Change>, StoreError>> + Send;
    /// Site ids in order, after one: for exports.
    fn sites(
        &self,
        after: Option<&SiteId>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<SiteId>, StoreError>> + Send;
    /// The sites on which somebody may be anybody, in the order of their ids, after one.
    fn sites_of(
        &self,
        of: &SitesOf,
        after: Option<&SiteId>,
        limit: usize,
    ) -> impl Future<Output = Result<At<Page<SiteId>>, StoreError>> + Send;
    /// Sites whose next deadline is not after `now` or that have not followed their agency, and the earliest deadline
    /// after it.
    fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<SiteId>, Option<Timestamp>), StoreError>> + Send;
    /// The policy files that are kept under this hash of theirs. Whether they still have it is for the caller to see.
    fn policies(&self, sha256: &str) -> impl Future<Output = Result<Option<Sources>, StoreError>> + Send;
    /// Billing sagas in the order of their ids, after one, of one state or of all.
    fn sagas(
        &self,
        state: Option<SagaState>,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Saga>, StoreError>> + Send;
    /// Billing sagas whose `due_at` is not after `now`, and the earliest one after it. A saga whose site has an older
    /// commit that billing has not acknowledged is not due.
    fn sagas_due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<Saga>, Option<Timestamp>), StoreError>> + Send;
    /// Runs one change: loads what is wanted, calls `decide` once, commits what it says, tells the observer, and only
    /// then answers. Dropping the future does not stop a change that has begun.
    fn change<R: Send + 'static>(
        &self,
        wanted: Wanted,
        decide: Decide<R>,
    ) -> impl Future<Output = Result<R, StoreError>> + Send;
}

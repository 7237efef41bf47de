//! Which policies are in force where many processes answer? Those that the database's head names: of the same revision as
//! everybody's roles, under the same lease, and effective by the same wait as a handover.
//!
//! They are kept as files, under the hash of their names and texts. A replica builds them from there before it takes a
//! poll's answer that names them, and a replica that cannot stops answering when its lease ends. A process that writes puts
//! its own policies in force when there are none; after that only an activation changes them, never the files that a
//! process was started with. One process alone ([`crate::store::sqlite`]) serves its own files.

use std::sync::Arc;

use serde_json::json;

use super::{Effective, Failure, Kind, chains::Chains, cluster::Waiting};
use crate::{
    assignment::SitePolicies,
    clock::{Clock as _, SystemClock},
    policy::Sources,
    revision::Revision,
    store::{Changes, Head, Loaded, NewEvent, PolicyBundle, Store as _, StoreError, Verdict, Wanted, sql::SqlStore},
};

/// What an activation found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activated {
    /// The last revision; where something changed, the one that changed it.
    pub revision: Revision,
    /// What was in force before, by its hash.
    pub before: Option<String>,
    /// What is in force now.
    pub now: String,
}

/// Which policies an activation takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacing {
    /// Whatever is in force.
    Any,
    /// None: what is in force stays.
    Nothing,
}

/// Puts policies in force, unless they are already.
///
/// # Errors
/// As every change of the store.
pub async fn activate(
    store: &SqlStore,
    policies: &SitePolicies,
    replacing: Replacing,
) -> Result<Activated, StoreError> {
    let bundle = policies.bundle();
    let bundle = PolicyBundle { sha256: bundle.sha256().to_string(), sources: bundle.sources().clone() };
    let decide = Box::new(move |loaded: &Loaded| {
        let before = loaded.head.policy.clone();
        let stays = before.as_ref().filter(|before| **before == bundle.sha256 || replacing == Replacing::Nothing);
        if let Some(now) = stays.cloned() {
            return Verdict::Leave(Activated { revision: loaded.head.revision, before, now });
        }
        let now = bundle.sha256.clone();
        let event = NewEvent {
            site: None,
            kind: "PoliciesActivated".to_owned(),
            actor: None,
            via: None,
            data: json!({ "policies": now, "before": before }),
            evidence: None,
        };
        let done = Activated { revision: loaded.head.revision.next(), before, now };
        let (events, at) = (vec![event], SystemClock.now());
        let changes = Changes { policies: Some(bundle), events, at, ..Changes::default() };
        Verdict::Commit(Box::new(changes), done)
    });
    store.change(Wanted::default(), decide).await
}

/// Waits until no replica answers from before a revision of this store, for a process that is no replica itself.
///
/// # Errors
/// As [`super::App::effective`].
pub async fn effective(store: Arc<SqlStore>, revision: Revision) -> Result<Effective, Failure> {
    Waiting::new(store, Arc::new(Chains::default()), false, None).effective(revision, None).await
}

/// The policies in force, where the database names some.
///
/// # Errors
/// They cannot be read, or not be used.
pub async fn in_force(store: &SqlStore) -> Result<Option<Arc<SitePolicies>>, StoreError> {
    let Some(named) = store.head().await?.policy else { return Ok(None) };
    let read = store.policies(&named).await?;
    let built = build(&named, read);
    built
        .map(Some)
        .map_err(|why| StoreError::Corrupt(format!("the policies in force (sha256:{named}) cannot be used: {why}")))
}

/// Whether a transaction that met this head is decided by the policies of its revision.
///
/// # Errors
/// `503 policies_changed`: others have come into force since the view was looked at.
pub(super) fn decided_by(head: &Head, policies: &SitePolicies) -> Result<(), Failure> {
    if head.policy.as_ref().is_none_or(|named| policies.bundle().sha256() == named) {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Unavailable,
        "policies_changed",
        "Other policies came into force while this was decided, and nothing was done. Send the same request again.",
    ))
}

/// Makes policies of files, and sees that they are those that were named.
pub(super) fn build(named: &str, read: Option<Sources>) -> Result<Arc<SitePolicies>, String> {
    let Some(Sources { schema, policies }) = read else {
        return Err("the database does not hold them".to_owned());
    };
    let built = SitePolicies::load(&schema, &policies)
        .map_err(|problems| format!("this version of mandate does not accept them:\n{problems}"))?;
    let found = built.bundle().sha256();
    if found == named {
        return Ok(built);
    }
    Err(format!("what the database holds under that name has the hash {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assignment::SHIPPED, time::Timestamp};

    #[test]
    fn only_what_has_the_name_is_built() {
        let own = &*SHIPPED;
        let (named, sources) = (own.bundle().sha256(), own.bundle().sources().clone());
        assert_eq!(build(named, Some(sources.clone())).unwrap().bundle().sha256(), named);
        let mut other = sources.clone();
        other.policies[0].text.push_str("// nothing\n");
        assert!(build(named, Some(other)).unwrap_err().contains("has the hash"));
        let mut broken = sources;
        broken.policies[0].text.push_str("permit(");
        assert!(build(named, Some(broken)).unwrap_err().contains("does not accept"));
        assert!(build(named, None).unwrap_err().contains("does not hold"));
    }

    #[test]
    fn a_transaction_is_decided_by_the_policies_of_its_revision() {
        let own = &*SHIPPED;
        let at = Timestamp::default();
        let head = |policy| Head { epoch: String::new(), revision: Revision(1), chain: String::new(), at, policy };
        assert!(decided_by(&head(None), own).is_ok(), "one process alone");
        assert!(decided_by(&head(Some(own.bundle().sha256().to_string())), own).is_ok());
        let refused = decided_by(&head(Some("a".repeat(64))), own).unwrap_err();
        assert_eq!((refused.kind, refused.code.as_ref()), (Kind::Unavailable, "policies_changed"));
    }
}

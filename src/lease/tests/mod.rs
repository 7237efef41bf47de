//! Does the lease keep its promise? Each function with its controls, rules for random histories against a naive
//! reference, and every interleaving at small scope (`model`).

mod ack;
mod follower;
mod model;
mod poll;
mod rules;
mod view;

use std::{sync::Arc, time::Duration};

use super::{Boot, Chain, Epoch, Key, PollAnswer, Rejected, Step, Tag, View, advance};
use crate::revision::Revision;

const LEASE: Duration = Duration::from_secs(2);

fn at(millis: u64) -> Boot {
    Boot::new(Duration::from_millis(millis))
}
fn epoch() -> Epoch {
    Epoch { id: "e-1".into(), timeline: "00000001".into() }
}
fn promoted() -> Epoch {
    Epoch { timeline: "00000002".into(), ..epoch() }
}
fn restored() -> Epoch {
    Epoch { id: "e-2".into(), timeline: "00000001".into() }
}
fn tag(revision: u64) -> Tag {
    Tag { epoch: epoch(), revision: Revision(revision) }
}
fn key(name: &str) -> Key {
    Key::new(name)
}
fn chain(revision: u64) -> Chain {
    Chain::new(format!("chain-{revision}"))
}

/// What an honest primary answers at `revision` to a replica that has applied `applied`.
fn answer(applied: u64, revision: u64, changes: &[(u64, &str)]) -> PollAnswer {
    PollAnswer {
        epoch: epoch(),
        revision: Revision(revision),
        chain: chain(revision),
        chain_at_applied: (applied > 0).then(|| chain(applied)),
        ttl: LEASE,
        read_only: false,
        fresh_transaction: true,
        since: Revision(applied),
        changes: changes.iter().map(|(revision, name)| (Revision(*revision), key(name))).collect(),
        complete: true,
    }
}

/// A view at `revision` that remembers nothing from before, polled at 1 s.
fn view_at(revision: u64) -> Arc<View> {
    resynced(advance(None, at(1_000), PollAnswer { since: Revision(revision), ..answer(0, revision, &[]) }))
}
fn resynced(step: Result<Step, Rejected>) -> Arc<View> {
    match step {
        Ok(Step::Resync { view }) => view,
        other => panic!("no resync: {other:?}"),
    }
}
fn advanced(step: Result<Step, Rejected>) -> (Vec<String>, Arc<View>) {
    match step {
        Ok(Step::Advance { drop, view }) => (drop.iter().map(|key| key.as_str().to_owned()).collect(), view),
        other => panic!("no advance: {other:?}"),
    }
}

//! Does the explorer notice a site that does not come back? Three machines under which a due return is never carried out,
//! each of which keeps every single step within the invariants: only bounded liveness (I7) tells them from the real one.

use super::{
    explorer::{SCOPES, explore},
    invariants::tally,
    world::Machine,
};
use crate::{
    handover::{Applied, Command, Refusal, Situation, apply},
    time::Timestamp,
};

/// The fault is found in some scope, as a return that does not come in time.
fn assert_found(machine: Machine<'_>) {
    let found = SCOPES.iter().any(|scope| tally(&explore(scope, machine, 1).found).contains_key("I7"));
    assert!(found, "the planted fault was not found");
}

/// A machine that refuses the end of a notice under a condition.
fn keeping(
    when: impl Fn(&Situation<'_>) -> bool,
) -> impl Fn(&Situation<'_>, &Command, Timestamp) -> Result<Applied, Refusal> {
    move |situation, command, now| {
        if *command == Command::ReturnEffective && when(situation) {
            return Err(Refusal::Blocked(Vec::new()));
        }
        apply(situation, command, now)
    }
}

#[test]
fn planted_i07_a_site_that_never_comes_back() {
    assert_found(&keeping(|_| true));
}

#[test]
fn planted_i07_a_dispute_holds_a_return_up() {
    assert_found(&keeping(|situation| situation.site.dispute.is_some()));
}

#[test]
fn planted_i07_the_trash_holds_a_return_up() {
    assert_found(&keeping(|situation| situation.site.trashed_at.is_some()));
}

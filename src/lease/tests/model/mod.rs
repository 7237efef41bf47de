//! Does the lease keep its promise in *every* interleaving? A model check at small scope, with ten planted mistakes.
//!
//! The world (`world`) is one system of record, one or two replicas, a writer, a memory and at most one check at a time
//! (a check changes nothing, so others beside it show nothing new). What takes time takes it in separate steps, and
//! between any two steps anything else may happen: a poll is sent, answered, received or given up; a value is read from
//! a snapshot and stored much later; a check is received, pins, reads one value, reads the other, and replies; a process
//! may stop at every one of them. Time is whole seconds, with one poll of a replica in each at most; every replica has a
//! clock of its own, and with drift it may lose a second. Shared memory is an adversary: it answers with anything that
//! was ever written to it, or with nothing. From a replica's own, a step drops the keys that have changed.
//!
//! The steps (`steps`) call the functions that the service calls: [`advance`](crate::lease::advance), [`learn`](crate::lease::learn),
//! `View::usable`, `View::holds`, [`Pinned`](crate::lease::Pinned) and [`Ack::judge`](crate::lease::Ack::judge). Two
//! properties are looked at: **G1**, a check received after the acknowledgement of revision n is answered from n or later,
//! or refused; **G2**, both values of a check are those of the revision it was pinned at.
//!
//! A [`Mistake`] changes an argument or the order of calls, never a function. Each is found as a violation of G1 by name
//! (`scopes`), so the search can see what it looks for. Not modelled: failover (the cases in `poll` are), more than two
//! replicas, and rows that are ignored after silence.
//!
//! A search of our own, as for handovers (`handover::tests::explorer`), lost: `stateright` brings the search, the shortest
//! path to a violation, and properties that must be reachable.

mod scopes;
mod steps;
mod world;

/// One thing done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// Acknowledging right after COMMIT, as invalidation by messages does.
    AckAfterCommit,
    /// Waiting one second less than the lease.
    WaitTooShort,
    /// Waiting the lease, as if no clock drifted.
    WaitWithoutDrift,
    /// Counting the lease from when the answer was received.
    LeaseFromResponse,
    /// Keeping the lease as a flag that a timer clears.
    LeaseAsFlag,
    /// Believing whatever the memory holds.
    Untagged,
    /// Tagging a value with the watermark when it is stored, instead of the snapshot it was read from.
    WatermarkTag,
    /// Taking the values from one view and the lease from another.
    SeparateLoads,
    /// Polling a standby that may be behind.
    LaggingStandby,
    /// Telling the registry of a revision when it is received, before it is applied.
    AckOnReceipt,
    /// Telling the registry of what a look has found when it is received, before it is applied.
    TellOnReceipt,
    /// Polling before the registration has returned.
    PollBeforeRegistration,
}

/// In which order a check does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The lease first, then the values, and no second look at the lease.
    LeaseFirst,
    /// The values of a view first, then the lease of that view.
    ValuesFirst,
}

/// Where values are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// One for all, to which everything that could be written has been.
    Anything,
    /// One for all, which may bring back anything that was written to it, step by step.
    Shared,
    /// Each replica its own.
    Own,
}

/// How large a world, and what is wrong in it.
#[derive(Debug, Clone, Copy)]
struct Scope {
    name: &'static str,
    /// The lease, in seconds.
    ttl: u8,
    /// How many seconds a replica's clock may lose.
    drift: u8,
    replicas: usize,
    /// How many changes are committed.
    revisions: u8,
    /// When the world ends.
    horizon: u8,
    /// Whether replicas register, and the last of them only later.
    registry: Option<Joining>,
    /// Whether replicas look between two polls, and tell the registry what they have applied.
    looks: bool,
    order: Order,
    memory: Memory,
    mistake: Option<Mistake>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joining {
    /// All are registered and follow.
    Nobody,
    /// One starts while changes are made.
    One,
}

impl Scope {
    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

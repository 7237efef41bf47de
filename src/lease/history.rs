//! Whose history is it, and where in it are we? Epochs, tags, and the names of what changes.
//!
//! A revision means something only within one history. A restored backup starts another history, and after a failover
//! that lost commits "revision 991" may exist twice with different content; so every revision that is remembered is
//! remembered with its [`Epoch`], and the [`Chain`] tells whether two histories are the same up to a revision.

use smol_str::SmolStr;

use crate::revision::Revision;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// Takes the text as it is.
            #[must_use]
            pub fn new(text: impl Into<SmolStr>) -> Self {
                Self(text.into())
            }
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// What can change, as the change log names it: `site:bakery`, `agency:studio-north`, `principal:nora`, `policy`.
    /// Everything that a decision depends on is a key.
    Key
}
name! {
    /// The hash over everything up to a revision: of two histories that agree on it, neither has lost a commit to there.
    Chain
}
name! {
    /// One running replica. A process that starts again is another one.
    ReplicaId
}

/// The identity of a history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Drawn when the store is made, and again when a backup is restored.
    pub id: SmolStr,
    /// The database server's timeline, which changes when a standby is promoted.
    pub timeline: SmolStr,
}

/// Where a remembered value comes from: the snapshot of the system of record that it was read from.
///
/// Never the watermark of the replica that read it: the snapshot may be older than that, and then the value is as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The history.
    pub epoch: Epoch,
    /// The revision of the snapshot.
    pub revision: Revision,
}

//! Does the machine do what the domain says? A golden table of every state and command, targeted tests of what a
//! table cannot show, and random histories checked against the invariants, each with a planted fault.

mod explorer;
mod faults;
mod golden;
pub(crate) mod invariants;
mod matrix;
mod planted;
mod semantics;
mod sequences;
mod stuck;
pub(crate) mod world;

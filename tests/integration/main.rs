//! The program from outside: the built binary, over its command line and its sockets.
//!
//! One binary for all of it, because each further one is linked anew. [`harness`] starts servers; every other module
//! is one part of the contract.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod harness;

//! Mandate: who may do what on a website, and how a site passes between a client and a partner.
//!
//! Modules in reading order, lowest first.
#![forbid(unsafe_code)]

pub mod ids;
pub mod revision;
pub mod time;

pub mod decision;
pub mod handover;
pub mod policy;
pub mod site;

pub mod assignment;
pub mod authoring;

pub mod store;

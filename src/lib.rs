//! Mandate: who may do what on a website, and how a site passes between a client and a partner.
//!
//! Modules in reading order, lowest first.
#![forbid(unsafe_code)]

// Values.
pub mod digest;
pub mod ids;
pub mod revision;
pub mod time;

// Pure: no input or output, no clock.
pub mod assignment;
pub mod authoring;
pub mod decision;
pub mod domains;
pub mod explanation;
pub mod handover;
pub mod lease;
pub mod policy;
pub mod site;

// Ports and what stands behind them.
pub mod billing;
pub mod cache;
pub mod client;
pub mod clock;
pub mod fault;
pub mod metrics;
pub mod store;

// The service and its edge.
pub mod app;
pub mod cli;
pub mod config;
pub mod events;
pub mod http;
pub mod telemetry;

//! How does the outside speak to us? The HTTP edge: listeners, limits, strict reading, errors.
//!
//! From the wire inwards: [`listener`] opens the address, [`server`] accepts and drains, `wire` watches the bytes of
//! one connection (time, ambiguous framing), [`tls`] what is under it, [`edge`] is the outermost layer of every request (request id, `Host`,
//! [`callers`], panics, no answer without a problem body), [`json`] reads a body, [`authzen`] gives it the meaning of the standard,
//! [`problem`] is how anything but an answer looks. Routes stand on top and see only well-formed values.
//!
//! Invariant: what the framework would do silently (last duplicate key wins, arrays as structs, `text/plain` errors,
//! idle connections without end) happens nowhere. `axum::serve` and `axum::Json` lost for those reasons.

pub mod authzen;
pub mod callers;
pub mod edge;
mod host;
pub mod json;
pub mod listener;
pub mod problem;
pub mod routes;
pub mod server;
pub mod signing;
pub mod tls;
mod wire;

//! The copies of `policies/` and `schemas/` that the program carries with it; `build.rs` lists them.

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

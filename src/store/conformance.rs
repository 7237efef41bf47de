//! The conformance suite of the store port: what every system of record must do.

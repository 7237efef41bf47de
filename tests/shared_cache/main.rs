//! The shared cache against real servers: absent, stopped, killed, emptied, poisoned, behind TLS, behind Sentinels, and
//! as a cluster.
//!
//! Every test starts the `redis-server` processes it needs, on free ports. Waits end with a condition; where a test says
//! how long something may take, the bound is many times what it takes, and a control beside it shows what has no bound.

#[cfg(test)]
#[path = "../servers/certificates.rs"]
mod certificates;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod many;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod tls;

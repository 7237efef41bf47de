//! How is the service doing? Counts that cost a check next to nothing, and the page of them that Prometheus reads.
//!
//! Whoever counts holds its counters by reference: nothing is looked up, allocated or locked where checks are answered.
//! What somebody else knows already (a lease, a size) is no counter at all: it is read when the page is asked for
//! ([`Family`] is data, the library writes it). So no number here can be older than the page.
//!
//! Invariant: a label has few values and never names a person, a site or an account. The `metrics` facade with its
//! exporter lost: a recorder for the whole process, and histograms that keep every sample until somebody drains them.

mod count;
mod page;
mod times;

pub use count::{Codes, Count, Striped, stripe_turn};
pub use page::{CONTENT_TYPE, Family, Sample, page};
pub use times::{FAST, SLOW, Times};

//! The texts that people consent to: every flow word for word in every language, and the rules that hold for all.
//!
//! `BLESS=1 cargo test --test explanations` (or `make bless`) rewrites `tests/golden/explanations.txt`; reviewers
//! read its diff first.

#[cfg(test)]
#[path = "explanations/catalogues.rs"]
mod catalogues;
#[cfg(test)]
#[path = "explanations/chosen.rs"]
mod chosen;
#[cfg(test)]
#[path = "explanations/denials.rs"]
mod denials;
#[cfg(test)]
#[path = "explanations/digests.rs"]
mod digests;
#[cfg(test)]
#[path = "explanations/every_fact.rs"]
mod every_fact;
#[cfg(test)]
#[path = "explanations/golden.rs"]
mod golden;
#[cfg(test)]
#[path = "explanations/rendered.rs"]
mod rendered;
#[cfg(test)]
#[path = "explanations/story.rs"]
mod story;

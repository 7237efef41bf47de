//! Properties of decisions about sites, over random sites, people and facts.
//!
//! [`sites`] makes random worlds; [`reference`] says naively, straight from the stored site, who holds what; the other
//! two files hold the properties. Each property that could pass by accident has a planted fault beside it that it must
//! find.

mod meaning;
mod reach;
mod reference;
mod roles;
pub(crate) mod sites;

//! Who holds which role on which site, and how? From stored rows to the entities of one request, and to the answer.
//!
//! [`SiteRow`] is the compact copy of a site that decisions read; [`Standing`] is one principal on it at one moment;
//! [`SitePolicies`] is a policy bundle made ready for sites. Role *names* appear here only to be given (the Owner seat
//! gives `Owner`); what a role may do is the policies' to say.

mod ask;
mod directory;
mod facts;
mod held;
mod order;
mod parts;
mod policies;
mod reach;
mod row;
mod strengths;

pub use ask::{Answer, Asked, Moment, Outcome, Standing};
pub use directory::{Agency, AgencyStatus, Directory, MemberRole, StaffRole};
pub use facts::{Circumstances, Facts, Flags};
pub use held::{Held, HeldRole, Via};
pub use order::{REASONS, STATE_REASONS};
pub use policies::{GivenRoles, Kind, SITES, SitePolicies};
pub use reach::Reach;
pub use row::SiteRow;
pub use strengths::{Strength, Strengths};

#[cfg(test)]
pub(crate) use policies::tests::SHIPPED;
#[cfg(test)]
pub(crate) mod tests;

//! Who holds which role on which site, and how? From stored rows to the entities of one request.

mod directory;
mod strengths;

pub use directory::{Agency, AgencyStatus, Directory, MemberRole, StaffRole};
pub use strengths::{Strength, Strengths};

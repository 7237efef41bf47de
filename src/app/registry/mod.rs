//! What the platform registers and reports: sites, agencies and their people, staff.
//!
//! A `PUT` creates, or changes what the platform merely reports; seats, titles, payers and the plan's status move by
//! commands only. Saying again what holds already changes nothing and bumps no revision. Suspending an agency is one
//! row: its rights end with that commit on every site, and open offers that name it end in the same transaction.

mod accounts;
mod agencies;
mod sites;

pub use accounts::{AccountState, AccountUpdate, AccountView};
pub use agencies::AgencyUpdate;
pub(super) use agencies::presentable;
pub(super) use sites::plan_texts;
pub use sites::{PlanUpdate, SiteUpdate};

use serde_json::Value;

use super::Failure;
use crate::{
    ids::SiteId,
    revision::Revision,
    store::{NewEvent, Verdict},
};

/// What a registration did.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered<T> {
    /// It did not exist before.
    pub created: bool,
    /// The present revision of the installation.
    pub revision: Revision,
    /// The thing as it is now.
    pub value: T,
}

type Decided<T> = Verdict<Result<Registered<T>, Failure>>;

fn event(site: Option<SiteId>, kind: &str, data: Value) -> NewEvent {
    NewEvent { site, kind: kind.to_owned(), actor: None, via: None, data, evidence: None }
}

/// RFC 1123 host name with at least two labels, in lower case.
pub(super) fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

/// One line of visible text: no control characters, nothing that turns or hides what stands beside it.
fn is_line(text: &str, most: usize) -> bool {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    !text.is_empty() && text.trim() == text && text.chars().count() <= most && !text.chars().any(hidden)
}

//! What an operator may set about handovers: durations, how many offers an account may make and get, and whether trust and
//! safety acts alone.

use super::{Failure, Kind};
use crate::{
    handover::{Quotas, Timers},
    ids::Account,
    store::Traffic,
};

/// The rules of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// How long things take.
    pub timers: Timers,
    /// How many offers and requests there may be.
    pub quotas: Quotas,
    /// Whether a freeze too needs a colleague's agreement (`approver`), as custody and a successor always do.
    pub four_eyes: bool,
}

/// Whether one more offer or request may be sent.
///
/// # Errors
/// `429 too_many_offers`, naming the account that has had enough.
pub(super) fn admit(
    quotas: &Quotas,
    (sender, made): (&Account, Traffic),
    (recipient, got): (&Account, Traffic),
) -> Result<(), Failure> {
    let (account, most, what) = if made.made >= quotas.per_sender {
        (sender, quotas.per_sender, "made")
    } else if got.got >= quotas.per_recipient {
        (recipient, quotas.per_recipient, "got")
    } else {
        return Ok(());
    };
    let window = humantime::format_duration(quotas.window);
    let detail = format!("`{account}` has {what} {most} offers and requests within {window}. Try again later.");
    Err(Failure::new(Kind::TooMany, "too_many_offers", detail)
        .with("account", account.to_string())
        .with("limit", most)
        .with("window_s", quotas.window.as_secs()))
}

//! What a caller is told when billing did not say yes.

use crate::{
    app::{Failure, Kind},
    billing::No,
};

pub(super) fn in_flight() -> Failure {
    Failure::new(
        Kind::Conflict,
        "in_flight",
        "The same thing is being done by another request, which waits for the billing service. Wait some seconds, \
         then look at the site, and try again if it is not done.",
    )
}

pub(super) fn too_late() -> Failure {
    not_applied(
        "Asking the billing service took too long. Nothing was changed; try again with the same Idempotency-Key.",
    )
}

fn not_applied(detail: &'static str) -> Failure {
    Failure::new(Kind::Unavailable, "not_applied", detail).with("outcome", "not_applied")
}

pub(super) fn refusal(no: No) -> Failure {
    match no {
        No::Refused(code) => {
            let failure = Failure::new(
                Kind::Payment,
                "payment_required",
                "The billing service does not let this account pay for the site. Nothing was changed: add a valid card, \
                 then try again. An offer stays open meanwhile.",
            );
            match code {
                Some(code) => failure.with("billing_code", code),
                None => failure,
            }
        }
        No::Unclear(_) | No::Wrong(_) => not_applied(
            "The billing service did not answer. Nothing was changed; try again with the same Idempotency-Key.",
        ),
    }
}

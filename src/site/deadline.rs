//! When does time alone change this site? The earliest deadline that somebody must commit.

use super::Site;
use crate::time::Timestamp;

/// The earliest instant at which a worker has something to commit on this site: an offer nobody answered, or a return.
/// Deadlines that end by themselves without a commit (settling, grants, sessions, confirmations) are not among them.
///
/// An offer's life runs on under a freeze; a return waits for the freeze's end.
#[must_use]
pub fn next_deadline(site: &Site) -> Option<Timestamp> {
    let offer = site.open_handover.as_ref().filter(|handover| handover.status.is_live()).map(|h| h.expires_at);
    let frozen_until = site.frozen.as_ref().map(|freeze| freeze.until);
    let back = site
        .return_pending()
        .map(|pending| frozen_until.map_or(pending.effective_at, |until| until.max(pending.effective_at)));
    offer.into_iter().chain(back).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{Engagement, Freeze, Plan, ReturnPending, ReturnReason, Seats, Tier};

    #[test]
    fn a_return_waits_for_the_end_of_a_freeze() {
        let at = Timestamp::from_seconds;
        let pending = ReturnPending {
            reason: ReturnReason::Reclaim,
            requested_at: at(10),
            effective_at: at(100),
            locked: false,
            keep: std::collections::BTreeSet::new(),
        };
        let seats = Seats::PartnerManaged(Box::new(Engagement {
            client: "maria".parse().unwrap(),
            partner: "studio-north".parse().unwrap(),
            since: at(0),
            settling_until: at(5),
            handover: None,
            plan_before: None,
            freeze_used: false,
            return_pending: Some(pending),
        }));
        let mut site = Site::registered("bakery".parse().unwrap(), seats, Plan::of(Tier::Free), true, Vec::new());
        assert_eq!(next_deadline(&site), Some(at(100)));
        site.frozen = Some(Freeze { until: at(150), case: "c-1".into() });
        assert_eq!(next_deadline(&site), Some(at(150)));
        site.frozen = Some(Freeze { until: at(50), case: "c-1".into() });
        assert_eq!(next_deadline(&site), Some(at(100)));
    }
}

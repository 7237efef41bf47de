//! When does time alone change this site? The earliest deadline that somebody must commit.

use super::{PlanStatus, Site};
use crate::time::Timestamp;

/// The earliest instant at which a worker has something to commit on this site: a reminder of an offer, an offer nobody
/// answered, the end of a freeze, a plan that lapses, the end of the bridge after a return, a return, a deletion from the
/// trash. Deadlines that end by themselves without a commit (settling, grants, sessions, confirmations, disputes) are not
/// among them.
///
/// An offer's life runs on under a freeze; everything else waits for the freeze's end.
#[must_use]
pub fn next_deadline(site: &Site) -> Option<Timestamp> {
    let live = site.open_handover.as_ref().filter(|handover| handover.status.is_live());
    let offer = live.map(|offer| offer.reminders.first().map_or(offer.expires_at, |at| offer.expires_at.min(*at)));
    let thaw = site.frozen.as_ref().map(|freeze| freeze.until);
    let back = site.return_pending().map(|pending| pending.effective_at);
    let lapse = match site.plan.status {
        PlanStatus::PastDue => site.plan.lapses_at,
        PlanStatus::Ok => site.plan.bridge_until.filter(|_| site.seats.owner().is_some()),
        PlanStatus::Lapsed => None,
    };
    let purge =
        site.purge_at.filter(|_| site.trashed_at.is_some() && site.seats.owner().is_some() && site.custody.is_none());
    let waits = [back, lapse, purge].into_iter().flatten().min();
    let others = match (thaw, waits) {
        (Some(thaw), _) => Some(thaw),
        (None, waits) => waits,
    };
    offer.into_iter().chain(others).min()
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
        site.frozen = Some(Freeze { since: at(1), until: at(150), case: "c-1".into() });
        assert_eq!(next_deadline(&site), Some(at(150)));
        // The end of a freeze is itself something to commit, and comes first.
        site.frozen = Some(Freeze { since: at(1), until: at(50), case: "c-1".into() });
        assert_eq!(next_deadline(&site), Some(at(50)));
    }

    #[test]
    fn the_end_of_a_bridge_is_something_to_commit() {
        let at = Timestamp::from_seconds;
        let owned = Seats::SelfManaged { owner: "maria".parse().unwrap() };
        let mut site = Site::registered("bakery".parse().unwrap(), owned, Plan::of(Tier::Premium), true, Vec::new());
        site.plan.bridge_until = Some(at(100));
        assert_eq!(next_deadline(&site), Some(at(100)));
        site.frozen = Some(Freeze { since: at(1), until: at(150), case: "c-1".into() });
        assert_eq!(next_deadline(&site), Some(at(150)));
        site.frozen = None;
        site.plan.status = PlanStatus::Lapsed;
        assert_eq!(next_deadline(&site), None);
    }

    #[test]
    fn time_deletes_from_the_trash_only_what_has_an_owner() {
        let at = Timestamp::from_seconds;
        let owned = Seats::SelfManaged { owner: "maria".parse().unwrap() };
        let mut site = Site::registered("bakery".parse().unwrap(), owned, Plan::of(Tier::Free), true, Vec::new());
        site.purge_at = Some(at(100));
        assert_eq!(next_deadline(&site), None);
        site.trashed_at = Some(at(1));
        assert_eq!(next_deadline(&site), Some(at(100)));
        site.seats = Seats::Purged;
        assert_eq!(next_deadline(&site), None);
    }

    #[test]
    fn the_bridge_after_a_return_ends_unless_somebody_pays() {
        let at = Timestamp::from_seconds;
        let owned = Seats::SelfManaged { owner: "maria".parse().unwrap() };
        let mut site = Site::registered("bakery".parse().unwrap(), owned, Plan::of(Tier::Premium), true, Vec::new());
        site.plan.bridge_until = Some(at(100));
        assert_eq!(next_deadline(&site), Some(at(100)));
        // A missed payment has its own grace.
        (site.plan.status, site.plan.lapses_at) = (PlanStatus::PastDue, Some(at(200)));
        assert_eq!(next_deadline(&site), Some(at(200)));
    }
}

//! The page of metrics: what was counted, and what is read at that moment. `docs/operations.md` explains each name.

use std::time::Duration;

use super::{FREQUENT, Meter, Outcome, Source};
use crate::{
    app::App,
    cache::shared::SharedCache,
    clock::{BootClock as _, SystemBootClock},
    metrics::{Codes, Count, Family},
    store::Registry,
};

/// How long the page waits for the registry of replicas.
const REGISTRY: Duration = Duration::from_secs(1);

impl App {
    /// What this process counts.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Every metric, as it is now. Where there are other replicas their registry is read; if the database does not
    /// answer in time, what it would tell is left out.
    pub async fn metrics(&self) -> Vec<Family> {
        let shared = self.cluster.as_ref().and_then(|cluster| cluster.shared());
        let mut families = self.meter.decisions();
        families.push(self.meter.cache_requests(shared));
        families.extend(self.levels(shared));
        families.extend(self.meter.transitions());
        if let Some(cluster) = &self.cluster {
            let lease = self.view.lease().map_or(Duration::ZERO, |lease| lease.remaining(SystemBootClock.boottime()));
            let help = "What is left of the lease; 0 when there is none and every check is refused.";
            families.push(Family::new("lease_remaining_seconds", help).gauge(&[], lease.as_secs_f64()));
            families.extend(self.meter.following());
            if let Ok(Some(registry)) = tokio::time::timeout(REGISTRY, cluster.registered()).await {
                families.extend(registered(self.view.head().0.0, &registry));
            }
        }
        families
    }

    /// What is read and not counted.
    fn levels(&self, shared: Option<&SharedCache>) -> Vec<Family> {
        let (entries, bytes) = self.view.weight();
        let mut families = vec![
            Family::new("policy_info", "Always 1; the fingerprint of the rules in force.")
                .gauge(&[("fingerprint", self.view.policies().bundle().fingerprint())], 1.0),
            Family::new("watermark_revision", "The revision that checks are answered at.")
                .gauge(&[], float(self.view.head().0.0)),
            Family::new("cache_entries", "Sites in memory, by whether there is such a site.")
                .gauge(&[("kind", "site")], float(entries.sites))
                .gauge(&[("kind", "absent")], float(entries.absent)),
            Family::new("cache_bytes", "What they take, tables included.").gauge(&[], float(bytes)),
        ];
        if let Some(shared) = shared {
            let open = if shared.is_available() { 0.0 } else { 1.0 };
            families.push(
                Family::new("redis_breaker_open", "1 while the shared cache is known to be away and not asked.")
                    .gauge(&[], open),
            );
            families.push(
                Family::new("redis_puts_dropped", "Copies and hints that were not shared.")
                    .count(&[], shared.counts().dropped_puts.get()),
            );
        }
        families
    }
}

fn registered(watermark: u64, registry: &Registry) -> Vec<Family> {
    let behind = registry.rows.iter().map(|row| row.applied.0).min().unwrap_or(watermark);
    vec![
        Family::new("replicas_registered", "Replicas in the registry; one that died stays for a while.")
            .gauge(&[], float(u64::try_from(registry.rows.len()).unwrap_or(u64::MAX))),
        Family::new("replica_applied_lag", "Revisions by which the last of them is behind this one.")
            .gauge(&[], float(watermark.saturating_sub(behind))),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a number on a page; it is exact up to 2^53")]
const fn float(number: u64) -> f64 {
    number as f64
}

impl Meter {
    fn decisions(&self) -> Vec<Family> {
        let mut decisions = Family::new("decisions", "Checks that were answered, by what was told and whence it came.");
        let mut durations =
            Family::new("decision_duration_seconds", "How long a check took; of those from memory one in 16 is timed.");
        for source in Source::ALL {
            let place = source as usize;
            let from = ("source", source.name());
            for (at, (decision, reason)) in FREQUENT.iter().enumerate() {
                let count = self.frequent.get(place * FREQUENT.len() + at);
                decisions = decisions.count(&[("decision", decision), ("reason", reason), from], count);
            }
            for (reason, count) in self.reasons.get(place).into_iter().flat_map(Codes::all) {
                decisions = decisions.count(&[("decision", "deny"), ("reason", &reason), from], count);
            }
            if let Some(times) = self.durations.get(place).filter(|_| source != Source::Nothing) {
                durations = durations.times(&[from], times);
            }
        }
        let mut errors = Family::new("decision_errors", "Checks without an answer. A deny is none of them.");
        for (code, count) in self.errors.all() {
            errors = errors.count(&[("error_type", &code)], count);
        }
        let mut elsewhere = Family::new("domain_decisions", "Answers of policy domains other than sites.");
        for ((domain, decision), count) in &*self.elsewhere.lock() {
            elsewhere = elsewhere.count(&[("domain", domain), ("decision", decision)], *count);
        }
        vec![decisions, durations, errors, elsewhere]
    }

    fn cache_requests(&self, shared: Option<&SharedCache>) -> Family {
        let hits: u64 =
            (0..FREQUENT.len()).map(|at| self.frequent.get(Source::Memory as usize * FREQUENT.len() + at)).sum();
        let explained: u64 = self.reasons.first().map_or(0, |codes| codes.all().iter().map(|(_, count)| count).sum());
        let layer = |layer, result| [("layer", layer), ("result", result)];
        let mut family = Family::new("cache_requests", "Lookups of a site, by where and what came of it.")
            .count(&layer("l1", "hit"), hits + explained)
            .count(&layer("l1", "miss"), self.misses.get());
        if let Some(shared) = shared {
            let counts = shared.counts();
            let old = counts.stale.get() + counts.below_floor.get();
            for (result, count) in [
                ("hit", counts.hits.get().saturating_sub(old)),
                ("miss", counts.misses.get()),
                ("stale_tag", counts.stale.get()),
                ("below_floor", counts.below_floor.get()),
                ("mac_fail", counts.mac_failures.get()),
                ("unusable", counts.unusable.get()),
                ("unavailable", counts.unavailable.get()),
            ] {
                family = family.count(&layer("redis", result), count);
            }
        }
        family
            .count(&layer("store", "hit"), self.store_hits.get())
            .count(&layer("store", "miss"), self.store_misses.get())
            .count(&layer("store", "stale_tag"), self.store_stale.get())
    }

    fn transitions(&self) -> Vec<Family> {
        let mut ends = Family::new("handover", "Transitions, by how they ended.");
        for ((_, name), count) in Outcome::ALL.iter().zip(&self.transitions) {
            ends = ends.count(&[("outcome", name)], count.get());
        }
        vec![ends]
    }

    /// What only one of many replicas counts.
    fn following(&self) -> Vec<Family> {
        let mut failures = Family::new("poll_failures", "Polls that brought no new lease.");
        for (cause, count) in self.poll_failures.all() {
            failures = failures.count(&[("cause", &cause)], count);
        }
        let one = |name, help, count: &Count| Family::new(name, help).count(&[], count.get());
        let refused = self.errors.get("stale_lease");
        vec![
            Family::new("lease_refusals", "Checks that were refused for want of a lease.").count(&[], refused),
            Family::new(
                "handover_effective_seconds",
                "From commit to effective on every replica, by how that is known.",
            )
            .times(&[("exit", "acks")], &self.by_acks)
            .times(&[("exit", "expiry")], &self.by_expiry),
            Family::new("poll_duration_seconds", "How long the database took to answer a poll.")
                .times(&[], &self.polls),
            failures,
            one("revision_regressions", "Times the history went back: commits were lost.", &self.regressions),
            one(
                "clock_anomalies",
                "Times this machine's clocks moved apart; the lease was given up.",
                &self.clock_anomalies,
            ),
        ]
    }
}

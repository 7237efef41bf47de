//! What has been seen so far: as metrics, as a summary, as the exit code.

use std::sync::Arc;

use axum::{Router, http::header, routing::get};
use serde_json::{Value, json};

use super::ask::Outcome;
use crate::{
    cli::exit::{Exit, Stop},
    config::{Auth, Limits, Listen},
    http::{
        edge::{Edge, Hosts},
        listener::Listener,
        problem::Problem,
        server,
    },
    metrics::{self, Count, Family, SLOW, Times},
};

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Counts {
    pub flips: Count,
    pub failed: Count,
    fresh: Count,
    stale: Count,
    unreachable: Count,
    refused: Count,
    disturbed: Count,
    pub effective: Times,
}

impl Default for Counts {
    fn default() -> Self {
        let none = Count::default;
        Self {
            flips: none(),
            failed: none(),
            fresh: none(),
            stale: none(),
            unreachable: none(),
            refused: none(),
            disturbed: none(),
            effective: Times::within(SLOW),
        }
    }
}

impl Counts {
    pub fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Fresh => self.fresh.add(),
            Outcome::Stale => self.stale.add(),
            Outcome::Unreachable => self.unreachable.add(),
            Outcome::Refused => self.refused.add(),
            Outcome::Disturbed => self.disturbed.add(),
            Outcome::NotDeciding => 0,
        };
    }

    /// Stale is never forgiven; what could not be told is not a success either.
    pub fn exit(&self) -> Exit {
        if self.stale.get() > 0 {
            Exit::Negative
        } else if self.failed.get() > 0 || self.fresh.get() == 0 {
            Exit::Failed
        } else {
            Exit::Done
        }
    }

    pub fn summary(&self) -> Value {
        json!({"flips": self.flips.get(), "failed": self.failed.get(), "fresh": self.fresh.get(), "stale": self.stale.get(),
            "unreachable": self.unreachable.get(), "refused": self.refused.get(), "disturbed": self.disturbed.get()})
    }

    fn families(&self) -> Vec<Family> {
        let unreachable = "Replicas that could not be asked after a change, or did not answer the question.";
        vec![
            Family::new("canary_checks", "Answers of replicas after a change that was said to be effective.")
                .count(&[], self.fresh.get() + self.stale.get()),
            Family::new("canary_stale", "Those that were from before the change: the promise was broken.")
                .count(&[], self.stale.get()),
            Family::new("canary_unreachable", unreachable)
                .count(&[("outcome", "unreachable")], self.unreachable.get())
                .count(&[("outcome", "refused")], self.refused.get()),
            Family::new("canary_failed", "Changes that did not become effective, or that were refused.")
                .count(&[], self.failed.get()),
            Family::new("canary_effective_seconds", "From asking for a change until it is effective everywhere.")
                .times(&[], &self.effective),
        ]
    }
}

/// Serves `/metrics` until the process ends.
pub(super) async fn serve(listen: &Listen, counts: Arc<Counts>) -> Result<(), Stop> {
    if !listen.is_local() {
        return Err(Stop::usage(format!("`{listen}` can be reached from other machines: use an address of this one")));
    }
    let listener = Listener::bind(listen).await.map_err(Stop::failed)?;
    let page = move || {
        let page = metrics::page(counts.families()).map_err(|_| Problem::internal());
        std::future::ready(page.map(|text| ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)))
    };
    let router = Router::new().route("/metrics", get(page));
    let edge = Edge::new(router, Hosts::of(listener.address(), Auth::None));
    eprintln!("metrics at http://{}/metrics", listener.address());
    tokio::spawn(async move { server::serve(listener, edge, &Limits::default(), std::future::pending()).await });
    Ok(())
}

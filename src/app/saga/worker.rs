//! What billing has to be told, told: confirmations and releases, tried until it says yes, across restarts.
//!
//! The journal is the queue. A call that succeeded and was not written down (the process died in between) is made
//! again; billing recognises it by its id and attempt. A reservation whose time is over is given up by a transaction
//! that looks at its state, so that it can never take back what was committed meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::Desk;
use crate::{
    app::App,
    billing::{self, Call, No},
    store::{Saga, SagaState, Store, StoreError},
};

/// Sagas looked at in one round. Their calls are made side by side.
const BATCH: usize = 16;
/// Never longer asleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What kind of failure it was, for the journal.
pub(super) fn kind(no: &No) -> String {
    match no {
        No::Refused(Some(code)) => format!("refused:{code}"),
        No::Refused(None) => "refused".to_owned(),
        No::Unclear(kind) | No::Wrong(kind) => kind.clone(),
    }
}

impl App {
    /// Says what billing is owed and cannot be told.
    pub(in crate::app) async fn warn_of_untold(&self) -> Result<(), StoreError> {
        if self.billing.is_some() {
            return Ok(());
        }
        let (due, next) = self.store.sagas_due(self.now(), 1).await?;
        if !due.is_empty() || next.is_some() {
            tracing::warn!(
                "there are changes that billing was not told of, and no `billing.url`: GET /v1/billing/sagas lists them, \
                 and they are told once it is set again"
            );
        }
        Ok(())
    }

    /// Gives up what an earlier process was reserving when it ended: the store has one writer, and it is this one. Where
    /// there are many, somebody else may be reserving right now; what nobody commits is given up when its time is over.
    pub(in crate::app) async fn take_over_sagas(&self) -> Result<(), StoreError> {
        if self.billing.is_none() {
            return Ok(());
        }
        loop {
            let orphans = self.store.sagas(Some(SagaState::Reserving), None, BATCH).await?.items;
            if orphans.is_empty() {
                return Ok(());
            }
            for orphan in orphans {
                self.move_on(&orphan, |now, row| row.give_up(now)).await?;
            }
        }
    }

    /// Tells billing what is due, and sleeps until more is; ends at once without billing.
    pub async fn run_billing(self: Arc<Self>) {
        let Some(desk) = self.billing.clone() else { return };
        loop {
            let sleep = match self.tell_due(&desk).await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::warn!(%error, "the journal of billing could not be kept, trying again");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = desk.wake.notified() => {}
            }
        }
    }

    /// Tells everything that is due now; answers how long nothing will be.
    async fn tell_due(self: &Arc<Self>, desk: &Arc<Desk>) -> Result<Duration, StoreError> {
        loop {
            let now = self.now();
            let (due, next) = self.store.sagas_due(now, BATCH).await?;
            if due.is_empty() {
                let nearest = next.map_or(LONGEST_SLEEP, |at| at.since(now));
                return Ok(nearest.clamp(Duration::from_millis(1), LONGEST_SLEEP));
            }
            let mut round = JoinSet::new();
            for saga in due {
                let (app, desk) = (Arc::clone(self), Arc::clone(desk));
                round.spawn(async move { app.advance(&desk, saga).await });
            }
            while let Some(done) = round.join_next().await {
                // A panic costs one saga this round.
                if let Ok(outcome) = done {
                    outcome?;
                }
            }
        }
    }

    /// One step of one saga.
    async fn advance(&self, desk: &Desk, saga: Saga) -> Result<(), StoreError> {
        let call = match saga.state {
            SagaState::Reserving => {
                tracing::warn!(saga = %saga.id, attempt = saga.attempt, "a reservation was not used in time");
                return self.move_on(&saga, |now, row| row.give_up(now)).await.map(drop);
            }
            SagaState::Confirming => Call::Confirm,
            SagaState::Releasing => Call::Release,
            SagaState::Confirmed | SagaState::Released => return Ok(()),
        };
        let answer = desk.calls.make(call, &saga).await;
        let told = self.move_on(&saga, |now, row| match &answer {
            Ok(()) => row.acknowledged(now),
            Err(no) => {
                let pause = billing::pause(row.tries + 1, desk.settings.retry_max);
                tracing::warn!(
                    saga = %row.id, attempt = row.attempt, tries = row.tries + 1, ?no, ?pause,
                    "billing did not acknowledge it, trying again"
                );
                row.failed(kind(no), now.plus(pause))
            }
        });
        told.await.map(drop)
    }
}

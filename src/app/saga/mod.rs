//! A command that makes somebody pay: billing is asked before the commit, and told after it.
//!
//! 1. The command is played through on the present state, so that who may not do it, or what would be refused, never
//!    reaches billing; in the same transaction the saga's row is opened as `reserving`. 2. Billing is asked. 3. The
//!    command's own transaction finds the row still `reserving` with the same attempt, and commits seats and row
//!    (`confirming`) as one; or it gives the reservation up. 4. `worker` tells billing, for as long as it takes.
//!
//! Whether somebody comes to pay is read from the seats before and after, not from the command's name; the name only
//! says whether that account said yes to paying (`books::consents`). A change of payer without a new yes is a return to the
//! content owner: nobody is asked, the row begins as `confirming`, and money can never stand in its way (I7, I11).
//!
//! Invariants: a row is `confirming` if and only if its change is committed; what is committed is never released; a
//! reservation whose owner died is given up after `reserve_bound`. Asking billing inside the transaction lost: the one
//! writing thread would wait for somebody else's server.

mod answers;
mod books;
#[cfg(test)]
mod tests;
mod worker;

pub(super) use books::Books;

use std::{sync::Arc, time::Duration};

use smol_str::{SmolStr, format_smolstr};
use tokio::{sync::Notify, time::Instant};

use self::books::{Payment, consents};
use super::{
    App, Failure,
    command::{Attempt, CommandRequest},
};
use crate::{
    billing::{self, Call, Calls, No},
    config::Billing,
    digest,
    store::{Loaded, Page, Saga, SagaState, Store, StoreError, Verdict, Wanted},
    time::Timestamp,
};

/// Longest pause between two tries to reserve.
const RESERVE_PAUSE: Duration = Duration::from_secs(1);

/// Billing, where it is configured.
#[derive(Debug)]
pub(super) struct Desk {
    calls: Calls,
    settings: Billing,
    /// Wakes the worker.
    wake: Arc<Notify>,
}

impl Desk {
    /// None without a URL.
    pub(super) fn of(settings: &Billing, wake: Arc<Notify>) -> Option<Self> {
        let url = settings.url.as_deref()?;
        Some(Self { calls: Calls::new(settings, url), settings: settings.clone(), wake })
    }

    /// Asks until there is an answer or no time left to commit.
    async fn ask(&self, saga: &Saga) -> Result<(), No> {
        let end = Instant::now() + self.settings.reserve_bound.mul_f32(0.75);
        let mut tries = 0;
        loop {
            let kind = match tokio::time::timeout_at(end, self.calls.make(Call::Reserve, saga)).await {
                Ok(Err(No::Unclear(kind))) => kind,
                Ok(answer) => return answer,
                Err(_) => return Err(No::Unclear("timeout".to_owned())),
            };
            tries += 1;
            let pause = billing::pause(tries, RESERVE_PAUSE);
            if Instant::now() + pause >= end {
                return Err(No::Unclear(kind));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// A reservation that billing granted.
#[derive(Debug)]
pub(super) struct Reservation {
    attempt: u64,
}

impl Reservation {
    /// The row, if it is still ours.
    fn row<'a>(&self, loaded: &'a Loaded) -> Option<&'a Saga> {
        loaded.saga.as_ref().filter(|saga| saga.is(SagaState::Reserving, self.attempt))
    }
}

impl App {
    pub(super) fn books(&self) -> Books {
        Books { kept: self.billing.is_some() }
    }

    /// There may be something to tell billing.
    pub(super) fn wake_billing(&self) {
        if let Some(desk) = &self.billing {
            desk.wake.notify_one();
        }
    }

    /// Asks billing when this command makes somebody pay; none when nobody has to be asked. `wanted` gains the saga,
    /// which the command's own change needs to see.
    ///
    /// # Errors
    /// What the command itself would fail with now; `409 in_flight`, `402 payment_required`, `503 not_applied`.
    pub(super) async fn reserve(
        &self,
        wanted: &mut Wanted,
        attempt: &Arc<Attempt>,
    ) -> Result<Option<Reservation>, Failure> {
        let Some(desk) = self.billing.as_ref().filter(|_| consents(attempt.request.command.name())) else {
            return Ok(None);
        };
        wanted.saga = Some(id_of(&attempt.request));
        let (attempt, clock, bound) = (Arc::clone(attempt), Arc::clone(&self.clock), desk.settings.reserve_bound);
        let id = wanted.saga.clone().unwrap_or_default();
        let begin = Box::new(move |loaded: &Loaded| {
            let now = clock.now().max(loaded.head.at);
            match opened(&attempt, id, loaded, now, bound) {
                Ok(Some(saga)) => Verdict::Journal(vec![saga.clone()], Ok(Some(saga))),
                other => Verdict::Leave(other),
            }
        });
        let Some(saga) = self.store.change(wanted.clone(), begin).await?? else { return Ok(None) };
        let Err(no) = desk.ask(&saga).await else { return Ok(Some(Reservation { attempt: saga.attempt })) };
        tracing::warn!(saga = %saga.id, attempt = saga.attempt, ?no, "billing did not reserve; nothing was changed");
        let given_up = self.move_on(&saga, |now, row| {
            let failure = Some(worker::kind(&no));
            Saga { failure, ..row.give_up(now) }
        });
        if let Err(error) = given_up.await {
            // It is given up when its time is over.
            tracing::warn!(saga = %saga.id, %error, "the reservation could not be given up yet");
        }
        Err(answers::refusal(no))
    }

    /// Moves a row on if it is still as it was seen; whether it was.
    async fn move_on(&self, seen: &Saga, to: impl FnOnce(Timestamp, Saga) -> Saga) -> Result<bool, StoreError> {
        let next = to(self.now(), seen.clone());
        let wanted = Wanted { saga: Some(seen.id.clone()), ..Wanted::default() };
        let (state, attempt) = (seen.state, seen.attempt);
        let decide = Box::new(move |loaded: &Loaded| {
            if loaded.saga.as_ref().is_some_and(|saga| saga.is(state, attempt)) {
                Verdict::Journal(vec![next], true)
            } else {
                Verdict::Leave(false)
            }
        });
        let moved = self.store.change(wanted, decide).await?;
        self.wake_billing();
        Ok(moved)
    }

    /// The journal, in the order of ids.
    ///
    /// # Errors
    /// `503` when the store cannot be read.
    pub async fn sagas(
        &self,
        state: Option<SagaState>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Saga>, Failure> {
        Ok(self.store.sagas(state, after, limit).await?)
    }
}

/// The saga of a command: its handover's, so that two people who answer the same offer meet in one row; otherwise the
/// request's own.
fn id_of(request: &CommandRequest) -> SmolStr {
    if let Some(handover) = request.command.handover() {
        return handover.as_str().into();
    }
    let scope = serde_json::json!([request.caller, request.path, request.key]);
    // An array of texts has a canonical form.
    let own = digest::sha256_of_json(&scope).unwrap_or_default();
    let own = own.get(..32).unwrap_or_default();
    format_smolstr!("{}:{}:{own}", request.command.name().wire_name(), request.site)
}

/// The row to open; none when there is nothing to ask.
fn opened(
    attempt: &Attempt,
    id: SmolStr,
    loaded: &Loaded,
    now: Timestamp,
    bound: Duration,
) -> Result<Option<Saga>, Failure> {
    if loaded.stored.is_some() {
        // The command's own change answers it again.
        return Ok(None);
    }
    let (changes, _) = attempt.carry_out(loaded, now)?;
    let payment = Payment::of(Some(attempt.request.command.name()), loaded, &changes);
    let Some(payment) = payment.filter(|payment| payment.asked) else { return Ok(None) };
    let number = match &loaded.saga {
        None => 1,
        Some(saga) if matches!(saga.state, SagaState::Releasing | SagaState::Released) => saga.attempt + 1,
        Some(_) => return Err(answers::in_flight()),
    };
    Ok(Some(payment.saga(id, number, now, now.plus(bound))))
}

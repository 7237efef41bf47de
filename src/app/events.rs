//! Whom has the service told? Sinks and dead letters, for whoever watches over delivery.

use super::{App, Failure, Kind};
use crate::store::{
    Page,
    delivery::{DeadLetter, LetterState, SinkReport},
};

impl App {
    /// Everybody who is told of events, or was.
    ///
    /// # Errors
    /// `503` when the store cannot be read.
    pub async fn sinks(&self) -> Result<Vec<SinkReport>, Failure> {
        Ok(self.store.sinks().await?)
    }

    /// Events that were given up or wait for another attempt after that, after one.
    ///
    /// # Errors
    /// `503` when the store cannot be read.
    pub async fn dead_letters(&self, after: u64, limit: usize) -> Result<Page<DeadLetter>, Failure> {
        Ok(self.store.dead_letters(after, limit).await?)
    }

    /// Puts a dead letter back into the queue; again does nothing more.
    ///
    /// # Errors
    /// `404` when there is none of this number.
    pub async fn retry_dead_letter(&self, id: u64) -> Result<DeadLetter, Failure> {
        let letter = self.store.retry_letter(id, self.clock.now()).await?.ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                "unknown_dead_letter",
                format!("There is no dead letter {id}. GET /v1/events/dead-letters lists them."),
            )
        })?;
        if letter.state == LetterState::Queued {
            self.wake.send_modify(|wake| wake.letters += 1);
        }
        Ok(letter)
    }
}

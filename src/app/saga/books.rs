//! What does a commit tell billing? Who paid before it, who pays after it, and whether somebody has to be asked first.

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::{Reservation, answers};
use crate::{
    app::{Failure, command::Reply},
    handover::CommandName,
    ids::{Account, SiteId},
    site::Plan,
    store::{Changes, Loaded, NewEvent, Saga, SagaState, Verdict},
    time::Timestamp,
};

/// Whether commits tell billing who pays.
#[derive(Debug, Clone, Copy)]
pub(in crate::app) struct Books {
    pub(super) kept: bool,
}

impl Books {
    /// What the command's own transaction does, with what billing has to be told in it.
    pub(in crate::app) fn conclude(
        self,
        loaded: &Loaded,
        reserved: Option<&Reservation>,
        command: CommandName,
        done: Result<(Changes, Reply), Failure>,
        now: Timestamp,
    ) -> Verdict<Result<Reply, Failure>> {
        let done = done.and_then(|(mut changes, reply)| {
            self.follow(loaded, reserved, Some(command), &mut changes)?;
            Ok((changes, reply))
        });
        match (done, reserved.and_then(|reserved| reserved.row(loaded))) {
            (Ok((changes, reply)), _) => Verdict::Commit(Box::new(changes), Ok(reply)),
            (Err(failure), Some(row)) => Verdict::Journal(vec![row.clone().give_up(now)], Err(failure)),
            (Err(failure), None) => Verdict::Leave(Err(failure)),
        }
    }

    /// What time has done, with what billing has to be told of it. Nobody has to be asked for what time does.
    pub(in crate::app) fn settled(self, loaded: &Loaded, mut changes: Changes) -> Changes {
        if let Err(failure) = self.follow(loaded, None, None, &mut changes) {
            tracing::error!(code = %failure.code, "a commit of time alone asked for a reservation");
        }
        changes
    }

    /// Adds to a commit what billing has to be told of it. Without a reservation it fails only for an account that has
    /// to be asked first.
    pub(super) fn follow(
        self,
        loaded: &Loaded,
        reserved: Option<&Reservation>,
        command: Option<CommandName>,
        changes: &mut Changes,
    ) -> Result<(), Failure> {
        if !self.kept {
            return Ok(());
        }
        let row = reserved.and_then(|reserved| reserved.row(loaded)).cloned();
        let revision = loaded.head.revision.next();
        let at = changes.at;
        let Some(payment) = Payment::of(command, loaded, changes) else {
            changes.sagas.extend(row.map(|row| row.give_up(at)));
            return Ok(());
        };
        let effective_at = payment.effective_at;
        let confirming = if payment.asked {
            let sold = |plan: &Plan| (plan.tier, plan.name.clone(), plan.price.clone(), plan.currency.clone());
            let same = |row: &Saga| {
                row.payer == payment.payer && row.from == payment.from && sold(&row.plan) == sold(&payment.plan)
            };
            row.filter(same).ok_or_else(answers::too_late)?
        } else {
            changes.sagas.extend(row.map(|row| row.give_up(at)));
            let id = format_smolstr!("return:{}:{revision}", payment.site);
            payment.saga(id, 1, at, at)
        };
        changes.sagas.push(confirming.committed(revision, effective_at, at));
        Ok(())
    }
}

/// One change of payer.
pub(super) struct Payment {
    site: SiteId,
    kind: SmolStr,
    payer: Option<Account>,
    from: Option<Account>,
    plan: Plan,
    /// Whether the payer says yes to paying by this very command.
    pub(super) asked: bool,
    effective_at: Timestamp,
}

impl Payment {
    /// Who comes to pay by these changes; none when it is who paid before.
    pub(super) fn of(command: Option<CommandName>, loaded: &Loaded, changes: &Changes) -> Option<Self> {
        let before = loaded.sites.first()?.as_ref()?;
        let after = changes.sites.iter().find(|site| site.id == before.id)?;
        let (from, payer) = (before.seats.plan_holder(), after.seats.plan_holder());
        if from == payer {
            return None;
        }
        // What a command does to anybody but the content owner has to be asked for, whatever it is called (I11).
        let asks = |command| consents(command) || payer != before.seats.content_owner();
        let asked = payer.is_some() && command.is_some_and(asks);
        let handover = loaded.handover.as_ref().filter(|handover| asked && handover.site == before.id);
        let returned = changes.events.iter().find_map(returned_at);
        let kind = match (handover, command) {
            (Some(handover), _) => handover.kind.wire_name(),
            (None, Some(command)) if asked => command.wire_name(),
            (None, _) if payer.is_none() => "purge",
            (None, _) => "return",
        };
        Some(Self {
            site: before.id.clone(),
            kind: kind.into(),
            asked,
            payer,
            from,
            plan: after.plan.clone(),
            effective_at: returned.unwrap_or(changes.at),
        })
    }

    pub(super) fn saga(&self, id: SmolStr, attempt: u64, now: Timestamp, due_at: Timestamp) -> Saga {
        Saga {
            id,
            attempt,
            site: self.site.clone(),
            kind: self.kind.clone(),
            payer: self.payer.clone(),
            from: self.from.clone(),
            plan: self.plan.clone(),
            state: SagaState::Reserving,
            revision: None,
            effective_at: None,
            since: now,
            due_at: Some(due_at),
            tries: 0,
            failure: None,
        }
    }
}

/// A return takes effect at its deadline, however late it is committed.
fn returned_at(event: &NewEvent) -> Option<Timestamp> {
    let at = (event.kind == "SiteReturned").then(|| event.data.get("at").and_then(Value::as_str)).flatten()?;
    at.parse().ok()
}

/// Whether whoever comes to pay by this command says yes to it by this command.
pub(super) const fn consents(command: CommandName) -> bool {
    matches!(command, CommandName::AcceptHandover | CommandName::RescuePlan)
}

//! In whose name does somebody act, and on what grounds? Written into the audit beside every command.

use serde_json::{Value, json};

use super::{
    command::{Attempt, Ground},
    texts,
};
use crate::{
    assignment::{Standing, Via},
    handover::{Acting, Applied, Command, CommandName},
    ids::{Account, Principal},
    site::Side,
};

impl Attempt {
    /// On what grounds it was done, for the audit.
    pub(super) fn evidence(&self, ground: Ground<'_>, acting: &Acting, applied: &Applied) -> Option<Value> {
        let request = &self.request;
        let mut found = serde_json::Map::new();
        let mut note = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                found.insert(name.to_owned(), value);
            }
        };
        note("roles", (!acting.roles.is_empty()).then(|| json!(acting.roles)));
        note("auth_time", request.auth_time.map(Value::from));
        note("preview_digest", request.preview_digest.as_deref().map(Value::from));
        if let Command::AcceptHandover { handover, explanation_digest, lang } = &request.command {
            note("handover", Some(json!(handover)));
            note("explanation_digest", Some(json!(explanation_digest)));
            note("lang", Some(json!(lang)));
            note("text_version", Some(Value::from(texts::text_version(&request.command).as_str())));
        }
        let case = request.command.case();
        note("case", case.map(|case| json!(case.case)));
        note("approver", case.and_then(|case| case.approver.as_ref()).map(|approver| json!(approver)));
        let spent = applied.site.confirmations.len() < ground.site.confirmations.len();
        note("confirmation", request.command.operation().filter(|_| spent).map(|operation| json!(operation)));
        (!found.is_empty()).then_some(Value::Object(found))
    }

    /// In which capacity somebody acts by one route. Staff act through no account; services come another way.
    pub(super) fn acting(&self, ground: Ground<'_>, standing: &Standing<'_>, via: Via) -> Option<Acting> {
        let principal = self.request.actor.clone();
        let roles = standing.roles_by(via);
        let user = match &self.request.actor {
            Principal::User(user) => user,
            Principal::Staff(_) => return Some(Acting { principal, through: None, side: Side::Client, roles }),
            Principal::Service(_) => return None,
        };
        let own = Account::User(user.clone());
        let (through, for_side) = match via {
            Via::Agency if self.request.command.name() == CommandName::RequestPartnerRole => {
                let mut asking = ground.directory.agencies_of_admin(user).filter(|a| a.verified && a.is_active());
                let named = self.request.command.agency().cloned();
                let agency = named.or_else(|| asking.next().map(|agency| agency.id.clone()));
                (agency.map_or(own, Account::Agency), Side::Partner)
            }
            Via::Agency => {
                let agency = ground.site.seats.agency().cloned().map_or_else(|| own.clone(), Account::Agency);
                (agency, Side::Partner)
            }
            Via::Grant => (own, Side::Partner),
            Via::Contributor => {
                let side = ground.site.contributors.get(user).map_or(Side::Client, |given| given.side);
                (own, side)
            }
            Via::NamedParty => self.party(ground, own),
            Via::Seat | Via::Session => (own, Side::Client),
        };
        Some(Acting { principal, through: Some(through), side: for_side, roles })
    }

    /// The account that a party to the named offer answers for: the one that takes it back, or the one whose answer it is.
    fn party(&self, ground: Ground<'_>, own: Account) -> (Account, Side) {
        let account = match (&self.request.command, ground.named, &own) {
            (Command::CancelHandover { .. }, Some(handover), _) => handover.initiator.clone(),
            (_, Some(handover), Account::User(user)) => {
                let answers = |account: &&Account| ground.directory.speaks_for(user, account);
                handover.consents_needed.iter().find(answers).unwrap_or(&handover.to).clone()
            }
            (_, _, _) => own,
        };
        let side = match &account {
            Account::User(_) => Side::Client,
            Account::Agency(_) => Side::Partner,
        };
        (account, side)
    }
}

//! The body of a transition: which command, with which fields, by whom.

use std::collections::BTreeSet;

use serde::Deserialize;
use smol_str::SmolStr;

use crate::{
    handover::{Command, CommandName},
    http::problem::Problem,
    ids::{Account, HandoverId, Principal, UserId},
};

/// `POST /v1/sites/{site}/transitions`. Which fields a command takes is listed with the commands; any other is refused.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransitionBody {
    /// The person acting, for example `user:maria`.
    #[schema(value_type = String, example = "user:maria")]
    pub actor: Option<Principal>,
    /// When they last proved who they are, in seconds since 1970.
    pub auth_time: Option<i64>,
    /// The command, for example `offer_partner_role`.
    #[schema(value_type = String, example = "offer_partner_role")]
    pub command: Option<String>,
    /// Whom an offer names.
    #[schema(value_type = Option<String>, example = "agency:studio-north")]
    to: Option<Account>,
    /// The digest of the preview that the acting person saw.
    #[schema(value_type = Option<String>)]
    pub preview_digest: Option<SmolStr>,
    /// Which handover an answer is to.
    #[schema(value_type = Option<String>)]
    handover: Option<HandoverId>,
    /// The digest of the explanation that the accepting person read.
    #[schema(value_type = Option<String>)]
    explanation_digest: Option<SmolStr>,
    /// The language it was read in; `en` when absent.
    #[schema(value_type = Option<String>)]
    lang: Option<SmolStr>,
    /// Whether a reclaim stops every partner write at once.
    lock: Option<bool>,
    /// Partner-side people whom the client keeps.
    #[schema(value_type = Option<Vec<String>>)]
    keep: Option<BTreeSet<Person>>,
    /// Whose role it is about.
    #[schema(value_type = Option<String>, example = "user:bob")]
    user: Option<Person>,
    /// A person-level role.
    #[schema(value_type = Option<String>, example = "WebsiteDesigner")]
    role: Option<SmolStr>,
}

/// A person, as `user:bob` or `bob`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "SmolStr")]
struct Person(UserId);

impl TryFrom<SmolStr> for Person {
    type Error = crate::ids::IdError;
    fn try_from(text: SmolStr) -> Result<Self, Self::Error> {
        text.strip_prefix("user:").unwrap_or(&text).parse().map(Self)
    }
}

impl TransitionBody {
    /// The person acting and the command.
    ///
    /// # Errors
    /// `400` naming the field that is missing, too many or of the wrong kind.
    pub(super) fn read(mut self) -> Result<(Principal, Command, Option<SmolStr>), Problem> {
        let actor = self.actor.take().ok_or_else(|| missing("actor", "the person acting, such as `user:maria`"))?;
        let text = self.command.take().ok_or_else(|| missing("command", "what to do, such as `offer_partner_role`"))?;
        let name = name(&text)?;
        let digest = self.preview_digest.take();
        let command = self.command(name)?;
        if digest.is_some() && !matches!(name, CommandName::OfferPartnerRole | CommandName::AssignClientRole) {
            return Err(unwanted("preview_digest", name));
        }
        self.nothing_left(name)?;
        Ok((actor, command, digest))
    }

    /// Takes the command's fields out.
    fn command(&mut self, name: CommandName) -> Result<Command, Problem> {
        Ok(match name {
            CommandName::OfferPartnerRole => match self.to.take() {
                Some(Account::Agency(to)) => Command::OfferPartnerRole { to },
                _ => return Err(missing("to", "an agency, such as `agency:studio-north`")),
            },
            CommandName::AssignClientRole => match self.to.take() {
                Some(Account::User(to)) => Command::AssignClientRole { to },
                _ => return Err(missing("to", "a person, such as `user:tom`")),
            },
            CommandName::AcceptHandover => Command::AcceptHandover {
                handover: self.handover()?,
                explanation_digest: self.explanation_digest.take().ok_or_else(|| {
                    missing(
                        "explanation_digest",
                        "the `digest` of GET /v1/handovers/{id}/explanation for the accepting side",
                    )
                })?,
                lang: self.lang.take().unwrap_or(SmolStr::new_static("en")),
            },
            CommandName::DeclineHandover => Command::DeclineHandover { handover: self.handover()? },
            CommandName::CancelHandover => Command::CancelHandover { handover: self.handover()? },
            CommandName::ReclaimSite => Command::ReclaimSite {
                lock: self.lock.take().unwrap_or(false),
                keep: self.keep.take().unwrap_or_default().into_iter().map(|person| person.0).collect(),
            },
            CommandName::WithdrawReclaim => Command::WithdrawReclaim,
            CommandName::ReleaseSite => Command::ReleaseSite,
            CommandName::ResignAsPartner => Command::ResignAsPartner,
            CommandName::GrantRole => Command::GrantRole { user: self.user()?, role: self.role()? },
            CommandName::ChangeRole => Command::ChangeRole { user: self.user()?, role: self.role()? },
            CommandName::RevokeRole => Command::RevokeRole { user: self.user()? },
            CommandName::LeaveSite => Command::LeaveSite,
            CommandName::ExpireHandover | CommandName::ReturnEffective => return Err(unknown(name.wire_name())),
        })
    }

    fn handover(&mut self) -> Result<HandoverId, Problem> {
        self.handover.take().ok_or_else(|| missing("handover", "the id of the handover"))
    }
    fn user(&mut self) -> Result<UserId, Problem> {
        self.user.take().map(|person| person.0).ok_or_else(|| missing("user", "the person, such as `user:bob`"))
    }
    fn role(&mut self) -> Result<SmolStr, Problem> {
        self.role.take().ok_or_else(|| missing("role", "a role such as `WebsiteDesigner`"))
    }

    /// A field that the command does not take is a mistake that must not pass unseen: `lock` on the wrong command.
    fn nothing_left(&self, name: CommandName) -> Result<(), Problem> {
        let left = [
            ("to", self.to.is_some()),
            ("handover", self.handover.is_some()),
            ("explanation_digest", self.explanation_digest.is_some()),
            ("lang", self.lang.is_some()),
            ("lock", self.lock.is_some()),
            ("keep", self.keep.is_some()),
            ("user", self.user.is_some()),
            ("role", self.role.is_some()),
        ];
        match left.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(unwanted(field, name)),
            None => Ok(()),
        }
    }
}

fn name(text: &str) -> Result<CommandName, Problem> {
    let found = CommandName::ALL.into_iter().find(|name| name.wire_name() == text && name.action().is_some());
    found.ok_or_else(|| unknown(text))
}

fn unknown(text: &str) -> Problem {
    let known: Vec<&str> =
        CommandName::ALL.into_iter().filter(|name| name.action().is_some()).map(CommandName::wire_name).collect();
    let text: String = text.chars().take(48).collect();
    Problem::bad_request("unknown_command", format!("there is no command `{text}`; there are: {}", known.join(", ")))
}

fn missing(field: &str, what: &str) -> Problem {
    Problem::bad_request("invalid_body", format!("`{field}` is missing or of another kind: it is {what}"))
        .with("field", field)
}

fn unwanted(field: &str, name: CommandName) -> Problem {
    Problem::bad_request("invalid_body", format!("`{}` does not take `{field}`", name.wire_name())).with("field", field)
}

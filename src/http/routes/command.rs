//! The body of a transition: which command, with which fields, by whom.
//!
//! One flat object with optional members, because that is what callers write; read into one [`Command`], which cannot hold
//! a field too many or too few. A tagged enumeration of serde's lost: it could not say which field of which command is
//! wrong.

use std::collections::BTreeSet;

use serde::Deserialize;
use smol_str::SmolStr;

use crate::{
    handover::{Authority, Case, Command, CommandName, Reported},
    http::problem::Problem,
    ids::{Account, AgencyId, HandoverId, Principal, StaffId, UserId},
    site::Template,
    time::Timestamp,
};

/// `POST /v1/sites/{site}/transitions`. Which fields a command takes is listed with the commands; any other is refused.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransitionBody {
    /// Who acts, for example `user:maria`; `staff:` for trust and safety, `service:` for what services report.
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
    /// Whose role or delegation it is about.
    #[schema(value_type = Option<String>, example = "user:bob")]
    user: Option<Person>,
    /// A person-level role.
    #[schema(value_type = Option<String>, example = "WebsiteDesigner")]
    role: Option<SmolStr>,
    /// The agency that asks, for an admin of several.
    #[schema(value_type = Option<String>, example = "agency:studio-north")]
    agency: Option<Account>,
    /// The site's one-time code.
    #[schema(value_type = Option<String>)]
    site_code: Option<SmolStr>,
    /// The domains that move with the title.
    #[schema(value_type = Option<Vec<String>>)]
    domains: Option<BTreeSet<String>>,
    /// Whether the paid plan goes on at the new owner's cost; yes when absent.
    plan: Option<bool>,
    /// Whether the former owner stays as a website manager.
    stay: Option<bool>,
    /// What billing says: `ok` or `past_due`.
    status: Option<Reported>,
    /// Why there is a dispute, as a code of the platform's such as `unpaid_work`.
    #[schema(value_type = Option<String>)]
    reason: Option<SmolStr>,
    /// Trust and safety's case.
    #[schema(value_type = Option<String>)]
    case: Option<SmolStr>,
    /// The colleague who agreed, such as `staff:lee`.
    #[schema(value_type = Option<String>)]
    approver: Option<Colleague>,
    /// Which part of the work is delegated: `builder`, `commerce` or `manager`.
    #[schema(value_type = Option<String>)]
    template: Option<Template>,
    /// When a delegation ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The catalogue action that is confirmed or was done, such as `RefundOrder`.
    #[schema(value_type = Option<String>)]
    action: Option<SmolStr>,
    /// Which act of it, as the calling service names it.
    #[schema(value_type = Option<String>)]
    operation: Option<SmolStr>,
    /// How long a confirmation waits, in seconds.
    expires_in_s: Option<u64>,
    /// The support agent, such as `staff:sam`.
    #[schema(value_type = Option<String>)]
    agent: Option<Colleague>,
    /// How long support may look.
    minutes: Option<u64>,
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

/// A member of staff, as `staff:sam` or `sam`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SmolStr")]
struct Colleague(StaffId);

impl TryFrom<SmolStr> for Colleague {
    type Error = crate::ids::IdError;
    fn try_from(text: SmolStr) -> Result<Self, Self::Error> {
        text.strip_prefix("staff:").unwrap_or(&text).parse().map(Self)
    }
}

/// Longest name of an operation, a case or a reason, in bytes.
const MAX_NAME: usize = 128;

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
        if digest.is_some() && !name.is_offer() {
            return Err(unwanted("preview_digest", name));
        }
        self.nothing_left(name)?;
        Ok((actor, command, digest))
    }

    /// Takes the command's fields out.
    fn command(&mut self, name: CommandName) -> Result<Command, Problem> {
        Ok(match name {
            CommandName::RequestPartnerRole => {
                Command::RequestPartnerRole { agency: self.asking()?, site_code: self.code()? }
            }
            CommandName::IssueSiteCode => Command::IssueSiteCode,
            CommandName::OfferPartnerRole => Command::OfferPartnerRole { to: self.offered_agency()? },
            CommandName::AssignClientRole => Command::AssignClientRole { to: self.offered_person()? },
            CommandName::ReplacePartner => Command::ReplacePartner { to: self.offered_agency()? },
            CommandName::TransferOwnership => Command::TransferOwnership {
                to: self.offered_person()?,
                domains: self.domains.take().unwrap_or_default(),
                plan: self.plan.take().unwrap_or(true),
                stay: self.stay.take().unwrap_or(false),
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
            CommandName::RescuePlan => Command::RescuePlan,
            CommandName::ReportPlan => Command::ReportPlan {
                status: self.status.take().ok_or_else(|| missing("status", "`ok` or `past_due`"))?,
            },
            CommandName::OpenDispute => Command::OpenDispute { reason: self.reason()? },
            CommandName::CloseDispute => Command::CloseDispute,
            CommandName::FreezeSite => Command::FreezeSite(self.case()?),
            CommandName::UnfreezeSite => Command::UnfreezeSite(self.case()?),
            CommandName::OpenCustody => Command::OpenCustody(self.case()?),
            CommandName::RecordSuccessor => Command::RecordSuccessor { to: self.offered_person()?, case: self.case()? },
            CommandName::TrashSite => Command::TrashSite { operation: self.maybe_operation()? },
            CommandName::RestoreSite => Command::RestoreSite,
            CommandName::PurgeSite => Command::PurgeSite,
            CommandName::GrantRole => Command::GrantRole { user: self.user()?, role: self.role()? },
            CommandName::ChangeRole => Command::ChangeRole { user: self.user()?, role: self.role()? },
            CommandName::RevokeRole => Command::RevokeRole { user: self.user()? },
            CommandName::LeaveSite => Command::LeaveSite,
            CommandName::GrantAgencyAccess => Command::GrantAgencyAccess {
                user: self.user()?,
                template: self
                    .template
                    .take()
                    .ok_or_else(|| missing("template", "`builder`, `commerce` or `manager`"))?,
                expires_at: self.expires_at.take(),
            },
            CommandName::RevokeAgencyAccess => Command::RevokeAgencyAccess { user: self.user()? },
            CommandName::BlockAgencyMember => Command::BlockAgencyMember { user: self.user()? },
            CommandName::UnblockAgencyMember => Command::UnblockAgencyMember { user: self.user()? },
            CommandName::ConfirmPartnerAction => Command::ConfirmPartnerAction {
                action: self.action()?,
                operation: self.operation()?,
                expires_in_s: self.expires_in_s.take(),
            },
            CommandName::SpendConfirmation => {
                Command::SpendConfirmation { action: self.action()?, operation: self.operation()? }
            }
            CommandName::GrantSupportSession => {
                Command::GrantSupportSession { agent: self.agent()?, minutes: self.minutes.take() }
            }
            CommandName::EndSupportSession => Command::EndSupportSession { agent: self.agent()? },
            CommandName::ExpireHandover
            | CommandName::RemindHandover
            | CommandName::ReturnEffective
            | CommandName::LapsePlan
            | CommandName::FollowAgency
            | CommandName::EndFreeze
            | CommandName::EmptyTrash => return Err(unknown(name.wire_name())),
        })
    }

    fn offered_agency(&mut self) -> Result<AgencyId, Problem> {
        match self.to.take() {
            Some(Account::Agency(to)) => Ok(to),
            Some(Account::User(_)) | None => Err(missing("to", "an agency, such as `agency:studio-north`")),
        }
    }
    fn offered_person(&mut self) -> Result<UserId, Problem> {
        match self.to.take() {
            Some(Account::User(to)) => Ok(to),
            Some(Account::Agency(_)) | None => Err(missing("to", "a person, such as `user:tom`")),
        }
    }
    fn asking(&mut self) -> Result<Option<AgencyId>, Problem> {
        match self.agency.take() {
            Some(Account::Agency(agency)) => Ok(Some(agency)),
            Some(Account::User(_)) => Err(missing("agency", "an agency, such as `agency:studio-north`")),
            None => Ok(None),
        }
    }
    fn code(&mut self) -> Result<SmolStr, Problem> {
        let code = self.site_code.take().filter(|code| code.len() <= MAX_NAME);
        code.ok_or_else(|| missing("site_code", "the one-time code that the site's owner gave to you"))
    }
    fn handover(&mut self) -> Result<HandoverId, Problem> {
        self.handover.take().ok_or_else(|| missing("handover", "the id of the handover"))
    }
    fn user(&mut self) -> Result<UserId, Problem> {
        self.user.take().map(|person| person.0).ok_or_else(|| missing("user", "the person, such as `user:bob`"))
    }
    fn agent(&mut self) -> Result<StaffId, Problem> {
        let agent = self.agent.take().map(|colleague| colleague.0);
        agent.ok_or_else(|| missing("agent", "the support agent, such as `staff:sam`"))
    }
    fn role(&mut self) -> Result<SmolStr, Problem> {
        self.role.take().ok_or_else(|| missing("role", "a role such as `WebsiteDesigner`"))
    }
    fn action(&mut self) -> Result<SmolStr, Problem> {
        self.action.take().ok_or_else(|| missing("action", "an action such as `RefundOrder`"))
    }
    fn operation(&mut self) -> Result<SmolStr, Problem> {
        self.maybe_operation()?
            .ok_or_else(|| missing("operation", "which act it is, as the service that does it names it"))
    }
    fn maybe_operation(&mut self) -> Result<Option<SmolStr>, Problem> {
        let Some(operation) = self.operation.take() else { return Ok(None) };
        let printable = operation.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if operation.is_empty() || operation.len() > MAX_NAME || !printable {
            return Err(missing("operation", "1 to 128 printable ASCII characters without spaces"));
        }
        Ok(Some(operation))
    }
    /// A code, no prose: the other side reads it.
    fn reason(&mut self) -> Result<SmolStr, Problem> {
        let code = |text: &SmolStr| {
            let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
            plain && !text.is_empty() && text.len() <= 64
        };
        let reason = self.reason.take().filter(code);
        reason.ok_or_else(|| {
            missing("reason", "a reason code such as `unpaid_work`: letters, digits, - and _, at most 64 of them")
        })
    }
    fn case(&mut self) -> Result<Case, Problem> {
        let case = self.case.take().filter(|case| case.parse::<HandoverId>().is_ok());
        let case = case.ok_or_else(|| missing("case", "trust and safety's case, an identifier such as `TS-1204`"))?;
        Ok(Case { case, approver: self.approver.take().map(|colleague| colleague.0) })
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
            ("agency", self.agency.is_some()),
            ("site_code", self.site_code.is_some()),
            ("domains", self.domains.is_some()),
            ("plan", self.plan.is_some()),
            ("stay", self.stay.is_some()),
            ("status", self.status.is_some()),
            ("reason", self.reason.is_some()),
            ("case", self.case.is_some()),
            ("approver", self.approver.is_some()),
            ("template", self.template.is_some()),
            ("expires_at", self.expires_at.is_some()),
            ("action", self.action.is_some()),
            ("operation", self.operation.is_some()),
            ("expires_in_s", self.expires_in_s.is_some()),
            ("agent", self.agent.is_some()),
            ("minutes", self.minutes.is_some()),
        ];
        match left.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(unwanted(field, name)),
            None => Ok(()),
        }
    }
}

/// Commands that somebody gives; what time does is nobody's to ask for.
fn given(name: CommandName) -> bool {
    name.authority() != Authority::Time
}

fn name(text: &str) -> Result<CommandName, Problem> {
    CommandName::ALL.into_iter().find(|name| name.wire_name() == text && given(*name)).ok_or_else(|| unknown(text))
}

fn unknown(text: &str) -> Problem {
    let known: Vec<&str> =
        CommandName::ALL.into_iter().filter(|name| given(*name)).map(CommandName::wire_name).collect();
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

//! Commands: the transition endpoint's pipeline.
//!
//! Every command passes in one order, and the first failure answers: the stored reply for the key; `404` for a site or
//! handover that there is not; `409 terminal` for a handover that has ended; `403` for what the actor lacks; `409` and
//! `422` for what the state forbids; `412` for a stale `If-Match`; `409 preview_changed`; then one transaction. All of
//! it happens inside that transaction, on the state that the command will change.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{App, Failure, Kind, preview};
use crate::{
    assignment::{Asked, Directory, STATE_REASONS, SitePolicies, SiteRow, Standing, Via},
    clock,
    handover::{self, Acting, Applied, Command, Handover, Refusal, Situation, Timers},
    ids::{Account, AgencyId, HandoverId, Principal, SiteId},
    policy::ActionIx,
    revision::Revision,
    site::{HandoverView, Side, Site, SiteView},
    store::{Changes, IdempotencyKey, Loaded, NewEvent, Store, StoredReply, Verdict, Wanted},
    time::Timestamp,
};

/// A command as it arrived, already well formed.
#[derive(Debug, Clone)]
pub struct CommandRequest {
    /// The site it is for.
    pub site: SiteId,
    /// The authenticated caller; the scope of the key.
    pub caller: String,
    /// The path called; the scope of the key.
    pub path: String,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// SHA-256 of the canonical request without `auth_time`, in lower-case hex.
    pub fingerprint: String,
    /// The person acting.
    pub actor: Principal,
    /// When they last proved who they are, in seconds since 1970.
    pub auth_time: Option<i64>,
    /// What they want.
    pub command: Command,
    /// The caller's `If-Match`.
    pub if_match: Option<String>,
    /// The digest of the preview that the person saw.
    pub preview_digest: Option<SmolStr>,
}

/// The answer to a command that was carried out, now or before.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The revision it was committed at.
    pub revision: Revision,
    /// The body.
    pub body: Value,
}

/// The body of a reply.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ReplyBody {
    /// `effective`: no check received from now on is answered from the state before.
    status: &'static str,
    /// The revision it was committed at, as a token.
    revision: String,
    /// How long the answer waited for replicas, in milliseconds.
    waited_ms: u64,
    /// The site as it is now.
    site: SiteView,
    /// The handover that was opened or ended.
    handover: Option<HandoverView>,
    /// What happened, in order.
    events: Vec<&'static str>,
}

/// Everything an attempt needs besides what the transaction loads.
pub(super) struct Attempt {
    pub policies: Arc<SitePolicies>,
    pub timers: Timers,
    pub step_up_s: i64,
    pub new_handover: HandoverId,
    pub request: CommandRequest,
}

/// What a command meets: the state inside the transaction.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub site: &'a Site,
    pub named: Option<&'a Handover>,
    pub directory: &'a Directory,
    pub revision: Revision,
    pub now: Timestamp,
}

impl App {
    /// Carries out a command, or answers again what was answered to its key before.
    ///
    /// # Errors
    /// The first failure in the order above. Nothing has changed then.
    pub async fn command(&self, request: CommandRequest) -> Result<Reply, Failure> {
        let key = request.key.clone().ok_or_else(|| {
            Failure::new(
                Kind::Invalid,
                "idempotency_key_missing",
                "Send an Idempotency-Key header, a new one for each command and the same one when you try again.",
            )
        })?;
        let mut wanted = wanted(&request);
        wanted.key = Some(IdempotencyKey { caller: request.caller.clone(), path: request.path.clone(), key });
        let attempt = self.attempt(request);
        let clock = Arc::clone(&self.clock);
        let decide = Box::new(move |loaded: &Loaded| {
            if let Some(stored) = &loaded.stored {
                return Verdict::Leave(attempt.replay(stored));
            }
            match attempt.carry_out(loaded, clock.now().max(loaded.head.at)) {
                Ok((changes, reply)) => Verdict::Commit(Box::new(changes), Ok(reply)),
                Err(failure) => Verdict::Leave(Err(failure)),
            }
        });
        self.store.change(wanted, decide).await?
    }

    pub(super) fn attempt(&self, request: CommandRequest) -> Attempt {
        Attempt {
            policies: self.view.policies(),
            timers: self.timers.clone(),
            step_up_s: self.step_up_s(),
            new_handover: clock::new_handover_id(),
            request,
        }
    }
}

/// What a command needs to read.
pub(super) fn wanted(request: &CommandRequest) -> Wanted {
    Wanted {
        sites: vec![request.site.clone()],
        handover: request.command.handover().cloned(),
        agencies: offered_to(&request.command).cloned().into_iter().collect(),
        staff: match &request.actor {
            Principal::Staff(staff) => Some(staff.clone()),
            Principal::User(_) | Principal::Service(_) => None,
        },
        ..Wanted::default()
    }
}

fn offered_to(command: &Command) -> Option<&AgencyId> {
    if let Command::OfferPartnerRole { to } = command { Some(to) } else { None }
}

impl Attempt {
    fn replay(&self, stored: &StoredReply) -> Result<Reply, Failure> {
        if stored.fingerprint == self.request.fingerprint {
            return Ok(Reply { revision: stored.revision, body: stored.body.clone() });
        }
        Err(Failure::new(
            Kind::Unprocessable,
            "key_reused",
            "This Idempotency-Key was used with another request. Use a new key for a new command.",
        ))
    }

    fn carry_out(&self, loaded: &Loaded, now: Timestamp) -> Result<(Changes, Reply), Failure> {
        let ground = self.ground(loaded, now)?;
        let (applied, acting) = self.try_on(ground)?;
        self.preconditions(ground)?;
        let body = ReplyBody {
            status: "effective",
            revision: ground.revision.to_string(),
            waited_ms: 0,
            site: SiteView::from(&applied.site),
            handover: applied.handovers.last().map(HandoverView::from),
            events: applied.events.iter().map(|event| event.kind).collect(),
        };
        let body = serde_json::to_value(body).unwrap_or_else(|_| json!({ "status": "effective" }));
        let mut changes = changes(applied, Some(&acting), now);
        changes.reply = Some((self.request.fingerprint.clone(), body.clone()));
        Ok((changes, Reply { revision: ground.revision, body }))
    }

    /// What the command meets; `404` and `409 terminal` come from here.
    pub(super) fn ground<'a>(&self, loaded: &'a Loaded, now: Timestamp) -> Result<Ground<'a>, Failure> {
        let site = loaded
            .sites
            .first()
            .and_then(Option::as_ref)
            .ok_or_else(|| Failure::unknown_site(self.request.site.as_str()))?;
        let named = loaded.handover.as_ref().filter(|handover| handover.site == site.id);
        if self.request.command.handover().is_some() {
            let handover = named.ok_or_else(Failure::unknown_handover)?;
            let status = handover.status_at(now);
            if !status.is_live() {
                let view = serde_json::to_value(HandoverView::from(handover)).unwrap_or_default();
                return Err(Failure::from(Refusal::Terminal(status)).with("handover", view));
            }
        }
        Ok(Ground { site, named, directory: &loaded.directory, revision: loaded.head.revision.next(), now })
    }

    /// Authorizes the command and runs the machine, without committing anything.
    pub(super) fn try_on(&self, ground: Ground<'_>) -> Result<(Applied, Acting), Failure> {
        let request = &self.request;
        let name = request.command.name();
        let action = name
            .action()
            .and_then(|action| self.policies.bundle().action(action))
            .ok_or(crate::decision::Fault::Missing("the command's action is not in the schema"))?;
        let row = SiteRow::of(ground.site, &self.policies);
        let asked = Asked { auth_time: request.auth_time, ..Asked::default() };
        let standing =
            Standing::of(&self.policies, &row, ground.directory, &request.actor, &asked, ground.now, self.step_up_s);
        if let Err(reason) = standing.may_but_for_state(action)? {
            return Err(denied(&reason));
        }
        let outcome = standing.decide(action)?;
        let (applied, acting) = self.by_some_route(ground, &standing, action)?;
        match outcome.reason.as_deref() {
            None => Ok((applied, acting)),
            Some("handover_open") => Err(Refusal::AlreadyOpen.into()),
            Some("past_due") => Err(Failure::blocked(&["plan_past_due"])),
            Some(reason) if STATE_REASONS.contains(&reason) => Err(Failure::blocked(&[reason])),
            Some(reason) => Err(denied(reason)),
        }
    }

    /// A person may have come to the action by several routes: the client who is an admin of the agency, a manager who
    /// became one. Each route is tried with its own account, side and roles, most direct first, and never a mixture: what
    /// one route may grant must not be booked to the side of another.
    fn by_some_route(
        &self,
        ground: Ground<'_>,
        standing: &Standing<'_>,
        action: ActionIx,
    ) -> Result<(Applied, Acting), Failure> {
        let mut refused = None;
        for via in standing.routes(action) {
            let Some(acting) = self.acting(ground, standing, via) else { continue };
            match self.apply(ground, &self.request.command, Some(&acting)) {
                Ok(applied) => return Ok((applied, acting)),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        Err(refused.map_or_else(|| denied("role_lacks_action"), Failure::from))
    }

    pub(super) fn apply(
        &self,
        ground: Ground<'_>,
        command: &Command,
        acting: Option<&Acting>,
    ) -> Result<Applied, Refusal> {
        let situation = Situation {
            site: ground.site,
            named: ground.named,
            directory: ground.directory,
            strengths: self.policies.strengths(),
            timers: &self.timers,
            acting,
            new_handover: &self.new_handover,
            revision: ground.revision,
            preview_digest: self.request.preview_digest.as_deref().unwrap_or_default(),
        };
        handover::apply(&situation, command, ground.now)
    }

    /// `412` and `409 preview_changed`: what the caller saw must still be so.
    fn preconditions(&self, ground: Ground<'_>) -> Result<(), Failure> {
        let etag = ground.site.revision.etag();
        if self.request.if_match.as_deref().is_some_and(|given| !matches(given, &etag)) {
            return Err(Failure::new(
                Kind::Precondition,
                "stale_if_match",
                format!("The site has changed: its ETag is {etag} now. Read it again before you decide."),
            )
            .with("etag", etag));
        }
        let (given, present) = match &self.request.command {
            Command::OfferPartnerRole { .. } | Command::AssignClientRole { .. } => {
                let Some(given) = self.request.preview_digest.clone() else { return Err(preview_missing()) };
                (given, preview::digest(self, ground)?)
            }
            Command::AcceptHandover { explanation_digest, lang, .. } => {
                (explanation_digest.clone(), preview::acceptors_digest(self, ground, lang)?)
            }
            _ => return Ok(()),
        };
        if given == present {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Conflict,
            "preview_changed",
            "What you saw is not how things are now. Read the preview or the explanation again, then decide.",
        ))
    }

    /// In which capacity the person acts by one route. None for staff and services, which hold no
    /// account.
    fn acting(&self, ground: Ground<'_>, standing: &Standing<'_>, via: Via) -> Option<Acting> {
        let Principal::User(user) = &self.request.actor else { return None };
        let own = Account::User(user.clone());
        let (through, for_side) = match via {
            Via::Agency => {
                let agency = ground.site.seats.agency().cloned().map_or_else(|| own.clone(), Account::Agency);
                (agency, Side::Partner)
            }
            Via::Grant => (own, Side::Partner),
            Via::Contributor => {
                let side = ground.site.contributors.get(user).map_or(Side::Client, |given| given.side);
                (own, side)
            }
            Via::NamedParty => self.party(ground.named, own),
            Via::Seat | Via::Session => (own, Side::Client),
        };
        Some(Acting { principal: self.request.actor.clone(), through, side: for_side, roles: standing.roles_by(via) })
    }
}

impl Attempt {
    /// The account that a party to the named offer answers for: the one offered to, or the one that takes back.
    fn party(&self, named: Option<&Handover>, own: Account) -> (Account, Side) {
        let account = match (&self.request.command, named) {
            (Command::CancelHandover { .. }, Some(handover)) => handover.initiator.clone(),
            (_, Some(handover)) => handover.to.clone(),
            (_, None) => own,
        };
        let side = match &account {
            Account::User(_) => Side::Client,
            Account::Agency(_) => Side::Partner,
        };
        (account, side)
    }
}

/// `If-Match`: `*` or a list of strong tags (RFC 9110 §13.1.1).
fn matches(given: &str, etag: &str) -> bool {
    given.trim() == "*" || given.split(',').any(|tag| tag.trim() == etag)
}

fn preview_missing() -> Failure {
    Failure::new(
        Kind::Invalid,
        "preview_digest_missing",
        "An offer carries the `preview_digest` of a preview. Send the same command with ?dry_run=true to get one.",
    )
}

/// `403` with the reason, in words.
pub(super) fn denied(reason: &str) -> Failure {
    let (sentence, remedy) = crate::explanation::denial(reason).unwrap_or(("You may not do this.", ""));
    Failure::new(Kind::Forbidden, reason.to_owned(), format!("{sentence} {remedy}").trim_end().to_owned())
}

/// What an applied transition writes.
pub(super) fn changes(applied: Applied, acting: Option<&Acting>, now: Timestamp) -> Changes {
    let events = applied
        .events
        .iter()
        .map(|event| NewEvent {
            site: Some(applied.site.id.clone()),
            kind: event.kind.to_owned(),
            actor: acting.map(|acting| acting.principal.clone()),
            via: acting.map(|acting| acting.through.to_string()),
            data: event.data.clone(),
        })
        .collect();
    Changes { sites: vec![applied.site], handovers: applied.handovers, events, at: now, ..Changes::default() }
}

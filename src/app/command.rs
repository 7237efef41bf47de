//! Commands: the transition endpoint's pipeline.
//!
//! Every command passes in one order, and the first failure answers: the stored reply for the key; `404` for a site or
//! handover that there is not; `409 terminal` for a handover that has ended; `403` for what the actor lacks; `409` and
//! `422` for what the state forbids; `412` for a stale `If-Match`; `409 preview_changed`; then one transaction. All of
//! it happens inside that transaction, on the state that the command will change. A command that makes somebody pay is
//! played through once before that, and billing is asked in between (`saga`).

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{App, Failure, Kind, Rules, policies, preview, rules, texts, timers};
use crate::{
    assignment::{Asked, Directory, STATE_REASONS, SitePolicies, SiteRow, Standing},
    clock,
    handover::{self, Acting, Applied, Authority, Command, CommandName, Handover, Refusal, Situation},
    ids::{Account, HandoverId, Principal, SiteId},
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
    /// In which language a preview explains.
    pub lang: SmolStr,
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
    /// The site's new one-time code, where one was asked for. It is shown this once: a repeated request does not get it
    /// again.
    #[serde(skip_serializing_if = "Option::is_none")]
    site_code: Option<String>,
}

/// Everything an attempt needs besides what the transaction loads.
pub(super) struct Attempt {
    pub policies: Arc<SitePolicies>,
    pub rules: Rules,
    pub step_up_s: i64,
    pub new_handover: HandoverId,
    pub new_code: String,
    pub request: CommandRequest,
}

/// The state that a command meets: as it is stored, or as time has made it since.
pub(super) struct Met<'a> {
    pub loaded: &'a Loaded,
    pub now: Timestamp,
    stored: &'a Site,
    /// What time did that nobody has committed: it goes first, in the same transaction.
    settled: Option<Applied>,
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
        let mut wanted = self.wanted(&request);
        wanted.key = Some(IdempotencyKey { caller: request.caller.clone(), path: request.path.clone(), key });
        let attempt = Arc::new(self.attempt(request));
        let reserved = self.reserve(&mut wanted, &attempt).await?;
        let (clock, books) = (Arc::clone(&self.clock), self.books());
        let decide = Box::new(move |loaded: &Loaded| {
            if let Some(stored) = &loaded.stored {
                return Verdict::Leave(attempt.replay(stored));
            }
            let now = clock.now().max(loaded.head.at);
            let done = attempt.carry_out(loaded, now);
            books.conclude(loaded, reserved.as_ref(), attempt.request.command.name(), done, now)
        });
        let answer = self.store.change(wanted, decide).await;
        self.wake_billing();
        answer?
    }

    pub(super) fn attempt(&self, request: CommandRequest) -> Attempt {
        Attempt {
            policies: self.view.policies(),
            rules: self.rules.clone(),
            step_up_s: self.step_up_s(),
            new_handover: clock::new_handover_id(),
            new_code: clock::new_site_code(),
            request,
        }
    }

    /// What a command needs to read.
    pub(super) fn wanted(&self, request: &CommandRequest) -> Wanted {
        let command = &request.command;
        let (to, admin) = match command {
            Command::OfferPartnerRole { to } | Command::ReplacePartner { to } => {
                (Some(Account::from(to.clone())), None)
            }
            Command::AssignClientRole { to }
            | Command::TransferOwnership { to, .. }
            | Command::RecordSuccessor { to, .. } => (Some(Account::from(to.clone())), None),
            // Who asks may be an admin of several agencies; whom somebody invites may belong to one.
            Command::RequestPartnerRole { .. } => (None, request.actor.user().cloned()),
            Command::GrantRole { user, .. } => (None, Some(user.clone())),
            _ => (None, None),
        };
        let counted = command.name().is_offer() || command.name() == CommandName::RequestPartnerRole;
        let parties = counted || matches!(command, Command::AcceptHandover { .. } | Command::RecordSuccessor { .. });
        let actor = match &request.actor {
            Principal::Staff(staff) => Some(staff.clone()),
            Principal::User(_) | Principal::Service(_) => None,
        };
        Wanted {
            sites: vec![request.site.clone()],
            handover: command.handover().cloned(),
            agencies: command.agency().cloned().into_iter().collect(),
            admin,
            staff: actor.into_iter().chain(command.staff().cloned()).collect(),
            accounts: to.into_iter().collect(),
            since: parties.then(|| self.clock.now().minus(self.rules.quotas.window)),
            ..Wanted::default()
        }
    }
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

    pub(super) fn carry_out(&self, loaded: &Loaded, now: Timestamp) -> Result<(Changes, Reply), Failure> {
        let met = self.meet(loaded, now)?;
        let ground = self.ground(&met)?;
        let (applied, acting) = self.try_on(ground)?;
        self.preconditions(&met, ground)?;
        self.within_quotas(loaded, &applied)?;
        let evidence = self.evidence(ground, &acting, &applied);
        let mut all = Vec::new();
        if let Some(settled) = &met.settled {
            all.extend(settled.events.iter().map(|event| event.kind));
        }
        all.extend(applied.events.iter().map(|event| event.kind));
        let code = (self.request.command.name() == CommandName::IssueSiteCode).then(|| self.new_code.clone());
        let body = ReplyBody {
            status: "effective",
            revision: ground.revision.to_string(),
            waited_ms: 0,
            site: SiteView::from(&applied.site),
            handover: applied.handovers.last().map(HandoverView::from),
            events: all,
            site_code: None,
        };
        let mut body = serde_json::to_value(body).unwrap_or_else(|_| json!({ "status": "effective" }));
        let revision = ground.revision;
        let done = changes(applied, Some(&acting), evidence.as_ref(), now);
        let mut changes = match met.settled {
            Some(settled) => after(changes(settled, None, None, now), done),
            None => done,
        };
        // The stored reply is without the code: what is kept must not open anything.
        changes.reply = Some((self.request.fingerprint.clone(), body.clone()));
        if let (Some(code), Value::Object(members)) = (code, &mut body) {
            members.insert("site_code".to_owned(), Value::String(code));
        }
        Ok((changes, Reply { revision, body }))
    }

    /// Lets time do first what it has done since the last commit.
    pub(super) fn meet<'a>(&self, loaded: &'a Loaded, now: Timestamp) -> Result<Met<'a>, Failure> {
        policies::decided_by(&loaded.head, &self.policies)?;
        let stored = loaded
            .sites
            .first()
            .and_then(Option::as_ref)
            .ok_or_else(|| Failure::unknown_site(self.request.site.as_str()))?;
        let fresh = (&self.new_handover, loaded.head.revision.next());
        let mut settled = timers::settle(stored, &loaded.directory, &self.policies, &self.rules.timers, fresh, now);
        // What was seen is the stored site: nobody's `If-Match` or preview is void because time passed.
        if let Some(settled) = &mut settled {
            settled.site.revision = stored.revision;
        }
        Ok(Met { loaded, now, stored, settled })
    }

    /// What the command meets; `404` and `409 terminal` come from here.
    pub(super) fn ground<'a>(&self, met: &'a Met<'_>) -> Result<Ground<'a>, Failure> {
        let site = met.settled.as_ref().map_or(met.stored, |settled| &settled.site);
        let loaded = met.loaded;
        let named = loaded.handover.as_ref().filter(|handover| handover.site == site.id);
        if self.request.command.handover().is_some() {
            let handover = named.ok_or_else(Failure::unknown_handover)?;
            let status = handover.status_at(met.now);
            if !status.is_live() {
                let view = serde_json::to_value(HandoverView::from(handover)).unwrap_or_default();
                return Err(Failure::from(Refusal::Terminal(status)).with("handover", view));
            }
        }
        Ok(Ground { site, named, directory: &loaded.directory, revision: loaded.head.revision.next(), now: met.now })
    }

    /// Authorizes the command and runs the machine, without committing anything.
    pub(super) fn try_on(&self, ground: Ground<'_>) -> Result<(Applied, Acting), Failure> {
        let request = &self.request;
        let action = match request.command.name().authority() {
            Authority::Action(action) => action,
            authority => return self.reported(ground, authority),
        };
        let action = self
            .policies
            .bundle()
            .action(action)
            .ok_or(crate::decision::Fault::Missing("the command's action is not in the schema"))?;
        let row = SiteRow::of(ground.site, &self.policies);
        let asked = Asked {
            auth_time: request.auth_time,
            operation: request.command.operation(),
            case: request.command.case().map(|case| case.case.clone()),
            ..Asked::default()
        };
        let standing =
            Standing::of(&self.policies, &row, ground.directory, &request.actor, &asked, ground.now, self.step_up_s);
        if let Err(reason) = standing.may_but_for_state(action)? {
            return Err(denied(&reason));
        }
        let outcome = standing.decide(action)?;
        let (applied, acting) = self.by_some_route(ground, &standing, action, outcome.allowed)?;
        match outcome.reason.as_deref() {
            None => Ok((applied, acting)),
            Some("handover_open") => Err(Refusal::AlreadyOpen.into()),
            Some("past_due") => Err(Failure::blocked(&["plan_past_due"])),
            Some(reason) if STATE_REASONS.contains(&reason) => Err(Failure::blocked(&[reason])),
            Some(reason) => Err(denied(reason)),
        }
    }

    /// What a service reports: no policy knows services, so each such command names whose it is.
    fn reported(&self, ground: Ground<'_>, authority: Authority) -> Result<(Applied, Acting), Failure> {
        let service = match &self.request.actor {
            Principal::Service(service) => Some(service),
            Principal::User(_) | Principal::Staff(_) => None,
        };
        let admitted = match authority {
            Authority::Billing => service.is_some_and(|service| service.as_str() == BILLING),
            Authority::Service => service.is_some(),
            Authority::Action(_) | Authority::Time => false,
        };
        if !admitted {
            let who = if authority == Authority::Billing { "`service:billing`" } else { "a service, `service:ID`" };
            let detail = format!("Only {who} reports this; name it as the actor.");
            return Err(Failure::new(Kind::Forbidden, "service_only", detail));
        }
        let principal = self.request.actor.clone();
        let acting = Acting { principal, through: None, side: Side::Client, roles: Vec::new() };
        Ok((self.apply(ground, &self.request.command, Some(&acting))?, acting))
    }

    /// A person may have come to the action by several routes: the client who is an admin of the agency, a manager who
    /// became one. Each route is tried with its own account, side and roles, most direct first, and never a mixture: what
    /// one route may grant must not be booked to the side of another.
    fn by_some_route(
        &self,
        ground: Ground<'_>,
        standing: &Standing<'_>,
        action: ActionIx,
        allowed: bool,
    ) -> Result<(Applied, Acting), Failure> {
        let mut refused = None;
        for via in standing.routes(action) {
            // What the person may do by another route opens none that the policies hold closed: a suspended agency's
            // admin who was invited by the client as well acts by that invitation alone.
            if allowed && !standing.allows_by(via, action)? {
                continue;
            }
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
            timers: &self.rules.timers,
            acting,
            new_handover: &self.new_handover,
            revision: ground.revision,
            preview_digest: self.request.preview_digest.as_deref().unwrap_or_default(),
            text_version: &texts::text_version(command),
            new_code: &self.new_code,
            four_eyes: self.rules.four_eyes,
        };
        handover::apply(&situation, command, ground.now)
    }

    /// `412` and `409 preview_changed`: what the caller saw must still be so.
    fn preconditions(&self, met: &Met<'_>, ground: Ground<'_>) -> Result<(), Failure> {
        self.unchanged(met)?;
        self.as_read(ground)
    }

    /// `412`: the site is the one that the caller saw.
    pub(super) fn unchanged(&self, met: &Met<'_>) -> Result<(), Failure> {
        let etag = met.stored.revision.etag();
        if self.request.if_match.as_deref().is_some_and(|given| !matches(given, &etag)) {
            return Err(Failure::new(
                Kind::Precondition,
                "stale_if_match",
                format!("The site has changed: its ETag is {etag} now. Read it again before you decide."),
            )
            .with("etag", etag));
        }
        Ok(())
    }

    /// `409 preview_changed`: what the person read is how things are.
    fn as_read(&self, ground: Ground<'_>) -> Result<(), Failure> {
        let (given, present) = match &self.request.command {
            Command::AcceptHandover { explanation_digest, lang, .. } => {
                (explanation_digest.clone(), texts::acceptors_digest(self, ground, lang)?)
            }
            command if command.name().is_offer() => {
                let Some(given) = self.request.preview_digest.clone() else { return Err(preview_missing()) };
                (given, preview::digest(self, ground)?)
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

    /// `429`: nobody may flood anybody with offers.
    pub(super) fn within_quotas(&self, loaded: &Loaded, applied: &Applied) -> Result<(), Failure> {
        let name = self.request.command.name();
        let counted = name.is_offer() || name == CommandName::RequestPartnerRole;
        // Whoever says yes to a request was asked for it.
        let unasked = |offer: &&Handover| counted && (offer.requested_by.is_none() || !name.is_offer());
        let Some(offer) = applied.handovers.last().filter(unasked) else { return Ok(()) };
        let traffic = |account: &Account| loaded.traffic.get(account).copied().unwrap_or_default();
        let (sender, recipient) = (&offer.initiator, &offer.to);
        rules::admit(&self.rules.quotas, (sender, traffic(sender)), (recipient, traffic(recipient)))
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
pub(super) fn changes(applied: Applied, acting: Option<&Acting>, evidence: Option<&Value>, now: Timestamp) -> Changes {
    let events = applied
        .events
        .iter()
        .map(|event| NewEvent {
            site: Some(applied.site.id.clone()),
            kind: event.kind.to_owned(),
            actor: acting.map(|acting| acting.principal.clone()),
            via: acting.and_then(|acting| acting.through.as_ref()).map(ToString::to_string),
            data: event.data.clone(),
            evidence: evidence.cloned(),
        })
        .collect();
    Changes { sites: vec![applied.site], handovers: applied.handovers, events, at: now, ..Changes::default() }
}

/// Two changes of one site as one: what time did, and what somebody did then.
fn after(first: Changes, mut second: Changes) -> Changes {
    let mut handovers = first.handovers;
    handovers.retain(|old| second.handovers.iter().all(|new| new.id != old.id));
    handovers.append(&mut second.handovers);
    let mut events = first.events;
    events.append(&mut second.events);
    Changes { handovers, events, ..second }
}

/// The service that reports on plans.
const BILLING: &str = "billing";

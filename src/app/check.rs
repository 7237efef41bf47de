//! Checks: one question or several, answered at one revision.

use std::sync::Arc;

use futures_util::future::try_join_all;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{
    App, Failure, Kind,
    found::{Founds, Seen, Stand, found},
    meter::{Source, Stopwatch},
};
use crate::{
    assignment::{Asked, Moment, Outcome, SitePolicies, SiteRow, Standing},
    cache::Fill,
    clock::{BootClock as _, SystemBootClock},
    fault::{self, Mutant, Point},
    ids::{Principal, SiteId},
    lease::{self, Boot, Pinned},
    revision::Revision,
    store::Store,
    time::Timestamp,
};

/// An answer and where it comes from.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Allow or deny, and why.
    pub outcome: Outcome,
    /// The revision it was decided at.
    pub revision: Revision,
    /// The same as a token.
    pub token: SmolStr,
    /// The rules it was decided under.
    pub policies: Arc<SitePolicies>,
    /// For a deny that time alone ends: when.
    pub until: Option<Timestamp>,
}

/// How much of an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Allow or deny, and obligations.
    Bare,
    /// The reason of a deny too.
    Full,
}

/// One question. `None` stands for a kind of principal or site that there is not.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Who would act.
    pub principal: Option<Principal>,
    /// What they would do.
    pub action: &'a str,
    /// On which site.
    pub site: Option<SiteId>,
    /// What the caller says about the request.
    pub asked: Asked,
    /// How much of an answer is wanted.
    pub detail: Detail,
}

/// What one look into the view gave.
enum Look<T> {
    /// An answer.
    Answered(T),
    /// These sites are not in the view.
    Unknown(Vec<SiteId>),
    /// The lease does not hold.
    NoLease,
}

/// When an answer ends a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// Never: each question is answered.
    #[default]
    End,
    /// After the first deny.
    Deny,
    /// After the first allow.
    Permit,
}

impl Until {
    /// Whether the questions after one with this answer are left alone.
    #[must_use]
    pub fn ends(self, allowed: bool) -> bool {
        match self {
            Self::End => false,
            Self::Deny => !allowed,
            Self::Permit => allowed,
        }
    }
}

/// Answers in the order of their questions, all at one revision.
type Answers = SmallVec<[Checked; 1]>;

/// The reading that a lease is held against.
fn reading(lease: &lease::View) -> Boot {
    if fault::mutant(Mutant::TimerLease) && fault::timer_holds() {
        return lease.t0();
    }
    SystemBootClock.boottime()
}

/// How often a fill is tried again while commits keep coming.
const FILL_TRIES: usize = 1_000;

impl App {
    /// Answers one question.
    ///
    /// # Errors
    /// `503` when there is no answer: a fault is never told as a deny.
    pub async fn check(&self, question: &Question<'_>) -> Result<Checked, Failure> {
        if question.site.is_none() {
            let watch = Stopwatch::start(Source::Nothing);
            let answer = self.leased().await.map(|()| self.denied("unknown_site"));
            self.meter.checked(&watch, &answer);
            return answer;
        }
        let mut watch = Stopwatch::start(Source::Memory);
        let questions = std::slice::from_ref(question);
        let answers = self.answers(questions, &mut watch, self.each_by_itself(questions, Until::End)).await;
        let answer = answers.and_then(|answers| answers.into_iter().next().ok_or_else(overloaded));
        self.meter.checked(&watch, &answer);
        answer
    }

    /// Answers questions in their order and at one revision, up to the one whose answer is the last that is wanted.
    ///
    /// # Errors
    /// `503` when one of them has no answer: then none has.
    pub async fn check_each(&self, questions: &[Question<'_>], until: Until) -> Result<Vec<Checked>, Failure> {
        let mut watch = Stopwatch::start(Source::Memory);
        let answers = self.answers(questions, &mut watch, self.each_by_itself(questions, until)).await;
        let answers = answers.map(SmallVec::into_vec);
        self.meter.checked_each(&watch, &answers);
        answers
    }

    /// Answers about every action of the catalogue, in its order and at one revision, as a check of each would: allow or
    /// deny and no more, and the facts that all of them share looked up once.
    ///
    /// # Errors
    /// `503` when one of them has no answer: then none has.
    pub async fn check_all(
        &self,
        principal: Option<&Principal>,
        site: Option<&SiteId>,
        asked: &Asked,
    ) -> Result<Vec<Checked>, Failure> {
        let (principal, site, asked) = (principal.cloned(), site.cloned(), asked.clone());
        let question = [Question { principal, action: "", site, asked, detail: Detail::Bare }];
        let mut watch = Stopwatch::start(Source::Memory);
        let answers = self.answers(&question, &mut watch, |found, stand| self.decide_all(&question, found, &stand));
        let answers = answers.await.map(SmallVec::into_vec);
        self.meter.checked_each(&watch, &answers);
        answers
    }

    async fn answers(
        &self,
        questions: &[Question<'_>],
        watch: &mut Stopwatch,
        decide: impl Fn(Founds, Stand) -> Result<Answers, Failure>,
    ) -> Result<Answers, Failure> {
        self.verified().await?;
        let (mut asked_for_lease, mut seen) = (false, Seen::default());
        for _ in 0..FILL_TRIES {
            let now = self.cluster.as_ref().map_or(Boot::default(), |_| SystemBootClock.boottime());
            match self.look(questions, &mut seen, &decide)? {
                Look::Answered(answers) => return Ok(answers),
                Look::Unknown(sites) => {
                    watch.missed(&self.meter);
                    match self.fill_each(&sites, now, watch).await? {
                        Fill::Done => {}
                        // The view has moved on or is not there yet: let it, and read again.
                        Fill::Again | Fill::BelowFloor => tokio::task::yield_now().await,
                        Fill::Ahead => self.refreshed(now).await?,
                    }
                }
                Look::NoLease => match &self.cluster {
                    Some(cluster) if asked_for_lease => return Err(cluster.stale()),
                    Some(_) | None => {
                        asked_for_lease = true;
                        self.refreshed(now).await?;
                    }
                },
            }
        }
        Err(overloaded())
    }

    /// Brings sites into the view, side by side; what came of the one that went worst.
    async fn fill_each(&self, sites: &[SiteId], now: Boot, watch: &mut Stopwatch) -> Result<Fill, Failure> {
        let fill = async |site| match &self.cluster {
            Some(cluster) => cluster.fill(&self.view, site).await,
            None => Ok((self.fill(site, now).await?, Source::Store)),
        };
        let filled = match sites {
            [site] => vec![fill(site).await?],
            sites => try_join_all(sites.iter().map(fill)).await?,
        };
        let worst = |fill: Fill| match fill {
            Fill::Done => 0,
            Fill::Again | Fill::BelowFloor => 1,
            Fill::Ahead => 2,
        };
        // What had to come from farthest away is what it was waited for.
        let from_store = filled.iter().any(|(_, source)| *source == Source::Store);
        watch.came_from(if from_store { Source::Store } else { Source::Shared });
        Ok(filled.into_iter().map(|(fill, _)| fill).max_by_key(|fill| worst(*fill)).unwrap_or(Fill::Done))
    }

    /// Brings a site into the view where nobody else writes.
    async fn fill(&self, site: &SiteId, now: Boot) -> Result<Fill, Failure> {
        let read = self.store.site(site).await?;
        let fill = self.view.fill(site, &read, now);
        self.meter.read_from_store(read.value.is_some(), fill == Fill::Done);
        Ok(fill)
    }

    async fn refreshed(&self, since: Boot) -> Result<(), Failure> {
        match &self.cluster {
            Some(cluster) => cluster.refreshed(&self.view, since).await,
            None => Ok(()),
        }
    }

    /// Answers when all the sites are in the view, under the lease that belongs to what was looked up.
    fn look(
        &self,
        questions: &[Question<'_>],
        seen: &mut Seen,
        decide: impl Fn(Founds, Stand) -> Result<Answers, Failure>,
    ) -> Result<Look<Answers>, Failure> {
        let wall = self.clock.now();
        let (found, stand, lease) = self
            .view
            .pin_each(|sights| (found(questions, sights, wall, seen), Stand::of(sights), sights.lease().cloned()));
        fault::point(Point::Pinned);
        let lease = if fault::mutant(Mutant::TwoViews) { self.view.lease() } else { lease };
        let pinned = match (&self.cluster, &lease) {
            (None, _) => None,
            // Read after the request was received: on this the promise rests (`lease`).
            (Some(_), Some(lease)) => match Pinned::pin(lease, reading(lease)) {
                Some(pinned) => Some(pinned),
                None => return Ok(Look::NoLease),
            },
            (Some(_), None) => return Ok(Look::NoLease),
        };
        let found = match found {
            Ok(found) => found,
            Err(unknown) => return Ok(Look::Unknown(unknown)),
        };
        let answers = decide(found, stand)?;
        let (Some(pinned), Some(lease)) = (pinned, &lease) else { return Ok(Look::Answered(answers)) };
        // Again right before the reply: whoever was stopped in between asks anew.
        let look = pinned.reply(reading(lease), answers).map_or(Look::NoLease, |(answers, _)| Look::Answered(answers));
        fault::point(Point::Evaluated);
        Ok(look)
    }

    /// Decides question after question, up to the one whose answer is the last that is wanted.
    fn each_by_itself(
        &self,
        questions: &[Question<'_>],
        until: Until,
    ) -> impl Fn(Founds, Stand) -> Result<Answers, Failure> {
        move |found, stand| {
            let mut answers = Answers::new();
            let mut left = questions.iter().zip(found).peekable();
            while let Some((question, found)) = left.next() {
                let (outcome, over) = match found {
                    None => (Outcome::denied("unknown_site"), None),
                    Some((row, moment)) => self.decide_on(question, &row, moment, &stand.policies)?,
                };
                if until.ends(outcome.allowed) || left.peek().is_none() {
                    answers.push(stand.says(outcome, over));
                    break;
                }
                answers.push(stand.clone().says(outcome, over));
            }
            Ok(answers)
        }
    }

    /// Decides about every action, of one question that names none.
    fn decide_all(&self, question: &[Question<'_>; 1], found: Founds, stand: &Stand) -> Result<Answers, Failure> {
        let ([question], policies) = (question, &stand.policies);
        let all = |outcome: Outcome| vec![outcome; policies.bundle().actions().count()];
        let outcomes = match (found.into_iter().next().flatten(), &question.principal) {
            (None, _) => all(Outcome::denied("unknown_site")),
            (Some((row, Some(moment))), Some(principal)) => {
                let standing = Standing::at(policies, &row, principal, moment, &question.asked, self.step_up_s());
                let allowed = standing.allowed()?.into_iter();
                allowed.map(|allowed| Outcome { allowed, ..Outcome::default() }).collect()
            }
            (Some(_), _) => all(Outcome::denied("no_role")),
        };
        Ok(outcomes.into_iter().map(|outcome| stand.clone().says(outcome, None)).collect())
    }

    fn decide_on(
        &self,
        question: &Question<'_>,
        row: &SiteRow,
        moment: Option<Moment>,
        policies: &Arc<SitePolicies>,
    ) -> Result<(Outcome, Option<Timestamp>), Failure> {
        let Some(action) = policies.bundle().action(question.action) else {
            return Ok((Outcome::denied("unknown_action"), None));
        };
        let (Some(principal), Some(moment)) = (&question.principal, moment) else {
            return Ok((Outcome::denied("no_role"), None));
        };
        let standing = Standing::at(policies, row, principal, moment, &question.asked, self.step_up_s());
        let outcome = match question.detail {
            Detail::Bare => standing.answer(action)?.into(),
            Detail::Full => standing.decide(action)?,
        };
        let until = outcome.reason.as_deref().and_then(|reason| row.until(reason));
        Ok((outcome, until))
    }

    fn denied(&self, reason: &'static str) -> Checked {
        Checked {
            outcome: Outcome::denied(reason),
            revision: self.view.head().0,
            token: self.view.token(),
            policies: self.view.policies(),
            until: None,
        }
    }
}

/// Changes come faster than they can be looked at.
pub(super) fn overloaded() -> Failure {
    Failure::new(Kind::Unavailable, "overloaded", "The site is changing too fast to be read. Try again.")
}

/// The reason codes as text, for denials that no policy was asked about.
impl Outcome {
    /// A deny without looking at a site.
    #[must_use]
    pub fn denied(reason: &'static str) -> Self {
        Self { reason: Some(SmolStr::new_static(reason)), ..Self::default() }
    }
}

//! Checks: one question, answered at one revision.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{
    App, Failure, Kind,
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

/// What one look into the view gave.
enum Look {
    /// An answer.
    Answered(Checked),
    /// The site is not in the view.
    Unknown,
    /// The lease does not hold.
    NoLease,
}

/// What the view shows of a site.
enum Found {
    Site(Arc<SiteRow>, Arc<SitePolicies>, Option<Moment>, Revision),
    Absent(Arc<SitePolicies>, Revision),
    Unknown,
}

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
    /// May this principal do this on this site? `None` stands for a kind of principal or site that there is not.
    ///
    /// # Errors
    /// `503` when there is no answer: a fault is never told as a deny.
    pub async fn check(
        &self,
        principal: Option<&Principal>,
        action: &str,
        site: Option<&SiteId>,
        asked: &Asked,
        detail: Detail,
    ) -> Result<Checked, Failure> {
        let mut watch = Stopwatch::start(if site.is_some() { Source::Memory } else { Source::Nothing });
        let answer = self.answer(principal, action, site, asked, detail, &mut watch).await;
        self.meter.checked(&watch, &answer);
        answer
    }

    async fn answer(
        &self,
        principal: Option<&Principal>,
        action: &str,
        site: Option<&SiteId>,
        asked: &Asked,
        detail: Detail,
        watch: &mut Stopwatch,
    ) -> Result<Checked, Failure> {
        self.verified().await?;
        let Some(site) = site else { return Ok(self.denied("unknown_site")) };
        let mut asked_for_lease = false;
        for _ in 0..FILL_TRIES {
            let now = self.cluster.as_ref().map_or(Boot::default(), |_| SystemBootClock.boottime());
            match self.check_in_view(principal, action, site, asked, detail)? {
                Look::Answered(checked) => return Ok(checked),
                Look::Unknown => {
                    watch.missed(&self.meter);
                    let (filled, source) = match &self.cluster {
                        Some(cluster) => cluster.fill(&self.view, site).await?,
                        None => (self.fill(site, now).await?, Source::Store),
                    };
                    watch.came_from(source);
                    match filled {
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
        Err(Failure::new(Kind::Unavailable, "overloaded", "The site is changing too fast to be read. Try again."))
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

    /// Answers when the site is in the view, under the lease that belongs to what was looked up.
    fn check_in_view(
        &self,
        principal: Option<&Principal>,
        action: &str,
        site: &SiteId,
        asked: &Asked,
        detail: Detail,
    ) -> Result<Look, Failure> {
        let wall = self.clock.now();
        let (found, lease, token) = self.view.pin(site, |sight| {
            let found = match (sight.row, sight.absent) {
                (Some(row), _) => {
                    let (row, policies) = (Arc::clone(row), Arc::clone(sight.policies));
                    let now = wall.max(sight.at);
                    let moment = principal.map(|principal| row.moment(principal, &policies, sight.directory, now));
                    Found::Site(row, policies, moment, sight.revision)
                }
                (None, true) => Found::Absent(Arc::clone(sight.policies), sight.revision),
                (None, false) => Found::Unknown,
            };
            (found, sight.lease.cloned(), sight.token.clone())
        });
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
        let checked = match found {
            Found::Unknown => return Ok(Look::Unknown),
            Found::Absent(policies, revision) => {
                Checked { outcome: Outcome::denied("unknown_site"), revision, token, policies, until: None }
            }
            Found::Site(row, policies, moment, revision) => {
                let (outcome, until) = self.decide(&row, &policies, principal, moment, action, asked, detail)?;
                Checked { outcome, revision, token, policies, until }
            }
        };
        let (Some(pinned), Some(lease)) = (pinned, &lease) else { return Ok(Look::Answered(checked)) };
        // Again right before the reply: whoever was stopped in between asks anew.
        let look = pinned.reply(reading(lease), checked).map_or(Look::NoLease, |(checked, _)| Look::Answered(checked));
        fault::point(Point::Evaluated);
        Ok(look)
    }

    #[expect(clippy::too_many_arguments, reason = "one question, in its parts")]
    fn decide(
        &self,
        row: &SiteRow,
        policies: &Arc<SitePolicies>,
        principal: Option<&Principal>,
        moment: Option<Moment>,
        action: &str,
        asked: &Asked,
        detail: Detail,
    ) -> Result<(Outcome, Option<Timestamp>), Failure> {
        let Some(action) = policies.bundle().action(action) else {
            return Ok((Outcome::denied("unknown_action"), None));
        };
        let (Some(principal), Some(moment)) = (principal, moment) else {
            return Ok((Outcome::denied("no_role"), None));
        };
        let standing = Standing::at(policies, row, principal, moment, asked, self.step_up_s());
        let outcome = match detail {
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

/// The reason codes as text, for denials that no policy was asked about.
impl Outcome {
    /// A deny without looking at a site.
    #[must_use]
    pub fn denied(reason: &'static str) -> Self {
        Self { reason: Some(SmolStr::new_static(reason)), ..Self::default() }
    }
}

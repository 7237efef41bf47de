//! Checks: one question, answered at one revision.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{App, Failure, Kind};
use crate::{
    assignment::{Asked, Outcome, SitePolicies, Standing},
    ids::{Principal, SiteId},
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
        let Some(site) = site else { return Ok(self.denied("unknown_site")) };
        for _ in 0..FILL_TRIES {
            if let Some(checked) = self.check_in_view(principal, action, site, asked, detail)? {
                return Ok(checked);
            }
            let found = self.store.site(site).await?;
            match found.value {
                // The view has moved on or is not there yet: let it, and read again.
                Some(stored) if !self.view.fill(found.revision, &stored) => tokio::task::yield_now().await,
                None if found.revision >= self.view.head().0 => return Ok(self.denied("unknown_site")),
                Some(_) | None => {}
            }
        }
        Err(Failure::new(Kind::Unavailable, "overloaded", "The site is changing too fast to be read. Try again."))
    }

    /// Answers when the site is in the view.
    fn check_in_view(
        &self,
        principal: Option<&Principal>,
        action: &str,
        site: &SiteId,
        asked: &Asked,
        detail: Detail,
    ) -> Result<Option<Checked>, Failure> {
        let wall = self.clock.now();
        let pinned = self.view.pin(site, |sight| {
            let row = Arc::clone(sight.row?);
            let policies = Arc::clone(sight.policies);
            let now = wall.max(sight.at);
            let moment = principal.map(|principal| row.moment(principal, &policies, sight.directory, now));
            Some((row, policies, moment, sight.revision))
        });
        let Some((row, policies, moment, revision)) = pinned else { return Ok(None) };
        let deny = |reason| {
            let policies = Arc::clone(&policies);
            Ok(Some(Checked { outcome: Outcome::denied(reason), revision, policies, until: None }))
        };
        let Some(action) = policies.bundle().action(action) else { return deny("unknown_action") };
        let (Some(principal), Some(moment)) = (principal, moment) else { return deny("no_role") };
        let standing = Standing::at(&policies, &row, principal, moment, asked, self.step_up_s());
        let outcome = match detail {
            Detail::Bare => standing.answer(action)?.into(),
            Detail::Full => standing.decide(action)?,
        };
        let until = outcome.reason.as_deref().and_then(|reason| row.until(reason));
        Ok(Some(Checked { outcome, revision, policies, until }))
    }

    fn denied(&self, reason: &'static str) -> Checked {
        Checked {
            outcome: Outcome::denied(reason),
            revision: self.view.head().0,
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

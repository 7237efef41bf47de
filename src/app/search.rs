//! Searches: who may, what may somebody do, and where? Candidates from stored facts, each one asked about as a check is.
//!
//! Nothing is listed that a check would refuse: every result is an answer of [`App::check_each`], all of one page at one
//! revision. Nothing is left out that a check would allow, as far as candidates reach: they are everybody and every site
//! between whom something is stored (`store::SitesOf`, [`App::people`]). What holds for everybody on every site (an admin of
//! a verified agency may ask for any site, trust and safety may freeze any) is looked for on all sites.
//!
//! Memory is bounded by a page, whatever there is to be found. An index of answers lost: a suspended agency, a lapsed
//! plan or a changed policy would have to rewrite millions of them.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{App, Checked, Detail, Failure, Question, Until, diff::people_of};
use crate::{
    assignment::{Asked, SitePolicies, StaffRole},
    ids::{Principal, SiteId},
    revision::Revision,
    store::{SitesOf, Store},
};

/// Most candidates that one page asks about. A page that found little among so many ends there, and says where to go on.
const CANDIDATES: usize = 2_000;
/// Candidates that are asked about at once.
const CHUNK: usize = 250;

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// A page, in order.
    pub results: Vec<T>,
    /// After which candidate there may be more; none when there is none.
    pub next: Option<String>,
    /// The revision that all results are true at.
    pub revision: Revision,
    /// The same as a token.
    pub token: SmolStr,
    /// The rules in force there.
    pub policies: Arc<SitePolicies>,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// After this candidate.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Candidates that passed, with where the last of them were asked about.
struct Sieve<T> {
    results: Vec<T>,
    last: Option<Checked>,
    /// All were asked about at one revision.
    at_once: bool,
}

impl App {
    /// What may this principal do on this site, by the actions' names in the catalogue's order?
    ///
    /// # Errors
    /// `503` when there is no answer.
    pub async fn actions(
        &self,
        principal: Option<&Principal>,
        site: Option<&SiteId>,
        asked: &Asked,
    ) -> Result<Found<SmolStr>, Failure> {
        let policies = self.view.policies();
        let names: Vec<SmolStr> = policies.bundle().actions().map(|(_, action)| action.name.clone()).collect();
        let question = |name| Question {
            principal: principal.cloned(),
            action: name,
            site: site.cloned(),
            asked: asked.clone(),
            detail: Detail::Bare,
        };
        let questions: Vec<_> = names.iter().map(|name| question(name.as_str())).collect();
        let answers = self.check_each(&questions, Until::End).await?;
        let allowed = names.iter().zip(&answers).filter(|(_, checked)| checked.outcome.allowed);
        Ok(self.page(allowed.map(|(name, _)| name.clone()).collect(), None, answers.last()))
    }

    /// Who of this kind (`user` or `staff`) may do this on this site? In the order of their ids.
    ///
    /// # Errors
    /// `503` when there is no answer.
    pub async fn subjects(
        &self,
        kind: &str,
        action: &str,
        site: Option<&SiteId>,
        asked: &Asked,
        span: &Span,
    ) -> Result<Found<Principal>, Failure> {
        let people = match site {
            Some(site) => self.people(kind, action, site).await?,
            None => Vec::new(),
        };
        let rest = people.into_iter().filter(|one| span.after.as_deref().is_none_or(|after| one.id() > after));
        let candidates: Vec<Principal> = rest.collect();
        let mut sieve = Sieve::new();
        let (mut next, mut asked_about) = (None, 0);
        for chunk in candidates.chunks(CHUNK) {
            let of = |principal: &Principal| (Some(principal.clone()), site.cloned());
            self.sift(&mut sieve, chunk, &of, action, asked).await?;
            asked_about += chunk.len();
            if sieve.results.len() > span.limit || asked_about >= CANDIDATES {
                next = chunk.last().filter(|_| asked_about < candidates.len()).map(|last| last.id().to_owned());
                break;
            }
        }
        if sieve.results.len() > span.limit {
            sieve.results.truncate(span.limit);
            next = sieve.results.last().map(|last| last.id().to_owned());
        }
        self.settled(sieve, next, |principal| (Some(principal.clone()), site.cloned()), action, asked).await
    }

    /// On which sites may this principal do this? In the order of their ids.
    ///
    /// # Errors
    /// `503` when there is no answer.
    pub async fn resources(
        &self,
        principal: Option<&Principal>,
        action: &str,
        asked: &Asked,
        span: &Span,
    ) -> Result<Found<SiteId>, Failure> {
        self.leased().await?;
        let mut sieve = Sieve::new();
        let Some((principal, of)) =
            principal.and_then(|principal| Some((principal, self.sites_of(principal, action)?)))
        else {
            return Ok(self.page(Vec::new(), None, None));
        };
        let of_site = |site: &SiteId| (Some(principal.clone()), Some(site.clone()));
        let mut after = span.after.as_deref().and_then(|after| after.parse::<SiteId>().ok());
        let (mut next, mut asked_about) = (None, 0);
        loop {
            // One more than is wanted tells whether more follow.
            let chunk = CHUNK.min(span.limit.saturating_add(1));
            let read = self.store.sites_of(&of, after.as_ref(), chunk).await?;
            self.at_least(read.revision).await?;
            let candidates = read.value;
            self.sift(&mut sieve, &candidates.items, &of_site, action, asked).await?;
            asked_about += candidates.items.len();
            after = candidates.items.last().cloned().or(after);
            if sieve.results.len() > span.limit {
                sieve.results.truncate(span.limit);
                next = sieve.results.last().map(|site| site.as_str().to_owned());
                break;
            }
            if !candidates.more {
                break;
            }
            if asked_about >= CANDIDATES {
                next = after.map(|site| site.as_str().to_owned());
                break;
            }
        }
        self.settled(sieve, next, of_site, action, asked).await
    }

    /// What authenticates the places where pages go on.
    ///
    /// # Errors
    /// `503` when the database cannot be read, the first time.
    pub async fn page_secret(&self) -> Result<SmolStr, Failure> {
        let secret = self.page_secret.get_or_try_init(async || self.store.page_secret().await.map(SmolStr::from)).await;
        Ok(secret?.clone())
    }

    /// Everybody of a kind between whom and the site something is stored that could give them this action.
    async fn people(&self, kind: &str, action: &str, site: &SiteId) -> Result<Vec<Principal>, Failure> {
        self.leased().await?;
        if kind == "staff" {
            let mut staff: Vec<_> = self.view.directory(|all| all.staff().map(|(id, _)| id.clone()).collect());
            staff.sort_unstable();
            return Ok(staff.into_iter().map(Principal::Staff).collect());
        }
        if kind != "user" {
            return Ok(Vec::new());
        }
        let read = self.store.site(site).await?;
        self.at_least(read.revision).await?;
        let Some(found) = read.value else { return Ok(Vec::new()) };
        let policies = self.view.policies();
        let bucket = policies.bundle().action(action).and_then(|action| policies.bundle().bucket(action));
        let anywhere = bucket.is_some_and(|bucket| bucket.permits_some(policies.given().verified_admin));
        let people = self.view.directory(|directory| {
            let mut people = people_of(&found, directory);
            if anywhere {
                people.extend(directory.agencies().flat_map(|agency| agency.admins()).cloned());
            }
            people
        });
        Ok(people.into_iter().map(Principal::User).collect())
    }

    /// On which sites this principal may be anybody for this action; none where on none.
    fn sites_of(&self, principal: &Principal, action: &str) -> Option<SitesOf> {
        let policies = self.view.policies();
        let bucket = policies.bundle().action(action).and_then(|action| policies.bundle().bucket(action))?;
        if bucket.permits_everybody() {
            return Some(SitesOf::All);
        }
        let given = policies.given();
        match principal {
            Principal::User(user) => {
                let anywhere = bucket.permits_some(given.verified_admin)
                    && self.view.directory(|directory| directory.is_verified_admin(user));
                Some(if anywhere { SitesOf::All } else { SitesOf::Person(user.clone()) })
            }
            Principal::Staff(staff) => match self.view.directory(|directory| directory.staff_role(staff))? {
                StaffRole::Support => bucket.permits_some(given.support).then(|| SitesOf::Agent(staff.clone())),
                StaffRole::TrustSafety => bucket.permits_some(given.trust_safety).then_some(SitesOf::All),
            },
            Principal::Service(_) => None,
        }
    }

    /// Asks about candidates, and keeps those that pass.
    async fn sift<T: Clone>(
        &self,
        sieve: &mut Sieve<T>,
        candidates: &[T],
        of: &(impl Fn(&T) -> (Option<Principal>, Option<SiteId>) + Sync),
        action: &str,
        asked: &Asked,
    ) -> Result<(), Failure> {
        let question = |candidate| {
            let (principal, site) = of(candidate);
            Question { principal, action, site, asked: asked.clone(), detail: Detail::Bare }
        };
        let questions: Vec<_> = candidates.iter().map(question).collect();
        let mut answers = self.check_each(&questions, Until::End).await?;
        let allowed = candidates.iter().zip(&answers).filter(|(_, checked)| checked.outcome.allowed);
        sieve.results.extend(allowed.map(|(candidate, _)| candidate.clone()));
        if let Some(now) = answers.pop() {
            sieve.at_once &=
                sieve.last.as_ref().is_none_or(|before| (before.revision, &before.token) == (now.revision, &now.token));
            sieve.last = Some(now);
        }
        Ok(())
    }

    /// A page of what passed. What was asked about at several revisions is asked about once more, together.
    async fn settled<T: Clone>(
        &self,
        sieve: Sieve<T>,
        next: Option<String>,
        of: impl Fn(&T) -> (Option<Principal>, Option<SiteId>) + Sync,
        action: &str,
        asked: &Asked,
    ) -> Result<Found<T>, Failure> {
        if sieve.at_once {
            return Ok(self.page(sieve.results, next, sieve.last.as_ref()));
        }
        let mut again = Sieve::new();
        self.sift(&mut again, &sieve.results, &of, action, asked).await?;
        let last = again.last.or(sieve.last);
        Ok(self.page(again.results, next, last.as_ref()))
    }

    fn page<T>(&self, results: Vec<T>, next: Option<String>, stood: Option<&Checked>) -> Found<T> {
        match stood {
            Some(Checked { revision, token, policies, .. }) => {
                Found { results, next, revision: *revision, token: token.clone(), policies: Arc::clone(policies) }
            }
            None => Found {
                results,
                next,
                revision: self.view.head().0,
                token: self.view.token(),
                policies: self.view.policies(),
            },
        }
    }
}

impl<T> Sieve<T> {
    const fn new() -> Self {
        Self { results: Vec::new(), last: None, at_once: true }
    }
}

//! Searches: who may, what may somebody do, and where? Candidates from stored facts, each one asked about as a check is.
//!
//! Nothing is listed that a check would refuse: every result is an answer of [`App::check_each`] or [`App::check_all`], all
//! of one page at one revision. Nothing is left out that a check would allow, as far as candidates reach: they are everybody and every site
//! between whom something is stored (`store::SitesOf`, `diff::people_of`), and what holds for everybody on every site (an
//! admin of a verified agency may ask for any site, trust and safety may freeze any) is looked for on all sites.
//!
//! Candidates are read from the store, and asked about in the view, which may be further by then. What was changed in
//! between is looked up in the change log, and asked about too, until there is nothing in between ([`App::settled`]).
//!
//! Of sites there are never more in memory than a page and the candidates of one; the people of one site are all looked
//! at. An index of answers lost: a suspended agency, a lapsed plan or a changed policy would have to rewrite millions of
//! them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use smol_str::SmolStr;

use super::{App, Detail, Failure, Question, Until, check::overloaded, diff::people_of, found::Stand};
use crate::{
    assignment::{Asked, SitePolicies, StaffRole},
    ids::{Principal, SiteId},
    revision::Revision,
    store::{SitesOf, Store},
};

/// Most candidates that one page asks about. A page that found little among so many ends there, and says where to go on.
const CANDIDATES: usize = 2_000;
/// Candidates that are asked about at once: as many as are wanted at first, and at most.
const CHUNK: usize = 250;
/// How often a page is looked for while changes keep coming.
const TRIES: usize = 50;
/// Changes that are followed between two revisions; with more of them the page is looked for anew.
const FOLLOWED: usize = 1_000;
/// Between two looks whether the view shows a commit that the store has shown already; and how often.
const SHOWN: (Duration, usize) = (Duration::from_micros(200), 5_000);

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// A page, in order.
    pub results: Vec<T>,
    /// After which candidate there may be more; none when there is none.
    pub next: Option<String>,
    /// How many there are on all pages, where that is known.
    pub total: Option<usize>,
    /// The revision that the page is true at.
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
    /// At most so many, and at least one.
    pub limit: usize,
}

/// What the change log says about the time since a revision.
struct Changed {
    sites: BTreeSet<SiteId>,
    /// Something else has changed (an agency, staff, policies), or too much.
    others: bool,
    /// Up to here.
    head: Revision,
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
        span: &Span,
    ) -> Result<Found<SmolStr>, Failure> {
        let answers = self.check_all(principal, site, asked).await?;
        let stand = answers.last().map(Stand::from).ok_or_else(overloaded)?;
        // The catalogue is that of the policies that answered.
        let names = || stand.policies.bundle().actions().map(|(_, action)| &action.name);
        let from = span.after.as_deref().and_then(|after| names().position(|name| name == after));
        let rest = names().zip(&answers).skip(from.map_or(0, |from| from + 1));
        let mut results: Vec<SmolStr> =
            rest.filter(|(_, checked)| checked.outcome.allowed).map(|(name, _)| name.clone()).collect();
        let total = answers.iter().filter(|checked| checked.outcome.allowed).count();
        let next = cut(&mut results, span.limit, SmolStr::as_str);
        Ok(Found { total: Some(total), ..page(results, next, stand) })
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
        let Some(site) = site else { return Ok(page(Vec::new(), None, self.stand().await?)) };
        self.leased().await?;
        for _ in 0..TRIES {
            let (base, mut people) = self.people(kind, action, site).await?;
            people.retain(|one| span.after.as_deref().is_none_or(|after| one.id() > after));
            let (mut results, mut next, mut asked_about) = (Vec::new(), None, 0);
            let of = |one: &Principal| (Some(one.clone()), Some(site.clone()));
            let mut stands = Vec::new();
            for chunk in people.chunks(CHUNK) {
                stands.push(self.sift(&mut results, chunk, of, action, asked).await?);
                asked_about += chunk.len();
                if results.len() > span.limit {
                    break;
                }
                if asked_about >= CANDIDATES {
                    next = chunk.last().filter(|_| asked_about < people.len()).map(|last| last.id().to_owned());
                    break;
                }
            }
            // Where there is nobody, that has to be so somewhere.
            let last = match stands.pop() {
                Some(stand) => stand,
                None => self.stand().await?,
            };
            if stands.iter().any(|stand| stand.revision != last.revision) {
                continue;
            }
            let same = last.revision == base || {
                let changed = self.changed_since(base).await?;
                !changed.others && !changed.sites.contains(site)
            };
            // Who is concerned is what it was.
            if same {
                let over = cut(&mut results, span.limit, Principal::id);
                return Ok(page(results, over.or(next), last));
            }
        }
        Err(overloaded())
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
        let Some(principal) = principal else { return Ok(page(Vec::new(), None, self.stand().await?)) };
        self.leased().await?;
        for _ in 0..TRIES {
            if let Some(found) = self.try_resources(principal, action, asked, span).await? {
                return Ok(found);
            }
        }
        Err(overloaded())
    }

    /// The same once; none when something changed meanwhile that cannot be followed.
    async fn try_resources(
        &self,
        principal: &Principal,
        action: &str,
        asked: &Asked,
        span: &Span,
    ) -> Result<Option<Found<SiteId>>, Failure> {
        let began = self.view.head().0;
        let Some(of) = self.sites_of(principal, action) else {
            let stand = self.stand().await?;
            return Ok((stand.revision == began).then(|| page(Vec::new(), None, stand)));
        };
        let of_site = |site: &SiteId| (Some(principal.clone()), Some(site.clone()));
        let from = span.after.as_deref().and_then(|after| after.parse::<SiteId>().ok());
        let (mut results, mut after, mut asked_about) = (Vec::new(), from.clone(), 0);
        // One more than is wanted tells whether more follow.
        let mut chunk = CHUNK.min(span.limit.saturating_add(1));
        let mut quiet = true;
        let (mut last, to) = loop {
            let read = self.store.sites_of(&of, after.as_ref(), chunk).await?;
            self.shown(read.revision).await?;
            let candidates = read.value;
            let stand = self.sift(&mut results, &candidates.items, of_site, action, asked).await?;
            quiet &= read.revision == began && stand.revision == began;
            asked_about += candidates.items.len();
            after = candidates.items.last().cloned().or(after);
            if results.len() > span.limit || !candidates.more || asked_about >= CANDIDATES {
                // Up to where candidates were looked for; to the end where all were.
                break (stand, after.filter(|_| candidates.more));
            }
            chunk = CHUNK.min(chunk * 2);
        };
        if !quiet {
            let within =
                |site: &SiteId| from.as_ref().is_none_or(|from| site > from) && to.as_ref().is_none_or(|to| site <= to);
            last = match self.settled(began, &mut results, within, of_site, action, asked).await? {
                Some(stand) => stand,
                None => return Ok(None),
            };
        }
        let over = cut(&mut results, span.limit, SiteId::as_str);
        Ok(Some(page(results, over.or_else(|| to.map(|site| site.as_str().to_owned())), last)))
    }

    /// Asks about all of them again, and about the sites `within` that have changed since `base`, until nothing has changed
    /// between the last look at the log and the answers. None when something changed that moves more than single sites.
    async fn settled(
        &self,
        mut base: Revision,
        results: &mut Vec<SiteId>,
        within: impl Fn(&SiteId) -> bool,
        of_site: impl Fn(&SiteId) -> (Option<Principal>, Option<SiteId>) + Copy,
        action: &str,
        asked: &Asked,
    ) -> Result<Option<Stand>, Failure> {
        let mut candidates: BTreeSet<SiteId> = results.drain(..).collect();
        for _ in 0..TRIES {
            let changed = self.changed_since(base).await?;
            if changed.others {
                return Ok(None);
            }
            candidates.extend(changed.sites.into_iter().filter(|site| within(site)));
            let all: Vec<SiteId> = candidates.iter().cloned().collect();
            results.clear();
            let stand = self.sift(results, &all, of_site, action, asked).await?;
            if stand.revision == changed.head {
                return Ok(Some(stand));
            }
            base = changed.head;
        }
        Ok(None)
    }

    /// What has changed since a revision; the view shows it when this answers.
    async fn changed_since(&self, since: Revision) -> Result<Changed, Failure> {
        let page = self.store.changes(since, FOLLOWED).await?;
        let head = page.items.last().map_or(since, |change| change.revision);
        self.shown(head).await?;
        let others = page.more || page.items.iter().any(|change| change.site.is_none());
        Ok(Changed { sites: page.items.into_iter().filter_map(|change| change.site).collect(), others, head })
    }

    /// Waits until the view shows what the store has shown.
    async fn shown(&self, revision: Revision) -> Result<(), Failure> {
        if self.cluster.is_some() {
            return self.at_least(revision).await;
        }
        // Its commit is being published on another thread.
        for _ in 0..SHOWN.1 {
            if self.view.head().0 >= revision {
                return Ok(());
            }
            tokio::time::sleep(SHOWN.0).await;
        }
        Err(overloaded())
    }

    /// What authenticates the places where pages go on.
    ///
    /// # Errors
    /// `503` when the database cannot be read, the first time.
    pub async fn page_secret(&self) -> Result<SmolStr, Failure> {
        let secret = self.page_secret.get_or_try_init(async || self.store.page_secret().await.map(SmolStr::from)).await;
        Ok(secret?.clone())
    }

    /// Everybody of a kind between whom and the site something is stored that could give them this action, in the order of
    /// their ids; and the revision from which on a change may make them others.
    async fn people(&self, kind: &str, action: &str, site: &SiteId) -> Result<(Revision, Vec<Principal>), Failure> {
        let began = self.view.head().0;
        if kind == "staff" {
            let mut staff: Vec<_> = self.view.directory(|all| all.staff().map(|(id, _)| id.clone()).collect());
            staff.sort_unstable();
            return Ok((began, staff.into_iter().map(Principal::Staff).collect()));
        }
        if kind != "user" {
            return Ok((began, Vec::new()));
        }
        let read = self.store.site(site).await?;
        self.shown(read.revision).await?;
        let Some(found) = read.value else { return Ok((began, Vec::new())) };
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
        Ok((began, people.into_iter().map(Principal::User).collect()))
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

    /// Asks about candidates, and keeps those that pass; where the answers stand, all of them at one revision.
    async fn sift<T: Clone>(
        &self,
        results: &mut Vec<T>,
        candidates: &[T],
        of: impl Fn(&T) -> (Option<Principal>, Option<SiteId>),
        action: &str,
        asked: &Asked,
    ) -> Result<Stand, Failure> {
        let questions: Vec<_> = candidates.iter().map(|one| question(of(one), action, asked)).collect();
        let answers = self.check_each(&questions, Until::End).await?;
        let allowed = candidates.iter().zip(&answers).filter(|(_, checked)| checked.outcome.allowed);
        results.extend(allowed.map(|(candidate, _)| candidate.clone()));
        match answers.last() {
            Some(checked) => Ok(checked.into()),
            None => self.stand().await,
        }
    }

    /// Where the view stands, under a lease that holds.
    async fn stand(&self) -> Result<Stand, Failure> {
        self.leased().await?;
        Ok(self.view.pin_each(Stand::of))
    }
}

/// A page that is true where it stands.
fn page<T>(results: Vec<T>, next: Option<String>, stand: Stand) -> Found<T> {
    let Stand { revision, token, policies } = stand;
    Found { results, next, total: None, revision, token, policies }
}

fn question<'a>(of: (Option<Principal>, Option<SiteId>), action: &'a str, asked: &Asked) -> Question<'a> {
    let (principal, site) = of;
    Question { principal, action, site, asked: asked.clone(), detail: Detail::Bare }
}

/// Cuts a page, and says after which of its results more follow.
fn cut<T>(results: &mut Vec<T>, limit: usize, id: impl Fn(&T) -> &str) -> Option<String> {
    if results.len() <= limit {
        return None;
    }
    results.truncate(limit);
    results.last().map(|last| id(last).to_owned())
}

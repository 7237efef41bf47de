//! Reads of the control API: stored facts with their revision.

use serde::Serialize;
use smol_str::SmolStr;

use super::{
    App, Detail, Failure, Kind, Question,
    diff::{State, concerning, people_of},
    texts::{self, Notice},
};
use crate::{
    assignment::{Agency, Asked, MemberRole, Reach, Via},
    explanation::{Audience, Explanation},
    handover::Handover,
    ids::{Account, AgencyId, HandoverId, Principal, SiteId, UserId},
    revision::Revision,
    site::{Seats, Site},
    store::{AuditEvent, Page, Store},
};

/// One way in which one person has access.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AccessEntry {
    /// The person.
    #[schema(value_type = String)]
    pub principal: Principal,
    /// The role.
    #[schema(value_type = String)]
    pub role: SmolStr,
    /// How it is held.
    pub via: Via,
    /// Who gave it, where somebody did.
    #[schema(value_type = Option<String>)]
    pub grantor: Option<Account>,
    /// Actions that the person may do only with a fresh sign-in, a confirmation, or for their own account.
    #[schema(value_type = Vec<String>)]
    pub conditional: Vec<SmolStr>,
}

impl App {
    /// A site as it is stored.
    ///
    /// # Errors
    /// `404` when there is none.
    pub async fn site(&self, id: &SiteId) -> Result<Site, Failure> {
        self.leased().await?;
        self.store.site(id).await?.value.ok_or_else(|| Failure::unknown_site(id.as_str()))
    }

    /// Who has access to a site, how, and what is conditional: a page of people in order, after the one named.
    ///
    /// # Errors
    /// `404` when there is no such site.
    pub async fn access(
        &self,
        id: &SiteId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<(Revision, Page<AccessEntry>), Failure> {
        let site = self.site(id).await?;
        let policies = self.view.policies();
        let now = self.now();
        let directory = self.view.directory(|directory| concerning(&site, directory));
        let after = after.cloned();
        // Every action is asked about for everybody who holds something of their own: too long for a worker that
        // checks wait for.
        let read = move || -> Result<(Revision, Page<AccessEntry>), Failure> {
            let mut state = State::of(&policies, &directory, &site, now);
            let mut people =
                people_of(&site, &directory).into_iter().filter(|user| after.as_ref().is_none_or(|a| user > a));
            let mut items = Vec::new();
            for user in people.by_ref().take(limit) {
                let grantor = site.contributors.get(&user).map(|row| row.grantor.clone());
                let principal = Principal::User(user);
                let (held, reach) = state.held(&principal)?;
                let named = |wanted: Reach| policies.bundle().actions().zip(&reach).filter(move |(_, r)| **r == wanted);
                if named(Reach::Plain).next().is_none() && named(Reach::Conditional).next().is_none() {
                    continue;
                }
                let conditional: Vec<SmolStr> =
                    named(Reach::Conditional).map(|((_, action), _)| action.name.clone()).collect();
                for role in held.roles.iter().filter(|role| !role.standing) {
                    items.push(AccessEntry {
                        principal: principal.clone(),
                        role: SmolStr::new(policies.bundle().role_name(role.role)),
                        via: role.via,
                        grantor: grantor.clone().filter(|_| role.via == Via::Contributor),
                        conditional: conditional.clone(),
                    });
                }
            }
            Ok((site.revision, Page { items, more: people.next().is_some() }))
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| {
            tracing::error!(%error, "listing access failed");
            Failure::new(Kind::Unavailable, "evaluation_failed", "The list could not be made. Try again.")
        })?
    }

    /// An agency with its members.
    ///
    /// # Errors
    /// `404` when there is none.
    pub async fn agency(&self, id: &AgencyId) -> Result<Agency, Failure> {
        self.leased().await?;
        let found = self.view.directory(|directory| directory.agency(id).map(|agency| Agency::clone(agency)));
        found.ok_or_else(|| Failure::unknown_agency(id.as_str()))
    }

    /// A handover, open or ended.
    ///
    /// # Errors
    /// `404` when there is none.
    pub async fn handover(&self, id: &HandoverId) -> Result<Handover, Failure> {
        self.store
            .handover(id)
            .await?
            .ok_or_else(|| Failure::new(Kind::NotFound, "unknown_handover", format!("There is no handover `{id}`.")))
    }

    /// A site's handovers, oldest first.
    ///
    /// # Errors
    /// `404` when there is no such site.
    pub async fn handovers(
        &self,
        site: &SiteId,
        after: Option<&HandoverId>,
        limit: usize,
    ) -> Result<Page<Handover>, Failure> {
        self.site(site).await?;
        Ok(self.store.handovers(site, after, limit).await?)
    }

    /// The text of a handover for one side.
    ///
    /// # Errors
    /// `404` when there is no such handover or no such text, `400` for an unknown language.
    pub async fn explanation(&self, id: &HandoverId, audience: Audience, lang: &str) -> Result<Explanation, Failure> {
        let handover = self.handover(id).await?;
        let site = self.site(&handover.site).await?;
        if site.seats == Seats::Purged {
            return Err(Failure::new(
                Kind::NotFound,
                "no_explanation",
                "What this handover was about no longer exists.",
            ));
        }
        texts::of_handover(self, &site, &handover, audience, lang)
    }

    /// What is going on with a site, told to one side.
    ///
    /// # Errors
    /// `404` for an unknown site, `400` for an unknown language.
    pub async fn notices(&self, site: &SiteId, audience: Audience, lang: &str) -> Result<Vec<Notice>, Failure> {
        let site = self.site(site).await?;
        texts::going_on(self, &site, audience, lang)
    }

    /// A site's audit events after a position.
    ///
    /// # Errors
    /// `404` when there is no such site.
    pub async fn audit(&self, site: &SiteId, after: u64, limit: usize) -> Result<Page<AuditEvent>, Failure> {
        self.site(site).await?;
        Ok(self.store.audit(Some(site), after, limit).await?)
    }

    /// Whether a principal may look: the reads' optional `?actor=`.
    ///
    /// # Errors
    /// `403` with the reason when it may not.
    pub async fn may_look(&self, actor: &Principal, action: &str, site: &SiteId) -> Result<(), Failure> {
        self.looks(actor, action, site).await.map(|_| ())
    }

    async fn looks(&self, actor: &Principal, action: &str, site: &SiteId) -> Result<Option<Via>, Failure> {
        let (principal, site, asked) = (Some(actor.clone()), Some(site.clone()), Asked::default());
        let question = Question { principal, action, site, asked, detail: Detail::Full };
        let checked = self.check(&question).await?;
        match checked.outcome.reason.as_deref() {
            None => Ok(checked.outcome.via),
            Some("unknown_site") => Err(Failure::unknown_site(question.site.as_ref().map_or("", SiteId::as_str))),
            Some(reason) => Err(super::command::denied(reason)),
        }
    }

    /// Which of a site's handovers a principal may view: all of them through a seat, a role or a session, and otherwise
    /// those that they are a party of, open or ended.
    ///
    /// # Errors
    /// `404` for an unknown site.
    pub async fn viewer(&self, actor: &Principal, site: &SiteId) -> Result<Viewer, Failure> {
        let refused = match self.looks(actor, "ViewHandover", site).await {
            Ok(Some(Via::NamedParty)) => None,
            Ok(_) => return Ok(Viewer { sees_all: true, parties: Vec::new(), refused: None }),
            Err(failure) if failure.kind == Kind::Forbidden => Some(failure),
            Err(failure) => return Err(failure),
        };
        let mut parties = Vec::new();
        self.leased().await?;
        if let Principal::User(user) = actor {
            parties.push(Account::User(user.clone()));
            self.view.directory(|directory| {
                let own = directory.agencies().filter(|agency| agency.member(user) == Some(MemberRole::Admin));
                parties.extend(own.map(|agency| Account::Agency(agency.id.clone())));
            });
        }
        Ok(Viewer { sees_all: false, parties, refused })
    }
}

/// Who looks at handovers.
#[derive(Debug)]
pub struct Viewer {
    sees_all: bool,
    parties: Vec<Account>,
    refused: Option<Failure>,
}

impl Viewer {
    /// Whether they may see this one.
    #[must_use]
    pub fn sees(&self, handover: &Handover) -> bool {
        self.sees_all || self.parties.iter().any(|party| handover.names(party))
    }
    /// Whether they may see every handover of the site.
    #[must_use]
    pub const fn sees_everything(&self) -> bool {
        self.sees_all
    }
    /// Why they may not see what they asked for.
    #[must_use]
    pub fn refusal(self) -> Failure {
        self.refused.unwrap_or_else(|| super::command::denied("not_a_party"))
    }
}

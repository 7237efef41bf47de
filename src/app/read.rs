//! Reads of the control API: stored facts with their revision.

use serde::Serialize;
use smol_str::SmolStr;

use super::{App, Failure, Kind, diff::people_of, preview};
use crate::{
    assignment::{Agency, Asked, Reach, SiteRow, Standing, Via},
    explanation::{Audience, Explanation},
    handover::Handover,
    ids::{Account, AgencyId, HandoverId, Principal, SiteId},
    revision::Revision,
    site::Site,
    store::{AuditEvent, Change, Page, Store},
};

/// Everybody who has access to a site.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Access {
    /// One entry for each role that a person holds, by person.
    pub items: Vec<AccessEntry>,
    /// Always null: the list is whole.
    pub next: Option<String>,
}

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
        self.store.site(id).await?.value.ok_or_else(|| Failure::unknown_site(id.as_str()))
    }

    /// Who has access to a site, how, and what is conditional.
    ///
    /// # Errors
    /// `404` when there is no such site.
    pub async fn access(&self, id: &SiteId) -> Result<(Revision, Access), Failure> {
        let site = self.site(id).await?;
        let policies = self.view.policies();
        let row = SiteRow::of(&site, &policies);
        let now = self.now();
        let asked = Asked::default();
        let people = self.view.directory(|directory| people_of(&site, directory));
        let mut items = Vec::new();
        for user in people {
            let grantor = site.contributors.get(&user).map(|row| row.grantor.clone());
            let principal = Principal::User(user);
            let moment = self.view.directory(|directory| row.moment(&principal, &policies, directory, now));
            let standing = Standing::at(&policies, &row, &principal, moment, &asked, 0);
            let mut conditional = Vec::new();
            let mut any = false;
            for (action, entry) in policies.bundle().actions() {
                match standing.reach(action)? {
                    Reach::None => {}
                    Reach::Plain => any = true,
                    Reach::Conditional => {
                        any = true;
                        conditional.push(entry.name.clone());
                    }
                }
            }
            for held in standing.held().roles.iter().filter(|held| any && !held.standing) {
                items.push(AccessEntry {
                    principal: principal.clone(),
                    role: SmolStr::new(policies.bundle().role_name(held.role)),
                    via: held.via,
                    grantor: grantor.clone().filter(|_| held.via == Via::Contributor),
                    conditional: conditional.clone(),
                });
            }
        }
        Ok((site.revision, Access { items, next: None }))
    }

    /// An agency with its members.
    ///
    /// # Errors
    /// `404` when there is none.
    pub fn agency(&self, id: &AgencyId) -> Result<Agency, Failure> {
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
        preview::of_handover(self, &site, &handover, audience, lang)
    }

    /// A site's audit events after a position.
    ///
    /// # Errors
    /// `404` when there is no such site.
    pub async fn audit(&self, site: &SiteId, after: u64, limit: usize) -> Result<Page<AuditEvent>, Failure> {
        self.site(site).await?;
        Ok(self.store.audit(Some(site), after, limit).await?)
    }

    /// Changes after a revision, whole revisions at a time.
    ///
    /// # Errors
    /// `503` when the store cannot be read.
    pub async fn changes(&self, after: Revision, limit: usize) -> Result<Page<Change>, Failure> {
        Ok(self.store.changes(after, limit).await?)
    }

    /// Whether a principal may look: the reads' optional `?actor=`.
    ///
    /// # Errors
    /// `403` with the reason when it may not.
    pub async fn may_look(&self, actor: &Principal, action: &str, site: &SiteId) -> Result<(), Failure> {
        let checked = self.check(Some(actor), action, Some(site), &Asked::default(), super::Detail::Full).await?;
        match checked.outcome.reason.as_deref() {
            None => Ok(()),
            Some("unknown_site") => Err(Failure::unknown_site(site.as_str())),
            Some(reason) => Err(super::command::denied(reason)),
        }
    }
}

//! Whom does a text speak of? The accounts of a handover or of a site, with what the platform verified about them.
//!
//! A role that nobody plays is left out; a text that needs its name then has a variant without it, or is not shown.

use crate::{
    assignment::{Agency, Directory},
    handover::{Handover, HandoverKind},
    ids::{Account, AgencyId, UserId},
    site::Site,
};

/// The sides that a text speaks of, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parties<'a> {
    /// The partner, present or to be; in a replacement, the old one.
    pub agency: Option<&'a Agency>,
    /// The client, present or to be.
    pub client: Option<&'a UserId>,
    /// In a replacement, the partner who follows.
    pub new_agency: Option<&'a Agency>,
    /// In an ownership transfer, who gets everything.
    pub recipient: Option<&'a UserId>,
}

impl<'a> Parties<'a> {
    /// The parties of a handover, whichever of them made the offer. Who is seated already is not in it: see
    /// [`Self::seated_on`].
    #[must_use]
    pub fn of_handover(handover: &'a Handover, directory: &'a Directory) -> Self {
        let started = Self::of_accounts([&handover.initiator, &handover.initiator], directory);
        match (handover.kind, &handover.to) {
            (HandoverKind::PartnerReplacement, Account::Agency(id)) => {
                Self { new_agency: agency(directory, id), ..started }
            }
            (HandoverKind::OwnershipTransfer, Account::User(user)) => Self { recipient: Some(user), ..started },
            _ => Self::of_accounts([&handover.initiator, &handover.to], directory),
        }
    }
    /// The parties of a replacement that is about to be offered.
    #[must_use]
    pub fn of_replacement(site: &'a Site, to: &AgencyId, directory: &'a Directory) -> Self {
        Self { new_agency: agency(directory, to), ..Self::default() }.seated_on(site, directory)
    }
    /// The parties of an ownership transfer that is about to be offered.
    #[must_use]
    pub fn of_transfer(site: &'a Site, to: &'a UserId, directory: &'a Directory) -> Self {
        Self { recipient: Some(to), ..Self::default() }.seated_on(site, directory)
    }
    /// The parties that are seated on a site.
    #[must_use]
    pub fn of_site(site: &'a Site, directory: &'a Directory) -> Self {
        Self::default().seated_on(site, directory)
    }
    /// The same, and whoever else sits on the site. An agency that followed already is not its own predecessor.
    #[must_use]
    pub fn seated_on(self, site: &'a Site, directory: &'a Directory) -> Self {
        let Some(engagement) = site.seats.engagement() else { return self };
        let followed = self.new_agency.is_some_and(|new| new.id == engagement.partner);
        let seated = if followed { None } else { agency(directory, &engagement.partner) };
        Self { agency: self.agency.or(seated), client: self.client.or(Some(&engagement.client)), ..self }
    }
    /// The person and the agency among two accounts.
    #[must_use]
    pub fn of_accounts(accounts: [&'a Account; 2], directory: &'a Directory) -> Self {
        accounts.into_iter().fold(Self::default(), |parties, account| match account {
            Account::User(user) => Self { client: Some(user), ..parties },
            Account::Agency(id) => Self { agency: agency(directory, id), ..parties },
        })
    }
}

fn agency<'a>(directory: &'a Directory, id: &AgencyId) -> Option<&'a Agency> {
    directory.agency(id).map(AsRef::as_ref)
}

/// What an agency is called in a text: its name once the platform has checked that, and its identifier until then.
/// What an agency chose for itself and nobody checked is the sender's free text, and no text contains any.
pub(super) fn name_of(agency: &Agency) -> String {
    if agency.verified { agency.name.clone() } else { agency.id.to_string() }
}

/// The agency's domain, once the platform has checked it.
pub(super) fn domain_of(agency: &Agency) -> Option<String> {
    agency.verified.then(|| agency.domain.clone())
}

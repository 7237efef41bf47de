//! What is a question answered from? Sites and moments looked up at one revision, under one short look into the view.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use smol_str::SmolStr;

use super::{Checked, Question};
use crate::{
    assignment::{Moment, Outcome, SitePolicies, SiteRow},
    cache::{Sight, Sights},
    ids::SiteId,
    revision::Revision,
    time::Timestamp,
};

/// Where answers stand.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub revision: Revision,
    pub token: SmolStr,
    pub policies: Arc<SitePolicies>,
}

impl Stand {
    /// Where the view stands while sites are looked up.
    pub fn of(sights: Sights<'_>) -> Self {
        let (token, policies) = (sights.token().clone(), Arc::clone(sights.policies()));
        Self { revision: sights.revision(), token, policies }
    }

    /// An answer that stands here.
    pub fn says(self, outcome: Outcome, until: Option<Timestamp>) -> Checked {
        let Self { revision, token, policies } = self;
        Checked { outcome, revision, token, policies, until }
    }
}

impl From<&Checked> for Stand {
    fn from(Checked { revision, token, policies, .. }: &Checked) -> Self {
        Self { revision: *revision, token: token.clone(), policies: Arc::clone(policies) }
    }
}

/// What one question is answered from: the site's row and the principal's moment on it, where there are both.
pub(super) type Found = Option<(Arc<SiteRow>, Option<Moment>)>;

/// The same of several questions, in their order.
pub(super) type Founds = SmallVec<[Found; 1]>;

/// What was found of several questions at one revision so far. Where memory has room for few sites, filling one may cost
/// another its place before all are looked at together.
#[derive(Default)]
pub(super) struct Seen {
    at: (Revision, SmolStr),
    places: Vec<Place>,
}

/// What was found in one place.
enum Place {
    Unread,
    Nothing,
    Site(Arc<SiteRow>),
}

/// What the questions are answered from, or the sites that have to be read first.
pub(super) fn found(
    questions: &[Question<'_>],
    sights: Sights<'_>,
    wall: Timestamp,
    seen: &mut Seen,
) -> Result<Founds, Vec<SiteId>> {
    if let [question] = questions {
        return found_alone(question, sights, wall);
    }
    if seen.places.len() != questions.len() || seen.at.0 != sights.revision() || seen.at.1 != *sights.token() {
        let at = (sights.revision(), sights.token().clone());
        *seen = Seen { at, places: questions.iter().map(|_| Place::Unread).collect() };
    }
    let (mut found, mut unknown) = (Founds::new(), Vec::new());
    for (question, place) in questions.iter().zip(&mut seen.places) {
        let Some(site) = &question.site else {
            found.push(None);
            continue;
        };
        let sight = sights.of(site);
        match (sight.row, sight.absent) {
            (Some(row), _) => *place = Place::Site(Arc::clone(row)),
            (None, true) => *place = Place::Nothing,
            (None, false) => {}
        }
        match place {
            Place::Site(row) => found.push(Some(moment_on(row, question, &sight, wall))),
            Place::Nothing => found.push(None),
            Place::Unread if unknown.contains(site) => {}
            Place::Unread => unknown.push(site.clone()),
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(unknown) }
}

/// The same of one question, for which nothing need be kept: what was filled for it is there, or is to be filled again.
fn found_alone(question: &Question<'_>, sights: Sights<'_>, wall: Timestamp) -> Result<Founds, Vec<SiteId>> {
    let Some(site) = &question.site else { return Ok(smallvec![None]) };
    let sight = sights.of(site);
    match sight.row {
        Some(row) => Ok(smallvec![Some(moment_on(row, question, &sight, wall))]),
        None if sight.absent => Ok(smallvec![None]),
        None => Err(vec![site.clone()]),
    }
}

/// A site and who the principal is there at this moment.
fn moment_on(
    row: &Arc<SiteRow>,
    question: &Question<'_>,
    sight: &Sight<'_>,
    wall: Timestamp,
) -> (Arc<SiteRow>, Option<Moment>) {
    let moment = |principal| row.moment(principal, sight.policies, sight.directory, wall.max(sight.at));
    (Arc::clone(row), question.principal.as_ref().map(moment))
}

//! Any sequence of states of a site, written one after the other, reads back as the last one, each row with the
//! revision of its last real change.

use std::collections::BTreeMap;

use proptest::{collection, prelude::*};

use super::*;
use crate::site::{AgencyGrant, Confirmation, SupportSession, Template};

/// The people on a site, in any state.
fn people() -> impl Strategy<Value = Site> {
    let user = "[a-d]".prop_map(|name| id(&name));
    let account = prop_oneof![Just("user:maria"), Just("agency:studio-north")];
    let row = (prop_oneof![Just("CoOwner"), Just("WebsiteManager")], account, any::<bool>(), 0_u64..99).prop_map(
        |(role, grantor, client, revision)| Contributor {
            role: role.into(),
            grantor: id(grantor),
            side: if client { Side::Client } else { Side::Partner },
            revision: Revision(revision),
        },
    );
    let grant = (prop::sample::select(Template::ALL.to_vec()), prop::option::of(any::<i64>()))
        .prop_map(|(template, at)| AgencyGrant { template, expires_at: at.map(Timestamp::from_micros) });
    let confirmation = ("[ab]", any::<i64>()).prop_map(|(operation, at)| Confirmation {
        action: "RefundOrder".into(),
        operation: operation.into(),
        expires_at: Timestamp::from_micros(at),
    });
    let session = ("[st]", any::<i64>()).prop_map(|(agent, at)| SupportSession {
        agent: id(&agent),
        granted_by: id("user:maria"),
        until: Timestamp::from_micros(at),
    });
    (
        collection::btree_map(user.clone(), row, 0..4),
        collection::btree_map(user.clone(), grant, 0..4),
        collection::btree_set(user, 0..4),
        collection::vec(confirmation, 0..3),
        collection::vec(session, 0..3),
        any::<bool>(),
    )
        .prop_map(|(contributors, grants, blocked, confirmations, sessions, published)| {
            let seats = Seats::SelfManaged { owner: id("maria") };
            let mut site = Site::registered(id("bakery"), seats, Plan::of(Tier::Free), published, Vec::new());
            (site.contributors, site.grants, site.blocked) = (contributors, grants, blocked);
            (site.confirmations, site.sessions) = (confirmations, sessions);
            site
        })
}

/// What must be stored: rows that did not change keep their revision.
fn stamped(mut site: Site, before: &BTreeMap<crate::ids::UserId, Contributor>, revision: Revision) -> Site {
    site.revision = revision;
    for (user, row) in &mut site.contributors {
        row.revision = revision;
        if let Some(old) = before.get(user).filter(|old| Contributor { revision, ..(*old).clone() } == *row) {
            row.revision = old.revision;
        }
    }
    site
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_last_state_is_what_is_stored(states in collection::vec(people(), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = Folder::new();
            let store = folder.open();
            let mut before = BTreeMap::new();
            for state in states {
                // With and without the stored site at hand, as commands and imports do.
                let sites = if state.published { vec![id("bakery")] } else { Vec::new() };
                let changes = Changes { sites: vec![state.clone()], ..Changes::default() };
                let revision = commit(&store, Wanted { sites, ..Wanted::default() }, changes).await.unwrap();
                let expected = stamped(state, &before, revision);
                assert_eq!(store.site(&id("bakery")).await.unwrap().value.unwrap(), expected);
                before = expected.contributors;
            }
        });
    }
}

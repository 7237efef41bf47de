//! An agency's people never exceed its seat (I18): every combination of every fact that could matter, none left to
//! chance.
//!
//! What could matter is read off the policies themselves: a fact whose name no condition in reach mentions cannot change
//! the answer, and is not varied. That leaves a few thousand combinations for each action instead of half a million. The
//! property tests in `assignment` draw from all facts and so watch this reading.

use std::collections::BTreeSet;

use super::*;
use crate::{
    assignment::{Circumstances, Facts, Flags, Kind, SHIPPED, SitePolicies},
    decision::evaluate,
    policy::{ActionIx, RoleIx},
    site::Mode,
};

const TEMPLATES: [&str; 3] = ["AgencyBuilder", "AgencyCommerce", "AgencyManager"];
const BILLING: &str = "AgencyBilling";
/// Which seat caps them: an agency that built a site owns it.
const SEATS: [(Mode, &str); 2] = [(Mode::PartnerManaged, "Partner"), (Mode::PartnerBuilt, "Owner")];

fn role(policies: &SitePolicies, name: &str) -> RoleIx {
    policies.bundle().role(name).unwrap_or_else(|| panic!("{name}"))
}

fn allowed(policies: &SitePolicies, role: RoleIx, action: ActionIx, facts: &Facts) -> bool {
    let slice = policies.slice(Kind::User, action, &[role], facts);
    evaluate(policies.bundle(), &slice).unwrap().allowed
}

/// The facts that some condition mentions, for this action and these roles: bits of the flags, and of the circumstances.
fn mentioned(policies: &SitePolicies, action: ActionIx, roles: [RoleIx; 2]) -> (Vec<u16>, Vec<u16>) {
    let bucket = policies.bundle().bucket(action).unwrap();
    let permits = roles.iter().filter_map(|role| bucket.by_role.get(role)).flatten();
    let text: String =
        bucket.forbids.iter().chain(&bucket.unscoped).chain(permits).map(|rule| rule.condition.to_string()).collect();
    // What the rules below are about is varied in any case: a policy that forgets it does not mention it.
    let matters = |name: &str| text.contains(name) || ["agency_suspended", "blocked", "grant_live"].contains(&name);
    let bits = |names: &[&str]| (0..).zip(names).filter(|(_, name)| matters(name)).map(|(n, _)| n).collect();
    (bits(Flags::NAMES), bits(Circumstances::NAMES))
}

/// Every combination of these bits.
fn combinations(bits: &[u16]) -> impl Iterator<Item = u16> + '_ {
    (0..1u16 << bits.len()).map(|n| bits.iter().enumerate().fold(0, |all, (at, bit)| all | (n >> at & 1) << bit))
}

/// All in which an agency's people may do something that they must not, and how many answers were looked at.
fn excesses(policies: &SitePolicies) -> (BTreeSet<String>, usize) {
    let bundle = policies.bundle();
    let (mut found, mut asked) = (BTreeSet::new(), 0);
    for member in TEMPLATES.into_iter().chain([BILLING]) {
        let given = role(policies, member);
        for (action, _) in bundle.actions().filter(|(action, _)| bundle.bucket(*action).unwrap().permits_some(given)) {
            let name = bundle.action_name(action);
            for (mode, seat) in SEATS {
                let seated = role(policies, seat);
                let (flags, circumstances) = mentioned(policies, action, [given, seated]);
                for (flags, circumstances) in
                    combinations(&flags).flat_map(|f| combinations(&circumstances).map(move |c| (f, c)))
                {
                    let facts = Facts {
                        mode,
                        flags: Flags::from_bits(flags),
                        circumstances: Circumstances::from_bits(circumstances),
                    };
                    asked += 1;
                    if !allowed(policies, given, action, &facts) {
                        continue;
                    }
                    let mut excess = |what: &str| found.insert(format!("{member} {name} in {mode:?}: {what}"));
                    if facts.flags.agency_suspended && !["ViewInvoices", "OpenDispute"].contains(&name) {
                        excess("the agency is suspended");
                    }
                    if name == "LeaveSite" {
                        continue;
                    }
                    if !allowed(policies, seated, action, &facts) {
                        excess(&format!("{seat} may not"));
                    }
                    if facts.circumstances.blocked {
                        excess("the client keeps them out");
                    }
                    if TEMPLATES.contains(&member) && !facts.circumstances.grant_live {
                        excess("the grant has ended");
                    }
                }
            }
        }
    }
    (found, asked)
}

#[test]
fn nobody_at_an_agency_ever_exceeds_its_seat() {
    let (found, asked) = excesses(&SHIPPED);
    assert!(found.is_empty(), "{found:#?}");
    assert!(asked > 10_000, "{asked} answers are too few to be all");
}

/// The control: one right too many, one gate less on the members' side, one clause forgotten.
#[test]
fn one_excess_is_found() {
    const MEMBER: &str = "policies/seats/agency-member.cedar";
    let design = "    Sites::Action::\"EditDesign\",\n";
    let too_many = format!("{design}    Sites::Action::\"ManagePayouts\",\n");
    for (from, to, expected) in [
        (design, too_many.as_str(), "ManagePayouts in PartnerManaged: Partner may not"),
        ("resource.agency_suspended", "false", "the agency is suspended"),
        ("context.blocked", "false", "the client keeps them out"),
        ("context.grant_live", "true", "the grant has ended"),
        ("resource.locked", "false", "Partner may not"),
    ] {
        let mut policies = FOLDER.policies.clone();
        let file = policies.iter_mut().find(|file| file.path == MEMBER).unwrap();
        assert!(file.text.contains(from), "{from}");
        file.text = file.text.replacen(from, to, 1);
        let (found, _) = excesses(&SitePolicies::load(&FOLDER.schema, &policies).unwrap());
        assert!(found.iter().any(|excess| excess.ends_with(expected)), "{from}: {found:#?}");
    }
}

//! What does everybody get, everywhere? `DECISIONS.txt`: every person × action × site of every fixture.
//!
//! The table is the specification: a change of a policy is reviewed by reading what it changes here. A site that is
//! `like` another is told by what its state changes for whom, which is what a person wants to know of a state; people
//! for whom it is the same stand together. Nothing is left out: what is not listed is denied.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::{
    FixtureSite, World,
    matrix::{HEADINGS, heading},
};
use crate::{
    assignment::{Asked, SitePolicies, SiteRow, Standing},
    decision::Fault,
    ids::{Account, Principal},
    policy::ActionIx,
};

const HEAD: &str = "\
# Every answer that the policies give about the fixtures, generated; `make bless` writes it, and a test compares.
#
# For each site: who may do what, by the catalogue's headings; whatever is not listed is denied. `all` is every action
# of a heading. A site that is like another is told by what is different there; whoever is not named there has nothing
# on either site. Marks in parentheses say what it takes:
#   S a fresh sign-in · 2 the client's confirmation of the act · T their own card or invoice · X a case
#   G holds only while the one who invited them pays · N the other side is told
";

/// Where lines end.
const WIDTH: usize = 118;

/// The letter of a circumstance that the caller brings, and the caller bringing it.
const BROUGHT: &[(char, Bring)] = &[
    ('S', |to, from| to.auth_time = from.auth_time),
    ('2', |to, from| to.operation.clone_from(&from.operation)),
    ('T', |to, from| to.account.clone_from(&from.account)),
    ('X', |to, from| to.case.clone_from(&from.case)),
];

type Bring = fn(&mut Asked, &Asked);

/// What one person may do on one site: for each action allowed, its marks.
type Rights = BTreeMap<ActionIx, SmolStr>;

/// The whole text.
///
/// # Errors
/// [`Fault`] when a policy cannot be evaluated.
pub fn decisions(policies: &SitePolicies, worlds: &[World]) -> Result<String, Fault> {
    let mut text = HEAD.to_owned();
    for world in worlds {
        let mut told: BTreeMap<&str, Vec<Rights>> = BTreeMap::new();
        for fixture in &world.sites {
            let rights = on_site(policies, world, fixture)?;
            let id = fixture.site.id.as_str();
            let base = fixture.like.as_ref().and_then(|like| told.get(like.as_str()).map(|base| (like, base)));
            match base {
                None => {
                    text.push_str(&["\n== ", &world.name, ": ", id, " ==\n", &fixture.is, "\n"].concat());
                    in_full(&mut text, policies, world, &rights);
                }
                Some((like, base)) => {
                    let (name, like) = (&world.name, like.as_str());
                    let parts = ["\n== ", name, ": ", id, ", compared with ", like, " ==\n", &fixture.is, "\n"];
                    text.push_str(&parts.concat());
                    compared(&mut text, policies, world, base, &rights);
                }
            }
            told.insert(id, rights);
        }
    }
    Ok(text)
}

/// Everybody's rights on one site, in the order of the world's people.
fn on_site(policies: &SitePolicies, world: &World, fixture: &FixtureSite) -> Result<Vec<Rights>, Fault> {
    let row = SiteRow::of(&fixture.site, policies);
    let mut all = Vec::new();
    for person in &world.people {
        let asker = Asker { policies, world, fixture, row: &row, principal: &person.principal };
        let mut rights = Rights::new();
        for (action, _) in policies.bundle().actions() {
            if let Some(marks) = asker.marks(action)? {
                rights.insert(action, marks);
            }
        }
        all.push(rights);
    }
    Ok(all)
}

struct Asker<'a> {
    policies: &'a SitePolicies,
    world: &'a World,
    fixture: &'a FixtureSite,
    row: &'a SiteRow,
    principal: &'a Principal,
}

impl Asker<'_> {
    /// What it takes; none when nothing helps.
    fn marks(&self, action: ActionIx) -> Result<Option<SmolStr>, Fault> {
        let everything = self.everything();
        if self.ask(action, &everything)?.is_none() {
            return Ok(None);
        }
        let mut subsets: Vec<u32> = (0..1 << BROUGHT.len()).collect();
        subsets.sort_by_key(|bits| (bits.count_ones(), *bits));
        for bits in subsets {
            let mut asked = Asked::default();
            let mut marks = String::new();
            for (n, (letter, bring)) in BROUGHT.iter().enumerate() {
                if bits >> n & 1 == 1 {
                    bring(&mut asked, &everything);
                    marks.push(*letter);
                }
            }
            if let Some(told) = self.ask(action, &asked)? {
                if self.lapses_with_the_payer(action, &asked)? {
                    marks.push('G');
                }
                if told {
                    marks.push('N');
                }
                return Ok(Some(SmolStr::new(marks)));
            }
        }
        Ok(Some(SmolStr::new_static("?")))
    }
    /// All that a caller can bring for this person on this site.
    fn everything(&self) -> Asked {
        let now = self.world.now;
        let confirmed = self.fixture.site.confirmations.iter().find(|confirmation| now < confirmation.expires_at);
        Asked {
            auth_time: Some(now.as_seconds()),
            account: match self.principal {
                Principal::User(user) => Some(Account::User(user.clone())),
                Principal::Staff(_) | Principal::Service(_) => None,
            },
            operation: confirmed.map(|confirmation| confirmation.operation.clone()),
            case: Some(SmolStr::new_static("case")),
        }
    }
    fn standing<'a>(&'a self, asked: &'a Asked) -> Standing<'a> {
        let directory = self.world.directory_of(self.fixture);
        let step_up_s = super::suite::STEP_UP_S;
        Standing::of(self.policies, self.row, directory, self.principal, asked, self.world.now, step_up_s)
    }
    /// Whether it is allowed, and if so, whether somebody is told.
    fn ask(&self, action: ActionIx, asked: &Asked) -> Result<Option<bool>, Fault> {
        let evaluation = self.standing(asked).evaluate(action)?;
        Ok(evaluation.allowed.then(|| !evaluation.obligations("").is_empty()))
    }
    fn lapses_with_the_payer(&self, action: ActionIx, asked: &Asked) -> Result<bool, Fault> {
        let standing = self.standing(asked);
        let mut facts = standing.facts(action);
        if !facts.circumstances.granted_by_payer {
            return Ok(false);
        }
        facts.circumstances.granted_by_payer = false;
        Ok(!standing.evaluate_under(action, &facts)?.allowed)
    }
}

/// People with the same value, in the order of the first of each.
fn grouped<T: PartialEq>(world: &World, values: impl IntoIterator<Item = T>) -> Vec<(Vec<&str>, T)> {
    let mut groups: Vec<(Vec<&str>, T)> = Vec::new();
    for (person, value) in world.people.iter().zip(values) {
        match groups.iter_mut().find(|(_, other)| *other == value) {
            Some((names, _)) => names.push(person.principal.id()),
            None => groups.push((vec![person.principal.id()], value)),
        }
    }
    groups
}

fn in_full(text: &mut String, policies: &SitePolicies, world: &World, all: &[Rights]) {
    let mut nothing = None;
    for (names, rights) in grouped(world, all) {
        let names = names.join(", ");
        if rights.is_empty() {
            nothing = Some(names);
            continue;
        }
        text.push('\n');
        entry(text, 0, "", &names);
        for heading in HEADINGS.iter().copied().chain([ACCOUNT]) {
            let under = under(policies, heading);
            if under.iter().all(|action| rights.get(action).is_some_and(SmolStr::is_empty)) {
                entry(text, 2, heading, "all");
            } else if under.iter().any(|action| rights.contains_key(action)) {
                let listed: Vec<String> = under
                    .iter()
                    .filter_map(|action| rights.get(action).map(|marks| named(policies, *action, marks)))
                    .collect();
                entry(text, 2, heading, &listed.join(", "));
            }
        }
    }
    if let Some(names) = nothing {
        text.push('\n');
        entry(text, 0, "nothing for", &names);
    }
}

/// What is different for one person.
#[derive(PartialEq)]
struct Change {
    keeps: Vec<String>,
    loses: Vec<String>,
    gains: Vec<String>,
}

fn compared(text: &mut String, policies: &SitePolicies, world: &World, base: &[Rights], all: &[Rights]) {
    let changes = base.iter().zip(all).map(|(before, now)| {
        let name = |(action, marks): (&ActionIx, &SmolStr)| named(policies, *action, marks);
        let change = Change {
            keeps: now.iter().filter(|(action, marks)| before.get(*action) == Some(*marks)).map(name).collect(),
            loses: before.iter().filter(|(action, marks)| now.get(*action) != Some(*marks)).map(name).collect(),
            gains: now.iter().filter(|(action, marks)| before.get(*action) != Some(*marks)).map(name).collect(),
        };
        // What is kept matters only where it is the shorter half of the story.
        let unchanged = change.loses.is_empty() && change.gains.is_empty();
        match (unchanged, change.keeps.len() < change.loses.len()) {
            (true, _) if before.is_empty() => None,
            (false, true) => Some(Change { loses: vec![MOST.to_owned()], ..change }),
            (true, _) | (false, false) => Some(Change { keeps: Vec::new(), ..change }),
        }
    });
    let mut same = String::new();
    for (names, change) in grouped(world, changes) {
        let Some(change) = change else { continue };
        let names = names.join(", ");
        if change.loses.is_empty() && change.gains.is_empty() {
            same = names;
            continue;
        }
        text.push('\n');
        entry(text, 0, "", &names);
        if change.loses == [MOST] && change.keeps.is_empty() {
            entry(text, 2, "loses", "everything");
        } else if change.loses == [MOST] {
            entry(text, 2, "keeps only", &change.keeps.join(", "));
        } else if !change.loses.is_empty() {
            entry(text, 2, "loses", &change.loses.join(", "));
        }
        if !change.gains.is_empty() {
            entry(text, 2, "gains", &change.gains.join(", "));
        }
    }
    if !same.is_empty() {
        text.push('\n');
        entry(text, 0, "no difference for", &same);
    }
}

const ACCOUNT: &str = "Account";
const MOST: &str = "most";

fn under(policies: &SitePolicies, wanted: &str) -> Vec<ActionIx> {
    let bundle = policies.bundle();
    let actions = bundle.actions().map(|(action, _)| action);
    actions.filter(|action| heading(bundle, *action).unwrap_or(ACCOUNT) == wanted).collect()
}

fn named(policies: &SitePolicies, action: ActionIx, marks: &str) -> String {
    let name = policies.bundle().action_name(action);
    if marks.is_empty() { name.to_owned() } else { format!("{name}({marks})") }
}

/// A labelled list, broken at commas and indented so that the label stands out.
fn entry(text: &mut String, indent: usize, label: &str, list: &str) {
    let gap = if label.is_empty() {
        0
    } else if indent == 0 {
        label.len() + 2
    } else {
        13
    };
    let mut line = " ".repeat(indent) + label;
    if !label.is_empty() {
        line.push_str(if indent == 0 { ":" } else { "" });
        line.push_str(&" ".repeat((indent + gap).saturating_sub(line.len())));
    }
    let mut fresh = true;
    for item in list.split_inclusive(", ") {
        if !fresh && line.len() + item.trim_end().len() > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent + gap);
        }
        line.push_str(item);
        fresh = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

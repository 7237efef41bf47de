//! The suites' TOML, checked against policies and fixtures: every name in a suite must exist.

use std::collections::BTreeSet;

use serde::Deserialize;
use smol_str::SmolStr;
use toml::Spanned;

use crate::{
    assignment::{Asked, REASONS, SitePolicies},
    authoring::{World, line_at, toml_problem},
    ids::{Account, Principal},
    policy::{ActionIx, Effect, Problem, Problems, Source},
    time::Timestamp,
};

/// The tests of one file.
#[derive(Debug, Clone)]
pub struct Suite<'a> {
    /// The file's path.
    pub path: String,
    pub(super) world: &'a World,
    pub(super) tests: Vec<Test>,
}

#[derive(Debug, Clone)]
pub(super) struct Test {
    pub name: String,
    pub line: usize,
    pub now: Timestamp,
    pub with: With,
    pub principals: Vec<Principal>,
    pub actions: Vec<ActionIx>,
    pub sites: Vec<usize>,
    pub expectations: Vec<Expectation>,
}

/// A part of a test's matrix and what is expected there.
#[derive(Debug, Clone)]
pub(super) struct Expectation {
    pub line: usize,
    pub principals: Vec<Principal>,
    pub actions: Vec<ActionIx>,
    pub sites: Vec<usize>,
    pub allowed: bool,
    pub policies: BTreeSet<SmolStr>,
    pub reason: Option<SmolStr>,
    pub notify: Option<BTreeSet<SmolStr>>,
}

/// What the caller sends along, in an author's words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct With {
    /// The person has just signed in.
    #[serde(default)]
    fresh_sign_in: bool,
    /// When the person signed in, instead.
    auth_time: Option<Timestamp>,
    /// The card or invoice is the person's own.
    #[serde(default)]
    own_account: bool,
    /// Whose card or invoice it is, instead.
    account: Option<Account>,
    operation: Option<SmolStr>,
    case: Option<SmolStr>,
}

impl With {
    pub(super) fn asked(&self, principal: &Principal, now: Timestamp) -> Asked {
        let own = match principal {
            Principal::User(user) if self.own_account => Some(Account::User(user.clone())),
            Principal::User(_) | Principal::Staff(_) | Principal::Service(_) => None,
        };
        Asked {
            auth_time: self.auth_time.or(self.fresh_sign_in.then_some(now)).map(Timestamp::as_seconds),
            account: self.account.clone().or(own),
            operation: self.operation.clone(),
            case: self.case.clone(),
        }
    }
    pub(super) fn words(&self) -> String {
        let mut words = Vec::new();
        if self.fresh_sign_in {
            words.push("a fresh sign-in".to_owned());
        }
        if let Some(at) = self.auth_time {
            words.push(format!("a sign-in at {at}"));
        }
        if self.own_account {
            words.push("their own account".to_owned());
        }
        if let Some(account) = &self.account {
            words.push(format!("the account {account}"));
        }
        if let Some(operation) = &self.operation {
            words.push(format!("the operation `{operation}`"));
        }
        if let Some(case) = &self.case {
            words.push(format!("the case `{case}`"));
        }
        if words.is_empty() { String::new() } else { format!(", with {}", words.join(" and ")) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteToml {
    fixture: Spanned<String>,
    principals: Option<Names>,
    sites: Option<Names>,
    #[serde(default)]
    test: Vec<TestToml>,
}

type Names = Spanned<Vec<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestToml {
    name: Spanned<String>,
    principals: Option<Names>,
    sites: Option<Names>,
    actions: Option<Names>,
    now: Option<Timestamp>,
    #[serde(default)]
    with: With,
    #[serde(default)]
    allow: Vec<AllowToml>,
    #[serde(default)]
    deny: Vec<DenyToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowToml {
    policies: Names,
    principals: Option<Names>,
    sites: Option<Names>,
    actions: Option<Names>,
    notify: Option<BTreeSet<SmolStr>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenyToml {
    reason: Spanned<SmolStr>,
    policies: Option<Names>,
    principals: Option<Names>,
    sites: Option<Names>,
    actions: Option<Names>,
}

/// In place of names: all of them.
const ALL: &str = "all";

struct Reader<'a> {
    file: &'a Source,
    policies: &'a SitePolicies,
    world: &'a World,
    problems: Vec<Problem>,
}

impl<'a> Suite<'a> {
    /// Reads a suite.
    ///
    /// # Errors
    /// Everything wrong with it, with file and line.
    pub fn parse(file: &Source, policies: &SitePolicies, worlds: &'a [World]) -> Result<Self, Problems> {
        let toml: SuiteToml = toml::from_str(&file.text).map_err(|error| Problems(vec![toml_problem(file, &error)]))?;
        let Some(world) = worlds.iter().find(|world| world.name == *toml.fixture.get_ref()) else {
            return Err(Problems(vec![Problem {
                path: file.path.clone(),
                line: line_at(&file.text, toml.fixture.span().start),
                reason: format!("there is no fixture `fixtures/{}.toml`", toml.fixture.get_ref()),
            }]));
        };
        let mut reader = Reader { file, policies, world, problems: Vec::new() };
        let defaults = (toml.principals, toml.sites);
        let tests = toml.test.into_iter().map(|test| reader.test(test, &defaults)).collect();
        if reader.problems.is_empty() {
            Ok(Self { path: file.path.clone(), world, tests })
        } else {
            Err(Problems(reader.problems))
        }
    }
    /// The policies that some test expects to determine an answer.
    pub fn policies(&self) -> impl Iterator<Item = &SmolStr> {
        self.tests.iter().flat_map(|test| &test.expectations).flat_map(|part| &part.policies)
    }
}

impl Reader<'_> {
    fn problem<T>(&mut self, at: &Spanned<T>, reason: String) {
        let line = line_at(&self.file.text, at.span().start);
        self.problems.push(Problem { path: self.file.path.clone(), line, reason });
    }
    fn test(&mut self, test: TestToml, (principals, sites): &(Option<Names>, Option<Names>)) -> Test {
        let name = &test.name;
        let (principals, sites) =
            (test.principals.as_ref().or(principals.as_ref()), test.sites.as_ref().or(sites.as_ref()));
        for (what, missing) in [("principals", principals.is_none()), ("sites", sites.is_none())] {
            if missing {
                self.problem(name, format!("`{what}` is missing, here and at the suite's head"));
            }
        }
        let principals = principals.map(|names| self.principals(names)).unwrap_or_default();
        let sites = sites.map(|names| self.sites(names)).unwrap_or_default();
        let actions = match &test.actions {
            Some(names) => self.actions(names),
            None => self.policies.bundle().actions().map(|(action, _)| action).collect(),
        };
        let mut read = Test {
            name: name.get_ref().clone(),
            line: line_at(&self.file.text, name.span().start),
            now: test.now.unwrap_or(self.world.now),
            with: test.with,
            principals,
            actions,
            sites,
            expectations: Vec::new(),
        };
        for allow in test.allow {
            let part = [allow.principals.as_ref(), allow.sites.as_ref(), allow.actions.as_ref()];
            let policies = self.policy_ids(&allow.policies, Effect::Permit);
            let mut expectation = self.part(&read, part, line_at(&self.file.text, allow.policies.span().start));
            expectation.allowed = true;
            expectation.notify = allow.notify;
            expectation.policies = policies;
            read.expectations.push(expectation);
        }
        for deny in test.deny {
            let part = [deny.principals.as_ref(), deny.sites.as_ref(), deny.actions.as_ref()];
            if !REASONS.contains(&deny.reason.get_ref().as_str()) {
                self.problem(&deny.reason, format!("`{}` is not a reason code", deny.reason.get_ref()));
            }
            let line = line_at(&self.file.text, deny.reason.span().start);
            let policies = deny.policies.as_ref().map(|ids| self.policy_ids(ids, Effect::Forbid));
            let mut expectation = self.part(&read, part, line);
            expectation.reason = Some(deny.reason.into_inner());
            expectation.policies = policies.unwrap_or_default();
            read.expectations.push(expectation);
        }
        read
    }
    /// A part of the test's matrix; what is not narrowed is the test's. Only what the test asks can be listed.
    fn part(&mut self, test: &Test, [principals, sites, actions]: [Option<&Names>; 3], line: usize) -> Expectation {
        let outside = |reader: &mut Self, names: &Names, what: &str| {
            reader.problem(names, format!("this lists {what} that the test does not ask about"));
        };
        let principals = principals.map_or_else(
            || test.principals.clone(),
            |names| {
                let found = self.principals(names);
                if found.iter().any(|principal| !test.principals.contains(principal)) {
                    outside(self, names, "principals");
                }
                found
            },
        );
        let sites = sites.map_or_else(
            || test.sites.clone(),
            |names| {
                let found = self.sites(names);
                if found.iter().any(|site| !test.sites.contains(site)) {
                    outside(self, names, "sites");
                }
                found
            },
        );
        let actions = actions.map_or_else(
            || test.actions.clone(),
            |names| {
                let found = self.actions(names);
                if found.iter().any(|action| !test.actions.contains(action)) {
                    outside(self, names, "actions");
                }
                found
            },
        );
        let (policies, reason, notify) = (BTreeSet::new(), None, None);
        Expectation { line, principals, actions, sites, allowed: false, policies, reason, notify }
    }
    fn principals(&mut self, names: &Names) -> Vec<Principal> {
        let mut found = Vec::new();
        for name in names.get_ref() {
            match self.world.principal(name) {
                Some(principal) => found.push(principal),
                None if name == ALL => found.extend(self.world.people.iter().map(|person| person.principal.clone())),
                None => {
                    let reason = format!("fixture `{}` declares no person `{name}`", self.world.name);
                    self.problem(names, reason);
                }
            }
        }
        found
    }
    fn sites(&mut self, names: &Names) -> Vec<usize> {
        let mut found = Vec::new();
        for name in names.get_ref() {
            match self.world.sites.iter().position(|site| site.site.id.as_str() == name) {
                Some(n) => found.push(n),
                None if name == ALL => found.extend(0..self.world.sites.len()),
                None => self.problem(names, format!("fixture `{}` has no site `{name}`", self.world.name)),
            }
        }
        found
    }
    /// A name is an action, or a group that stands for its actions; `-Name` takes one out again.
    fn actions(&mut self, names: &Names) -> Vec<ActionIx> {
        let mut found: Vec<ActionIx> = Vec::new();
        for name in names.get_ref() {
            let (wanted, without) = name.strip_prefix('-').map_or((name.as_str(), false), |rest| (rest, true));
            let bundle = self.policies.bundle();
            let meant: Vec<ActionIx> = bundle
                .actions()
                .filter(|(_, action)| action.name == wanted || action.groups.contains(wanted) || wanted == ALL)
                .map(|(n, _)| n)
                .collect();
            if meant.is_empty() {
                self.problem(names, format!("the schema has no action or group `{wanted}`"));
            }
            if without {
                found.retain(|action| !meant.contains(action));
            } else {
                found.extend(meant.into_iter().filter(|action| !found.contains(action)).collect::<Vec<_>>());
            }
        }
        found
    }
    fn policy_ids(&mut self, ids: &Names, effect: Effect) -> BTreeSet<SmolStr> {
        for id in ids.get_ref() {
            let known = self.policies.bundle().policies().iter().find(|policy| policy.id == id.as_str());
            match known.map(|policy| policy.effect) {
                None => self.problem(ids, format!("there is no policy `{id}`")),
                Some(found) if found != effect => {
                    let word = if effect == Effect::Permit { "permit" } else { "forbid" };
                    self.problem(ids, format!("`{id}` is not a {word}"));
                }
                Some(_) => {}
            }
        }
        if ids.get_ref().is_empty() && effect == Effect::Permit {
            self.problem(ids, "an allow is always determined by some policy".to_owned());
        }
        ids.get_ref().iter().map(SmolStr::new).collect()
    }
}

//! Who may do what, as one table? Role × action, computed from the policies, in the shape of the domain's §4.
//!
//! Each cell is found by asking: first with no circumstance in the asker's favour, then with as few as will do. An
//! action that nobody can do on a plain site is asked about in the first state in which somebody can (a site must be in
//! the trash before it can be restored). So the table repeats no rule; it can only disagree with what was specified,
//! and a test compares the two cell by cell.

use std::fmt::{self, Write as _};

use serde::Serialize;
use smol_str::SmolStr;

use crate::{
    assignment::{Circumstances, Facts, Flags, Kind, SitePolicies},
    decision::{Fault, evaluate},
    policy::{ActionIx, Bundle, RoleIx},
    site::Mode,
};

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The columns' titles.
    pub columns: Vec<&'static str>,
    /// One row for each action, in the catalogue's order.
    pub rows: Vec<Row>,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its heading in the catalogue.
    pub group: SmolStr,
    /// Its name.
    pub action: SmolStr,
    /// The state in which it was asked about, when that is not the plain one.
    pub state: Option<&'static str>,
    /// One code for each column; empty where it is denied.
    pub cells: Vec<SmolStr>,
}

/// A cell that is not as specified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The row.
    pub action: SmolStr,
    /// The column.
    pub column: SmolStr,
    /// The code in the specification.
    pub specified: SmolStr,
    /// The code that the policies make.
    pub computed: SmolStr,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, column, specified, computed } = self;
        write!(f, "{action} for {column}: the specification says `{specified}`, the policies make it `{computed}`")
    }
}

/// The headings of the catalogue, in its order. Actions under no heading are scoped to an account, not to a site, and
/// are left out of the table.
pub const HEADINGS: &[&str] = &[
    "Site",
    "Content",
    "Blog",
    "Commerce",
    "PeopleData",
    "Marketing",
    "Apps",
    "Domain",
    "Plan",
    "Roles",
    "Handover",
    "Platform",
];

/// What the codes mean.
pub const LEGEND: &str = "Y yes · S with a fresh sign-in · N yes, and the other side is told · T only their own card or invoice · \
G only while the one who invited them pays · 2 once the client has confirmed the single act · D only if delegated on this \
site · H only a named party of the offer · V only in a consented support session · X only with a case · . no";

struct Column {
    title: &'static str,
    short: &'static str,
    /// Any of these: the first that can do something counts.
    roles: &'static [&'static str],
    /// The modes in which the column exists, the usual one first.
    modes: &'static [Mode],
    /// An account with a seat, or whoever acts for one, can be a party of an offer.
    party: bool,
    kind: Kind,
}

type Set<F> = fn(&mut F);

const OWNED: &[Mode] = &[Mode::SelfManaged, Mode::PartnerBuilt];
const ANY: &[Mode] = &[Mode::SelfManaged, Mode::PartnerManaged, Mode::PartnerBuilt];
const ENGAGED: &[Mode] = &[Mode::PartnerManaged];

const fn seat(
    title: &'static str,
    short: &'static str,
    role: &'static [&'static str],
    modes: &'static [Mode],
) -> Column {
    Column { title, short, roles: role, modes, party: true, kind: Kind::User }
}

const fn person(title: &'static str, short: &'static str, role: &'static [&'static str]) -> Column {
    Column { title, short, roles: role, modes: ANY, party: false, kind: Kind::User }
}

const COLUMNS: &[Column] = &[
    seat("Owner", "Ow", &["Owner"], OWNED),
    person("CoOwner", "Co", &["CoOwner"]),
    seat("Partner", "Pa", &["Partner"], ENGAGED),
    seat("Client", "Cl", &["Client"], ENGAGED),
    person("WebsiteManager", "WM", &["WebsiteManager"]),
    person("WebsiteDesigner", "WD", &["WebsiteDesigner"]),
    person("BillingManager", "BM", &["BillingManager"]),
    person("DomainManager", "DM", &["DomainManager"]),
    person("BlogEditor", "BE", &["BlogEditor"]),
    person("StoreManager", "SM", &["StoreManager"]),
    person("MarketingManager", "MK", &["MarketingManager"]),
    person("Viewer", "Vi", &["Viewer"]),
    seat("agency admin", "AA", &["Partner"], ENGAGED),
    Column { modes: ENGAGED, ..person("agency member", "AM", &["AgencyManager"]) },
    Column { modes: ENGAGED, ..person("agency billing", "AB", &["AgencyBilling"]) },
    Column { kind: Kind::Staff, ..person("SupportAgent", "SA", &["SupportAgent", "TrustSafety"]) },
];

const STATES: &[(&str, Set<Flags>)] = &[
    ("", |_| {}),
    ("trashed", |flags| flags.trashed = true),
    ("frozen", |flags| flags.frozen = true),
    ("past due", |flags| flags.past_due = true),
    ("on its way back", |flags| (flags.return_pending, flags.reclaim_pending) = (true, true)),
];

/// A circumstance in the asker's favour and its code.
const CODES: &[(char, Set<Circumstances>)] = &[
    ('S', |c| c.fresh_sign_in = true),
    ('2', |c| c.confirmed = true),
    ('T', |c| c.own_account = true),
    ('G', |c| c.granted_by_payer = true),
    ('D', |c| c.grant_live = true),
    ('V', |c| c.support_session_live = true),
    ('X', |c| c.case_given = true),
];

impl Matrix {
    /// Asks the policies.
    ///
    /// # Errors
    /// [`Fault`] when a policy cannot be evaluated.
    pub fn of(policies: &SitePolicies) -> Result<Self, Fault> {
        let bundle = policies.bundle();
        let mut rows = Vec::new();
        for (action, entry) in bundle.actions() {
            let Some(group) = heading(bundle, action) else { continue };
            let mut row =
                Row { group: SmolStr::new(group), action: entry.name.clone(), state: None, cells: Vec::new() };
            for (state, set) in STATES {
                let mut flags = Flags::default();
                set(&mut flags);
                row.cells =
                    COLUMNS.iter().map(|column| cell(policies, column, action, flags)).collect::<Result<_, _>>()?;
                if row.cells.iter().any(|cell| !cell.is_empty()) {
                    row.state = Some(*state).filter(|state| !state.is_empty());
                    break;
                }
            }
            rows.push(row);
        }
        Ok(Self { columns: COLUMNS.iter().map(|column| column.title).collect(), rows })
    }
    /// The table as the specification's CSV: a dot where an action is denied.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = format!("group,action,{}\n", self.columns.join(","));
        for row in &self.rows {
            let _ = write!(text, "{},{}", row.group, row.action);
            for cell in &row.cells {
                text.push(',');
                text.push_str(or_dot(cell));
            }
            text.push('\n');
        }
        text
    }
    /// The table in Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let shorts: Vec<&str> = COLUMNS.iter().map(|column| column.short).collect();
        let mut text = format!("| action | {} |\n|---|{}\n", shorts.join(" | "), "---|".repeat(shorts.len()));
        let mut group = "";
        for row in &self.rows {
            if row.group != group {
                group = &row.group;
                let _ = writeln!(text, "| **{group}** |{}", " |".repeat(row.cells.len()));
            }
            let cells: Vec<&str> = row.cells.iter().map(|cell| if cell.is_empty() { "–" } else { cell }).collect();
            let _ = writeln!(text, "| {} | {} |", named(row), cells.join(" | "));
        }
        text
    }
    /// Where this table is not as the specification's CSV says, including rows and columns that only one of them has.
    #[must_use]
    pub fn differences(&self, specification: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut lines = specification.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().unwrap_or_default();
        let specified: Vec<Vec<&str>> = lines.filter(|line| line.len() > 2).collect();
        let computed_csv = self.to_csv();
        let computed: Vec<Vec<&str>> = computed_csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let cell_of = |rows: &[Vec<&str>], action: &str, n: usize| -> SmolStr {
            let row = rows.iter().find(|row| row.get(1).copied() == Some(action));
            row.and_then(|row| row.get(n)).map_or_else(|| SmolStr::new_static("absent"), SmolStr::new)
        };
        let mut actions: Vec<&str> = specified.iter().chain(&computed).filter_map(|row| row.get(1).copied()).collect();
        let mut seen = std::collections::BTreeSet::new();
        actions.retain(|action| seen.insert(*action));
        for action in actions {
            for n in 0..header.len().max(self.columns.len() + 2) {
                let (want, got) = (cell_of(&specified, action, n), cell_of(&computed, action, n));
                if want != got {
                    let column = SmolStr::new(header.get(n).copied().unwrap_or("a further column"));
                    found.push(Difference { action: action.into(), column, specified: want, computed: got });
                }
            }
        }
        found
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = "";
        for row in &self.rows {
            if row.group != group {
                group = &row.group;
                write!(f, "{group:<42}")?;
                for column in COLUMNS {
                    write!(f, " {:>2}", column.short)?;
                }
                writeln!(f)?;
            }
            write!(f, "  {:<40}", named(row))?;
            for cell in &row.cells {
                write!(f, " {:>2}", or_dot(cell))?;
            }
            writeln!(f)?;
        }
        write!(f, "{LEGEND}")
    }
}

/// The heading of an action; none for one that is scoped to an account.
pub(super) fn heading(bundle: &Bundle, action: ActionIx) -> Option<&'static str> {
    let (_, entry) = bundle.actions().find(|(n, _)| *n == action)?;
    HEADINGS.iter().copied().find(|heading| entry.groups.contains(*heading))
}

fn named(row: &Row) -> String {
    row.state.map_or_else(|| row.action.to_string(), |state| format!("{} ({state})", row.action))
}

fn or_dot(cell: &str) -> &str {
    if cell.is_empty() { "." } else { cell }
}

fn cell(policies: &SitePolicies, column: &Column, action: ActionIx, flags: Flags) -> Result<SmolStr, Fault> {
    for role in column.roles.iter().filter_map(|name| policies.bundle().role(name)) {
        for mode in column.modes {
            let code = code(policies, column, role, action, (*mode, flags))?;
            if !code.is_empty() {
                return Ok(code);
            }
        }
    }
    Ok(SmolStr::default())
}

/// The code of one role: the fewest circumstances under which it is allowed.
fn code(
    policies: &SitePolicies,
    column: &Column,
    role: RoleIx,
    action: ActionIx,
    (mode, flags): (Mode, Flags),
) -> Result<SmolStr, Fault> {
    let bundle = policies.bundle();
    let ask = |roles: &[RoleIx], circumstances| {
        evaluate(bundle, &policies.slice(column.kind, action, roles, &Facts { mode, flags, circumstances }))
    };
    if !ask(&[role], Circumstances::favourable())?.allowed {
        let [acceptor, initiator, _] = policies.given().parties();
        let named = column.party && ask(&[role, acceptor, initiator], Circumstances::favourable())?.allowed;
        return Ok(if named { SmolStr::new_static("H") } else { SmolStr::default() });
    }
    let mut subsets: Vec<u32> = (0..1 << CODES.len()).collect();
    subsets.sort_by_key(|bits| (bits.count_ones(), *bits));
    for bits in subsets {
        let mut circumstances = Circumstances::default();
        let mut code = String::new();
        for (n, (letter, set)) in CODES.iter().enumerate() {
            if bits >> n & 1 == 1 {
                set(&mut circumstances);
                code.push(*letter);
            }
        }
        let evaluation = ask(&[role], circumstances)?;
        if evaluation.allowed {
            if !evaluation.obligations("").is_empty() {
                code.push('N');
            }
            return Ok(SmolStr::new(if code.is_empty() { "Y" } else { &code }));
        }
    }
    Ok(SmolStr::new_static("?"))
}

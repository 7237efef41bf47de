//! The role matrix and the state gates of the domain, asked for over HTTP.
//!
//! `tests/golden/role_action_matrix.csv` is the specification's table. Each of its cells is found again by asking the
//! running service about somebody who has that role: first with nothing in their favour, then with as little as will
//! do. What a caller says (a fresh sign-in, an account, a case, a confirmed operation) is said in the question; what is
//! stored (who granted, whether a grant or a session lives) differs between two people in the same role. An action
//! that nobody may do on a plain site is asked about in the first state in which somebody may.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    http::{Client, now_s},
    server::Installation,
    worlds::{self, in_seconds},
};

const SPECIFICATION: &str = include_str!("../golden/role_action_matrix.csv");
/// The confirmed operation on every site of these tests.
const OPERATION: &str = "confirmed-act";
const ROLES: [(&str, &str); 9] = [
    ("co-owner", "CoOwner"),
    ("website-manager", "WebsiteManager"),
    ("website-designer", "WebsiteDesigner"),
    ("billing-manager", "BillingManager"),
    ("domain-manager", "DomainManager"),
    ("blog-editor", "BlogEditor"),
    ("store-manager", "StoreManager"),
    ("marketing-manager", "MarketingManager"),
    ("viewer", "Viewer"),
];

/// The code of each action for each column.
type Cells = BTreeMap<(String, String), String>;

/// The specification: the actions in order, the columns, and the code of each cell.
struct Table {
    actions: Vec<String>,
    columns: Vec<String>,
    cells: Cells,
}

fn specification() -> Table {
    let mut lines = SPECIFICATION.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let columns: Vec<String> = lines.next().unwrap()[2..].to_vec();
    let rows: Vec<Vec<String>> = lines.collect();
    let actions = rows.iter().map(|row| row[1].clone()).collect();
    let mut cells = BTreeMap::new();
    for row in &rows {
        assert_eq!(row.len(), columns.len() + 2, "{row:?}");
        for (column, code) in columns.iter().zip(&row[2..]) {
            cells.insert((row[1].clone(), column.clone()), code.clone());
        }
    }
    Table { actions, columns, cells }
}

fn shape(records: &mut [Value], id: &str) -> Value {
    records.iter().find(|record| record["site"]["id"] == id).unwrap_or_else(|| panic!("no site `{id}`"))["site"].clone()
}

/// The cast's sites with three additions: somebody in every role whose grantor does not pay; a confirmation of every
/// action; and, where the table asks for a state that the cast does not show, that state.
fn records(actions: &[String]) -> Vec<Value> {
    let mut records = worlds::records(&worlds::fixture("cast"));
    // Due returns and offers that have run out are committed at start: they are about time, not about the matrix.
    records.retain(|record| !matches!(record["site"]["id"].as_str(), Some("managed-returned" | "self-offer-ended")));
    let mut frozen = shape(&mut records, "built");
    (frozen["id"], frozen["frozen"]) = (json!("built-frozen"), json!({"until": in_seconds(86_400), "case": "TS-7"}));
    records.push(json!({ "site": frozen }));
    let mut both = shape(&mut records, "managed-past-due");
    (both["id"], both["plan"]["status"]) = (json!("managed-only-lapsed"), json!("lapsed"));
    records.push(json!({ "site": both }));
    // For code H: offers whose two ends are the same seat, so that whoever holds it is both parties.
    for (like, id, account, initiator) in [
        ("self-offered", "self-party", "user:clara", "clara"),
        ("built-offered", "built-party", "agency:north", "north-admin"),
        ("managed-offered", "managed-client-party", "user:clara", "clara"),
        ("managed-offered", "managed-partner-party", "agency:north", "north-admin"),
    ] {
        let mut site = shape(&mut records, like);
        site["id"] = json!(id);
        let offer = &mut site["open_handover"];
        (offer["id"], offer["site"]) = (json!(format!("offer-of-{id}")), json!(id));
        (offer["initiator"], offer["initiated_by"]) = (json!(account), json!(initiator));
        (offer["to"], offer["consents_needed"]) = (json!(account), json!([account]));
        records.push(json!({ "site": site }));
    }
    for record in &mut records {
        let Some(site) = record.get_mut("site").filter(|site| site["mode"] != "purged") else { continue };
        let confirmations: Vec<Value> = actions
            .iter()
            .map(|action| json!({"action": action, "operation": OPERATION, "expires_at": in_seconds(86_400)}))
            .collect();
        site["confirmations"] = json!(confirmations);
        let (grantor, side) = match site["mode"].as_str() {
            Some("self_managed") => ("user:co-owner", "client"),
            Some("partner_built") => ("user:invited-co-owner", "partner"),
            _ => ("user:clara", "client"),
        };
        for (name, role) in ROLES {
            site["contributors"][format!("other-{name}")] = json!({"role": role, "grantor": grantor, "side": side});
        }
    }
    records
}

/// Everything in somebody's favour that a caller can say.
fn favour(account: &str) -> Value {
    json!({"auth_time": now_s(), "operation": OPERATION, "account": account, "case": "TS-7"})
}

/// Somebody in a role, on a family of sites (`self`, `self-trashed`, …).
struct Probe {
    family: &'static str,
    /// With every stored fact in their favour.
    who: String,
    /// The same role without, and the code of what is missing; none where nothing stored could be missing.
    without: Option<(String, char)>,
    /// Whose card is their own; a person's own where nothing else is said.
    account: Option<&'static str>,
    /// The site on which they are both parties of the offer.
    party: Option<&'static str>,
}

fn probes(column: &str) -> Vec<Probe> {
    let seat = |family, who: &str, account: &'static str, party| Probe {
        family,
        who: who.to_owned(),
        without: None,
        account: Some(account),
        party: Some(party),
    };
    let agency = |who: &str, without: &str| Probe {
        family: "managed",
        who: who.to_owned(),
        without: Some((without.to_owned(), 'D')),
        account: Some("agency:north"),
        party: None,
    };
    let staff = |who: &str, without: Option<(&str, char)>| Probe {
        family: "managed",
        who: who.to_owned(),
        without: without.map(|(who, code)| (who.to_owned(), code)),
        account: None,
        party: None,
    };
    match column {
        "Owner" => vec![
            seat("self", "user:clara", "user:clara", "self-party"),
            seat("built", "user:north-admin", "agency:north", "built-party"),
        ],
        "Partner" => vec![seat("managed", "user:both", "agency:north", "managed-partner-party")],
        "agency admin" => vec![seat("managed", "user:north-admin", "agency:north", "managed-partner-party")],
        "Client" => vec![seat("managed", "user:clara", "user:clara", "managed-client-party")],
        "agency member" => vec![agency("user:north-manager", "user:north-expired")],
        "agency billing" => vec![agency("user:north-billing-granted", "user:north-billing")],
        "SupportAgent" => {
            vec![staff("staff:support-live", Some(("staff:support-ended", 'V'))), staff("staff:trust-and-safety", None)]
        }
        role => {
            let (name, _) = ROLES.into_iter().find(|(_, known)| *known == role).unwrap();
            // The payer invited them; the other was invited by somebody who does not pay.
            [
                ("self", format!("user:{name}")),
                ("managed", format!("user:invited-{name}")),
                ("built", format!("user:invited-{name}")),
            ]
            .map(|(family, who)| Probe {
                family,
                who,
                account: None,
                without: Some((format!("user:other-{name}"), 'G')),
                party: None,
            })
            .into()
        }
    }
}

/// The state in which an action can be asked about, in the order tried; the plain one first.
const STATES: [&str; 5] = ["", "-trashed", "-frozen", "-past-due", "-reclaimed"];

fn site(family: &str, state: &str) -> Option<String> {
    // Only a partner-managed site is taken back.
    (state != "-reclaimed" || family == "managed").then(|| format!("{family}{state}"))
}

/// The code of one action for one person: the least that must be in their favour.
fn code(http: &mut Client, probe: &Probe, action: &str, state: &str) -> String {
    const CODES: [(char, &str); 4] = [('S', "auth_time"), ('2', "operation"), ('T', "account"), ('X', "case")];
    let Some(site) = site(probe.family, state) else { return String::new() };
    let all = favour(probe.account.unwrap_or(&probe.who));
    if !http.may(&probe.who, action, &site, &all) {
        let party = probe.party.filter(|_| state.is_empty());
        let named = party.is_some_and(|party| http.may(&probe.who, action, party, &all));
        return if named { "H".to_owned() } else { String::new() };
    }
    let mut subsets: Vec<u32> = (0..1 << (CODES.len() + usize::from(probe.without.is_some()))).collect();
    subsets.sort_by_key(|bits| (bits.count_ones(), *bits));
    for bits in subsets {
        let mut code = String::new();
        let mut context = json!({});
        for (_, (letter, name)) in CODES.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1) {
            code.push(*letter);
            context[*name] = all[*name].clone();
        }
        let who = match &probe.without {
            Some((without, letter)) => {
                let stored = bits >> CODES.len() & 1 == 1;
                if stored {
                    code.push(*letter);
                }
                if stored { &probe.who } else { without }
            }
            None => &probe.who,
        };
        if context["account"].is_string() && probe.account.is_none() {
            context["account"] = json!(who);
        }
        let answer = http.ask(who, action, &site, &context).json();
        if answer["decision"] == true {
            if answer["context"]["obligations"].as_array().is_some_and(|told| !told.is_empty()) {
                code.push('N');
            }
            return if code.is_empty() { "Y".to_owned() } else { code };
        }
    }
    panic!("{} may {action} on {site} with everything and with nothing less", probe.who)
}

/// The whole table as the service answers it, and the state in which each action was asked about.
fn asked(http: &mut Client, table: &Table) -> (Cells, BTreeMap<String, &'static str>) {
    let mut cells = BTreeMap::new();
    let mut states = BTreeMap::new();
    for action in &table.actions {
        for state in STATES {
            let mut row = BTreeMap::new();
            for column in &table.columns {
                let codes: Vec<String> = probes(column).iter().map(|probe| code(http, probe, action, state)).collect();
                // A role says the same on every kind of site; a seat and staff exist on some only.
                if ROLES.iter().any(|(_, role)| role == column) && state.is_empty() {
                    assert!(codes.iter().all(|code| *code == codes[0]), "{action} for {column} by mode: {codes:?}");
                }
                row.insert(column.clone(), codes.into_iter().find(|code| !code.is_empty()).unwrap_or_default());
            }
            if row.values().any(|code| !code.is_empty()) || state == STATES[STATES.len() - 1] {
                if !state.is_empty() {
                    states.insert(action.clone(), state);
                }
                for (column, code) in row {
                    cells.insert((action.clone(), column), if code.is_empty() { ".".to_owned() } else { code });
                }
                break;
            }
        }
    }
    (cells, states)
}

/// `action for column: specified → answered`, where they differ.
fn differences(table: &Table, answered: &Cells) -> Vec<String> {
    table
        .cells
        .iter()
        .filter(|(cell, code)| answered[*cell] != **code)
        .map(|((action, column), code)| {
            let answer = &answered[&(action.clone(), column.clone())];
            format!("{action} for {column}: specified {code}, answered {answer}")
        })
        .collect()
}

#[test]
fn every_cell_is_answered_as_specified() {
    let table = specification();
    assert_eq!((table.actions.len(), table.columns.len(), table.cells.len()), (76, 16, 76 * 16));
    let installation = Installation::with(&records(&table.actions));
    let server = installation.start();
    let (answered, states) = asked(&mut server.client(), &table);
    assert_eq!(differences(&table, &answered), [] as [&str; 0]);
    let expected = [
        ("PurgeSite", "-trashed"),
        ("ReleaseSite", "-reclaimed"),
        ("RescuePlan", "-past-due"),
        ("RestoreTrashedSite", "-trashed"),
        ("UnfreezeSite", "-frozen"),
        ("WithdrawReclaim", "-reclaimed"),
    ];
    assert_eq!(states.iter().map(|(action, state)| (action.as_str(), *state)).collect::<Vec<_>>(), expected);
}

/// The control: one line of one policy makes exactly one cell another, and the comparison says which.
#[test]
fn one_line_of_policy_is_one_cell() {
    let table = specification();
    let mut installation = Installation::with(&records(&table.actions));
    let folder = installation.folder().join("policies");
    copy(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), &folder);
    let file = folder.join("roles/blog-editor.cedar");
    let text = std::fs::read_to_string(&file).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("\"ModerateBlog\"")).collect();
    assert_eq!(without.len() + 1, text.lines().count(), "one line less");
    std::fs::write(&file, without.join("\n")).unwrap();
    let server = installation.set("MANDATE_POLICIES", folder.to_str().unwrap()).start();
    // The heading of the edited action and a few others; the whole table is the other test's.
    let mut http = server.client();
    let part = Table {
        actions: table
            .actions
            .iter()
            .filter(|action| action.contains("Blog") || action.contains("Content"))
            .cloned()
            .collect(),
        columns: table.columns.clone(),
        cells: BTreeMap::new(),
    };
    let cells = table.cells.into_iter().filter(|((action, _), _)| part.actions.contains(action)).collect();
    let part = Table { cells, ..part };
    let (answered, _) = asked(&mut http, &part);
    assert_eq!(differences(&part, &answered), ["ModerateBlog for BlogEditor: specified Y, answered ."]);
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

// --- the state gates of domain §4.3 -------------------------------------------------------------------------------

/// Everybody on a family of sites, with the account that is theirs, and whether they are of the partner's side.
fn everybody(family: &str) -> Vec<(String, String, bool)> {
    let mut people = Vec::new();
    let mut add = |who: &str, account: &str, partner: bool| people.push((who.to_owned(), account.to_owned(), partner));
    match family {
        "self" => add("user:clara", "user:clara", false),
        "built" => add("user:north-admin", "agency:north", true),
        _ => {
            add("user:clara", "user:clara", false);
            add("user:north-admin", "agency:north", true);
            add("user:north-builder", "user:north-builder", true);
            add("user:north-commerce", "user:north-commerce", true);
            add("user:north-manager", "user:north-manager", true);
            add("user:north-billing-granted", "agency:north", true);
            add("user:designer-at-north", "user:designer-at-north", false);
        }
    }
    for (name, _) in ROLES {
        if family != "built" {
            add(&format!("user:{name}"), &format!("user:{name}"), false);
        }
        if family != "self" {
            add(&format!("user:invited-{name}"), &format!("user:invited-{name}"), true);
        }
    }
    add("staff:support-live", "user:clara", false);
    add("staff:trust-and-safety", "user:clara", false);
    people
}

/// Who may do what on a site with everything in their favour.
fn rights(http: &mut Client, table: &Table, family: &str, site: &str, agency: &str) -> BTreeSet<(String, String)> {
    let mut rights = BTreeSet::new();
    for (who, account, _) in everybody(family) {
        let account = account.replace("agency:north", agency);
        for action in &table.actions {
            if http.may(&who, action, site, &favour(&account)) {
                rights.insert((who.clone(), action.clone()));
            }
        }
    }
    rights
}

/// A state, and what it does to the rights that hold on the plain site.
struct Gate {
    family: &'static str,
    /// The plain site that it is compared with.
    plain: &'static str,
    site: &'static str,
    agency: &'static str,
    /// Does this state take this action from this person? The second says whether they are of the partner's side.
    off: fn(&str, bool, &str) -> bool,
    /// What the state makes possible, and for whom.
    gained: &'static [(&'static str, &'static str)],
}

const FROZEN_STAYS: [&str; 3] = ["OpenDispute", "ReclaimSite", "UnfreezeSite"];
const TRASHED_STAYS: [&str; 10] = [
    "ViewSite",
    "RestoreTrashedSite",
    "ReclaimSite",
    "PurgeSite",
    "WithdrawReclaim",
    "ReleaseSite",
    "ResignAsPartner",
    "RescuePlan",
    "DeclineHandover",
    "CancelHandover",
];
const HANDOVER_OPEN_OFF: [&str; 10] = [
    "OfferPartnerRole",
    "AssignClientRole",
    "ReplacePartner",
    "TransferOwnership",
    "TransferDomain",
    "TrashSite",
    "PurgeSite",
    "PurgeContent",
    "DowngradePlan",
    "CancelPlan",
];
const SETTLING_OFF: [&str; 7] = [
    "EditDnsCritical",
    "DowngradePlan",
    "ManageApiKeys",
    "ExportContacts",
    "RemoveContributor",
    "ChangeContributorRole",
    "ReplacePartner",
];
const RETURNING_OFF: [&str; 15] = [
    "DuplicateSite",
    "ExportSite",
    "ExportContacts",
    "EditDns",
    "EditDnsCritical",
    "ManageApiKeys",
    "ManageApps",
    "PurchaseDomain",
    "InviteContributor",
    "ChangeContributorRole",
    "RemoveContributor",
    "RefundOrder",
    "DowngradePlan",
    "UpgradePlan",
    "TrashSite",
];
const PAST_DUE_OFF: [&str; 4] = ["DuplicateSite", "PurchaseApp", "PurchaseDomain", "OfferPartnerRole"];

fn frozen(who: &str, _: bool, action: &str) -> bool {
    let client = who == "user:clara" && action == "ExportSite";
    !(action.starts_with("View") || FROZEN_STAYS.contains(&action) || client)
}
fn trashed(who: &str, _: bool, action: &str) -> bool {
    let exports = action == "ExportSite" && ["user:clara", "user:north-admin"].contains(&who);
    !(TRASHED_STAYS.contains(&action) || exports)
}
fn trashed_managed(who: &str, partner: bool, action: &str) -> bool {
    trashed(who, partner, action) || action == "ExportSite" && who != "user:clara"
}
fn frozen_self(who: &str, partner: bool, action: &str) -> bool {
    // The exception is the client's; an owner has none.
    frozen(who, partner, action) || action == "ExportSite"
}
fn handover_open(_: &str, _: bool, action: &str) -> bool {
    HANDOVER_OPEN_OFF.contains(&action)
}
fn settling(_: &str, partner: bool, action: &str) -> bool {
    partner && SETTLING_OFF.contains(&action)
}
fn returning(_: &str, partner: bool, action: &str) -> bool {
    partner && RETURNING_OFF.contains(&action)
}
fn locked(_: &str, partner: bool, action: &str) -> bool {
    partner && !(action.starts_with("View") || ["OpenDispute", "ReleaseSite"].contains(&action))
}
fn suspended(who: &str, partner: bool, action: &str) -> bool {
    // What stays is the agency's own; people whom it invited are not the agency and see its invoices no longer.
    let agency = !who.starts_with("user:invited-");
    partner && !(agency && ["ViewInvoices", "OpenDispute"].contains(&action))
}
fn past_due(_: &str, _: bool, action: &str) -> bool {
    PAST_DUE_OFF.contains(&action)
}
fn lapsed_and_returning(who: &str, partner: bool, action: &str) -> bool {
    past_due(who, partner, action) || returning(who, partner, action)
}
fn frozen_and_returning(who: &str, partner: bool, action: &str) -> bool {
    frozen(who, partner, action) || returning(who, partner, action)
}

const RESTORE_MANAGED: [(&str, &str); 2] =
    [("user:clara", "RestoreTrashedSite"), ("user:north-admin", "RestoreTrashedSite")];
const RESTORE_SELF: [(&str, &str); 2] = [("user:clara", "RestoreTrashedSite"), ("user:clara", "PurgeSite")];
const RESTORE_BUILT: [(&str, &str); 2] =
    [("user:north-admin", "RestoreTrashedSite"), ("user:north-admin", "PurgeSite")];
const UNFREEZE: [(&str, &str); 1] = [("staff:trust-and-safety", "UnfreezeSite")];
const RECLAIMED: [(&str, &str); 2] = [("user:clara", "WithdrawReclaim"), ("user:north-admin", "ReleaseSite")];
const RELEASE: [(&str, &str); 1] = [("user:north-admin", "ReleaseSite")];
const RESCUE: [(&str, &str); 1] = [("user:clara", "RescuePlan")];
const RESCUE_AND_RELEASE: [(&str, &str); 2] = [("user:clara", "RescuePlan"), ("user:north-admin", "ReleaseSite")];
const CANCEL_SELF: [(&str, &str); 1] = [("user:clara", "CancelHandover")];
const CANCEL_BUILT: [(&str, &str); 1] = [("user:north-admin", "CancelHandover")];

const fn gate(
    family: &'static str,
    site: &'static str,
    off: fn(&str, bool, &str) -> bool,
    gained: &'static [(&'static str, &'static str)],
) -> Gate {
    Gate { family, plain: family, site, agency: "agency:north", off, gained }
}

#[test]
fn each_state_takes_what_the_specification_lists_and_nothing_else() {
    let table = specification();
    let installation = Installation::with(&records(&table.actions));
    let server = installation.start();
    let mut http = server.client();
    let suspended_agency =
        |family, site, off| Gate { agency: "agency:north-suspended", ..gate(family, site, off, &[]) };
    let gates = [
        gate("managed", "managed-frozen", frozen, &UNFREEZE),
        gate("self", "self-frozen", frozen_self, &UNFREEZE),
        gate("built", "built-frozen", frozen_self, &UNFREEZE),
        gate("managed", "managed-trashed", trashed_managed, &RESTORE_MANAGED),
        gate("self", "self-trashed", trashed, &RESTORE_SELF),
        gate("built", "built-trashed", trashed, &RESTORE_BUILT),
        gate("managed", "managed-offered", handover_open, &CANCEL_SELF),
        gate("self", "self-offered", handover_open, &CANCEL_SELF),
        gate("built", "built-offered", handover_open, &CANCEL_BUILT),
        gate("managed", "managed-settling", settling, &[]),
        gate("managed", "managed-reclaimed", returning, &RECLAIMED),
        gate("managed", "managed-resigned", returning, &RELEASE),
        gate("managed", "managed-locked", locked, &RECLAIMED),
        suspended_agency("managed", "managed-suspended", suspended),
        suspended_agency("built", "built-suspended", suspended),
        gate("managed", "managed-past-due", past_due, &RESCUE),
        gate("managed", "managed-only-lapsed", past_due, &RESCUE),
        gate("managed", "managed-lapsed", lapsed_and_returning, &RESCUE_AND_RELEASE),
        gate("self", "self-past-due", past_due, &[]),
        gate("self", "self-lapsed", past_due, &[]),
        gate("managed", "managed-frozen-reclaimed", frozen_and_returning, &[UNFREEZE[0]]),
    ];
    let plain: BTreeMap<&str, BTreeSet<(String, String)>> = ["self", "built", "managed"]
        .into_iter()
        .map(|family| (family, rights(&mut http, &table, family, family, "agency:north")))
        .collect();
    let mut wrong = Vec::new();
    let mut taken = 0;
    for gate in &gates {
        let before = &plain[gate.plain];
        let people = everybody(gate.family);
        let partner = |who: &str| people.iter().any(|(name, _, partner)| name == who && *partner);
        let mut expected: BTreeSet<(String, String)> =
            before.iter().filter(|(who, action)| !(gate.off)(who, partner(who), action)).cloned().collect();
        taken += before.len() - expected.len();
        expected.extend(gate.gained.iter().map(|(who, action)| ((*who).to_owned(), (*action).to_owned())));
        let found = rights(&mut http, &table, gate.family, gate.site, gate.agency);
        wrong.extend(expected.difference(&found).map(|(who, action)| format!("{}: {who} lost {action}", gate.site)));
        wrong.extend(found.difference(&expected).map(|(who, action)| format!("{}: {who} keeps {action}", gate.site)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken > 2_000, "the states were not compared with anything: {taken}");
}

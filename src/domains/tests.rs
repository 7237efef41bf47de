use serde_json::{Map, Value, json};

use super::*;
use crate::policy::Source;

const MANIFEST: &str = r#"
entities = "entities.json"
[types.person]
entity = "Person"
trusted = ["level", "badges", "home", "team"]
[types.robot]
entity = "Robot"
unlisted = "admit"
trusted = ["owner"]
[types.door]
entity = "Door"
trusted = []
"#;

const SCHEMA: &str = r"
entity Team;
entity Floor in [Floor];
entity Person in [Team] { level?: Long, badges?: Set<String>, home?: { city: String, zip?: Long }, team?: Team };
entity Robot { owner: String };
entity Door in [Floor] { secret: Bool, keeper: Person };
action open appliesTo { principal: [Person, Robot], resource: Door, context: { zone: String, via?: Floor, at?: datetime, action?: { softly?: Bool } } };
action look appliesTo { principal: Person, resource: [Door, Person], context: {} };
";

const POLICIES: &str = r#"
@id("by-level") @doc("The third level opens what is not secret.")
permit (principal is Person, action == Action::"open", resource) when { principal has level && principal.level >= 3 };
@id("keepers") @doc("A keeper's team opens, too.")
permit (principal is Person, action == Action::"open", resource) when { resource.keeper has team && principal in resource.keeper.team };
@id("robots") @doc("A robot opens softly.")
permit (principal is Robot, action == Action::"open", resource is Door)
when { principal.owner == "us" && context has action && context.action has softly && context.action.softly };
@id("look") @doc("People with a badge look.")
permit (principal is Person, action == Action::"look", resource) when { principal has badges && principal.badges.contains("eye") };
@id("secret") @doc("Nobody opens a secret door from outside.")
forbid (principal, action == Action::"open", resource) when { resource.secret && context.zone != "inside" };
@id("dark") @doc("Nobody opens by a floor of the dark ones.")
forbid (principal, action == Action::"open", resource) when { context has via && context.via in Floor::"dark" };
@id("sums") @doc("Overflows.")
forbid (principal is Person, action == Action::"look", resource) when { principal has level && principal.level + principal.level > 7000000000000000000 };
"#;

fn entities() -> Value {
    json!([
        {"uid": {"type": "Team", "id": "gate"}, "attrs": {}, "parents": []},
        {"uid": {"type": "Floor", "id": "1"}, "attrs": {}, "parents": []},
        {"uid": {"type": "Floor", "id": "dark"}, "attrs": {}, "parents": []},
        {"uid": {"type": "Floor", "id": "2"}, "attrs": {}, "parents": [{"type": "Floor", "id": "dark"}]},
        {"uid": {"type": "Person", "id": "ann"}, "attrs": {"level": 3, "badges": ["eye"]}, "parents": []},
        {"uid": {"type": "Person", "id": "bo"}, "attrs": {"team": {"__entity": {"type": "Team", "id": "gate"}}}, "parents": [{"type": "Team", "id": "gate"}]},
        {"uid": {"type": "Door", "id": "front"}, "attrs": {"secret": false, "keeper": {"__entity": {"type": "Person", "id": "bo"}}}, "parents": [{"type": "Floor", "id": "1"}]},
        {"uid": {"type": "Door", "id": "vault"}, "attrs": {"secret": true, "keeper": {"__entity": {"type": "Person", "id": "bo"}}}, "parents": []},
    ])
}

fn files() -> Vec<Source> {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    vec![
        file("domain.toml", MANIFEST),
        file("schema.cedarschema", SCHEMA),
        file("policies/all.cedar", POLICIES),
        file("entities.json", &entities().to_string()),
    ]
}

fn domain() -> PolicyDomain {
    PolicyDomain::build(&files()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

/// `person ann open door front`, with what is said about the subject and the circumstances.
fn ask(question: &str, said: Value, context: Value) -> Result<Decided, Fault> {
    let words: Vec<&str> = question.split(' ').collect();
    let [subject, id, action, resource, other] = words[..] else { panic!("{question}") };
    let (said, context, nothing) = (map(said), map(context), Map::new());
    let ask = Ask {
        subject: Thing { kind: subject, id, properties: &said },
        action,
        resource: Thing { kind: resource, id: other, properties: &nothing },
        context: &context,
    };
    domain().decide(&ask, &mut Overlay::default())
}

fn told(question: &str, said: Value, context: Value) -> String {
    let decided = ask(question, said, context).unwrap();
    let policies = decided.policies.join(",");
    match decided.reason {
        None => format!("yes {policies}"),
        Some(reason) => format!("{reason} {policies}{}", decided.missing.join(",")),
    }
}

#[test]
fn what_is_stored_decides_and_what_may_be_said_is_laid_over_it() {
    let inside = || json!({"zone": "inside"});
    for (question, said, context, answer) in [
        ("person ann open door front", json!({}), inside(), "yes by-level"),
        ("person ann open door vault", json!({}), json!({"zone": "street"}), "forbidden secret"),
        ("person ann open door vault", json!({}), inside(), "yes by-level"),
        ("person ann open door front", json!({"level": 2}), inside(), "not_permitted "),
        ("person bo open door front", json!({}), inside(), "yes keepers"),
        ("person bo open door front", json!({"level": 5}), inside(), "yes by-level,keepers"),
        ("person bo look door front", json!({"badges": ["eye"]}), json!({}), "yes look"),
        ("person bo look person ann", json!({"badges": ["eye"]}), json!({}), "yes look"),
        ("person ann look person ann", json!({"badges": []}), json!({}), "not_permitted "),
        (
            "robot r2 open door front",
            json!({"owner": "us"}),
            json!({"zone": "x", "action": {"softly": true}}),
            "yes robots",
        ),
        (
            "robot r2 open door front",
            json!({"owner": "us"}),
            json!({"zone": "x", "action": {"softly": false}}),
            "not_permitted ",
        ),
    ] {
        assert_eq!(told(question, said, context), answer, "{question}");
    }
}

#[test]
fn what_the_schema_does_not_name_is_not_read() {
    let inside = || json!({"zone": "inside"});
    let answer = |said| told("person ann open door front", said, inside());
    for ignored in [
        json!({"level": "5"}),
        json!({"level": 2.0}),
        json!({"level": null}),
        json!({"level": u64::MAX}),
        json!({"badges": "eye"}),
        json!({"badges": [1]}),
        json!({"home": {"zip": 1}}),
        json!({"home": "x"}),
        json!({"team": "gate"}),
        json!({"team": {"type": "Floor", "id": "1"}}),
        json!({"unknown": [{"deep": null}]}),
        json!({"__entity": {"type": "Person", "id": "bo"}}),
    ] {
        assert_eq!(answer(ignored.clone()), "yes by-level", "{ignored}");
    }
    assert_eq!(answer(json!({"home": {"city": "Kyiv", "zip": 1, "street": "x"}})), "yes by-level");
    assert_eq!(
        told("person ann open door front", json!({"team": {"type": "Team", "id": "gate"}}), inside()),
        "yes by-level"
    );
    let at = |at: Value| told("person ann open door front", json!({}), json!({"zone": "inside", "at": at, "x": 1}));
    assert_eq!(at(json!("2025-06-27T18:03-07:00")), "yes by-level", "no date is no error");
    assert_eq!(at(json!("2025-06-27T18:03:00Z")), "yes by-level");
    assert_eq!(told("door front open door front", json!({}), inside()), "not_applicable ");
}

#[test]
fn whoever_is_unknown_is_denied() {
    let inside = || json!({"zone": "inside"});
    for (question, answer) in [
        ("person eve open door front", "unknown_subject "),
        ("alien ann open door front", "unknown_subject "),
        ("Person ann open door front", "unknown_subject "),
        ("person ann open door back", "unknown_resource "),
        ("person ann open window front", "unknown_resource "),
        ("person ann close door front", "unknown_action "),
        ("robot r2 look door front", "not_applicable "),
        ("robot r2 open door front", "incomplete "),
    ] {
        let told = told(question, json!({}), inside());
        assert!(told.starts_with(answer), "{question}: {told}");
    }
    assert_eq!(told("person ann open door front", json!({}), json!({})), "incomplete context.zone");
    assert_eq!(told("person ann open door front", json!({}), json!({"zone": 1})), "incomplete context.zone");
}

/// To leave out a policy that fails could turn a deny into an allow.
#[test]
fn a_policy_that_fails_is_no_answer() {
    let level = 9_000_000_000_000_000_000_i64;
    let fault = ask("person ann look door front", json!({"level": level}), json!({})).unwrap_err();
    assert!(fault.to_string().contains("sums"), "{fault}");
    assert_eq!(told("person ann look door front", json!({"level": 7}), json!({})), "yes look", "the control");
}

#[test]
fn candidates_are_listed_in_order() {
    let domain = domain();
    assert_eq!(domain.listed("person").collect::<Vec<_>>(), ["ann", "bo"]);
    assert_eq!(domain.listed("robot").count() + domain.listed("alien").count(), 0);
    assert_eq!(domain.between("person", "door").collect::<Vec<_>>(), ["look", "open"]);
    assert_eq!(domain.between("robot", "door").collect::<Vec<_>>(), ["open"]);
    assert_eq!(domain.between("robot", "person").count() + domain.between("x", "y").count(), 0);
    assert!(domain.fingerprint().starts_with("sha256:") && domain.doc("look").unwrap().contains("badge"));
}

/// What a caller may say changes that one attribute: what a policy reaches from the context or by its name is there too.
#[test]
fn what_is_said_again_changes_nothing_else() {
    let via = |floor: &str| json!({"zone": "inside", "via": {"type": "Floor", "id": floor}});
    for (question, context, answer) in [
        ("person ann open door front", via("2"), "forbidden dark"),
        ("person ann open door front", via("1"), "yes by-level"),
        ("person bo open door front", via("1"), "yes keepers"),
        ("person ann open door vault", via("1"), "yes by-level"),
    ] {
        assert_eq!(told(question, json!({}), context.clone()), answer, "{question}");
        assert_eq!(told(question, json!({"home": {"city": "Kyiv"}}), context), answer, "{question} with a home");
    }
}

/// An overlay that is kept is taken for the same only.
#[test]
fn an_overlay_is_of_what_was_said() {
    let domain = domain();
    let mut kept = Overlay::default();
    let (context, nothing) = (map(json!({"zone": "inside"})), Map::new());
    for (id, level) in [("ann", 3), ("ann", 1), ("ann", 1), ("bo", 1), ("ann", 5), ("bo", 5), ("bo", 0)] {
        let said = map(json!({ "level": level }));
        let ask = Ask {
            subject: Thing { kind: "person", id, properties: &said },
            action: "open",
            resource: Thing { kind: "door", id: "front", properties: &nothing },
            context: &context,
        };
        let fresh = domain.decide(&ask, &mut Overlay::default()).unwrap();
        assert_eq!(domain.decide(&ask, &mut kept).unwrap(), fresh, "{id} {level}");
        assert_eq!(fresh.policies.contains(&"by-level".into()), level >= 3);
    }
}

#[test]
fn somebody_who_asks_about_themselves_is_one() {
    let domain = domain();
    let (badges, level) = (map(json!({"badges": ["eye"]})), map(json!({"level": 1})));
    let person = |properties| Thing { kind: "person", id: "bo", properties };
    let nothing = Map::new();
    for (subject, resource) in [(&badges, &level), (&level, &badges), (&badges, &nothing), (&nothing, &badges)] {
        let ask = Ask { subject: person(subject), action: "look", resource: person(resource), context: &nothing };
        assert!(domain.decide(&ask, &mut Overlay::default()).unwrap().allowed);
    }
}

#[test]
fn everything_wrong_with_a_folder_is_told() {
    let broken = |path: &str, from: &str, to: &str| {
        let mut files = files();
        let file = files.iter_mut().find(|file| file.path == path).unwrap();
        assert!(file.text.contains(from), "{path} has no {from}");
        file.text = file.text.replacen(from, to, 1);
        PolicyDomain::build(&files).unwrap_err().to_string()
    };
    for (path, from, to, said) in [
        ("domain.toml", "entities =", "entity =", "domain.toml:"),
        ("domain.toml", "\"entities.json\"", "\"other.json\"", "other.json: there is no such file"),
        ("domain.toml", "\"Door\"", "\"Gate\"", "`types.door`: the schema has no entity type `Gate`"),
        ("domain.toml", "\"Door\"", "\"Person\"", "the same entity type"),
        ("domain.toml", "\"level\"", "\"rank\"", "names `rank`, which `Person` has not"),
        ("domain.toml", "\"admit\"", "\"maybe\"", "unknown variant `maybe`"),
        ("schema.cedarschema", "entity Team;", "entity Team", "schema.cedarschema:"),
        ("schema.cedarschema", "entity Team;", "entity Team tags String;", "has tags"),
        ("policies/all.cedar", "@id(\"look\")", "", "has no `@id`"),
        ("policies/all.cedar", "@doc(\"Overflows.\")", "", "`sums` has no `@doc`"),
        ("policies/all.cedar", "@id(\"sums\")", "@id(\"look\")", "look"),
        ("policies/all.cedar", "principal has level && ", "", "level"),
        ("policies/all.cedar", "permit (", "permit ((", "policies/all.cedar:"),
        ("policies/all.cedar", "principal is Person", "principal == ?principal", "no templates"),
        ("entities.json", "\"secret\":false", "\"secret\":0", "entities.json:"),
        ("entities.json", "[{", "{", "entities.json:"),
        ("entities.json", "\"id\":\"gate\"}", "\"id\":\"gat\"}", "parent `Team::\"gate\"`, which is not listed"),
    ] {
        let told = broken(path, from, to);
        assert!(told.contains(said), "{path} {from} -> {to}: {told}");
    }
    let mut without = files();
    without.retain(|file| !file.path.starts_with("policies/"));
    assert!(PolicyDomain::build(&without).unwrap_err().to_string().contains("no policy in it"));
    assert!(PolicyDomain::build(&[]).unwrap_err().to_string().contains("domain.toml: there is no such file"));
}

//! Are the example domains written as they should be? Cedar's own strict validator says so, without the program.

use std::{collections::BTreeSet, fs, path::Path};

use cedar_policy::{Entities, PolicySet, Schema, SchemaFragment, ValidationMode, Validator};
use serde_json::Value;

use crate::pdp::{DOMAINS, folder};

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The schema of a folder, as Cedar takes it and as JSON.
fn schema(folder: &Path) -> (Schema, Value) {
    let (fragment, warnings) = SchemaFragment::from_cedarschema_str(&text(&folder.join("schema.cedarschema"))).unwrap();
    let warnings: Vec<String> = warnings.map(|warning| warning.to_string()).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    let json = fragment.clone().to_json_value().unwrap();
    (Schema::from_schema_fragments([fragment]).unwrap(), json[""].clone())
}

fn policy_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder.join("policies")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty() && paths.iter().all(|path| path.extension().is_some_and(|end| end == "cedar")));
    paths
}

#[test]
fn policies_are_valid_and_say_what_they_are() {
    for domain in DOMAINS {
        let folder = folder(domain);
        let validator = Validator::new(schema(&folder).0);
        let mut ids = BTreeSet::new();
        for path in policy_files(&folder) {
            let set: PolicySet = text(&path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let result = validator.validate(&set, ValidationMode::Strict);
            assert!(result.validation_passed_without_warnings(), "{}: {result}", path.display());
            for policy in set.policies() {
                let id =
                    policy.annotation("id").unwrap_or_else(|| panic!("{}: a policy without an id", path.display()));
                assert!(ids.insert(id.to_owned()), "{domain}: {id} is there twice");
                assert!(
                    policy.annotation("doc").is_some_and(|doc| doc.ends_with('.')),
                    "{domain}: {id} has no sentence"
                );
            }
            assert_eq!(set.templates().count(), 0, "{}", path.display());
        }
    }
}

#[test]
fn entities_are_of_the_schema() {
    for domain in DOMAINS {
        let folder = folder(domain);
        let (schema, _) = schema(&folder);
        let json = text(&folder.join("entities.json"));
        let entities =
            Entities::from_json_str(&json, Some(&schema)).unwrap_or_else(|error| panic!("{domain}: {error}"));
        let listed: Vec<Value> = serde_json::from_str(&json).unwrap();
        // Beside the actions, which Cedar adds.
        let ours = entities.iter().filter(|entity| entity.uid().type_name().to_string() != "Action");
        assert_eq!(ours.count(), listed.len(), "{domain}: somebody is listed twice");
        // A parent that is not listed would be one by name only, with none of its own parents.
        for entity in entities.iter() {
            for ancestor in entities.ancestors(&entity.uid()).unwrap() {
                assert!(entities.get(ancestor).is_some(), "{domain}: {ancestor} is not listed");
            }
        }
    }
}

/// Types and trusted properties are there in the schema, and what a question may leave out is optional.
#[test]
fn settings_are_of_the_schema() {
    for domain in DOMAINS {
        let folder = folder(domain);
        let settings: toml::Table = text(&folder.join("domain.toml")).parse().unwrap();
        let (_, schema) = schema(&folder);
        assert_eq!(settings["entities"].as_str(), Some("entities.json"));
        for (name, kind) in settings["types"].as_table().unwrap() {
            let entity = &schema["entityTypes"][kind["entity"].as_str().unwrap()];
            assert!(entity.is_object(), "{domain}: {name}");
            let attributes = &entity["shape"]["attributes"];
            for trusted in kind.get("trusted").and_then(|list| list.as_array()).into_iter().flatten() {
                assert!(attributes.get(trusted.as_str().unwrap()).is_some(), "{domain}: {name} has no {trusted}");
            }
            if kind.get("unlisted").and_then(|word| word.as_str()) == Some("admit") {
                for (attribute, shape) in attributes.as_object().unwrap() {
                    assert_eq!(shape["required"], false, "{domain}: an admitted {name} has no {attribute}");
                }
            }
        }
        for (name, action) in schema["actions"].as_object().unwrap() {
            let context = &action["appliesTo"]["context"]["attributes"];
            for (attribute, shape) in context.as_object().into_iter().flatten() {
                assert_eq!(shape["required"], false, "{domain}: {name} cannot be asked without {attribute}");
            }
        }
        let readme = text(&folder.join("README.md"));
        let call = format!("curl -sS http://127.0.0.1:8080/{domain}/access/v1/");
        assert!(
            readme.contains(&call) && readme.contains(&format!("--domains {domain}=examples/{domain}")),
            "{domain}"
        );
    }
}

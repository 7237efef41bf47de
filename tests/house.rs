//! Does the house keep its own rules? Documents that a machine can check against the code.

#[cfg(test)]
mod house {
    use std::collections::BTreeSet;

    fn direct_dependencies() -> BTreeSet<String> {
        let manifest: toml::Table = include_str!("../Cargo.toml").parse().unwrap();
        ["dependencies", "dev-dependencies", "build-dependencies"]
            .iter()
            .filter_map(|section| manifest.get(*section))
            .flat_map(|section| section.as_table().unwrap().keys().cloned())
            .collect()
    }

    #[test]
    fn every_direct_dependency_has_its_reason() {
        let reasons: Vec<String> = include_str!("../docs/dependencies.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .map(|(name, reason)| {
                assert!(reason.split(" | ").all(|cell| cell.len() > 5), "`{name}` has a line without a reason");
                name.to_owned()
            })
            .collect();
        let listed: BTreeSet<String> = reasons.iter().cloned().collect();
        assert_eq!(listed.len(), reasons.len(), "a crate is listed twice");
        assert_eq!(listed, direct_dependencies(), "docs/dependencies.md and Cargo.toml differ");
    }

    /// `docs/commands.md` lists every command that somebody can give, and none that there is not.
    #[test]
    fn every_command_is_documented() {
        use mandate::handover::{Authority, CommandName};
        let given: BTreeSet<&str> = CommandName::ALL
            .into_iter()
            .filter(|name| name.authority() != Authority::Time)
            .map(CommandName::wire_name)
            .collect();
        let documented: BTreeSet<&str> = include_str!("../docs/commands.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
            .flat_map(|cell| cell.split(", "))
            .map(|name| name.trim_matches('`'))
            .collect();
        assert_eq!(documented, given);
    }

    #[test]
    fn no_lint_is_silenced_without_a_reason() {
        let mut wrong = Vec::new();
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let source = std::fs::read_to_string(&path).unwrap();
                    let silent = source.lines().any(|line| {
                        let line = line.trim_start();
                        line.starts_with("#[allow(") || line.starts_with("#![allow(")
                    });
                    if silent {
                        wrong.push(path.display().to_string());
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "use `#[expect(lint, reason = …)]` instead of `#[allow]` in {}", wrong.join(", "));
    }
}

//! Which policy domains are served beside the sites? Those of the setting `domains`, read from their folders at start.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{
    exit::{Exit, Stop},
    policies::read_folder,
};
use crate::{
    config::Config,
    domains::PolicyDomain,
    policy::{Problem, Problems, Source},
};

/// What a domain's folder consists of.
const DOMAIN_FILES: &[&str] = &["cedar", "cedarschema", "toml", "json"];
/// What its files are called under while they are read.
const UNDER: &str = "domain";

/// Reads and checks each domain.
///
/// # Errors
/// A folder that cannot be read, and [`Exit::InvalidPolicies`] with everything that is wrong in it.
pub fn load(config: &Config) -> Result<Vec<(SmolStr, Arc<PolicyDomain>)>, Stop> {
    let folders = config.domains.iter().flat_map(crate::config::Domains::each);
    folders
        .map(|(name, folder)| {
            let relative = |file: Source| {
                let path = file.path.strip_prefix(UNDER).and_then(|path| path.strip_prefix('/')).unwrap_or(&file.path);
                Source { path: path.to_owned(), text: file.text }
            };
            let files: Vec<Source> = read_folder(folder, UNDER, DOMAIN_FILES)?.into_iter().map(relative).collect();
            let domain = PolicyDomain::build(&files).map_err(|problems| {
                let place =
                    |problem: Problem| Problem { path: folder.join(&problem.path).display().to_string(), ..problem };
                let problems = Problems(problems.0.into_iter().map(place).collect());
                let message = format!("the policy domain `{name}` cannot be used:\n{problems}");
                Stop { exit: Exit::InvalidPolicies, message }
            })?;
            Ok((name.clone(), Arc::new(domain)))
        })
        .collect()
}

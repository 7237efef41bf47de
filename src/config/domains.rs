//! Which policy domains are there beside the sites? `NAME=FOLDER` pairs; the name is the first part of their paths.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use smol_str::SmolStr;

/// Longest name.
const NAME: usize = 64;
/// What the service itself has below its root.
const TAKEN: [&str; 2] = ["access", "v1"];

/// Names and folders, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Domains(Vec<(SmolStr, PathBuf)>);

impl Domains {
    /// Each name and its folder.
    pub fn each(&self) -> impl Iterator<Item = (&SmolStr, &Path)> {
        self.0.iter().map(|(name, folder)| (name, folder.as_path()))
    }
}

impl TryFrom<String> for Domains {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let mut found: Vec<(SmolStr, PathBuf)> = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let wrong = |why: &str| format!("`{pair}` is no policy domain: {why}; write `NAME=FOLDER`");
            let (name, folder) = pair.split_once('=').ok_or_else(|| wrong("it has no `=`"))?;
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > NAME || !name.bytes().all(plain) || name.starts_with('-') {
                return Err(wrong("a name is up to 64 of the characters a-z 0-9 -"));
            }
            if TAKEN.contains(&name) {
                return Err(wrong("paths that begin like this are the service's own"));
            }
            if folder.is_empty() {
                return Err(wrong("it names no folder"));
            }
            if found.iter().any(|(other, _)| other == name) {
                return Err(wrong("there is another one of this name"));
            }
            found.push((name.into(), folder.into()));
        }
        if found.is_empty() {
            Err("`domains` names none: write `NAME=FOLDER`, or leave it out".to_owned())
        } else {
            Ok(Self(found))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_named_folders() {
        let read = |text: &str| Domains::try_from(text.to_owned());
        let two = read("authzen-cert=examples/authzen-cert, docs=a=b").unwrap();
        let pairs: Vec<_> = two.each().map(|(name, folder)| (name.as_str(), folder.to_str().unwrap())).collect();
        assert_eq!(pairs, [("authzen-cert", "examples/authzen-cert"), ("docs", "a=b")]);
        for wrong in ["", "x", "=a", "a=", "A=b", "a/b=c", "v1=x", "access=x", "a=b,a=c", "-a=b", ".well-known=x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

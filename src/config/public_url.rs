//! What is this service called by those who reach it from outside? The identifier of the decision point.

use axum::http::Uri;
use serde::Deserialize;

/// A base URL as documents name it: `https://`, a host, and perhaps a path. Kept as it was written, because whoever
/// compares identifiers compares bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl {
    text: String,
    path: String,
}

impl PublicUrl {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The URL of a path below it, which begins with a slash.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text.trim_end_matches('/'))
    }
    /// Its path without a slash at the end: empty, or `/pdp`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.strip_suffix('/').unwrap_or(&self.path)
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("`{text}` is no public URL: {why}; write for example `https://pdp.example.com`");
        let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read as a URL"))?;
        let Some(authority) = uri.authority() else { return Err(wrong("it names no host")) };
        if authority.host().is_empty() {
            return Err(wrong("it names no host"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user in it"));
        }
        if text.contains(['?', '#']) {
            return Err(wrong("it has a query or a fragment, which an identifier cannot have"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        let near = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match uri.scheme_str() {
            Some("https") => {}
            // For whoever tries it on one machine.
            Some("http") if near => {}
            _ => {
                return Err(wrong(
                    "it does not begin with `https://`, which only this machine's own addresses may do without",
                ));
            }
        }
        if authority.as_str() != authority.host() && authority.port_u16().is_none() {
            return Err(wrong("its port is no number below 65536"));
        }
        let path = uri.path().to_owned();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let segment = |segment: &str| {
            segment.bytes().all(plain) && !segment.is_empty() && !segment.starts_with("..") && segment != "."
        };
        let segments = path.strip_prefix('/').unwrap_or(&path);
        let segments = segments.strip_suffix('/').unwrap_or(segments);
        if !segments.is_empty() && !segments.split('/').all(segment) {
            return Err(wrong("its path has other characters than letters, digits and `-._~` between single slashes"));
        }
        Ok(Self { text, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_kept_as_it_was_written() {
        for (text, joined, path) in [
            ("https://pdp.example.com", "https://pdp.example.com/access/v1/evaluation", ""),
            ("https://PDP.example.com/", "https://PDP.example.com/access/v1/evaluation", ""),
            ("https://h:8443/Tenants/one", "https://h:8443/Tenants/one/access/v1/evaluation", "/Tenants/one"),
            ("https://h/pdp/", "https://h/pdp/access/v1/evaluation", "/pdp"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/access/v1/evaluation", ""),
            ("http://localhost:8080", "http://localhost:8080/access/v1/evaluation", ""),
            ("http://[::1]:8080", "http://[::1]:8080/access/v1/evaluation", ""),
        ] {
            let url = PublicUrl::try_from(text.to_owned()).unwrap();
            assert_eq!((url.as_str(), url.join("/access/v1/evaluation").as_str(), url.path()), (text, joined, path));
        }
    }

    #[test]
    fn what_cannot_be_an_identifier_is_refused() {
        for text in [
            "",
            "pdp.example.com",
            "/pdp",
            "http://pdp.example.com",
            "https://",
            "https://h?x=1",
            "https://h/#a",
            "https://me@h",
            "https://h:99999",
            "https://h/:a",
            "https://h/*a",
            "https://h/{a}",
            "https://h/../x",
            "https://h/./x",
            "https://h//x",
            "https://h/%41",
            "ftp://h",
            "https://h/ x",
        ] {
            let why = PublicUrl::try_from(text.to_owned()).unwrap_err();
            assert!(why.contains("is no public URL") && why.contains("https://pdp.example.com"), "{text}: {why}");
        }
    }
}

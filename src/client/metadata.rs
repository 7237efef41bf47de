//! What does a decision point offer, and where? Its metadata (AuthZEN 1.0, discovery), believed only when it names whom
//! we asked for.

use serde_json::Value;
use ureq::http::Method;

use super::{
    Endpoint,
    error::Error,
    transport::{Transport, address},
};

const WELL_KNOWN: &str = "/.well-known/authzen-configuration";

/// A decision point's own document about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The decision point's identifier: the same as the client was told, to the letter.
    pub identifier: String,
    /// URNs of what it can do beside the standard.
    pub capabilities: Vec<String>,
    /// The same document signed, as a JWS, where there is one. This client does not verify it: TLS and the identifier
    /// are what it rests on.
    pub signed: Option<String>,
    endpoints: Endpoints,
}

/// Where each call is; none where it is not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoints(Vec<(Endpoint, String)>);

impl Endpoints {
    /// Where the standard has them below a base URL.
    pub fn usual(transport: &Transport) -> Self {
        Self(Endpoint::ALL.into_iter().map(|endpoint| (endpoint, transport.url(endpoint.path()))).collect())
    }
    pub fn get(&self, endpoint: Endpoint) -> Result<&str, Error> {
        let found = self.0.iter().find(|(known, _)| *known == endpoint);
        found.map(|(_, url)| url.as_str()).ok_or(Error::NotOffered(endpoint.path()))
    }
}

impl Metadata {
    /// Where a call is; none where it is not offered.
    #[must_use]
    pub fn endpoint(&self, endpoint: Endpoint) -> Option<&str> {
        self.endpoints.get(endpoint).ok()
    }
    pub(super) fn into_endpoints(self) -> Endpoints {
        self.endpoints
    }

    /// Reads the document of the decision point `identifier`. No key is sent for it: it is for everybody, and whoever
    /// answers has not proved yet that it is the one.
    pub(super) fn fetch(transport: &Transport, identifier: &str) -> Result<Self, Error> {
        let reply = transport.anonymous().call(Method::GET, &place(identifier)?, &[], None)?;
        Self::read(&reply.json()?, identifier)
    }

    fn read(body: &Value, identifier: &str) -> Result<Self, Error> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let Some(found) = text("policy_decision_point") else {
            return Err(Error::NotAnAnswer("the metadata names no decision point".to_owned()));
        };
        if found != identifier {
            return Err(Error::OtherIdentity { expected: identifier.to_owned(), found: found.to_owned() });
        }
        let own = address(identifier)?;
        let mut endpoints = Vec::new();
        for endpoint in Endpoint::ALL {
            let Some(url) = text(endpoint.member()) else { continue };
            let uri = address(url)?;
            // Without TLS nothing leaves the host that was asked for, and with it everything has it.
            if uri.scheme_str() != Some("https") && (own.scheme() != uri.scheme() || own.host() != uri.host()) {
                return Err(Error::NotAnAnswer(format!("the endpoint `{url}` is without TLS")));
            }
            endpoints.push((endpoint, url.to_owned()));
        }
        let listed = body.get("capabilities").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            identifier: identifier.to_owned(),
            capabilities: listed.filter_map(Value::as_str).map(str::to_owned).collect(),
            signed: text("signed_metadata").map(str::to_owned),
            endpoints: Endpoints(endpoints),
        })
    }
}

/// Where the document is: the well-known path comes before the identifier's own.
fn place(identifier: &str) -> Result<String, Error> {
    let uri = address(identifier)?;
    let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |host| host.as_str()));
    Ok(format!("{scheme}://{host}{WELL_KNOWN}{}", uri.path().trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_document_stands_before_the_identifiers_path() {
        for (identifier, expected) in [
            ("https://h", "https://h/.well-known/authzen-configuration"),
            ("https://h/", "https://h/.well-known/authzen-configuration"),
            ("https://h:8443/tenants/one", "https://h:8443/.well-known/authzen-configuration/tenants/one"),
        ] {
            assert_eq!(place(identifier).unwrap(), expected);
        }
    }

    #[test]
    fn it_is_believed_only_about_itself() {
        let document = json!({"policy_decision_point": "https://h", "capabilities": ["urn:x"],
            "access_evaluation_endpoint": "https://elsewhere/evaluation", "search_subject_endpoint": null});
        let metadata = Metadata::read(&document, "https://h").unwrap();
        assert_eq!(metadata.endpoint(Endpoint::Evaluation), Some("https://elsewhere/evaluation"));
        assert_eq!(metadata.endpoint(Endpoint::Subjects), None);
        assert_eq!(metadata.capabilities, ["urn:x"]);
        assert_eq!(
            metadata.into_endpoints().get(Endpoint::Subjects),
            Err(Error::NotOffered("/access/v1/search/subject"))
        );
        for other in ["https://h/", "https://H", "http://h", "https://h/a"] {
            assert!(matches!(Metadata::read(&document, other), Err(Error::OtherIdentity { .. })), "{other}");
        }
        let plain = json!({"policy_decision_point": "https://h", "access_evaluation_endpoint": "http://h/x"});
        assert!(matches!(Metadata::read(&plain, "https://h"), Err(Error::NotAnAnswer(_))));
        assert!(matches!(Metadata::read(&json!([]), "https://h"), Err(Error::NotAnAnswer(_))));
    }
}

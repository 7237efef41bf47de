//! Who is calling? The callers' keys and certificates, asked for before anything of a request but its head is read.
//!
//! A caller is a service of the platform, not a person: what it says about people is believed. So the question here is
//! only whether it is one, and which, because its name is the scope of its idempotency keys.
//!
//! Keys are compared by their authentication codes under a key of this process, all of them to the end: how long it takes
//! says nothing about how much of a guess was right, or whose it was.

use std::borrow::Cow;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::percent_decode;
use sha2::Sha256;
use smol_str::SmolStr;

use super::problem::Problem;
use crate::{
    clock,
    config::{ApiKeys, Auth, Config},
};

/// What needs no credentials below the control listener: what a caller reads to learn how to call.
const OPEN: &str = "/.well-known/authzen-configuration";

/// A caller's name, in the request's extensions where callers are asked for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub SmolStr);

impl Caller {
    /// Who sent a request; `local` where nobody is asked: whoever reaches the loopback address or the socket.
    #[must_use]
    pub fn of(request: &Request) -> SmolStr {
        request.extensions().get().map_or(SmolStr::new_static("local"), |Self(name)| name.clone())
    }
}

/// How a listener knows its callers.
#[derive(Debug, Clone)]
pub enum Callers {
    /// Not at all.
    Anybody,
    /// By name and key.
    Basic(Keys),
    /// By key.
    Bearer(Keys),
    /// By the certificate of the connection.
    Certificate,
}

/// The keys, as codes.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Of this process only.
    under: String,
    keys: Vec<(SmolStr, Vec<u8>)>,
}

impl Callers {
    /// What the settings ask for.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        match (config.auth, &config.api_key) {
            (Auth::Mtls, _) => Self::Certificate,
            (Auth::Basic, Some(keys)) => Self::Basic(Keys::new(keys, true)),
            (Auth::ApiKey, Some(keys)) => Self::Bearer(Keys::new(keys, false)),
            (Auth::None, _) => Self::Anybody,
            // The settings refuse it; whoever makes them by hand gets a listener that admits nobody.
            (Auth::Basic | Auth::ApiKey, None) => Self::Bearer(Keys { under: clock::new_uuid(), keys: Vec::new() }),
        }
    }

    /// Who sent a request, or a refusal; none where nobody is asked.
    pub(super) fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        certificate: Option<&Caller>,
    ) -> Result<Option<Caller>, Problem> {
        let known = match self {
            Self::Anybody => return Ok(None),
            Self::Basic(keys) => credentials(headers, "basic").and_then(|said| keys.holder_of(said)),
            Self::Bearer(keys) => credentials(headers, "bearer").and_then(|said| keys.holder(said.as_bytes())),
            Self::Certificate => certificate.cloned(),
        };
        match known {
            Some(caller) => Ok(Some(caller)),
            None if path.strip_prefix(OPEN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) => Ok(None),
            None => Err(self.refusal()),
        }
    }

    fn refusal(&self) -> Problem {
        let (challenge, wanted) = match self {
            Self::Basic(_) => (
                r#"Basic realm="mandate", charset="UTF-8""#,
                "send `Authorization: Basic` with a name and its key that this service knows",
            ),
            Self::Bearer(_) | Self::Anybody => {
                (r#"Bearer realm="mandate""#, "send `Authorization: Bearer` with a key that this service knows")
            }
            // No scheme is registered for what happens below HTTP, and a 401 has to name one (RFC 9110 §11.6.1).
            Self::Certificate => (
                r#"ClientCertificate realm="mandate""#,
                "connect with a certificate that this service's authority signed",
            ),
        };
        let detail = format!("who is calling? {wanted}");
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

impl Keys {
    fn new(keys: &ApiKeys, with_name: bool) -> Self {
        let mut made = Self { under: clock::new_uuid(), keys: Vec::new() };
        for key in keys.each() {
            let text = if with_name { format!("{}:{}", key.name, key.reveal()) } else { key.reveal().to_owned() };
            if let Some(code) = made.code(text.as_bytes()) {
                made.keys.push((key.name.clone(), code.finalize().into_bytes().to_vec()));
            }
        }
        made
    }

    fn code(&self, text: &[u8]) -> Option<Hmac<Sha256>> {
        let mut code = Hmac::<Sha256>::new_from_slice(self.under.as_bytes()).ok()?;
        code.update(text);
        Some(code)
    }

    /// Who holds what basic credentials say, `name:key`: as everybody writes them, or percent-encoded, as OAuth clients do
    /// (RFC 6749 §2.3.1).
    fn holder_of(&self, said: &str) -> Option<Caller> {
        let bytes = STANDARD.decode(said).ok()?;
        let encoded = || Cow::from(percent_decode(&bytes));
        self.holder(&bytes).or_else(|| self.holder(&encoded()))
    }

    /// Who holds it. Every key is looked at, whichever it is.
    fn holder(&self, said: &[u8]) -> Option<Caller> {
        let code = self.code(said)?;
        let mut holder = None;
        for (name, key) in &self.keys {
            if code.clone().verify_slice(key).is_ok() {
                holder = Some(Caller(name.clone()));
            }
        }
        holder
    }
}

/// What follows the scheme in the one `Authorization` header.
fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let mut said = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (said.next(), said.next()) else { return None };
    let (named, rest) = only.to_str().ok()?.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef/+=";

    fn callers(auth: Auth) -> Callers {
        let api_key =
            ApiKeys::try_from(format!("editor={KEY},shop=another-key-of-theirs,percent=a%2Fkey%of-theirs-too")).ok();
        Callers::of(&Config { auth, api_key, ..Config::default() })
    }

    fn asked(auth: Auth, path: &str, said: &[&str], certificate: Option<&Caller>) -> Result<String, (u16, String)> {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        match callers(auth).admit(path, &headers, certificate) {
            Ok(caller) => Ok(caller.map_or("nobody asked".into(), |caller| caller.0.into())),
            Err(problem) => {
                use axum::response::IntoResponse as _;
                let response = problem.into_response();
                let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
                Err((response.status().as_u16(), challenge))
            }
        }
    }

    fn basic_of(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn a_known_key_is_its_holder_and_nothing_else_is() {
        let bearer = |said: &[&str]| asked(Auth::ApiKey, "/x", said, None);
        assert_eq!(bearer(&[&format!("Bearer {KEY}")]).unwrap(), "editor");
        assert_eq!(bearer(&["bearer another-key-of-theirs"]).unwrap(), "shop", "schemes have no case");
        let basic = |said: &[&str]| asked(Auth::Basic, "/x", said, None);
        assert_eq!(basic(&[&basic_of(&format!("editor:{KEY}"))]).unwrap(), "editor");
        assert_eq!(basic(&[&basic_of("percent:a%2Fkey%of-theirs-too")]).unwrap(), "percent", "as it is");
        assert_eq!(basic(&[&basic_of("percent:a%252Fkey%25of-theirs-too")]).unwrap(), "percent", "as OAuth writes it");
        assert_eq!(basic(&[&basic_of("editor:0123456789abcdef%2F%2b%3D")]).unwrap(), "editor", "as OAuth writes it");
        let wrong_bearer = [
            vec![],
            vec!["Bearer".to_owned()],
            vec!["Bearer ".to_owned()],
            vec!["undefined".to_owned()],
            vec![KEY.to_owned()],
            vec![format!("Bearer {KEY}x")],
            vec![format!("Bearer {}", &KEY[1..])],
            vec![format!("Bearer editor={KEY}")],
            vec![format!("Bearer {KEY}"), format!("Bearer {KEY}")],
            vec![basic_of(&format!("editor:{KEY}"))],
        ];
        for said in &wrong_bearer {
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            assert_eq!(bearer(&said).unwrap_err(), (401, r#"Bearer realm="mandate""#.to_owned()), "{said:?}");
        }
        for said in [
            format!("Bearer {KEY}"),
            basic_of(KEY),
            basic_of(&format!("shop:{KEY}")),
            basic_of("editor:"),
            "Basic %".into(),
        ] {
            let (status, challenge) = basic(&[&said]).unwrap_err();
            assert_eq!((status, challenge.as_str()), (401, r#"Basic realm="mandate", charset="UTF-8""#), "{said}");
        }
    }

    #[test]
    fn a_certificate_is_its_own_name_and_the_way_in_is_open_to_all() {
        let shop = Caller("shop".into());
        assert_eq!(asked(Auth::Mtls, "/x", &[], Some(&shop)).unwrap(), "shop");
        assert_eq!(asked(Auth::Mtls, "/x", &[&format!("Bearer {KEY}")], None).unwrap_err().0, 401);
        for auth in [Auth::Basic, Auth::ApiKey, Auth::Mtls] {
            for open in [OPEN, "/.well-known/authzen-configuration/tenants/one"] {
                assert_eq!(asked(auth, open, &[], None).unwrap(), "nobody asked");
            }
            for closed in
                ["/", "/.well-known/authzen-configurations", "/x/.well-known/authzen-configuration", "/openapi.json"]
            {
                assert_eq!(asked(auth, closed, &[], None).unwrap_err().0, 401, "{closed}");
            }
        }
        assert_eq!(asked(Auth::None, "/x", &["undefined"], None).unwrap(), "nobody asked");
    }

    #[test]
    fn without_keys_nobody_is_admitted() {
        let config = Config { auth: Auth::ApiKey, ..Config::default() };
        assert!(Callers::of(&config).admit("/x", &HeaderMap::new(), None).is_err());
    }
}

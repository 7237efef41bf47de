//! Who says so? Signatures over what discovery tells, as JSON Web Tokens (RFC 7519) in the compact form of RFC 7515.
//!
//! Only to sign, with one key and the algorithm that belongs to it: ES256 for P-256, `EdDSA` for Ed25519. A library for tokens
//! would bring a second set of cryptography for one function; what TLS is spoken with can sign.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::pki_types::{
    PrivatePkcs8KeyDer,
    pem::{self, PemObject as _},
};

/// Keys are kept in other forms, too.
const NO_PKCS8: &str = "it holds no `PRIVATE KEY`, which is PKCS #8 in PEM and not encrypted; `openssl pkcs8 -topk8 -nocrypt` \
                        writes other keys so";

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot sign metadata: {why}; `openssl genpkey -algorithm ed25519` makes a key that can", path.display())]
pub struct SigningError {
    path: PathBuf,
    why: String,
}

/// A key that signs.
#[derive(Debug)]
pub struct Signer {
    key: Key,
    /// What verifiers look the key up by: its thumbprint (RFC 7638).
    kid: String,
}

#[derive(Debug)]
enum Key {
    Es256(Box<EcdsaKeyPair>),
    EdDsa(Box<Ed25519KeyPair>),
}

impl Signer {
    /// Reads a private key: PKCS #8 in PEM, P-256 or Ed25519.
    ///
    /// # Errors
    /// The file cannot be read, or holds another kind of key.
    pub fn open(path: &Path) -> Result<Self, SigningError> {
        let wrong = |why: &dyn std::fmt::Display| SigningError { path: path.to_owned(), why: why.to_string() };
        let text = std::fs::read(path).map_err(|error| wrong(&error))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|error| match error {
            pem::Error::NoItemsFound => wrong(&NO_PKCS8),
            error => wrong(&error),
        })?;
        let der = der.secret_pkcs8_der();
        let ed = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(|key| Key::EdDsa(Box::new(key)));
        let key = ed.or_else(|_| {
            let es = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new());
            es.map(|key| Key::Es256(Box::new(key)))
        });
        let key = key.map_err(|_| wrong(&"it is neither a P-256 nor an Ed25519 key in PKCS #8"))?;
        let kid = key.thumbprint();
        Ok(Self { key, kid })
    }

    /// The public key, as a JSON Web Key: for those who verify.
    #[must_use]
    pub fn public_key(&self) -> Value {
        let mut jwk = self.key.required_members();
        if let Value::Object(jwk) = &mut jwk {
            jwk.insert("alg".to_owned(), self.key.algorithm().into());
            jwk.insert("kid".to_owned(), self.kid.as_str().into());
            jwk.insert("use".to_owned(), "sig".into());
        }
        jwk
    }

    /// The claims as a signed token; none when the system has no randomness to sign with.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({"alg": self.key.algorithm(), "kid": self.kid, "typ": "JWT"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let said = format!("{}.{}", part(&header), part(claims));
        let signature = match &self.key {
            Key::EdDsa(key) => key.sign(said.as_bytes()).as_ref().to_vec(),
            Key::Es256(key) => key.sign(&SystemRandom::new(), said.as_bytes()).ok()?.as_ref().to_vec(),
        };
        Some(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Key {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// The members that a thumbprint is made of.
    fn required_members(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::EdDsa(key) => json!({"crv": "Ed25519", "kty": "OKP", "x": text(key.public_key().as_ref())}),
            Self::Es256(key) => {
                // An uncompressed point: a byte that says so, and the two coordinates (SEC 1 §2.3.3).
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({"crv": "P-256", "kty": "EC", "x": text(x), "y": text(y)})
            }
        }
    }

    fn thumbprint(&self) -> String {
        let canonical = serde_json_canonicalizer::to_vec(&self.required_members()).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }
}

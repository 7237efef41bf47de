//! What names a thing by its content? SHA-256, over the RFC 8785 form where the thing is JSON.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// SHA-256 of the bytes, in lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a value's canonical JSON (RFC 8785), in lower-case hex.
///
/// # Errors
/// The value has no JSON form, for example a map whose keys are not texts.
pub fn sha256_of_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json_canonicalizer::to_vec(value).map(|canonical| sha256(&canonical))
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_the_order_of_members() {
        let one = sha256_of_json(&serde_json::json!({"b": 1, "a": [true]})).unwrap();
        assert_eq!(one, sha256(br#"{"a":[true],"b":1}"#));
        assert_eq!(one.len(), 64);
    }
}

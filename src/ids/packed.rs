//! How is an identifier kept where there are millions of them? As its text, or in half of that where it is a UUID.
//!
//! Only the usual spelling of a UUID is packed (lower case, four hyphens), so that two identifiers are equal exactly when
//! their packed forms are. A byte that no text has marks the packed ones.

/// What marks a packed UUID: no identifier has this byte.
const MARK: u8 = 0xff;
/// The mark and the number.
const LENGTH: usize = 17;

/// An identifier as it is kept.
#[derive(Debug, Clone, Copy)]
pub enum Packed<'a> {
    /// Its text.
    Text(&'a [u8]),
    /// A UUID.
    Uuid([u8; LENGTH]),
}

impl<'a> Packed<'a> {
    /// Packs an identifier.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        uuid(text.as_bytes()).map_or(Self::Text(text.as_bytes()), Self::Uuid)
    }
    /// At most as long as the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Uuid(packed) => packed,
        }
    }
}

fn uuid(text: &[u8]) -> Option<[u8; LENGTH]> {
    if text.len() != 36 {
        return None;
    }
    let mut packed = [MARK; LENGTH];
    let mut digits = text.iter();
    for (at, byte) in packed.iter_mut().skip(1).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) && *digits.next()? != b'-' {
            return None;
        }
        *byte = digit(*digits.next()?)? << 4 | digit(*digits.next()?)?;
    }
    Some(packed)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_usual_spelling_is_packed() {
        let usual = "01a20a73-031f-7672-860a-e66e7825a51d";
        let packed = Packed::of(usual);
        assert_eq!(packed.as_bytes()[..4], [MARK, 0x01, 0xa2, 0x0a]);
        assert_eq!((packed.as_bytes().len(), packed.as_bytes()[16]), (LENGTH, 0x1d));
        for text in [
            "maria",
            "01A20a73-031f-7672-860a-e66e7825a51d",
            "01a20a73-031f-7672-860a-e66e7825a51",
            "01a20a73-031f-7672-860a-e66e7825a51d0",
            "01a20a73_031f-7672-860a-e66e7825a51d",
            "01a20a730-31f-7672-860a-e66e7825a51d",
            "g1a20a73-031f-7672-860a-e66e7825a51d",
        ] {
            assert_eq!(Packed::of(text).as_bytes(), text.as_bytes());
        }
    }

    proptest::proptest! {
        #[test]
        fn different_identifiers_stay_different(one in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", other in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}") {
            proptest::prop_assert_eq!(one == other, Packed::of(&one).as_bytes() == Packed::of(&other).as_bytes());
            proptest::prop_assert_eq!(Packed::of(&one).as_bytes().len(), LENGTH);
        }
    }
}

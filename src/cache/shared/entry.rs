//! Is this value ours, and is it the one we asked for? The frame around a copy, and the name it is kept under.
//!
//! ```text
//! MAC(32) ‖ format ‖ key id ‖ length(u32) ‖ epoch ‖ length(u32) ‖ key ‖ revision tag(u64) ‖ payload
//! ```
//!
//! Numbers are big-endian. The MAC is HMAC-SHA256 over the installation's namespace, this program's version and
//! everything behind the MAC. So a value that was copied to another name, another history or another installation is
//! refused, and an authentic old value cannot be made to look new: it comes out with the tag it was written with, and
//! the tag decides. Replicas of two versions share nothing, because a field that one of them does not know could be lost
//! on the way from the other.
//!
//! Invariants: nothing of a value is read before its MAC is verified, but for which key to verify it with; a longer value
//! than [`MOST`] is neither written nor read. Signatures lost: every replica writes, so all would hold the private key.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::{config::MacKeys, revision::Revision};

/// Longest value, frame included: 1 MiB. Sites of more people are read from the store by every replica.
pub const MOST: usize = 1024 * 1024;
/// The layout above.
const FORMAT: u8 = 2;
const MAC: usize = 32;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What an authentic value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The history it was read from, which is the one that was asked for.
    pub epoch: &'a str,
    /// What it is a copy of, which is what was asked for.
    pub key: &'a str,
    /// The revision of the snapshot that it was read from.
    pub tag: Revision,
    /// The copy.
    pub payload: &'a [u8],
}

/// Why a value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It ends before the frame does.
    #[error("it is cut off")]
    TooShort,
    /// It is longer than what is written.
    #[error("it is longer than any entry")]
    TooLong,
    /// Another layout.
    #[error("it has a format that this program does not know")]
    UnknownFormat,
    /// None of our keys has this id.
    #[error("it was written with a key that is not among ours")]
    UnknownKeyId,
    /// Not written by one of us, or changed since.
    #[error("its authentication fails")]
    BadMac,
    /// A copy of something else.
    #[error("it belongs to another key")]
    OtherKey,
    /// Of another history.
    #[error("it belongs to another epoch")]
    OtherEpoch,
    /// Authentic, but no site that this program can read, or not a text in Redis.
    #[error("its content is not a site")]
    NotASite,
}

/// Makes entries and opens them.
pub struct Sealer {
    namespace: String,
    keys: Vec<Key>,
}

struct Key {
    /// The first byte of the key's hash: which key to try, no more.
    id: u8,
    /// The MAC, with the key and what every message begins with already in it.
    mac: Hmac<Sha256>,
}

impl Sealer {
    /// With these keys, for one installation.
    #[must_use]
    pub fn new(namespace: &str, keys: &MacKeys) -> Self {
        let keys = keys.reveal().iter().filter_map(|key| Key::new(namespace, key)).collect();
        Self { namespace: namespace.to_owned(), keys }
    }

    /// The name under which Redis keeps the copy of `key`: every part behind its length, so that no two lists of parts
    /// have the same name, whatever is in them.
    #[must_use]
    pub fn name(&self, epoch: &str, key: &str) -> String {
        [VERSION, epoch, key].iter().fold(format!("{}:", self.namespace), |mut name, part| {
            // Writing to a string cannot fail.
            let _ = write!(name, "{}:{part}", part.len());
            name
        })
    }

    /// The channel of hints.
    #[must_use]
    pub fn channel(&self) -> String {
        format!("{}:hint", self.namespace)
    }

    /// A value that only we can have made; none when it would be too long.
    #[must_use]
    pub fn seal(&self, entry: &Entry<'_>) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut value = vec![0; MAC];
        value.extend([FORMAT, key.id]);
        for part in [entry.epoch, entry.key] {
            value.extend(u32::try_from(part.len()).ok()?.to_be_bytes());
            value.extend(part.as_bytes());
        }
        value.extend(entry.tag.0.to_be_bytes());
        value.extend(entry.payload);
        let (mac, rest) = value.split_first_chunk_mut::<MAC>()?;
        *mac = key.mac.clone().chain_update(&*rest).finalize().into_bytes().into();
        (value.len() <= MOST).then_some(value)
    }

    /// What a value says, if it is ours and what was asked for.
    ///
    /// # Errors
    /// Why it is not.
    pub fn open<'a>(&self, value: &'a [u8], epoch: &str, key: &str) -> Result<Entry<'a>, Unusable> {
        if value.len() > MOST {
            return Err(Unusable::TooLong);
        }
        self.verify(value)?;
        let entry = frame(value)?;
        if entry.epoch != epoch {
            return Err(Unusable::OtherEpoch);
        }
        if entry.key != key {
            return Err(Unusable::OtherKey);
        }
        Ok(entry)
    }

    fn verify(&self, value: &[u8]) -> Result<(), Unusable> {
        let (mac, rest) = value.split_first_chunk::<MAC>().ok_or(Unusable::TooShort)?;
        let [format, id, ..] = rest else { return Err(Unusable::TooShort) };
        if *format != FORMAT {
            return Err(Unusable::UnknownFormat);
        }
        let mut fitting = self.keys.iter().filter(|key| key.id == *id).peekable();
        if fitting.peek().is_none() {
            return Err(Unusable::UnknownKeyId);
        }
        // In constant time, so that nobody finds a MAC byte by byte.
        let genuine = |key: &Key| key.mac.clone().chain_update(rest).verify_slice(mac).is_ok();
        if fitting.any(genuine) { Ok(()) } else { Err(Unusable::BadMac) }
    }
}

impl Key {
    fn new(namespace: &str, key: &[u8; 32]) -> Option<Self> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        for part in [namespace, VERSION] {
            mac.update(&u32::try_from(part.len()).ok()?.to_be_bytes());
            mac.update(part.as_bytes());
        }
        let id = Sha256::digest([b"mandate key id".as_slice(), key].concat()).first().copied()?;
        Some(Self { id, mac })
    }
}

/// The parts of a value, whoever wrote it.
fn frame(value: &[u8]) -> Result<Entry<'_>, Unusable> {
    let rest = value.get(MAC + 2..).ok_or(Unusable::TooShort)?;
    let (epoch, rest) = part(rest)?;
    let (key, rest) = part(rest)?;
    let (tag, payload) = rest.split_first_chunk().ok_or(Unusable::TooShort)?;
    Ok(Entry { epoch, key, tag: Revision(u64::from_be_bytes(*tag)), payload })
}

fn part(value: &[u8]) -> Result<(&str, &[u8]), Unusable> {
    let (length, rest) = value.split_first_chunk().ok_or(Unusable::TooShort)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Unusable::TooShort)?;
    let (part, rest) = rest.split_at_checked(length).ok_or(Unusable::TooShort)?;
    Ok((std::str::from_utf8(part).map_err(|_| Unusable::NotASite)?, rest))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: &[u8]) -> MacKeys {
        let keys: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}").repeat(32)).collect();
        MacKeys::try_from(keys.join(",")).unwrap()
    }
    fn sealer(bytes: &[u8]) -> Sealer {
        Sealer::new("mandate", &keys(bytes))
    }
    const BAKERY: Entry<'_> = Entry { epoch: "e-1/1", key: "site:bakery", tag: Revision(41), payload: b"{\"id\":1}" };

    fn open<'a>(sealer: &Sealer, value: &'a [u8]) -> Result<Entry<'a>, Unusable> {
        sealer.open(value, BAKERY.epoch, BAKERY.key)
    }

    #[test]
    fn what_was_sealed_opens_with_its_own_tag() {
        let ours = sealer(&[1]);
        let value = ours.seal(&BAKERY).unwrap();
        assert_eq!(open(&ours, &value), Ok(BAKERY));
        assert_eq!(value.len(), 32 + 2 + 4 + 5 + 4 + 11 + 8 + 8);
        // An old value that was kept and written again: authentic, and still old.
        let later = ours.seal(&Entry { tag: Revision(42), ..BAKERY }).unwrap();
        assert_eq!(open(&ours, &later).unwrap().tag, Revision(42));
        assert_eq!(open(&ours, &value).unwrap().tag, Revision(41));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_is_accepted() {
        let ours = sealer(&[1]);
        let value = ours.seal(&BAKERY).unwrap();
        let mut believed_without_a_mac = 0;
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = open(&ours, &flipped).unwrap_err();
            let expected = match bit / 8 {
                32 => Unusable::UnknownFormat,
                33 => Unusable::UnknownKeyId,
                _ => Unusable::BadMac,
            };
            assert_eq!(refused, expected, "bit {bit}");
            let entry = frame(&flipped).ok().filter(|e| (e.epoch, e.key) == (BAKERY.epoch, BAKERY.key));
            believed_without_a_mac += usize::from(entry.is_some_and(|entry| entry != BAKERY));
        }
        assert_eq!(believed_without_a_mac, (8 + 8) * 8, "the control: tag and payload could be anything");
        for length in 0..value.len() {
            let refused = open(&ours, &value[..length]).unwrap_err();
            assert_eq!(refused, if length < 34 { Unusable::TooShort } else { Unusable::BadMac }, "{length} bytes");
        }
        assert_eq!(open(&ours, &[value, vec![0]].concat()), Err(Unusable::BadMac));
    }

    #[test]
    fn a_value_is_good_in_one_place_only() {
        let ours = sealer(&[1]);
        let value = ours.seal(&BAKERY).unwrap();
        assert_eq!(ours.open(&value, BAKERY.epoch, "site:brewery"), Err(Unusable::OtherKey));
        assert_eq!(ours.open(&value, "e-1/2", BAKERY.key), Err(Unusable::OtherEpoch));
        let neighbour = Sealer::new("other", &keys(&[1]));
        assert_eq!(open(&neighbour, &value), Err(Unusable::BadMac), "the same key in another installation");
        assert_eq!(open(&sealer(&[2]), &value), Err(Unusable::UnknownKeyId));
    }

    #[test]
    fn keys_are_changed_without_losing_what_the_old_one_wrote() {
        let (old, both, new) = (sealer(&[1]), sealer(&[2, 1]), sealer(&[2]));
        let (before, after) = (old.seal(&BAKERY).unwrap(), both.seal(&BAKERY).unwrap());
        assert_eq!(open(&both, &before), Ok(BAKERY));
        assert_eq!(open(&both, &after), Ok(BAKERY));
        assert_eq!(open(&new, &after), Ok(BAKERY), "the first key writes");
        assert_eq!(open(&new, &before), Err(Unusable::UnknownKeyId));
        // Two keys with one id are both tried.
        let mut seen = HashMap::new();
        let (one, two) = (0..=255)
            .find_map(|byte| seen.insert(sealer(&[byte]).keys[0].id, byte).map(|other| (other, byte)))
            .unwrap();
        let value = sealer(&[two]).seal(&BAKERY).unwrap();
        assert_eq!(open(&sealer(&[one, two]), &value), Ok(BAKERY));
        assert_eq!(open(&sealer(&[one]), &value), Err(Unusable::BadMac));
    }

    #[test]
    fn a_value_has_a_longest_length() {
        let ours = sealer(&[1]);
        let frame = ours.seal(&Entry { payload: b"", ..BAKERY }).unwrap().len();
        let longest = vec![b'x'; MOST - frame];
        let value = ours.seal(&Entry { payload: &longest, ..BAKERY }).unwrap();
        assert!(open(&ours, &value).is_ok());
        assert_eq!(ours.seal(&Entry { payload: &[longest, vec![b'x']].concat(), ..BAKERY }), None);
        assert_eq!(open(&ours, &[value, vec![0]].concat()), Err(Unusable::TooLong));
    }

    proptest! {
        #[test]
        fn names_and_frames_are_injective(
            one in ("[a-c:0-9]{0,6}", "[a-c:0-9]{0,6}"),
            two in ("[a-c:0-9]{0,6}", "[a-c:0-9]{0,6}"),
        ) {
            let ours = sealer(&[1]);
            prop_assert_eq!(one == two, ours.name(&one.0, &one.1) == ours.name(&two.0, &two.1));
            let value = ours.seal(&Entry { epoch: &one.0, key: &one.1, ..BAKERY }).unwrap();
            prop_assert_eq!(one == two, ours.open(&value, &two.0, &two.1).is_ok());
        }

        #[test]
        fn any_entry_comes_back(epoch in ".{0,40}", key in ".{0,40}", tag: u64, payload: Vec<u8>) {
            let (ours, tag) = (sealer(&[1]), Revision(tag));
            let entry = Entry { epoch: &epoch, key: &key, tag, payload: &payload };
            let value = ours.seal(&entry).unwrap();
            prop_assert_eq!(ours.open(&value, &epoch, &key), Ok(entry));
        }

        #[test]
        fn nothing_that_somebody_else_wrote_opens(noise: Vec<u8>, length in 0_usize..200) {
            let ours = sealer(&[1]);
            let forged = [&[7; 32][..], &[FORMAT, ours.keys[0].id], &noise].concat();
            prop_assert!(open(&ours, &noise).is_err());
            prop_assert!(open(&ours, &forged).is_err());
            let _ = frame(forged.get(..length).unwrap_or(&forged));
        }
    }

    /// The control of injectivity: parts that are only joined collide.
    #[test]
    fn joined_names_would_collide() {
        let joined = |epoch: &str, key: &str| format!("mandate:{epoch}:{key}");
        assert_eq!(joined("a:b", "c"), joined("a", "b:c"));
        let ours = sealer(&[1]);
        assert_ne!(ours.name("a:b", "c"), ours.name("a", "b:c"));
        assert!(ours.name("a", "b").starts_with("mandate:"), "one ACL pattern covers all");
    }
}

//! Is this text one JSON value that means the same to everybody? One pass from text to [`Json`].
//!
//! `serde_json` alone keeps the last of two equal keys, and two readers of one body that keep different ones disagree
//! about who asked for what; so a key that is written twice is refused at every depth. Depth itself is limited, so that
//! a body of brackets costs as much as its first 33. Lone surrogates, trailing bytes and numbers beyond a double are
//! refused by `serde_json`.
//!
//! Faults name their place (`subject.properties.role`) from a chain of references on the stack, which costs nothing
//! until somebody asks. `serde_with`'s checking maps lost: they check one known map, not every depth of an unknown one.

use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::tree::{Json, Members};

/// Deepest nesting of arrays and objects; the outermost counts as one.
pub const MAX_DEPTH: usize = 32;

/// Why a text was not read: a stable code and a sentence that names the place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) detail: Cow<'static, str>,
}

/// Reads one JSON value that fills `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Json<'_>, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| Fault {
        code: "invalid_json",
        detail: format!("the body is not UTF-8 from byte {} on", error.valid_up_to()).into(),
    })?;
    if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
        return Err(Fault { code: "empty_body", detail: "the body is empty: send a JSON object".into() });
    }
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let node = Node { place: &Place::Top, room: MAX_DEPTH, fault: &fault };
    let read = node.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        fault.take().unwrap_or_else(|| Fault {
            code: "invalid_json",
            detail: format!("the body is not one JSON value: {error}").into(),
        })
    })
}

/// Where in the document we are.
enum Place<'a> {
    Top,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Top => Ok(()),
            Place::Member(Place::Top, key) => f.write_str(excerpt(key)),
            Place::Member(parent, key) => write!(f, "{parent}.{}", excerpt(key)),
            Place::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A key may be as long as the body; an error message may not.
fn excerpt(key: &str) -> &str {
    key.char_indices().nth(48).and_then(|(end, _)| key.get(..end)).unwrap_or(key)
}

/// One value to come: where it stands, how many levels it may open, and where to leave a fault.
#[derive(Clone, Copy)]
struct Node<'a> {
    place: &'a Place<'a>,
    room: usize,
    /// An error of serde is a text; ours has a code.
    fault: &'a Cell<Option<Fault>>,
}

impl Node<'_> {
    /// The room inside an array or object that opens here.
    fn open<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.room.checked_sub(1).ok_or_else(|| {
            let detail = format!("`{}` is nested more than {MAX_DEPTH} levels deep", self.place).into();
            self.leave(Fault { code: "too_deep", detail })
        })
    }
    fn leave<E: serde::de::Error>(&self, fault: Fault) -> E {
        let error = E::custom(fault.code);
        self.fault.set(Some(fault));
        error
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json<'de>, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let room = self.open()?;
        let mut array = Vec::new();
        loop {
            let place = Place::Item(self.place, array.len());
            match items.next_element_seed(Node { place: &place, room, fault: self.fault })? {
                Some(item) => array.push(item),
                None => return Ok(Json::Array(array)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let room = self.open()?;
        let mut object = Vec::new();
        let mut seen = Seen::default();
        while let Some(key) = members.next_key_seed(Key)? {
            let place = Place::Member(self.place, &key);
            if seen.before(&object, key.clone()) {
                let detail = format!("`{place}` is written twice in one object").into();
                return Err(self.leave(Fault { code: "duplicate_key", detail }));
            }
            let value = members.next_value_seed(Node { place: &place, room, fault: self.fault })?;
            object.push((key, value));
        }
        Ok(Json::Object(Members(object)))
    }
}

/// The keys of an object so far. Small objects are compared member by member; for one that a caller filled with
/// thousands, that would take the square of their number.
#[derive(Default)]
struct Seen<'de>(Option<HashSet<Cow<'de, str>>>);

/// Members up to which comparing each is cheaper than hashing.
const FEW: usize = 16;

impl<'de> Seen<'de> {
    /// Whether `key` is among `members`, which have been asked about before one by one.
    fn before(&mut self, members: &[(Cow<'de, str>, Json<'de>)], key: Cow<'de, str>) -> bool {
        if members.len() < FEW {
            return members.iter().any(|(other, _)| *other == key);
        }
        let keys = self.0.get_or_insert_with(|| members.iter().map(|(key, _)| key.clone()).collect());
        !keys.insert(key)
    }
}

/// A member's name.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }
    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(bytes: &[u8]) -> Result<Value, Fault> {
        super::read(bytes).map(Value::from)
    }

    fn fault(text: impl AsRef<[u8]>) -> (&'static str, String) {
        let fault = read(text.as_ref()).unwrap_err();
        (fault.code, fault.detail.into_owned())
    }

    #[test]
    fn a_key_written_twice_is_refused_at_every_depth_and_named() {
        for (text, place) in [
            (r#"{"a":1,"a":1}"#, "`a`"),
            (r#"{"a":1,"\u0061":2}"#, "`a`"),
            (r#"{"x":{"y":[0,{"k":1,"z":0,"k":2}]}}"#, "`x.y[1].k`"),
            (r#"[{"k":{},"k":{}}]"#, "`[0].k`"),
            (r#"{"":1,"":2}"#, "``"),
        ] {
            let (code, detail) = fault(text);
            assert_eq!((code, detail.as_str()), ("duplicate_key", &*format!("{place} is written twice in one object")));
            assert!(serde_json::from_str::<Value>(text).is_ok(), "the control: serde_json alone takes it");
        }
        assert_eq!(read(br#"{"a":{"k":1},"b":{"k":2}}"#), Ok(json!({"a":{"k":1},"b":{"k":2}})), "not the same object");
        let (_, detail) = fault(format!(r#"{{"{0}":1,"{0}":2}}"#, "ä".repeat(10_000)));
        assert!(detail.len() < 200, "a long key is cut");
    }

    #[test]
    fn a_key_written_twice_is_refused_among_thousands_and_cheaply() {
        let members = |count: usize| (0..count).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",");
        for count in [FEW - 1, FEW, FEW + 1, 10_000] {
            let text = format!("{{{}}}", members(count));
            assert_eq!(read(text.as_bytes()).unwrap().as_object().map(serde_json::Map::len), Some(count));
            for again in [0, count / 2, count - 1] {
                let text = format!("{{{},\"k{again}\":0}}", members(count));
                let started = Instant::now();
                assert_eq!(fault(text).1, format!("`k{again}` is written twice in one object"), "of {count}");
                // Compared with each other, ten thousand names take minutes.
                assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            }
        }
    }

    #[test]
    fn depth_is_limited_and_a_deep_body_is_cheap() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(MAX_DEPTH, 32, "as published");
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(fault(nested(MAX_DEPTH + 1)).0, "too_deep");
        let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(read(objects(MAX_DEPTH).as_bytes()).is_ok());
        let (code, detail) = fault(objects(MAX_DEPTH + 1));
        assert_eq!(code, "too_deep");
        assert!(detail.starts_with("`a.a.a"), "{detail}");
        let started = Instant::now();
        for bomb in ["[".repeat(100_000), r#"{"a":"#.repeat(100_000), nested(100_000)] {
            assert_eq!(fault(bomb).0, "too_deep");
        }
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    }

    #[test]
    fn whatever_is_not_exactly_one_value_is_refused() {
        for text in ["", " \r\n\t"] {
            assert_eq!(fault(text).0, "empty_body", "{text:?}");
        }
        for text in [
            "{",
            "{}x",
            "{} {}",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "nul",
            "NaN",
            "01",
            "1.",
            "+1",
            "1e999",
            "-1e999",
            "\"\\ud800\"",
            "\"\\udc00x\"",
            "\"\\ud800\\u0041\"",
            "\"\u{1}\"",
            "\u{feff}{}",
            "// x\n1",
            "{\"a\" 1}",
            "{1:2}",
            "\0",
        ] {
            assert_eq!(fault(text).0, "invalid_json", "{text:?}");
        }
        assert_eq!(fault(b"\"\xff\"").0, "invalid_json");
        assert_eq!(fault(b"{\"a\":\"\xed\xa0\x80\"}").1, "the body is not UTF-8 from byte 6 on");
        assert!(fault("{\"a\":}").1.contains("line 1 column 6"), "{}", fault("{\"a\":}").1);
    }

    #[test]
    fn what_it_reads_is_what_serde_json_reads() {
        for text in [
            "null",
            "true",
            "0",
            "-0",
            "-0.0",
            "1e2",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "0.1",
            "\"\"",
            "\"\\ud83d\\ude00\\u0000\"",
            "[]",
            "{}",
            " [1, {\"b\": null, \"a\": [true]}] ",
            "{\"$serde_json::private::Number\":\"1\"}",
        ] {
            assert_eq!(read(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_survives_the_trip(value in any_json()) {
            prop_assert_eq!(read(value.to_string().as_bytes()).unwrap(), value);
        }
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes);
        }
    }
}

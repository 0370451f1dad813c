//! Strings of a JSON object by key, without a value for the rest: what a reader of documents needs of a record.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Keys of an object that are compared one by one; of more, a set is made.
const FEW_KEYS: usize = 16;

/// The strings under `keys` in the object that `text` is. Under the second key and later ones, names of records, a whole
/// number is given as its digits.
///
/// Gives `None` for everything that is not so simple: text that is not UTF-8 or not JSON, no object, a key twice at any
/// depth, a key that is missing or has another type. The caller reads that again with a parser that explains it.
pub fn string_fields<'a>(text: &'a [u8], keys: &[String]) -> Option<Vec<Cow<'a, str>>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let fields = Fields(keys).deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    fields.into_iter().collect()
}

struct Fields<'k>(&'k [String]);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Vec<Option<Cow<'de, str>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Vec<Option<Cow<'de, str>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![None; self.0.len()];
        let mut seen = Keys::default();
        while let Some(Key(key)) = map.next_key_seed(KeySeed)? {
            let wanted = self.0.iter().position(|name| *name == key);
            if !seen.add(key) {
                return Err(A::Error::custom("a key twice"));
            }
            match wanted {
                Some(place) => {
                    let takes_numbers = place > 0;
                    found[place] = Some(map.next_value_seed(Scalar { takes_numbers })?);
                }
                None => map.next_value_seed(Unique)?,
            }
        }
        Ok(found)
    }
}

/// A key of an object, borrowed where it has no escapes.
struct Key<'de>(Cow<'de, str>);

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        let scalar = Scalar {
            takes_numbers: false,
        };
        deserializer.deserialize_str(scalar).map(Key)
    }
}

/// A string, or a whole number as its digits.
struct Scalar {
    takes_numbers: bool,
}

impl Scalar {
    fn number<E: Error>(&self, digits: String) -> Result<Cow<'static, str>, E> {
        if self.takes_numbers {
            return Ok(Cow::Owned(digits));
        }
        Err(E::custom("a number, not a string"))
    }
}

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a whole number")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Cow<'de, str>, E> {
        self.number(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Cow<'de, str>, E> {
        self.number(value.to_string())
    }
}

/// Any value, in which no object has a key twice.
pub(crate) struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Keys::default();
        while let Some(Key(key)) = map.next_key_seed(KeySeed)? {
            if !seen.add(key) {
                return Err(A::Error::custom("a key twice"));
            }
            map.next_value_seed(Self)?;
        }
        Ok(())
    }
}

/// The keys of an object so far.
#[derive(Default)]
pub(crate) struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// Is the key new?
    pub(crate) fn add(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.len() < FEW_KEYS {
            let is_new = !self.few.contains(&key);
            self.few.push(key);
            return is_new;
        }
        !self.few.contains(&key) && self.many.insert(key)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn under(keys: &[&str], text: &str) -> Option<Vec<String>> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let found = string_fields(text.as_bytes(), &keys)?;
        Some(found.into_iter().map(Cow::into_owned).collect())
    }

    fn of(text: &str) -> Option<Vec<String>> {
        under(&["text", "id"], text)
    }

    #[test]
    fn strings_and_whole_numbers_are_found_and_the_rest_is_passed_over() {
        let found = of(r#" {"a": [1, {"text": 2.5}], "id": 7, "text": "x\n\u00e9"} "#).unwrap();
        assert_eq!(found, ["x\né", "7"]);
        assert!(under(&[], "{}").unwrap().is_empty());
    }

    #[test]
    fn everything_else_is_left_to_the_caller() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"text": "a"} {}"#,
            r#"{"text": null}"#,
            r#"{"text": 1.5}"#,
            r#"{"text": 15}"#,
            r#"{"text": ["a"]}"#,
            r#"{"text": "a", "te\u0078t": "b"}"#,
            r#"{"text": "a", "b": {"c": 1, "c": 2}}"#,
            r#"{"text": "a", "b": [[{"c": 1, "c": 2}]]}"#,
            r#"{"text": "\ud83d"}"#,
            r#"{"text": "a""#,
            "{\"text\": \"\u{1}\"}",
        ] {
            assert_eq!(under(&["text"], text), None, "{text}");
        }
        assert!(under(&["text"], r#"{"text": "a", "id": 1.5}"#).is_some());
        for id in ["1.5", "true", "1e3", "{}", "18446744073709551616"] {
            assert_eq!(of(&format!(r#"{{"text": "a", "id": {id}}}"#)), None, "{id}");
        }
        assert_eq!(string_fields(b"{\"a\": \"\xff\"}", &[]), None);
        assert_eq!(
            under(&[], &format!("{{\"a\": {}", "[".repeat(100_000))),
            None
        );
        let many: Vec<String> = (0..100).map(|n| format!("\"{n}\": 1")).collect();
        assert!(under(&[], &format!("{{{}}}", many.join(","))).is_some());
        for twice in [3, 15, 16, 99] {
            let line = format!("{{{}, \"{twice}\": 1}}", many.join(","));
            assert_eq!(under(&[], &line), None, "{twice}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_serde_json_finds(text in any::<String>(), id in any::<i64>(), other in any::<f64>()) {
            let line = json!({"o": [other, null, text], "text": text, "id": id}).to_string();
            let value: Value = serde_json::from_str(&line).unwrap();
            let found = of(&line).unwrap();
            prop_assert_eq!(Some(found[0].as_str()), value["text"].as_str());
            prop_assert_eq!(&found[1], &id.to_string());
        }
    }
}

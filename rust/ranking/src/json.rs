//! JSON in which no object has a key twice: with two of one name, which one counts would be the parser's choice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::problem::Problem;

/// The one JSON value in `text`, a line.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let twice = RefCell::new(None);
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Unique(&twice)
        .deserialize(&mut parser)
        .and_then(|value| parser.end().map(|()| value));
    value.map_err(|error| match twice.take() {
        Some(key) => Problem::DuplicateKey { key },
        None => invalid(&error),
    })
}

fn invalid(error: &serde_json::Error) -> Problem {
    // The text is one line of a file: "line 1" would be taken for the file's.
    let column = error.column();
    let message = error.to_string();
    let place = format!(" at line {} column {column}", error.line());
    let detail = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    Problem::InvalidJson { column, detail }
}

/// Reads a value, and leaves the first key that an object has twice in the cell.
#[derive(Clone, Copy)]
struct Unique<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            found.push(item);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if found.contains_key(&key) {
                *self.0.borrow_mut() = Some(key);
                return Err(A::Error::custom("a key twice"));
            }
            found.insert(key, fields.next_value_seed(self)?);
        }
        Ok(Value::Object(found))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_twice_is_named_at_any_depth() {
        for text in [
            r#"{"rank": 1, "rank": 3}"#,
            r#"[{"a": [{"rank": {}, "rank": {}}]}]"#,
            r#"{"rank": 1, "r\u0061nk": 3}"#,
        ] {
            let key = "rank".to_owned();
            assert_eq!(
                parse(text).unwrap_err(),
                Problem::DuplicateKey { key },
                "{text}"
            );
        }
        parse(r#"{"a": {"b": 1}, "b": {"a": 1}}"#).unwrap();
    }

    #[test]
    fn a_message_has_the_column_and_no_line() {
        for text in [
            "{broken",
            "",
            "[1] 2",
            r#"{"a": "\ud83d"}"#,
            "1e999",
            "{\"a\" 1}",
        ] {
            let Problem::InvalidJson { column, detail } = parse(text).unwrap_err() else {
                unreachable!("{text} is not JSON");
            };
            assert!(
                column <= text.len() && !detail.contains("line"),
                "{text}: {detail}"
            );
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn other_texts_are_read_as_serde_json_reads_them(float in any::<f64>(), int in any::<i64>(), text in any::<String>()) {
            let value = serde_json::json!({"a": [float, int, text, null, true], "b": {"a": u64::MAX}});
            let line = value.to_string();
            prop_assert_eq!(parse(&line).unwrap(), serde_json::from_str::<Value>(&line).unwrap());
        }
    }
}

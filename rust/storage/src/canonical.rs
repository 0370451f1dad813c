//! One way to write a JSON value, and fingerprints made from it.
//!
//! Fingerprints on users' disks must outlive the JSON library's taste in spacing, key order and number format, so this
//! crate writes values itself: keys sorted by their UTF-8 bytes (which is the order of their code points), integers in
//! decimal, other numbers as the shortest decimal that reads back equal.

use serde_json::{Number, Value};

use crate::error::StorageError;

/// Marks the hash function in a fingerprint.
const MARK: &str = "b3:";

/// `value` with sorted keys and no spaces.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, None, &mut out);
    out
}

/// `value` with sorted keys, one item a line.
pub(crate) fn indented_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, Some(0), &mut out);
    out
}

fn write_value(value: &Value, depth: Option<usize>, out: &mut String) {
    match value {
        Value::Array(items) => write_list(items.iter(), ('[', ']'), depth, out, write_value),
        Value::Object(map) => {
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            write_list(
                fields.into_iter(),
                ('{', '}'),
                depth,
                out,
                |(key, value), depth, out| {
                    out.push_str(&Value::from(key.as_str()).to_string());
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    write_value(value, depth, out);
                },
            );
        }
        Value::Number(number) => out.push_str(&decimal(number)),
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

fn decimal(number: &Number) -> String {
    match number.as_f64() {
        // Rust's `{:?}` is the shortest text that reads back equal, and always JSON for a finite number.
        Some(float) if number.is_f64() => format!("{float:?}"),
        _ => number.to_string(),
    }
}

fn write_list<T>(
    items: impl ExactSizeIterator<Item = T>,
    (open, close): (char, char),
    depth: Option<usize>,
    out: &mut String,
    write: impl Fn(T, Option<usize>, &mut String),
) {
    let inner = depth.map(|depth| depth + 1);
    let is_empty = items.len() == 0;
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        new_line(inner, out);
        write(item, inner, out);
    }
    if !is_empty {
        new_line(depth, out);
    }
    out.push(close);
}

fn new_line(depth: Option<usize>, out: &mut String) {
    if let Some(depth) = depth {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
}

/// `b3:` and the BLAKE3 of the canonical form of `value`.
pub fn fingerprint(value: &Value) -> String {
    fingerprint_bytes(canonical_json(value).as_bytes())
}

/// `b3:` and the BLAKE3 of `bytes`.
pub fn fingerprint_bytes(bytes: &[u8]) -> String {
    format!("{MARK}{}", blake3::hash(bytes).to_hex())
}

/// `fingerprint` of a JSON text.
pub fn fingerprint_json(text: &str) -> Result<String, StorageError> {
    let value = serde_json::from_str(text).map_err(|source| StorageError::Json {
        what: "the value",
        source,
    })?;
    Ok(fingerprint(&value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn key_order_and_spacing_do_not_matter_and_everything_else_does() {
        let one = fingerprint_json(r#"{"b": [1, 2.5, null], "a": {"y": "é", "x": true}}"#).unwrap();
        let same = fingerprint_json(r#"{"a":{"x":true,"y":"\u00e9"},"b":[1,2.5,null]}"#).unwrap();
        assert_eq!(one, same);
        for other in [
            r#"{"b": [2.5, 1, null], "a": {"y": "é", "x": true}}"#,
            r#"{"b": [1.0, 2.5, null], "a": {"y": "é", "x": true}}"#,
            r#"{"b": [1, 2.5, null], "a": {"y": "e", "x": true}}"#,
        ] {
            assert_ne!(one, fingerprint_json(other).unwrap(), "{other}");
        }
    }

    #[test]
    fn the_canonical_form_never_changes() {
        // A change here changes every fingerprint on users' disks: it needs a new schema version.
        let value =
            serde_json::json!({"b": [1, -0.5, 1e300, 1.0], "a": "\"\n\u{1}é", "c": {}, "d": []});
        assert_eq!(
            canonical_json(&value),
            r#"{"a":"\"\n\u0001é","b":[1,-0.5,1e300,1.0],"c":{},"d":[]}"#
        );
        let known = "b3:6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c279";
        assert_eq!(fingerprint_json("{}").unwrap(), known);
    }

    #[test]
    fn the_indented_form_puts_one_item_on_a_line() {
        let value = serde_json::json!({"b": [1, 2], "a": {}});
        assert_eq!(
            indented_json(&value),
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    2\n  ]\n}"
        );
    }

    proptest! {
        #[test]
        fn both_forms_read_back_equal(float in any::<f64>(), integer in any::<i64>(), text in any::<String>()) {
            let value = serde_json::json!({text.clone(): [float, integer], "t": text});
            for form in [canonical_json(&value), indented_json(&value)] {
                prop_assert_eq!(&serde_json::from_str::<Value>(&form).unwrap(), &value);
            }
        }
    }
}

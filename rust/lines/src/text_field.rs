//! The text of a JSON object, appended to others: what sharding needs of a record, without a value for the rest.

use serde::de::{Deserialize, DeserializeSeed, Deserializer};

use crate::fields::{Keys, Unique};
use crate::json_string::append_string;

/// Appends the string under `key` of the object that `line` is; whether it could. If not, nothing is appended.
///
/// It could for a part of what [`string_fields`](crate::string_fields) takes, and then with the same result: keys must be
/// spelled without escapes.
pub fn append_text(line: &[u8], key: &str, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let is_found = text_of(line, key, out).is_some();
    if !is_found {
        out.truncate(before);
    }
    is_found
}

fn text_of(line: &[u8], key: &str, out: &mut Vec<u8>) -> Option<()> {
    let text = std::str::from_utf8(line).ok()?;
    let mut at = after(line, 0, b'{')?;
    let (mut seen, mut is_found) = (Keys::default(), false);
    loop {
        let (name, end) = plain_key(text, after(line, at, b'"')?)?;
        if !seen.add(name.into()) {
            return None;
        }
        at = after(line, end, b':')?;
        at = if name == key {
            is_found = true;
            append_string(line, after(line, at, b'"')?, out)?
        } else {
            at + value_bytes(&text[at..])?
        };
        at = at_next(line, at);
        match line.get(at)? {
            b',' => at += 1,
            b'}' if is_found && at_next(line, at + 1) == line.len() => return Some(()),
            _ => return None,
        }
    }
}

/// The first byte from `at` on that is no white space.
fn at_next(line: &[u8], at: usize) -> usize {
    let spaces = line[at..].iter();
    at + spaces
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .count()
}

/// The byte after `wanted`, which must come next but for white space.
fn after(line: &[u8], at: usize, wanted: u8) -> Option<usize> {
    let at = at_next(line, at);
    (*line.get(at)? == wanted).then_some(at + 1)
}

/// A key without escapes, and the byte after its closing quote.
fn plain_key(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = &text.as_bytes()[at..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
    (rest[end] == b'"').then(|| (&text[at..at + end], at + end + 1))
}

/// Bytes of the value with which `rest` begins, if it is one in which no object has a key twice.
fn value_bytes(rest: &str) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Checked>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

/// A value that was read and is not kept.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Unique.deserialize(deserializer).map(|()| Self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::string_fields;

    /// The text by the reader of all fields; `None` also where nothing was appended, which is checked.
    fn both(line: &[u8]) -> (Option<String>, Option<String>) {
        let slowly = string_fields(line, &["text".to_owned()]);
        let slowly = slowly.map(|mut fields| fields.remove(0).into_owned());
        let mut out = b"before".to_vec();
        let is_found = append_text(line, "text", &mut out);
        let text = String::from_utf8(out.strip_prefix(b"before").unwrap().to_vec()).unwrap();
        assert!(is_found || text.is_empty());
        (is_found.then_some(text), slowly)
    }

    #[test]
    fn simple_records_are_taken() {
        for line in [
            r#"{"text":"a"}"#,
            " { \"a\" : [1, {\"text\": 2.5e3}] ,\t\"text\" : \"x\\n\\u00e9\" , \"b\" : null } \r",
            r#"{"n":-1,"text":"","t":true,"o":{},"s":"\"}"}"#,
        ] {
            let (quickly, slowly) = both(line.as_bytes());
            assert!(quickly.is_some(), "{line}");
            assert_eq!(quickly, slowly, "{line}");
        }
    }

    #[test]
    fn what_is_not_simple_is_left() {
        for line in [
            "",
            "{}",
            "[]",
            "{\"text\"",
            r#"{"text": "a"} {}"#,
            r#"{"text": "a",}"#,
            r#"{"text": "a" "b": 1}"#,
            r#"{"text": "a", "text": "b"}"#,
            r#"{"text": "a", "b": {"c": 1, "c": 2}}"#,
            r#"{"text": "a", "b": 01}"#,
            r#"{"text": "a", "b": 1 2}"#,
            r#"{"text": "a", "te\u0078t": "b"}"#,
            r#"{"text": null}"#,
            r#"{"other": "a"}"#,
            "{\"text\": \"a\tb\"}",
            "{\"te\txt\": 1, \"text\": \"b\"}",
        ] {
            assert_eq!(both(line.as_bytes()).0, None, "{line}");
        }
        assert_eq!(both(b"{\"text\": \"\xff\"}").0, None);
        assert_eq!(both(b"{\"text\": \"a\", \"b\": \"\xc3\"}").0, None);
        let deep = format!("{{\"text\": \"a\", \"b\": {}", "[".repeat(100_000));
        assert_eq!(both(deep.as_bytes()).0, None);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_reader_of_fields_takes(
            text in any::<String>(), key in any::<String>(), other in any::<f64>(), space in "[ \t\r]{0,2}"
        ) {
            let line = json!({key: [other, null, text], "n": {"text": 1}, "text": text}).to_string();
            let line = line.replace(':', &format!("{space}:{space}"));
            let (quickly, slowly) = both(line.as_bytes());
            if quickly.is_some() {
                prop_assert_eq!(quickly, slowly);
            }
        }

        #[test]
        fn nothing_broken_is_taken(
            cut in 0..60_usize, byte in prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[],:0eu \x1f".to_vec())],
            insert in any::<bool>()
        ) {
            let mut line = r#"{"id": 7, "text": "a\u00e9\n", "meta": {"n": [1.5, "b"], "m": null}}"#.as_bytes().to_vec();
            let cut = cut.min(line.len() - 1);
            if insert { line.insert(cut, byte) } else { line[cut] = byte }
            let (quickly, slowly) = both(&line);
            if quickly.is_some() {
                prop_assert_eq!(quickly, slowly);
            }
        }
    }
}

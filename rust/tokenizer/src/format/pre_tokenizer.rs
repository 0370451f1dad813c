//! Which pattern a file's `pre_tokenizer` and our own are.

use super::wrong;
use crate::error::Result;
use crate::pattern::Pattern;
use serde_json::{Value, json};

/// The pattern of `ByteLevel` with its own regex, or of a `Split` followed by `ByteLevel` without.
pub fn read(pre_tokenizer: &Value) -> Result<Pattern> {
    let path = "$.pre_tokenizer";
    let steps = pre_tokenizer
        .get("pretokenizers")
        .and_then(Value::as_array)
        .map(Vec::as_slice);
    match (text(pre_tokenizer, "type"), steps) {
        (Some("ByteLevel"), _) => {
            check_byte_level(pre_tokenizer, path, true)?;
            Ok(Pattern::Gpt2)
        }
        (Some("Sequence"), Some([split, level])) => {
            check_byte_level(level, "$.pre_tokenizer.pretokenizers[1]", false)?;
            read_split(split)
        }
        _ => wrong(
            path,
            "only ByteLevel, and a Sequence of Split and ByteLevel, are covered",
        ),
    }
}

/// `pattern` as a `pre_tokenizer`.
pub fn write(pattern: Pattern) -> Value {
    if pattern == Pattern::Gpt2 {
        return byte_level(true);
    }
    let split = json!({"type": "Split", "pattern": {"Regex": pattern.regex()}, "behavior": "Isolated", "invert": false});
    json!({"type": "Sequence", "pretokenizers": [split, byte_level(false)]})
}

/// The step, or decoder, that maps bytes to characters.
pub fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

/// Checks that a step is `ByteLevel` without a prefix space, with or without its regex.
fn check_byte_level(step: &Value, path: &str, regex: bool) -> Result<()> {
    let flag = |name: &str| step.get(name).and_then(Value::as_bool);
    if text(step, "type") != Some("ByteLevel") {
        return wrong(path, "only ByteLevel is covered here");
    }
    if flag("add_prefix_space") != Some(false) {
        return wrong(format!("{path}.add_prefix_space"), "only false is covered");
    }
    // The field is younger than the format: absent means true.
    if flag("use_regex").unwrap_or(true) != regex {
        return wrong(
            format!("{path}.use_regex"),
            format!("only {regex} is covered here"),
        );
    }
    Ok(())
}

fn read_split(split: &Value) -> Result<Pattern> {
    let path = "$.pre_tokenizer.pretokenizers[0]";
    let invert = split.get("invert").and_then(Value::as_bool);
    if text(split, "type") != Some("Split") {
        return wrong(path, "only Split is covered before ByteLevel");
    }
    // Our patterns match every character, so keeping the matches and dropping what lies between them come to the same.
    if !matches!(
        (text(split, "behavior"), invert),
        (Some("Isolated"), Some(false)) | (Some("Removed"), Some(true))
    ) {
        return wrong(
            path,
            "only behavior Isolated (invert false) and Removed (invert true) are covered",
        );
    }
    let path = format!("{path}.pattern");
    let Some(regex) = split
        .get("pattern")
        .and_then(|pattern| text(pattern, "Regex"))
    else {
        return wrong(path, "only a Regex is covered");
    };
    match Pattern::of_regex(regex) {
        Some(pattern) => Ok(pattern),
        None => wrong(
            path,
            format!(
                "the regex {regex:?} is none of {}",
                Pattern::NAMES.join(", ")
            ),
        ),
    }
}

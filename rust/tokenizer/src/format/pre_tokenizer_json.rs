//! Reads and writes the entry `pre_tokenizer` of `tokenizer.json`.

use crate::error::{Result, TokenizerError, unsupported};
use crate::model::Model;
use crate::pattern::Pattern;
use crate::pre_tokenizer::{PreTokenizer, Step};
use serde_json::{Value, json};

/// The pre-tokenizer of `ByteLevel`, alone or at the end of a `Sequence` of `Split` and `Digits`, and whether it prepends a
/// space.
pub fn read(pre_tokenizer: &Value) -> Result<(PreTokenizer, bool)> {
    let path = "$.pre_tokenizer";
    let alone = std::slice::from_ref(pre_tokenizer);
    let (parts, within) = match pre_tokenizer.get("pretokenizers").and_then(Value::as_array) {
        Some(parts) if text(pre_tokenizer, "type") == Some("Sequence") => {
            (&parts[..], format!("{path}.pretokenizers"))
        }
        _ => (alone, String::new()),
    };
    let Some((level, before)) = parts
        .split_last()
        .filter(|(level, _)| text(level, "type") == Some("ByteLevel"))
    else {
        return unsupported(
            path,
            "only ByteLevel, and a Sequence of Split and Digits that ends in ByteLevel, are supported",
        );
    };
    let place = |part: usize| {
        if within.is_empty() {
            path.to_owned()
        } else {
            format!("{within}[{part}]")
        }
    };
    let mut steps = Vec::with_capacity(parts.len());
    for (part, value) in before.iter().enumerate() {
        steps.push(read_step(value, &place(part))?);
    }
    let flag = |name: &str| level.get(name).and_then(Value::as_bool).unwrap_or(true);
    let prefix_space = flag("add_prefix_space");
    if prefix_space && !before.is_empty() {
        let path = format!("{}.add_prefix_space", place(before.len()));
        return unsupported(path, "only false is supported after another step");
    }
    // The field is newer than the format: if it is absent, it is true.
    if flag("use_regex") {
        steps.push(Step::Named(Pattern::Gpt2));
    }
    if steps.is_empty() {
        return unsupported(
            format!("{}.use_regex", place(0)),
            "only true is supported without another step",
        );
    }
    Ok((PreTokenizer::of_steps(steps), prefix_space))
}

/// The entry `pre_tokenizer` of a model.
pub fn write(model: &Model) -> Value {
    let split = |step: &Step| json!({"type": "Split", "pattern": {"Regex": step.regex()}, "behavior": "Isolated", "invert": false});
    let mut steps = match &model.pre_tokenizer {
        PreTokenizer::Named(Pattern::Gpt2) => return byte_level(model.prefix_space, true),
        PreTokenizer::Named(pattern) => vec![split(&Step::Named(*pattern))],
        PreTokenizer::Steps(steps) => steps.iter().map(split).collect(),
    };
    steps.push(byte_level(model.prefix_space, false));
    json!({"type": "Sequence", "pretokenizers": steps})
}

/// The step, or decoder, that maps bytes to characters.
pub fn byte_level(prefix_space: bool, use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": true, "use_regex": use_regex})
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

/// A step before `ByteLevel`.
fn read_step(step: &Value, path: &str) -> Result<Step> {
    match text(step, "type") {
        Some("Split") => read_split(step, path),
        // The library's digits are all number characters.
        Some("Digits") => match step.get("individual_digits").and_then(Value::as_bool) {
            Some(true) => Step::of_regex(r"\p{N}"),
            _ => Step::of_regex(r"\p{N}+"),
        },
        Some(other) => unsupported(
            path,
            format!("{other} is not supported before ByteLevel, only Split and Digits"),
        ),
        None => unsupported(path, "a step without a type is not supported"),
    }
}

fn read_split(split: &Value, path: &str) -> Result<Step> {
    let behavior = (
        text(split, "behavior"),
        split.get("invert").and_then(Value::as_bool),
    );
    let pattern = split.get("pattern");
    let regex = match pattern.and_then(|pattern| text(pattern, "Regex")) {
        Some(regex) => regex.to_owned(),
        None => match pattern.and_then(|pattern| text(pattern, "String")) {
            Some(literal) if !literal.is_empty() => escaped(literal),
            _ => {
                return unsupported(
                    format!("{path}.pattern"),
                    "only a Regex and a String are supported",
                );
            }
        },
    };
    let step = Step::of_regex(&regex).map_err(|error| match error {
        TokenizerError::BadPattern { pattern, problem } => TokenizerError::unsupported(
            format!("{path}.pattern"),
            format!("the regex {pattern:?} is not supported: {problem}"),
        ),
        other => other,
    })?;
    match (behavior, &step) {
        ((Some("Isolated"), Some(false)), _) => Ok(step),
        // Our named patterns match every character, so keeping the matches and dropping the text between them is the same.
        ((Some("Removed"), Some(true)), Step::Named(_)) => Ok(step),
        _ => unsupported(
            path,
            "only behavior Isolated (invert false), and Removed (invert true) of a named pattern, are supported",
        ),
    }
}

/// A regular expression that matches exactly this text.
fn escaped(literal: &str) -> String {
    let quote = |character: char| {
        if character.is_ascii_punctuation() {
            vec!['\\', character]
        } else {
            vec![character]
        }
    };
    literal.chars().flat_map(quote).collect()
}

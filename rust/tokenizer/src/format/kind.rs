//! The kind of model in a `tokenizer.json`, for the error message of a file that is not BPE.

use crate::error::{TokenizerError, short};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The kind by `model.type`, or by the model's fields as the `tokenizers` library infers it; `None` if this is not such a file.
pub fn of_model(text: &str) -> Option<String> {
    let file: File = serde_json::from_str(text).ok()?;
    let Model {
        kind,
        vocabulary_is_list,
        merges,
        unk_id,
        unk_token,
        max_input_chars_per_word,
    } = file.model;
    if let Some(Name::Text(kind)) = kind {
        return Some(kind);
    }
    let has = |field: &Option<IgnoredAny>| field.is_some();
    let kind = match () {
        () if vocabulary_is_list.is_some_and(|shape| shape.is_list) || has(&unk_id) => "Unigram",
        () if has(&max_input_chars_per_word) => "WordPiece",
        () if !has(&merges) && has(&unk_token) => "WordLevel",
        () => "BPE",
    };
    Some(kind.to_owned())
}

/// The error of a model of another kind.
pub fn unsupported_kind(kind: &str) -> TokenizerError {
    let problem = format!("{} is not supported, only BPE", name(kind));
    TokenizerError::unsupported("$.model.type", problem)
}

/// Known kinds as they are written, others in quotation marks.
fn name(kind: &str) -> String {
    match kind {
        "WordPiece" | "Unigram" | "WordLevel" => kind.to_owned(),
        _ => short(kind),
    }
}

#[derive(Deserialize)]
struct File {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: Option<Name>,
    #[serde(rename = "vocab", default)]
    vocabulary_is_list: Option<Shape>,
    #[serde(default)]
    merges: Option<IgnoredAny>,
    #[serde(default)]
    unk_id: Option<IgnoredAny>,
    #[serde(default)]
    unk_token: Option<IgnoredAny>,
    #[serde(default)]
    max_input_chars_per_word: Option<IgnoredAny>,
}

/// The name of a kind, or another value.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Other(IgnoredAny),
}

/// Whether a value is a list; its content is dropped.
struct Shape {
    is_list: bool,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shape { is_list: true })
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape { is_list: false })
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape { is_list: false })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Shape { is_list: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_comes_first_and_then_the_fields() {
        let kind = |model: &str| of_model(&format!("{{\"model\": {model}}}"));
        let known = |name: &str| Some(name.to_owned());
        assert_eq!(
            kind(r#"{"type": "WordPiece", "vocab": {"a": 0}}"#),
            known("WordPiece")
        );
        assert_eq!(
            kind(r#"{"type": "Other", "vocab": [], "merges": []}"#),
            known("Other")
        );
        assert_eq!(
            kind(r#"{"vocab": [["a", -1.5]], "unk_id": 0}"#),
            known("Unigram")
        );
        assert_eq!(kind(r#"{"vocab": [["a", -1.5]]}"#), known("Unigram"));
        assert_eq!(
            kind(r#"{"vocab": {"a": 0}, "max_input_chars_per_word": 100, "unk_token": "[UNK]"}"#),
            known("WordPiece")
        );
        assert_eq!(
            kind(r#"{"vocab": {"a": 0}, "unk_token": "[UNK]"}"#),
            known("WordLevel")
        );
        assert_eq!(kind(r#"{"vocab": {"a": 0}, "merges": [7]}"#), known("BPE"));
        assert_eq!(kind("7"), None);
        assert_eq!(of_model("{"), None);
    }
}

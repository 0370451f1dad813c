//! Writes `tokenizer.json` in its canonical form: tokens by id, merges by rank, one per line.

use super::bpe::VERSION;
use super::pre_tokenizer_json;
use crate::byte_level;
use crate::model::{MergeOrder, Model, Unknown};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Value, json};

#[derive(Serialize)]
struct File<'m> {
    version: &'static str,
    truncation: Value,
    padding: Value,
    added_tokens: Vec<Value>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: &'m Value,
    decoder: Value,
    model: Bpe<'m>,
}

#[derive(Serialize)]
struct Bpe<'m> {
    r#type: &'static str,
    dropout: Value,
    unk_token: Value,
    continuing_subword_prefix: Value,
    end_of_word_suffix: Value,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: Vocabulary<'m>,
    merges: Merges,
}

/// Merges as strings, or as pairs where a string would be ambiguous.
#[derive(Serialize)]
#[serde(untagged)]
enum Merges {
    Texts(Vec<String>),
    Pairs(Vec<[String; 2]>),
}

struct Vocabulary<'m>(&'m Model);

impl Serialize for Vocabulary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (id, _) in self.0.tokens.iter() {
            map.serialize_entry(&name(self.0, id), &id)?;
        }
        if let Some(id) = self.0.tokens.empty() {
            map.serialize_entry("", &id)?;
        }
        map.end()
    }
}

/// The name of a token in the file: an added token's text, another token's bytes.
fn name(model: &Model, id: u32) -> String {
    match model.added.binary_search_by_key(&id, |token| token.id) {
        Ok(place) => model.added[place].content.clone(),
        Err(_) => byte_level::write(model.tokens.get(id)),
    }
}

/// `model` as `tokenizer.json`. Equal models give equal text.
pub fn write(model: &Model) -> String {
    write_with(model, &model.post_processor)
}

/// As [`write()`], without the post-processor, which does not affect encoding and decoding.
pub fn write_encoding(model: &Model) -> String {
    write_with(model, &Value::Null)
}

fn write_with(model: &Model, post_processor: &Value) -> String {
    let file = File {
        version: "1.0",
        truncation: Value::Null,
        padding: Value::Null,
        added_tokens: model.added.iter().map(added_token).collect(),
        normalizer: if model.nfc {
            json!({"type": "NFC"})
        } else {
            Value::Null
        },
        pre_tokenizer: pre_tokenizer_json::write(model),
        post_processor,
        decoder: pre_tokenizer_json::byte_level(false, true),
        model: Bpe {
            r#type: "BPE",
            dropout: Value::Null,
            unk_token: match model.unknown {
                Unknown::Token { id, .. } => Value::String(name(model, id)),
                Unknown::Refused | Unknown::Dropped => Value::Null,
            },
            continuing_subword_prefix: Value::Null,
            end_of_word_suffix: Value::Null,
            fuse_unk: matches!(model.unknown, Unknown::Token { fused: true, .. }),
            byte_fallback: false,
            ignore_merges: model.ignore_merges,
            vocab: Vocabulary(model),
            merges: merges(model),
        },
    };
    // None of these types can fail to serialize: keys are strings, numbers are finite.
    serde_json::to_string_pretty(&file).unwrap_or_default()
}

fn added_token(token: &crate::model::AddedToken) -> Value {
    json!({
        "id": token.id, "content": token.content, "single_word": token.single_word,
        "lstrip": token.lstrip, "rstrip": token.rstrip,
        "normalized": token.normalized, "special": token.special,
    })
}

/// Merges in the order in which an encoder prefers them; of the merges into one token, the one with the smaller parts first.
fn merges(model: &Model) -> Merges {
    let mut merges = model.merges.clone();
    if model.order == MergeOrder::JoinedId {
        merges.sort_by_key(|merge| (merge.joined, merge.left, merge.right));
    }
    let parts = merges
        .iter()
        .map(|merge| [merge.left, merge.right].map(|id| name(model, id)));
    let is_text = |[left, right]: &[String; 2]| {
        !(left.starts_with(VERSION) || left.contains(' ') || right.contains(' '))
    };
    match parts.clone().all(|parts| is_text(&parts)) {
        true => Merges::Texts(parts.map(|parts| parts.join(" ")).collect()),
        false => Merges::Pairs(parts.collect()),
    }
}

//! The fields of `tokenizer.json` that decide about ids.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The whole file.
#[derive(Deserialize)]
pub struct File {
    /// Must be null.
    #[serde(default)]
    pub truncation: Value,
    /// Must be null.
    #[serde(default)]
    pub padding: Value,
    /// Tokens that stand outside the merges.
    #[serde(default)]
    pub added_tokens: Vec<Added>,
    /// Null or NFC.
    #[serde(default)]
    pub normalizer: Value,
    /// Says which pattern it is.
    #[serde(default)]
    pub pre_tokenizer: Value,
    /// Kept as it is.
    #[serde(default)]
    pub post_processor: Value,
    /// Must be `ByteLevel`.
    #[serde(default)]
    pub decoder: Value,
    /// Vocabulary and merges.
    pub model: Bpe,
}

/// An entry of `added_tokens`.
#[derive(Deserialize)]
pub struct Added {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Matched only as a whole word.
    #[serde(default)]
    pub single_word: bool,
    /// Takes the white space to its left.
    #[serde(default)]
    pub lstrip: bool,
    /// Takes the white space to its right.
    #[serde(default)]
    pub rstrip: bool,
    /// Matched in what the others leave.
    #[serde(default)]
    pub normalized: bool,
    /// Skipped by decoders asked to.
    #[serde(default)]
    pub special: bool,
}

/// The entry `model`.
#[derive(Deserialize)]
pub struct Bpe {
    /// `BPE`, or absent in old files.
    #[serde(default)]
    pub r#type: Option<String>,
    /// Must be null or 0.
    #[serde(default)]
    pub dropout: Option<f32>,
    /// Must be null or empty.
    #[serde(default)]
    pub continuing_subword_prefix: Option<String>,
    /// Must be null or empty.
    #[serde(default)]
    pub end_of_word_suffix: Option<String>,
    /// A piece that is a token becomes it without merging.
    #[serde(default)]
    pub ignore_merges: bool,
    /// Tokens and ids.
    pub vocab: Vocabulary,
    /// Merges, most preferred first.
    pub merges: Vec<MergeText>,
}

/// Tokens and ids in the order of the file.
pub struct Vocabulary(pub Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(VocabularyVisitor)
    }
}

struct VocabularyVisitor;

impl<'de> Visitor<'de> for VocabularyVisitor {
    type Value = Vocabulary;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object of tokens and ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
        let mut tokens = Vec::new();
        while let Some(entry) = map.next_entry()? {
            tokens.push(entry);
        }
        Ok(Vocabulary(tokens))
    }
}

/// A merge: both parts, and where the second begins. Written `"a b"` (files of every age) or `["a", "b"]` (since
/// tokenizers 0.20).
pub struct MergeText {
    both: String,
    cut: usize,
}

impl MergeText {
    /// The left part.
    pub fn left(&self) -> &str {
        &self.both[..self.cut]
    }

    /// The right part.
    pub fn right(&self) -> &str {
        &self.both[self.cut..]
    }

    /// Both parts, joined.
    pub fn joined(&self) -> &str {
        &self.both
    }
}

impl<'de> Deserialize<'de> for MergeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = MergeText;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("two tokens, as \"a b\" or [\"a\", \"b\"]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MergeText, E> {
        let cut = text
            .split_once(' ')
            .filter(|(_, right)| !right.contains(' '));
        let (left, right) = cut.ok_or_else(|| {
            E::custom(format!("{text:?} is not two tokens with one space between"))
        })?;
        Ok(MergeText {
            both: [left, right].concat(),
            cut: left.len(),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<MergeText, A::Error> {
        let mut both: String = parts
            .next_element()?
            .ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let cut = both.len();
        let right: String = parts
            .next_element()?
            .ok_or_else(|| A::Error::invalid_length(1, &self))?;
        both.push_str(&right);
        match parts.next_element::<String>()? {
            Some(_) => Err(A::Error::invalid_length(3, &self)),
            None => Ok(MergeText { both, cut }),
        }
    }
}

//! The fields of `tokenizer.json` that determine ids, borrowed from the file's text: a large vocabulary has hundreds of thousands
//! of strings, and copying them would take most of the time and memory of loading.

use super::bpe::Bpe;
use super::values::{BoundedVec, Text};
use crate::model::MAX_ADDED_TOKENS;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The whole file.
#[derive(Default, Deserialize)]
pub struct File<'f> {
    /// Must be null.
    #[serde(borrow, default)]
    pub truncation: Part<'f>,
    /// Must be null.
    #[serde(borrow, default)]
    pub padding: Part<'f>,
    /// Tokens outside the merges.
    #[serde(borrow, default)]
    pub added_tokens: BoundedVec<Added<'f>, MAX_ADDED_TOKENS>,
    /// Null or NFC.
    #[serde(borrow, default)]
    pub normalizer: Part<'f>,
    /// The pre-tokenizer.
    #[serde(borrow, default)]
    pub pre_tokenizer: Part<'f>,
    /// Kept unchanged.
    #[serde(borrow, default)]
    pub post_processor: Part<'f>,
    /// Must be `ByteLevel`.
    #[serde(borrow, default)]
    pub decoder: Part<'f>,
    /// Vocabulary and merges.
    #[serde(borrow)]
    pub model: Bpe<'f>,
}

/// A part of the file as text: it is parsed only after its size is checked.
pub type Part<'f> = Option<&'f RawValue>;

/// An entry of `added_tokens`.
#[derive(Deserialize)]
pub struct Added<'f> {
    /// Its id.
    pub id: u32,
    /// Its text.
    #[serde(borrow)]
    pub content: Text<'f>,
    /// Matched only as a whole word.
    #[serde(default)]
    pub single_word: bool,
    /// Takes the white space to its left.
    #[serde(default)]
    pub lstrip: bool,
    /// Takes the white space to its right.
    #[serde(default)]
    pub rstrip: bool,
    /// Matched in normalized text, after the others.
    #[serde(default)]
    pub normalized: bool,
    /// Skipped by decoders on request.
    #[serde(default)]
    pub special: bool,
}

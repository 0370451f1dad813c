//! The fields of `tokenizer.json` that decide about ids, borrowed from the file's text: a large vocabulary has hundreds of
//! thousands of strings, and owning them would be most of the time and memory of loading.

use super::bpe::Bpe;
use crate::model::MOST_ADDED;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The whole file.
#[derive(Default, Deserialize)]
pub struct File<'f> {
    /// Must be null.
    #[serde(borrow, default)]
    pub truncation: Part<'f>,
    /// Must be null.
    #[serde(borrow, default)]
    pub padding: Part<'f>,
    /// Tokens that stand outside the merges.
    #[serde(borrow, default)]
    pub added_tokens: Many<Added<'f>, MOST_ADDED>,
    /// Null or NFC.
    #[serde(borrow, default)]
    pub normalizer: Part<'f>,
    /// Says how text is cut.
    #[serde(borrow, default)]
    pub pre_tokenizer: Part<'f>,
    /// Kept as it is.
    #[serde(borrow, default)]
    pub post_processor: Part<'f>,
    /// Must be `ByteLevel`.
    #[serde(borrow, default)]
    pub decoder: Part<'f>,
    /// Vocabulary and merges.
    #[serde(borrow)]
    pub model: Bpe<'f>,
}

/// A part of the file as its text: what it holds is looked at once its size is known.
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
    /// Matched in what the others leave.
    #[serde(default)]
    pub normalized: bool,
    /// Skipped by decoders asked to.
    #[serde(default)]
    pub special: bool,
}

/// A string, owned only where the file escapes a character of it.
pub struct Text<'f>(pub Cow<'f, str>);

impl<'de: 'f, 'f> Deserialize<'de> for Text<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// A list of at most `MOST`: more would take memory out of proportion to the file.
pub struct Many<T, const MOST: usize>(pub Vec<T>);

impl<T, const MOST: usize> Default for Many<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Many<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ManyVisitor(std::marker::PhantomData))
    }
}

struct ManyVisitor<T, const MOST: usize>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for ManyVisitor<T, MOST> {
    type Value = Many<T, MOST>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut held = Vec::new();
        while let Some(item) = items.next_element()? {
            if held.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            held.push(item);
        }
        Ok(Many(held))
    }
}

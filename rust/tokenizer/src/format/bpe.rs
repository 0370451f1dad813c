//! The entry `model` of `tokenizer.json`. Merges are resolved as they are read, so that the largest part of a file is never held
//! as text, unless the file lists merges before the vocabulary.

use super::values::{BoundedVec, Text};
use super::vocabulary::Vocabulary;
use crate::model::{MAX_VOCABULARY, Merge};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;

/// The maximum number of merges in a file.
pub const MAX_MERGES: usize = MAX_VOCABULARY;

/// The entry `model`.
#[derive(Default)]
pub struct Bpe<'f> {
    /// `BPE`, or absent in old files.
    pub kind: Option<String>,
    /// Must be null or 0.
    pub dropout: Option<f32>,
    /// Must be null or empty.
    pub prefix: Option<String>,
    /// Must be null or empty.
    pub suffix: Option<String>,
    /// A pre-token that is a token is not merged.
    pub ignore_merges: bool,
    /// The token of a byte without a token.
    pub unknown_token: Option<String>,
    /// Consecutive bytes without a token give it once.
    pub fuse_unknown: bool,
    /// Bytes without a token become `<0xC3>` and the like, if such tokens exist.
    pub byte_fallback: bool,
    /// Tokens and their ids.
    pub vocabulary: Vocabulary<'f>,
    /// Merges, most preferred first.
    pub merges: Vec<Merge>,
}

impl<'de: 'f, 'f> Deserialize<'de> for Bpe<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BpeVisitor)
    }
}

struct BpeVisitor;

impl<'de> Visitor<'de> for BpeVisitor {
    type Value = Bpe<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object with vocab and merges")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bpe<'de>, A::Error> {
        let mut bpe = Bpe::default();
        let (mut vocabulary, mut merges, mut waiting) = (None, None, None);
        while let Some(Text(key)) = map.next_key()? {
            let twice = match &*key {
                "vocab" => vocabulary.is_some(),
                "merges" => merges.is_some() || waiting.is_some(),
                _ => false,
            };
            if twice {
                return Err(A::Error::custom(format!("{key:?} occurs twice")));
            }
            match &*key {
                "type" => bpe.kind = map.next_value()?,
                "dropout" => bpe.dropout = map.next_value()?,
                "continuing_subword_prefix" => bpe.prefix = map.next_value()?,
                "end_of_word_suffix" => bpe.suffix = map.next_value()?,
                "ignore_merges" => {
                    bpe.ignore_merges = map.next_value::<Option<bool>>()?.unwrap_or(false)
                }
                "unk_token" => bpe.unknown_token = map.next_value()?,
                "fuse_unk" => bpe.fuse_unknown = map.next_value::<Option<bool>>()?.unwrap_or(false),
                "byte_fallback" => {
                    bpe.byte_fallback = map.next_value::<Option<bool>>()?.unwrap_or(false)
                }
                "vocab" => vocabulary = Some(map.next_value::<Vocabulary<'de>>()?),
                "merges" => match &vocabulary {
                    // The vocabulary is incomplete; the unsupported feature is reported later.
                    Some(vocabulary) if vocabulary.unsupported.is_some() => {
                        map.next_value::<IgnoredAny>()?;
                        merges = Some(Vec::new());
                    }
                    Some(vocabulary) => merges = Some(map.next_value_seed(Merges(vocabulary))?),
                    None => {
                        waiting = Some(map.next_value::<BoundedVec<MergeText<'de>, MAX_MERGES>>()?)
                    }
                },
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        bpe.vocabulary = vocabulary.ok_or_else(|| A::Error::missing_field("vocab"))?;
        bpe.merges = match (merges, waiting) {
            (Some(merges), _) => merges,
            (None, Some(_)) if bpe.vocabulary.unsupported.is_some() => Vec::new(),
            (None, Some(BoundedVec(texts))) => look_up(&bpe.vocabulary, &texts)?,
            (None, None) => return Err(A::Error::missing_field("merges")),
        };
        Ok(bpe)
    }
}

fn look_up<E: Error>(
    vocabulary: &Vocabulary<'_>,
    texts: &[MergeText<'_>],
) -> Result<Vec<Merge>, E> {
    let mut joined = String::new();
    let merge = |(place, text): (usize, &MergeText<'_>)| {
        let merge = text.merge(vocabulary, &mut joined);
        merge.map_err(|problem| E::custom(format!("merges[{place}]: {problem}")))
    };
    let texts = texts.iter().enumerate();
    texts
        .filter(|(_, text)| !text.is_version)
        .map(merge)
        .collect()
}

/// Reads merges, by the ids of a vocabulary.
struct Merges<'v, 'f>(&'v Vocabulary<'f>);

impl<'de> DeserializeSeed<'de> for Merges<'_, '_> {
    type Value = Vec<Merge>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Merge>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Merges<'_, '_> {
    type Value = Vec<Merge>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a list of at most {MAX_MERGES} merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Merge>, A::Error> {
        let mut merges = Vec::with_capacity(self.0.tokens.len());
        let mut joined = String::new();
        while let Some(merge) = items.next_element_seed(OneMerge(self.0, &mut joined))? {
            if merges.len() == MAX_MERGES {
                return Err(A::Error::invalid_length(MAX_MERGES + 1, &self));
            }
            merges.extend(merge);
        }
        Ok(merges)
    }
}

/// Reads one merge, with a buffer for its joined text.
struct OneMerge<'v, 'f>(&'v Vocabulary<'f>, &'v mut String);

impl<'de> DeserializeSeed<'de> for OneMerge<'_, '_> {
    type Value = Option<Merge>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let text = MergeText::deserialize(deserializer)?;
        if text.is_version {
            return Ok(None);
        }
        let merge = text.merge(self.0, self.1);
        merge.map(Some).map_err(D::Error::custom)
    }
}

/// A merge, written `"a b"` (old and new files) or `["a", "b"]` (since tokenizers 0.20).
pub struct MergeText<'f> {
    /// The left part.
    pub left: Cow<'f, str>,
    /// The right part.
    pub right: Cow<'f, str>,
    /// Not a merge but a line `#version: ...`, as in old files: the `tokenizers` library skips lines that begin like this.
    pub is_version: bool,
}

/// The beginning of such a line.
pub const VERSION: &str = "#version";

impl<'f> MergeText<'f> {
    /// The two parts of `"a b"`, or what is wrong.
    pub fn of(text: &'f str) -> Result<Self, String> {
        if text.starts_with(VERSION) {
            return Ok(Self {
                left: Cow::default(),
                right: Cow::default(),
                is_version: true,
            });
        }
        let cut = text
            .split_once(' ')
            .filter(|(_, right)| !right.contains(' '));
        let (left, right) =
            cut.ok_or_else(|| format!("{text:?} is not two tokens separated by one space"))?;
        Ok(Self {
            left: left.into(),
            right: right.into(),
            is_version: false,
        })
    }

    /// The same merge, independent of the file's text.
    pub fn into_owned(self) -> MergeText<'static> {
        MergeText {
            left: self.left.into_owned().into(),
            right: self.right.into_owned().into(),
            is_version: self.is_version,
        }
    }

    /// The ids of both parts and of the joined token.
    fn merge(&self, vocabulary: &Vocabulary<'_>, joined: &mut String) -> Result<Merge, String> {
        let id = |token: &str| {
            vocabulary
                .id(token)
                .ok_or_else(|| format!("{token:?} is not in the vocabulary"))
        };
        joined.clear();
        joined.push_str(&self.left);
        joined.push_str(&self.right);
        Ok(Merge {
            left: id(&self.left)?,
            right: id(&self.right)?,
            joined: id(joined)?,
        })
    }
}

impl<'de: 'f, 'f> Deserialize<'de> for MergeText<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = MergeText<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("two tokens, as \"a b\" or [\"a\", \"b\"]")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<MergeText<'de>, E> {
        MergeText::of(text).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MergeText<'de>, E> {
        let merge = MergeText::of(text).map_err(E::custom)?;
        Ok(merge.into_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<MergeText<'de>, A::Error> {
        let left = items
            .next_element::<Text<'de>>()?
            .ok_or_else(|| A::Error::invalid_length(0, &self))?
            .0;
        let right = items
            .next_element::<Text<'de>>()?
            .ok_or_else(|| A::Error::invalid_length(1, &self))?
            .0;
        match items.next_element::<IgnoredAny>()? {
            Some(_) => Err(A::Error::invalid_length(3, &self)),
            None => Ok(MergeText {
                left,
                right,
                is_version: false,
            }),
        }
    }
}

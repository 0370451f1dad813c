//! The entry `model` of `tokenizer.json`. Merges are looked up as they are read, so that a file's largest part is never
//! held as text; only a file that lists them before the vocabulary makes them wait.

use super::values::{BoundedVec, Text};
use super::vocabulary::Vocabulary;
use crate::model::{MAX_VOCABULARY, Merge};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;

/// Merges a file may have.
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
    /// A pre-token that is a token becomes it without merging.
    pub ignore_merges: bool,
    /// What a byte without a token becomes.
    pub unknown_token: Option<String>,
    /// Such bytes side by side become it once.
    pub fuse_unknown: bool,
    /// Such a byte becomes `<0xC3>` and the like, where there are such tokens.
    pub byte_fallback: bool,
    /// Tokens and ids.
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
                return Err(A::Error::custom(format!("{key:?} stands here twice")));
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
                    // Its tokens are not all known; what is not covered is said later.
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

/// Reads merges with the ids of a vocabulary.
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

/// A merge, written `"a b"` (files of every age) or `["a", "b"]` (since tokenizers 0.20).
pub struct MergeText<'f> {
    /// The left part.
    pub left: Cow<'f, str>,
    /// The right part.
    pub right: Cow<'f, str>,
    /// It is no merge but a line `#version: ...`, as old files have it: the `tokenizers` library skips what begins so.
    pub is_version: bool,
}

/// How such a line begins.
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
            cut.ok_or_else(|| format!("{text:?} is not two tokens with one space between"))?;
        Ok(Self {
            left: left.into(),
            right: right.into(),
            is_version: false,
        })
    }

    /// The same, apart from the text it came from.
    pub fn into_owned(self) -> MergeText<'static> {
        MergeText {
            left: self.left.into_owned().into(),
            right: self.right.into_owned().into(),
            is_version: self.is_version,
        }
    }

    /// The ids of both parts and of what they become.
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

//! The vocabulary of `tokenizer.json`, borrowed from the file's text, as a hash table.

use super::values::Text;
use crate::keyed::Keys;
use crate::model::MAX_VOCABULARY;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;

/// Tokens and ids, each of which occurs once. One token may be empty.
#[derive(Default)]
pub struct Vocabulary<'f> {
    /// In the order of the file.
    pub tokens: Vec<(Cow<'f, str>, u32)>,
    /// Indices in `tokens` by hash, open-addressed and at most half full; [`FREE`] in free slots.
    slots: Vec<u32>,
    keys: Keys,
    /// The first unsupported entry; entries from there on are not read.
    pub unsupported: Option<String>,
}

const FREE: u32 = u32::MAX;

impl<'f> Vocabulary<'f> {
    /// The vocabulary of these tokens, or the first token that occurs twice.
    fn of(tokens: Vec<(Cow<'f, str>, u32)>) -> Result<Self, String> {
        let size = (tokens.len() * 2).next_power_of_two().max(2);
        let mut vocabulary = Self {
            tokens,
            slots: vec![FREE; size],
            keys: Keys::default(),
            unsupported: None,
        };
        for place in 0..vocabulary.tokens.len() {
            let token = &*vocabulary.tokens[place].0;
            let slot = vocabulary.slot(token);
            if vocabulary.slots[slot] != FREE {
                return Err(format!("the token {token:?} occurs twice"));
            }
            vocabulary.slots[slot] = place as u32;
        }
        Ok(vocabulary)
    }

    /// The id of a token.
    #[inline]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.place(token).map(|place| self.tokens[place].1)
    }

    /// The index of a token in `tokens`.
    #[inline]
    pub fn place(&self, token: &str) -> Option<usize> {
        let place = *self.slots.get(self.slot(token))?;
        (place != FREE).then_some(place as usize)
    }

    /// The slot of a token, or the free slot for it. (An empty vocabulary has no slots.)
    #[inline]
    fn slot(&self, token: &str) -> usize {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = self.keys.hash(token.as_bytes()) as usize & mask;
        while let Some(&place) = self.slots.get(slot)
            && place != FREE
            && self.tokens[place as usize].0 != token
        {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

impl<'de: 'f, 'f> Deserialize<'de> for Vocabulary<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(VocabularyVisitor)
    }
}

struct VocabularyVisitor;

impl<'de> Visitor<'de> for VocabularyVisitor {
    type Value = Vocabulary<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object of tokens and ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary<'de>, A::Error> {
        let mut builder = VocabularyBuilder::default();
        let mut unsupported = None;
        while let Some((Text(token), id)) = map.next_entry::<Text<'de>, u32>()? {
            // Nothing more is stored: a file that repeats one short entry would take many times its size.
            if unsupported.is_none() {
                unsupported = builder.push(token, id).err();
            }
        }
        let mut vocabulary = builder.vocabulary().map_err(A::Error::custom)?;
        vocabulary.unsupported = unsupported;
        Ok(vocabulary)
    }
}

/// A vocabulary that is being read.
#[derive(Default)]
pub struct VocabularyBuilder<'f> {
    tokens: Vec<(Cow<'f, str>, u32)>,
    /// Checked here and not later: a file that repeats one short entry would take many times its size.
    used: UsedIds,
}

impl<'f> VocabularyBuilder<'f> {
    /// Adds a token, or says why its id is not supported.
    pub fn push(&mut self, token: Cow<'f, str>, id: u32) -> Result<(), String> {
        self.used.take(&token, id)?;
        self.tokens.push((token, id));
        Ok(())
    }

    /// The vocabulary of all tokens, or the first token that occurs twice.
    pub fn vocabulary(self) -> Result<Vocabulary<'f>, String> {
        Vocabulary::of(self.tokens)
    }
}

/// Ids in use, one bit each.
#[derive(Default)]
struct UsedIds(Vec<u64>);

impl UsedIds {
    fn take(&mut self, token: &str, id: u32) -> Result<(), String> {
        if id as usize >= MAX_VOCABULARY {
            return Err(format!(
                "id {id} of {token:?} is beyond the limit of {MAX_VOCABULARY}"
            ));
        }
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        if word >= self.0.len() {
            self.0.resize((word + 1).next_power_of_two(), 0);
        }
        if self.0[word] & bit != 0 {
            return Err(format!(
                "id {id} of {token:?} belongs to another token, too"
            ));
        }
        self.0[word] |= bit;
        Ok(())
    }
}

//! What a tokenizer is: tokens, merges, added tokens and how text is cut. Files are read into it and written from it.

use crate::error::{Result, TokenizerError, listed};
use crate::keyed::KeyedMap;
use crate::pre_tokenizer::PreTokenizer;
use crate::special::Special;
use serde_json::Value;

/// Ids a vocabulary may reach; a file that asks for more is refused rather than allocated.
pub const MAX_VOCABULARY: usize = 1 << 22;

/// Bytes a token may have that is no added one. The longest in vocabularies in use have about a thousand.
pub const MAX_TOKEN_BYTES: usize = 1 << 16;

/// Added tokens a vocabulary may have.
pub const MAX_ADDED_TOKENS: usize = 1 << 17;

/// A merge: the ids of its two parts and of what they become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// Id of the left part.
    pub left: u32,
    /// Id of the right part.
    pub right: u32,
    /// Id of the joined token.
    pub joined: u32,
}

/// Which of two possible merges comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeOrder {
    /// The one that stands first in [`Model::merges`] (`tokenizer.json`).
    Listed,
    /// The one whose joined token has the smaller id (rank files); equal ones from the left.
    JoinedId,
}

/// A token that stands outside the merges: plain text never yields it, only `special="allow"` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// Its id.
    pub id: u32,
    /// The text that stands for it.
    pub content: String,
    /// Flagged as special in `tokenizer.json`: skipped by decoders asked to.
    pub special: bool,
    /// Matched after those that are not, in normalised text, as the `tokenizers` library does.
    pub normalized: bool,
    /// Takes the white space to its left.
    pub lstrip: bool,
    /// Takes the white space to its right.
    pub rstrip: bool,
    /// Matched only where neither neighbour is a letter, digit or the like.
    pub single_word: bool,
}

impl AddedToken {
    /// A control token: flagged special, matched as it is.
    pub fn control(id: u32, content: String) -> Self {
        Self {
            id,
            content,
            special: true,
            normalized: false,
            lstrip: false,
            rstrip: false,
            single_word: false,
        }
    }
}

/// Bytes of each token, addressed by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTable {
    /// All tokens' bytes, in order of id.
    bytes: Vec<u8>,
    /// Where each id's bytes end; an id that is a gap has none.
    ends: Vec<u32>,
    /// The one token without bytes that is no gap, if there is one.
    empty: Option<u32>,
}

impl TokenTable {
    /// The table of `(id, bytes)` in any order; ids nobody names are gaps.
    pub fn of(mut tokens: Vec<(u32, Vec<u8>)>) -> Self {
        tokens.sort_unstable();
        let mut table = Self::default();
        for (id, bytes) in tokens {
            table.push(id, |all| all.extend_from_slice(&bytes));
        }
        table
    }

    /// An empty one with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::new(),
            empty: None,
        }
    }

    /// Gives back the room that is left.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Adds a token beyond the last one: `append` writes its bytes behind those of the others.
    pub fn push(&mut self, id: u32, append: impl FnOnce(&mut Vec<u8>)) {
        self.ends.resize(id as usize, self.bytes.len() as u32);
        append(&mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Adds the token without bytes beyond the last one.
    pub fn push_empty(&mut self, id: u32) {
        self.push(id, |_| {});
        self.empty = Some(id);
    }

    /// The id of the token without bytes, if there is one.
    pub fn empty(&self) -> Option<u32> {
        self.empty
    }

    /// One more than the largest id.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of `id`; empty for a gap and beyond the end.
    #[inline]
    pub fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// Every token that has bytes, with its id.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.ends.len() as u32)
            .map(|id| (id, self.get(id)))
            .filter(|(_, bytes)| !bytes.is_empty())
    }
}

/// What becomes of a byte that has no token of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// There is no such byte: each has a token.
    #[default]
    Refused,
    /// It is left out of its pre-token, whose other bytes are merged as if it had not been there.
    Dropped,
    /// It becomes this token.
    Token {
        /// Id of the token.
        id: u32,
        /// Such bytes side by side in one pre-token become the token once.
        fused: bool,
    },
}

/// A tokenizer as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Whether text is brought into NFC first. Then decoding gives the normalised text back.
    pub nfc: bool,
    /// Whether text that does not begin with a space gets one (each segment between added tokens).
    pub prefix_space: bool,
    /// How text is cut into pre-tokens.
    pub pre_tokenizer: PreTokenizer,
    /// Bytes of every token, added ones included.
    pub tokens: TokenTable,
    /// Merges, most preferred first.
    pub merges: Vec<Merge>,
    /// What "most preferred" means when an encoder must choose.
    pub order: MergeOrder,
    /// A pre-token that is a token becomes it without merging (`ignore_merges`).
    pub ignore_merges: bool,
    /// What becomes of bytes without a token.
    pub unknown: Unknown,
    /// Tokens that stand outside the merges, in order of id.
    pub added: Vec<AddedToken>,
    /// `post_processor` of the file it came from, kept for saving; it adds tokens only where the `tokenizers` library is asked to.
    pub post_processor: Value,
}

/// In place of the id of a byte that has no token.
pub const NO_TOKEN: u32 = u32::MAX;

impl Model {
    /// Whether some added token can come out of text.
    pub fn looks_for_added(&self, special: Special) -> bool {
        // Text is what most calls take: nothing is looked through for it.
        special != Special::Text && self.added.iter().any(|token| special.takes(token.special))
    }

    /// The bytes of a token.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownToken`] for an id outside the vocabulary or in one of its gaps.
    pub fn token_bytes(&self, id: u32) -> Result<&[u8]> {
        match self.tokens.get(id) {
            [] if self.tokens.empty() == Some(id) => Ok(&[]),
            [] => Err(TokenizerError::UnknownToken {
                id: u64::from(id),
                vocab_size: self.tokens.len(),
            }),
            bytes => Ok(bytes),
        }
    }

    /// Whether `id` is an added token flagged special.
    pub fn is_special(&self, id: u32) -> bool {
        let place = self.added.binary_search_by_key(&id, |token| token.id);
        place.is_ok_and(|place| self.added[place].special)
    }

    /// The id of an added token.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownSpecialToken`] lists the added tokens that exist.
    pub fn special_id(&self, content: &str) -> Result<u32> {
        let found = self.added.iter().find(|token| token.content == content);
        found
            .map(|token| token.id)
            .ok_or_else(|| TokenizerError::UnknownSpecialToken {
                content: content.to_owned(),
                known: listed(self.added.iter().map(|token| token.content.as_str())),
            })
    }

    /// Checks what every part of the engine relies on: each byte has a token that is no control token, unless the model says
    /// what becomes of bytes without one. Gives the tokens of the bytes, [`NO_TOKEN`] where there is none.
    ///
    /// # Errors
    /// [`TokenizerError::BadSpecialToken`] or [`TokenizerError::Format`] with what is missing.
    pub fn validate(&self) -> Result<[u32; 256]> {
        if let Some(token) = self.added.iter().find(|token| token.content.is_empty()) {
            return Err(TokenizerError::bad_special(&token.content, "is empty"));
        }
        let added: KeyedMap<u32, bool> =
            self.added.iter().map(|one| (one.id, one.special)).collect();
        let mut bytes = [NO_TOKEN; 256];
        for (id, token) in self.tokens.iter().filter(|(_, token)| token.len() == 1) {
            let known = &mut bytes[usize::from(token[0])];
            if *known == NO_TOKEN || added.contains_key(known) {
                *known = id;
            }
        }
        for (byte, id) in (0..=u8::MAX).zip(bytes) {
            if added.get(&id) == Some(&true) {
                let content = char::from(byte).to_string();
                let problem = "is the token of a single byte, which plain text needs";
                return Err(TokenizerError::bad_special(&content, problem));
            }
            if id == NO_TOKEN && self.unknown == Unknown::Refused {
                let problem = format!("byte 0x{byte:02X} has no token");
                return Err(TokenizerError::unsupported("$.model.vocab", problem));
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_table_keeps_gaps_apart_from_tokens() {
        let table = TokenTable::of(vec![(3, b"cd".to_vec()), (0, b"a".to_vec())]);
        assert_eq!(table.len(), 4);
        assert_eq!(table.get(3), b"cd");
        assert_eq!(table.get(1), b"");
        assert_eq!(table.get(9), b"");
        assert_eq!(
            table.iter().collect::<Vec<_>>(),
            [(0, &b"a"[..]), (3, &b"cd"[..])]
        );
    }
}

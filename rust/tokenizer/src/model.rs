//! A tokenizer as data: tokens, merges, added tokens and the pre-tokenizer. Files are read into it and written from it.

use crate::error::{Result, TokenizerError, listed};
use crate::keyed::KeyedMap;
use crate::pre_tokenizer::PreTokenizer;
use crate::special::Special;
use serde_json::Value;

/// The limit of ids; a file with a larger id is refused before memory is allocated.
pub const MAX_VOCABULARY: usize = 1 << 22;

/// The maximum number of bytes of a token that is not an added one. The longest in vocabularies in use have about a thousand.
pub const MAX_TOKEN_BYTES: usize = 1 << 16;

/// The maximum number of added tokens.
pub const MAX_ADDED_TOKENS: usize = 1 << 17;

/// A merge: the ids of its two parts and of the joined token.
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
    /// The one that is listed first in [`Model::merges`] (`tokenizer.json`).
    Listed,
    /// The one whose joined token has the smaller id (rank files); equal ones from the left.
    JoinedId,
}

/// A token outside the merges: plain text never gives it, only `special="allow"` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// Its id.
    pub id: u32,
    /// The text that becomes the token.
    pub content: String,
    /// Flagged as special in `tokenizer.json`: skipped by decoders on request.
    pub special: bool,
    /// Matched after those that are not, in normalized text, as the `tokenizers` library does.
    pub normalized: bool,
    /// Takes the white space to its left.
    pub lstrip: bool,
    /// Takes the white space to its right.
    pub rstrip: bool,
    /// Matched only where neither neighbor is a word character.
    pub single_word: bool,
}

impl AddedToken {
    /// A control token: flagged special, matched as it is written.
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

/// The bytes of each token, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTable {
    /// All tokens' bytes, in order of id.
    bytes: Vec<u8>,
    /// The end of each id's bytes; an id in a gap has none.
    ends: Vec<u32>,
    /// The one token without bytes that is not a gap, if there is one.
    empty: Option<u32>,
}

impl TokenTable {
    /// The table of `(id, bytes)` in any order; ids that are not listed are gaps.
    pub fn of(mut tokens: Vec<(u32, Vec<u8>)>) -> Self {
        tokens.sort_unstable();
        let mut table = Self::default();
        for (id, bytes) in tokens {
            table.push(id, |all| all.extend_from_slice(&bytes));
        }
        table
    }

    /// An empty table with memory for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::new(),
            empty: None,
        }
    }

    /// Frees unused memory.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Adds a token with an id larger than all others; `append` writes its bytes.
    pub fn push(&mut self, id: u32, append: impl FnOnce(&mut Vec<u8>)) {
        self.ends.resize(id as usize, self.bytes.len() as u32);
        append(&mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Adds the token without bytes, with an id larger than all others.
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

/// How a byte without a token is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// Each byte has a token.
    #[default]
    Refused,
    /// It is left out of its pre-token, whose other bytes are merged as if it were not there.
    Dropped,
    /// It becomes this token.
    Token {
        /// Id of the token.
        id: u32,
        /// Consecutive missing bytes in one pre-token become the token once.
        fused: bool,
    },
}

/// A tokenizer as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Whether text is normalized to NFC first. Decoding then gives the normalized text.
    pub nfc: bool,
    /// Whether a space is prepended to text that does not begin with one (in each segment between added tokens).
    pub prefix_space: bool,
    /// How text is split into pre-tokens.
    pub pre_tokenizer: PreTokenizer,
    /// Bytes of every token, added ones included.
    pub tokens: TokenTable,
    /// Merges, most preferred first.
    pub merges: Vec<Merge>,
    /// The order in which merges are preferred.
    pub order: MergeOrder,
    /// A pre-token that is a token is not merged.
    pub ignore_merges: bool,
    /// How bytes without a token are encoded.
    pub unknown: Unknown,
    /// Tokens outside the merges, in order of id.
    pub added: Vec<AddedToken>,
    /// `post_processor` of the source file, kept for saving; only the `tokenizers` library uses it, on request.
    pub post_processor: Value,
}

/// Instead of the id of a byte without a token.
pub const NO_TOKEN: u32 = u32::MAX;

impl Model {
    /// Whether any added token can be produced from text.
    pub fn looks_for_added(&self, special: Special) -> bool {
        // The common case of plain text needs no search through the added tokens.
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

    /// Checks what every part of the engine relies on: each byte has a token that is not a control token, unless the model says
    /// how bytes without one are encoded. Returns the tokens of the bytes, [`NO_TOKEN`] where there is none.
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

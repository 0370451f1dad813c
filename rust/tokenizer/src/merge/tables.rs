//! The tables of a model, as the search reads them.

use super::buffers::MergeBuffers;
use super::check::Check;
use super::derive::{self, Derivations, text_of};
use super::short::{BytePairs, Short};
use super::short_tokens::ShortTokenTable;
use super::token::{NONE, Token};
use super::trie::Trie;
use super::trie_build;
use crate::model::{AddedToken, Model};

/// The tables of a model.
pub struct Tables {
    /// The tokens by their numbers.
    pub tokens: Vec<Token>,
    /// The model's id of each number.
    pub ids: Vec<u32>,
    /// Tokens from this number on only match a whole pre-token.
    pub whole_only_from: u32,
    /// Bytes of the longest of the other tokens.
    pub max_token_bytes: usize,
    /// Finds the longest token that a text begins with.
    pub trie: Trie,
    /// Tells whether two tokens are the encoding of their bytes.
    pub check: Check,
    /// For short pre-tokens; `None` where tokens are always checked by merging.
    pub short: Option<Short>,
}

impl Tables {
    /// The tables of `model`, whose single bytes have the ids `bytes`, without the merges into tokens that are `added`.
    pub fn of(added: &[AddedToken], model: &Model, bytes: &[u32; 256]) -> Self {
        let Derivations {
            mut ids,
            mut tokens,
            check,
        } = derive::derivations(model, added, bytes);
        let whole_only_from = ids.len() as u32;
        if model.ignore_merges {
            ids.extend(whole_only(model, added, &ids));
        }
        let texts: Vec<&[u8]> = (0..)
            .zip(&ids)
            .map(|(number, &id)| text_of(model, number, id))
            .collect();
        tokens.extend(
            texts[tokens.len()..]
                .iter()
                .map(|text| Token::of_bytes(text)),
        );
        let (trie, prefixes) = trie_build::build(&texts, whole_only_from);
        for (token, prefix) in tokens.iter_mut().zip(prefixes) {
            token.prefix = prefix;
        }
        let short = match &check {
            Check::Undo(pairs) => Some(Short {
                tokens: ShortTokenTable::of(&texts),
                bytes: BytePairs::of(pairs),
            }),
            Check::Merge(_) => None,
        };
        let arriving = &texts[..whole_only_from as usize];
        let max_token_bytes = arriving.iter().map(|text| text.len()).max().unwrap_or(0);
        tokens.shrink_to_fit();
        ids.shrink_to_fit();
        Self {
            tokens,
            ids,
            whole_only_from,
            max_token_bytes,
            trie,
            short,
            check,
        }
    }

    /// The longest token that `text` begins with and merging arrives at; [`NONE`] at the end.
    #[inline]
    pub fn longest(&self, text: &[u8], buffers: &mut MergeBuffers) -> u32 {
        if text.is_empty() {
            return NONE;
        }
        let (number, steps) = self.trie.longest(text);
        buffers.count(steps);
        self.part(number)
    }

    /// `number`, or its longest prefix that does not only match a whole pre-token.
    #[inline]
    pub fn part(&self, number: u32) -> u32 {
        if number < self.whole_only_from {
            number
        } else {
            self.tokens[number as usize].prefix
        }
    }

    /// The number of bytes of a token.
    #[inline]
    pub fn len(&self, number: u32) -> usize {
        self.tokens[number as usize].len as usize
    }
}

/// Tokens that match a whole pre-token although merging does not give them.
fn whole_only(model: &Model, added: &[AddedToken], arrived: &[u32]) -> Vec<u32> {
    let mut known = vec![false; model.tokens.len()];
    let added = added.iter().map(|token| token.id);
    for id in arrived.iter().copied().chain(added) {
        if let Some(known) = known.get_mut(id as usize) {
            *known = true;
        }
    }
    let tokens = model.tokens.iter().filter(|(_, text)| text.len() > 1);
    tokens
        .map(|(id, _)| id)
        .filter(|&id| !known[id as usize])
        .collect()
}

//! Tells whether two tokens are the encoding of their bytes: nothing merges across their boundary before both are complete.

use super::merge_loop::{Joined, LoopBuffers, Merges, Ranks};
use super::pairs::PairTable;
use super::token::{NONE, Token};
use crate::model::TokenTable;

/// How to check a pair.
pub enum Check {
    /// By undoing the merges of both tokens, the youngest first. If a token has a merge that is older than its parts, by merging
    /// the bytes.
    Undo(PairTable),
    /// Always by merging the bytes, for models whose merges do not tell how each token is derived.
    Merge(Box<Merging>),
}

/// What merging the bytes of two tokens needs.
pub struct Merging {
    /// The merges.
    pub ranks: Ranks,
    /// Bytes of each number's token.
    pub texts: TokenTable,
    /// The model's id of each number.
    pub ids: Vec<u32>,
}

impl Check {
    /// Whether `left` and `right` are the encoding of their bytes.
    #[inline]
    pub fn is_valid_pair(
        &self,
        tokens: &[Token],
        left: u32,
        right: u32,
        buffers: &mut LoopBuffers,
    ) -> bool {
        match self {
            Self::Undo(pairs) => {
                let are_in_order =
                    [left, right].map(|number| tokens[number as usize].boundaries.is_known());
                if are_in_order == [true; 2] {
                    pairs.get(left, right) == NONE
                        && is_valid_token_pair(pairs, tokens, left, right)
                } else {
                    are_merged(pairs, tokens, [left, right], buffers)
                }
            }
            Self::Merge(merging) => merging.is_valid_pair(left, right, buffers),
        }
    }
}

/// Whether nothing merges across the boundary of `left` and `right` before both are complete.
///
/// Goes back in time: of the two tokens at the boundary, the younger one is undone first. Any two tokens at the boundary could
/// merge until one of them became part of a larger token. If both have the same age, they are results of the same merge; merges
/// of equal rank happen from left to right, so the left one comes before a merge across the boundary, and the right one after it.
/// The part of a byte is the byte: if the younger one is a byte, nothing is left to undo.
pub fn is_valid_token_pair(pairs: &PairTable, tokens: &[Token], left: u32, right: u32) -> bool {
    let (mut before, mut after) = (left, right);
    let (mut before_ends, mut after_ends) = (NONE, NONE);
    loop {
        if before > after {
            before_ends = before;
            before = tokens[before as usize].parts[1];
            if before == before_ends {
                return true;
            }
        } else {
            after_ends = after;
            after = tokens[after as usize].parts[0];
            if after == after_ends {
                return true;
            }
        }
        let joined = pairs.get(before, after);
        if joined < before_ends && joined <= after_ends {
            return false;
        }
    }
}

/// Numbers are in the order of the merges, whatever their ranks.
impl Merges for PairTable {
    fn get(&self, left: u32, right: u32) -> Joined {
        match self.get(left, right) {
            NONE => Joined::NEVER,
            joined => Joined {
                rank: joined,
                id: joined,
            },
        }
    }

    fn byte(&self, byte: u8) -> u32 {
        u32::from(byte)
    }
}

/// Whether merging the bytes of these two tokens gives these two.
#[cold]
fn are_merged(
    pairs: &PairTable,
    tokens: &[Token],
    both: [u32; 2],
    buffers: &mut LoopBuffers,
) -> bool {
    let (mut text, mut found) = (Vec::new(), Vec::new());
    // A stack of the tokens still to be spelled, the next one last.
    let mut rest = vec![both[1], both[0]];
    while let Some(number) = rest.pop() {
        match u8::try_from(number) {
            Ok(byte) => text.push(byte),
            Err(_) => rest.extend(tokens[number as usize].parts.iter().rev()),
        }
    }
    pairs.merge(&text, buffers, &mut found);
    found == both
}

impl Merging {
    fn is_valid_pair(&self, left: u32, right: u32, buffers: &mut LoopBuffers) -> bool {
        let text = [self.texts.get(left), self.texts.get(right)].concat();
        let mut ids = Vec::new();
        self.ranks.merge(&text, buffers, &mut ids);
        ids == [left, right].map(|number| self.ids[number as usize])
    }
}

/// Cache of the longest valid token after a token, for pairs: a table of fixed size that stores whole keys.
///
/// In a run of one letter, the same pairs recur many times, and many shorter tokens would be checked in vain.
pub struct Memo {
    /// The previous token and the longest candidate, plus one so that no key is 0; and the result.
    slots: Vec<(u64, u32)>,
}

const MEMO_BITS: u32 = 13;

impl Default for Memo {
    fn default() -> Self {
        Self {
            slots: vec![(0, 0); 1 << MEMO_BITS],
        }
    }
}

impl Memo {
    /// The result for a pair; computed by `find` if it is not stored.
    #[inline]
    pub fn get(&mut self, before: u32, longest: u32, find: impl FnOnce() -> u32) -> u32 {
        let key = (u64::from(before) << 32 | u64::from(longest)) + 1;
        let place = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - MEMO_BITS);
        let slot = &mut self.slots[place as usize];
        if slot.0 != key {
            *slot = (key, find());
        }
        slot.1
    }
}

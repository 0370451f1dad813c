//! Whether two tokens are the encoding of their bytes: are they still two when both are made?

use super::merge_loop::{LoopBuffers, Ranks};
use super::pairs::PairTable;
use super::{NONE, Token};
use crate::model::TokenTable;

/// Two ways to find out.
pub enum Check {
    /// By undoing both tokens' merges, the youngest first. Needs each merge to be younger than its parts.
    Undo(PairTable),
    /// By merging their bytes, for models in which a merge may come before its parts can be there.
    Merge(Box<Merging>),
}

/// What it takes to merge two tokens' bytes.
pub struct Merging {
    /// The merges.
    pub ranks: Ranks,
    /// Bytes of each number's token.
    pub texts: TokenTable,
    /// The model's id of each number.
    pub ids: Vec<u32>,
}

impl Check {
    /// Whether `left` and `right` stay apart.
    #[inline]
    pub fn holds(
        &self,
        tokens: &[Token],
        left: u32,
        right: u32,
        buffers: &mut LoopBuffers,
    ) -> bool {
        match self {
            Self::Undo(pairs) => {
                pairs.get(left, right) == NONE && stay_apart(pairs, tokens, left, right)
            }
            Self::Merge(merging) => merging.holds(left, right, buffers),
        }
    }
}

/// Whether nothing is joined across the border of `left` and `right` before both are made.
///
/// Goes back in time: the two tokens beside the border are undone, the younger one first. Each two that stand there could be
/// joined until the first of them became part of something else. Equal ages are the same merge on both sides; there the
/// left one happens first, and so before the border, but after it on the right side.
/// A byte is its own part: where the younger one is a byte, nothing is left to undo.
pub fn stay_apart(pairs: &PairTable, tokens: &[Token], left: u32, right: u32) -> bool {
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

impl Merging {
    fn holds(&self, left: u32, right: u32, buffers: &mut LoopBuffers) -> bool {
        let text = [self.texts.get(left), self.texts.get(right)].concat();
        let mut ids = Vec::new();
        self.ranks.merge(&text, buffers, &mut ids);
        ids == [left, right].map(|number| self.ids[number as usize])
    }
}

/// Which token goes with the one before it, for pairs met before: a table of fixed size with whole keys.
///
/// In floods of one letter the same two tokens meet again and again, and many shorter ones are tried in vain.
pub struct Memo {
    /// The token before and the longest one to try, plus one so that no key is 0; and the answer.
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
    /// The answer for a pair, found by `find` if it is not known.
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

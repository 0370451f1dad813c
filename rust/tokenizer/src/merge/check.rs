//! Whether two tokens are the encoding of their bytes: are they still two when both are made?

use super::merge_loop::{Joined, LoopBuffers, Merges, Ranks};
use super::pairs::PairTable;
use super::token::{NONE, Token};
use crate::model::TokenTable;

/// Two ways to find out.
pub enum Check {
    /// By undoing both tokens' merges, the youngest first. Where one of them has a merge that is older than its parts, by
    /// merging their bytes.
    Undo(PairTable),
    /// By merging their bytes always, for models whose merges do not tell how each token is derived.
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

/// Whether nothing is joined across the border of `left` and `right` before both are made.
///
/// Goes back in time: the two tokens beside the border are undone, the younger one first. Each two that stand there could be
/// joined until the first of them became part of something else. Equal ages are the same merge on both sides; there the
/// left one happens first, and so before the border, but after it on the right side.
/// A byte is its own part: where the younger one is a byte, nothing is left to undo.
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

/// Numbers are in the order of the merges, wherever these come.
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

/// Whether merging the bytes of these two tokens ends in the two.
#[cold]
fn are_merged(
    pairs: &PairTable,
    tokens: &[Token],
    both: [u32; 2],
    buffers: &mut LoopBuffers,
) -> bool {
    let (mut text, mut found) = (Vec::new(), Vec::new());
    // From the left: what is still to be spelled, the next one last.
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

//! Finds the longest token that a text begins with: a double-array trie (J. Aoe, *An Efficient Digital Search Algorithm by Using
//! a Double-Array Structure*, 1989), one word per node, with a separate table for the first two bytes.

use super::token::NONE;
use crate::scan::prefetch;

/// A node: the byte that leads to it, the longest token on the path to it, and the base of its children.
///
/// The children of a node are at its base XOR their byte. No two nodes have the same base, so the byte alone tells whether a slot
/// is the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u64);

/// Bits of the byte, and one more for "free".
const LABEL_BITS: u32 = 9;
const LABEL: u64 = (1 << LABEL_BITS) - 1;
const TOKEN_BITS: u32 = 23;
/// The slots of this base stay free: it is the base of nodes without children.
pub const CHILDLESS: u32 = 0;

impl Slot {
    /// No node.
    pub const FREE: Self = Self(LABEL);

    /// The node that `byte` leads to.
    pub fn new(byte: u8, token: u32, base: u32) -> Self {
        Self(
            u64::from(byte)
                | u64::from(token) << LABEL_BITS
                | u64::from(base) << (LABEL_BITS + TOKEN_BITS),
        )
    }

    #[inline]
    fn is(self, byte: u8) -> bool {
        self.0 & LABEL == u64::from(byte)
    }

    /// The byte that leads here.
    #[inline]
    pub fn byte(self) -> u8 {
        self.0 as u8
    }

    #[inline]
    fn token(self) -> u32 {
        (self.0 >> LABEL_BITS) as u32 & ((1 << TOKEN_BITS) - 1)
    }

    #[inline]
    fn base(self) -> u32 {
        (self.0 >> (LABEL_BITS + TOKEN_BITS)) as u32
    }
}

/// The trie of all tokens.
pub struct Trie {
    /// The node of each two bytes.
    pub(super) pairs: Vec<Slot>,
    /// The token of each byte.
    pub(super) bytes: [u32; 256],
    /// All other nodes.
    pub(super) slots: Vec<Slot>,
    /// The nodes of each byte repeated: twice, three times, ..., up to the longest run in a token.
    pub(super) runs: Vec<Vec<Slot>>,
}

/// Equal leading bytes from which on the run is counted instead of walked.
const RUN: usize = 8;

impl Trie {
    /// The longest token that `text` (not empty) begins with, and the number of steps.
    #[inline]
    pub fn longest(&self, text: &[u8]) -> (u32, usize) {
        let &[first, second, ..] = text else {
            return (
                text.first()
                    .map_or(NONE, |&byte| self.bytes[usize::from(byte)]),
                1,
            );
        };
        let mut node = self.pairs[usize::from(first) << 8 | usize::from(second)];
        let mut at = 2;
        if first == second
            && text
                .first_chunk()
                .is_some_and(|start| *start == [first; RUN])
        {
            let run = &self.runs[usize::from(first)];
            let count = text
                .iter()
                .take(run.len())
                .take_while(|byte| **byte == first)
                .count();
            (node, at) = (run[count - 1], count);
        }
        let start = at;
        for &byte in &text[at..] {
            let next = self.slots[(node.base() ^ u32::from(byte)) as usize];
            if !next.is(byte) {
                break;
            }
            node = next;
            at += 1;
        }
        (node.token(), at - start + 1)
    }

    /// Prefetches the nodes that a search from the beginning of each character of `text` reaches after two bytes. Further nodes
    /// cannot be known in advance.
    #[inline]
    pub fn prefetch(&self, text: &[u8]) {
        for window in text.windows(3) {
            let &[first, second, third] = window else {
                return;
            };
            let is_continuation = first & 0xC0 == 0x80;
            if !is_continuation {
                let node = self.pairs[usize::from(first) << 8 | usize::from(second)];
                prefetch(&self.slots, (node.base() ^ u32::from(third)) as usize);
            }
        }
    }

    /// The nodes of this byte, repeated two times and more.
    pub(super) fn run_of(&self, byte: u8) -> Vec<Slot> {
        let first = self.pairs[usize::from(byte) << 8 | usize::from(byte)];
        let mut run = vec![first; 2];
        loop {
            let next = self.slots[(run[run.len() - 1].base() ^ u32::from(byte)) as usize];
            if !next.is(byte) {
                return run;
            }
            run.push(next);
        }
    }
}

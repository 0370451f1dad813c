//! Pairs waiting to be merged: most frequent first, then the smaller left id, then the smaller right id.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A pair of ids, left in the high half: numeric order is that of (left, right).
pub type Pair = u64;

/// The pair of two ids.
#[inline]
pub fn pair(left: u32, right: u32) -> Pair {
    u64::from(left) << 32 | u64::from(right)
}

/// The two ids of a pair.
#[inline]
pub fn ids(pair: Pair) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// Pairs with the counts they had when they were put here. Counts only fall while a pair waits, so that a pair is put back
/// with its present count when it comes up with an old one.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Queue {
    /// Adds a pair with its count, if it occurs at all.
    #[inline]
    pub fn push(&mut self, pair: Pair, count: u64) {
        if count > 0 {
            self.heap.push((count, Reverse(pair)));
        }
    }

    /// The pair whose count is largest now, `count` being how often a pair occurs now.
    pub fn pop(&mut self, count: impl Fn(Pair) -> u64) -> Option<(Pair, u64)> {
        while let Some((known, Reverse(pair))) = self.heap.pop() {
            let now = count(pair);
            if now == known {
                return Some((pair, now));
            }
            self.push(pair, now);
        }
        None
    }
}

//! Scans all words for the pairs at or above a threshold.

use super::candidates::{Candidates, Pair, pair};
use super::words::{Symbol, Words};
use crate::keyed::{KeyedMap, Keys};
use std::cmp::Reverse;

/// Bounds of the threshold.
#[derive(Clone, Copy)]
pub struct Threshold {
    /// Pairs that occur less often are never merged.
    pub min_count: u64,
    /// The number of pairs wanted at or above it.
    pub wanted: usize,
}

impl Threshold {
    /// The threshold that about `wanted` of these counts reach.
    fn among(self, mut counts: Vec<u64>) -> u64 {
        if counts.len() <= self.wanted {
            return self.min_count;
        }
        let (.., &mut threshold, _) =
            counts.select_nth_unstable_by_key(self.wanted, |&count| Reverse(count));
        threshold.max(self.min_count)
    }
}

/// The counts of a pair in one scan.
#[derive(Clone, Copy, Default)]
struct Seen {
    count: u64,
    /// The number of postings, without consecutive repetitions.
    postings: u32,
    /// The last posting plus 1; in the second scan, where the next one is written.
    at: u32,
}

impl Seen {
    #[inline]
    fn add(&mut self, posting: u32, count: u64) {
        self.count += count;
        if self.at != posting + 1 {
            self.at = posting + 1;
            self.postings += 1;
        }
    }
}

/// The pairs of single bytes, whose ids are `first_byte..first_byte + 256`.
pub fn first_pair_scan<S: Symbol>(
    words: &Words<S>,
    first_byte: u32,
    threshold: Threshold,
) -> Candidates {
    let cell = |left: u32, right: u32| ((left - first_byte) << 8 | (right - first_byte)) as usize;
    let mut seen = vec![Seen::default(); 1 << 16];
    words.for_each_pair(|posting, left, right, count| seen[cell(left, right)].add(posting, count));
    let counts = seen
        .iter()
        .map(|seen| seen.count)
        .filter(|&count| count > 0);
    let mut candidates = Candidates::new(threshold.among(counts.collect()));
    for (cell, seen) in (0_u32..).zip(&mut seen) {
        let pair = pair((cell >> 8) + first_byte, (cell & 0xFF) + first_byte);
        seen.at = hold(&mut candidates, pair, seen);
    }
    let mut last = vec![NOWHERE; 1 << 16];
    words.for_each_pair(|posting, left, right, _| {
        let cell = cell(left, right);
        let seen = &mut seen[cell];
        if seen.at != NOWHERE && last[cell] != posting {
            last[cell] = posting;
            candidates.put(seen.at, posting);
            seen.at += 1;
        }
    });
    candidates
}

/// No postings are kept for this pair.
const NOWHERE: u32 = u32::MAX;

fn hold(candidates: &mut Candidates, pair: Pair, seen: &Seen) -> u32 {
    if seen.count < candidates.threshold() || seen.count == 0 {
        return NOWHERE;
    }
    candidates.insert(pair, seen.count, seen.postings)
}

/// The pairs that occur less than `below` times, down to a lower threshold.
///
/// First the counts are summed in a small table without keys, where several pairs may share a cell: a cell's sum is at least the
/// count of each of its pairs. Only pairs whose cell reaches the threshold are then counted separately.
pub fn pair_scan<S: Symbol>(words: &Words<S>, threshold: Threshold, below: u64) -> Candidates {
    let cells = (words.len() / 4)
        .next_power_of_two()
        .clamp(1 << 12, 1 << 21);
    let factor = Keys::default().factor();
    let cell = |left: u32, right: u32| {
        let mixed = pair(left, right).wrapping_mul(factor);
        (mixed >> 32) as usize & (cells - 1)
    };
    let mut sums = vec![0_u64; cells];
    words.for_each_pair(|_, left, right, count| sums[cell(left, right)] += count);
    let reached = sums.iter().copied().filter(|&sum| sum > 0).collect();
    let threshold = threshold
        .among(reached)
        .min(below - 1)
        .max(threshold.min_count);
    let mut seen = KeyedMap::<Pair, Seen>::default();
    words.for_each_pair(|posting, left, right, count| {
        if sums[cell(left, right)] >= threshold {
            seen.entry(pair(left, right))
                .or_default()
                .add(posting, count);
        }
    });
    drop(sums);
    let mut candidates = Candidates::new(threshold);
    seen.retain(|&pair, seen| {
        seen.at = hold(&mut candidates, pair, seen);
        seen.at != NOWHERE
    });
    let mut last = KeyedMap::<Pair, u32>::default();
    words.for_each_pair(|posting, left, right, _| {
        let pair = pair(left, right);
        if let Some(seen) = seen.get_mut(&pair)
            && last.insert(pair, posting) != Some(posting)
        {
            candidates.put(seen.at, posting);
            seen.at += 1;
        }
    });
    candidates
}

//! The pairs that may be merged next: their counts, where they occur, and which of them comes first.
//!
//! Only pairs whose count reaches the *threshold* are held. A pair gains occurrences in one merge only, the one that makes the
//! later of its two tokens; after that its count only falls. So a pair below the threshold stays below, and may be forgotten
//! until no pair at or above it is left; then all words are scanned again with a lower threshold (`pair_scan`).

use super::gains::Gains;
use crate::keyed::Keys;
use crate::scan::prefetch;
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

/// No pair: it would join the id [`u32::MAX`] to itself.
const FREE: Pair = u64::MAX;
/// No postings are kept.
const NOWHERE: u32 = u32::MAX;
/// The number of lookups that a slot is prefetched ahead.
const AHEAD: usize = 8;
/// The number of dead postings from which on it is worth compacting the others.
const WORTH_CLOSING: usize = 1 << 18;

/// State of one pair.
#[derive(Clone, Copy)]
struct Known {
    pair: Pair,
    /// Its current number of occurrences; 0 once it is merged or below the threshold.
    count: u64,
    /// Its postings: `places[start..][..postings]`.
    start: u32,
    postings: u32,
}

impl Known {
    const NONE: Self = Self {
        pair: FREE,
        count: 0,
        start: 0,
        postings: 0,
    };
}

/// The pairs at or above the threshold.
pub struct Candidates {
    /// Open-addressed by pair; a power of two of slots.
    table: Vec<Known>,
    /// Slots in use, including those of dead pairs.
    used: usize,
    live: usize,
    /// Pairs with the counts they had when they were inserted: counts only fall while a pair waits.
    heap: BinaryHeap<(u64, Reverse<Pair>)>,
    places: Vec<u32>,
    /// Postings of dead pairs.
    dead: usize,
    threshold: u64,
    /// Secret: pairs come from a corpus.
    factor: u64,
}

impl Candidates {
    /// No pairs yet; pairs that occur less than `threshold` times are not held.
    pub fn new(threshold: u64) -> Self {
        Self {
            table: vec![Known::NONE; 1 << 10],
            used: 0,
            live: 0,
            heap: BinaryHeap::new(),
            places: Vec::new(),
            dead: 0,
            threshold,
            factor: Keys::default().factor(),
        }
    }

    /// The minimum count of a pair that is held.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// The number of pairs held.
    pub fn live(&self) -> usize {
        self.live
    }

    #[inline]
    fn home(table: &[Known], factor: u64, pair: Pair) -> usize {
        let mixed = (pair ^ pair >> 29).wrapping_mul(factor);
        (mixed >> 32) as usize & (table.len() - 1)
    }

    #[inline]
    fn find(table: &[Known], factor: u64, pair: Pair) -> usize {
        let mut at = Self::home(table, factor, pair);
        while table[at].pair != pair && table[at].pair != FREE {
            at = (at + 1) & (table.len() - 1);
        }
        at
    }

    /// Inserts a new pair with space for its postings, and returns where the first one is written.
    pub fn insert(&mut self, pair: Pair, count: u64, postings: u32) -> u32 {
        if (self.used + 1) * 3 > self.table.len() * 2 {
            self.rehash();
        }
        let at = Self::find(&self.table, self.factor, pair);
        let known = &mut self.table[at];
        debug_assert_eq!(known.count, 0, "a pair is created by one merge only");
        self.used += usize::from(known.pair == FREE);
        self.live += 1;
        let start = self.places.len() as u32;
        *known = Known {
            pair,
            count,
            start,
            postings,
        };
        self.places.resize(self.places.len() + postings as usize, 0);
        self.heap.push((count, Reverse(pair)));
        start
    }

    /// Writes a posting into the space from [`Candidates::insert`].
    #[inline]
    pub fn put(&mut self, at: u32, posting: u32) {
        self.places[at as usize] = posting;
    }

    #[inline]
    fn lose(&mut self, pair: Pair, count: u64) {
        let at = Self::find(&self.table, self.factor, pair);
        let known = &mut self.table[at];
        // A pair that is not held has no count to lose; neither has one that is merged.
        known.count = known.count.saturating_sub(count);
        if known.count == 0 && known.postings > 0 {
            self.live -= 1;
            self.dead += known.postings as usize;
            known.postings = 0;
        }
    }

    /// Applies the changes of a merge on one side: `old` is the pair that each neighbor was part of, `new` the one that it is
    /// part of now.
    pub fn take(
        &mut self,
        gains: &mut Gains,
        old: impl Fn(u32) -> Pair,
        new: impl Fn(u32) -> Pair,
    ) {
        for place in 0..gains.touched.len() {
            if let Some(&later) = gains.touched.get(place + AHEAD) {
                prefetch(
                    &self.table,
                    Self::home(&self.table, self.factor, old(later)),
                );
            }
            let neighbor = gains.touched[place];
            let gain = &mut gains.by[neighbor as usize];
            self.lose(old(neighbor), gain.count);
            gain.at = if gain.count >= self.threshold {
                self.insert(new(neighbor), gain.count, gain.postings)
            } else {
                NOWHERE
            };
        }
        for &(neighbor, posting) in &gains.postings {
            let gain = &mut gains.by[neighbor as usize];
            if gain.at != NOWHERE {
                self.put(gain.at, posting);
                gain.at += 1;
            }
        }
        gains.clear();
    }

    /// Removes the next pair: the most frequent, then the smaller one. Its postings are written to `postings`.
    pub fn pop(&mut self, postings: &mut Vec<u32>) -> Option<Pair> {
        postings.clear();
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            let at = Self::find(&self.table, self.factor, pair);
            let Known {
                count: now,
                start,
                postings: number,
                ..
            } = self.table[at];
            if now != count && now >= self.threshold {
                self.heap.push((now, Reverse(pair)));
                continue;
            }
            if number > 0 {
                self.live -= 1;
                self.dead += number as usize;
                self.table[at].postings = 0;
            }
            self.table[at].count = 0;
            if now == count {
                postings.extend_from_slice(&self.places[start as usize..][..number as usize]);
                return Some(pair);
            }
        }
        None
    }

    /// Raises the threshold so that about `keep` pairs are held.
    pub fn raise_threshold(&mut self, keep: usize) {
        let mut counts: Vec<u64> = self.live_pairs().map(|known| known.count).collect();
        if keep >= counts.len() {
            return;
        }
        let (.., &mut threshold, _) =
            counts.select_nth_unstable_by_key(keep, |&count| Reverse(count));
        self.threshold = self.threshold.max(threshold);
        let threshold = self.threshold;
        for known in &mut self.table {
            if known.postings > 0 && known.count < threshold {
                self.live -= 1;
                self.dead += known.postings as usize;
                (known.count, known.postings) = (0, 0);
            }
        }
        self.rehash();
    }

    fn live_pairs(&self) -> impl Iterator<Item = &Known> {
        self.table.iter().filter(|known| known.postings > 0)
    }

    /// Rebuilds the table with only the live pairs, at most half full, and the heap.
    fn rehash(&mut self) {
        let slots = (self.live * 2).next_power_of_two().max(1 << 10);
        let old = std::mem::replace(&mut self.table, vec![Known::NONE; slots]);
        self.heap.clear();
        let mut heap = std::mem::take(&mut self.heap).into_vec();
        for known in old.into_iter().filter(|known| known.postings > 0) {
            let at = Self::find(&self.table, self.factor, known.pair);
            self.table[at] = known;
            heap.push((known.count, Reverse(known.pair)));
        }
        self.used = self.live;
        self.heap = BinaryHeap::from(heap);
    }

    /// Compacts the postings of live pairs if more than half of them are dead.
    pub fn close_gaps(&mut self) {
        if self.dead < WORTH_CLOSING || self.dead * 2 < self.places.len() {
            return;
        }
        let mut order: Vec<u32> = (0..self.table.len() as u32)
            .filter(|&slot| self.table[slot as usize].postings > 0)
            .collect();
        order.sort_unstable_by_key(|&slot| self.table[slot as usize].start);
        let mut to = 0;
        for slot in order {
            let known = &mut self.table[slot as usize];
            let from = known.start as usize;
            self.places
                .copy_within(from..from + known.postings as usize, to);
            known.start = to as u32;
            to += known.postings as usize;
        }
        self.places.truncate(to);
        self.dead = 0;
    }
}
